"""Open types: values whose syntax an object identifier names.

Pure. A row ties an OID to the codec of its value, so that one table serves those who
read and those who write. `controls` and `cmp.infotypes` are made of such rows.

**Source:** X.681 annex C (``TYPE-IDENTIFIER``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier

Value = TypeVar("Value")
Item = TypeVar("Item")

MAX_VALUES: Final = 64


@dataclass(frozen=True, slots=True)
class OpenType(Generic[Value]):
    """One row: what stands beside an OID.

    :ivar oid: dotted text.
    :ivar name: as the RFC prints it, without its prefix.
    :ivar decode: reads the value, whole; ``PKIError(MALFORMED)`` when it is broken.
    :ivar encode: gives the value, whole.
    """

    oid: str
    name: str
    decode: Callable[[bytes], Value]
    encode: Callable[[Value], bytes]


def decode_values(
    element: bytes, read: Callable[[der.Cursor], Item], *, least: int = 1
) -> tuple[Item, ...]:
    """Read a SEQUENCE OF, whole: at most `MAX_VALUES` of them.

    :param read: reads the one that stands next.
    :param least: how many there must be.
    :raises PKIError: ``MALFORMED``.
    """
    cursor = der.Cursor(der.single(element, der.SEQUENCE))
    found: list[Item] = []
    while cursor:
        if len(found) == MAX_VALUES:
            der.malformed(f"more than {MAX_VALUES} elements in a list")
        found.append(read(cursor))
    if len(found) < least:
        der.malformed("an empty list where one element is required")
    return tuple(found)


def decode_text_value(element: bytes) -> str:
    """Text of a UTF8String, whole."""
    return der.decode_utf8(der.single(element, der.UTF8_STRING))


def decode_algorithm(element: bytes) -> AlgorithmIdentifier:
    """Read an ``AlgorithmIdentifier``, whole."""
    return AlgorithmIdentifier.decode(der.single(element, der.SEQUENCE))


def encode_algorithm(algorithm: AlgorithmIdentifier) -> bytes:
    """The ``AlgorithmIdentifier`` SEQUENCE."""
    return algorithm.encode()


def checked_sequence(element: bytes) -> bytes:
    """The element itself, which must be one SEQUENCE."""
    der.single(element, der.SEQUENCE)
    return element
