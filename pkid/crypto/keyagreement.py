"""Key agreement for CMS and for MACs: ECDH on curves and with X25519 and X448.

Pure, but for ephemeral keys, which OpenSSL makes with its own random numbers.

**Source:** RFC 5753 sections 3.1 and 7.1 to 7.2, RFC 8418, RFC 9481 section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeGuard

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, x448, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.asn1 import der, oids
from pkid.asn1.cms.recipients import OriginatorPublicKey
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import refuse
from pkid.crypto.contentciphers import undecryptable
from pkid.crypto.keywrap import AES_256_WRAP, kek_octets
from pkid.crypto.publickeys import PublicKeyInfo

AgreementPublicKey = (
    ec.EllipticCurvePublicKey | x25519.X25519PublicKey | x448.X448PublicKey
)
AgreementPrivateKey = (
    ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey | x448.X448PrivateKey
)
MAX_UKM_OCTETS: Final = 1024

_PUBLIC_TYPES: Final = (
    ec.EllipticCurvePublicKey,
    x25519.X25519PublicKey,
    x448.X448PublicKey,
)
_PRIVATE_TYPES: Final = (
    ec.EllipticCurvePrivateKey,
    x25519.X25519PrivateKey,
    x448.X448PrivateKey,
)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    # RFC 5753 has it; OpenSSL's default is still this one.
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class _Scheme:
    hash_name: str
    hkdf: bool = False
    cofactor: bool = False


_SCHEMES: Final = {
    oids.DH_SINGLE_PASS_STD_DH_SHA1KDF_SCHEME: _Scheme("sha1"),
    oids.DH_SINGLE_PASS_STD_DH_SHA224KDF_SCHEME: _Scheme("sha224"),
    oids.DH_SINGLE_PASS_STD_DH_SHA256KDF_SCHEME: _Scheme("sha256"),
    oids.DH_SINGLE_PASS_STD_DH_SHA384KDF_SCHEME: _Scheme("sha384"),
    oids.DH_SINGLE_PASS_STD_DH_SHA512KDF_SCHEME: _Scheme("sha512"),
    # Every curve of ours has cofactor 1, where both kinds of ECDH are one; with
    # X25519 and X448 there is no cofactor scheme.
    oids.DH_SINGLE_PASS_COFACTOR_DH_SHA1KDF_SCHEME: _Scheme("sha1", cofactor=True),
    oids.DH_SINGLE_PASS_COFACTOR_DH_SHA224KDF_SCHEME: _Scheme("sha224", cofactor=True),
    oids.DH_SINGLE_PASS_COFACTOR_DH_SHA256KDF_SCHEME: _Scheme("sha256", cofactor=True),
    oids.DH_SINGLE_PASS_COFACTOR_DH_SHA384KDF_SCHEME: _Scheme("sha384", cofactor=True),
    oids.DH_SINGLE_PASS_COFACTOR_DH_SHA512KDF_SCHEME: _Scheme("sha512", cofactor=True),
    oids.DH_SINGLE_PASS_STD_DH_HKDF_SHA256_SCHEME: _Scheme("sha256", hkdf=True),
    oids.DH_SINGLE_PASS_STD_DH_HKDF_SHA384_SCHEME: _Scheme("sha384", hkdf=True),
    oids.DH_SINGLE_PASS_STD_DH_HKDF_SHA512_SCHEME: _Scheme("sha512", hkdf=True),
}


def is_agreement_public_key(key: object) -> TypeGuard[AgreementPublicKey]:
    """Whether a loaded public key agrees upon keys."""
    return isinstance(key, _PUBLIC_TYPES)


def is_agreement_private_key(key: object) -> TypeGuard[AgreementPrivateKey]:
    """Whether a loaded private key agrees upon keys."""
    return isinstance(key, _PRIVATE_TYPES)


def agreement_algorithm(
    public_key: AgreementPublicKey,
    *,
    scheme: str | None = None,
    wrap: AlgorithmIdentifier = AES_256_WRAP,
) -> AlgorithmIdentifier:
    """The key-encryption algorithm for a recipient's key.

    :param scheme: OID of the scheme; when None, standard ECDH with the ANSI X9.63 KDF
        and the SHA-2 that matches the curve's strength.
    :param wrap: an AES key wrap.
    :raises PKIError: ``BAD_ALGORITHM`` for an unknown scheme or wrap.
    """
    algorithm = AlgorithmIdentifier(
        scheme or _default_scheme(public_key), wrap.encode()
    )
    _decode(algorithm)
    return algorithm


def _default_scheme(public_key: AgreementPublicKey) -> str:
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        bits = public_key.curve.key_size
    else:
        bits = 256 if isinstance(public_key, x25519.X25519PublicKey) else 512
    if bits <= 256:
        return oids.DH_SINGLE_PASS_STD_DH_SHA256KDF_SCHEME
    if bits <= 384:
        return oids.DH_SINGLE_PASS_STD_DH_SHA384KDF_SCHEME
    return oids.DH_SINGLE_PASS_STD_DH_SHA512KDF_SCHEME


def _decode(algorithm: AlgorithmIdentifier) -> tuple[_Scheme, AlgorithmIdentifier]:
    scheme = _SCHEMES.get(algorithm.oid)
    if scheme is None or algorithm.parameters is None:
        raise refuse(f"unknown key agreement algorithm {algorithm.oid}")
    wrap = AlgorithmIdentifier.decode(der.single(algorithm.parameters, der.SEQUENCE))
    kek_octets(wrap)
    return scheme, wrap


def derive_kek(
    algorithm: AlgorithmIdentifier, shared_secret: bytes, ukm: bytes | None
) -> bytes:
    """The key-encryption key from what both sides agree upon.

    :param algorithm: ``keyEncryptionAlgorithm`` of ``KeyAgreeRecipientInfo``.
    :param ukm: user keying material as it stands beside, or None.
    :raises PKIError: ``BAD_ALGORITHM`` when the scheme or the wrap within is unknown,
        or the keying material too long.

    **Source:** RFC 5753 section 7.2; RFC 8418 sections 2.1 and 2.2.
    """
    scheme, wrap = _decode(algorithm)
    if ukm is not None and len(ukm) > MAX_UKM_OCTETS:
        raise refuse("user keying material is too long")
    size = kek_octets(wrap)
    info = der.sequence(
        wrap.encode(),
        b"" if ukm is None else der.explicit(0, der.octet_string(ukm)),
        der.explicit(2, der.octet_string((8 * size).to_bytes(4, "big"))),
    )
    used = _HASHES[scheme.hash_name]
    if scheme.hkdf:
        return HKDF(used, size, ukm, info).derive(shared_secret)
    return X963KDF(used, size, info).derive(shared_secret)


def check_scheme(
    algorithm: AlgorithmIdentifier, public_key: AgreementPublicKey
) -> None:
    """Refuse a scheme that the key's kind does not have.

    :raises PKIError: ``BAD_ALGORITHM``.
    """
    scheme, _ = _decode(algorithm)
    if scheme.cofactor and not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise refuse("cofactor ECDH with X25519 or X448")


def make_ephemeral(public_key: AgreementPublicKey) -> AgreementPrivateKey:
    """A new key of the same kind, and for EC on the same curve."""
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        return ec.generate_private_key(public_key.curve)
    if isinstance(public_key, x25519.X25519PublicKey):
        return x25519.X25519PrivateKey.generate()
    return x448.X448PrivateKey.generate()


def agree(private_key: AgreementPrivateKey, public_key: AgreementPublicKey) -> bytes:
    """The shared secret (Z): the x coordinate, or what X25519 and X448 give.

    :raises PKIError: ``BAD_MESSAGE_CHECK`` when the keys do not fit or the other side
        sent a point of small order (RFC 8418 section 2).
    """
    try:
        return _agree(private_key, public_key)
    except ValueError:
        raise undecryptable() from None


def _agree(private_key: AgreementPrivateKey, public_key: AgreementPublicKey) -> bytes:
    match private_key, public_key:
        case ec.EllipticCurvePrivateKey(), ec.EllipticCurvePublicKey():
            return private_key.exchange(ec.ECDH(), public_key)
        case x25519.X25519PrivateKey(), x25519.X25519PublicKey():
            return private_key.exchange(public_key)
        case x448.X448PrivateKey(), x448.X448PublicKey():
            return private_key.exchange(public_key)
        case _:
            raise undecryptable()


def originator_key(public_key: AgreementPublicKey) -> OriginatorPublicKey:
    """A sender's ephemeral key as it stands in the message.

    **Source:** RFC 5753 section 3.1.1 (parameters absent), RFC 8418 section 3.2.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return OriginatorPublicKey(AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY), point)
    oid = oids.ID_X448
    if isinstance(public_key, x25519.X25519PublicKey):
        oid = oids.ID_X25519
    return OriginatorPublicKey(AlgorithmIdentifier(oid), public_key.public_bytes_raw())


def load_originator_key(
    originator: OriginatorPublicKey, private_key: AgreementPrivateKey
) -> AgreementPublicKey:
    """The sender's key, which must be of the kind and on the curve of ours.

    :raises PKIError: ``BAD_MESSAGE_CHECK`` when it is not.
    """
    oid, key = originator.algorithm.oid, originator.key
    try:
        match private_key:
            case ec.EllipticCurvePrivateKey() if oid in _EC_KEYS:
                # Points are checked to be on the curve.
                return ec.EllipticCurvePublicKey.from_encoded_point(
                    private_key.curve, key
                )
            case x25519.X25519PrivateKey() if oid == oids.ID_X25519:
                return x25519.X25519PublicKey.from_public_bytes(key)
            case x448.X448PrivateKey() if oid == oids.ID_X448:
                return x448.X448PublicKey.from_public_bytes(key)
            case _:
                raise undecryptable()
    except ValueError:
        raise undecryptable() from None


def originator_spki(originator: OriginatorPublicKey, own: PublicKeyInfo) -> bytes:
    """The sender's key as a SubjectPublicKeyInfo of the kind of ours.

    :param own: our key, which it will agree with: a curve that is left out is ours.
    :raises PKIError: ``BAD_MESSAGE_CHECK`` when it is of another kind.
    """
    oid = originator.algorithm.oid
    same = oid == own.algorithm.oid or (
        oid in _EC_KEYS and own.algorithm.oid == oids.ID_EC_PUBLIC_KEY
    )
    if not same:
        raise undecryptable()
    return der.sequence(own.algorithm.encode(), der.bit_string(originator.key))


_EC_KEYS: Final = (oids.ID_EC_PUBLIC_KEY, oids.ID_EC_DH)
