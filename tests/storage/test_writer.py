"""Group commit: what goes together, what fails alone, what is refused."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pkid.engine.writes import (
    AppendAudit,
    ConsumeCredential,
    InsertAuthority,
    InsertCertificate,
    InsertCredential,
    InsertCRL,
    InsertEntity,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError
from pkid.storage.directory import Reserve
from pkid.storage.filestore import FileStore
from tests.storage import samples
from tests.storage.contract import revocation
from tests.storage.samples import NOW, Pump, result_of


class Gate:
    """Holds the commit thread before its first COMMIT until it is opened."""

    def __init__(self, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.commits = 0
        writer = type(store._group._writer)
        commit = writer.commit

        def held(this: Any) -> None:
            assert self.open.wait(30)
            self.commits += 1
            commit(this)

        monkeypatch.setattr(writer, "commit", held)


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture
def store(tmp_path: Path, pump: Pump) -> Iterator[FileStore]:
    opened = FileStore.open(
        tmp_path / "state", call_in_reactor=pump.calls.put, max_waiting=100
    )
    yield opened
    pump.result_of(opened.close())


@pytest.fixture
def gate(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(store, monkeypatch)


def outcomes_of(deferreds: list[Deferred[None]]) -> list[list[Any]]:
    boxes: list[list[Any]] = [[] for _ in deferreds]
    for deferred, box in zip(deferreds, boxes, strict=True):
        deferred.addBoth(box.append)
    return boxes


def settle(pump: Pump, boxes: list[list[Any]]) -> list[Any]:
    pump.until(lambda: all(boxes))
    return [None if box[0] is None else box[0].value for box in boxes]


def test_what_waits_during_a_flush_goes_into_one_commit(
    store: FileStore, pump: Pump, gate: Gate
) -> None:
    deferreds = [store.commit(*samples.issuance(number)) for number in range(50)]
    boxes = outcomes_of(deferreds)
    gate.open.set()
    assert settle(pump, boxes) == [None] * 50
    assert gate.commits == 2
    assert result_of(store.audit_head())[0] == 50


def test_nothing_is_answered_or_seen_before_it_is_durable(
    store: FileStore, pump: Pump, gate: Gate
) -> None:
    (box,) = boxes = outcomes_of([store.commit(*samples.issuance(1))])
    assert box == []
    assert result_of(store.audit_head())[0] == 0
    gate.open.set()
    settle(pump, boxes)
    assert result_of(store.audit_head())[0] == 1


def test_a_conflict_fails_its_unit_and_none_of_its_neighbours(
    store: FileStore, pump: Pump, gate: Gate
) -> None:
    units = [samples.issuance(number) for number in (1, 2, 3, 2, 4, 1, 5)]
    boxes = outcomes_of([store.commit(*unit) for unit in units])
    gate.open.set()
    found = settle(pump, boxes)
    assert [type(each) for each in found] == [
        type(None),
        type(None),
        type(None),
        WriteConflict,
        type(None),
        WriteConflict,
        type(None),
    ]
    assert found[3].write is units[3][0]
    records = result_of(samples.listed(store.audit_records()))
    assert [record.event.entity for record in records] == [
        f"device-{number}" for number in (1, 2, 3, 4, 5)
    ]
    assert len(result_of(store.outbox(10))) == 5


def test_of_many_who_use_a_one_time_credential_at_once_one_wins(
    store: FileStore, pump: Pump, gate: Gate
) -> None:
    boxes = outcomes_of([store.commit(InsertCredential(samples.credential(1)))])
    boxes += outcomes_of(
        [
            store.commit(ConsumeCredential(1, NOW), *samples.issuance(number))
            for number in range(20)
        ]
    )
    gate.open.set()
    found = settle(pump, boxes)
    assert sum(each is None for each in found) == 2
    assert result_of(store.audit_head())[0] == 1


def test_more_than_may_wait_are_busy(store: FileStore, pump: Pump, gate: Gate) -> None:
    boxes = outcomes_of(
        [store.commit(AppendAudit(samples.event())) for _ in range(105)]
    )
    refused = [box[0].value for box in boxes if box]
    assert [fault.code for fault in refused] == [ErrorCode.BUSY] * 4
    assert refused[0].retry_after == 1
    gate.open.set()
    settle(pump, boxes)
    assert result_of(store.audit_head())[0] == 101


def test_closing_answers_all_that_wait(
    store: FileStore, pump: Pump, gate: Gate
) -> None:
    boxes = outcomes_of([store.commit(*samples.issuance(n)) for n in range(10)])
    closing = outcomes_of([store.close()])
    late = outcomes_of([store.commit(*samples.issuance(11))])
    assert late[0][0].value.code is ErrorCode.UNAVAILABLE
    gate.open.set()
    pump.until(lambda: closing[0])
    assert settle(pump, boxes) == [None] * 10


def test_what_an_answer_brings_about_is_stored_after_it(
    store: FileStore, pump: Pump
) -> None:
    chained = [
        store.commit(*samples.issuance(number)).addCallback(
            lambda _, number=number: store.commit(*samples.issuance(number + 100))
        )
        for number in range(10)
    ]
    assert settle(pump, outcomes_of(chained)) == [None] * 10
    assert result_of(store.audit_head())[0] == 20


def test_without_a_reactor_a_commit_is_done_when_it_returns(tmp_path: Path) -> None:
    store = FileStore.open(tmp_path / "state")
    seen: list[int] = []

    async def twice() -> None:
        await store.commit(*samples.issuance(1))
        seen.append((await store.audit_head())[0])
        await store.commit(*samples.issuance(2))
        seen.append((await store.audit_head())[0])

    result_of(twice())
    assert seen == [1, 2]
    result_of(store.close())


# --- a disk that fails ----------------------------------------------------------


def failing(
    store: FileStore, code: int, monkeypatch: pytest.MonkeyPatch, *, times: int = 1
) -> None:
    """Let the next COMMITs fail with this result of SQLite."""
    writer = type(store._group._writer)
    commit = writer.commit
    left = [times]

    def fail(this: Any) -> None:
        if left[0] == 0:
            commit(this)
            return
        left[0] -= 1
        fault = sqlite3.OperationalError("injected")
        fault.sqlite_errorcode = code
        raise fault

    monkeypatch.setattr(writer, "commit", fail)


@pytest.fixture
def fatal() -> list[PKIError]:
    return []


@pytest.fixture
def plain(tmp_path: Path, fatal: list[PKIError]) -> FileStore:
    return FileStore.open(tmp_path / "plain", on_fatal=fatal.append)


def code_of(call: Callable[[], Deferred[None]]) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        result_of(call())
    return caught.value.code


@pytest.mark.requirement("FLT-10")
@pytest.mark.parametrize(
    "code",
    [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT],
)
def test_after_a_failed_flush_nothing_is_stored_or_tried_again(
    plain: FileStore,
    fatal: list[PKIError],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing(plain, code, monkeypatch)
    unit = samples.issuance(1)
    assert code_of(lambda: plain.commit(*unit)) is ErrorCode.UNAVAILABLE
    assert [fault.code for fault in fatal] == [ErrorCode.UNAVAILABLE]
    assert code_of(lambda: plain.commit(*unit)) is ErrorCode.UNAVAILABLE
    assert len(fatal) == 1
    assert result_of(plain.audit_head())[0] == 0
    result_of(plain.close())


@pytest.mark.requirement("FLT-10")
def test_a_failed_flush_fails_all_that_wait_behind_it(
    store: FileStore, pump: Pump, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(store, sqlite3.SQLITE_IOERR_FSYNC, monkeypatch, times=99)
    boxes = outcomes_of([store.commit(*samples.issuance(n)) for n in range(9)])
    found = settle(pump, boxes)
    assert {fault.code for fault in found} == {ErrorCode.UNAVAILABLE}


def test_a_commit_that_is_refused_for_now_is_tried_by_the_next(
    plain: FileStore, fatal: list[PKIError], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(plain, sqlite3.SQLITE_BUSY, monkeypatch)
    unit = samples.issuance(1)
    assert code_of(lambda: plain.commit(*unit)) is ErrorCode.UNAVAILABLE
    assert fatal == []
    result_of(plain.commit(*unit))
    records = result_of(samples.listed(plain.audit_records()))
    assert [record.sequence for record in records] == [1]
    result_of(plain.close())


def limit(store: FileStore, pages: int) -> None:
    """Let the database grow by so many pages and no more."""
    writing = store._writing
    (count,) = writing.execute("PRAGMA page_count").fetchone()
    writing.execute(f"PRAGMA max_page_count = {count + pages}").fetchone()


def test_without_space_all_but_what_revokes_is_refused_until_there_is_some(
    plain: FileStore, fatal: list[PKIError], monkeypatch: pytest.MonkeyPatch
) -> None:
    result_of(plain.commit(*samples.issuance(1)))
    limit(plain, 10)
    big = InsertCertificate(samples.certificate(2), bytes(200_000))
    monkeypatch.setattr(Reserve, "restore", lambda _: False)
    assert code_of(lambda: plain.commit(big)) is ErrorCode.UNAVAILABLE
    assert code_of(lambda: plain.commit(*samples.issuance(3))) is ErrorCode.UNAVAILABLE
    result_of(plain.commit(revocation(1), AppendAudit(samples.event())))
    huge = revocation(1), InsertCRL(samples.crl(1))
    assert code_of(lambda: plain.commit(*huge)) is ErrorCode.CONFLICT
    monkeypatch.undo()
    limit(plain, 1_000_000)
    result_of(plain.commit(big))
    assert fatal == []
    result_of(plain.close())


def test_what_revokes_is_tried_again_with_the_reserve_but_once(
    plain: FileStore,
) -> None:
    result_of(plain.commit(InsertAuthority(samples.authority())))
    limit(plain, 10)
    crl = replace(samples.crl(1), der=bytes(500_000))
    assert code_of(lambda: plain.commit(InsertCRL(crl))) is ErrorCode.UNAVAILABLE
    assert result_of(plain.latest_crl("issuing")) is None
    result_of(plain.commit(InsertCRL(samples.crl(1))))
    result_of(plain.close())


def test_an_entity_name_is_free_again_when_its_commit_failed(
    plain: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(plain, sqlite3.SQLITE_BUSY, monkeypatch)
    unit = InsertEntity(samples.entity())
    assert code_of(lambda: plain.commit(unit)) is ErrorCode.UNAVAILABLE
    result_of(plain.commit(unit))
    result_of(plain.close())
