"""What CRLs are made of, read in a worker's thread on a connection of its own.

A hundred thousand entries come in pieces of a few hundred, joined as they come: at no
time does each of them stand in memory by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from pkid.engine.records import CRLEntries
from pkid.errors import ErrorCode, PKIError
from pkid.storage import rows
from pkid.storage.connections import connect_reader

_SLICE: Final = 512
_SCOPE: Final = "authority = (SELECT id FROM names WHERE text = ?) AND part = ? "
_FULL: Final = (
    f"SELECT entry FROM crl_entries WHERE {_SCOPE}"
    "AND released = 0 AND not_after >= ? ORDER BY serial"
)
_DELTA: Final = (
    f"SELECT entry FROM crl_entries WHERE {_SCOPE}"
    "AND not_after >= ? AND revision > ? ORDER BY serial"
)


@dataclass(frozen=True, slots=True)
class CRLScope:
    """Which entries.

    :ivar after: revision after which they changed, for a delta CRL; None for a full.
    """

    authority: str
    partition: int
    after: int | None = None


def read_crl_entries(
    database: Path, scope: CRLScope, not_expired_at: datetime
) -> CRLEntries:
    """Entries of certificates that are not expired at that time, by serial.

    :raises PKIError: ``UNAVAILABLE`` when the store cannot be read.

    Cost: about 100 ms for 100,000, most of it pages of the database; blocks.
    """
    end = rows.from_time(not_expired_at)
    try:
        with closing(connect_reader(database)) as connection:
            # One read transaction: the revision is that of what is read.
            connection.execute("BEGIN")
            (revision,) = connection.execute(
                "SELECT value FROM meta WHERE key = 'crl-revision'"
            ).fetchone()
            values: rows.Row = (scope.authority, scope.partition, end)
            statement = _FULL
            if scope.after is not None:
                statement, values = _DELTA, (*values, scope.after)
            found = list(_pieces(connection.execute(statement, values)))
    except sqlite3.Error as fault:
        raise PKIError(
            ErrorCode.UNAVAILABLE,
            "the entries of a CRL cannot be read",
            hint=str(fault),
            retry_after=60,
        ) from fault
    pieces = tuple(piece for piece, _ in found)
    return CRLEntries(pieces, sum(count for _, count in found), revision)


def _pieces(cursor: sqlite3.Cursor) -> Iterator[tuple[bytes, int]]:
    while entries := cursor.fetchmany(_SLICE):
        yield b"".join([entry for (entry,) in entries]), len(entries)
