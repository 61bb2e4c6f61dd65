"""SCEP's semantics: an HTTP exchange in, a CertRep or certificates out.

    client                                    pkid
    GetCACaps, GetCACert               ->     what it can, whom to encrypt to
    PKIOperation: PKCSReq (challenge)  ->     signature, recipient, possession,
                                              challenge, policy, issued, stored
                                       <-     SUCCESS with the certificate
                                       <-     PENDING: CertPoll until it is decided
                                       <-     FAILURE: why
    PKIOperation: RenewalReq           ->     signed with the certificate it renews

Whatever is signed by anybody gets a signed answer; HTTP statuses are for what is not
SCEP, and for us when we cannot answer now.

**Source:** RFC 8894 sections 2 and 4; draft-nourse-scep-23.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from twisted.logger import Logger

from pkid.engine.model import RequestContext
from pkid.engine.ports import Clock, Workers
from pkid.engine.validation import ChallengeValidator
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import MessageType, PKIMessage
from pkid.responders.base import Exchange, Reply
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.answers import DEFAULT_DIGEST, Answers
from pkid.responders.scep.challenges import Challenges
from pkid.responders.scep.digests import digest_name
from pkid.responders.scep.distribution import Distribution
from pkid.responders.scep.doors import Engine
from pkid.responders.scep.enrollment import Enrollment
from pkid.responders.scep.failures import STATUSES, http_refusal, text_reply
from pkid.responders.scep.http import Asked, Operation, asked
from pkid.responders.scep.journal import Journal, Told
from pkid.responders.scep.opening import Opening
from pkid.responders.scep.queries import Queries
from pkid.responders.scep.requests import (
    PROTOCOL,
    Answered,
    Opened,
    RandomOctets,
    Received,
)
from pkid.responders.throttle import FailureThrottle

MESSAGE_TYPE: Final = "application/x-pki-message"
_NO_CACHE: Final = (("Cache-Control", "no-store"),)


class SCEPResponder:
    """Answers SCEP exchanges of every configured alias.

    :param engine: the certification authority's doors.
    :param aliases: the aliases by name, as configured at this moment.
    :param validators: services that know challenges, by name, likewise.
    :param workers: takes work that is too dear for the reactor thread.
    :param random: octets from the system's CSPRNG.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        aliases: Callable[[], Mapping[str, SCEPAlias]],
        *,
        validators: Callable[[], Mapping[str, ChallengeValidator]],
        clock: Clock,
        workers: Workers,
        random: RandomOctets = secrets.token_bytes,
    ) -> None:
        self._engine = engine
        self._aliases = aliases
        throttle = FailureThrottle(clock)
        self._opening = Opening(engine, clock, throttle)
        self._answers = Answers(workers, random)
        self._journal = Journal(self.log)
        queries = Queries(engine, self._answers)
        enrollment = Enrollment(
            engine, self._answers, queries, Challenges(engine, throttle, validators)
        )
        distribution = Distribution(engine)
        self._open: dict[Operation, Callable[[SCEPAlias], Awaitable[Reply]]] = {
            Operation.GET_CA_CAPS: distribution.capabilities,
            Operation.GET_CA_CERT: distribution.certificates,
            Operation.GET_CA_CERT_CHAIN: distribution.chain,
            Operation.GET_NEXT_CA_CERT: distribution.next_certificates,
        }
        # What is not here does nothing: a type cannot reach issuance by being unknown.
        self._messages: dict[MessageType, Callable[[Opened], Awaitable[Answered]]] = {
            MessageType.PKCS_REQ: enrollment.answer,
            MessageType.RENEWAL_REQ: enrollment.answer,
            MessageType.CERT_POLL: queries.poll,
            MessageType.GET_CERT: queries.certificate,
            MessageType.GET_CRL: queries.revocation_list,
        }

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one exchange; never raises for anything a client can send."""
        told = Told()
        try:
            reply = await self._respond(exchange, told)
        except PKIError as error:
            if error.code is ErrorCode.INTERNAL:
                self.log.failure("scep {alias}: internal error", alias=exchange.alias)
            reply = http_refusal(error)
            told.cause, told.hint = error.detail, error.hint or ""
        except Exception:  # noqa: BLE001  the one place; logged with its traceback
            self.log.failure("scep {alias}: internal error", alias=exchange.alias)
            reply = http_refusal(PKIError(ErrorCode.INTERNAL, "internal error"))
        self._journal.write(exchange, reply, told)
        return reply

    async def _respond(self, exchange: Exchange, told: Told) -> Reply:
        alias = self._aliases().get(exchange.alias)
        if alias is None:
            return text_reply(404, "there is no such SCEP entrance")
        found = asked(exchange)
        told.operation = found.operation.value
        answer = self._open.get(found.operation)
        if answer is not None:
            return await answer(alias)
        return await self._pki_operation(alias, exchange, found, told)

    # --- PKIOperation ------------------------------------------------------------

    async def _pki_operation(
        self, alias: SCEPAlias, exchange: Exchange, found: Asked, told: Told
    ) -> Reply:
        message = PKIMessage.decode(found.message)
        received = Received(
            alias=alias,
            identity=self._engine.exchange.get(alias.alias.authority, alias.identity),
            message=message,
            addressing=message.addressing,
            digest=_digest_of(message, alias),
            context=_context(exchange),
            peer=exchange.peer,
        )
        told.answered = answered = await self._answer(received, told)
        return Reply(body=answered.octets, content_type=MESSAGE_TYPE, headers=_NO_CACHE)

    async def _answer(self, received: Received, told: Told) -> Answered:
        try:
            signed = await self._opening.verify(received)
            told.signed, told.operation = signed, signed.type.name.lower()
            opened = await self._opening.open(signed)
            return await self._messages[signed.type](opened)
        except PKIError as error:
            if error.code in STATUSES:
                raise
            return await self._answers.failure(received, error)


def _digest_of(message: PKIMessage, alias: SCEPAlias) -> str:
    """The digest to answer with: the client's own where it may be used."""
    try:
        name = digest_name(message.signer.digest_algorithm)
    except PKIError:
        return DEFAULT_DIGEST
    return name if alias.admits_digest(name) else DEFAULT_DIGEST


def _context(exchange: Exchange) -> RequestContext:
    peer = exchange.peer
    return RequestContext(
        protocol=PROTOCOL,
        transport=exchange.transport,
        peer=peer.address,
        beyond_loopback=peer.beyond_loopback,
    )
