"""EST's listener: HTTP that knows which TLS connection it runs in.

The client certificate is asked for and not demanded. What names the connection goes
with every request, so that a certification request can be held to it: tls-unique under
TLS 1.2 (the client's Finished of the full handshake, which is the only one there is:
renegotiation and resumption are off), tls-exporter under TLS 1.3, where tickets are on
and every connection has its own value all the same.

**Source:** RFC 7030 sections 3.3 and 3.5; RFC 5929 section 3; RFC 9266 section 2.
"""

from __future__ import annotations

import dataclasses

from OpenSSL import SSL
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pkid.responders.base import Peer
from pkid.transports.http import HTTPConnection, HTTPFront
from pkid.transports.tls import peer_chain

_EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
_EXPORTER_OCTETS = 32


class ESTConnection(HTTPConnection):
    """One client's connection."""

    _log = Logger()
    _shaken = False

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Say why a handshake failed: its client was told by an alert alone."""
        if not self._shaken and isinstance(reason.value, SSL.Error):
            self._log.info(
                "est TLS handshake with {peer} failed: {cause}",
                peer=self.peer.address,
                listener=self.peer.listener,
                cause=_cause(reason.value),
            )
        super().connectionLost(reason)

    def handshakeCompleted(self) -> None:
        """Note who the client says it is, and what names this connection."""
        self._shaken = True
        super().handshakeCompleted()
        handle: SSL.Connection = self.transport.getHandle()
        self.peer = dataclasses.replace(
            self.peer,
            chain=peer_chain(handle) if self.peer.certificate else (),
            channel_bindings=channel_bindings(handle),
        )


class ESTFront(HTTPFront):
    """Serves a site over HTTP inside TLS, for EST."""

    def connection(self, peer: Peer) -> Protocol:
        """Make the protocol object for one admitted client."""
        return ESTConnection(self, peer)


def _cause(error: SSL.Error) -> str:
    """The reasons that OpenSSL gives, without its places in the source."""
    queue = error.args[0] if error.args else ()
    reasons = [str(one[-1]) for one in queue] if isinstance(queue, list) else []
    return ", ".join(reasons) or "the client broke it off"


def channel_bindings(handle: SSL.Connection) -> tuple[bytes, ...]:
    """What names a TLS connection, in octets.

    :param handle: of a server's connection whose handshake is complete.
    """
    if handle.get_protocol_version() == SSL.TLS1_3_VERSION:
        return (handle.export_keying_material(_EXPORTER_LABEL, _EXPORTER_OCTETS, b""),)
    unique = handle.get_peer_finished()
    exported = handle.export_keying_material(_EXPORTER_LABEL, _EXPORTER_OCTETS, b"")
    return (exported,) if unique is None else (unique, exported)
