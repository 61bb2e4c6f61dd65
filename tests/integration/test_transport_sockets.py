"""The listeners on real sockets of the loopback interface."""

from __future__ import annotations

import http.client
import socket
import ssl
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from pkid.messages.cmp.framing import Framing, encode_request, encode_response
from pkid.responders.base import Exchange, Reply
from pkid.transports.cmptcp import CMPTCPFactory
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission, Limits
from pkid.transports.site import Site, cmp_routes
from pkid.transports.tls import TLSContext, TLSListenerFactory
from tests.transports.tlsclient import make

MEGABYTE = 1_000_000
MESSAGE = b"\x30\x82\x01\x00" + b"m" * 256


class Echo:
    """Answers with what came, or with as much as it is told."""

    size = 0
    seen = 0

    async def respond(self, exchange: Exchange) -> Reply:
        self.seen += 1
        body = b"z" * self.size or exchange.body
        return Reply(body=body, content_type="application/pkixcmp")


class TransportSocketTests(TestCase):
    """Each client runs in a thread, as slow or as rude as it likes."""

    timeout = 60

    def setUp(self) -> None:
        # Times of the configuration, shortened so that they pass here.
        limits = Limits(write_seconds=2, write_rate=16 * MEGABYTE, linger_seconds=1)
        self.admission = Admission(reactor, limits)
        self.echo = Echo()
        site = Site({"cmp": self.echo}, cmp_routes())
        self.http = HTTPFront(
            site, now=lambda: datetime.now(UTC), admission=self.admission
        )
        self.tcp = CMPTCPFactory(
            self.echo, alias="x", admission=self.admission, http=self.http
        )
        self.files = Path(tempfile.mkdtemp())

    def tearDown(self) -> Deferred[Any]:
        self.files.rmdir()
        return gatherResults([self.http.drain(), self.tcp.drain()])

    def listen(self, factory: Any) -> int:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.admission.guard(port)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    @pytest.mark.requirement("SEC-61")
    async def test_200_megabytes_are_refused_and_the_client_reads_why(self) -> None:
        port = self.listen(self.http)
        self.patch(tempfile, "tempdir", str(self.files))
        for head, piece in (
            (b"Content-Length: 200000000", b"x" * 50_000),
            (b"Transfer-Encoding: chunked", b"c350\r\n" + b"x" * 50_000 + b"\r\n"),
        ):
            sent, answer = await deferToThread(_pour, port, head, piece)
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert answer.endswith(b"\r\n\r\nrequest body too large\n")
            # What the kernel's buffers swallow is not read by us.
            assert sent < 20 * MEGABYTE
        assert not list(self.files.iterdir())

    async def test_standard_client_keeps_its_connection(self) -> None:
        port = self.listen(self.http)
        assert await deferToThread(_post_twice, port) == [MESSAGE, MESSAGE]

    async def test_standard_client_inside_tls(self) -> None:
        made = make("localhost", make("root"))
        context = TLSContext(made.credentials)
        port = self.listen(TLSListenerFactory(context, self.http, reactor))
        pem = made.above[0].public_bytes(Encoding.PEM).decode()
        trust = ssl.create_default_context(cadata=pem)
        assert await deferToThread(_post_twice, port, trust) == [MESSAGE, MESSAGE]

    async def test_records_and_http_share_the_tcp_port(self) -> None:
        port = self.listen(self.tcp)
        for framing in (Framing.RFC2510, Framing.TCP_DRAFT, Framing.BARE):
            request = encode_request(framing, MESSAGE, close=True)
            answer = encode_response(framing, MESSAGE, close=True)
            got = await deferToThread(_exchange, port, request, len(answer))
            assert got == answer
        assert await deferToThread(_post_twice, port) == [MESSAGE, MESSAGE]

    async def test_close_bit_closes_the_socket_after_the_answer(self) -> None:
        port = self.listen(self.tcp)
        request = encode_request(Framing.TCP_DRAFT, MESSAGE, close=True)
        answer = await deferToThread(_until_closed, port, request)
        assert answer == encode_response(Framing.TCP_DRAFT, MESSAGE, close=True)

    async def test_broken_record_is_answered_before_the_socket_closes(self) -> None:
        port = self.listen(self.tcp)
        broken = b"\x7f\xff\xff\xff\x00" + b"x" * 200_000
        answer = await deferToThread(_until_closed, port, broken)
        assert answer[4] == 6

    @pytest.mark.requirement("FLT-14")
    async def test_slow_readers_are_cut_off_and_others_are_served(self) -> None:
        self.echo.size = 16 * MEGABYTE
        port = self.listen(self.http)
        slow = [_slow_client(port) for _ in range(20)]
        begin = time.monotonic()
        try:
            while self.echo.seen < len(slow) and time.monotonic() - begin < 20:
                await _sleep(0.1)
            self.echo.size = 0
            assert len(await deferToThread(_post_twice, port)) == 2
            begin = time.monotonic()
            while self.admission.connections > 0 and time.monotonic() - begin < 20:
                await _sleep(0.2)
            assert self.admission.connections == 0
        finally:
            for one in slow:
                one.close()


def _sleep(seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    reactor.callLater(seconds, done.callback, None)
    return done


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 20)


def _pour(port: int, head: bytes, piece: bytes) -> tuple[int, bytes]:
    sent = 0
    with _connect(port) as one:
        one.sendall(b"POST /cmp/x HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
        try:
            while sent < 200 * MEGABYTE:
                sent += one.send(piece)
                one.setblocking(False)
                try:
                    answer = one.recv(65536)
                except BlockingIOError:
                    answer = b""
                one.settimeout(20)
                if answer:
                    return sent, answer
        except OSError:
            pass
        return sent, one.recv(65536)


def _post_twice(port: int, trust: ssl.SSLContext | None = None) -> list[bytes]:
    client: http.client.HTTPConnection
    if trust is None:
        client = http.client.HTTPConnection("localhost", port, timeout=20)
    else:
        client = http.client.HTTPSConnection(
            "localhost", port, timeout=20, context=trust
        )
    bodies, sockets = [], set()
    for _ in range(2):
        client.request("POST", "/cmp/x", MESSAGE)
        sockets.add(client.sock)
        bodies.append(client.getresponse().read())
    client.close()
    assert len(sockets) == 1
    return bodies


def _exchange(port: int, request: bytes, length: int) -> bytes:
    with _connect(port) as one:
        one.sendall(request)
        received = b""
        while len(received) < length and (piece := one.recv(65536)):
            received += piece
        return received


def _until_closed(port: int, request: bytes) -> bytes:
    received = b""
    with _connect(port) as one:
        one.sendall(request)
        while piece := one.recv(65536):
            received += piece
    return received


def _slow_client(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(20)
    one.connect(("127.0.0.1", port))
    one.sendall(b"POST /cmp/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    return one
