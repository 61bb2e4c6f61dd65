"""What operators do: secrets, end entities, the vendor allow-list, approvals.

Every change is audited in the commit that makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pkid.asn1.names import Name
from pkid.engine import approval, credentials, endentities
from pkid.engine.aliases import ApprovalRule, Policies
from pkid.engine.authorization import general_name
from pkid.engine.conflicts import look_again
from pkid.engine.credentials import IssuedSecret, NewSecret
from pkid.engine.enrollment import Enrollment
from pkid.engine.model import (
    Credential,
    CredentialKind,
    EndEntity,
    RequestContext,
    TransactionStatus,
)
from pkid.engine.ports import Clock, SecretBox, Store
from pkid.engine.records import ApprovalRequest, ApprovalStatus, AuditEvent
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.engine.writes import (
    AppendAudit,
    DeleteCredential,
    InsertCredential,
    InsertEntity,
    UpdateApproval,
    UpdateEntity,
    UpdateTransaction,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError

MAX_IMPORT_SLICE = 1000
SWEEP_SLICE = 200


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What a bulk load did, or would do.

    :ivar faults: one line a bad row; nothing was added when there is any.
    """

    added: int
    faults: tuple[str, ...]


class Administration:
    """The operators' side of the engine."""

    def __init__(
        self,
        *,
        store: Store,
        box: SecretBox,
        enrollment: Enrollment,
        policies: Callable[[], Policies],
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._box = box
        self._enrollment = enrollment
        self._policies = policies
        self._clock = clock
        self._random = random

    # --- secrets -----------------------------------------------------------------

    async def add_secret(
        self, new: NewSecret, actor: str, context: RequestContext
    ) -> IssuedSecret:
        """Make a shared secret; the answer is the only time it is shown.

        :raises PKIError: ``CONFLICT`` when the reference is taken.
        """
        now = self._clock.now()
        issued = credentials.mint(new, box=self._box, now=now, random=self._random)
        what = f"{new.kind.value} secret {issued.credential.reference}"
        try:
            await self._store.commit(
                InsertCredential(issued.credential),
                self._done("secret-added", actor, context, what, entity=new.entity),
            )
        except WriteConflict as conflict:
            raise PKIError(
                ErrorCode.CONFLICT, "there is a secret of this reference already"
            ) from conflict
        return issued

    async def list_secrets(self) -> Sequence[Credential]:
        """All secrets, sealed."""
        return await self._store.list_credentials()

    async def remove_secret(
        self, kind: CredentialKind, reference: str, actor: str, context: RequestContext
    ) -> None:
        """Remove a secret at once.

        :raises PKIError: ``NOT_FOUND``.
        """
        found = await self._store.find_credential(kind, reference)
        if found is None:
            raise PKIError(ErrorCode.NOT_FOUND, f"no {kind.value} secret {reference}")
        what = f"{kind.value} secret {reference}"
        await self._store.commit(
            DeleteCredential(found.id),
            self._done("secret-removed", actor, context, what),
        )

    # --- end entities ------------------------------------------------------------

    async def add_entity(
        self, entity: EndEntity, actor: str, context: RequestContext
    ) -> None:
        """Register an end entity.

        :raises PKIError: ``CONFLICT`` for a name that is taken, ``BAD_REQUEST`` for
            names that do not parse.
        """
        check_entity(entity)
        await self._check_unit_is_free(entity)
        try:
            await self._store.commit(
                InsertEntity(entity),
                self._done("entity-added", actor, context, "", entity=entity.name),
            )
        except WriteConflict as conflict:
            raise PKIError(
                ErrorCode.CONFLICT, f"there is an entity {entity.name} already"
            ) from conflict

    async def get_entity(self, name: str) -> EndEntity:
        """The entity of that name.

        :raises PKIError: ``NOT_FOUND``.
        """
        found = await self._store.find_entity(name)
        if found is None:
            raise PKIError(ErrorCode.NOT_FOUND, f"no end entity {name}")
        return found

    async def rearm_entity(
        self, name: str, actor: str, context: RequestContext, unit: str = ""
    ) -> EndEntity:
        """Allow one new enrolment (ENG-29).

        :param unit: of the same vendor, that takes the place of the one before.
        :raises PKIError: ``NOT_FOUND``, ``CONFLICT`` for a unit that is another's,
            ``BAD_REQUEST`` for an entity that is no vendor's unit.
        """
        armed = endentities.rearmed(await self.get_entity(name), unit)
        await self._check_unit_is_free(armed)
        what = f"unit {unit}" if unit else ""
        await self._store.commit(
            UpdateEntity(armed),
            self._done("entity-rearmed", actor, context, what, entity=name),
        )
        return armed

    async def _check_unit_is_free(self, entity: EndEntity) -> None:
        """One unit is one entity: else nobody could say which name it gets."""
        if not entity.vendor:
            return
        found = await self._store.find_entity_by_vendor(entity.vendor)
        if found is not None and found.name != entity.name:
            raise PKIError(
                ErrorCode.CONFLICT, f"this unit is registered as {found.name} already"
            )

    async def import_entities(
        self,
        entities: Sequence[EndEntity],
        *,
        dry_run: bool,
        actor: str,
        context: RequestContext,
    ) -> ImportResult:
        """Register many end entities: all or nothing."""
        faults = await self._import_faults(entities)
        if faults or dry_run:
            return ImportResult(0 if faults else len(entities), tuple(faults))
        what = f"{len(entities)} end entities"
        writes: list[Write] = [InsertEntity(entity) for entity in entities]
        writes.append(self._done("entities-imported", actor, context, what))
        await self._store.commit(*writes)
        return ImportResult(len(entities), ())

    async def _import_faults(self, entities: Sequence[EndEntity]) -> list[str]:
        faults: list[str] = []
        names: set[str] = set()
        units: set[str] = set()
        for row, entity in enumerate(entities, 1):
            try:
                check_entity(entity)
                await self._check_unit_is_free(entity)
            except PKIError as error:
                faults.append(f"row {row}: {error.detail}")
            if entity.vendor in units:
                faults.append(f"row {row}: its unit is in a row before")
            units |= {entity.vendor} - {""}
            if entity.name in names or await self._store.find_entity(entity.name):
                faults.append(f"row {row}: entity {entity.name} exists already")
            names.add(entity.name)
        return faults

    # --- approvals ---------------------------------------------------------------

    async def get_request(self, request_id: str) -> ApprovalRequest:
        """The approval request of that id.

        :raises PKIError: ``NOT_FOUND``.
        """
        found = await self._store.find_approval(request_id)
        if found is None:
            raise PKIError(ErrorCode.NOT_FOUND, f"no request {request_id}")
        return found

    async def approve(
        self, request_id: str, actor: str, note: str, context: RequestContext
    ) -> ApprovalRequest:
        """One operator's yes; the last one needed issues the certificate.

        :raises PKIError: ``NOT_FOUND``, ``NOT_AUTHORIZED``, ``CONFLICT``, or what
            today's policy refuses.
        """
        return await look_again(lambda: self._approve(request_id, actor, note, context))

    async def _approve(
        self, request_id: str, actor: str, note: str, context: RequestContext
    ) -> ApprovalRequest:
        waiting = await self.get_request(request_id)
        now = self._clock.now()
        rules = self._policies().approval_rules
        allowed = rules.get(waiting.rule, ApprovalRule()).approvers
        agreed = approval.with_approval(waiting, actor, allowed, now, note)
        if agreed.status is ApprovalStatus.APPROVED:
            await self._enrollment.approve(waiting, agreed, actor)
        else:
            what = f"request {request_id}, {len(agreed.approvers)} of {agreed.needed}"
            await self._store.commit(
                UpdateApproval(agreed),
                self._done("approve", actor, context, what, entity=agreed.entity),
            )
        return agreed

    async def reject(
        self, request_id: str, actor: str, note: str, context: RequestContext
    ) -> ApprovalRequest:
        """An operator's no, final.

        :raises PKIError: ``NOT_FOUND``, ``CONFLICT``.
        """
        return await look_again(lambda: self._reject(request_id, actor, note, context))

    async def _reject(
        self, request_id: str, actor: str, note: str, context: RequestContext
    ) -> ApprovalRequest:
        waiting = await self.get_request(request_id)
        approval.check_waiting(waiting, self._clock.now())
        rejected = replace(waiting, status=ApprovalStatus.REJECTED, note=note)
        await self._end(
            rejected,
            TransactionStatus.REJECTED,
            self._done(
                "reject",
                actor,
                context,
                f"request {request_id}: {note}",
                entity=waiting.entity,
            ),
        )
        return rejected

    async def expire_requests(self) -> int:
        """End what nobody decided in time; how many there were."""
        now = self._clock.now()
        context = RequestContext(protocol="internal")
        ended = 0
        rows = await self._store.due_transactions(
            TransactionStatus.PENDING, now, SWEEP_SLICE
        )
        for row in rows:
            waiting = await self._store.find_approval(row.request_id or "")
            if waiting is None:
                continue
            expired = replace(waiting, status=ApprovalStatus.EXPIRED)
            event = self._done(
                "approval-expired",
                "system:daemon",
                context,
                f"request {waiting.id}",
                entity=waiting.entity,
            )
            try:
                await self._end(expired, TransactionStatus.EXPIRED, event)
            except WriteConflict:
                continue  # somebody decided in the same moment
            ended += 1
        return ended

    async def _end(
        self, request: ApprovalRequest, status: TransactionStatus, event: AppendAudit
    ) -> None:
        row = await self._store.find_transaction(request.transaction)
        writes: list[Write] = [UpdateApproval(request), event]
        if row is not None:
            writes.append(
                UpdateTransaction(
                    key=row.key,
                    expected_version=row.version,
                    status=status,
                    due=self._clock.now() + REPLAY_WINDOW,
                    state=row.state,
                )
            )
        await self._store.commit(*writes)

    def _done(
        self,
        action: str,
        actor: str,
        context: RequestContext,
        detail: str,
        *,
        entity: str = "",
    ) -> AppendAudit:
        return AppendAudit(
            AuditEvent(
                at=self._clock.now(),
                action=action,
                outcome="done",
                actor=actor,
                protocol=context.protocol,
                transport=context.transport,
                peer=context.peer,
                entity=entity,
                detail=detail,
            )
        )


def check_entity(entity: EndEntity) -> None:
    """Refuse an entity whose name, subject or alternative names are no good.

    :raises PKIError: ``BAD_REQUEST``.
    """
    if (
        not 1 <= len(entity.name) <= endentities.MAX_NAME
        or not entity.name.isprintable()
    ):
        raise PKIError(
            ErrorCode.BAD_REQUEST, "entity name is empty, long or unprintable"
        )
    try:
        Name.from_text(entity.subject)
        for text in entity.alternative_names:
            general_name(text)
    except PKIError as error:
        raise PKIError(
            ErrorCode.BAD_REQUEST, f"entity {entity.name}: {error.detail}"
        ) from error
