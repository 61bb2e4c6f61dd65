"""What is stored beside certificates: approvals, audit, authorities, CRLs, keys.

Frozen values like those of `pkid.engine.model`, which has what requests and
certificates are.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkid.asn1.constructors import constructor
from pkid.engine.model import CertificateReference, TransactionKey


class ApprovalStatus(enum.Enum):
    """Where an approval request stands."""

    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """A certificate request that people must agree to.

    :ivar enrollment: the `EnrollmentRequest`, encoded by `pkid.engine.approval`.
    :ivar digest: SHA-256 over names, key and profile: what exactly is approved.
    :ivar approvers: identities that said yes so far.
    """

    id: str
    transaction: TransactionKey
    alias: str
    protocol: str
    requester: str
    subject: str
    entity: str
    rule: str
    needed: int
    enrollment: bytes = field(repr=False)
    digest: bytes
    created: datetime
    expires: datetime
    status: ApprovalStatus = ApprovalStatus.WAITING
    approvers: tuple[str, ...] = ()
    note: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEvent:
    """One decision, refusals too, written in the same commit as the fact.

    :ivar action: "issue", "refuse", "pend", "approve", "reject", "confirm", "revoke",
        "hold", "release", "crl", "login-failed", "configure" ...
    :ivar rule: the rule that decided ("profile device: keys").
    :ivar detail: free text for people; no secret.
    """

    at: datetime
    action: str
    outcome: str
    actor: str
    protocol: str = ""
    alias: str = ""
    transport: str = ""
    peer: str = ""
    transaction: str = ""
    certificate: str = ""
    entity: str = ""
    subject: str = ""
    rule: str = ""
    code: str = ""
    detail: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """An audit event as stored: numbered and chained.

    :ivar digest: SHA-256 over the previous digest and this event's octets.
    """

    sequence: int
    event: AuditEvent
    digest: bytes


class AuthorityPhase(enum.IntEnum):
    """Where a CA stands in a change of its key; the numbers are stored."""

    NEXT = 1  # handed out, does not issue yet
    CURRENT = 2
    FORMER = 3  # issues no more, goes on signing its status


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityRecord:
    """One certification authority as stored; a new key makes a new one of its line.

    :ivar certificate: DER of its current certificate.
    :ivar chain: DER of its issuers, root last; empty for a root.
    :ivar key: name of its key in the key store.
    :ivar predecessor: name of the one whose key it replaces; "" for the first.
    :ivar links: DER of NewWithOld and OldWithNew; only a root has them, and only once
        both are made.
    """

    name: str
    certificate: bytes
    chain: tuple[bytes, ...]
    key: str
    created: datetime
    crl_number: int = 0
    active: bool = True
    predecessor: str = ""
    phase: AuthorityPhase = AuthorityPhase.CURRENT
    links: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLHead:
    """A CRL without its octets.

    :ivar partition: 0 for the CRL of certificates that are in none.
    :ivar base: number of the full CRL that a delta CRL builds on; None for a full one.
    :ivar revision: last change of an entry that is on it.
    """

    authority: str
    number: int
    this_update: datetime
    next_update: datetime
    partition: int = 0
    base: int | None = None
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLRecord(CRLHead):
    """One CRL as issued."""

    der: bytes


@dataclass(frozen=True, slots=True)
class CRLEntries:
    """Encoded entries in pieces, and the last change of one when they were read."""

    pieces: tuple[bytes, ...]
    count: int
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedKey:
    """A private key of an end entity, sealed to the archive key of its authority.

    :ivar key: SHA-256 of its SubjectPublicKeyInfo.
    :ivar sealed: made by `pkid.engine.keyarchive`.
    """

    certificate: CertificateReference
    entity: str
    key: bytes
    sealed: bytes = field(repr=False)
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHandleRecord:
    """A key of ours: its purpose never changes (SEC-111).

    :ivar purpose: "certificate-signing", "status-signing", "message-signing",
        "audit-signing", "tls".
    """

    name: str
    purpose: str
    spec: str
    public_key: bytes
    created: datetime


make_audit_event: Final = constructor(AuditEvent)
