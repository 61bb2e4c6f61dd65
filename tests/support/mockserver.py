"""OpenSSL's mock server: a peer to try the clients on, and to be measured against.

It answers one client at a time with one and the same certificate, signs nothing and
stores nothing.
"""

from __future__ import annotations

import contextlib
import datetime
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tests.support.cmpclient import MacCredential, SignatureCredential
from tests.support.processes import end, free_port, wait_for_port

DAY = datetime.timedelta(days=1)


class MockServer:
    """`openssl cmp -port`, with a CA and one certificate made for it."""

    def __init__(self, folder: Path, openssl: str) -> None:
        self._folder = folder
        self._openssl = openssl
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = _certificate("Mock CA", self._ca_key, self._ca_key, is_ca=True)
        self.certificate = _certificate("device", self.key, self._ca_key, is_ca=False)
        self.credential = MacCredential(b"reference", b"not-a-secret-at-all")
        self.address = ("127.0.0.1", free_port())
        self.process: subprocess.Popen[bytes] | None = None
        self._write("ca.pem", self.ca.public_bytes(Encoding.PEM))
        self._write("ee.pem", self.certificate.public_bytes(Encoding.PEM))
        self._write("ca.key", _pem(self._ca_key))

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def signature(self) -> SignatureCredential:
        """The certificate that it gives to all, as a credential."""
        return SignatureCredential(self.certificate, self.key)

    def start(self, options: Sequence[str] = ()) -> None:
        """Start it and wait until it accepts."""
        with (self._folder / "mock.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self._openssl, "cmp", "-port", str(self.address[1])),
                    *("-srv_ref", "reference"),
                    *("-srv_secret", "pass:not-a-secret-at-all"),
                    *("-srv_cert", "ca.pem", "-srv_key", "ca.key"),
                    *("-srv_trusted", "ca.pem", "-rsp_cert", "ee.pem"),
                    *("-rsp_capubs", "ca.pem", "-rsp_extracerts", "ca.pem"),
                    *options,
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for_port(self.address, self.process)

    def stop(self) -> None:
        """End it; it holds nothing worth an orderly stop."""
        if self.process is not None:
            end(self.process, 2)

    def _write(self, name: str, octets: bytes) -> None:
        (self._folder / name).write_bytes(octets)


@contextlib.contextmanager
def mock_server(
    folder: Path, openssl: str, options: Sequence[str] = ()
) -> Iterator[MockServer]:
    """A mock server that runs, and is gone afterwards."""
    server = MockServer(folder, openssl)
    try:
        server.start(options)
        yield server
    finally:
        server.stop()


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mock CA")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 30 * DAY)
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
