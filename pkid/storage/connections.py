"""How SQLite is opened: always durable, never trusting what a file says it may do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

_KIBIBYTES_WRITER: Final = 64 * 1024
_KIBIBYTES_READER: Final = 16 * 1024
_STATEMENTS: Final = 256
# Nobody else writes; somebody with a shell must not hold the reactor up for long.
_BUSY_MILLISECONDS: Final = 200

_COMMON: Final = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}",
)
_WRITER: Final = (
    "PRAGMA journal_mode = WAL",
    # Nothing leaves the daemon that a power cut could take back.
    "PRAGMA synchronous = FULL",
    f"PRAGMA cache_size = -{_KIBIBYTES_WRITER}",
    f"PRAGMA journal_size_limit = {_KIBIBYTES_WRITER * 1024}",
    "PRAGMA secure_delete = FAST",
)
_READER: Final = ("PRAGMA query_only = ON", f"PRAGMA cache_size = -{_KIBIBYTES_READER}")


def connect_writer(database: Path) -> sqlite3.Connection:
    """The connection that writes, in autocommit; the file must be there.

    It is used by two threads in turn, never at once.
    """
    return _connect(database, "rw", _COMMON + _WRITER)


def connect_reader(database: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    return _connect(database, "ro", _COMMON + _READER)


def _connect(
    database: Path, mode: str, settings: tuple[str, ...]
) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(database.absolute()))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_STATEMENTS,
    )
    try:
        for setting in settings:
            connection.execute(setting).fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
