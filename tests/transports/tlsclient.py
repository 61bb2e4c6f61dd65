"""A TLS client of the standard library, over connections in memory."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from pkid.transports.tls import TLSCredentials
from tests.transports.wires import Wire, connect

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Made:
    """A key, its certificate and the certificates above."""

    key: Key
    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...] = ()

    @property
    def credentials(self) -> TLSCredentials:
        chain = (self.certificate, *self.above)
        return TLSCredentials(
            key_pem=self.key.private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            chain_pem=b"".join(one.public_bytes(Encoding.PEM) for one in chain),
        )

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def make(
    name: str, issuer: Made | None = None, *, key: Key | None = None, days: int = 30
) -> Made:
    """Make a key and a certificate that is valid until ``days`` from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
    )
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    above = (issuer.certificate, *issuer.above) if issuer else ()
    return Made(key, certificate, above)


def client_context(
    *, version: ssl.TLSVersion | None = None, ciphers: str = "ALL:@SECLEVEL=0"
) -> ssl.SSLContext:
    """Make the context of a client that will try anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(ciphers)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    if version is not None:
        with warnings.catch_warnings():
            # Old versions are what the tests are about.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.maximum_version = context.minimum_version = version
    return context


class TLSClient:
    """One TLS connection to a factory.

    :ivar failure: what ended the handshake or the connection, if anything.
    """

    def __init__(
        self,
        factory: Factory[Any],
        clock: Clock,
        context: ssl.SSLContext | None = None,
        *,
        session: ssl.SSLSession | None = None,
        host: str = "192.0.2.7",
    ) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or client_context()
        self.tls = context.wrap_bio(self._in, self._out, session=session)
        self.clock = clock
        self.wire: Wire = connect(factory, host)
        self.received = b""
        self.failure: Exception | None = None
        self._shaken = False

    def pump(self) -> TLSClient:
        """Exchange octets until nobody has any more."""
        for _ in range(20):
            self._step()
            self.clock.advance(0)
            outgoing, incoming = self._out.read(), self.wire.value()
            self.wire.clear()
            if incoming:
                self._in.write(incoming)
            if outgoing and not self.wire.closing:
                self.wire.protocol.dataReceived(outgoing)
            if not outgoing and not incoming:
                break
        return self

    def _step(self) -> None:
        if self.failure is not None:
            return
        try:
            if not self._shaken:
                self.tls.do_handshake()
                self._shaken = True
            while piece := self.tls.read(65536):
                self.received += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.failure = error

    def send(self, octets: bytes) -> TLSClient:
        """Send application octets."""
        self.tls.write(octets)
        return self.pump()

    @property
    def established(self) -> bool:
        return self._shaken and self.failure is None
