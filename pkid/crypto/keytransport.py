"""Key transport with RSA: PKCS #1 v1.5 and OAEP.

Pure, but for the padding's random octets, which OpenSSL draws itself.

Decryption rejects implicitly: whatever is wrong with the encrypted key, a key of the
right size comes out, a random one if need be, and the content then fails to decrypt as
it does for any wrong key. So the sender learns nothing about the padding
(Bleichenbacher, Manger).

**Source:** RFC 8017 sections 7.1 and 7.2, RFC 3560, RFC 4055 section 4.1, RFC 3218
section 2.3, RFC 9481 section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_algorithm, hash_name_of, refuse
from pkid.crypto.contentciphers import RandomSource
from pkid.crypto.signatures import check_rsa_limits

RSA_PKCS1: Final = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1(),
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@dataclass(frozen=True, slots=True)
class OAEP:
    """``RSAES-OAEP-params``.

    :ivar hash_name: digest of the label.
    :ivar mgf_hash: digest of the mask generation function.
    :ivar label: octets, mostly none.
    """

    hash_name: str = "sha1"
    mgf_hash: str = "sha1"
    label: bytes = b""

    @classmethod
    def decode(cls, parameters: bytes | None) -> OAEP:
        """Read the parameters; what is left out is SHA-1 and no label.

        :raises PKIError: ``MALFORMED``; ``BAD_ALGORITHM`` for other functions.
        """
        if parameters is None:
            raise refuse("RSAES-OAEP without parameters")
        cursor = der.Cursor(der.single(parameters, der.SEQUENCE))
        hash_name = mgf_hash = "sha1"
        label = b""
        if (field := cursor.optional(der.constructed(0))) is not None:
            hash_name = hash_name_of(_decode_algorithm(field))
        if (field := cursor.optional(der.constructed(1))) is not None:
            mgf_hash = hash_name_of(_inner(field, oids.ID_MGF1, der.SEQUENCE))
        if (field := cursor.optional(der.constructed(2))) is not None:
            source = _decode_algorithm(field)
            if source.oid != oids.ID_P_SPECIFIED or source.parameters is None:
                raise refuse("RSAES-OAEP with an unknown source of the label")
            label = der.single(source.parameters, der.OCTET_STRING)
        cursor.finish()
        if hash_name not in _HASHES or mgf_hash not in _HASHES:
            raise refuse("RSAES-OAEP with a digest that is not accepted")
        return cls(hash_name, mgf_hash, label)

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The ``AlgorithmIdentifier`` with these parameters, defaults left out."""
        fields: list[bytes] = []
        if self.hash_name != "sha1":
            fields.append(der.explicit(0, _digest(self.hash_name)))
        if self.mgf_hash != "sha1":
            mgf = AlgorithmIdentifier(oids.ID_MGF1, _digest(self.mgf_hash))
            fields.append(der.explicit(1, mgf.encode()))
        if self.label:
            label = der.octet_string(self.label)
            source = AlgorithmIdentifier(oids.ID_P_SPECIFIED, label)
            fields.append(der.explicit(2, source.encode()))
        return AlgorithmIdentifier(oids.ID_RSAES_OAEP, der.sequence(*fields))

    @property
    def padding(self) -> padding.OAEP:
        """The primitive."""
        return padding.OAEP(
            padding.MGF1(_HASHES[self.mgf_hash]),
            _HASHES[self.hash_name],
            self.label or None,
        )


def _digest(name: str) -> bytes:
    # RFC 4055 section 2.1 writes NULL here.
    return hash_algorithm(name, null=True).encode()


# Stands here because making it needs what is above.
RSA_OAEP_SHA256: Final = OAEP("sha256", "sha256").algorithm


def _decode_algorithm(element: bytes) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.decode(der.single(element, der.SEQUENCE))


def _inner(element: bytes, oid: str, tag: int) -> AlgorithmIdentifier:
    outer = _decode_algorithm(element)
    if outer.oid != oid or outer.parameters is None:
        raise refuse("RSAES-OAEP with a mask generation function other than MGF1")
    return AlgorithmIdentifier.decode(der.single(outer.parameters, tag))


def _padding(algorithm: AlgorithmIdentifier) -> padding.AsymmetricPadding:
    if algorithm.oid == oids.ID_RSAES_OAEP:
        return OAEP.decode(algorithm.parameters).padding
    if algorithm.oid != oids.RSA_ENCRYPTION:
        raise refuse(f"unknown key transport algorithm {algorithm.oid}")
    if algorithm.parameters not in (None, der.NULL):
        raise refuse("RSA key transport with parameters")
    return padding.PKCS1v15()


def transport_key(
    public_key: rsa.RSAPublicKey, algorithm: AlgorithmIdentifier, key: bytes
) -> bytes:
    """Encrypt a key to an RSA key.

    :param algorithm: `RSA_PKCS1`, `RSA_OAEP_SHA256` or another OAEP.
    :raises PKIError: ``BAD_ALGORITHM`` for another algorithm, an RSA key out of limits
        or one too small.
    """
    check_rsa_limits(public_key)
    chosen = _padding(algorithm)
    try:
        return public_key.encrypt(key, chosen)
    except ValueError:
        raise refuse("the RSA key is too small to transport this key") from None


def recover_transported_key(
    private_key: rsa.RSAPrivateKey,
    algorithm: AlgorithmIdentifier,
    encrypted_key: bytes,
    size: int,
    random: RandomSource,
) -> bytes:
    """Decrypt a key; a random one when it cannot be decrypted.

    :param size: octets that the key must have.
    :returns: always ``size`` octets.
    :raises PKIError: ``BAD_ALGORITHM`` only, before the key is used.

    Cost: an RSA private operation (0.3 ms for 2048 bits), the GIL released.
    """
    chosen = _padding(algorithm)
    substitute = random(size)
    try:
        key = private_key.decrypt(encrypted_key, chosen)
    except ValueError:
        return substitute
    return key if len(key) == size else substitute
