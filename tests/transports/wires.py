"""Connections in memory: a wire to a protocol, and responders that remember."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pkid.responders.base import Exchange, Reply
from pkid.transports.connections import Listener
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission, Limits
from pkid.transports.site import (
    OPERATIONS_ROUTES,
    STATUS_ROUTES,
    Site,
    cmp_routes,
)

NOW = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


class Wire(StringTransport):
    """A TCP transport in memory that can half-close, abort and be full."""

    def __init__(self, host: str = "192.0.2.7") -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 40000))
        self.half_closed = False
        self.aborted = False
        self.most_held = 0
        self.capacity: int | None = None
        self.held = 0
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        super().write(data)
        self._hold(len(data))

    def writeSequence(self, data: Any) -> None:
        for piece in data:
            self.write(piece)

    def _hold(self, octets: int) -> None:
        if self.capacity is None:
            return
        self.held += octets
        self.most_held = max(self.most_held, self.held)
        if self.held > self.capacity and self.producer is not None:
            self.producer.pauseProducing()

    def take_all(self) -> None:
        """Let the peer read everything that was written."""
        self.held = 0
        if self.producer is not None:
            self.producer.resumeProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        assert enabled

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        if not self.aborted:
            self.aborted = self.disconnecting = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closing(self) -> bool:
        return self.disconnecting or self.half_closed or self.aborted

    @property
    def reading(self) -> bool:
        return self.producerState == "producing"


def connect(factory: Factory[Any], host: str = "192.0.2.7") -> Wire:
    """Connect a client to a factory."""
    wire = Wire(host)
    protocol = factory.buildProtocol(IPv4Address("TCP", host, 40000))
    assert protocol is not None
    wire.protocol = protocol
    protocol.makeConnection(wire)
    return wire


def send(wire: Wire, data: bytes, pieces: int = 65536) -> None:
    """Deliver octets as the reactor would: no more than a read, only if reading."""
    for start in range(0, len(data), pieces):
        if wire.aborted or wire.disconnecting:
            return
        wire.protocol.dataReceived(data[start : start + pieces])


def hang_up(wire: Wire) -> None:
    """Close from the client's side."""
    wire.protocol.connectionLost(Failure(ConnectionDone()))


class Recorder:
    """Answers with what came, at once, and remembers every exchange."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.headers: tuple[tuple[str, str], ...] = ()

    async def respond(self, exchange: Exchange) -> Reply:
        self.exchanges.append(exchange)
        return Reply(
            body=b"re:" + exchange.body,
            content_type="application/pkixcmp",
            headers=self.headers,
        )


class Later(Recorder):
    """Answers when told; ``waiting`` holds one Deferred for each request."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[None]] = []
        self.finished = 0

    async def respond(self, exchange: Exchange) -> Reply:
        release: Deferred[None] = Deferred()
        self.waiting.append(release)
        await release
        self.finished += 1
        return await super().respond(exchange)

    def answer_next(self) -> None:
        self.waiting.pop(0).callback(None)


class Broken:
    """Raises, with something in the text that nobody may see."""

    async def respond(self, exchange: Exchange) -> Reply:
        raise RuntimeError("the inside of the house")


def http_front(
    responder: Any, *, limits: Limits | None = None, clock: Clock | None = None
) -> tuple[HTTPFront, Clock]:
    """Make a front whose every route leads to ``responder``."""
    clock = clock or Clock()
    admission = Admission(clock, limits or Limits(), has_room=lambda _: True)
    routes = (*cmp_routes(), *STATUS_ROUTES, *OPERATIONS_ROUTES)
    keys = ("cmp", "status", "operations")
    site = Site(dict.fromkeys(keys, responder), routes)
    front = HTTPFront(
        site,
        now=lambda: NOW,
        admission=admission,
        listener=Listener(name="web", beyond_loopback=True),
    )
    return front, clock


def post(
    body: bytes = b"abc", path: str = "/cmp/x", version: str = "1.1", *headers: str
) -> bytes:
    """Write a POST request."""
    lines = [
        f"POST {path} HTTP/{version}",
        "Host: ca.example",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")


class Response:
    """One parsed response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def responses(octets: bytes, *, head_only: bool = False) -> list[Response]:
    """Cut what a server wrote into responses, by their Content-Length."""
    found = []
    while octets:
        match = _STATUS.match(octets)
        assert match, octets[:80]
        end = octets.index(b"\r\n\r\n")
        lines = octets[match.end() : end].decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines if line]
        headers = dict(pairs)
        assert len(headers) == len(pairs), "a header came twice"
        octets = octets[end + 4 :]
        length = 0 if head_only else int(headers.get("Content-Length", "0"))
        found.append(Response(int(match[1]), headers, octets[:length]))
        octets = octets[length:]
    return found
