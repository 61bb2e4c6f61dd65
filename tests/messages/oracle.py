"""pyasn1 as the second reader of what we write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder

from pkid.errors import ErrorCode, PKIError

# pyasn1 is slow; that is what it is here for, and not a reason to look at less.
PATIENT = settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)


def read(octets: bytes, spec: Any) -> Any:
    """What pyasn1 reads from octets that it would write alike."""
    value, rest = decoder.decode(octets, asn1Spec=spec)
    assert rest == b""
    assert encoder.encode(value) == octets
    return value


def write(value: Any) -> bytes:
    """The octets of a value that was made with pyasn1."""
    octets = encoder.encode(value)
    assert isinstance(octets, bytes)
    return octets


def assert_malformed(operation: Callable[[bytes], object], octets: bytes) -> None:
    """Check that the octets are refused as MALFORMED."""
    with pytest.raises(PKIError) as caught:
        operation(octets)
    assert caught.value.code is ErrorCode.MALFORMED


CHANGES = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)),
    min_size=1,
    max_size=3,
)


def changed(octets: bytes, changes: list[tuple[float, int]]) -> bytes:
    """The octets, some of them replaced."""
    found = bytearray(octets)
    for place, value in changes:
        found[int(place * len(found))] = value
    return bytes(found)


def assert_object_or_malformed(
    operation: Callable[[bytes], object], octets: bytes
) -> None:
    """Check that the octets give a value, or are refused as MALFORMED."""
    code = ErrorCode.MALFORMED
    try:
        operation(octets)
    except PKIError as error:
        code = error.code
    assert code is ErrorCode.MALFORMED
