"""CMS ``EnvelopedData`` and ``AuthEnvelopedData``.

Pure; only the structure, nothing is decrypted.

**Source:** RFC 5652 section 6.1; RFC 5083 section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import (
    ContentInfo,
    encode_optional_set,
    take_implicit_octets,
)
from pkid.asn1.cms.recipients import (
    KEMRecipientInfo,
    KeyTransRecipientInfo,
    OtherRecipientInfo,
    PasswordRecipientInfo,
    RecipientInfo,
    decode_recipient_infos,
)
from pkid.asn1.x509 import AlgorithmIdentifier

_ORIGINATOR_INFO: Final = der.constructed(0)
_ENCRYPTED_CONTENT: Final = (der.context(0), der.constructed(0))
_FIRST_ATTRIBUTES: Final = der.constructed(1)
_SECOND_ATTRIBUTES: Final = der.constructed(2)


@dataclass(frozen=True, slots=True)
class EncryptedContentInfo:
    """The encrypted content.

    :ivar content_type: of what is inside, dotted text.
    :ivar algorithm: content-encryption algorithm.
    :ivar encrypted_content: octets, or None when sent apart.
    """

    content_type: str
    algorithm: AlgorithmIdentifier
    encrypted_content: bytes | None

    @classmethod
    def decode(cls, contents: bytes) -> EncryptedContentInfo:
        """Read the contents octets of ``EncryptedContentInfo``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        content_type = der.decode_oid(cursor.take(der.OID))
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        encrypted = None
        if cursor.peek() in _ENCRYPTED_CONTENT:
            encrypted = take_implicit_octets(cursor, 0)
        cursor.finish()
        return cls(content_type, algorithm, encrypted)

    def encode(self) -> bytes:
        """The ``EncryptedContentInfo`` SEQUENCE."""
        content = b""
        if self.encrypted_content is not None:
            content = der.encode(der.context(0), self.encrypted_content)
        return der.sequence(
            der.oid(self.content_type), self.algorithm.encode(), content
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopedData:
    """``EnvelopedData``.

    :ivar originator_info: contents octets of ``[0]``, or None.
    :ivar unprotected_attributes_octets: contents octets of the SET, or None.
    """

    version: int
    originator_info: bytes | None = None
    recipient_infos: tuple[RecipientInfo, ...]
    encrypted_content_info: EncryptedContentInfo
    unprotected_attributes_octets: bytes | None = None

    @classmethod
    def build(
        cls,
        recipient_infos: tuple[RecipientInfo, ...],
        encrypted_content_info: EncryptedContentInfo,
    ) -> EnvelopedData:
        """Put the parts together under the version that they ask for.

        **Source:** RFC 5652 section 6.1, RFC 9629 section 3.
        """
        return cls(
            version=_version(recipient_infos),
            recipient_infos=recipient_infos,
            encrypted_content_info=encrypted_content_info,
        )

    @classmethod
    def decode(cls, octets: bytes) -> EnvelopedData:
        """Read a whole ``EnvelopedData``.

        :raises PKIError: ``MALFORMED``.
        """
        return cls.decode_contents(der.single(octets, der.SEQUENCE))

    @classmethod
    def decode_contents(cls, contents: bytes) -> EnvelopedData:
        """Read contents octets, as they stand under an implicit tag.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        originator_info = cursor.optional(_ORIGINATOR_INFO)
        recipient_infos = decode_recipient_infos(cursor.take(der.SET))
        encrypted = EncryptedContentInfo.decode(cursor.take(der.SEQUENCE))
        attributes = cursor.optional(_FIRST_ATTRIBUTES)
        cursor.finish()
        return cls(
            version=version,
            originator_info=originator_info,
            recipient_infos=recipient_infos,
            encrypted_content_info=encrypted,
            unprotected_attributes_octets=attributes,
        )

    @classmethod
    def decode_content_info(cls, octets: bytes) -> EnvelopedData:
        """Read a whole ``ContentInfo``, which must hold ``EnvelopedData``.

        :raises PKIError: ``MALFORMED``.
        """
        return cls.decode(ContentInfo.decode(octets).content_of(oids.ID_ENVELOPED_DATA))

    def encode(self) -> bytes:
        """The ``EnvelopedData`` SEQUENCE."""
        return der.sequence(
            der.integer(self.version),
            encode_optional_set(0, self.originator_info),
            der.encode(der.SET, *(one.encode() for one in self.recipient_infos)),
            self.encrypted_content_info.encode(),
            encode_optional_set(1, self.unprotected_attributes_octets),
        )

    def encode_content_info(self) -> bytes:
        """This within a ``ContentInfo``."""
        return ContentInfo(oids.ID_ENVELOPED_DATA, self.encode()).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthEnvelopedData:
    """``AuthEnvelopedData``: encrypted and protected against change.

    :ivar originator_info: contents octets of ``[0]``, or None.
    :ivar authenticated_attributes_octets: contents octets of the SET as they arrived,
        or None.
    :ivar mac: octets.
    :ivar unauthenticated_attributes_octets: contents octets of the SET, or None.
    """

    version: int
    originator_info: bytes | None = None
    recipient_infos: tuple[RecipientInfo, ...]
    encrypted_content_info: EncryptedContentInfo
    authenticated_attributes_octets: bytes | None = None
    mac: bytes
    unauthenticated_attributes_octets: bytes | None = None

    @classmethod
    def decode(cls, octets: bytes) -> AuthEnvelopedData:
        """Read a whole ``AuthEnvelopedData``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        version = der.decode_integer(cursor.take(der.INTEGER))
        originator_info = cursor.optional(_ORIGINATOR_INFO)
        recipient_infos = decode_recipient_infos(cursor.take(der.SET))
        encrypted = EncryptedContentInfo.decode(cursor.take(der.SEQUENCE))
        authenticated = cursor.optional(_FIRST_ATTRIBUTES)
        mac = cursor.take(der.OCTET_STRING)
        unauthenticated = cursor.optional(_SECOND_ATTRIBUTES)
        cursor.finish()
        return cls(
            version=version,
            originator_info=originator_info,
            recipient_infos=recipient_infos,
            encrypted_content_info=encrypted,
            authenticated_attributes_octets=authenticated,
            mac=mac,
            unauthenticated_attributes_octets=unauthenticated,
        )

    @classmethod
    def decode_content_info(cls, octets: bytes) -> AuthEnvelopedData:
        """Read a whole ``ContentInfo``, which must hold ``AuthEnvelopedData``.

        :raises PKIError: ``MALFORMED``.
        """
        return cls.decode(
            ContentInfo.decode(octets).content_of(oids.ID_CT_AUTH_ENVELOPED_DATA)
        )

    def encode(self) -> bytes:
        """The ``AuthEnvelopedData`` SEQUENCE."""
        return der.sequence(
            der.integer(self.version),
            encode_optional_set(0, self.originator_info),
            der.encode(der.SET, *(one.encode() for one in self.recipient_infos)),
            self.encrypted_content_info.encode(),
            encode_optional_set(1, self.authenticated_attributes_octets),
            der.octet_string(self.mac),
            encode_optional_set(2, self.unauthenticated_attributes_octets),
        )

    def encode_content_info(self) -> bytes:
        """This within a ``ContentInfo``."""
        return ContentInfo(oids.ID_CT_AUTH_ENVELOPED_DATA, self.encode()).encode()


_OF_VERSION_3: Final = (PasswordRecipientInfo, KEMRecipientInfo, OtherRecipientInfo)


def _version(recipient_infos: tuple[RecipientInfo, ...]) -> int:
    if any(isinstance(info, _OF_VERSION_3) for info in recipient_infos):
        return 3
    plain = all(
        isinstance(info, KeyTransRecipientInfo) and info.version == 0
        for info in recipient_infos
    )
    return 0 if plain else 2
