"""SCEP challenges: found by value, bound to names, profile and key, used once."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from pkid.asn1.names import GeneralName
from pkid.crypto.extensions import subject_alternative_name
from pkid.engine.credentials import NewSecret
from pkid.engine.model import (
    UNBOUND,
    CredentialBinding,
    CredentialKind,
    Pending,
    Requester,
    RequesterKind,
)
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, START, DeviceKey, World, result_of

KIND = CredentialKind.SCEP_CHALLENGE


def mint(world: World, challenge: bytes | None = None, **fields: object) -> bytes:
    new = NewSecret(kind=KIND, secret=challenge, **fields)  # type: ignore[arg-type]
    work = world.engine.administration.add_secret(new, OPERATOR, CMP)
    return result_of(work).secret


def holder_of(world: World, challenge: bytes) -> Requester:
    found = result_of(world.engine.find_challenge(challenge, "default"))
    assert found is not None
    return found.requester


def refusal(world: World, request: object) -> PKIError:
    with pytest.raises(PKIError) as caught:
        world.issue(request)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.requirement("SCEP-45")
def test_a_challenge_is_found_by_its_value_alone(world: World) -> None:
    challenge = mint(world)
    assert holder_of(world, challenge).kind is RequesterKind.CREDENTIAL
    for other in (challenge + b"x", challenge[:-1], challenge.upper(), b""):
        assert result_of(world.engine.find_challenge(other, "default")) is None


def test_a_challenge_of_another_alias_is_not_found(world: World) -> None:
    challenge = mint(world, alias="elsewhere")
    assert result_of(world.engine.find_challenge(challenge, "default")) is None


@pytest.mark.requirement("SCEP-45", "SEC-21")
def test_a_challenge_is_used_once(world: World) -> None:
    challenge = mint(world, uses=1)
    holder = holder_of(world, challenge)
    world.issue(world.request(holder))
    assert not world_is_usable(world, challenge)
    error = refusal(world, world.request(holder, subject="CN=device-2"))
    assert error.code is ErrorCode.BAD_MESSAGE_CHECK


def world_is_usable(world: World, challenge: bytes) -> bool:
    found = result_of(world.engine.find_challenge(challenge, "default"))
    return found is not None and found.usable


@pytest.mark.requirement("SCEP-45")
def test_a_challenge_ends_with_its_time(world: World) -> None:
    challenge = mint(world, expires=START + timedelta(minutes=60))
    assert world_is_usable(world, challenge)
    world.clock.advance(timedelta(minutes=61))
    assert not world_is_usable(world, challenge)


@pytest.mark.requirement("SCEP-46", "SEC-21")
def test_a_challenge_for_one_subject_is_not_good_for_another(world: World) -> None:
    holder = holder_of(world, mint(world, subject="CN=device-1,*"))
    assert world.issue(world.request(holder)).der
    error = refusal(world, world.request(holder, subject="CN=admin,O=pkid test"))
    assert error.code is ErrorCode.NOT_AUTHORIZED


@pytest.mark.requirement("SCEP-46", "SEC-21")
def test_a_challenge_for_names_is_not_good_for_others(world: World) -> None:
    binding = CredentialBinding(alternative_names=("dns:*.devices.example",))
    holder = holder_of(world, mint(world, binding=binding))
    good = subject_alternative_name([GeneralName.dns("a.devices.example")])
    bad = subject_alternative_name(
        [GeneralName.dns("a.devices.example"), GeneralName.dns("www.example")]
    )
    assert world.issue(world.request(holder, extensions=(good,))).der
    error = refusal(world, world.request(holder, extensions=(bad,)))
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert error.hint is not None
    assert "devices.example" in error.hint


@pytest.mark.requirement("SCEP-46", "SEC-21")
def test_a_challenge_for_one_key_is_not_good_for_another(world: World) -> None:
    key = DeviceKey()
    digest = hashlib.sha256(key.spki).digest()
    binding = CredentialBinding(key_hash=digest)
    holder = holder_of(world, mint(world, binding=binding))
    error = refusal(world, world.request(holder, DeviceKey()))
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert world.issue(world.request(holder, key)).der


@pytest.mark.requirement("SCEP-46")
def test_a_challenge_for_one_profile_is_not_good_for_another(world: World) -> None:
    world.change_alias(profiles=("tls",))
    holder = holder_of(world, mint(world, binding=CredentialBinding(profile="tls")))
    error = refusal(world, world.request(holder, profile="device"))
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert world.issue(world.request(holder, profile="tls")).der


def test_a_binding_is_kept_over_a_restart(world: World) -> None:
    binding = CredentialBinding(
        alternative_names=("dns:a", "ip:192.0.2.*"), profile="tls", key_hash=b"\1" * 32
    )
    challenge = mint(world, binding=binding)
    world.restart()
    assert holder_of(world, challenge).binding == binding
    assert holder_of(world, mint(world)).binding == UNBOUND


@pytest.mark.requirement("SCEP-60")
def test_no_challenge_lies_in_the_store_in_the_clear(
    world: World, tmp_path: Path
) -> None:
    challenge = mint(world, b"0123456789ABCDEF")
    assert world.directory.is_dir()
    for path in world.directory.rglob("*"):
        if path.is_file():
            assert challenge not in path.read_bytes()


# --- nobody known ----------------------------------------------------------------


def stranger(key: DeviceKey) -> Requester:
    digest = hashlib.sha256(key.spki).hexdigest()
    return Requester(kind=RequesterKind.KEY, identity=f"key:{digest}")


@pytest.mark.requirement("SCEP-45")
def test_who_proves_nothing_gets_nothing_that_nobody_looked_at(world: World) -> None:
    key = DeviceKey()
    error = refusal(world, world.request(stranger(key), key))
    assert error.code is ErrorCode.NOT_AUTHORIZED


@pytest.mark.requirement("SCEP-45")
def test_who_proves_nothing_waits_for_an_operator(world: World) -> None:
    world.change_alias(approval="operator")
    key = DeviceKey()
    request = world.request(stranger(key), key)
    waiting = world.enroll(request)
    assert isinstance(waiting, Pending)
    work = world.engine.administration.approve(waiting.request_id, OPERATOR, "", CMP)
    result_of(work)
    assert world.issue(request).certificate.requester == request.requester.identity
