"""Certificates and keys that leave encrypted: for one recipient, in either version.

Version 3 has ``EnvelopedData``; version 2 knows ``EncryptedValue`` alone, which serves
RSA keys only and is written where the alias says so.

**Source:** RFC 9810 sections 5.2.2, 5.2.8.3.2 and 7; RFC 4211 section 6.4.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import PublicKey
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import CBCEncryption, ContentCipher, RandomSource
from pkid.crypto.envelope import PublicKeyRecipient, Recipient, encrypt
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.keytransport import RSA_OAEP_SHA256, RSA_PKCS1, transport_key
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.header import CMP2021
from pkid.messages.encryptedkeys import EncryptedKey, EncryptedValue, EnvelopedKey
from pkid.responders.cmp.aliases import CMPAlias

_CIPHER: Final = ContentCipher.AES_256_CBC


def encrypted_certificate(
    certificate: bytes, pvno: int, alias: CMPAlias, random: RandomSource | None = None
) -> EncryptedKey:
    """A certificate, encrypted for the key that it names.

    :param certificate: whole; no secret, but whoever reads it holds the key.
    :param pvno: of the request: chooses the form.
    :raises PKIError: ``BAD_POSSESSION`` for a key or a version that cannot have it;
        `check_version` says so before anything is issued.
    """
    read = Certificate.decode(certificate)
    key = read.public_key_info.load()
    drawn = random or secrets.token_bytes
    if pvno < CMP2021:
        return encrypted_value(certificate, key, drawn)
    recipient = PublicKeyRecipient(
        rid=identifier_of(read),
        public_key=key,
        algorithm=transport_algorithm(alias, key),
    )
    return EnvelopedKey(encrypt(certificate, (recipient,), drawn).encode())


def encrypted_value(
    content: bytes,
    key: PublicKey,
    random: RandomSource,
    *,
    intended: AlgorithmIdentifier | None = None,
) -> EncryptedValue:
    """What version 2 knows: AES-CBC under a fresh key, which RSA transports.

    :param intended: algorithm of a private key in ``content``.
    :raises PKIError: ``BAD_REQUEST`` for a key that is not RSA.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        raise PKIError(
            ErrorCode.BAD_REQUEST, "for keys other than RSA use version 3 (pvno 3)"
        )
    secret = random(_CIPHER.key_octets)
    encryption = CBCEncryption.fresh(_CIPHER, random)
    return EncryptedValue(
        enc_value=encryption.encrypt(secret, content),
        intended_alg=intended,
        symm_alg=encryption.algorithm,
        enc_symm_key=transport_key(key, RSA_PKCS1, secret),
        key_alg=RSA_PKCS1,
    )


def enveloped(content: bytes, content_type: str, recipient: Recipient) -> EnvelopedKey:
    """Content of any type, encrypted for one recipient: a plain function for a worker.

    :raises PKIError: ``BAD_ALGORITHM`` for a key that nothing can be encrypted to.
    """
    data = encrypt(
        content, (recipient,), secrets.token_bytes, content_type=content_type
    )
    return EnvelopedKey(data.encode())


def transport_algorithm(alias: CMPAlias, key: PublicKey) -> AlgorithmIdentifier | None:
    """How a key is transported to an RSA key; None leaves the default of other kinds.

    **Source:** RFC 9481 section 4.2.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        return None
    return RSA_OAEP_SHA256 if alias.key_transport == "oaep" else RSA_PKCS1


def check_version(pvno: int, alias: CMPAlias, code: ErrorCode) -> None:
    """Refuse version 2 where something must be encrypted and the old form is off.

    :param code: what it is for this caller.
    :raises PKIError: ``code``.

    **Source:** RFC 9810 section 7.
    """
    if pvno < CMP2021 and not alias.encrypted_value:
        raise PKIError(
            code,
            "what is encrypted is sent in version 3 only (pvno 3)",
            hint=f"encrypted_value of alias {alias.name}",
        )
