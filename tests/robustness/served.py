"""Clients of `tests.robustness.transport_server`."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pkid.messages.cmp.framing import Framing, encode_request, encode_response

ROOT = Path(__file__).parents[2]
MESSAGE = b"\x30\x82\x02\x61" + b"m" * 609
RECORD = encode_request(Framing.RFC2510, MESSAGE)
ANSWER = encode_response(Framing.RFC2510, MESSAGE)


@dataclass
class Served:
    """A running server and the sockets of its clients."""

    process: subprocess.Popen[bytes]
    ports: dict[str, int]
    log: Path
    sockets: list[socket.socket] = field(default_factory=list)

    def connect(self, name: str = "tcp") -> socket.socket:
        """Connect one client, which stays until the end."""
        connection = socket.create_connection(("127.0.0.1", self.ports[name]), 10)
        self.sockets.append(connection)
        return connection

    def resident_kib(self) -> int:
        """Give the server's resident memory."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1])

    def enrols(self, name: str = "tcp") -> bool:
        """Ask once over a new connection."""
        with socket.create_connection(("127.0.0.1", self.ports[name]), 10) as one:
            return asks(one)


def asks(connection: socket.socket) -> bool:
    """Ask once; say whether the right answer came within ten seconds."""
    connection.settimeout(10)
    connection.sendall(RECORD)
    received = b""
    while len(received) < len(ANSWER):
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return received == ANSWER


def descriptors_allowed() -> int:
    """Raise this process's limit of descriptors as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextlib.contextmanager
def served(folder: Path, **options: Any) -> Iterator[Served]:
    """Run a server for the length of a block."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "tests.robustness.transport_server"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
        )
    server = None
    try:
        assert process.stdout is not None
        server = Served(process, json.loads(process.stdout.readline()), log)
        yield server
    finally:
        for connection in server.sockets if server else ():
            connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=10)
        process.kill()
        process.wait()
