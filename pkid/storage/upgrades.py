"""Make the tables, or bring those of an earlier version up to date, step by step.

Each step is one SQL file and one transaction that also writes the new version, so a
crash leaves the version before or the one after. The database is copied into
``backups/`` before the first step. A schema from the future is refused.

**Source:** faults FLT-22.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.storage.backup import copy_database
from pkid.storage.directory import make_private_directory, refuse

SCHEMA_VERSION: Final = 1
_PREFIX: Final = "upgrade-to-"


def packaged_steps() -> dict[int, str]:
    """The steps in the package: version that a step leads to, and its SQL."""
    folder = resources.files("pkid.storage") / "sql"
    return {
        int(file.name.removeprefix(_PREFIX).removesuffix(".sql")): file.read_text()
        for file in folder.iterdir()
        if file.name.startswith(_PREFIX)
    }


def packaged_schema() -> str:
    """The tables of `SCHEMA_VERSION`."""
    return (resources.files("pkid.storage") / "sql" / "schema.sql").read_text()


def schema_version(connection: sqlite3.Connection) -> int:
    """Version of the tables; 0 when there are none."""
    (tables,) = connection.execute(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"
    ).fetchone()
    if not tables:
        return 0
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return int(row[0]) if row else 0


def prepare_schema(
    connection: sqlite3.Connection,
    database: Path,
    *,
    wanted: int = SCHEMA_VERSION,
    steps: Mapping[int, str] | None = None,
) -> None:
    """Make the tables of a new database, or upgrade those that are there.

    :param connection: may write, in autocommit.
    :param database: the file, for its backup.
    :param wanted: the version that this program works with.
    :param steps: version that a step leads to, and its SQL; None takes the package's.
    :raises PKIError: ``UNAVAILABLE`` for a newer schema, or one that no step leads
        away from.
    """
    version = schema_version(connection)
    if version == 0:
        _execute_step(connection, packaged_schema(), SCHEMA_VERSION)
        version = SCHEMA_VERSION
    check_version(version, wanted)
    if version == wanted:
        return
    ways = packaged_steps() if steps is None else steps
    missing = [step for step in range(version + 1, wanted + 1) if step not in ways]
    if missing:
        raise PKIError(ErrorCode.UNAVAILABLE, f"no upgrade leads to schema {missing}")
    _back_up(database, version)
    for step in range(version + 1, wanted + 1):
        _execute_step(connection, ways[step], step)


def check_version(version: int, wanted: int = SCHEMA_VERSION) -> None:
    """Refuse tables that a newer program has made.

    :raises PKIError: ``UNAVAILABLE``.
    """
    if version > wanted:
        raise refuse(
            f"the store has schema {version}, this program knows {wanted}",
            "install the newer pkid again, or restore the backup of before",
        )


def _back_up(database: Path, version: int) -> None:
    folder = database.parent / "backups"
    make_private_directory(folder)
    target = folder / f"{database.stem}-schema-{version}.sqlite"
    # One from an upgrade that was broken off is as old as the tables still are, or
    # older; the copy made now is never worse.
    target.unlink(missing_ok=True)
    copy_database(database, target)


def _execute_step(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Run a script and write its version, in one transaction."""
    try:
        # The version is our own integer, and executescript takes no parameters.
        connection.executescript(
            f"BEGIN EXCLUSIVE; {script}\n"
            f"UPDATE meta SET value = {int(version)} WHERE key = 'schema'; COMMIT;"
        )
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
