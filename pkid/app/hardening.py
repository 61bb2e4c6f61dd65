"""What the process does to itself: umask, no core dump, not to be traced.

Best effort where the system has the last word. Python cannot erase what it once held in
memory; that nobody else reads that memory is all that is done here.

**Source:** SEC-101, SEC-103.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from typing import Final

PRIVATE_UMASK: Final = 0o077
_PR_SET_DUMPABLE: Final = 4


def close_to_others() -> None:
    """Let every file that is made from now on be the owner's alone.

    twistd does so only when it goes into the background.
    """
    os.umask(PRIVATE_UMASK)


def forbid_dumps() -> None:
    """No core file, and no tracing by other processes of the same user.

    To be called after privileges were dropped: that sets the flag back.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def is_root() -> bool:
    """Whether we run with all power."""
    return os.geteuid() == 0
