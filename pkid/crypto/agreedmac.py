"""CMP's MACs from asymmetric keys: DHBasedMac and KemBasedMac.

Pure. Both derive a MAC key from a secret that two key pairs, or an encapsulation, give;
with the key `pkid.crypto.keyedmac` computes.

**Source:** RFC 9810 sections 5.1.3.2 and 5.1.3.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import digest, hash_name_of, refuse
from pkid.crypto.kem import MAX_UKM_OCTETS, derive
from pkid.crypto.keyedmac import HMAC, KeyedMac, decode_keyed_mac
from pkid.crypto.mac import expand_key

STATIC_STRING: Final = "CMP-KEM"
MAX_TRANSACTION_ID_OCTETS: Final = 512


@dataclass(frozen=True, slots=True)
class DHBMParameters:
    """``DHBMParameter``.

    :ivar owf: one-way function, identifier as received.
    :ivar mac: MAC, identifier as received.
    """

    owf: AlgorithmIdentifier
    mac: AlgorithmIdentifier

    @classmethod
    def decode(cls, algorithm: AlgorithmIdentifier) -> DHBMParameters:
        """Read a whole ``protectionAlg``.

        :raises PKIError: ``MALFORMED``; ``BAD_ALGORITHM`` when it, or one within, is
            unknown.
        """
        cursor = _parameters(algorithm, oids.ID_DH_BASED_MAC)
        owf = _algorithm(cursor)
        mac = _algorithm(cursor)
        cursor.finish()
        hash_name_of(owf)
        decode_keyed_mac(mac)
        return cls(owf, mac)

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The ``protectionAlg``."""
        parameters = der.sequence(self.owf.encode(), self.mac.encode())
        return AlgorithmIdentifier(oids.ID_DH_BASED_MAC, parameters)

    def derive(self, shared_secret: bytes) -> bytes:
        """The MAC key.

        HMAC demands no size of key, so it takes all of BASEKEY (as in PasswordBasedMac,
        RFC 4211 section 4.4); other MACs take it cut or stretched.

        :param shared_secret: what `pkid.crypto.keyagreement.agree` gives.
        :raises PKIError: ``BAD_ALGORITHM`` for a one-way function without a fixed size.
        """
        name = hash_name_of(self.owf)
        if name.startswith("shake"):
            raise refuse(f"{name} is not accepted as one-way function")
        base_key = digest(name, shared_secret)
        mac = decode_keyed_mac(self.mac)
        if isinstance(mac, HMAC):
            return base_key
        return expand_key(base_key, name, mac.key_octets)


@dataclass(frozen=True, slots=True)
class KemBMParameters:
    """``KemBMParameter``, its length known to be one that the MAC takes.

    :ivar kdf: key derivation function, identifier as received.
    :ivar kem_context: octets, or None.
    :ivar length: octets of the MAC key.
    :ivar mac: MAC, identifier as received.
    """

    kdf: AlgorithmIdentifier
    kem_context: bytes | None
    length: int
    mac: AlgorithmIdentifier

    @classmethod
    def decode(cls, algorithm: AlgorithmIdentifier) -> KemBMParameters:
        """Read a whole ``protectionAlg``.

        :raises PKIError: ``MALFORMED``; ``BAD_ALGORITHM`` when it, or one within, is
            unknown, or ``len`` is not the size of the MAC's key.
        """
        cursor = _parameters(algorithm, oids.ID_KEM_BASED_MAC)
        kdf = _algorithm(cursor)
        field = cursor.optional(der.constructed(0))
        context = None if field is None else der.single(field, der.OCTET_STRING)
        length = der.decode_integer(cursor.take(der.INTEGER))
        mac = _algorithm(cursor)
        cursor.finish()
        if context is not None and len(context) > MAX_UKM_OCTETS:
            raise refuse("kemContext is too long")
        if not decode_keyed_mac(mac).takes(length):
            raise refuse("KemBasedMac with a key length that its MAC does not take")
        return cls(kdf, context, length, mac)

    @classmethod
    def build(
        cls, kdf: AlgorithmIdentifier, mac: AlgorithmIdentifier
    ) -> KemBMParameters:
        """With the key length that goes with the MAC, and no context.

        :raises PKIError: ``BAD_ALGORITHM``, ``MALFORMED``.
        """
        found: KeyedMac = decode_keyed_mac(mac)
        return cls(kdf, None, found.key_octets, mac)

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The ``protectionAlg``."""
        parameters = der.sequence(
            self.kdf.encode(),
            _context(self.kem_context),
            der.integer(self.length),
            self.mac.encode(),
        )
        return AlgorithmIdentifier(oids.ID_KEM_BASED_MAC, parameters)

    def derive(self, shared_secret: bytes, transaction_id: bytes) -> bytes:
        """The MAC key (ssk).

        :param shared_secret: of the encapsulation; never used in another transaction.
        :param transaction_id: of the message that brought the ciphertext.
        :raises PKIError: ``BAD_ALGORITHM`` for an unknown KDF.
        """
        info = encode_kem_other_info(transaction_id, self.kem_context)
        return derive(self.kdf, shared_secret, self.length, info)


def is_agreed_mac(algorithm: AlgorithmIdentifier) -> bool:
    """Whether this is DHBasedMac or KemBasedMac."""
    return algorithm.oid in {oids.ID_DH_BASED_MAC, oids.ID_KEM_BASED_MAC}


def encode_kem_other_info(transaction_id: bytes, kem_context: bytes | None) -> bytes:
    """DER of ``KemOtherInfo``: what binds a MAC key to its transaction.

    :raises PKIError: ``BAD_ALGORITHM`` for a transaction identifier out of reason.

    **Source:** RFC 9810 section 5.1.3.4. ``kemContext`` is under an explicit tag: the
    module of appendix F has EXPLICIT TAGS.
    """
    if not 1 <= len(transaction_id) <= MAX_TRANSACTION_ID_OCTETS:
        raise refuse("KemBasedMac needs a transactionID")
    return der.sequence(
        der.sequence(der.utf8_string(STATIC_STRING)),
        der.octet_string(transaction_id),
        _context(kem_context),
    )


def _context(kem_context: bytes | None) -> bytes:
    return (
        b"" if kem_context is None else der.explicit(0, der.octet_string(kem_context))
    )


def _parameters(algorithm: AlgorithmIdentifier, oid: str) -> der.Cursor:
    if algorithm.oid != oid:
        raise refuse(f"unknown MAC protection algorithm {algorithm.oid}")
    if algorithm.parameters is None:
        der.malformed("MAC algorithm without parameters")
    return der.Cursor(der.single(algorithm.parameters, der.SEQUENCE))


def _algorithm(cursor: der.Cursor) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
