"""SCEP over HTTP: operation and message out of a query that is no form, and bodies.

The query is read as it came: to a form's reader a plus sign of base64 is a space. What
clients are known to do is accepted: line breaks within the base64, base64 for URLs,
escapes escaped again, no operation in a POST, base64 or PEM in a body.

**Source:** RFC 8894 section 4.1; draft-nourse-scep-23 section 5.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange

_WHITE: Final = re.compile(rb"[ \t\r\n\x0b\x0c]+")
_PEM_LINE: Final = re.compile(rb"-----[A-Z0-9 ]{1,64}-----")
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+=*")
_SEQUENCE: Final = 0x30


class Operation(enum.Enum):
    """What an HTTP request asks for."""

    GET_CA_CAPS = "GetCACaps"
    GET_CA_CERT = "GetCACert"
    GET_CA_CERT_CHAIN = "GetCACertChain"
    GET_NEXT_CA_CERT = "GetNextCACert"
    PKI_OPERATION = "PKIOperation"


_OPERATIONS: Final = {operation.value.lower(): operation for operation in Operation}


@dataclass(frozen=True, slots=True)
class Asked:
    """An operation, with its message for PKIOperation."""

    operation: Operation
    message: bytes = field(default=b"", repr=False)


def asked(exchange: Exchange) -> Asked:
    """What an exchange asks for.

    The CA identifier that other operations may carry is not looked at: clients write
    anything there, and the URL names the entrance.

    :raises PKIError: ``BAD_REQUEST`` for no or an unknown operation; ``MALFORMED`` for
        a message that is no base64.
    """
    name, message = _parameters(exchange.query)
    if not name and exchange.method == "POST":
        name = Operation.PKI_OPERATION.value
    operation = _OPERATIONS.get(name.lower())
    if operation is None:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            "the URL names no operation of SCEP: ?operation=GetCACaps, GetCACert,"
            " GetCACertChain, GetNextCACert or PKIOperation",
        )
    if operation is not Operation.PKI_OPERATION:
        return Asked(operation)
    if exchange.method == "POST" and exchange.body:
        return Asked(operation, _body(exchange.body))
    return Asked(operation, _decoded(_unescaped(message)))


def _parameters(query: str) -> tuple[str, str]:
    """The first operation and the first message, as they stand."""
    found: dict[str, str] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        found.setdefault(name.lower(), value)
    operation = unquote_to_bytes(found.get("operation", "")).decode("latin-1")
    return operation.strip(), found.get("message", "")


def _unescaped(text: str) -> bytes:
    octets = unquote_to_bytes(text)
    # Some clients escape what is escaped already; base64 has no percent sign.
    return unquote_to_bytes(octets) if b"%" in octets else octets


def _body(octets: bytes) -> bytes:
    if octets[0] == _SEQUENCE:
        return octets
    return _decoded(_PEM_LINE.sub(b"", octets))


def _decoded(octets: bytes) -> bytes:
    text = _WHITE.sub(b"", octets).translate(_URL_SAFE)
    if not text:
        raise PKIError(ErrorCode.BAD_REQUEST, "the message is empty")
    if not _BASE64.fullmatch(text):
        raise PKIError(ErrorCode.MALFORMED, "the message is not base64")
    digits = text.rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except binascii.Error:
        raise PKIError(ErrorCode.MALFORMED, "the message is not base64") from None
