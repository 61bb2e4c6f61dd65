"""fsck finds what was changed behind our back."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pkid.engine.writes import (
    InsertApproval,
    InsertAuditCheckpoint,
    InsertAuthority,
    InsertCRL,
    InsertTransaction,
)
from pkid.storage.filestore import DATABASE, FileStore
from pkid.storage.fsck import audit_findings, fsck, verify_audit
from tests.storage import samples
from tests.storage.samples import NOW, result_of

RECORDS = 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A store with something in each table, its audit head signed."""
    directory = tmp_path / "state"
    store = FileStore.open(directory)
    result_of(store.commit(InsertAuthority(samples.authority())))
    result_of(store.commit(InsertCRL(samples.crl(1))))
    for number in range(RECORDS):
        result_of(store.commit(*samples.issuance(number)))
    approval = samples.approval()
    waiting = samples.transaction(99, key=approval.transaction, certificate=None)
    waiting = replace(waiting, status=samples.TransactionStatus.PENDING)
    result_of(store.commit(InsertApproval(approval), InsertTransaction(waiting)))
    sequence, digest = result_of(store.audit_head())
    result_of(store.commit(InsertAuditCheckpoint(sequence, digest, b"s", NOW)))
    result_of(store.close())
    return directory


@pytest.fixture
def connection(directory: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(directory / DATABASE, isolation_level=None)
    yield opened
    opened.close()


@pytest.mark.requirement("ENG-46")
def test_a_good_store_has_no_findings(directory: Path) -> None:
    assert fsck(directory) == []
    assert verify_audit(directory) == []


@pytest.mark.requirement("ENG-46")
@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM certificate_der WHERE id = 3", "certificate without DER"),
        ("UPDATE certificate_der SET der = x'00' WHERE id = 3", "DER is not"),
        ("UPDATE certificates SET fingerprint = x'00' WHERE id = 3", "DER is not"),
        ("DELETE FROM certificates WHERE id = 3", "DER without certificate"),
        ("DELETE FROM certificates WHERE id = 3", "transaction of a certificate"),
        (
            "UPDATE transactions SET certificate_serial = NULL WHERE id = 3",
            "transaction that is issued",
        ),
        ("DELETE FROM transactions WHERE status = 1", "waiting approval"),
        ("UPDATE authorities SET crl_number = zeroblob(20)", "CRL number"),
        ("UPDATE certificates SET status = 4 WHERE id = 3", "does not say when"),
        ("UPDATE certificates SET status = 4 WHERE id = 3", "on no CRL"),
        (
            "INSERT INTO crl_entries SELECT authority, 0, serial, 0, 0, 1, x'00' "
            "FROM certificates WHERE id = 3",
            "CRL entry of a certificate that is not revoked",
        ),
        (
            "UPDATE certificates SET serial = zeroblob(20) WHERE id = 3",
            "certificate without audit record",
        ),
    ],
)
def test_what_does_not_fit_together_is_found(
    directory: Path, connection: sqlite3.Connection, statement: str, kind: str
) -> None:
    connection.execute(statement)
    connection.close()
    assert any(kind in finding.kind for finding in fsck(directory))


def test_a_damaged_page_is_found(directory: Path) -> None:
    database = directory / DATABASE
    octets = bytearray(database.read_bytes())
    middle = len(octets) // 2 // 4096 * 4096
    octets[middle : middle + 4096] = bytes(4096)
    database.write_bytes(octets)
    try:
        findings = fsck(directory)
    except sqlite3.DatabaseError:
        return
    assert findings


@pytest.mark.requirement("SEC-105")
def test_a_thousand_edits_of_the_audit_log_are_a_thousand_finds(
    connection: sqlite3.Connection,
) -> None:
    seeded = random.Random(20261123)
    for _ in range(1000):
        connection.execute("BEGIN")
        statement = _edit(seeded, connection)
        assert audit_findings(connection), statement
        connection.execute("ROLLBACK")
    assert audit_findings(connection) == []


def _edit(seeded: random.Random, connection: sqlite3.Connection) -> str:
    """Change, delete, exchange, cut off or insert records; says what it did."""
    first, second = sorted(seeded.sample(range(1, RECORDS + 1), 2))
    kind = seeded.choice(["text", "digest", "delete", "exchange", "cut", "insert"])
    if kind == "text":
        (event,) = connection.execute(
            "SELECT event FROM audit WHERE sequence = ?", (first,)
        ).fetchone()
        at = seeded.randrange(len(event))
        other = chr((ord(event[at]) - 31 + seeded.randrange(1, 94)) % 95 + 32)
        changed = event[:at] + (other if other != event[at] else "~~") + event[at + 1 :]
        connection.execute(
            "UPDATE audit SET event = ? WHERE sequence = ?", (changed, first)
        )
    elif kind == "digest":
        connection.execute(
            "UPDATE audit SET digest = ? WHERE sequence = ?",
            (seeded.randbytes(32), first),
        )
    elif kind == "delete":
        connection.execute("DELETE FROM audit WHERE sequence = ?", (first,))
    elif kind == "exchange":
        connection.execute(
            "UPDATE audit SET event = (SELECT event FROM audit WHERE sequence = ?) "
            "WHERE sequence = ?",
            (second, first),
        )
    elif kind == "cut":
        connection.execute("DELETE FROM audit WHERE sequence >= ?", (first,))
    else:
        connection.execute(
            "UPDATE audit SET sequence = -sequence WHERE sequence > ?", (first,)
        )
        connection.execute(
            "UPDATE audit SET sequence = 1 - sequence WHERE sequence < 0"
        )
        connection.execute(
            "INSERT INTO audit SELECT ?, digest, event FROM audit WHERE sequence = ?",
            (first + 1, first),
        )
    return f"{kind} {first} {second}"


def test_findings_of_a_kind_are_bounded(
    directory: Path, connection: sqlite3.Connection
) -> None:
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < 2000) INSERT INTO certificate_der SELECT i, x'00' FROM n"
    )
    connection.close()
    found = [finding.kind for finding in fsck(directory)]
    assert found.count("DER without certificate") == 100
