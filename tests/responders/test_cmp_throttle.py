"""Who guesses is slowed down; nobody is shut out for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from pkid.responders.base import Peer
from pkid.responders.throttle import MAX_ADDRESSES, FailureThrottle
from tests.engine.world import TurnedClock
from tests.responders.desk import Desk
from tests.responders.peers import (
    ByMAC,
    cert_requests,
    message,
    new_key,
    signed_request,
)

AFAR = Peer(address="192.0.2.1", beyond_loopback=True)
ELSEWHERE = Peer(address="192.0.2.2", beyond_loopback=True)


def guess(desk: Desk, peer: Peer, by: ByMAC) -> FailInfo:
    body = cert_requests(signed_request(new_key()))
    return desk.ask(message(BodyType.IR, body, by), peer=peer).fail_info


@pytest.mark.requirement("SEC-06", "CMP-192")
def test_an_address_that_fails_ten_times_waits_and_others_do_not(desk: Desk) -> None:
    wrong = ByMAC(reference=b"nobody")
    for _ in range(10):
        assert guess(desk, AFAR, wrong) is FailInfo.BAD_MESSAGE_CHECK
    assert guess(desk, AFAR, wrong) is FailInfo.SYSTEM_UNAVAIL
    assert guess(desk, AFAR, ByMAC()) is FailInfo.SYSTEM_UNAVAIL
    assert guess(desk, ELSEWHERE, wrong) is FailInfo.BAD_MESSAGE_CHECK
    desk.world.clock.advance(timedelta(seconds=61))
    assert guess(desk, AFAR, wrong) is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("SEC-06", "CMP-192")
def test_a_secret_that_is_guessed_at_is_locked_for_a_while(desk: Desk) -> None:
    from tests.responders.desk import LOCAL

    for _ in range(10):
        assert guess(desk, LOCAL, ByMAC(secret=b"guess")) is (
            FailInfo.BAD_MESSAGE_CHECK
        )
    assert guess(desk, LOCAL, ByMAC()) is FailInfo.BAD_MESSAGE_CHECK
    desk.world.clock.advance(timedelta(minutes=2))
    assert desk.enroll().certificate


def test_peers_that_only_this_host_sees_are_not_counted() -> None:
    throttle = FailureThrottle(TurnedClock(), 1)
    for _ in range(5):
        throttle.count(Peer(address="127.0.0.1"))
    throttle.check(Peer(address="127.0.0.1"))


def test_the_bucket_leaks_and_says_how_long_to_wait() -> None:
    clock = TurnedClock()
    throttle = FailureThrottle(clock, 2)
    for _ in range(2):
        throttle.check(AFAR)
        throttle.count(AFAR)
    with pytest.raises(PKIError) as refused:
        throttle.check(AFAR)
    assert refused.value.code is ErrorCode.BUSY
    wait = refused.value.retry_after
    assert wait is not None
    assert 1 <= wait <= 31
    clock.advance(timedelta(seconds=wait))
    throttle.check(AFAR)


def test_only_so_many_addresses_are_remembered() -> None:
    throttle = FailureThrottle(TurnedClock(), 1)
    throttle.count(AFAR)
    for number in range(MAX_ADDRESSES):
        throttle.count(
            Peer(address=f"198.51.{number >> 8}.{number & 255}", beyond_loopback=True)
        )
    throttle.check(AFAR)
