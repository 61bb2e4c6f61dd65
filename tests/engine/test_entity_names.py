"""How the entity of a request is named where nobody registered it."""

from __future__ import annotations

import pytest

from pkid.engine.aliases import NameRule, NameScheme
from tests.engine.world import World


def named(world: World, subject: str, **rule: object) -> str:
    world.change_alias(name_rule=NameRule(**rule))  # type: ignore[arg-type]
    requester = world.known_secret("device-1")
    return world.issue(world.request(requester, subject=subject)).certificate.entity


@pytest.fixture
def world(world: World) -> World:
    world.secret("device-1")
    return world


@pytest.mark.requirement("ENG-21")
def test_the_first_part_that_the_subject_has_names_the_entity(world: World) -> None:
    assert named(world, "CN=meter-1,O=pkid test") == "meter-1"
    assert named(world, "serialNumber=4711,O=pkid test") == "4711"
    assert named(world, "CN=a,serialNumber=4712", parts=("serialNumber",)) == "4712"
    other = named(world, "O=pkid test,OU=one")
    assert other.startswith("dn-")
    assert named(world, "O=pkid test,OU=two") != other


@pytest.mark.requirement("ENG-21")
def test_a_prefix_and_a_suffix_stand_around_the_name(world: World) -> None:
    assert named(world, "CN=meter-1", prefix="de-", suffix=".grid") == (
        "de-meter-1.grid"
    )


@pytest.mark.requirement("ENG-21")
def test_a_fixed_name_is_that_of_every_device(world: World) -> None:
    rule = {"scheme": NameScheme.FIXED, "fixed": "fleet"}
    assert named(world, "CN=meter-1", **rule) == "fleet"
    assert named(world, "CN=meter-2", **rule) == "fleet"


@pytest.mark.requirement("ENG-21")
def test_random_names_are_all_different(world: World) -> None:
    found = {named(world, "CN=meter-1", scheme=NameScheme.RANDOM) for _ in range(5)}
    assert len(found) == 5
    assert all(len(name) >= 16 for name in found)
