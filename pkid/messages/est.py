"""Bodies of EST: base64 that clients of every kind read, and base64 of every kind read.

Pure. RFC 8951 says base64 as in RFC 4648 section 4 with white space allowed; clients
send that wrapped and not, without padding, as PEM, and as plain DER.

**Source:** RFC 7030 sections 4.1 to 4.5; RFC 8951 section 3.
"""

from __future__ import annotations

import binascii
import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import der

LINE: Final = 64

PKCS7: Final = "application/pkcs7-mime"
CERTS_ONLY: Final = "application/pkcs7-mime; smime-type=certs-only"
CMC_RESPONSE: Final = "application/pkcs7-mime; smime-type=CMC-response"
SERVER_KEY: Final = "application/pkcs7-mime; smime-type=server-generated-key"
PKCS8: Final = "application/pkcs8"
PKCS10: Final = "application/pkcs10"
CSR_ATTRIBUTES: Final = "application/csrattrs"
TRANSFER_ENCODING: Final = ("Content-Transfer-Encoding", "base64")

_SPACE: Final = b" \t\r\n"
_PEM: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{1,40})-----([^-]*)-----END \1-----\s*", re.ASCII
)
_PEM_MARK: Final = b"-----BEGIN"
_BOUNDARY: Final = re.compile(r"[A-Za-z0-9]{1,60}")


class Base64Form(enum.Enum):
    """How base64 stands on the lines: no form suits every client.

    libest reads lines only; strongSwan before 5.9.11 reads one line only.
    """

    WRAPPED = "wrapped"
    SINGLE = "single"


def decode_body(octets: bytes) -> bytes:
    """The DER in a request's body, whatever it is wrapped in.

    :param octets: base64 with any white space, with or without padding; PEM; or DER.
    :raises PKIError: ``MALFORMED`` when it is none of these.

    **Source:** RFC 8951 section 3.1 (white space); RFC 7030 section 4.2.1.
    """
    stripped = octets.strip(_SPACE)
    if not stripped:
        der.malformed("the body is empty")
    if octets[0] == der.SEQUENCE:
        # As text, "0": base64 of a SEQUENCE begins with "M", PEM with "-".
        return octets
    if stripped.startswith(_PEM_MARK):
        found = _PEM.fullmatch(stripped)
        if found is None:
            der.malformed("the body is not one PEM block")
        stripped = found.group(2)
    return _decode_base64(stripped)


def _decode_base64(text: bytes) -> bytes:
    joined = text.translate(None, _SPACE).rstrip(b"=")
    try:
        found = binascii.a2b_base64(
            joined + b"=" * (-len(joined) % 4), strict_mode=True
        )
    except binascii.Error:
        der.malformed("the body is neither base64, PEM nor DER")
    if found[:1] != b"\x30":
        der.malformed("the base64 of the body holds no DER sequence")
    return found


def encode_base64(octets: bytes, form: Base64Form = Base64Form.WRAPPED) -> bytes:
    """Base64 of DER, ended by CR LF.

    :param form: lines of 64 characters, or one line.
    """
    text = binascii.b2a_base64(octets, newline=False)
    if form is Base64Form.SINGLE:
        return text + b"\r\n"
    lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
    return b"".join(line + b"\r\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body.

    :ivar content: base64, ended by CR LF.
    """

    content_type: str
    content: bytes = field(repr=False)


def multipart_type(boundary: str) -> str:
    """Content-Type of a body of `encode_multipart`."""
    return f"multipart/mixed; boundary={boundary}"


def encode_multipart(parts: Iterable[Part], boundary: str) -> bytes:
    """A ``multipart/mixed`` body, without preamble.

    :param boundary: letters and digits that are in no part's lines: base64 has no
        hyphens, and each boundary line begins with two.

    **Source:** RFC 7030 section 4.4.2; RFC 2046 section 5.1.
    """
    if _BOUNDARY.fullmatch(boundary) is None:
        raise ValueError("a boundary is 1 to 60 letters and digits")
    mark = f"--{boundary}".encode("ascii")
    body = b""
    for part in parts:
        head = f"Content-Type: {part.content_type}\r\n"
        head += "Content-Transfer-Encoding: base64\r\n\r\n"
        body += mark + b"\r\n" + head.encode("ascii") + part.content
    return body + mark + b"--\r\n"
