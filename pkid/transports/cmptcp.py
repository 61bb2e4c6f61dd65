"""CMP over raw TCP.

    client                          server
    record with a PKIMessage   ->
                               <-   record with a PKIMessage (type 05)
                                    or pollRep, finRep / negPollRep, errorMsgRep
    pollReq                    ->
                               <-   as above

Answers keep the framing and the order of their requests; one request is in work
for each connection, and reading stops while another one waits. Both framings of
`pkid.messages.cmp.framing` are served. A bare DER message gets a bare DER answer:
it has no place for a polling record or an error, so where one would be sent the
connection is closed. A client that speaks HTTP here is handed to the HTTP front; a
TLS ClientHello on a listener without TLS closes the connection.

Nothing here outlives a connection, and no transaction is bound to one.

**Source:** RFC 2510 section 5.2; draft-ietf-pkix-cmp-tcp-00.
"""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pkid.messages.cmp.framing import (
    ErrorMessageCode,
    Event,
    Fault,
    Foreign,
    ForeignProtocol,
    Framing,
    Record,
    RecordReader,
    RecordType,
    encode_error,
    encode_fault,
    encode_nothing,
    encode_poll_rep,
    encode_response,
)
from pkid.responders.base import Peer, Reply, Responder, make_exchange
from pkid.responders.cmp.polling import PollingReply
from pkid.transports.connections import NAMELESS, NEVER, ConnectionFactory, Listener
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission
from pkid.transports.tls import peer_certificate

#: Names of framings in the configuration.
FRAMINGS = {
    "rfc2510": Framing.RFC2510,
    "draft": Framing.TCP_DRAFT,
    "der": Framing.BARE,
}
_TRANSPORTS = {
    Framing.RFC2510: "tcp-rfc2510",
    Framing.TCP_DRAFT: "tcp-draft",
    Framing.BARE: "tcp-der",
}
#: Octets after which a record's kind and length are known, in either framing.
_HEAD_OCTETS = 7
_REFERENCE_OCTETS = 4


class Phase(enum.Enum):
    """Where a connection is."""

    HANDSHAKE = enum.auto()
    IDLE = enum.auto()
    HEADER = enum.auto()
    MESSAGE = enum.auto()
    WORKING = enum.auto()
    WRITING = enum.auto()
    LINGERING = enum.auto()
    CLOSING = enum.auto()
    HTTP = enum.auto()
    CLOSED = enum.auto()


# Tuples: to find an enumeration's member in a set would call Python for its hash.
_READING = (Phase.IDLE, Phase.HEADER, Phase.MESSAGE)
_BUSY = (Phase.WORKING, Phase.WRITING)


@implementer(IHandshakeListener, IPushProducer)
@implementer(IHalfCloseableProtocol)
class CMPTCPProtocol(Protocol):
    """One client's connection.

    :param factory: the listener.
    :param peer: the client.
    """

    transport: Any
    _log = Logger()

    def __init__(self, factory: CMPTCPFactory, peer: Peer) -> None:
        self._owner = factory
        self._limits = factory.limits
        self._seconds = factory.clock.seconds
        self.peer = peer
        self.due = NEVER
        self._phase = Phase.CLOSED
        self._reader = RecordReader(factory.limits.message_octets, factory.framings)
        self._waiting: deque[Event] = deque()
        self._framing = factory.framing
        self._started = 0.0
        self._discarded = 0
        self._successor: Protocol | None = None
        # The transport's buffer is full; we have stopped reading; no next request
        # is taken; the client sends no more.
        self._full = False
        self._held = False
        self._retiring = False
        self._ended = False

    # -- the connection's life --------------------------------------------------

    def connectionMade(self) -> None:
        """Start the handshake's deadline, or the first message's."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, streaming=True)
        if ISSLTransport.providedBy(self.transport):
            self._enter(Phase.HANDSHAKE, self._limits.handshake_seconds)
        else:
            self._enter(Phase.IDLE, self._limits.idle_seconds)
        self._owner.opened(self)

    def handshakeCompleted(self) -> None:
        """Note who the client says it is; responders decide what that means."""
        certificate = peer_certificate(self.transport)
        self.peer = dataclasses.replace(self.peer, certificate=certificate)
        self._enter(Phase.IDLE, self._limits.idle_seconds)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Forget the connection. A responder at work is not disturbed."""
        if self._successor is not None:
            self._successor.connectionLost(reason)
            return
        self._enter(Phase.CLOSED, NEVER)
        self._waiting.clear()
        self._owner.closed(self)

    def readConnectionLost(self) -> None:
        """The client sends no more; it still gets the answers that it waits for."""
        if self._successor is not None:
            self.transport.loseConnection()
        elif self._phase in _BUSY:
            self._ended = True
        else:
            self._close(self._limits.linger_seconds)

    def writeConnectionLost(self) -> None:
        """Nothing to do: we closed this half ourselves."""

    def finish(self) -> None:
        """Answer what is in work or arriving, then close."""
        self._retiring = True
        if self._phase in (Phase.IDLE, Phase.HANDSHAKE):
            self._close(self._limits.linger_seconds)

    def deadline_passed(self) -> None:
        """Say so while the client may still listen; else just close."""
        match self._phase:
            case Phase.HEADER | Phase.MESSAGE:
                code = ErrorMessageCode.GENERAL_CLIENT_ERROR
                self._fail(Fault(self._framing, code, "the message took too long"))
            case Phase.IDLE:
                self._close(self._limits.linger_seconds)
            case _:
                self.transport.abortConnection()

    def _enter(self, phase: Phase, seconds: float) -> None:
        self._phase = phase
        self.due = NEVER if seconds is NEVER else self._seconds() + seconds

    def _close(self, seconds: float) -> None:
        self._enter(Phase.CLOSING, seconds)
        self._waiting.clear()
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # -- reading ----------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take octets; the first of a message starts its deadlines."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif self._phase in _READING:
            self._waiting.extend(self._reader.feed(data))
            self._advance()
        elif self._phase in _BUSY:
            # What one read brought while reading was being stopped.
            self._waiting.extend(self._reader.feed(data))
            self._hold()
        else:
            self._discard(data)

    def _advance(self) -> None:
        """Start the next request, or wait for the rest of one."""
        while self._waiting and self._phase in _READING:
            event = self._waiting.popleft()
            match event:
                case Record():
                    self._take(event)
                case Fault():
                    self._fail(event)
                case Foreign():
                    self._hand_over(event)
        if self._phase in _READING:
            self._await_octets()
        elif self._waiting and self._phase in _BUSY:
            self._hold()

    def _await_octets(self) -> None:
        """Set the deadline for what is still to come of a message."""
        held = self._reader.pending
        if not held:
            self._enter(Phase.IDLE, self._limits.idle_seconds)
        elif self._phase is Phase.IDLE:
            self._started = self._seconds()
            self._enter(Phase.HEADER, self._limits.headers_seconds)
        if held >= _HEAD_OCTETS and self._phase is Phase.HEADER:
            self._phase = Phase.MESSAGE
            self.due = self._started + self._limits.request_seconds
        if self._held:
            self._held = False
            self.transport.resumeProducing()

    def _hold(self) -> None:
        """Read nothing while a request waits for its turn."""
        if self._waiting and not self._held:
            self._held = True
            self.transport.pauseProducing()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if (
            self._phase is Phase.LINGERING
            and self._discarded > self._limits.linger_octets
        ):
            self.transport.abortConnection()

    def _hand_over(self, foreign: Foreign) -> None:
        """Let the HTTP front go on with a client that came to the wrong port."""
        front = self._owner.http
        if foreign.protocol is not ForeignProtocol.HTTP or front is None:
            self._log.debug(
                "{protocol} on a CMP TCP port from {address}",
                protocol=foreign.protocol.value,
                address=self.peer.address,
            )
            self._close(self._limits.linger_seconds)
            return
        self.transport.unregisterProducer()
        if self._held:
            self.transport.resumeProducing()
        self._enter(Phase.HTTP, NEVER)
        self._owner.forget(self)
        self._successor = front.adopt(self.transport, self.peer)
        self._successor.dataReceived(foreign.octets)

    # -- working ----------------------------------------------------------------

    def _take(self, record: Record) -> None:
        """Give one record to the responder."""
        operation = _operation(record)
        if operation is None:
            code = ErrorMessageCode.INVALID_MESSAGE_TYPE
            self._fail(Fault(record.framing, code, "a client sends no such record"))
            return
        self._framing = record.framing
        self._enter(Phase.WORKING, NEVER)
        exchange = make_exchange(
            transport=_TRANSPORTS[record.framing],
            alias=self._owner.alias,
            operation=operation,
            body=record.value,
            peer=self.peer,
        )
        work = Deferred.fromCoroutine(self._owner.responder.respond(exchange))
        work.addCallbacks(
            self._answer, self._failed, callbackArgs=(record,), errbackArgs=(record,)
        )
        work.addErrback(self._abort)
        if self._phase is Phase.WORKING:
            # Not answered yet. What is answered at once goes on in the caller's
            # loop: a segment full of small requests must not nest their answers.
            work.addCallback(lambda _: self._advance())

    def _answer(self, reply: Reply, record: Record) -> None:
        last = self._ended and not self._waiting
        close = record.close or self._retiring or last
        self._send(_encoded(reply, record, close=close), close=close)

    def _failed(self, failure: Failure, record: Record) -> None:
        self._log.failure("a responder failed", failure=failure)
        code = ErrorMessageCode.GENERAL_SERVER_ERROR
        self._send(encode_error(record.framing, code, "internal error"), close=True)

    def _abort(self, failure: Failure) -> None:
        self._log.failure("an answer could not be written", failure=failure)
        self.transport.abortConnection()

    def _send(self, octets: bytes, *, close: bool) -> None:
        """Write one answer, then wait for the next request or close."""
        if self._phase is not Phase.WORKING:
            return  # The client has gone; it will find the outcome when it asks.
        self.transport.write(octets)
        seconds = self._limits.write_seconds + len(octets) / self._limits.write_rate
        # A bare DER client that is told nothing learns it from the closing.
        if close or not octets:
            self._close(seconds)
        elif self._full:
            self._enter(Phase.WRITING, seconds)
        else:
            self._enter(Phase.IDLE, self._limits.idle_seconds)

    def _fail(self, fault: Fault) -> None:
        """Answer a fault of the stream, and close."""
        octets = encode_fault(fault)
        if not octets or ISSLTransport.providedBy(self.transport):
            self.transport.write(octets)
            self._close(self._limits.linger_seconds)
            return
        # To close with octets unread would reset the connection, and the client
        # might never see why: stop writing, read a little more, then close.
        self._waiting.clear()
        self.transport.write(octets)
        self._enter(Phase.LINGERING, self._limits.linger_seconds)
        self.transport.loseWriteConnection()

    # -- flow -------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Read nothing more while the client does not take our answers."""
        self._full = self._held = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on: the client has taken everything."""
        self._full = False
        if self._phase is Phase.WRITING and self._retiring:
            self._close(self._limits.linger_seconds)
        elif self._phase is Phase.WRITING:
            self._enter(Phase.IDLE, self._limits.idle_seconds)
            self._advance()

    def stopProducing(self) -> None:
        """Nothing to do: the connection is lost, which is told by itself."""


def _operation(record: Record) -> str | None:
    """Give the operation that a client's record asks for; None when it may not."""
    if record.carries_message:
        return ""
    if record.type is RecordType.POLL_REQ and len(record.value) == _REFERENCE_OCTETS:
        return "tcp-poll"
    return None


def _encoded(reply: Reply, record: Record, *, close: bool) -> bytes:
    framing = record.framing
    if isinstance(reply, PollingReply):
        if framing is Framing.BARE:
            return b""
        check_at = int(reply.check_at.timestamp())
        return encode_poll_rep(framing, reply.reference, check_at, close=close)
    if not reply.body:
        return encode_nothing(framing, close=close)
    return encode_response(framing, reply.body, close=close)


class CMPTCPFactory(ConnectionFactory):
    """Serves CMP over raw TCP, plain or inside TLS.

    :param responder: answers the messages.
    :param alias: the entrance that this listener is.
    :param framings: names from `FRAMINGS`; a client that comes with another one is
        answered in one of these, which makes QuickSec's client fall back.
    :param http: serves clients that speak HTTP here, and belongs to this listener;
        None closes them.
    :param admission: shared by all listeners of the process, also by ``http``; brings
        clock and limits.
    :param listener: which one this is.
    :raises KeyError: for a framing of another name.
    """

    def __init__(
        self,
        responder: Responder,
        *,
        alias: str,
        admission: Admission,
        framings: Iterable[str] = tuple(FRAMINGS),
        http: HTTPFront | None = None,
        listener: Listener = NAMELESS,
    ) -> None:
        super().__init__(admission=admission, listener=listener)
        self.responder = responder
        self.alias = alias
        self.framings = frozenset(FRAMINGS[name] for name in framings)
        self.http = http

    @property
    def framing(self) -> Framing:
        """The framing to speak to a client that has not shown its own."""
        draft = Framing.TCP_DRAFT
        return draft if draft in self.framings else min(self.framings, key=_value)

    def connection(self, peer: Peer) -> Protocol:
        """Make the protocol object for one admitted client."""
        return CMPTCPProtocol(self, peer)

    def drain(self) -> Deferred[None]:
        """Finish answers in work, close everything, admit nobody.

        :return: fires when the last connection is gone, one that speaks HTTP too.
        """
        fronts = [super().drain()]
        if self.http is not None:
            fronts.append(self.http.drain())
        done: Deferred[None] = Deferred()
        DeferredList(fronts).addCallback(lambda _: done.callback(None))
        return done


def _value(framing: Framing) -> int:
    return -framing.value
