"""A daemon with delta and partitioned CRLs, for relying parties to look at."""

from __future__ import annotations

import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL

SECONDS = 60.0
SETTINGS = (
    'authority.issuing = { delta_crl_period = "1h", crl_partitions = 2 }',
    'authority.root = { ocsp = "direct" }',
)


def fetch(daemon: Daemon, path: str) -> bytes:
    """What is served there; it must be there."""
    with daemon.http_wire() as wire:
        answer = wire.get(path)
    assert answer.status == 200, (path, answer)
    return answer.body


def save_issuer(openssl: OpenSSL, daemon: Daemon) -> x509.Certificate:
    """The issuing CA's certificate, also in ``issuing.pem``."""
    found = x509.load_der_x509_certificate(fetch(daemon, "/certificates/issuing.cer"))
    (openssl.folder / "issuing.pem").write_bytes(found.public_bytes(Encoding.PEM))
    return found


def revoke(daemon: Daemon, certificate: x509.Certificate, reason: str) -> None:
    """Revoke it by the operator's tool."""
    serial = f"issuing/{certificate.serial_number:x}"
    daemon.tool("certificate", "revoke", serial, "--reason", reason)


def places_of(certificate: x509.Certificate) -> tuple[str, str]:
    """Paths of the full and the delta CRL that a certificate names."""
    found = []
    for kind in (x509.CRLDistributionPoints, x509.FreshestCRL):
        points = certificate.extensions.get_extension_for_class(kind).value
        (name,) = points[0].full_name or ()
        found.append("/" + str(name.value).split("/", 3)[3])
    return found[0], found[1]


def wait_for_entry(
    daemon: Daemon, path: str, certificate: x509.Certificate
) -> x509.CertificateRevocationList:
    """The CRL there as soon as the certificate is on it; a minute at most."""
    deadline = time.monotonic() + SECONDS
    while True:
        with daemon.http_wire() as wire:
            answer = wire.get(path)
        if answer.status == 200:
            crl = x509.load_der_x509_crl(answer.body)
            number = certificate.serial_number
            if crl.get_revoked_certificate_by_serial_number(number) is not None:
                return crl
        assert time.monotonic() < deadline, "the revocation is on no CRL"
        time.sleep(0.2)


def save(folder: Path, name: str, crl: x509.CertificateRevocationList) -> Path:
    """A CRL in PEM."""
    path = folder / name
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    return path
