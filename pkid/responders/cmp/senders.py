"""In whose name an answer leaves, and what protects it.

**Source:** RFC 9810 sections 5.1.1 and 5.1.3; RFC 9483 sections 3.1 to 3.3.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, assert_never

from pkid.asn1.constructors import constructor
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.certificates import Certificate, subject_key_identifier
from pkid.crypto.keyedmac import SymmetricKey
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import MessageIdentity
from pkid.responders.cmp.requests import (
    AgreedProtection,
    MACProtection,
    NoProtection,
    Protection,
    RandomOctets,
    SignatureProtection,
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends an answer.

    :ivar algorithm: ``protectionAlg``; None leaves the answer without protection.
    :ivar key_id: ``senderKID``.
    :ivar certificates: for extraCerts, before those of the answer itself.
    :ivar mac: computes the MAC, or None.
    :ivar signing: makes the signature, or None.
    """

    name: Name
    algorithm: AlgorithmIdentifier | None
    key_id: bytes | None
    certificates: tuple[bytes, ...] = ()
    mac: Callable[[bytes], bytes] | None = None
    signing: Callable[[bytes], Awaitable[bytes]] | None = None

    async def protect(self, part: bytes) -> bytes | None:
        """The octets of ``protection`` over a protected part."""
        if self.mac is not None:
            return self.mac(part)
        return None if self.signing is None else await self.signing(part)


_make_sender: Final = constructor(Sender)


def sender_of(
    alias: CMPAlias,
    identity: MessageIdentity,
    protection: Protection,
    random: RandomOctets,
) -> Sender:
    """Who sends the answer that is to be protected so.

    :param identity: what signs in the authority's name.
    """
    match protection:
        case SignatureProtection():
            return _make_sender(
                identity.subject,
                identity.signer.algorithm,
                identity.subject_key_id or None,
                (identity.certificate, *without_root(identity.chain, alias)),
                None,
                identity.signer.sign_message,
            )
        case MACProtection():
            return _by_secret(identity, protection, random)
        case AgreedProtection():
            return _by_agreement(alias, protection, random)
        case NoProtection():
            return Sender(identity.subject, None, None, protection.certificates)
        case _:
            assert_never(protection)


def _by_secret(
    identity: MessageIdentity, protection: MACProtection, random: RandomOctets
) -> Sender:
    key, algorithm = protection.key, protection.algorithm
    if isinstance(key, SymmetricKey):
        key = key.renewed(random)
        algorithm = key.algorithm
    return _make_sender(
        identity.subject, algorithm, protection.sender_kid, (), key.compute, None
    )


def _by_agreement(
    alias: CMPAlias, protection: AgreedProtection, random: RandomOctets
) -> Sender:
    certificate = Certificate.decode(protection.certificate)
    key = protection.key.renewed(random)
    return Sender(
        certificate.subject,
        replace(protection.parameters, mac=key.algorithm).algorithm,
        subject_key_identifier(certificate),
        (protection.certificate, *without_root(protection.chain, alias)),
        key.compute,
    )


def without_root(chain: tuple[bytes, ...], alias: CMPAlias) -> tuple[bytes, ...]:
    """A chain as this alias sends it: root last, or left out."""
    return chain if alias.extra_certs_root else chain[:-1]
