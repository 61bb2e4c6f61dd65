"""Keys wrapped under a password: ``PasswordRecipientInfo``.

Pure. The iteration count is the sender's choice and the work is ours: it is held
within the bounds of `pkid.crypto.mac` before anything is computed. Two ways to wrap are
known: AES key wrap, which CMP uses, and PWRI-KEK, the one that CMS demands and OpenSSL
knows.

**Source:** RFC 5652 section 6.2.4, RFC 8018 sections 5.2 and appendix A.2, RFC 9481
sections 4.3 and 4.4, RFC 3211 section 2.3 (known from OpenSSL, which opens what this
seals).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import refuse
from pkid.crypto.contentciphers import (
    CBCEncryption,
    ContentCipher,
    RandomSource,
    decode_content_encryption,
    undecryptable,
)
from pkid.crypto.keywrap import kek_octets, unwrap_key, wrap_key
from pkid.crypto.mac import (
    MAX_ITERATIONS,
    MAX_SALT_OCTETS,
    MIN_ITERATIONS,
    MIN_SALT_OCTETS,
    hmac_name_of,
)

SALT_OCTETS: Final = 16
HMAC_SHA256: Final = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.NULL)

_DEFAULT_PRF: Final = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA1, der.NULL)
_MAX_BLOCKS: Final = 32
_COUNT_AND_CHECK: Final = 4


@dataclass(frozen=True, slots=True)
class PBKDF2Parameters:
    """``PBKDF2-params``, known to be within bounds.

    :ivar iterations: `pkid.crypto.mac.MIN_ITERATIONS` to ``MAX_ITERATIONS``.
    :ivar prf: pseudo-random function, identifier as received.
    :ivar key_length: octets of the derived key as stated, or None when left out.
    :raises PKIError: ``BAD_ALGORITHM`` on construction out of bounds.
    """

    salt: bytes
    iterations: int
    prf: AlgorithmIdentifier = HMAC_SHA256
    key_length: int | None = None
    prf_name: str = field(init=False)

    def __post_init__(self) -> None:
        if not MIN_SALT_OCTETS <= len(self.salt) <= MAX_SALT_OCTETS:
            raise refuse("PBKDF2 with a salt that is too short or too long")
        if not MIN_ITERATIONS <= self.iterations <= MAX_ITERATIONS:
            raise refuse(f"iteration count is not {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        object.__setattr__(self, "prf_name", hmac_name_of(self.prf))

    @classmethod
    def decode(cls, algorithm: AlgorithmIdentifier) -> PBKDF2Parameters:
        """Read a whole key derivation algorithm.

        :raises PKIError: ``MALFORMED``; ``BAD_ALGORITHM`` when it is not PBKDF2, or
            out of bounds.
        """
        if algorithm.oid != oids.ID_PBKDF2 or algorithm.parameters is None:
            raise refuse(f"unknown key derivation algorithm {algorithm.oid}")
        cursor = der.Cursor(der.single(algorithm.parameters, der.SEQUENCE))
        if not cursor.at(der.OCTET_STRING):
            raise refuse("PBKDF2 with a salt source other than an octet string")
        salt = cursor.take(der.OCTET_STRING)
        iterations = der.decode_integer(cursor.take(der.INTEGER))
        contents = cursor.optional(der.INTEGER)
        length = None if contents is None else der.decode_integer(contents)
        prf = _DEFAULT_PRF
        if cursor:
            prf = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        cursor.finish()
        return cls(salt, iterations, prf, length)

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The key derivation algorithm; a default ``prf`` is left out."""
        length = b"" if self.key_length is None else der.integer(self.key_length)
        prf = b"" if self.prf == _DEFAULT_PRF else self.prf.encode()
        parameters = der.sequence(
            der.octet_string(self.salt), der.integer(self.iterations), length, prf
        )
        return AlgorithmIdentifier(oids.ID_PBKDF2, parameters)

    def derive(self, password: bytes, size: int) -> bytes:
        """The key.

        :raises PKIError: ``BAD_ALGORITHM`` when ``size`` is not the length stated.

        Cost: about 0.5 us an iteration (50 ms at the limit), the GIL released.
        """
        if self.key_length not in (None, size):
            raise refuse("PBKDF2 with a key length that its key does not have")
        return hashlib.pbkdf2_hmac(
            self.prf_name, password, self.salt, self.iterations, size
        )


def pwri_kek_algorithm(
    random: RandomSource, cipher: ContentCipher = ContentCipher.AES_256_CBC
) -> AlgorithmIdentifier:
    """PWRI-KEK over a block cipher, with a fresh initialization vector."""
    inner = CBCEncryption.fresh(cipher, random).algorithm
    return AlgorithmIdentifier(oids.ID_ALG_PWRI_KEK, inner.encode())


def wrap_under_password(
    derivation: PBKDF2Parameters,
    algorithm: AlgorithmIdentifier,
    password: bytes,
    key: bytes,
    random: RandomSource,
) -> bytes:
    """Wrap a key under a password.

    :param algorithm: an AES key wrap, or from `pwri_kek_algorithm`.
    :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``.
    """
    if algorithm.oid != oids.ID_ALG_PWRI_KEK:
        kek = derivation.derive(password, kek_octets(algorithm))
        return wrap_key(kek, key)
    inner = _inner_cipher(algorithm)
    kek = derivation.derive(password, inner.cipher.key_octets)
    return _pwri_wrap(inner, kek, key, random)


def unwrap_under_password(
    derivation: PBKDF2Parameters,
    algorithm: AlgorithmIdentifier,
    password: bytes,
    wrapped: bytes,
) -> bytes:
    """Unwrap a key with a password.

    :raises PKIError: ``BAD_ALGORITHM`` when an algorithm is unknown; ``MALFORMED``;
        ``BAD_MESSAGE_CHECK`` for a wrong password or a damaged key.
    """
    if algorithm.oid != oids.ID_ALG_PWRI_KEK:
        kek = derivation.derive(password, kek_octets(algorithm))
        return unwrap_key(kek, wrapped)
    inner = _inner_cipher(algorithm)
    kek = derivation.derive(password, inner.cipher.key_octets)
    return _pwri_unwrap(inner, kek, wrapped)


def _inner_cipher(algorithm: AlgorithmIdentifier) -> CBCEncryption:
    if algorithm.parameters is None:
        raise refuse("PWRI-KEK without parameters")
    named = AlgorithmIdentifier.decode(der.single(algorithm.parameters, der.SEQUENCE))
    inner = decode_content_encryption(named)
    if not isinstance(inner, CBCEncryption):
        raise refuse("PWRI-KEK needs a block cipher in CBC mode")
    return inner


def _pwri_wrap(
    inner: CBCEncryption, kek: bytes, key: bytes, random: RandomSource
) -> bytes:
    """Count, check value, key, random filling; then CBC twice without a reset."""
    block = inner.cipher.block_octets
    if not 3 <= len(key) <= 255:
        raise refuse("PWRI-KEK takes no keys of this size")
    check = bytes(octet ^ 0xFF for octet in key[:3])
    plain = bytes((len(key),)) + check + key
    size = max(2 * block, -(-len(plain) // block) * block)
    plain += random(size - len(plain))
    encryptor = Cipher(algorithms.AES(kek), modes.CBC(inner.vector)).encryptor()
    once = encryptor.update(plain)
    return encryptor.update(once) + encryptor.finalize()


def _pwri_unwrap(inner: CBCEncryption, kek: bytes, wrapped: bytes) -> bytes:
    block = inner.cipher.block_octets
    blocks, rest = divmod(len(wrapped), block)
    if rest or not 2 <= blocks <= _MAX_BLOCKS:
        raise undecryptable()
    # The second pass began with the last block of the first as its vector: that block
    # comes first, then with it all the others.
    last = _decrypt(kek, wrapped[-2 * block : -block], wrapped[-block:])
    once = _decrypt(kek, last, wrapped[:-block]) + last
    plain = _decrypt(kek, inner.vector, once)
    count = plain[0]
    key = plain[_COUNT_AND_CHECK : _COUNT_AND_CHECK + count]
    check = bytes(octet ^ 0xFF for octet in plain[1:_COUNT_AND_CHECK])
    checked = hmac.compare_digest(check, key[:3])
    if not checked or len(key) != count:
        raise undecryptable()
    return key


def _decrypt(kek: bytes, vector: bytes, data: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(kek), modes.CBC(vector)).decryptor()
    return decryptor.update(data) + decryptor.finalize()
