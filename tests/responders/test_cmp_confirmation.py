"""certConf, the old pkiconf and error: how an enrolment ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pkid.asn1 import oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import digest, hash_algorithm
from pkid.crypto.mac import PBMAC1Parameters
from pkid.engine.model import CertificateStatus, RevocationReason, UpdateState
from pkid.messages.cmp.body import (
    BodyType,
    CertConfirmContent,
    ErrorMsgContent,
    PKIConfirmContent,
)
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_conf,
    follow,
    message,
    new_key,
    pbm,
)

ACCEPTED = PKIStatusInfo(PKIStatus.ACCEPTED)
REJECTED = PKIStatusInfo(
    PKIStatus.REJECTION, ("not mine",), frozenset((FailInfo.BAD_CERT_TEMPLATE,))
)


def conf(
    answer: Answer, by: By, *, status: PKIStatusInfo | None = None, **header: Any
) -> Sent:
    body = cert_conf(certificate_hash(answer.certificate), status=status)
    return follow(answer, BodyType.CERT_CONF, body, by, **header)


def status_of(desk: Desk, answer: Answer) -> CertificateStatus:
    return desk.record(answer.certificate).status


@pytest.mark.requirement("CMP-94", "CMP-99", "CMP-19")
@pytest.mark.parametrize("status", [None, ACCEPTED])
def test_a_certConf_is_answered_by_pkiconf_under_the_same_credential(
    desk: Desk, status: PKIStatusInfo | None
) -> None:
    opened = desk.enroll()
    answer = desk.ask(conf(opened, ByMAC(), status=status))
    assert answer.body_type is BodyType.PKICONF
    assert not answer.is_signed
    assert answer.header.sender_nonce != opened.header.sender_nonce
    assert status_of(desk, opened) is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-99", "CMP-47")
def test_the_pkiconf_of_a_signed_exchange_is_signed(desk: Desk) -> None:
    holder = desk.holder()
    opened = desk.enroll(holder, body_type=BodyType.CR, subject="CN=device-1")
    answer = desk.ask(conf(opened, holder))
    assert answer.body_type is BodyType.PKICONF
    assert answer.is_signed


@pytest.mark.requirement("CMP-95", "SEC-10")
def test_a_rejected_certificate_is_revoked_and_the_rejection_confirmed(
    desk: Desk,
) -> None:
    opened = desk.enroll()
    answer = desk.ask(conf(opened, ByMAC(), status=REJECTED))
    assert answer.body_type is BodyType.PKICONF
    record = desk.record(opened.certificate)
    assert record.status is CertificateStatus.REVOKED
    assert record.reason is RevocationReason.CESSATION_OF_OPERATION


@pytest.mark.requirement("CMP-95")
def test_an_empty_certConf_rejects_everything(desk: Desk) -> None:
    opened = desk.enroll()
    body = CertConfirmContent(())
    answer = desk.ask(follow(opened, BodyType.CERT_CONF, body, ByMAC()))
    assert answer.body_type is BodyType.PKICONF
    assert status_of(desk, opened) is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-94", "SEC-10")
def test_a_wrong_certHash_is_badCertId_and_ends_the_certificate(desk: Desk) -> None:
    opened = desk.enroll()
    body = cert_conf(bytes(32))
    answer = desk.ask(follow(opened, BodyType.CERT_CONF, body, ByMAC()))
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.BAD_CERT_ID
    assert not answer.is_signed
    assert status_of(desk, opened) is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-94")
def test_a_wrong_certReqId_in_certConf_is_badRequest(desk: Desk) -> None:
    opened = desk.enroll()
    body = cert_conf(certificate_hash(opened.certificate), 1)
    answer = desk.ask(follow(opened, BodyType.CERT_CONF, body, ByMAC()))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert status_of(desk, opened) is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-94")
def test_two_statuses_for_one_certificate_are_badRequest(desk: Desk) -> None:
    opened = desk.enroll()
    (status,) = cert_conf(certificate_hash(opened.certificate)).statuses
    body = CertConfirmContent((status, status))
    answer = desk.ask(follow(opened, BodyType.CERT_CONF, body, ByMAC()))
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-95")
@pytest.mark.parametrize(
    "status",
    [
        PKIStatusInfo(PKIStatus.ACCEPTED, (), frozenset((FailInfo.BAD_REQUEST,))),
        PKIStatusInfo(PKIStatus.WAITING),
    ],
)
def test_a_contradictory_status_in_certConf_is_badRequest(
    desk: Desk, status: PKIStatusInfo
) -> None:
    opened = desk.enroll()
    answer = desk.ask(conf(opened, ByMAC(), status=status))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert status_of(desk, opened) is CertificateStatus.AWAITING_CONFIRMATION


def test_hashAlg_in_certConf_needs_pvno_3(desk: Desk) -> None:
    sha512 = hash_algorithm("sha512")

    def confirmed(pvno: int, algorithm: AlgorithmIdentifier) -> Answer:
        opened = desk.enroll(ByMAC())
        hash_ = digest("sha512", opened.certificate)
        body = cert_conf(hash_, hash_alg=algorithm)
        sent = follow(opened, BodyType.CERT_CONF, body, ByMAC(), pvno=pvno)
        return desk.ask(sent)

    assert confirmed(3, sha512).body_type is BodyType.PKICONF
    assert confirmed(2, sha512).fail_info is FailInfo.BAD_REQUEST
    unknown = AlgorithmIdentifier("1.2.3")
    assert confirmed(3, unknown).fail_info is FailInfo.BAD_ALG


@pytest.mark.requirement("CMP-97")
def test_another_certConf_after_the_first_is_certConfirmed(desk: Desk) -> None:
    opened = desk.enroll()
    confirmed = desk.ask(conf(opened, ByMAC()))
    sent = conf(opened, ByMAC(), recip_nonce=confirmed.header.sender_nonce)
    assert desk.ask(sent).fail_info is FailInfo.CERT_CONFIRMED


@pytest.mark.requirement("CMP-97")
def test_a_certConf_after_implicit_confirmation_is_certConfirmed(desk: Desk) -> None:
    opened = desk.enroll(implicit=True)
    assert desk.ask(conf(opened, ByMAC())).fail_info is FailInfo.CERT_CONFIRMED


@pytest.mark.requirement("CMP-93", "CMP-98", "ENG-26")
def test_a_certConf_that_comes_too_late_is_badRequest(desk: Desk) -> None:
    opened = desk.enroll()
    desk.world.clock.advance(timedelta(minutes=6))
    late = desk.ask(conf(opened, ByMAC()))
    assert late.fail_info is FailInfo.BAD_REQUEST
    result_of(desk.world.engine.expire_unconfirmed())
    assert status_of(desk, opened) is CertificateStatus.REVOKED
    later = desk.ask(conf(opened, ByMAC()))
    assert later.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-96")
def test_a_certConf_signed_with_the_new_key_is_wrongAuthority(desk: Desk) -> None:
    holder, key = desk.holder(), new_key()
    opened = desk.enroll(holder, key=key, subject="CN=device-1")
    newcomer = BySignature(opened.certificate, key)
    answer = desk.ask(conf(opened, newcomer))
    assert answer.fail_info is FailInfo.WRONG_AUTHORITY
    assert status_of(desk, opened) is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-96", "SEC-14")
def test_a_certConf_under_another_secret_is_wrongAuthority(desk: Desk) -> None:
    desk.secret("other", secret=b"another insecure value")
    opened = desk.enroll()
    other = ByMAC(b"other", b"another insecure value")
    answer = desk.ask(conf(opened, other))
    assert answer.fail_info is FailInfo.WRONG_AUTHORITY
    assert status_of(desk, opened) is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-96", "SEC-04", "CMP-28")
@pytest.mark.parametrize("body_type", [BodyType.CERT_CONF, BodyType.ERROR])
def test_unprotected_follow_ups_change_nothing(desk: Desk, body_type: BodyType) -> None:
    opened = desk.enroll()
    body = (
        CertConfirmContent(())
        if body_type is BodyType.CERT_CONF
        else ErrorMsgContent(REJECTED)
    )
    sent = follow(opened, body_type, body, ByMAC(), protected=False)
    answer = desk.ask(sent)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert status_of(desk, opened) is CertificateStatus.AWAITING_CONFIRMATION
    assert desk.ask(conf(opened, ByMAC())).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-56", "SEC-04")
def test_an_error_of_the_client_gives_the_certificate_up(desk: Desk) -> None:
    opened = desk.enroll()
    sent = follow(opened, BodyType.ERROR, ErrorMsgContent(REJECTED), ByMAC())
    answer = desk.ask(sent)
    assert answer.body_type is BodyType.PKICONF
    assert status_of(desk, opened) is CertificateStatus.REVOKED
    # A second one, about something that is over, is heard and changes nothing.
    again = follow(answer, BodyType.ERROR, ErrorMsgContent(REJECTED), ByMAC())
    assert desk.ask(again).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-56", "CMP-16")
def test_an_error_about_nothing_is_answered_by_an_error(desk: Desk) -> None:
    sent = message(BodyType.ERROR, ErrorMsgContent(REJECTED), ByMAC())
    assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST


def test_a_client_that_gives_up_a_key_update_keeps_its_certificate(
    desk: Desk,
) -> None:
    holder = desk.holder()
    opened = desk.enroll(holder, body_type=BodyType.KUR, subject="CN=device-1")
    sent = follow(opened, BodyType.ERROR, ErrorMsgContent(REJECTED), holder)
    assert desk.ask(sent).body_type is BodyType.PKICONF
    assert desk.record(holder.certificate).update_state is UpdateState.CURRENT
    assert status_of(desk, opened) is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-165")
def test_an_old_pkiconf_accepts_everything_and_gets_no_answer(desk: Desk) -> None:
    opened = desk.enroll()
    sent = follow(opened, BodyType.PKICONF, PKIConfirmContent(), ByMAC())
    reply = desk.reply(sent.octets, transport="tcp-rfc2510", method="")
    assert reply.body == b""
    assert status_of(desk, opened) is CertificateStatus.ACTIVE
    assert desk.reply(sent.octets, transport="tcp-rfc2510", method="").body == b""


@pytest.mark.requirement("CMP-18", "SEC-03")
@pytest.mark.parametrize("nonce", [None, bytes(16)])
def test_a_certConf_with_another_recipNonce_is_badRecipientNonce(
    desk: Desk, nonce: bytes | None
) -> None:
    opened = desk.enroll()
    answer = desk.ask(conf(opened, ByMAC(), recip_nonce=nonce))
    assert answer.fail_info is FailInfo.BAD_RECIPIENT_NONCE
    assert status_of(desk, opened) is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-17")
def test_a_senderNonce_used_before_in_the_transaction_is_badSenderNonce(
    desk: Desk,
) -> None:
    opened = desk.enroll()
    nonce = opened.header.recip_nonce
    answer = desk.ask(conf(opened, ByMAC(), sender_nonce=nonce))
    assert answer.fail_info is FailInfo.BAD_SENDER_NONCE


@pytest.mark.requirement("CMP-16")
@pytest.mark.parametrize("body_type", [BodyType.CERT_CONF, BodyType.PKICONF])
def test_follow_ups_of_no_transaction_are_badRequest(
    desk: Desk, body_type: BodyType
) -> None:
    body = cert_conf(bytes(32))
    content = body if body_type is BodyType.CERT_CONF else PKIConfirmContent()
    for transaction_id in (bytes(16), None):
        sent = message(body_type, content, ByMAC(), transaction_id=transaction_id)
        assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-54", "CMP-53")
def test_a_secret_that_is_used_up_still_guards_its_own_certConf(desk: Desk) -> None:
    desk.secret("once", uses=1)
    by = ByMAC(reference=b"once")
    opened = desk.enroll(by)
    assert desk.ask(conf(opened, by)).body_type is BodyType.PKICONF
    refused = desk.enroll(by, subject="CN=device-2")
    assert refused.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert refused.is_signed


@pytest.mark.requirement("CMP-34")
def test_the_MAC_algorithm_stays_the_same_through_a_transaction(desk: Desk) -> None:
    hmac256 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
    pbmac1 = PBMAC1Parameters(bytes(16), 500, hmac256, hmac256)
    for first, then in ((pbm(), pbmac1), (pbmac1, pbm())):
        opened = desk.enroll(ByMAC(parameters=first))
        answer = desk.ask(conf(opened, ByMAC(parameters=then)))
        assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
        same = desk.ask(conf(opened, ByMAC(parameters=first)))
        assert same.body_type is BodyType.PKICONF


@pytest.mark.requirement("SEC-04")
def test_a_hundred_open_transactions_outlive_forged_messages(desk: Desk) -> None:
    forger = ByMAC(secret=b"guess")
    opened = [desk.enroll() for _ in range(100)]
    for answer in opened:
        for body_type, body in (
            (BodyType.ERROR, ErrorMsgContent(REJECTED)),
            (BodyType.CERT_CONF, CertConfirmContent(())),
        ):
            desk.reply(follow(answer, body_type, body, forger).octets)
            naked = follow(answer, body_type, body, forger, protected=False)
            desk.reply(naked.octets)
    waiting = CertificateStatus.AWAITING_CONFIRMATION
    assert {status_of(desk, answer) for answer in opened} == {waiting}
    desk.world.clock.advance(timedelta(minutes=2))
    for answer in opened:
        assert desk.ask(conf(answer, ByMAC())).body_type is BodyType.PKICONF
