"""What reads and then writes, and finds that somebody wrote in between.

Rows change by compare-and-swap: a device's poll and an operator's approval may meet on
one transaction. The later of the two looks again and decides anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pkid.engine.writes import WriteConflict

T = TypeVar("T")

ATTEMPTS: Final = 4


async def look_again(work: Callable[[], Awaitable[T]]) -> T:
    """Do the work; do it again, from its first read, when it lost a race.

    :param work: reads all that it decides upon; nothing of it is stored when it raises.
    :raises WriteConflict: when it lost every time.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return await work()
        except WriteConflict:
            continue
    return await work()
