"""What each write of the engine does to the tables.

One table from the type of a write to its method. A method executes on the writing
connection, within the transaction of its batch; it raises `WriteConflict` when the
state is not the expected one.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pkid.crypto.crls import encode_crl_entry
from pkid.engine.model import (
    CertificateReference,
    CertificateStatus,
    RevocationReason,
)
from pkid.engine.writes import (
    AdvancePublisher,
    AppendAudit,
    ConsumeCredential,
    DeleteCredential,
    Enqueue,
    InsertApproval,
    InsertArchivedKey,
    InsertAuditCheckpoint,
    InsertAuthority,
    InsertCertificate,
    InsertCredential,
    InsertCRL,
    InsertEntity,
    InsertKeyHandle,
    InsertTransaction,
    RecordFailure,
    RetainPublishers,
    SweepTransactions,
    UpdateApproval,
    UpdateAuthority,
    UpdateCertificate,
    UpdateEntity,
    UpdateTransaction,
    Write,
    WriteConflict,
)
from pkid.storage import rows
from pkid.storage.orderwrites import OrderWrites

#: Digest that the first audit record is chained to.
FIRST_DIGEST: Final = bytes(32)
#: CRLs of an authority that are kept: the current one, and what deltas refer to.
CRLS_KEPT: Final = 8
#: Audit records by which the search terms may lag behind.
TERMS_SLICE: Final = 512

_UNIQUE_VIOLATIONS: Final = frozenset(
    {
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
        sqlite3.SQLITE_CONSTRAINT_ROWID,
    }
)

_INSERT_CERTIFICATE: Final = (
    f"INSERT INTO certificates ({rows.CERTIFICATE_COLUMNS}) "
    f"VALUES ({rows.marks(rows.CERTIFICATE_COLUMNS)})"
)
_INSERT_TRANSACTION: Final = (
    f"INSERT INTO transactions ({rows.TRANSACTION_COLUMNS}) "
    f"VALUES ({rows.marks(rows.TRANSACTION_COLUMNS)})"
)
_INSERT_ENTITY: Final = (
    f"INSERT INTO entities ({rows.ENTITY_COLUMNS}) "
    f"VALUES ({rows.marks(rows.ENTITY_COLUMNS)})"
)
_INSERT_CREDENTIAL: Final = (
    f"INSERT INTO credentials ({rows.CREDENTIAL_COLUMNS}) "
    f"VALUES ({rows.marks(rows.CREDENTIAL_COLUMNS)})"
)
_INSERT_APPROVAL: Final = (
    f"INSERT INTO approvals ({rows.APPROVAL_COLUMNS}) "
    f"VALUES ({rows.marks(rows.APPROVAL_COLUMNS)})"
)
_INSERT_ARCHIVED_KEY: Final = (
    f"INSERT INTO archived_keys ({rows.ARCHIVED_KEY_COLUMNS}) "
    f"VALUES ({rows.marks(rows.ARCHIVED_KEY_COLUMNS)})"
)
_UPDATE_ENTITY: Final = (
    f"UPDATE entities SET ({rows.ENTITY_COLUMNS}) = "
    f"({rows.marks(rows.ENTITY_COLUMNS)}) WHERE name = ? AND version = ?"
)
_UPDATE_APPROVAL: Final = (
    f"UPDATE approvals SET ({rows.APPROVAL_COLUMNS}) = "
    f"({rows.marks(rows.APPROVAL_COLUMNS)}) WHERE id = ? AND version = ?"
)
_UNLIMITED: Final = (
    "SELECT 1 FROM credentials WHERE id = ? AND uses_left IS NULL "
    "AND (expires IS NULL OR expires > ?)"
)
_USE_ONCE: Final = (
    "UPDATE credentials SET uses_left = uses_left - 1 WHERE id = ? "
    "AND uses_left > 0 AND (expires IS NULL OR expires > ?)"
)
_INSERT_CRL: Final = (
    f"INSERT INTO crls ({rows.CRL_HEAD}, der) "
    f"VALUES ({rows.marks(rows.CRL_HEAD + ', der')})"
)
_FORGET_CRLS: Final = """
DELETE FROM crls WHERE authority = ?1 AND part = ?2 AND delta = ?3
AND number <= (SELECT number FROM crls WHERE authority = ?1 AND part = ?2
    AND delta = ?3 ORDER BY number DESC LIMIT 1 OFFSET ?4)
"""
_OUTBOX_HEAD: Final = rows.OUTBOX_HEAD
_PRUNE_OUTBOX: Final = (
    "DELETE FROM outbox WHERE id <= (SELECT min(position) FROM publishers)"
)
_UPSERT_ENTRY: Final = """
INSERT INTO crl_entries
    (authority, part, serial, not_after, released, revision, entry)
SELECT authority, crl_partition, serial, not_after, ?, ?, ?
FROM certificates WHERE authority = ? AND serial = ?
ON CONFLICT (authority, part, serial) DO UPDATE SET
    released = excluded.released, revision = excluded.revision, entry = excluded.entry
"""
#: Statuses of certificates that are on a CRL.
_ON_CRL: Final = (CertificateStatus.HELD, CertificateStatus.REVOKED)
# One statement, run by SQLite alone: it needs no Python for each row.
_INDEX_TERMS: Final = """
INSERT OR IGNORE INTO audit_terms (term, sequence, by_prefix)
SELECT field.value, audit.sequence, field.key IN ('peer', 'subject')
FROM audit, json_each(audit.event) AS field
WHERE audit.sequence > ? AND audit.sequence <= ?
AND field.key IN
    ('peer', 'transaction', 'certificate', 'entity', 'subject', 'actor')
"""


@dataclass(frozen=True, slots=True)
class _Told:
    """What a CRL is to say of a certificate."""

    reason: RevocationReason | None
    at: datetime | None
    invalidity_at: datetime | None


def chain(previous: bytes, event: str) -> bytes:
    """The next digest of the audit chain.

    :param previous: digest of the record before; `FIRST_DIGEST` for the first.
    :param event: canonical text, from `rows.encode_event`.
    """
    return hashlib.sha256(previous + event.encode("ascii")).digest()


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the counters stood before a unit."""

    sequence: int
    digest: bytes
    revision: int
    names: int


class UnitWriter:
    """Executes units on the writing connection.

    It also keeps what must not be read again for every row: the last audit digest,
    the next outbox id and the numbers of names. All three follow a rollback.

    :param connection: writes to the store; nothing else may write through it.
    """

    __slots__ = (
        "_connection",
        "_cursor",
        "_digest",
        "_fresh_names",
        "_indexed",
        "_names",
        "_outbox_id",
        "_revision",
        "_sequence",
        "_table",
    )

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._names: dict[str, int] = {}
        self._fresh_names: list[str] = []
        self._sequence = 0
        self._digest = FIRST_DIGEST
        self._indexed = 0
        self._revision = 0
        self._outbox_id = 0
        self._table: dict[type, Callable[[Any], None]] = {
            InsertCertificate: self._insert_certificate,
            UpdateCertificate: self._update_certificate,
            InsertTransaction: self._insert_transaction,
            UpdateTransaction: self._update_transaction,
            SweepTransactions: self._sweep_transactions,
            ConsumeCredential: self._consume_credential,
            InsertCredential: self._insert_credential,
            DeleteCredential: self._delete_credential,
            RecordFailure: self._record_failure,
            InsertEntity: self._insert_entity,
            UpdateEntity: self._update_entity,
            InsertApproval: self._insert_approval,
            UpdateApproval: self._update_approval,
            AppendAudit: self._append_audit,
            InsertAuditCheckpoint: self._insert_audit_checkpoint,
            Enqueue: self._enqueue,
            AdvancePublisher: self._advance_publisher,
            RetainPublishers: self._retain_publishers,
            InsertAuthority: self._insert_authority,
            UpdateAuthority: self._update_authority,
            InsertCRL: self._insert_crl,
            InsertKeyHandle: self._insert_key_handle,
            InsertArchivedKey: self._insert_archived_key,
            **OrderWrites(self._cursor).table(),
        }
        self.reload()

    # --- transactions ---------------------------------------------------------------

    def reload(self) -> None:
        """Read the counters from the store: at the start and after a rollback."""
        find = self._cursor.execute
        self._names = dict(find("SELECT text, id FROM names").fetchall())
        self._fresh_names.clear()
        last = find(
            "SELECT sequence, digest FROM audit ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        self._sequence, self._digest = last or (0, FIRST_DIGEST)
        (self._indexed,) = find(
            "SELECT value FROM meta WHERE key = 'audit-indexed'"
        ).fetchone()
        (self._revision,) = find(
            "SELECT value FROM meta WHERE key = 'crl-revision'"
        ).fetchone()
        (highest,) = find(_OUTBOX_HEAD).fetchone()
        # Never an id again: a publisher would take the new task for done.
        self._outbox_id = max(self._outbox_id, highest)

    def begin(self) -> None:
        """Open the transaction that takes a batch of units."""
        self._cursor.execute("BEGIN IMMEDIATE")

    def apply(self, writes: Sequence[Write]) -> None:
        """Execute one unit; after any fault the batch has to be rolled back."""
        table = self._table
        write: Write | None = None
        try:
            for write in writes:
                table[type(write)](write)
        except sqlite3.IntegrityError as fault:
            if write is not None and fault.sqlite_errorcode in _UNIQUE_VIOLATIONS:
                raise WriteConflict(write) from None
            raise

    def apply_apart(self, writes: Sequence[Write]) -> None:
        """Execute one unit whole, or nothing of it.

        :raises WriteConflict: the unit was taken back, its neighbours stand.
        :raises sqlite3.Error: the state of the whole batch is not known.
        """
        execute = self._cursor.execute
        mark = _Mark(
            self._sequence, self._digest, self._revision, len(self._fresh_names)
        )
        execute("SAVEPOINT unit")
        unfinished = True
        try:
            self.apply(writes)
            unfinished = False
        finally:
            if unfinished and self._connection.in_transaction:
                execute("ROLLBACK TO unit")
                self._return_to(mark)
            if self._connection.in_transaction:
                execute("RELEASE unit")

    def _return_to(self, mark: _Mark) -> None:
        self._sequence, self._digest = mark.sequence, mark.digest
        self._revision = mark.revision
        while len(self._fresh_names) > mark.names:
            del self._names[self._fresh_names.pop()]

    def commit(self) -> None:
        """Make the batch durable; this waits for the disk and belongs off the reactor.

        :raises sqlite3.Error: nothing of the batch may be taken for stored.
        """
        indexed = self._indexed
        if self._sequence - indexed >= TERMS_SLICE:
            indexed = self._index_terms(indexed)
        self._cursor.execute("COMMIT")
        self._indexed = indexed
        self._fresh_names.clear()

    def _index_terms(self, start: int) -> int:
        stop = min(self._sequence, start + 4 * TERMS_SLICE)
        self._cursor.execute(_INDEX_TERMS, (start, stop))
        self._cursor.execute(
            "UPDATE meta SET value = ? WHERE key = 'audit-indexed'", (stop,)
        )
        return stop

    def rollback(self) -> None:
        """Take the whole batch back and start from what is stored."""
        if self._connection.in_transaction:
            self._cursor.execute("ROLLBACK")
        self.reload()

    def _number(self, text: str) -> int:
        """The number of a repeated name; a new one gets its own."""
        number = self._names.get(text)
        if number is None:
            self._cursor.execute("INSERT INTO names (text) VALUES (?)", (text,))
            number = self._cursor.lastrowid or 0
            self._names[text] = number
            self._fresh_names.append(text)
        return number

    def _change(self, write: Write, statement: str, values: rows.Row) -> None:
        """Execute a statement that must change exactly one row."""
        if self._cursor.execute(statement, values).rowcount != 1:
            raise WriteConflict(write)

    # --- certificates ---------------------------------------------------------------

    def _insert_certificate(self, write: InsertCertificate) -> None:
        row = rows.from_certificate(write.record, self._number)
        self._cursor.execute(_INSERT_CERTIFICATE, row)
        self._cursor.execute(
            "INSERT INTO certificate_der (id, der) VALUES (?, ?)",
            (self._cursor.lastrowid, write.der),
        )
        record = write.record
        if record.status in _ON_CRL:
            told = _Told(record.reason, record.revoked_at, record.invalidity_at)
            self._tell_crl(record.reference, told)

    def _update_certificate(self, write: UpdateCertificate) -> None:
        self._change(
            write,
            "UPDATE certificates SET status = ?, update_state = ?, reason = ?, "
            "revoked_at = ?, invalidity_at = ? "
            "WHERE authority = ? AND serial = ? AND status = ? AND update_state = ?",
            (
                int(write.status),
                int(write.update_state),
                None if write.reason is None else int(write.reason),
                rows.from_optional_time(write.revoked_at),
                rows.from_optional_time(write.invalidity_at),
                self._names.get(write.reference.authority),
                rows.from_serial(write.reference.serial),
                int(write.expected_status),
                int(write.expected_update_state),
            ),
        )
        if write.status in _ON_CRL:
            told = _Told(write.reason, write.revoked_at, write.invalidity_at)
            self._tell_crl(write.reference, told)
        elif write.expected_status in _ON_CRL:
            # It leaves the full CRL; delta CRLs have to say so.
            released = RevocationReason.REMOVE_FROM_CRL
            self._tell_crl(write.reference, _Told(released, write.released_at, None))

    # --- transactions ---------------------------------------------------------------

    def _insert_transaction(self, write: InsertTransaction) -> None:
        row = rows.from_transaction(write.record, self._number)
        self._cursor.execute(_INSERT_TRANSACTION, row)

    def _update_transaction(self, write: UpdateTransaction) -> None:
        key, certificate = write.key, write.certificate
        # A transaction that has its certificate keeps it: None says nothing about it.
        self._change(
            write,
            "UPDATE transactions SET status = ?, due = ?, state = ?, "
            "certificate_authority = coalesce(?, certificate_authority), "
            "certificate_serial = coalesce(?, certificate_serial), "
            "version = version + 1 WHERE transaction_id = ? AND alias = ? "
            "AND protocol = ? AND requester = ? AND version = ?",
            (
                int(write.status),
                rows.from_time(write.due),
                write.state,
                None if certificate is None else self._number(certificate.authority),
                None if certificate is None else rows.from_serial(certificate.serial),
                key.transaction_id,
                self._names.get(key.alias),
                self._names.get(key.protocol),
                key.requester,
                write.expected_version,
            ),
        )

    def _sweep_transactions(self, write: SweepTransactions) -> None:
        self._cursor.execute(
            "DELETE FROM transactions WHERE id IN (SELECT id FROM transactions "
            "WHERE status IN (3, 4, 5) AND due < ? LIMIT ?)",
            (rows.from_time(write.before), write.limit),
        )

    # --- credentials ----------------------------------------------------------------

    def _consume_credential(self, write: ConsumeCredential) -> None:
        values = (write.id, rows.from_time(write.at))
        execute = self._cursor.execute
        # Without a limit nothing changes: to look is cheaper than to write the row.
        if execute(_UNLIMITED, values).fetchone() is None:
            self._change(write, _USE_ONCE, values)

    def _insert_credential(self, write: InsertCredential) -> None:
        self._cursor.execute(_INSERT_CREDENTIAL, rows.from_credential(write.credential))

    def _delete_credential(self, write: DeleteCredential) -> None:
        self._change(write, "DELETE FROM credentials WHERE id = ?", (write.id,))

    def _record_failure(self, write: RecordFailure) -> None:
        # One deleted meanwhile has nothing left to lock, and the audit record of the
        # failure, which is in the same unit, must not be lost with it.
        self._cursor.execute(
            "UPDATE credentials SET failures = ?, locked_until = ? WHERE id = ?",
            (write.failures, rows.from_optional_time(write.locked_until), write.id),
        )

    # --- entities and approvals -----------------------------------------------------

    def _insert_entity(self, write: InsertEntity) -> None:
        self._cursor.execute(_INSERT_ENTITY, rows.from_entity(write.entity))

    def _update_entity(self, write: UpdateEntity) -> None:
        entity = write.entity
        *row, version = rows.from_entity(entity)
        values = (*row, version + 1, entity.name, version)
        self._change(write, _UPDATE_ENTITY, values)

    def _insert_approval(self, write: InsertApproval) -> None:
        self._cursor.execute(_INSERT_APPROVAL, rows.from_approval(write.approval))

    def _update_approval(self, write: UpdateApproval) -> None:
        approval = write.approval
        *row, version = rows.from_approval(approval)
        values = (*row, version + 1, approval.id, version)
        self._change(write, _UPDATE_APPROVAL, values)

    # --- audit and outbox -----------------------------------------------------------

    def _append_audit(self, write: AppendAudit) -> None:
        event = rows.encode_event(write.event)
        digest = chain(self._digest, event)
        sequence = self._sequence + 1
        self._cursor.execute(
            "INSERT INTO audit (sequence, digest, event) VALUES (?, ?, ?)",
            (sequence, digest, event),
        )
        self._sequence, self._digest = sequence, digest

    def _insert_audit_checkpoint(self, write: InsertAuditCheckpoint) -> None:
        self._cursor.execute(
            "INSERT INTO audit_checkpoints (sequence, digest, signature, at) "
            "VALUES (?, ?, ?, ?)",
            (write.sequence, write.digest, write.signature, rows.from_time(write.at)),
        )

    def _enqueue(self, write: Enqueue) -> None:
        self._outbox_id += 1
        self._cursor.execute(
            "INSERT INTO outbox (id, kind, subject) VALUES (?, ?, ?)",
            (self._outbox_id, write.kind, write.subject),
        )

    def _advance_publisher(self, write: AdvancePublisher) -> None:
        self._cursor.execute(
            "INSERT INTO publishers (name, position) VALUES (?1, ?2) "
            "ON CONFLICT (name) DO UPDATE SET position = max(position, ?2)",
            (write.name, write.position),
        )
        self._cursor.execute(_PRUNE_OUTBOX)

    def _retain_publishers(self, write: RetainPublishers) -> None:
        # One by one: SQL is never put together from values.
        known = self._cursor.execute("SELECT name FROM publishers").fetchall()
        for (name,) in known:
            if name not in write.names:
                self._cursor.execute("DELETE FROM publishers WHERE name = ?", (name,))

    # --- authorities, CRLs, keys ----------------------------------------------------

    def _insert_authority(self, write: InsertAuthority) -> None:
        self._cursor.execute(
            "INSERT INTO authorities "
            "(name, certificate, chain, key, created, crl_number, active, "
            "predecessor, phase, links) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows.from_authority(write.record, self._number),
        )

    def _update_authority(self, write: UpdateAuthority) -> None:
        row = rows.from_authority(write.record, self._number)
        self._change(
            write,
            "UPDATE authorities SET certificate = ?2, chain = ?3, phase = ?9, "
            "links = ?10 WHERE name = ?1 AND phase = ?11",
            (*row, write.expected_phase),
        )

    def _insert_crl(self, write: InsertCRL) -> None:
        record = write.record
        authority = self._names.get(record.authority)
        number = rows.from_serial(record.number)
        self._change(
            write,
            "UPDATE authorities SET crl_number = ? WHERE name = ? AND crl_number < ?",
            (number, authority, number),
        )
        made = (record,) if write.delta is None else (record, write.delta)
        for one in made:
            row = rows.from_crl(one, authority)
            self._cursor.execute(_INSERT_CRL, row)
            self._cursor.execute(_FORGET_CRLS, (*row[:3], CRLS_KEPT))
        if record.base is None:
            self._cursor.execute(
                "DELETE FROM crl_entries WHERE authority = ? AND part = ? "
                "AND released = 1 AND revision <= ?",
                (authority, record.partition, record.revision),
            )

    def _tell_crl(self, reference: CertificateReference, told: _Told) -> None:
        """Keep what the next CRL says of a certificate."""
        self._revision += 1
        self._cursor.execute(
            _UPSERT_ENTRY,
            (
                int(told.reason is RevocationReason.REMOVE_FROM_CRL),
                self._revision,
                encode_crl_entry(
                    reference.serial,
                    told.at or rows.to_time(0),
                    int(told.reason or 0),
                    told.invalidity_at,
                ),
                self._names.get(reference.authority),
                rows.from_serial(reference.serial),
            ),
        )
        self._cursor.execute(
            "UPDATE meta SET value = ? WHERE key = 'crl-revision'", (self._revision,)
        )

    def _insert_archived_key(self, write: InsertArchivedKey) -> None:
        row = rows.from_archived_key(write.record, self._number)
        self._cursor.execute(_INSERT_ARCHIVED_KEY, row)

    def _insert_key_handle(self, write: InsertKeyHandle) -> None:
        record = write.record
        self._cursor.execute(
            "INSERT INTO key_handles (name, purpose, spec, public_key, created) "
            "VALUES (?, ?, ?, ?, ?)",
            (
                record.name,
                record.purpose,
                record.spec,
                record.public_key,
                rows.from_time(record.created),
            ),
        )
