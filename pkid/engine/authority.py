"""The doors of the engine: the only object that responders and operators talk to.

Every public method that writes returns a Deferred, and a caller that goes away never
cancels what was begun; what only reads is a coroutine, run by its caller. The work
itself is in the modules named after it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pkid.asn1.names import Name
from pkid.engine import audit, confirmation, credentials, revocation
from pkid.engine.aliases import Alias
from pkid.engine.authorities import (
    AgreementIdentity,
    KEMIdentity,
    MessageIdentity,
)
from pkid.engine.confirmation import Confirmation
from pkid.engine.creation import (
    NewAuthority,
    ServiceCertificate,
    ServiceIdentity,
)
from pkid.engine.credentials import (
    AuthenticationFailure,
    SharedSecret,
)
from pkid.engine.enrollment import nothing_more
from pkid.engine.identification import UnlistedUnitError
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CredentialKind,
    EnrollmentRequest,
    Issued,
    Outcome,
    RequestContext,
    Requester,
    StateEncoder,
    TransactionKey,
    TransactionRecord,
)
from pkid.engine.ports import CertificateQuery, Publisher
from pkid.engine.records import AuditRecord, AuthorityRecord, CRLRecord
from pkid.engine.rooms import Rooms
from pkid.engine.writes import (
    AppendAudit,
    InsertTransaction,
    SweepTransactions,
    UpdateTransaction,
    Write,
)
from pkid.errors import ErrorCode, PKIError

T = TypeVar("T")
SWEEP_SLICE = 1000


class CertificateAuthority(Rooms):
    """The engine: its parts, and the doors that are not one part's alone."""

    log = Logger()

    @staticmethod
    def run(work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Start a coroutine of the engine; it goes on whoever waits for it."""
        return Deferred.fromCoroutine(work)

    def open(self) -> Deferred[None]:
        """Load the authorities; their CRLs are made anew at the first refresh."""

        async def work() -> None:
            self.clock_guard.start(await self._last_known_time())
            await self._authorities.load()

        return self.run(work())

    async def _last_known_time(self) -> datetime | None:
        """When the last thing was recorded (FLT-12)."""
        sequence, _ = await self._store.audit_head()
        async for record in self._store.audit_records(after=sequence - 1):
            return record.event.at
        return None

    def confirm_clock(self, actor: str, context: RequestContext) -> Deferred[None]:
        """An operator says that the clock is right: issue again."""
        self.clock_guard.confirm()
        event = audit.of_action(
            self._clock.now(), "clock-confirmed", actor, context, audit.Facts()
        )
        return self._store.commit(event)

    # --- enrolment ---------------------------------------------------------------

    def enroll(
        self,
        request: EnrollmentRequest,
        encode_state: StateEncoder,
        extra: Callable[[Issued], tuple[Write, ...]] | None = None,
    ) -> Deferred[Outcome]:
        """Run a request down the one path (`pkid.engine.enrollment`).

        :param extra: gives what the door stores in the same commit.
        :raises PKIError: the refusal; it is audited.
        """
        return self.run(self._enroll(request, encode_state, extra or nothing_more))

    async def _enroll(
        self,
        request: EnrollmentRequest,
        encode_state: StateEncoder,
        extra: Callable[[Issued], tuple[Write, ...]],
    ) -> Outcome:
        try:
            return await self._enrollment.enroll(request, encode_state, extra=extra)
        except PKIError as error:
            subject = request.requested.subject
            facts = audit.Facts(
                alias=request.alias,
                transaction=request.transaction,
                subject="" if subject is None else subject.text(),
            )
            actor = request.requester.identity
            await self._audit_refusal(error, "issue", actor, request.context, facts)
            raise

    async def find_transaction(self, key: TransactionKey) -> TransactionRecord | None:
        """The transaction of that key."""
        return await self._store.find_transaction(key)

    async def find_transactions_by_id(
        self, protocol: str, alias: str, transaction_id: bytes
    ) -> Sequence[TransactionRecord]:
        """All requesters' transactions of that id at one entrance."""
        return await self._store.find_transactions_by_id(
            protocol, alias, transaction_id
        )

    def collect(self, key: TransactionKey) -> Deferred[Outcome]:
        """What became of a transaction.

        :raises PKIError: ``BAD_REQUEST`` for an unknown one, ``REJECTED``.
        """

        async def work() -> Outcome:
            row = await self._store.find_transaction(key)
            if row is None:
                raise PKIError(ErrorCode.BAD_REQUEST, "no such transaction")
            return await self._enrollment.outcome_of(row)

        return self.run(work())

    def begin(self, record: TransactionRecord, *events: AppendAudit) -> Deferred[None]:
        """Store a transaction that issues nothing, so that it can be repeated.

        :param events: what the audit says of it, in the same commit.
        :raises WriteConflict: when its key is taken.
        """
        return self._store.commit(InsertTransaction(record), *events)

    def remember(
        self, record: TransactionRecord, state: bytes, due: datetime | None = None
    ) -> Deferred[TransactionRecord]:
        """Replace the protocol's state of a transaction, if nobody did meanwhile.

        :param due: a new deadline; None keeps it.
        :raises WriteConflict: when the row changed since it was read.
        """

        async def work() -> TransactionRecord:
            after = replace(
                record,
                state=state,
                due=due or record.due,
                version=record.version + 1,
            )
            await self._store.commit(
                UpdateTransaction(
                    key=record.key,
                    expected_version=record.version,
                    status=record.status,
                    due=after.due,
                    state=state,
                    certificate=record.certificate,
                )
            )
            return after

        return self.run(work())

    def confirm(self, word: Confirmation) -> Deferred[None]:
        """Carry out the client's confirmation or rejection of its certificate.

        :raises PKIError: ``BAD_REQUEST`` (unknown, late), ``CERTIFICATE_CONFIRMED``.
        """

        async def work() -> None:
            alias = self._policies().aliases.get((word.key.protocol, word.key.alias))
            revoke = alias is not None and alias.revoke_replaced
            now = self._clock.now()
            await confirmation.confirm(self._store, word, now, revoke_replaced=revoke)

        return self.run(work())

    # --- who asks ----------------------------------------------------------------

    async def find_secret(
        self, kind: CredentialKind, reference: str, alias: str
    ) -> SharedSecret | None:
        """The shared secret of a reference, opened, if it is for this alias."""
        found = await self._store.find_credential(kind, reference)
        if found is None or found.alias not in ("", alias):
            return None
        return self._secrets.open(found, self._clock.now())

    async def find_challenge(self, challenge: bytes, alias: str) -> SharedSecret | None:
        """A SCEP challenge, which comes without a name, if it is for this alias."""
        reference = credentials.challenge_reference(self._suppliers.box, challenge)
        kind = CredentialKind.SCEP_CHALLENGE
        found = await self.find_secret(kind, reference, alias)
        # The digest of the look-up is cut: the secret itself decides.
        if found is None or not hmac.compare_digest(found.secret, challenge):
            return None
        return found

    def report_failure(self, failure: AuthenticationFailure) -> Deferred[None]:
        """Audit a failed authentication and count it against the secret named."""

        async def work() -> None:
            write = None
            if failure.credential is not None:
                now = self._clock.now()
                write = credentials.after_failure(failure.credential, now)
            key = TransactionKey(
                failure.context.protocol,
                failure.alias,
                failure.actor,
                failure.transaction_id,
            )
            await self._audit_refusal(
                failure.error,
                "authenticate",
                failure.actor,
                failure.context,
                audit.Facts(
                    alias=failure.alias, transaction=key, entity=_unit(failure.error)
                ),
                # One commit, so that a known reference takes as long as an unknown.
                () if write is None else (write,),
            )

        return self.run(work())

    async def identify(
        self, alias: Alias, leaf: bytes, others: Sequence[bytes]
    ) -> Requester:
        """Whose certificate this is (`pkid.engine.identification`)."""
        return await self._identification.identify(
            alias, leaf, others, self._policies(), self._clock.now()
        )

    # --- certificates ------------------------------------------------------------

    async def find_certificate(
        self, reference: CertificateReference
    ) -> CertificateRecord | None:
        """The record of a certificate."""
        return await self._store.find_certificate(reference)

    async def find_certificate_by_issuer(
        self, issuer: Name, serial: int
    ) -> CertificateRecord | None:
        """The record of a certificate named as protocols name it."""
        for authority in self._authorities.find_by_subject(issuer):
            reference = CertificateReference(authority.name, serial)
            found = await self._store.find_certificate(reference)
            if found is not None:
                return found
        return None

    async def certificate_der(self, reference: CertificateReference) -> bytes:
        """The octets of a certificate."""
        return await self._store.get_certificate_der(reference)

    async def search_certificates(
        self, query: CertificateQuery
    ) -> Sequence[CertificateRecord]:
        """Certificates, newest first."""
        return await self._store.search_certificates(query)

    def revoke(
        self, request: revocation.RevocationRequest
    ) -> Deferred[CertificateRecord]:
        """Revoke, hold or release (`pkid.engine.revocation`); refusals are audited."""

        async def work() -> CertificateRecord:
            try:
                self.elsewhere.check_own(request.reference)
                after = await revocation.revoke(self._store, request, self._clock.now())
            except PKIError as error:
                await self._audit_refusal(
                    error,
                    "revoke",
                    request.requester.identity,
                    request.context,
                    audit.Facts(
                        alias=request.alias, certificate=str(request.reference)
                    ),
                )
                raise
            return after

        return self.run(work())

    def explain(self, text: str, limit: int = 20) -> Deferred[Sequence[AuditRecord]]:
        """What is known of a transaction, serial, entity, subject or peer."""
        return self.run(self._store.search_audit(text, limit))

    # --- authorities -------------------------------------------------------------

    def authority_names(self) -> tuple[str, ...]:
        """Names of all authorities at work."""
        return self._authorities.names()

    def chain(self, authority: str) -> tuple[bytes, ...]:
        """What stands above the certificates that a line issues now, the root last.

        The issuing CA comes first; where a new root took over, its NewWithOld link
        stands right before it.

        :raises PKIError: ``UNAVAILABLE``.
        """
        return self._authorities.issuing(authority).chain_below

    def next_chain(self, authority: str) -> tuple[bytes, ...]:
        """What will stand above the certificates of a line once its next CA issues.

        :returns: the next CA first, the root last; () when there is no next one yet.
        """
        current = self._authorities.issuing(authority)
        successor = self._authorities.successor(current.name)
        return () if successor is None else successor.chain_below

    def issuer_chain(self, reference: CertificateReference) -> tuple[bytes, ...]:
        """What stands above exactly this certificate, the root last."""
        return self._authorities.get(reference.authority).chain_below

    def authority_certificate(self, authority: str) -> bytes:
        """The certificate of exactly this authority.

        :raises PKIError: ``UNAVAILABLE``.
        """
        return self._authorities.get(authority).certificate

    def authority_subject(self, authority: str) -> Name:
        """Subject of an authority."""
        return self._authorities.get(authority).subject

    def message_identity(self, authority: str) -> MessageIdentity:
        """What signs protocol messages in an authority's name.

        :raises PKIError: ``UNAVAILABLE``.
        """
        return self._authorities.identity(authority)

    def own_message_identity(self, authority: str) -> MessageIdentity:
        """An authority's own key, where messages are signed with that.

        :raises PKIError: ``UNAVAILABLE``.
        """
        return self._authorities.own_identity(authority)

    def find_agreement_identity(self, authority: str) -> AgreementIdentity | None:
        """What agrees upon keys in an authority's name."""
        return self._authorities.find_agreement_identity(authority)

    def find_kem_identity(self, authority: str) -> KEMIdentity | None:
        """What opens encapsulations in an authority's name."""
        return self._authorities.find_kem_identity(authority)

    def latest_crl(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> Deferred[CRLRecord]:
        """The current CRL of an authority, of a partition of it, or a delta CRL.

        :raises PKIError: ``UNAVAILABLE`` when there is none or it is overdue.
        """
        return self.run(self.crls.latest(authority, partition, delta=delta))

    def issue_crl(
        self, authority: str, actor: str, context: RequestContext
    ) -> Deferred[CRLRecord]:
        """Make a new full CRL now (`pkid.engine.crl`)."""
        return self.run(self.crls.issue(authority, actor, context))

    def create_authority(
        self, new: NewAuthority, context: RequestContext
    ) -> Deferred[AuthorityRecord]:
        """Make a CA, or return the one of that name (`pkid.engine.creation`)."""
        return self.run(self._creation.create_authority(new, context))

    def issue_service_certificate(
        self, wanted: ServiceCertificate, context: RequestContext
    ) -> Deferred[ServiceIdentity]:
        """A certificate for the daemon itself, made anew only when it must be."""
        return self.run(self._creation.issue_service_certificate(wanted, context))

    def prepare_message_identity(
        self, authority: str, context: RequestContext
    ) -> Deferred[MessageIdentity]:
        """Give an authority the identity that signs its protocol messages."""
        return self.run(self._creation.prepare_message_identity(authority, context))

    def prepare_own_identity(self, authority: str) -> Deferred[MessageIdentity]:
        """Open an authority's own key for messages."""
        return self.run(self._creation.prepare_own_identity(authority))

    def prepare_agreement_identity(
        self, authority: str, context: RequestContext
    ) -> Deferred[AgreementIdentity]:
        """Give an authority a key agreement certificate (CMP's DHBasedMac)."""
        return self.run(self._creation.prepare_agreement_identity(authority, context))

    def prepare_kem_identity(
        self, authority: str, context: RequestContext
    ) -> Deferred[KEMIdentity]:
        """Give an authority a KEM certificate (CMP's KemBasedMac)."""
        return self.run(self._creation.prepare_kem_identity(authority, context))

    def prepare_ocsp(self, context: RequestContext) -> Deferred[int]:
        """Give every authority its OCSP signer, or a fresh one; how many are new."""
        return self.run(self.status.prepare(context))

    # --- periodic work -----------------------------------------------------------

    def expire_unconfirmed(self) -> Deferred[int]:
        """Revoke what nobody confirmed in time; how many transactions ended."""
        return self.run(confirmation.expire_unconfirmed(self._store, self._clock.now()))

    def expire_requests(self) -> Deferred[int]:
        """End approval requests that nobody decided in time; how many."""
        return self.run(self.administration.expire_requests())

    def refresh_crls(self) -> Deferred[int]:
        """Make the CRLs that are due or whose entries changed; how many."""
        return self.run(self.crls.refresh())

    def checkpoint_audit(self, authority: str) -> Deferred[int]:
        """Sign the audit head if it moved; 1 when it did."""

        async def work() -> int:
            signer = self._authorities.identity(authority).signer
            made = await audit.checkpoint(self._store, signer, self._clock.now())
            return 0 if made is None else 1

        return self.run(work())

    def sweep_transactions(self) -> Deferred[int]:
        """Forget finished transactions whose replay window has passed."""

        async def work() -> int:
            await self._store.commit(SweepTransactions(self._clock.now(), SWEEP_SLICE))
            return 1

        return self.run(work())

    def publish(self, publisher: Publisher, name: str = "directory") -> Deferred[int]:
        """Tell a publisher what it does not know yet (`pkid.engine.publication`)."""
        return self.run(self.publication.publish(name, publisher))

    async def _audit_refusal(
        self,
        error: PKIError,
        action: str,
        actor: str,
        context: RequestContext,
        facts: audit.Facts,
        others: tuple[Write, ...] = (),
    ) -> None:
        writes = list(others)
        if self._refusals.admits():
            told = self._refusals.told(error)
            now = self._clock.now()
            writes.append(audit.of_refusal(told, now, action, actor, context, facts))
        if not writes:
            return
        try:
            await self._store.commit(*writes)
        except PKIError:
            # The refusal stands; that it went unrecorded is for the log.
            self.log.failure("a refusal was not audited", Failure())


def _unit(error: PKIError) -> str:
    """The vendor's unit that was refused: what its operator will search for."""
    return error.unit if isinstance(error, UnlistedUnitError) else ""
