"""Check a whole store: pages, references, digests, the audit chain.

A plain blocking function over a connection that cannot write; it reads everything.

**Source:** ENG-46, SEC-105, faults FLT-30.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pkid.storage import rows
from pkid.storage.connections import connect_reader
from pkid.storage.filestore import DATABASE
from pkid.storage.writes import FIRST_DIGEST, chain

_MOST_OF_A_KIND: Final = 100

_QUERIES: Final = (
    (
        "certificate without DER",
        "SELECT names.text || '/' || hex(serial) FROM certificates AS c "
        "JOIN names ON names.id = c.authority "
        "WHERE NOT EXISTS (SELECT 1 FROM certificate_der AS d WHERE d.id = c.id)",
    ),
    (
        "DER without certificate",
        "SELECT id FROM certificate_der AS d "
        "WHERE NOT EXISTS (SELECT 1 FROM certificates AS c WHERE c.id = d.id)",
    ),
    (
        "transaction of a certificate that is not there",
        "SELECT hex(transaction_id) FROM transactions AS t "
        "WHERE certificate_serial IS NOT NULL AND NOT EXISTS (SELECT 1 "
        "FROM certificates AS c WHERE c.authority = t.certificate_authority "
        "AND c.serial = t.certificate_serial)",
    ),
    (
        "transaction that is issued and has no certificate",
        "SELECT hex(transaction_id) FROM transactions "
        "WHERE status = 2 AND certificate_serial IS NULL",
    ),
    (
        "waiting approval without its transaction",
        "SELECT a.id FROM approvals AS a WHERE a.status = 'waiting' "
        "AND NOT EXISTS (SELECT 1 FROM transactions AS t "
        "JOIN names AS n ON n.id = t.alias JOIN names AS p ON p.id = t.protocol "
        "WHERE t.transaction_id = a.transaction_id AND n.text = a.alias "
        "AND p.text = a.protocol AND t.requester = a.transaction_requester)",
    ),
    (
        "CRL number above that of its authority",
        "SELECT names.text || ' ' || hex(crls.number) FROM crls "
        "JOIN authorities ON authorities.name = crls.authority "
        "JOIN names ON names.id = crls.authority "
        "WHERE crls.number > authorities.crl_number",
    ),
    (
        "certificate that is revoked and on no CRL",
        "SELECT names.text || '/' || hex(c.serial) FROM certificates AS c "
        "JOIN names ON names.id = c.authority WHERE status IN (3, 4) AND NOT EXISTS "
        "(SELECT 1 FROM crl_entries AS e WHERE e.authority = c.authority "
        "AND e.part = c.crl_partition AND e.serial = c.serial AND e.released = 0)",
    ),
    (
        "CRL entry of a certificate that is not revoked",
        "SELECT names.text || '/' || hex(e.serial) FROM crl_entries AS e "
        "JOIN names ON names.id = e.authority WHERE e.released = 0 AND NOT EXISTS "
        "(SELECT 1 FROM certificates AS c WHERE c.authority = e.authority "
        "AND c.serial = e.serial AND c.status IN (3, 4))",
    ),
    (
        "certificate that is revoked and does not say when",
        "SELECT names.text || '/' || hex(serial) FROM certificates AS c "
        "JOIN names ON names.id = c.authority "
        "WHERE status IN (3, 4) AND revoked_at IS NULL",
    ),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of a store.

    :ivar kind: what is wrong, the same text for the same kind of fault.
    :ivar subject: where.
    """

    kind: str
    subject: str


def fsck(directory: Path) -> list[Finding]:
    """All faults of the store in a state directory, at most a hundred of a kind.

    :raises sqlite3.Error: the file is no database at all.

    Cost: reads the whole database; about 10 s for a million certificates.
    """
    connection = connect_reader(directory / DATABASE)
    try:
        # One read transaction, so that a daemon at work does not look like a fault.
        connection.execute("BEGIN")
        return [
            *_bounded(_check_pages(connection)),
            *_bounded(_check_references(connection)),
            *_bounded(_check_fingerprints(connection)),
            *audit_findings(connection),
            *_bounded(_check_audited(connection)),
        ]
    finally:
        connection.close()


def verify_audit(directory: Path) -> list[Finding]:
    """Faults of the audit log alone: its chain, and the heads that were signed.

    The signatures themselves are for the engine to verify.

    :raises sqlite3.Error: the file is no database.

    Cost: reads all records, about 3 s for a million.
    """
    connection = connect_reader(directory / DATABASE)
    try:
        return audit_findings(connection)
    finally:
        connection.close()


def audit_findings(connection: sqlite3.Connection) -> list[Finding]:
    """As `verify_audit`, over an open connection."""
    return [
        *_bounded(_check_audit(connection)),
        *_bounded(_check_checkpoints(connection)),
    ]


def _bounded(findings: Iterator[Finding]) -> Iterator[Finding]:
    for finding, _ in zip(findings, range(_MOST_OF_A_KIND), strict=False):
        yield finding


def _check_pages(connection: sqlite3.Connection) -> Iterator[Finding]:
    statement = f"PRAGMA integrity_check({_MOST_OF_A_KIND})"
    for (message,) in connection.execute(statement):
        if message != "ok":
            yield Finding("damaged database", str(message))
    for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield Finding("broken reference", f"{table} {rowid} to {parent}")


def _check_references(connection: sqlite3.Connection) -> Iterator[Finding]:
    for kind, query in _QUERIES:
        for (subject,) in connection.execute(f"{query} LIMIT {_MOST_OF_A_KIND}"):
            yield Finding(kind, str(subject))


def _check_fingerprints(connection: sqlite3.Connection) -> Iterator[Finding]:
    for text, serial, fingerprint, der in connection.execute(
        "SELECT names.text, c.serial, c.fingerprint, d.der FROM certificates AS c "
        "JOIN names ON names.id = c.authority JOIN certificate_der AS d ON d.id = c.id"
    ):
        if hashlib.sha256(der).digest() != fingerprint:
            yield Finding("DER is not what was issued", f"{text}/{_hex(serial)}")


def _check_audit(connection: sqlite3.Connection) -> Iterator[Finding]:
    """The chain from its start; after a break it goes on from what is stored."""
    expected, previous = 1, FIRST_DIGEST
    for sequence, digest, event in connection.execute(
        "SELECT sequence, digest, event FROM audit ORDER BY sequence"
    ):
        if sequence != expected:
            yield Finding("audit records are missing", f"{expected} to {sequence - 1}")
        if chain(previous, event) != digest:
            yield Finding("audit record was changed", str(sequence))
        expected, previous = sequence + 1, digest


def _check_checkpoints(connection: sqlite3.Connection) -> Iterator[Finding]:
    """What was signed must still stand: this finds a log cut off at its end."""
    for sequence, signed, stored in connection.execute(
        "SELECT k.sequence, k.digest, a.digest FROM audit_checkpoints AS k "
        "LEFT JOIN audit AS a ON a.sequence = k.sequence"
    ):
        if stored is None:
            yield Finding("audit log ends before a signed head", str(sequence))
        elif stored != signed:
            yield Finding("audit log differs from a signed head", str(sequence))


def _check_audited(connection: sqlite3.Connection) -> Iterator[Finding]:
    """Every certificate is named by an audit record."""
    named = {
        name
        for (name,) in connection.execute(
            "SELECT event ->> '$.certificate' FROM audit "
            "WHERE event ->> '$.certificate' IS NOT NULL"
        )
    }
    for text, serial in connection.execute(
        "SELECT names.text, c.serial FROM certificates AS c "
        "JOIN names ON names.id = c.authority"
    ):
        reference = f"{text}/{_hex(serial)}"
        if reference not in named:
            yield Finding("certificate without audit record", reference)


def _hex(serial: bytes) -> str:
    return f"{rows.to_serial(serial):x}"
