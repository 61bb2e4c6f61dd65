"""raVerified with the device's own message: its proof counts, not the word alone.

**Source:** RFC 9810 sections 5.1.1.3 and 5.2.8.1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.infotypes import ORIG_PKI_MESSAGE
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import RAVerified
from tests.responders.desk import Desk
from tests.responders.ownkeys import ENCR_CERT, KEYS, request_for
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    foreign_certificate,
    message,
    new_key,
    signed_request,
)
from tests.responders.test_cmp_protection import registration_authority

DEVICE = "CN=device-7"


@pytest.fixture
def authority(desk: Desk) -> BySignature:
    return registration_authority(desk)


@pytest.fixture
def device(desk: Desk) -> BySignature:
    """A device with a manufacturer's certificate that is not known here."""
    key = new_key()
    at = desk.world.clock.now()
    return BySignature(foreign_certificate(key, "maker's unit", at=at), key)


def original(by: By, key: Any, **fields: Any) -> Sent:
    """What the device sent to the registration authority."""
    header = fields.pop("header", {})
    wanted = signed_request(key, DEVICE, **fields)
    return message(BodyType.IR, cert_requests(wanted), by, **header)


def passed_on(
    desk: Desk, authority: BySignature, key: Any, *originals: bytes
) -> Answer:
    """What the registration authority makes of it."""
    value = ORIG_PKI_MESSAGE.info(originals)
    wanted = signed_request(key, DEVICE, popo=RAVerified())
    content = cert_requests(wanted)
    sent = message(BodyType.IR, content, authority, general_info=(value,))
    return desk.ask(sent)


@pytest.mark.requirement("CMP-85")
def test_a_good_original_is_taken(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    key = new_key()
    answer = passed_on(desk, authority, key, original(device, key).octets)
    assert answer.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-85")
def test_an_original_under_a_secret_of_ours_or_of_theirs_is_taken(
    desk: Desk, authority: BySignature
) -> None:
    for by in (ByMAC(), ByMAC(reference=b"known to the RA", secret=b"theirs")):
        key = new_key()
        answer = passed_on(desk, authority, key, original(by, key).octets)
        assert answer.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-85")
def test_a_wrong_MAC_under_a_secret_of_ours_is_badMessageCheck(
    desk: Desk, authority: BySignature
) -> None:
    key = new_key()
    sent = original(ByMAC(secret=b"wrong"), key)
    answer = passed_on(desk, authority, key, sent.octets)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 1


@pytest.mark.requirement("CMP-85")
def test_a_wrong_signature_over_the_original_is_badMessageCheck(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    key = new_key()
    for header in ({"wrong_bits": True}, {"protected": False}, {"extra_certs": ()}):
        sent = original(device, key, header=header)
        answer = passed_on(desk, authority, key, sent.octets)
        assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-85")
def test_an_original_for_another_key_is_badMessageCheck(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    sent = original(device, new_key())
    answer = passed_on(desk, authority, new_key(), sent.octets)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-85")
def test_an_original_that_proves_nothing_is_badPOP(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    key = new_key()
    forged = signed_request(new_key(), DEVICE).popo
    sent = original(device, key, popo=forged)
    answer = passed_on(desk, authority, key, sent.octets)
    assert answer.fail_info is FailInfo.BAD_POP
    assert desk.count() == 1


@pytest.mark.requirement("CMP-84", "CMP-85")
def test_an_original_with_raVerified_is_notAuthorized(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    key = new_key()
    sent = original(device, key, popo=RAVerified())
    answer = passed_on(desk, authority, key, sent.octets)
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-85")
def test_two_originals_or_none_are_badMessageCheck(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    key = new_key()
    sent = original(device, key).octets
    answer = passed_on(desk, authority, key, sent, sent)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-85")
def test_a_body_that_asks_for_nothing_is_badMessageCheck(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    key = new_key()
    good = signed_request(key, DEVICE)
    two = cert_requests(good, replace(good))
    sent = message(BodyType.IR, two, device)
    answer = passed_on(desk, authority, key, sent.octets)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_a_key_that_proved_itself_to_the_RA_by_decryption_is_taken(
    desk: Desk, authority: BySignature, device: BySignature
) -> None:
    content = cert_requests(request_for("rsa", ENCR_CERT))
    sent = message(BodyType.IR, content, device, pvno=3)
    answer = passed_on(desk, authority, KEYS["rsa"], sent.octets)
    assert answer.status.status is PKIStatus.ACCEPTED
