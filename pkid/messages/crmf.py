"""CRMF: the Certificate Request Message Format.

Pure. A `CertRequest` keeps its octets, because proof of possession covers them.
The module of RFC 4211 has IMPLICIT TAGS: a tag replaces the type's own, except
around a CHOICE (``Name``, ``Time``, ``GeneralName``, ``POPOPrivKey``).

**Source:** RFC 4211 sections 3 to 7 and appendix B.
"""

from __future__ import annotations

import datetime
import enum
import re
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import (
    AlgorithmIdentifier,
    Extension,
    decode_extensions,
    encode_extensions,
)

MAX_CERT_REQ_MSGS: Final = 16
MAX_CONTROLS: Final = 64

_VERSION: Final = 0x80
_SERIAL_NUMBER: Final = 0x81
_SIGNING_ALG: Final = 0xA2
_ISSUER: Final = 0xA3
_VALIDITY: Final = 0xA4
_SUBJECT: Final = 0xA5
_PUBLIC_KEY: Final = 0xA6
_ISSUER_UID: Final = 0x87
_SUBJECT_UID: Final = 0x88
_EXTENSIONS: Final = 0xA9
_TEMPLATE_FIELDS: Final = frozenset(
    (
        _VERSION,
        _SERIAL_NUMBER,
        _SIGNING_ALG,
        _ISSUER,
        _VALIDITY,
        _SUBJECT,
        _PUBLIC_KEY,
        _ISSUER_UID,
        _SUBJECT_UID,
        _EXTENSIONS,
    )
)
_NOT_BEFORE: Final = 0xA0
_NOT_AFTER: Final = 0xA1
_VALIDITY_FIELDS: Final = frozenset((_NOT_BEFORE, _NOT_AFTER))
# What nearly every requester sends who sends a validity at all.
_two_utc_times: Final = re.compile(
    rb"\xa0\x0f\x17\x0d(.{13})\xa1\x0f\x17\x0d(.{13})", re.DOTALL
).fullmatch

_RA_VERIFIED: Final = 0x80
_SIGNATURE: Final = 0xA1
_KEY_ENCIPHERMENT: Final = 0xA2
_KEY_AGREEMENT: Final = 0xA3
_POPOSK_INPUT: Final = 0xA0
_SENDER: Final = 0xA0
_PRIV_KEY_TAGS: Final = (0x80, 0x81, 0x82, 0xA3, 0xA4)


@dataclass(frozen=True, slots=True)
class AttributeTypeAndValue:
    """A control or a piece of registration information.

    :ivar oid: dotted text.
    :ivar value: the value, the whole element.
    """

    oid: str
    value: bytes

    @classmethod
    def decode(cls, contents: bytes) -> AttributeTypeAndValue:
        """Read the contents octets of one ``AttributeTypeAndValue``."""
        oid, value = der.split_oid(contents)
        return cls(oid, der.one_element(value))

    def encode(self) -> bytes:
        """The ``AttributeTypeAndValue`` SEQUENCE."""
        return der.sequence(der.oid(self.oid), self.value)


@dataclass(frozen=True, slots=True)
class CertId:
    """Which certificate: its issuer and serial number (``oldCertID``, ``revCerts``).

    :ivar issuer: a directory name in every known use.
    """

    issuer: GeneralName
    serial_number: int

    @classmethod
    def decode(cls, element: bytes) -> CertId:
        """Read a ``CertId``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        issuer = GeneralName.read(cursor)
        serial_number = der.decode_integer(cursor.take(der.INTEGER))
        cursor.finish()
        return cls(issuer, serial_number)

    def encode(self) -> bytes:
        """The ``CertId`` SEQUENCE."""
        return der.sequence(self.issuer.encode(), der.integer(self.serial_number))


@dataclass(frozen=True, slots=True)
class OptionalValidity:
    """The validity asked for; at least one of both is there."""

    not_before: datetime.datetime | None
    not_after: datetime.datetime | None

    @classmethod
    def decode(cls, contents: bytes) -> OptionalValidity:
        """Read the contents octets of ``OptionalValidity``."""
        both = _two_utc_times(contents)
        if both is not None:
            before, after = both.groups()
            return _make_validity(
                der.decode_utc_time(before), der.decode_utc_time(after)
            )
        fields = der.Cursor(contents).fields(_VALIDITY_FIELDS)
        if not fields:
            der.malformed("OptionalValidity without a time")
        return cls(
            _decode_time(fields.get(_NOT_BEFORE)), _decode_time(fields.get(_NOT_AFTER))
        )

    def encode_contents(self) -> bytes:
        """The contents octets, for the implicit tag of the template."""
        return _encode_time(0, self.not_before) + _encode_time(1, self.not_after)


_make_validity = constructor(OptionalValidity)


@dataclass(frozen=True, slots=True)
class CertTemplate:
    """What the requester would like to see in the certificate, or to have revoked.

    :ivar version: 2 for X.509 v3.
    :ivar issuer: ``Name``, whole.
    :ivar subject: ``Name``, whole.
    :ivar spki: ``SubjectPublicKeyInfo``, whole, with the tag of a SEQUENCE.
    :ivar issuer_uid: contents of the BIT STRING.
    :ivar subject_uid: contents of the BIT STRING.
    """

    version: int | None = None
    serial_number: int | None = None
    signing_alg: AlgorithmIdentifier | None = None
    issuer: bytes | None = None
    validity: OptionalValidity | None = None
    subject: bytes | None = None
    spki: bytes | None = None
    issuer_uid: bytes | None = None
    subject_uid: bytes | None = None
    extensions: tuple[Extension, ...] = ()

    @classmethod
    def decode(cls, contents: bytes) -> CertTemplate:
        """Read the contents octets of ``CertTemplate``.

        :raises PKIError: ``MALFORMED``.
        """
        fields = der.Cursor(contents).fields(_TEMPLATE_FIELDS).get
        version = fields(_VERSION)
        serial_number = fields(_SERIAL_NUMBER)
        algorithm = fields(_SIGNING_ALG)
        validity = fields(_VALIDITY)
        spki = fields(_PUBLIC_KEY)
        extensions = fields(_EXTENSIONS)
        return _make_template(
            None if version is None else der.decode_integer(version),
            None if serial_number is None else der.decode_integer(serial_number),
            None if algorithm is None else AlgorithmIdentifier.decode(algorithm),
            _checked_name(fields(_ISSUER)),
            None if validity is None else OptionalValidity.decode(validity),
            _checked_name(fields(_SUBJECT)),
            None if spki is None else der.encode(der.SEQUENCE, spki),
            fields(_ISSUER_UID),
            fields(_SUBJECT_UID),
            () if extensions is None else _decode_extensions(extensions),
        )

    def encode(self) -> bytes:
        """The ``CertTemplate`` SEQUENCE."""
        parts: list[bytes] = []
        if self.version is not None:
            parts.append(der.implicit(0, der.integer(self.version)))
        if self.serial_number is not None:
            parts.append(der.implicit(1, der.integer(self.serial_number)))
        if self.signing_alg is not None:
            parts.append(der.implicit(2, self.signing_alg.encode()))
        if self.issuer is not None:
            parts.append(der.explicit(3, self.issuer))
        if self.validity is not None:
            parts.append(der.explicit(4, self.validity.encode_contents()))
        if self.subject is not None:
            parts.append(der.explicit(5, self.subject))
        return der.sequence(*parts, *self._encode_tail())

    def _encode_tail(self) -> list[bytes]:
        parts: list[bytes] = []
        if self.spki is not None:
            parts.append(der.implicit(6, self.spki))
        if self.issuer_uid is not None:
            parts.append(der.encode(_ISSUER_UID, self.issuer_uid))
        if self.subject_uid is not None:
            parts.append(der.encode(_SUBJECT_UID, self.subject_uid))
        if self.extensions:
            parts.append(der.implicit(9, encode_extensions(self.extensions)))
        return parts


_make_template = constructor(CertTemplate)


@dataclass(frozen=True, slots=True)
class CertRequest:
    """One request for a certificate.

    :ivar der: the whole ``CertRequest``: what proof of possession covers.
    :ivar cert_req_id: matches request and response; 0, or anything.
    :ivar controls: attributes that affect issuance.
    """

    der: bytes
    cert_req_id: int
    cert_template: CertTemplate
    controls: tuple[AttributeTypeAndValue, ...] = ()

    @classmethod
    def decode(cls, octets: bytes) -> CertRequest:
        """Read a ``CertRequest``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        cert_req_id = cursor.integer()
        template = CertTemplate.decode(cursor.take(der.SEQUENCE))
        controls = _decode_attributes(cursor)
        return _make_request(octets, cert_req_id, template, controls)

    @classmethod
    def build(
        cls,
        cert_req_id: int,
        cert_template: CertTemplate,
        controls: tuple[AttributeTypeAndValue, ...] = (),
    ) -> CertRequest:
        """Make a request, with its octets."""
        octets = der.sequence(
            der.integer(cert_req_id),
            cert_template.encode(),
            _encode_attributes(controls),
        )
        return cls(octets, cert_req_id, cert_template, controls)

    def control(self, oid: str) -> bytes | None:
        """Value (whole element) of the first control of this type; None if none."""
        for control in self.controls:
            if control.oid == oid:
                return control.value
        return None


_make_request = constructor(CertRequest)


@dataclass(frozen=True, slots=True)
class PKMACValue:
    """A MAC over a public key or over a request."""

    algorithm: AlgorithmIdentifier
    value: bytes

    @classmethod
    def decode(cls, contents: bytes) -> PKMACValue:
        """Read the contents octets of ``PKMACValue``."""
        cursor = der.Cursor(contents)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        value = der.decode_bits(cursor.take(der.BIT_STRING))
        cursor.finish()
        return cls(algorithm, value)

    def encode(self) -> bytes:
        """The ``PKMACValue`` SEQUENCE."""
        return der.sequence(self.algorithm.encode(), der.bit_string(self.value))


@dataclass(frozen=True, slots=True)
class POPOSigningKeyInput:
    """What is signed when the template lacks subject or key.

    Exactly one of ``sender`` and ``public_key_mac`` is there.

    :ivar der: whole, with the tag of a SEQUENCE: what the signature covers.
    :ivar spki: ``SubjectPublicKeyInfo``, whole.
    """

    der: bytes
    sender: GeneralName | None
    public_key_mac: PKMACValue | None
    spki: bytes

    @classmethod
    def decode(cls, octets: bytes) -> POPOSigningKeyInput:
        """Read a ``POPOSigningKeyInput``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        sender: GeneralName | None = None
        mac: PKMACValue | None = None
        wrapped = cursor.optional(_SENDER)
        if wrapped is not None:
            sender = GeneralName.decode(wrapped)
        else:
            mac = PKMACValue.decode(cursor.take(der.SEQUENCE))
        spki = cursor.raw(der.SEQUENCE)
        cursor.finish()
        return cls(octets, sender, mac, spki)

    @classmethod
    def build(
        cls, auth_info: GeneralName | PKMACValue, spki: bytes
    ) -> POPOSigningKeyInput:
        """Make one, with its octets, from the sender or from a MAC over the key."""
        if isinstance(auth_info, GeneralName):
            octets = der.sequence(der.explicit(0, auth_info.encode()), spki)
            return cls(octets, auth_info, None, spki)
        return cls(der.sequence(auth_info.encode(), spki), None, auth_info, spki)


@dataclass(frozen=True, slots=True)
class RAVerified:
    """The RA vouches for possession."""

    def encode(self) -> bytes:
        """The choice ``raVerified``."""
        return b"\x80\x00"


@dataclass(frozen=True, slots=True)
class POPOSigningKey:
    """Possession proven by a signature.

    :ivar poposk_input: what is signed instead of the request, if anything.
    :ivar signature: octets of the BIT STRING.
    """

    algorithm: AlgorithmIdentifier
    signature: bytes
    poposk_input: POPOSigningKeyInput | None = None

    @classmethod
    def decode(cls, contents: bytes) -> POPOSigningKey:
        """Read the contents octets of ``POPOSigningKey``."""
        cursor = der.Cursor(contents)
        signed = cursor.optional(_POPOSK_INPUT)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        signature = der.decode_bits(cursor.last(der.BIT_STRING))
        poposk_input = None
        if signed is not None:
            poposk_input = POPOSigningKeyInput.decode(der.sequence(signed))
        return _make_signature(algorithm, signature, poposk_input)

    def encode(self) -> bytes:
        """The choice ``signature``."""
        signed = self.poposk_input
        return der.encode(
            _SIGNATURE,
            b"" if signed is None else der.implicit(0, signed.der),
            self.algorithm.encode(),
            der.bit_string(self.signature),
        )


_make_signature = constructor(POPOSigningKey)


class KeyUse(enum.IntEnum):
    """What a key that cannot sign is for: the choice of ``ProofOfPossession``."""

    KEY_ENCIPHERMENT = 2
    KEY_AGREEMENT = 3


class PrivKeyMethod(enum.IntEnum):
    """How possession of a key that cannot sign is proven: ``POPOPrivKey``."""

    THIS_MESSAGE = 0
    SUBSEQUENT_MESSAGE = 1
    DH_MAC = 2
    AGREE_MAC = 3
    ENCRYPTED_KEY = 4


class SubsequentMessage(enum.IntEnum):
    """Which later message proves possession."""

    ENCR_CERT = 0
    CHALLENGE_RESP = 1


@dataclass(frozen=True, slots=True)
class POPOPrivKey:
    """Possession proven in a way for keys that cannot sign.

    :ivar contents: contents octets of the method's own type (BIT STRING, INTEGER,
        ``PKMACValue`` or ``EnvelopedData``), without its tag.
    """

    key_use: KeyUse
    method: PrivKeyMethod
    contents: bytes

    @classmethod
    def decode(cls, key_use: KeyUse, element: bytes) -> POPOPrivKey:
        """Read a ``POPOPrivKey``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        if not element or element[0] not in _PRIV_KEY_TAGS:
            der.malformed("unknown choice in POPOPrivKey")
        method = PrivKeyMethod(element[0] & 0x1F)
        found = cls(key_use, method, der.single(element, element[0]))
        if method is PrivKeyMethod.SUBSEQUENT_MESSAGE and (
            found.contents not in {b"\x00", b"\x01"}
        ):
            der.malformed("SubsequentMessage is neither encrCert nor challengeResp")
        return found

    @property
    def subsequent_message(self) -> SubsequentMessage | None:
        """Which later message, when that is the method."""
        if self.method is not PrivKeyMethod.SUBSEQUENT_MESSAGE:
            return None
        return SubsequentMessage(self.contents[0])

    def encode(self) -> bytes:
        """The choice ``keyEncipherment`` or ``keyAgreement``."""
        method = der.encode(_PRIV_KEY_TAGS[self.method], self.contents)
        return der.explicit(self.key_use, method)


ProofOfPossession = RAVerified | POPOSigningKey | POPOPrivKey


@dataclass(frozen=True, slots=True)
class CertReqMsg:
    """One request with its proof of possession and registration information."""

    cert_req: CertRequest
    popo: ProofOfPossession | None = None
    reg_info: tuple[AttributeTypeAndValue, ...] = ()

    @classmethod
    def decode(cls, contents: bytes) -> CertReqMsg:
        """Read the contents octets of ``CertReqMsg``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        cert_req = CertRequest.decode(cursor.raw(der.SEQUENCE))
        popo = _decode_popo(cursor) if cursor.peek() & 0x80 else None
        return _make_cert_req_msg(cert_req, popo, _decode_attributes(cursor))

    def encode(self) -> bytes:
        """The ``CertReqMsg`` SEQUENCE."""
        return der.sequence(
            self.cert_req.der,
            b"" if self.popo is None else self.popo.encode(),
            _encode_attributes(self.reg_info),
        )


_make_cert_req_msg = constructor(CertReqMsg)


def decode_cert_req_messages(element: bytes) -> tuple[CertReqMsg, ...]:
    """Read ``CertReqMessages``, whole: 1 to `MAX_CERT_REQ_MSGS` requests.

    :raises PKIError: ``MALFORMED``.
    """
    contents = der.single(element, der.SEQUENCE)
    if not contents:
        der.malformed("CertReqMessages without a request")
    return tuple(map(CertReqMsg.decode, der.sequences(contents, MAX_CERT_REQ_MSGS)))


def encode_cert_req_messages(messages: tuple[CertReqMsg, ...]) -> bytes:
    """The ``CertReqMessages`` SEQUENCE."""
    return der.sequence(*[message.encode() for message in messages])


def _decode_popo(cursor: der.Cursor) -> ProofOfPossession:
    tag = cursor.peek()
    contents = cursor.take(tag)
    if tag == _SIGNATURE:
        return POPOSigningKey.decode(contents)
    if tag == _RA_VERIFIED:
        der.decode_null(contents)
        return RAVerified()
    if tag == _KEY_ENCIPHERMENT:
        return POPOPrivKey.decode(KeyUse.KEY_ENCIPHERMENT, contents)
    if tag != _KEY_AGREEMENT:
        der.malformed("unknown choice in ProofOfPossession")
    return POPOPrivKey.decode(KeyUse.KEY_AGREEMENT, contents)


# What is left at the end of a request: nothing, or one list.
def _decode_attributes(cursor: der.Cursor) -> tuple[AttributeTypeAndValue, ...]:
    if cursor.position == cursor.stop:
        return ()
    contents = cursor.last(der.SEQUENCE)
    if not contents:
        der.malformed("an empty list of controls or registration information")
    return tuple(
        map(AttributeTypeAndValue.decode, der.sequences(contents, MAX_CONTROLS))
    )


def _encode_attributes(attributes: tuple[AttributeTypeAndValue, ...]) -> bytes:
    if not attributes:
        return b""
    return der.sequence(*(attribute.encode() for attribute in attributes))


def _decode_time(element: bytes | None) -> datetime.datetime | None:
    if element is None:
        return None
    tag = element[0] if element else 0
    return der.decode_time(tag, der.single(element, tag))


def _encode_time(number: int, moment: datetime.datetime | None) -> bytes:
    return b"" if moment is None else der.explicit(number, der.time(moment))


def _decode_extensions(contents: bytes) -> tuple[Extension, ...]:
    if not contents:
        der.malformed("Extensions without an extension")
    return decode_extensions(contents)


def _checked_name(element: bytes | None) -> bytes | None:
    if element is not None:
        der.single(element, der.SEQUENCE)
    return element
