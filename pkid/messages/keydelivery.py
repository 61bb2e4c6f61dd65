"""How a client says which key its generated private key is to be encrypted to.

Pure: three attributes of a certification request.

**Source:** RFC 7030 section 4.4.1; RFC 4108 section 2.2.5 (DecryptKeyIdentifier);
RFC 8551 section 2.5.2 (SMIMECapabilities).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.pkcs10 import Attribute, CertificationRequest

MAX_CAPABILITIES: Final = 64
MAX_IDENTIFIER_OCTETS: Final = 128


@dataclass(frozen=True, slots=True)
class DeliveryWishes:
    """What stands in a request.

    :ivar symmetric: identifier of a key that both sides have, or None.
    :ivar asymmetric: identifier of a public key that the server knows, or None.
    :ivar capabilities: what the client can decrypt, in its order of preference.
    """

    symmetric: bytes | None = None
    asymmetric: bytes | None = None
    capabilities: tuple[AlgorithmIdentifier, ...] = ()

    @classmethod
    def of(cls, csr: CertificationRequest) -> DeliveryWishes:
        """Read them.

        :raises PKIError: ``MALFORMED``.
        """
        values = {one.oid: one for one in csr.attributes}
        return cls(
            symmetric=_identifier(values.get(oids.ID_AA_DECRYPT_KEY_ID)),
            asymmetric=_identifier(values.get(oids.ID_AA_ASYMM_DECRYPT_KEY_ID)),
            capabilities=_capabilities(values.get(oids.PKCS9_SMIME_CAPABILITIES)),
        )

    def names(self, oid: str) -> bool:
        """Whether the client can do this; one that says nothing can do anything."""
        return not self.capabilities or any(one.oid == oid for one in self.capabilities)


def _single(attribute: Attribute | None) -> bytes | None:
    if attribute is None:
        return None
    if len(attribute.values) != 1:
        der.malformed("a request attribute that has one value has another number")
    return attribute.values[0]


def _identifier(attribute: Attribute | None) -> bytes | None:
    value = _single(attribute)
    if value is None:
        return None
    octets = der.single(value, der.OCTET_STRING)
    if not 1 <= len(octets) <= MAX_IDENTIFIER_OCTETS:
        der.malformed("a key identifier is empty or too long")
    return octets


def _capabilities(attribute: Attribute | None) -> tuple[AlgorithmIdentifier, ...]:
    value = _single(attribute)
    if value is None:
        return ()
    elements = der.sequences(der.single(value, der.SEQUENCE), MAX_CAPABILITIES)
    return tuple(map(AlgorithmIdentifier.decode, elements))
