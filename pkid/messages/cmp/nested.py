"""Messages inside a message: nested, and ``origPKIMessage``.

Pure. Inner messages stay octets. How deep and how many they are is found here, once,
before anybody reads one: whoever takes an inner message apart can rely on it.

**Source:** RFC 9810 sections 5.1.1.3 and 5.1.3.5, appendix F (``PKIMessages``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.errors import PKIError
from pkid.messages.cmp.lists import decode_sequences

# Added protection around each message, and a batch of those: no path needs more.
MAX_NESTING_DEPTH: Final = 2
# Counted over all layers, messages that hold others left out.
MAX_NESTED_MESSAGES: Final = 16
# Doors have their own limit, which is lower; this one holds whatever the door.
MAX_NESTED_OCTETS: Final = 1 << 20

_NESTED: Final = 0xB4


@dataclass(frozen=True, slots=True)
class NestedMessageContent:
    """nested: whole messages inside a message.

    :ivar messages: each ``PKIMessage``, whole, not taken apart.
    """

    messages: tuple[bytes, ...]

    @classmethod
    def decode(cls, element: bytes) -> NestedMessageContent:
        """Read ``NestedMessageContent``, whole.

        :raises PKIError: ``MALFORMED``, also above `MAX_NESTING_DEPTH` layers (this
            one is the first), `MAX_NESTED_MESSAGES` messages or `MAX_NESTED_OCTETS`.
        """
        return cls(decode_messages(element))

    def encode(self) -> bytes:
        """The SEQUENCE OF ``PKIMessage``."""
        return encode_messages(self.messages)


def decode_messages(element: bytes) -> tuple[bytes, ...]:
    """Read ``PKIMessages``, whole, each message staying octets.

    :raises PKIError: ``MALFORMED``, with the limits of `NestedMessageContent`.
    """
    if len(element) > MAX_NESTED_OCTETS:
        der.malformed(f"nested messages of more than {MAX_NESTED_OCTETS} octets")
    contents = der.single(element, der.SEQUENCE)
    found = decode_sequences(contents, MAX_NESTED_MESSAGES)
    if _count(found, 1) > MAX_NESTED_MESSAGES:
        der.malformed(f"more than {MAX_NESTED_MESSAGES} nested messages")
    return found


def encode_messages(messages: tuple[bytes, ...]) -> bytes:
    """The ``PKIMessages`` SEQUENCE."""
    return der.sequence(*messages)


def _count(messages: tuple[bytes, ...], depth: int) -> int:
    if depth > MAX_NESTING_DEPTH:
        der.malformed(f"messages nested more than {MAX_NESTING_DEPTH} deep")
    held = [_held(message) for message in messages]
    return sum(1 if inner is None else _count(inner, depth + 1) for inner in held)


def _held(message: bytes) -> tuple[bytes, ...] | None:
    """What a nested message holds; None when it is no such message.

    A broken one counts as a message that holds none: reading it will say what is wrong,
    without refusing those beside it.
    """
    try:
        cursor = der.Cursor(der.single(message, der.SEQUENCE))
        cursor.take(der.SEQUENCE)
        if not cursor.at(_NESTED):
            return None
        contents = der.single(cursor.take(_NESTED), der.SEQUENCE)
        return decode_sequences(contents, MAX_NESTED_MESSAGES)
    except PKIError:
        return None
