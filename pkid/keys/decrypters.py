"""Handles on RSA keys that open what was encrypted to them, and sign nothing.

As with `pkid.keys.signers`, the key itself lives in the closure that uses it. Every
decryption goes to the workers, whose queue is bounded: the work is the sender's choice.

**Source:** RFC 5652 section 6.2.1; security requirement SEC-22.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.defer import Deferred

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.keytransport import recover_transported_key
from pkid.engine.ports import Workers
from pkid.keys.signers import public_octets


class FileDecrypter:
    """An RSA key that recovers content keys."""

    __slots__ = ("_name", "_public_key", "_recover")

    def __init__(
        self, name: str, private_key: rsa.RSAPrivateKey, workers: Workers
    ) -> None:
        self._name = name
        self._public_key = public_octets(private_key.public_key())

        def recover(
            algorithm: AlgorithmIdentifier, encrypted_key: bytes, size: int
        ) -> bytes:
            return recover_transported_key(
                private_key, algorithm, encrypted_key, size, secrets.token_bytes
            )

        self._recover: Callable[[AlgorithmIdentifier, bytes, int], Deferred[bytes]] = (
            lambda algorithm, encrypted_key, size: workers.run(
                recover, algorithm, encrypted_key, size
            )
        )

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self._public_key

    def recover_key(
        self, algorithm: AlgorithmIdentifier, encrypted_key: bytes, size: int
    ) -> Deferred[bytes]:
        """The content's key: always ``size`` octets, random ones if need be.

        Nobody learns from it whether the padding was right (implicit rejection).

        :raises PKIError: through the Deferred: ``BAD_ALGORITHM`` for another key
            transport than PKCS #1 v1.5 and OAEP; ``BUSY`` when too many wait.
        """
        return self._recover(algorithm, encrypted_key, size)

    def __repr__(self) -> str:
        return f"FileDecrypter({self._name})"
