"""CMS ``SignedData``, also in its degenerate form that only carries certificates.

Pure. Signed attributes stay as the octets that arrived: what was signed is those, with
the tag of a SET in place of ``[0]``.

**Source:** RFC 5652 section 5 (versions: 5.1 and 5.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import (
    Attribute,
    CertificateIdentifier,
    ContentInfo,
    EncapsulatedContentInfo,
    SubjectKeyIdentifier,
    decode_attributes,
    encode_optional_set,
    take_certificate_identifier,
)
from pkid.asn1.x509 import AlgorithmIdentifier

MAX_DIGEST_ALGORITHMS: Final = 16
MAX_CERTIFICATES: Final = 64
MAX_CRLS: Final = 64
MAX_SIGNERS: Final = 16

_SIGNED_ATTRIBUTES: Final = der.constructed(0)
_UNSIGNED_ATTRIBUTES: Final = der.constructed(1)
_CERTIFICATES: Final = der.constructed(0)
_CRLS: Final = der.constructed(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerInfo:
    """One signature.

    :ivar version: 1 with issuer and serial number, 3 with a key identifier.
    :ivar sid: whose certificate.
    :ivar signed_attributes_octets: contents octets of the SET as they arrived, or None
        when there are none.
    :ivar signature: octets of the OCTET STRING.
    :ivar unsigned_attributes_octets: contents octets of the SET, or None.
    """

    version: int
    sid: CertificateIdentifier
    digest_algorithm: AlgorithmIdentifier
    signed_attributes_octets: bytes | None
    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    unsigned_attributes_octets: bytes | None = None

    @classmethod
    def decode(cls, contents: bytes) -> SignerInfo:
        """Read the contents octets of ``SignerInfo``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        version = der.decode_integer(cursor.take(der.INTEGER))
        sid = take_certificate_identifier(cursor)
        digest_algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        signed_attributes = cursor.optional(_SIGNED_ATTRIBUTES)
        signature_algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        signature = cursor.take(der.OCTET_STRING)
        unsigned_attributes = cursor.optional(_UNSIGNED_ATTRIBUTES)
        cursor.finish()
        return cls(
            version=version,
            sid=sid,
            digest_algorithm=digest_algorithm,
            signed_attributes_octets=signed_attributes,
            signature_algorithm=signature_algorithm,
            signature=signature,
            unsigned_attributes_octets=unsigned_attributes,
        )

    @property
    def signed_attributes(self) -> tuple[Attribute, ...]:
        """The signed attributes.

        :raises PKIError: ``MALFORMED``.
        """
        return decode_attributes(self.signed_attributes_octets)

    @property
    def unsigned_attributes(self) -> tuple[Attribute, ...]:
        """The unsigned attributes.

        :raises PKIError: ``MALFORMED``.
        """
        return decode_attributes(self.unsigned_attributes_octets)

    def encode(self) -> bytes:
        """The ``SignerInfo`` SEQUENCE."""
        return der.sequence(
            der.integer(self.version),
            self.sid.encode(),
            self.digest_algorithm.encode(),
            encode_optional_set(0, self.signed_attributes_octets),
            self.signature_algorithm.encode(),
            der.octet_string(self.signature),
            encode_optional_set(1, self.unsigned_attributes_octets),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedData:
    """``SignedData``.

    :ivar certificates: ``CertificateSet``, each choice whole, in the order of the
        encoding; plain certificates are those with the tag of a SEQUENCE.
    :ivar crls: ``RevocationInfoChoices``, each whole.
    """

    version: int
    digest_algorithms: tuple[AlgorithmIdentifier, ...]
    encapsulated: EncapsulatedContentInfo
    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    signer_infos: tuple[SignerInfo, ...] = ()

    @classmethod
    def decode(cls, octets: bytes) -> SignedData:
        """Read a whole ``SignedData``; no signature is looked at.

        :raises PKIError: ``MALFORMED``, also for more signers, certificates or CRLs
            than the limits of this module.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        version = der.decode_integer(cursor.take(der.INTEGER))
        digests = cursor.enter(der.SET).raw_elements(MAX_DIGEST_ALGORITHMS)
        encapsulated = EncapsulatedContentInfo.decode(cursor.take(der.SEQUENCE))
        certificates = _elements(cursor.optional(_CERTIFICATES), MAX_CERTIFICATES)
        crls = _elements(cursor.optional(_CRLS), MAX_CRLS)
        signers = cursor.enter(der.SET).raw_elements(MAX_SIGNERS)
        cursor.finish()
        return cls(
            version=version,
            digest_algorithms=tuple(
                AlgorithmIdentifier.decode(der.single(digest, der.SEQUENCE))
                for digest in digests
            ),
            encapsulated=encapsulated,
            certificates=certificates,
            crls=crls,
            signer_infos=tuple(
                SignerInfo.decode(der.single(signer, der.SEQUENCE))
                for signer in signers
            ),
        )

    @classmethod
    def decode_content_info(cls, octets: bytes) -> SignedData:
        """Read a whole ``ContentInfo``, which must hold ``SignedData``.

        :raises PKIError: ``MALFORMED``.
        """
        return cls.decode(ContentInfo.decode(octets).content_of(oids.ID_SIGNED_DATA))

    @property
    def x509_certificates(self) -> tuple[bytes, ...]:
        """Of ``certificates`` those that are X.509 certificates, each whole."""
        return tuple(one for one in self.certificates if one[0] == der.SEQUENCE)

    def encode(self) -> bytes:
        """The ``SignedData`` SEQUENCE; sets keep the order that they have here."""
        return der.sequence(
            der.integer(self.version),
            der.encode(der.SET, *(one.encode() for one in self.digest_algorithms)),
            self.encapsulated.encode(),
            encode_optional_set(0, b"".join(self.certificates) or None),
            encode_optional_set(1, b"".join(self.crls) or None),
            der.encode(der.SET, *(one.encode() for one in self.signer_infos)),
        )

    def encode_content_info(self) -> bytes:
        """This within a ``ContentInfo``."""
        return ContentInfo(oids.ID_SIGNED_DATA, self.encode()).encode()


def signed_data_version(
    content_type: str,
    certificates: Iterable[bytes],
    crls: Iterable[bytes],
    sids: Iterable[CertificateIdentifier],
) -> int:
    """The version number that ``SignedData`` with these parts must have.

    :param certificates: elements of ``CertificateSet``.
    :param crls: elements of ``RevocationInfoChoices``.

    **Source:** RFC 5652 section 5.1.
    """
    tags = {element[0] for element in certificates}
    if der.constructed(3) in tags or any(crl[0] != der.SEQUENCE for crl in crls):
        return 5
    if der.constructed(2) in tags:
        return 4
    if (
        der.constructed(1) in tags
        or any(isinstance(sid, SubjectKeyIdentifier) for sid in sids)
        or content_type != oids.ID_DATA
    ):
        return 3
    return 1


def encode_certs_only(
    certificates: Iterable[bytes], crls: Iterable[bytes] = ()
) -> bytes:
    """A ``ContentInfo`` that only carries certificates (and CRLs).

    The order is kept, although a SET has none to BER's mind: clients exist that take
    the first certificate for theirs.

    :param certificates: each whole DER.

    **Source:** RFC 5652 section 5 (no signers), RFC 8894 section 3.4, RFC 7030
    section 4.1.3.
    """
    empty = EncapsulatedContentInfo(oids.ID_DATA, None)
    return SignedData(
        version=1,
        digest_algorithms=(),
        encapsulated=empty,
        certificates=tuple(certificates),
        crls=tuple(crls),
    ).encode_content_info()


def _elements(contents: bytes | None, limit: int) -> tuple[bytes, ...]:
    return tuple(der.Cursor(contents or b"").raw_elements(limit))
