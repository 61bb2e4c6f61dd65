"""What another CA signs: decided here by the one path, handed on, never signed here.

Steps 1 to 6 of the path are those of every certificate; instead of 7 the transaction
is stored as `ELSEWHERE`, and its responder asks the other CA.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from pkid.asn1.names import GeneralName, Name
from pkid.engine import audit, endentities, transactions
from pkid.engine.aliases import Alias, Policies
from pkid.engine.authorization import Grant
from pkid.engine.clockguard import ClockGuard
from pkid.engine.model import (
    EnrollmentRequest,
    Outcome,
    Pending,
    StateEncoder,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.policy import CertificatePlan
from pkid.engine.ports import Clock, Store
from pkid.engine.records import ApprovalRequest
from pkid.engine.writes import (
    ConsumeCredential,
    InsertEntity,
    InsertTransaction,
    UpdateApproval,
    UpdateEntity,
    UpdateTransaction,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError

REASON = "waiting for the certification authority"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOn(Pending):
    """Everything is decided but the signature, which another CA makes.

    :ivar request_id: of the approval that it waits for; "" when nobody need agree.
    :ivar subject: what the certificate is to say, by policy here.
    :ivar alternative_names: likewise.
    :ivar entity: name of the end entity.
    :ivar profile: name of the certificate profile.
    """

    subject: Name
    alternative_names: tuple[GeneralName, ...]
    entity: str
    profile: str


#: Steps 3 to 5 of the path, without the bounds of an issuer of ours.
Consider = Callable[
    [EnrollmentRequest, Alias, datetime], Awaitable[tuple[Grant, CertificatePlan]]
]


class Pend(Protocol):
    """Step 6, when somebody has to agree first."""

    def __call__(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        plan: CertificatePlan,
        encode_state: StateEncoder,
        now: datetime,
        /,
    ) -> Awaitable[Pending]:
        """Store the request for its approvers."""
        ...


class HandingOn:
    """The end of the path for entrances whose CA is elsewhere."""

    def __init__(
        self,
        *,
        store: Store,
        policies: Callable[[], Policies],
        clock: Clock,
        clock_guard: ClockGuard,
        consider: Consider,
        pend: Pend,
    ) -> None:
        self._store = store
        self._policies = policies
        self._clock = clock
        self._clock_guard = clock_guard
        self._consider = consider
        self._pend = pend

    async def hand_on(
        self, request: EnrollmentRequest, encode_state: StateEncoder
    ) -> HandedOn:
        """The path as far as the signature, which another CA makes.

        What a certificate consumes is consumed now: its number of uses must hold also
        while the other CA is out of reach.

        :param encode_state: gets a `HandedOn`.
        :raises PKIError: the refusal; `WriteConflict` when the transaction exists.
        """
        self._clock_guard.check()
        now = self._clock.now()
        entrance = self._policies().alias(request.context.protocol, request.alias)
        if not entrance.upstream:
            raise PKIError(ErrorCode.INTERNAL, "this entrance issues itself")
        grant, plan = await self._consider(request, entrance, now)
        outcome = _handed_on(grant, plan)
        if grant.approval.needed:

            async def encode_waiting(waiting: Outcome) -> bytes:
                return await encode_state(_awaiting(outcome, waiting))

            waits = await self._pend(request, grant, plan, encode_waiting, now)
            return _awaiting(outcome, waits)
        state = await encode_state(outcome)
        row = transactions.of_handed_on(request, now, state)
        try:
            await self._store.commit(
                InsertTransaction(row), *_writes(request, grant, now)
            )
        except WriteConflict as conflict:
            if not isinstance(conflict.write, ConsumeCredential):
                raise
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "the message is not protected as it must be",
                hint="the secret was used up by another request: pkid secret add",
            ) from conflict
        return outcome

    async def approved(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        row: TransactionRecord,
        agreed: ApprovalRequest,
        actor: str,
        now: datetime,
    ) -> None:
        """The last approval: let the responder ask the other CA now."""
        facts = replace(_facts(request, grant), rule=agreed.rule, detail=agreed.note)
        await self._store.commit(
            UpdateTransaction(
                key=row.key,
                expected_version=row.version,
                status=TransactionStatus.ELSEWHERE,
                due=now,
                state=row.state,
            ),
            UpdateApproval(agreed),
            *_writes(request, grant, now),
            audit.of_action(now, "approve", actor, request.context, facts),
        )


def entity_writes(grant: Grant) -> list[Write]:
    """What a granted certificate makes of its end entity."""
    if grant.new_entity:
        return [InsertEntity(grant.entity)]
    after = endentities.after_enrollment(grant.entity)
    return [] if after == grant.entity else [UpdateEntity(after)]


def _handed_on(grant: Grant, plan: CertificatePlan) -> HandedOn:
    return HandedOn(
        request_id="",
        retry_after=timedelta(0),
        reason=REASON,
        subject=plan.subject,
        alternative_names=plan.alternative_names,
        entity=grant.entity.name,
        profile=grant.profile.name,
    )


def _awaiting(outcome: HandedOn, waits: Outcome) -> HandedOn:
    if not isinstance(waits, Pending):
        raise PKIError(ErrorCode.INTERNAL, "what waits for an approval was decided")
    return replace(
        outcome,
        request_id=waits.request_id,
        retry_after=waits.retry_after,
        reason=waits.reason,
    )


def _writes(request: EnrollmentRequest, grant: Grant, now: datetime) -> list[Write]:
    """What becomes true together when a request is handed on."""
    writes: list[Write] = []
    if grant.credential is not None:
        writes.append(ConsumeCredential(grant.credential, now))
    writes += entity_writes(grant)
    actor = request.requester.identity
    writes.append(
        audit.of_action(now, "hand-on", actor, request.context, _facts(request, grant))
    )
    return writes


def _facts(request: EnrollmentRequest, grant: Grant) -> audit.Facts:
    subject = request.requested.subject
    return audit.Facts(
        alias=request.alias,
        entity=grant.entity.name,
        subject="" if subject is None else subject.text(),
        transaction=request.transaction,
        rule=f"alias {grant.alias.name}, upstream {grant.alias.upstream}",
    )
