"""Strict DER: a cursor that reads and functions that write.

Pure; imports only `pkid.errors`. The cursor checks minimal lengths and overruns and
hands out the exact octets; whoever calls it knows the structure, so depth is bounded
by code. Tags are single octets (no structure of ours has a tag number above 30).

Every fault is ``PKIError(MALFORMED)``.

**Source:** X.690 (DER).
"""

from __future__ import annotations

import datetime
import struct
from collections.abc import Container
from functools import lru_cache
from typing import Final, NoReturn

from pkid.errors import ErrorCode, PKIError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL_TAG: Final = 0x05
OID: Final = 0x06
ENUMERATED: Final = 0x0A
UTF8_STRING: Final = 0x0C
PRINTABLE_STRING: Final = 0x13
TELETEX_STRING: Final = 0x14
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
VISIBLE_STRING: Final = 0x1A
UNIVERSAL_STRING: Final = 0x1C
BMP_STRING: Final = 0x1E
SEQUENCE: Final = 0x30
SET: Final = 0x31

NULL: Final = b"\x05\x00"
MAX_INTEGER_OCTETS: Final = 2048
MAX_OID_OCTETS: Final = 128


def malformed(detail: str) -> NoReturn:
    """Raise ``PKIError(MALFORMED)``: the one way in which this module refuses."""
    raise PKIError(ErrorCode.MALFORMED, detail)


def context(number: int) -> int:
    """Tag of a primitive context-specific ``[number]``."""
    return 0x80 | number


def constructed(number: int) -> int:
    """Tag of a constructed context-specific ``[number]``."""
    return 0xA0 | number


class Cursor:
    """Reads the elements of one DER constructed value, in order.

    :param data: the contents octets to read (not the enclosing tag and length).
    """

    __slots__ = ("data", "position", "stop")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stop = len(data)

    def __bool__(self) -> bool:
        """Whether anything is left to read."""
        return self.position < self.stop

    def at(self, tag: int) -> bool:
        """Whether the next element has this tag."""
        position = self.position
        return position < self.stop and self.data[position] == tag

    def peek(self) -> int:
        """Tag of the next element; 0 (no DER tag that we read) at the end."""
        return self.data[self.position] if self.position < self.stop else 0

    def take(self, tag: int) -> bytes:
        """Contents octets of the next element, which must have this tag."""
        data = self.data
        position = self.position + 2
        if position > self.stop:
            malformed("a required element is missing")
        if data[position - 2] != tag:
            malformed(f"expected tag 0x{tag:02x}, found 0x{data[position - 2]:02x}")
        # The same few lines stand in `fields`, `raw` and `single`: a call for each
        # element would double the cost of reading a message.
        length = data[position - 1]
        if length > 0x7F:
            position, length = self._long_length(position, length)
        end = position + length
        if end > self.stop:
            malformed("an element is longer than what encloses it")
        self.position = end
        return data[position:end]

    def integer(self) -> int:
        """Value of the next element, which must be an INTEGER."""
        position = self.position
        if self.data[position : position + 2] == b"\x02\x01":
            position += 3
            if position <= self.stop:
                self.position = position
                value = self.data[position - 1]
                return value if value < 0x80 else value - 0x100
        return decode_integer(self.take(INTEGER))

    def last(self, tag: int) -> bytes:
        """Contents of the next element, which must have this tag and be the last."""
        data = self.data
        position = self.position
        self.position = self.stop
        return single(data[position:], tag)

    def raw(self, tag: int | None = None) -> bytes:
        """The next element whole (tag, length, contents), of this tag or of any."""
        data = self.data
        start = self.position
        position = start + 2
        if position > self.stop:
            malformed("a required element is missing")
        actual = data[start]
        if actual & 0x1F == 0x1F:
            malformed("tag numbers above 30 are not used here")
        if tag is not None and actual != tag:
            malformed(f"expected tag 0x{tag:02x}, found 0x{actual:02x}")
        length = data[start + 1]
        if length > 0x7F:
            position, length = self._long_length(position, length)
        end = position + length
        if end > self.stop:
            malformed("an element is longer than what encloses it")
        self.position = end
        return data[start:end]

    def enter(self, tag: int) -> Cursor:
        """A cursor over the contents of the next element, which must have this tag."""
        return Cursor(self.take(tag))

    def optional(self, tag: int) -> bytes | None:
        """Contents of the next element if it has this tag, else None."""
        position = self.position
        if position < self.stop and self.data[position] == tag:
            return self.take(tag)
        return None

    def optional_raw(self, tag: int) -> bytes | None:
        """The next element whole if it has this tag, else None."""
        return self.raw(tag) if self.at(tag) else None

    def fields(self, allowed: Container[int]) -> dict[int, bytes]:
        """Contents of all remaining elements, by their context-specific tags.

        For a tail of optional fields ``[0]``, ``[1]`` and so on: each at most once, in
        ascending order, none that is not allowed.
        """
        data = self.data
        position = self.position
        stop = self.stop
        found: dict[int, bytes] = {}
        last = -1
        while position < stop:
            tag = data[position]
            if tag not in allowed or tag & 0x1F <= last or position + 2 > stop:
                malformed(f"unexpected element with tag 0x{tag:02x}")
            last = tag & 0x1F
            length = data[position + 1]
            position += 2
            if length > 0x7F:
                position, length = self._long_length(position, length)
            end = position + length
            if end > stop:
                malformed("an element is longer than what encloses it")
            found[tag] = data[position:end]
            position = end
        self.position = position
        return found

    def explicit_fields(self, inner: dict[int, int]) -> dict[int, bytes]:
        """Contents of what stands inside all remaining explicit tags, by those tags.

        In ascending order, each at most once.

        :param inner: for each tag that is allowed the one of the element inside.
        """
        data = self.data
        position = self.position
        stop = self.stop
        found: dict[int, bytes] = {}
        last = 0
        while position < stop:
            tag = data[position]
            if tag not in inner or tag <= last or position + 4 > stop:
                malformed(f"unexpected element with tag 0x{tag:02x}")
            last = tag
            size = data[position + 1]
            start = position + 4
            if size == data[start - 1] + 2 < 0x80 and data[start - 2] == inner[tag]:
                position += 2 + size
                if position > stop:
                    malformed("an element is longer than what encloses it")
                found[tag] = data[start:position]
            else:
                self.position = position
                found[tag] = single(self.take(tag), inner[tag])
                position = self.position
        self.position = position
        return found

    def finish(self) -> None:
        """Refuse whatever is left over."""
        if self.position != self.stop:
            malformed("unexpected data after the last element")

    def raw_elements(self, limit: int) -> list[bytes]:
        """All remaining elements whole, at most ``limit`` of them."""
        found: list[bytes] = []
        while self.position < self.stop:
            if len(found) == limit:
                malformed(f"more than {limit} elements in a list")
            found.append(self.raw())
        return found

    def _long_length(self, position: int, first: int) -> tuple[int, int]:
        data = self.data
        if first == 0x81:
            if position < self.stop and (length := data[position]) > 0x7F:
                return position + 1, length
        elif first == 0x82:
            if position + 1 < self.stop and (high := data[position]):
                return position + 2, high << 8 | data[position + 1]
        elif first in {0x83, 0x84}:
            end = position + (first & 0x7F)
            if end <= self.stop and data[position]:
                return end, int.from_bytes(data[position:end], "big")
        malformed("length is indefinite, not minimal, truncated or too long")


def single(data: bytes, tag: int) -> bytes:
    """Contents of ``data``, which must be exactly one element of this tag."""
    size = len(data)
    if size > 1 and data[0] == tag:
        length = data[1]
        if length < 0x80:
            if length == size - 2:
                return data[2:]
        elif length == 0x81:
            if size > 0x82 and data[2] == size - 3:
                return data[3:]
        elif length == 0x82 and size > 0x103 and data[2] << 8 | data[3] == size - 4:
            return data[4:]
    cursor = Cursor(data)
    contents = cursor.take(tag)
    if cursor.position != size:
        malformed("trailing data after the message")
    return contents


def one_element(data: bytes) -> bytes:
    """``data`` itself, which must be exactly one element of any tag."""
    size = len(data)
    if 2 <= size < 0x82 and data[1] == size - 2 and data[0] & 0x1F != 0x1F:
        return data
    cursor = Cursor(data)
    cursor.raw()
    cursor.finish()
    return data


def sequences(data: bytes, limit: int) -> list[bytes]:
    """Contents of each element of ``data``, all SEQUENCE, at most ``limit`` of them.

    :param limit: 1 or more.
    """
    # Most lists in protocols have one element.
    size = len(data)
    if 2 <= size < 0x82 and data[1] == size - 2 and data[0] == SEQUENCE:
        return [data[2:]]
    cursor = Cursor(data)
    found: list[bytes] = []
    while cursor.position < cursor.stop:
        found.append(cursor.take(SEQUENCE))
        if len(found) > limit:
            malformed(f"more than {limit} elements in a list")
    return found


def split_oid(data: bytes) -> tuple[str, bytes]:
    """Dotted text of the OBJECT IDENTIFIER that stands first, and what follows it."""
    if len(data) > 2 and data[0] == OID and data[1] < 0x80:
        end = 2 + data[1]
        if end <= len(data):
            return decode_oid(data[2:end]), data[end:]
    cursor = Cursor(data)
    return decode_oid(cursor.take(OID)), data[cursor.position :]


# --- scalar contents -> values ------------------------------------------------


def decode_integer(contents: bytes) -> int:
    """Value of INTEGER contents; minimal form, at most `MAX_INTEGER_OCTETS`."""
    size = len(contents)
    if size == 1:
        value = contents[0]
        return value if value < 0x80 else value - 0x100
    if not 1 <= size <= MAX_INTEGER_OCTETS:
        malformed("INTEGER is empty or too long")
    if (contents[0] == 0 and contents[1] < 0x80) or (
        contents[0] == 0xFF and contents[1] >= 0x80
    ):
        malformed("INTEGER is not minimal")
    return int.from_bytes(contents, "big", signed=True)


def decode_boolean(contents: bytes) -> bool:
    """Value of BOOLEAN contents (00 or ff)."""
    if contents == b"\xff":
        return True
    if contents == b"\x00":
        return False
    malformed("BOOLEAN is neither 00 nor ff")


def decode_null(contents: bytes) -> None:
    """Check that NULL contents are empty."""
    if contents:
        malformed("NULL with contents")


@lru_cache(maxsize=1024)
def decode_oid(contents: bytes) -> str:
    """Dotted text of OBJECT IDENTIFIER contents, at most `MAX_OID_OCTETS`."""
    if not 1 <= len(contents) <= MAX_OID_OCTETS or contents[-1] & 0x80:
        malformed("OBJECT IDENTIFIER is empty, truncated or too long")
    arcs: list[int] = []
    value = 0
    fresh = True
    for octet in contents:
        if fresh and octet == 0x80:
            malformed("OBJECT IDENTIFIER arc is not minimal")
        value = value << 7 | octet & 0x7F
        fresh = not octet & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    if max(arcs).bit_length() > 128:
        malformed("OBJECT IDENTIFIER arc above 2^128")
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def decode_bits(contents: bytes) -> bytes:
    """Octets of BIT STRING contents that hold whole octets."""
    if not contents or contents[0] != 0:
        malformed("BIT STRING does not hold whole octets")
    return contents[1:]


def decode_named_bits(contents: bytes) -> frozenset[int]:
    """Numbers of the bits set in BIT STRING contents (bit 0 is the first)."""
    if not contents or contents[0] > 7 or (contents[0] and len(contents) == 1):
        malformed("BIT STRING with bad unused bits")
    if contents[0] and contents[-1] & ((1 << contents[0]) - 1):
        malformed("BIT STRING with unused bits set")
    octets = contents[1:]
    if len(octets) > 64:
        malformed("BIT STRING of flags is too long")
    return frozenset(
        index * 8 + bit
        for index, octet in enumerate(octets)
        for bit in range(8)
        if octet & (0x80 >> bit)
    )


# All messages of one second carry the same time.
@lru_cache(maxsize=256)
def decode_generalized_time(contents: bytes) -> datetime.datetime:
    """Aware UTC datetime of GeneralizedTime contents; ``Z``, fractions tolerated.

    **Source:** RFC 5280 section 4.1.2.5.2; fractions per X.680, seen from clients.
    """
    digits = contents[:14]
    if len(contents) < 15 or not digits.isdigit() or contents[-1] != 0x5A:
        malformed("GeneralizedTime is not YYYYMMDDHHMMSSZ")
    text = digits.decode("ascii")
    try:
        moment = datetime.datetime.fromisoformat(text[:8] + "T" + text[8:] + "Z")
    except ValueError:
        malformed("GeneralizedTime is not a time")
    if len(contents) == 15:
        return moment
    return moment.replace(microsecond=_decode_fraction(contents[14:-1]))


def _decode_fraction(fraction: bytes) -> int:
    digits = fraction[1:]
    if fraction[:1] != b"." or not digits.isdigit() or len(digits) > 9:
        malformed("GeneralizedTime has a bad fraction")
    return int((digits + b"000000")[:6])


@lru_cache(maxsize=256)
def decode_utc_time(contents: bytes) -> datetime.datetime:
    """Aware UTC datetime of UTCTime contents (1950 to 2049).

    **Source:** RFC 5280 section 4.1.2.5.1.
    """
    if len(contents) != 13:
        malformed("UTCTime is not YYMMDDHHMMSSZ")
    century = b"19" if contents[:2] >= b"50" else b"20"
    return decode_generalized_time(century + contents)


def decode_time(tag: int, contents: bytes) -> datetime.datetime:
    """Value of an X.509 ``Time``: UTCTime or GeneralizedTime, told by its tag."""
    if tag == UTC_TIME:
        return decode_utc_time(contents)
    if tag == GENERALIZED_TIME:
        return decode_generalized_time(contents)
    malformed("expected UTCTime or GeneralizedTime")


_TEXT_CODECS: Final = {
    UTF8_STRING: "utf-8",
    PRINTABLE_STRING: "ascii",
    IA5_STRING: "ascii",
    VISIBLE_STRING: "ascii",
    TELETEX_STRING: "latin-1",
    BMP_STRING: "utf-16-be",
    UNIVERSAL_STRING: "utf-32-be",
}


def decode_text(tag: int, contents: bytes) -> str:
    """Text of any of the string types (UTF8, Printable, IA5, T61, BMP, Universal)."""
    codec = _TEXT_CODECS.get(tag)
    if codec is None:
        malformed(f"tag 0x{tag:02x} is not a string type")
    try:
        return contents.decode(codec)
    except UnicodeDecodeError:
        malformed("string does not fit its type")


def decode_utf8(contents: bytes) -> str:
    """Text of UTF8String contents."""
    return decode_text(UTF8_STRING, contents)


# --- values -> elements -------------------------------------------------------


_short_head: Final = struct.Struct("BB").pack
_long_head: Final = struct.Struct(">BBH").pack
_explicit_head: Final = struct.Struct("BBBB").pack


def encode(tag: int, *parts: bytes) -> bytes:
    """One element: tag, minimal length and the joined contents."""
    contents = parts[0] if len(parts) == 1 else b"".join(parts)
    size = len(contents)
    if size < 0x80:
        return _short_head(tag, size) + contents
    if 0x100 <= size < 0x10000:
        return _long_head(tag, 0x82, size) + contents
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + contents


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of the given elements."""
    return encode(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """SET OF the given elements, in DER order."""
    return encode(SET, *sorted(parts))


def explicit(number: int, *parts: bytes) -> bytes:
    """``[number] EXPLICIT`` around the given elements."""
    return encode(0xA0 | number, b"".join(parts))


def explicit_octets(number: int, octets: bytes) -> bytes:
    """``[number] EXPLICIT`` around an OCTET STRING."""
    size = len(octets)
    if size < 0x7E:
        return _explicit_head(0xA0 | number, size + 2, OCTET_STRING, size) + octets
    return encode(0xA0 | number, encode(OCTET_STRING, octets))


def implicit(number: int, element: bytes) -> bytes:
    """``[number] IMPLICIT``: an element with its tag replaced, constructedness kept."""
    return bytes((0x80 | number | element[0] & 0x20,)) + element[1:]


def integer(value: int) -> bytes:
    """INTEGER."""
    if -0x80 <= value < 0x80:
        return bytes((INTEGER, 1, value & 0xFF))
    magnitude = value if value >= 0 else ~value
    return encode(
        INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True)
    )


def boolean(*, value: bool) -> bytes:
    """BOOLEAN."""
    return b"\x01\x01\xff" if value else b"\x01\x01\x00"


def octet_string(octets: bytes) -> bytes:
    """OCTET STRING."""
    return encode(OCTET_STRING, octets)


def bit_string(octets: bytes) -> bytes:
    """BIT STRING of whole octets."""
    return encode(BIT_STRING, b"\x00", octets)


def named_bits(bits: frozenset[int]) -> bytes:
    """BIT STRING with named bits: trailing zero bits removed (X.690 11.2.2)."""
    if not bits:
        return b"\x03\x01\x00"
    highest = max(bits)
    value = bytearray(highest // 8 + 1)
    for bit in bits:
        value[bit // 8] |= 0x80 >> bit % 8
    return encode(BIT_STRING, bytes((7 - highest % 8,)), bytes(value))


@lru_cache(maxsize=1024)
def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER of dotted text."""
    first, second, *rest = map(int, dotted.split("."))
    contents = bytearray()
    for arc in (first * 40 + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(arc & 0x7F | 0x80)
        contents += bytes(reversed(septets))
    return encode(OID, bytes(contents))


def encode_text(tag: int, text: str) -> bytes:
    """A string of any of the string types.

    :raises PKIError: ``MALFORMED`` when the text does not fit the type.
    """
    codec = _TEXT_CODECS.get(tag)
    if codec is None:
        malformed(f"tag 0x{tag:02x} is not a string type")
    try:
        return encode(tag, text.encode(codec))
    except UnicodeEncodeError:
        malformed("string does not fit its type")


def utf8_string(text: str) -> bytes:
    """UTF8String."""
    return encode(UTF8_STRING, text.encode("utf-8"))


def ia5_string(text: str) -> bytes:
    """IA5String; the caller keeps to ASCII."""
    return encode(IA5_STRING, text.encode("ascii"))


def generalized_time(moment: datetime.datetime) -> bytes:
    """GeneralizedTime in UTC with seconds, as RFC 5280 section 4.1.2.5.2 wants it."""
    utc = moment.astimezone(datetime.UTC)
    return encode(
        GENERALIZED_TIME,
        b"%04d%02d%02d%02d%02d%02dZ"
        % (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second),
    )


def time(moment: datetime.datetime) -> bytes:
    """X.509 ``Time``: UTCTime through 2049, GeneralizedTime from 2050."""
    utc = moment.astimezone(datetime.UTC)
    whole = generalized_time(utc)
    if 1950 <= utc.year < 2050:
        return encode(UTC_TIME, whole[4:])
    return whole
