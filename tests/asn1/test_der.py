"""The DER cursor and writer."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ

from pkid.asn1 import der
from pkid.errors import ErrorCode, PKIError

UTC = datetime.UTC
BOUNDARIES = sorted(
    {
        sign * (1 << bits) + delta
        for bits in (0, 7, 8, 15, 16, 31, 63, 127)
        for sign in (1, -1)
        for delta in (-1, 0, 1)
    }
)


def assert_malformed(call: object, *args: object) -> None:
    assert callable(call)
    with pytest.raises(PKIError) as caught:
        call(*args)
    assert caught.value.code is ErrorCode.MALFORMED


@pytest.mark.parametrize("number", BOUNDARIES)
def test_integer_is_minimal_at_every_boundary(number: int) -> None:
    element = der.integer(number)
    contents = der.single(element, der.INTEGER)
    assert der.decode_integer(contents) == number
    size = 1
    while not -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
        size += 1
    assert len(contents) == size


@given(st.integers(0, 2**256) | st.integers(-255, -129))
def test_integer_is_that_of_the_oracle(number: int) -> None:
    assert der.integer(number) == encoder.encode(univ.Integer(number))


@pytest.mark.parametrize("contents", [b"", b"\0\x7f", b"\xff\x80", b"\1" * 2049])
def test_integer_that_is_empty_padded_or_endless_is_malformed(contents: bytes) -> None:
    assert_malformed(der.decode_integer, contents)


@given(st.lists(st.integers(0, 2**128 - 1), max_size=6), st.integers(0, 2))
def test_oid_is_that_of_the_oracle(arcs: list[int], first: int) -> None:
    dotted = ".".join(map(str, (first, 39, *arcs)))
    element = der.oid(dotted)
    assert element == encoder.encode(univ.ObjectIdentifier(dotted))
    assert der.decode_oid(der.single(element, der.OID)) == dotted


@pytest.mark.parametrize(
    "contents", [b"", b"\x80\1", b"\x2a\x80\1", b"\x2a\x81", b"\1" * 129]
)
def test_oid_that_is_not_minimal_truncated_or_endless_is_malformed(
    contents: bytes,
) -> None:
    assert_malformed(der.decode_oid, contents)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 24])
def test_length_is_minimal_and_read_back(size: int) -> None:
    element = der.octet_string(bytes(size))
    cursor = der.Cursor(element)
    assert cursor.take(der.OCTET_STRING) == bytes(size)
    assert not cursor
    if size < 1 << 20:
        assert element == encoder.encode(univ.OctetString(bytes(size)))


@pytest.mark.requirement("SEC-90")
@pytest.mark.parametrize(
    "octets",
    [
        b"\x04",
        b"\x04\x01",
        b"\x04\x80\0\0",
        b"\x04\x81",
        b"\x04\x81\x7f" + bytes(127),
        b"\x04\x82\x01",
        b"\x04\x82\x00\x80" + bytes(128),
        b"\x04\x83\x00\x01\x00" + bytes(256),
        b"\x04\x84\x00\x01\x00\x00" + bytes(65536),
        b"\x04\x85\x01\x00\x00\x00\x00",
        b"\x04\xff",
    ],
)
def test_length_that_is_not_DER_is_malformed(octets: bytes) -> None:
    assert_malformed(der.single, octets, der.OCTET_STRING)
    assert_malformed(der.Cursor(octets).take, der.OCTET_STRING)
    assert_malformed(der.Cursor(octets).raw)
    assert_malformed(
        der.Cursor(b"\x84" + octets[1:]).fields, frozenset((der.context(4),))
    )


def test_trailing_octets_are_malformed() -> None:
    assert_malformed(der.single, b"\x05\0\0", der.NULL_TAG)
    assert_malformed(der.one_element, b"\x05\0\0")
    assert der.one_element(der.NULL) == der.NULL


def test_long_form_tag_is_malformed() -> None:
    assert_malformed(der.Cursor(b"\x1f\x20\0").raw)


def test_cursor_walks_elements_in_order() -> None:
    data = der.integer(1) + der.sequence(der.NULL) + der.octet_string(b"x")
    cursor = der.Cursor(data)
    assert cursor.at(der.INTEGER)
    assert cursor.optional(der.OCTET_STRING) is None
    assert cursor.optional_raw(der.INTEGER) == der.integer(1)
    assert cursor.optional_raw(der.INTEGER) is None
    assert cursor.enter(der.SEQUENCE).raw() == der.NULL
    assert cursor.optional(der.OCTET_STRING) == b"x"
    assert cursor.peek() == 0
    assert not cursor.at(der.INTEGER)
    cursor.finish()


def test_cursor_refuses_a_wrong_tag_and_what_is_left() -> None:
    cursor = der.Cursor(der.NULL)
    assert_malformed(cursor.take, der.INTEGER)
    assert_malformed(cursor.raw, der.INTEGER)
    assert_malformed(cursor.finish)
    assert_malformed(der.Cursor(der.NULL * 3).raw_elements, 2)
    assert der.Cursor(der.NULL * 2).raw_elements(2) == [der.NULL] * 2


def test_fields_are_read_in_one_pass() -> None:
    allowed = frozenset((0x80, 0xA1, 0x82))
    data = der.encode(0x80, b"a") + der.encode(0x82, b"c" * 200)
    cursor = der.Cursor(data)
    assert cursor.fields(allowed) == {0x80: b"a", 0x82: b"c" * 200}
    assert not cursor


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x82\0\x80\0", id="out of order"),
        pytest.param(b"\x80\0\x80\0", id="twice"),
        pytest.param(b"\x83\0", id="not allowed"),
        pytest.param(b"\x80", id="no length"),
        pytest.param(b"\x80\2\0", id="overrun"),
    ],
)
def test_fields_that_break_the_order_are_malformed(data: bytes) -> None:
    assert_malformed(der.Cursor(data).fields, frozenset((0x80, 0x82)))


def test_booleans_and_null_are_strict() -> None:
    assert der.decode_boolean(der.single(der.boolean(value=True), der.BOOLEAN))
    assert not der.decode_boolean(der.single(der.boolean(value=False), der.BOOLEAN))
    assert_malformed(der.decode_boolean, b"\1")
    assert_malformed(der.decode_null, b"\0")


@given(st.frozensets(st.integers(0, 100)))
def test_named_bits_round_trip_without_trailing_zeros(bits: frozenset[int]) -> None:
    element = der.named_bits(bits)
    contents = der.single(element, der.BIT_STRING)
    assert der.decode_named_bits(contents) == bits
    flags, _ = decoder.decode(element, asn1Spec=univ.BitString())
    assert {index for index, bit in enumerate(flags) if bit} == bits
    assert len(flags) == max(bits, default=-1) + 1


@pytest.mark.parametrize(
    "contents", [b"", b"\x08\0", b"\1", b"\1\xff", b"\0" + bytes(65)]
)
def test_broken_named_bits_are_malformed(contents: bytes) -> None:
    assert_malformed(der.decode_named_bits, contents)


@pytest.mark.parametrize("contents", [b"", b"\1\0"])
def test_bits_that_are_no_octets_are_malformed(contents: bytes) -> None:
    assert_malformed(der.decode_bits, contents)


@given(
    st.datetimes(
        datetime.datetime(1, 1, 1),  # noqa: DTZ001
        datetime.datetime(9999, 12, 31),  # noqa: DTZ001
        timezones=st.just(UTC),
    )
)
def test_time_round_trips_to_the_second(moment: datetime.datetime) -> None:
    second = moment.replace(microsecond=0)
    element = der.time(moment)
    whole = der.single(element, element[0])
    assert der.decode_time(element[0], whole) == second
    assert (element[0] == der.UTC_TIME) is (1950 <= moment.year < 2050)


@pytest.mark.requirement("CMP-25")
def test_fraction_of_a_second_is_read_and_never_written() -> None:
    moment = der.decode_generalized_time(b"20260102030405.125Z")
    assert moment == datetime.datetime(2026, 1, 2, 3, 4, 5, 125000, tzinfo=UTC)
    assert moment.tzinfo is UTC
    assert der.generalized_time(moment).endswith(b"\x0f20260102030405Z")


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"20260102030405",
        b"202601020304Z",
        b"20260102030405+0000",
        b"20260102030405,5Z",
        b"20260102030405.Z",
        b"20260102030405.5",
        b"20260102030405.1234567890Z",
        b"20261302030405Z",
        b"00000102030405Z",
        b"20260102036005Z",
        b"2026-1-2T03:04Z",
        b"\xb22260102030405Z",
        b"20260102030405ZZ",
    ],
)
def test_what_is_no_time_is_malformed(contents: bytes) -> None:
    assert_malformed(der.decode_generalized_time, contents)


def test_utc_time_of_other_lengths_and_other_tags_are_malformed() -> None:
    assert_malformed(der.decode_utc_time, b"2601020304Z")
    assert_malformed(der.decode_time, der.INTEGER, b"260102030405Z")


@given(st.text(max_size=20))
def test_text_round_trips_in_types_that_hold_it(text: str) -> None:
    for tag in (der.UTF8_STRING, der.UNIVERSAL_STRING, der.BMP_STRING):
        element = der.encode_text(tag, text)
        assert der.decode_text(tag, der.single(element, tag)) == text


def test_text_that_does_not_fit_its_type_is_malformed() -> None:
    assert_malformed(der.decode_utf8, b"\xff")
    assert_malformed(der.decode_text, der.IA5_STRING, b"\xe9")
    assert_malformed(der.decode_text, der.BMP_STRING, b"\0")
    assert_malformed(der.decode_text, der.BMP_STRING, b"\xd8\0")
    assert_malformed(der.decode_text, der.INTEGER, b"")
    assert_malformed(der.encode_text, der.INTEGER, "")
    assert_malformed(der.encode_text, der.PRINTABLE_STRING, "é")


@given(st.sets(st.binary(max_size=5), max_size=6))
def test_set_is_sorted(values: set[bytes]) -> None:
    elements = [der.octet_string(value) for value in values]
    contents = der.single(der.set_of(*elements), der.SET)
    assert der.Cursor(contents).raw_elements(6) == sorted(elements)


def test_tags_are_replaced_or_wrapped() -> None:
    assert der.implicit(3, der.sequence()) == b"\xa3\0"
    assert der.implicit(3, der.NULL) == b"\x83\0"
    assert der.explicit(3, der.NULL) == b"\xa3\x02\x05\0"
    assert der.context(3) == 0x83
    assert der.constructed(3) == 0xA3
    assert der.ia5_string("a") == b"\x16\1a"


@given(st.binary(max_size=40))
def test_any_octets_give_elements_or_MALFORMED(octets: bytes) -> None:
    try:
        found = b"".join(der.Cursor(octets).raw_elements(40))
    except PKIError as error:
        assert error.code is ErrorCode.MALFORMED  # noqa: PT017
    else:
        assert found == octets
