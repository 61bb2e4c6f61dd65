"""Publishers: each goes its own way along the outbox, and none loses anything."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, World, result_of


class Shelf:
    """A publisher that may be told to fail."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.calls = 0
        self.works = True

    async def put(self, path: str, octets: bytes) -> None:
        self.calls += 1
        if not self.works:
            raise PKIError(ErrorCode.UNAVAILABLE, "the shelf is full")
        self.files[path] = octets


def publish(world: World, shelf: Shelf, name: str) -> int:
    return result_of(world.engine.publish(shelf, name))


def issue(world: World) -> bytes:
    return result_of(world.engine.issue_crl("issuing", OPERATOR, CMP)).der


def fails(world: World, shelf: Shelf, name: str) -> bool:
    codes = []
    try:
        publish(world, shelf, name)
    except PKIError as error:
        codes.append(error.code)
    return codes == [ErrorCode.UNAVAILABLE]


@pytest.mark.requirement("ENG-34")
def test_a_new_publisher_gets_all_there_is(world: World) -> None:
    for name in ("one", "two"):
        shelf = Shelf()
        assert publish(world, shelf, name) > 0
        assert set(shelf.files) == {
            *(f"crls/{ca}.crl" for ca in ("issuing", "root")),
            *(f"certificates/{ca}.cer" for ca in ("issuing", "root")),
            *(f"certificates/{ca}.p7c" for ca in ("issuing", "root")),
        }
        assert publish(world, shelf, name) == 0


@pytest.mark.requirement("ENG-34")
def test_one_that_fails_delays_no_other_and_loses_nothing(world: World) -> None:
    good, bad = Shelf(), Shelf()
    for name, shelf in (("good", good), ("bad", bad)):
        publish(world, shelf, name)
    bad.works = False
    for _ in range(3):
        octets = issue(world)
        publish(world, good, "good")
        assert good.files["crls/issuing.crl"] == octets
        assert fails(world, bad, "bad")
    bad.works = True
    world.clock.seconds += 300
    publish(world, bad, "bad")
    assert bad.files == good.files
    assert result_of(world.store.outbox(10)) == []


@pytest.mark.requirement("ENG-34")
def test_what_waits_is_published_after_a_restart(world: World) -> None:
    shelf = Shelf()
    publish(world, shelf, "one")
    octets = issue(world)
    world.restart()
    assert publish(world, shelf, "one") > 0
    assert shelf.files["crls/issuing.crl"] == octets
    world.restart()
    assert publish(world, shelf, "one") == 0


@pytest.mark.requirement("ENG-34")
def test_one_that_fails_is_left_in_peace_for_longer_each_time(world: World) -> None:
    shelf = Shelf()
    publish(world, shelf, "one")
    issue(world)
    shelf.works = False
    asked = []
    for second in range(1200):
        before = shelf.calls
        assert fails(world, shelf, "one")
        if shelf.calls > before:
            asked.append(second)
        world.clock.seconds += 1
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert pauses[:6] == [5, 10, 20, 40, 80, 160]
    assert set(pauses[6:]) == {300}


@pytest.mark.requirement("ENG-34")
def test_nobody_waits_for_a_publisher_that_is_configured_no_more(world: World) -> None:
    kept, gone = Shelf(), Shelf()
    publish(world, kept, "kept")
    publish(world, gone, "gone")
    issue(world)
    publish(world, kept, "kept")
    assert result_of(world.store.outbox(10))
    result_of(world.engine.publication.retain(("kept",)))
    issue(world)
    publish(world, kept, "kept")
    assert result_of(world.store.outbox(10)) == []


def test_of_many_lists_only_the_last_is_published(world: World) -> None:
    shelf = Shelf()
    publish(world, shelf, "one")
    before = shelf.calls
    for _ in range(5):
        octets = issue(world)
    assert publish(world, shelf, "one") == 5
    assert shelf.calls == before + 3
    assert shelf.files["crls/issuing.crl"] == octets
