"""CMS ``RecipientInfo``: how the content's key reaches one who may read it.

Pure. All five choices are read; of ``OtherRecipientInfo`` the one for KEM keys is taken
apart. The ASN.1 of ``KEMRecipientInfo`` is that of RFC 9629 section 3 (read as
draft-ietf-lamps-cms-kemri, whose module is the same).

**Source:** RFC 5652 section 6.2; RFC 9629 section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import (
    CertificateIdentifier,
    IssuerAndSerialNumber,
    SubjectKeyIdentifier,
    take_certificate_identifier,
)
from pkid.asn1.x509 import AlgorithmIdentifier

MAX_RECIPIENTS: Final = 64
MAX_KEK_OCTETS: Final = 65535

_KEY_AGREEMENT: Final = der.constructed(1)
_KEK: Final = der.constructed(2)
_PASSWORD: Final = der.constructed(3)
_OTHER: Final = der.constructed(4)
_FIRST: Final = der.constructed(0)
_UKM: Final = der.constructed(1)
_ORIGINATOR_KEY: Final = der.constructed(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTransRecipientInfo:
    """The key encrypted to the recipient's RSA key."""

    version: int
    rid: CertificateIdentifier
    key_encryption_algorithm: AlgorithmIdentifier
    encrypted_key: bytes

    @classmethod
    def decode(cls, contents: bytes) -> KeyTransRecipientInfo:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        rid = take_certificate_identifier(cursor)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        encrypted_key = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(
            version=version,
            rid=rid,
            key_encryption_algorithm=algorithm,
            encrypted_key=encrypted_key,
        )

    def encode(self) -> bytes:
        """The choice ``ktri``."""
        return der.sequence(
            der.integer(self.version),
            self.rid.encode(),
            self.key_encryption_algorithm.encode(),
            der.octet_string(self.encrypted_key),
        )


@dataclass(frozen=True, slots=True)
class OriginatorPublicKey:
    """The sender's key for this message.

    :ivar algorithm: of the key; for EC its parameters are often left out.
    :ivar key: octets of the BIT STRING.
    """

    algorithm: AlgorithmIdentifier
    key: bytes

    @classmethod
    def decode(cls, contents: bytes) -> OriginatorPublicKey:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        key = der.decode_bits(cursor.take(der.BIT_STRING))
        cursor.finish()
        return cls(algorithm, key)

    def encode(self) -> bytes:
        """The choice ``[1] originatorKey``."""
        return der.encode(
            _ORIGINATOR_KEY, self.algorithm.encode(), der.bit_string(self.key)
        )


Originator = CertificateIdentifier | OriginatorPublicKey


@dataclass(frozen=True, slots=True)
class RecipientKeyIdentifier:
    """A recipient's key by its identifier.

    :ivar subject_key_identifier: octets.
    :ivar rest: elements of ``date`` and ``other``, whole and joined; mostly empty.
    """

    subject_key_identifier: bytes
    rest: bytes = b""

    @classmethod
    def decode(cls, contents: bytes) -> RecipientKeyIdentifier:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        identifier = cursor.take(der.OCTET_STRING)
        date = cursor.optional_raw(der.GENERALIZED_TIME) or b""
        other = cursor.optional_raw(der.SEQUENCE) or b""
        cursor.finish()
        return cls(identifier, date + other)

    def encode(self) -> bytes:
        """The choice ``[0] rKeyId``."""
        return der.encode(
            _FIRST, der.octet_string(self.subject_key_identifier), self.rest
        )


KeyAgreeRecipientIdentifier = IssuerAndSerialNumber | RecipientKeyIdentifier


@dataclass(frozen=True, slots=True)
class RecipientEncryptedKey:
    """The key wrapped for one of the recipients of a key agreement."""

    rid: KeyAgreeRecipientIdentifier
    encrypted_key: bytes

    @classmethod
    def decode(cls, contents: bytes) -> RecipientEncryptedKey:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        rid: KeyAgreeRecipientIdentifier
        if cursor.at(der.SEQUENCE):
            rid = IssuerAndSerialNumber.decode(cursor.take(der.SEQUENCE))
        else:
            rid = RecipientKeyIdentifier.decode(cursor.take(_FIRST))
        encrypted_key = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(rid, encrypted_key)

    def encode(self) -> bytes:
        """The ``RecipientEncryptedKey`` SEQUENCE."""
        return der.sequence(self.rid.encode(), der.octet_string(self.encrypted_key))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAgreeRecipientInfo:
    """The key wrapped under one that both sides agree upon (Diffie-Hellman).

    :ivar originator: the sender's key, or the certificate that has it.
    :ivar ukm: user keying material, octets, or None.
    """

    version: int
    originator: Originator
    ukm: bytes | None
    key_encryption_algorithm: AlgorithmIdentifier
    recipient_encrypted_keys: tuple[RecipientEncryptedKey, ...]

    @classmethod
    def decode(cls, contents: bytes) -> KeyAgreeRecipientInfo:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        originator = _decode_originator(cursor.take(_FIRST))
        field = cursor.optional(_UKM)
        ukm = None if field is None else der.single(field, der.OCTET_STRING)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        keys = cursor.enter(der.SEQUENCE).raw_elements(MAX_RECIPIENTS)
        cursor.finish()
        return cls(
            version=version,
            originator=originator,
            ukm=ukm,
            key_encryption_algorithm=algorithm,
            recipient_encrypted_keys=tuple(
                RecipientEncryptedKey.decode(der.single(key, der.SEQUENCE))
                for key in keys
            ),
        )

    def encode(self) -> bytes:
        """The choice ``[1] kari``."""
        ukm = b"" if self.ukm is None else der.explicit(1, der.octet_string(self.ukm))
        keys = (key.encode() for key in self.recipient_encrypted_keys)
        return der.encode(
            _KEY_AGREEMENT,
            der.integer(self.version),
            der.explicit(0, self.originator.encode()),
            ukm,
            self.key_encryption_algorithm.encode(),
            der.sequence(*keys),
        )


def _decode_originator(field: bytes) -> Originator:
    cursor = der.Cursor(field)
    originator: Originator
    if cursor.at(_ORIGINATOR_KEY):
        originator = OriginatorPublicKey.decode(cursor.take(_ORIGINATOR_KEY))
    else:
        originator = take_certificate_identifier(cursor)
    cursor.finish()
    return originator


@dataclass(frozen=True, slots=True, kw_only=True)
class KEKRecipientInfo:
    """The key wrapped under one that both sides have already; only read.

    :ivar kekid: ``KEKIdentifier``, whole.
    """

    version: int
    kekid: bytes
    key_encryption_algorithm: AlgorithmIdentifier
    encrypted_key: bytes

    @classmethod
    def decode(cls, contents: bytes) -> KEKRecipientInfo:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        kekid = cursor.raw(der.SEQUENCE)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        encrypted_key = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(
            version=version,
            kekid=kekid,
            key_encryption_algorithm=algorithm,
            encrypted_key=encrypted_key,
        )

    def encode(self) -> bytes:
        """The choice ``[2] kekri``."""
        return der.encode(
            _KEK,
            der.integer(self.version),
            self.kekid,
            self.key_encryption_algorithm.encode(),
            der.octet_string(self.encrypted_key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRecipientInfo:
    """The key wrapped under one that is derived from a password.

    :ivar key_derivation_algorithm: None when left out.
    """

    version: int
    key_derivation_algorithm: AlgorithmIdentifier | None
    key_encryption_algorithm: AlgorithmIdentifier
    encrypted_key: bytes

    @classmethod
    def decode(cls, contents: bytes) -> PasswordRecipientInfo:
        """Read the contents octets.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        derivation = cursor.optional(_FIRST)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        encrypted_key = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(
            version=version,
            key_derivation_algorithm=None
            if derivation is None
            else AlgorithmIdentifier.decode(derivation),
            key_encryption_algorithm=algorithm,
            encrypted_key=encrypted_key,
        )

    def encode(self) -> bytes:
        """The choice ``[3] pwri``."""
        derivation = self.key_derivation_algorithm
        return der.encode(
            _PASSWORD,
            der.integer(self.version),
            b"" if derivation is None else der.implicit(0, derivation.encode()),
            self.key_encryption_algorithm.encode(),
            der.octet_string(self.encrypted_key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KEMRecipientInfo:
    """The key wrapped under one that a KEM conveys.

    :ivar kemct: the KEM's ciphertext.
    :ivar kek_length: octets of the key-encryption key.
    :ivar ukm: user keying material, octets, or None.
    :ivar wrap: the algorithm under which ``encrypted_key`` is wrapped.
    """

    version: int
    rid: CertificateIdentifier
    kem: AlgorithmIdentifier
    kemct: bytes
    kdf: AlgorithmIdentifier
    kek_length: int
    ukm: bytes | None
    wrap: AlgorithmIdentifier
    encrypted_key: bytes

    @classmethod
    def decode(cls, contents: bytes) -> KEMRecipientInfo:
        """Read the contents octets of ``KEMRecipientInfo``.

        :raises PKIError: ``MALFORMED``, also for a ``kekLength`` out of range.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        rid = take_certificate_identifier(cursor)
        kem = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        kemct = cursor.take(der.OCTET_STRING)
        kdf = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        kek_length = der.decode_integer(cursor.take(der.INTEGER))
        field = cursor.optional(_FIRST)
        ukm = None if field is None else der.single(field, der.OCTET_STRING)
        wrap = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        encrypted_key = cursor.take(der.OCTET_STRING)
        cursor.finish()
        if not 1 <= kek_length <= MAX_KEK_OCTETS:
            der.malformed("kekLength is out of range")
        return cls(
            version=version,
            rid=rid,
            kem=kem,
            kemct=kemct,
            kdf=kdf,
            kek_length=kek_length,
            ukm=ukm,
            wrap=wrap,
            encrypted_key=encrypted_key,
        )

    def encode(self) -> bytes:
        """The choice ``[4] ori`` of type ``id-ori-kem``."""
        value = der.sequence(
            der.integer(self.version),
            self.rid.encode(),
            self.kem.encode(),
            der.octet_string(self.kemct),
            self.kdf.encode(),
            der.integer(self.kek_length),
            b"" if self.ukm is None else der.explicit(0, der.octet_string(self.ukm)),
            self.wrap.encode(),
            der.octet_string(self.encrypted_key),
        )
        return OtherRecipientInfo(oids.ID_ORI_KEM, value).encode()


@dataclass(frozen=True, slots=True)
class OtherRecipientInfo:
    """A recipient of a type that is not taken apart here.

    :ivar oid: of the type, dotted text.
    :ivar value: the value element whole.
    """

    oid: str
    value: bytes

    def encode(self) -> bytes:
        """The choice ``[4] ori``."""
        return der.encode(_OTHER, der.oid(self.oid), self.value)


RecipientInfo = (
    KeyTransRecipientInfo
    | KeyAgreeRecipientInfo
    | KEKRecipientInfo
    | PasswordRecipientInfo
    | KEMRecipientInfo
    | OtherRecipientInfo
)

_CHOICES: Final[dict[int, Callable[[bytes], RecipientInfo]]] = {
    der.SEQUENCE: KeyTransRecipientInfo.decode,
    _KEY_AGREEMENT: KeyAgreeRecipientInfo.decode,
    _KEK: KEKRecipientInfo.decode,
    _PASSWORD: PasswordRecipientInfo.decode,
}


def decode_recipient_infos(contents: bytes) -> tuple[RecipientInfo, ...]:
    """Read the contents octets of ``RecipientInfos``: 1 to `MAX_RECIPIENTS`.

    :raises PKIError: ``MALFORMED``.
    """
    found = tuple(
        _decode_recipient_info(element)
        for element in der.Cursor(contents).raw_elements(MAX_RECIPIENTS)
    )
    if not found:
        der.malformed("enveloped data without a recipient")
    return found


def _decode_recipient_info(element: bytes) -> RecipientInfo:
    tag = element[0]
    if tag == _OTHER:
        return _decode_other(der.single(element, tag))
    decode = _CHOICES.get(tag)
    if decode is None:
        der.malformed("unknown choice in RecipientInfo")
    return decode(der.single(element, tag))


def _decode_other(contents: bytes) -> RecipientInfo:
    cursor = der.Cursor(contents)
    oid = der.decode_oid(cursor.take(der.OID))
    value = cursor.raw()
    cursor.finish()
    if oid == oids.ID_ORI_KEM:
        return KEMRecipientInfo.decode(der.single(value, der.SEQUENCE))
    return OtherRecipientInfo(oid, value)


def version_for(rid: CertificateIdentifier) -> int:
    """The version of ``KeyTransRecipientInfo`` (RFC 5652 section 6.2.1)."""
    return 2 if isinstance(rid, SubjectKeyIdentifier) else 0
