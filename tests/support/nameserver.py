"""A name server in a process of its own: everything below ``pkid.test`` is this host.

    python -m tests.support.nameserver DIRECTORY

prints the port it listens on. TXT records of a name are the lines of the file of that
name, so that hooks of clients can write them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.names import common, dns, server

ADDRESS = "127.0.0.1"
ZONE = "pkid.test"


class Zone(common.ResolverBase):
    """Answers for all names of the zone."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object) -> Any:  # noqa: A002
        text = name.decode("ascii").lower()
        if text != ZONE and not text.endswith(f".{ZONE}"):
            return defer.fail(dns.DomainError(name))
        payloads: list[Any] = []
        if type == dns.A:
            payloads.append(dns.Record_A(ADDRESS, ttl=0))
        if type == dns.TXT:
            payloads += [dns.Record_TXT(line, ttl=0) for line in self._texts(text)]
        answers = [dns.RRHeader(name, type, payload=one, ttl=0) for one in payloads]
        return defer.succeed((answers, [], []))

    def _texts(self, name: str) -> list[bytes]:
        path = self._folder / name
        return path.read_bytes().split() if path.is_file() else []


def main(folder: Path) -> None:
    loop: Any = reactor
    factory = server.DNSServerFactory(clients=[Zone(folder)])
    port = loop.listenUDP(0, dns.DNSDatagramProtocol(factory), interface=ADDRESS)
    loop.listenTCP(port.getHost().port, factory, interface=ADDRESS)
    sys.stdout.write(f"{port.getHost().port}\n")
    sys.stdout.flush()
    loop.run()


@dataclass(frozen=True, slots=True)
class NameServer:
    """The process, from the test's side."""

    folder: Path
    port: int


@contextmanager
def name_server(folder: Path) -> Iterator[NameServer]:
    """A name server while a test runs."""
    folder.mkdir(exist_ok=True)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.nameserver", str(folder)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield NameServer(folder, int(process.stdout.readline()))
        finally:
            process.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
