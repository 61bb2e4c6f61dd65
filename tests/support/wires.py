"""Carries recorded or made CMP messages to a server: HTTP, and raw TCP by octets.

Blocking sockets with deadlines, loopback only. Nothing here reads what it carries.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from pkid.messages.cmp.framing import (
    Framing,
    Record,
    RecordReader,
    RecordType,
    encode_request,
)

Address = tuple[str, int]
DEADLINE_SECONDS = 30.0
DEFAULT_PATH = "/.well-known/cmp/p/default"
CMP_TYPE = "application/pkixcmp"


@dataclass(frozen=True, slots=True)
class HTTPAnswer:
    """Status, headers (names in small letters) and body."""

    status: int
    headers: dict[str, str]
    body: bytes


class HTTPWire:
    """One kept HTTP/1.1 connection.

    :param path: where messages are posted.
    """

    def __init__(
        self,
        address: Address,
        path: str = DEFAULT_PATH,
        timeout: float = DEADLINE_SECONDS,
    ) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=timeout)
        self._path = path

    def post(self, octets: bytes, content_type: str = CMP_TYPE) -> HTTPAnswer:
        """Post a body and wait for the answer."""
        headers = {"Content-Type": content_type}
        self._connection.request("POST", self._path, octets, headers)
        return self._answer()

    def get(self, path: str) -> HTTPAnswer:
        """Fetch something."""
        self._connection.request("GET", path)
        return self._answer()

    def exchange(self, message: bytes) -> bytes:
        """Carry a message; its answer, which must come with status 200."""
        answer = self.post(message)
        assert answer.status == 200, answer
        assert answer.headers["content-type"] == CMP_TYPE
        return answer.body

    def _answer(self) -> HTTPAnswer:
        response = self._connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return HTTPAnswer(response.status, headers, response.read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class TCPWire:
    """One raw TCP connection."""

    def __init__(self, address: Address, timeout: float = DEADLINE_SECONDS) -> None:
        self._socket = socket.create_connection(address, timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = RecordReader()
        self._records: list[Record] = []
        self.ended = False

    def send(self, octets: bytes) -> None:
        """Send octets in as few segments as the kernel makes of them."""
        self._socket.sendall(octets)

    def send_pieces(self, pieces: Iterable[bytes]) -> None:
        """Send each piece in a segment of its own (Nagle is off)."""
        for piece in pieces:
            self._socket.sendall(piece)

    def receive(self) -> Record | None:
        """The next record; None when the server closed in an orderly way.

        :raises TimeoutError: when nothing comes within the deadline.
        """
        while not self._records and not self.ended:
            octets = self._socket.recv(65536)
            if not octets:
                self.ended = True
            for event in self._reader.feed(octets):
                assert isinstance(event, Record), event
                self._records.append(event)
        return self._records.pop(0) if self._records else None

    def receive_rest(self) -> bytes:
        """Everything until the server closes, as it came."""
        pieces: list[bytes] = []
        with contextlib.suppress(ConnectionResetError):
            while piece := self._socket.recv(65536):
                pieces.append(piece)
        self.ended = True
        return b"".join(pieces)

    def exchange(self, message: bytes, framing: Framing = Framing.RFC2510) -> bytes:
        """Carry a message; the message that is its answer."""
        self.send(encode_request(framing, message))
        record = self.receive()
        assert record is not None, "the server closed instead of answering"
        assert record.framing is framing, record
        assert record.carries_message, record
        if framing is not Framing.BARE:
            assert record.type is RecordType.PKI_REP
        return record.value

    def finish_sending(self) -> None:
        """Half-close: no more will come from us."""
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def every_cut(octets: bytes, step: int = 1) -> Iterator[tuple[bytes, bytes]]:
    """All ways to cut octets in two; every ``step``-th of them."""
    for place in range(1, len(octets), step):
        yield octets[:place], octets[place:]


def single_octets(octets: bytes) -> Sequence[bytes]:
    """Octets one by one."""
    return [octets[place : place + 1] for place in range(len(octets))]
