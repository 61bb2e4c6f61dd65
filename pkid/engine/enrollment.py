"""The one path: every certificate of every door is signed here and nowhere else.

Authenticated request in; resume, authorize, possession, policy, lint, approval, sign,
store; outcome out. `DESIGN`: one database transaction, after the signature and before
the answer. A crash before it loses a signature that nobody has seen, a crash after it
loses an answer that the client gets by asking again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.publickeys import decode_spki
from pkid.engine import (
    approval,
    audit,
    keygeneration,
    lint,
    possession,
    transactions,
)
from pkid.engine.aliases import Alias, ApprovalRule, Policies
from pkid.engine.authorities import Authorities, Authority, is_loopback_url
from pkid.engine.authorization import Authorization, Grant, check_subject_pattern
from pkid.engine.bindings import check_binding
from pkid.engine.clockguard import ClockGuard
from pkid.engine.conflicts import ATTEMPTS
from pkid.engine.crlplaces import partition_of
from pkid.engine.handingon import HandingOn, entity_writes
from pkid.engine.issuance import Issuance
from pkid.engine.keyarchive import KeyArchive
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateStatus,
    DecryptionPossession,
    EnrollmentRequest,
    GeneratedKey,
    Issued,
    Outcome,
    Pending,
    RequesterKind,
    StateEncoder,
    TransactionRecord,
    TransactionStatus,
    UpdateState,
    make_certificate_record,
    make_issued,
)
from pkid.engine.policy import CertificatePlan, plan_certificate
from pkid.engine.ports import Clock, KeyStore, Store
from pkid.engine.records import ApprovalRequest, ArchivedKey
from pkid.engine.renewal import update_of_replaced
from pkid.engine.writes import (
    ConsumeCredential,
    InsertApproval,
    InsertArchivedKey,
    InsertCertificate,
    InsertTransaction,
    UpdateApproval,
    UpdateCertificate,
    UpdateTransaction,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError

ID_OCTETS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A certificate that exists but is not stored yet: it may not leave."""

    record: CertificateRecord
    der: bytes
    chain: tuple[bytes, ...]
    algorithm: AlgorithmIdentifier
    generated: GeneratedKey | None = None


def nothing_more(_: Issued) -> tuple[Write, ...]:
    """No further writes."""
    return ()


class Enrollment:
    """Runs requests down the one path."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        archive: KeyArchive,
        authorities: Authorities,
        policies: Callable[[], Policies],
        clock: Clock,
        clock_guard: ClockGuard,
        random: Callable[[int], bytes],
    ) -> None:
        self._keys = keys
        self._archive = archive
        self._clock_guard = clock_guard
        self._store = store
        self._authorities = authorities
        self._authorization = Authorization(store, random, authorities.line)
        self._issuance = Issuance(random)
        self._policies = policies
        self._clock = clock
        self._random = random
        self.handing_on = HandingOn(
            store=store,
            policies=policies,
            clock=clock,
            clock_guard=clock_guard,
            consider=self._consider,
            pend=self._pend,
        )

    async def enroll(
        self,
        request: EnrollmentRequest,
        encode_state: StateEncoder,
        *,
        alias: Alias | None = None,
        authority: Authority | None = None,
        extra: Callable[[Issued], tuple[Write, ...]] = nothing_more,
    ) -> Outcome:
        """The path, from an authenticated request to a durable outcome.

        :param encode_state: gives the protocol's state (with its answer) for the
            transaction row; called before the commit.
        :param alias: for the daemon's own certificates, which come through no
            configured entrance.
        :param authority: for a root that signs itself.
        :param extra: further writes that belong to the same fact.
        :raises PKIError: the refusal, as code and cause.
        """
        made: GeneratedKey | None = None
        for attempt in range(ATTEMPTS):
            resumed = await self._resume(request)
            if resumed is not None:
                return resumed
            self._clock_guard.check()
            now = self._clock.now()
            policies = self._policies()
            entrance = alias or policies.alias(request.context.protocol, request.alias)
            issuer = authority or self._issuer(entrance)
            self._check_urls(request, issuer.name, policies)
            grant = await self._authorization.authorize(
                entrance, request, policies, now
            )
            request, made = await keygeneration.keyed(
                self._keys, self._archive, request, grant, made
            )
            plan = await self._plan(request, grant, issuer, policies, now)
            try:
                if grant.approval.needed:
                    return await self._pend(request, grant, plan, encode_state, now)
                signed = await self._sign(request, grant, plan, issuer, policies, now)
                signed = signed if made is None else replace(signed, generated=made)
                return await self._store_issued(
                    request, grant, plan, signed, encode_state, now, extra
                )
            except WriteConflict as conflict:
                self._check_worth_retrying(conflict, attempt)
        raise PKIError(ErrorCode.BUSY, "too many requests at once", retry_after=1)

    async def approve(
        self, waiting: ApprovalRequest, agreed: ApprovalRequest, actor: str
    ) -> None:
        """The last approval: prepare again under today's policy, sign, store.

        :param agreed: ``waiting`` with its last approver.
        :raises PKIError: ``CONFLICT`` when policy would now make another certificate
            than what was approved, or the refusal of today's policy.
        """
        self._clock_guard.check()
        request = approval.decode_enrollment(waiting.enrollment)
        row = await self._store.find_transaction(request.transaction)
        if row is None or row.status is not TransactionStatus.PENDING:
            raise PKIError(ErrorCode.CONFLICT, "the request waits no longer")
        now, policies = self._clock.now(), self._policies()
        entrance = policies.alias(request.context.protocol, request.alias)
        issuer = None if entrance.upstream else self._issuer(entrance)
        grant = await self._authorization.authorize(entrance, request, policies, now)
        plan = await self._plan(request, grant, issuer, policies, now)
        if plan.digest != waiting.digest:
            raise PKIError(
                ErrorCode.CONFLICT,
                "today's policy would change names, key or profile",
                hint="reject the request and let the device ask again",
            )
        if issuer is None:
            await self.handing_on.approved(request, grant, row, agreed, actor, now)
            return
        signed = await self._sign(request, grant, plan, issuer, policies, now)
        await self._store_approved(request, grant, signed, row, agreed, actor, now)

    # --- the steps ---------------------------------------------------------------

    def _issuer(self, entrance: Alias) -> Authority:
        if entrance.upstream:
            raise PKIError(ErrorCode.INTERNAL, "another authority issues here")
        return self._authorities.issuing(entrance.authority)

    async def _resume(self, request: EnrollmentRequest) -> Outcome | None:
        row = await self._store.find_transaction(request.transaction)
        if row is None:
            return None
        if row.request_hash != request.request_hash:
            raise PKIError(
                ErrorCode.TRANSACTION_IN_USE,
                "another request has used this transaction id",
            )
        return await self.outcome_of(row)

    async def outcome_of(self, row: TransactionRecord) -> Outcome:
        """What became of a transaction.

        :raises PKIError: ``REJECTED`` when it was refused or ran out.
        """
        reference = transactions.certificate_of(row)
        if reference is not None:
            return await self._released(reference, row)
        if row.status is not TransactionStatus.PENDING:
            raise await self._refusal_of(row)
        pending = await self._store.find_approval(row.request_id or "")
        rule = self._policies().approval_rules.get(pending.rule if pending else "")
        waits = (rule or ApprovalRule()).retry_after
        return Pending(request_id=row.request_id or "", retry_after=waits)

    async def _refusal_of(self, row: TransactionRecord) -> PKIError:
        decided = await self._store.find_approval(row.request_id or "")
        note = f": {decided.note}" if decided is not None and decided.note else ""
        if row.status is TransactionStatus.EXPIRED:
            return PKIError(ErrorCode.REJECTED, "the request was not decided in time")
        return PKIError(ErrorCode.REJECTED, f"the request was rejected{note}")

    async def _released(
        self, reference: CertificateReference, row: TransactionRecord
    ) -> Issued:
        record = await self._store.find_certificate(reference)
        if record is None:
            raise PKIError(ErrorCode.INTERNAL, "a transaction without its certificate")
        return Issued(
            certificate=record,
            der=await self._store.get_certificate_der(reference),
            chain=self._authorities.get(reference.authority).chain_below,
            modified=False,
            confirm_by=(row.due if row.status is TransactionStatus.ISSUED else None),
            withheld=await self._is_withheld(row),
        )

    async def _is_withheld(self, row: TransactionRecord) -> bool:
        """Whether a certificate that was approved must leave encrypted to its key."""
        if not row.request_id:
            return False
        waited = await self._store.find_approval(row.request_id)
        if waited is None:
            raise PKIError(ErrorCode.INTERNAL, "a transaction without its approval")
        proof = approval.decode_enrollment(waited.enrollment).possession
        return isinstance(proof, DecryptionPossession)

    async def _consider(
        self, request: EnrollmentRequest, entrance: Alias, now: datetime
    ) -> tuple[Grant, CertificatePlan]:
        """Steps 3 to 5 of what another CA signs."""
        policies = self._policies()
        grant = await self._authorization.authorize(entrance, request, policies, now)
        return grant, await self._plan(request, grant, None, policies, now)

    async def _plan(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        issuer: Authority | None,
        policies: Policies,
        now: datetime,
    ) -> CertificatePlan:
        if request.requested.public_key is None:
            raise PKIError(ErrorCode.BAD_TEMPLATE, "the request has no public key")
        key = decode_spki(request.requested.public_key)
        plan = plan_certificate(
            grant,
            request.requested,
            key,
            None if issuer is None else issuer.bounds,
            now,
            blocked=policies.blocked_keys,
        )
        lint.check(plan)
        possession.check(request, plan, grant.alias)
        check_subject_pattern(request.requester.subject_pattern, plan.subject)
        check_binding(request.requester.binding, plan)
        await self._check_key_use(request, grant, plan)
        return plan

    async def _check_key_use(
        self, request: EnrollmentRequest, grant: Grant, plan: CertificatePlan
    ) -> None:
        if request.requester.kind is RequesterKind.SYSTEM:
            return
        if self._authorities.is_own_key(plan.key.spki):
            raise PKIError(
                ErrorCode.BAD_TEMPLATE, "this public key is not the requester's own"
            )
        renewal = grant.renews is not None
        allowed = grant.alias.renewal_same_key if renewal else grant.alias.same_key
        if allowed and not grant.profile.unique_key:
            return
        same = await self._store.find_certificates_by_key(plan.key.fingerprint)
        if same:
            subject = plan.subject.text()
            again = not renewal and any(one.subject == subject for one in same)
            raise PKIError(
                ErrorCode.DUPLICATE_REQUEST if again else ErrorCode.BAD_TEMPLATE,
                "this public key was certified before",
                hint=f"certificate {same[0].reference}; see same_key of the alias",
            )

    async def _sign(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        plan: CertificatePlan,
        issuer: Authority,
        policies: Policies,
        now: datetime,
    ) -> Signed:
        settings = policies.authority(self._authorities.line(issuer.name))
        prepared = self._issuance.prepare(issuer, settings, plan, now)
        tbs = prepared.tbs
        signature = await issuer.signer.sign(prepared)
        octets = self._issuance.complete(issuer, plan, prepared, tbs, signature)
        chain = issuer.chain_below if issuer.certificate else ()
        record = _record(request, grant, plan, issuer, prepared.serial, octets, now)
        if settings.crl_partitions:
            partition = partition_of(settings, prepared.serial)
            record = replace(record, crl_partition=partition)
        return Signed(
            record=record, der=octets, chain=chain, algorithm=prepared.algorithm
        )

    async def _store_issued(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        plan: CertificatePlan,
        signed: Signed,
        encode_state: StateEncoder,
        now: datetime,
        extra: Callable[[Issued], tuple[Write, ...]],
    ) -> Issued:
        wait = request.confirmation
        confirm_by = None if wait is None else (now + wait).replace(microsecond=0)
        outcome = make_issued(
            certificate=signed.record,
            der=signed.der,
            chain=signed.chain,
            modified=plan.modified,
            confirm_by=confirm_by,
            algorithm=signed.algorithm,
            generated=signed.generated,
            withheld=isinstance(request.possession, DecryptionPossession),
        )
        state = await encode_state(outcome)
        row = transactions.of_issued(request, signed.record, confirm_by, now, state)
        await self._store.commit(
            InsertTransaction(row),
            *self._writes_of_issue(request, grant, signed, now),
            *extra(outcome),
        )
        return outcome

    async def _store_approved(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        signed: Signed,
        row: TransactionRecord,
        agreed: ApprovalRequest,
        actor: str,
        now: datetime,
    ) -> None:
        wait = request.confirmation
        done = TransactionStatus.ISSUED if wait else TransactionStatus.DONE
        # The client has until the approval rule's expiry to come and fetch it; its
        # own confirmation period starts then.
        await self._store.commit(
            UpdateTransaction(
                key=row.key,
                expected_version=row.version,
                status=done,
                due=now + grant.approval.expires,
                state=row.state,
                certificate=signed.record.reference,
            ),
            UpdateApproval(agreed),
            *self._writes_of_issue(request, grant, signed, now, rule=agreed.rule),
            audit.of_action(
                now,
                "approve",
                actor,
                request.context,
                audit.Facts(
                    alias=request.alias,
                    certificate=str(signed.record.reference),
                    entity=grant.entity.name,
                    subject=signed.record.subject,
                    transaction=row.key,
                    rule=agreed.rule,
                    detail=agreed.note,
                ),
            ),
        )

    def _writes_of_issue(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        signed: Signed,
        now: datetime,
        *,
        rule: str = "",
    ) -> list[Write]:
        """What becomes true together when a certificate is issued."""
        record = signed.record
        writes: list[Write] = [InsertCertificate(record, signed.der)]
        if request.archived:
            writes.append(_archiving(request.archived, record))
        if grant.credential is not None:
            writes.append(ConsumeCredential(grant.credential, now))
        writes += entity_writes(grant)
        if grant.renews is not None:
            writes.append(_update_of_renewed(grant, request, now))
        writes.append(
            audit.of_action(
                now,
                "issue",
                request.requester.identity,
                request.context,
                audit.make_facts(
                    alias=request.alias,
                    certificate=str(record.reference),
                    entity=record.entity,
                    subject=record.subject,
                    transaction=request.transaction,
                    rule=rule or f"alias {grant.alias.name}, {grant.profile.name}",
                    detail=possession.describe(request),
                ),
                outcome="issued",
            )
        )
        return writes

    async def _pend(
        self,
        request: EnrollmentRequest,
        grant: Grant,
        plan: CertificatePlan,
        encode_state: StateEncoder,
        now: datetime,
    ) -> Pending:
        request_id = self._random(ID_OCTETS).hex()
        waiting = approval.of_request(request, grant, plan, request_id, now)
        outcome = Pending(request_id=request_id, retry_after=grant.approval.retry_after)
        state = await encode_state(outcome)
        row = transactions.of_pending(request, request_id, waiting.expires, now, state)
        await self._store.commit(
            InsertTransaction(row),
            InsertApproval(waiting),
            audit.of_action(
                now,
                "pend",
                request.requester.identity,
                request.context,
                audit.Facts(
                    alias=request.alias,
                    entity=waiting.entity,
                    subject=waiting.subject,
                    transaction=request.transaction,
                    rule=f"approval {waiting.rule}",
                    detail=f"request {request_id}",
                ),
                outcome="waiting",
            ),
        )
        return outcome

    def _check_urls(
        self, request: EnrollmentRequest, authority: str, policies: Policies
    ) -> None:
        if not request.context.beyond_loopback:
            return
        settings = policies.authority(self._authorities.line(authority))
        if is_loopback_url(settings.public_url):
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "this service is not configured for other hosts yet",
                hint="certificates would point at loopback URLs:"
                " pkid init --hostname HOST --listen ADDRESS",
            )

    def _check_worth_retrying(self, conflict: WriteConflict, attempt: int) -> None:
        match conflict.write:
            case ConsumeCredential():
                raise PKIError(
                    ErrorCode.BAD_MESSAGE_CHECK,
                    "the message is not protected as it must be",
                    hint="the secret was used up by another request: pkid secret add",
                ) from conflict
            case UpdateCertificate():
                raise PKIError(
                    ErrorCode.CERTIFICATE_REVOKED,
                    "an update of this certificate is under way",
                ) from conflict
            case _ if attempt + 1 == ATTEMPTS:
                raise conflict
            case _:
                # A repeat of the same request won, an entity was made meanwhile, or a
                # serial number was drawn twice: look again.
                return


def _record(
    request: EnrollmentRequest,
    grant: Grant,
    plan: CertificatePlan,
    issuer: Authority,
    serial: int,
    octets: bytes,
    now: datetime,
) -> CertificateRecord:
    waits = request.confirmation is not None
    return make_certificate_record(
        reference=CertificateReference(issuer.name, serial),
        subject=plan.subject.text(),
        fingerprint=hashlib.sha256(octets).digest(),
        spki_hash=plan.key.fingerprint,
        subject_key_id=plan.key.key_id,
        entity=grant.entity.name,
        profile=grant.profile.name,
        alias=request.alias,
        protocol=request.context.protocol,
        requester=request.requester.identity,
        not_before=plan.not_before,
        not_after=plan.not_after,
        issued_at=now,
        status=(
            CertificateStatus.AWAITING_CONFIRMATION
            if waits
            else CertificateStatus.ACTIVE
        ),
        replaces=None if grant.renews is None else grant.renews.reference,
        credential=grant.credential,
    )


def _archiving(sealed: bytes, record: CertificateRecord) -> InsertArchivedKey:
    return InsertArchivedKey(
        ArchivedKey(
            certificate=record.reference,
            entity=record.entity,
            key=record.spki_hash,
            sealed=sealed,
            created=record.issued_at,
        )
    )


def _update_of_renewed(
    grant: Grant, request: EnrollmentRequest, now: datetime
) -> UpdateCertificate:
    """The old certificate is in update until the new one is confirmed."""
    old = grant.renews
    if old is None:
        raise PKIError(ErrorCode.INTERNAL, "a renewal without its certificate")
    if request.confirmation is not None:
        return UpdateCertificate(
            reference=old.reference,
            expected_status=old.status,
            expected_update_state=UpdateState.CURRENT,
            status=old.status,
            update_state=UpdateState.IN_UPDATE,
        )
    return update_of_replaced(old, revoke=grant.alias.revoke_replaced, now=now)
