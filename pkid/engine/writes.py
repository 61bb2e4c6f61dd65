"""What is written: values that a store makes durable together or not at all.

One `pkid.engine.ports.Store.commit` takes all the writes of one decision. Each says
what state it expects; a unit that meets another one is a `WriteConflict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateStatus,
    Credential,
    EndEntity,
    RevocationReason,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
    UpdateState,
)
from pkid.engine.orders import Account, IdentifierAuthorization, Order
from pkid.engine.records import (
    ApprovalRequest,
    ArchivedKey,
    AuditEvent,
    AuthorityPhase,
    AuthorityRecord,
    CRLRecord,
    KeyHandleRecord,
)
from pkid.errors import ErrorCode, PKIError


@dataclass(frozen=True, slots=True)
class InsertCertificate:
    """A new certificate; conflicts on (authority, serial)."""

    record: CertificateRecord
    der: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCertificate:
    """Change of status; conflicts unless status and update state are as expected.

    :ivar released_at: when a held certificate is released, for delta CRLs.
    """

    reference: CertificateReference
    expected_status: CertificateStatus
    expected_update_state: UpdateState
    status: CertificateStatus
    update_state: UpdateState
    reason: RevocationReason | None = None
    revoked_at: datetime | None = None
    invalidity_at: datetime | None = None
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class InsertTransaction:
    """A new transaction; conflicts on its key."""

    record: TransactionRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTransaction:
    """Compare-and-swap on ``expected_version``; the version rises by one."""

    key: TransactionKey
    expected_version: int
    status: TransactionStatus
    due: datetime
    state: bytes
    certificate: CertificateReference | None = None


@dataclass(frozen=True, slots=True)
class SweepTransactions:
    """Forget finished transactions (DONE, REJECTED, EXPIRED) due before ``before``.

    At most ``limit`` of them; never conflicts.
    """

    before: datetime
    limit: int


@dataclass(frozen=True, slots=True)
class ConsumeCredential:
    """One use of a credential; conflicts when none is left or it expired at ``at``."""

    id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class InsertCredential:
    """A new credential (its ``id`` is drawn by the caller); conflicts on reference."""

    credential: Credential


@dataclass(frozen=True, slots=True)
class DeleteCredential:
    """Remove a credential; conflicts when it is not there."""

    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFailure:
    """A failed authentication: sets the counter and the lock."""

    id: int
    failures: int
    locked_until: datetime | None


@dataclass(frozen=True, slots=True)
class InsertEntity:
    """A new end entity; conflicts on its name."""

    entity: EndEntity


@dataclass(frozen=True, slots=True)
class UpdateEntity:
    """Replace an entity; conflicts unless the stored version is ``entity.version``.

    The stored version becomes ``entity.version + 1``.
    """

    entity: EndEntity


@dataclass(frozen=True, slots=True)
class InsertApproval:
    """A new approval request."""

    approval: ApprovalRequest


@dataclass(frozen=True, slots=True)
class UpdateApproval:
    """Replace an approval request; conflicts unless versions agree, as entities."""

    approval: ApprovalRequest


@dataclass(frozen=True, slots=True)
class AppendAudit:
    """One audit event; the store numbers and chains it."""

    event: AuditEvent


@dataclass(frozen=True, slots=True)
class InsertAuditCheckpoint:
    """A signature over the audit head (sequence and digest)."""

    sequence: int
    digest: bytes
    signature: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Enqueue:
    """One publication task: ``kind`` ("crl" ...), ``subject`` names it."""

    kind: str
    subject: str


@dataclass(frozen=True, slots=True)
class AdvancePublisher:
    """A publisher has done all tasks of the outbox up to this one; never conflicts."""

    name: str
    position: int


@dataclass(frozen=True, slots=True)
class RetainPublishers:
    """Forget how far all other publishers came: nobody waits for them."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InsertAuthority:
    """A new authority; conflicts on its name."""

    record: AuthorityRecord


@dataclass(frozen=True, slots=True)
class UpdateAuthority:
    """Replace certificate, chain, phase and links; conflicts unless in that phase."""

    record: AuthorityRecord
    expected_phase: AuthorityPhase


@dataclass(frozen=True, slots=True)
class InsertCRL:
    """A CRL; conflicts unless its number is above all earlier ones of the authority.

    A full one lets go of the released entries that are not on it any more.

    :ivar delta: the delta CRL of the same number, made at the same time.
    """

    record: CRLRecord
    delta: CRLRecord | None = None


@dataclass(frozen=True, slots=True)
class InsertArchivedKey:
    """An archived private key; conflicts on the certificate."""

    record: ArchivedKey


@dataclass(frozen=True, slots=True)
class InsertKeyHandle:
    """A key of ours; conflicts on its name and on its public key (SEC-111)."""

    record: KeyHandleRecord


@dataclass(frozen=True, slots=True)
class InsertAccount:
    """A new account; conflicts on its id, and on its key at the same entrance."""

    account: Account


@dataclass(frozen=True, slots=True)
class UpdateAccount:
    """Replace an account; conflicts unless versions agree, as entities.

    Conflicts too when another account at the entrance has its key.
    """

    account: Account


@dataclass(frozen=True, slots=True)
class InsertOrder:
    """A new order with authorizations that are new; None: these alone."""

    order: Order | None
    authorizations: tuple[IdentifierAuthorization, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateOrder:
    """Replace an order; conflicts unless versions agree, as entities."""

    order: Order


@dataclass(frozen=True, slots=True)
class UpdateIdentifierAuthorization:
    """Replace an authorization; conflicts unless versions agree, as entities."""

    authorization: IdentifierAuthorization


@dataclass(frozen=True, slots=True)
class SweepOrders:
    """Forget orders and authorizations that expired before ``before``.

    At most ``limit`` of each; never conflicts.
    """

    before: datetime
    limit: int


Write = (
    InsertCertificate
    | UpdateCertificate
    | InsertTransaction
    | UpdateTransaction
    | SweepTransactions
    | ConsumeCredential
    | InsertCredential
    | DeleteCredential
    | RecordFailure
    | InsertEntity
    | UpdateEntity
    | InsertApproval
    | UpdateApproval
    | AppendAudit
    | InsertAuditCheckpoint
    | Enqueue
    | AdvancePublisher
    | RetainPublishers
    | InsertAuthority
    | UpdateAuthority
    | InsertCRL
    | InsertKeyHandle
    | InsertArchivedKey
    | InsertAccount
    | UpdateAccount
    | InsertOrder
    | UpdateOrder
    | UpdateIdentifierAuthorization
    | SweepOrders
)


class WriteConflict(PKIError):
    """A write met a state it did not expect; nothing of its unit was stored."""

    def __init__(self, write: Write) -> None:
        super().__init__(
            ErrorCode.CONFLICT, "the state changed meanwhile", retry_after=1
        )
        self.write = write
