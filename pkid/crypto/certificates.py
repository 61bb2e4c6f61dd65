"""A certificate, read once, its octets kept.

Pure. Own reading rather than ``cryptography``'s, because devices and their vendors
have certificates which that refuses (serial numbers, times, keys), and because the
chain builder needs the exact octets of names and of what was signed.

**Source:** RFC 5280 section 4.1.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name, decode_general_names
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, decode_extensions
from pkid.crypto.extensions import KEY_USAGE_BITS
from pkid.crypto.publickeys import PublicKeyInfo, decode_spki
from pkid.crypto.signatures import SignedStructure

MAX_CERTIFICATE_OCTETS: Final = 65536
MAX_PURPOSES: Final = 64
_DIGITAL_SIGNATURE: Final = KEY_USAGE_BITS["digitalSignature"]
_KEY_CERT_SIGN: Final = KEY_USAGE_BITS["keyCertSign"]
_KEY_ENCIPHERMENT: Final = KEY_USAGE_BITS["keyEncipherment"]
_KEY_AGREEMENT: Final = KEY_USAGE_BITS["keyAgreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """An X.509 certificate; equality is of octets.

    :ivar der: whole, as received.
    :ivar signature: with ``signed`` (the TBSCertificate) and algorithm.
    :ivar version: 1, 2 or 3.
    :ivar spki: SubjectPublicKeyInfo, whole; see `public_key_info`.
    """

    der: bytes
    structure: SignedStructure
    version: int
    serial: int
    issuer: Name
    not_before: datetime.datetime
    not_after: datetime.datetime
    subject: Name
    spki: bytes
    extensions: tuple[Extension, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    @classmethod
    def decode(cls, octets: bytes) -> Certificate:
        """Read a certificate.

        The key is not looked into until it is asked for.

        :param octets: DER, whole, at most `MAX_CERTIFICATE_OCTETS`.
        :raises PKIError: ``MALFORMED``, also when the two signature algorithms differ.
        """
        if len(octets) > MAX_CERTIFICATE_OCTETS:
            der.malformed("certificate is too long")
        structure = SignedStructure.decode(octets)
        cursor = der.Cursor(der.single(structure.signed, der.SEQUENCE))
        version = _version(cursor)
        serial = der.decode_integer(cursor.take(der.INTEGER))
        inner = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        if inner != structure.algorithm:
            der.malformed("certificate names two signature algorithms")
        issuer = Name.decode(cursor.raw(der.SEQUENCE))
        validity = cursor.enter(der.SEQUENCE)
        not_before, not_after = _time(validity), _time(validity)
        validity.finish()
        subject = Name.decode(cursor.raw(der.SEQUENCE))
        spki = cursor.raw(der.SEQUENCE)
        for unique_id in (1, 2):
            cursor.optional(der.context(unique_id))
        extensions = _extensions(cursor, version)
        cursor.finish()
        return cls(
            der=octets,
            structure=structure,
            version=version,
            serial=serial,
            issuer=issuer,
            not_before=not_before,
            not_after=not_after,
            subject=subject,
            spki=spki,
            extensions=extensions,
        )

    @property
    def public_key_info(self) -> PublicKeyInfo:
        """The key's structure.

        :raises PKIError: as `decode_spki`.
        """
        return decode_spki(self.spki)

    @property
    def is_self_issued(self) -> bool:
        """Whether issuer and subject are the same name (RFC 5280 section 3.2)."""
        return self.issuer.matches(self.subject)

    def extension(self, oid: str) -> bytes | None:
        """Value of an extension, or None when the certificate has none such."""
        for extension in self.extensions:
            if extension.oid == oid:
                return extension.value
        return None


def _version(cursor: der.Cursor) -> int:
    field = cursor.optional(der.constructed(0))
    if field is None:
        return 1
    number = der.decode_integer(der.single(field, der.INTEGER))
    if not 0 <= number <= 2:
        der.malformed("certificate of an unknown version")
    return number + 1


def _time(cursor: der.Cursor) -> datetime.datetime:
    tag = cursor.peek()
    return der.decode_time(tag, cursor.take(tag))


def _extensions(cursor: der.Cursor, version: int) -> tuple[Extension, ...]:
    field = cursor.optional(der.constructed(3))
    if field is None:
        return ()
    if version != 3:
        der.malformed("certificate with extensions that its version does not have")
    return decode_extensions(der.single(field, der.SEQUENCE))


# --- what extensions say ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """``basicConstraints`` as read.

    :ivar ca: whether the key may sign certificates.
    :ivar path_length: how many intermediates may follow, or None for any number.
    """

    ca: bool
    path_length: int | None


def basic_constraints(certificate: Certificate) -> BasicConstraints | None:
    """``basicConstraints``, or None when there is none.

    :raises PKIError: ``MALFORMED``.
    """
    value = certificate.extension(oids.ID_CE_BASIC_CONSTRAINTS)
    return None if value is None else decode_basic_constraints(value)


def decode_basic_constraints(value: bytes) -> BasicConstraints:
    """Read the value of a ``basicConstraints`` extension.

    :raises PKIError: ``MALFORMED``.

    **Source:** RFC 5280 section 4.2.1.9.
    """
    cursor = der.Cursor(der.single(value, der.SEQUENCE))
    flag = cursor.optional(der.BOOLEAN)
    ca = flag is not None and der.decode_boolean(flag)
    number = cursor.optional(der.INTEGER)
    path_length = None if number is None else der.decode_integer(number)
    cursor.finish()
    if path_length is not None and path_length < 0:
        der.malformed("path length is negative")
    return BasicConstraints(ca, path_length)


def _key_usage_allows(certificate: Certificate, bit: int) -> bool:
    value = certificate.extension(oids.ID_CE_KEY_USAGE)
    return value is None or bit in der.decode_named_bits(
        der.single(value, der.BIT_STRING)
    )


def allows_digital_signature(certificate: Certificate) -> bool:
    """Whether the key may sign messages: the bit is set, or there is no ``keyUsage``.

    :raises PKIError: ``MALFORMED``.

    **Source:** RFC 5280 section 4.2.1.3; RFC 9483 section 3.5.
    """
    return _key_usage_allows(certificate, _DIGITAL_SIGNATURE)


def allows_certificate_signing(certificate: Certificate) -> bool:
    """Whether ``keyUsage`` has ``keyCertSign``, or there is no ``keyUsage``.

    :raises PKIError: ``MALFORMED``.
    """
    return _key_usage_allows(certificate, _KEY_CERT_SIGN)


def allows_key_encipherment(certificate: Certificate) -> bool:
    """Whether the key may be encrypted, or encapsulated, to.

    :raises PKIError: ``MALFORMED``.
    """
    return _key_usage_allows(certificate, _KEY_ENCIPHERMENT)


def allows_key_agreement(certificate: Certificate) -> bool:
    """Whether the key may agree upon others.

    :raises PKIError: ``MALFORMED``.
    """
    return _key_usage_allows(certificate, _KEY_AGREEMENT)


def extended_key_usages(certificate: Certificate) -> tuple[str, ...]:
    """OIDs of ``extKeyUsage``; empty when there is none.

    :raises PKIError: ``MALFORMED``, also for more than `MAX_PURPOSES`.
    """
    value = certificate.extension(oids.ID_CE_EXT_KEY_USAGE)
    if value is None:
        return ()
    cursor = der.Cursor(der.single(value, der.SEQUENCE))
    found: list[str] = []
    while cursor:
        if len(found) == MAX_PURPOSES:
            der.malformed("too many extended key usages")
        found.append(der.decode_oid(cursor.take(der.OID)))
    return tuple(found)


def has_extended_key_usage(certificate: Certificate, oid: str) -> bool:
    """Whether ``extKeyUsage`` names this purpose itself.

    ``anyExtendedKeyUsage`` and a missing extension do not count: authority is read
    from this (RFC 9810 section 4.5).

    :raises PKIError: ``MALFORMED``.
    """
    return oid in extended_key_usages(certificate)


def subject_key_identifier(certificate: Certificate) -> bytes | None:
    """``subjectKeyIdentifier``, or None when there is none.

    :raises PKIError: ``MALFORMED``.
    """
    value = certificate.extension(oids.ID_CE_SUBJECT_KEY_IDENTIFIER)
    return None if value is None else der.single(value, der.OCTET_STRING)


def authority_key_identifier(certificate: Certificate) -> bytes | None:
    """Key identifier of ``authorityKeyIdentifier``, or None when there is none.

    :raises PKIError: ``MALFORMED``.
    """
    value = certificate.extension(oids.ID_CE_AUTHORITY_KEY_IDENTIFIER)
    if value is None:
        return None
    return der.Cursor(der.single(value, der.SEQUENCE)).optional(der.context(0))


def subject_alternative_names(certificate: Certificate) -> tuple[GeneralName, ...]:
    """Names of ``subjectAltName``; empty when there is none.

    :raises PKIError: ``MALFORMED``.
    """
    value = certificate.extension(oids.ID_CE_SUBJECT_ALT_NAME)
    if value is None:
        return ()
    return decode_general_names(der.single(value, der.SEQUENCE))
