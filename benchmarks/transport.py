"""What one request costs the transports: CPU of the server, per request.

Each server runs in a child process with a responder that does nothing; the client
here sends 613 octets and reads 700, over connections that stay open. Stock
twisted.web stands beside ours as the yardstick, in interleaved rounds.

    python -m benchmarks.transport [--requests N] [--rounds N] [--connections N]
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory

REQUEST = b"\x30\x82\x02\x61" + b"q" * 609
ANSWER = b"\x30\x82\x02\xb8" + b"a" * 696
HTTP_REQUEST = (
    b"POST /cmp/bench HTTP/1.1\r\nHost: localhost:8080\r\n"
    b"User-Agent: benchmark\r\nAccept: */*\r\nContent-Type: application/pkixcmp\r\n"
    b"Content-Length: %d\r\n\r\n" % len(REQUEST)
) + REQUEST
RECORD = (len(REQUEST) + 1).to_bytes(4, "big") + b"\x00" + REQUEST
KINDS = {"http": HTTP_REQUEST, "tcp": RECORD, "twisted.web": HTTP_REQUEST}
GATES = {"http": 45.0, "tcp": 15.0}


def factory(kind: str, reactor: IReactorTime) -> Factory[Any]:
    """Make the server factory of one kind."""
    if kind == "twisted.web":
        return _stock_site(reactor)
    from pkid.responders.base import Exchange, Reply
    from pkid.transports.cmptcp import CMPTCPFactory
    from pkid.transports.http import HTTPFront
    from pkid.transports.limits import Admission, Limits
    from pkid.transports.site import Site, cmp_routes

    class Nothing:
        async def respond(self, _exchange: Exchange) -> Reply:
            return Reply(body=ANSWER, content_type="application/pkixcmp")

    admission = Admission(reactor, Limits())
    if kind == "tcp":
        return CMPTCPFactory(Nothing(), alias="bench", admission=admission)
    site = Site({"cmp": Nothing()}, cmp_routes())
    return HTTPFront(site, now=lambda: datetime.now(UTC), admission=admission)


def _stock_site(reactor: IReactorTime) -> Factory[Any]:
    from twisted.web.resource import Resource
    from twisted.web.server import Request, Site

    class Nothing(Resource):
        isLeaf = True  # noqa: N815

        def render_POST(self, request: Request) -> bytes:  # noqa: N802
            request.content.read()
            request.setHeader(b"Content-Type", b"application/pkixcmp")
            return ANSWER

    site = Site(Nothing(), reactor=reactor)
    site.log = lambda _request: None
    return site


def serve(kind: str) -> None:
    """Serve until the parent closes our standard input; tell CPU time when asked."""
    from twisted.internet import reactor, stdio
    from twisted.protocols.basic import LineReceiver

    reactor.seconds = time.monotonic
    port = reactor.listenTCP(0, factory(kind, reactor), interface="127.0.0.1")

    class Orders(LineReceiver):
        delimiter = b"\n"

        def connectionMade(self) -> None:  # noqa: N802
            self.tell({"port": port.getHost().port})

        def lineReceived(self, _line: bytes) -> None:  # noqa: N802
            used = resource.getrusage(resource.RUSAGE_SELF)
            self.tell({"cpu": used.ru_utime + used.ru_stime})

        def tell(self, fact: dict[str, float]) -> None:
            self.sendLine(json.dumps(fact).encode())

        def connectionLost(self, _reason: object = None) -> None:  # noqa: N802
            reactor.stop()

    stdio.StandardIO(Orders())
    reactor.run()


class Server:
    """A server in a child process, and connections to it."""

    def __init__(self, kind: str, connections: int) -> None:
        self.request = KINDS[kind]
        command = [sys.executable, "-m", "benchmarks.transport", "--serve", kind]
        self.process = subprocess.Popen(  # noqa: S603 # ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        port = int(self._line()["port"])
        self.sockets = [
            socket.create_connection(("127.0.0.1", port)) for _ in range(connections)
        ]
        self.answer_length = self._first_answer()

    def _line(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line: dict[str, float] = json.loads(self.process.stdout.readline())
        return line

    def _first_answer(self) -> int:
        self.sockets[0].sendall(self.request)
        received = b""
        while not received.endswith(ANSWER):
            received += self.sockets[0].recv(65536)
        return len(received)

    def cpu(self) -> float:
        """Give the CPU seconds that the server has used."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"cpu\n")
        self.process.stdin.flush()
        return self._line()["cpu"]

    def measure(self, requests: int) -> float:
        """Give microseconds of the server's CPU per request."""
        turns = requests // len(self.sockets)
        before = self.cpu()
        for _ in range(turns):
            for connection in self.sockets:
                connection.sendall(self.request)
            for connection in self.sockets:
                self._read(connection)
        return (self.cpu() - before) * 1e6 / (turns * len(self.sockets))

    def _read(self, connection: socket.socket) -> None:
        missing = self.answer_length
        while missing:
            piece = connection.recv(missing)
            if not piece:
                raise ConnectionError("the server closed the connection")
            missing -= len(piece)

    def stop(self) -> None:
        """End the server."""
        for connection in self.sockets:
            connection.close()
        self.process.communicate()


def run(*, requests: int, rounds: int, connections: int) -> dict[str, float]:
    """Measure all kinds in interleaved rounds; give the medians."""
    servers = {kind: Server(kind, connections) for kind in KINDS}
    figures: dict[str, list[float]] = {kind: [] for kind in KINDS}
    try:
        for server in servers.values():
            server.measure(max(connections, requests // 10))
        for _ in range(rounds):
            for kind, server in servers.items():
                figures[kind].append(server.measure(requests))
    finally:
        for server in servers.values():
            server.stop()
    return {kind: statistics.median(values) for kind, values in figures.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", choices=KINDS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    medians = run(
        requests=options.requests,
        rounds=options.rounds,
        connections=options.connections,
    )
    stock = medians["twisted.web"]
    print(f"{'server':<12} {'us/request':>10} {'of stock':>9} {'target':>7}")
    for kind, figure in medians.items():
        target = f"{GATES[kind]:.0f}" if kind in GATES else ""
        print(f"{kind:<12} {figure:>10.1f} {figure / stock:>9.2f} {target:>7}")


if __name__ == "__main__":
    main()
