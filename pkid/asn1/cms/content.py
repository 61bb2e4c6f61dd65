"""What all CMS content types are made of: content, attributes, identifiers.

Pure. CMS stands beside X.509 on this floor because message codecs, computation and
key storage all speak of its values, and none of them may import another.

Reading is strict DER with three exceptions: sets may be in any order; strings under
an implicit tag may have come in pieces (see `pkid.asn1.ber`, which goes before where
BER is to be read); and version numbers are kept, not judged.

**Source:** RFC 5652 sections 3, 5.2, 5.3, 10.2.4 and 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import ber, der

MAX_ATTRIBUTES: Final = 64
MAX_ATTRIBUTE_VALUES: Final = 16

_CONTENT: Final = der.constructed(0)
_SUBJECT_KEY_IDENTIFIER: Final = der.context(0)


@dataclass(frozen=True, slots=True)
class ContentInfo:
    """The outermost structure: a content type and a content of that type.

    :ivar content_type: dotted text.
    :ivar content: the content element whole, or None when left out.
    """

    content_type: str
    content: bytes | None

    @classmethod
    def decode(cls, octets: bytes) -> ContentInfo:
        """Read a whole ``ContentInfo``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        content_type = der.decode_oid(cursor.take(der.OID))
        field = cursor.optional(_CONTENT)
        cursor.finish()
        return cls(content_type, None if field is None else der.one_element(field))

    def encode(self) -> bytes:
        """The ``ContentInfo`` SEQUENCE."""
        content = b"" if self.content is None else der.explicit(0, self.content)
        return der.sequence(der.oid(self.content_type), content)

    def content_of(self, content_type: str) -> bytes:
        """The content, which must be of this type and be there.

        :raises PKIError: ``MALFORMED`` when it is not.
        """
        if self.content_type != content_type or self.content is None:
            der.malformed(f"expected CMS content of type {content_type}")
        return self.content


@dataclass(frozen=True, slots=True)
class Attribute:
    """A CMS attribute.

    :ivar oid: dotted text.
    :ivar values: its values, each the whole element.
    """

    oid: str
    values: tuple[bytes, ...]

    @classmethod
    def decode(cls, contents: bytes) -> Attribute:
        """Read the contents octets of one ``Attribute`` SEQUENCE.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        oid = der.decode_oid(cursor.take(der.OID))
        values = cursor.enter(der.SET).raw_elements(MAX_ATTRIBUTE_VALUES)
        cursor.finish()
        return cls(oid, tuple(values))

    def encode(self) -> bytes:
        """The ``Attribute`` SEQUENCE."""
        return der.sequence(der.oid(self.oid), der.set_of(*self.values))


def decode_attributes(contents: bytes | None) -> tuple[Attribute, ...]:
    """Read the contents octets of a SET OF ``Attribute``; none when left out.

    :raises PKIError: ``MALFORMED``, also for one twice and for more than
        `MAX_ATTRIBUTES`.
    """
    cursor = der.Cursor(contents or b"")
    found: dict[str, Attribute] = {}
    while cursor:
        attribute = Attribute.decode(cursor.take(der.SEQUENCE))
        if attribute.oid in found or len(found) == MAX_ATTRIBUTES:
            der.malformed("an attribute stands twice, or there are too many")
        found[attribute.oid] = attribute
    return tuple(found.values())


def encode_attributes(attributes: tuple[Attribute, ...]) -> bytes:
    """Contents octets of the SET OF these attributes, in DER order."""
    return b"".join(sorted(attribute.encode() for attribute in attributes))


def single_value(attributes: tuple[Attribute, ...], oid: str) -> bytes | None:
    """The only value of an attribute, whole; None when there is no such attribute.

    :raises PKIError: ``MALFORMED`` when it has another number of values than one.
    """
    for attribute in attributes:
        if attribute.oid == oid:
            if len(attribute.values) != 1:
                der.malformed(f"attribute {oid} has not exactly one value")
            return attribute.values[0]
    return None


@dataclass(frozen=True, slots=True)
class EncapsulatedContentInfo:
    """What is signed.

    :ivar content_type: dotted text.
    :ivar content: octets of ``eContent``, or None when it is sent apart or there is
        nothing to sign.
    """

    content_type: str
    content: bytes | None

    @classmethod
    def decode(cls, contents: bytes) -> EncapsulatedContentInfo:
        """Read the contents octets of ``EncapsulatedContentInfo``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        content_type = der.decode_oid(cursor.take(der.OID))
        field = cursor.optional(_CONTENT)
        cursor.finish()
        content = None if field is None else der.single(field, der.OCTET_STRING)
        return cls(content_type, content)

    def encode(self) -> bytes:
        """The ``EncapsulatedContentInfo`` SEQUENCE."""
        content = b""
        if self.content is not None:
            content = der.explicit(0, der.octet_string(self.content))
        return der.sequence(der.oid(self.content_type), content)


@dataclass(frozen=True, slots=True)
class IssuerAndSerialNumber:
    """A certificate named by its issuer and its serial number.

    :ivar issuer: ``Name``, whole.
    """

    issuer: bytes
    serial: int

    @classmethod
    def decode(cls, contents: bytes) -> IssuerAndSerialNumber:
        """Read the contents octets of ``IssuerAndSerialNumber``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        issuer = cursor.raw(der.SEQUENCE)
        serial = der.decode_integer(cursor.take(der.INTEGER))
        cursor.finish()
        return cls(issuer, serial)

    def encode(self) -> bytes:
        """The ``IssuerAndSerialNumber`` SEQUENCE."""
        return der.sequence(self.issuer, der.integer(self.serial))


@dataclass(frozen=True, slots=True)
class SubjectKeyIdentifier:
    """A certificate named by the identifier of its key."""

    octets: bytes

    def encode(self) -> bytes:
        """The choice ``[0] SubjectKeyIdentifier``."""
        return der.encode(_SUBJECT_KEY_IDENTIFIER, self.octets)


CertificateIdentifier = IssuerAndSerialNumber | SubjectKeyIdentifier


def take_certificate_identifier(cursor: der.Cursor) -> CertificateIdentifier:
    """Read a ``SignerIdentifier`` or ``RecipientIdentifier``, which are the same.

    :raises PKIError: ``MALFORMED``.
    """
    if cursor.at(der.SEQUENCE):
        return IssuerAndSerialNumber.decode(cursor.take(der.SEQUENCE))
    return SubjectKeyIdentifier(take_implicit_octets(cursor, 0))


def take_implicit_octets(cursor: der.Cursor, number: int) -> bytes:
    """Octets of ``[number] IMPLICIT OCTET STRING``, whole or in pieces.

    :raises PKIError: ``MALFORMED``.
    """
    pieces = cursor.optional(der.constructed(number))
    if pieces is not None:
        return ber.join_pieces(pieces, der.OCTET_STRING)
    return cursor.take(der.context(number))


def encode_optional_set(number: int, contents: bytes | None) -> bytes:
    """``[number] IMPLICIT SET OF`` with these contents octets; nothing for None."""
    return b"" if contents is None else der.encode(der.constructed(number), contents)
