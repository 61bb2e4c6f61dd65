"""Authorizations of identifiers and their challenges.

Control is looked for once the client says that it may be; what came of it is one write.
Where it takes longer than a client waits, the challenge is stored as processing, and a
daemon that finds it so after a restart takes it up again.

**Source:** RFC 8555 sections 7.1.4, 7.5, 7.5.1 and 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from twisted.logger import Logger

from pkid.engine.orders import (
    Account,
    AuthorizationStatus,
    Challenge,
    ChallengeStatus,
    Identifier,
    IdentifierAuthorization,
)
from pkid.engine.ports import Clock
from pkid.engine.validation import ControlError, ControlProver, ControlQuestion
from pkid.engine.writes import WriteConflict
from pkid.errors import PKIError
from pkid.messages.jose import encode_base64url
from pkid.responders.acme.accounts import new_id
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.acme.doors import Engine
from pkid.responders.acme.failures import malformed, not_found, problem
from pkid.responders.acme.identifiers import view
from pkid.responders.acme.places import Places
from pkid.responders.acme.replies import json_reply, link, without_none
from pkid.responders.acme.requests import Request
from pkid.responders.base import Reply

TOKEN_OCTETS: Final = 24
#: Seconds before each look at an identifier.
PAUSES: Final = (0.0, 3.0, 10.0)
RETRY_AFTER: Final = ("Retry-After", "1")
WILDCARD_METHODS: Final = ("dns-01",)
ADDRESS_METHODS: Final = ("http-01", "tls-alpn-01")


def offered(alias: ACMEAlias, identifier: Identifier) -> tuple[str, ...]:
    """Kinds of challenges that fit an identifier here."""
    if identifier.is_wildcard:
        return tuple(one for one in alias.challenges if one in WILDCARD_METHODS)
    if identifier.kind == "ip":
        return tuple(one for one in alias.challenges if one in ADDRESS_METHODS)
    return alias.challenges


def fresh(
    account: Account,
    identifier: Identifier,
    methods: tuple[str, ...],
    expires: datetime,
    random: Callable[[int], bytes],
) -> IdentifierAuthorization:
    """A new authorization that waits for a challenge to be met."""
    token = encode_base64url(random(TOKEN_OCTETS))
    return IdentifierAuthorization(
        id=new_id(random),
        account=account.id,
        identifier=identifier.base,
        wildcard=identifier.is_wildcard,
        expires=expires,
        challenges=tuple(Challenge(kind=kind, token=token) for kind in methods),
    )


class AuthorizationResources:
    """Answers authorizations and challenges."""

    log = Logger()

    def __init__(self, engine: Engine, prover: ControlProver, clock: Clock) -> None:
        self._engine = engine
        self._prover = prover
        self._clock = clock
        self._running: set[tuple[str, str]] = set()

    async def authorization(self, request: Request) -> Reply:
        """Read or deactivate an authorization."""
        found = await self._own(request, request.rest)
        if not request.is_get:
            if request.members().get("status") != "deactivated":
                raise malformed("an authorization can only be deactivated")
            found = await self._deactivated(request, found)
        headers = []
        for one in found.challenges:
            if one.status is ChallengeStatus.PROCESSING:
                headers = [RETRY_AFTER]
                self._take_up(request, found, one)
        return json_reply(self._view(request.places, found), *headers)

    async def challenge(self, request: Request) -> Reply:
        """Read a challenge, or look whether it is met."""
        name, _, kind = request.rest.partition("/")
        found = await self._own(request, name)
        challenge = _challenge(found, kind)
        if not request.is_get:
            request.members()
            found = await self._begin(request, found, challenge)
            challenge = _challenge(found, kind)
        headers = [link(request.places("authorization", found.id), "up")]
        if challenge.status is ChallengeStatus.PROCESSING:
            headers.append(RETRY_AFTER)
        document = challenge_view(request.places, found, challenge)
        return json_reply(document, *headers)

    async def _own(self, request: Request, name: str) -> IdentifierAuthorization:
        found = await self._engine.accounts.find_authorization(name)
        if found is None or found.account != request.owner.id:
            raise not_found()
        return found

    async def _deactivated(
        self, request: Request, found: IdentifierAuthorization
    ) -> IdentifierAuthorization:
        open_ = (AuthorizationStatus.PENDING, AuthorizationStatus.VALID)
        if found.status_at(self._clock.now()) not in open_:
            raise malformed("the authorization is neither pending nor valid")
        gone = replace(found, status=AuthorizationStatus.DEACTIVATED)
        await self._engine.accounts.save_authorization(
            gone, request.owner, request.context
        )
        return gone

    # --- looking -----------------------------------------------------------------

    async def _begin(
        self, request: Request, found: IdentifierAuthorization, challenge: Challenge
    ) -> IdentifierAuthorization:
        now = self._clock.now()
        if (
            challenge.status is not ChallengeStatus.PENDING
            or found.status_at(now) is not AuthorizationStatus.PENDING
        ):
            if challenge.status is ChallengeStatus.PROCESSING:
                self._take_up(request, found, challenge)
            return found
        begun = replace(
            challenge,
            status=ChallengeStatus.PROCESSING,
            thumbprint=request.owner.thumbprint,
        )
        work = self._take_up(request, found.with_challenge(begun), begun)
        if work is not None:
            await self._prover.patience(work)
        stored = await self._engine.accounts.find_authorization(found.id)
        if stored is None:
            raise not_found()
        if _challenge(stored, challenge.kind).status is not ChallengeStatus.PENDING:
            return stored
        # It takes longer: let it be known, and go on.
        waiting = stored.with_challenge(begun)
        try:
            await self._engine.accounts.save_authorization(
                waiting, request.owner, request.context
            )
        except WriteConflict:
            return await self._own(request, found.id)
        return waiting

    def _take_up(
        self, request: Request, found: IdentifierAuthorization, challenge: Challenge
    ) -> Any:  # noqa: ANN401 - a Deferred, from the engine's side
        """Look for control in the background, unless somebody does."""
        key = (found.id, challenge.kind)
        if key in self._running:
            return None
        self._running.add(key)
        return self._engine.run(self._look(request, found, challenge))

    async def _look(
        self, request: Request, found: IdentifierAuthorization, challenge: Challenge
    ) -> None:
        try:
            fault = await self._ask(found, challenge)
            await self._settle(request, found, challenge, fault)
        except PKIError as error:
            self.log.warn(  # noqa: G010 - Twisted's name
                "acme: what came of challenge {id} was not stored: {detail}",
                id=found.id,
                detail=error.detail,
            )
        except Exception:  # noqa: BLE001  nobody waits for it; logged with its traceback
            self.log.failure("acme: a challenge could not be looked at")
        finally:
            self._running.discard((found.id, challenge.kind))

    async def _ask(
        self, found: IdentifierAuthorization, challenge: Challenge
    ) -> ControlError | None:
        """Why control was not shown, None when it was."""
        question = ControlQuestion(
            method=challenge.kind,
            identifier=found.identifier,
            token=challenge.token,
            key_authorization=f"{challenge.token}.{challenge.thumbprint}",
        )
        fault: ControlError | None = None
        for pause in PAUSES:
            if pause:
                await self._prover.pause(pause)
            try:
                await self._prover.prove(question)
            except ControlError as error:
                fault = error
            else:
                return None
        return fault

    async def _settle(
        self,
        request: Request,
        found: IdentifierAuthorization,
        challenge: Challenge,
        fault: ControlError | None,
    ) -> None:
        """Store what was seen; the row may have changed since."""
        current = await self._engine.accounts.find_authorization(found.id)
        if current is None or current.status is not AuthorizationStatus.PENDING:
            return
        if fault is None:
            after = self._valid(request.alias, current, challenge)
        else:
            after = _invalid(current, challenge, fault)
        try:
            await self._engine.accounts.save_authorization(
                after, request.owner, request.context, fault.detail if fault else ""
            )
        except WriteConflict:
            # The note that it takes longer came in between.
            await self._settle(request, found, challenge, fault)

    def _valid(
        self, alias: ACMEAlias, current: IdentifierAuthorization, challenge: Challenge
    ) -> IdentifierAuthorization:
        now = self._clock.now()
        met = replace(
            challenge, status=ChallengeStatus.VALID, validated=now, fault="", detail=""
        )
        lifetime = alias.authorization_lifetime or alias.order_lifetime
        return replace(
            current.with_challenge(met),
            status=AuthorizationStatus.VALID,
            expires=now + lifetime,
            how=challenge.kind,
        )

    def _view(self, places: Places, found: IdentifierAuthorization) -> dict[str, Any]:
        now = self._clock.now()
        status = found.status_at(now)
        shown = found.challenges
        if status is AuthorizationStatus.VALID:
            shown = tuple(one for one in shown if one.status is ChallengeStatus.VALID)
        return without_none(
            status=status.value,
            expires=moment(found.expires),
            identifier=view(found.identifier),
            wildcard=found.wildcard or None,
            challenges=[challenge_view(places, found, one) for one in shown],
        )


def _invalid(
    current: IdentifierAuthorization, challenge: Challenge, fault: ControlError
) -> IdentifierAuthorization:
    failed = replace(
        challenge,
        status=ChallengeStatus.INVALID,
        fault=fault.kind,
        detail=fault.detail,
    )
    return replace(
        current.with_challenge(failed),
        status=AuthorizationStatus.INVALID,
        how=challenge.kind,
    )


def _challenge(found: IdentifierAuthorization, kind: str) -> Challenge:
    for one in found.challenges:
        if one.kind == kind:
            return one
    raise not_found()


def challenge_view(
    places: Places, found: IdentifierAuthorization, challenge: Challenge
) -> dict[str, Any]:
    """A challenge as JSON."""
    validated = challenge.validated
    fault = challenge.fault
    return without_none(
        type=challenge.kind,
        url=places("challenge", found.id, challenge.kind),
        status=challenge.status.value,
        token=challenge.token,
        validated=None if validated is None else moment(validated),
        error=problem(fault, challenge.detail) if fault else None,
    )


def moment(value: datetime) -> str:
    """RFC 3339 text in UTC, whole seconds."""
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
