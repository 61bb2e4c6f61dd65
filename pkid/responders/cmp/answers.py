"""Answers: header, protection, octets.

Every answer of a transaction is protected by one credential, errors and confirmations
included; only a request that proved no secret is answered with a signature.

**Source:** RFC 9810 sections 5.1.1 and 5.1.3; RFC 9483 sections 3.1 to 3.3 and 3.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from pkid.asn1.constructors import constructor
from pkid.asn1.names import GeneralName
from pkid.engine.ports import Clock
from pkid.errors import PKIError
from pkid.messages.cmp.body import Body, BodyType, encode_body
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.infotypes import REV_PASSPHRASE
from pkid.messages.cmp.message import encode_message, protected_part
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.failures import error_content
from pkid.responders.cmp.requests import (
    Addressing,
    Answered,
    Protection,
    RandomOctets,
    Request,
)
from pkid.responders.cmp.senders import sender_of, without_root

__all__ = ["Answers", "Draft", "Sealed", "without_root"]

NONCE_OCTETS: Final = 16
_make_header = constructor(PKIHeader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An answer before it is addressed and protected.

    :ivar certificates: chain of what was issued, for extraCerts.
    """

    body_type: BodyType
    body: Body
    general_info: tuple[InfoTypeAndValue, ...] = ()
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A protected message and the senderNonce that it carries."""

    octets: bytes = field(repr=False)
    nonce: bytes


class Answers:
    """Seals drafts.

    :param random: gives octets from the system's CSPRNG.
    """

    def __init__(self, engine: Engine, clock: Clock, random: RandomOctets) -> None:
        self._engine = engine
        self._clock = clock
        self._random = random

    async def seal(
        self,
        alias: CMPAlias,
        addressing: Addressing,
        protection: Protection,
        draft: Draft,
    ) -> Sealed:
        """Address, protect and encode.

        :raises PKIError: ``UNAVAILABLE`` when the signer is out of reach.
        """
        identities = self._engine.message_identity
        if alias.signer == "authority":
            identities = self._engine.own_message_identity
        identity = identities(alias.alias.authority)
        sender = sender_of(alias, identity, protection, self._random)
        nonce = self._random(NONCE_OCTETS)
        header = _make_header(
            pvno=addressing.pvno,
            sender=GeneralName.directory(sender.name),
            recipient=addressing.recipient,
            message_time=self._clock.now(),
            protection_alg=sender.algorithm,
            sender_kid=sender.key_id,
            transaction_id=addressing.transaction_id,
            sender_nonce=nonce,
            recip_nonce=addressing.recip_nonce,
            general_info=draft.general_info,
        ).encode()
        body = encode_body(draft.body_type, draft.body)
        bits = await sender.protect(protected_part(header, body))
        octets = encode_message(
            header,
            body,
            protection=bits,
            extra_certs=tuple(dict.fromkeys(sender.certificates + draft.certificates)),
        )
        return Sealed(octets, nonce)

    async def answer(self, request: Request, draft: Draft) -> Sealed:
        """Seal the answer to a verified request.

        A revocation passphrase in its header is acknowledged in ours: it was kept.
        """
        if request.header.find_info(REV_PASSPHRASE.oid) is not None:
            kept = (*draft.general_info, REV_PASSPHRASE.info())
            draft = replace(draft, general_info=kept)
        return await self.seal(
            request.alias, request.addressing, request.proven.protection, draft
        )

    async def refuse(
        self,
        alias: CMPAlias,
        addressing: Addressing,
        protection: Protection,
        error: PKIError,
    ) -> Answered:
        """The error message for a refusal."""
        draft = Draft(body_type=BodyType.ERROR, body=error_content(error))
        sealed = await self.seal(alias, addressing, protection, draft)
        return Answered.refused(sealed.octets, error)
