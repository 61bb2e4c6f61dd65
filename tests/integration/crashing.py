"""Runs twistd and kills the process at its Nth step towards durability.

Steps are flushes of files and directories, and commits of the store. Nothing of this is
in the product: the functions are wrapped from outside.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


class Crash:
    """Counts steps and ends the process with SIGKILL at one of them."""

    def __init__(self, at: int) -> None:
        self.left = at

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a step before and a step after it."""

        def wrapped(*arguments: Any, **settings: Any) -> Any:
            self.step()
            done = function(*arguments, **settings)
            self.step()
            return done

        return wrapped

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """``crashing.py N twistd-arguments``: N steps, then the end; 0 for none."""
    from pkid.storage.filestore import FileStore

    crash = Crash(int(sys.argv.pop(1)))
    os.fsync = crash.around(os.fsync)
    FileStore.commit = crash.around(FileStore.commit)  # type: ignore[method-assign]
    sys.argv[0] = "twistd"
    from twisted.scripts.twistd import run

    run()
    sys.stderr.write(f"steps {-crash.left}\n")


if __name__ == "__main__":
    main()
