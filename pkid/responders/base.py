"""What a transport hands to a responder and gets back.

A responder is anything with ``async def respond(exchange) -> Reply``. It knows its
protocol's words and nothing of sockets; the transport knows sockets and none of the
words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from pkid.asn1.constructors import constructor


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of the connection.

    :ivar address: text of the peer's address, without port; "" for a local socket.
    :ivar listener: name of the configured listener that accepted the connection.
    :ivar beyond_loopback: whether that listener can be reached from other hosts.
    :ivar certificate: DER of the verified or offered TLS client certificate, if any.
    :ivar chain: DER of what the client sent with it; empty on a resumed session.
    :ivar channel_bindings: octets that name this TLS connection and no other, on
        listeners whose protocol asks for them (RFC 5929, RFC 9266).
    :ivar secure: whether nobody between can read: TLS.
    """

    address: str = ""
    listener: str = ""
    beyond_loopback: bool = False
    certificate: bytes | None = None
    chain: tuple[bytes, ...] = ()
    channel_bindings: tuple[bytes, ...] = ()
    secure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request, stripped of its transport.

    :ivar transport: "http", "tcp-rfc2510", "tcp-draft" or "tcp-der" (no record).
    :ivar alias: label of the configured entrance, from the URL or the port.
    :ivar operation: operation label from the URL, "" when there is none.
    :ivar method: HTTP method; "" on TCP.
    :ivar head: whether a "GET" was a HEAD: only the headers leave.
    :ivar rest: end of the path, percent-decoded once, of rows that take any.
    :ivar headers: lower-case header names to values (first one counts); HTTP only.
    :ivar body: the request's octets, within the listener's limit.
    """

    transport: str
    alias: str
    body: bytes = field(repr=False)
    peer: Peer = Peer()
    operation: str = ""
    method: str = ""
    query: str = ""
    head: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer for the transport to carry.

    :ivar status: HTTP status; TCP ignores it.
    :ivar content_type: exact Content-Type, no parameters added.
    :ivar body: the answer's octets; empty on TCP means "nothing to say".
    :ivar headers: further headers, name and value.
    """

    body: bytes = field(default=b"", repr=False)
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: tuple[tuple[str, str], ...] = ()


#: The same as `Exchange`, made sooner.
make_exchange: Final = constructor(Exchange)


class Responder(Protocol):
    """One protocol's semantics."""

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one exchange; never raises for anything a client can send."""
        ...
