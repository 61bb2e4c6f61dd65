"""How many may come in, and what happens when no more can."""

from __future__ import annotations

import os
import resource

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pkid.transports.limits import Admission, Limits, has_spare_descriptors


class Port:
    """A listening port that counts."""

    def __init__(self) -> None:
        self.accepting = True
        self.changes = 0
        self.numberAccepts = 100

    def pauseProducing(self) -> None:
        self.accepting = False
        self.changes += 1

    def resumeProducing(self) -> None:
        self.accepting = True
        self.changes += 1


def test_each_address_has_its_own_count() -> None:
    admission = Admission(Clock(), Limits(connections_per_address=2))
    assert [admission.admit("a") for _ in range(3)] == [True, True, False]
    assert admission.admit("b")
    admission.leave("a")
    assert admission.admit("a")
    assert admission.connections == 3


def test_local_sockets_have_no_limit_of_their_own() -> None:
    admission = Admission(Clock(), Limits(connections_per_address=2))
    assert all(admission.admit("") for _ in range(10))


def test_ports_rest_while_the_house_is_full() -> None:
    clock, port, later = Clock(), Port(), Port()
    admission = Admission(clock, Limits(connections=3))
    admission.guard(port)
    for address in "abc":
        assert admission.admit(address)
    assert not port.accepting
    assert not admission.admit("d")
    admission.guard(later)
    assert not later.accepting
    clock.advance(1)
    assert not port.accepting
    admission.leave("a")
    clock.advance(1)
    assert port.accepting
    assert later.accepting
    assert admission.admit("d")
    admission.release(port)


def test_short_descriptors_are_logged_once_and_recovered_from() -> None:
    clock, port = Clock(), Port()
    room = [True]
    admission = Admission(clock, Limits(), has_room=lambda _: room[0])
    admission.guard(port)
    logged: list[str] = []

    def observe(event: dict[str, str]) -> None:
        logged.append(str(event["log_format"]))

    globalLogPublisher.addObserver(observe)
    try:
        room[0] = False
        assert admission.admit("a")
        for _ in range(20):
            assert not port.accepting
            assert not admission.admit("a")
            clock.advance(1)
        room[0] = True
        clock.advance(1)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert port.accepting
    assert admission.admit("a")
    assert len([text for text in logged if "descriptors" in text]) == 1
    assert port.changes == 2


def test_spare_descriptors_are_counted_as_the_kernel_does() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert has_spare_descriptors(8)
    assert not has_spare_descriptors(soft)
    opened = os.open(os.devnull, os.O_RDONLY)
    os.close(opened)
    assert has_spare_descriptors(soft - opened - 2)
    assert not has_spare_descriptors(soft - opened)


def test_full_house_opens_only_when_there_is_more_than_one_place() -> None:
    clock, port = Clock(), Port()
    admission = Admission(clock, Limits(connections=64))
    admission.guard(port)
    for number in range(64):
        assert admission.admit(str(number))
    for number in range(3):
        admission.leave(str(number))
        clock.advance(1)
        assert not port.accepting
    admission.leave("3")
    clock.advance(1)
    assert port.accepting
