"""How the process ends when it cannot go on: with a status that is not zero."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import Any, Final

STATUS_FAULT: Final = 1
STATUS_DISK: Final = 3


def stop_with(reactor: Any, status: int) -> None:  # noqa: ANN401 - twistd's reactor
    """Stop in order, then end with a status.

    twistd itself would end with 0, and a supervisor would not start us again.
    """
    atexit.register(_end, status)
    if reactor.running:
        reactor.stop()
    else:
        reactor.callWhenRunning(reactor.stop)


def end_now(status: int) -> None:
    """End at once, writing nothing more: the disk failed.

    After a failed flush nobody knows what the file holds; only reading it again in a
    new process tells (FLT-10).
    """
    _flush()
    os._exit(status)


def _end(status: int) -> None:
    _flush()
    os._exit(status)


def tell(text: str, *, error: bool = False) -> None:
    """Write to the terminal itself: twistd turns ``sys.stdout`` into the log."""
    stream = sys.__stderr__ if error else sys.__stdout__
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.write(text)
            stream.flush()


def is_terminal() -> bool:
    """Whether somebody may read what `tell` writes."""
    return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _flush() -> None:
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
