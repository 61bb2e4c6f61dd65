"""``KemCiphertextInfo``: how a KEM ciphertext travels in CMP.

Pure.

**Source:** RFC 9810 sections 5.1.3.4 and 5.3.19.18.
"""

from __future__ import annotations

from dataclasses import dataclass

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier


@dataclass(frozen=True, slots=True)
class KemCiphertextInfo:
    """The value of ``id-it-KemCiphertextInfo``.

    :ivar kem: the KEM.
    :ivar ciphertext: for the owner of the KEM key.
    """

    kem: AlgorithmIdentifier
    ciphertext: bytes

    @classmethod
    def decode(cls, octets: bytes) -> KemCiphertextInfo:
        """Read the whole value.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(octets, der.SEQUENCE))
        kem = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        ciphertext = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(kem, ciphertext)

    def encode(self) -> bytes:
        """The ``KemCiphertextInfo`` SEQUENCE."""
        return der.sequence(self.kem.encode(), der.octet_string(self.ciphertext))
