"""One audit record a decision, in the commit of the fact; without it, no fact."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred

from pkid.app.auditing import verify_audit
from pkid.engine.confirmation import Confirmation
from pkid.engine.credentials import AuthenticationFailure, NewSecret
from pkid.engine.model import (
    CertificateRecord,
    CertificateStatus,
    CredentialKind,
    EndEntity,
    EnrollmentRequest,
    EntityStatus,
    RevocationReason,
    TransactionKey,
)
from pkid.engine.ports import CertificateQuery
from pkid.engine.revocation import RevocationRequest
from pkid.engine.writes import (
    AppendAudit,
    DeleteCredential,
    InsertApproval,
    InsertCertificate,
    InsertCredential,
    InsertCRL,
    InsertEntity,
    UpdateApproval,
    UpdateCertificate,
    UpdateTransaction,
    Write,
)
from pkid.errors import ErrorCode, PKIError
from pkid.storage.filestore import ReadOnlyStore
from tests.engine.world import CMP, OPERATOR, OPERATOR_REQUESTER, World, result_of

Decide = Callable[[World], None]
REFERENCE = "device-1"
SECOND = timedelta(seconds=1)
UNCONFIRMED = b"unconfirmed"
SECRET = CredentialKind.CMP_SECRET
HOLD = RevocationReason.CERTIFICATE_HOLD
RELEASE = RevocationReason.REMOVE_FROM_CRL


@pytest.fixture
def world(world: World) -> World:
    world.secret(REFERENCE)
    return world


# --- decisions, and what comes before them ----------------------------------------


def request(world: World) -> EnrollmentRequest:
    return world.request(world.known_secret(REFERENCE))


def nothing(_: World) -> None:
    pass


def issue(world: World) -> None:
    world.clock.advance(SECOND)
    world.enroll(request(world))


def issue_unconfirmed(world: World) -> None:
    world.clock.advance(SECOND)
    requester = world.known_secret(REFERENCE)
    wait = timedelta(minutes=5)
    world.enroll(
        world.request(requester, confirmation=wait, transaction_id=UNCONFIRMED)
    )


def pend(world: World) -> None:
    world.change_alias(approval="operator")
    world.enroll(request(world))


def newest(world: World) -> CertificateRecord:
    query = CertificateQuery(authority="issuing", limit=1)
    return result_of(world.store.search_certificates(query))[0]


def waiting(world: World) -> str:
    return result_of(world.store.list_approvals())[0].id


def approve(world: World) -> None:
    doors = world.engine.administration
    result_of(doors.approve(waiting(world), "uid:1", "", CMP))


def reject(world: World) -> None:
    result_of(world.engine.administration.reject(waiting(world), "uid:1", "", CMP))


def expire_request(world: World) -> None:
    world.clock.advance(timedelta(days=8))
    assert result_of(world.engine.expire_requests()) >= 1


def revoke_for(reason: RevocationReason) -> Decide:
    def revoke(world: World) -> None:
        result_of(
            world.engine.revoke(
                RevocationRequest(
                    reference=newest(world).reference,
                    reason=reason,
                    requester=OPERATOR_REQUESTER,
                    context=CMP,
                )
            )
        )

    return revoke


def issue_and_hold(world: World) -> None:
    issue(world)
    revoke_for(HOLD)(world)


def confirm(world: World, *, accepted: bool = True) -> None:
    requester = world.known_secret(REFERENCE)
    word = Confirmation(
        key=TransactionKey("cmp", "default", requester.identity, UNCONFIRMED),
        accepted=accepted,
        requester=requester,
        context=CMP,
        state=b"",
    )
    result_of(world.engine.confirm(word))


def decline(world: World) -> None:
    confirm(world, accepted=False)


def expire_unconfirmed(world: World) -> None:
    world.clock.advance(timedelta(minutes=6))
    assert result_of(world.engine.expire_unconfirmed()) >= 1


def add_secret(world: World) -> None:
    new = NewSecret(kind=SECRET, reference="another")
    result_of(world.engine.administration.add_secret(new, OPERATOR, CMP))


def remove_secret(world: World) -> None:
    doors = world.engine.administration
    result_of(doors.remove_secret(SECRET, REFERENCE, OPERATOR, CMP))


def add_entity(world: World) -> None:
    now = world.clock.now()
    entity = EndEntity(name="meter-1", status=EntityStatus.NEW, created=now)
    result_of(world.engine.administration.add_entity(entity, OPERATOR, CMP))


def make_crl(world: World) -> None:
    result_of(world.engine.issue_crl("issuing", OPERATOR, CMP))


def be_refused(world: World) -> None:
    with pytest.raises(PKIError):
        world.enroll(world.request(world.known_secret(REFERENCE), subject=None))


def be_refused_a_revocation(world: World) -> None:
    with pytest.raises(PKIError):
        revoke_for(RELEASE)(world)


def fail_to_prove(world: World) -> None:
    failure = AuthenticationFailure(
        error=PKIError(ErrorCode.BAD_MESSAGE_CHECK, "wrong", hint="wrong secret"),
        context=CMP,
        alias="default",
        actor="nobody",
        transaction_id=b"t" * 16,
    )
    result_of(world.engine.report_failure(failure))


DECISIONS = [
    (nothing, issue, InsertCertificate, "issue", "issued"),
    (nothing, pend, InsertApproval, "pend", "waiting"),
    (pend, reject, UpdateApproval, "reject", "done"),
    (pend, expire_request, UpdateApproval, "approval-expired", "done"),
    (issue, revoke_for(HOLD), UpdateCertificate, "hold", "done"),
    (issue_and_hold, revoke_for(RELEASE), UpdateCertificate, "release", "done"),
    (
        issue,
        revoke_for(RevocationReason.SUPERSEDED),
        UpdateCertificate,
        "revoke",
        "done",
    ),
    (issue_unconfirmed, confirm, UpdateTransaction, "confirm", "done"),
    (issue_unconfirmed, decline, UpdateCertificate, "confirm-rejected", "done"),
    (
        issue_unconfirmed,
        expire_unconfirmed,
        UpdateCertificate,
        "confirm-expired",
        "done",
    ),
    (nothing, add_secret, InsertCredential, "secret-added", "done"),
    (nothing, remove_secret, DeleteCredential, "secret-removed", "done"),
    (nothing, add_entity, InsertEntity, "entity-added", "done"),
    (nothing, make_crl, InsertCRL, "crl", "done"),
    (nothing, be_refused, AppendAudit, "issue", "refused"),
    (issue, be_refused_a_revocation, AppendAudit, "revoke", "refused"),
    (nothing, fail_to_prove, AppendAudit, "authenticate", "refused"),
]
CASES = pytest.mark.parametrize(
    ("before", "decide", "fact", "action", "outcome"),
    DECISIONS,
    ids=[f"{row[3]}-{row[4]}" for row in DECISIONS],
)


@contextmanager
def units(world: World) -> Iterator[list[tuple[Write, ...]]]:
    """What is committed, one entry for each commit."""
    found: list[tuple[Write, ...]] = []
    commit = world.store.commit

    def observed(*writes: Write) -> Deferred[None]:
        found.append(writes)
        return commit(*writes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store, "commit", observed)
        yield found


@pytest.mark.requirement("ENG-40")
@CASES
def test_a_decision_has_one_record_in_the_commit_of_its_fact(
    world: World, before: Decide, decide: Decide, fact: type, action: str, outcome: str
) -> None:
    before(world)
    with units(world) as found:
        decide(world)
    (unit,) = [
        unit
        for unit in found
        if any(
            isinstance(write, AppendAudit) and write.event.action == action
            for write in unit
        )
    ]
    assert any(isinstance(write, fact) for write in unit)
    (event,) = [write.event for write in unit if isinstance(write, AppendAudit)]
    assert (event.action, event.outcome) == (action, outcome)
    assert event.actor
    assert event.at == world.clock.now()
    if event.protocol == "cmp":
        assert (event.transport, event.peer) == ("http", "127.0.0.1")
    if outcome == "refused":
        assert event.code
        assert event.detail


@pytest.mark.requirement("ENG-40")
def test_an_approval_and_the_issuance_that_it_brings_are_one_commit(
    world: World,
) -> None:
    pend(world)
    with units(world) as found:
        approve(world)
    (unit,) = found
    events = [write.event for write in unit if isinstance(write, AppendAudit)]
    assert sorted(event.action for event in events) == ["approve", "issue"]
    assert {event.actor for event in events} == {"uid:1", events[0].actor}
    assert any(isinstance(write, InsertCertificate) for write in unit)


@pytest.mark.requirement("ENG-40")
def test_a_record_says_who_through_what_about_which_and_by_which_rule(
    world: World,
) -> None:
    asked = request(world)
    issued = world.issue(asked)
    serial = str(issued.certificate.reference)
    (record,) = [
        one
        for one in result_of(world.engine.explain(serial))
        if one.event.action == "issue"
    ]
    event = record.event
    assert event.actor == asked.requester.identity
    assert (event.protocol, event.alias, event.transport) == ("cmp", "default", "http")
    assert event.peer == "127.0.0.1"
    assert event.transaction == asked.transaction.transaction_id.hex()
    assert event.certificate == serial
    assert event.subject == "CN=device-1,O=pkid test"
    assert event.rule == "alias default, device"


@pytest.mark.requirement("ENG-40")
def test_the_chain_over_all_decisions_holds_and_its_head_is_signed(
    world: World,
) -> None:
    for decide in (issue, revoke_for(HOLD), revoke_for(RELEASE), be_refused, pend):
        decide(world)
    for decide in (approve, fail_to_prove, add_secret, add_entity, make_crl):
        decide(world)
    assert result_of(world.engine.checkpoint_audit("issuing")) == 1
    store = ReadOnlyStore.open(world.directory)
    try:
        report = verify_audit(store)
    finally:
        store.close()
    assert report.faults == []
    assert report.checkpoints == 1
    assert report.records > 10


# --- without a record, no fact --------------------------------------------------------


@contextmanager
def no_audit(world: World, code: int) -> Iterator[None]:
    """Records of the audit cannot be written; everything else can."""

    def failing(_: AppendAudit) -> None:
        fault = sqlite3.OperationalError("no audit")
        fault.sqlite_errorcode = code
        raise fault

    table = world.store._group._writer._table
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(table, AppendAudit, failing)
        yield


def facts(world: World) -> list[tuple[object, ...]]:
    """Every row that is committed, but for those that only index others."""
    tables = ("certificates", "certificate_der", "transactions", "credentials")
    uri = f"file:{world.directory / 'pkid.sqlite'}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        return [
            row
            for table in (*tables, "approvals", "entities", "crls", "audit", "outbox")
            for row in connection.execute(f"SELECT * FROM {table}").fetchall()
        ]


@pytest.mark.requirement("FLT-11")
@CASES
def test_without_its_record_nothing_is_done(
    world: World, before: Decide, decide: Decide, fact: type, action: str, outcome: str
) -> None:
    before(world)
    untouched = facts(world)
    with no_audit(world, sqlite3.SQLITE_FULL):
        if fact is AppendAudit:
            decide(world)
        else:
            with pytest.raises(PKIError) as caught:
                decide(world)
            assert caught.value.code is ErrorCode.UNAVAILABLE
        assert facts(world) == untouched, (action, outcome)


@pytest.mark.requirement("FLT-11")
@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CANTOPEN], ids=["EIO", "EMFILE"]
)
def test_without_its_record_nothing_is_issued_whatever_failed(
    world: World, code: int
) -> None:
    untouched = facts(world)
    with no_audit(world, code):
        with pytest.raises(PKIError) as caught:
            issue(world)
        assert caught.value.code is ErrorCode.UNAVAILABLE
    assert facts(world) == untouched


@pytest.mark.requirement("FLT-11")
def test_issuance_goes_on_when_records_can_be_written_again(world: World) -> None:
    asked = request(world)
    with no_audit(world, sqlite3.SQLITE_FULL), pytest.raises(PKIError):
        world.issue(asked)
    issued = world.issue(asked)
    assert world.record(issued).status is CertificateStatus.ACTIVE
