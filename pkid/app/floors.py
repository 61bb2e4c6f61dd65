"""Versions that are not old enough to be dangerous; asserted at every start.

**Source:** SEC-110 and the vulnerabilities named there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Final

FLOORS: Final = {
    "twisted": (26, 4, 0),
    "pyopenssl": (26, 1, 0),
    "cryptography": (50, 0, 0),
    "pyasn1": (0, 6, 4),
}
_NUMBER: Final = re.compile(r"\d+")


def too_old(installed: Callable[[str], str] = version) -> Iterator[str]:
    """A sentence for each package below its floor."""
    for package, floor in FLOORS.items():
        found = installed(package)
        if _numbers(found, len(floor)) < floor:
            wanted = ".".join(map(str, floor))
            yield (
                f"{package} {found} has known vulnerabilities; pkid needs {wanted} or"
                " later"
            )


def _numbers(text: str, count: int) -> tuple[int, ...]:
    numbers = [int(digits) for digits in _NUMBER.findall(text)[:count]]
    return (*numbers, *[0] * (count - len(numbers)))
