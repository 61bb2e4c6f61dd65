"""What reaches issuance and what never may; what an attacker learns: nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.logger import globalLogPublisher

from pkid.asn1 import der
from pkid.errors import ErrorCode
from pkid.messages.scep import FailInfo
from pkid.responders.base import Peer
from pkid.responders.scep.failures import FAIL_INFO, STATUSES
from tests.responders.scepdesk import CHALLENGE, SCEPDesk, known_key
from tests.support import scepclient
from tests.support.scepclient import (
    FAIL_INFO as FAIL_INFO_OID,
)
from tests.support.scepclient import (
    FAIL_INFO_TEXT,
    MESSAGE_TYPE,
    SENDER_NONCE,
    SIGNING_TIME,
    TRANSACTION_ID,
    Answer,
)

BAD_ALG, BAD_MESSAGE_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT_ID = range(5)
ISSUING = {"17", "19"}


def test_every_error_code_has_its_word() -> None:
    assert set(FAIL_INFO) == set(ErrorCode)
    assert set(FAIL_INFO.values()) == set(FailInfo)
    assert set(STATUSES) < set(ErrorCode)


# --- message types -----------------------------------------------------------------


@pytest.mark.requirement("SCEP-26", "SCEP-55", "SEC-20")
def test_of_all_message_types_only_two_reach_issuance(scep: SCEPDesk) -> None:
    inner = scepclient.pkcs10(known_key(), challenge=CHALLENGE)
    content = scep.envelope().encode(inner)
    certificate = scepclient.self_signed(known_key())

    def ask(message_type: str) -> Answer:
        sent = scepclient.Message(
            content=content,
            key=known_key(),
            certificate=certificate,
            message_type=message_type,
        )
        return scep.read(scep.post(sent.encode()), known_key())

    others = [str(number) for number in range(256)]
    others += [
        "",
        " 19",
        "19 ",
        "019",
        "+19",
        "1x",
        "-19",
        "PKCSReq",
        "9999",
    ]
    for message_type in others:
        if message_type == "19":
            continue
        answer = ask(message_type)
        assert answer.status == 2, message_type
        expected = {"20", "21", "22"} & {message_type}
        wanted = BAD_MESSAGE_CHECK if expected else BAD_REQUEST
        assert answer.fail_info == wanted, message_type
    assert not scep.issued()
    assert ask("19").status == 0


@pytest.mark.requirement("SCEP-26", "SCEP-55")
def test_type_18_is_refused_or_has_all_the_rules_of_17(scep: SCEPDesk) -> None:
    held = scep.enroll().certificate
    assert scep.renew(held, known_key(), message_type="18").status == 2
    scep.settings["update_requests"] = "renew"
    assert b"\nUpdate\n" in scep.get("GetCACaps").body
    by_challenge = scep.enroll(subject="CN=device-2", message_type="18")
    assert (by_challenge.status, by_challenge.fail_info) == (2, BAD_REQUEST)
    assert scep.renew(held, known_key(), message_type="18", subject="CN=x").status == 2
    assert scep.renew(held, known_key(), message_type="18").status == 0


# --- attributes --------------------------------------------------------------------


def without(oid: str) -> Callable[[scepclient.Message], None]:
    def change(sent: scepclient.Message) -> None:
        mark = der.oid(oid)
        sent.attributes = [one for one in sent.scep_attributes() if mark not in one]

    return change


def replaced(oid: str, *values: bytes) -> Callable[[scepclient.Message], None]:
    def change(sent: scepclient.Message) -> None:
        without(oid)(sent)
        assert sent.attributes is not None
        sent.attributes.append(scepclient.attribute(oid, *values))

    return change


def twice(oid: str) -> Callable[[scepclient.Message], None]:
    def change(sent: scepclient.Message) -> None:
        mark = der.oid(oid)
        own = sent.scep_attributes()
        sent.attributes = own + [one for one in own if mark in one]

    return change


NONCE = der.octet_string(b"n" * 16)
FAULTS = {
    **{f"without {oid}": without(oid) for oid in (MESSAGE_TYPE, TRANSACTION_ID)},
    "without nonce": without(SENDER_NONCE),
    "type twice": twice(MESSAGE_TYPE),
    "transaction twice": twice(TRANSACTION_ID),
    "nonce twice": twice(SENDER_NONCE),
    "two types": replaced(
        MESSAGE_TYPE, scepclient.printable("19"), scepclient.printable("20")
    ),
    "no type": replaced(MESSAGE_TYPE),
    "no transaction": replaced(TRANSACTION_ID),
    "no nonce": replaced(SENDER_NONCE),
    "two nonces": replaced(SENDER_NONCE, NONCE, NONCE),
    "empty transaction": replaced(TRANSACTION_ID, scepclient.printable("")),
    "long transaction": replaced(TRANSACTION_ID, scepclient.printable("x" * 513)),
    "transaction of octets": replaced(TRANSACTION_ID, der.octet_string(b"x")),
    "empty nonce": replaced(SENDER_NONCE, der.octet_string(b"")),
    "long nonce": replaced(SENDER_NONCE, der.octet_string(b"x" * 65)),
    "nonce of text": replaced(SENDER_NONCE, scepclient.printable("x")),
    "type of integer": replaced(MESSAGE_TYPE, der.integer(19)),
}


@pytest.mark.requirement("SCEP-23", "SCEP-25", "SEC-24")
@pytest.mark.parametrize("fault", FAULTS)
def test_an_attribute_that_is_not_there_once_is_refused(
    scep: SCEPDesk, fault: str
) -> None:
    sent = scep.request()
    FAULTS[fault](sent)
    answer = scep.read(scep.post(sent.encode()))
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert not scep.issued()


@pytest.mark.requirement("SEC-24")
def test_attributes_that_are_not_signed_count_for_nothing(scep: SCEPDesk) -> None:
    sent = scep.request()
    sent.attributes = []
    octets = sent.encode()
    answer = scep.read(scep.post(octets))
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert TRANSACTION_ID not in answer.attributes


@pytest.mark.requirement("SCEP-23", "SEC-24")
@pytest.mark.parametrize("count", [0, 2, 5])
def test_another_number_of_signers_than_one_is_refused(
    scep: SCEPDesk, count: int
) -> None:
    assert scep.post(scep.request(signers=count).encode()).status == 400
    assert not scep.issued()


@pytest.mark.requirement("SCEP-24")
@pytest.mark.parametrize(
    "change",
    [
        {"signature": bytes(256)},
        {"message_digest": bytes(32)},
        {"certificates": []},
        {"certificates": [scepclient.der_of(scepclient.self_signed(known_key(1)))]},
    ],
    ids=["signature", "digest", "no certificate", "another certificate"],
)
def test_a_message_that_is_not_signed_rightly_is_refused_before_decryption(
    scep: SCEPDesk, change: dict[str, Any]
) -> None:
    envelope = scep.envelope(encrypted_key=bytes(256))
    answer = scep.enroll(envelope=envelope, **change)
    assert (answer.status, answer.fail_info) == (2, BAD_MESSAGE_CHECK)
    # It never came to the key: then there would be no words.
    assert answer.text


@pytest.mark.requirement("SCEP-57")
def test_more_certificates_attributes_and_bits_than_anybody_needs_are_refused(
    scep: SCEPDesk,
) -> None:
    own = scepclient.der_of(scepclient.self_signed(known_key()))
    assert scep.post(scep.request(certificates=[own] * 11).encode()).status == 400
    many = [scepclient.attribute(f"1.2.3.{number}", der.NULL) for number in range(50)]
    answer = scep.enroll(further=many)
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    deep = b"\x30\x00"
    for _ in range(30):
        deep = der.sequence(deep)
    assert scep.post(deep).status == 400


@pytest.mark.requirement("SCEP-57")
def test_a_signer_key_beyond_all_reason_is_refused(scep: SCEPDesk) -> None:
    huge = rsa.RSAPublicNumbers(65537, (1 << 8200) + 1).public_key()
    name = scepclient.name("CN=device-1")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(huge)
        .serial_number(1)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(known_key(), hashes.SHA256())
    )
    answer = scep.enroll(certificate=certificate)
    assert (answer.status, answer.fail_info) == (2, BAD_ALG)
    assert "too large" in answer.text


@pytest.mark.requirement("SCEP-40", "SCEP-63")
def test_a_stale_message_is_badTime_where_time_is_looked_at(scep: SCEPDesk) -> None:
    def signing_time(offset: timedelta) -> list[bytes]:
        moment = der.time(scep.world.clock.now() + offset)
        return [scepclient.attribute(SIGNING_TIME, moment)]

    scep.settings["signing_time_window"] = timedelta(minutes=5)
    for further in ([], signing_time(timedelta(hours=-1))):
        answer = scep.enroll(further=further)
        assert (answer.status, answer.fail_info) == (2, BAD_TIME)
    assert scep.enroll(further=signing_time(timedelta(minutes=1))).status == 0


# --- decryption --------------------------------------------------------------------


def damages(scep: SCEPDesk) -> dict[str, Callable[[], bytes]]:
    """Five classes of broken ciphertext; each call gives another one."""
    inner = scepclient.pkcs10(known_key(), challenge=CHALLENGE)

    def envelope(**fields: Any) -> bytes:
        return scep.envelope(**fields).encode(inner)

    def another_request() -> bytes:
        other = scepclient.pkcs10(known_key(1), challenge=CHALLENGE)
        return scep.envelope().encode(other)

    return {
        "key": lambda: envelope(encrypted_key=secrets.token_bytes(256)),
        "size": lambda: envelope(key=None, encrypted_key=secrets.token_bytes(40)),
        "padding": lambda: envelope(ciphertext=secrets.token_bytes(48)),
        "content": lambda: scep.envelope().encode(secrets.token_bytes(60)),
        "signer": another_request,
    }


@pytest.mark.requirement("SCEP-56", "SEC-22")
@pytest.mark.parametrize("damage", ["key", "size", "padding", "content", "signer"])
def test_all_faults_of_decryption_look_the_same(scep: SCEPDesk, damage: str) -> None:
    certificate = scepclient.self_signed(known_key())
    shapes = set()
    for _ in range(20):
        sent = scepclient.Message(
            content=damages(scep)[damage](), key=known_key(), certificate=certificate
        )
        answer = scep.read(scep.post(sent.encode()))
        assert (answer.status, answer.fail_info) == (2, BAD_MESSAGE_CHECK)
        assert FAIL_INFO_TEXT not in answer.attributes
        shapes.add((tuple(sorted(answer.attributes)), answer.has_content))
    assert len(shapes) == 1
    assert FAIL_INFO_OID in shapes.pop()[0]
    assert not scep.issued()


@pytest.mark.requirement("SCEP-56", "SEC-22")
def test_answers_to_faults_of_decryption_have_the_same_length(scep: SCEPDesk) -> None:
    certificate = scepclient.self_signed(known_key())
    lengths = set()
    for make in damages(scep).values():
        sent = scepclient.Message(
            content=make(),
            key=known_key(),
            certificate=certificate,
            transaction_id="0" * 40,
        )
        lengths.add(len(scep.post(sent.encode()).body))
    assert len(lengths) == 1


@pytest.mark.requirement("SCEP-47", "SCEP-57")
def test_who_guesses_often_has_to_wait(scep: SCEPDesk) -> None:
    far = Peer(address="192.0.2.66", listener="http", beyond_loopback=True)
    statuses = []
    for number in range(12):
        sent = scep.request(challenge=f"guess {number}")
        statuses.append(scep.post(sent.encode(), peer=far).status)
    assert statuses[:10] == [200] * 10
    assert statuses[10:] == [503, 503]
    assert scep.read(scep.post(scep.request().encode()), known_key()).status == 0


@pytest.mark.requirement("SCEP-60")
def test_no_log_line_holds_a_challenge(scep: SCEPDesk) -> None:
    seen: list[str] = []

    def observe(event: Any) -> None:
        seen.append(repr(dict(event)))

    globalLogPublisher.addObserver(observe)
    try:
        scep.enroll()
        scep.challenge("a wrong guess, once", uses=1)
        scep.enroll(known_key(1), subject="CN=b", challenge="a wrong guess, once")
        scep.enroll(known_key(2), subject="CN=c", challenge="a wrong guess, once")
    finally:
        globalLogPublisher.removeObserver(observe)
    assert len(seen) >= 3
    assert not any(CHALLENGE in line or "wrong guess" in line for line in seen)
