"""Free texts of the header, and protection that is half there."""

from __future__ import annotations

import inspect
import math
import secrets

import pytest
from pyasn1.type import char

from pkid.crypto.mac import encode_mac_parameters
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from pkid.responders.cmp.responder import CMPResponder
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    Sent,
    cert_requests,
    message,
    new_key,
    pbm,
    signed_request,
)

NONCES = 500


def ir(**header: object) -> Sent:
    body = cert_requests(signed_request(new_key()))
    return message(BodyType.IR, body, ByMAC(), **header)


@pytest.mark.requirement("CMP-23")
@pytest.mark.parametrize("text", ["bitte auf Deutsch", "\u4f60\u597d", "en", ""])
def test_a_request_may_bring_text_in_any_language(desk: Desk, text: str) -> None:
    answer = desk.ask(ir(free_text=(text,)))
    assert answer.certificate
    assert answer.header.free_text == ()


@pytest.mark.requirement("CMP-23")
def test_our_texts_are_utf8_strings_in_english(desk: Desk) -> None:
    answer = desk.ask(ir(free_text=("bitte auf Deutsch",), sender_nonce=bytes(8)))
    assert answer.fail_info is FailInfo.BAD_SENDER_NONCE
    (text,) = answer.oracle["body"]["error"]["pKIStatusInfo"]["statusString"]
    assert isinstance(text, char.UTF8String)
    assert str(text) == "senderNonce must have 16 to 64 octets"


def refused(desk: Desk, octets: bytes) -> None:
    answer = Answer.read(desk.reply(octets).body)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    answer.check_signature()
    assert desk.count() == 0


@pytest.mark.requirement("CMP-27")
def test_an_algorithm_without_protection_is_badMessageCheck(desk: Desk) -> None:
    algorithm = encode_mac_parameters(pbm())
    refused(desk, ir(protected=False, protection_alg=algorithm).octets)


@pytest.mark.requirement("CMP-27")
def test_protection_without_an_algorithm_is_badMessageCheck(desk: Desk) -> None:
    refused(desk, ir(protection_alg=None).octets)


@pytest.mark.requirement("SEC-108", "CMP-19")
def test_nonces_are_16_octets_of_the_systems_generator_and_even(desk: Desk) -> None:
    drawn = inspect.signature(CMPResponder).parameters["random"].default
    assert drawn is secrets.token_bytes
    nonces = set()
    for _ in range(NONCES):
        nonce = Answer.read(desk.reply(b"nonsense").body).header.sender_nonce
        assert nonce is not None
        assert len(nonce) == 16
        nonces.add(nonce)
    assert len(nonces) == NONCES
    five_sigma = 5 * math.sqrt(NONCES) / 2
    for bit in range(128):
        ones = sum(int.from_bytes(nonce, "big") >> bit & 1 for nonce in nonces)
        assert abs(ones - NONCES / 2) < five_sigma
