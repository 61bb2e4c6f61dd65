"""RFC 4514 text of distinguished names: escaping and parsing.

Pure. Knows attribute types by the short names of `oids.NAME_BY_OID`, nothing of DER
but octets behind ``#``.

**Source:** RFC 4514 sections 2.4 and 3.
"""

from __future__ import annotations

import re
from typing import Final

from pkid.asn1 import der, oids

MAX_TEXT_CHARACTERS: Final = 16384

_SPECIAL: Final = frozenset('"+,;<>\\=')
_find_special: Final = re.compile(f"[{re.escape(''.join(_SPECIAL))}]").search
_ESCAPES: Final = str.maketrans({special: "\\" + special for special in _SPECIAL})
_ESCAPABLE: Final = _SPECIAL | frozenset(" #")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_OID_BY_LOWER_NAME: Final = {
    name.lower(): oid for oid, name in oids.NAME_BY_OID.items()
} | {name.lower(): oid for name, oid in oids.OID_BY_OTHER_NAME.items()}

TypeAndValue = tuple[str, str | bytes]


def escape_value(text: str) -> str:
    r"""Text of a value with RFC 4514 escapes.

    What does not print becomes ``\XX`` pairs too, so that the result can stand in a
    log or on a terminal.
    """
    escaped = text
    if not text.isprintable():
        escaped = "".join(map(_escape_character, text))
    elif _find_special(text):
        escaped = text.translate(_ESCAPES)
    if text.startswith((" ", "#")):
        escaped = "\\" + escaped
    # A single space is the first character, and escaped as such.
    if text.endswith(" ", 1):
        escaped = escaped[:-1] + "\\ "
    return escaped


def parse_text(text: str) -> list[list[TypeAndValue]]:
    """Take RFC 4514 text apart, in the order of the text.

    :returns: RDNs of (dotted OID, value); a value is text, or octets (DER of the
        value) when it was written with ``#``.
    :raises PKIError: ``MALFORMED``.
    """
    if len(text) > MAX_TEXT_CHARACTERS:
        der.malformed("the text of a name is too long")
    if not text.strip():
        return []
    return [
        [_parse_pair(pair) for pair in _split(rdn, "+")] for rdn in _split(text, ",;")
    ]


def _escape_character(character: str) -> str:
    if character in _SPECIAL:
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{octet:02x}" for octet in character.encode("utf-8"))


def _split(text: str, separators: str) -> list[str]:
    parts: list[str] = []
    start = 0
    position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] in separators:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    parts.append(text[start:])
    return parts


def _parse_pair(pair: str) -> TypeAndValue:
    name, equals, value = pair.partition("=")
    if not equals:
        der.malformed("a part of a name has no '='")
    oid = _parse_type(name.strip())
    value = value.lstrip(" ")
    if value.startswith("#"):
        return oid, _parse_hex(value[1:].strip())
    return oid, _unescape(value)


def _parse_type(name: str) -> str:
    known = _OID_BY_LOWER_NAME.get(name.lower())
    if known is not None:
        return known
    dotted = name[4:] if name[:4].lower() == "oid." else name
    if not oids.is_dotted(dotted):
        der.malformed(f"unknown attribute type {escape_value(name[:32])!r} in a name")
    return dotted


def _parse_hex(digits: str) -> bytes:
    if not digits or len(digits) % 2 or not _HEX.issuperset(digits):
        der.malformed("a '#' value in a name is not hexadecimal")
    return bytes.fromhex(digits)


def _unescape(value: str) -> str:
    octets = bytearray()
    position = 0
    kept = 0
    while position < len(value):
        character = value[position]
        position += 1
        if character != "\\":
            _append(octets, character)
            if character != " ":
                kept = len(octets)
            continue
        position = _unescape_one(value, position, octets)
        kept = len(octets)
    try:
        return octets[:kept].decode("utf-8")
    except UnicodeDecodeError:
        der.malformed("escaped octets in a name are not UTF-8")


def _unescape_one(value: str, position: int, octets: bytearray) -> int:
    pair = value[position : position + 2]
    if len(pair) == 2 and _HEX.issuperset(pair):
        octets.append(int(pair, 16))
        return position + 2
    if not pair or pair[0] not in _ESCAPABLE:
        der.malformed("a bad escape in the text of a name")
    _append(octets, pair[0])
    return position + 1


def _append(octets: bytearray, character: str) -> None:
    try:
        octets += character.encode("utf-8")
    except UnicodeEncodeError:
        der.malformed("a name holds a surrogate character")
