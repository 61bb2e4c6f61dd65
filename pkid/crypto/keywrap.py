"""AES key wrap: a key encrypted under another one.

Pure.

**Source:** RFC 3394; RFC 3565 section 2.3.2 (parameters are absent).
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives import keywrap

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import refuse
from pkid.crypto.contentciphers import undecryptable

MAX_WRAPPED_OCTETS: Final = 512

AES_256_WRAP: Final = AlgorithmIdentifier(oids.ID_AES256_WRAP)
_KEY_OCTETS: Final = {
    oids.ID_AES128_WRAP: 16,
    oids.ID_AES192_WRAP: 24,
    oids.ID_AES256_WRAP: 32,
}


def kek_octets(algorithm: AlgorithmIdentifier) -> int:
    """Size of the key that a wrap algorithm needs.

    :raises PKIError: ``BAD_ALGORITHM`` when it is unknown or has parameters.
    """
    size = _KEY_OCTETS.get(algorithm.oid)
    if size is None:
        raise refuse(f"unknown key wrap algorithm {algorithm.oid}")
    if algorithm.parameters not in (None, der.NULL):
        raise refuse("AES key wrap with parameters")
    return size


def wrap_key(kek: bytes, key: bytes) -> bytes:
    """Wrap ``key``, a multiple of 8 and at least 16 octets, under ``kek``.

    :raises PKIError: ``BAD_ALGORITHM`` for a key of another size: DES's cannot be
        wrapped.
    """
    try:
        return keywrap.aes_key_wrap(kek, key)
    except ValueError:
        raise refuse("AES key wrap takes no keys of this size") from None


def unwrap_key(kek: bytes, wrapped: bytes) -> bytes:
    """Unwrap a key.

    :raises PKIError: ``BAD_MESSAGE_CHECK`` when it was not wrapped under ``kek``.
    """
    if len(wrapped) > MAX_WRAPPED_OCTETS:
        raise undecryptable()
    try:
        return keywrap.aes_key_unwrap(kek, wrapped)
    except (keywrap.InvalidUnwrap, ValueError):
        raise undecryptable() from None
