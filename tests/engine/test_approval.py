"""Requests that people must agree to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.engine.aliases import ApprovalRule
from pkid.engine.approval import decode_enrollment, encode_enrollment
from pkid.engine.confirmation import Confirmation
from pkid.engine.model import (
    EnrollmentRequest,
    Issued,
    Pending,
    RequestedCertificate,
    Requester,
    RequesterKind,
    SystemPossession,
    TransactionKey,
    VouchedPossession,
)
from pkid.engine.records import ApprovalRequest, ApprovalStatus
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, START, World, result_of

ANNA, BERT, CARL = "uid:1001", "uid:1002", "uid:1003"


@pytest.fixture
def waiting(world: World) -> EnrollmentRequest:
    world.change_alias(approval="operator")
    request = world.request(world.secret(), confirmation=timedelta(minutes=5))
    outcome = world.enroll(request)
    assert isinstance(outcome, Pending)
    return request


def pending_id(world: World, request: EnrollmentRequest) -> str:
    row = result_of(world.engine.find_transaction(request.transaction))
    assert row is not None
    assert row.request_id is not None
    return row.request_id


def approve(world: World, request: EnrollmentRequest, actor: str) -> ApprovalRequest:
    request_id = pending_id(world, request)
    return result_of(world.engine.administration.approve(request_id, actor, "", CMP))


def needs(world: World, count: int, *approvers: str) -> None:
    rule = ApprovalRule(name="operator", needed=count, approvers=approvers)
    from dataclasses import replace

    world.policies = replace(world.policies, approval_rules={"operator": rule})


@pytest.mark.requirement("ENG-23", "CMP-104")
def test_an_approved_request_is_issued_also_across_a_restart(
    world: World, waiting: EnrollmentRequest
) -> None:
    assert isinstance(world.enroll(waiting), Pending)
    world.restart()
    assert approve(world, waiting, ANNA).status is ApprovalStatus.APPROVED
    world.restart()
    outcome = result_of(world.engine.collect(waiting.transaction))
    assert isinstance(outcome, Issued)
    assert outcome.certificate.subject == "CN=device-1,O=pkid test"
    assert outcome.confirm_by is not None


def test_nothing_is_issued_before_the_last_approval(world: World) -> None:
    needs(world, 2, ANNA, BERT)
    world.change_alias(approval="operator")
    request = world.request(world.secret())
    assert isinstance(world.enroll(request), Pending)
    assert approve(world, request, ANNA).status is ApprovalStatus.WAITING
    assert isinstance(result_of(world.engine.collect(request.transaction)), Pending)
    assert approve(world, request, BERT).status is ApprovalStatus.APPROVED
    assert isinstance(result_of(world.engine.collect(request.transaction)), Issued)


@pytest.mark.requirement("ENG-23")
def test_one_operator_does_not_count_twice_and_others_not_at_all(
    world: World,
) -> None:
    needs(world, 2, ANNA, BERT)
    world.change_alias(approval="operator")
    request = world.request(world.secret())
    world.enroll(request)
    approve(world, request, ANNA)
    with pytest.raises(PKIError) as caught:
        approve(world, request, ANNA)
    assert caught.value.code is ErrorCode.CONFLICT
    with pytest.raises(PKIError) as caught:
        approve(world, request, CARL)
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED


def test_nobody_approves_their_own_request(
    world: World, waiting: EnrollmentRequest
) -> None:
    with pytest.raises(PKIError) as caught:
        approve(world, waiting, waiting.requester.identity)
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED


def test_a_rejected_request_is_over(world: World, waiting: EnrollmentRequest) -> None:
    request_id = pending_id(world, waiting)
    reject = world.engine.administration.reject
    result_of(reject(request_id, ANNA, "unknown unit", CMP))
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.collect(waiting.transaction))
    assert caught.value.code is ErrorCode.REJECTED
    assert "unknown unit" in caught.value.detail
    with pytest.raises(PKIError):
        approve(world, waiting, BERT)
    with pytest.raises(PKIError):
        result_of(reject(request_id, BERT, "", CMP))


def test_a_request_that_nobody_decides_expires(
    world: World, waiting: EnrollmentRequest
) -> None:
    world.clock.advance(timedelta(days=7, seconds=1))
    assert result_of(world.engine.expire_requests()) == 1
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.collect(waiting.transaction))
    assert caught.value.code is ErrorCode.REJECTED
    with pytest.raises(PKIError) as caught:
        approve(world, waiting, ANNA)
    assert caught.value.code is ErrorCode.CONFLICT


def test_what_policy_would_now_change_is_not_issued(
    world: World, waiting: EnrollmentRequest
) -> None:
    world.change_profile("device", subject_subset=("CN",))
    with pytest.raises(PKIError) as caught:
        approve(world, waiting, ANNA)
    assert caught.value.code is ErrorCode.CONFLICT
    assert isinstance(result_of(world.engine.collect(waiting.transaction)), Pending)


def test_what_policy_now_refuses_is_not_issued(
    world: World, waiting: EnrollmentRequest
) -> None:
    world.change_profile("device", keys=("rsa:2048-4096",))
    with pytest.raises(PKIError) as caught:
        approve(world, waiting, ANNA)
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_a_one_time_secret_is_consumed_by_the_approval(world: World) -> None:
    world.change_alias(approval="operator")
    requester = world.secret(uses=1)
    first, second = world.request(requester), world.request(requester)
    world.enroll(first)
    world.enroll(second)
    approve(world, first, ANNA)
    with pytest.raises(PKIError):
        approve(world, second, ANNA)


def test_a_client_that_gives_up_withdraws_its_request(
    world: World, waiting: EnrollmentRequest
) -> None:
    word = Confirmation(
        key=waiting.transaction,
        accepted=False,
        requester=waiting.requester,
        context=CMP,
        state=b"gone",
    )
    result_of(world.engine.confirm(word))
    with pytest.raises(PKIError):
        result_of(world.engine.collect(waiting.transaction))
    with pytest.raises(PKIError) as caught:
        approve(world, waiting, ANNA)
    assert caught.value.code is ErrorCode.CONFLICT


def test_what_waits_cannot_be_confirmed(
    world: World, waiting: EnrollmentRequest
) -> None:
    word = Confirmation(
        key=waiting.transaction,
        accepted=True,
        requester=waiting.requester,
        context=CMP,
        state=b"",
    )
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.confirm(word))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert approve(world, waiting, ANNA).status is ApprovalStatus.APPROVED


# --- a request as octets -----------------------------------------------------------

moments = st.none() | st.datetimes(
    min_value=START.replace(tzinfo=None), timezones=st.just(START.tzinfo)
)


@given(
    kind=st.sampled_from(RequesterKind),
    identity=st.text(max_size=20),
    octets=st.binary(max_size=40),
    not_after=moments,
    possession=st.sampled_from([SystemPossession(), VouchedPossession("ra")]),
    profile=st.none() | st.text(max_size=10),
)
def test_a_stored_request_is_the_request(
    kind: RequesterKind,
    identity: str,
    octets: bytes,
    not_after: object,
    possession: object,
    profile: str | None,
) -> None:
    request = EnrollmentRequest(
        alias="default",
        context=CMP,
        requester=Requester(kind=kind, identity=identity, certificate_der=octets),
        requested=RequestedCertificate(public_key=octets, not_after=not_after),  # type: ignore[arg-type]
        possession=possession,  # type: ignore[arg-type]
        transaction=TransactionKey("cmp", "default", identity, octets),
        request_hash=octets,
        profile=profile,
        confirmation=timedelta(seconds=300),
    )
    assert decode_enrollment(encode_enrollment(request)) == request


def test_a_stored_request_keeps_its_possession(world: World) -> None:
    request = world.request(world.secret())
    assert decode_enrollment(encode_enrollment(request)) == request
