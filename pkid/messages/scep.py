"""SCEP messages: a signed and mostly enveloped request, and the answer to it.

Pure. What is read stays as the octets that came: the signature covers them, and the
transactionID goes back as the client wrote it. A request is read in two steps, because
an answer must be possible as soon as the outer CMS can be read: `PKIMessage.decode`
takes CMS apart, `PKIMessage.attributes` then says what SCEP makes of it.

::

    ContentInfo SignedData (signed by the client)
        eContent: ContentInfo EnvelopedData (encrypted to the RA)
            PKCSReq, RenewalReq: PKCS #10       CertPoll: IssuerAndSubject
            GetCert, GetCRL: IssuerAndSerialNumber

**Source:** RFC 8894 section 3; draft-nourse-scep-23 section 3.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from pkid.asn1 import ber, der, oids
from pkid.asn1.cms.content import Attribute, ContentInfo, single_value
from pkid.asn1.cms.enveloped import AuthEnvelopedData, EnvelopedData
from pkid.asn1.cms.signed import SignedData, SignerInfo
from pkid.asn1.names import Name
from pkid.errors import ErrorCode, PKIError

MAX_OCTETS: Final = 64 * 1024
MAX_DEPTH: Final = 20
MAX_ELEMENTS: Final = 4096
MAX_CERTIFICATES: Final = 10
MAX_ATTRIBUTES: Final = 50
MAX_NONCE_OCTETS: Final = 64
MAX_TRANSACTION_ID_OCTETS: Final = 512
MAX_FAIL_INFO_TEXT: Final = 200

T = TypeVar("T")


class MessageType(enum.IntEnum):
    """What a message asks for (RFC 8894 section 3.2.1.2).

    18 stood for UpdateReq in drafts and is not assigned any more.
    """

    CERT_REP = 3
    RENEWAL_REQ = 17
    UPDATE_REQ = 18
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22


class PKIStatus(enum.IntEnum):
    """What became of a request (RFC 8894 section 3.2.1.3)."""

    SUCCESS = 0
    FAILURE = 2
    PENDING = 3


class FailInfo(enum.IntEnum):
    """Why a request was refused (RFC 8894 section 3.2.1.4)."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAttributes:
    """What SCEP says in the signed attributes of a request.

    :ivar message_type: the number as it came, which may be of no known type.
    :ivar transaction_id: contents octets of the string.
    :ivar sender_nonce: octets.
    :ivar recipient_nonce: octets; only some clients send it, and only in a poll.
    """

    message_type: int
    transaction_id: bytes
    sender_nonce: bytes
    recipient_nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class Addressing:
    """What an answer repeats of its request, as far as that could be read.

    :ivar transaction_id: the whole element, of the client's own string type.
    :ivar sender_nonce: octets.
    """

    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None


@dataclass(frozen=True, slots=True)
class PKIMessage:
    """A request: ``SignedData`` by one signer.

    :ivar signed: as it came, in DER lengths.
    :ivar signer: its only signature.
    """

    signed: SignedData
    signer: SignerInfo

    @classmethod
    def decode(cls, octets: bytes) -> PKIMessage:
        """Read the outer CMS of a request, BER or DER.

        :raises PKIError: ``MALFORMED`` when it cannot be read; ``BAD_REQUEST`` when it
            is CMS but not signed by exactly one.

        **Source:** RFC 8894 section 3.2.
        """
        signed = _read(SignedData.decode_content_info, octets)
        if len(signed.signer_infos) != 1:
            raise _bad("a SCEP message has exactly one signer")
        if len(signed.certificates) > MAX_CERTIFICATES:
            raise _bad("the message has too many certificates")
        return cls(signed, signed.signer_infos[0])

    @property
    def addressing(self) -> Addressing:
        """What an answer repeats; never raises, so that every refusal is addressed."""
        try:
            attributes = self.signer.signed_attributes
        except PKIError:
            return Addressing()
        element = _find(attributes, oids.ID_SCEP_TRANSACTION_ID)
        nonce = _find(attributes, oids.ID_SCEP_SENDER_NONCE)
        return Addressing(
            element if element is not None and _is_transaction_id(element) else None,
            None if nonce is None or not _is_nonce(nonce) else _nonce(nonce),
        )

    @property
    def attributes(self) -> RequestAttributes:
        """What SCEP says in the signed attributes.

        :raises PKIError: ``BAD_REQUEST`` when an attribute that must be there is not,
            or has no or several values; ``MALFORMED``.

        **Source:** RFC 8894 section 3.2.1.
        """
        attributes = self.signer.signed_attributes
        if len(attributes) > MAX_ATTRIBUTES:
            raise _bad("the message has too many signed attributes")
        transaction_id = _need(attributes, oids.ID_SCEP_TRANSACTION_ID, "transactionID")
        if not _is_transaction_id(transaction_id):
            raise _bad("the transactionID is empty, too long or no string")
        nonce = _need(attributes, oids.ID_SCEP_SENDER_NONCE, "senderNonce")
        if not _is_nonce(nonce):
            raise _bad("the senderNonce is empty, too long or no OCTET STRING")
        recipient = single_value(attributes, oids.ID_SCEP_RECIPIENT_NONCE)
        return RequestAttributes(
            message_type=_message_type(
                _need(attributes, oids.ID_SCEP_MESSAGE_TYPE, "messageType")
            ),
            transaction_id=der.single(transaction_id, transaction_id[0]),
            sender_nonce=_nonce(nonce),
            recipient_nonce=(
                None
                if recipient is None or not _is_nonce(recipient)
                else _nonce(recipient)
            ),
        )


def decode_enveloped(content: bytes) -> EnvelopedData | AuthEnvelopedData:
    """Read the ``pkcsPKIEnvelope`` that a request carries, BER or DER.

    :param content: octets of ``eContent``.
    :raises PKIError: ``MALFORMED``.

    **Source:** RFC 8894 section 3.2.2; RFC 5083 for the authenticated form.
    """
    return _read(_decode_enveloped, content)


def _decode_enveloped(octets: bytes) -> EnvelopedData | AuthEnvelopedData:
    outer = ContentInfo.decode(octets)
    if outer.content_type == oids.ID_CT_AUTH_ENVELOPED_DATA:
        return AuthEnvelopedData.decode(outer.content_of(outer.content_type))
    return EnvelopedData.decode(outer.content_of(oids.ID_ENVELOPED_DATA))


@dataclass(frozen=True, slots=True)
class IssuerAndSubject:
    """What CertPoll asks about, by names (RFC 8894 section 3.3.3)."""

    issuer: Name
    subject: Name

    @classmethod
    def decode(cls, octets: bytes) -> IssuerAndSubject:
        """Read a whole ``IssuerAndSubject``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        issuer = Name.decode(cursor.raw(der.SEQUENCE))
        subject = Name.decode(cursor.raw(der.SEQUENCE))
        cursor.finish()
        return cls(issuer, subject)

    def encode(self) -> bytes:
        """The ``IssuerAndSubject`` SEQUENCE."""
        return der.sequence(self.issuer.der, self.subject.der)


# --- the answer ------------------------------------------------------------------


def response_attributes(
    status: PKIStatus,
    addressing: Addressing,
    sender_nonce: bytes,
    *,
    fail_info: FailInfo | None = None,
    text: str = "",
) -> tuple[Attribute, ...]:
    """The signed attributes of a CertRep, beside contentType and messageDigest.

    :param addressing: from the request that is answered.
    :param sender_nonce: 16 fresh octets; RFC 8894 asks for none, draft-nourse-23 does.
    :param fail_info: with ``FAILURE``, and only then.
    :param text: ``failInfoText``; "" leaves it out.

    **Source:** RFC 8894 sections 3.2.1 and 3.3.2; draft-nourse-scep-23 section 3.1.1.
    """
    found = [
        _printable(oids.ID_SCEP_MESSAGE_TYPE, f"{MessageType.CERT_REP}"),
        _printable(oids.ID_SCEP_PKI_STATUS, f"{status}"),
        Attribute(oids.ID_SCEP_SENDER_NONCE, (der.octet_string(sender_nonce),)),
    ]
    if addressing.transaction_id is not None:
        found.append(
            Attribute(oids.ID_SCEP_TRANSACTION_ID, (addressing.transaction_id,))
        )
    if addressing.sender_nonce is not None:
        nonce = der.octet_string(addressing.sender_nonce)
        found.append(Attribute(oids.ID_SCEP_RECIPIENT_NONCE, (nonce,)))
    if fail_info is not None:
        found.append(_printable(oids.ID_SCEP_FAIL_INFO, f"{fail_info}"))
        if text:
            words = der.utf8_string(text[:MAX_FAIL_INFO_TEXT])
            found.append(Attribute(oids.ID_SCEP_FAIL_INFO_TEXT, (words,)))
    return tuple(found)


# --- parts -----------------------------------------------------------------------


def _read(decode: Callable[[bytes], T], octets: bytes) -> T:
    """Read DER, as nearly all clients write it; what is none is read as BER.

    :raises PKIError: ``MALFORMED``.
    """
    if len(octets) > MAX_OCTETS:
        der.malformed("the message is too long")
    try:
        return decode(octets)
    except PKIError:
        element = ber.to_der(
            octets,
            max_octets=MAX_OCTETS,
            max_depth=MAX_DEPTH,
            max_elements=MAX_ELEMENTS,
        )
        return decode(element)


def _bad(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, detail)


def _printable(oid: str, text: str) -> Attribute:
    return Attribute(oid, (der.encode_text(der.PRINTABLE_STRING, text),))


def _find(attributes: tuple[Attribute, ...], oid: str) -> bytes | None:
    """The first value of an attribute, however many there are."""
    for attribute in attributes:
        if attribute.oid == oid and attribute.values:
            return attribute.values[0]
    return None


def _need(attributes: tuple[Attribute, ...], oid: str, name: str) -> bytes:
    value = single_value(attributes, oid)
    if value is None:
        raise _bad(f"{name} is not among the signed attributes")
    return value


def _is_transaction_id(element: bytes) -> bool:
    try:
        contents = der.single(element, element[0])
        der.decode_text(element[0], contents)
    except PKIError:
        return False
    return 1 <= len(contents) <= MAX_TRANSACTION_ID_OCTETS


def _is_nonce(element: bytes) -> bool:
    try:
        return 1 <= len(_nonce(element)) <= MAX_NONCE_OCTETS
    except PKIError:
        return False


def _nonce(element: bytes) -> bytes:
    return der.single(element, der.OCTET_STRING)


def _message_type(element: bytes) -> int:
    """The number: decimal digits, as clients write it, and nothing else."""
    text = der.decode_text(element[0], der.single(element, element[0]))
    if not (text.isascii() and text.isdigit() and text == str(int(text[:4]))):
        raise _bad("the messageType is no number")
    return int(text)
