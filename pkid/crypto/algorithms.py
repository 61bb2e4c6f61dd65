"""Which algorithm an OID names, which key it fits, which digest it uses.

Tables between ``AlgorithmIdentifier`` and (kind of key, digest, padding), and the names
of keys as they stand in the configuration (``ec:P-256``, ``rsa:2048-4096``). Pure;
imports `pkid.errors`, `pkid.asn1` and the key types of ``cryptography``.

Digests go by hashlib's names. SHAKE128 and SHAKE256 stand for their fixed outputs of
256 and 512 bits, as RFC 8702 uses them.

**Source:** RFC 4055, RFC 5754, RFC 5758, RFC 8410, RFC 8692, RFC 9481, RFC 9688 and
RFC 9881.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    rsa,
    x448,
    x25519,
)

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError

PublicKey = (
    rsa.RSAPublicKey
    | ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
    | mlkem.MLKEM768PublicKey
    | mlkem.MLKEM1024PublicKey
    | x25519.X25519PublicKey
    | x448.X448PublicKey
)
PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)

DEFAULT_CERTIFICATE_HASH: Final = "sha512"
MAX_SALT_OCTETS: Final = 512

_SHAKE_OCTETS: Final = {"shake128": 32, "shake256": 64}


class KeyKind(enum.Enum):
    """Kinds of public key, without size or curve; EdDSA and ML-DSA are exact."""

    RSA = "rsa"
    EC = "ec"
    ED25519 = "ed25519"
    ED448 = "ed448"
    ML_DSA_44 = "ml-dsa-44"
    ML_DSA_65 = "ml-dsa-65"
    ML_DSA_87 = "ml-dsa-87"
    ML_KEM_768 = "ml-kem-768"
    ML_KEM_1024 = "ml-kem-1024"
    X25519 = "x25519"
    X448 = "x448"


class Padding(enum.Enum):
    """How RSA pads what it signs."""

    PKCS1 = "pkcs1"
    PSS = "pss"


def refuse(detail: str) -> PKIError:
    """A ``PKIError(BAD_ALGORITHM)`` to raise."""
    return PKIError(ErrorCode.BAD_ALGORITHM, detail)


# --- digests ------------------------------------------------------------------

HASH_OIDS: Final = {
    "sha1": oids.ID_SHA1,
    "sha224": oids.ID_SHA224,
    "sha256": oids.ID_SHA256,
    "sha384": oids.ID_SHA384,
    "sha512": oids.ID_SHA512,
    "sha3_224": oids.ID_SHA3_224,
    "sha3_256": oids.ID_SHA3_256,
    "sha3_384": oids.ID_SHA3_384,
    "sha3_512": oids.ID_SHA3_512,
    "shake128": oids.ID_SHAKE128,
    "shake256": oids.ID_SHAKE256,
}
_HASH_NAMES: Final = {oid: name for name, oid in HASH_OIDS.items()}


def hash_name_of(algorithm: AlgorithmIdentifier) -> str:
    """Name of the digest; its parameters may be absent or NULL (RFC 5754 section 2).

    :raises PKIError: ``BAD_ALGORITHM`` when it is unknown or has other parameters.
    """
    name = _HASH_NAMES.get(algorithm.oid)
    if name is None:
        raise refuse(f"unknown digest algorithm {algorithm.oid}")
    if algorithm.parameters not in (None, der.NULL):
        raise refuse(f"digest algorithm {name} has parameters")
    return name


def hash_algorithm(name: str, *, null: bool = False) -> AlgorithmIdentifier:
    """``AlgorithmIdentifier`` of a digest.

    :param name: hashlib's name (``sha256``, ``sha3_256``, ``shake256``).
    :param null: NULL parameters instead of none, where old peers expect them.
    :raises PKIError: ``BAD_ALGORITHM`` for a name that is not in the table.
    """
    oid = HASH_OIDS.get(name)
    if oid is None:
        raise refuse(f"unknown digest {name}")
    return AlgorithmIdentifier(oid, der.NULL if null else None)


def digest(name: str, data: bytes) -> bytes:
    """Digest of ``data``; SHAKE128 gives 32 octets, SHAKE256 gives 64 (RFC 8702).

    :raises PKIError: ``BAD_ALGORITHM`` for a name that is not in the table.
    """
    size = _SHAKE_OCTETS.get(name)
    if size is not None:
        shake = hashlib.shake_128 if name == "shake128" else hashlib.shake_256
        return shake(data).digest(size)
    if name not in HASH_OIDS:
        raise refuse(f"unknown digest {name}")
    return hashlib.new(name, data, usedforsecurity=False).digest()


@lru_cache(maxsize=32)
def digest_size(name: str) -> int:
    """Octets that `digest` gives."""
    return len(digest(name, b""))


# --- signature algorithms -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """What a signature ``AlgorithmIdentifier`` means.

    :ivar name: for people: ``ecdsa-sha256``.
    :ivar kind: the kind of key that it needs.
    :ivar hash_name: digest, or None where the algorithm does without (EdDSA, ML-DSA).
    :ivar padding: for RSA only.
    :ivar mgf_hash: digest of the mask generation function, for PSS only.
    :ivar salt_size: octets of salt, for PSS only.
    """

    name: str
    kind: KeyKind
    hash_name: str | None = None
    padding: Padding | None = None
    mgf_hash: str | None = None
    salt_size: int | None = None

    @property
    def legacy(self) -> bool:
        """Whether SHA-1 is in it anywhere: verified only where a switch allows it."""
        return self.hash_name == "sha1" or self.mgf_hash == "sha1"


def _rsa(hash_name: str) -> SignatureScheme:
    return SignatureScheme(f"rsa-{hash_name}", KeyKind.RSA, hash_name, Padding.PKCS1)


def _ecdsa(hash_name: str) -> SignatureScheme:
    return SignatureScheme(f"ecdsa-{hash_name}", KeyKind.EC, hash_name)


def _shake_pss(hash_name: str) -> SignatureScheme:
    # RFC 8692 section 2.1: the SHAKE is also the mask generation function, and the
    # salt is as long as the digest.
    return SignatureScheme(
        f"rsa-pss-{hash_name}",
        KeyKind.RSA,
        hash_name,
        Padding.PSS,
        hash_name,
        _SHAKE_OCTETS[hash_name],
    )


_SCHEMES: Final[dict[str, SignatureScheme]] = {
    oids.SHA1_WITH_RSA_ENCRYPTION: _rsa("sha1"),
    "1.3.14.3.2.29": _rsa("sha1"),
    oids.SHA224_WITH_RSA_ENCRYPTION: _rsa("sha224"),
    oids.SHA256_WITH_RSA_ENCRYPTION: _rsa("sha256"),
    oids.SHA384_WITH_RSA_ENCRYPTION: _rsa("sha384"),
    oids.SHA512_WITH_RSA_ENCRYPTION: _rsa("sha512"),
    oids.ID_RSASSA_PKCS1_V1_5_WITH_SHA3_224: _rsa("sha3_224"),
    oids.ID_RSASSA_PKCS1_V1_5_WITH_SHA3_256: _rsa("sha3_256"),
    oids.ID_RSASSA_PKCS1_V1_5_WITH_SHA3_384: _rsa("sha3_384"),
    oids.ID_RSASSA_PKCS1_V1_5_WITH_SHA3_512: _rsa("sha3_512"),
    oids.ID_RSASSA_PSS_SHAKE128: _shake_pss("shake128"),
    oids.ID_RSASSA_PSS_SHAKE256: _shake_pss("shake256"),
    oids.ECDSA_WITH_SHA1: _ecdsa("sha1"),
    oids.ECDSA_WITH_SHA224: _ecdsa("sha224"),
    oids.ECDSA_WITH_SHA256: _ecdsa("sha256"),
    oids.ECDSA_WITH_SHA384: _ecdsa("sha384"),
    oids.ECDSA_WITH_SHA512: _ecdsa("sha512"),
    oids.ID_ECDSA_WITH_SHA3_224: _ecdsa("sha3_224"),
    oids.ID_ECDSA_WITH_SHA3_256: _ecdsa("sha3_256"),
    oids.ID_ECDSA_WITH_SHA3_384: _ecdsa("sha3_384"),
    oids.ID_ECDSA_WITH_SHA3_512: _ecdsa("sha3_512"),
    oids.ID_ECDSA_WITH_SHAKE128: _ecdsa("shake128"),
    oids.ID_ECDSA_WITH_SHAKE256: _ecdsa("shake256"),
    oids.ID_ED25519: SignatureScheme("ed25519", KeyKind.ED25519),
    oids.ID_ED448: SignatureScheme("ed448", KeyKind.ED448),
    oids.ID_ML_DSA_44: SignatureScheme("ml-dsa-44", KeyKind.ML_DSA_44),
    oids.ID_ML_DSA_65: SignatureScheme("ml-dsa-65", KeyKind.ML_DSA_65),
    oids.ID_ML_DSA_87: SignatureScheme("ml-dsa-87", KeyKind.ML_DSA_87),
}
_RETIRED: Final = {
    "1.2.840.113549.1.1.2": "RSA with MD2",
    "1.2.840.113549.1.1.3": "RSA with MD4",
    oids.MD5_WITH_RSA_ENCRYPTION: "RSA with MD5",
    oids.ID_DSA_WITH_SHA1: "DSA with SHA-1",
    oids.ID_DSA_WITH_SHA224: "DSA with SHA-224",
    oids.ID_DSA_WITH_SHA256: "DSA with SHA-256",
}
# Of two OIDs for RSA with SHA-1 the first, PKCS #1's, is the one we write.
_SIGNATURE_OIDS: Final = {
    scheme.name: oid for oid, scheme in reversed(_SCHEMES.items())
}


@lru_cache(maxsize=256)
def signature_scheme(
    algorithm: AlgorithmIdentifier, *, allow_null_parameters: bool = False
) -> SignatureScheme:
    """What a signature algorithm means, its parameters checked.

    RSA PKCS #1 v1.5 takes NULL or absent parameters (RFC 4055 section 5), PSS must
    have its own, all others must have none.

    :param allow_null_parameters: take NULL for absent, as some old clients write it.
    :raises PKIError: ``BAD_ALGORITHM`` when the algorithm is unknown or retired, or its
        parameters are not what its RFC says.
    """
    if algorithm.oid == oids.ID_RSASSA_PSS:
        try:
            return _decode_pss_parameters(algorithm.parameters)
        except PKIError as error:
            raise refuse(f"RSASSA-PSS: {error.detail}") from None
    scheme = _SCHEMES.get(algorithm.oid)
    if scheme is None:
        retired = _RETIRED.get(algorithm.oid)
        raise refuse(
            f"signature algorithm {retired} is not accepted"
            if retired
            else f"unknown signature algorithm {algorithm.oid}"
        )
    null_is_fine = scheme.padding is Padding.PKCS1 or allow_null_parameters
    if algorithm.parameters is None or (
        null_is_fine and algorithm.parameters == der.NULL
    ):
        return scheme
    raise refuse(f"signature algorithm {scheme.name} has unexpected parameters")


def _decode_pss_parameters(parameters: bytes | None) -> SignatureScheme:
    """Read ``RSASSA-PSS-params``; the defaults are SHA-1 and 20 octets of salt."""
    if parameters is None:
        # RFC 4055 section 3.1: absent only in a key's own identifier.
        raise refuse("RSASSA-PSS signature without parameters")
    cursor = der.Cursor(der.single(parameters, der.SEQUENCE))
    hash_name = mgf_hash = "sha1"
    salt_size, trailer = 20, 1
    if (field := cursor.optional(der.constructed(0))) is not None:
        hash_name = hash_name_of(_decode_algorithm(field))
    if (field := cursor.optional(der.constructed(1))) is not None:
        mgf_hash = _decode_mgf1(_decode_algorithm(field))
    if (field := cursor.optional(der.constructed(2))) is not None:
        salt_size = der.decode_integer(der.single(field, der.INTEGER))
    if (field := cursor.optional(der.constructed(3))) is not None:
        trailer = der.decode_integer(der.single(field, der.INTEGER))
    cursor.finish()
    if trailer != 1 or not 0 <= salt_size <= MAX_SALT_OCTETS:
        raise refuse("RSASSA-PSS trailer field or salt length is out of range")
    return _pss(hash_name, mgf_hash, salt_size)


def _pss(hash_name: str, mgf_hash: str, salt_size: int) -> SignatureScheme:
    if hash_name in _SHAKE_OCTETS or mgf_hash in _SHAKE_OCTETS:
        raise refuse("SHAKE in RSASSA-PSS has algorithm identifiers of its own")
    return SignatureScheme(
        f"rsa-pss-{hash_name}",
        KeyKind.RSA,
        hash_name,
        Padding.PSS,
        mgf_hash,
        salt_size,
    )


def _decode_algorithm(element: bytes) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.decode(der.single(element, der.SEQUENCE))


def _decode_mgf1(algorithm: AlgorithmIdentifier) -> str:
    if algorithm.oid != oids.ID_MGF1 or algorithm.parameters is None:
        raise refuse("RSASSA-PSS with a mask generation function other than MGF1")
    return hash_name_of(_decode_algorithm(algorithm.parameters))


def pss_algorithm(hash_name: str, salt_size: int | None = None) -> AlgorithmIdentifier:
    """RSASSA-PSS with one digest for hash and MGF1 (RFC 4055 section 3.1).

    :param salt_size: octets; the digest's own size when None.
    :raises PKIError: ``BAD_ALGORITHM`` for an unknown digest.
    """
    size = digest_size(hash_name) if salt_size is None else salt_size
    _pss(hash_name, hash_name, size)
    # RFC 4055 section 6 writes these digests with NULL parameters; SHA-3 has none.
    null = not hash_name.startswith("sha3")
    hashed = hash_algorithm(hash_name, null=null).encode()
    mgf = AlgorithmIdentifier(oids.ID_MGF1, hashed).encode()
    fields = [] if hash_name == "sha1" else [der.explicit(0, hashed)]
    if hash_name != "sha1":
        fields.append(der.explicit(1, mgf))
    if size != 20:
        fields.append(der.explicit(2, der.integer(size)))
    return AlgorithmIdentifier(oids.ID_RSASSA_PSS, der.sequence(*fields))


def signature_algorithm_for(
    key: PublicKey | str,
    hash_name: str | None = None,
    *,
    padding: Padding = Padding.PKCS1,
) -> AlgorithmIdentifier:
    """The algorithm to sign with, its parameters as the algorithm's RFC says.

    :param key: a public key, or a family (``rsa``, ``ec:P-256``, ``ed25519``).
    :param hash_name: digest; when None, SHA-256 for RSA, and for EC the SHA-2 that
        matches the curve. EdDSA and ML-DSA take none.
    :param padding: for RSA only.
    :raises PKIError: ``BAD_ALGORITHM`` when the key does not sign, or not with this.
    """
    family = key if isinstance(key, str) else key_family(key)
    kind, _, curve = family.partition(":")
    if kind == "rsa":
        name = hash_name or "sha256"
        if padding is Padding.PSS and name not in _SHAKE_OCTETS:
            return pss_algorithm(name)
        if padding is Padding.PSS:
            return _named(f"rsa-pss-{name}")
        return AlgorithmIdentifier(_named(f"rsa-{name}").oid, der.NULL)
    if kind == "ec":
        return _named(f"ecdsa-{hash_name or _curve_hash(curve)}")
    if hash_name is not None:
        raise refuse(f"{family} keys sign without a separate digest")
    return _named(family)


def _named(name: str) -> AlgorithmIdentifier:
    oid = _SIGNATURE_OIDS.get(name)
    if oid is None:
        raise refuse(f"there is no signature algorithm {name}")
    return AlgorithmIdentifier(oid)


def digest_for_certificate_hash(algorithm: AlgorithmIdentifier) -> str:
    """Digest of ``certHash`` for a certificate that was signed with this algorithm.

    The signature's own digest; SHA-512 for Ed25519 and SHAKE256 for Ed448; SHA-512
    where the algorithm names none (ML-DSA), unless the message brings ``hashAlg``.

    :raises PKIError: ``BAD_ALGORITHM`` for an unknown signature algorithm.

    **Source:** RFC 9810 section 5.3.18, RFC 9481 section 3.3.
    """
    scheme = signature_scheme(algorithm, allow_null_parameters=True)
    if scheme.hash_name is not None:
        return scheme.hash_name
    return "shake256" if scheme.kind is KeyKind.ED448 else DEFAULT_CERTIFICATE_HASH


# --- keys ---------------------------------------------------------------------

CURVE_OIDS: Final = {
    "P-256": oids.SECP256R1,
    "P-384": oids.SECP384R1,
    "P-521": oids.SECP521R1,
    "brainpoolP256r1": oids.BRAINPOOL_P256R1,
    "brainpoolP384r1": oids.BRAINPOOL_P384R1,
    "brainpoolP512r1": oids.BRAINPOOL_P512R1,
    "P-224": oids.SECP224R1,
    "P-192": oids.SECP192R1,
    "secp256k1": oids.SECP256K1,
}
CURVE_BITS: Final = {
    "P-256": 256,
    "P-384": 384,
    "P-521": 521,
    "brainpoolP256r1": 256,
    "brainpoolP384r1": 384,
    "brainpoolP512r1": 512,
    "P-224": 224,
    "P-192": 192,
    "secp256k1": 256,
}
_CURVE_NAMES: Final = {
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
    "secp224r1": "P-224",
    "secp192r1": "P-192",
}
_KINDS: Final[tuple[tuple[type, KeyKind], ...]] = (
    (rsa.RSAPublicKey, KeyKind.RSA),
    (ec.EllipticCurvePublicKey, KeyKind.EC),
    (ed25519.Ed25519PublicKey, KeyKind.ED25519),
    (ed448.Ed448PublicKey, KeyKind.ED448),
    (mldsa.MLDSA44PublicKey, KeyKind.ML_DSA_44),
    (mldsa.MLDSA65PublicKey, KeyKind.ML_DSA_65),
    (mldsa.MLDSA87PublicKey, KeyKind.ML_DSA_87),
    (mlkem.MLKEM768PublicKey, KeyKind.ML_KEM_768),
    (mlkem.MLKEM1024PublicKey, KeyKind.ML_KEM_1024),
    (x25519.X25519PublicKey, KeyKind.X25519),
    (x448.X448PublicKey, KeyKind.X448),
)


def key_kind(public_key: PublicKey) -> KeyKind:
    """Kind of a loaded public key.

    :raises PKIError: ``BAD_ALGORITHM`` for a kind that is not ours (DSA, DH).
    """
    found = _kind_of(type(public_key))
    if found is None:
        raise refuse("this kind of key is not supported")
    return found


@lru_cache(maxsize=64)
def _kind_of(type_: type) -> KeyKind | None:
    # Asked once for each type: that of an abstract class takes its time to say.
    return next((kind for base, kind in _KINDS if issubclass(type_, base)), None)


def key_family(public_key: PublicKey) -> str:
    """Family as the configuration names it: ``rsa``, ``ec:P-256``, ``ml-dsa-65``.

    :raises PKIError: ``BAD_ALGORITHM`` for a kind that is not ours.
    """
    if isinstance(public_key, ec.EllipticCurvePublicKey):
        curve = public_key.curve.name
        return f"ec:{_CURVE_NAMES.get(curve, curve)}"
    return key_kind(public_key).value


def _curve_hash(curve: str) -> str:
    bits = CURVE_BITS.get(curve)
    if bits is None:
        raise refuse(f"unknown curve {curve or '(none)'}")
    if bits <= 256:
        return "sha256"
    return "sha384" if bits == 384 else "sha512"


@dataclass(frozen=True, slots=True)
class KeySpec:
    """Keys that a profile allows: a family, and for RSA a range of sizes.

    :ivar family: ``rsa``, ``ec:P-256``, ``ed25519``, ``ml-dsa-65`` ...
    :ivar minimum: smallest modulus in bits (RSA; otherwise 0).
    :ivar maximum: largest modulus in bits (RSA; otherwise 0).
    """

    family: str
    minimum: int = 0
    maximum: int = 0

    @classmethod
    def decode(cls, text: str) -> KeySpec:
        """Read the configuration's form: ``rsa:2048``, ``rsa:2048-4096``, ``ec:P-256``.

        :raises PKIError: ``BAD_ALGORITHM`` with the cause.
        """
        kind, separator, rest = text.partition(":")
        if kind == "rsa":
            low, dash, high = rest.partition("-")
            bounds = (low, high if dash else low)
            if not all(bound.isascii() and bound.isdigit() for bound in bounds):
                raise refuse(f"{text}: write rsa:2048 or rsa:2048-4096")
            minimum, maximum = (int(bound[:6]) for bound in bounds)
            if not 1024 <= minimum <= maximum <= 16384:
                raise refuse(f"{text}: RSA sizes go from 1024 to 16384")
            return cls("rsa", minimum, maximum)
        known = {kind.value for kind in KeyKind} - {"rsa", "ec"}
        if (kind == "ec" and rest in CURVE_OIDS) or (not separator and kind in known):
            return cls(text)
        raise refuse(f"unknown key {text!r}")

    def encode(self) -> str:
        """The configuration's form."""
        if self.family != "rsa":
            return self.family
        if self.minimum == self.maximum:
            return f"rsa:{self.minimum}"
        return f"rsa:{self.minimum}-{self.maximum}"

    def admits(self, family: str, bits: int) -> bool:
        """Whether a key of this family and size is allowed."""
        return family == self.family and (
            family != "rsa" or self.minimum <= bits <= self.maximum
        )


def decode_key_specs(texts: Iterable[str]) -> tuple[KeySpec, ...]:
    """Read a list of `KeySpec` as a profile holds it.

    :raises PKIError: ``BAD_ALGORITHM`` at the first that is wrong.
    """
    return tuple(map(KeySpec.decode, texts))
