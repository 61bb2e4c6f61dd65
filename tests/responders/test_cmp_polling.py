"""Waiting for an approver: pollReq, and polling records of raw TCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred

from pkid.asn1 import oids
from pkid.engine.aliases import ApprovalRule
from pkid.engine.model import CertificateStatus, CredentialKind
from pkid.engine.writes import UpdateApproval, UpdateTransaction, Write
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    ErrorMsgContent,
    PollRepContent,
    PollReqContent,
)
from pkid.messages.cmp.framing import (
    Framing,
    Record,
    RecordReader,
    RecordType,
    decode_poll_rep,
    encode_poll_req,
    encode_request,
)
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.responders.base import Reply
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.polling import PollingReply
from pkid.storage.filestore import FileStore
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    signed_request,
)
from tests.responders.test_cmp_enrollment import pkcs10

TCP = {"transport": "tcp-draft", "method": "", "headers": {}}


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.needs_approval()
    return desk


def poll(desk: Desk, before: Answer, by: By, number: int = 0) -> Answer:
    return desk.ask(follow(before, BodyType.POLL_REQ, polling(number), by))


@pytest.mark.requirement("CMP-100", "CMP-102", "CMP-103")
def test_a_request_waits_is_polled_and_gets_its_certificate(desk: Desk) -> None:
    waiting = desk.enroll()
    assert waiting.body_type is BodyType.IP
    assert waiting.status == PKIStatusInfo(PKIStatus.WAITING, ("waiting for approval",))
    assert desk.count() == 0
    early = poll(desk, waiting, ByMAC())
    assert early.body_type is BodyType.POLL_REP
    assert isinstance(early.body, PollRepContent)
    (entry,) = early.body.entries
    assert (entry.cert_req_id, entry.check_after) == (0, 60)
    desk.approve()
    final = poll(desk, early, ByMAC())
    assert final.body_type is BodyType.IP
    assert final.certificate
    assert final.has_info(oids.ID_IT_CONFIRM_WAIT_TIME)
    hash_ = certificate_hash(final.certificate)
    done = desk.ask(follow(final, BodyType.CERT_CONF, cert_conf(hash_), ByMAC()))
    assert done.body_type is BodyType.PKICONF
    assert desk.record(final.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-104")
def test_a_waiting_request_survives_a_restart(desk: Desk) -> None:
    waiting = desk.enroll()
    desk.restart()
    desk.approve()
    desk.restart()
    assert poll(desk, waiting, ByMAC()).certificate


@contextmanager
def in_between(
    monkeypatch: pytest.MonkeyPatch, kind: type, act: Callable[[], object]
) -> Iterator[None]:
    """Act once, right before the first commit that has a write of that kind."""
    commit, left = FileStore.commit, [act]

    def later(store: FileStore, *writes: Write) -> Deferred[None]:
        if left and any(isinstance(write, kind) for write in writes):
            left.pop()()
        return commit(store, *writes)

    with monkeypatch.context() as patched:
        patched.setattr(FileStore, "commit", later)
        yield
    assert not left


@pytest.mark.requirement("CMP-101", "CMP-104")
def test_a_poll_that_meets_the_approval_gets_the_certificate(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = desk.enroll()
    with in_between(monkeypatch, UpdateTransaction, desk.approve):
        final = poll(desk, waiting, ByMAC())
    assert final.certificate


@pytest.mark.requirement("CMP-104")
def test_an_approval_that_meets_a_poll_is_carried_out(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = desk.enroll()
    answers: list[Answer] = []

    def asks() -> None:
        answers.append(poll(desk, waiting, ByMAC()))

    with in_between(monkeypatch, UpdateApproval, asks):
        desk.approve()
    assert answers[0].body_type is BodyType.POLL_REP
    assert poll(desk, answers[0], ByMAC()).certificate


@pytest.mark.requirement("CMP-93")
def test_the_time_to_confirm_runs_from_when_the_client_comes(desk: Desk) -> None:
    waiting = desk.enroll()
    desk.approve()
    desk.world.clock.advance(timedelta(hours=5))
    final = poll(desk, waiting, ByMAC())
    record = desk.record(final.certificate)
    assert record.status is CertificateStatus.AWAITING_CONFIRMATION
    desk.world.clock.advance(timedelta(minutes=6))
    result_of(desk.world.engine.expire_unconfirmed())
    record = desk.record(final.certificate)
    assert record.status is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-101")
def test_implicit_confirmation_is_granted_with_the_final_answer(desk: Desk) -> None:
    waiting = desk.enroll(implicit=True)
    assert not waiting.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    desk.approve()
    final = poll(desk, waiting, ByMAC())
    assert final.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    assert desk.record(final.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-101")
def test_a_p10cr_is_polled_by_minus_one(desk: Desk) -> None:
    waiting = desk.ask(message(BodyType.P10CR, pkcs10(new_key()), ByMAC()))
    assert waiting.body_type is BodyType.CP
    wrong = poll(desk, waiting, ByMAC(), 0)
    assert wrong.fail_info is FailInfo.BAD_REQUEST
    early = poll(desk, waiting, ByMAC(), -1)
    assert early.body_type is BodyType.POLL_REP
    desk.approve()
    assert poll(desk, early, ByMAC(), -1).certificate


@pytest.mark.requirement("CMP-101")
@pytest.mark.parametrize("numbers", [(), (0, 1), (7,)])
def test_a_pollReq_about_something_else_is_badRequest(
    desk: Desk, numbers: tuple[int, ...]
) -> None:
    waiting = desk.enroll()
    sent = follow(waiting, BodyType.POLL_REQ, PollReqContent(numbers), ByMAC())
    assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-104")
def test_a_rejected_request_is_told_once_and_then_over(desk: Desk) -> None:
    waiting = desk.enroll()
    desk.reject("not on the list")
    final = poll(desk, waiting, ByMAC())
    assert final.body_type is BodyType.IP
    assert final.fail_info is FailInfo.NOT_AUTHORIZED
    assert "not on the list" in final.status.strings[0]
    assert poll(desk, final, ByMAC()).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-104")
def test_polling_what_was_delivered_or_never_asked_is_badRequest(desk: Desk) -> None:
    waiting = desk.enroll()
    desk.approve()
    final = poll(desk, waiting, ByMAC())
    assert poll(desk, final, ByMAC()).fail_info is FailInfo.BAD_REQUEST
    sent = message(BodyType.POLL_REQ, polling(), ByMAC())
    assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("SEC-14", "CMP-101")
def test_nobody_polls_for_another(desk: Desk) -> None:
    desk.secret("other", secret=b"another insecure value")
    waiting = desk.enroll()
    desk.approve()
    other = ByMAC(b"other", b"another insecure value")
    assert poll(desk, waiting, other).fail_info is FailInfo.WRONG_AUTHORITY
    assert poll(desk, waiting, ByMAC()).certificate


def test_what_waits_cannot_be_confirmed(desk: Desk) -> None:
    waiting = desk.enroll()
    sent = follow(waiting, BodyType.CERT_CONF, cert_conf(bytes(32)), ByMAC())
    assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST


def test_an_alias_may_say_itself_when_to_poll_again(desk: Desk) -> None:
    desk.settings["poll_after"] = timedelta(seconds=7)
    early = poll(desk, desk.enroll(), ByMAC())
    assert isinstance(early.body, PollRepContent)
    assert early.body.entries[0].check_after == 7


def test_a_client_may_give_up_what_waits(desk: Desk) -> None:
    waiting = desk.enroll()
    status = PKIStatusInfo(PKIStatus.REJECTION, ("no longer wanted",))
    sent = follow(waiting, BodyType.ERROR, ErrorMsgContent(status), ByMAC())
    assert desk.ask(sent).body_type is BodyType.PKICONF


def test_a_signed_request_waits_and_is_answered_signed(desk: Desk) -> None:
    desk.world.change_alias(approval="automatic")
    holder: BySignature = desk.holder()
    desk.needs_approval()
    waiting = desk.enroll(holder, body_type=BodyType.CR, subject="CN=device-1")
    desk.approve()
    final = poll(desk, waiting, holder)
    assert final.is_signed
    assert final.body_type is BodyType.CP


# --- TCP-level polling --------------------------------------------------------


def tcp_ask(desk: Desk, octets: bytes, **fields: object) -> Reply:
    return desk.reply(octets, **{**TCP, **fields})


def tcp_poll(desk: Desk, reference: int) -> Reply:
    return tcp_ask(desk, reference.to_bytes(4, "big"), operation="tcp-poll")


def opening(by: By | None = None) -> bytes:
    return message(
        BodyType.IR, cert_requests(signed_request(new_key())), by or ByMAC()
    ).octets


@pytest.mark.requirement("CMP-166")
def test_a_tcp_client_waits_by_polling_records_where_it_is_configured(
    desk: Desk,
) -> None:
    desk.settings["tcp_polling"] = True
    octets = opening()
    first = tcp_ask(desk, octets)
    assert isinstance(first, PollingReply)
    assert first.check_at == desk.world.clock.now() + timedelta(seconds=60)
    desk.restart()
    again = tcp_poll(desk, first.reference)
    assert isinstance(again, PollingReply)
    assert again.reference != first.reference
    # A reference is good for one poll.
    assert tcp_poll(desk, first.reference).body == b""
    desk.approve()
    final = Answer.read(tcp_poll(desk, again.reference).body)
    final.check_mac()
    assert final.certificate
    hash_ = certificate_hash(final.certificate)
    done = desk.ask(follow(final, BodyType.CERT_CONF, cert_conf(hash_), ByMAC()))
    assert done.body_type is BodyType.PKICONF
    # The request itself, again, now gets the final answer.
    assert tcp_ask(desk, octets).body == final.octets


@pytest.mark.requirement("CMP-166")
def test_without_the_switch_tcp_clients_wait_by_pollReq(desk: Desk) -> None:
    reply = tcp_ask(desk, opening())
    assert not isinstance(reply, PollingReply)
    assert Answer.read(reply.body).status.status is PKIStatus.WAITING


def test_over_http_the_switch_changes_nothing(desk: Desk) -> None:
    desk.settings["tcp_polling"] = True
    assert desk.enroll().status.status is PKIStatus.WAITING


@pytest.mark.requirement("CMP-166")
def test_an_unknown_or_expired_reference_gets_nothing(desk: Desk) -> None:
    desk.settings["tcp_polling"] = True
    assert tcp_poll(desk, 4711).body == b""
    first = tcp_ask(desk, opening())
    assert isinstance(first, PollingReply)
    desk.world.clock.advance(timedelta(days=2))
    assert tcp_poll(desk, first.reference).body == b""


def test_a_malformed_reference_is_no_surprise(desk: Desk) -> None:
    reply = tcp_ask(desk, b"\x00\x01", operation="tcp-poll")
    assert reply.body == b""


def test_a_rejection_comes_by_tcp_polling_too(desk: Desk) -> None:
    desk.settings["tcp_polling"] = True
    first = tcp_ask(desk, opening())
    assert isinstance(first, PollingReply)
    desk.reject("no")
    final = Answer.read(tcp_poll(desk, first.reference).body)
    final.check_mac()
    assert final.fail_info is FailInfo.NOT_AUTHORIZED


def test_a_signed_client_polls_over_tcp_as_well(desk: Desk) -> None:
    desk.world.change_alias(approval="automatic")
    holder = desk.holder()
    desk.needs_approval()
    desk.settings["tcp_polling"] = True
    wanted = signed_request(new_key(), "CN=device-1")
    sent = message(BodyType.CR, cert_requests(wanted), holder)
    first = tcp_ask(desk, sent.octets)
    assert isinstance(first, PollingReply)
    desk.approve()
    final = Answer.read(tcp_poll(desk, first.reference).body)
    final.check_signature()
    assert final.body_type is BodyType.CP


@pytest.mark.requirement("CMP-157", "CMP-166")
@pytest.mark.parametrize("framing", [Framing.RFC2510, Framing.TCP_DRAFT])
def test_tcp_records_in_http_bodies_are_answered_in_kind(
    desk: Desk, framing: Framing
) -> None:
    desk.settings["tcp_polling"] = True

    def post(body: bytes) -> Record:
        reply = desk.reply(body, headers={})
        assert reply.status == 200
        assert reply.content_type == "application/pkixcmp-poll"
        (record,) = RecordReader().feed(reply.body)
        assert isinstance(record, Record)
        assert record.framing is framing
        return record

    waiting = post(encode_request(framing, opening()))
    assert waiting.type is RecordType.POLL_REP
    reference, check_at = decode_poll_rep(waiting.value)
    assert check_at == int(desk.world.clock.now().timestamp()) + 60
    desk.approve()
    final = post(encode_poll_req(framing, reference))
    assert final.type is RecordType.PKI_REP
    assert Answer.read(final.value).certificate
    over = post(encode_poll_req(framing, reference))
    assert over.type is RecordType.FIN_REP


def test_approvals_expire_and_the_client_is_told(desk: Desk) -> None:
    waiting = desk.enroll()
    desk.world.clock.advance(ApprovalRule().expires + timedelta(days=1))
    result_of(desk.world.engine.expire_requests())
    final = poll(desk, waiting, ByMAC())
    assert final.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-166")
def test_of_two_polls_with_one_reference_one_is_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.settings["tcp_polling"] = True
    first = tcp_ask(desk, opening())
    assert isinstance(first, PollingReply)
    desk.approve()

    async def overtaken(*_: object) -> None:
        raise PKIError(ErrorCode.CONFLICT, "the state changed meanwhile")

    with monkeypatch.context() as patch:
        patch.setattr(desk.world.engine, "remember", overtaken)
        assert tcp_poll(desk, first.reference).body == b""
    assert Answer.read(tcp_poll(desk, first.reference).body).certificate


def test_a_delivered_answer_is_given_again_to_a_later_poll(desk: Desk) -> None:
    desk.settings["tcp_polling"] = True
    octets = opening()
    first, second = tcp_ask(desk, octets), tcp_ask(desk, octets)
    assert isinstance(first, PollingReply)
    assert isinstance(second, PollingReply)
    assert first.reference != second.reference
    desk.approve()
    final = tcp_poll(desk, first.reference).body
    assert tcp_poll(desk, second.reference).body == final


def test_an_answer_by_tcp_polling_is_signed_once_the_secret_is_gone(
    desk: Desk,
) -> None:
    desk.settings["tcp_polling"] = True
    first = tcp_ask(desk, opening())
    assert isinstance(first, PollingReply)
    desk.approve()
    removed = desk.world.engine.administration.remove_secret(
        CredentialKind.CMP_SECRET, "ref", "uid:0", CMP
    )
    result_of(removed)
    final = Answer.read(tcp_poll(desk, first.reference).body)
    final.check_signature()
    assert final.certificate
