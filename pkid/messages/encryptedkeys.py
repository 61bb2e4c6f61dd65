"""Encrypted values in CRMF and CMP: ``EncryptedKey`` and what it may hold.

Pure. An ``EncryptedKey`` is either an `EncryptedValue`, which version 2 of CMP knows,
or an `EnvelopedKey`, which version 3 wants. Nothing is decrypted here.

**Source:** RFC 4211 sections 4.2 and 6.4, appendix B (IMPLICIT TAGS); RFC 9810
section 5.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import der
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier

_INTENDED_ALG: Final = 0xA0
_SYMM_ALG: Final = 0xA1
_ENC_SYMM_KEY: Final = 0x82
_KEY_ALG: Final = 0xA3
_VALUE_HINT: Final = 0x84
_ENVELOPED_DATA: Final = 0xA0


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedValue:
    """A private key, certificate or passphrase, encrypted in the old way.

    :ivar enc_value: octets of the encrypted value.
    :ivar intended_alg: what the value will be used for.
    :ivar symm_alg: encrypts the value.
    :ivar enc_symm_key: octets of the encrypted symmetric key.
    :ivar key_alg: encrypts the symmetric key.
    :ivar value_hint: tells the sender what is in it, or names the key's format.
    """

    enc_value: bytes
    intended_alg: AlgorithmIdentifier | None = None
    symm_alg: AlgorithmIdentifier | None = None
    enc_symm_key: bytes | None = None
    key_alg: AlgorithmIdentifier | None = None
    value_hint: bytes | None = None

    @classmethod
    def decode(cls, element: bytes) -> EncryptedValue:
        """Read an ``EncryptedValue``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        intended_alg = _optional_algorithm(cursor, _INTENDED_ALG)
        symm_alg = _optional_algorithm(cursor, _SYMM_ALG)
        enc_symm_key = cursor.optional(_ENC_SYMM_KEY)
        key_alg = _optional_algorithm(cursor, _KEY_ALG)
        value_hint = cursor.optional(_VALUE_HINT)
        enc_value = der.decode_bits(cursor.take(der.BIT_STRING))
        cursor.finish()
        return cls(
            enc_value=enc_value,
            intended_alg=intended_alg,
            symm_alg=symm_alg,
            enc_symm_key=None
            if enc_symm_key is None
            else der.decode_bits(enc_symm_key),
            key_alg=key_alg,
            value_hint=value_hint,
        )

    def encode(self) -> bytes:
        """The ``EncryptedValue`` SEQUENCE, which is an ``EncryptedKey`` too."""
        key = self.enc_symm_key
        hint = self.value_hint
        return der.sequence(
            _encode_algorithm(0, self.intended_alg),
            _encode_algorithm(1, self.symm_alg),
            b"" if key is None else der.implicit(2, der.bit_string(key)),
            _encode_algorithm(3, self.key_alg),
            b"" if hint is None else der.encode(_VALUE_HINT, hint),
            der.bit_string(self.enc_value),
        )


@dataclass(frozen=True, slots=True)
class EnvelopedKey:
    """The choice ``envelopedData``.

    :ivar enveloped: ``EnvelopedData``, whole, with the tag of a SEQUENCE.
    """

    enveloped: bytes

    def encode(self) -> bytes:
        """The ``EncryptedKey``: ``EnvelopedData`` under ``[0] IMPLICIT``."""
        return der.implicit(0, self.enveloped)


EncryptedKey = EncryptedValue | EnvelopedKey


def decode_encrypted_key(element: bytes) -> EncryptedKey:
    """Read an ``EncryptedKey``, whole.

    :raises PKIError: ``MALFORMED``.
    """
    if element[:1] != bytes((_ENVELOPED_DATA,)):
        return EncryptedValue.decode(element)
    contents = der.single(element, _ENVELOPED_DATA)
    return EnvelopedKey(checked_enveloped_data(der.sequence(contents)))


def encode_encrypted_key(key: EncryptedKey) -> bytes:
    """The ``EncryptedKey``, whole."""
    return key.encode()


def checked_enveloped_data(element: bytes) -> bytes:
    """The element itself, if it starts as ``EnvelopedData`` does.

    :raises PKIError: ``MALFORMED`` when it is no SEQUENCE with a version first. What
        follows is read by whoever decrypts.
    """
    cursor = der.Cursor(der.single(element, der.SEQUENCE))
    der.decode_integer(cursor.take(der.INTEGER))
    while cursor:
        cursor.raw()
    return element


@dataclass(frozen=True, slots=True)
class EncKeyWithID:
    """A private key and whose it is: the content that archives and CAs decrypt.

    :ivar private_key: ``PrivateKeyInfo``, whole; a secret, so not in the repr.
    :ivar identifier: text or a general name; None when absent.
    """

    private_key: bytes = field(repr=False)
    identifier: str | GeneralName | None = None

    @classmethod
    def decode(cls, element: bytes) -> EncKeyWithID:
        """Read an ``EncKeyWithID``, whole.

        :raises PKIError: ``MALFORMED``.

        **Source:** RFC 4211 section 4.2, appendix B.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        private_key = cursor.raw(der.SEQUENCE)
        text = cursor.optional(der.UTF8_STRING)
        identifier: str | GeneralName | None = None
        if text is not None:
            identifier = der.decode_utf8(text)
        elif cursor:
            identifier = GeneralName.read(cursor)
        cursor.finish()
        return cls(private_key, identifier)

    def encode(self) -> bytes:
        """The ``EncKeyWithID`` SEQUENCE."""
        identifier = self.identifier
        if isinstance(identifier, str):
            tail = der.utf8_string(identifier)
        else:
            tail = b"" if identifier is None else identifier.encode()
        return der.sequence(self.private_key, tail)


def _optional_algorithm(cursor: der.Cursor, tag: int) -> AlgorithmIdentifier | None:
    contents = cursor.optional(tag)
    return None if contents is None else AlgorithmIdentifier.decode(contents)


def _encode_algorithm(number: int, algorithm: AlgorithmIdentifier | None) -> bytes:
    return b"" if algorithm is None else der.implicit(number, algorithm.encode())
