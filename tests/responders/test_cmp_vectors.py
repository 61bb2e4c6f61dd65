"""What OpenSSL's client really sent, and what becomes of it here."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pkid.asn1.names import Name
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.message import PKIMessage
from pkid.messages.cmp.status import FailInfo
from tests.responders.desk import Desk
from tests.responders.peers import Answer

VECTORS = Path(__file__).parents[1] / "vectors" / "cmp"


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.der").read_bytes()


def answer_to(desk: Desk, octets: bytes) -> Answer:
    reply = desk.reply(octets)
    assert reply.status == 200
    answer = Answer.read(reply.body)
    request = PKIMessage.decode(octets)
    assert answer.header.transaction_id == request.header.transaction_id
    assert answer.header.recip_nonce == request.header.sender_nonce
    return answer


@pytest.mark.requirement("CMP-30", "CMP-80")
@pytest.mark.parametrize(
    ("name", "body_type"),
    [
        ("ir-pbm-req1", BodyType.IP),
        ("implicit-pbm-req1", BodyType.IP),
        ("p10cr-pbm-req1", BodyType.CP),
        ("poll-pbm-req1", BodyType.IP),
    ],
)
def test_enrolments_of_openssl_are_served(
    desk: Desk, name: str, body_type: BodyType
) -> None:
    answer = answer_to(desk, vector(name))
    assert answer.body_type is body_type
    answer.check_mac()
    assert answer.certificate


def test_a_general_message_of_openssl_is_served(desk: Desk) -> None:
    answer = answer_to(desk, vector("genm-pbm-req1"))
    assert answer.body_type is BodyType.GENP
    answer.check_mac()


@pytest.mark.requirement("CMP-90", "CMP-84", "CMP-28")
@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("nopopo-req1", FailInfo.BAD_POP),
        ("keyenc-req1", FailInfo.BAD_POP),
        ("raverified-req1", FailInfo.NOT_AUTHORIZED),
        ("unprotected-req1", FailInfo.BAD_MESSAGE_CHECK),
        ("ir-sig-req1", FailInfo.SIGNER_NOT_TRUSTED),
        ("cr-sig-req1", FailInfo.SIGNER_NOT_TRUSTED),
        ("kur-sig-req1", FailInfo.SIGNER_NOT_TRUSTED),
        ("rr-sig-req1", FailInfo.SIGNER_NOT_TRUSTED),
        ("ir-pbm-req2", FailInfo.BAD_REQUEST),
        ("poll-pbm-req2", FailInfo.BAD_REQUEST),
    ],
)
def test_what_openssl_sends_in_vain(desk: Desk, name: str, bit: FailInfo) -> None:
    assert answer_to(desk, vector(name)).fail_info is bit
    assert desk.count() == 0


@pytest.mark.requirement("CMP-18")
def test_a_confirmation_from_another_server_is_badRecipientNonce(desk: Desk) -> None:
    answer_to(desk, vector("ir-pbm-req1"))
    stale = answer_to(desk, vector("ir-pbm-req2"))
    assert stale.fail_info is FailInfo.BAD_RECIPIENT_NONCE
    stale.check_mac()


@pytest.mark.requirement("CMP-08")
def test_the_recipient_is_not_compared(desk: Desk) -> None:
    request = PKIMessage.decode(vector("ir-pbm-req1"))
    name = request.header.recipient.directory_name
    ours = desk.world.engine.authority_subject("issuing")
    assert isinstance(name, Name)
    assert not name.matches(ours)
    assert answer_to(desk, vector("ir-pbm-req1")).certificate


NAMES = sorted(path.stem for path in VECTORS.glob("*-req*.der"))


@pytest.mark.requirement("CMP-02")
def test_mutated_messages_get_an_answer_and_no_certificate(desk: Desk) -> None:
    @settings(max_examples=150)
    @given(
        st.sampled_from(NAMES),
        st.lists(
            st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)),
            min_size=1,
            max_size=3,
        ),
    )
    def mutated(name: str, changes: list[tuple[float, int]]) -> None:
        octets = bytearray(vector(name))
        original = bytes(octets)
        for place, flip in changes:
            octets[int(place * len(octets))] ^= flip
        if bytes(octets) == original:
            return
        reply = desk.reply(bytes(octets))
        assert reply.status in {200, 400}
        if reply.body:
            assert Answer.read(reply.body).message.protection is not None

    mutated()
    assert desk.count() == 0
