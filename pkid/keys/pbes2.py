"""Encrypted PKCS #8 with scrypt and AES-256-CBC, one derivation for many files.

Every file is a standard ``EncryptedPrivateKeyInfo`` that ``openssl pkey`` reads with
the passphrase. The files of one store share the salt (each has its own initialization
vector), so that a start derives one key and not one for each file; whoever guesses at
the passphrase gains nothing, for one guess would open any of them either way.

**Source:** RFC 5958 section 3, RFC 8018 section 6.2 (PBES2), RFC 7914 section 7.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.keys.secrets import Secret

_PBES2: Final = "1.2.840.113549.1.5.13"
_SCRYPT: Final = "1.3.6.1.4.1.11591.4.11"
_AES_256_CBC: Final = "2.16.840.1.101.3.4.1.42"
_BLOCK_OCTETS: Final = 16
_KEY_OCTETS: Final = 32
_SALT_OCTETS: Final = 16
_MAX_MEMORY: Final = 64 * 1024 * 1024
_MAX_PARALLELISM: Final = 16
_PEM: Final = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]+)-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END \1-----\s*"
)


@dataclass(frozen=True, slots=True)
class ScryptParameters:
    """How a key comes from a passphrase (RFC 7914).

    The defaults take 16 MiB and about 0.2 s. OpenSSL's command reads no larger N;
    five rounds beside each other make up for it.
    """

    salt: bytes
    cost: int = 1 << 14
    block_size: int = 8
    parallelism: int = 5

    @classmethod
    def fresh(cls) -> ScryptParameters:
        """With a salt that nobody has used."""
        return cls(secrets.token_bytes(_SALT_OCTETS))

    def encode(self) -> bytes:
        """The ``AlgorithmIdentifier`` of scrypt."""
        numbers = (self.cost, self.block_size, self.parallelism)
        parameters = der.sequence(
            der.octet_string(self.salt), *(der.integer(number) for number in numbers)
        )
        return AlgorithmIdentifier(_SCRYPT, parameters).encode()

    @classmethod
    def decode(cls, algorithm: AlgorithmIdentifier) -> ScryptParameters:
        """Read the parameters; those that would take too much memory are refused.

        :raises PKIError: ``MALFORMED``, ``BAD_ALGORITHM``.
        """
        if algorithm.oid != _SCRYPT or algorithm.parameters is None:
            raise _foreign("scrypt")
        cursor = der.Cursor(der.single(algorithm.parameters, der.SEQUENCE))
        salt = cursor.take(der.OCTET_STRING)
        cost, size, lanes = (
            der.decode_integer(cursor.take(der.INTEGER)) for _ in range(3)
        )
        length = cursor.optional(der.INTEGER)
        cursor.finish()
        if length is not None and der.decode_integer(length) != _KEY_OCTETS:
            raise _foreign("a key of 256 bits")
        sane = cost > 1 and cost & (cost - 1) == 0 and size > 0
        if (
            not sane
            or 128 * cost * size > _MAX_MEMORY
            or not 1 <= lanes <= _MAX_PARALLELISM
        ):
            raise PKIError(
                ErrorCode.BAD_ALGORITHM, "scrypt parameters are out of range"
            )
        return cls(salt, cost, size, lanes)

    def derive(self, passphrase: Secret) -> Secret:
        """The encryption key; slow on purpose, so run it in a thread."""
        kdf = Scrypt(
            self.salt, _KEY_OCTETS, self.cost, self.block_size, self.parallelism
        )
        return Secret(kdf.derive(passphrase.reveal()))


@dataclass(frozen=True, slots=True)
class Sealed:
    """An ``EncryptedPrivateKeyInfo``, read but not yet opened."""

    parameters: ScryptParameters
    vector: bytes
    ciphertext: bytes

    @classmethod
    def seal(cls, plain: bytes, parameters: ScryptParameters, key: Secret) -> Sealed:
        """Encrypt under a key that `ScryptParameters.derive` gave."""
        vector = secrets.token_bytes(_BLOCK_OCTETS)
        padder = padding.PKCS7(8 * _BLOCK_OCTETS).padder()
        padded = padder.update(plain) + padder.finalize()
        encryptor = Cipher(algorithms.AES(key.reveal()), modes.CBC(vector)).encryptor()
        ciphertext = encryptor.update(padded) + encryptor.finalize()
        return cls(parameters, vector, ciphertext)

    def open(self, key: Secret) -> bytes:
        """Decrypt.

        :raises PKIError: ``UNAVAILABLE`` when the passphrase is not the right one.
        """
        decryptor = Cipher(
            algorithms.AES(key.reveal()), modes.CBC(self.vector)
        ).decryptor()
        unpadder = padding.PKCS7(8 * _BLOCK_OCTETS).unpadder()
        try:
            padded = decryptor.update(self.ciphertext) + decryptor.finalize()
            return unpadder.update(padded) + unpadder.finalize()
        except ValueError:
            raise wrong_passphrase() from None

    def encode(self) -> bytes:
        """DER of the ``EncryptedPrivateKeyInfo``."""
        cipher = AlgorithmIdentifier(_AES_256_CBC, der.octet_string(self.vector))
        scheme = der.sequence(self.parameters.encode(), cipher.encode())
        return der.sequence(
            AlgorithmIdentifier(_PBES2, scheme).encode(),
            der.octet_string(self.ciphertext),
        )

    @classmethod
    def decode(cls, octets: bytes) -> Sealed:
        """Read DER.

        :raises PKIError: ``MALFORMED``; ``BAD_ALGORITHM`` for other schemes.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        scheme = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        ciphertext = cursor.take(der.OCTET_STRING)
        cursor.finish()
        if scheme.oid != _PBES2 or scheme.parameters is None:
            raise _foreign("PBES2")
        parts = der.Cursor(der.single(scheme.parameters, der.SEQUENCE))
        parameters = ScryptParameters.decode(
            AlgorithmIdentifier.decode(parts.take(der.SEQUENCE))
        )
        cipher = AlgorithmIdentifier.decode(parts.take(der.SEQUENCE))
        parts.finish()
        if cipher.oid != _AES_256_CBC or cipher.parameters is None:
            raise _foreign("AES-256-CBC")
        vector = der.single(cipher.parameters, der.OCTET_STRING)
        if len(vector) != _BLOCK_OCTETS:
            raise PKIError(
                ErrorCode.MALFORMED, "the initialization vector is too short"
            )
        return cls(parameters, vector, ciphertext)


def _foreign(expected: str) -> PKIError:
    return PKIError(
        ErrorCode.BAD_ALGORITHM, f"the key file is not sealed with {expected}"
    )


def wrong_passphrase() -> PKIError:
    """What a key file answers to the wrong passphrase."""
    return PKIError(
        ErrorCode.UNAVAILABLE,
        "a key cannot be opened",
        hint="the passphrase of the key store is not the right one",
    )


def encode_pem(label: str, octets: bytes) -> bytes:
    """PEM (RFC 7468) of one element."""
    text = base64.b64encode(octets)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    name = label.encode("ascii")
    return b"\n".join(
        (b"-----BEGIN " + name + b"-----", *lines, b"-----END " + name + b"-----", b"")
    )


def decode_pem(label: str, text: bytes) -> bytes:
    """The element of a PEM file that holds one of this label and nothing else.

    :raises PKIError: ``MALFORMED``.
    """
    found = _PEM.fullmatch(text.lstrip())
    if found is None or found[1] != label.encode("ascii"):
        raise PKIError(ErrorCode.MALFORMED, f"not a PEM file with one {label}")
    try:
        return base64.b64decode(b"".join(found[2].split()), validate=True)
    except ValueError:
        raise PKIError(ErrorCode.MALFORMED, f"bad base64 in {label}") from None
