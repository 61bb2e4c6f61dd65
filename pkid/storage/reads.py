"""The reads of the store: indexed look-ups on a connection that cannot write.

They run where they are called. A look-up costs 5 to 15 microseconds, less than a way
to a thread and back would, and nothing in them suspends. What SQLite cannot give is
``PKIError(UNAVAILABLE)``.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from twisted.logger import Logger

from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateState,
    Credential,
    CredentialKind,
    EndEntity,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import CertificateQuery, OutboxTask
from pkid.engine.records import (
    ApprovalRequest,
    ApprovalStatus,
    ArchivedKey,
    AuditRecord,
    AuthorityRecord,
    CRLHead,
    CRLRecord,
    KeyHandleRecord,
)
from pkid.engine.writes import InsertAuditCheckpoint
from pkid.errors import ErrorCode, PKIError
from pkid.storage import rows
from pkid.storage.certificatesearch import certificate_statement
from pkid.storage.orderreads import OrderReads
from pkid.storage.writes import FIRST_DIGEST

#: Audit records read at once.
AUDIT_SLICE: Final = 500
#: Newest audit records that a search looks at one by one: a broad prefix ends here.
_RECENT: Final = 2000
#: Index entries that a search by prefix looks at.
_MOST_TERMS: Final = 20_000

_CERTIFICATE: Final = f"SELECT {rows.CERTIFICATE_COLUMNS} FROM certificates "
_TRANSACTION: Final = f"SELECT {rows.TRANSACTION_COLUMNS} FROM transactions "
_ENTITY: Final = f"SELECT {rows.ENTITY_COLUMNS} FROM entities "
_CREDENTIAL: Final = f"SELECT {rows.CREDENTIAL_COLUMNS} FROM credentials "
_APPROVAL: Final = f"SELECT {rows.APPROVAL_COLUMNS} FROM approvals "
_AUTHORITY: Final = (
    "SELECT name, certificate, chain, key, created, crl_number, active, "
    "predecessor, phase, links "
    "FROM authorities "
)
_ARCHIVED_KEYS: Final = f"SELECT {rows.ARCHIVED_KEY_COLUMNS} FROM archived_keys "
_CRL_HEAD: Final = f"SELECT {rows.CRL_HEAD} FROM crls "
_CRL: Final = f"SELECT {rows.CRL_HEAD}, der FROM crls "
_LATEST_CRL: Final = (
    "WHERE authority = ? AND part = ? AND delta = ? ORDER BY number DESC LIMIT 1"
)
_AUDIT: Final = "SELECT sequence, digest, event FROM audit "
_RECENT_AUDIT: Final = f"""{_AUDIT}
WHERE sequence > ?2 AND EXISTS (
    SELECT 1 FROM json_each(audit.event) AS field WHERE (
        field.key IN
            ('peer', 'transaction', 'certificate', 'entity', 'subject', 'actor')
        AND field.value = ?1
    ) OR (
        field.key IN ('peer', 'subject')
        AND substr(field.value, 1, length(?1)) = ?1
    )
) ORDER BY sequence DESC LIMIT ?3"""
_OLDER_SEQUENCES: Final = """
SELECT sequence FROM audit_terms WHERE term = ?1 AND sequence <= ?3
UNION SELECT sequence FROM (
    SELECT sequence FROM audit_terms
    WHERE term > ?1 AND term < ?2 AND by_prefix = 1 AND sequence <= ?3 LIMIT ?4
) ORDER BY sequence DESC LIMIT ?5"""


def prefix_end(prefix: str) -> str:
    """A text above all texts with this prefix."""
    return prefix + "\U0010ffff"


class StoreReads(OrderReads):
    """All reads of the `Store` port.

    :param connection: opened read-only; autocommit, so that every statement sees what
        was committed before it.
    """

    _log = Logger()

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._texts: dict[int, str] = {}
        self._numbers: dict[str, int] = {}

    # --- rows and names -------------------------------------------------------------

    def _one(self, statement: str, values: rows.Row = ()) -> rows.Row | None:
        """The only row; a statement with a second one would stay open behind it."""
        try:
            row: rows.Row | None = self._cursor.execute(statement, values).fetchone()
        except sqlite3.Error as fault:
            raise self._unreadable(fault) from fault
        return row

    def _all(self, statement: str, values: rows.Row = ()) -> list[rows.Row]:
        try:
            return self._cursor.execute(statement, values).fetchall()
        except sqlite3.Error as fault:
            raise self._unreadable(fault) from fault

    def _unreadable(self, fault: sqlite3.Error) -> PKIError:
        self._log.error("read failed: {fault}", fault=str(fault))
        return PKIError(ErrorCode.UNAVAILABLE, "the store cannot be read")

    def _load_names(self) -> None:
        found = self._all("SELECT id, text FROM names")
        self._texts = dict(found)
        self._numbers = {text: number for number, text in found}

    def _text(self, number: int) -> str:
        text = self._texts.get(number)
        if text is None:
            self._load_names()
            text = self._texts[number]
        return text

    def _number(self, text: str) -> int | None:
        """Number of a repeated name; None when no row can have it."""
        number = self._numbers.get(text)
        if number is None:
            found = self._one("SELECT id FROM names WHERE text = ?", (text,))
            if found is None:
                return None
            number = self._numbers[text] = found[0]
        return number

    def _certificates(self, where: str, values: rows.Row) -> list[CertificateRecord]:
        text = self._text
        return [
            rows.to_certificate(row, text)
            for row in self._all(_CERTIFICATE + where, values)
        ]

    # --- certificates ---------------------------------------------------------------

    async def find_certificate(
        self, reference: CertificateReference
    ) -> CertificateRecord | None:
        """The certificate of this authority and serial number."""
        row = self._one(
            _CERTIFICATE + "WHERE authority = ? AND serial = ?",
            (self._number(reference.authority), rows.from_serial(reference.serial)),
        )
        return None if row is None else rows.to_certificate(row, self._text)

    async def find_state(
        self, reference: CertificateReference
    ) -> CertificateState | None:
        """The status of the certificate of this authority and serial number."""
        row = self._one(
            "SELECT status, reason, revoked_at FROM certificates "
            "WHERE authority = ? AND serial = ?",
            (self._number(reference.authority), rows.from_serial(reference.serial)),
        )
        return None if row is None else rows.to_state(row)

    async def find_certificate_by_fingerprint(
        self, fingerprint: bytes
    ) -> CertificateRecord | None:
        """The certificate whose DER has this SHA-256."""
        row = self._one(
            _CERTIFICATE
            + "WHERE substr(fingerprint, 1, 8) = substr(?1, 1, 8) AND fingerprint = ?1 "
            "LIMIT 1",
            (fingerprint,),
        )
        return None if row is None else rows.to_certificate(row, self._text)

    async def find_certificates_by_key(
        self, spki_hash: bytes
    ) -> Sequence[CertificateRecord]:
        """All certificates of one public key, newest first."""
        return self._certificates(
            "WHERE substr(spki_hash, 1, 8) = substr(?1, 1, 8) AND spki_hash = ?1 "
            "ORDER BY issued_at DESC, serial DESC",
            (spki_hash,),
        )

    async def find_certificates_by_key_id(
        self, subject_key_id: bytes
    ) -> Sequence[CertificateRecord]:
        """All certificates with this SubjectKeyIdentifier, newest first."""
        return self._certificates(
            "WHERE substr(subject_key_id, 1, 8) = substr(?1, 1, 8) "
            "AND subject_key_id = ?1 ORDER BY issued_at DESC, serial DESC",
            (subject_key_id,),
        )

    async def get_certificate_der(self, reference: CertificateReference) -> bytes:
        """DER of a certificate.

        :raises PKIError: ``NOT_FOUND``.
        """
        row = self._one(
            "SELECT der FROM certificate_der WHERE id = "
            "(SELECT id FROM certificates WHERE authority = ? AND serial = ?)",
            (self._number(reference.authority), rows.from_serial(reference.serial)),
        )
        if row is None:
            raise PKIError(ErrorCode.NOT_FOUND, f"no certificate {reference}")
        der: bytes = row[0]
        return der

    async def search_certificates(
        self, query: CertificateQuery
    ) -> Sequence[CertificateRecord]:
        """One page, newest first; each authority is walked by its own index."""
        pages = [
            self._certificate_page(authority, query)
            for authority in self._authorities_of(query)
        ]
        merged = heapq.merge(*pages, key=_newest_first)
        return [record for _, record in zip(range(query.limit), merged, strict=False)]

    def _authorities_of(self, query: CertificateQuery) -> list[int]:
        if query.authority is not None:
            number = self._number(query.authority)
            return [] if number is None else [number]
        # A loose index scan: one look-up for each authority, not one for each row.
        found: list[int] = []
        last = 0
        while row := self._one(
            "SELECT min(authority) FROM certificates WHERE authority > ?", (last,)
        ):
            if row[0] is None:
                break
            last = row[0]
            found.append(last)
        return found

    def _certificate_page(
        self, authority: int, query: CertificateQuery
    ) -> list[CertificateRecord]:
        statement, values = certificate_statement(
            authority, query, common_subject=self._is_common(query.subject_prefix)
        )
        return self._certificates(statement, values)

    def _is_common(self, subject_prefix: str | None) -> bool:
        """Whether so many have this prefix that newest-first finds them sooner."""
        if not subject_prefix:
            return True
        row = self._one(
            "SELECT count(*) FROM (SELECT 1 FROM certificates "
            "WHERE subject >= ? AND subject < ? LIMIT 1000)",
            (subject_prefix, prefix_end(subject_prefix)),
        )
        return row is not None and row[0] == 1000

    # --- transactions ---------------------------------------------------------------

    async def find_transaction(self, key: TransactionKey) -> TransactionRecord | None:
        """The transaction of this key."""
        row = self._one(
            _TRANSACTION + "WHERE transaction_id = ? AND alias = ? AND protocol = ? "
            "AND requester = ?",
            (
                key.transaction_id,
                self._number(key.alias),
                self._number(key.protocol),
                key.requester,
            ),
        )
        return None if row is None else rows.to_transaction(row, self._text)

    async def find_transactions_by_id(
        self, protocol: str, alias: str, transaction_id: bytes
    ) -> Sequence[TransactionRecord]:
        """The transactions of any requester with this id, by requester."""
        found = self._all(
            _TRANSACTION + "WHERE transaction_id = ? AND alias = ? AND protocol = ? "
            "ORDER BY requester",
            (transaction_id, self._number(alias), self._number(protocol)),
        )
        return [rows.to_transaction(row, self._text) for row in found]

    async def due_transactions(
        self, status: TransactionStatus, before: datetime, limit: int
    ) -> Sequence[TransactionRecord]:
        """Transactions of one status that fell due before a time, first due first."""
        found = self._all(
            _TRANSACTION + "WHERE status = ? AND due < ? ORDER BY due, id LIMIT ?",
            (int(status), rows.from_time(before), limit),
        )
        return [rows.to_transaction(row, self._text) for row in found]

    async def count_transactions(self, status: TransactionStatus, limit: int) -> int:
        """How many there are of one status, counted no further than ``limit``."""
        found = self._one(
            "SELECT count(*) FROM"
            " (SELECT 1 FROM transactions WHERE status = ? LIMIT ?)",
            (int(status), limit),
        )
        return 0 if found is None else int(found[0])

    # --- credentials, entities, approvals -------------------------------------------

    async def find_credential(
        self, kind: CredentialKind, reference: str
    ) -> Credential | None:
        """The shared secret of this kind and reference."""
        row = self._one(
            _CREDENTIAL + "WHERE kind = ? AND reference = ?", (kind.value, reference)
        )
        return None if row is None else rows.to_credential(row)

    async def list_credentials(self) -> Sequence[Credential]:
        """All shared secrets, sealed, by kind and reference."""
        found = self._all(_CREDENTIAL + "ORDER BY kind, reference")
        return [rows.to_credential(row) for row in found]

    async def find_entity(self, name: str) -> EndEntity | None:
        """The end entity of this name."""
        row = self._one(_ENTITY + "WHERE name = ?", (name,))
        return None if row is None else rows.to_entity(row)

    async def find_entity_by_vendor(self, pattern: str) -> EndEntity | None:
        """The end entity whose allow-list pattern is this text."""
        row = self._one(
            _ENTITY + "WHERE vendor = ? AND vendor <> '' ORDER BY name LIMIT 1",
            (pattern,),
        )
        return None if row is None else rows.to_entity(row)

    async def list_entities(
        self, after: str = "", limit: int = 1000
    ) -> Sequence[EndEntity]:
        """End entities by name, those after a name."""
        found = self._all(
            _ENTITY + "WHERE name > ? ORDER BY name LIMIT ?", (after, limit)
        )
        return [rows.to_entity(row) for row in found]

    async def find_approval(self, request_id: str) -> ApprovalRequest | None:
        """The approval request of this id."""
        row = self._one(_APPROVAL + "WHERE id = ?", (request_id,))
        return None if row is None else rows.to_approval(row)

    async def list_approvals(
        self, status: ApprovalStatus | None = None, limit: int = 1000
    ) -> Sequence[ApprovalRequest]:
        """Approval requests, newest first, of one status or of all."""
        statuses = ApprovalStatus if status is None else (status,)
        found: list[rows.Row] = []
        for one in statuses:
            found += self._all(
                _APPROVAL + "WHERE status = ? ORDER BY created DESC, id LIMIT ?",
                (one.value, limit),
            )
        found_records = [rows.to_approval(row) for row in found]
        found_records.sort(key=lambda record: record.created, reverse=True)
        return found_records[:limit]

    # --- authorities, CRLs, keys, outbox --------------------------------------------

    async def find_authority(self, name: str) -> AuthorityRecord | None:
        """The authority of this name."""
        row = self._one(_AUTHORITY + "WHERE name = ?", (self._number(name),))
        return None if row is None else rows.to_authority(row, self._text)

    async def list_authorities(self) -> Sequence[AuthorityRecord]:
        """All authorities, by name."""
        found = [rows.to_authority(row, self._text) for row in self._all(_AUTHORITY)]
        return sorted(found, key=lambda record: record.name)

    async def latest_crl(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> CRLRecord | None:
        """The CRL with the highest number of an authority, or of a partition of it."""
        row = self._one(_CRL + _LATEST_CRL, (self._number(authority), partition, delta))
        return None if row is None else rows.to_crl(row, self._text)

    async def crl_head(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> CRLHead | None:
        """The same without its octets, which are not read."""
        row = self._one(
            _CRL_HEAD + _LATEST_CRL, (self._number(authority), partition, delta)
        )
        return None if row is None else rows.to_crl_head(row, self._text)

    async def crl_partitions(self, authority: str) -> int:
        """The highest partition that has a CRL or an entry."""
        row = self._one(
            "SELECT max((SELECT coalesce(max(part), 0) FROM crls WHERE authority = ?1),"
            " (SELECT coalesce(max(part), 0) FROM crl_entries WHERE authority = ?1))",
            (self._number(authority),),
        )
        return 0 if row is None else row[0]

    async def crl_revision(self, authority: str, partition: int) -> int:
        """The last change of an entry of one CRL."""
        row = self._one(
            "SELECT coalesce(max(revision), 0) FROM crl_entries "
            "WHERE authority = ? AND part = ?",
            (self._number(authority), partition),
        )
        return 0 if row is None else row[0]

    async def find_key_handle(self, name: str) -> KeyHandleRecord | None:
        """The key of ours with this name."""
        row = self._one(
            "SELECT name, purpose, spec, public_key, created FROM key_handles "
            "WHERE name = ?",
            (name,),
        )
        return None if row is None else rows.to_key_handle(row)

    async def archived_keys(self, entity: str, limit: int) -> Sequence[ArchivedKey]:
        """Archived private keys of an end entity, newest first."""
        found = self._all(
            _ARCHIVED_KEYS + "WHERE entity = ? ORDER BY created DESC, id DESC LIMIT ?",
            (entity, limit),
        )
        return [rows.to_archived_key(row, self._text) for row in found]

    async def own_keys(self) -> Sequence[bytes]:
        """SubjectPublicKeyInfo of all our own keys."""
        return [row[0] for row in self._all("SELECT public_key FROM key_handles")]

    async def outbox(self, limit: int, after: int = 0) -> Sequence[OutboxTask]:
        """Publication tasks behind one, oldest first."""
        found = self._all(
            "SELECT id, kind, subject FROM outbox WHERE id > ? ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [OutboxTask(*row) for row in found]

    async def outbox_head(self) -> int:
        """The last id that a task got."""
        row = self._one(rows.OUTBOX_HEAD)
        return 0 if row is None else row[0]

    async def publisher_position(self, name: str) -> int | None:
        """How far a publisher came."""
        row = self._one("SELECT position FROM publishers WHERE name = ?", (name,))
        return None if row is None else row[0]

    # --- audit ----------------------------------------------------------------------

    async def audit_head(self) -> tuple[int, bytes]:
        """Sequence and digest of the last audit record."""
        row = self._one(
            "SELECT sequence, digest FROM audit ORDER BY sequence DESC LIMIT 1"
        )
        return (0, FIRST_DIGEST) if row is None else (row[0], row[1])

    async def audit_records(self, after: int = 0) -> AsyncIterator[AuditRecord]:
        """All audit records in order, from ``after`` on, in bounded slices."""
        while found := self._all(
            _AUDIT + "WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, AUDIT_SLICE),
        ):
            for row in found:
                yield rows.to_audit_record(row)
            after = found[-1][0]

    async def search_audit(self, text: str, limit: int) -> Sequence[AuditRecord]:
        """Newest records that name ``text``; peer and subject also by prefix.

        The newest records are looked at one by one, older ones by the index of terms.
        Of a prefix `_MOST_TERMS` older index entries are looked at.
        """
        if not text:
            return []
        indexed, head = self._audit_bounds()
        start = max(0, min(indexed, head - _RECENT))
        found = self._all(_RECENT_AUDIT, (text, start, limit))
        if len(found) < limit:
            older = self._all(
                _OLDER_SEQUENCES,
                (text, prefix_end(text), start, _MOST_TERMS, limit - len(found)),
            )
            for (sequence,) in older:
                found += self._all(_AUDIT + "WHERE sequence = ?", (sequence,))
        return [rows.to_audit_record(row) for row in found]

    def _audit_bounds(self) -> tuple[int, int]:
        row = self._one(
            "SELECT (SELECT value FROM meta WHERE key = 'audit-indexed'), "
            "(SELECT coalesce(max(sequence), 0) FROM audit)"
        )
        return (0, 0) if row is None else (row[0], row[1])

    async def audit_checkpoints(self) -> Sequence[InsertAuditCheckpoint]:
        """All signatures over the audit head, in order."""
        found = self._all(
            "SELECT sequence, digest, signature, at FROM audit_checkpoints "
            "ORDER BY sequence"
        )
        return [
            InsertAuditCheckpoint(row[0], row[1], row[2], rows.to_time(row[3]))
            for row in found
        ]


def _newest_first(record: CertificateRecord) -> tuple[float, int]:
    return (-rows.from_time(record.issued_at), -record.reference.serial)
