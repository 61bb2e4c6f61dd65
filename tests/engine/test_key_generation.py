"""Keys that the engine makes for those who ask for it.

**Source:** RFC 9810 section 4.2.1.2; RFC 7030 section 4.4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.keygeneration import choose_spec
from pkid.engine.model import (
    EnrollmentRequest,
    GeneratedKey,
    GeneratedPossession,
    Issued,
    Outcome,
)
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import World, result_of

CURVE = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(oids.SECP384R1))
KINDS = (
    "ec:P-256",
    "ec:brainpoolP256r1",
    "rsa:2048",
    "ed25519",
    "ed448",
    "x25519",
    "x448",
    "ml-dsa-44",
    "ml-dsa-65",
    "ml-dsa-87",
    "ml-kem-768",
    "ml-kem-1024",
)


def wanting(world: World, **fields: Any) -> EnrollmentRequest:
    """A request without a key."""
    algorithm = fields.pop("algorithm", None)
    request = world.request(
        fields.pop("requester", None) or world.secret(),
        possession=GeneratedPossession(algorithm),
        **fields,
    )
    return replace(request, requested=replace(request.requested, public_key=None))


def made_for(world: World, request: EnrollmentRequest) -> tuple[Issued, GeneratedKey]:
    """What is issued, and the key as the door sees it before the commit."""
    seen: list[GeneratedKey | None] = []

    async def encode(outcome: Outcome) -> bytes:
        assert isinstance(outcome, Issued)
        seen.append(outcome.generated)
        return b"state"

    outcome = world.enroll(request, encode)
    assert isinstance(outcome, Issued)
    (key,) = seen
    assert key is not None
    return outcome, key


@pytest.mark.parametrize("spec", KINDS)
def test_a_key_of_the_profiles_first_kind_is_made(world: World, spec: str) -> None:
    world.change_alias(key_generation=True)
    world.change_profile("device", keys=(spec, "ec:P-521"))
    issued, key = made_for(world, wanting(world))
    loaded = load_der_private_key(key.private_key, None)
    public = loaded.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert public == key.public_key
    certified = world.certificate(issued).public_key()
    assert public == certified.public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def test_a_key_of_the_kind_that_is_asked_for_is_made(world: World) -> None:
    world.change_alias(key_generation=True)
    issued, _ = made_for(world, wanting(world, algorithm=CURVE))
    key: Any = world.certificate(issued).public_key()
    assert key.curve.name == "secp384r1"


def test_the_same_request_again_gets_the_certificate_and_no_second_key(
    world: World,
) -> None:
    world.change_alias(key_generation=True)
    request = wanting(world)
    first, _ = made_for(world, request)
    again = world.issue(request)
    assert again.der == first.der
    assert again.generated is None


def test_the_private_key_is_shown_by_nothing(world: World) -> None:
    world.change_alias(key_generation=True)
    issued, key = made_for(world, wanting(world))
    assert str(key.private_key) not in repr(key)
    assert str(key.private_key) not in repr(issued)
    loaded: Any = load_der_private_key(key.private_key, None)
    scalar = loaded.private_numbers().private_value.to_bytes(32, "big")
    files = [path for path in world.directory.rglob("*") if path.is_file()]
    assert any(issued.der in path.read_bytes() for path in files)
    assert all(scalar not in path.read_bytes() for path in files)


def test_no_key_is_made_where_the_alias_does_not_say_so(world: World) -> None:
    with pytest.raises(PKIError) as caught:
        world.enroll(wanting(world))
    assert caught.value.code is ErrorCode.BAD_TEMPLATE
    assert caught.value.hint == "key_generation of alias default"


def test_no_key_is_made_for_a_request_that_must_wait(world: World) -> None:
    world.change_alias(key_generation=True, approval="operator")
    with pytest.raises(PKIError) as caught:
        world.enroll(wanting(world))
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED


def test_a_kind_that_the_profile_does_not_list_is_not_made(world: World) -> None:
    world.change_alias(key_generation=True)
    ed25519 = AlgorithmIdentifier(oids.ID_ED25519)
    with pytest.raises(PKIError) as caught:
        world.enroll(wanting(world, algorithm=ed25519))
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_a_key_that_comes_along_is_not_replaced(world: World) -> None:
    world.change_alias(key_generation=True)
    issued = world.issue(world.request(world.secret()))
    assert issued.generated is None


def test_an_rsa_key_has_the_least_size_that_is_listed_and_sound() -> None:
    rsa = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
    assert choose_spec(("ec:P-256", "rsa:3072-4096"), rsa) == "rsa:3072"
    assert choose_spec(("rsa:1024-4096",)) == "rsa:2048"
    assert choose_spec(("rsa:1024", "ed25519")) == "ed25519"


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY),
        AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid("1.2.3")),
        AlgorithmIdentifier("1.2.3.4"),
    ],
    ids=["no curve", "unknown curve", "unknown kind"],
)
def test_a_kind_that_nobody_knows_is_bad_algorithm(
    algorithm: AlgorithmIdentifier,
) -> None:
    with pytest.raises(PKIError) as caught:
        choose_spec(KINDS, algorithm)
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_a_kind_that_no_key_store_makes_is_bad_algorithm(world: World) -> None:
    world.change_alias(key_generation=True)
    world.change_profile("device", keys=("ec:secp256k1",))
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.enroll(wanting(world), _none))
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


async def _none(_: Outcome) -> bytes:
    return b""
