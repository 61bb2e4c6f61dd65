"""popdecc and popdecr: the client decrypts a number and sends it back.

**Source:** RFC 9810 section 5.2.8.3.3.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1.codec.der.encoder import encode as pyasn1_encode
from pyasn1.type import univ
from pyasn1_alt_modules import rfc5652, rfc9810

from pkid.asn1 import der
from pkid.engine.model import PossessionMethod
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.challenge import POPODecKeyRespContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.ownkeys import (
    CHALLENGE_RESP,
    FAMILIES,
    KEYS,
    is_certificate_of,
    opened,
    request_for,
    take_every_key,
)
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    Sent,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)


@pytest.fixture
def by() -> ByMAC:
    return ByMAC()


def asked(family: str, by: By, **header: Any) -> Sent:
    content = cert_requests(request_for(family, CHALLENGE_RESP))
    return message(BodyType.IR, content, by, **{"pvno": 3, **header})


def challenges_of(answer: Answer) -> list[rfc9810.Challenge]:
    """The challenges as pyasn1 reads them."""
    assert answer.body_type is BodyType.POPDECC
    assert answer.oracle["body"].getName() == "popdecc"
    return list(answer.oracle["body"]["popdecc"])


def rand_of(challenge: rfc9810.Challenge, family: str) -> rfc9810.Rand:
    """What a challenge of version 3 hides, by OpenSSL where it can."""
    assert challenge["challenge"].asOctets() == b""
    tagged = pyasn1_encode(challenge["encryptedRand"])
    enveloped = der.single(tagged, der.constructed(0))
    read, _ = pyasn1_decode(enveloped, asn1Spec=rfc5652.EnvelopedData())
    assert len(read["recipientInfos"]) == 1
    plain = opened(enveloped, family)
    rand, rest = pyasn1_decode(plain, asn1Spec=rfc9810.Rand())
    assert not rest
    return rand


def old_rand_of(challenge: rfc9810.Challenge) -> rfc9810.Rand:
    """What a challenge of version 2 hides."""
    assert not challenge["encryptedRand"].isValue
    plain = KEYS["rsa"].decrypt(challenge["challenge"].asOctets(), PKCS1v15())
    rand, rest = pyasn1_decode(plain, asn1Spec=rfc9810.Rand())
    assert not rest
    return rand


def answering(answer: Answer, by: By, *numbers: int, **header: Any) -> Sent:
    """popdecr, its octets written by pyasn1."""
    content = univ.SequenceOf(componentType=univ.Integer())
    content.extend(numbers)
    octets = pyasn1_encode(content)
    assert octets == POPODecKeyRespContent(numbers).encode()
    body = POPODecKeyRespContent(numbers)
    return follow(answer, BodyType.POPDECR, body, by, **{"pvno": 3, **header})


def number_in(answer: Answer, family: str = "rsa") -> int:
    (challenge,) = challenges_of(answer)
    return int(rand_of(challenge, family)["int"])


@pytest.mark.requirement("CMP-87", "CMP-91", "CMP-174")
@pytest.mark.parametrize("family", FAMILIES)
def test_who_decrypts_the_challenge_gets_the_certificate(
    desk: Desk, by: ByMAC, family: str
) -> None:
    take_every_key(desk)
    popdecc = desk.ask(asked(family, by))
    assert desk.count() == 0
    answer = desk.ask(answering(popdecc, by, number_in(popdecc, family)))
    assert answer.body_type is BodyType.IP
    assert answer.status.status is PKIStatus.ACCEPTED
    assert is_certificate_of(answer.certificate, family)
    content = cert_conf(certificate_hash(answer.certificate))
    done = desk.ask(follow(answer, BodyType.CERT_CONF, content, by, pvno=3))
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-87")
def test_the_challenge_is_as_the_standard_says(desk: Desk, by: ByMAC) -> None:
    popdecc = desk.ask(asked("rsa", by))
    (challenge,) = challenges_of(popdecc)
    rand = rand_of(challenge, "rsa")
    number = int(rand["int"])
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big")
    assert challenge["witness"].asOctets() == hashlib.sha256(octets).digest()
    assert str(challenge["owf"]["algorithm"]) == "2.16.840.1.101.3.4.2.1"
    assert pyasn1_encode(rand["sender"]) == popdecc.header.sender.encode()
    info = challenge["encryptedRand"]["recipientInfos"][0]["ktri"]
    named = info["rid"]["issuerAndSerialNumber"]
    assert pyasn1_encode(named["issuer"]) == b"\x30\x00"
    assert int(named["serialNumber"]) == 0


def test_two_challenges_hide_different_numbers(desk: Desk, by: ByMAC) -> None:
    numbers = {number_in(desk.ask(asked("rsa", by))) for _ in range(4)}
    assert len(numbers) == 4


@pytest.mark.requirement("CMP-87")
def test_version_2_has_the_number_encrypted_with_the_key_itself(
    desk: Desk, by: ByMAC
) -> None:
    popdecc = desk.ask(asked("rsa", by, pvno=2))
    (challenge,) = challenges_of(popdecc)
    rand = old_rand_of(challenge)
    answer = desk.ask(answering(popdecc, by, int(rand["int"]), pvno=2))
    assert is_certificate_of(answer.certificate, "rsa")


@pytest.mark.requirement("CMP-87")
def test_version_2_challenges_rsa_keys_only(desk: Desk, by: ByMAC) -> None:
    answer = desk.ask(asked("ec:P-256", by, pvno=2))
    assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-87")
def test_a_wrong_number_is_badPOP_and_spends_the_challenge(
    desk: Desk, by: ByMAC
) -> None:
    popdecc = desk.ask(asked("rsa", by))
    number = number_in(popdecc)
    wrong = answering(popdecc, by, number ^ 1)
    refused = desk.ask(wrong)
    assert refused.body_type is BodyType.IP
    assert refused.fail_info is FailInfo.BAD_POP
    assert desk.reply(wrong.octets).body == refused.octets
    late = desk.ask(answering(refused, by, number))
    assert late.fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0


@pytest.mark.requirement("CMP-87")
@pytest.mark.parametrize("count", [0, 2])
def test_more_or_fewer_numbers_than_challenges_are_badPOP(
    desk: Desk, by: ByMAC, count: int
) -> None:
    popdecc = desk.ask(asked("rsa", by))
    numbers = [number_in(popdecc)] * count
    assert desk.ask(answering(popdecc, by, *numbers)).fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-87")
def test_a_challenge_outlives_a_restart(desk: Desk, by: ByMAC) -> None:
    sent = asked("ml-kem-768", by)
    take_every_key(desk)
    popdecc = desk.ask(sent)
    desk.restart()
    assert desk.reply(sent.octets).body == popdecc.octets
    right = answering(popdecc, by, number_in(popdecc, "ml-kem-768"))
    answer = desk.ask(right)
    assert is_certificate_of(answer.certificate, "ml-kem-768")
    desk.restart()
    assert desk.reply(right.octets).body == answer.octets
    assert desk.count() == 1


@pytest.mark.requirement("CMP-87")
def test_a_challenge_waits_no_longer_than_a_confirmation(desk: Desk, by: ByMAC) -> None:
    popdecc = desk.ask(asked("rsa", by))
    desk.world.clock.advance(timedelta(minutes=6))
    answer = desk.ask(answering(popdecc, by, number_in(popdecc)))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0


def test_no_number_stands_in_the_store(desk: Desk, by: ByMAC) -> None:
    number = number_in(desk.ask(asked("rsa", by)))
    octets = number.to_bytes(16, "big")
    files = [path for path in desk.world.directory.rglob("*") if path.is_file()]
    assert all(octets not in path.read_bytes() for path in files)


def test_the_answer_needs_the_nonce_of_the_challenge(desk: Desk, by: ByMAC) -> None:
    popdecc = desk.ask(asked("rsa", by))
    sent = answering(popdecc, by, number_in(popdecc), recip_nonce=bytes(16))
    assert desk.ask(sent).fail_info is FailInfo.BAD_RECIPIENT_NONCE


def test_another_credential_answers_for_nobody_else(desk: Desk, by: ByMAC) -> None:
    desk.secret("other")
    popdecc = desk.ask(asked("rsa", by))
    sent = answering(popdecc, replace(by, reference=b"other"), number_in(popdecc))
    assert desk.ask(sent).fail_info is FailInfo.WRONG_AUTHORITY


def test_an_answer_to_no_challenge_is_badRequest(desk: Desk, by: ByMAC) -> None:
    body = POPODecKeyRespContent((1,))
    sent = message(BodyType.POPDECR, body, by, pvno=3)
    assert desk.ask(sent).fail_info is FailInfo.BAD_REQUEST


def test_another_request_under_the_id_of_a_challenge_is_in_use(
    desk: Desk, by: ByMAC
) -> None:
    popdecc = desk.ask(asked("rsa", by))
    other = asked("rsa", by, transaction_id=popdecc.header.transaction_id)
    assert desk.ask(other).fail_info is FailInfo.TRANSACTION_ID_IN_USE


def test_a_second_answer_after_the_right_one_is_in_use(desk: Desk, by: ByMAC) -> None:
    popdecc = desk.ask(asked("rsa", by))
    number = number_in(popdecc)
    desk.ask(answering(popdecc, by, number))
    again = desk.ask(answering(popdecc, by, number))
    assert again.fail_info is FailInfo.TRANSACTION_ID_IN_USE
    assert desk.count() == 1


def test_the_wishes_of_the_first_message_still_count(desk: Desk, by: ByMAC) -> None:
    popdecc = desk.ask(asked("rsa", by, general_info=(IMPLICIT,)))
    answer = desk.ask(answering(popdecc, by, number_in(popdecc)))
    assert answer.has_info(IMPLICIT.oid)


def test_a_key_update_by_challenge_is_answered_by_kup(desk: Desk) -> None:
    holder = desk.holder()
    content = cert_requests(request_for("rsa", CHALLENGE_RESP, subject="CN=device-1"))
    popdecc = desk.ask(message(BodyType.KUR, content, holder, pvno=3))
    answer = desk.ask(answering(popdecc, holder, number_in(popdecc)))
    assert answer.body_type is BodyType.KUP
    assert is_certificate_of(answer.certificate, "rsa")


def test_policy_refuses_after_the_challenge_as_it_does_before(
    desk: Desk, by: ByMAC
) -> None:
    popdecc = desk.ask(asked("x448", by))
    answer = desk.ask(answering(popdecc, by, number_in(popdecc, "x448")))
    assert answer.body_type is BodyType.IP
    assert answer.fail_info is FailInfo.BAD_ALG


def test_each_key_of_several_has_a_challenge_of_its_own(desk: Desk, by: ByMAC) -> None:
    take_every_key(desk)
    content = cert_requests(
        signed_request(new_key(), "CN=signer", cert_req_id=3),
        request_for("rsa", CHALLENGE_RESP, cert_req_id=4, subject="CN=one"),
        request_for("x25519", CHALLENGE_RESP, cert_req_id=5, subject="CN=two"),
    )
    popdecc = desk.ask(message(BodyType.IR, content, by, pvno=3))
    first, second = challenges_of(popdecc)
    numbers = (
        int(rand_of(first, "rsa")["int"]),
        int(rand_of(second, "x25519")["int"]),
    )
    answer = desk.ask(answering(popdecc, by, *numbers))
    body: Any = answer.body
    assert [response.cert_req_id for response in body.responses] == [3, 4, 5]
    assert all(response.certified_key_pair for response in body.responses)
    assert desk.count() == 3


@pytest.mark.requirement("CMP-90")
def test_a_challenge_where_none_is_taken_is_badPOP(desk: Desk, by: ByMAC) -> None:
    desk.world.change_alias(possession=frozenset((PossessionMethod.SIGNATURE,)))
    assert desk.ask(asked("rsa", by)).fail_info is FailInfo.BAD_POP


def test_the_audit_names_the_challenge(desk: Desk, by: ByMAC) -> None:
    popdecc = desk.ask(asked("rsa", by))
    answer = desk.ask(answering(popdecc, by, number_in(popdecc)))
    reference = desk.record(answer.certificate).reference
    (found,) = result_of(desk.world.engine.explain(str(reference)))
    assert found.event.detail == "possession by challenge"
