"""kur in its two phases over the wire; what registration authorities do for others."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509

from pkid.engine.model import CertificateStatus, UpdateState
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import RAVerified
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    reason_code,
    revocation_of,
    signed_request,
)
from tests.responders.test_cmp_enrollment import old_cert_id
from tests.responders.test_cmp_protection import registration_authority


def kur(desk: Desk, by: BySignature) -> Answer:
    return desk.enroll(by, body_type=BodyType.KUR, subject="CN=device-1")


def rr(desk: Desk, certificate: bytes, by: By, reason: int = 1) -> Answer:
    body = revocation_of(certificate, reason_code(reason))
    return desk.ask(message(BodyType.RR, body, by))


@pytest.mark.requirement("CMP-76")
def test_a_certificate_in_update_asks_for_nothing(desk: Desk) -> None:
    holder = desk.holder()
    opened = kur(desk, holder)
    assert opened.body_type is BodyType.KUP
    for body_type in (BodyType.KUR, BodyType.IR, BodyType.CR):
        answer = desk.enroll(holder, body_type=body_type, subject="CN=device-1")
        assert answer.fail_info is FailInfo.CERT_REVOKED
    refused = rr(desk, holder.certificate, holder)
    assert refused.fail_info is FailInfo.CERT_REVOKED
    assert desk.record(holder.certificate).status is CertificateStatus.ACTIVE
    assert desk.count() == 2


@pytest.mark.requirement("CMP-76")
def test_an_update_that_nobody_confirms_is_dropped_and_may_be_tried_again(
    desk: Desk,
) -> None:
    holder = desk.holder()
    opened = kur(desk, holder)
    desk.world.clock.advance(timedelta(minutes=6))
    assert result_of(desk.world.engine.expire_unconfirmed()) == 1
    assert desk.record(opened.certificate).status is CertificateStatus.REVOKED
    assert desk.record(holder.certificate).update_state is UpdateState.CURRENT
    conf = cert_conf(certificate_hash(opened.certificate))
    late = desk.ask(follow(opened, BodyType.CERT_CONF, conf, holder))
    assert late.fail_info is FailInfo.BAD_REQUEST
    again = kur(desk, holder)
    conf = cert_conf(certificate_hash(again.certificate))
    done = desk.ask(follow(again, BodyType.CERT_CONF, conf, holder))
    assert done.body_type is BodyType.PKICONF
    assert desk.record(holder.certificate).update_state is UpdateState.UPDATED


@pytest.mark.requirement("CMP-77")
def test_an_updated_certificate_asks_for_nothing_but_its_revocation(
    desk: Desk,
) -> None:
    holder = desk.holder()
    opened = kur(desk, holder)
    conf = cert_conf(certificate_hash(opened.certificate))
    desk.ask(follow(opened, BodyType.CERT_CONF, conf, holder))
    for body_type in (BodyType.KUR, BodyType.IR, BodyType.CR):
        answer = desk.enroll(holder, body_type=body_type, subject="CN=device-1")
        assert answer.fail_info is FailInfo.CERT_REVOKED
    revoked = rr(desk, holder.certificate, holder)
    assert revoked.status.status is PKIStatus.ACCEPTED


# --- on behalf ---------------------------------------------------------------------


@pytest.mark.requirement("CMP-142")
@pytest.mark.parametrize("body_type", [BodyType.IR, BodyType.CR], ids=["ir", "cr"])
def test_a_registration_authority_asks_for_an_end_entity(
    desk: Desk, body_type: BodyType
) -> None:
    authority = registration_authority(desk)
    wanted = signed_request(new_key(), "CN=meter-1", popo=RAVerified())
    answer = desk.ask(message(body_type, cert_requests(wanted), authority))
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.subject.rfc4514_string() == "CN=meter-1"
    assert desk.record(answer.certificate).entity == "meter-1"


@pytest.mark.requirement("CMP-142", "CMP-75")
def test_a_registration_authority_updates_for_an_end_entity(desk: Desk) -> None:
    authority = registration_authority(desk)
    holder = desk.holder(subject="CN=meter-1")
    wanted = signed_request(
        new_key(), "CN=meter-1", controls=(old_cert_id(holder.certificate),)
    )
    sent = message(
        BodyType.KUR, cert_requests(wanted), authority, general_info=(IMPLICIT,)
    )
    answer = desk.ask(sent)
    assert answer.body_type is BodyType.KUP
    assert desk.record(answer.certificate).entity == "meter-1"
    assert desk.record(holder.certificate).update_state is UpdateState.UPDATED


@pytest.mark.requirement("CMP-142", "CMP-118", "CMP-116")
def test_a_registration_authority_holds_releases_and_revokes(desk: Desk) -> None:
    authority = registration_authority(desk)
    holder = desk.holder(subject="CN=meter-1")
    for reason, status in (
        (6, CertificateStatus.HELD),
        (8, CertificateStatus.ACTIVE),
        (1, CertificateStatus.REVOKED),
    ):
        answer = rr(desk, holder.certificate, authority, reason)
        assert answer.status.status is PKIStatus.ACCEPTED
        assert desk.record(holder.certificate).status is status
    late = rr(desk, holder.certificate, authority, 8)
    assert late.fail_info is FailInfo.BAD_CERT_ID
