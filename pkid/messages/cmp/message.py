"""A whole CMP message: header, body, protection, extra certificates.

Pure. What protection covers, ``ProtectedPart``, is put together from the octets that
arrived, never from a re-encoding. The body stays octets until it is asked for.

**Source:** RFC 9810 sections 5.1 and 5.1.3, appendix F.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor
from pkid.errors import PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    decode_content,
)
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.lists import encode_elements, optional_certificates

_PROTECTION: Final = 0xA0
_EXTRA_CERTS: Final = 0xA1
_TRANSACTION_ID: Final = 0xA4
_SENDER_NONCE: Final = 0xA5
_MAX_RECOVERED_OCTETS: Final = 256
_BODY_TYPE_BY_TAG: Final = {0xA0 | member: member for member in BodyType}


@dataclass(frozen=True, slots=True)
class PKIMessage:
    """A message as it arrived.

    :ivar der: the whole message.
    :ivar body_type: None when the tag is no body of CMP.
    :ivar body: what stands inside the body's tag, not looked at; see `decode_body`.
    :ivar protected_part: header and body as they arrived, inside a SEQUENCE: the
        input of MAC or signature.
    :ivar protection: octets of the protection; None when unprotected.
    :ivar extra_certs: certificates, each whole; () when absent.
    """

    der: bytes
    header: PKIHeader
    body_type: BodyType | None
    body: bytes
    protected_part: bytes
    protection: bytes | None
    extra_certs: tuple[bytes, ...]

    @classmethod
    def decode(cls, octets: bytes, *, utc_time: bool = False) -> PKIMessage:
        """Read a whole message, its body only as far as its frame.

        :param utc_time: the header's messageTime is a UTCTime, against RFC 9810.
        :raises PKIError: ``MALFORMED``.
        """
        contents = der.single(octets, der.SEQUENCE)
        cursor = der.Cursor(contents)
        header = PKIHeader.decode(cursor.take(der.SEQUENCE), utc_time=utc_time)
        tag = cursor.peek()
        # Tags of the PKIBody choice are [0] to [30]; those above 26 are unknown
        # bodies, which get a protected answer and are no fault of the encoding.
        if not 0xA0 <= tag < 0xBF:
            der.malformed("a message without a body")
        body = cursor.take(tag)
        part = der.sequence(contents[: cursor.position])
        bits: bytes | None = None
        if cursor.at(_PROTECTION):
            protection = cursor.take(_PROTECTION)
            bits = der.decode_bits(der.single(protection, der.BIT_STRING))
        extra_certs: tuple[bytes, ...] = ()
        if cursor.position < cursor.stop:
            extra_certs = optional_certificates(cursor, _EXTRA_CERTS)
            cursor.finish()
        return _make_message(
            octets, header, _BODY_TYPE_BY_TAG.get(tag), body, part, bits, extra_certs
        )


_make_message = constructor(PKIMessage)


def decode_body(message: PKIMessage) -> Body:
    """Read the body of a message.

    :raises PKIError: ``BAD_REQUEST`` for an unknown body, ``MALFORMED`` for a broken.
    """
    return _decoded(message.body_type, message.body)


@lru_cache(maxsize=8)
def _decoded(body_type: BodyType | None, octets: bytes) -> Body:
    # One message is asked for its body several times on its way.
    return decode_content(body_type, octets)


def protected_part(header: bytes, body: bytes) -> bytes:
    """The ``ProtectedPart`` of a message that is being made.

    :param header: ``PKIHeader``, whole.
    :param body: ``PKIBody``, whole.
    """
    return der.sequence(header, body)


def encode_message(
    header: bytes,
    body: bytes,
    *,
    protection: bytes | None = None,
    extra_certs: tuple[bytes, ...] = (),
) -> bytes:
    """The ``PKIMessage``.

    :param header: ``PKIHeader``, whole.
    :param body: ``PKIBody``, whole, from `body.encode_body`.
    :param protection: MAC or signature over `protected_part` of both, in octets.
    :param extra_certs: certificates, each whole.
    """
    bits = b"" if protection is None else der.explicit(0, der.bit_string(protection))
    return der.sequence(header, body, bits, encode_elements(1, extra_certs))


def recover_ids(octets: bytes) -> tuple[bytes | None, bytes | None]:
    """Find transactionID and senderNonce in a message that could not be read.

    So that the answer can name them. Lengths of message and header are ignored, so
    that a truncated message or one of indefinite length gives what it still holds.

    :returns: either may be None; neither is above 256 octets.
    """
    found: dict[int, bytes] = {}
    try:
        cursor = der.Cursor(_loose_contents(_loose_contents(octets)))
        cursor.take(der.INTEGER)
        # sender and recipient: a directory name has the tag of transactionID
        cursor.raw()
        cursor.raw()
        while cursor and len(found) < 2:
            tag = cursor.peek()
            value = cursor.take(tag)
            if tag in {_TRANSACTION_ID, _SENDER_NONCE}:
                found[tag] = der.single(value, der.OCTET_STRING)
    except PKIError:
        pass  # what was found before the fault is the answer
    return _bounded(found.get(_TRANSACTION_ID)), _bounded(found.get(_SENDER_NONCE))


def _bounded(octets: bytes | None) -> bytes | None:
    return octets if octets and len(octets) <= _MAX_RECOVERED_OCTETS else None


def _loose_contents(octets: bytes) -> bytes:
    if octets[:1] != b"\x30" or len(octets) < 2:
        der.malformed("not a SEQUENCE")
    long_form = octets[1] & 0x7F if octets[1] & 0x80 else 0
    return octets[2 + long_form :]
