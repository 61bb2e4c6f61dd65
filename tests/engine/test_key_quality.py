"""Keys that nobody may have certified, at the engine's door."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import DeviceKey, World

RSA = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
SMALL_PRIMES = [p for p in range(3, 168) if all(p % d for d in range(2, p))]


class Weak(DeviceKey):
    """A public key that is not that of the private one; it is judged before that."""

    def __init__(self, modulus: int, exponent: int = 65537) -> None:
        super().__init__()
        key = der.sequence(der.integer(modulus), der.integer(exponent))
        self._spki = der.sequence(RSA.encode(), der.bit_string(key))

    @property
    def spki(self) -> bytes:
        return self._spki


@pytest.fixture(scope="module")
def primes() -> tuple[int, int]:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return numbers.p, numbers.q


def next_prime(number: int) -> int:
    number |= 1
    while pow(2, number - 1, number) != 1:
        number += 2
    return number


def roca_prime(bits: int, start: int) -> int:
    """A prime of the form of the broken library."""
    product = 2 * math.prod(SMALL_PRIMES)
    base = pow(65537, start, product)
    factor = (1 << bits) // product
    while pow(2, (number := factor * product + base) - 1, number) != 1:
        factor += 1
    return number


Kind = Callable[[tuple[int, int]], Weak]
# Each with a word of the refusal.
WEAK: dict[str, tuple[Kind, str]] = {
    "RSA-1024": (lambda _: Weak(rsa_modulus(1024)), "1024 bits"),
    "even-exponent": (lambda found: Weak(found[0] * found[1], 65536), "exponent"),
    "exponent-1": (lambda found: Weak(found[0] * found[1], 1), "exponent"),
    "exponent-3": (lambda found: Weak(found[0] * found[1], 3), "exponent"),
    "small-factor": (lambda _: Weak(751 * ((1 << 2047) // 751 | 1)), "factors"),
    "square": (lambda found: Weak(found[0] * found[0]), "factors"),
    "close-primes": (
        lambda found: Weak(found[0] * next_prime(found[0] + (1 << 100))),
        "close",
    ),
    "ROCA": (lambda _: Weak(roca_prime(1024, 1) * roca_prime(1025, 2)), "ROCA"),
}


def rsa_modulus(bits: int) -> int:
    return rsa.generate_private_key(65537, bits).private_numbers().public_numbers.n


def refused(world: World, key: DeviceKey) -> PKIError:
    with pytest.raises(PKIError) as caught:
        world.issue(world.request(world.secret(), key))
    return caught.value


@pytest.mark.requirement("ENG-14")
@pytest.mark.parametrize("kind", WEAK)
def test_a_weak_key_is_no_subject_key(
    world: World, kind: str, primes: tuple[int, int]
) -> None:
    make, word = WEAK[kind]
    error = refused(world, make(primes))
    assert error.code is ErrorCode.BAD_TEMPLATE
    assert word in error.detail


@pytest.mark.requirement("ENG-14")
def test_a_key_on_the_block_list_is_no_subject_key(world: World) -> None:
    key = DeviceKey()
    blocked = frozenset({hashlib.sha256(key.spki).digest()})
    world.policies = replace(world.policies, blocked_keys=blocked)
    assert "blocked" in refused(world, key).detail
