"""HTTP/1.1 and 1.0 for any responder.

    client: request line, headers, body        server: Reply as one response
    IDLE -> HEADERS -> BODY -> ANSWERING -> (WRITING) -> IDLE again, or CLOSING

Twisted's channel cuts lines and reads the request line; everything that decides
where a message ends or how long one may take is decided here, and strictly: what
two readers could understand differently is refused with 400 and the connection is
closed (RFC 9112 sections 2.2, 5.2, 6.3 and 11.2).

Bodies stay in memory and within their route's limit, which is checked before the
first octet of a body is read. No form is parsed and no file is written.
X-Forwarded-* and Forwarded are headers like others: the peer is who connected.
"""

# Twisted's channel has no annotations, and mypy's exception for twisted does not
# reach inherited methods.
# mypy: allow-untyped-calls

from __future__ import annotations

import dataclasses
import enum
import re
import sys
from collections.abc import Callable
from datetime import datetime
from email.utils import format_datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHandshakeListener,
    ISSLTransport,
    ITransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from pkid.responders.base import Peer, Reply, make_exchange
from pkid.transports.connections import NAMELESS, NEVER, ConnectionFactory, Listener
from pkid.transports.httphead import (
    BODILESS,
    is_persistent,
    response_head,
    text_reply,
)
from pkid.transports.limits import Admission
from pkid.transports.site import Site, Target
from pkid.transports.tls import peer_certificate

#: A response larger than this is not copied to stand beside its head.
COPY_LIMIT = 64 * 1024
#: What lengths, extensions and trailers of chunks may take beside a body that is
#: counted twice: whoever cuts it into crumbs sends more of them than of the body.
CHUNK_OVERHEAD = 64 * 1024

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_BARE_LF = re.compile(rb"(?<!\r)\n").search
# Eighteen digits are more than any limit and less than int() refuses.
_LENGTH = re.compile(r"[0-9]{1,18}").fullmatch
_AUTHORITY = re.compile(r"https?://[^/?#]+", re.IGNORECASE).match
_FRAGMENT_FREE = re.compile(rb"[\x21\x22\x24-\x7e]+").fullmatch
# RFC 9110: said twice, these could mean two things.
_ONCE = frozenset({"content-length", "transfer-encoding", "host", "expect"})


class Phase(enum.Enum):
    """Where a connection is."""

    HANDSHAKE = enum.auto()
    IDLE = enum.auto()
    HEADERS = enum.auto()
    BODY = enum.auto()
    ANSWERING = enum.auto()
    WRITING = enum.auto()
    LINGERING = enum.auto()
    CLOSING = enum.auto()
    CLOSED = enum.auto()


# Tuples: to find an enumeration's member in a set would call Python for its hash.
_IN_REQUEST = (Phase.HEADERS, Phase.BODY)
_LATER = (Phase.ANSWERING, Phase.WRITING)
_OVER = (Phase.LINGERING, Phase.CLOSING, Phase.CLOSED)


class HTTPRequest:
    """One request while it arrives: what the channel asks of a request, no more.

    Twisted's own request parses Content-Type with the e-mail package, looks for
    forms and cookies and makes a file of the body.
    """

    __slots__ = (
        "_connection",
        "content",
        "early",
        "headers",
        "method",
        "query",
        "target",
    )

    def __init__(self, connection: HTTPConnection, _queued: int = 0) -> None:
        self._connection = connection
        self.headers: dict[str, str] = {}
        self.content = bytearray()
        self.method = ""
        self.query = ""
        self.target: Target | None = None
        self.early: Reply | None = None

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, unless it is more than the route reads."""
        if len(self.content) + len(data) <= self.limit:
            self.content += data
        else:
            self._connection.refuse(413, "request body too large")

    @property
    def limit(self) -> int:
        """Octets of a body that the route reads."""
        return 0 if self.target is None else self.target.route.body_limit

    def requestReceived(self, _command: bytes, _path: bytes, _version: bytes) -> None:
        """Answer: the request is complete."""
        self._connection.respond(self)

    def connectionLost(self, _reason: Failure) -> None:
        """Let go; what the responder does goes on without us."""


@implementer(IHandshakeListener)
class HTTPConnection(http.HTTPChannel):
    """One client's connection.

    :param front: the factory.
    :param peer: the client.
    """

    transport: Any
    _log = Logger()

    def __init__(self, front: HTTPFront, peer: Peer) -> None:
        super().__init__()
        self._front = front
        self._limits = front.limits
        self._seconds = front.clock.seconds
        self.MAX_LENGTH = front.limits.request_line
        # Headers are counted here, so that each excess gets its own status.
        self.totalHeadersSize = sys.maxsize
        self.requestFactory = HTTPRequest  # type: ignore[assignment] # all it needs
        self.peer = peer
        self.due = NEVER
        self._phase = Phase.CLOSED
        self._protocol = "HTTP/1.1"
        self._started = 0.0
        self._header_octets = 0
        self._missing = 0
        self._chunk_octets = 0
        self._discarded = 0
        # The transport's buffer is full; we have stopped reading; no next request.
        self._full = False
        self._held = False
        self._retiring = False

    # -- the connection's life --------------------------------------------------

    def connectionMade(self) -> None:
        """Start the handshake's deadline, or the first request's."""
        super().connectionMade()
        if ISSLTransport.providedBy(self.transport):
            self._enter(Phase.HANDSHAKE, self._limits.handshake_seconds)
        else:
            self._enter(Phase.IDLE, self._limits.idle_seconds)
        self._front.opened(self)

    def handshakeCompleted(self) -> None:
        """Note who the client says it is; responders decide what that means."""
        certificate = peer_certificate(self.transport)
        self.peer = dataclasses.replace(self.peer, certificate=certificate, secure=True)
        self._enter(Phase.IDLE, self._limits.idle_seconds)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget the connection. A responder at work is not disturbed."""
        super().connectionLost(reason)
        self._enter(Phase.CLOSED, NEVER)
        self._front.closed(self)

    def finish(self) -> None:
        """Answer what is in work or arriving, then close."""
        self._retiring = True
        if self._phase in (Phase.IDLE, Phase.HANDSHAKE):
            self._close(self._limits.linger_seconds)

    def deadline_passed(self) -> None:
        """Say so while the client may still listen; else just close."""
        match self._phase:
            case Phase.HEADERS if not self.requests and not self._buffer:
                # Only the empty line that some clients send after a body.
                self._close(self._limits.linger_seconds)
            case Phase.HEADERS | Phase.BODY:
                self.refuse(408, "the request took too long")
            case Phase.IDLE:
                self._close(self._limits.linger_seconds)
            case _:
                self.transport.abortConnection()

    def _enter(self, phase: Phase, seconds: float) -> None:
        self._phase = phase
        self.due = NEVER if seconds is NEVER else self._seconds() + seconds

    def _close(self, seconds: float) -> None:
        self._enter(Phase.CLOSING, seconds)
        self.loseConnection()

    # -- reading ----------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take octets; the first of a request starts its deadlines."""
        phase = self._phase
        if phase in _OVER:
            self._discard(data)
            return
        if phase is Phase.IDLE:
            self._begin()
        outermost = not self._busyReceiving
        LineReceiver.dataReceived(self, data)
        if outermost and self._buffer and self.line_mode:
            self._look_at_rest()

    def _begin(self) -> None:
        self._started = self._seconds()
        self._enter(Phase.HEADERS, self._limits.headers_seconds)

    def _look_at_rest(self) -> None:
        """Judge what is left of a read: the beginning of a line."""
        if self._phase is Phase.IDLE:
            self._begin()
        if b"\n" in self._buffer and _BARE_LF(self._buffer):
            self.refuse(400, "a line must end with CR LF")

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the head of a request."""
        if self._phase is Phase.IDLE:
            self._begin()
        if self.requests:
            self._header_octets += len(line)
            if self._header_octets > self._limits.header_octets:
                self.refuse(431, "the headers are too large")
                return
            if line[:1] in (b" ", b"\t"):
                self.refuse(400, "a header line may not be continued")
                return
        else:
            self._header_octets = 0
        super().lineReceived(line)

    def lineLengthExceeded(self, _line: bytes) -> None:
        """Refuse a line that is longer than any line may be."""
        if self.requests:
            self.refuse(431, "a header is too large")
        else:
            self.refuse(414, "the request line is too long")

    def headerReceived(self, line: bytes) -> bool:
        """Take one header.

        :return: whether the request may go on.
        """
        name, colon, value = line.partition(b":")
        headers = self.requests[-1].headers
        if not colon or not _TOKEN(name) or _CONTROL(value):
            self.refuse(400, "a header is malformed")
            return False
        if len(headers) >= self._limits.header_count:
            self.refuse(431, "there are too many headers")
            return False
        key = name.decode("ascii").lower()
        if key not in headers:
            headers[key] = value.strip(b" \t").decode("latin-1")
        elif key in _ONCE:
            self.refuse(400, f"{key} is given twice")
            return False
        elif key == "connection":
            headers[key] += "," + value.decode("latin-1")
        return True

    def allHeadersReceived(self) -> None:
        """Decide from the head alone whether the body will be read."""
        request: HTTPRequest = self.requests[-1]
        self._protocol = self._version.decode("ascii")
        fault = self._framing_fault(request)
        if fault is not None:
            self._refuse(fault)
            return
        request.early = self._routing_reply(request)
        if request.early is None or self.length == 0:
            self._enter_body(request)
        else:
            self._refuse(request.early)

    def allContentReceived(self) -> None:
        """Pass on a complete request; one that was refused is none."""
        if self._phase is Phase.BODY:
            self._enter(Phase.ANSWERING, NEVER)
            super().allContentReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Take octets of a body, or of requests that must wait for their turn."""
        if self._phase is Phase.BODY:
            self._body_received(data)
        elif self._phase in _LATER:
            self._keep(data)
        else:
            self._discard(data)

    def _body_received(self, data: bytes) -> None:
        request = self.requests[-1]
        if self._transferDecoder is not None:
            self._chunk_octets += len(data)
            if self._chunk_octets > 2 * request.limit + CHUNK_OVERHEAD:
                self.refuse(413, "request body too large")
                return
            try:
                self._transferDecoder.dataReceived(data)
            except (http._MalformedChunkedDataError, ValueError):
                self.refuse(400, "the chunks are malformed")
            return
        body = data[: self._missing]
        self._missing -= len(body)
        request.handleContentChunk(body)
        if not self._missing:
            self._finishRequestBody(data[len(body) :])

    def _keep(self, data: bytes) -> None:
        self._dataBuffer.append(data)
        if sum(map(len, self._dataBuffer)) > self._limits.read_ahead:
            self._held = True
            self._networkProducer.pauseProducing()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if (
            self._phase is Phase.LINGERING
            and self._discarded > self._limits.linger_octets
        ):
            self.transport.abortConnection()

    # -- deciding ---------------------------------------------------------------

    def _framing_fault(self, request: HTTPRequest) -> Reply | None:
        """Find where the request ends, or why nobody can say.

        **Source:** RFC 9112 sections 3.2 and 6.3.
        """
        headers = request.headers
        current = self._version == b"HTTP/1.1"
        self.persistent = is_persistent(headers, current=current)
        self.length = None
        if not _FRAGMENT_FREE(self._path):
            return text_reply(400, "the request target is malformed")
        if current and "host" not in headers:
            return text_reply(400, "HTTP/1.1 needs a Host header")
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if coding is None:
            if length is None:
                length = "0"
            elif not _LENGTH(length):
                return text_reply(400, "Content-Length is malformed")
            self.length = int(length)
        elif length is not None or not current or coding.lower() != "chunked":
            return text_reply(400, "Transfer-Encoding cannot be taken")
        return None

    def _routing_reply(self, request: HTTPRequest) -> Reply | None:
        """Find the route, or the answer to give without one."""
        path, mark, request.query = self._path.decode("ascii").partition("?")
        request.method = method = self._command.decode("ascii")
        if path == "*" and method == "OPTIONS" and not mark:
            return Reply(headers=(("Allow", "GET, HEAD, POST, OPTIONS"),))
        if (authority := _AUTHORITY(path)) is not None:
            path = path[authority.end() :] or "/"
        target = request.target = self._front.site.find(path)
        if target is None:
            return text_reply(404, "not found")
        if not target.route.takes(method):
            allow = ("Allow", target.route.allow)
            if method == "OPTIONS":
                return Reply(headers=(allow,))
            return text_reply(405, "method not allowed", allow)
        return self._body_fault(request, target)

    def _body_fault(self, request: HTTPRequest, target: Target) -> Reply | None:
        if (self.length or 0) > target.route.body_limit:
            return text_reply(413, "request body too large")
        expect = request.headers.get("expect", "100-continue")
        if expect.lower() != "100-continue":
            return text_reply(417, "expectation cannot be met")
        return None

    def _enter_body(self, request: HTTPRequest) -> None:
        self._phase = Phase.BODY
        self.due = self._started + self._limits.request_seconds
        if self.length is None:
            self._chunk_octets = 0
            self._transferDecoder = http._ChunkedTransferDecoder(
                request.handleContentChunk, self._finishRequestBody
            )
        else:
            self._missing = self.length
        if (
            self.length != 0
            and "expect" in request.headers
            and self._version == b"HTTP/1.1"
        ):
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # -- answering --------------------------------------------------------------

    def respond(self, request: HTTPRequest) -> None:
        """Give a complete request to its responder."""
        target = request.target
        if request.early is not None:
            self._answer(request.early)
        elif target is not None:
            exchange = make_exchange(
                transport="http",
                alias=target.alias,
                operation=target.operation,
                # HEAD is a GET whose answer's body stays here.
                method="GET" if request.method == "HEAD" else request.method,
                head=request.method == "HEAD",
                query=request.query,
                rest=target.rest,
                headers=request.headers,
                body=bytes(request.content),
                peer=self.peer,
            )
            request.content.clear()
            work = Deferred.fromCoroutine(target.responder.respond(exchange))
            work.addCallbacks(self._answer, self._failed)
            work.addErrback(self._abort)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("a responder failed", failure=failure)
        self._answer(text_reply(500, "internal error"))

    def _abort(self, failure: Failure) -> None:
        self._log.failure("an answer could not be written", failure=failure)
        self.transport.abortConnection()

    def _answer(self, reply: Reply) -> None:
        """Write one answer, and turn to the next request."""
        if self._phase is not Phase.ANSWERING:
            return  # The client has gone; it will find the outcome when it asks.
        self.persistent = self.persistent and not self._retiring
        self._write(reply)
        del self.requests[0]
        if not self.persistent:
            self._close(self._write_seconds(reply))
        elif self._full:
            self._enter(Phase.WRITING, self._write_seconds(reply))
        else:
            self._next()

    def _next(self) -> None:
        """Wait for the next request, or take the one that waits."""
        if self._retiring:
            self._close(self._limits.linger_seconds)
            return
        self._enter(Phase.IDLE, self._limits.idle_seconds)
        self._handlingRequest = False
        waiting = b"".join(self._dataBuffer)
        self._dataBuffer.clear()
        if self._held:
            self._held = False
            self._networkProducer.resumeProducing()
        self.setLineMode(waiting)

    def refuse(self, status: int, text: str) -> None:
        """Answer before a request is complete, and close."""
        self._refuse(text_reply(status, text))

    def _refuse(self, reply: Reply) -> None:
        if self._phase not in _IN_REQUEST:
            return
        self.persistent = False
        self._write(reply)
        self.requests.clear()
        # To close with octets unread would reset the connection, and the client
        # might never see why: stop writing, read a little more, then close.
        self._enter(Phase.LINGERING, self._limits.linger_seconds)
        self.setRawMode()
        if ISSLTransport.providedBy(self.transport):
            self.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(400, "the request is malformed")

    def _write_seconds(self, reply: Reply) -> float:
        return self._limits.write_seconds + len(reply.body) / self._limits.write_rate

    def _write(self, reply: Reply) -> None:
        head = response_head(
            reply,
            self._protocol,
            self._front.date(),
            persistent=bool(self.persistent),
        )
        head_only = bool(self.requests) and self.requests[0].method == "HEAD"
        body = b"" if head_only or reply.status in BODILESS else reply.body
        if len(body) > COPY_LIMIT:
            self.transport.writeSequence((head, body))
        else:
            self.transport.write(head + body)

    # -- flow -------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Read nothing more while the client does not take our answers."""
        self._full = self._held = True
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on: the client has taken everything."""
        self._full = False
        if self._phase is Phase.WRITING:
            self._next()
        elif self._phase is not Phase.ANSWERING:
            self._held = False
            self._networkProducer.resumeProducing()


class HTTPFront(ConnectionFactory):
    """Serves a site over HTTP, plain or inside TLS.

    :param site: the routes; may be replaced while serving.
    :param now: wall-clock time in UTC, for the Date header.
    :param admission: shared by all listeners of the process; brings clock and limits.
    :param listener: which one this is.
    """

    def __init__(
        self,
        site: Site,
        *,
        now: Callable[[], datetime],
        admission: Admission,
        listener: Listener = NAMELESS,
    ) -> None:
        super().__init__(admission=admission, listener=listener)
        self.site = site
        self._now = now
        self._date = ""
        self._date_ends = -NEVER

    def connection(self, peer: Peer) -> Protocol:
        """Make the protocol object for one admitted client."""
        return HTTPConnection(self, peer)

    def adopt(self, transport: ITransport, peer: Peer) -> Protocol:
        """Go on with a connection that another factory has admitted.

        :param transport: open, its handshake complete if it has TLS; the other
            factory passes on what comes from it, and has forgotten the connection.
        """
        connection = self.connection(peer)
        connection.makeConnection(transport)
        if ISSLTransport.providedBy(transport) and isinstance(
            connection, HTTPConnection
        ):
            connection.handshakeCompleted()
        return connection

    def date(self) -> str:
        """Give the Date header's value, made again once a second."""
        seconds = self.clock.seconds()
        if seconds >= self._date_ends:
            self._date_ends = seconds + 1.0
            self._date = format_datetime(self._now(), usegmt=True)
        return self._date
