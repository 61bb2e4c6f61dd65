"""Copy the database while it is in use.

Plain blocking functions of paths: run them in a worker thread. They open a connection
of their own, so the writer goes on.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from pathlib import Path

from pkid.errors import ErrorCode, PKIError
from pkid.storage.connections import connect_reader
from pkid.storage.directory import create_private_file, sync_directory


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, checked, durable and mode 0600.

    :param source: the database file.
    :param target: must not be there; appears when the copy is complete.
    :raises PKIError: ``CONFLICT`` when the target is there, ``UNAVAILABLE`` when the
        copy cannot be made or is damaged.

    Cost: one read and one write of the whole database, and a look at each page.
    """
    if target.exists():
        raise PKIError(ErrorCode.CONFLICT, "there is a file of this name already")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        create_private_file(temporary)
        _copy(source, temporary)
        _sync(temporary)
        temporary.replace(target)
    except (sqlite3.Error, OSError) as fault:
        raise PKIError(
            ErrorCode.UNAVAILABLE, "the backup failed", hint=str(fault)
        ) from fault
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(target.parent)


def _copy(source: Path, target: Path) -> None:
    reader = connect_reader(source)
    copy = sqlite3.connect(target, isolation_level=None)
    try:
        # All pages in one step: a transaction between two steps would start it anew.
        reader.backup(copy)
        # A copy is one file, whole without a journal beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        found = copy.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            raise sqlite3.DatabaseError("the copy is damaged")
    finally:
        copy.close()
        reader.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
