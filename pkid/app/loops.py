"""Periodic work: each loop runs its function, logs what goes wrong, and goes on.

A run never overlaps the one before, and a fault never ends the loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pkid.errors import PKIError


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to be done again and again.

    :ivar seconds: from the end of one run to the begin of the next.
    :ivar run: does it; gives how much was done.
    """

    name: str
    seconds: float
    run: Callable[[], Awaitable[int]]


class Loop:
    """Runs one chore until it is stopped."""

    _log = Logger()

    def __init__(self, chore: Chore, clock: IReactorTime) -> None:
        self._chore = chore
        self.name = chore.name
        self._clock = clock
        self._next: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._stopped = False
        self.failing = False

    def start(self) -> None:
        """Run for the first time after one period."""
        self._stopped = False
        self._next = self._clock.callLater(self._chore.seconds, self._begin)

    def stop(self) -> Deferred[None]:
        """Run no more; fires when a run that has begun is over."""
        self._stopped = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        done: Deferred[None] = Deferred()
        if self._running is None:
            done.callback(None)
        else:
            self._running.addBoth(lambda _: done.callback(None))
        return done

    def _begin(self) -> None:
        running = Deferred.fromCoroutine(self._run())
        if not running.called:
            self._running = running

    async def _run(self) -> None:
        try:
            count = await self._chore.run()
        except PKIError as error:
            self._report(error.detail, error.hint or "")
        except Exception:  # noqa: BLE001 - the one place: a chore never ends the loop
            self._log.failure("{chore} failed", chore=self._chore.name)
            self.failing = True
        else:
            self.failing = False
            if count:
                self._log.debug(
                    "{chore}: {count} done", chore=self._chore.name, count=count
                )
        finally:
            self._running = None
            if not self._stopped:
                self._next = self._clock.callLater(self._chore.seconds, self._begin)

    def _report(self, detail: str, hint: str) -> None:
        if not self.failing:
            self._log.warn(
                "{chore} could not be done: {detail}",
                chore=self._chore.name,
                detail=detail,
                hint=hint,
            )
        self.failing = True
