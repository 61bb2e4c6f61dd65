"""Certificates of another CA, for which this daemon is registration authority.

Nothing is signed here. A transaction that was handed on stays `ELSEWHERE` until all is
said; what the other CA issued is recorded beside our own certificates, under the name
of that CA, so that its holder is known when it comes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from pkid.crypto.certificates import Certificate, subject_key_identifier
from pkid.crypto.publickeys import decode_spki
from pkid.engine import audit
from pkid.engine.authorities import Authorities, MessageIdentity
from pkid.engine.handingon import HandedOn, HandingOn
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateStatus,
    EnrollmentRequest,
    RequestContext,
    RevocationReason,
    StateEncoder,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock, KeyStore, MessageSigner, Store
from pkid.engine.records import KeyHandleRecord
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.engine.writes import (
    InsertCertificate,
    InsertKeyHandle,
    InsertTransaction,
    UpdateCertificate,
    UpdateTransaction,
    Write,
)
from pkid.errors import ErrorCode, PKIError

T = TypeVar("T")
MAX_SERIAL_OCTETS = 20
LATER = timedelta(minutes=1)
MOST_WAIT = timedelta(days=7)
INTERNAL = RequestContext(protocol="internal")
DAEMON = "system:daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCertificate:
    """A certificate that another CA issued for a transaction of ours.

    :ivar confirmed: whether its holder need not confirm it any more.
    """

    authority: str
    der: bytes = field(repr=False)
    entity: str
    profile: str
    confirmed: bool
    replaces: CertificateReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a transaction goes on, as one commit.

    :ivar due: when to look again; for one that is over, the end of its replay window
        follows by itself.
    :ivar issued: what the other CA issued.
    :ivar confirmed: its holder took the certificate of this transaction, or (False)
        did not; None says nothing of it.
    :ivar revoked: what the other CA revoked.
    :ivar action: of the audit record; "" for none.
    """

    status: TransactionStatus
    state: bytes = field(repr=False)
    due: datetime
    context: RequestContext = INTERNAL
    issued: ForeignCertificate | None = None
    confirmed: bool | None = None
    revoked: CertificateReference | None = None
    action: str = ""
    outcome: str = "done"
    detail: str = ""


class Elsewhere:
    """Doors for transactions whose CA is elsewhere; those that write give Deferreds."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        authorities: Authorities,
        handing_on: HandingOn,
        clock: Clock,
    ) -> None:
        self._store = store
        self._keys = keys
        self._authorities = authorities
        self._handing_on = handing_on
        self._clock = clock

    # --- transactions ------------------------------------------------------------

    def hand_on(
        self, request: EnrollmentRequest, encode_state: StateEncoder
    ) -> Deferred[HandedOn]:
        """Run a request down the path as far as the signature.

        :raises PKIError: the refusal.
        """
        return _run(self._handing_on.hand_on(request, encode_state))

    def begin(
        self, record: TransactionRecord, context: RequestContext
    ) -> Deferred[None]:
        """Store a transaction that asks the other CA for something else.

        :raises WriteConflict: when its key is taken.
        """
        facts = audit.Facts(alias=record.key.alias, transaction=record.key)
        event = audit.of_action(
            self._clock.now(), "hand-on", record.key.requester, context, facts
        )
        return self._store.commit(InsertTransaction(record), event)

    async def due(self, limit: int) -> Sequence[TransactionRecord]:
        """Transactions to be looked at now, longest due first."""
        return await self._store.due_transactions(
            TransactionStatus.ELSEWHERE, self._clock.now(), limit
        )

    async def waiting(self, limit: int) -> int:
        """How many transactions are under way, counted as far as ``limit``."""
        return await self._store.count_transactions(TransactionStatus.ELSEWHERE, limit)

    def postpone(self, record: TransactionRecord) -> Deferred[TransactionRecord]:
        """Look at a transaction later that nobody can look at now.

        :raises WriteConflict: when the row changed since it was read.
        """
        now = self._clock.now()
        over = record.created + MOST_WAIT < now
        status = TransactionStatus.EXPIRED if over else TransactionStatus.ELSEWHERE
        progress = Progress(status=status, state=record.state, due=now + LATER)
        return self.proceed(record, progress)

    def proceed(
        self, record: TransactionRecord, progress: Progress
    ) -> Deferred[TransactionRecord]:
        """Store how a transaction went on, if nobody did meanwhile.

        :returns: the row as it is now.
        :raises PKIError: ``UNAVAILABLE`` for a certificate that cannot be recorded;
            `WriteConflict` when the row changed since it was read.
        """
        return _run(self._proceed(record, progress))

    async def _proceed(
        self, record: TransactionRecord, progress: Progress
    ) -> TransactionRecord:
        now = self._clock.now()
        over = progress.status is not TransactionStatus.ELSEWHERE
        writes: list[Write] = []
        reference = record.certificate
        if progress.issued is not None:
            reference, inserted = await self._record(record, progress.issued, now)
            writes += inserted
        if progress.confirmed is not None and reference is not None:
            writes += await self._confirmed(reference, now, taken=progress.confirmed)
        if progress.revoked is not None:
            writes += await self._revoked(progress.revoked, now)
        after = replace(
            record,
            status=progress.status,
            state=progress.state,
            due=now + REPLAY_WINDOW if over else progress.due,
            certificate=reference,
            version=record.version + 1,
        )
        if progress.action:
            writes.append(await self._event(after, progress, now))
        update = UpdateTransaction(
            key=record.key,
            expected_version=record.version,
            status=after.status,
            due=after.due,
            state=after.state,
            certificate=reference,
        )
        await self._store.commit(update, *writes)
        return after

    async def _event(
        self, record: TransactionRecord, progress: Progress, now: datetime
    ) -> Write:
        named = progress.revoked or record.certificate
        entity = subject = ""
        if progress.issued is not None:
            entity = progress.issued.entity
            subject = Certificate.decode(progress.issued.der).subject.text()
        elif named is not None:
            found = await self._store.find_certificate(named)
            if found is not None:
                entity, subject = found.entity, found.subject
        facts = audit.Facts(
            alias=record.key.alias,
            certificate="" if named is None else str(named),
            entity=entity,
            subject=subject,
            transaction=record.key,
            rule=f"upstream of alias {record.key.alias}",
            detail=progress.detail,
        )
        return audit.of_action(
            now,
            progress.action,
            record.key.requester,
            progress.context,
            facts,
            outcome=progress.outcome,
        )

    # --- certificates ------------------------------------------------------------

    async def _record(
        self, row: TransactionRecord, issued: ForeignCertificate, now: datetime
    ) -> tuple[CertificateReference, list[Write]]:
        certificate = Certificate.decode(issued.der)
        serial = certificate.serial
        if serial <= 0 or serial.bit_length() > 8 * MAX_SERIAL_OCTETS:
            raise _odd("a serial number that no certificate may have")
        reference = CertificateReference(issued.authority, serial)
        fingerprint = hashlib.sha256(issued.der).digest()
        known = await self._store.find_certificate(reference)
        if known is not None:
            if known.fingerprint != fingerprint:
                raise _odd("one serial number for two certificates")
            return reference, []
        record = CertificateRecord(
            reference=reference,
            subject=certificate.subject.text(),
            fingerprint=fingerprint,
            spki_hash=decode_spki(certificate.spki).fingerprint,
            subject_key_id=subject_key_identifier(certificate) or b"",
            entity=issued.entity,
            profile=issued.profile,
            alias=row.key.alias,
            protocol=row.key.protocol,
            requester=row.key.requester,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            issued_at=now,
            status=(
                CertificateStatus.ACTIVE
                if issued.confirmed
                else CertificateStatus.AWAITING_CONFIRMATION
            ),
            replaces=issued.replaces,
        )
        return reference, [InsertCertificate(record, issued.der)]

    async def _confirmed(
        self, reference: CertificateReference, now: datetime, *, taken: bool
    ) -> list[Write]:
        found = await self._store.find_certificate(reference)
        if found is None or found.status is not CertificateStatus.AWAITING_CONFIRMATION:
            return []
        if not taken:
            return [_revocation(found, now)]
        return [
            UpdateCertificate(
                reference=reference,
                expected_status=found.status,
                expected_update_state=found.update_state,
                status=CertificateStatus.ACTIVE,
                update_state=found.update_state,
            )
        ]

    async def _revoked(
        self, reference: CertificateReference, now: datetime
    ) -> list[Write]:
        found = await self._store.find_certificate(reference)
        if found is None or found.status is CertificateStatus.REVOKED:
            return []
        return [_revocation(found, now)]

    def check_own(self, reference: CertificateReference) -> None:
        """Refuse what is another CA's to decide.

        :raises PKIError: ``NOT_AUTHORIZED``.
        """
        if reference.authority not in self._authorities.names():
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "another authority issued this certificate",
                hint="have it revoked there, or by its device (rr) through here",
            )

    # --- our own key toward the other CA -----------------------------------------

    async def make_key(self, upstream: str, spec: str) -> MessageSigner:
        """The key that signs our messages to a CA elsewhere; made when it is not there.

        :raises PKIError: ``UNAVAILABLE``, ``BAD_ALGORITHM``.
        """
        name = f"upstream-{upstream}"
        spki = await self._keys.generate(name, spec, "message-signing")
        self._authorities.add_key(spki)
        if await self._store.find_key_handle(name) is None:
            handle = KeyHandleRecord(
                name=name,
                purpose="message-signing",
                spec=spec,
                public_key=spki,
                created=self._clock.now(),
            )
            await self._store.commit(InsertKeyHandle(handle))
        return await self._keys.message_signer(name)

    def adopt(self, authority: str, identity: MessageIdentity) -> None:
        """Let this identity answer where certificates of ``authority`` are asked for.

        :raises PKIError: ``CONFLICT`` when an authority of ours has that name.
        """
        if authority in self._authorities.names():
            raise PKIError(
                ErrorCode.CONFLICT,
                "an authority of this daemon has the name of one elsewhere",
                hint=f"rename [cmp.upstream.{authority}]",
            )
        self._authorities.set_identity(authority, identity)

    def audit(self, action: str, detail: str) -> Deferred[None]:
        """Record something about our own certificate of another CA."""
        facts = audit.Facts(detail=detail)
        event = audit.of_action(self._clock.now(), action, DAEMON, INTERNAL, facts)
        return self._store.commit(event)


def _run(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    return Deferred.fromCoroutine(work)


def _revocation(found: CertificateRecord, now: datetime) -> UpdateCertificate:
    return UpdateCertificate(
        reference=found.reference,
        expected_status=found.status,
        expected_update_state=found.update_state,
        status=CertificateStatus.REVOKED,
        update_state=found.update_state,
        reason=RevocationReason.UNSPECIFIED,
        revoked_at=now,
    )


def _odd(what: str) -> PKIError:
    return PKIError(
        ErrorCode.UNAVAILABLE,
        "the certification authority sent a certificate that is not taken",
        hint=f"the upstream CA gives {what}",
    )
