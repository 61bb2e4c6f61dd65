"""Slows down who guesses: failed authentications per address.

In memory on purpose: it bounds work, it decides nothing. Secrets that are guessed at
are locked in the store, for every process alike.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Peer

FAILURES_PER_MINUTE: Final = 10
MAX_ADDRESSES: Final = 4096
_PERIOD: Final = 60.0


class FailureThrottle:
    """A bucket for each address that failed lately; the oldest are forgotten.

    Peers of a listener that only this host reaches are not counted: there an address
    tells nobody from another.
    """

    def __init__(self, clock: Clock, limit: int = FAILURES_PER_MINUTE) -> None:
        self._clock = clock
        self._limit = limit
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, peer: Peer) -> None:
        """Refuse an address that failed too often, for a while.

        :raises PKIError: ``BUSY`` with the time to wait.
        """
        if peer.address not in self._buckets:
            return
        level = self._level(peer.address)
        if level > self._limit - 1:
            wait = int((level - self._limit + 1) * _PERIOD / self._limit) + 1
            raise PKIError(
                ErrorCode.BUSY,
                "too many failed attempts from this address",
                hint=f"{peer.address} failed {self._limit} times within a minute",
                retry_after=wait,
            )

    def count(self, peer: Peer) -> None:
        """One more failure of this address."""
        if not peer.beyond_loopback or not peer.address:
            return
        level = self._level(peer.address) + 1.0
        self._buckets[peer.address] = (self._clock.now().timestamp(), level)
        self._buckets.move_to_end(peer.address)
        if len(self._buckets) > MAX_ADDRESSES:
            self._buckets.popitem(last=False)

    def _level(self, address: str) -> float:
        """How full the bucket is; it leaks ``limit`` failures a minute."""
        found = self._buckets.get(address)
        if found is None:
            return 0.0
        then, level = found
        passed = max(0.0, self._clock.now().timestamp() - then)
        return max(0.0, level - passed * self._limit / _PERIOD)
