"""MACs with a key that is there already: HMAC and AES-GMAC.

Pure. They stand alone (a symmetric key both sides have), and at the end of CMP's MACs
from Diffie-Hellman and KEM keys (`pkid.crypto.agreedmac`). KMAC is absent: neither
``cryptography`` nor hashlib has a primitive for it.

**Source:** RFC 9481 section 6.2, RFC 8018 appendix B.1, RFC 9044.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import digest_size, refuse
from pkid.crypto.contentciphers import NONCE_OCTETS, RandomSource, decode_gcm_parameters
from pkid.crypto.mac import (
    HMAC_NAMES,
    MAX_KEY_OCTETS,
    MIN_KEY_OCTETS,
    hmac_name_of,
)
from pkid.errors import ErrorCode, PKIError

_GMAC_KEY_OCTETS: Final = {
    oids.ID_AES_128_GMAC: 16,
    oids.ID_AES_192_GMAC: 24,
    oids.ID_AES_256_GMAC: 32,
}
_GMAC_OIDS: Final = {size: oid for oid, size in _GMAC_KEY_OCTETS.items()}


@dataclass(frozen=True, slots=True)
class HMAC:
    """HMAC with one of the digests of RFC 9481, or SHA-1.

    :ivar hash_name: hashlib's name.
    """

    hash_name: str

    @property
    def key_octets(self) -> int:
        """Size of a key that is as strong as the MAC; any other works too."""
        return digest_size(self.hash_name)

    def takes(self, size: int) -> bool:
        """Whether a key of so many octets is strong enough and not absurd."""
        return MIN_KEY_OCTETS <= size <= MAX_KEY_OCTETS

    def compute(self, key: bytes, data: bytes) -> bytes:
        """MAC over ``data``."""
        return hmac.digest(key, data, self.hash_name)


@dataclass(frozen=True, slots=True)
class GMAC:
    """AES-GMAC with its nonce, which must never be used twice with one key.

    :ivar size: octets of the MAC, 12 to 16.
    """

    key_octets: int
    nonce: bytes
    size: int

    def takes(self, size: int) -> bool:
        """Whether a key has the size that AES needs."""
        return size == self.key_octets

    def compute(self, key: bytes, data: bytes) -> bytes:
        """MAC over ``data``: GCM's, with nothing encrypted."""
        mode = modes.GCM(self.nonce)
        encryptor = Cipher(algorithms.AES(key), mode).encryptor()
        encryptor.authenticate_additional_data(data)
        encryptor.finalize()
        return encryptor.tag[: self.size]


KeyedMac = HMAC | GMAC


def decode_keyed_mac(algorithm: AlgorithmIdentifier) -> KeyedMac:
    """Read a MAC algorithm.

    :raises PKIError: ``BAD_ALGORITHM`` when it is unknown or has wrong parameters,
        ``MALFORMED``.
    """
    key_octets = _GMAC_KEY_OCTETS.get(algorithm.oid)
    if key_octets is None:
        return HMAC(hmac_name_of(algorithm))
    if algorithm.parameters is None:
        raise refuse("AES-GMAC without parameters")
    nonce, size = decode_gcm_parameters(algorithm.parameters)
    return GMAC(key_octets, nonce, size)


def gmac_algorithm(key_octets: int, random: RandomSource) -> AlgorithmIdentifier:
    """AES-GMAC with a fresh nonce and a MAC of full size.

    :raises PKIError: ``BAD_ALGORITHM`` for a size that AES does not have.
    """
    oid = _GMAC_OIDS.get(key_octets)
    if oid is None:
        raise refuse(f"AES takes no key of {key_octets} octets")
    nonce = der.octet_string(random(NONCE_OCTETS))
    return AlgorithmIdentifier(oid, der.sequence(nonce, der.integer(16)))


def compute_mac(algorithm: AlgorithmIdentifier, key: bytes, data: bytes) -> bytes:
    """MAC over ``data``.

    :raises PKIError: ``BAD_ALGORITHM``, also when the key has a size that the
        algorithm does not take; ``MALFORMED``.
    """
    mac = decode_keyed_mac(algorithm)
    if not mac.takes(len(key)):
        raise refuse("the MAC key has a size that the algorithm does not take")
    return mac.compute(key, data)


def is_keyed_mac(algorithm: AlgorithmIdentifier) -> bool:
    """Whether this is a MAC whose key is there already."""
    return algorithm.oid in _GMAC_KEY_OCTETS or algorithm.oid in HMAC_NAMES


def with_fresh_nonce(
    algorithm: AlgorithmIdentifier, random: RandomSource
) -> AlgorithmIdentifier:
    """The same MAC for another message under the same key.

    :raises PKIError: ``BAD_ALGORITHM`` when it is no MAC.
    """
    key_octets = _GMAC_KEY_OCTETS.get(algorithm.oid)
    return algorithm if key_octets is None else gmac_algorithm(key_octets, random)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SymmetricKey:
    """A MAC key that both sides have; shows nothing of it.

    :ivar algorithm: the MAC that it is for.
    """

    algorithm: AlgorithmIdentifier
    _key: bytes

    def __repr__(self) -> str:
        return f"SymmetricKey({self.algorithm.oid})"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a SymmetricKey is not to be copied out of the process")

    def compute(self, data: bytes) -> bytes:
        """MAC over ``data``.

        :raises PKIError: as `compute_mac`.
        """
        return compute_mac(self.algorithm, self._key, data)

    def verify(self, data: bytes, mac: bytes) -> None:
        """Check a MAC in constant time.

        :raises PKIError: as `verify_mac`.
        """
        verify_mac(self.algorithm, self._key, data, mac)

    def renewed(self, random: RandomSource) -> SymmetricKey:
        """The same key for one more message: a GMAC nonce is never used twice."""
        return SymmetricKey(with_fresh_nonce(self.algorithm, random), self._key)


def verify_mac(
    algorithm: AlgorithmIdentifier, key: bytes, data: bytes, received: bytes
) -> None:
    """Check a MAC in constant time.

    :param data: the protected octets exactly as they arrived.
    :param received: the MAC, whole.
    :raises PKIError: as `compute_mac`; ``BAD_MESSAGE_CHECK`` when it does not match.
    """
    if not hmac.compare_digest(compute_mac(algorithm, key, data), received):
        raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "the MAC does not verify")
