"""Handles on private keys that give shared secrets, and sign nothing.

As with `pkid.keys.signers`, the key itself lives in the closure that uses it. What is
quick is computed where it is called, the rest goes to the workers.

**Source:** DESIGN section 3; RFC 9810 sections 5.1.3.2, 5.1.3.4 and 5.2.8.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)
from twisted.internet.defer import Deferred, execute

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.contentciphers import undecryptable
from pkid.crypto.kem import KEMPrivateKey, decapsulate, kem_algorithm
from pkid.crypto.keyagreement import (
    AgreementPrivateKey,
    AgreementPublicKey,
    agree,
    is_agreement_public_key,
)
from pkid.engine.ports import Workers

AGREEMENT_GENERATORS: Final[dict[str, Callable[[], AgreementPrivateKey]]] = {
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "x25519": x25519.X25519PrivateKey.generate,
    "x448": x448.X448PrivateKey.generate,
}
KEM_GENERATORS: Final[dict[str, Callable[[], KEMPrivateKey]]] = {
    "ml-kem-768": mlkem.MLKEM768PrivateKey.generate,
    "ml-kem-1024": mlkem.MLKEM1024PrivateKey.generate,
}


class FileKeyAgreement:
    """A key that agrees upon secrets with others of its kind."""

    __slots__ = ("_agree", "_name", "_public_key")

    def __init__(
        self, name: str, private_key: AgreementPrivateKey, workers: Workers
    ) -> None:
        self._name = name
        self._public_key = private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )

        def agree_with(public_key: bytes) -> bytes:
            return agree(private_key, _load(public_key))

        quick = isinstance(private_key, x25519.X25519PrivateKey) or (
            isinstance(private_key, ec.EllipticCurvePrivateKey)
            and private_key.curve.key_size <= 256
        )
        self._agree: Callable[[bytes], Deferred[bytes]] = (
            (lambda octets: execute(agree_with, octets))
            if quick
            else (lambda octets: workers.run(agree_with, octets))
        )

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self._public_key

    def agree(self, public_key: bytes) -> Deferred[bytes]:
        """The secret shared with the owner of another key.

        :param public_key: SubjectPublicKeyInfo.
        :raises PKIError: through the Deferred: ``BAD_MESSAGE_CHECK`` when it is not of
            our key's kind or no good key at all.
        """
        return self._agree(public_key)

    def __repr__(self) -> str:
        return f"FileKeyAgreement({self._name})"


class FileDecapsulation:
    """A KEM key that opens what was encapsulated to it."""

    __slots__ = ("_algorithm", "_decapsulate", "_name", "_public_key")

    def __init__(self, name: str, private_key: KEMPrivateKey) -> None:
        self._name = name
        self._algorithm = kem_algorithm(private_key)
        self._public_key = private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        self._decapsulate: Callable[[AlgorithmIdentifier, bytes], Deferred[bytes]] = (
            lambda algorithm, ciphertext: execute(
                decapsulate, private_key, algorithm, ciphertext
            )
        )

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        return self._public_key

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The KEM."""
        return self._algorithm

    def decapsulate(
        self, algorithm: AlgorithmIdentifier, ciphertext: bytes
    ) -> Deferred[bytes]:
        """The shared secret; a forged ciphertext gives one too (implicit rejection).

        :raises PKIError: through the Deferred: ``BAD_ALGORITHM`` for another KEM,
            ``BAD_MESSAGE_CHECK`` for a ciphertext of a wrong size.
        """
        return self._decapsulate(algorithm, ciphertext)

    def __repr__(self) -> str:
        return f"FileDecapsulation({self._name})"


def _load(octets: bytes) -> AgreementPublicKey:
    try:
        found = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        raise undecryptable() from None
    if not is_agreement_public_key(found):
        raise undecryptable()
    return found
