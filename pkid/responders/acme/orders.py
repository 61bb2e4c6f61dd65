"""newOrder, order and finalize.

**Source:** RFC 8555 sections 7.1.3, 7.1.6 and 7.4.
"""

from __future__ import annotations

import fnmatch
import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from pkid.asn1 import der, oids
from pkid.asn1.names import EMPTY, GeneralName, Name, decode_general_names
from pkid.crypto.extensions import subject_alternative_name
from pkid.crypto.possession import SignedPossession
from pkid.engine.accounts import issued_write
from pkid.engine.aliases import Policies
from pkid.engine.model import (
    CredentialKind,
    EnrollmentRequest,
    Issued,
    Outcome,
    Pending,
    RequestedCertificate,
    TransactionKey,
)
from pkid.engine.orders import (
    AuthorizationStatus,
    Identifier,
    IdentifierAuthorization,
    Order,
    OrderStatus,
)
from pkid.engine.ports import Clock
from pkid.engine.writes import WriteConflict
from pkid.errors import ErrorCode, PKIError
from pkid.messages.jose import decode_base64url
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.acme.accounts import new_id
from pkid.responders.acme.aliases import PROTOCOL
from pkid.responders.acme.authorizations import fresh, moment, offered
from pkid.responders.acme.doors import Engine
from pkid.responders.acme.failures import ProblemError, malformed, not_found, problem
from pkid.responders.acme.identifiers import decode_identifiers, general_name, view
from pkid.responders.acme.places import Places
from pkid.responders.acme.replies import json_reply, location, without_none
from pkid.responders.acme.requests import Request
from pkid.responders.base import Reply

_CREATED: Final = 201
#: How control of an identifier was shown when nobody had to look.
VOUCHED: Final = "external-account"
SETTLE_SLICE: Final = 100
RETRY_SECONDS: Final = 5


class OrderResources:
    """Answers them."""

    def __init__(
        self,
        engine: Engine,
        policies: Callable[[], Policies],
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._engine = engine
        self._policies = policies
        self._clock = clock
        self._random = random

    # --- newOrder ----------------------------------------------------------------

    async def new(self, request: Request) -> Reply:
        """Make an order, and authorizations for what is not proven yet."""
        members, alias = request.members(), request.alias
        identifiers = decode_identifiers(members.get("identifiers"), alias)
        self._check_wildcards(identifiers, request)
        profile = _profile(members, request)
        now = self._clock.now()
        vouched = await self._vouched_names(request)
        found: list[IdentifierAuthorization] = []
        added: list[IdentifierAuthorization] = []
        for identifier in identifiers:
            known = await self._proven(request, identifier)
            if known is None:
                known = self._made(request, identifier, vouched, now)
                added.append(known)
            found.append(known)
        order = Order(
            id=new_id(self._random),
            account=request.owner.id,
            alias=alias.name,
            identifiers=identifiers,
            authorizations=tuple(one.id for one in found),
            created=now,
            expires=now + alias.order_lifetime,
            profile=profile,
            not_before=_time(members, "notBefore"),
            not_after=_time(members, "notAfter"),
        )
        await self._engine.accounts.add_order(order, added)
        url = request.places("order", order.id)
        document = order_view(request.places, order, order.status_at(found, now))
        return json_reply(document, location(url), status=_CREATED)

    def _check_wildcards(
        self, identifiers: Sequence[Identifier], request: Request
    ) -> None:
        """Refuse early what the one path would refuse late."""
        name = request.alias.alias.end_entity_profile
        rules = self._policies().end_entity_profiles.get(name)
        allowed = rules is not None and rules.wildcard_names
        if not allowed and any(one.is_wildcard for one in identifiers):
            raise ProblemError(
                "rejectedIdentifier",
                403,
                "wildcard names are not certified here",
                hint=f"wildcard_names of [end_entity_profile.{name}]",
            )

    async def _proven(
        self, request: Request, identifier: Identifier
    ) -> IdentifierAuthorization | None:
        """What the account has shown before, where that counts again."""
        if not request.alias.authorization_lifetime:
            return None
        for one in await self._engine.accounts.authorizations_of(
            request.owner.id, identifier.base
        ):
            if (
                one.status is AuthorizationStatus.VALID
                and one.wildcard == identifier.is_wildcard
                and one.how != VOUCHED
            ):
                return one
        return None

    def _made(
        self,
        request: Request,
        identifier: Identifier,
        vouched: Sequence[str],
        now: datetime,
    ) -> IdentifierAuthorization:
        alias = request.alias
        expires = now + alias.order_lifetime
        text = f"{identifier.kind}:{identifier.value}"
        methods = offered(alias, identifier)
        made = fresh(request.owner, identifier, methods, expires, self._random)
        if any(fnmatch.fnmatchcase(text, pattern) for pattern in vouched):
            return replace(
                made, status=AuthorizationStatus.VALID, challenges=(), how=VOUCHED
            )
        if not methods:
            raise ProblemError(
                "rejectedIdentifier",
                403,
                f"control of {text} cannot be shown here: no challenge fits",
            )
        return made

    async def _vouched_names(self, request: Request) -> tuple[str, ...]:
        """Names that the account's external key vouches for, as patterns."""
        reference = request.owner.binding
        if not reference:
            return ()
        secret = await self._engine.find_secret(
            CredentialKind.ACME_EAB, reference, request.alias.name
        )
        return () if secret is None else secret.requester.binding.alternative_names

    # --- one order ---------------------------------------------------------------

    async def one(self, request: Request) -> Reply:
        """Read an order."""
        request.check_get()
        order = await self.settled(await self._own(request))
        return await self._shown(request, order)

    async def _own(self, request: Request) -> Order:
        order = await self._engine.accounts.find_order(request.rest)
        if order is None or order.account != request.owner.id:
            raise not_found()
        return order

    async def _shown(self, request: Request, order: Order) -> Reply:
        proofs = await self._engine.accounts.authorizations(order.authorizations)
        status = order.status_at(proofs, self._clock.now())
        document = order_view(request.places, order, status)
        if status is OrderStatus.INVALID and "error" not in document:
            document["error"] = problem("unauthorized", _why_invalid(proofs))
        headers = [location(request.places("order", order.id))]
        if status is OrderStatus.PROCESSING:
            headers.append(("Retry-After", str(RETRY_SECONDS)))
        return json_reply(document, *headers)

    # --- finalize ----------------------------------------------------------------

    async def finalize(self, request: Request) -> Reply:
        """Take the CSR and give the certificate, unless somebody has to agree."""
        order = await self.settled(await self._own(request))
        octets = _csr_octets(request.members())
        digest = hashlib.sha256(octets).digest()
        if order.status in (OrderStatus.VALID, OrderStatus.PROCESSING):
            if order.request_hash == digest:
                return await self._shown(request, order)
            raise _not_ready("the order was finalized with another request")
        proofs = await self._engine.accounts.authorizations(order.authorizations)
        status = order.status_at(proofs, self._clock.now())
        if status is not OrderStatus.READY:
            raise _not_ready(f"the order is {status.value}, not ready")
        csr = _decoded(octets)
        await self._check_key(csr)
        names = _check_names(csr, order.identifiers)
        order = replace(order, request_hash=digest)
        outcome = await self._issue(request, order, csr, names)
        if isinstance(outcome, Pending):
            order = replace(order, status=OrderStatus.PROCESSING)
            await self._engine.accounts.update_order(order)
        stored = await self._engine.accounts.find_order(order.id)
        return await self._shown(request, stored or order)

    async def _check_key(self, csr: CertificationRequest) -> None:
        if await self._engine.accounts.is_account_key(
            hashlib.sha256(csr.spki).digest()
        ):
            raise ProblemError("badCSR", 400, "the key of an account is not certified")

    async def _issue(
        self,
        request: Request,
        order: Order,
        csr: CertificationRequest,
        names: tuple[GeneralName, ...],
    ) -> Outcome:
        enrollment = EnrollmentRequest(
            alias=order.alias,
            context=request.context,
            requester=request.requester,
            requested=RequestedCertificate(
                subject=_subject(csr, order.identifiers),
                public_key=csr.spki,
                extensions=(subject_alternative_name(names),),
                not_before=order.not_before,
                not_after=order.not_after,
            ),
            possession=SignedPossession(
                csr.request_info, csr.signature, csr.signature_algorithm
            ),
            transaction=transaction_of(order),
            request_hash=order.request_hash,
            profile=order.profile or None,
        )
        return await self._engine.enroll(
            enrollment, _no_state, lambda issued: (issued_write(order, issued),)
        )

    async def settled(self, order: Order) -> Order:
        """The order as it stands once an approver's word is taken into account."""
        if order.status is not OrderStatus.PROCESSING:
            return order
        try:
            outcome = await self._engine.collect(transaction_of(order))
        except PKIError as error:
            if error.code is not ErrorCode.REJECTED:
                raise
            after = replace(
                order,
                status=OrderStatus.INVALID,
                fault="unauthorized",
                detail=error.detail,
            )
        else:
            if not isinstance(outcome, Issued):
                return order
            after = replace(
                order,
                status=OrderStatus.VALID,
                certificate=outcome.certificate.reference,
            )
        try:
            await self._engine.accounts.update_order(after)
        except WriteConflict:
            return await self._engine.accounts.find_order(order.id) or after
        return after

    async def settle(self) -> int:
        """Take up what approvers decided; how many orders it was."""
        ended = 0
        for order in await self._engine.accounts.processing_orders(SETTLE_SLICE):
            after = await self.settled(order)
            ended += after.status is not OrderStatus.PROCESSING
        return ended


async def _no_state(_: Outcome) -> bytes:
    return b""


def transaction_of(order: Order) -> TransactionKey:
    """The transaction that finalizes an order."""
    return TransactionKey(
        PROTOCOL, order.alias, f"account:{order.account}", order.id.encode()
    )


def order_view(places: Places, order: Order, status: OrderStatus) -> dict[str, Any]:
    """An order as JSON."""
    certificate = None
    if status is OrderStatus.VALID:
        certificate = places("certificate", order.id)
    return without_none(
        status=status.value,
        expires=moment(order.expires),
        identifiers=[view(one) for one in order.identifiers],
        profile=order.profile or None,
        notBefore=None if order.not_before is None else moment(order.not_before),
        notAfter=None if order.not_after is None else moment(order.not_after),
        error=problem(order.fault, order.detail) if order.fault else None,
        authorizations=[places("authorization", one) for one in order.authorizations],
        finalize=places("finalize", order.id),
        certificate=certificate,
    )


def _why_invalid(proofs: Sequence[IdentifierAuthorization]) -> str:
    for one in proofs:
        for challenge in one.challenges:
            if challenge.fault:
                return f"{one.identifier.value}: {challenge.detail}"
    return "the order has expired, or control of a name was given up"


# --- the CSR ---------------------------------------------------------------------


def _csr_octets(members: dict[str, Any]) -> bytes:
    text = members.get("csr")
    if not isinstance(text, str):
        raise malformed("csr is missing or not a text")
    return decode_base64url(text)


def _decoded(octets: bytes) -> CertificationRequest:
    try:
        return CertificationRequest.decode(octets)
    except PKIError as error:
        raise ProblemError("badCSR", 400, f"the CSR: {error.detail}") from error


def _check_names(
    csr: CertificationRequest, identifiers: Sequence[Identifier]
) -> tuple[GeneralName, ...]:
    """The names of the order, which those of the CSR must be, no more and no less.

    :raises ProblemError: ``badCSR``.
    """
    wanted = tuple(map(general_name, identifiers))
    asked = set(_alternative_names(csr))
    for text in _common_names(csr):
        common = _as_name(text)
        if common not in wanted:
            raise ProblemError("badCSR", 400, "the common name is not one of the order")
        asked.add(common)
    if asked != set(wanted):
        raise ProblemError(
            "badCSR", 400, "the names of the CSR are not those of the order"
        )
    return wanted


def _alternative_names(csr: CertificationRequest) -> tuple[GeneralName, ...]:
    for extension in csr.extension_request:
        if extension.oid == oids.ID_CE_SUBJECT_ALT_NAME:
            try:
                names = decode_general_names(der.single(extension.value, der.SEQUENCE))
            except PKIError as error:
                raise ProblemError("badCSR", 400, error.detail) from error
            return tuple(map(_lower, names))
    return ()


def _lower(name: GeneralName) -> GeneralName:
    kind, _, value = name.text().partition(":")
    return GeneralName.dns(value.lower()) if kind == "dns" else name


def _common_names(csr: CertificationRequest) -> tuple[str, ...]:
    try:
        return tuple(Name.decode(csr.subject).values(oids.ID_AT_COMMON_NAME))
    except PKIError as error:
        raise ProblemError("badCSR", 400, error.detail) from error


def _as_name(text: str) -> GeneralName:
    try:
        return GeneralName.ip(str(ipaddress.ip_address(text)))
    except ValueError:
        return GeneralName.dns(text.lower())


def _subject(csr: CertificationRequest, identifiers: Sequence[Identifier]) -> Name:
    """The common name of the CSR, when it has one; nothing else was proven."""
    found = _common_names(csr)
    if not found:
        return EMPTY
    values = {one.value: one.value for one in identifiers}
    return Name.build([[(oids.ID_AT_COMMON_NAME, values[found[0].lower()])]])


# --- members of newOrder ---------------------------------------------------------


def _profile(members: dict[str, Any], request: Request) -> str:
    name = members.get("profile")
    if name is None:
        return ""
    own = request.alias.alias
    if name not in (own.certificate_profile, *own.profiles):
        raise ProblemError("invalidProfile", 400, "this profile is not offered here")
    return str(name)


def _time(members: dict[str, Any], name: str) -> datetime | None:
    text = members.get(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise malformed(f"{name} is not a time of RFC 3339") from None
    if found.tzinfo is None:
        raise malformed(f"{name} has no time zone")
    return found.astimezone(UTC).replace(microsecond=0)


def _not_ready(detail: str) -> ProblemError:
    return ProblemError("orderNotReady", 403, detail)
