"""FileStore keeps the contract of every store, and its own promises."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pkid.engine.ports import CertificateQuery
from pkid.engine.writes import (
    AppendAudit,
    InsertAuthority,
    InsertCertificate,
    InsertCRL,
    InsertEntity,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError
from pkid.storage.filestore import DATABASE, FileStore, ReadOnlyStore
from pkid.storage.fsck import fsck
from tests.storage import samples
from tests.storage.contract import StoreContract
from tests.storage.ordercontract import OrderContract
from tests.storage.samples import result_of


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(directory: Path) -> Iterator[FileStore]:
    opened = FileStore.open(directory)
    yield opened
    result_of(opened.close())


@pytest.fixture
def resolve() -> Callable[[Any], Any]:
    return result_of


class TestFileStore(StoreContract, OrderContract):
    """The contract, in one thread."""


class TestReopenedFileStore:
    """What must still be there after a restart."""

    def test_everything_is_there_again(self, directory: Path) -> None:
        store = FileStore.open(directory)
        for number in range(1, 6):
            result_of(store.commit(*samples.issuance(number)))
        head = result_of(store.audit_head())
        result_of(store.close())
        store = FileStore.open(directory)
        record = samples.certificate(3)
        assert result_of(store.find_certificate(record.reference)) == record
        assert result_of(store.audit_head()) == head
        result_of(store.commit(*samples.issuance(6)))
        assert result_of(store.audit_head())[0] == 6
        assert len(result_of(store.outbox(10))) == 6
        result_of(store.close())
        assert fsck(directory) == []

    def test_a_closed_store_refuses(self, directory: Path) -> None:
        store = FileStore.open(directory)
        result_of(store.close())
        with pytest.raises(PKIError) as caught:
            result_of(store.commit(*samples.issuance(1)))
        assert caught.value.code is ErrorCode.UNAVAILABLE


@pytest.mark.requirement("FLT-20", "ENG-46")
def test_a_second_store_in_one_directory_is_refused_with_a_hint(
    directory: Path,
) -> None:
    first = FileStore.open(directory)
    with pytest.raises(PKIError, match="in use by another daemon") as caught:
        FileStore.open(directory)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert str(directory) in (caught.value.hint or "")
    result_of(first.commit(*samples.issuance(1)))
    result_of(first.close())
    second = FileStore.open(directory)
    result_of(second.close())


def test_a_read_only_store_reads_beside_the_daemon_and_after_it(
    directory: Path, store: FileStore
) -> None:
    result_of(store.commit(*samples.issuance(1)))
    reading = ReadOnlyStore.open(directory)
    record = samples.certificate(1)
    assert result_of(reading.find_certificate(record.reference)) == record
    result_of(store.commit(*samples.issuance(2)))
    assert result_of(reading.audit_head())[0] == 2
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reading._connection.execute("DELETE FROM audit")
    reading.close()
    result_of(store.close())
    before = (directory / DATABASE).read_bytes()
    reading = ReadOnlyStore.open(directory)
    assert result_of(reading.audit_head())[0] == 2
    reading.close()
    assert (directory / DATABASE).read_bytes() == before


def test_a_read_only_store_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(PKIError) as caught:
        ReadOnlyStore.open(tmp_path)
    assert caught.value.code is ErrorCode.NOT_FOUND


@pytest.mark.requirement("SEC-101")
def test_files_are_private_whatever_the_umask(directory: Path) -> None:
    old = os.umask(0)
    try:
        store = FileStore.open(directory)
        result_of(store.commit(*samples.issuance(1)))
        store.back_up(directory / "copy.sqlite")
        modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
        result_of(store.close())
    finally:
        os.umask(old)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {f"{DATABASE}-wal", f"{DATABASE}-shm", "reserve", "copy.sqlite"} < set(modes)
    assert set(modes.values()) == {0o600}


@pytest.mark.requirement("SEC-100")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_database_open_to_others_is_refused(directory: Path, mode: int) -> None:
    result_of(FileStore.open(directory).close())
    (directory / DATABASE).chmod(mode)
    for opening in (FileStore, ReadOnlyStore):
        with pytest.raises(PKIError, match="open to other users"):
            opening.open(directory)
    (directory / DATABASE).chmod(0o600)
    result_of(FileStore.open(directory).close())


@pytest.mark.requirement("SEC-100")
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_directory_open_to_others_is_refused(directory: Path, mode: int) -> None:
    directory.mkdir(mode=0o700)
    directory.chmod(mode)
    with pytest.raises(PKIError, match="open to other users"):
        FileStore.open(directory)


@pytest.mark.requirement("SEC-100")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_database_of_another_user_is_refused(directory: Path) -> None:
    result_of(FileStore.open(directory).close())
    os.chown(directory / DATABASE, 1234, -1)
    with pytest.raises(PKIError, match="belongs to another user"):
        FileStore.open(directory)


@pytest.mark.requirement("SEC-100")
def test_a_directory_below_one_that_everybody_writes_to_is_refused(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PKIError, match="everybody may write"):
        FileStore.open(tmp_path / "state")


def test_a_file_that_is_no_database_is_refused(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    (directory / DATABASE).write_bytes(b"not a database" * 1000)
    (directory / DATABASE).chmod(0o600)
    with pytest.raises(PKIError, match="database cannot be used") as caught:
        FileStore.open(directory)
    assert "fsck" in (caught.value.hint or "")


@pytest.mark.requirement("SEC-105")
def test_a_changed_end_of_the_audit_log_is_seen_at_the_start(directory: Path) -> None:
    store = FileStore.open(directory)
    for number in range(1, 4):
        result_of(store.commit(*samples.issuance(number)))
    result_of(store.close())
    connection = sqlite3.connect(directory / DATABASE)
    connection.execute(
        "UPDATE audit SET event = replace(event, 'issued', 'denied') WHERE sequence = 2"
    )
    connection.commit()
    connection.close()
    with pytest.raises(PKIError, match="audit record 2"):
        FileStore.open(directory)


def test_searching_the_audit_log_finds_old_records_by_the_index(
    directory: Path, store: FileStore
) -> None:
    events = [
        AppendAudit(samples.event(number, peer=f"10.0.{number % 7}.1"))
        for number in range(3000)
    ]
    for start in range(0, 3000, 300):
        result_of(store.commit(*events[start : start + 300]))
    (indexed,) = (
        sqlite3.connect(directory / DATABASE)
        .execute("SELECT value FROM meta WHERE key = 'audit-indexed'")
        .fetchone()
    )
    assert indexed > 2000
    (oldest,) = result_of(store.search_audit("device-3", 5))
    assert oldest.event.entity == "device-3"
    everywhere = result_of(store.search_audit("10.0.5.1", 10_000))
    assert [record.event.entity for record in everywhere] == [
        f"device-{number}" for number in range(2999, -1, -1) if number % 7 == 5
    ]
    prefixed = result_of(store.search_audit("CN=device-29", 10_000))
    assert len(prefixed) == 111
    newest = result_of(store.search_audit("10.0.", 3))
    assert [record.sequence for record in newest] == [3000, 2999, 2998]


def test_no_read_stays_open_and_keeps_the_journal_from_being_cleared(
    directory: Path, store: FileStore
) -> None:
    result_of(store.commit(*samples.issuance(1)))
    for number in (2, 3):
        record = samples.certificate(number, fingerprint=b"same" * 8)
        result_of(store.commit(InsertCertificate(record, b"x")))
        named = samples.entity(f"device-{number}", vendor=f"CN=Vendor|4{number}")
        result_of(store.commit(InsertEntity(named)))
    reads = [
        lambda: store.find_certificate(samples.certificate(1).reference),
        lambda: store.get_certificate_der(samples.certificate(1).reference),
        lambda: store.find_certificate_by_fingerprint(b"same" * 8),
        lambda: store.find_entity_by_vendor("CN=Vendor|42"),
        lambda: store.find_transaction(samples.transaction(1).key),
        store.audit_head,
        lambda: store.search_audit("device-1", 1),
        lambda: store.search_certificates(CertificateQuery(subject_prefix="CN=d")),
    ]
    other = sqlite3.connect(directory / DATABASE, isolation_level=None)
    for read in reads:
        assert result_of(read())
        busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0
    other.close()


def test_of_many_crls_the_last_are_kept(directory: Path, store: FileStore) -> None:
    for name in ("issuing", "root"):
        result_of(store.commit(InsertAuthority(samples.authority(name))))
        result_of(store.commit(InsertCRL(samples.crl(1, name))))
    for number in range(2, 21):
        result_of(store.commit(InsertCRL(samples.crl(number))))
    connection = sqlite3.connect(directory / DATABASE)
    kept = connection.execute("SELECT number FROM crls ORDER BY number").fetchall()
    connection.close()
    numbers = [int.from_bytes(number, "big") for (number,) in kept]
    assert numbers == [1, *range(13, 21)]


@pytest.mark.requirement("ENG-46")
def test_a_backup_is_a_whole_store_while_the_daemon_works(
    directory: Path, store: FileStore, tmp_path: Path
) -> None:
    for number in range(1, 4):
        result_of(store.commit(*samples.issuance(number)))
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    store.back_up(restored / DATABASE)
    result_of(store.commit(*samples.issuance(4)))
    with pytest.raises(PKIError) as caught:
        store.back_up(restored / DATABASE)
    assert caught.value.code is ErrorCode.CONFLICT
    assert [path.name for path in restored.iterdir()] == [DATABASE]
    assert fsck(restored) == []
    copy = FileStore.open(restored)
    assert result_of(copy.audit_head())[0] == 3
    result_of(copy.commit(*samples.issuance(4)))
    result_of(copy.close())


def test_a_backup_that_fails_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    with pytest.raises(PKIError) as caught:
        store.back_up(tmp_path / "nowhere" / "copy.sqlite")
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert not (tmp_path / "nowhere").exists()


def test_a_store_that_cannot_be_read_is_unavailable(store: FileStore) -> None:
    store._connection.close()
    for read in (store.audit_head, store.list_credentials):
        with pytest.raises(PKIError) as caught:
            result_of(read())
        assert caught.value.code is ErrorCode.UNAVAILABLE


def test_a_serial_number_beyond_20_octets_is_refused(store: FileStore) -> None:
    reference = samples.CertificateReference("issuing", 1 << 160)
    record = samples.certificate(1, reference=reference)
    with pytest.raises(PKIError) as caught:
        result_of(store.commit(InsertCertificate(record, b"x")))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    result_of(store.commit(*samples.issuance(1)))


def test_a_value_that_cannot_be_stored_fails_its_unit_alone(store: FileStore) -> None:
    broken = samples.certificate(1, entity=object())
    with pytest.raises(sqlite3.Error):
        result_of(store.commit(InsertCertificate(broken, b"x")))
    result_of(store.commit(*samples.issuance(1)))
    with pytest.raises(WriteConflict):
        result_of(store.commit(*samples.issuance(1)))
