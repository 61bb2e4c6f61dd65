"""CMP toward another server: one message out, one answer back, over HTTP or raw TCP.

A connection serves one exchange and is closed. Deadlines are absolute, from the first
step of connecting to the last octet of the answer; heads and answers have a limit in
octets. Several servers stand in order: one that failed rests for a while, longer each
time, and the next one is asked.

The dialogue over HTTP (1.0, so that no server answers in chunks)::

    POST path HTTP/1.0                   ->
    Content-Type: application/pkixcmp        <-  HTTP/1.1 200 OK, Content-Length

and over TCP one record of the configured framing each way.

**Source:** RFC 9811 sections 3 and 4; RFC 2510 section 5.2 and
draft-ietf-pkix-cmp-tcp-00 section 3 for records.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.framing import (
    ErrorMessage,
    Fault,
    Framing,
    Record,
    RecordReader,
    RecordType,
    decode_error,
    encode_request,
)
from pkid.transports.cmptcp import FRAMINGS
from pkid.transports.tls import client_connection_creator

MAX_ANSWER_OCTETS: Final = 1 << 20
MAX_HEAD_OCTETS: Final = 16 * 1024
MOST_EXCHANGES: Final = 64
MEDIA_TYPE: Final = b"application/pkixcmp"
#: Schemes of URLs and their ports; ``tls`` is raw TCP inside TLS.
PORTS: Final = {"http": 80, "https": 443, "tcp": 829, "tls": 829}
UNREACHABLE: Final = "the certification authority is out of reach at the moment"

_WITH_TLS: Final = frozenset(("https", "tls"))
_OVER_HTTP: Final = frozenset(("http", "https"))
_END_OF_HEAD: Final = b"\r\n\r\n"
_status_line: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: .*)?").fullmatch


@dataclass(frozen=True, slots=True)
class Target:
    """One server, from its URL.

    :ivar path: with its query; "" for raw TCP.
    """

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def decode(cls, url: str) -> Target:
        """Read ``http://host:port/path``, ``https:``, ``tcp://host:port`` or ``tls:``.

        :raises ValueError: with what is wrong with it.
        """
        parts = urlsplit(url)
        port = parts.port
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("a URL is http://, https://, tcp:// or tls://HOST:PORT")
        if parts.username is not None or parts.fragment or not url.isascii():
            raise ValueError("a URL has no user, no fragment, and ASCII only")
        over_http = parts.scheme in _OVER_HTTP
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not over_http and (parts.path.strip("/") or parts.query):
            raise ValueError("raw TCP has no path")
        return cls(
            url,
            parts.scheme,
            parts.hostname,
            PORTS[parts.scheme] if port is None else port,
            path if over_http else "",
        )

    @property
    def has_tls(self) -> bool:
        """Whether the server proves its name by TLS."""
        return self.scheme in _WITH_TLS

    @property
    def authority(self) -> str:
        """Host and port as HTTP's Host has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class OutgoingExchange(Protocol):
    """One connection: sends what it was made with, and takes one answer.

    :ivar done: the answer; fails with ``UNAVAILABLE``.
    """

    transport: Any

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._over = False
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """Send the request."""
        if self._over:
            self.transport.abortConnection()
            return
        self.transport.write(self._octets)

    def fail(self, reason: str) -> None:
        """End without an answer; later reasons do not count."""
        if self._over:
            return
        self._over = True
        if self.transport is not None:
            self.transport.abortConnection()
        self.done.errback(_unreachable(reason))

    def _succeed(self, answer: bytes) -> None:
        if self._over:
            return
        self._over = True
        self.transport.loseConnection()
        self.done.callback(answer)

    def dataReceived(self, data: bytes) -> None:
        """Take octets of the answer."""
        if not self._over:
            self._received(data)

    @abstractmethod
    def _received(self, data: bytes) -> None: ...

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Without a whole answer that is a failure."""
        self._ended(clean=reason.check(ConnectionDone) is not None)
        self.fail(f"the connection ended: {reason.getErrorMessage()}")

    def _ended(self, *, clean: bool) -> None:
        """Give what is complete only because the connection ended."""


class HTTPExchange(OutgoingExchange):
    """A POST and its response.

    :param limit: most octets of the answer.
    """

    def __init__(self, target: Target, message: bytes, limit: int) -> None:
        head = (
            f"POST {target.path} HTTP/1.0\r\n"
            f"Host: {target.authority}\r\n"
            f"Content-Type: {MEDIA_TYPE.decode()}\r\n"
            f"Content-Length: {len(message)}\r\n"
            "Connection: close\r\nPragma: no-cache\r\n\r\n"
        )
        super().__init__(head.encode("ascii") + message)
        self._limit = limit
        self._buffer = bytearray()
        self._body_at = 0
        self._length: int | None = None

    def _received(self, data: bytes) -> None:
        self._buffer += data
        if not self._body_at and not self._read_head():
            return
        got = len(self._buffer) - self._body_at
        if got > self._limit:
            self.fail("the answer is too long")
        elif self._length is not None and got >= self._length:
            self._succeed(self._body()[: self._length])

    def _read_head(self) -> bool:
        """Whether the head is there; what is wrong with it ends the exchange."""
        end = self._buffer.find(_END_OF_HEAD)
        if end < 0 or end > MAX_HEAD_OCTETS:
            if len(self._buffer) > MAX_HEAD_OCTETS:
                self.fail("the head of the answer is too long")
            return False
        first, *lines = bytes(self._buffer[:end]).split(b"\r\n")
        self._body_at = end + len(_END_OF_HEAD)
        fault = self._head_fault(first, _headers(lines))
        if fault:
            self.fail(fault)
        return not fault

    def _head_fault(self, first: bytes, headers: dict[bytes, bytes]) -> str:
        matched = _status_line(first)
        if matched is None:
            return "the answer is not HTTP"
        status = int(matched[1])
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip()
        if status != 200 and media_type.lower() != MEDIA_TYPE:
            return f"HTTP status {status}"
        if b"transfer-encoding" in headers:
            return "the answer comes in chunks, which HTTP/1.0 does not know"
        length = headers.get(b"content-length")
        if length is None:
            return ""
        if not length.isdigit() or len(length) > 9 or int(length) > self._limit:
            return "the answer is too long, or its length unreadable"
        self._length = int(length)
        return ""

    def _ended(self, *, clean: bool) -> None:
        if clean and self._body_at and self._length is None:
            self._succeed(self._body())

    def _body(self) -> bytes:
        return bytes(self._buffer[self._body_at :])


class RecordExchange(OutgoingExchange):
    """A pkiReq record and its answer.

    :param limit: most octets of the answer.
    """

    def __init__(self, framing: Framing, message: bytes, limit: int) -> None:
        super().__init__(encode_request(framing, message, close=True))
        self._framing = framing
        self._reader = RecordReader(limit, frozenset((framing,)))

    def _received(self, data: bytes) -> None:
        events = self._reader.feed(data)
        if not events:
            return
        match events[0]:
            case Record() as record:
                self._take(record)
            case Fault() as fault:
                self.fail(f"the answer's record is broken: {fault.text}")
            case _:
                self.fail("the answer is of another protocol")

    def _take(self, record: Record) -> None:
        if record.carries_message:
            self._succeed(record.value)
        elif record.type is RecordType.FIN_REP:
            self._succeed(b"")
        elif record.type is RecordType.ERROR_MSG_REP:
            self.fail(f"errorMsgRep: {_error_text(record)}")
        else:
            # A polling reference would be lost with this connection; the message
            # itself, sent again later, finds the same transaction.
            self.fail(f"{record.type.name.lower()}: not ready yet")

    def _ended(self, *, clean: bool) -> None:
        # Nothing at all is how a server of bare DER says that it has nothing to say.
        if clean and self._framing is Framing.BARE and not self._reader.pending:
            self._succeed(b"")


class _Once(Factory[OutgoingExchange]):
    """Makes one connection's protocol, and no word of it in the log."""

    noisy = False

    def __init__(self, exchange: OutgoingExchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> OutgoingExchange:  # noqa: ARG002
        return self._exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server is waited for.

    :ivar timeout_seconds: for one exchange with one server, all of it.
    :ivar rest_seconds: how long a server rests after its first failure; doubled at
        each further one.
    :ivar most_rest_seconds: and never more than this.
    """

    timeout_seconds: float = 10.0
    rest_seconds: float = 5.0
    most_rest_seconds: float = 300.0


@dataclass(slots=True)
class _Health:
    """How a server did lately; forgotten at a restart.

    :ivar rests_until: monotonic; it is not asked before.
    """

    target: Target
    failures: int = 0
    rests_until: float = float("-inf")


class CMPClient:
    """Sends messages to one of several servers that are one and the same CA.

    :param urls: in order of preference.
    :param framing: name from `FRAMINGS`, for ``tcp`` and ``tls``.
    :param clock: timers, on monotonic time.
    :param endpoints: makes the endpoint of a target.
    :param limit: most octets of an answer.
    :param most_exchanges: at a time; others wait for their turn.
    :raises ValueError: for a URL that is none of ours.
    """

    _log = Logger()

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: IReactorTime,
        endpoints: Callable[[Target], IStreamClientEndpoint],
        framing: str = "draft",
        patience: Patience | None = None,
        limit: int = MAX_ANSWER_OCTETS,
        most_exchanges: int = MOST_EXCHANGES,
    ) -> None:
        self._turns = DeferredSemaphore(most_exchanges)
        self._open: set[OutgoingExchange] = set()
        self._closed = False
        self._servers = [_Health(Target.decode(url)) for url in urls]
        self._framing = FRAMINGS[framing]
        self._clock = clock
        self._endpoints = endpoints
        self._patience = patience or Patience()
        self._limit = limit

    async def send(self, message: bytes) -> bytes:
        """Ask the first server that answers.

        :param message: a ``PKIMessage``.
        :returns: what came back, b"" when the server has nothing to say.
        :raises PKIError: ``UNAVAILABLE`` when none of them answers, at once when all
            of them rest.
        """
        await self._turns.acquire()
        try:
            return await self._send(message)
        finally:
            self._turns.release()

    def close(self) -> None:
        """End what is under way, and begin nothing more."""
        self._closed = True
        for exchange in tuple(self._open):
            exchange.fail("pkid is stopping")

    async def _send(self, message: bytes) -> bytes:
        reasons: list[str] = []
        for server in self._servers:
            if self._closed or server.rests_until > self._clock.seconds():
                continue
            try:
                answer = await self._attempt(server.target, message)
            except PKIError as error:
                reasons.append(f"{server.target.url}: {error.hint}")
                self._rest(server, error.hint or "")
            else:
                self._recover(server)
                return answer
        reason = "; ".join(reasons) or "all servers failed lately"
        raise _unreachable(reason, self._soonest())

    def _attempt(self, target: Target, message: bytes) -> Deferred[bytes]:
        exchange = self._exchange(target, message)
        connecting: Deferred[Any] = self._endpoints(target).connect(_Once(exchange))

        def expire() -> None:
            exchange.fail(f"no answer in {self._patience.timeout_seconds:g} seconds")
            connecting.cancel()

        timer = self._clock.callLater(self._patience.timeout_seconds, expire)
        self._open.add(exchange)
        connecting.addErrback(_not_connected, exchange)
        return exchange.done.addBoth(self._ended, exchange, timer)

    def _ended(
        self,
        result: Any,  # noqa: ANN401 - passes through
        exchange: OutgoingExchange,
        timer: IDelayedCall,
    ) -> Any:  # noqa: ANN401
        self._open.discard(exchange)
        if timer.active():
            timer.cancel()
        return result

    def _exchange(self, target: Target, message: bytes) -> OutgoingExchange:
        if target.scheme in _OVER_HTTP:
            return HTTPExchange(target, message, self._limit)
        return RecordExchange(self._framing, message, self._limit)

    def _rest(self, server: _Health, reason: str) -> None:
        patience = self._patience
        rest = min(
            patience.rest_seconds * 2 ** min(server.failures, 16),
            patience.most_rest_seconds,
        )
        if not server.failures:
            self._log.warn(
                "{url} does not answer: {reason}",
                url=server.target.url,
                reason=reason,
            )
        server.failures += 1
        server.rests_until = self._clock.seconds() + rest

    def _recover(self, server: _Health) -> None:
        if server.failures:
            self._log.info("{url} answers again", url=server.target.url)
        server.failures = 0
        server.rests_until = float("-inf")

    def _soonest(self) -> int:
        """Whole seconds until a server may be asked again."""
        now = self._clock.seconds()
        return max(1, round(min(one.rests_until for one in self._servers) - now))


def network_endpoints(
    reactor: Any,  # noqa: ANN401 - the reactor has no one interface
    anchors: Sequence[bytes],
) -> Callable[[Target], IStreamClientEndpoint]:
    """What makes endpoints on the network.

    :param anchors: DER of certificates that the names of TLS servers may rest upon.
    """

    def endpoint(target: Target) -> IStreamClientEndpoint:
        plain = HostnameEndpoint(reactor, target.host, target.port)
        if not target.has_tls:
            return plain
        creator = client_connection_creator(target.host, anchors)
        wrapped: IStreamClientEndpoint = wrapClientTLS(creator, plain)
        return wrapped

    return endpoint


def _not_connected(failure: Failure, exchange: OutgoingExchange) -> None:
    exchange.fail(f"cannot connect: {failure.getErrorMessage() or failure.type}")


def _unreachable(reason: str, retry_after: int | None = None) -> PKIError:
    return PKIError(
        ErrorCode.UNAVAILABLE, UNREACHABLE, hint=reason, retry_after=retry_after
    )


def _headers(lines: Sequence[bytes]) -> dict[bytes, bytes]:
    """Lower-case names to values; the first of a name counts."""
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        found.setdefault(name.strip().lower(), value.strip())
    return found


def _error_text(record: Record) -> str:
    try:
        said: ErrorMessage = decode_error(record.framing, record.value)
    except PKIError as error:
        return error.detail
    return said.text.encode("unicode_escape").decode("ascii")[:200]
