"""Private keys as they travel: ``AsymmetricKeyPackage``.

Pure. The values show nothing of the keys; whoever holds them keeps them for the length
of one exchange.

**Source:** RFC 5958 sections 2 and 3 (and 7 for ``publicKey``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import ber, der
from pkid.asn1.x509 import AlgorithmIdentifier

MAX_KEYS: Final = 16

_ATTRIBUTES: Final = der.constructed(0)
_PUBLIC_KEY: Final = der.context(1)
_PUBLIC_KEY_PIECES: Final = der.constructed(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAsymmetricKey:
    """One private key, with its public key if the sender gave it.

    :ivar algorithm: of the key.
    :ivar private_key: octets of the OCTET STRING; not shown.
    :ivar attributes_octets: contents octets of the SET, or None.
    :ivar public_key: octets of the BIT STRING, or None.
    """

    algorithm: AlgorithmIdentifier
    private_key: bytes = field(repr=False)
    attributes_octets: bytes | None = None
    public_key: bytes | None = None

    @classmethod
    def decode(cls, octets: bytes) -> OneAsymmetricKey:
        """Read a whole ``OneAsymmetricKey`` (a ``PrivateKeyInfo`` of PKCS #8 too).

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        version = der.decode_integer(cursor.take(der.INTEGER))
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        private_key = cursor.take(der.OCTET_STRING)
        attributes = cursor.optional(_ATTRIBUTES)
        public_key = _take_public_key(cursor)
        cursor.finish()
        if version not in {0, 1} or (version == 0 and public_key is not None):
            der.malformed("private key of a version that it cannot have")
        return cls(
            algorithm=algorithm,
            private_key=private_key,
            attributes_octets=attributes,
            public_key=public_key,
        )

    def encode(self) -> bytes:
        """The ``OneAsymmetricKey`` SEQUENCE, version 2 if it has the public key."""
        attributes = public_key = b""
        if self.attributes_octets is not None:
            attributes = der.encode(_ATTRIBUTES, self.attributes_octets)
        if self.public_key is not None:
            public_key = der.encode(_PUBLIC_KEY, b"\x00", self.public_key)
        return der.sequence(
            der.integer(0 if self.public_key is None else 1),
            self.algorithm.encode(),
            der.octet_string(self.private_key),
            attributes,
            public_key,
        )


def decode_key_package(octets: bytes) -> tuple[OneAsymmetricKey, ...]:
    """Read a whole ``AsymmetricKeyPackage``: 1 to `MAX_KEYS` keys.

    :raises PKIError: ``MALFORMED``.
    """
    elements = der.Cursor(der.single(octets, der.SEQUENCE)).raw_elements(MAX_KEYS)
    if not elements:
        der.malformed("a key package without a key")
    return tuple(map(OneAsymmetricKey.decode, elements))


def encode_key_package(*keys: OneAsymmetricKey) -> bytes:
    """The ``AsymmetricKeyPackage`` SEQUENCE."""
    return der.sequence(*(key.encode() for key in keys))


def _take_public_key(cursor: der.Cursor) -> bytes | None:
    pieces = cursor.optional(_PUBLIC_KEY_PIECES)
    if pieces is not None:
        return der.decode_bits(ber.join_pieces(pieces, der.BIT_STRING))
    whole = cursor.optional(_PUBLIC_KEY)
    return None if whole is None else der.decode_bits(whole)
