"""Registration information beside a request, ``regInfo``: text pairs and a request.

Pure.

**Source:** RFC 4211 section 7 and appendix A.
"""

from __future__ import annotations

import re
from typing import Final

from pkid.asn1 import der, oids
from pkid.messages.controls import ControlType
from pkid.messages.crmf import CertRequest
from pkid.messages.opentypes import decode_text_value

MAX_PAIRS: Final = 64
MAX_PAIRS_CHARACTERS: Final = 16384

# Names never start with a digit, so a percent sign before one is an escape and any
# other ends the value.
_ESCAPE: Final = re.compile(r"%([0-7][0-9A-Fa-f])")
_END_OF_VALUE: Final = re.compile(r"%(?![0-9])")
_RESERVED: Final = re.compile("[%?]")

Pairs = tuple[tuple[str, str], ...]


def decode_pairs(element: bytes) -> Pairs:
    """Names and values of ``UTF8Pairs``, whole, in their order.

    The percent sign after the last value may be missing, as some senders have it.

    :raises PKIError: ``MALFORMED`` when the text does not keep to
        ``Name?Value%[Name?Value%]*`` or is above the limits of this module.

    **Source:** RFC 4211 section 7.1. Appendix A.2 writes a percent sign as ``%%``,
    which section 7.1 does not allow; the section is followed.
    """
    text = decode_text_value(element)
    if len(text) > MAX_PAIRS_CHARACTERS:
        der.malformed("utf8Pairs are too long")
    parts = _END_OF_VALUE.split(text, maxsplit=MAX_PAIRS + 1)
    if not parts[-1]:
        parts.pop()
    if not 1 <= len(parts) <= MAX_PAIRS:
        der.malformed("no pairs in utf8Pairs, or too many")
    return tuple(_decode_pair(part) for part in parts)


def encode_pairs(pairs: Pairs) -> bytes:
    """The ``UTF8Pairs``.

    :raises PKIError: ``MALFORMED`` for a name that is empty or starts with a digit.
    """
    for name, _ in pairs:
        _check_name(name)
    return der.utf8_string(
        "".join(f"{_escape(name)}?{_escape(value)}%" for name, value in pairs)
    )


def _decode_pair(part: str) -> tuple[str, str]:
    name, mark, value = part.partition("?")
    if not mark or "?" in value:
        der.malformed("a pair in utf8Pairs is not Name?Value")
    plain = _unescape(name)
    _check_name(plain)
    return plain, _unescape(value)


def _check_name(name: str) -> None:
    if not name or name[0] in "0123456789":
        der.malformed("a name in utf8Pairs is empty or starts with a digit")


def _unescape(text: str) -> str:
    if "%" in _ESCAPE.sub("", text):
        der.malformed("a percent sign in utf8Pairs escapes nothing")
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _escape(text: str) -> str:
    return _RESERVED.sub(lambda match: f"%{ord(match[0]):02x}", text)


UTF8_PAIRS: Final = ControlType(
    oids.ID_REG_INFO_UTF8_PAIRS, "utf8Pairs", decode_pairs, encode_pairs
)
CERT_REQ: Final = ControlType(
    oids.ID_REG_INFO_CERT_REQ,
    "certReq",
    CertRequest.decode,
    lambda request: request.der,
)
