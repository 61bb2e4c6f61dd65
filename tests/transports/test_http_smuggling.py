"""Requests whose end two readers could see at different places: none gets through."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from twisted.web import http

from tests.transports.wires import Recorder, connect, http_front, responses, send

POST = b"POST /cmp/x HTTP/1.1\r\nHost: a\r\n"
HIDDEN = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

SMUGGLED = [
    # Two lengths, or a length that is none (RFC 9112 section 6.3).
    POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    POST + b"Content-Length: 0\r\nContent-Length: 33\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 33\r\ncontent-length: 0\r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 3, 3\r\n\r\nabc",
    POST + b"Content-Length: 3,0\r\n\r\nabc",
    POST + b"Content-Length: +3\r\n\r\nabc",
    POST + b"Content-Length: -3\r\n\r\nabc",
    POST + b"Content-Length: 0x3\r\n\r\nabc",
    POST + b"Content-Length: 3.0\r\n\r\nabc",
    POST + b"Content-Length: 3e0\r\n\r\nabc",
    POST + b"Content-Length: 1_0\r\n\r\n" + b"a" * 10,
    POST + b"Content-Length: \r\n\r\n" + HIDDEN,
    POST + b"Content-Length: 3 4\r\n\r\nabc",
    POST + b'Content-Length: "3"\r\n\r\nabc',
    POST + b"Content-Length: \xb3\r\n\r\nabc",
    POST + b"Content-Length: \xd9\xa3\r\n\r\nabc",
    POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    POST + b"Content-Length: 3\x0b\r\n\r\nabc",
    POST + b"Content-Length: 3\x00\r\n\r\nabc",
    # A length and chunks (section 6.1).
    POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + HIDDEN,
    POST + b"Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
    # A transfer coding that somebody might not see.
    POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    POST + b"Transfer-Encoding:\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    POST + b" Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    POST + b"X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST + b"X: \x00y\r\n\r\n",
    POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    # Lines that end in another way (section 2.2).
    b"GET /livez HTTP/1.1\nHost: a\n\n",
    b"GET /livez HTTP/1.1\nHost: a\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: a\n\r\n\r\n",
    b"\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/1.1\r\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    # Header names and hosts.
    POST + b"Content-Length\r\n\r\n",
    POST + b": 3\r\n\r\nabc",
    POST + b"Content Length: 3\r\n\r\nabc",
    POST + b"Content-Length\x00: 3\r\n\r\nabc",
    POST + b"Content-Length\xa0: 3\r\n\r\nabc",
    POST + b"Host: b\r\nContent-Length: 0\r\n\r\n",
    b"POST /cmp/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    # Request lines.
    b"GET  /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\t/livez\tHTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/1.1 \r\nHost: a\r\n\r\n",
    b" GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/0.9\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET /livez http/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/1.1.1\r\nHost: a\r\n\r\n",
    b"GET /live\xffz HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez#x HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /li\x01vez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"G\x00ET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    # Chunks (section 7.1).
    CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3_0\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b" 3\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"g\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    CHUNKED + b"3\r\nabc0\r\n\r\n",
    CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    CHUNKED + b"3;\x00\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    CHUNKED + b"3" * 2000,
]


@pytest.mark.requirement("SEC-60")
@pytest.mark.parametrize("octets", SMUGGLED)
def test_smuggled_request_is_400_and_the_connection_is_closed(octets: bytes) -> None:
    responder = Recorder()
    wire = connect(http_front(responder)[0])
    send(wire, octets)
    (response,) = responses(wire.value())
    assert response.status == 400
    assert response.headers["Connection"] == "close"
    assert wire.closing
    assert not responder.exchanges
    send(wire, HIDDEN)
    assert len(responses(wire.value())) == 1
    assert not responder.exchanges


@pytest.mark.requirement("SEC-60")
@pytest.mark.parametrize("octets", SMUGGLED)
def test_smuggled_request_behind_a_good_one_is_refused_as_well(octets: bytes) -> None:
    responder = Recorder()
    wire = connect(http_front(responder)[0])
    good = b"POST /cmp/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz"
    for octet in good + octets:
        send(wire, bytes([octet]))
    statuses = [response.status for response in responses(wire.value())]
    assert statuses == [200, 400]
    assert len(responder.exchanges) == 1


class Seen(http.Request):
    """A request of Twisted's own channel, which is the second opinion."""

    bodies: list[bytes]

    def gotLength(self, length: int | None) -> None:
        self.content = io.BytesIO()

    def process(self) -> None:
        self.bodies.append(self.content.read())
        self.setHeader(b"Content-Length", b"0")
        self.finish()


def seen_by_twisted(octets: bytes) -> list[bytes]:
    channel = http.HTTPChannel()
    bodies: list[bytes] = []
    channel.requestFactory = type("Seen", (Seen,), {"bodies": bodies})
    channel.timeOut = None
    channel.makeConnection(StringTransport())
    channel.dataReceived(octets)
    return bodies


def seen_here(octets: bytes) -> list[bytes]:
    responder = Recorder()
    wire = connect(http_front(responder)[0])
    send(wire, octets, pieces=1 << 20)
    return [exchange.body for exchange in responder.exchanges]


GOOD = (
    POST
    + b"Content-Length: 5\r\nX-A: b\r\n\r\nfirst"
    + CHUNKED
    + b"6;x=y\r\nsecond\r\n0\r\n\r\n"
    + POST
    + b"Content-Length: 5\r\n\r\nthird"
)


@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)),
            st.integers(0, 3),
            st.sampled_from([b"", b" ", b"\n", b"\r", b"\r\n", b"\x00", b",", b"0"])
            | st.binary(max_size=2),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_no_request_is_read_here_that_twisted_reads_in_another_way(
    edits: list[tuple[int, int, bytes]],
) -> None:
    octets = GOOD
    for start, removed, inserted in edits:
        octets = octets[:start] + inserted + octets[start + removed :]
    rest = iter(seen_by_twisted(octets))
    assert all(body in rest for body in seen_here(octets))


def test_both_read_good_requests_alike() -> None:
    assert seen_here(GOOD) == seen_by_twisted(GOOD) == [b"first", b"second", b"third"]


@pytest.mark.parametrize("octets", SMUGGLED)
def test_smuggled_request_behind_one_without_a_body_is_refused(octets: bytes) -> None:
    responder = Recorder()
    wire = connect(http_front(responder)[0])
    send(wire, HIDDEN + octets)
    statuses = [response.status for response in responses(wire.value())]
    assert statuses == [200, 400]
    assert len(responder.exchanges) == 1
