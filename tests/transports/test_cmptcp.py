"""CMP over raw TCP as clients see it, over connections in memory."""

from __future__ import annotations

import gc
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pkid.messages.cmp.framing import (
    ErrorMessageCode,
    Framing,
    Record,
    RecordReader,
    RecordType,
    decode_error,
    decode_poll_rep,
    encode_poll_req,
    encode_record,
    encode_request,
)
from pkid.responders.base import Exchange, Reply
from pkid.responders.cmp.polling import PollingReply
from pkid.transports.cmptcp import FRAMINGS, CMPTCPFactory
from pkid.transports.connections import Listener
from pkid.transports.limits import Admission, Limits
from tests.transports.wires import (
    Broken,
    Later,
    Recorder,
    Wire,
    connect,
    hang_up,
    http_front,
    post,
    responses,
    send,
)

RFC = Framing.RFC2510
DRAFT = Framing.TCP_DRAFT
BARE = Framing.BARE
FRAMED = [RFC, DRAFT]
MESSAGE = b"\x30\x03\x02\x01\x07"


class Echo(Recorder):
    """Answers with the message itself, which is what bare DER needs to be cut."""

    async def respond(self, exchange: Exchange) -> Reply:
        self.exchanges.append(exchange)
        return Reply(body=exchange.body)


class Fixed:
    """Answers every request with one reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def respond(self, exchange: Exchange) -> Reply:
        return self.reply


def listen(
    responder: Any = None, *, limits: Limits | None = None, **options: Any
) -> tuple[CMPTCPFactory, Clock]:
    clock = Clock()
    admission = Admission(clock, limits or Limits(), has_room=lambda _: True)
    factory = CMPTCPFactory(
        responder or Echo(),
        alias="plant",
        admission=admission,
        listener=Listener(name="cmp-tcp"),
        **options,
    )
    return factory, clock


def ask(octets: bytes, responder: Any = None, **options: Any) -> Wire:
    wire = connect(listen(responder, **options)[0])
    send(wire, octets)
    return wire


def records(octets: bytes) -> list[Record]:
    reader = RecordReader(1 << 20)
    events = reader.feed(octets)
    assert reader.pending == 0
    assert all(isinstance(event, Record) for event in events)
    return events  # type: ignore[return-value]


def advance(clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)


@pytest.mark.requirement("CMP-161")
@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize("kind", [RecordType.PKI_REQ, RecordType.PKI_REP])
def test_types_00_and_05_are_requests_and_answers_are_type_05(
    framing: Framing, kind: RecordType
) -> None:
    responder = Echo()
    request = Record(framing, kind, close=False, value=MESSAGE)
    wire = ask(encode_record(request), responder)
    (answer,) = records(wire.value())
    assert answer == Record(framing, RecordType.PKI_REP, False, MESSAGE)
    (exchange,) = responder.exchanges
    assert (exchange.alias, exchange.operation) == ("plant", "")
    assert exchange.body == MESSAGE
    names = {RFC: "tcp-rfc2510", DRAFT: "tcp-draft"}
    assert exchange.transport == names[framing]
    assert exchange.peer.listener == "cmp-tcp"


def test_octets_on_the_wire_are_those_of_the_drafts_example() -> None:
    message = b"\x30\x82\x01\x28" + b"\x00" * 296
    wire = ask(b"\x00\x00\x01\x2f\x0a\x01\x00" + message)
    assert wire.value() == b"\x00\x00\x01\x2f\x0a\x01\x05" + message
    wire = ask(b"\x00\x00\x01\x2d\x00" + message)
    assert wire.value() == b"\x00\x00\x01\x2d\x05" + message


@pytest.mark.requirement("CMP-160")
def test_each_message_is_answered_in_its_own_framing() -> None:
    stream = b"".join(
        encode_request(framing, MESSAGE) for framing in (RFC, DRAFT, BARE, DRAFT, RFC)
    )
    wire = ask(stream)
    framings = [record.framing for record in records(wire.value())]
    assert framings == [RFC, DRAFT, BARE, DRAFT, RFC]
    http = http_front(Recorder())[0]
    served = ask(post(b"abc", "/cmp/x"), http=http)
    assert responses(served.value())[0].body == b"re:abc"
    hello = ask(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert hello.closing
    assert not hello.value()
    strange = ask(b"\x00\x00\x00\x10\x0b\x00\x00")
    (record,) = records(strange.value())
    error = decode_error(DRAFT, record.value)
    assert record.framing is DRAFT
    assert error.code == ErrorMessageCode.VERSION_NOT_SUPPORTED
    assert error.data == b"\x0a"
    assert strange.closing


def test_bare_der_is_answered_with_bare_der() -> None:
    responder = Echo()
    wire = ask(MESSAGE, responder)
    assert wire.value() == MESSAGE
    assert responder.exchanges[0].transport == "tcp-der"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(),
        PollingReply(reference=1, check_at=datetime(2031, 1, 1, tzinfo=UTC)),
    ],
)
def test_bare_der_client_that_cannot_be_answered_sees_the_connection_close(
    reply: Reply,
) -> None:
    wire = ask(MESSAGE, Fixed(reply))
    assert not wire.value()
    assert wire.closing


@pytest.mark.requirement("CMP-162")
def test_close_bit_is_returned_and_closes_after_the_answer() -> None:
    wire = ask(encode_request(DRAFT, MESSAGE, close=True))
    (answer,) = records(wire.value())
    assert answer.close
    assert wire.disconnecting
    factory, clock = listen()
    wire = connect(factory)
    send(wire, encode_request(DRAFT, MESSAGE))
    assert not records(wire.value())[0].close
    advance(clock, 50)
    assert not wire.closing
    send(wire, encode_request(DRAFT, MESSAGE))
    advance(clock, 59)
    assert not wire.closing
    advance(clock, 2)
    assert wire.closing
    again = connect(factory)
    send(again, encode_request(DRAFT, MESSAGE))
    assert len(records(again.value())) == 1


def test_idle_time_is_configurable() -> None:
    factory, clock = listen(limits=Limits(idle_seconds=5))
    wire = connect(factory)
    send(wire, encode_request(RFC, MESSAGE))
    advance(clock, 6)
    assert wire.closing


@pytest.mark.requirement("CMP-163")
@pytest.mark.parametrize("framing", FRAMED)
def test_messages_share_segments_and_are_spread_over_them(framing: Framing) -> None:
    messages = [b"\x30\x82" + n.to_bytes(2, "big") + b"x" * n for n in range(300, 320)]
    stream = b"".join(encode_request(framing, message) for message in messages)
    for pieces in (1, 7, 1000, len(stream)):
        wire = connect(listen()[0])
        send(wire, stream, pieces)
        assert [record.value for record in records(wire.value())] == messages


@pytest.mark.requirement("CMP-163")
@pytest.mark.parametrize(
    ("head", "framing"),
    [
        (b"\x00\x00\x00\x00", DRAFT),
        (b"\x00\x00\x00\x00\x00", DRAFT),
        (b"\x00\x00\x00\x01\x0a\x00\x00", DRAFT),
        (b"\x00\x00\x00\x02\x0a\x00\x00", DRAFT),
        (b"\x00\x04\x00\x02\x00", RFC),
        (b"\x00\x04\x00\x04\x0a\x00\x00", DRAFT),
        (b"\x7f\xff\xff\xff\x00", RFC),
        (b"\xff\xff\xff\xff\x0a\x00\x00", DRAFT),
    ],
)
def test_impossible_lengths_are_an_error_and_a_close_before_buffering(
    head: bytes, framing: Framing
) -> None:
    responder = Echo()
    wire = ask(head, responder)
    (record,) = records(wire.value())
    assert (record.framing, record.type) == (framing, RecordType.ERROR_MSG_REP)
    assert wire.closing
    for _ in range(40):
        send(wire, b"x" * 60_000)
    assert wire.aborted
    assert not responder.exchanges


def test_message_of_exactly_the_limit_is_taken() -> None:
    wire = ask(encode_request(RFC, b"x" * 262_144))
    assert records(wire.value())[0].type is RecordType.PKI_REP


@pytest.mark.requirement("CMP-164")
def test_messages_of_refusal_travel_as_messages_not_as_errors() -> None:
    refusal = Reply(body=MESSAGE, status=400)
    wire = ask(encode_request(DRAFT, b"not a message"), Fixed(refusal))
    (record,) = records(wire.value())
    assert record == Record(DRAFT, RecordType.PKI_REP, False, MESSAGE)
    wire = ask(b"\x00\x00\x00\x07\x0a\x00\x03abcd")
    assert records(wire.value())[0].type is RecordType.ERROR_MSG_REP


@pytest.mark.requirement("CMP-165")
@pytest.mark.parametrize("framing", FRAMED)
def test_nothing_to_say_is_type_03_with_one_octet_00(framing: Framing) -> None:
    wire = ask(encode_request(framing, MESSAGE), Fixed(Reply()))
    (record,) = records(wire.value())
    assert record == Record(framing, RecordType.FIN_REP, False, b"\x00")
    assert not wire.closing


@pytest.mark.parametrize("framing", FRAMED)
def test_polling_reply_is_a_poll_rep_with_absolute_time(framing: Framing) -> None:
    check_at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    reply = PollingReply(reference=0xFEDCBA98, check_at=check_at)
    wire = ask(encode_request(framing, MESSAGE), Fixed(reply))
    (record,) = records(wire.value())
    assert (record.framing, record.type) == (framing, RecordType.POLL_REP)
    assert decode_poll_rep(record.value) == (0xFEDCBA98, int(check_at.timestamp()))


@pytest.mark.parametrize("framing", FRAMED)
def test_poll_req_reaches_the_responder_as_its_reference(framing: Framing) -> None:
    responder = Echo()
    ask(encode_poll_req(framing, 0x01020304), responder)
    (exchange,) = responder.exchanges
    assert (exchange.operation, exchange.body) == ("tcp-poll", b"\x01\x02\x03\x04")


@pytest.mark.parametrize("framing", FRAMED)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RecordType.POLL_REP, b"\x00" * 8),
        (RecordType.POLL_REQ, b"\x00" * 3),
        (RecordType.FIN_REP, b"\x00"),
        (RecordType.ERROR_MSG_REP, b""),
    ],
)
def test_record_that_no_client_sends_is_a_bad_type(
    framing: Framing, kind: RecordType, value: bytes
) -> None:
    responder = Echo()
    record = Record(framing, kind, close=False, value=value)
    wire = ask(encode_record(record) + encode_request(framing, MESSAGE), responder)
    (answer,) = records(wire.value())
    assert (answer.framing, answer.type) == (framing, RecordType.ERROR_MSG_REP)
    if framing is DRAFT:
        assert decode_error(DRAFT, answer.value).code == 0x0201
    assert wire.closing
    assert not responder.exchanges


@pytest.mark.requirement("CMP-167")
def test_listener_of_rfc2510_answers_the_draft_with_an_error_in_rfc2510() -> None:
    factory, _ = listen(framings=["rfc2510"])
    wire = connect(factory)
    send(wire, encode_request(DRAFT, MESSAGE, close=True))
    (record,) = records(wire.value())
    assert (record.framing, record.type) == (RFC, RecordType.ERROR_MSG_REP)
    assert wire.closing
    fallen_back = connect(factory)
    send(fallen_back, encode_request(RFC, MESSAGE))
    assert records(fallen_back.value())[0].type is RecordType.PKI_REP


@pytest.mark.parametrize(
    ("served", "asked"), [("rfc2510", "der"), ("draft", "rfc2510"), ("draft", "der")]
)
def test_listener_serves_only_its_framings(served: str, asked: str) -> None:
    responder = Echo()
    octets = encode_request(FRAMINGS[asked], MESSAGE)
    wire = ask(octets, responder, framings=[served])
    (record,) = records(wire.value())
    assert record.framing is FRAMINGS[served]
    assert record.type is RecordType.ERROR_MSG_REP
    assert not responder.exchanges


def test_unknown_framing_name_is_a_fault() -> None:
    with pytest.raises(KeyError):
        listen(framings=["smoke"])


def test_http_goes_on_after_the_first_request_and_is_counted_once() -> None:
    http, _ = http_front(Recorder())
    clock = Clock()
    admission = Admission(clock, Limits(), has_room=lambda _: True)
    http = type(http)(http.site, now=lambda: datetime.now(UTC), admission=admission)
    factory = CMPTCPFactory(Echo(), alias="a", admission=admission, http=http)
    wire = connect(factory)
    send(wire, post(b"one") + post(b"two"), pieces=3)
    send(wire, post(b"three"))
    bodies = [response.body for response in responses(wire.value())]
    assert bodies == [b"re:one", b"re:two", b"re:three"]
    assert admission.connections == 1
    hang_up(wire)
    assert admission.connections == 0
    assert clock.getDelayedCalls() == []


def test_drain_waits_for_http_clients_of_this_port() -> None:
    responder = Later()
    http, _ = http_front(responder)
    admission = Admission(Clock(), Limits(), has_room=lambda _: True)
    http = type(http)(http.site, now=lambda: datetime.now(UTC), admission=admission)
    factory = CMPTCPFactory(Echo(), alias="a", admission=admission, http=http)
    wire = connect(factory)
    send(wire, post())
    for _ in range(2):
        done: list[None] = []
        factory.drain().addCallback(done.append)
        assert not done
    responder.answer_next()
    assert responses(wire.value())[0].headers["Connection"] == "close"
    hang_up(wire)
    assert done == [None]


def test_http_without_a_front_is_closed() -> None:
    wire = ask(post())
    assert wire.closing
    assert not wire.value()


def test_http_keeps_its_own_deadlines_on_this_port() -> None:
    clock = Clock()
    admission = Admission(clock, Limits(), has_room=lambda _: True)
    site = http_front(Recorder())[0].site
    http = http_front(Recorder(), clock=clock)[0]
    http = type(http)(site, now=lambda: datetime.now(UTC), admission=admission)
    wire = connect(CMPTCPFactory(Echo(), alias="a", admission=admission, http=http))
    send(wire, b"POST /cmp/x HTTP/1.1\r\n")
    advance(clock, 12)
    assert responses(wire.value())[0].status == 408


def test_one_request_is_in_work_and_reading_stops_when_another_waits() -> None:
    responder = Later()
    wire = connect(listen(responder)[0])
    send(wire, encode_request(RFC, b"0"))
    assert wire.reading
    send(wire, encode_request(RFC, b"1") + encode_request(RFC, b"2"))
    assert not wire.reading
    for number in range(3):
        assert len(responder.waiting) == 1
        assert len(records(wire.value())) == number
        responder.answer_next()
    assert wire.reading
    values = [record.value for record in records(wire.value())]
    assert values == [b"re:0", b"re:1", b"re:2"]


def test_close_bit_drops_what_came_behind_it() -> None:
    responder = Echo()
    stream = encode_request(DRAFT, b"a", close=True) + encode_request(DRAFT, b"b")
    wire = ask(stream, responder)
    assert len(records(wire.value())) == 1
    assert len(responder.exchanges) == 1


def test_thousands_of_small_records_in_one_segment_do_not_nest() -> None:
    responder = Echo()
    ask(encode_poll_req(RFC, 7) * 7000, responder)
    assert len(responder.exchanges) == 7000


@pytest.mark.parametrize(
    "octets", [b"\x00", b"\x00\x00\x00\x09", b"\x00\x00\x01\x00\x0a"]
)
def test_head_must_be_complete_within_ten_seconds(octets: bytes) -> None:
    factory, clock = listen()
    wire = connect(factory)
    send(wire, octets)
    advance(clock, 9)
    assert not wire.value()
    advance(clock, 2)
    assert records(wire.value())[0].type is RecordType.ERROR_MSG_REP
    advance(clock, 3)
    assert wire.aborted


def test_octets_that_drip_do_not_extend_the_message_deadline() -> None:
    factory, clock = listen()
    wire = connect(factory)
    send(wire, b"\x00\x00\x10\x00\x00\x30\x82")
    for _ in range(29):
        clock.advance(1)
        send(wire, b"x")
    assert not wire.value()
    advance(clock, 2)
    assert records(wire.value())[0].framing is DRAFT
    assert wire.closing


def test_deadline_starts_again_with_the_next_message() -> None:
    factory, clock = listen()
    wire = connect(factory)
    octets = encode_request(RFC, b"x" * 20)
    for _ in range(10):
        send(wire, octets[:10])
        advance(clock, 20)
        send(wire, octets[10:])
    assert len(records(wire.value())) == 10


def test_responder_may_take_longer_than_any_deadline() -> None:
    responder = Later()
    factory, clock = listen(responder)
    wire = connect(factory)
    send(wire, encode_request(RFC, b"x"))
    advance(clock, 600)
    responder.answer_next()
    assert records(wire.value())[0].value == b"re:x"


@pytest.mark.requirement("FLT-14")
def test_slow_reader_holds_little_and_is_cut_off_at_60_seconds() -> None:
    factory, clock = listen(Fixed(Reply(body=b"z" * 10_000)))
    wires = [connect(factory, f"192.0.2.{number}") for number in range(100)]
    for wire in wires:
        wire.capacity = 65_536
        for _ in range(50):
            if wire.reading:
                send(wire, encode_request(RFC, b"x") * 10)
        assert not wire.reading
        assert wire.most_held <= 65_536 + 11_000
    advance(clock, 59)
    assert not any(wire.aborted for wire in wires)
    advance(clock, 3)
    assert all(wire.aborted for wire in wires)


def test_slow_reader_that_takes_its_answers_in_time_gets_the_rest() -> None:
    factory, clock = listen(Fixed(Reply(body=b"z" * 10_000)))
    wire = connect(factory)
    wire.capacity = 65_536
    send(wire, encode_request(RFC, b"x") * 20)
    for _ in range(5):
        advance(clock, 30)
        wire.take_all()
    assert len(records(wire.value())) == 20
    assert wire.reading


def test_client_that_vanishes_does_not_disturb_the_responder() -> None:
    responder = Later()
    wire = connect(listen(responder)[0])
    send(wire, encode_request(RFC, b"a") + encode_request(RFC, b"b"))
    hang_up(wire)
    responder.answer_next()
    assert responder.finished == 1
    assert not responder.waiting
    assert not wire.value()


def test_failing_responder_is_a_general_error_that_tells_nothing() -> None:
    logged: list[Any] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        wire = ask(encode_request(DRAFT, MESSAGE), Broken())
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(logged.append)
    (record,) = records(wire.value())
    error = decode_error(DRAFT, record.value)
    assert (error.code, error.text) == (0x0300, "internal error")
    assert wire.closing
    assert any("log_failure" in event for event in logged)


def test_drain_answers_what_is_in_work_and_closes_the_rest() -> None:
    responder = Later()
    factory, _ = listen(responder)
    busy, idle = connect(factory), connect(factory)
    send(busy, encode_request(DRAFT, MESSAGE))
    done: list[None] = []
    factory.drain().addCallback(done.append)
    assert idle.closing
    assert not busy.closing
    hang_up(idle)
    responder.answer_next()
    assert records(busy.value())[0].close
    assert busy.closing
    hang_up(busy)
    assert done == [None]


def test_drain_closes_a_slow_reader_when_it_has_taken_its_answer() -> None:
    factory, _ = listen(Fixed(Reply(body=b"z" * 10_000)))
    wire = connect(factory)
    wire.capacity = 5_000
    send(wire, encode_request(RFC, MESSAGE))
    factory.drain()
    assert not wire.closing
    wire.take_all()
    assert wire.closing


def test_no_timer_is_left_when_nobody_is_connected() -> None:
    factory, clock = listen()
    wires = [connect(factory) for _ in range(3)]
    for wire in wires:
        send(wire, encode_request(RFC, MESSAGE))
        hang_up(wire)
    assert clock.getDelayedCalls() == []


@pytest.mark.requirement("SEC-12")
def test_lying_and_dripping_clients_do_not_stop_twenty_enrolments() -> None:
    factory, clock = listen()
    droppers = [connect(factory, f"198.51.100.{number}") for number in range(250)]
    idle = [connect(factory, f"203.0.113.{number}") for number in range(250)]
    claims = [b"\x7f\xff\xff\xff\x00", b"\x00\x00\x00\x00", b"\x00\x00\x00\x01\x0a\x00"]
    for claim in claims:
        assert ask(claim).closing
    good = [connect(factory, f"192.0.2.{number}") for number in range(20)]
    octets = encode_request(RFC, MESSAGE)
    for second in range(31):
        for wire in droppers:
            if second % 10 == 0:
                send(wire, octets[second // 10 : second // 10 + 1])
        if second < 20:
            send(good[second], octets)
        clock.advance(1)
    for wire in good:
        assert records(wire.value())[0].value == MESSAGE
    assert all(wire.closing for wire in droppers)
    advance(clock, 31)
    assert all(wire.closing for wire in idle)


MESSAGES = st.lists(
    st.tuples(st.sampled_from([RFC, DRAFT, BARE]), st.integers(0, 300), st.booleans()),
    min_size=1,
    max_size=8,
)


def der(size: int) -> bytes:
    return b"\x30\x82" + size.to_bytes(2, "big") + b"x" * size


@given(MESSAGES, st.lists(st.integers(0, 2500), max_size=20), st.data())
def test_answers_are_the_same_however_the_stream_is_cut(
    messages: list[tuple[Framing, int, bool]], cuts: list[int], data: st.DataObject
) -> None:
    stream = b"".join(encode_request(how, der(size)) for how, size, _ in messages)
    responder = Mixed([late for _, _, late in messages])
    wire = connect(listen(responder)[0])
    edges = [0, *sorted({cut for cut in cuts if cut < len(stream)}), len(stream)]
    for start, end in itertools.pairwise(edges):
        send(wire, stream[start:end])
        if responder.waiting and data.draw(st.booleans()):
            responder.answer_next()
    while responder.waiting:
        responder.answer_next()
    answers = [(record.framing, record.value) for record in records(wire.value())]
    assert answers == [(how, der(size)) for how, size, _ in messages]


class Mixed(Later):
    """Answers some at once and some later."""

    def __init__(self, late: list[bool]) -> None:
        super().__init__()
        self.late = iter(late)

    async def respond(self, exchange: Exchange) -> Reply:
        if next(self.late):
            await super().respond(exchange)
        return Reply(body=exchange.body)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_octets_are_answered_or_awaited(pieces: list[bytes]) -> None:
    wire = connect(listen(http=http_front(Recorder())[0])[0])
    for piece in pieces:
        send(wire, piece)
    assert not wire.aborted


def test_who_half_closes_gets_all_answers_that_it_waits_for() -> None:
    responder = Later()
    wire = connect(listen(responder)[0])
    send(wire, encode_request(DRAFT, MESSAGE) + encode_request(DRAFT, MESSAGE))
    wire.protocol.readConnectionLost()
    assert not wire.closing
    responder.answer_next()
    assert not wire.closing
    responder.answer_next()
    assert len(records(wire.value())) == 2
    assert wire.disconnecting


def test_who_half_closes_without_a_request_is_closed() -> None:
    wire = connect(listen()[0])
    wire.protocol.readConnectionLost()
    assert wire.closing
