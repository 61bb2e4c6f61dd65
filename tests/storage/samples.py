"""Values to store, and a way to wait for what is there at once."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    Credential,
    CredentialKind,
    EndEntity,
    EntityStatus,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.records import (
    ApprovalRequest,
    ArchivedKey,
    AuditEvent,
    AuthorityRecord,
    CRLRecord,
    KeyHandleRecord,
)
from pkid.engine.writes import (
    AppendAudit,
    Enqueue,
    InsertCertificate,
    InsertTransaction,
)

R = TypeVar("R")
NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def result_of(waited: Deferred[R] | Coroutine[Any, Any, R]) -> R:
    """What a Deferred or coroutine gives now; its exception is raised."""
    outcome: list[Any] = []
    deferred = (
        waited if isinstance(waited, Deferred) else Deferred.fromCoroutine(waited)
    )
    deferred.addBoth(outcome.append)
    assert outcome, "there is no result yet"
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]


async def listed(items: AsyncIterator[R]) -> list[R]:
    return [item async for item in items]


class Pump:
    """Stands for the reactor: runs what other threads hand over."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def until(self, done: Callable[[], object]) -> None:
        for _ in range(100_000):
            if done():
                return
            self.calls.get(timeout=30)()
        raise AssertionError("too many turns")

    def result_of(self, deferred: Deferred[R]) -> R:
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        self.until(lambda: outcome)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]


def serial(number: int) -> int:
    return number << 100 | 0xABCDEF


def certificate(number: int, **changes: Any) -> CertificateRecord:
    values: dict[str, Any] = {
        "reference": CertificateReference("issuing", serial(number)),
        "subject": f"CN=device-{number},O=Example",
        "fingerprint": hashlib.sha256(der(number)).digest(),
        "spki_hash": hashlib.sha256(b"key %d" % number).digest(),
        "subject_key_id": hashlib.sha256(b"id %d" % number).digest()[:20],
        "entity": f"device-{number}",
        "profile": "device",
        "alias": "default",
        "protocol": "cmp",
        "requester": "secret:fleet",
        "not_before": NOW,
        "not_after": NOW + 365 * DAY,
        "issued_at": NOW + timedelta(seconds=number),
    }
    return CertificateRecord(**(values | changes))


def der(number: int) -> bytes:
    return b"certificate %d " % number * 30


def transaction(number: int, **changes: Any) -> TransactionRecord:
    values: dict[str, Any] = {
        "key": TransactionKey("cmp", "default", "secret:fleet", b"t%08d" % number),
        "request_hash": hashlib.sha256(b"request %d" % number).digest(),
        "status": TransactionStatus.ISSUED,
        "created": NOW,
        "due": NOW + HOUR,
        "certificate": CertificateReference("issuing", serial(number)),
        "state": b"answer %d" % number,
    }
    return TransactionRecord(**(values | changes))


def event(number: int = 0, **changes: Any) -> AuditEvent:
    values: dict[str, Any] = {
        "at": NOW,
        "action": "issue",
        "outcome": "issued",
        "actor": "secret:fleet",
        "protocol": "cmp",
        "alias": "default",
        "peer": "192.0.2.17",
        "transaction": f"t{number:08d}",
        "certificate": str(CertificateReference("issuing", serial(number))),
        "entity": f"device-{number}",
        "subject": f"CN=device-{number},O=Example",
        "detail": 'a "quoted" text, \u00fc and \u2028',
    }
    return AuditEvent(**(values | changes))


def issuance(number: int) -> tuple[Any, ...]:
    """All writes of one enrolment."""
    return (
        InsertCertificate(certificate(number), der(number)),
        InsertTransaction(transaction(number)),
        AppendAudit(event(number)),
        Enqueue("certificate", str(number)),
    )


def credential(number: int = 1, **changes: Any) -> Credential:
    values: dict[str, Any] = {
        "id": number,
        "kind": CredentialKind.CMP_SECRET,
        "reference": f"reference-{number}",
        "sealed": b"sealed",
        "created": NOW,
        "uses_left": 1,
    }
    return Credential(**(values | changes))


def entity(name: str = "device-1", **changes: Any) -> EndEntity:
    values: dict[str, Any] = {
        "name": name,
        "status": EntityStatus.NEW,
        "created": NOW,
        "subject": "CN=device",
        "alternative_names": ("dns:a.example", "ip:192.0.2.1"),
        "authority": "issuing",
        "certificate_profile": "device",
        "end_entity_profile": "any",
        "enrollments_left": 2,
    }
    return EndEntity(**(values | changes))


def approval(request_id: str = "r1", **changes: Any) -> ApprovalRequest:
    values: dict[str, Any] = {
        "id": request_id,
        "transaction": TransactionKey("cmp", "default", "secret:fleet", b"t1"),
        "alias": "default",
        "protocol": "cmp",
        "requester": "secret:fleet",
        "subject": "CN=device",
        "entity": "device-1",
        "rule": "two of three",
        "needed": 2,
        "enrollment": b"encoded",
        "digest": b"d" * 32,
        "created": NOW,
        "expires": NOW + DAY,
    }
    return ApprovalRequest(**(values | changes))


def authority(name: str = "issuing", **changes: Any) -> AuthorityRecord:
    values: dict[str, Any] = {
        "name": name,
        "certificate": b"\x30\x03\x02\x01\x01",
        "chain": (b"\x30\x03\x02\x01\x02", b"\x30\x03\x02\x01\x03"),
        "key": name,
        "created": NOW,
    }
    return AuthorityRecord(**(values | changes))


def crl(number: int, name: str = "issuing") -> CRLRecord:
    return CRLRecord(
        authority=name,
        number=number,
        this_update=NOW,
        next_update=NOW + DAY,
        der=b"crl %d" % number,
    )


def archived_key(number: int, **changes: Any) -> ArchivedKey:
    record = ArchivedKey(
        certificate=CertificateReference("issuing", serial(number)),
        entity="device-1",
        key=b"k" * 32,
        sealed=b"sealed %d" % number,
        created=NOW,
    )
    return replace(record, **changes)


def key_handle(name: str = "issuing", public_key: bytes = b"spki") -> KeyHandleRecord:
    return KeyHandleRecord(
        name=name,
        purpose="certificate-signing",
        spec="ec:P-256",
        public_key=public_key,
        created=NOW,
    )
