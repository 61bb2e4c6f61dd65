"""CMS enveloped data under a key that both sides have already (``kekri``).

Pure. `pkid.crypto.envelope` encrypts for keys and passwords; this is the third way,
which EST uses when a client names a symmetric key.

**Source:** RFC 5652 section 6.2.3; RFC 3394; RFC 7030 section 4.4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.cms.enveloped import EncryptedContentInfo, EnvelopedData
from pkid.asn1.cms.recipients import KEKRecipientInfo
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import refuse
from pkid.crypto.contentciphers import CBCEncryption, ContentCipher, RandomSource
from pkid.crypto.keywrap import wrap_key

#: Of ``KEKRecipientInfo``, always (RFC 5652 section 6.2.3).
VERSION: Final = 4
_WRAP: Final = {
    16: oids.ID_AES128_WRAP,
    24: oids.ID_AES192_WRAP,
    32: oids.ID_AES256_WRAP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedKey:
    """An AES key that both sides have.

    :ivar identifier: how the recipient finds it, octets.
    :ivar key: 16, 24 or 32 octets; not shown.
    """

    identifier: bytes
    key: bytes = field(repr=False)

    @classmethod
    def from_text(cls, identifier: bytes, text: bytes) -> SharedKey:
        """Of the hexadecimal digits that an operator writes.

        :raises PKIError: ``BAD_ALGORITHM`` when they are no AES key.
        """
        try:
            key = bytes.fromhex(text.decode("ascii"))
        except ValueError:
            key = b""
        if len(key) not in _WRAP:
            raise refuse("the key named is not an AES key of 128, 192 or 256 bits")
        return cls(identifier=identifier, key=key)

    @property
    def wrap(self) -> AlgorithmIdentifier:
        """The key wrap that fits the key."""
        return AlgorithmIdentifier(_WRAP[len(self.key)])


def encrypt_for_shared_key(
    content: bytes,
    shared: SharedKey,
    random: RandomSource,
    *,
    content_type: str,
    cipher: ContentCipher = ContentCipher.AES_256_CBC,
) -> EnvelopedData:
    """Encrypt under a fresh key, which is wrapped under the shared one.

    :param cipher: one in CBC mode.
    """
    key = random(cipher.key_octets)
    encryption = CBCEncryption.fresh(cipher, random)
    recipient = KEKRecipientInfo(
        version=VERSION,
        kekid=der.sequence(der.octet_string(shared.identifier)),
        key_encryption_algorithm=shared.wrap,
        encrypted_key=wrap_key(shared.key, key),
    )
    encrypted = encryption.encrypt(key, content)
    return EnvelopedData.build(
        (recipient,),
        EncryptedContentInfo(content_type, encryption.algorithm, encrypted),
    )
