"""Threads for private-key work that takes long: RSA, ML-DSA, key derivation.

The arithmetic releases the interpreter lock, so as many threads as cores are of use.
The queue is bounded: work that would wait too long is refused at once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail

from pkid.errors import ErrorCode, PKIError

P = ParamSpec("P")
R = TypeVar("R")

MAX_WAITING: Final = 1024
MAX_PACED: Final = 256


class KeyThreads:
    """The `Workers` port: a bounded pool of threads.

    :param call_in_reactor: ``reactor.callFromThread``.
    :param threads: how many; None takes one for each core.
    :param max_waiting: calls that may be under way or wait; more are ``BUSY``.
    """

    def __init__(
        self,
        call_in_reactor: Callable[[Callable[[], None]], object],
        *,
        threads: int | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._call_in_reactor = call_in_reactor
        self._max_waiting = max_waiting
        self._waiting = 0
        self._stopped = False
        self._paced: deque[tuple[Generator[None, None, Any], Deferred[Any]]] = deque()
        self._pool = ThreadPoolExecutor(
            threads or os.cpu_count() or 1, thread_name_prefix="pkid-keys"
        )

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        """Call a plain function of frozen values in a thread.

        :raises PKIError: through the Deferred: ``BUSY`` when the queue is full,
            ``UNAVAILABLE`` after `stop`.
        """
        if self._stopped:
            return fail(PKIError(ErrorCode.UNAVAILABLE, "the key threads are stopped"))
        if self._waiting >= self._max_waiting:
            return fail(
                PKIError(ErrorCode.BUSY, "too many signatures wait", retry_after=1)
            )
        self._waiting += 1
        done: Deferred[R] = Deferred()
        future = self._pool.submit(function, *args, **kwargs)
        future.add_done_callback(
            lambda finished: self._call_in_reactor(lambda: self._finish(finished, done))
        )
        return done

    def pace(self, steps: Generator[None, None, R]) -> Deferred[R]:
        """Run a generator in the reactor's thread, a step a turn.

        One generator at a time, in the order in which they came.

        :returns: its return value.
        :raises PKIError: as `run`.
        """
        if self._stopped:
            return fail(PKIError(ErrorCode.UNAVAILABLE, "the key threads are stopped"))
        if len(self._paced) >= MAX_PACED:
            return fail(
                PKIError(ErrorCode.BUSY, "too many derivations wait", retry_after=1)
            )
        done: Deferred[R] = Deferred()
        self._paced.append((steps, done))
        if len(self._paced) == 1:
            self._call_in_reactor(self._step)
        return done

    def _step(self) -> None:
        steps, done = self._paced[0]
        try:
            next(steps)
        except StopIteration as stop:
            self._paced.popleft()
            done.callback(stop.value)
        except PKIError:
            self._paced.popleft()
            done.errback()
        if self._paced:
            self._call_in_reactor(self._step)

    def _finish(self, future: Future[R], done: Deferred[R]) -> None:
        self._waiting -= 1
        fault = future.exception()
        if fault is None:
            done.callback(future.result())
        else:
            done.errback(fault)

    def stop(self) -> None:
        """Take no more work and end the threads when what they do is done."""
        self._stopped = True
        self._pool.shutdown(wait=False)
