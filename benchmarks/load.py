"""A load client that costs little: one thread, one epoll, messages made beforehand.

A flow is a generator that yields what to send and is sent what came back, so that one
of two messages (ir, certConf) looks like one of a single message. As many flows as
asked for run at once, each on a connection of its own or on a kept one.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

Address = tuple[str, int]
Flow = Generator[bytes, bytes, None]
DEADLINE_SECONDS = 60.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class HTTPCarrier:
    """CMP over HTTP/1.1.

    :ivar keep: one connection for many transactions; else one for each.
    """

    path: str
    keep: bool

    def wrap(self, message: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n"
            "Content-Type: application/pkixcmp\r\n"
            f"Content-Length: {len(message)}\r\n\r\n"
        )
        return head.encode("ascii") + message

    def cut(self, buffer: bytearray) -> bytes | None:
        end = buffer.find(_HEAD_END)
        if end < 0:
            return None
        head = bytes(buffer[:end]).lower()
        if b" 200 " not in head[:16]:
            raise LoadError(f"answered {head[:60]!r}")
        start = head.index(_LENGTH) + len(_LENGTH)
        whole = end + 4 + int(head[start:].split(b"\r\n", 1)[0])
        if len(buffer) < whole:
            return None
        body = bytes(buffer[end + 4 : whole])
        del buffer[:whole]
        return body


@dataclass(frozen=True, slots=True)
class TCPCarrier:
    """CMP over raw TCP in the framing of RFC 2510."""

    keep: bool

    def wrap(self, message: bytes) -> bytes:
        return (len(message) + 1).to_bytes(4, "big") + b"\x00" + message

    def cut(self, buffer: bytearray) -> bytes | None:
        if len(buffer) < 5:
            return None
        whole = 4 + int.from_bytes(buffer[:4], "big")
        if len(buffer) < whole:
            return None
        if buffer[4] != 5:
            raise LoadError(f"a record of type {buffer[4]}")
        body = bytes(buffer[5:whole])
        del buffer[:whole]
        return body


Carrier = HTTPCarrier | TCPCarrier


class LoadError(Exception):
    """The server did not play along."""


@dataclass(slots=True)
class _Lane:
    """One of the flows that run at once, and its connection."""

    carrier: Carrier
    address: Address
    socket: socket.socket | None = None
    flow: Flow | None = None
    buffer: bytearray = field(default_factory=bytearray)
    begun: float = 0.0

    def connect(self, epoll: select.epoll, lanes: dict[int, _Lane]) -> None:
        made = socket.socket()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(0)
        if made.connect_ex(self.address) not in {0, errno.EINPROGRESS}:
            raise LoadError(f"cannot connect to {self.address}")
        self.socket = made
        self.buffer.clear()
        lanes[made.fileno()] = self
        epoll.register(made, select.EPOLLIN | select.EPOLLOUT)

    def drop(self, epoll: select.epoll, lanes: dict[int, _Lane]) -> None:
        if self.socket is not None:
            epoll.unregister(self.socket)
            del lanes[self.socket.fileno()]
            self.socket.close()
            self.socket = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run showed.

    :ivar seconds: from the first message to the last answer.
    :ivar latencies: seconds of each flow, sorted.
    """

    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        place = min(len(self.latencies) - 1, int(len(self.latencies) * share))
        return self.latencies[place]


class Load:
    """Runs flows against one server."""

    def __init__(self, address: Address, carrier: Carrier, lanes: int) -> None:
        self._lanes = [_Lane(carrier, address) for _ in range(lanes)]
        self._carrier = carrier
        self._by_fileno: dict[int, _Lane] = {}
        self._epoll = select.epoll()
        self._flows: Iterator[Flow] = iter(())
        self._latencies: list[float] = []
        self._running = 0

    def run(self, flows: Iterable[Flow]) -> Outcome:
        """Run all flows.

        :raises LoadError: when a server closes early, refuses, or is silent too long.
        """
        self._flows = iter(flows)
        begin = time.perf_counter()
        for lane in self._lanes:
            self._next_flow(lane)
        quiet = 0.0
        while self._running:
            events = self._epoll.poll(1.0)
            quiet = 0.0 if events else quiet + 1.0
            if quiet > DEADLINE_SECONDS:
                raise LoadError("the server is silent")
            for fileno, event in events:
                self._turn(self._by_fileno[fileno], event)
        seconds = time.perf_counter() - begin
        for lane in self._lanes:
            lane.drop(self._epoll, self._by_fileno)
        self._epoll.close()
        return Outcome(seconds, tuple(sorted(self._latencies)))

    def _next_flow(self, lane: _Lane) -> None:
        lane.flow = next(self._flows, None)
        if lane.flow is None:
            return
        self._running += 1
        lane.begun = time.perf_counter()
        octets = self._carrier.wrap(next(lane.flow))
        if lane.socket is None:
            lane.connect(self._epoll, self._by_fileno)
            # Sent when the connection stands; kept in front of what is received.
            lane.buffer += octets
        else:
            lane.socket.sendall(octets)

    def _turn(self, lane: _Lane, event: int) -> None:
        assert lane.socket is not None
        if event & select.EPOLLOUT:
            # A request is smaller than any socket buffer: it goes at once.
            lane.socket.sendall(lane.buffer)
            lane.buffer.clear()
            self._epoll.modify(lane.socket, select.EPOLLIN)
            return
        octets = lane.socket.recv(65536)
        if not octets:
            self._closed(lane)
            return
        lane.buffer += octets
        body = self._carrier.cut(lane.buffer)
        if body is not None:
            self._answered(lane, body)

    def _closed(self, lane: _Lane) -> None:
        lane.drop(self._epoll, self._by_fileno)
        if lane.flow is not None:
            raise LoadError("the server closed instead of answering")

    def _answered(self, lane: _Lane, body: bytes) -> None:
        assert lane.flow is not None
        assert lane.socket is not None
        try:
            message = lane.flow.send(body)
        except StopIteration:
            self._latencies.append(time.perf_counter() - lane.begun)
            self._running -= 1
            if not self._carrier.keep:
                lane.drop(self._epoll, self._by_fileno)
            self._next_flow(lane)
        else:
            lane.socket.sendall(self._carrier.wrap(message))


def single(message: bytes, check: Callable[[bytes], None]) -> Flow:
    """A flow of one message."""
    check((yield message))
