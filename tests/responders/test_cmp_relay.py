"""Proxy and added protection: messages for another CA pass as they came."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pkid.asn1 import oids
from pkid.engine.model import CertificateStatus, TransactionStatus
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType, PollRepContent
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.upstreamstate import RelayState
from tests.engine.world import CMP, World, result_of
from tests.responders.peers import (
    Answer,
    ByMAC,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    signed_request,
)
from tests.responders.radesk import CADesk, RADesk

SECRET_OF_THE_CA = ByMAC(secret=b"known-to-the-CA-alone")


@pytest.fixture
def ca(room: Path) -> Iterator[CADesk]:
    directory = room / "ca"
    shutil.copytree(room / "template", directory)
    desk = CADesk(World(directory))
    try:
        result_of(desk.world.engine.prepare_message_identity("issuing", CMP))
        desk.secret("ca", secret=SECRET_OF_THE_CA.secret)
        yield desk
    finally:
        desk.world.close()
        shutil.rmtree(directory)


@pytest.fixture
def before(room: Path, ca: CADesk) -> Iterator[Callable[[str], RADesk]]:
    """Makes the one under test, in a mode."""
    directory = room / "ra"
    shutil.copytree(room / "template", directory)
    desks: list[RADesk] = []

    def make(mode: str) -> RADesk:
        desks.append(RADesk(World(directory), ca, mode))
        return desks[0]

    try:
        yield make
    finally:
        for desk in desks:
            desk.world.close()
        shutil.rmtree(directory)


DEVICE = ByMAC(reference=b"ca", secret=SECRET_OF_THE_CA.secret)


def request(subject: str = "CN=device-1") -> Sent:
    wanted = signed_request(new_key(), subject)
    return message(BodyType.IR, cert_requests(wanted), DEVICE)


def confirmation(answer: Answer) -> Sent:
    conf = cert_conf(certificate_hash(answer.certificate))
    return follow(answer, BodyType.CERT_CONF, conf, DEVICE)


def poll(answer: Answer) -> Sent:
    return follow(answer, BodyType.POLL_REQ, polling(), DEVICE)


def ask(desk: RADesk, sent: Sent) -> Answer:
    """The answer, whoever protected it."""
    return Answer.read(desk.reply(sent.octets).body)


def rows(desk: RADesk, sent: Sent) -> int:
    return len(
        result_of(
            desk.world.engine.find_transactions_by_id(
                "cmp", "default", sent.transaction_id or b""
            )
        )
    )


@pytest.mark.requirement("CMP-144")
def test_a_proxy_changes_no_octet_in_either_direction(
    before: Callable[[str], RADesk], ca: CADesk
) -> None:
    proxy = before("forward")
    sent = request()
    reply = proxy.reply(sent.octets)
    assert proxy.line.sent == [sent.octets]
    assert proxy.line.received == [reply.body]
    answer = Answer.read(reply.body)
    answer.check_mac(DEVICE.secret)
    done = ask(proxy, confirmation(answer))
    assert done.body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-141")
def test_added_protection_holds_the_message_as_it_came(
    before: Callable[[str], RADesk], ca: CADesk
) -> None:
    ra = before("protect")
    sent = request()
    reply = ra.reply(sent.octets)
    outer = ra.line.last
    body = decode_body(outer)
    assert isinstance(body, NestedMessageContent)
    assert body.messages == (sent.octets,)
    assert outer.header.transaction_id == sent.transaction_id
    assert outer.header.sender_nonce == sent.sender_nonce
    assert outer.extra_certs[0] == ra.chain[0]
    # The answer is the CA's own, under the protection that the device asked with.
    assert ra.line.received == [reply.body]
    answer = Answer.read(reply.body)
    answer.check_mac(DEVICE.secret)
    assert ask(ra, confirmation(answer)).body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).status is CertificateStatus.ACTIVE


MODES = ["forward", "protect"]


@pytest.mark.parametrize("mode", MODES)
def test_the_same_octets_get_the_same_answer(
    before: Callable[[str], RADesk], mode: str
) -> None:
    desk = before(mode)
    sent = request()
    first = desk.reply(sent.octets).body
    confirm = confirmation(Answer.read(first))
    second = desk.reply(confirm.octets).body
    desk.line.cut = True
    desk.restart()
    assert desk.reply(sent.octets).body == first
    assert desk.reply(confirm.octets).body == second


@pytest.mark.parametrize("mode", MODES)
def test_strangers_fill_no_store(before: Callable[[str], RADesk], mode: str) -> None:
    desk = before(mode)
    wanted = cert_requests(signed_request(new_key()))
    sent = message(BodyType.IR, wanted, ByMAC(secret=b"guessed" * 3))
    assert ask(desk, sent).fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert rows(desk, sent) == 0


@pytest.mark.parametrize("mode", MODES)
def test_questions_pass(before: Callable[[str], RADesk], mode: str) -> None:
    desk = before(mode)
    sent = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), DEVICE)
    assert ask(desk, sent).body_type is BodyType.GENP


def test_a_proxy_never_speaks_for_the_CA(before: Callable[[str], RADesk]) -> None:
    proxy = before("forward")
    proxy.line.cut = True
    reply = proxy.reply(request().octets)
    assert reply.status == 503
    assert reply.content_type == "text/plain"


def test_a_proxy_with_an_identity_says_that_the_CA_is_away(
    before: Callable[[str], RADesk],
) -> None:
    proxy = before("forward")
    proxy.world.change_alias(authority="issuing")
    result_of(proxy.world.engine.prepare_message_identity("issuing", CMP))
    proxy.line.cut = True
    answer = ask(proxy, request())
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.SYSTEM_UNAVAIL
    assert answer.check_signature()


@pytest.mark.requirement("CMP-105")
@pytest.mark.parametrize("turned", [False, True])
def test_an_RA_holds_a_request_while_the_CA_is_away(
    before: Callable[[str], RADesk], ca: CADesk, turned: bool
) -> None:
    ra = before("protect")
    ra.line.cut = True
    sent = request()
    waiting = ask(ra, sent)
    assert waiting.body_type is BodyType.IP
    assert waiting.status.status is PKIStatus.WAITING
    assert waiting.check_signature()
    still = ask(ra, poll(waiting))
    assert isinstance(still.body, PollRepContent)
    ra.restart()
    ra.line.cut = False
    ra.wait(seconds=15)
    if turned:
        assert ra.turn() == 1
        ra.line.cut = True
    asks = poll(still)
    answer = ask(ra, asks)
    # As the CA made it: its recipNonce is that of the request (RFC 9483 section 4.4).
    assert answer.header.recip_nonce == sent.sender_nonce
    answer.check_mac(DEVICE.secret)
    assert ask(ra, asks).octets == answer.octets
    ra.line.cut = False
    assert ask(ra, confirmation(answer)).body_type is BodyType.PKICONF
    assert ca.count() == 1


@pytest.mark.parametrize("mode", MODES)
def test_who_sent_a_message_may_be_verified_here_too(
    before: Callable[[str], RADesk], mode: str
) -> None:
    desk = before(mode)
    desk.settings["upstream_verify"] = True
    if mode == "forward":
        # Refusals of our own need somebody to sign them.
        desk.world.change_alias(authority="issuing")
        result_of(desk.world.engine.prepare_message_identity("issuing", CMP))
    refused = ask(desk, request())
    assert refused.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.line.sent == []
    # This one is known on both sides.
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    answer = ask(desk, sent)
    assert answer.status.status is PKIStatus.ACCEPTED
    answer.check_mac()
    inner = desk.line.last
    if mode == "protect":
        body = decode_body(inner)
        assert isinstance(body, NestedMessageContent)
        assert body.messages == (sent.octets,)
    else:
        assert inner.der == sent.octets


def test_only_requests_for_certificates_are_held(
    before: Callable[[str], RADesk],
) -> None:
    ra = before("protect")
    ra.line.cut = True
    sent = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), DEVICE)
    assert ask(ra, sent).fail_info is FailInfo.SYSTEM_UNAVAIL
    assert rows(ra, sent) == 0


def test_only_so_many_are_held(before: Callable[[str], RADesk]) -> None:
    ra = before("protect")
    ra.options["most_held"] = 1
    ra.line.cut = True
    assert ask(ra, request()).status.status is PKIStatus.WAITING
    assert ask(ra, request("CN=2")).fail_info is FailInfo.SYSTEM_UNAVAIL


def test_what_is_held_is_given_up_in_the_end(before: Callable[[str], RADesk]) -> None:
    ra = before("protect")
    ra.line.cut = True
    sent = request()
    ask(ra, sent)
    ra.wait(days=3)
    ra.turn()
    assert ra.status(sent.transaction_id) is TransactionStatus.EXPIRED


def test_while_it_waits_a_request_is_only_polled_for(
    before: Callable[[str], RADesk],
) -> None:
    ra = before("protect")
    ra.line.cut = True
    waiting = ask(ra, request())
    wrong = follow(waiting, BodyType.POLL_REQ, polling(), DEVICE, recip_nonce=b"n" * 16)
    assert ask(ra, wrong).fail_info is FailInfo.BAD_REQUEST
    other = message(
        BodyType.IR,
        cert_requests(signed_request(new_key())),
        DEVICE,
        transaction_id=waiting.header.transaction_id,
    )
    assert ask(ra, other).fail_info is FailInfo.TRANSACTION_ID_IN_USE


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_of_another_transaction_is_none(
    before: Callable[[str], RADesk], mode: str
) -> None:
    desk = before(mode)
    ask(desk, request())
    old = desk.line.received[-1]
    desk.line.forge = lambda _: old
    reply = desk.reply(request("CN=2").octets)
    if mode == "forward":
        assert reply.status == 503
    else:
        assert Answer.read(reply.body).status.status is PKIStatus.WAITING


def test_a_CA_that_is_configured_no_more_is_away(
    before: Callable[[str], RADesk],
) -> None:
    ra = before("protect")
    ra.world.change_alias(upstream="gone")
    sent = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), DEVICE)
    assert ask(ra, sent).fail_info is FailInfo.SYSTEM_UNAVAIL


def test_a_state_reads_back_as_itself() -> None:
    state = RelayState(held=b"a", arrived=b"b", cert_req_id=-1, our_nonce=b"n")
    for number in range(6):
        state = state.answered(b"%032d" % number, b"answer")
    assert RelayState.decode(state.encode()) == state
    kept = [one.request_hash for one in state.answers]
    assert kept == [b"%032d" % number for number in (0, 3, 4, 5)]
    with pytest.raises(PKIError) as refused:
        RelayState.decode(b"\x30\x00")
    assert refused.value.code is ErrorCode.INTERNAL


def test_messages_are_told_from_their_octets_only(
    before: Callable[[str], RADesk],
) -> None:
    """Without a transactionID the same octets still find their answer."""
    desk = before("forward")
    wanted = cert_requests(signed_request(new_key()))
    sent = message(BodyType.IR, wanted, DEVICE, transaction_id=None)
    first = desk.reply(sent.octets).body
    assert PKIMessage.decode(first).header.transaction_id
    desk.line.cut = True
    assert desk.reply(sent.octets).body == first
