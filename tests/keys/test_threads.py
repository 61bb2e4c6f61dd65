"""Key threads: work off the reactor, answers on it, a queue with an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator

import pytest
from twisted.python.failure import Failure

from pkid.errors import ErrorCode, PKIError
from pkid.keys.threads import MAX_PACED, KeyThreads
from tests.storage.samples import Pump, result_of


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture
def threads(pump: Pump) -> Iterator[KeyThreads]:
    made = KeyThreads(pump.calls.put, threads=2, max_waiting=4)
    yield made
    made.stop()


def test_work_is_done_in_a_thread_and_answered_in_the_reactor(
    threads: KeyThreads, pump: Pump
) -> None:
    answered: list[str] = []
    deferred = threads.run(lambda: threading.current_thread().name)
    deferred.addCallback(
        lambda name: answered.extend((name, threading.current_thread().name))
    )
    pump.until(lambda: answered)
    assert answered[0].startswith("pkid-keys")
    assert answered[1] == threading.current_thread().name


def test_arguments_go_in_and_exceptions_come_out(
    threads: KeyThreads, pump: Pump
) -> None:
    assert pump.result_of(threads.run(divmod, 17, 5)) == (3, 2)
    assert pump.result_of(threads.run(int, "ff", base=16)) == 255
    with pytest.raises(ZeroDivisionError):
        pump.result_of(threads.run(divmod, 1, 0))


def test_more_than_may_wait_are_busy_until_some_are_done(
    threads: KeyThreads, pump: Pump
) -> None:
    gate = threading.Event()
    waiting = [threads.run(gate.wait, 30) for _ in range(4)]
    with pytest.raises(PKIError) as caught:
        result_of(threads.run(gate.wait, 30))
    assert caught.value.code is ErrorCode.BUSY
    assert caught.value.retry_after == 1
    gate.set()
    assert all(pump.result_of(deferred) for deferred in waiting)
    assert pump.result_of(threads.run(divmod, 4, 2)) == (2, 0)


def test_stopped_threads_refuse(threads: KeyThreads) -> None:
    threads.stop()
    with pytest.raises(PKIError) as caught:
        result_of(threads.run(divmod, 1, 1))
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_paced_work_goes_a_step_a_turn_one_after_another() -> None:
    turns: list[Callable[[], None]] = []
    workers = KeyThreads(turns.append, threads=1)
    seen: list[str] = []

    def work(name: str) -> Generator[None, None, str]:
        for step in range(2):
            seen.append(f"{name}{step}")
            yield
        return name

    results: list[str] = []
    for name in ("a", "b"):
        workers.pace(work(name)).addCallback(results.append)
    for _ in range(6):
        assert len(turns) == 1
        turns.pop()()
    assert seen == ["a0", "a1", "b0", "b1"]
    assert results == ["a", "b"]
    assert not turns
    workers.stop()


def test_paced_work_is_bounded_and_its_refusals_come_back() -> None:
    turns: list[Callable[[], None]] = []
    workers = KeyThreads(turns.append, threads=1)

    def refuse() -> Generator[None, None, None]:
        yield
        raise PKIError(ErrorCode.BAD_ALGORITHM, "no")

    failures: list[Failure] = []
    waiting = [workers.pace(refuse()) for _ in range(MAX_PACED)]
    for deferred in waiting:
        deferred.addErrback(failures.append)
    workers.pace(refuse()).addErrback(failures.append)
    assert [failure.value.code for failure in failures] == [ErrorCode.BUSY]
    while turns:
        turns.pop()()
    assert len(failures) == MAX_PACED + 1
    workers.stop()
