"""Group commit: many units of writes, one transaction, one flush of the disk.

The rows are written where `commit` is called, in the reactor's thread, a few
microseconds each; only COMMIT, which waits for the disk, runs in the commit thread.
While it runs the next units gather, and go together as the next batch. With all
statements in a second thread each of them would hand the interpreter lock to the busy
reactor and wait for its return: the same throughput, with ten times the latency.

When a unit cannot be written the batch is written again with a savepoint for each, so
that its conflict is its own. All answers of a batch, conflicts too,
wait for the COMMIT, for what they met is not durable before.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from pkid.engine.writes import (
    AdvancePublisher,
    AppendAudit,
    InsertAuditCheckpoint,
    InsertCRL,
    SweepTransactions,
    UpdateCertificate,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError
from pkid.storage.directory import Reserve
from pkid.storage.writes import UnitWriter

MAX_BATCH: Final = 512
MAX_WAITING: Final = 4096
_RETRY_SECONDS: Final = 30

_FATAL: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_MISUSE,
    }
)
# What a faulty value raises; it fails its unit, not the batch.
_FAULTY_VALUE: Final = (
    PKIError,
    ValueError,
    TypeError,
    ArithmeticError,
    LookupError,
    AttributeError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
# What goes on while the disk is full: nothing here makes a certificate.
_URGENT: Final = (UpdateCertificate, InsertCRL)
_RECORDS: Final = (
    AppendAudit,
    InsertAuditCheckpoint,
    AdvancePublisher,
    SweepTransactions,
)

#: Runs a function in the reactor's thread, as ``reactor.callFromThread`` does.
CallInReactor = Callable[[Callable[[], None]], object]


@dataclass(eq=False, slots=True)
class _Unit:
    """One `commit` that waits; ``fault`` is its own, not that of the batch."""

    writes: tuple[Write, ...]
    done: Deferred[None] = field(default_factory=Deferred)
    fault: Exception | None = None
    retried: bool = False

    @property
    def urgent(self) -> bool:
        """Whether it may use the space held back for a full disk."""
        return any(isinstance(write, _URGENT) for write in self.writes) or all(
            isinstance(write, _RECORDS) for write in self.writes
        )

    def finish(self) -> None:
        """Answer, now that the batch is durable."""
        if self.fault is None:
            self.done.callback(None)
        else:
            self.done.errback(self.fault)


def primary_code(fault: sqlite3.Error) -> int:
    """SQLite's primary result code of an error; 0 when it has none."""
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


def unavailable(detail: str, *, retry_after: int | None = None) -> PKIError:
    """A ``PKIError(UNAVAILABLE)`` that says to come back later."""
    return PKIError(ErrorCode.UNAVAILABLE, detail, retry_after=retry_after)


class GroupCommit:
    """Takes units, writes them in batches and answers when they are durable.

    :param writer: executes the writes.
    :param reserve: disk space held back for revocations.
    :param call_in_reactor: brings an answer back to the reactor's thread; None commits
        in the calling thread, for tools and tests without a reactor.
    :param on_fatal: called once when the disk failed: after a failed flush nothing
        that this process still holds can be trusted, so it has to end.
    :param max_waiting: units that may wait; more are ``BUSY``.
    """

    _log = Logger()

    def __init__(
        self,
        writer: UnitWriter,
        reserve: Reserve,
        *,
        call_in_reactor: CallInReactor | None = None,
        on_fatal: Callable[[PKIError], None] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._writer = writer
        self._reserve = reserve
        self._on_fatal = on_fatal
        self._max_waiting = max_waiting
        self._waiting: deque[_Unit] = deque()
        self._flying: list[_Unit] | None = None
        self._refusal: Callable[[], PKIError] | None = None
        self._full = not reserve.restore()
        self._failed = False
        self._when_idle: list[Deferred[None]] = []
        self._call_in_reactor = call_in_reactor
        self._thread = None if call_in_reactor is None else _CommitThread(self._flush)

    @property
    def failed(self) -> bool:
        """Whether the disk failed: the files are for the next start to open."""
        return self._failed

    def commit(self, writes: tuple[Write, ...]) -> Deferred[None]:
        """Queue one unit; fires when it is durable.

        :raises WriteConflict: through the Deferred; nothing of the unit was stored.
        :raises PKIError: through the Deferred: ``BUSY`` when too many wait,
            ``UNAVAILABLE`` when the disk is full or failed, or the store is closed.
        """
        unit = _Unit(writes)
        refusal = self._refuse(unit)
        if refusal is not None:
            return fail(refusal)
        self._waiting.append(unit)
        if self._flying is None:
            self._launch()
        return unit.done

    def stop(self) -> Deferred[None]:
        """Take no more units; fires when those that wait are answered."""
        self._refusal = self._refusal or _closed
        idle: Deferred[None] = Deferred()
        idle.addCallback(self._stop_thread)
        if self._flying is None:
            idle.callback(None)
        else:
            self._when_idle.append(idle)
        return idle

    def _stop_thread(self, _: None) -> None:
        if self._thread is not None:
            self._thread.stop()

    def _refuse(self, unit: _Unit) -> PKIError | None:
        if self._refusal is not None:
            return self._refusal()
        if len(self._waiting) >= self._max_waiting:
            return PKIError(ErrorCode.BUSY, "too many requests wait", retry_after=1)
        if self._full and not unit.urgent:
            self._full = not self._reserve.restore()
            if self._full:
                return _disk_full()
        return None

    # --- a batch ----------------------------------------------------------------------

    def _launch(self) -> None:
        """Write the rows of all that wait, and have them committed."""
        while self._waiting and self._flying is None:
            count = min(len(self._waiting), MAX_BATCH)
            batch = [self._waiting.popleft() for _ in range(count)]
            self._flying = batch
            fault = self._write(batch)
            if fault is not None:
                self._land(batch, fault)
            elif self._thread is None:
                self._land(batch, self._commit())
            else:
                self._thread.flush(batch)

    def _write(self, batch: list[_Unit]) -> sqlite3.Error | None:
        try:
            if not self._write_together(batch):
                self._writer.rollback()
                self._write_apart(batch)
        except sqlite3.Error as fault:
            return fault
        return None

    def _write_together(self, batch: list[_Unit]) -> bool:
        """Write all units at once; not, when one of them cannot be written."""
        self._writer.begin()
        try:
            for unit in batch:
                self._writer.apply(unit.writes)
        except _FAULTY_VALUE:
            return False
        return True

    def _write_apart(self, batch: list[_Unit]) -> None:
        """Write each unit in its own savepoint; the faulty ones fail alone.

        Savepoints keep a copy of every page that a unit touches, a third of the cost
        of writing it: they are worth it only when a unit is known to fail.
        """
        self._writer.begin()
        for unit in batch:
            try:
                self._writer.apply_apart(unit.writes)
            except _FAULTY_VALUE as fault:
                unit.fault = fault

    def _commit(self) -> sqlite3.Error | None:
        try:
            self._writer.commit()
        except sqlite3.Error as fault:
            return fault
        return None

    def _flush(self, batch: list[_Unit]) -> None:
        """In the commit thread: wait for the disk, then go back to the reactor."""
        fault = self._commit()
        if self._call_in_reactor is not None:
            self._call_in_reactor(lambda: self._landed(batch, fault))

    def _landed(self, batch: list[_Unit], fault: sqlite3.Error | None) -> None:
        self._land(batch, fault)
        self._launch()

    def _land(self, batch: list[_Unit], fault: sqlite3.Error | None) -> None:
        """Answer a batch, once it is durable or is known not to be.

        It counts as flying until all are answered, so that what the answers bring
        about gathers as one next batch.
        """
        if fault is None:
            for unit in batch:
                unit.finish()
        else:
            self._fall(batch, fault)
        self._flying = None
        if not self._waiting:
            idle, self._when_idle = self._when_idle, []
            for waiter in idle:
                waiter.callback(None)

    # --- a disk that does not take it ----------------------------------------------

    def _fall(self, batch: list[_Unit], fault: sqlite3.Error) -> None:
        code = primary_code(fault)
        if code not in _FATAL:
            try:
                self._writer.rollback()
            except sqlite3.Error as second:
                self._fail_for_good(batch, second)
                return
        if code in _FATAL:
            self._fail_for_good(batch, fault)
        elif code == sqlite3.SQLITE_FULL:
            self._fall_full(batch)
        else:
            self._log.error("commit failed: {fault}", fault=str(fault))
            _answer(batch, lambda: unavailable("the store cannot write", retry_after=1))

    def _fall_full(self, batch: list[_Unit]) -> None:
        """Give the reserve to what revokes; the rest has to wait for space."""
        if not self._full:
            self._log.error("the disk is full: no certificates are issued")
        self._full = True
        self._reserve.release()
        again = [unit for unit in batch if unit.urgent and not unit.retried]
        for unit in again:
            unit.retried = True
            unit.fault = None
        self._waiting.extendleft(reversed(again))
        _answer((unit for unit in batch if unit not in again), _disk_full)

    def _fail_for_good(self, batch: list[_Unit], fault: sqlite3.Error) -> None:
        """Release nothing more: what a failed flush left on the disk is not known."""
        self._failed = True
        self._log.critical("the disk failed: {fault}", fault=str(fault))
        self._refusal = _disk_failed
        waiting, self._waiting = self._waiting, deque()
        _answer([*batch, *waiting], _disk_failed)
        if self._on_fatal is not None:
            self._on_fatal(_disk_failed())


def _disk_full() -> PKIError:
    return PKIError(
        ErrorCode.UNAVAILABLE,
        "the store has no space left",
        hint="free space on the disk of the state directory; pkid goes on by itself",
        retry_after=_RETRY_SECONDS,
    )


def _disk_failed() -> PKIError:
    return unavailable("the store failed and needs a restart")


def _closed() -> PKIError:
    return unavailable("the store is closed")


def _answer(units: Iterable[_Unit], refusal: Callable[[], PKIError]) -> None:
    for unit in units:
        unit.done.errback(refusal())


class _CommitThread:
    """The one thread that waits for the disk."""

    __slots__ = ("_batches", "_flush", "_thread")

    def __init__(self, flush: Callable[[list[_Unit]], None]) -> None:
        self._flush = flush
        self._batches: SimpleQueue[list[_Unit] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name="pkid-commit", daemon=True
        )
        self._thread.start()

    def flush(self, batch: list[_Unit]) -> None:
        self._batches.put(batch)

    def stop(self) -> None:
        self._batches.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._flush(batch)


__all__ = ["CallInReactor", "GroupCommit", "WriteConflict", "primary_code"]
