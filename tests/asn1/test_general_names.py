"""General names of all nine kinds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.asn1.names import (
    MAX_GENERAL_NAMES,
    GeneralName,
    Name,
    decode_general_names,
    encode_general_names,
)
from pkid.errors import ErrorCode, PKIError

NAME = Name.from_text("CN=device,O=Test")
KINDS = [
    (GeneralName.other("1.2.3", der.utf8_string("a")), "other:1.2.3=#0c0161"),
    (GeneralName.email("a@b.example"), "email:a@b.example"),
    (GeneralName.dns("host.example"), "dns:host.example"),
    (GeneralName(3, der.sequence()), "x400:#3000"),
    (GeneralName.directory(NAME), "directory:CN=device,O=Test"),
    (GeneralName(5, der.explicit(1, der.utf8_string("p"))), "edi:#a1030c0170"),
    (GeneralName.uri("https://example/"), "uri:https://example/"),
    (GeneralName.ip("192.0.2.1"), "ip:192.0.2.1"),
    (GeneralName.rid("1.2.3.4"), "rid:1.2.3.4"),
]


def assert_malformed(call: object, *args: object) -> None:
    assert callable(call)
    with pytest.raises(PKIError) as caught:
        call(*args)
    assert caught.value.code is ErrorCode.MALFORMED


def test_all_nine_kinds_are_here() -> None:
    assert [name.tag for name, _ in KINDS] == list(range(9))


@pytest.mark.parametrize(("name", "text"), KINDS, ids=lambda value: str(value)[:20])
def test_each_kind_round_trips_and_has_a_text(name: GeneralName, text: str) -> None:
    assert GeneralName.decode(name.encode()) == name
    assert name.text() == text


def test_list_of_all_kinds_round_trips() -> None:
    names = tuple(name for name, _ in KINDS)
    contents = der.single(encode_general_names(names), der.SEQUENCE)
    assert decode_general_names(contents) == names


def test_parts_are_given_for_their_own_kind_only() -> None:
    directory, other = GeneralName.directory(NAME), KINDS[0][0]
    assert directory.directory_name == NAME
    assert other.directory_name is None
    assert other.other_name == ("1.2.3", der.utf8_string("a"))
    assert directory.other_name is None


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (bytes(16), "ip:::"),
        (bytes((192, 0, 2, 0, 255, 255, 255, 0)), "ip:192.0.2.0/255.255.255.0"),
        (bytes(32), "ip:::/::"),
    ],
)
def test_addresses_come_packed_too(packed: bytes, text: str) -> None:
    assert GeneralName.ip(packed).text() == text


def test_broken_directory_name_is_refused_when_asked_for() -> None:
    broken = GeneralName(4, der.sequence(der.NULL))
    assert GeneralName.decode(broken.encode()) == broken
    assert_malformed(lambda: broken.directory_name)


def test_control_characters_in_a_text_are_escaped() -> None:
    assert GeneralName.dns("a\nb").text() == r"dns:a\0ab"


@pytest.mark.requirement("SEC-93")
@pytest.mark.parametrize(
    "element",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x89\0", id="unknown kind"),
        pytest.param(b"\x30\0", id="no general name"),
        pytest.param(b"\x82\x01\xe9", id="not ASCII"),
        pytest.param(b"\x82\x03a\0b", id="NUL"),
        pytest.param(der.encode(0x82, b"a" * 4097), id="too long"),
        pytest.param(b"\x87\x03\1\2\3", id="address of three octets"),
        pytest.param(b"\x88\0", id="empty OID"),
        pytest.param(b"\xa0\0", id="empty other name"),
        pytest.param(
            der.encode(0xA0, der.oid("1.2.3"), der.explicit(0, der.NULL * 2)),
            id="other name of two values",
        ),
        pytest.param(b"\xa4\0", id="no directory name"),
        pytest.param(b"\xa4\x02\x31\0", id="directory name is a SET"),
        pytest.param(b"\x82\x01a\0", id="trailing octet"),
    ],
)
def test_hostile_general_name_is_malformed(element: bytes) -> None:
    assert_malformed(GeneralName.decode, element)


def test_what_cannot_be_encoded_is_malformed() -> None:
    for call, value in (
        (GeneralName.dns, "é"),
        (GeneralName.email, "a\0"),
        (GeneralName.uri, "a" * 4097),
        (GeneralName.ip, "not an address"),
        (GeneralName.ip, b"\1\2\3"),
    ):
        assert_malformed(call, value)


def test_empty_and_endless_lists_are_malformed() -> None:
    assert_malformed(decode_general_names, b"")
    many = GeneralName.dns("a").encode() * (MAX_GENERAL_NAMES + 1)
    assert_malformed(decode_general_names, many)


@given(st.binary(max_size=40))
def test_any_octets_give_a_general_name_or_MALFORMED(octets: bytes) -> None:
    try:
        name = GeneralName.decode(octets)
        assert name.text().isprintable()
        assert name.encode() == octets
    except PKIError as error:
        assert error.code is ErrorCode.MALFORMED  # noqa: PT017
