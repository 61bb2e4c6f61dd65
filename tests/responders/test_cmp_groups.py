"""Several CertReqMsg in one message: each answered, confirmed and polled by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkid.engine.model import CertificateStatus
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertResponse,
    CertStatus,
    ErrorMsgContent,
    PKIConfirmContent,
    PollRepContent,
    PollReqContent,
)
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.encryptedkeys import EnvelopedKey
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.ownkeys import ENCR_CERT, opened, request_for, take_every_key
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    signed_request,
)

IDS = (3, 1, 4)
REFUSED = PKIStatusInfo(PKIStatus.REJECTION, ("no",))


def asking_for(
    *ids: int,
    by: By | None = None,
    body_type: BodyType = BodyType.IR,
    keys: dict[int, ec.EllipticCurvePrivateKey] | None = None,
    subject: str = "CN=device-{}",
    **header: Any,
) -> Sent:
    requests = [
        signed_request(
            (keys or {}).get(number) or new_key(),
            subject.format(number),
            cert_req_id=number,
        )
        for number in ids
    ]
    return message(body_type, cert_requests(*requests), by or ByMAC(), **header)


def responses(answer: Answer) -> dict[int, CertResponse]:
    assert isinstance(answer.body, CertRepMessage)
    return {one.cert_req_id: one for one in answer.body.responses}


def certificate_of(response: CertResponse) -> bytes:
    pair = response.certified_key_pair
    assert pair is not None
    assert pair.certificate is not None
    return pair.certificate


def statuses(answer: Answer) -> dict[int, PKIStatus]:
    return {number: one.status.status for number, one in responses(answer).items()}


def confirming(
    answer: Answer, *ids: int, rejected: tuple[int, ...] = ()
) -> CertConfirmContent:
    found = responses(answer)
    return CertConfirmContent(
        tuple(
            CertStatus(
                certificate_hash(certificate_of(found[number])),
                number,
                REFUSED if number in rejected else None,
            )
            for number in ids
        )
    )


def status_of(desk: Desk, response: CertResponse) -> CertificateStatus:
    return desk.record(certificate_of(response)).status


@pytest.mark.requirement("CMP-58")
@pytest.mark.parametrize("body_type", [BodyType.IR, BodyType.CR], ids=["ir", "cr"])
def test_each_of_several_requests_has_its_own_certificate(
    desk: Desk, body_type: BodyType
) -> None:
    answer = desk.ask(asking_for(*IDS, body_type=body_type))
    found = responses(answer)
    assert tuple(found) == IDS
    assert set(statuses(answer).values()) == {PKIStatus.ACCEPTED}
    assert len({certificate_of(one) for one in found.values()}) == 3
    assert desk.count() == 3
    confirmed = desk.ask(
        follow(answer, BodyType.CERT_CONF, confirming(answer, *IDS), ByMAC())
    )
    assert confirmed.body_type is BodyType.PKICONF
    for one in found.values():
        assert status_of(desk, one) is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-58", "CMP-72")
def test_one_that_is_refused_leaves_the_others_alone(desk: Desk) -> None:
    good, other = new_key(), ec.generate_private_key(ec.SECP521R1())
    sent = message(
        BodyType.IR,
        cert_requests(
            signed_request(other, "CN=device-0", cert_req_id=0),
            signed_request(good, "CN=device-1", cert_req_id=1),
        ),
        ByMAC(),
    )
    answer = desk.ask(sent)
    found = responses(answer)
    assert found[0].status.status is PKIStatus.REJECTION
    assert found[0].status.fail_info == {FailInfo.BAD_ALG}
    assert found[0].certified_key_pair is None
    assert found[1].status.status is PKIStatus.ACCEPTED
    assert desk.reply(sent.octets).body == answer.octets
    assert desk.count() == 1


@pytest.mark.requirement("CMP-58", "CMP-193")
def test_the_same_message_again_gets_the_same_answer(desk: Desk) -> None:
    sent = asking_for(*IDS)
    answer = desk.ask(sent)
    desk.restart()
    assert desk.reply(sent.octets).body == answer.octets
    again = desk.ask(
        asking_for(*IDS, transaction_id=sent.transaction_id, sender_nonce=bytes(16))
    )
    assert again.fail_info is FailInfo.TRANSACTION_ID_IN_USE
    assert desk.count() == 3


@pytest.mark.requirement("CMP-193")
@pytest.mark.parametrize("after", [0, 1, 2], ids=["first", "second", "third"])
def test_a_message_that_was_cut_short_is_taken_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    desk.secret("once", uses=1)
    sent = asking_for(*IDS, by=ByMAC(reference=b"once"))
    enroll = desk.world.engine.enroll
    asked: list[object] = []

    def failing(request: Any, encode: Any) -> Any:
        asked.append(request)
        if len(asked) > after:
            raise PKIError(ErrorCode.UNAVAILABLE, "the store is away")
        return enroll(request, encode)

    monkeypatch.setattr(desk.world.engine, "enroll", failing)
    assert desk.ask(sent).fail_info is FailInfo.SYSTEM_UNAVAIL
    assert desk.count() == after
    desk.restart()
    answer = desk.ask(sent)
    assert set(statuses(answer).values()) == {PKIStatus.ACCEPTED}
    assert desk.count() == 3


@pytest.mark.requirement("CMP-54")
def test_one_use_of_a_secret_is_for_the_whole_message(desk: Desk) -> None:
    desk.secret("once", uses=1)
    by = ByMAC(reference=b"once")
    answer = desk.ask(asking_for(*IDS, by=by))
    assert set(statuses(answer).values()) == {PKIStatus.ACCEPTED}
    confirmed = follow(answer, BodyType.CERT_CONF, confirming(answer, *IDS), by)
    assert desk.ask(confirmed).body_type is BodyType.PKICONF
    refused = desk.ask(asking_for(7, 8, by=by))
    assert refused.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 3


@pytest.mark.requirement("CMP-92")
def test_implicit_confirmation_is_for_all(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS, general_info=(IMPLICIT,)))
    assert answer.has_info(IMPLICIT.oid)
    for one in responses(answer).values():
        assert status_of(desk, one) is CertificateStatus.ACTIVE
    late = follow(answer, BodyType.CERT_CONF, confirming(answer, *IDS), ByMAC())
    assert desk.ask(late).fail_info is FailInfo.CERT_CONFIRMED


# --- confirmation -----------------------------------------------------------------


@pytest.mark.requirement("CMP-95")
def test_what_is_rejected_or_not_named_is_revoked(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    body = confirming(answer, 3, 1, rejected=(1,))
    sent = follow(answer, BodyType.CERT_CONF, body, ByMAC())
    confirmed = desk.ask(sent)
    assert confirmed.body_type is BodyType.PKICONF
    found = responses(answer)
    assert status_of(desk, found[3]) is CertificateStatus.ACTIVE
    assert status_of(desk, found[1]) is CertificateStatus.REVOKED
    assert status_of(desk, found[4]) is CertificateStatus.REVOKED
    assert desk.reply(sent.octets).body == confirmed.octets


@pytest.mark.requirement("CMP-95")
def test_an_empty_certConf_rejects_all(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    sent = follow(answer, BodyType.CERT_CONF, CertConfirmContent(()), ByMAC())
    assert desk.ask(sent).body_type is BodyType.PKICONF
    for one in responses(answer).values():
        assert status_of(desk, one) is CertificateStatus.REVOKED


def test_a_wrong_hash_ends_that_certificate_alone(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    good = confirming(answer, *IDS)
    wrong = CertConfirmContent((good.statuses[0], CertStatus(bytes(32), 1)))
    refused = desk.ask(follow(answer, BodyType.CERT_CONF, wrong, ByMAC()))
    assert refused.fail_info is FailInfo.BAD_CERT_ID
    found = responses(answer)
    assert status_of(desk, found[1]) is CertificateStatus.REVOKED
    assert status_of(desk, found[3]) is CertificateStatus.AWAITING_CONFIRMATION
    body = CertConfirmContent((good.statuses[0], good.statuses[2]))
    again = desk.ask(follow(refused, BodyType.CERT_CONF, body, ByMAC()))
    assert again.body_type is BodyType.PKICONF
    assert status_of(desk, found[4]) is CertificateStatus.ACTIVE


def test_certConf_that_names_a_request_twice_or_a_stranger_is_badRequest(
    desk: Desk,
) -> None:
    answer = desk.ask(asking_for(*IDS))
    good = confirming(answer, *IDS).statuses
    for body in ((good[0], good[0]), (good[0], CertStatus(bytes(32), 9))):
        sent = follow(answer, BodyType.CERT_CONF, CertConfirmContent(body), ByMAC())
        assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST
    for one in responses(answer).values():
        assert status_of(desk, one) is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-97")
def test_confirmed_twice_is_certConfirmed(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    first = desk.ask(
        follow(answer, BodyType.CERT_CONF, confirming(answer, *IDS), ByMAC())
    )
    again = follow(first, BodyType.CERT_CONF, confirming(answer, *IDS), ByMAC())
    assert desk.ask(again).fail_info is FailInfo.CERT_CONFIRMED


@pytest.mark.requirement("CMP-193")
@pytest.mark.parametrize("after", [1, 2], ids=["first", "second"])
def test_a_confirmation_that_was_cut_short_is_taken_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    answer = desk.ask(asking_for(*IDS))
    body = confirming(answer, *IDS, rejected=(4,))
    sent = follow(answer, BodyType.CERT_CONF, body, ByMAC())
    confirm = desk.world.engine.confirm
    words: list[object] = []

    def failing(word: Any) -> Any:
        words.append(word)
        if len(words) > after:
            raise PKIError(ErrorCode.UNAVAILABLE, "the store is away")
        return confirm(word)

    monkeypatch.setattr(desk.world.engine, "confirm", failing)
    assert desk.ask(sent).fail_info is FailInfo.SYSTEM_UNAVAIL
    desk.restart()
    assert desk.ask(sent).body_type is BodyType.PKICONF
    found = responses(answer)
    assert status_of(desk, found[3]) is CertificateStatus.ACTIVE
    assert status_of(desk, found[1]) is CertificateStatus.ACTIVE
    assert status_of(desk, found[4]) is CertificateStatus.REVOKED


def test_pkiconf_of_an_old_client_accepts_all(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    sent = follow(answer, BodyType.PKICONF, PKIConfirmContent(), ByMAC())
    assert desk.reply(sent.octets).body == b""
    for one in responses(answer).values():
        assert status_of(desk, one) is CertificateStatus.ACTIVE


def test_error_gives_all_up(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    sent = follow(answer, BodyType.ERROR, ErrorMsgContent(REFUSED), ByMAC())
    assert desk.ask(sent).body_type is BodyType.PKICONF
    for one in responses(answer).values():
        assert status_of(desk, one) is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-93")
def test_what_is_not_confirmed_in_time_is_revoked(desk: Desk) -> None:
    answer = desk.ask(asking_for(*IDS))
    desk.world.clock.advance(timedelta(minutes=6))
    assert result_of(desk.world.engine.expire_unconfirmed()) == 3
    late = follow(answer, BodyType.CERT_CONF, confirming(answer, *IDS), ByMAC())
    assert desk.ask(late).fail_info is FailInfo.BAD_REQUEST


# --- polling ----------------------------------------------------------------------


def approve(desk: Desk, subject: str) -> None:
    from tests.engine.world import CMP

    for waiting in result_of(desk.world.store.list_approvals()):
        if waiting.subject == subject:
            result_of(
                desk.world.engine.administration.approve(
                    waiting.id, "uid:1001", "", CMP
                )
            )


@pytest.mark.requirement("CMP-100", "CMP-101", "CMP-103")
def test_each_waiting_request_is_polled_and_confirmed_by_itself(desk: Desk) -> None:
    desk.needs_approval()
    answer = desk.ask(asking_for(0, 1))
    assert set(statuses(answer).values()) == {PKIStatus.WAITING}
    desk.restart()
    body = PollReqContent((0, 1))
    waiting = desk.ask(follow(answer, BodyType.POLL_REQ, body, ByMAC()))
    assert isinstance(waiting.body, PollRepContent)
    assert [one.cert_req_id for one in waiting.body.entries] == [0, 1]
    approve(desk, "CN=device-1")
    ready = desk.ask(follow(waiting, BodyType.POLL_REQ, body, ByMAC()))
    assert statuses(ready) == {0: PKIStatus.WAITING, 1: PKIStatus.ACCEPTED}
    confirmed = desk.ask(
        follow(ready, BodyType.CERT_CONF, confirming(ready, 1), ByMAC())
    )
    assert confirmed.body_type is BodyType.PKICONF
    assert status_of(desk, responses(ready)[1]) is CertificateStatus.ACTIVE
    approve(desk, "CN=device-0")
    last = desk.ask(follow(confirmed, BodyType.POLL_REQ, polling(0), ByMAC()))
    assert statuses(last) == {0: PKIStatus.ACCEPTED}
    desk.restart()
    done = desk.ask(follow(last, BodyType.CERT_CONF, confirming(last, 0), ByMAC()))
    assert done.body_type is BodyType.PKICONF
    assert status_of(desk, responses(last)[0]) is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-101")
def test_minus_one_polls_for_all_that_wait(desk: Desk) -> None:
    desk.needs_approval()
    answer = desk.ask(asking_for(*IDS))
    desk.approve()
    sent = follow(answer, BodyType.POLL_REQ, polling(-1), ByMAC())
    ready = desk.ask(sent)
    assert set(statuses(ready).values()) == {PKIStatus.ACCEPTED}
    assert desk.reply(sent.octets).body == ready.octets
    again = desk.ask(follow(ready, BodyType.POLL_REQ, polling(-1), ByMAC()))
    assert again.fail_info is FailInfo.BAD_REQUEST
    done = follow(ready, BodyType.CERT_CONF, confirming(ready, *IDS), ByMAC())
    assert desk.ask(done).body_type is BodyType.PKICONF


def test_a_request_that_is_rejected_later_is_told_by_itself(desk: Desk) -> None:
    desk.needs_approval()
    answer = desk.ask(asking_for(0, 1))
    approve(desk, "CN=device-0")
    from tests.engine.world import CMP

    for waiting in result_of(desk.world.store.list_approvals()):
        if waiting.subject == "CN=device-1":
            result_of(
                desk.world.engine.administration.reject(
                    waiting.id, "uid:1001", "not yours", CMP
                )
            )
    ready = desk.ask(follow(answer, BodyType.POLL_REQ, polling(-1), ByMAC()))
    assert statuses(ready) == {0: PKIStatus.ACCEPTED, 1: PKIStatus.REJECTION}
    done = follow(ready, BodyType.CERT_CONF, confirming(ready, 0), ByMAC())
    assert desk.ask(done).body_type is BodyType.PKICONF


def test_a_stranger_cannot_go_on_with_the_transaction(desk: Desk) -> None:
    holder = desk.holder(subject="CN=somebody")
    answer = desk.ask(asking_for(*IDS))
    sent = follow(answer, BodyType.CERT_CONF, confirming(answer, *IDS), holder)
    assert desk.ask(sent).fail_info is FailInfo.WRONG_AUTHORITY


# --- bounds -----------------------------------------------------------------------


@pytest.mark.requirement("CMP-74")
@pytest.mark.parametrize("ids", [(0, 0), (-1, 0)], ids=["twice", "negative"])
def test_ids_are_unique_and_not_negative(desk: Desk, ids: tuple[int, ...]) -> None:
    answer = desk.ask(asking_for(*ids))
    assert isinstance(answer.body, CertRepMessage)
    assert tuple(one.cert_req_id for one in answer.body.responses) == ids
    for response in answer.body.responses:
        assert response.status.fail_info == {FailInfo.BAD_REQUEST}
    assert desk.count() == 0


def test_more_than_sixteen_are_badDataFormat(desk: Desk) -> None:
    answer = desk.ask(asking_for(*range(17)))
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT
    assert desk.count() == 0


@pytest.mark.requirement("CMP-76")
def test_a_certificate_is_updated_once_however_often_a_kur_asks(desk: Desk) -> None:
    key = new_key()
    old = BySignature(desk.enroll(key=key, implicit=True).certificate, key)
    sent = asking_for(0, 1, by=old, body_type=BodyType.KUR, subject="CN=device-1")
    answer = desk.ask(sent)
    assert statuses(answer) == {0: PKIStatus.GRANTED_WITH_MODS, 1: PKIStatus.REJECTION}
    assert responses(answer)[1].status.fail_info == {FailInfo.CERT_REVOKED}
    assert answer.body_type is BodyType.KUP


@pytest.mark.requirement("CMP-86", "CMP-92")
def test_one_that_leaves_encrypted_has_all_of_them_confirmed(desk: Desk) -> None:
    take_every_key(desk)
    key = new_key()
    body = cert_requests(
        signed_request(key, "CN=device-0", cert_req_id=0),
        request_for("rsa", ENCR_CERT, subject="CN=device-1", cert_req_id=1),
    )
    sent = message(BodyType.IR, body, ByMAC(), general_info=(IMPLICIT,), pvno=3)
    answer = desk.ask(sent)
    assert not answer.has_info(IMPLICIT.oid)
    found = responses(answer)
    assert status_of(desk, found[0]) is CertificateStatus.AWAITING_CONFIRMATION
    pair = found[1].certified_key_pair
    assert pair is not None
    assert pair.certificate is None
    assert isinstance(pair.encrypted_cert, EnvelopedKey)
    octets = opened(pair.encrypted_cert.enveloped, "rsa")
    words = (
        CertStatus(certificate_hash(certificate_of(found[0])), 0),
        CertStatus(certificate_hash(octets), 1),
    )
    conf = CertConfirmContent(words)
    done = desk.ask(follow(answer, BodyType.CERT_CONF, conf, ByMAC(), pvno=3))
    assert done.body_type is BodyType.PKICONF
    assert desk.record(octets).status is CertificateStatus.ACTIVE
