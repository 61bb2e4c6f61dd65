"""Key threads: work off the reactor, answers on it, a queue with an end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pkid.errors import ErrorCode, PKIError
from pkid.keys.threads import KeyThreads
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
