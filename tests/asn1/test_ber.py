"""BER to DER: what changes, what does not, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder as ber_encoder
from pyasn1.codec.der import encoder as der_encoder
from pyasn1.type import univ

from pkid.asn1 import ber, der
from pkid.errors import ErrorCode, PKIError
from tests.messages.strategies import ELEMENTS

DEEP = 2_000


def refused(octets: bytes, **limits: int) -> None:
    with pytest.raises(PKIError) as caught:
        ber.to_der(octets, **limits)
    assert caught.value.code is ErrorCode.MALFORMED


@given(ELEMENTS)
def test_der_comes_out_as_the_same_object(element: bytes) -> None:
    assert ber.to_der(element) is element


def test_indefinite_lengths_become_definite() -> None:
    assert ber.to_der(b"\x30\x80\x02\x01\x05\x31\x80\0\0\0\0") == bytes.fromhex(
        "3005 020105 3100"
    )


def test_lengths_become_minimal() -> None:
    assert ber.to_der(b"\x30\x84\0\0\0\x05\x04\x82\0\x01a") == b"\x30\x03\x04\x01a"


def test_octet_strings_in_pieces_of_pieces_are_joined() -> None:
    octets = b"\x24\x80\x04\x01a\x24\x80\x04\x01b\x04\x00\0\0\x04\x01c\0\0"
    assert ber.to_der(octets) == b"\x04\x03abc"


def test_bit_strings_in_pieces_keep_the_unused_bits_of_the_last() -> None:
    assert ber.to_der(b"\x23\x08\x03\x02\0\xab\x03\x02\x04\xc0") == bytes.fromhex(
        "0303 04 abc0"
    )
    refused(b"\x23\x08\x03\x02\x04\xa0\x03\x02\0\xc0")
    refused(b"\x23\x02\x03\x00")
    refused(b"\x23\x00")


def test_texts_in_pieces_are_joined() -> None:
    assert ber.to_der(b"\x2c\x80\x0c\x01a\x0c\x01b\0\0") == b"\x0c\x02ab"


def test_a_piece_of_another_type_is_refused() -> None:
    refused(b"\x24\x80\x0c\x01a\0\0")


def test_pieces_under_an_implicit_tag_stay_for_who_knows_the_schema() -> None:
    element = ber.to_der(b"\xa0\x80\x04\x01a\x04\x02bc\0\0")
    assert element == b"\xa0\x07\x04\x01a\x04\x02bc"
    assert ber.join_pieces(der.single(element, 0xA0), der.OCTET_STRING) == b"abc"


def test_contents_of_primitives_and_the_order_of_sets_stay() -> None:
    # A BOOLEAN of 01 and an unsorted SET: signed like this they must stay like this.
    inner = b"\x31\x06\x01\x01\x01\x02\x01\x00"
    assert ber.to_der(b"\x30\x80" + inner + b"\0\0") == b"\x30\x08" + inner


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 7))
def test_what_pyasn1_writes_in_chunks_is_its_der(parts: list[bytes], size: int) -> None:
    value = univ.SequenceOf(componentType=univ.OctetString())
    value.extend(parts)
    chunks = ber_encoder.encode(value, defMode=False, maxChunkSize=size)
    assert ber.to_der(chunks) == der_encoder.encode(value)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x80\0",
        b"\x04\x80\0\0",
        b"\x30\x02\x04\x05",
        b"\x30\x03\x30\x80\x00\x00",
        b"\x30\x04\x30\x80\x04\x00\0\0",
        b"\x30\xff",
        b"\x30\x85\0",
        b"\x1f\x81\x01\x00",
        b"\0\0",
        b"\x30\x02\0\0",
        b"\x30\0\0",
        b"\x30\xfe" + b"\xff" * 126,
    ],
    ids=lambda octets: octets[:8].hex() or "empty",
)
def test_what_is_no_ber_is_malformed(octets: bytes) -> None:
    refused(octets)


def test_nesting_is_bounded() -> None:
    refused(b"\x30\x80" * DEEP + b"\0\0" * DEEP)
    refused(b"\x24\x80" * DEEP + b"\0\0" * DEEP)
    assert ber.to_der(b"\x30\x80" * 3 + b"\0\0" * 3, max_depth=3) == bytes.fromhex(
        "3004 3002 3000"
    )
    refused(b"\x30\x80" * 4 + b"\0\0" * 4, max_depth=3)


def test_the_number_of_elements_is_bounded() -> None:
    chunks = b"\x24\x80" + b"\x04\x01a" * 20_000 + b"\0\0"
    refused(chunks)
    assert len(ber.to_der(chunks, max_elements=20_001)) == 20_004


def test_size_is_bounded() -> None:
    refused(b"\x04\x83\x04\x00\x00" + b"a" * (256 * 1024))
    refused(b"\x04\x03abc", max_octets=4)


@given(st.binary(max_size=60))
def test_any_octets_give_der_or_are_malformed(octets: bytes) -> None:
    try:
        element = ber.to_der(octets)
    except PKIError as error:
        code = error.code
    else:
        code = ErrorCode.MALFORMED
        assert der.one_element(element) == element
        assert ber.to_der(element) is element
    assert code is ErrorCode.MALFORMED
