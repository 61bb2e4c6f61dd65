"""nested: what a registration authority passes on, alone or in batches."""

from __future__ import annotations

import os
from typing import Any

import pytest

from pkid.asn1 import oids
from pkid.engine.model import CertificateStatus
from pkid.messages.cmp.body import (
    BodyType,
    PKIConfirmContent,
)
from pkid.messages.cmp.nested import MAX_NESTED_MESSAGES, NestedMessageContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import RAVerified
from pkid.responders.cmp.certification import certificate_hash
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    revocation_of,
    signed_request,
)


@pytest.fixture
def authority(desk: Desk) -> BySignature:
    """A registration authority that the alias lists."""
    desk.world.change_profile("device", extended_key_usage=(oids.ID_KP_CMC_RA,))
    holder = desk.holder(subject="CN=ra-1")
    desk.world.change_profile("device", extended_key_usage=(oids.ID_KP_CLIENT_AUTH,))
    desk.world.change_alias(registration_authorities=("CN=ra-1",))
    return holder


def request_of(name: str, by: By | None = None, **header: Any) -> Sent:
    wanted = signed_request(new_key(), f"CN={name}")
    return message(BodyType.IR, cert_requests(wanted), by or ByMAC(), **header)


def added(inner: Sent, by: By, **header: Any) -> Sent:
    """One message under added protection."""
    values: dict[str, Any] = {
        "transaction_id": inner.transaction_id,
        "sender_nonce": inner.sender_nonce,
    }
    values.update(header)
    return message(BodyType.NESTED, NestedMessageContent((inner.octets,)), by, **values)


def batch(by: By, *inner: Sent, **header: Any) -> Sent:
    octets = tuple(one.octets for one in inner)
    return message(BodyType.NESTED, NestedMessageContent(octets), by, **header)


def answers_in(answer: Answer) -> list[Answer]:
    assert answer.body_type is BodyType.NESTED
    assert isinstance(answer.body, NestedMessageContent)
    return [Answer.read(octets) for octets in answer.body.messages]


def passed_on(desk: Desk, inner: Sent, by: By, **header: Any) -> Answer:
    """The answer to a message passed on, checked as the end entity checks it."""
    answer = Answer.read(desk.reply(added(inner, by, **header).octets).body)
    assert answer.header.transaction_id == inner.transaction_id
    assert answer.header.recip_nonce == inner.sender_nonce
    return answer


# --- added protection --------------------------------------------------------------


@pytest.mark.requirement("CMP-137")
def test_a_message_passed_on_is_answered_as_if_it_came_alone(
    desk: Desk, authority: BySignature
) -> None:
    inner = request_of("device-1")
    answer = passed_on(desk, inner, authority)
    assert answer.body_type is BodyType.IP
    answer.check_mac()
    assert answer.header.sender_kid == b"ref"
    conf = cert_conf(certificate_hash(answer.certificate))
    sent = follow(answer, BodyType.CERT_CONF, conf, ByMAC())
    confirmed = passed_on(desk, sent, authority)
    assert confirmed.body_type is BodyType.PKICONF
    assert desk.record(answer.certificate).status is CertificateStatus.ACTIVE
    assert desk.record(answer.certificate).requester == "secret:cmp:ref"


@pytest.mark.requirement("CMP-137")
def test_a_signed_message_passed_on_gets_a_signed_answer(
    desk: Desk, authority: BySignature
) -> None:
    holder = desk.holder()
    inner = message(BodyType.RR, revocation_of(holder.certificate), holder)
    answer = passed_on(desk, inner, authority)
    assert answer.body_type is BodyType.RP
    answer.check_signature()
    assert desk.record(holder.certificate).status is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-137")
def test_a_mac_outside_is_wrongIntegrity(desk: Desk, authority: BySignature) -> None:
    sent = added(request_of("device-1"), ByMAC())
    assert desk.ask(sent).fail_info is FailInfo.WRONG_INTEGRITY
    assert desk.count() == 1


@pytest.mark.requirement("CMP-137", "CMP-43", "CMP-143")
def test_a_device_passes_nothing_on(desk: Desk) -> None:
    sent = added(request_of("device-2"), desk.holder())
    assert desk.ask(sent).fail_info is FailInfo.NOT_AUTHORIZED
    assert desk.count() == 1


@pytest.mark.requirement("CMP-137")
@pytest.mark.parametrize(
    ("field", "bit"),
    [
        ("transaction_id", FailInfo.BAD_REQUEST),
        ("sender_nonce", FailInfo.BAD_SENDER_NONCE),
    ],
)
def test_added_protection_keeps_transaction_and_nonce(
    desk: Desk, authority: BySignature, field: str, bit: FailInfo
) -> None:
    sent = added(request_of("device-1"), authority, **{field: os.urandom(16)})
    assert desk.ask(sent).fail_info is bit
    assert desk.count() == 1


@pytest.mark.requirement("CMP-137", "CMP-26")
def test_the_message_inside_is_checked_in_full(
    desk: Desk, authority: BySignature
) -> None:
    inner = request_of("device-1", ByMAC(secret=b"not the secret"))
    answer = passed_on(desk, inner, authority)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 1


@pytest.mark.requirement("CMP-137", "CMP-140")
def test_an_unprotected_message_inside_is_badMessageCheck(
    desk: Desk, authority: BySignature
) -> None:
    wanted = cert_requests(signed_request(new_key(), "CN=device-1"))
    inner = message(BodyType.IR, wanted, ByMAC(), protected=False)
    assert desk.ask(added(inner, authority)).fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 1


@pytest.mark.requirement("CMP-84", "CMP-137")
def test_added_protection_vouches_for_nothing(
    desk: Desk, authority: BySignature
) -> None:
    wanted = signed_request(new_key(), "CN=device-1", popo=RAVerified())
    inner = message(BodyType.IR, cert_requests(wanted), ByMAC())
    answer = passed_on(desk, inner, authority)
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-137", "CMP-193")
def test_a_repeat_passed_on_again_gets_the_same_answer(
    desk: Desk, authority: BySignature
) -> None:
    inner = request_of("device-1")
    first = passed_on(desk, inner, authority)
    desk.restart()
    again = desk.reply(added(inner, authority, message_time=None).octets).body
    assert again == first.octets
    assert desk.reply(inner.octets).body == first.octets
    assert desk.count() == 2


def test_wrong_secrets_behind_an_authority_do_not_silence_it(
    desk: Desk, authority: BySignature
) -> None:
    for number in range(40):
        wrong = ByMAC(reference=b"nobody", secret=b"wrong")
        inner = request_of(f"device-{number}", wrong)
        refused = passed_on(desk, inner, authority)
        assert refused.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert passed_on(desk, request_of("good"), authority).body_type is BodyType.IP


# --- batches -----------------------------------------------------------------------


@pytest.mark.requirement("CMP-138")
def test_a_batch_is_answered_in_order_under_one_protection(
    desk: Desk, authority: BySignature
) -> None:
    holder = desk.holder(subject="CN=holder")
    names = ("device-1", "device-2")
    inner = [
        request_of(names[0]),
        message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), holder),
        request_of(names[1]),
    ]
    sent = batch(authority, *inner)
    answer = desk.ask(sent)
    assert answer.is_signed
    found = answers_in(answer)
    assert [one.body_type for one in found] == [
        BodyType.IP,
        BodyType.GENP,
        BodyType.IP,
    ]
    for one, asked in zip(found, inner, strict=True):
        assert one.header.transaction_id == asked.transaction_id
        assert one.header.recip_nonce == asked.sender_nonce
    found[0].check_mac()
    found[1].check_signature()
    desk.restart()
    assert desk.reply(sent.octets).body == answer.octets
    assert desk.count() == 4


@pytest.mark.requirement("CMP-05", "CMP-138")
def test_each_answer_has_the_version_of_its_own_request(
    desk: Desk, authority: BySignature
) -> None:
    inner = [request_of("device-2", pvno=2), request_of("device-3", pvno=3)]
    answer = desk.ask(batch(authority, *inner, pvno=2))
    assert answer.header.pvno == 2
    assert [one.header.pvno for one in answers_in(answer)] == [2, 3]


@pytest.mark.requirement("CMP-138")
def test_one_that_fails_in_a_batch_fails_alone(
    desk: Desk, authority: BySignature
) -> None:
    inner = [
        request_of("device-1", ByMAC(secret=b"not the secret")),
        request_of("device-2"),
    ]
    bad, good = answers_in(desk.ask(batch(authority, *inner)))
    assert bad.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert good.status.status is PKIStatus.ACCEPTED
    assert desk.count() == 2


@pytest.mark.requirement("CMP-138", "CMP-140")
@pytest.mark.parametrize("kind", ["unprotected", "broken"])
def test_one_that_nobody_can_have_protected_refuses_the_batch(
    desk: Desk, authority: BySignature, kind: str
) -> None:
    wanted = cert_requests(signed_request(new_key(), "CN=device-1"))
    bad = message(BodyType.IR, wanted, ByMAC(), protected=False)
    if kind == "broken":
        bad = Sent(b"\x30\x03\x02\x01\x02", ByMAC(), None, None)
    answer = desk.ask(batch(authority, request_of("device-2"), bad))
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 1


@pytest.mark.requirement("CMP-140")
def test_unprotected_ones_inside_need_the_aliases_leave(
    desk: Desk, authority: BySignature
) -> None:
    desk.settings["unprotected_requests"] = True
    desk.open()
    bare = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), ByMAC(), protected=False)
    found = answers_in(desk.ask(batch(authority, request_of("device-2"), bare)))
    assert [one.body_type for one in found] == [BodyType.IP, BodyType.GENP]


@pytest.mark.requirement("CMP-138")
@pytest.mark.parametrize(
    ("field", "bit"),
    [
        ("transaction_id", FailInfo.TRANSACTION_ID_IN_USE),
        ("sender_nonce", FailInfo.BAD_SENDER_NONCE),
    ],
)
@pytest.mark.parametrize("outer", [False, True], ids=["inside", "outside"])
def test_ids_and_nonces_of_a_batch_are_unique(
    desk: Desk, authority: BySignature, field: str, bit: FailInfo, outer: bool
) -> None:
    same: dict[str, Any] = {field: bytes(range(16))}
    inner = [request_of("device-1", **same), request_of("device-2")]
    if not outer:
        inner[1] = request_of("device-2", **same)
    sent = batch(authority, *inner, **(same if outer else {}))
    assert desk.ask(sent).fail_info is bit
    assert desk.count() == 1


@pytest.mark.requirement("CMP-138", "CMP-137")
def test_messages_of_a_batch_may_have_added_protection_of_their_own(
    desk: Desk, authority: BySignature
) -> None:
    inner = [added(request_of(f"device-{number}"), authority) for number in (1, 2)]
    found = answers_in(desk.ask(batch(authority, *inner)))
    assert [one.body_type for one in found] == [BodyType.IP, BodyType.IP]
    for one in found:
        one.check_mac()


@pytest.mark.requirement("CMP-139")
def test_batches_are_bounded_in_number_and_depth(
    desk: Desk, authority: BySignature
) -> None:
    many = [request_of(f"device-{n}") for n in range(MAX_NESTED_MESSAGES + 1)]
    deep = added(added(added(request_of("device"), authority), authority), authority)
    for sent in (batch(authority, *many), deep):
        assert desk.ask(sent).fail_info is FailInfo.BAD_DATA_FORMAT
    assert desk.count() == 1


def test_sixteen_are_enrolled_confirmed_and_polled_for_in_batches(
    desk: Desk, authority: BySignature
) -> None:
    inner = [request_of(f"device-{n}") for n in range(MAX_NESTED_MESSAGES)]
    found = answers_in(desk.ask(batch(authority, *inner)))
    confirmations = [
        follow(
            one,
            BodyType.CERT_CONF,
            cert_conf(certificate_hash(one.certificate)),
            ByMAC(),
        )
        for one in found
    ]
    done = answers_in(desk.ask(batch(authority, *confirmations)))
    assert {one.body_type for one in done} == {BodyType.PKICONF}
    polls = [follow(one, BodyType.POLL_REQ, polling(), ByMAC()) for one in done[:2]]
    refused = answers_in(desk.ask(batch(authority, *polls)))
    assert {one.fail_info for one in refused} == {FailInfo.BAD_REQUEST}


def test_an_old_pkiconf_in_a_batch_is_heard_in_silence(
    desk: Desk, authority: BySignature
) -> None:
    first = desk.enroll(subject="CN=device-1")
    silent = follow(first, BodyType.PKICONF, PKIConfirmContent(), ByMAC())
    other = request_of("device-2", general_info=(IMPLICIT,))
    (only,) = answers_in(desk.ask(batch(authority, silent, other)))
    assert only.body_type is BodyType.IP
    assert desk.record(first.certificate).status is CertificateStatus.ACTIVE
