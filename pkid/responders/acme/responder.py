"""ACME's semantics: an exchange in, an answer out.

    GET directory                       what there is, for anybody
    HEAD new-nonce                      a nonce
    POST new-account, new-order ...     signed JSON; each answer brings the next nonce

**Source:** RFC 8555 sections 6 and 7.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from twisted.logger import Logger

from pkid.engine.aliases import Policies
from pkid.engine.conflicts import look_again
from pkid.engine.ports import Clock
from pkid.engine.validation import ControlProver
from pkid.errors import ErrorCode, PKIError
from pkid.responders.acme.accounts import AccountResources
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.acme.authorizations import AuthorizationResources
from pkid.responders.acme.certificates import CertificateResources
from pkid.responders.acme.doors import Engine
from pkid.responders.acme.failures import ProblemError
from pkid.responders.acme.journal import Journal
from pkid.responders.acme.nonces import Nonces
from pkid.responders.acme.orders import OrderResources
from pkid.responders.acme.places import Places, places_of
from pkid.responders.acme.replies import (
    NO_STORE,
    json_reply,
    link,
    problem_reply,
    without_none,
)
from pkid.responders.acme.requests import Request, Requests
from pkid.responders.base import Exchange, Reply
from pkid.responders.throttle import FailureThrottle

DIRECTORY: Final = "directory"
NEW_NONCE: Final = "new-nonce"
RENEWAL_INFO: Final = "renewal-info"
_GUESSES: Final = frozenset((ErrorCode.BAD_MESSAGE_CHECK,))


class ACMEResponder:
    """Answers ACME exchanges of every configured directory.

    :param engine: the certification authority's doors.
    :param aliases: the directories by name, as configured at this moment.
    :param bases: "https://host:port" of all that a listener may be called by.
    :param random: octets from the system's CSPRNG.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        aliases: Callable[[], Mapping[str, ACMEAlias]],
        *,
        policies: Callable[[], Policies],
        prover: ControlProver,
        bases: Callable[[], frozenset[str]],
        clock: Clock,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._aliases = aliases
        self._bases = bases
        self._journal = Journal(self.log, clock)
        self._throttle = FailureThrottle(clock)
        self._nonces = Nonces(clock, random)
        self._requests = Requests(engine, self._nonces)
        accounts = AccountResources(engine, clock, random)
        self.orders = OrderResources(engine, policies, clock, random)
        authorizations = AuthorizationResources(engine, prover, clock)
        self._certificates = CertificateResources(engine, clock)
        self._resources: dict[str, Callable[[Request], Awaitable[Reply]]] = {
            "new-account": accounts.new,
            "account": accounts.one,
            "orders": accounts.orders,
            "key-change": accounts.change_key,
            "new-order": self.orders.new,
            "order": self.orders.one,
            "finalize": self.orders.finalize,
            "authorization": authorizations.authorization,
            "challenge": authorizations.challenge,
            "certificate": self._certificates.download,
            "revoke-certificate": self._certificates.revoke,
        }

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one exchange; never raises for anything a client can send."""
        alias = self._aliases().get(exchange.alias)
        if alias is None:
            return problem_reply(
                ProblemError("malformed", 404, "there is no such ACME directory")
            )
        who: list[str] = []
        cause = hint = ""
        try:
            reply = await self._answer(alias, exchange, who)
        except PKIError as error:
            if error.code is ErrorCode.INTERNAL:
                self.log.failure("acme {alias}: internal error", alias=alias.name)
            if error.code in _GUESSES:
                self._throttle.count(exchange.peer)
            reply, cause, hint = problem_reply(error), error.detail, error.hint or ""
        except Exception:  # noqa: BLE001  the one place; logged with its traceback
            self.log.failure("acme {alias}: internal error", alias=alias.name)
            surprise = PKIError(ErrorCode.INTERNAL, "internal error")
            reply, cause = problem_reply(surprise), surprise.detail
        self._journal.answered(
            exchange, reply, requester=who[0] if who else "", cause=cause, hint=hint
        )
        return self._with_nonce(alias, exchange, reply)

    async def _answer(
        self, alias: ACMEAlias, exchange: Exchange, who: list[str]
    ) -> Reply:
        places = places_of(alias, exchange, self._bases())
        operation = exchange.operation
        if exchange.method == "GET":
            return await self._read(alias, exchange, places)
        self._throttle.check(exchange.peer)
        if operation not in self._resources and operation not in (DIRECTORY, NEW_NONCE):
            raise ProblemError("malformed", 404, "there is no such resource")
        request = await self._requests.verify(alias, exchange, places)
        who.append(
            f"account:{request.account.id}"
            if request.account
            else f"key:{request.key.thumbprint}"
        )
        if operation in (DIRECTORY, NEW_NONCE):
            request.check_get()
            return await self._read(alias, exchange, places)
        resource = self._resources[operation]
        return await look_again(lambda: resource(request))

    async def _read(
        self, alias: ACMEAlias, exchange: Exchange, places: Places
    ) -> Reply:
        """What anybody may read."""
        match exchange.operation:
            case "directory":
                return json_reply(self._directory(alias, places))
            case "new-nonce":
                return Reply(status=200 if exchange.head else 204, headers=(NO_STORE,))
            case "renewal-info":
                return await self._certificates.renewal_info(exchange)
        raise ProblemError(
            "malformed",
            405,
            "this resource is read by a signed POST with an empty payload",
            headers=(("Allow", "POST"),),
        )

    def _directory(self, alias: ACMEAlias, places: Places) -> dict[str, Any]:
        own = alias.alias
        profiles = {
            name: f"certificate profile {name}"
            for name in dict.fromkeys((own.certificate_profile, *own.profiles))
        }
        meta = without_none(
            termsOfService=alias.terms_of_service or None,
            website=alias.website or None,
            caaIdentities=list(alias.caa_identities) or None,
            externalAccountRequired=alias.external_account == "required",
            profiles=profiles,
        )
        return {
            "newNonce": places(NEW_NONCE),
            "newAccount": places("new-account"),
            "newOrder": places("new-order"),
            "revokeCert": places("revoke-certificate"),
            "keyChange": places("key-change"),
            "renewalInfo": places(RENEWAL_INFO),
            "meta": meta,
        }

    def _with_nonce(self, alias: ACMEAlias, exchange: Exchange, reply: Reply) -> Reply:
        """The next nonce, and the way back to the directory."""
        headers = list(reply.headers)
        if exchange.method == "POST" or exchange.operation == NEW_NONCE:
            headers.append(("Replay-Nonce", self._nonces.fresh()))
            if NO_STORE not in headers:
                headers.append(NO_STORE)
        if exchange.operation != DIRECTORY:
            try:
                places = places_of(alias, exchange, self._bases())
            except ProblemError:
                return replace(reply, headers=tuple(headers))
            headers.append(link(places(DIRECTORY), "index"))
        return replace(reply, headers=tuple(headers))
