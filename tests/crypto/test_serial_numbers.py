"""Serial numbers: from the system's generator, even in every bit, also after a fork."""

from __future__ import annotations

import math
import os
import secrets

import pytest

from pkid.crypto.tbs import PREFIX_OCTETS, RANDOM_OCTETS, serial_number

COUNT = 100_000
NOW = 1_795_000_000
RANDOM_BITS = 8 * RANDOM_OCTETS


def drawn(count: int) -> list[int]:
    """Serial numbers as an authority draws them, all in one second."""
    return [
        serial_number(NOW, secrets.token_bytes(RANDOM_OCTETS)) for _ in range(count)
    ]


@pytest.mark.requirement("SEC-108")
def test_every_random_bit_of_a_serial_number_is_one_half_of_the_time() -> None:
    serials = drawn(COUNT)
    assert len(set(serials)) == COUNT
    five_sigma = 5 * math.sqrt(COUNT) / 2
    for bit in range(RANDOM_BITS):
        ones = sum(serial >> bit & 1 for serial in serials)
        assert abs(ones - COUNT / 2) < five_sigma, f"bit {bit}: {ones} of {COUNT}"


@pytest.mark.requirement("ENG-05")
def test_a_serial_number_is_its_time_and_then_104_random_bits() -> None:
    assert RANDOM_BITS >= 80
    low = serial_number(NOW, bytes(RANDOM_OCTETS))
    high = serial_number(NOW, b"\xff" * RANDOM_OCTETS)
    assert high - low == (1 << RANDOM_BITS) - 1
    assert low < high < serial_number(NOW + 1, bytes(RANDOM_OCTETS))
    assert high.bit_length() <= 8 * (PREFIX_OCTETS + RANDOM_OCTETS)


@pytest.mark.requirement("SEC-108")
def test_parent_and_child_of_a_fork_draw_different_serial_numbers() -> None:
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        octets = b"".join(one.to_bytes(20, "big") for one in drawn(100))
        os.write(theirs, octets)
        os._exit(0)
    os.close(theirs)
    mine = drawn(100)
    with os.fdopen(ours, "rb") as pipe:
        octets = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    found = [int.from_bytes(octets[at : at + 20], "big") for at in range(0, 2000, 20)]
    assert len(found) == 100
    assert len({*mine, *found}) == 200
