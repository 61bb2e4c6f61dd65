"""CMP over TCP: records in whatever pieces they come, and what else comes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp import framing
from pkid.messages.cmp.framing import (
    ErrorMessageCode,
    Event,
    Fault,
    Foreign,
    ForeignProtocol,
    Framing,
    Record,
    RecordReader,
    RecordType,
)

MESSAGE = b"\x30\x03\x02\x01\x02"
LIMIT = 1000
MESSAGES = st.binary(max_size=200).map(
    lambda octets: (
        b"\x30\x81"
        + bytes((128 + len(octets) % 100,))
        + bytes(128)
        + bytes(len(octets) % 100)
    )
)
RECORDS = st.one_of(
    st.builds(
        Record,
        st.just(Framing.RFC2510),
        st.sampled_from(RecordType),
        st.just(False),
        st.binary(max_size=40),
    ),
    st.builds(
        Record,
        st.just(Framing.TCP_DRAFT),
        st.sampled_from(sorted(set(RecordType) - {RecordType.PARTIAL_MSG_REP})),
        st.booleans(),
        st.binary(max_size=40),
    ),
    st.builds(
        Record,
        st.just(Framing.BARE),
        st.just(RecordType.PKI_REQ),
        st.just(False),
        st.just(MESSAGE) | MESSAGES,
    ),
)
# What ends a stream; each is told whatever follows.
ENDS = st.sampled_from(
    (
        b"",
        b"\0\0\0\0",
        b"\0\0\0\x01\x07",
        b"\0\0\0\x02\x0a\0\0",
        b"\0\x01\0\0\x05",
        b"\0\x01\0\0\x0a",
        b"\0\0\0\x03\x0a\0\x04",
        b"\x30\x80\0\0",
        b"\x30\x82\xff\xff\0\0",
        b"GET /pkix HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\0\x01",
        b"hello",
    )
)


def read(*pieces: bytes, **arguments: object) -> list[Event]:
    reader = RecordReader(LIMIT, **arguments)  # type: ignore[arg-type]
    return [event for piece in pieces for event in reader.feed(piece)]


def kinds(events: list[Event]) -> list[object]:
    """Events as they compare however the stream was cut."""
    return [event.protocol if isinstance(event, Foreign) else event for event in events]


@pytest.mark.requirement("CMP-163")
@given(st.lists(RECORDS, max_size=5), ENDS, st.lists(st.integers(0, 400)))
def test_records_are_the_same_however_the_stream_is_cut(
    records: list[Record], end: bytes, cuts: list[int]
) -> None:
    stream = b"".join(framing.encode_record(record) for record in records) + end
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    whole = read(stream)
    assert whole[: len(records)] == records
    assert kinds(read(*pieces)) == kinds(whole)
    assert kinds(read(*(bytes((octet,)) for octet in stream))) == kinds(whole)
    assert (len(whole) > len(records)) is bool(end)


@pytest.mark.requirement("SEC-92")
@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_octets_give_events(pieces: list[bytes]) -> None:
    events = read(*pieces)
    assert all(isinstance(event, Record) for event in events[:-1])


@pytest.mark.parametrize(
    ("octets", "event"),
    [
        (
            bytes.fromhex("0000000600") + MESSAGE,
            Record(Framing.RFC2510, RecordType.PKI_REQ, False, MESSAGE),
        ),
        (
            bytes.fromhex("000000080a0100") + MESSAGE,
            Record(Framing.TCP_DRAFT, RecordType.PKI_REQ, True, MESSAGE),
        ),
        (MESSAGE, Record(Framing.BARE, RecordType.PKI_REQ, False, MESSAGE)),
        (b"POST /", Foreign(ForeignProtocol.HTTP, b"POST /")),
        (
            b"\x16\x03\x01\x02\x05\x01",
            Foreign(ForeignProtocol.TLS, b"\x16\x03\x01\x02\x05\x01"),
        ),
        (
            b"SSH-2.0",
            Fault(
                Framing.TCP_DRAFT,
                ErrorMessageCode.VERSION_NOT_SUPPORTED,
                "framing not supported",
            ),
        ),
    ],
)
def test_first_octets_tell_the_framing(octets: bytes, event: Event) -> None:
    assert read(octets) == [event]


def test_framing_is_told_for_each_message() -> None:
    stream = b"".join(
        framing.encode_request(kind, MESSAGE)
        for kind in (Framing.TCP_DRAFT, Framing.RFC2510, Framing.BARE)
    )
    found = [event.framing for event in read(stream) if isinstance(event, Record)]
    assert found == [Framing.TCP_DRAFT, Framing.RFC2510, Framing.BARE]


def test_broken_stream_is_answered_with_a_version_error_and_close() -> None:
    (fault,) = read(b"hello")
    assert isinstance(fault, Fault)
    answer = framing.encode_fault(fault)
    assert answer[4:7] == b"\x0a\x01\x06"
    (record,) = read(answer)
    assert isinstance(record, Record)
    assert framing.decode_error(record.framing, record.value) == (
        framing.ErrorMessage(0x0101, b"\x0a", "framing not supported")
    )


@pytest.mark.parametrize("kind", [Framing.RFC2510, Framing.TCP_DRAFT])
def test_requests_come_as_00_or_05_and_answers_go_as_05(kind: Framing) -> None:
    for octets in (
        framing.encode_request(kind, MESSAGE),
        framing.encode_response(kind, MESSAGE),
    ):
        (record,) = read(octets)
        assert isinstance(record, Record)
        assert record.carries_message
    assert framing.encode_response(kind, MESSAGE)[-len(MESSAGE) - 1] == 5
    assert not Record(kind, RecordType.POLL_REQ, False, b"").carries_message


@pytest.mark.requirement("CMP-163")
@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\0\x0f\xff\xff\0", Framing.RFC2510),
        (b"\0\x0f\xff\xff\x0a", Framing.TCP_DRAFT),
        (b"\x30\x83\x0f\xff\xff", Framing.BARE),
    ],
)
def test_length_above_the_limit_is_refused_before_buffering(
    head: bytes, kind: Framing
) -> None:
    reader = RecordReader(LIMIT)
    (fault,) = reader.feed(head)
    assert isinstance(fault, Fault)
    assert fault.framing is kind
    assert fault.code is ErrorMessageCode.GENERAL_CLIENT_ERROR
    assert reader.feed(bytes(5000)) == []
    assert reader.pending == 0


def test_message_at_the_limit_is_read() -> None:
    for kind in (Framing.RFC2510, Framing.TCP_DRAFT):
        (record,) = read(framing.encode_request(kind, bytes(LIMIT)))
        assert isinstance(record, Record)
        (fault,) = read(framing.encode_request(kind, bytes(LIMIT + 1)))
        assert isinstance(fault, Fault)


def test_incomplete_record_is_pending() -> None:
    reader = RecordReader(LIMIT)
    octets = framing.encode_request(Framing.TCP_DRAFT, MESSAGE)
    assert reader.feed(octets[:-1]) == []
    assert reader.pending == len(octets) - 1
    assert len(reader.feed(octets[-1:])) == 1
    assert reader.pending == 0


def test_unknown_type_is_a_fault_of_its_own() -> None:
    (fault,) = read(b"\0\0\0\x03\x0a\0\x07")
    assert isinstance(fault, Fault)
    assert fault.code is ErrorMessageCode.INVALID_MESSAGE_TYPE


def test_port_for_framing_1_answers_framing_2_in_framing_1() -> None:
    octets = framing.encode_request(Framing.TCP_DRAFT, MESSAGE)
    (fault,) = read(octets, accepted=frozenset((Framing.RFC2510,)))
    assert isinstance(fault, Fault)
    assert fault.framing is Framing.RFC2510
    answer = framing.encode_fault(fault)
    assert answer == b"\0\0\0\x16\x06framing not supported"


def test_port_for_framing_2_refuses_the_others() -> None:
    accepted = frozenset((Framing.TCP_DRAFT,))
    for kind in (Framing.RFC2510, Framing.BARE):
        (fault,) = read(framing.encode_request(kind, MESSAGE), accepted=accepted)
        assert isinstance(fault, Fault)
        assert fault.framing is Framing.TCP_DRAFT


def test_nothing_to_say_has_its_record() -> None:
    assert framing.encode_nothing(Framing.RFC2510) == b"\0\0\0\2\3\0"
    assert framing.encode_nothing(Framing.TCP_DRAFT) == b"\0\0\0\4\x0a\0\3\0"
    assert framing.encode_nothing(Framing.BARE) == b""


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_polling_records_round_trip(reference: int, moment: int) -> None:
    for kind in (Framing.RFC2510, Framing.TCP_DRAFT):
        reply, request = read(
            framing.encode_poll_rep(kind, reference, moment)
            + framing.encode_poll_req(kind, reference)
        )
        assert isinstance(reply, Record)
        assert isinstance(request, Record)
        assert reply.type is RecordType.POLL_REP
        assert framing.decode_poll_rep(reply.value) == (reference, moment)
        assert request.type is RecordType.POLL_REQ
        assert framing.decode_poll_req(request.value) == reference


def test_partial_answer_round_trips_in_framing_1() -> None:
    (record,) = read(framing.encode_partial_response(7, 9, MESSAGE))
    assert isinstance(record, Record)
    assert record.type is RecordType.PARTIAL_MSG_REP
    assert framing.decode_partial_response(record.value) == (7, 9, MESSAGE)


@pytest.mark.parametrize("close", [False, True])
def test_errors_round_trip(close: bool) -> None:
    code = ErrorMessageCode.INVALID_POLL_ID
    octets = framing.encode_error(
        Framing.TCP_DRAFT, code, "schön", data=b"abc", close=close
    )
    (record,) = read(octets)
    assert isinstance(record, Record)
    assert record.close is close
    assert framing.decode_error(record.framing, record.value) == (
        framing.ErrorMessage(code, b"abc", "schön")
    )
    octets = framing.encode_error(Framing.RFC2510, code, "no")
    (record,) = read(octets)
    assert isinstance(record, Record)
    assert framing.decode_error(record.framing, record.value) == (
        framing.ErrorMessage(None, b"", "no")
    )
    assert framing.encode_error(Framing.BARE, code, "no") == b""


@pytest.mark.parametrize(
    ("decode", "value"),
    [
        (framing.decode_poll_rep, b"1234567"),
        (framing.decode_poll_req, b"12345"),
        (framing.decode_partial_response, b"1234567"),
        (lambda value: framing.decode_error(Framing.TCP_DRAFT, value), b"\1\1\0"),
        (lambda value: framing.decode_error(Framing.TCP_DRAFT, value), b"\1\1\0\1"),
    ],
)
def test_broken_values_are_malformed(decode: object, value: bytes) -> None:
    assert callable(decode)
    with pytest.raises(PKIError) as caught:
        decode(value)
    assert caught.value.code is ErrorCode.MALFORMED


def test_records_that_a_framing_lacks_are_no_records() -> None:
    partial = Record(Framing.TCP_DRAFT, RecordType.PARTIAL_MSG_REP, False, b"")
    poll = Record(Framing.BARE, RecordType.POLL_REQ, False, b"")
    for record in (partial, poll):
        with pytest.raises(ValueError, match=r"only|no partialMsgRep"):
            framing.encode_record(record)
    for limit in (0, 1 << 24):
        with pytest.raises(ValueError, match="max_message_octets"):
            RecordReader(limit)
