"""Known weaknesses of RSA moduli. Pure arithmetic on public numbers."""

from __future__ import annotations

import math
from typing import Final

# Infineon's library made primes as k*M + (65537^a mod M), M a product of the first
# primes: modulo each of them such a modulus is a power of 65537. These are primes for
# which that is a restriction worth testing (CVE-2017-15361, "ROCA").
_ROCA_PRIMES: Final = (
    *(11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157),
)
_ROCA_GENERATOR: Final = 65537


def _powers(prime: int) -> frozenset[int]:
    """Powers of 65537 modulo a prime."""
    found = set()
    value = 1
    while value not in found:
        found.add(value)
        value = value * _ROCA_GENERATOR % prime
    return frozenset(found)


_ROCA_RESIDUES: Final = tuple((prime, _powers(prime)) for prime in _ROCA_PRIMES)
_ROCA_PRODUCT: Final = math.prod(_ROCA_PRIMES)
_SQUARES_MODULO: Final = tuple(
    (modulus, frozenset(value * value % modulus for value in range(modulus)))
    for modulus in (63, 65, 11)
)
_SQUARES_MOD_64: Final = frozenset(value * value % 64 for value in range(64))


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether an RSA modulus looks like one of Infineon's weak keys.

    A sound modulus passes for one by chance about once in 2^27.
    """
    residue = modulus % _ROCA_PRODUCT
    return all(residue % prime in powers for prime, powers in _ROCA_RESIDUES)


def is_square(number: int) -> bool:
    """Whether a non-negative number is a perfect square."""
    if number & 63 not in _SQUARES_MOD_64:
        return False
    # One long division, then short ones, rule out 6 of 7 of what is left.
    residue = number % (63 * 65 * 11)
    if any(residue % modulus not in squares for modulus, squares in _SQUARES_MODULO):
        return False
    return math.isqrt(number) ** 2 == number


def has_close_primes(modulus: int, rounds: int) -> bool:
    """Whether Fermat's method factors an odd modulus within so many rounds."""
    root = math.isqrt(modulus)
    if root * root < modulus:
        root += 1
    difference = root * root - modulus
    for _ in range(rounds):
        if is_square(difference):
            return True
        difference += 2 * root + 1
        root += 1
    return False
