"""Lists of bounded length inside CMP messages.

Pure.

**Source:** RFC 9810 appendix F (``SEQUENCE SIZE (1..MAX) OF``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from pkid.asn1 import der

Item = TypeVar("Item")

MAX_CERTIFICATES: Final = 32


def optional_certificates(cursor: der.Cursor, tag: int) -> tuple[bytes, ...]:
    """Certificates or CRLs of an explicitly tagged list, each whole; () if absent.

    :raises PKIError: ``MALFORMED``, also for an empty list or more than
        `MAX_CERTIFICATES`.
    """
    return optional_elements(cursor, tag, MAX_CERTIFICATES)


def encode_elements(number: int, elements: tuple[bytes, ...]) -> bytes:
    """The explicitly tagged list; nothing when it is empty."""
    return der.explicit(number, der.sequence(*elements)) if elements else b""


def optional_elements(cursor: der.Cursor, tag: int, limit: int) -> tuple[bytes, ...]:
    """Elements of an explicitly tagged list, each whole; () if the list is absent.

    :raises PKIError: ``MALFORMED``, also for an empty list or more than ``limit``.
    """
    wrapped = cursor.optional(tag)
    if wrapped is None:
        return ()
    return decode_sequences(der.single(wrapped, der.SEQUENCE), limit)


def decode_sequences(contents: bytes, limit: int) -> tuple[bytes, ...]:
    """Each SEQUENCE of a list, whole; 1 to ``limit`` of them.

    :param contents: contents octets of the list.
    :raises PKIError: ``MALFORMED``.
    """
    cursor = der.Cursor(contents)
    found: list[bytes] = []
    while cursor:
        if len(found) == limit:
            der.malformed(f"more than {limit} elements in a list")
        found.append(cursor.raw(der.SEQUENCE))
    if not found:
        der.malformed("an empty list where one element is required")
    return tuple(found)


def decode_list(
    element: bytes, decode: Callable[[bytes], Item], limit: int
) -> tuple[Item, ...]:
    """Read a SEQUENCE OF SEQUENCE; 0 to ``limit`` of them.

    :param element: the list, whole.
    :param decode: reads the contents octets of one.
    :raises PKIError: ``MALFORMED``.
    """
    return tuple(map(decode, der.sequences(der.single(element, der.SEQUENCE), limit)))
