"""Bodies of EST and the codecs of its messages, for any octets."""

from __future__ import annotations

import base64
from collections.abc import Callable
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.errors import ErrorCode, PKIError
from pkid.messages.changename import ChangeSubjectName
from pkid.messages.cmc import GetCert, PKIData, RevokeRequest, Witness, decode_get_crl
from pkid.messages.est import (
    Base64Form,
    Part,
    decode_body,
    encode_base64,
    encode_multipart,
    multipart_type,
)
from pkid.messages.keydelivery import DeliveryWishes
from pkid.messages.pkcs10 import CertificationRequest


def value_or_code(read: Callable[[bytes], Any], octets: bytes) -> Any:
    """What was read, or why it was not; anything else is a fault."""
    try:
        return read(octets)
    except PKIError as error:
        return error.code


SEQUENCES = st.binary(max_size=600).map(der.sequence)
SPACE = st.text(alphabet=" \t\r\n", max_size=3)


@given(SEQUENCES, st.sampled_from(Base64Form))
@pytest.mark.requirement("EST-08")
def test_what_we_write_reads_back(octets: bytes, form: Base64Form) -> None:
    text = encode_base64(octets, form)
    assert decode_body(text) == octets
    lines = text.split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) <= 64 for line in lines) or form is Base64Form.SINGLE
    assert b"\n" not in text.replace(b"\r\n", b"")


@given(SEQUENCES, st.lists(SPACE, min_size=4, max_size=4), st.booleans())
@pytest.mark.requirement("EST-08", "EST-09")
def test_white_space_anywhere_and_missing_padding_are_read(
    octets: bytes, gaps: list[str], padded: bool
) -> None:
    text = base64.b64encode(octets).decode()
    if not padded:
        text = text.rstrip("=")
    third = len(text) // 3
    pieces = (text[:third], text[third : 2 * third], text[2 * third :])
    woven = gaps[0] + "".join(p + g for p, g in zip(pieces, gaps[1:], strict=True))
    assert decode_body(woven.encode()) == octets


@given(st.binary(max_size=300))
@pytest.mark.requirement("EST-07")
def test_any_octets_are_der_or_malformed(octets: bytes) -> None:
    found = value_or_code(decode_body, octets)
    assert found is ErrorCode.MALFORMED or found[:1] == b"\x30"


READERS = (
    PKIData.decode,
    RevokeRequest.decode,
    GetCert.decode,
    decode_get_crl,
    Witness.decode,
    Witness.decode_first,
    ChangeSubjectName.decode,
)


@pytest.mark.parametrize("index", range(len(READERS)))
@given(octets=st.one_of(st.binary(max_size=80), SEQUENCES))
def test_any_octets_are_a_value_or_malformed(index: int, octets: bytes) -> None:
    found = value_or_code(READERS[index], octets)
    assert found is ErrorCode.MALFORMED or not isinstance(found, ErrorCode)


def test_a_request_without_wishes_has_none() -> None:
    info = der.sequence(
        der.integer(0),
        der.sequence(),
        der.sequence(der.sequence(der.oid("1.3.101.112")), der.bit_string(b"k" * 32)),
        b"\xa0\x00",
    )
    algorithm = der.sequence(der.oid("1.3.101.112"))
    request = der.sequence(info, algorithm, der.bit_string(b"s"))
    assert DeliveryWishes.of(CertificationRequest.decode(request)) == DeliveryWishes()


@pytest.mark.requirement("EST-34")
def test_parts_are_read_by_the_standard_librarys_mail_parser() -> None:
    parts = (
        Part("application/pkcs8", encode_base64(b"\x30\x01a")),
        Part("application/pkcs7-mime", encode_base64(b"\x30\x01b")),
    )
    body = encode_multipart(parts, "abc123")
    head = f"Content-Type: {multipart_type('abc123')}\r\n\r\n".encode()
    message = message_from_bytes(head + body)
    assert not message.defects
    found = message.get_payload()
    assert [one.get_payload(decode=True) for one in found] == [
        b"\x30\x01a",
        b"\x30\x01b",
    ]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="boundary"):
        encode_multipart(parts, "a b")
