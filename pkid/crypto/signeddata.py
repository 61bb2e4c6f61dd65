"""CMS signed data: sign and verify.

Pure. Signing is in two halves, because private keys live elsewhere and answer later:
`draft_signed_data` says which octets are to be signed, and its draft, given the
signature, becomes ``SignedData``. Verifying goes over the attributes as they arrived,
with the tag of a SET. Whose certificate it is and whether it is trusted is the
caller's affair.

**Source:** RFC 5652 section 5, RFC 8933 (one digest for content and attributes),
RFC 4056, RFC 5753 section 2.1, RFC 5754, RFC 8419, RFC 8702, RFC 9882 (read as
draft-ietf-lamps-cms-ml-dsa).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import (
    Attribute,
    CertificateIdentifier,
    EncapsulatedContentInfo,
    IssuerAndSerialNumber,
    encode_attributes,
    single_value,
)
from pkid.asn1.cms.signed import SignedData, SignerInfo, signed_data_version
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import (
    KeyKind,
    SignatureScheme,
    digest,
    hash_algorithm,
    hash_name_of,
    refuse,
    signature_scheme,
)
from pkid.crypto.certificates import Certificate
from pkid.crypto.identifiers import identifier_of, is_named
from pkid.crypto.publickeys import PublicKeyInfo
from pkid.errors import ErrorCode, PKIError

Sign = Callable[[bytes], bytes]

_SHAKE256_512: Final = AlgorithmIdentifier(oids.ID_SHAKE256_LEN, der.integer(512))
# RFC 9882 section 4: the digest is as strong as the signature.
_ML_DSA_DIGESTS: Final = {
    KeyKind.ML_DSA_44: {
        "sha256",
        "sha384",
        "sha512",
        "sha3_256",
        "sha3_384",
        "sha3_512",
        "shake128",
        "shake256",
    },
    KeyKind.ML_DSA_65: {"sha384", "sha512", "sha3_384", "sha3_512", "shake256"},
    KeyKind.ML_DSA_87: {"sha512", "sha3_512", "shake256"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDataDraft:
    """``SignedData`` that lacks its signature.

    :ivar to_be_signed: the octets to sign with ``algorithm``.
    """

    to_be_signed: bytes
    algorithm: AlgorithmIdentifier
    digest_algorithm: AlgorithmIdentifier
    sid: CertificateIdentifier
    attributes_octets: bytes
    encapsulated: EncapsulatedContentInfo
    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]

    def complete(self, signature: bytes) -> SignedData:
        """The whole, with the signature over ``to_be_signed``."""
        by_name = isinstance(self.sid, IssuerAndSerialNumber)
        signer = SignerInfo(
            version=1 if by_name else 3,
            sid=self.sid,
            digest_algorithm=self.digest_algorithm,
            signed_attributes_octets=self.attributes_octets,
            signature_algorithm=self.algorithm,
            signature=signature,
        )
        return SignedData(
            version=signed_data_version(
                self.encapsulated.content_type,
                self.certificates,
                self.crls,
                (self.sid,),
            ),
            digest_algorithms=(self.digest_algorithm,),
            encapsulated=self.encapsulated,
            certificates=self.certificates,
            crls=self.crls,
            signer_infos=(signer,),
        )


def draft_signed_data(
    content: bytes | None,
    content_type: str,
    sid: CertificateIdentifier,
    algorithm: AlgorithmIdentifier,
    *,
    attributes: Iterable[Attribute] = (),
    certificates: Iterable[bytes] = (),
    crls: Iterable[bytes] = (),
) -> SignedDataDraft:
    """Everything of ``SignedData`` but the signature.

    ``contentType`` and ``messageDigest`` are always among the signed attributes.

    :param content: octets of ``eContent``: for ``id-data`` octets, else DER; None
        leaves it out, and the digest is that of nothing (SCEP answers so when it has
        nothing to send, RFC 8894 sections 3.3.2.2 and 3.3.2.3).
    :param sid: of the signer's certificate; `identifier_of` gives one.
    :param algorithm: from `pkid.crypto.algorithms.signature_algorithm_for` of its key.
    :param attributes: further signed attributes, such as ``signingTime``.
    :param certificates: whole DER each, in the order in which they shall stand.
    :raises PKIError: ``BAD_ALGORITHM`` when the algorithm is unknown.
    """
    scheme = signature_scheme(algorithm)
    name, digest_algorithm = _digest_for(scheme)
    signed = encode_attributes(
        (
            Attribute(oids.PKCS9_CONTENT_TYPE, (der.oid(content_type),)),
            Attribute(
                oids.PKCS9_MESSAGE_DIGEST,
                (der.octet_string(digest(name, content or b"")),),
            ),
            *attributes,
        )
    )
    return SignedDataDraft(
        to_be_signed=der.encode(der.SET, signed),
        algorithm=algorithm,
        digest_algorithm=digest_algorithm,
        sid=sid,
        attributes_octets=signed,
        encapsulated=EncapsulatedContentInfo(content_type, content),
        certificates=tuple(certificates),
        crls=tuple(crls),
    )


def sign_data(
    content: bytes | None,
    content_type: str,
    certificate: Certificate,
    algorithm: AlgorithmIdentifier,
    sign: Sign,
    *,
    attributes: Iterable[Attribute] = (),
    chain: Iterable[bytes] = (),
) -> SignedData:
    """Sign at once, where the key is at hand.

    :param certificate: the signer's; stands first among the certificates.
    :param sign: makes the signature over the octets given, with ``algorithm``.
    :param chain: further certificates, whole DER each.
    :raises PKIError: ``BAD_ALGORITHM``, and whatever ``sign`` raises.
    """
    draft = draft_signed_data(
        content,
        content_type,
        identifier_of(certificate),
        algorithm,
        attributes=attributes,
        certificates=(certificate.der, *chain),
    )
    return draft.complete(sign(draft.to_be_signed))


def _digest_for(scheme: SignatureScheme) -> tuple[str, AlgorithmIdentifier]:
    """Digest of the content: the signature's own, or the one its RFC demands."""
    if scheme.hash_name is not None:
        return scheme.hash_name, hash_algorithm(scheme.hash_name)
    if scheme.kind is KeyKind.ED448:
        return "shake256", _SHAKE256_512
    return "sha512", hash_algorithm("sha512")


# --- verifying ----------------------------------------------------------------


def is_signer(signer: SignerInfo, certificate: Certificate) -> bool:
    """Whether a signature says that it was made with this certificate's key."""
    return is_named(signer.sid, certificate)


def verify_signed_data(
    signed_data: SignedData,
    signer: SignerInfo,
    public_key: PublicKeyInfo,
    *,
    detached: bytes | None = None,
    allow_sha1: bool = False,
) -> bytes:
    """Check one signature.

    :param signer: one of ``signed_data.signer_infos``.
    :param public_key: of the signer's certificate.
    :param detached: the content where the message does not carry it.
    :param allow_sha1: take SHA-1, for old devices, by configuration only.
    :returns: the content that the signature covers.
    :raises PKIError: ``BAD_ALGORITHM`` when an algorithm is unknown, not accepted or
        does not fit the key or the other one; ``BAD_REQUEST`` when the content or a
        signed attribute that must be there is missing; ``MALFORMED``;
        ``BAD_MESSAGE_CHECK`` when digest, content type or signature are wrong.

    **Source:** RFC 5652 sections 5.3, 5.4, 5.6 and 11.1 to 11.2.
    """
    content = signed_data.encapsulated.content
    if content is None:
        content = detached
    if content is None:
        raise _incomplete("the signed content is missing")
    name = _content_digest_name(signer)
    algorithm = _signature_algorithm(signer, name)
    _check_digest(signature_scheme(algorithm, allow_null_parameters=True), name)
    if name == "sha1" and not allow_sha1:
        raise refuse("the digest of the content is SHA-1")
    covered = content
    if signer.signed_attributes_octets is not None:
        _check_attributes(signed_data, signer, digest(name, content))
        covered = der.encode(der.SET, signer.signed_attributes_octets)
    elif signed_data.encapsulated.content_type != oids.ID_DATA:
        raise _incomplete("signed attributes are missing")
    public_key.verify(
        algorithm,
        signer.signature,
        covered,
        allow_sha1=allow_sha1,
        allow_null_parameters=True,
    )
    return content


def _incomplete(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_REQUEST, detail)


def _content_digest_name(signer: SignerInfo) -> str:
    # RFC 8419 names it so for Ed448; everybody else writes id-shake256.
    if signer.digest_algorithm == _SHAKE256_512:
        return "shake256"
    return hash_name_of(signer.digest_algorithm)


def _signature_algorithm(signer: SignerInfo, name: str) -> AlgorithmIdentifier:
    """The algorithm, where ``rsaEncryption`` leaves the digest to the other field.

    **Source:** RFC 3370 section 3.2.
    """
    algorithm = signer.signature_algorithm
    if algorithm.oid != oids.RSA_ENCRYPTION:
        return algorithm
    if algorithm.parameters not in (None, der.NULL):
        raise refuse("rsaEncryption with parameters")
    found = _RSA_WITH.get(name)
    if found is None:
        raise refuse(f"rsaEncryption with {name}")
    return AlgorithmIdentifier(found, der.NULL)


_RSA_WITH: Final = {
    "sha1": oids.SHA1_WITH_RSA_ENCRYPTION,
    "sha224": oids.SHA224_WITH_RSA_ENCRYPTION,
    "sha256": oids.SHA256_WITH_RSA_ENCRYPTION,
    "sha384": oids.SHA384_WITH_RSA_ENCRYPTION,
    "sha512": oids.SHA512_WITH_RSA_ENCRYPTION,
}


def _check_digest(scheme: SignatureScheme, name: str) -> None:
    """The content's digest must be the signature's own, or as strong as it."""
    if scheme.hash_name is not None:
        fits = scheme.hash_name == name
    elif scheme.kind is KeyKind.ED25519:
        fits = name == "sha512"
    elif scheme.kind is KeyKind.ED448:
        fits = name == "shake256"
    else:
        fits = name in _ML_DSA_DIGESTS[scheme.kind]
    if not fits:
        raise refuse(f"digest {name} does not go with signature {scheme.name}")


def _check_attributes(
    signed_data: SignedData, signer: SignerInfo, computed: bytes
) -> None:
    attributes = signer.signed_attributes
    content_type = single_value(attributes, oids.PKCS9_CONTENT_TYPE)
    message_digest = single_value(attributes, oids.PKCS9_MESSAGE_DIGEST)
    if content_type is None or message_digest is None:
        raise _incomplete("contentType or messageDigest is not signed")
    if content_type != der.oid(signed_data.encapsulated.content_type):
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "the signed content type is another one"
        )
    received = der.single(message_digest, der.OCTET_STRING)
    if not hmac.compare_digest(received, computed):
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "the signed digest is not the content's"
        )
