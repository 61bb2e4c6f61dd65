"""Runs twistd on a disk whose flush fails once a file says so."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path


def main() -> None:
    """``failing.py FLAG twistd-arguments``: flushes fail while FLAG is there."""
    from pkid.storage.writes import UnitWriter

    flag = Path(sys.argv.pop(1))
    commit = UnitWriter.commit

    def failing(writer: UnitWriter) -> None:
        if flag.exists():
            fault = sqlite3.OperationalError("disk I/O error")
            fault.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise fault
        commit(writer)

    UnitWriter.commit = failing  # type: ignore[method-assign]
    sys.argv[0] = "twistd"
    from twisted.scripts.twistd import run

    run()


if __name__ == "__main__":
    main()
