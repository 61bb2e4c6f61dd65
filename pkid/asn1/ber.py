"""From BER to the DER that our codecs read: lengths and pieced strings, nothing else.

Pure; imports only `pkid.errors` and the DER cursor. Old clients send CMS with
indefinite lengths and with strings in pieces. `to_der` gives the same structure with
definite, minimal lengths and whole strings. Contents of primitive values stay as they
came and sets keep their order, so that a structure which was DER within (a
certificate, signed attributes) comes out octet for octet as its signer made it.

Strings in pieces under an implicit tag cannot be told from other structures without
the schema; they keep their pieces, and whoever knows the schema joins them with
`join_pieces`.

**Source:** X.690 sections 8.1.3, 8.6.4, 8.7.3, 8.23.6; RFC 5652 section 1.
"""

from __future__ import annotations

from typing import Final

from pkid.asn1 import der

MAX_OCTETS: Final = 256 * 1024
MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 16_384

_CONSTRUCTED: Final = 0x20
# Universal types that BER may cut into pieces: BIT STRING, OCTET STRING and the
# character strings (and times, which are strings to X.680).
_PIECED: Final = frozenset(
    tag | _CONSTRUCTED
    for tag in (der.BIT_STRING, der.OCTET_STRING, der.UTF8_STRING, *range(0x12, 0x1F))
)


def to_der(
    octets: bytes,
    *,
    max_octets: int = MAX_OCTETS,
    max_depth: int = MAX_DEPTH,
    max_elements: int = MAX_ELEMENTS,
) -> bytes:
    """The one BER element in ``octets`` with definite, minimal lengths.

    :param octets: the whole encoding; nothing may follow the element.
    :returns: ``octets`` themselves when nothing had to be changed.
    :raises PKIError: ``MALFORMED`` when it is no BER, or beyond one of the limits.

    Cost: about 1.5 us an element.
    """
    if len(octets) > max_octets:
        der.malformed("the encoding is too long")
    reader = _Reader(octets, max_elements)
    element, position = reader.element(0, len(octets), max_depth)
    if position != len(octets):
        der.malformed("trailing data after the message")
    return octets if element == octets else element


def join_pieces(contents: bytes, tag: int) -> bytes:
    """Contents of a string that came in pieces under an implicit tag.

    :param contents: contents octets of the constructed element, after `to_der`.
    :param tag: universal tag of the string, primitive.
    :raises PKIError: ``MALFORMED`` when a piece is not of this type.
    """
    cursor = der.Cursor(contents)
    pieces: list[bytes] = []
    while cursor:
        pieces.append(cursor.take(tag))
    if tag != der.BIT_STRING:
        return b"".join(pieces)
    return _join_bits(pieces)


def _join_bits(pieces: list[bytes]) -> bytes:
    if not pieces or not all(pieces) or any(piece[0] for piece in pieces[:-1]):
        der.malformed("a BIT STRING in pieces with unused bits within")
    return pieces[-1][:1] + b"".join(piece[1:] for piece in pieces)


class _Reader:
    """Reads elements recursively; depth and number are bounded."""

    __slots__ = ("data", "left")

    def __init__(self, data: bytes, elements: int) -> None:
        self.data = data
        self.left = elements

    def element(self, start: int, stop: int, depth: int) -> tuple[bytes, int]:
        """The element at ``start`` as DER, and where the next one begins."""
        if depth == 0 or self.left == 0:
            der.malformed("too deep, or too many elements")
        self.left -= 1
        if start + 2 > stop:
            der.malformed("an element is cut off")
        tag = self.data[start]
        if tag & 0x1F == 0x1F or tag == 0:
            der.malformed("a tag that is not used here")
        position, length = self._length(start + 1, stop)
        if length is None:
            return self._indefinite(tag, position, stop, depth)
        end = position + length
        if end > stop:
            der.malformed("an element is longer than what encloses it")
        if not tag & _CONSTRUCTED:
            return der.encode(tag, self.data[position:end]), end
        return self._definite(tag, position, end, depth), end

    def _definite(self, tag: int, position: int, end: int, depth: int) -> bytes:
        parts: list[bytes] = []
        while position < end:
            part, position = self.element(position, end, depth - 1)
            parts.append(part)
        return _assemble(tag, parts)

    def _indefinite(
        self, tag: int, position: int, stop: int, depth: int
    ) -> tuple[bytes, int]:
        if not tag & _CONSTRUCTED:
            der.malformed("a primitive element of indefinite length")
        parts: list[bytes] = []
        while self.data[position : position + 2] != b"\x00\x00":
            part, position = self.element(position, stop, depth - 1)
            parts.append(part)
        if position + 2 > stop:
            der.malformed("an end-of-contents belongs to another element")
        return _assemble(tag, parts), position + 2

    def _length(self, position: int, stop: int) -> tuple[int, int | None]:
        first = self.data[position]
        if first < 0x80:
            return position + 1, first
        if first == 0x80:
            return position + 1, None
        end = position + 1 + (first & 0x7F)
        if end > stop or first == 0xFF:
            der.malformed("a length is cut off")
        return end, int.from_bytes(self.data[position + 1 : end], "big")


def _assemble(tag: int, parts: list[bytes]) -> bytes:
    contents = b"".join(parts)
    if tag not in _PIECED:
        return der.encode(tag, contents)
    primitive = tag & ~_CONSTRUCTED
    return der.encode(primitive, join_pieces(contents, primitive))
