"""crlann and ckuann from our CAs, until each recipient has them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from datetime import timedelta

import pytest
from twisted.internet.defer import fail, succeed

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.announcements import (
    CAKeyUpdContent,
    CRLAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.body import BodyType
from pkid.responders.cmp.announcing import (
    ANNOUNCED,
    CKUANN,
    CRLANN,
    Announcer,
    Subscription,
)
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.peers import Answer

URL = "http://directory.example/"


class Directory:
    """A recipient that takes what it is given, or is away."""

    def __init__(self) -> None:
        self.away = False
        self.got: list[Answer] = []

    def send(self, message: bytes) -> Awaitable[bytes]:
        if self.away:
            return fail(PKIError(ErrorCode.UNAVAILABLE, "away"))
        self.got.append(Answer.read(message))
        return succeed(b"")


@pytest.fixture
def directory() -> Directory:
    return Directory()


def announce(desk: Desk, directory: Directory, *contents: str, url: str = URL) -> int:
    engine, clock = desk.world.engine, desk.world.clock
    subscription = Subscription(url, directory, ("issuing",), contents or ANNOUNCED)
    announcer = Announcer(engine, clock, secrets.token_bytes)
    return result_of(announcer.announce(subscription))


@pytest.mark.requirement("CMP-148")
def test_a_new_crl_is_announced_once(desk: Desk, directory: Directory) -> None:
    assert announce(desk, directory) == 1
    assert announce(desk, directory) == 0
    (told,) = directory.got
    assert told.body_type is BodyType.CRLANN
    assert isinstance(told.body, CRLAnnContent)
    latest = result_of(desk.world.engine.latest_crl("issuing"))
    assert told.body.crls == (latest.der,)
    told.check_signature()
    assert told.header.sender_nonce
    assert told.header.recip_nonce is None
    desk.restart()
    assert announce(desk, directory) == 0
    result_of(desk.world.engine.issue_crl("issuing", "test", CMP))
    assert announce(desk, directory) == 1
    assert len(directory.got) == 2


@pytest.mark.requirement("CMP-148")
def test_who_is_away_is_told_later(desk: Desk, directory: Directory) -> None:
    directory.away = True
    for _ in range(3):
        with pytest.raises(PKIError) as caught:
            announce(desk, directory)
        assert caught.value.code is ErrorCode.UNAVAILABLE
    directory.away = False
    desk.restart()
    assert announce(desk, directory) == 1
    other = Directory()
    assert announce(desk, other, url="http://other.example/") == 1


@pytest.mark.requirement("CMP-148")
def test_the_successor_of_the_root_is_announced(
    desk: Desk, directory: Directory
) -> None:
    engine = desk.world.engine
    assert announce(desk, directory, CKUANN) == 0
    result_of(engine.rollover.prepare("root", "", CMP))
    assert announce(desk, directory, CKUANN) == 1
    (told,) = directory.got
    assert told.body_type is BodyType.CKUANN
    assert told.header.pvno == 3
    assert isinstance(told.body, CAKeyUpdContent)
    update = told.body.update
    assert isinstance(update, RootCaKeyUpdateContent)
    found = engine.rollover.root_update(engine.authority_certificate("root"))
    assert found is not None
    assert update.new_with_new == found.new_with_new
    assert update.new_with_old == found.new_with_old
    assert update.old_with_new == found.old_with_new
    result_of(engine.rollover.activate("root", "test", CMP))
    assert announce(desk, directory, CKUANN) == 0


def test_an_overdue_crl_is_not_announced(desk: Desk, directory: Directory) -> None:
    desk.world.clock.advance(timedelta(days=3))
    assert announce(desk, directory, CRLANN) == 0
    assert directory.got == []
