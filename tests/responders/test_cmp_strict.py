"""The strict level: each rule refuses the message that breaks it, and nothing else.

The tolerant level takes the same message.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from pkid.asn1 import oids
from pkid.asn1.names import GeneralName, Name
from pkid.messages.cmp.body import (
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertStatus,
    ErrorMsgContent,
    PollRepContent,
    PollReqContent,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.revocation import RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.strict import RULES, Examined, Stage, deviations
from tests.responders.bending import (
    Bent,
    by_mac,
    followed,
    holder,
    refused,
    sent,
)
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    BySignature,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    foreign_certificate,
    new_key,
    polling,
    revocation_of,
    signed_request,
)

SECONDS = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _strict(desk: Desk) -> None:
    desk.settings["conformance"] = "lcmpp"


# --- a message for each rule --------------------------------------------------------


def no_transaction_id(desk: Desk) -> Sent:
    return sent(desk, transaction_id=None)


def short_transaction_id(desk: Desk) -> Sent:
    return sent(desk, transaction_id=os.urandom(15))


def long_transaction_id(desk: Desk) -> Sent:
    return sent(desk, transaction_id=os.urandom(17))


def no_time(desk: Desk) -> Sent:
    return sent(desk, message_time=None)


def old_time(desk: Desk) -> Sent:
    return sent(desk, message_time=desk.world.clock.now() - 302 * SECONDS)


def future_time(desk: Desk) -> Sent:
    return sent(desk, message_time=desk.world.clock.now() + 302 * SECONDS)


def long_nonce(desk: Desk) -> Sent:
    return sent(desk, sender_nonce=os.urandom(17))


def early_recip_nonce(desk: Desk) -> Sent:
    return sent(desk, recip_nonce=os.urandom(16))


def no_kid_of_a_secret(desk: Desk) -> Sent:
    return sent(desk, sender_kid=None)


def no_kid_of_a_signer(desk: Desk) -> Sent:
    return sent(desk, BodyType.CR, by=holder(desk), sender_kid=None)


def another_kid(desk: Desk) -> Sent:
    return sent(desk, BodyType.CR, by=holder(desk), sender_kid=os.urandom(20))


def nameless_sender(desk: Desk) -> Sent:
    return sent(desk, by=ByMAC())


def sender_of_another_name(desk: Desk) -> Sent:
    name = GeneralName.directory(Name.from_text("CN=other"))
    return sent(desk, by=by_mac(sender=name))


def sender_that_is_no_directory_name(desk: Desk) -> Sent:
    return sent(desk, by=by_mac(sender=GeneralName.dns("ref")))


def signer_behind_another(desk: Desk) -> Sent:
    by, above = holder(desk), desk.world.engine.chain("issuing")[0]
    return sent(desk, BodyType.CR, by=by, extra_certs=(above, by.certificate))


def signer_from_our_store(desk: Desk) -> Sent:
    return sent(desk, BodyType.CR, by=holder(desk), extra_certs=())


def revocation_under_a_secret(desk: Desk) -> Sent:
    certificate = holder(desk).certificate
    return sent(desk, BodyType.RR, revocation_of(certificate))


def two_requests(desk: Desk) -> Sent:
    one = signed_request(new_key(), "CN=one")
    two = signed_request(new_key(), "CN=two", cert_req_id=1)
    return sent(desk, body=cert_requests(one, two))


def request_number_one(desk: Desk) -> Sent:
    return sent(desk, body=cert_requests(signed_request(new_key(), cert_req_id=1)))


def request_number_minus_one(desk: Desk) -> Sent:
    return sent(desk, body=cert_requests(signed_request(new_key(), cert_req_id=-1)))


def two_revocations(desk: Desk) -> Sent:
    by = holder(desk)
    details = revocation_of(by.certificate).details
    return sent(desk, BodyType.RR, RevReqContent(details + details), by)


def two_questions(desk: Desk) -> Sent:
    wanted = asking(oids.ID_IT_CA_CERTS, oids.ID_IT_CURRENT_CRL)
    return sent(desk, BodyType.GENM, wanted)


BREACHES = [
    pytest.param(
        no_transaction_id,
        FailInfo.BAD_DATA_FORMAT,
        marks=pytest.mark.requirement("CMP-14"),
    ),
    pytest.param(
        short_transaction_id,
        FailInfo.BAD_REQUEST,
        marks=pytest.mark.requirement("CMP-14"),
    ),
    pytest.param(
        long_transaction_id,
        FailInfo.BAD_REQUEST,
        marks=pytest.mark.requirement("CMP-14"),
    ),
    pytest.param(no_time, FailInfo.BAD_TIME, marks=pytest.mark.requirement("CMP-12")),
    pytest.param(old_time, FailInfo.BAD_TIME, marks=pytest.mark.requirement("CMP-12")),
    pytest.param(
        future_time, FailInfo.BAD_TIME, marks=pytest.mark.requirement("CMP-12")
    ),
    pytest.param(
        long_nonce, FailInfo.BAD_SENDER_NONCE, marks=pytest.mark.requirement("CMP-17")
    ),
    pytest.param(
        early_recip_nonce,
        FailInfo.BAD_RECIPIENT_NONCE,
        marks=pytest.mark.requirement("CMP-18"),
    ),
    pytest.param(
        no_kid_of_a_secret,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-11"),
    ),
    pytest.param(
        no_kid_of_a_signer,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-11"),
    ),
    pytest.param(
        another_kid,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-11"),
    ),
    pytest.param(
        nameless_sender,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-07"),
    ),
    pytest.param(
        sender_of_another_name,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-07"),
    ),
    pytest.param(
        sender_that_is_no_directory_name,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-07"),
    ),
    pytest.param(
        signer_behind_another,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-41"),
    ),
    pytest.param(
        signer_from_our_store,
        FailInfo.BAD_MESSAGE_CHECK,
        marks=pytest.mark.requirement("CMP-41"),
    ),
    pytest.param(
        revocation_under_a_secret,
        FailInfo.WRONG_INTEGRITY,
        marks=pytest.mark.requirement("CMP-36"),
    ),
    pytest.param(
        request_number_one,
        FailInfo.BAD_REQUEST,
        marks=pytest.mark.requirement("CMP-59"),
    ),
    pytest.param(
        request_number_minus_one,
        FailInfo.BAD_REQUEST,
        marks=pytest.mark.requirement("CMP-59"),
    ),
    pytest.param(
        two_revocations, FailInfo.BAD_REQUEST, marks=pytest.mark.requirement("CMP-114")
    ),
    pytest.param(
        two_questions, FailInfo.BAD_REQUEST, marks=pytest.mark.requirement("CMP-122")
    ),
]


@pytest.mark.parametrize(("bend", "expected"), BREACHES)
def test_the_strict_level_refuses_what_the_tolerant_takes(
    desk: Desk, bend: Bent, expected: FailInfo
) -> None:
    wrong = bend(desk)
    before = desk.count()
    answer = refused(desk, wrong)
    assert answer.fail_info is expected
    assert desk.count() == before
    desk.settings["conformance"] = "rfc"
    taken = refused(desk, wrong)
    assert not isinstance(taken.body, ErrorMsgContent)


@pytest.mark.requirement("CMP-58")
def test_the_strict_level_wants_one_request_in_a_message(desk: Desk) -> None:
    wrong = two_requests(desk)
    answer = refused(desk, wrong)
    assert isinstance(answer.body, CertRepMessage)
    for response in answer.body.responses:
        assert response.status.status is PKIStatus.REJECTION
        assert response.status.fail_info == {FailInfo.BAD_REQUEST}
    assert [response.cert_req_id for response in answer.body.responses] == [0, 1]
    assert desk.count() == 0
    desk.settings["conformance"] = "rfc"
    taken = refused(desk, wrong)
    assert isinstance(taken.body, CertRepMessage)
    assert all(one.certified_key_pair for one in taken.body.responses)


@pytest.mark.requirement("CMP-61")
def test_the_strict_level_wants_a_subject(desk: Desk) -> None:
    wrong = sent(desk, body=cert_requests(signed_request(new_key(), None)))
    answer = refused(desk, wrong)
    assert answer.body_type is BodyType.IP
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE


def test_good_messages_pass_the_strict_level(desk: Desk) -> None:
    for good in (
        sent(desk),
        sent(desk, BodyType.CR, by=holder(desk)),
        sent(desk, BodyType.KUR, by=holder(desk)),
        sent(desk, BodyType.GENM, asking(oids.ID_IT_CA_CERTS)),
        sent(desk, message_time=desk.world.clock.now() - 299 * SECONDS),
    ):
        answer = desk.ask(good)
        assert not isinstance(answer.body, ErrorMsgContent), answer.status
        if isinstance(answer.body, CertRepMessage):
            status = answer.status.status
            assert status in {PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS}


def test_a_signer_without_key_identifier_needs_no_sender_kid(desk: Desk) -> None:
    key = new_key()
    plain = foreign_certificate(key, at=desk.world.clock.now(), key_id=False)
    desk.trust_vendor(plain)
    desk.allow_unit("0001")
    by = BySignature(plain, key)
    for kid in (None, b"whatever"):
        desk.world.change_alias(same_key=True)
        answer = refused(desk, sent(desk, by=by, sender_kid=kid))
        assert answer.certificate


# --- follow-ups ---------------------------------------------------------------------


def issued(desk: Desk) -> Answer:
    answer = desk.ask(sent(desk))
    assert answer.certificate
    return answer


@pytest.mark.requirement("CMP-94")
@pytest.mark.parametrize("count", [0, 2])
def test_certConf_has_exactly_one_status(desk: Desk, count: int) -> None:
    answer = issued(desk)
    status = CertStatus(certificate_hash(answer.certificate), 0)
    wrong = CertConfirmContent((status,) * count)
    refusal = desk.ask(followed(desk, answer, BodyType.CERT_CONF, wrong))
    assert refusal.fail_info is FailInfo.BAD_REQUEST
    right = CertConfirmContent((status,))
    done = desk.ask(followed(desk, answer, BodyType.CERT_CONF, right))
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-35")
@pytest.mark.parametrize("level", ["lcmpp", "rfc"])
def test_a_signature_after_a_secret_is_the_wrong_integrity(
    desk: Desk, level: str
) -> None:
    by = holder(desk)
    desk.settings["conformance"] = level
    answer = issued(desk)
    body = cert_conf(certificate_hash(answer.certificate))
    wrong = followed(desk, answer, BodyType.CERT_CONF, body, by)
    strict = FailInfo.WRONG_INTEGRITY
    expected = strict if level == "lcmpp" else FailInfo.WRONG_AUTHORITY
    assert refused(desk, wrong).fail_info is expected


@pytest.mark.requirement("CMP-35")
def test_a_secret_after_a_signature_is_the_wrong_integrity(desk: Desk) -> None:
    by = holder(desk)
    answer = desk.ask(sent(desk, BodyType.CR, by=by))
    body = cert_conf(certificate_hash(answer.certificate))
    wrong = followed(desk, answer, BodyType.CERT_CONF, body, by_mac())
    assert refused(desk, wrong).fail_info is FailInfo.WRONG_INTEGRITY


@pytest.mark.requirement("CMP-96")
def test_another_certificate_is_the_wrong_authority_at_both_levels(desk: Desk) -> None:
    by, other = holder(desk), holder(desk, "CN=other")
    answer = desk.ask(sent(desk, BodyType.CR, by=by))
    body = cert_conf(certificate_hash(answer.certificate))
    for level in ("lcmpp", "rfc"):
        desk.settings["conformance"] = level
        wrong = followed(desk, answer, BodyType.CERT_CONF, body, other)
        assert refused(desk, wrong).fail_info is FailInfo.WRONG_AUTHORITY


@pytest.mark.requirement("CMP-102")
def test_pollRep_has_one_entry_and_pollReq_asks_after_one(desk: Desk) -> None:
    desk.needs_approval()
    waiting = desk.ask(sent(desk))
    wrong = followed(desk, waiting, BodyType.POLL_REQ, PollReqContent((0, 0)))
    assert refused(desk, wrong).fail_info is FailInfo.BAD_REQUEST
    answer = desk.ask(followed(desk, waiting, BodyType.POLL_REQ, polling()))
    assert isinstance(answer.body, PollRepContent)
    (entry,) = answer.body.entries
    assert entry.cert_req_id == 0
    assert entry.check_after > 0


@pytest.mark.requirement("CMP-73")
@pytest.mark.parametrize("level", ["lcmpp", "rfc"])
def test_caPubs_stand_in_ip_alone(desk: Desk, level: str) -> None:
    by = holder(desk)
    desk.settings["conformance"] = level
    root = desk.world.engine.chain("issuing")[-1]
    for body_type, who, expected in (
        (BodyType.IR, by_mac(), (root,)),
        (BodyType.CR, by_mac(), ()),
        (BodyType.CR, by, ()),
        (BodyType.KUR, by, ()),
    ):
        answer = desk.ask(sent(desk, body_type, by=who))
        assert isinstance(answer.body, CertRepMessage)
        assert answer.body.ca_pubs == expected
    desk.settings["ca_pubs"] = False
    answer = desk.ask(sent(desk))
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.ca_pubs == ()


# --- the table ----------------------------------------------------------------------


def test_each_rule_says_what_must_hold_and_where_it_is_asked() -> None:
    texts = [rule.text for rule in RULES]
    assert len(set(texts)) == len(texts)
    assert {rule.stage for rule in RULES} == set(Stage)
    assert all(rule.requirement.startswith("CMP-") for rule in RULES)


def test_deviations_name_what_the_strict_level_would_refuse(desk: Desk) -> None:
    def of(one: Sent) -> tuple[str, ...]:
        read = PKIMessage.decode(one.octets)
        return deviations(Examined(read, body=decode_body(read)))

    assert of(sent(desk)) == ()
    assert of(nameless_sender(desk)) == ("CMP-07",)
    assert of(request_number_one(desk)) == ("CMP-59",)
    assert set(of(sent(desk, transaction_id=None, message_time=None))) == {
        "CMP-14",
        "CMP-12",
    }
