"""The transaction machine: its table and its blob."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.responders.cmp.responder import RESPONSES
from pkid.responders.cmp.transactions import (
    FOLLOW_UPS,
    MAX_KEPT_ANSWERS,
    MAX_KEPT_NONCES,
    STEPS,
    KeptAnswer,
    Stage,
    Step,
    TransactionState,
    step_for,
)
from tests.responders.desk import Desk

octets = st.binary(max_size=40)
states = st.builds(
    TransactionState,
    body_type=st.sampled_from(BodyType),
    pvno=st.integers(2, 3),
    sender=st.builds(GeneralName.dns, st.just("device.example")),
    sender_kid=st.none() | octets,
    mac_algorithm=st.none() | st.just(AlgorithmIdentifier("1.2.3", b"\x05\x00")),
    client_nonces=st.lists(octets, max_size=8).map(tuple),
    our_nonce=octets,
    cert_req_id=st.integers(-(2**70), 2**70),
    implicit=st.booleans(),
    ca_pubs=st.booleans(),
    delivered=st.booleans(),
    cert_hash=octets,
    answers=st.lists(st.builds(KeptAnswer, octets, octets), max_size=3).map(tuple),
)


@given(states)
def test_a_state_survives_its_blob(state: TransactionState) -> None:
    assert TransactionState.decode(state.encode()) == state


@given(st.binary(max_size=60))
def test_any_other_blob_is_an_internal_fault(blob: bytes) -> None:
    with pytest.raises(PKIError) as refused:
        TransactionState.decode(blob)
    assert refused.value.code is ErrorCode.INTERNAL


def test_the_table_of_steps_is_total() -> None:
    assert set(STEPS) == {(stage, body) for stage in Stage for body in FOLLOW_UPS}


def test_no_stage_confirms_twice() -> None:
    confirming = {Step.CONFIRM, Step.CONFIRM_ALL}
    stages = {stage for (stage, _), step in STEPS.items() if step in confirming}
    assert stages == {Stage.DELIVERED}
    for body in (BodyType.CERT_CONF, BodyType.PKICONF):
        with pytest.raises(PKIError) as refused:
            step_for(Stage.CONFIRMED, body)
        assert refused.value.code is ErrorCode.CERTIFICATE_CONFIRMED


def test_every_body_of_CMP_has_its_place(desk: Desk) -> None:
    assert set(desk.responder._bodies) == set(BodyType)
    assert not FOLLOW_UPS & RESPONSES


def test_what_a_state_keeps_is_bounded() -> None:
    state = TransactionState(
        body_type=BodyType.IR,
        pvno=2,
        sender=GeneralName.dns("device.example"),
        answers=(KeptAnswer(b"first", b"answer"),),
    )
    for number in range(50):
        name = str(number).encode()
        state = state.after(name, name, name, name)
    assert len(state.answers) == MAX_KEPT_ANSWERS
    assert len(state.client_nonces) == MAX_KEPT_NONCES
    assert state.repeated(b"first") == b"answer"
    assert state.repeated(b"49") == b"49"
    assert state.repeated(b"3") is None
