"""Who asks for a certificate: by certificate, by challenge, or nobody that is known.

Whatever is wrong with a challenge (unknown, used, expired, locked, of another entrance,
lost to a quicker request) gets the same words; only the operator's hint tells.

**Source:** RFC 8894 sections 2.3, 2.4 and 7.3; security requirements SEC-21, SEC-25.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from twisted.logger import Logger

from pkid.engine.aliases import Authentication
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import Credential, Requester, RequesterKind
from pkid.engine.validation import ChallengeQuestion, ChallengeValidator
from pkid.errors import ErrorCode, PKIError
from pkid.messages.pkcs10 import CertificationRequest
from pkid.messages.scep import MessageType
from pkid.responders.scep.doors import Engine
from pkid.responders.scep.requests import Opened, Signed
from pkid.responders.throttle import FailureThrottle

Validators = Callable[[], Mapping[str, ChallengeValidator]]

NOBODY: Final = "scep:nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks, as far as it is proven.

    :ivar password: the challenge; an answer may have to be encrypted to it.
    :ivar question: what the service that knows challenges was asked, which is to be
        told the outcome.
    """

    requester: Requester
    password: bytes = field(default=b"", repr=False)
    question: ChallengeQuestion | None = None
    validator: ChallengeValidator | None = None


class Challenges:
    """Finds out who asks."""

    log = Logger()

    def __init__(
        self, engine: Engine, throttle: FailureThrottle, validators: Validators
    ) -> None:
        self._engine = engine
        self._throttle = throttle
        self._validators = validators

    async def claim(self, opened: Opened, request: CertificationRequest) -> Claim:
        """Who asks.

        :raises PKIError: ``NOT_AUTHORIZED`` for a challenge that is not accepted;
            ``BAD_REQUEST`` for a renewal that no certificate signed; ``UNAVAILABLE``
            when a service that must be asked does not answer.
        """
        signed = opened.signed
        challenge = request.challenge_password or ""
        if signed.requester is not None:
            await self._check_beside_certificate(signed, challenge)
            return Claim(requester=signed.requester)
        if signed.type is not MessageType.PKCS_REQ:
            raise PKIError(
                ErrorCode.BAD_REQUEST,
                "a renewal is signed with the certificate that is renewed",
            )
        if not challenge:
            return Claim(requester=await self._unknown(signed))
        if signed.alias.validator:
            return await self._validated(signed, request, challenge)
        return Claim(
            requester=await self._by_challenge(signed, challenge),
            password=challenge.encode(),
        )

    async def _check_beside_certificate(self, signed: Signed, challenge: str) -> None:
        """A challenge beside a certificate is not needed, but must not be a guess.

        certmonger sends the one of the first enrolment again, which is used up: it is
        known, and that is enough.
        """
        if not challenge or signed.alias.validator:
            return
        name = signed.alias.name
        if await self._engine.find_challenge(challenge.encode(), name) is None:
            await self._refuse(signed, "it is not known")

    async def _unknown(self, signed: Signed) -> Requester:
        if signed.alias.unknown_requesters != "pend":
            await self._refuse(signed, "there is none in the request")
        key = hashlib.sha256(signed.signer.spki).hexdigest()
        return Requester(kind=RequesterKind.KEY, identity=f"key:{key}")

    async def _by_challenge(self, signed: Signed, challenge: str) -> Requester:
        alias = signed.alias
        found = await self._engine.find_challenge(challenge.encode(), alias.name)
        if Authentication.MAC not in alias.alias.authenticate:
            await self._refuse(signed, 'authenticate of the alias has no "mac"')
        if found is None:
            await self._refuse(signed, "it is not known")
        elif not found.usable:
            await self._reused(signed, found)
        elif _is_static(found) and not alias.static_challenge:
            hint = "it may be used any number of times: static_challenge of the alias"
            await self._refuse(signed, hint, found.credential)
        else:
            return found.requester
        raise PKIError(ErrorCode.INTERNAL, "a refused challenge went on")

    async def _reused(self, signed: Signed, found: SharedSecret) -> None:
        """A challenge that was good once: somebody may have got hold of it."""
        self.log.critical(
            "scep {alias}: a challenge that is used up or expired came from {peer}:"
            " {hint}",
            alias=signed.alias.name,
            peer=signed.received.peer.address,
            hint=found.hint,
        )
        await self._refuse(signed, found.hint, found.credential)

    async def _validated(
        self, signed: Signed, request: CertificationRequest, challenge: str
    ) -> Claim:
        name = signed.alias.validator
        validator = self._validators().get(name)
        if validator is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "this entrance is not configured completely",
                hint=f"declare [validator.{name}]",
            )
        question = ChallengeQuestion(
            transaction=signed.attributes.transaction_id.decode("latin-1"),
            request=request.der,
            challenge=challenge,
            alias=signed.alias.name,
            peer=signed.received.peer.address,
        )
        try:
            await validator.validate(question)
        except PKIError as error:
            if error.code is not ErrorCode.NOT_AUTHORIZED:
                raise
            await self._refuse(signed, f"{name} says: {error.detail}")
        return Claim(
            requester=Requester(
                kind=RequesterKind.CREDENTIAL, identity=f"validator:{name}"
            ),
            password=challenge.encode(),
            question=question,
            validator=validator,
        )

    async def _refuse(
        self, signed: Signed, hint: str, credential: Credential | None = None
    ) -> None:
        """Refuse a challenge: audited, counted, and always in the same words.

        :raises PKIError: always.
        """
        error = not_accepted(hint)
        self._throttle.count(signed.received.peer)
        await self._engine.report_failure(
            AuthenticationFailure(
                error=error,
                context=signed.received.context,
                alias=signed.alias.name,
                actor=NOBODY,
                transaction_id=signed.transaction,
                credential=credential,
            )
        )
        raise error


def not_accepted(hint: str) -> PKIError:
    """What everybody hears whose challenge is not good."""
    return PKIError(
        ErrorCode.NOT_AUTHORIZED,
        "the challenge password is not accepted",
        hint=f"the challenge: {hint}",
    )


def _is_static(found: SharedSecret) -> bool:
    """Whether anybody who knows it may use it again and again."""
    credential = found.credential
    return credential.uses_left is None and not credential.entity
