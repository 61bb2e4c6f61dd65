"""Renewals, confirmations and their deadlines."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkid.engine.confirmation import Confirmation
from pkid.engine.model import (
    CertificateStatus,
    EnrollmentRequest,
    Issued,
    RevocationReason,
    UpdateState,
)
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, DeviceKey, World, result_of

WAIT = timedelta(minutes=5)


def word(request: EnrollmentRequest, *, accepted: bool) -> Confirmation:
    return Confirmation(
        key=request.transaction,
        accepted=accepted,
        requester=request.requester,
        context=CMP,
        state=b"confirmed",
    )


def renewal(world: World, issued: Issued, **fields: object) -> EnrollmentRequest:
    return world.request(
        world.holder(issued), renews=issued.certificate.reference, **fields
    )


def refused(world: World, request: EnrollmentRequest) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        world.enroll(request)
    return caught.value.code


# --- confirmation ------------------------------------------------------------------


def test_a_confirmed_certificate_is_active(world: World) -> None:
    request = world.request(world.secret(), confirmation=WAIT)
    issued = world.issue(request)
    result_of(world.engine.confirm(word(request, accepted=True)))
    assert world.record(issued).status is CertificateStatus.ACTIVE
    row = result_of(world.engine.find_transaction(request.transaction))
    assert row is not None
    assert row.state == b"confirmed"


@pytest.mark.requirement("CMP-97")
def test_confirming_twice_is_certConfirmed(world: World) -> None:
    request = world.request(world.secret(), confirmation=WAIT)
    world.issue(request)
    result_of(world.engine.confirm(word(request, accepted=True)))
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.confirm(word(request, accepted=True)))
    assert caught.value.code is ErrorCode.CERTIFICATE_CONFIRMED


@pytest.mark.requirement("CMP-95", "SEC-10")
def test_a_rejected_certificate_is_revoked(world: World) -> None:
    request = world.request(world.secret(), confirmation=WAIT)
    issued = world.issue(request)
    result_of(world.engine.confirm(word(request, accepted=False)))
    record = world.record(issued)
    assert record.status is CertificateStatus.REVOKED
    assert record.reason is RevocationReason.CESSATION_OF_OPERATION


@pytest.mark.requirement("ENG-26", "CMP-93", "CMP-98")
def test_an_unconfirmed_certificate_is_revoked_at_the_deadline(world: World) -> None:
    request = world.request(world.secret(), confirmation=WAIT)
    issued = world.issue(request)
    world.clock.advance(WAIT - timedelta(seconds=1))
    assert result_of(world.engine.expire_unconfirmed()) == 0
    world.clock.advance(timedelta(seconds=2))
    assert result_of(world.engine.expire_unconfirmed()) == 1
    assert world.record(issued).status is CertificateStatus.REVOKED
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.confirm(word(request, accepted=True)))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert result_of(world.engine.expire_unconfirmed()) == 0


def test_a_late_confirmation_is_refused_before_the_sweep_too(world: World) -> None:
    request = world.request(world.secret(), confirmation=WAIT)
    world.issue(request)
    world.clock.advance(WAIT + timedelta(seconds=1))
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.confirm(word(request, accepted=True)))
    assert caught.value.code is ErrorCode.BAD_REQUEST


# --- renewal -----------------------------------------------------------------------


@pytest.mark.requirement("ENG-24", "CMP-75")
def test_a_renewal_keeps_the_names_whatever_is_asked(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    new = world.issue(renewal(world, old, subject="CN=somebody-else"))
    assert new.certificate.subject == old.certificate.subject
    assert new.certificate.entity == old.certificate.entity
    assert new.certificate.replaces == old.certificate.reference
    assert new.modified
    assert world.record(old).update_state is UpdateState.UPDATED
    assert world.record(old).status is CertificateStatus.ACTIVE


def test_a_renewal_without_a_subject_takes_the_old_one(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    new = world.issue(renewal(world, old, subject=None))
    assert new.certificate.subject == old.certificate.subject
    assert not new.modified


@pytest.mark.requirement("CMP-76")
def test_an_old_certificate_is_in_update_until_the_new_one_is_confirmed(
    world: World,
) -> None:
    old = world.issue(world.request(world.secret()))
    first = renewal(world, old, confirmation=WAIT)
    world.issue(first)
    assert world.record(old).update_state is UpdateState.IN_UPDATE
    assert refused(world, renewal(world, old)) is ErrorCode.CERTIFICATE_REVOKED
    further = world.request(world.holder(old))
    assert refused(world, further) is ErrorCode.CERTIFICATE_REVOKED
    result_of(world.engine.confirm(word(first, accepted=True)))
    assert world.record(old).update_state is UpdateState.UPDATED


@pytest.mark.requirement("CMP-76")
def test_a_renewal_that_nobody_confirmed_never_happened(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    world.issue(renewal(world, old, confirmation=WAIT))
    world.clock.advance(WAIT + timedelta(seconds=1))
    result_of(world.engine.expire_unconfirmed())
    assert world.record(old).update_state is UpdateState.CURRENT
    world.issue(renewal(world, old))


def test_a_rejected_renewal_leaves_the_old_certificate_current(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    request = renewal(world, old, confirmation=WAIT)
    world.issue(request)
    result_of(world.engine.confirm(word(request, accepted=False)))
    assert world.record(old).update_state is UpdateState.CURRENT


@pytest.mark.requirement("CMP-77")
def test_an_updated_certificate_asks_for_nothing_more(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    world.issue(renewal(world, old))
    assert refused(world, renewal(world, old)) is ErrorCode.CERTIFICATE_REVOKED
    fresh = world.request(world.holder(old))
    assert refused(world, fresh) is ErrorCode.CERTIFICATE_REVOKED


@pytest.mark.requirement("CMP-77")
def test_policy_may_revoke_the_old_certificate_as_superseded(world: World) -> None:
    world.change_alias(revoke_replaced=True)
    old = world.issue(world.request(world.secret()))
    request = renewal(world, old, confirmation=WAIT)
    world.issue(request)
    result_of(world.engine.confirm(word(request, accepted=True)))
    record = world.record(old)
    assert record.status is CertificateStatus.REVOKED
    assert record.reason is RevocationReason.SUPERSEDED


@pytest.mark.requirement("SEC-08")
def test_a_certificate_renews_itself_only(world: World) -> None:
    mine = world.issue(world.request(world.secret("one"), subject="CN=one"))
    other = world.issue(world.request(world.secret("two"), subject="CN=two"))
    request = world.request(
        world.holder(mine), renews=other.certificate.reference, subject=None
    )
    assert refused(world, request) is ErrorCode.NOT_AUTHORIZED


def test_a_certificate_does_not_ask_for_other_names(world: World) -> None:
    mine = world.issue(world.request(world.secret("one"), subject="CN=one"))
    request = world.request(world.holder(mine), subject="CN=two")
    assert refused(world, request) is ErrorCode.NOT_AUTHORIZED


def test_the_renewal_window_opens_late(world: World) -> None:
    world.change_names(renewal_window=timedelta(days=30))
    old = world.issue(world.request(world.secret()))
    assert refused(world, renewal(world, old)) is ErrorCode.NOT_AUTHORIZED
    world.clock.advance(timedelta(days=730 - 29))
    world.issue(renewal(world, old))


def test_an_expired_certificate_is_not_identified(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    world.clock.advance(timedelta(days=731))
    with pytest.raises(PKIError) as caught:
        world.holder(old)
    assert caught.value.code is ErrorCode.SIGNER_NOT_TRUSTED


def test_a_renewal_with_the_same_key_follows_the_alias(world: World) -> None:
    key = DeviceKey()
    old = world.issue(world.request(world.secret(), key))
    world.change_alias(renewal_same_key=False)
    assert refused(world, renewal(world, old, key=key)) is ErrorCode.BAD_TEMPLATE
    world.issue(renewal(world, old))
