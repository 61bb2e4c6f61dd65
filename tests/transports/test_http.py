"""HTTP as clients see it, over connections in memory."""

from __future__ import annotations

import gc
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pkid.responders.base import Exchange, Reply
from pkid.transports.limits import Limits
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

MEGABYTE = 1_000_000


def ask(octets: bytes, responder: Any = None) -> tuple[Wire, Any]:
    responder = responder or Recorder()
    wire = connect(http_front(responder)[0])
    send(wire, octets)
    return wire, responder


def advance(clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.advance(1)


class Fixed:
    """Answers every request with one reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    async def respond(self, exchange: Exchange) -> Reply:
        return self.reply


def test_post_reaches_the_responder_and_its_reply_the_client() -> None:
    wire, responder = ask(post(b"message", "/.well-known/cmp/p/plant/ir?x=1"))
    (exchange,) = responder.exchanges
    assert (exchange.alias, exchange.operation) == ("plant", "ir")
    assert (exchange.transport, exchange.method) == ("http", "POST")
    assert (exchange.body, exchange.query) == (b"message", "x=1")
    assert exchange.headers["host"] == "ca.example"
    assert exchange.peer.address == "192.0.2.7"
    assert (exchange.peer.listener, exchange.peer.beyond_loopback) == ("web", True)
    (response,) = responses(wire.value())
    assert response.status == 200
    assert response.body == b"re:message"
    assert not wire.closing


def test_response_has_exactly_the_type_of_the_reply_and_a_length() -> None:
    wire, _ = ask(post())
    (response,) = responses(wire.value())
    assert response.headers == {
        "Server": "pkid",
        "Date": "Tue, 06 May 2031 07:08:09 GMT",
        "Content-Length": "6",
        "Content-Type": "application/pkixcmp",
    }


def test_further_headers_of_the_reply_are_sent() -> None:
    responder = Recorder()
    responder.headers = (("Cache-Control", "no-cache"), ("Pragma", "no-cache"))
    wire, _ = ask(post(), responder)
    (response,) = responses(wire.value())
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Pragma"] == "no-cache"


def test_line_breaks_in_reply_headers_cannot_split_the_response() -> None:
    responder = Recorder()
    responder.headers = (("X-A", "a\r\n\r\nHTTP/1.1 200 OK"),)
    wire, _ = ask(post(), responder)
    assert len(responses(wire.value())) == 1


def test_empty_reply_has_length_zero_and_no_type() -> None:
    wire, _ = ask(post(), Fixed(Reply(status=202)))
    (response,) = responses(wire.value())
    assert response.headers["Content-Length"] == "0"
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body_has_neither_body_nor_length(status: int) -> None:
    wire, _ = ask(post(), Fixed(Reply(status=status, body=b"x")))
    assert "Content-Length" not in responses(wire.value())[0].headers
    assert wire.value().endswith(b"\r\n\r\n")


def test_large_reply_arrives_whole() -> None:
    wire, _ = ask(post(), Fixed(Reply(body=b"z" * 300_000)))
    assert responses(wire.value())[0].body == b"z" * 300_000


@pytest.mark.requirement("CMP-153")
@pytest.mark.parametrize(
    ("version", "connection", "persistent"),
    [
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive", True),
        ("1.0", "close", False),
        ("1.1", None, True),
        ("1.1", "keep-alive", True),
        ("1.1", "close", False),
        ("1.1", "Close, TE", False),
        ("1.1", "TE, close", False),
    ],
)
def test_connection_stays_open_as_the_client_asks(
    version: str, connection: str | None, persistent: bool
) -> None:
    headers = [] if connection is None else [f"Connection: {connection}"]
    wire, _ = ask(post(b"a", "/cmp/x", version, *headers))
    (response,) = responses(wire.value())
    assert response.status == 200
    assert response.headers["Content-Length"] == "4"
    assert wire.closing is not persistent
    said = response.headers.get("Connection")
    expected = "keep-alive" if version == "1.0" else None
    assert said == (expected if persistent else "close")
    if persistent:
        wire.clear()
        send(wire, post(b"second", "/cmp/x", version, *headers))
        assert responses(wire.value())[0].body == b"re:second"


@pytest.mark.requirement("CMP-153")
def test_openssl_3_0_request_in_http_1_0_is_answered_and_kept() -> None:
    request = (
        b"POST /pkix/ HTTP/1.0\r\nPragma: no-cache\r\nConnection: keep-alive\r\n"
        b"Content-Type: application/pkixcmp\r\nContent-Length: 3\r\n\r\nabc"
    )
    wire, responder = ask(request)
    assert responses(wire.value())[0].headers["Connection"] == "keep-alive"
    assert responder.exchanges[0].headers["pragma"] == "no-cache"
    send(wire, request)
    assert [response.status for response in responses(wire.value())] == [200, 200]


def test_expect_100_continue_is_answered_before_the_body_comes() -> None:
    head = post(b"x" * 9, "/cmp/x", "1.1", "Expect: 100-continue")[:-9]
    wire, _ = ask(head)
    assert wire.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.clear()
    send(wire, b"x" * 9)
    assert responses(wire.value())[0].body == b"re:xxxxxxxxx"


def test_expect_100_continue_of_a_body_too_large_is_refused_before_it_comes() -> None:
    wire, _ = ask(
        b"POST /cmp/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
        b"Content-Length: 262145\r\n\r\n"
    )
    assert [response.status for response in responses(wire.value())] == [413]


def test_other_expectations_are_refused() -> None:
    wire, responder = ask(post(b"abc", "/cmp/x", "1.1", "Expect: miracles"))
    assert responses(wire.value())[0].status == 417
    assert not responder.exchanges


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    responder = Later()
    wire = connect(http_front(responder)[0])
    send(wire, b"".join(post(b"%d" % number) for number in range(5)))
    for number in range(5):
        assert len(responder.waiting) == 1
        assert len(responses(wire.value())) == number
        responder.answer_next()
    bodies = [response.body for response in responses(wire.value())]
    assert bodies == [b"re:%d" % number for number in range(5)]


@pytest.mark.requirement("CMP-159")
def test_expect_pipelining_slow_and_idle_clients_in_one_sitting() -> None:
    responder = Later()
    front, clock = http_front(responder)
    slow_head, slow_body, idle = (connect(front) for _ in range(3))
    good = connect(front)
    send(
        good, post(b"first", "/cmp/x", "1.1", "Expect: 100-continue") + post(b"second")
    )
    send(slow_body, post(b"x" * 100)[:-100])
    for second in range(62):
        send(slow_head, b"POST /cmp/x HTTP/1.1\r\n"[second % 20 : second % 20 + 1])
        send(slow_body, b"x")
        clock.advance(1)
        if second == 12:
            assert responses(slow_head.value())[0].status == 408
            assert not slow_body.value()
        if second == 32:
            assert responses(slow_body.value())[0].status == 408
    assert idle.closing
    assert not idle.value()
    responder.answer_next()
    responder.answer_next()
    goods = responses(good.value().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert [response.body for response in goods] == [b"re:first", b"re:second"]


def test_many_pipelined_requests_in_one_segment_do_not_nest() -> None:
    wire, responder = ask(b"")
    send(wire, post(b"") * 2000, pieces=1 << 20)
    assert len(responder.exchanges) == 2000
    assert len(responses(wire.value())) == 2000


def test_reading_stops_while_too_much_waits_behind_a_request() -> None:
    responder = Later()
    wire = connect(http_front(responder)[0])
    send(wire, post(b"first"))
    send(wire, post(b"y" * 20_000))
    assert not wire.reading
    responder.answer_next()
    assert wire.reading
    responder.answer_next()
    assert len(responses(wire.value())) == 2


def test_chunked_body_is_put_together() -> None:
    wire, responder = ask(
        b"POST /cmp/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\nA;name=value\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
        + post(b"z")
    )
    assert [one.body for one in responder.exchanges] == [b"abc0123456789", b"z"]
    assert len(responses(wire.value())) == 2


@pytest.mark.requirement("SEC-61")
@pytest.mark.parametrize("announced", [True, False])
def test_200_megabytes_are_refused_within_one_and_leave_no_file(
    announced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    how = b"Content-Length: 200000000" if announced else b"Transfer-Encoding: chunked"
    wire, responder = ask(b"POST /cmp/x HTTP/1.1\r\nHost: a\r\n" + how + b"\r\n\r\n")
    piece = b"x" * 50_000 if announced else b"%x\r\n" % 50_000 + b"x" * 50_000 + b"\r\n"
    sent = 0
    while sent < 200 * MEGABYTE and not wire.aborted:
        send(wire, piece)
        sent += len(piece)
    assert sent <= MEGABYTE
    (response,) = responses(wire.value())
    assert response.status == 413
    assert response.headers["Connection"] == "close"
    assert not responder.exchanges
    assert not list(tmp_path.iterdir())


def test_chunks_that_are_mostly_extension_are_refused() -> None:
    wire, responder = ask(
        b"POST /cmp/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    crumb = b"1;" + b"e" * 1000 + b"\r\nx\r\n"
    sent = 0
    while sent < 2 * MEGABYTE and not wire.closing:
        send(wire, crumb)
        sent += len(crumb)
    assert responses(wire.value())[0].status == 413
    assert sent <= MEGABYTE
    assert not responder.exchanges


def test_body_of_exactly_the_limit_is_taken() -> None:
    wire, responder = ask(post(b"x" * 262_144))
    assert responses(wire.value())[0].status == 200
    wire, responder = ask(post(b"x" * 262_145))
    assert responses(wire.value())[0].status == 413
    assert not responder.exchanges


@pytest.mark.requirement("SEC-62")
@pytest.mark.parametrize("prefix", [b"", b"P", b"POST /cmp/x HTTP/1.1\r\nX: "])
def test_octets_that_drip_do_not_extend_the_header_deadline(prefix: bytes) -> None:
    front, clock = http_front(Recorder())
    wire = connect(front)
    send(wire, prefix + b"a")
    for _ in range(9):
        clock.advance(1)
        send(wire, b"a")
    assert not wire.value()
    advance(clock, 2)
    assert responses(wire.value())[0].status == 408
    advance(clock, 3)
    assert wire.aborted


@pytest.mark.requirement("SEC-62")
@pytest.mark.parametrize("chunked", [True, False])
def test_octets_that_drip_do_not_extend_the_body_deadline(chunked: bool) -> None:
    front, clock = http_front(Recorder())
    wire = connect(front)
    how = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 9000"
    send(wire, b"POST /cmp/x HTTP/1.1\r\nHost: a\r\n" + how + b"\r\n\r\n")
    for _ in range(29):
        clock.advance(1)
        send(wire, b"1\r\nx\r\n" if chunked else b"x")
    assert not wire.value()
    advance(clock, 2)
    assert responses(wire.value())[0].status == 408


def test_deadline_holds_for_what_follows_a_request_in_the_same_segment() -> None:
    for rest in (b"", b"POST /cmp/x", b"POST /cmp/x HTTP/1.1\r\nHost: a\r\n"):
        front, clock = http_front(Recorder())
        wire = connect(front)
        send(wire, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + rest)
        advance(clock, 12)
        statuses = [response.status for response in responses(wire.value())]
        assert statuses == ([200, 408] if rest else [200])


def test_idle_connection_is_closed_in_silence() -> None:
    front, clock = http_front(Recorder())
    wire = connect(front)
    send(wire, post())
    wire.clear()
    advance(clock, 59)
    assert not wire.closing
    advance(clock, 2)
    assert wire.closing
    assert not wire.value()


def test_responder_may_take_longer_than_any_deadline() -> None:
    responder = Later()
    front, clock = http_front(responder)
    wire = connect(front)
    send(wire, post())
    advance(clock, 600)
    responder.answer_next()
    assert responses(wire.value())[0].status == 200


@pytest.mark.requirement("FLT-14")
def test_slow_reader_holds_one_answer_at_most_and_is_cut_off_at_60_seconds() -> None:
    reply = Reply(body=b"z" * 10_000)
    front, clock = http_front(Fixed(reply))
    wires = [connect(front, f"192.0.2.{number}") for number in range(100)]
    for wire in wires:
        wire.capacity = 65_536
        for _ in range(50):
            if wire.reading:
                send(wire, post() * 10)
        assert not wire.reading
        assert wire.most_held <= 65_536 + 11_000
    advance(clock, 59)
    assert not any(wire.aborted for wire in wires)
    advance(clock, 3)
    assert all(wire.aborted for wire in wires)


def test_slow_reader_that_takes_its_answer_in_time_gets_the_rest() -> None:
    front, clock = http_front(Fixed(Reply(body=b"z" * 10_000)))
    wire = connect(front)
    wire.capacity = 65_536
    send(wire, post() * 20)
    for _ in range(5):
        advance(clock, 30)
        wire.take_all()
    assert len(responses(wire.value())) == 20
    assert wire.reading


def test_large_answer_gets_time_for_its_size() -> None:
    front, clock = http_front(Fixed(Reply(body=b"z" * (64 * 1024 * 30))))
    wire = connect(front)
    wire.capacity = 65_536
    send(wire, post())
    advance(clock, 89)
    assert not wire.aborted
    advance(clock, 3)
    assert wire.aborted


def test_request_line_over_64_kib_is_414() -> None:
    wire, _ = ask(b"GET /" + b"a" * 70_000)
    assert responses(wire.value())[0].status == 414
    wire, _ = ask(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert responses(wire.value())[0].status == 414


def test_long_request_line_below_the_limit_is_read() -> None:
    line = b"GET /livez?" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    wire, responder = ask(line)
    assert responses(wire.value())[0].status == 200
    assert len(responder.exchanges[0].query) == 60_000


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: a\r\n" % number for number in range(101)),
        b"".join(b"X-%d: %s\r\n" % (number, b"a" * 2000) for number in range(9)),
        b"X: " + b"a" * 70_000 + b"\r\n",
        b"X: " + b"a" * 20_000 + b"\r\n",
    ],
)
def test_headers_over_their_limits_are_431(headers: bytes) -> None:
    wire, responder = ask(b"GET /livez HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
    assert [response.status for response in responses(wire.value())] == [431]
    assert wire.closing
    assert not responder.exchanges


def test_unknown_path_is_a_short_plain_404_and_the_connection_goes_on() -> None:
    wire, _ = ask(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")
    (response,) = responses(wire.value())
    assert (response.status, response.body) == (404, b"not found\n")
    assert response.headers["Content-Type"] == "text/plain"
    send(wire, post())
    assert responses(wire.value())[1].status == 200


def test_unknown_path_with_a_body_is_refused_without_reading_it() -> None:
    wire, _ = ask(post(b"x" * 100, "/nothing"))
    assert [response.status for response in responses(wire.value())] == [404]
    assert wire.closing


@pytest.mark.parametrize(
    ("request_line", "allow"),
    [
        ("GET /cmp/x", "POST, OPTIONS"),
        ("PUT /cmp/x", "POST, OPTIONS"),
        ("HEAD /.well-known/cmp", "POST, OPTIONS"),
        ("post /cmp/x", "POST, OPTIONS"),
        ("POST /livez", "GET, HEAD, OPTIONS"),
        ("DELETE /crls/root.crl", "GET, HEAD, OPTIONS"),
    ],
)
def test_wrong_method_is_405_with_allow(request_line: str, allow: str) -> None:
    wire, responder = ask(f"{request_line} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    head = request_line.startswith("HEAD")
    (response,) = responses(wire.value(), head_only=head)
    assert response.status == 405
    assert response.headers["Allow"] == allow
    assert not responder.exchanges


def test_head_is_a_get_without_the_body() -> None:
    wire, responder = ask(b"HEAD /crls/root.crl HTTP/1.1\r\nHost: a\r\n\r\n")
    (response,) = responses(wire.value(), head_only=True)
    assert response.headers["Content-Length"] == "3"
    assert responder.exchanges[0].method == "GET"
    assert wire.value().endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/cmp/x", "POST, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_options_says_what_is_allowed(target: str, allow: str) -> None:
    wire, responder = ask(f"OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    (response,) = responses(wire.value())
    assert (response.status, response.headers["Allow"]) == (200, allow)
    assert not responder.exchanges


def test_absolute_target_is_taken_for_its_path() -> None:
    wire, responder = ask(
        b"POST http://ca.example:8080/cmp/x HTTP/1.1\r\nHost: a\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert responses(wire.value())[0].status == 200
    assert responder.exchanges[0].alias == "x"


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1"],
)
def test_forwarding_headers_do_not_change_the_peer(header: str) -> None:
    _, responder = ask(post(b"abc", "/cmp/x", "1.1", header))
    assert responder.exchanges[0].peer.address == "192.0.2.7"


def test_first_of_repeated_headers_counts() -> None:
    _, responder = ask(post(b"", "/cmp/x", "1.1", "X-A: one", "X-A: two"))
    assert responder.exchanges[0].headers["x-a"] == "one"


def test_client_that_vanishes_does_not_disturb_the_responder() -> None:
    responder = Later()
    wire = connect(http_front(responder)[0])
    send(wire, post())
    hang_up(wire)
    responder.answer_next()
    assert responder.finished == 1
    assert not wire.value()


def test_failing_responder_is_a_500_that_tells_nothing() -> None:
    logged: list[Any] = []
    globalLogPublisher.addObserver(logged.append)
    try:
        wire, _ = ask(post(), Broken())
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(logged.append)
    (response,) = responses(wire.value())
    assert (response.status, response.body) == (500, b"internal error\n")
    assert b"house" not in wire.value()
    assert any("log_failure" in event for event in logged)
    send(wire, post())
    assert len(responses(wire.value())) == 2


def test_drain_answers_what_is_in_work_and_closes_the_rest() -> None:
    responder = Later()
    front, _ = http_front(responder)
    busy, idle = connect(front), connect(front)
    send(busy, post())
    done: list[None] = []
    front.drain().addCallback(done.append)
    assert idle.closing
    assert not busy.closing
    hang_up(idle)
    responder.answer_next()
    assert responses(busy.value())[0].headers["Connection"] == "close"
    assert busy.closing
    assert not done
    hang_up(busy)
    assert done == [None]
    assert front.buildProtocol(None) is None


def test_drain_of_an_empty_front_is_done_at_once() -> None:
    front, _ = http_front(Recorder())
    done: list[None] = []
    front.drain().addCallback(done.append)
    assert done == [None]


def test_drain_closes_a_slow_reader_when_it_has_taken_its_answer() -> None:
    front, _ = http_front(Fixed(Reply(body=b"z" * 10_000)))
    wire = connect(front)
    wire.capacity = 5_000
    send(wire, post())
    front.drain()
    assert not wire.closing
    wire.take_all()
    assert wire.closing


def test_empty_line_after_a_body_is_not_held_against_an_idle_client() -> None:
    front, clock = http_front(Recorder())
    wire = connect(front)
    send(wire, post() + b"\r\n")
    wire.clear()
    advance(clock, 12)
    assert not wire.value()
    assert wire.closing


def test_no_timer_is_left_when_nobody_is_connected() -> None:
    front, clock = http_front(Recorder())
    wires = [connect(front) for _ in range(3)]
    for wire in wires:
        send(wire, post())
        hang_up(wire)
    assert clock.getDelayedCalls() == []


def test_one_connection_too_many_from_an_address_is_turned_away() -> None:
    front, _ = http_front(Recorder(), limits=Limits(connections_per_address=3))
    wires = [connect(front) for _ in range(3)]
    assert front.buildProtocol(wires[0].getPeer()) is None
    connect(front, "192.0.2.99")
    hang_up(wires[0])
    connect(front)


STREAM = (
    post(b"first")
    + b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
    + b"POST /cmp/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"5\r\nhello\r\n1\r\n\n\r\n0\r\n\r\n"
    + b"\r\n"
    + post(b"\r\n\r\n")
    + b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    + post(b"last", "/cmp/x", "1.0", "Connection: keep-alive")
)


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=30))
def test_answers_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    whole, _ = ask(STREAM)
    wire, _ = ask(b"")
    edges = [0, *sorted(set(cuts)), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        send(wire, STREAM[start:end])
    assert wire.value() == whole.value()
    assert len(responses(wire.value())) == 6


@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_octets_are_answered_or_awaited(noise: bytes, cut: int) -> None:
    request = post(b"abc", "/cmp/x", "1.1", "Transfer-Encoding: chunked")
    for octets in (noise, request[:cut] + noise, request[:cut] + noise + request[cut:]):
        wire, responder = ask(octets)
        responses(wire.value())
        assert not wire.aborted
        assert len(responder.exchanges) <= 1
