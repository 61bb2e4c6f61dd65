"""CMP messages: round trips, recorded exchanges, broken octets."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.asn1.names import EMPTY, GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp import body
from pkid.messages.cmp.body import BodyType, encode_body
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.message import (
    PKIMessage,
    decode_body,
    encode_message,
    protected_part,
    recover_ids,
)
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from tests.messages import strategies as make
from tests.messages.cmp import bodies as make_bodies

VECTORS = Path(__file__).parents[2] / "vectors" / "cmp"
RECORDED = sorted(VECTORS.glob("*-r*.der"))
REQUEST = (VECTORS / "ir-pbm-req1.der").read_bytes()
NULL_DN = GeneralName.directory(EMPTY)
HEADER = PKIHeader(pvno=2, sender=NULL_DN, recipient=NULL_DN)
SEQUENCES = make.OCTETS.map(lambda octets: der.sequence(der.octet_string(octets)))
CONTENTS = make_bodies.contents(SEQUENCES, SEQUENCES)
OUTCOMES = {None, ErrorCode.MALFORMED, ErrorCode.BAD_REQUEST}
BODIES = st.sampled_from(sorted(CONTENTS)).flatmap(
    lambda kind: st.tuples(st.just(kind), CONTENTS[kind])
)


def assert_malformed(octets: bytes) -> None:
    with pytest.raises(PKIError) as caught:
        decode_body(PKIMessage.decode(octets))
    assert caught.value.code is ErrorCode.MALFORMED


def read_all(octets: bytes) -> None:
    message = PKIMessage.decode(octets)
    message.header.sender.text()
    message.header.recipient.text()
    decode_body(message)


def outcome(
    operation: Callable[[bytes], bytes | None], octets: bytes
) -> bytes | ErrorCode | None:
    try:
        return operation(octets)
    except PKIError as error:
        return error.code


def encoded_again(octets: bytes) -> bytes:
    message = PKIMessage.decode(octets)
    assert message.body_type is not None
    return encode_message(
        message.header.encode(),
        encode_body(message.body_type, decode_body(message)),
        protection=message.protection,
        extra_certs=message.extra_certs,
    )


def with_body(kind: int, element: bytes) -> bytes:
    return der.sequence(HEADER.encode(), der.explicit(kind, element))


def with_header(*parts: bytes) -> bytes:
    start = (der.integer(2), NULL_DN.encode(), NULL_DN.encode())
    return der.sequence(der.sequence(*start, *parts), der.explicit(19, der.NULL))


@given(
    make.HEADERS,
    BODIES,
    st.none() | make.OCTETS,
    st.lists(SEQUENCES, max_size=2).map(tuple),
)
def test_what_was_encoded_is_decoded_and_encodes_alike(
    header: PKIHeader,
    kind_and_content: tuple[BodyType, body.Body],
    protection: bytes | None,
    extra_certs: tuple[bytes, ...],
) -> None:
    kind, content = kind_and_content
    header_der, body_der = header.encode(), encode_body(kind, content)
    octets = encode_message(
        header_der, body_der, protection=protection, extra_certs=extra_certs
    )
    message = PKIMessage.decode(octets)
    assert message.der == octets
    assert message.header == header
    assert message.body_type is kind
    assert decode_body(message) == content
    assert message.protected_part == protected_part(header_der, body_der)
    assert message.protection == protection
    assert message.extra_certs == extra_certs


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_message_encodes_to_the_same_octets(path: Path) -> None:
    assert encoded_again(path.read_bytes()) == path.read_bytes()


def test_protected_part_is_the_received_octets() -> None:
    message = PKIMessage.decode(REQUEST)
    assert message.protected_part[4:] in REQUEST
    assert message.protection is not None
    assert len(message.protection) == 20


@pytest.mark.requirement("CMP-01")
def test_protected_part_of_a_fraction_of_a_second_is_not_a_re_encoding() -> None:
    stamp = der.explicit(0, der.encode(der.GENERALIZED_TIME, b"20260102030405.25Z"))
    octets = with_header(stamp)
    message = PKIMessage.decode(octets)
    assert message.header.message_time == datetime.datetime(
        2026, 1, 2, 3, 4, 5, 250000, tzinfo=datetime.UTC
    )
    assert b".25Z" in message.protected_part
    assert b".25Z" not in message.header.encode()


def test_recorded_request_has_the_expected_fields() -> None:
    message = PKIMessage.decode(REQUEST)
    header = message.header
    assert header.pvno == 2
    assert header.sender.text() == "directory:CN=device,O=Test,C=DE"
    assert header.recipient.text() == "directory:CN=Mock CA"
    assert header.sender_kid == b"ref"
    assert len(header.transaction_id or b"") == len(header.sender_nonce or b"") == 16
    content = decode_body(message)
    assert isinstance(content, body.CertReqMessages)
    (request,) = content.messages
    template = request.cert_req.cert_template
    assert template.validity is not None
    assert template.extensions[0].oid == "2.5.29.17"


def test_unknown_pvno_is_decoded() -> None:
    header = dataclasses.replace(HEADER, pvno=99)
    octets = encode_message(header.encode(), der.explicit(19, der.NULL))
    assert PKIMessage.decode(octets).header.pvno == 99


def test_unknown_body_is_decoded_and_badRequest_when_read() -> None:
    message = PKIMessage.decode(with_body(27, der.NULL))
    assert message.body_type is None
    with pytest.raises(PKIError) as caught:
        decode_body(message)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_hash_algorithm_of_certConf_round_trips() -> None:
    status = body.CertStatus(
        b"h" * 64, 0, hash_alg=AlgorithmIdentifier("2.16.840.1.101.3.4.2.3")
    )
    content = body.CertConfirmContent((status,))
    octets = encode_message(HEADER.encode(), encode_body(BodyType.CERT_CONF, content))
    assert decode_body(PKIMessage.decode(octets)) == content


def test_unknown_failure_bits_are_left_out() -> None:
    info = der.sequence(der.integer(2), der.named_bits(frozenset((0, 40))))
    status = PKIStatusInfo.decode(der.single(info, der.SEQUENCE))
    assert status == PKIStatusInfo(
        PKIStatus.REJECTION, fail_info=frozenset((FailInfo.BAD_ALG,))
    )


def test_find_info_gives_the_first_or_nothing() -> None:
    header = dataclasses.replace(
        HEADER, general_info=(InfoTypeAndValue("1.2.3"), InfoTypeAndValue("1.2.3"))
    )
    assert header.find_info("1.2.3") is header.general_info[0]
    assert header.find_info("1.2.4") is None


# --- what is no DER ------------------------------------------------------------


@pytest.mark.requirement("CMP-03", "SEC-90")
@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(REQUEST + b"\0", id="trailing octet"),
        pytest.param(b"\x31" + REQUEST[1:], id="SET for SEQUENCE"),
        pytest.param(b"\x30\x83\0" + REQUEST[2:], id="length not minimal"),
        pytest.param(b"\x30\x80" + REQUEST[4:] + b"\0\0", id="indefinite length"),
        pytest.param(REQUEST[:-1], id="truncated"),
        pytest.param(b"", id="nothing"),
        pytest.param(
            der.sequence(HEADER.encode(), der.explicit(19, der.NULL), b"\0\0"),
            id="trailing element",
        ),
        pytest.param(der.sequence(HEADER.encode()), id="no body"),
        pytest.param(with_body(19, b""), id="empty body"),
        pytest.param(with_body(19, der.NULL + der.NULL), id="two elements in a body"),
        pytest.param(with_body(31, der.NULL), id="long-form tag"),
        pytest.param(with_body(0, der.sequence()), id="no CertReqMsg"),
        pytest.param(with_body(20, der.sequence()), id="no nested message"),
        pytest.param(with_body(23, der.NULL), id="wrong type in a body"),
        pytest.param(with_header(der.explicit(7, der.sequence())), id="no freeText"),
        pytest.param(with_header(der.explicit(8, der.sequence())), id="no ITAV"),
        pytest.param(with_header(der.explicit(9, der.NULL)), id="unknown field"),
        pytest.param(
            with_header(
                der.explicit(5, der.octet_string(b"n")),
                der.explicit(4, der.octet_string(b"t")),
            ),
            id="fields out of order",
        ),
        pytest.param(
            with_header(*[der.explicit(4, der.octet_string(b"t"))] * 2),
            id="a field twice",
        ),
        pytest.param(
            with_header(der.explicit(0, der.encode(der.UTC_TIME, b"260102030405Z"))),
            id="messageTime as UTCTime",
        ),
    ],
)
def test_what_is_not_DER_or_breaks_a_constraint_is_malformed(octets: bytes) -> None:
    assert_malformed(octets)


def elements(octets: bytes, start: int, stop: int) -> list[tuple[int, int, int]]:
    """Start, start of contents and end of all elements that nest in constructed."""
    found = []
    while start < stop:
        cursor = der.Cursor(octets[:stop])
        cursor.position = start
        cursor.raw()
        size = len(der.single(octets[start : cursor.position], octets[start]))
        begin = cursor.position - size
        found.append((start, begin, cursor.position))
        if octets[start] & 0x20:
            found += elements(octets, begin, cursor.position)
        start = cursor.position
    return found


def re_encode(octets: bytes, target: int, start: int, stop: int, mode: str) -> bytes:
    """The same elements, the one at ``target`` as BER allows it and DER does not."""
    out = b""
    while start < stop:
        cursor = der.Cursor(octets[:stop])
        cursor.position = start
        whole = cursor.raw()
        contents = der.single(whole, whole[0])
        if whole[0] & 0x20:
            begin = cursor.position - len(contents)
            contents = re_encode(octets, target, begin, cursor.position, mode)
        if start != target:
            out += der.encode(whole[0], contents)
        elif mode == "indefinite":
            out += whole[:1] + b"\x80" + contents + b"\0\0"
        else:
            out += whole[:1] + b"\x84" + len(contents).to_bytes(4, "big") + contents
        start = cursor.position
    return out


@pytest.mark.requirement("SEC-90")
@pytest.mark.parametrize("mode", ["indefinite", "long"])
@pytest.mark.parametrize("name", ["ir-sig-req1", "ir-pbm-req1", "rr-sig-req1"])
def test_BER_lengths_anywhere_in_what_is_read_are_malformed(
    name: str, mode: str
) -> None:
    octets = (VECTORS / f"{name}.der").read_bytes()
    places = [
        (start, begin)
        for start, begin, _ in elements(octets, 0, len(octets))
        if mode == "long" or octets[start] & 0x20
    ]
    assert len(places) > 20
    kept = 0
    for start, _ in places:
        variant = re_encode(octets, start, 0, len(octets), mode)
        assert variant != octets
        again = outcome(encoded_again, variant)
        # Names, keys, parameters and certificates are carried as they came and held
        # against DER by whoever takes them apart.
        assert again in {ErrorCode.MALFORMED, variant}
        kept += again == variant
    assert kept < len(places)


# --- any octets ----------------------------------------------------------------


@pytest.mark.requirement("SEC-92")
@given(st.binary(max_size=200))
def test_any_octets_give_a_message_or_MALFORMED(octets: bytes) -> None:
    assert outcome(read_all, octets) in OUTCOMES
    recover_ids(octets)


@pytest.mark.requirement("SEC-92")
@given(
    st.sampled_from(RECORDED),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255))),
)
def test_mutated_messages_give_a_message_or_MALFORMED(
    path: Path, changes: list[tuple[float, int]]
) -> None:
    octets = bytearray(path.read_bytes())
    for place, value in changes:
        octets[int(place * len(octets))] = value
    assert outcome(read_all, bytes(octets)) in OUTCOMES
    recover_ids(bytes(octets))


def bombs() -> list[tuple[str, bytes]]:
    deep = der.NULL
    for _ in range(2000):
        deep = der.sequence(deep)
    info = der.sequence(der.oid("1.2.3"))
    return [
        ("deep nesting", with_body(21, deep)),
        ("20,000 info values", with_body(21, der.sequence(*[info] * 20000))),
        (
            "5,000 pieces of general information",
            with_header(der.explicit(8, der.sequence(*[info] * 5000))),
        ),
        (
            "20,000 integers",
            with_body(25, der.sequence(*[der.sequence(der.integer(1))] * 20000)),
        ),
        (
            "an arc of 200,000 octets",
            with_body(
                21,
                der.sequence(
                    der.sequence(der.encode(der.OID, b"\xff" * 200000 + b"\1"))
                ),
            ),
        ),
        (
            "200,000 arcs",
            with_body(
                21, der.sequence(der.sequence(der.encode(der.OID, b"\1" * 200000)))
            ),
        ),
        ("a long tag", b"\x3f" + b"\xff" * 200000),
        ("a length of 4 GiB", b"\x30\x84\xff\xff\xff\xff"),
        ("a length of lengths", b"\x30\xfe" + b"\xff" * 126),
        (
            "an INTEGER of 200,000 octets",
            der.sequence(
                der.sequence(der.encode(der.INTEGER, b"\1" * 200000)), der.NULL
            ),
        ),
        (
            "100,000 texts",
            with_header(der.explicit(7, der.sequence(*[der.utf8_string("")] * 100000))),
        ),
        (
            "10,000 extra certificates",
            der.sequence(
                HEADER.encode(),
                der.explicit(19, der.NULL),
                der.explicit(1, der.sequence(*[der.sequence()] * 10000)),
            ),
        ),
    ]


@pytest.mark.requirement("SEC-91")
@pytest.mark.parametrize(("name", "octets"), bombs(), ids=lambda value: str(value)[:40])
def test_parser_bomb_is_refused_at_once(name: str, octets: bytes) -> None:
    before = time.process_time()
    assert_malformed(octets)
    recover_ids(octets)
    assert time.process_time() - before < 0.05, name


# --- ids of what could not be read ----------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(REQUEST, id="whole"),
        pytest.param(REQUEST[:250], id="truncated"),
        pytest.param(REQUEST + b"\0", id="trailing"),
        pytest.param(b"\x30\x80" + REQUEST[4:] + b"\0\0", id="indefinite"),
    ],
)
def test_ids_are_recovered_from_a_broken_message(octets: bytes) -> None:
    header = PKIMessage.decode(REQUEST).header
    assert recover_ids(octets) == (header.transaction_id, header.sender_nonce)


@pytest.mark.parametrize("octets", [b"", b"\x30", b"GET / HTTP/1.1", b"\x30\x03\2\1\2"])
def test_no_ids_are_recovered_from_what_has_none(octets: bytes) -> None:
    assert recover_ids(octets) == (None, None)


def test_endless_ids_are_not_recovered() -> None:
    long = der.explicit(4, der.octet_string(b"t" * 257))
    assert recover_ids(with_header(long)) == (None, None)
