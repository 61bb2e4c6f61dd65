"""Lengths of time as they stand in the configuration: ``2y``, ``90d``, ``1h30m``.

Pure. A year is 365 days, a week 7; there are no months, whose length would be a guess.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_SECONDS: Final = {
    "y": 365 * 86400,
    "w": 7 * 86400,
    "d": 86400,
    "h": 3600,
    "m": 60,
    "s": 1,
}
_PART: Final = re.compile(r"(\d{1,10})([ywdhms])", re.ASCII)
_WHOLE: Final = re.compile(
    r"(?:\d{1,10}y)?(?:\d{1,10}w)?(?:\d{1,10}d)?"
    r"(?:\d{1,10}h)?(?:\d{1,10}m)?(?:\d{1,10}s)?",
    re.ASCII,
)
LONGEST: Final = timedelta(days=365 * 100)


def decode_duration(text: str) -> timedelta:
    """The length of time that ``text`` names, largest unit first.

    :raises ValueError: it is none, or longer than a hundred years.
    """
    if not text or not _WHOLE.fullmatch(text):
        message = "is no duration; write it like 2y, 90d, 24h, 10m or 30s"
        raise ValueError(message)
    seconds = sum(int(count) * _SECONDS[unit] for count, unit in _PART.findall(text))
    if seconds > LONGEST.total_seconds():
        message = "is longer than a hundred years"
        raise ValueError(message)
    return timedelta(seconds=seconds)


def encode_duration(duration: timedelta) -> str:
    """The shortest text that `decode_duration` reads back; whole seconds only."""
    rest = int(duration.total_seconds())
    for unit, seconds in _SECONDS.items():
        if rest and rest % seconds == 0:
            return f"{rest // seconds}{unit}"
    return f"{rest}s"
