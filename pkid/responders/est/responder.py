"""EST's semantics: an exchange in, an answer out.

    client                                   pkid
    GET cacerts                       ->     CA certificates, for anybody
    POST simpleenroll (PKCS #10)      ->     who asks (TLS, HTTP), possession, binding,
                                      <-     200 the certificate
                                      <-     202 come back; 401 who are you; 403 no
    POST simplereenroll (PKCS #10)    ->     with the certificate that is renewed

**Source:** RFC 7030 section 4; RFC 8951; RFC 9908; RFC 8295.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from twisted.logger import Logger

from pkid.engine.aliases import Policies
from pkid.engine.model import RequestContext
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.attributes import Attributes
from pkid.responders.est.authentication import Identities
from pkid.responders.est.bodies import media_type_fault, request_octets
from pkid.responders.est.distribution import Distribution
from pkid.responders.est.doors import Engine
from pkid.responders.est.enrollment import Enrollment, issued_reply
from pkid.responders.est.failures import STATUS, refusal, text_reply
from pkid.responders.est.fullcmc import Arrival, FullCMC
from pkid.responders.est.journal import Journal
from pkid.responders.est.requests import Request, context_of, make_request
from pkid.responders.est.serverkeygen import KeyGeneration

_UNAUTHENTICATED: Final = 401


class ESTResponder:
    """Answers EST exchanges of every configured alias.

    :param engine: the certification authority's doors.
    :param aliases: the aliases by name, as configured at this moment.
    :param policies: the engine's policies, as configured at this moment.
    :param random: octets from the system's CSPRNG.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        aliases: Callable[[], Mapping[str, ESTAlias]],
        *,
        policies: Callable[[], Policies],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._aliases = aliases
        self._journal = Journal(self.log, clock)
        self._identities = Identities(engine, clock, random)
        distribution = Distribution(engine, clock)
        self._enrollment = enrollment = Enrollment(engine)
        self._cmc = FullCMC(
            engine, self._identities, enrollment, clock=clock, random=random
        )
        self._open: dict[str, Callable[[ESTAlias, Exchange], Awaitable[Reply]]] = {
            "cacerts": distribution.ca_certificates,
            "crls": distribution.revocation_lists,
            "eecerts": distribution.peer_certificates,
            "csrattrs": Attributes(policies).answer,
        }
        self._proven: dict[str, Callable[[Request], Awaitable[Reply]]] = {
            "simpleenroll": enrollment.answer,
            "simplereenroll": enrollment.answer,
            "serverkeygen": KeyGeneration(engine, random).answer,
        }

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one exchange; never raises for anything a client can send."""
        alias = self._aliases().get(exchange.alias)
        if alias is None:
            return text_reply(404, "there is no such EST entrance")
        requesters: list[str] = []
        cause = hint = ""
        try:
            reply, refused = await self._answer(alias, exchange, requesters)
            if refused is not None:
                cause, hint = refused.detail, refused.hint or ""
        except PKIError as error:
            if error.code is ErrorCode.INTERNAL:
                self.log.failure("est {alias}: internal error", alias=alias.name)
            reply = self._refusal(alias, exchange, error)
            cause, hint = error.detail, error.hint or ""
        except Exception:  # noqa: BLE001  the one place; logged with its traceback
            self.log.failure("est {alias}: internal error", alias=alias.name)
            reply, cause = text_reply(500, "internal error"), "internal error"
        who = requesters[0] if requesters else ""
        self._journal.answered(exchange, reply, requester=who, cause=cause, hint=hint)
        return reply

    async def _answer(
        self, alias: ESTAlias, exchange: Exchange, requesters: list[str]
    ) -> tuple[Reply, PKIError | None]:
        """The answer, and the refusal that it holds in a protocol's own words."""
        operation = exchange.operation
        if operation in self._open:
            return await self._open[operation](alias, exchange), None
        refused = media_type_fault(alias, exchange)
        if refused is not None:
            return refused, None
        context = context_of(exchange)
        if operation == "fullcmc":
            arrival = Arrival(alias, exchange, context, requesters)
            return await self._cmc.answer(arrival)
        return await self._simple(alias, exchange, context, requesters), None

    async def _simple(
        self,
        alias: ESTAlias,
        exchange: Exchange,
        context: RequestContext,
        requesters: list[str],
    ) -> Reply:
        answer = self._proven.get(exchange.operation)
        if answer is None:
            return text_reply(404, "this operation is not offered here")
        try:
            proven = await self._identities.prove(alias, exchange, context)
        except PKIError:
            repeat = await self._enrollment.find_repeat(alias, exchange)
            if repeat is None:
                raise
            return issued_reply(alias, exchange, repeat)
        requesters.append(proven.requester.identity)
        return await answer(
            make_request(
                alias=alias,
                exchange=exchange,
                context=context,
                proven=proven,
                octets=request_octets(exchange),
            )
        )

    def _refusal(self, alias: ESTAlias, exchange: Exchange, error: PKIError) -> Reply:
        if STATUS[error.code] != _UNAUTHENTICATED:
            return refusal(error)
        challenges = self._identities.challenges(alias)
        if not challenges:
            return text_reply(403, error.detail)
        if "authorization" not in exchange.headers and not exchange.peer.certificate:
            # Bouncy Castle 1.72 asks first and trips over any body of this answer.
            return Reply(status=_UNAUTHENTICATED, headers=challenges)
        return text_reply(_UNAUTHENTICATED, error.detail, *challenges)
