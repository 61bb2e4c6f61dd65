"""Symmetric encryption of CMS contents.

Pure. A content cipher and its parameters are read before any key is touched; DES and
triple DES only where the caller says ``legacy``, which is for SCEP's old clients.

Whatever goes wrong once a key is in use gives one and the same error: a sender must not
learn from it whether the key, the padding or the content was at fault.

**Source:** RFC 3370 section 5, RFC 3565 section 4.1, RFC 5084, RFC 9481 section 5.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import refuse
from pkid.errors import ErrorCode, PKIError

RandomSource = Callable[[int], bytes]
"""Gives so many unpredictable octets; ``secrets.token_bytes`` in the daemon."""

NONCE_OCTETS: Final = 12
MAC_OCTETS: Final = 16
MIN_NONCE_OCTETS: Final = 8
MAX_NONCE_OCTETS: Final = 64
_DEFAULT_ICV_OCTETS: Final = 12
_ICV_OCTETS: Final = range(12, 17)


class ContentCipher(enum.Enum):
    """Ciphers for contents."""

    AES_128_CBC = "aes-128-cbc"
    AES_192_CBC = "aes-192-cbc"
    AES_256_CBC = "aes-256-cbc"
    AES_128_GCM = "aes-128-gcm"
    AES_192_GCM = "aes-192-gcm"
    AES_256_GCM = "aes-256-gcm"
    TRIPLE_DES_CBC = "des-ede3-cbc"
    DES_CBC = "des-cbc"

    @property
    def key_octets(self) -> int:
        """Size of the key."""
        return _KEY_OCTETS[self]

    @property
    def legacy(self) -> bool:
        """Whether it is only for clients that know nothing better."""
        return self in _BLOCK_64

    @property
    def authenticated(self) -> bool:
        """Whether it is for ``AuthEnvelopedData``."""
        return self.value.endswith("gcm")

    @property
    def block_octets(self) -> int:
        """Size of a block, and of the initialization vector."""
        return 8 if self in _BLOCK_64 else 16


_KEY_OCTETS: Final = {
    ContentCipher.AES_128_CBC: 16,
    ContentCipher.AES_192_CBC: 24,
    ContentCipher.AES_256_CBC: 32,
    ContentCipher.AES_128_GCM: 16,
    ContentCipher.AES_192_GCM: 24,
    ContentCipher.AES_256_GCM: 32,
    ContentCipher.TRIPLE_DES_CBC: 24,
    ContentCipher.DES_CBC: 8,
}
_BLOCK_64: Final = (ContentCipher.TRIPLE_DES_CBC, ContentCipher.DES_CBC)
_OIDS: Final = {
    ContentCipher.AES_128_CBC: oids.ID_AES128_CBC,
    ContentCipher.AES_192_CBC: oids.ID_AES192_CBC,
    ContentCipher.AES_256_CBC: oids.ID_AES256_CBC,
    ContentCipher.AES_128_GCM: oids.ID_AES128_GCM,
    ContentCipher.AES_192_GCM: oids.ID_AES192_GCM,
    ContentCipher.AES_256_GCM: oids.ID_AES256_GCM,
    ContentCipher.TRIPLE_DES_CBC: oids.DES_EDE3_CBC,
    ContentCipher.DES_CBC: oids.DES_CBC,
}
_CIPHERS: Final = {oid: cipher for cipher, oid in _OIDS.items()}


def undecryptable() -> PKIError:
    """The one answer to all that fails once a secret is in use."""
    return PKIError(ErrorCode.BAD_MESSAGE_CHECK, "the content cannot be decrypted")


@dataclass(frozen=True, slots=True)
class CBCEncryption:
    """A block cipher in CBC mode with its initialization vector.

    :ivar vector: as long as a block.
    """

    cipher: ContentCipher
    vector: bytes

    @classmethod
    def fresh(cls, cipher: ContentCipher, random: RandomSource) -> CBCEncryption:
        """With a vector that nobody can foresee."""
        return cls(cipher, random(cipher.block_octets))

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """As it stands beside the encrypted content."""
        return AlgorithmIdentifier(_OIDS[self.cipher], der.octet_string(self.vector))

    def encrypt(self, key: bytes, content: bytes) -> bytes:
        """Pad as PKCS #7 and encrypt."""
        padder = padding.PKCS7(8 * self.cipher.block_octets).padder()
        encryptor = self._primitive(key).encryptor()
        padded = padder.update(content) + padder.finalize()
        return encryptor.update(padded) + encryptor.finalize()

    def decrypt(self, key: bytes, encrypted: bytes) -> bytes:
        """Decrypt and take the padding off.

        :param key: of any length; one of a wrong length decrypts nothing.
        :raises PKIError: ``BAD_MESSAGE_CHECK``, whatever is wrong.
        """
        unpadder = padding.PKCS7(8 * self.cipher.block_octets).unpadder()
        try:
            decryptor = self._primitive(key).decryptor()
            padded = decryptor.update(encrypted) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise undecryptable() from None

    def _primitive(self, key: bytes) -> Cipher[modes.CBC]:
        mode = modes.CBC(self.vector)
        if self.cipher is ContentCipher.TRIPLE_DES_CBC:
            return Cipher(TripleDES(key), mode)
        if self.cipher is ContentCipher.DES_CBC:
            # Triple DES with one key three times is DES.
            return Cipher(TripleDES(key * 3), mode)
        return Cipher(algorithms.AES(key), mode)


@dataclass(frozen=True, slots=True)
class GCMEncryption:
    """AES in Galois/counter mode with its nonce.

    :ivar icv_octets: size of the MAC, 12 to 16.
    """

    cipher: ContentCipher
    nonce: bytes
    icv_octets: int = MAC_OCTETS

    @classmethod
    def fresh(cls, cipher: ContentCipher, random: RandomSource) -> GCMEncryption:
        """With a nonce for a key that is used once."""
        return cls(cipher, random(NONCE_OCTETS))

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """As it stands beside the encrypted content."""
        size = b""
        if self.icv_octets != _DEFAULT_ICV_OCTETS:
            size = der.integer(self.icv_octets)
        parameters = der.sequence(der.octet_string(self.nonce), size)
        return AlgorithmIdentifier(_OIDS[self.cipher], parameters)

    def encrypt(
        self, key: bytes, content: bytes, associated: bytes
    ) -> tuple[bytes, bytes]:
        """The encrypted content and its MAC, which covers ``associated`` too."""
        mode = modes.GCM(self.nonce)
        encryptor = Cipher(algorithms.AES(key), mode).encryptor()
        encryptor.authenticate_additional_data(associated)
        encrypted = encryptor.update(content) + encryptor.finalize()
        return encrypted, encryptor.tag[: self.icv_octets]

    def decrypt(
        self, key: bytes, encrypted: bytes, mac: bytes, associated: bytes
    ) -> bytes:
        """Decrypt and check the MAC.

        :raises PKIError: ``BAD_MESSAGE_CHECK``, whatever is wrong.
        """
        if len(mac) != self.icv_octets:
            raise undecryptable()
        try:
            mode = modes.GCM(self.nonce, mac, min_tag_length=self.icv_octets)
            decryptor = Cipher(algorithms.AES(key), mode).decryptor()
            decryptor.authenticate_additional_data(associated)
            return decryptor.update(encrypted) + decryptor.finalize()
        except (InvalidTag, ValueError):
            raise undecryptable() from None


def decode_content_encryption(
    algorithm: AlgorithmIdentifier, *, legacy: bool = False
) -> CBCEncryption | GCMEncryption:
    """Read a content-encryption algorithm.

    :param legacy: take DES and triple DES.
    :raises PKIError: ``BAD_ALGORITHM`` when it is unknown, not accepted, or its
        parameters are not what its RFC says; ``MALFORMED``.
    """
    cipher = _CIPHERS.get(algorithm.oid)
    if cipher is None:
        raise refuse(f"unknown content encryption algorithm {algorithm.oid}")
    if cipher.legacy and not legacy:
        raise refuse(f"content encryption with {cipher.value} is not accepted")
    if algorithm.parameters is None:
        raise refuse(f"{cipher.value} without parameters")
    if cipher.authenticated:
        return _decode_gcm(cipher, algorithm.parameters)
    vector = der.single(algorithm.parameters, der.OCTET_STRING)
    if len(vector) != cipher.block_octets:
        raise refuse(f"{cipher.value} with an initialization vector of a wrong size")
    return CBCEncryption(cipher, vector)


def _decode_gcm(cipher: ContentCipher, parameters: bytes) -> GCMEncryption:
    nonce, size = decode_gcm_parameters(parameters)
    return GCMEncryption(cipher, nonce, size)


def decode_gcm_parameters(parameters: bytes) -> tuple[bytes, int]:
    """Nonce and size of the MAC from ``GCMParameters`` (or ``GMACParameters``).

    :raises PKIError: ``MALFORMED``; ``BAD_ALGORITHM`` for sizes out of range.

    **Source:** RFC 5084 section 3.2; RFC 9044 section 3.
    """
    cursor = der.Cursor(der.single(parameters, der.SEQUENCE))
    nonce = cursor.take(der.OCTET_STRING)
    field = cursor.optional(der.INTEGER)
    cursor.finish()
    size = _DEFAULT_ICV_OCTETS if field is None else der.decode_integer(field)
    if size not in _ICV_OCTETS or not (
        MIN_NONCE_OCTETS <= len(nonce) <= MAX_NONCE_OCTETS
    ):
        raise refuse("AES-GCM with a nonce or a MAC of a wrong size")
    return nonce, size
