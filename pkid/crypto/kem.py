"""Key encapsulation (ML-KEM): for CMS and for CMP's MAC.

Pure, but for the random numbers of encapsulation, which OpenSSL draws itself.
ML-KEM-512 is absent: ``cryptography`` has no such keys. Of the KDFs that RFC 9481 and
RFC 9936 name HKDF is here; KMAC is absent, for neither ``cryptography`` nor hashlib has
a primitive for it.

**Source:** RFC 9629 section 5 (read as draft-ietf-lamps-cms-kemri), RFC 9936 (read as
draft-ietf-lamps-cms-kyber), RFC 8619, RFC 9810 section 5.1.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeGuard

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import refuse
from pkid.crypto.contentciphers import undecryptable
from pkid.crypto.keywrap import kek_octets

KEMPublicKey = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey
KEMPrivateKey = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
MAX_DERIVED_OCTETS: Final = 1024
MAX_UKM_OCTETS: Final = 1024

HKDF_SHA256: Final = AlgorithmIdentifier(oids.ID_ALG_HKDF_WITH_SHA256)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    oids.ID_ALG_HKDF_WITH_SHA256: hashes.SHA256(),
    oids.ID_ALG_HKDF_WITH_SHA384: hashes.SHA384(),
    oids.ID_ALG_HKDF_WITH_SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """What encapsulation gives; shows nothing of the secret.

    :ivar ciphertext: for the owner of the key.
    :ivar shared_secret: for the sender; used once, then forgotten.
    """

    ciphertext: bytes
    shared_secret: bytes

    def __repr__(self) -> str:
        return f"Encapsulation({len(self.ciphertext)} octets)"


def is_kem_public_key(key: object) -> TypeGuard[KEMPublicKey]:
    """Whether a loaded public key is one for key encapsulation."""
    return isinstance(key, (mlkem.MLKEM768PublicKey, mlkem.MLKEM1024PublicKey))


def is_kem_private_key(key: object) -> TypeGuard[KEMPrivateKey]:
    """Whether a loaded private key is one for key encapsulation."""
    return isinstance(key, (mlkem.MLKEM768PrivateKey, mlkem.MLKEM1024PrivateKey))


def kem_algorithm(key: KEMPublicKey | KEMPrivateKey) -> AlgorithmIdentifier:
    """The KEM that goes with a key."""
    if isinstance(key, (mlkem.MLKEM768PublicKey, mlkem.MLKEM768PrivateKey)):
        return AlgorithmIdentifier(oids.ID_ALG_ML_KEM_768)
    return AlgorithmIdentifier(oids.ID_ALG_ML_KEM_1024)


def encapsulate(public_key: KEMPublicKey) -> Encapsulation:
    """A new shared secret and its ciphertext."""
    shared_secret, ciphertext = public_key.encapsulate()
    return Encapsulation(ciphertext, shared_secret)


def decapsulate(
    private_key: KEMPrivateKey, algorithm: AlgorithmIdentifier, ciphertext: bytes
) -> bytes:
    """The shared secret. ML-KEM rejects implicitly: a forged ciphertext gives one too.

    :param algorithm: the KEM as the message names it.
    :raises PKIError: ``BAD_ALGORITHM`` when it is not that of the key;
        ``BAD_MESSAGE_CHECK`` when the ciphertext has a wrong size.

    **Source:** RFC 9810 section 5.1.3.4 (step 2: badMessageCheck).
    """
    if algorithm != kem_algorithm(private_key):
        raise refuse(f"KEM algorithm {algorithm.oid} is not that of the key")
    try:
        return private_key.decapsulate(ciphertext)
    except ValueError:
        raise undecryptable() from None


def derive(
    kdf: AlgorithmIdentifier, shared_secret: bytes, size: int, info: bytes
) -> bytes:
    """KDF(IKM, L, info), by HKDF without salt.

    :raises PKIError: ``BAD_ALGORITHM`` when the KDF is another one or has parameters,
        or for a size out of range.

    **Source:** RFC 9629 section 5; RFC 8619 section 3 (parameters are absent).
    """
    used = _HASHES.get(kdf.oid)
    if used is None or kdf.parameters is not None:
        raise refuse(f"unknown key derivation function {kdf.oid}")
    if not 1 <= size <= MAX_DERIVED_OCTETS:
        raise refuse("length of the derived key is out of range")
    return HKDF(used, size, None, info).derive(shared_secret)


def derive_kek(
    kdf: AlgorithmIdentifier,
    wrap: AlgorithmIdentifier,
    shared_secret: bytes,
    *,
    size: int,
    ukm: bytes | None,
) -> bytes:
    """The key-encryption key of a ``KEMRecipientInfo``.

    :param size: ``kekLength``, in octets; must be what ``wrap`` needs.
    :param ukm: user keying material, or None.
    :raises PKIError: ``BAD_ALGORITHM``.

    **Source:** RFC 9629 sections 3 and 5.
    """
    if size != kek_octets(wrap):
        raise refuse("kekLength is not what the key wrap needs")
    if ukm is not None and len(ukm) > MAX_UKM_OCTETS:
        raise refuse("user keying material is too long")
    info = der.sequence(
        wrap.encode(),
        der.integer(size),
        b"" if ukm is None else der.explicit(0, der.octet_string(ukm)),
    )
    return derive(kdf, shared_secret, size, info)
