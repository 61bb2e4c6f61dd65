"""The same octets again: the same answer, whatever happened in between."""

from __future__ import annotations

from datetime import timedelta

import pytest
from twisted.internet.defer import Deferred

from pkid.engine.model import TransactionKey
from pkid.messages.cmp.body import BodyType, CertConfirmContent
from pkid.messages.cmp.status import FailInfo
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    Sent,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    signed_request,
)


def ir(by: By | None = None, **header: object) -> Sent:
    body = cert_requests(signed_request(new_key()))
    return message(BodyType.IR, body, by or ByMAC(), **header)


def conf(answer: Answer, by: By) -> Sent:
    body = cert_conf(certificate_hash(answer.certificate))
    return follow(answer, BodyType.CERT_CONF, body, by)


@pytest.mark.requirement("CMP-193", "SEC-02", "ENG-25")
def test_an_ir_again_gets_the_stored_answer_also_after_a_restart(desk: Desk) -> None:
    sent = ir()
    answer = desk.ask(sent)
    assert desk.reply(sent.octets).body == answer.octets
    desk.restart()
    over_tcp = desk.reply(sent.octets, transport="tcp-draft", method="")
    assert over_tcp.body == answer.octets
    confirmation = conf(answer, ByMAC())
    pkiconf = desk.ask(confirmation)
    desk.restart()
    assert desk.reply(sent.octets).body == answer.octets
    assert desk.reply(confirmation.octets).body == pkiconf.octets
    assert desk.count() == 1


@pytest.mark.requirement("CMP-15", "CMP-193", "SEC-02")
def test_another_request_under_the_same_id_is_transactionIdInUse(desk: Desk) -> None:
    first = ir(transaction_id=bytes(range(16)))
    desk.ask(first)
    other = ir(transaction_id=bytes(range(16)))
    answer = desk.ask(other)
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.TRANSACTION_ID_IN_USE
    assert desk.count() == 1
    desk.ask(conf(Answer.read(desk.reply(first.octets).body), ByMAC()))
    assert desk.ask(other).fail_info is FailInfo.TRANSACTION_ID_IN_USE


@pytest.mark.requirement("CMP-15")
def test_two_requesters_may_draw_the_same_id(desk: Desk) -> None:
    desk.secret("other", secret=b"another insecure value")
    desk.ask(ir(transaction_id=bytes(16)))
    other = ByMAC(b"other", b"another insecure value")
    body = cert_requests(signed_request(new_key(), "CN=device-2"))
    answer = desk.ask(message(BodyType.IR, body, other, transaction_id=bytes(16)))
    assert answer.certificate


@pytest.mark.requirement("CMP-14", "CMP-193")
def test_without_an_id_one_is_made_and_a_repeat_still_finds_it(desk: Desk) -> None:
    sent = ir(transaction_id=None)
    answer = desk.ask(sent)
    assert answer.header.transaction_id is not None
    assert len(answer.header.transaction_id) == 16
    assert desk.reply(sent.octets).body == answer.octets
    assert desk.ask(conf(answer, ByMAC())).body_type is BodyType.PKICONF
    assert desk.count() == 1


@pytest.mark.requirement("CMP-14")
@pytest.mark.parametrize("size", [1, 8, 64])
def test_ids_of_other_sizes_are_taken(desk: Desk, size: int) -> None:
    assert desk.ask(ir(transaction_id=bytes(size))).certificate


@pytest.mark.requirement("SEC-02", "CMP-54")
def test_a_used_up_secret_still_gets_its_stored_answer(desk: Desk) -> None:
    desk.secret("once", uses=1)
    sent = ir(ByMAC(reference=b"once"))
    answer = desk.ask(sent)
    assert desk.reply(sent.octets).body == answer.octets
    desk.restart()
    assert desk.reply(sent.octets).body == answer.octets


@pytest.mark.requirement("CMP-193")
def test_a_pollReq_again_gets_the_same_answer(desk: Desk) -> None:
    desk.needs_approval()
    waiting = desk.enroll()
    sent = follow(waiting, BodyType.POLL_REQ, polling(), ByMAC())
    early = desk.ask(sent)
    desk.approve()
    assert desk.reply(sent.octets).body == early.octets
    final = follow(early, BodyType.POLL_REQ, polling(), ByMAC())
    answer = desk.ask(final)
    assert desk.reply(final.octets).body == answer.octets


@pytest.mark.requirement("SEC-02", "CMP-193")
def test_a_kur_again_gets_the_same_answer_after_the_old_certificate_ended(
    desk: Desk,
) -> None:
    desk.world.change_alias(revoke_replaced=True)
    holder = desk.holder()
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    sent = message(BodyType.KUR, body, holder)
    answer = desk.ask(sent)
    confirmation = conf(answer, holder)
    pkiconf = desk.ask(confirmation)
    assert desk.reply(sent.octets).body == answer.octets
    assert desk.reply(confirmation.octets).body == pkiconf.octets
    assert desk.count() == 2


@pytest.mark.requirement("SEC-02")
def test_nothing_that_was_accepted_issues_again_when_replayed(desk: Desk) -> None:
    holder = desk.holder()
    accepted = [ir() for _ in range(5)]
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    accepted.append(message(BodyType.CR, body, holder))
    answers = [desk.reply(sent.octets).body for sent in accepted]
    before = desk.count()
    desk.restart()
    desk.world.clock.advance(timedelta(minutes=3))
    assert [desk.reply(sent.octets).body for sent in accepted] == answers
    assert desk.count() == before


@pytest.mark.requirement("CMP-193", "SEC-02")
@pytest.mark.parametrize("ending", ["rejected", "unconfirmed", "refused"])
def test_an_ir_again_gets_its_answer_though_the_transaction_ended_badly(
    desk: Desk, ending: str
) -> None:
    if ending == "refused":
        desk.needs_approval()
    sent = ir()
    answer = desk.ask(sent)
    if ending == "rejected":
        body = CertConfirmContent(())
        desk.ask(follow(answer, BodyType.CERT_CONF, body, ByMAC()))
    elif ending == "unconfirmed":
        desk.world.clock.advance(timedelta(minutes=6))
        result_of(desk.world.engine.expire_unconfirmed())
    else:
        desk.reject("no")
    before = desk.count()
    assert desk.reply(sent.octets).body == answer.octets
    desk.restart()
    assert desk.reply(sent.octets).body == answer.octets
    assert desk.count() == before


def test_a_race_of_equal_requests_issues_one_certificate(desk: Desk) -> None:
    sent = ir()
    answers: list[bytes] = []
    pending = [
        Deferred.fromCoroutine(desk.responder.respond(desk.exchange(sent.octets)))
        for _ in range(4)
    ]
    for work in pending:
        work.addCallback(lambda reply: answers.append(reply.body))
    assert len(set(answers)) == 1
    assert desk.count() == 1


def test_the_stored_state_is_kept_under_the_requesters_own_key(desk: Desk) -> None:
    sent = ir()
    desk.ask(sent)
    assert sent.transaction_id is not None
    key = TransactionKey("cmp", "default", "secret:cmp:ref", sent.transaction_id)
    assert result_of(desk.world.engine.find_transaction(key)) is not None
