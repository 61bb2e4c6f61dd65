"""The store in one directory: SQLite, one writer, a lock, and a reserve of space.

``pkid.sqlite`` is the truth. It implements the `Store` port for one process; the lock
on the directory keeps every other daemon away.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred

from pkid.engine.records import CRLEntries
from pkid.engine.writes import Write
from pkid.errors import ErrorCode, PKIError
from pkid.storage.backup import copy_database
from pkid.storage.connections import connect_reader, connect_writer
from pkid.storage.crlentries import CRLScope, read_crl_entries
from pkid.storage.directory import (
    DirectoryLock,
    Reserve,
    check_private,
    check_writable,
    create_private_file,
    make_private_directory,
    refuse,
)
from pkid.storage.reads import StoreReads
from pkid.storage.upgrades import check_version, prepare_schema, schema_version
from pkid.storage.writer import MAX_WAITING, CallInReactor, GroupCommit
from pkid.storage.writes import UnitWriter, chain

DATABASE: Final = "pkid.sqlite"
_RESERVE: Final = "reserve"
#: Audit records whose chain is checked at each start; `pkid fsck` checks them all.
_CHECKED_RECORDS: Final = 1000
#: Tables without which nothing can be signed; they are small in every store.
_CHECKED_TABLES: Final = ("meta", "names", "authorities", "key_handles", "credentials")


class FileStore(StoreReads):
    """The `Store` port over one directory.

    Use `open`; the constructor takes what `open` has prepared.
    """

    def __init__(
        self,
        directory: Path,
        lock: DirectoryLock,
        writer: sqlite3.Connection,
        reader: sqlite3.Connection,
        group: GroupCommit,
    ) -> None:
        super().__init__(reader)
        self._directory = directory
        self._lock = lock
        self._writing = writer
        self._group = group

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        call_in_reactor: CallInReactor | None = None,
        on_fatal: Callable[[PKIError], None] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> FileStore:
        """Open the store of a state directory, making what is missing.

        :param directory: the state directory; made with mode 0700 when it is not there.
        :param call_in_reactor: ``reactor.callFromThread``; None commits in the calling
            thread, for tools and tests without a reactor.
        :param on_fatal: called when the disk failed: the process has to end, with
            ``os._exit`` and a status that is not zero, for no flush may be repeated.
        :param max_waiting: commits that may wait before more are ``BUSY``.
        :raises PKIError: ``UNAVAILABLE`` with a hint: another daemon has the
            directory, its permissions are too wide, the schema is newer than the
            program, or the database is damaged.

        Cost: some tens of milliseconds, whatever the size.
        """
        make_private_directory(directory)
        check_writable(directory)
        lock = DirectoryLock(directory)
        database = directory / DATABASE
        writer: sqlite3.Connection | None = None
        try:
            create_private_file(database)
            writer = connect_writer(database)
            prepare_schema(writer, database)
            _check_quickly(writer)
            group = GroupCommit(
                UnitWriter(writer),
                Reserve(directory / _RESERVE),
                call_in_reactor=call_in_reactor,
                on_fatal=on_fatal,
                max_waiting=max_waiting,
            )
            return cls(directory, lock, writer, connect_reader(database), group)
        except BaseException as fault:
            if writer is not None:
                writer.close()
            lock.release()
            if isinstance(fault, sqlite3.Error):
                raise _damaged(str(fault)) from fault
            raise

    def commit(self, *writes: Write) -> Deferred[None]:
        """Make all writes durable together; fires once they are.

        :raises WriteConflict: through the Deferred; nothing was stored.
        :raises PKIError: through the Deferred: ``BUSY`` when too many wait,
            ``UNAVAILABLE`` when the store cannot write.
        """
        return self._group.commit(writes)

    def read_crl_entries(
        self,
        authority: str,
        partition: int,
        *,
        not_expired_at: datetime,
        after: int | None = None,
    ) -> CRLEntries:
        """What a CRL is made of; blocks, so run it in a worker thread.

        :raises PKIError: as `pkid.storage.crlentries.read_crl_entries` says.
        """
        return read_crl_entries(
            self._directory / DATABASE,
            CRLScope(authority, partition, after),
            not_expired_at,
        )

    def close(self) -> Deferred[None]:
        """Answer what waits, then let go of files and lock; fires when that is done."""
        return self._group.stop().addCallback(self._close)

    def _close(self, _: None) -> None:
        if self._group.failed:
            # The last connection that can write copies the journal into the database
            # when it closes: after a failed disk that is for the next start.
            return
        # The writer last: it clears the journal away.
        self._connection.close()
        self._writing.close()
        self._lock.release()

    def back_up(self, target: Path) -> None:
        """Copy the database as it is now; blocks, so run it in a worker thread.

        :raises PKIError: as `copy_database` says.
        """
        copy_database(self._directory / DATABASE, target)


class ReadOnlyStore(StoreReads):
    """The reads of a store, for tools: it takes no lock and writes nothing."""

    @classmethod
    def open(cls, directory: Path) -> ReadOnlyStore:
        """Open the store of a state directory to read it.

        :raises PKIError: ``NOT_FOUND`` when there is none, ``UNAVAILABLE`` when it is
            damaged, open to other users, or newer than the program.
        """
        database = directory / DATABASE
        if not database.exists():
            raise PKIError(ErrorCode.NOT_FOUND, "there is no store in this directory")
        check_private(directory)
        check_private(database)
        try:
            reader = connect_reader(database)
            check_version(schema_version(reader))
        except sqlite3.Error as fault:
            raise _damaged(str(fault)) from fault
        return cls(reader)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _damaged(fault: str) -> PKIError:
    return refuse(
        "the database cannot be used", f"run pkid fsck; restore a backup ({fault})"
    )


def _check_quickly(connection: sqlite3.Connection) -> None:
    """Look at what is small and matters most, and at the end of the audit chain.

    A check of every page takes seconds with a million certificates; `pkid fsck` does.
    """
    for table in _CHECKED_TABLES:
        found = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if found != ("ok",):
            raise _damaged(str(found[0]))
    records = connection.execute(
        "SELECT sequence, digest, event FROM audit ORDER BY sequence DESC LIMIT ?",
        (_CHECKED_RECORDS + 1,),
    ).fetchall()
    for (sequence, digest, event), (before, previous, _) in pairwise(records):
        if before != sequence - 1 or chain(previous, event) != digest:
            raise refuse(
                f"audit record {sequence} does not follow the one before",
                "run pkid verify-audit: somebody changed the audit log",
            )
