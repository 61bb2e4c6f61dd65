"""Proof of possession by challenge: popdecc and popdecr.

Pure. Version 2 encrypts `Rand` with the key itself into ``challenge``; version 3
leaves that empty and puts an ``EnvelopedData`` into ``encryptedRand``.

**Source:** RFC 9810 section 5.2.8.3.3, appendix F; RFC 4210 section 5.2.8.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import der
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.lists import decode_list
from pkid.messages.crmf import MAX_CERT_REQ_MSGS
from pkid.messages.encryptedkeys import checked_enveloped_data

# One for each request of the message that asked for it.
MAX_CHALLENGES: Final = MAX_CERT_REQ_MSGS

_ENCRYPTED_RAND: Final = 0xA0


@dataclass(frozen=True, slots=True)
class Rand:
    """What a challenge hides.

    :ivar integer: the number to be sent back; a secret, so not in the repr.
    :ivar sender: as in the header of the challenge.
    """

    integer: int = field(repr=False)
    sender: GeneralName

    @classmethod
    def decode(cls, element: bytes) -> Rand:
        """Read a ``Rand``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        integer = der.decode_integer(cursor.take(der.INTEGER))
        sender = GeneralName.read(cursor)
        cursor.finish()
        return cls(integer, sender)

    def encode(self) -> bytes:
        """The ``Rand`` SEQUENCE."""
        return der.sequence(der.integer(self.integer), self.sender.encode())


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge.

    :ivar owf: digest of ``witness``; None means that of the challenge before.
    :ivar witness: digest of the number.
    :ivar challenge: the encrypted `Rand` of version 2, empty in version 3.
    :ivar encrypted_rand: ``EnvelopedData``, whole, of version 3.
    """

    owf: AlgorithmIdentifier | None
    witness: bytes
    challenge: bytes = b""
    encrypted_rand: bytes | None = None

    @classmethod
    def decode(cls, contents: bytes) -> Challenge:
        """Read the contents octets of ``Challenge``.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        owf = cursor.optional(der.SEQUENCE)
        witness = cursor.take(der.OCTET_STRING)
        challenge = cursor.take(der.OCTET_STRING)
        enveloped = cursor.optional(_ENCRYPTED_RAND)
        cursor.finish()
        return cls(
            None if owf is None else AlgorithmIdentifier.decode(owf),
            witness,
            challenge,
            None if enveloped is None else checked_enveloped_data(enveloped),
        )

    def encode(self) -> bytes:
        """The ``Challenge`` SEQUENCE."""
        enveloped = self.encrypted_rand
        return der.sequence(
            b"" if self.owf is None else self.owf.encode(),
            der.octet_string(self.witness),
            der.octet_string(self.challenge),
            b"" if enveloped is None else der.explicit(0, enveloped),
        )


@dataclass(frozen=True, slots=True)
class POPODecKeyChallContent:
    """popdecc: challenges, in the order of the requests that they answer."""

    challenges: tuple[Challenge, ...]

    @classmethod
    def decode(cls, element: bytes) -> POPODecKeyChallContent:
        """Read ``POPODecKeyChallContent``, whole.

        :raises PKIError: ``MALFORMED``, also when the first names no digest.
        """
        challenges = decode_list(element, Challenge.decode, MAX_CHALLENGES)
        if challenges and challenges[0].owf is None:
            der.malformed("the first challenge names no owf")
        return cls(challenges)

    def encode(self) -> bytes:
        """The SEQUENCE OF ``Challenge``."""
        return der.sequence(*(challenge.encode() for challenge in self.challenges))

    def digests(self) -> tuple[AlgorithmIdentifier, ...]:
        """The digest that counts for each challenge, its own or one before."""
        found: list[AlgorithmIdentifier] = []
        for challenge in self.challenges:
            found.append(challenge.owf or found[-1])
        return tuple(found)


@dataclass(frozen=True, slots=True)
class POPODecKeyRespContent:
    """popdecr: the numbers found, in the order of the challenges.

    :ivar integers: secrets until they are checked, so not in the repr.
    """

    integers: tuple[int, ...] = field(repr=False)

    @classmethod
    def decode(cls, element: bytes) -> POPODecKeyRespContent:
        """Read ``POPODecKeyRespContent``, whole.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(der.single(element, der.SEQUENCE))
        found: list[int] = []
        while cursor:
            if len(found) == MAX_CHALLENGES:
                der.malformed(f"more than {MAX_CHALLENGES} answers to challenges")
            found.append(der.decode_integer(cursor.take(der.INTEGER)))
        return cls(tuple(found))

    def encode(self) -> bytes:
        """The SEQUENCE OF INTEGER."""
        return der.sequence(*map(der.integer, self.integers))
