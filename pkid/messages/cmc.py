"""CMC: ``PKIData`` read, ``PKIResponse`` written, and what controls hold.

Pure. Both travel in CMS ``SignedData`` (`pkid.asn1.cms.signed`). What is covered by a
proof keeps its octets. The module's tags are implicit.

**Source:** RFC 5272 sections 3.2.1, 4.2.1 and 6; RFC 6402 section 2.
"""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.crmf import CertReqMsg
from pkid.messages.pkcs10 import CertificationRequest

MAX_CONTROLS: Final = 64
MAX_REQUESTS: Final = 64
MAX_OTHERS: Final = 64
MAX_VALUES: Final = 16
MAX_BODY_PART: Final = 0xFFFF_FFFF

_TCR: Final = der.constructed(0)
_CRM: Final = der.constructed(1)


class CMCStatus(enum.IntEnum):
    """RFC 5272 section 6.1.3."""

    SUCCESS = 0
    FAILED = 2
    PENDING = 3
    NO_SUPPORT = 4
    CONFIRM_REQUIRED = 5
    POP_REQUIRED = 6
    PARTIAL = 7


class CMCFailInfo(enum.IntEnum):
    """RFC 5272 section 6.1.4."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    UNSUPPORTED_EXT = 5
    MUST_ARCHIVE_KEYS = 6
    BAD_IDENTITY = 7
    POP_REQUIRED = 8
    POP_FAILED = 9
    NO_KEY_REUSE = 10
    INTERNAL_CA_ERROR = 11
    TRY_LATER = 12
    AUTH_DATA_FAIL = 13


def _body_part(cursor: der.Cursor) -> int:
    number = cursor.integer()
    if not 0 <= number <= MAX_BODY_PART:
        der.malformed("a body part id is out of range")
    return number


@dataclass(frozen=True, slots=True)
class Control:
    """``TaggedAttribute``.

    :ivar oid: dotted text.
    :ivar values: each the whole element.
    """

    body_part: int
    oid: str
    values: tuple[bytes, ...]

    @classmethod
    def decode(cls, contents: bytes) -> Control:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        body_part = _body_part(cursor)
        oid = der.decode_oid(cursor.take(der.OID))
        values = cursor.enter(der.SET).raw_elements(MAX_VALUES)
        cursor.finish()
        return cls(body_part, oid, tuple(values))

    def encode(self) -> bytes:
        """The ``TaggedAttribute`` SEQUENCE."""
        return der.sequence(
            der.integer(self.body_part), der.oid(self.oid), der.set_of(*self.values)
        )

    @property
    def value(self) -> bytes:
        """The only value, whole.

        :raises PKIError: ``MALFORMED`` when it has another number of them.
        """
        if len(self.values) != 1:
            der.malformed(f"the control {self.oid} has not exactly one value")
        return self.values[0]

    @property
    def octets(self) -> bytes:
        """Contents of the only value, which must be an OCTET STRING."""
        return der.single(self.value, der.OCTET_STRING)


@dataclass(frozen=True, slots=True)
class TaggedRequest:
    """One certification request.

    :ivar body: PKCS #10, CRMF, or None for a form of somebody else.
    """

    body_part: int
    body: CertificationRequest | CertReqMsg | None

    @classmethod
    def decode(cls, element: bytes) -> TaggedRequest:
        """Read one, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(element)
        tag = cursor.peek()
        contents = cursor.take(tag)
        if tag == _CRM:
            message = CertReqMsg.decode(contents)
            return cls(message.cert_req.cert_req_id, message)
        inner = der.Cursor(contents)
        body_part = _body_part(inner)
        if tag == _TCR:
            request = CertificationRequest.decode(inner.raw(der.SEQUENCE))
            inner.finish()
            return cls(body_part, request)
        return cls(body_part, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PKIData:
    """A full PKI request.

    :ivar requests_octets: ``reqSequence`` whole, as it arrived: what identity proofs
        cover.
    """

    controls: tuple[Control, ...]
    requests: tuple[TaggedRequest, ...]
    requests_octets: bytes

    @classmethod
    def decode(cls, octets: bytes) -> PKIData:
        """Read a whole ``PKIData``; what no control refers to is passed over.

        :raises PKIError: ``MALFORMED``, also when two parts have the same id.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        controls = der.sequences(cursor.take(der.SEQUENCE), MAX_CONTROLS)
        requests_octets = cursor.raw(der.SEQUENCE)
        requests = cursor_of(requests_octets).raw_elements(MAX_REQUESTS)
        for _ in ("cmsSequence", "otherMsgSequence"):
            cursor.enter(der.SEQUENCE).raw_elements(MAX_OTHERS)
        cursor.finish()
        found = cls(
            controls=tuple(map(Control.decode, controls)),
            requests=tuple(map(TaggedRequest.decode, requests)),
            requests_octets=requests_octets,
        )
        parts = [one.body_part for one in found.controls]
        parts += [one.body_part for one in found.requests]
        if len(set(parts)) < len(parts):
            der.malformed("two parts of the request have the same id")
        return found

    def control(self, oid: str) -> Control | None:
        """The only control of this kind; None when there is none.

        :raises PKIError: ``MALFORMED`` when there are several.
        """
        found = [one for one in self.controls if one.oid == oid]
        if len(found) > 1:
            der.malformed(f"the control {oid} stands twice")
        return found[0] if found else None


def cursor_of(sequence: bytes) -> der.Cursor:
    """A cursor over the contents of a whole SEQUENCE."""
    return der.Cursor(der.single(sequence, der.SEQUENCE))


def encode_pki_response(controls: tuple[Control, ...]) -> bytes:
    """A ``PKIResponse`` of controls alone."""
    return der.sequence(
        der.sequence(*(one.encode() for one in controls)),
        der.sequence(),
        der.sequence(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusInfo:
    """``CMCStatusInfoV2``.

    :ivar parts: body parts that it is about; 0 is the whole request.
    :ivar pending: token and time of the next question.
    """

    status: CMCStatus
    parts: tuple[int, ...]
    text: str = ""
    failure: CMCFailInfo | None = None
    pending: tuple[bytes, datetime.datetime] | None = None

    def encode(self) -> bytes:
        """The ``CMCStatusInfoV2`` SEQUENCE."""
        other = b""
        if self.failure is not None:
            other = der.integer(self.failure)
        elif self.pending is not None:
            token, moment = self.pending
            other = der.sequence(der.octet_string(token), der.generalized_time(moment))
        return der.sequence(
            der.integer(self.status),
            der.sequence(*(der.integer(part) for part in self.parts)),
            der.utf8_string(self.text) if self.text else b"",
            other,
        )


@dataclass(frozen=True, slots=True)
class GetCert:
    """Which certificate is asked for."""

    issuer: Name
    serial: int

    @classmethod
    def decode(cls, octets: bytes) -> GetCert:
        """Read a whole value.

        :raises PKIError: ``MALFORMED``, also for an issuer that is no directory name.
        """
        cursor = cursor_of(octets)
        issuer = GeneralName.read(cursor).directory_name
        serial = der.decode_integer(cursor.take(der.INTEGER))
        cursor.finish()
        if issuer is None:
            der.malformed("the issuer is not a directory name")
        return cls(issuer, serial)


def decode_get_crl(octets: bytes) -> Name:
    """Whose CRL is asked for; which one of several plays no part here.

    :param octets: a whole ``GetCRL``.
    :raises PKIError: ``MALFORMED``.
    """
    cursor = cursor_of(octets)
    issuer = Name.decode(cursor.raw(der.SEQUENCE))
    cursor.raw_elements(3)
    return issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeRequest:
    """Which certificate is to be revoked and why.

    :ivar reason: number of the ``CRLReason``.
    """

    issuer: Name
    serial: int
    reason: int
    invalidity_date: datetime.datetime | None = None
    shared_secret: bytes | None = None
    comment: str = ""

    @classmethod
    def decode(cls, octets: bytes) -> RevokeRequest:
        """Read a whole value.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = cursor_of(octets)
        issuer = Name.decode(cursor.raw(der.SEQUENCE))
        serial = der.decode_integer(cursor.take(der.INTEGER))
        reason = der.decode_integer(cursor.take(der.ENUMERATED))
        moment = cursor.optional(der.GENERALIZED_TIME)
        secret = cursor.optional(der.OCTET_STRING)
        comment = cursor.optional(der.UTF8_STRING)
        cursor.finish()
        return cls(
            issuer=issuer,
            serial=serial,
            reason=reason,
            invalidity_date=(
                None if moment is None else der.decode_generalized_time(moment)
            ),
            shared_secret=secret,
            comment="" if comment is None else der.decode_utf8(comment),
        )


@dataclass(frozen=True, slots=True)
class Witness:
    """``IdentityProofV2`` and ``PopLinkWitnessV2``, which look the same.

    :ivar digest: turns the secret into the key.
    :ivar mac: with that key.
    """

    digest: AlgorithmIdentifier
    mac: AlgorithmIdentifier
    value: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Witness:
        """Read a whole value.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = cursor_of(octets)
        digest = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        mac = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        value = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(digest, mac, value)

    @classmethod
    def decode_first(cls, octets: bytes) -> Witness:
        """Read the older form, an OCTET STRING: SHA-1 and HMAC-SHA1 go without saying.

        :raises PKIError: ``MALFORMED``.
        """
        return cls(
            AlgorithmIdentifier(oids.ID_SHA1),
            AlgorithmIdentifier(oids.HMAC_SHA1),
            der.single(octets, der.OCTET_STRING),
        )
