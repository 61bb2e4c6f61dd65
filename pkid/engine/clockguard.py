"""Notice when the wall clock jumps, and issue nothing until a person agreed.

Certificates are made of times: a clock that is an hour or ten years off makes them
wrong, and a firmware fault or a lost battery does just that. Small corrections are
normal and followed.

**Source:** requirement FLT-12.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError

TOLERATED = timedelta(minutes=5)
_HINT = "set the clock right, then: pkid clock confirm"


class ClockGuard:
    """Holds the wall clock against the monotonic one.

    :ivar jump: how far the clock jumped and nobody has confirmed; None is well.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._origin = self._reading()
        self.jump: timedelta | None = None

    def start(self, last_known: datetime | None) -> None:
        """Begin, knowing the time of the last thing that was recorded.

        :param last_known: a start behind it (but for `TOLERATED`) is a jump back.
        """
        now = self._clock.now()
        if last_known is not None and now < last_known - TOLERATED:
            self.jump = now - last_known

    def check(self) -> None:
        """Refuse while a jump is not confirmed.

        :raises PKIError: ``UNAVAILABLE``.
        """
        reading = self._reading()
        moved = reading - self._origin
        self._origin = reading
        if abs(moved) > TOLERATED:
            self.jump = moved + (self.jump or timedelta())
        if self.jump is not None and abs(self.jump) <= TOLERATED:
            self.jump = None
        if self.jump is not None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the service's clock is not certain",
                hint=f"it jumped by {self.jump}; {_HINT}",
                retry_after=60,
            )

    def confirm(self) -> None:
        """A person says that the clock is right as it is."""
        self._origin = self._reading()
        self.jump = None

    def _reading(self) -> datetime:
        """The wall time at which the monotonic clock was zero."""
        return self._clock.now() - timedelta(seconds=self._clock.monotonic())
