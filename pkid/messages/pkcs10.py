"""PKCS #10 certification requests.

Pure. The octets of ``CertificationRequestInfo`` are kept as they came: the signature
covers them. Attribute SETs in any order are read, because real clients do not sort
them; whether a request is acceptable is decided by policy, not here.

**Source:** RFC 2986 section 4; RFC 2985 sections 5.4.1 and 5.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, decode_extensions

MAX_ATTRIBUTES: Final = 64
MAX_ATTRIBUTE_VALUES: Final = 16

_ATTRIBUTES_TAG: Final = 0xA0
_EXTENSION_REQUESTS: Final = (
    oids.PKCS9_EXTENSION_REQUEST,
    oids.MICROSOFT_EXTENSION_REQUEST,
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a request.

    :ivar oid: dotted text.
    :ivar values: its values, each the whole element.
    """

    oid: str
    values: tuple[bytes, ...]

    @classmethod
    def decode(cls, contents: bytes) -> Attribute:
        """Read the contents octets of one ``Attribute`` SEQUENCE."""
        cursor = der.Cursor(contents)
        oid = der.decode_oid(cursor.take(der.OID))
        values = cursor.enter(der.SET).raw_elements(MAX_ATTRIBUTE_VALUES)
        cursor.finish()
        return cls(oid, tuple(values))

    def encode(self) -> bytes:
        """The ``Attribute`` SEQUENCE."""
        return der.sequence(der.oid(self.oid), der.set_of(*self.values))


@dataclass(frozen=True, slots=True)
class CertificationRequest:
    """A PKCS #10 request.

    :ivar der: the whole request.
    :ivar request_info: ``CertificationRequestInfo``, whole: what is signed.
    :ivar version: 0 for the only version there is.
    :ivar subject: ``Name``, whole.
    :ivar spki: ``SubjectPublicKeyInfo``, whole.
    :ivar attributes: in the order of the encoding.
    :ivar signature_algorithm: as it stands beside the signature.
    :ivar signature: octets of the BIT STRING.
    """

    der: bytes
    request_info: bytes
    version: int
    subject: bytes
    spki: bytes
    attributes: tuple[Attribute, ...]
    signature_algorithm: AlgorithmIdentifier
    signature: bytes

    @classmethod
    def decode(cls, octets: bytes) -> CertificationRequest:
        """Read a whole request; its signature is not looked at.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        request_info = cursor.raw(der.SEQUENCE)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        signature = der.decode_bits(cursor.take(der.BIT_STRING))
        cursor.finish()
        info = der.Cursor(der.single(request_info, der.SEQUENCE))
        version = der.decode_integer(info.take(der.INTEGER))
        subject = info.raw(der.SEQUENCE)
        spki = info.raw(der.SEQUENCE)
        # RFC 2986 has the field always; some clients leave it out when empty.
        attributes = _decode_attributes(info.optional(_ATTRIBUTES_TAG) or b"")
        info.finish()
        return cls(
            octets,
            request_info,
            version,
            subject,
            spki,
            attributes,
            algorithm,
            signature,
        )

    @classmethod
    def build(
        cls, request_info: bytes, algorithm: AlgorithmIdentifier, signature: bytes
    ) -> CertificationRequest:
        """Put a request together from its signed part and the signature.

        :param request_info: from `encode_request_info`.
        :param signature: octets of the signature over ``request_info``.
        """
        return cls.decode(
            der.sequence(request_info, algorithm.encode(), der.bit_string(signature))
        )

    @property
    def extension_request(self) -> tuple[Extension, ...]:
        """Extensions asked for, by the attribute of PKCS #9 or else Microsoft's.

        :raises PKIError: ``MALFORMED`` when the attribute is broken.
        """
        for oid in _EXTENSION_REQUESTS:
            value = self._single_value(oid)
            if value is not None:
                return decode_extensions(der.single(value, der.SEQUENCE))
        return ()

    @property
    def challenge_password(self) -> str | None:
        """The challenge password, of whatever string type; None when absent.

        :raises PKIError: ``MALFORMED`` when the attribute is broken.
        """
        value = self._single_value(oids.PKCS9_CHALLENGE_PASSWORD)
        if value is None:
            return None
        return der.decode_text(value[0], der.single(value, value[0]))

    def _single_value(self, oid: str) -> bytes | None:
        found = [attribute for attribute in self.attributes if attribute.oid == oid]
        if not found:
            return None
        if len(found) > 1 or len(found[0].values) != 1:
            der.malformed("a request attribute that has one value has another number")
        return found[0].values[0]


def encode_request_info(
    subject: bytes, spki: bytes, attributes: tuple[Attribute, ...] = ()
) -> bytes:
    """The ``CertificationRequestInfo`` SEQUENCE: what the requester signs.

    :param subject: ``Name``, whole.
    :param spki: ``SubjectPublicKeyInfo``, whole.
    """
    encoded = sorted(attribute.encode() for attribute in attributes)
    return der.sequence(
        der.integer(0), subject, spki, der.encode(_ATTRIBUTES_TAG, *encoded)
    )


def _decode_attributes(contents: bytes) -> tuple[Attribute, ...]:
    cursor = der.Cursor(contents)
    found: list[Attribute] = []
    while cursor:
        if len(found) == MAX_ATTRIBUTES:
            der.malformed(f"more than {MAX_ATTRIBUTES} attributes in a request")
        found.append(Attribute.decode(cursor.take(der.SEQUENCE)))
    return tuple(found)
