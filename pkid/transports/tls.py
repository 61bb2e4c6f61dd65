"""TLS for any listener. pyOpenSSL lives here and nowhere else.

TLS 1.2 and 1.3 with authenticated encryption and forward secrecy only, no
compression, no renegotiation, http/1.1 as the one application protocol. A client
certificate is asked for and never demanded. Whatever certificate comes is accepted
by the handshake, which proves possession of its key and nothing else: it passes to
the responder, who decides what it is worth, for each request.

**Source:** RFC 9325 (BCP 195) sections 3 and 4.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL, crypto
from OpenSSL.crypto import FILETYPE_ASN1
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

_TLS12_CIPHERS = b":".join(
    (
        b"ECDHE-ECDSA-AES256-GCM-SHA384",
        b"ECDHE-RSA-AES256-GCM-SHA384",
        b"ECDHE-ECDSA-CHACHA20-POLY1305",
        b"ECDHE-RSA-CHACHA20-POLY1305",
        b"ECDHE-ECDSA-AES128-GCM-SHA256",
        b"ECDHE-RSA-AES128-GCM-SHA256",
    )
)
_TLS13_CIPHERS = (
    b"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
)
_PROTOCOL = b"http/1.1"
_VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}
#: Certificates of a client's chain that are looked at.
MAX_CHAIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSCredentials:
    """What a listener proves its name with.

    :ivar key_pem: the private key, PEM, not encrypted.
    :ivar chain_pem: its certificate first, then those above it, PEM; the root may
        be left out.
    """

    key_pem: bytes = field(repr=False)
    chain_pem: bytes


class TLSTransport(Protocol):
    """What a TLS connection's transport can tell."""

    def getPeerCertificate(self) -> crypto.X509 | None:
        """Give the certificate that the peer showed."""
        ...


def peer_certificate(transport: TLSTransport) -> bytes | None:
    """Give the certificate that the client showed in the handshake, as DER.

    :param transport: of a TLS connection whose handshake is complete.
    """
    certificate = transport.getPeerCertificate()
    if certificate is None:
        return None
    return certificate.to_cryptography().public_bytes(Encoding.DER)


def peer_chain(handle: SSL.Connection) -> tuple[bytes, ...]:
    """Give what the client sent beside its certificate, as DER.

    :param handle: of a connection whose handshake is complete. On a resumed one the
        certificate is known and its chain is not.
    """
    chain = handle.get_peer_cert_chain(as_cryptography=True) or []
    own = handle.get_peer_certificate(as_cryptography=True)
    return tuple(
        one.public_bytes(Encoding.DER) for one in chain[:MAX_CHAIN] if one != own
    )


@implementer(IOpenSSLServerConnectionCreator)
class TLSContext:
    """Makes the TLS side of each new connection; its credentials can be exchanged.

    :param credentials: key and chain. A key that is not the certificate's is
        refused.
    :param full_handshakes: no tickets under TLS 1.2, where a resumed connection has
        no tls-unique of its own to bind a request to. Those of TLS 1.3 stay.
    :param newest: the highest version offered, "1.3" or "1.2".
    :raises ValueError: when key and chain cannot be read or do not belong together.
    """

    def __init__(
        self,
        credentials: TLSCredentials,
        *,
        full_handshakes: bool = False,
        newest: str = "1.3",
    ) -> None:
        self._full_handshakes = full_handshakes
        self._newest = _VERSIONS[newest]
        # One identity for all contexts, so that a session outlives an exchange.
        self._session_id = secrets.token_bytes(16)
        self._credentials = credentials
        self._context = self._make(credentials)

    def replace(self, credentials: TLSCredentials) -> None:
        """Use other credentials from the next connection on.

        Those that are open keep theirs. When the new ones are not good, the old
        ones stay.

        :raises ValueError: as for the class.
        """
        self._context = self._make(credentials)
        self._credentials = credentials

    def rotate(self) -> None:
        """Make new session ticket keys; to be called about twice a day.

        What was recorded under the old ones can no longer be opened with them
        (RFC 9325 section 3.4).
        """
        self._context = self._make(self._credentials)

    def serverConnectionForTLS(self, _protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the state of one connection."""
        return SSL.Connection(self._context, None)

    def _make(self, credentials: TLSCredentials) -> SSL.Context:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_max_proto_version(self._newest)
        context.set_options(
            SSL.OP_NO_COMPRESSION
            | SSL.OP_NO_RENEGOTIATION
            | SSL.OP_CIPHER_SERVER_PREFERENCE
        )
        context.set_cipher_list(_TLS12_CIPHERS)
        context.set_tls13_ciphersuites(_TLS13_CIPHERS)
        # Sessions live in tickets that the clients keep, not in our memory.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_session_id(self._session_id)
        context.set_alpn_select_callback(_select_protocol)
        context.set_verify(SSL.VERIFY_PEER, _accept_any)
        if self._full_handshakes:
            context.set_info_callback(_issue_no_old_ticket)
        _use(context, credentials)
        return context


def client_connection_creator(
    host: str, anchors: Sequence[bytes]
) -> IOpenSSLClientConnectionCreator:
    """What makes the client's side of a connection, the server's name checked.

    :param host: name or address that the server's certificate must have.
    :param anchors: DER of the certificates that its chain may end in; no others are
        trusted, those of the system neither.
    :raises ValueError: for anchors that cannot be read.
    """
    roots = [Certificate.load(octets, FILETYPE_ASN1) for octets in anchors]
    creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(
        host, trustRoot=trustRootFromCertificates(roots)
    )
    return creator


def _use(context: SSL.Context, credentials: TLSCredentials) -> None:
    key = load_pem_private_key(credentials.key_pem, password=None)
    chain = load_pem_x509_certificates(credentials.chain_pem)
    if key.public_key() != chain[0].public_key():
        raise ValueError("the TLS key is not the key of the TLS certificate")
    try:
        context.use_certificate(chain[0])
        for issuer in chain[1:]:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(key)  # type: ignore[arg-type] # kind checked by OpenSSL
    except (SSL.Error, TypeError) as error:
        raise ValueError("TLS cannot use this key and certificate") from error


def _accept_any(
    _connection: SSL.Connection,
    _certificate: crypto.X509,
    _error: int,
    _depth: int,
    _verified: int,
) -> bool:
    # Who may do what is decided for each request: device certificates have many
    # roots, and a resumed session would not come through here again.
    return True


def _issue_no_old_ticket(connection: SSL.Connection, where: int, _code: int) -> None:
    # Called as the handshake goes on. The version is known before the server's hello
    # promises a ticket; a context's own option would silence TLS 1.3 too.
    if (
        where & SSL.SSL_CB_ACCEPT_LOOP == SSL.SSL_CB_ACCEPT_LOOP
        and connection.get_protocol_version() != SSL.TLS1_3_VERSION
    ):
        connection.set_options(SSL.OP_NO_TICKET)


def _select_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    # To choose the empty name ends the handshake: a client that came for another
    # protocol must not take our answers for it (RFC 9325 section 3.8).
    return _PROTOCOL if _PROTOCOL in offered else b""


class TLSListenerFactory(TLSMemoryBIOFactory):
    """Puts TLS under a factory that may decline a connection.

    :param context: makes the TLS side.
    :param inner: the factory of what is spoken inside.
    :param clock: the reactor.
    """

    def __init__(
        self, context: TLSContext, inner: Factory[Any], clock: IReactorTime
    ) -> None:
        super().__init__(context, isClient=False, wrappedFactory=inner, clock=clock)

    def buildProtocol(  # type: ignore[override] # Factory's own contract has None
        self, addr: IAddress | None
    ) -> TLSMemoryBIOProtocol | None:
        """Build the connection for one client, or None when it is one too many."""
        inner = self.wrappedFactory.buildProtocol(addr)
        return None if inner is None else self.protocol(self, inner)
