from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pkid.app.loops import Chore, Loop
from pkid.errors import ErrorCode, PKIError


def loop_of(run: object, clock: Clock) -> Loop:
    return Loop(Chore("test", 5.0, run), clock)  # type: ignore[arg-type]


def test_a_chore_runs_again_and_again() -> None:
    clock, runs = Clock(), []

    async def run() -> int:
        runs.append(clock.seconds())
        return 1

    loop_of(run, clock).start()
    clock.pump([5, 5, 5])
    assert runs == [5, 10, 15]


def test_a_chore_that_fails_is_run_again() -> None:
    clock, runs = Clock(), []

    async def run() -> int:
        runs.append(clock.seconds())
        if len(runs) == 1:
            raise RuntimeError("broken")
        if len(runs) == 2:
            raise PKIError(ErrorCode.UNAVAILABLE, "not now")
        return 0

    loop = loop_of(run, clock)
    loop.start()
    clock.advance(5)
    assert loop.failing
    clock.advance(5)
    assert loop.failing
    clock.advance(5)
    assert not loop.failing
    assert len(runs) == 3


def test_runs_do_not_overlap() -> None:
    clock, begun = Clock(), []
    gate: Deferred[int] = Deferred()

    async def run() -> int:
        begun.append(clock.seconds())
        return await gate

    loop = loop_of(run, clock)
    loop.start()
    clock.pump([5, 5, 5])
    assert begun == [5]
    gate.callback(1)
    assert clock.getDelayedCalls()


def test_stop_waits_for_the_run_that_has_begun() -> None:
    clock = Clock()
    gate: Deferred[int] = Deferred()

    async def run() -> int:
        return await gate

    loop = loop_of(run, clock)
    loop.start()
    clock.advance(5)
    stopped = loop.stop()
    assert not stopped.called
    gate.callback(1)
    assert stopped.called
    assert not clock.getDelayedCalls()


def test_stop_before_the_first_run_is_at_once() -> None:
    clock = Clock()

    async def run() -> int:
        raise AssertionError("must not run")

    loop = loop_of(run, clock)
    loop.start()
    assert loop.stop().called
    clock.advance(60)
