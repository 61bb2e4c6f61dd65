"""The bodies of CMP messages.

Pure. A body is read by one closed table from its type to its class.

**Source:** RFC 9810 section 5.3, appendix F.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.announcements import (
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
)
from pkid.messages.cmp.challenge import POPODecKeyChallContent, POPODecKeyRespContent
from pkid.messages.cmp.header import (
    InfoTypeAndValue,
    decode_info_values,
    encode_info_values,
)
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.lists import (
    decode_list,
    encode_elements,
    optional_certificates,
)
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.revocation import RevRepContent, RevReqContent
from pkid.messages.cmp.status import (
    PKIStatusInfo,
    decode_free_text,
    encode_free_text,
    optional_free_text,
)
from pkid.messages.crmf import (
    MAX_CERT_REQ_MSGS,
    CertReqMsg,
    decode_cert_req_messages,
    encode_cert_req_messages,
)
from pkid.messages.pkcs10 import CertificationRequest

MAX_RESPONSES: Final = MAX_CERT_REQ_MSGS
MAX_CERT_STATUSES: Final = 64
MAX_POLL_ENTRIES: Final = 64

_CA_PUBS: Final = 0xA1
_HASH_ALG: Final = 0xA0


class BodyType(enum.IntEnum):
    """The 27 choices of ``PKIBody``."""

    IR = 0
    IP = 1
    CR = 2
    CP = 3
    P10CR = 4
    POPDECC = 5
    POPDECR = 6
    KUR = 7
    KUP = 8
    KRR = 9
    KRP = 10
    RR = 11
    RP = 12
    CCR = 13
    CCP = 14
    CKUANN = 15
    CANN = 16
    RANN = 17
    CRLANN = 18
    PKICONF = 19
    NESTED = 20
    GENM = 21
    GENP = 22
    ERROR = 23
    CERT_CONF = 24
    POLL_REQ = 25
    POLL_REP = 26


@dataclass(frozen=True, slots=True)
class CertReqMessages:
    """ir, cr, kur, krr, ccr: requests for certificates."""

    messages: tuple[CertReqMsg, ...]

    @classmethod
    def decode(cls, element: bytes) -> CertReqMessages:
        """Read ``CertReqMessages``, whole."""
        return cls(decode_cert_req_messages(element))

    def encode(self) -> bytes:
        """The ``CertReqMessages`` SEQUENCE."""
        return encode_cert_req_messages(self.messages)


@dataclass(frozen=True, slots=True)
class CertResponse:
    """The answer to one request for a certificate.

    :ivar cert_req_id: that of the request; -1 for a p10cr.
    :ivar rsp_info: octets for the requester, in the form of ``regInfo`` pairs.
    """

    cert_req_id: int
    status: PKIStatusInfo
    certified_key_pair: CertifiedKeyPair | None = None
    rsp_info: bytes | None = None

    @classmethod
    def decode(cls, contents: bytes) -> CertResponse:
        """Read the contents octets of ``CertResponse``."""
        cursor = der.Cursor(contents)
        cert_req_id = cursor.integer()
        status = PKIStatusInfo.decode(cursor.take(der.SEQUENCE))
        pair = cursor.optional(der.SEQUENCE)
        rsp_info = cursor.optional(der.OCTET_STRING)
        cursor.finish()
        return _make_response(
            cert_req_id,
            status,
            None if pair is None else CertifiedKeyPair.decode(pair),
            rsp_info,
        )

    def encode(self) -> bytes:
        """The ``CertResponse`` SEQUENCE."""
        pair = self.certified_key_pair
        info = self.rsp_info
        return der.sequence(
            der.integer(self.cert_req_id),
            self.status.encode(),
            b"" if pair is None else pair.encode(),
            b"" if info is None else der.octet_string(info),
        )


_make_response = constructor(CertResponse)


@dataclass(frozen=True, slots=True)
class CertRepMessage:
    """ip, cp, kup, ccp: answers to requests for certificates.

    :ivar ca_pubs: CA certificates, each whole; () when absent.
    """

    responses: tuple[CertResponse, ...]
    ca_pubs: tuple[bytes, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> CertRepMessage:
        """Read ``CertRepMessage``, whole."""
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        ca_pubs = optional_certificates(cursor, _CA_PUBS)
        responses = decode_list(
            cursor.raw(der.SEQUENCE), CertResponse.decode, MAX_RESPONSES
        )
        cursor.finish()
        return cls(responses, ca_pubs)

    def encode(self) -> bytes:
        """The ``CertRepMessage`` SEQUENCE."""
        return der.sequence(
            encode_elements(1, self.ca_pubs),
            der.sequence(*[response.encode() for response in self.responses]),
        )


@dataclass(frozen=True, slots=True)
class CertStatus:
    """Whether the requester takes one certificate.

    :ivar cert_hash: digest of the certificate.
    :ivar status_info: None means accepted.
    :ivar hash_alg: the digest, when the certificate's signature does not tell.
    """

    cert_hash: bytes
    cert_req_id: int
    status_info: PKIStatusInfo | None = None
    hash_alg: AlgorithmIdentifier | None = None

    @classmethod
    def decode(cls, contents: bytes) -> CertStatus:
        """Read the contents octets of ``CertStatus``."""
        cursor = der.Cursor(contents)
        cert_hash = cursor.take(der.OCTET_STRING)
        cert_req_id = cursor.integer()
        status = cursor.optional(der.SEQUENCE)
        wrapped = cursor.optional(_HASH_ALG)
        cursor.finish()
        hash_alg = None
        if wrapped is not None:
            hash_alg = AlgorithmIdentifier.decode(der.single(wrapped, der.SEQUENCE))
        return _make_status(
            cert_hash,
            cert_req_id,
            None if status is None else PKIStatusInfo.decode(status),
            hash_alg,
        )

    def encode(self) -> bytes:
        """The ``CertStatus`` SEQUENCE."""
        status = self.status_info
        return der.sequence(
            der.octet_string(self.cert_hash),
            der.integer(self.cert_req_id),
            b"" if status is None else status.encode(),
            b"" if self.hash_alg is None else der.explicit(0, self.hash_alg.encode()),
        )


_make_status = constructor(CertStatus)


@dataclass(frozen=True, slots=True)
class CertConfirmContent:
    """certConf: which certificates are taken; none at all rejects every one."""

    statuses: tuple[CertStatus, ...]

    @classmethod
    def decode(cls, element: bytes) -> CertConfirmContent:
        """Read ``CertConfirmContent``, whole."""
        return cls(decode_list(element, CertStatus.decode, MAX_CERT_STATUSES))

    def encode(self) -> bytes:
        """The ``CertConfirmContent`` SEQUENCE."""
        return der.sequence(*[status.encode() for status in self.statuses])


@dataclass(frozen=True, slots=True)
class PKIConfirmContent:
    """pkiconf: NULL."""

    @classmethod
    def decode(cls, element: bytes) -> PKIConfirmContent:
        """Read ``PKIConfirmContent``, whole."""
        der.decode_null(der.single(element, der.NULL_TAG))
        return cls()

    def encode(self) -> bytes:
        """NULL."""
        return der.NULL


@dataclass(frozen=True, slots=True)
class GenMsgContent:
    """genm and genp: pieces of information, asked for or given."""

    info_values: tuple[InfoTypeAndValue, ...]

    @classmethod
    def decode(cls, element: bytes) -> GenMsgContent:
        """Read ``GenMsgContent`` or ``GenRepContent``, whole."""
        return cls(decode_info_values(der.single(element, der.SEQUENCE)))

    def encode(self) -> bytes:
        """The SEQUENCE OF ``InfoTypeAndValue``."""
        return encode_info_values(self.info_values)


@dataclass(frozen=True, slots=True)
class ErrorMsgContent:
    """error: something went wrong with a whole message."""

    status_info: PKIStatusInfo
    error_code: int | None = None
    error_details: tuple[str, ...] = ()

    @classmethod
    def decode(cls, element: bytes) -> ErrorMsgContent:
        """Read ``ErrorMsgContent``, whole."""
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        status = PKIStatusInfo.decode(cursor.take(der.SEQUENCE))
        code = cursor.optional(der.INTEGER)
        details = optional_free_text(cursor)
        cursor.finish()
        return cls(status, None if code is None else der.decode_integer(code), details)

    def encode(self) -> bytes:
        """The ``ErrorMsgContent`` SEQUENCE."""
        code = self.error_code
        return der.sequence(
            self.status_info.encode(),
            b"" if code is None else der.integer(code),
            encode_free_text(self.error_details) if self.error_details else b"",
        )


@dataclass(frozen=True, slots=True)
class PollReqContent:
    """pollReq: which requests are asked after; -1 for the whole message."""

    cert_req_ids: tuple[int, ...]

    @classmethod
    def decode(cls, element: bytes) -> PollReqContent:
        """Read ``PollReqContent``, whole."""
        return cls(decode_list(element, _decode_poll_req_entry, MAX_POLL_ENTRIES))

    def encode(self) -> bytes:
        """The ``PollReqContent`` SEQUENCE."""
        return der.sequence(
            *(der.sequence(der.integer(number)) for number in self.cert_req_ids)
        )


@dataclass(frozen=True, slots=True)
class PollRepEntry:
    """When to ask again after one request.

    :ivar check_after: seconds.
    :ivar reason: text for people, () when absent.
    """

    cert_req_id: int
    check_after: int
    reason: tuple[str, ...] = ()

    @classmethod
    def decode(cls, contents: bytes) -> PollRepEntry:
        """Read the contents octets of one entry of ``PollRepContent``."""
        cursor = der.Cursor(contents)
        cert_req_id = der.decode_integer(cursor.take(der.INTEGER))
        check_after = der.decode_integer(cursor.take(der.INTEGER))
        reason = cursor.optional(der.SEQUENCE)
        cursor.finish()
        texts = () if reason is None else decode_free_text(reason)
        return cls(cert_req_id, check_after, texts)

    def encode(self) -> bytes:
        """The entry's SEQUENCE."""
        return der.sequence(
            der.integer(self.cert_req_id),
            der.integer(self.check_after),
            encode_free_text(self.reason) if self.reason else b"",
        )


@dataclass(frozen=True, slots=True)
class PollRepContent:
    """pollRep: when to ask again."""

    entries: tuple[PollRepEntry, ...]

    @classmethod
    def decode(cls, element: bytes) -> PollRepContent:
        """Read ``PollRepContent``, whole."""
        return cls(decode_list(element, PollRepEntry.decode, MAX_POLL_ENTRIES))

    def encode(self) -> bytes:
        """The ``PollRepContent`` SEQUENCE."""
        return der.sequence(*(entry.encode() for entry in self.entries))


Body = (
    CertReqMessages
    | CertRepMessage
    | CertificationRequest
    | CertConfirmContent
    | PKIConfirmContent
    | RevReqContent
    | RevRepContent
    | GenMsgContent
    | ErrorMsgContent
    | PollReqContent
    | PollRepContent
    | NestedMessageContent
    | POPODecKeyChallContent
    | POPODecKeyRespContent
    | KeyRecRepContent
    | CAKeyUpdContent
    | CertAnnContent
    | RevAnnContent
    | CRLAnnContent
)

DECODERS: Final[dict[BodyType, Callable[[bytes], Body]]] = {
    BodyType.IR: CertReqMessages.decode,
    BodyType.IP: CertRepMessage.decode,
    BodyType.CR: CertReqMessages.decode,
    BodyType.CP: CertRepMessage.decode,
    BodyType.P10CR: CertificationRequest.decode,
    BodyType.POPDECC: POPODecKeyChallContent.decode,
    BodyType.POPDECR: POPODecKeyRespContent.decode,
    BodyType.KUR: CertReqMessages.decode,
    BodyType.KUP: CertRepMessage.decode,
    BodyType.KRR: CertReqMessages.decode,
    BodyType.KRP: KeyRecRepContent.decode,
    BodyType.RR: RevReqContent.decode,
    BodyType.RP: RevRepContent.decode,
    BodyType.CCR: CertReqMessages.decode,
    BodyType.CCP: CertRepMessage.decode,
    BodyType.CKUANN: CAKeyUpdContent.decode,
    BodyType.CANN: CertAnnContent.decode,
    BodyType.RANN: RevAnnContent.decode,
    BodyType.CRLANN: CRLAnnContent.decode,
    BodyType.PKICONF: PKIConfirmContent.decode,
    BodyType.NESTED: NestedMessageContent.decode,
    BodyType.GENM: GenMsgContent.decode,
    BodyType.GENP: GenMsgContent.decode,
    BodyType.ERROR: ErrorMsgContent.decode,
    BodyType.CERT_CONF: CertConfirmContent.decode,
    BodyType.POLL_REQ: PollReqContent.decode,
    BodyType.POLL_REP: PollRepContent.decode,
}


def decode_content(body_type: BodyType | None, element: bytes) -> Body:
    """Read the content of a body.

    :param body_type: None for a tag that is no body of CMP.
    :param element: what stands inside the body's tag, whole.
    :raises PKIError: ``BAD_REQUEST`` for an unknown body, ``MALFORMED`` for a broken.
    """
    if body_type is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "unknown body type")
    return DECODERS[body_type](element)


def encode_body(body_type: BodyType, content: Body) -> bytes:
    """The ``PKIBody``: content inside the tag of its type."""
    if isinstance(content, CertificationRequest):
        return der.explicit(body_type, content.der)
    return der.explicit(body_type, content.encode())


def _decode_poll_req_entry(contents: bytes) -> int:
    return der.decode_integer(der.single(contents, der.INTEGER))
