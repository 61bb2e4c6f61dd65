"""Shortcuts of the cursor: each must do what the plain steps do, refusals too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.asn1.x509 import Extension
from pkid.errors import ErrorCode, PKIError

EXPLICIT: Final = {0xA0: der.OCTET_STRING, 0xA1: der.SEQUENCE, 0xA2: der.INTEGER}

TAGS: Final = (1, 2, 4, 6, 0x1F, 0x30, 0x80, 0xA0, 0xA1, 0xA2)
LENGTHS: Final = (0, 1, 2, 3, 4, 0x7D, 0x7F, 0x80, 0x81, 0x82, 0x83)
element: Final = st.builds(
    der.encode, st.sampled_from(TAGS[:4] + TAGS[5:]), st.binary(max_size=4)
)
nested: Final = st.builds(
    der.encode,
    st.sampled_from((0x30, 0xA0, 0xA1, 0xA2)),
    st.one_of(element, st.binary(min_size=120, max_size=132)),
)
octets: Final = st.one_of(
    st.binary(max_size=8),
    st.lists(st.sampled_from(TAGS + LENGTHS), max_size=9).map(bytes),
    st.lists(st.one_of(element, nested), max_size=4).map(b"".join),
)


def outcome(read: Callable[[], object]) -> object:
    try:
        return read()
    except PKIError as error:
        assert error.code is ErrorCode.MALFORMED  # noqa: PT017
        return error.code


def same(shortcut: Callable[[], object], plain: Callable[[], object]) -> None:
    assert outcome(shortcut) == outcome(plain)


@given(octets)
def test_integer_reads_what_take_and_decode_integer_read(data: bytes) -> None:
    cursors = der.Cursor(data), der.Cursor(data)
    same(cursors[0].integer, lambda: der.decode_integer(cursors[1].take(der.INTEGER)))
    assert cursors[0].position == cursors[1].position


@given(octets, st.sampled_from(TAGS))
def test_last_and_single_take_one_element_and_finish(data: bytes, tag: int) -> None:
    def plain() -> bytes:
        cursor = der.Cursor(data)
        contents = cursor.take(tag)
        cursor.finish()
        return contents

    same(lambda: der.single(data, tag), plain)
    same(lambda: der.Cursor(data).last(tag), plain)


@given(octets)
def test_one_element_is_all_that_the_cursor_finds(data: bytes) -> None:
    def plain() -> bytes:
        cursor = der.Cursor(data)
        element = cursor.raw()
        cursor.finish()
        return element

    same(lambda: der.one_element(data), plain)


@given(octets)
def test_split_oid_takes_the_first_and_leaves_the_rest(data: bytes) -> None:
    def plain() -> tuple[str, bytes]:
        cursor = der.Cursor(data)
        oid = der.decode_oid(cursor.take(der.OID))
        return oid, data[cursor.position :]

    same(lambda: der.split_oid(data), plain)


@given(octets)
def test_sequences_are_the_elements_unwrapped(data: bytes) -> None:
    def plain() -> list[bytes]:
        elements = der.Cursor(data).raw_elements(3)
        return [der.single(element, der.SEQUENCE) for element in elements]

    same(lambda: der.sequences(data, 3), plain)


@given(octets)
def test_explicit_fields_are_fields_unwrapped(data: bytes) -> None:
    def plain() -> dict[int, bytes]:
        found = der.Cursor(data).fields(EXPLICIT)
        return {tag: der.single(found[tag], EXPLICIT[tag]) for tag in found}

    same(lambda: der.Cursor(data).explicit_fields(EXPLICIT), plain)


@given(st.one_of(octets, octets.map(lambda tail: b"\x06\x01\x2a" + tail)))
def test_extension_is_oid_flag_and_value(data: bytes) -> None:
    def plain() -> Extension:
        cursor = der.Cursor(data)
        oid = der.decode_oid(cursor.take(der.OID))
        flag = cursor.optional(der.BOOLEAN)
        critical = flag is not None and der.decode_boolean(flag)
        value = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return Extension(oid, critical, value)

    same(lambda: Extension.decode(data), plain)
