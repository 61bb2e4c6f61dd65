"""Connections that we make to look at a server from outside.

Each goes to one address that was found to be allowed before; the name in the request
decides nothing. What the server shows proves control and nothing else, so that its
certificate is not judged.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

CONNECT_SECONDS: Final = 10.0
USER_AGENT: Final = "pkid (looks whether a challenge is met)"


@implementer(IOpenSSLClientConnectionCreator)
class _Unjudged:
    """TLS to a server whose certificate is looked at, not trusted."""

    def __init__(self, server_name: str, protocol: bytes) -> None:
        self._name = server_name.encode("ascii")
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_alpn_protos([protocol])
        self._context = context

    def clientConnectionForTLS(
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: ARG002, N803
    ) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._name)
        return connection


@implementer(IAgentEndpointFactory)
class _Pinned:
    """Endpoints that all lead to one address."""

    def __init__(self, reactor: Any, address: str, port: int) -> None:  # noqa: ANN401
        self._reactor = reactor
        self._place = (address, port)

    def endpointForURI(self, uri: Any) -> Any:  # noqa: ANN401 - Twisted's name
        plain = HostnameEndpoint(self._reactor, *self._place, timeout=CONNECT_SECONDS)
        if uri.scheme != b"https":
            return plain
        return wrapClientTLS(_Unjudged(uri.host.decode("ascii"), b"http/1.1"), plain)


class _Body(Protocol):
    """Collects a body, up to a limit."""

    def __init__(self, done: Deferred[bytes], limit: int) -> None:
        self._done = done
        self._limit = limit
        self._octets = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._octets += data
        if len(self._octets) > self._limit and self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(
        self,
        reason: Failure = connectionDone,  # noqa: ARG002
    ) -> None:
        if not self._done.called:
            self._done.callback(bytes(self._octets[: self._limit]))


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Shakes hands, notes what was shown, and leaves."""

    def __init__(self, done: Deferred[tuple[bytes, bytes]]) -> None:
        self._done = done

    def handshakeCompleted(self) -> None:
        transport: Any = self.transport
        certificate = transport.getPeerCertificate().to_cryptography()
        protocol = transport.negotiatedProtocol or b""
        transport.loseConnection()
        if not self._done.called:
            self._done.callback((certificate.public_bytes(Encoding.DER), protocol))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._done.called:
            detail = f"no TLS: {reason.getErrorMessage()}"
            self._done.errback(ConnectError(string=detail))


class _Once(Factory[_Handshake]):
    noisy = False

    def __init__(self, protocol: _Handshake) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> _Handshake:  # noqa: ARG002
        return self._protocol


class Outbound:
    """Makes them.

    :param reactor: Twisted's.
    """

    def __init__(self, reactor: Any) -> None:  # noqa: ANN401
        self._reactor = reactor

    async def get(
        self, url: str, *, address: str, port: int, limit: int
    ) -> tuple[int, str, bytes]:
        """GET a URL from that address and no other.

        :param limit: octets of the body that are read.
        :returns: status, Location, body.
        :raises ConnectError: when there is no connection.
        """
        pinned = _Pinned(self._reactor, address, port)
        agent = Agent.usingEndpointFactory(self._reactor, pinned)
        headers = Headers({"User-Agent": [USER_AGENT], "Accept": ["*/*"]})
        response = await agent.request(b"GET", url.encode("ascii"), headers)
        location = response.headers.getRawHeaders("location", [""])[0]
        done: Deferred[bytes] = Deferred()
        response.deliverBody(_Body(done, limit))
        return response.code, location, await done

    async def presented_certificate(
        self, *, address: str, port: int, server_name: str, protocol: bytes
    ) -> tuple[bytes, bytes]:
        """Certificate (DER) and ALPN protocol of a TLS server.

        :raises ConnectError: when there is no connection, or no TLS on it.
        """
        done: Deferred[tuple[bytes, bytes]] = Deferred()
        plain = HostnameEndpoint(self._reactor, address, port, timeout=CONNECT_SECONDS)
        endpoint = wrapClientTLS(_Unjudged(server_name, protocol), plain)
        await endpoint.connect(_Once(_Handshake(done)))
        return await done
