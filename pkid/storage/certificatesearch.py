"""The SQL of a certificate search: which index leads, and what filters.

Pure. Every clause is fixed text here; only values come from the query.
"""

from __future__ import annotations

from typing import Final

from pkid.engine.model import CertificateStatus
from pkid.engine.ports import CertificateQuery
from pkid.storage import rows

_MOST: Final = 10_000


def certificate_statement(
    authority: int, query: CertificateQuery, *, common_subject: bool
) -> tuple[str, rows.Row]:
    """What follows ``SELECT ... FROM certificates`` for one authority, newest first.

    :param authority: number of its name.
    :param common_subject: whether the index of subjects would give too many rows.
    :returns: the clauses and their values.
    """
    clauses = ["authority = ?"]
    values: list[str | int | bytes | None] = [authority]

    def where(clause: str, *clause_values: str | int | bytes) -> None:
        clauses.append(clause)
        values.extend(clause_values)

    if query.serial is not None:
        where("serial = ?", rows.from_serial(query.serial))
    if query.entity is not None:
        where("entity = ?", query.entity)
    if query.status is not None:
        where(_status_clause(query.status))
    if query.subject_prefix:
        end = query.subject_prefix + "\U0010ffff"
        where("subject >= ? AND subject < ?", query.subject_prefix, end)
    if query.before is not None:
        moment = rows.from_time(query.before[0])
        serial = rows.from_serial(query.before[1])
        where("(issued_at, serial) < (?, ?)", moment, serial)
    index = _leading_index(query, common_subject=common_subject)
    order = "ORDER BY issued_at DESC, serial DESC LIMIT ?"
    values.append(min(query.limit, _MOST))
    return f"{index} WHERE {' AND '.join(clauses)} {order}", tuple(values)


def _status_clause(status: CertificateStatus) -> str:
    # A literal, not a parameter: SQLite must see that the partial index holds it.
    if status is CertificateStatus.ACTIVE:
        return "status = 2"
    return f"status = {int(status)} AND status <> 2"


def _leading_index(query: CertificateQuery, *, common_subject: bool) -> str:
    if query.serial is not None:
        return ""  # the unique key finds it
    if query.entity is not None:
        return "INDEXED BY certificates_entity"
    if query.subject_prefix and not common_subject:
        return "INDEXED BY certificates_subject"
    if query.status not in (None, CertificateStatus.ACTIVE):
        return "INDEXED BY certificates_status"
    return "INDEXED BY certificates_issued"
