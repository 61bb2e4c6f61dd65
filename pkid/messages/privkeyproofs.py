"""What stands inside ``POPOPrivKey``: possession of a key that cannot sign.

Pure. `crmf` keeps the chosen method as octets; here they get their meaning. Which
method is good enough, and for which key, is not decided here.

**Source:** RFC 4211 sections 4.2 and 4.3; RFC 4210 appendix C; RFC 9810 section
5.2.8.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from pkid.asn1 import der
from pkid.messages.crmf import (
    KeyUse,
    PKMACValue,
    POPOPrivKey,
    PrivKeyMethod,
    SubsequentMessage,
)
from pkid.messages.encryptedkeys import (
    EncryptedValue,
    EnvelopedKey,
    checked_enveloped_data,
)


@dataclass(frozen=True, slots=True)
class DHMAC:
    """The old MAC of a key agreement key over the request.

    :ivar value: octets of the BIT STRING.
    """

    value: bytes


# thisMessage (an EncryptedValue), subsequentMessage, dhMAC, agreeMAC, encryptedKey.
PrivKeyProof = EncryptedValue | SubsequentMessage | DHMAC | PKMACValue | EnvelopedKey


def decode_proof(popo: POPOPrivKey) -> PrivKeyProof:
    """Read what the method of a ``POPOPrivKey`` holds.

    ``thisMessage`` is a BIT STRING in its syntax, and the octets of an
    ``EncryptedValue`` by its text.

    :raises PKIError: ``MALFORMED``.
    """
    contents = popo.contents
    match popo.method:
        case PrivKeyMethod.THIS_MESSAGE:
            return EncryptedValue.decode(der.decode_bits(contents))
        case PrivKeyMethod.SUBSEQUENT_MESSAGE:
            return SubsequentMessage(contents[0])
        case PrivKeyMethod.DH_MAC:
            return DHMAC(der.decode_bits(contents))
        case PrivKeyMethod.AGREE_MAC:
            return PKMACValue.decode(contents)
        case PrivKeyMethod.ENCRYPTED_KEY:
            return EnvelopedKey(checked_enveloped_data(der.sequence(contents)))
    assert_never(popo.method)


def make_popo(key_use: KeyUse, proof: PrivKeyProof) -> POPOPrivKey:
    """The ``POPOPrivKey`` that holds this proof."""
    match proof:
        case EncryptedValue():
            return POPOPrivKey(
                key_use, PrivKeyMethod.THIS_MESSAGE, b"\0" + proof.encode()
            )
        case SubsequentMessage():
            return POPOPrivKey(
                key_use, PrivKeyMethod.SUBSEQUENT_MESSAGE, bytes((proof,))
            )
        case DHMAC():
            return POPOPrivKey(key_use, PrivKeyMethod.DH_MAC, b"\0" + proof.value)
        case PKMACValue():
            contents = der.single(proof.encode(), der.SEQUENCE)
            return POPOPrivKey(key_use, PrivKeyMethod.AGREE_MAC, contents)
        case EnvelopedKey():
            contents = der.single(proof.enveloped, der.SEQUENCE)
            return POPOPrivKey(key_use, PrivKeyMethod.ENCRYPTED_KEY, contents)
    assert_never(proof)
