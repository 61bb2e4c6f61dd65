"""A clock that jumps stops issuing until somebody agrees with it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkid.engine.model import Issued
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, World, result_of

DECADE = timedelta(days=3652)


def refused(world: World) -> PKIError:
    with pytest.raises(PKIError) as caught:
        world.enroll(world.request(world.known_secret("device-1")))
    return caught.value


@pytest.mark.requirement("FLT-12")
@pytest.mark.parametrize(
    "jump", [timedelta(hours=-1), timedelta(hours=1), DECADE, timedelta(days=8000)]
)
def test_nothing_is_issued_after_a_jump_until_it_is_confirmed(
    world: World, jump: timedelta
) -> None:
    world.secret()
    world.clock.jump(jump)
    error = refused(world)
    assert error.code is ErrorCode.UNAVAILABLE
    assert "pkid clock confirm" in (error.hint or "")
    assert refused(world).code is ErrorCode.UNAVAILABLE
    result_of(world.engine.confirm_clock(OPERATOR, CMP))
    if jump < DECADE:
        requester = world.known_secret("device-1")
        assert isinstance(world.enroll(world.request(requester)), Issued)


def test_a_clock_that_is_set_back_right_needs_nobody(world: World) -> None:
    world.secret()
    world.clock.jump(DECADE)
    refused(world)
    world.clock.jump(-DECADE)
    world.issue(world.request(world.known_secret("device-1")))


def test_small_corrections_are_followed(world: World) -> None:
    requester = world.secret()
    for _ in range(10):
        world.clock.jump(timedelta(minutes=-4))
        world.issue(world.request(requester))


def test_time_that_passes_is_no_jump(world: World) -> None:
    requester = world.secret()
    world.clock.advance(timedelta(days=30))
    world.issue(world.request(requester))


@pytest.mark.requirement("FLT-12")
def test_a_start_behind_the_last_record_is_a_jump(world: World) -> None:
    world.secret()
    world.close()
    world.clock.jump(timedelta(hours=-1))
    world.open()
    assert refused(world).code is ErrorCode.UNAVAILABLE
    world.clock.advance(timedelta(hours=2))
    assert refused(world).code is ErrorCode.UNAVAILABLE
    result_of(world.engine.confirm_clock(OPERATOR, CMP))
    world.issue(world.request(world.known_secret("device-1")))
