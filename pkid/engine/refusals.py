"""How many refusals are written to the audit trail: all, until somebody floods it.

A refusal costs its sender nothing and us a durable write, so beyond a steady rate they
are only counted; the next one that is written says how many were left out.
"""

from __future__ import annotations

from datetime import datetime

from pkid.engine.ports import Clock
from pkid.errors import PKIError

BURST = 200.0
PER_SECOND = 20.0


class RefusalLimiter:
    """A token bucket."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens = BURST
        self._filled: datetime = clock.now()
        self._left_out = 0

    def admits(self) -> bool:
        """Whether one more refusal is written; if not, it is counted."""
        now = self._clock.now()
        elapsed = max(0.0, (now - self._filled).total_seconds())
        self._filled = now
        self._tokens = min(BURST, self._tokens + elapsed * PER_SECOND)
        if self._tokens < 1:
            self._left_out += 1
            return False
        self._tokens -= 1
        return True

    def told(self, error: PKIError) -> PKIError:
        """The error, with the count of those left out before it."""
        if not self._left_out:
            return error
        count, self._left_out = self._left_out, 0
        return PKIError(
            error.code,
            f"{error.detail} (and {count} refusals before it were not recorded)",
            hint=error.hint,
        )
