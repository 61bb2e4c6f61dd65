"""Messages inside messages: how deep, how many."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.asn1.names import EMPTY, GeneralName
from pkid.messages.cmp.body import BodyType, encode_body
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage, decode_body, encode_message
from pkid.messages.cmp.nested import (
    MAX_NESTED_MESSAGES,
    MAX_NESTED_OCTETS,
    NestedMessageContent,
    decode_messages,
)
from tests.messages.oracle import assert_malformed, assert_object_or_malformed

VECTORS = Path(__file__).parents[2] / "vectors" / "cmp"
REQUEST = (VECTORS / "ir-pbm-req1.der").read_bytes()
SIGNED = (VECTORS / "ir-sig-req1.der").read_bytes()
NULL_DN = GeneralName.directory(EMPTY)
HEADER = PKIHeader(pvno=2, sender=NULL_DN, recipient=NULL_DN).encode()


def nest(*messages: bytes) -> bytes:
    content = NestedMessageContent(messages)
    return encode_message(HEADER, encode_body(BodyType.NESTED, content))


def held(octets: bytes) -> tuple[bytes, ...]:
    content = decode_body(PKIMessage.decode(octets))
    assert isinstance(content, NestedMessageContent)
    return content.messages


def test_inner_messages_are_the_octets_that_were_nested() -> None:
    assert held(nest(REQUEST, SIGNED)) == (REQUEST, SIGNED)
    batch = nest(nest(REQUEST), nest(SIGNED))
    assert [held(one) for one in held(batch)] == [(REQUEST,), (SIGNED,)]


@pytest.mark.requirement("CMP-139")
def test_messages_nest_two_deep_and_no_deeper() -> None:
    assert held(nest(nest(REQUEST))) == (nest(REQUEST),)
    assert_malformed(held, nest(nest(nest(REQUEST))))
    # Hidden among others, and far deeper.
    assert_malformed(held, nest(REQUEST, nest(SIGNED, nest(REQUEST))))
    deep = REQUEST
    for _ in range(200):
        deep = nest(deep)
    before = time.process_time()
    assert_malformed(held, deep)
    assert time.process_time() - before < 0.05


@pytest.mark.requirement("CMP-139")
def test_messages_are_counted_over_all_layers() -> None:
    assert len(held(nest(*[REQUEST] * MAX_NESTED_MESSAGES))) == MAX_NESTED_MESSAGES
    assert_malformed(held, nest(*[REQUEST] * (MAX_NESTED_MESSAGES + 1)))
    half = nest(*[REQUEST] * (MAX_NESTED_MESSAGES // 2))
    assert held(nest(half, half)) == (half, half)
    assert_malformed(held, nest(half, half, REQUEST))


@pytest.mark.requirement("CMP-139")
def test_nested_messages_are_bounded_in_octets() -> None:
    def padded(octets: int) -> bytes:
        return der.sequence(der.sequence(der.octet_string(bytes(octets))))

    assert len(decode_messages(padded(MAX_NESTED_OCTETS - 64))) == 1
    assert_malformed(decode_messages, padded(MAX_NESTED_OCTETS))


def test_broken_inner_message_does_not_refuse_those_beside_it() -> None:
    broken = der.sequence(der.NULL)
    assert held(nest(REQUEST, broken)) == (REQUEST, broken)
    # One that claims to hold too many can never be read, so it hides nothing.
    many = nest(*[REQUEST] * (MAX_NESTED_MESSAGES + 1))
    assert held(nest(many)) == (many,)
    assert_malformed(held, many)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        der.NULL,
        der.sequence(),
        der.sequence(der.NULL),
        der.sequence(REQUEST) + b"\0",
    ],
    ids=["nothing", "NULL", "no message", "no SEQUENCE", "trailing octet"],
)
def test_what_is_no_list_of_messages_is_malformed(octets: bytes) -> None:
    assert_malformed(decode_messages, octets)


@given(st.binary(max_size=80).map(der.sequence) | st.binary(max_size=80))
def test_any_octets_give_messages_or_MALFORMED(octets: bytes) -> None:
    assert_object_or_malformed(decode_messages, octets)
    assert_object_or_malformed(decode_messages, der.sequence(octets, REQUEST))
