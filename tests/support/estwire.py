"""One TLS connection to an EST listener, kept open, its channel bindings at hand."""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass, field
from http.client import HTTPResponse
from io import BytesIO
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from OpenSSL import SSL

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def certificate(self) -> x509.Certificate:
        assert self.status == 200, (self.status, self.body)
        return pkcs7.load_der_pkcs7_certificates(base64.b64decode(self.body))[0]


class _Octets:
    """What `HTTPResponse` asks of a socket."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._octets)


@dataclass
class ESTWire:
    """A connection.

    :ivar resumes: take the session of this connection.
    :ivar identity: key and certificates (own first) for the handshake.
    """

    address: tuple[str, int]
    newest: int = SSL.TLS1_3_VERSION
    identity: tuple[Any, list[x509.Certificate]] | None = None
    resumes: ESTWire | None = None
    user: str = ""
    _rest: bytes = field(default=b"", repr=False)

    def __enter__(self) -> ESTWire:
        self.context = self._context()
        self._socket = socket.create_connection(self.address, TIMEOUT_SECONDS)
        # pyOpenSSL knows no time-outs of Python's: the kernel keeps this one.
        self._socket.setblocking(True)
        self.tls = SSL.Connection(self.context, self._socket)
        self.tls.set_connect_state()
        if self.resumes is not None and self.resumes.tls.get_session() is not None:
            self.tls.set_session(cast("SSL.Session", self.resumes.tls.get_session()))
        self.tls.do_handshake()
        return self

    def _context(self) -> SSL.Context:
        if self.resumes is not None:
            return self.resumes.context
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(self.newest)
        context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
        if self.identity is not None:
            key, (own, *others) = self.identity
            context.use_privatekey(key)
            context.use_certificate(own)
            for one in others:
                context.add_extra_chain_cert(one)
        return context

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def binding(self) -> bytes:
        """tls-unique under TLS 1.2, tls-exporter under TLS 1.3."""
        if self.tls.get_protocol_version() == SSL.TLS1_3_VERSION:
            label = b"EXPORTER-Channel-Binding"
            return self.tls.export_keying_material(label, 32, b"")
        unique = self.tls.get_finished()
        assert unique is not None
        return unique

    def ask(
        self,
        operation: str,
        body: bytes | None = None,
        label: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One exchange on this connection."""
        path = f"/.well-known/est/{label and label + '/'}{operation}"
        given = {"Host": "localhost", "User-Agent": "test", **(headers or {})}
        if self.user:
            text = base64.b64encode(self.user.encode()).decode()
            given["Authorization"] = f"Basic {text}"
        octets = b"" if body is None else base64.encodebytes(body)
        if body is not None:
            given["Content-Type"] = "application/pkcs10"
            given["Content-Length"] = str(len(octets))
        verb = "GET" if body is None else "POST"
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.tls.sendall(f"{verb} {path} HTTP/1.1\r\n{head}\r\n".encode() + octets)
        return self._answer()

    def _answer(self) -> Answer:
        received = self._rest
        while b"\r\n\r\n" not in received:
            received += self.tls.recv(65536)
        head, _, rest = received.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            rest += self.tls.recv(65536)
        self._rest = rest[length:]
        response = HTTPResponse(
            cast("socket.socket", _Octets(head + b"\r\n\r\n" + rest[:length]))
        )
        response.begin()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, rest[:length])
