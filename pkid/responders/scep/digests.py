"""Digests of messages, and MD5, which old Cisco equipment signs with.

MD5 is known nowhere else in the house: whoever does not ask for it by name cannot get
it by a switch for something else.

**Source:** draft-nourse-scep-23 section 2.7 (MD5 as the least); RFC 8894 section 2.9
forbids it, so that it is taken behind a switch of one entrance only.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import single_value
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_name_of
from pkid.crypto.publickeys import PublicKeyInfo
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import PKIMessage

_MD5_SIGNATURES = frozenset((oids.RSA_ENCRYPTION, oids.MD5_WITH_RSA_ENCRYPTION))


def digest_name(algorithm: AlgorithmIdentifier) -> str:
    """Name of a digest algorithm, MD5's too.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    return "md5" if algorithm.oid == oids.ID_MD5 else hash_name_of(algorithm)


def verify_md5(message: PKIMessage, key: PublicKeyInfo) -> None:
    """As `pkid.crypto.signeddata.verify_signed_data`, for a message signed with MD5.

    :raises PKIError: ``BAD_ALGORITHM``, ``BAD_MESSAGE_CHECK``.
    """
    signer, content = message.signer, message.signed.encapsulated.content or b""
    if signer.signature_algorithm.oid not in _MD5_SIGNATURES:
        raise PKIError(ErrorCode.BAD_ALGORITHM, "digest and signature do not agree")
    element = single_value(signer.signed_attributes, oids.PKCS9_MESSAGE_DIGEST)
    found = b"" if element is None else der.single(element, der.OCTET_STRING)
    made = hashlib.md5(content, usedforsecurity=False).digest()
    if not hmac.compare_digest(found, made):
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "the signed digest is not the content's"
        )
    covered = der.encode(der.SET, signer.signed_attributes_octets or b"")
    verify_md5_signature(key, signer.signature, covered)


def verify_md5_signature(key: PublicKeyInfo, signature: bytes, octets: bytes) -> None:
    """Check an RSA signature over an MD5 digest.

    :raises PKIError: ``BAD_ALGORITHM``, ``BAD_MESSAGE_CHECK``.
    """
    public_key = key.load()
    if not isinstance(public_key, rsa.RSAPublicKey):
        raise PKIError(ErrorCode.BAD_ALGORITHM, "MD5 is taken with RSA keys only")
    try:
        public_key.verify(
            signature,
            octets,
            padding.PKCS1v15(),
            hashes.MD5(),  # noqa: S303 - old equipment, by configuration only
        )
    except InvalidSignature:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "the signature does not verify"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, "MD5 cannot be verified with this key"
        ) from None
