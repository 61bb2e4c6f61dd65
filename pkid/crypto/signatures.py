"""Verify and make signatures, and take signed structures apart.

Pure. A signature is checked over the octets that arrived. Before any arithmetic the
algorithm is checked against policy and against the key, and the key against size
limits, so that a sender cannot choose how much work we do.

**Source:** RFC 5280 section 4.1.1, RFC 8017, RFC 8692, RFC 9481 section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    padding,
    rsa,
)
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import (
    KeyKind,
    Padding,
    PrivateKey,
    PublicKey,
    SignatureScheme,
    digest,
    key_kind,
    refuse,
    signature_scheme,
)
from pkid.crypto.pss import verify_shake_pss
from pkid.errors import ErrorCode, PKIError

MIN_RSA_BITS: Final = 1024
MAX_RSA_BITS: Final = 16384
MAX_RSA_EXPONENT_BITS: Final = 256
MAX_SIGNATURE_OCTETS: Final = 8192

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3_224": hashes.SHA3_224(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}
# `Prehashed` asks only for the size, and hazmat has no SHAKE for ECDSA.
_PREHASHED: Final = {
    "shake128": ec.ECDSA(Prehashed(hashes.SHA256())),
    "shake256": ec.ECDSA(Prehashed(hashes.SHA512())),
}
# Made once: making one costs an eighth of a P-256 signature.
_ECDSA: Final = {name: ec.ECDSA(hash_) for name, hash_ in _HASHES.items()} | _PREHASHED
_UnhashedKey = (
    ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)


def verify_signature(
    public_key: PublicKey,
    algorithm: AlgorithmIdentifier,
    signature: bytes,
    data: bytes,
    *,
    allow_sha1: bool = False,
    allow_null_parameters: bool = False,
) -> None:
    """Check a signature over the octets that arrived.

    :param public_key: of any kind; one that cannot sign is refused.
    :param algorithm: as it stands beside the signature.
    :param signature: octets of the BIT STRING.
    :param data: the signed octets, never a re-encoding.
    :param allow_sha1: take SHA-1, for old devices, by configuration only.
    :param allow_null_parameters: take NULL parameters where they must be absent.
    :raises PKIError: ``BAD_ALGORITHM`` when the algorithm is unknown, not accepted,
        ill parametrized or does not fit the key, or the key's size is out of limits;
        ``BAD_MESSAGE_CHECK`` when the signature is wrong.

    Cost: 20 to 400 us; 1 ms for RSA at `MAX_RSA_BITS`.

    **Source:** RFC 9481 section 3.
    """
    scheme = signature_scheme(algorithm, allow_null_parameters=allow_null_parameters)
    if scheme.legacy and not allow_sha1:
        raise refuse(f"signature algorithm {scheme.name} uses SHA-1")
    _check_fit(public_key, scheme)
    if len(signature) > MAX_SIGNATURE_OCTETS:
        raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "the signature is too long")
    try:
        _verify(public_key, scheme, signature, data)
    except InvalidSignature:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, "the signature does not verify"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise refuse(f"{scheme.name} cannot be verified with this key") from None


def _check_fit(public_key: PublicKey, scheme: SignatureScheme) -> None:
    kind = key_kind(public_key)
    if kind is not scheme.kind:
        raise refuse(f"signature algorithm {scheme.name} does not fit {kind.value} key")
    if kind is KeyKind.RSA:
        check_rsa_limits(cast(rsa.RSAPublicKey, public_key))


def check_rsa_limits(public_key: rsa.RSAPublicKey) -> None:
    """Refuse RSA keys with which even verifying is unsafe or dear.

    :raises PKIError: ``BAD_ALGORITHM`` outside `MIN_RSA_BITS` .. `MAX_RSA_BITS`, or
        with an exponent that is even, 1 or above `MAX_RSA_EXPONENT_BITS`.
    """
    if not MIN_RSA_BITS <= public_key.key_size <= MAX_RSA_BITS:
        raise refuse(f"RSA key of {public_key.key_size} bits is out of limits")
    exponent = public_key.public_numbers().e
    if exponent.bit_length() > MAX_RSA_EXPONENT_BITS or exponent % 2 == 0:
        raise refuse("RSA public exponent is out of limits")
    if exponent < 3:
        raise refuse("RSA public exponent is out of limits")


def _verify(
    public_key: PublicKey, scheme: SignatureScheme, signature: bytes, data: bytes
) -> None:
    # `_check_fit` has seen that the key is of the scheme's kind; kinds that do not
    # sign have no scheme.
    if scheme.kind is KeyKind.EC:
        name = scheme.hash_name or ""
        signed = digest(name, data) if name in _PREHASHED else data
        curve_key = cast(ec.EllipticCurvePublicKey, public_key)
        curve_key.verify(signature, signed, _ECDSA[name])
    elif scheme.kind is KeyKind.RSA:
        _verify_rsa(cast(rsa.RSAPublicKey, public_key), scheme, signature, data)
    else:
        cast(_UnhashedKey, public_key).verify(signature, data)


def _rsa_padding(scheme: SignatureScheme) -> padding.PKCS1v15 | padding.PSS:
    if scheme.padding is Padding.PKCS1:
        return padding.PKCS1v15()
    return padding.PSS(
        padding.MGF1(_HASHES[scheme.mgf_hash or ""]), scheme.salt_size or 0
    )


def _verify_rsa(
    public_key: rsa.RSAPublicKey, scheme: SignatureScheme, signature: bytes, data: bytes
) -> None:
    name = scheme.hash_name or ""
    if name in _PREHASHED:
        numbers = public_key.public_numbers()
        if not verify_shake_pss(numbers.n, numbers.e, name, signature, data):
            raise InvalidSignature
        return
    public_key.verify(signature, data, _rsa_padding(scheme), _HASHES[name])


def sign(
    private_key: PrivateKey,
    algorithm: AlgorithmIdentifier,
    data: bytes,
    *,
    allow_sha1: bool = False,
) -> bytes:
    """Make a signature; only `pkid.keys` calls this.

    :param algorithm: from `signature_algorithm_for` of the same key.
    :param data: the octets to sign.
    :param allow_sha1: sign with SHA-1: messages to old SCEP clients only.
    :returns: the octets of the BIT STRING.
    :raises PKIError: ``BAD_ALGORITHM`` when the algorithm does not fit the key, uses
        SHA-1 unasked, or is RSASSA-PSS with SHAKE (which is only verified).
    """
    scheme = signature_scheme(algorithm)
    if scheme.legacy and not allow_sha1:
        raise refuse(f"signature algorithm {scheme.name} uses SHA-1")
    if isinstance(private_key, ec.EllipticCurvePrivateKey):
        if scheme.kind is not KeyKind.EC:
            raise refuse(f"signature algorithm {scheme.name} does not fit an EC key")
        name = scheme.hash_name or ""
        signed = digest(name, data) if name in _PREHASHED else data
        return private_key.sign(signed, _ECDSA[name])
    if scheme.kind is not key_kind(private_key.public_key()):
        raise refuse(f"signature algorithm {scheme.name} does not fit the key")
    if isinstance(private_key, rsa.RSAPrivateKey):
        return _sign_rsa(private_key, scheme, data)
    return private_key.sign(data)


def _sign_rsa(
    private_key: rsa.RSAPrivateKey, scheme: SignatureScheme, data: bytes
) -> bytes:
    name = scheme.hash_name or ""
    if name not in _HASHES:
        raise refuse(f"signature algorithm {scheme.name} is only verified")
    try:
        return private_key.sign(data, _rsa_padding(scheme), _HASHES[name])
    except ValueError:
        raise refuse(f"the RSA key is too small for {scheme.name}") from None


# --- signed structures --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignedStructure:
    """X.509's ``SIGNED`` in its three parts: certificate, CRL, PKCS #10 request.

    :ivar signed: the first element whole: what the signature covers.
    :ivar algorithm: of the signature.
    :ivar signature: octets of the BIT STRING.
    """

    signed: bytes
    algorithm: AlgorithmIdentifier
    signature: bytes

    @classmethod
    def decode(cls, octets: bytes) -> SignedStructure:
        """Read a whole certificate, CRL or request.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        signed = cursor.raw(der.SEQUENCE)
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        signature = der.decode_bits(cursor.take(der.BIT_STRING))
        cursor.finish()
        return cls(signed, algorithm, signature)

    def verify(
        self,
        public_key: PublicKey,
        *,
        allow_sha1: bool = False,
        allow_null_parameters: bool = False,
    ) -> None:
        """Check the signature; see `verify_signature` for what is raised."""
        verify_signature(
            public_key,
            self.algorithm,
            self.signature,
            self.signed,
            allow_sha1=allow_sha1,
            allow_null_parameters=allow_null_parameters,
        )


def encode_signed(
    signed: bytes, algorithm: AlgorithmIdentifier, signature: bytes
) -> bytes:
    """Put a ``SIGNED`` structure together.

    :param signed: DER of what was signed.
    :param algorithm: the same as within ``signed``.
    :param signature: octets for the BIT STRING.
    """
    tail = _encode_algorithm(algorithm) + der.encode(
        der.BIT_STRING, b"\x00" + signature
    )
    return der.encode(der.SEQUENCE, signed + tail)


@lru_cache(maxsize=64)
def _encode_algorithm(algorithm: AlgorithmIdentifier) -> bytes:
    return algorithm.encode()
