"""GnuTLS's ocsptool and certtool read what OpenSSL's tools do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.interop.revocations import (
    SETTINGS,
    fetch,
    places_of,
    revoke,
    save_issuer,
    wait_for_entry,
)
from tests.support.daemon import Daemon, running
from tests.support.opensslcmp import OpenSSL

pytestmark = pytest.mark.interop
TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("gnutls"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


class GnuTLS:
    """GnuTLS's programs in a directory with ``unit.pem`` and ``issuing.pem``."""

    def __init__(self, ocsptool: str, certtool: str, openssl: OpenSSL) -> None:
        self.folder = openssl.folder
        self.openssl = openssl
        self._programs = {"ocsptool": ocsptool, "certtool": certtool}

    def run(self, program: str, *arguments: str | Path) -> tuple[int, str]:
        done = subprocess.run(
            [self._programs[program], *map(str, arguments)],
            check=False,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_SECONDS,
        )
        return done.returncode, done.stdout.decode("utf-8", "replace")


@pytest.fixture
def gnutls(
    require_client: Callable[[str], str], lists: Daemon, tmp_path: Path
) -> GnuTLS:
    openssl = OpenSSL(require_client("openssl"), lists, tmp_path)
    save_issuer(openssl, lists)
    return GnuTLS(require_client("ocsptool"), require_client("certtool"), openssl)


def ask(gnutls: GnuTLS, daemon: Daemon, *arguments: str) -> str:
    status, text = gnutls.run(
        "ocsptool",
        *(f"--ask=http://{daemon.http}/ocsp", "--load-issuer=issuing.pem"),
        *("--load-cert=unit.pem", "--load-trust=issuing.pem", *arguments),
    )
    assert status in {0, 1}, text
    assert "Verifying OCSP Response: Success" in text, text
    return text


@pytest.mark.requirement("ENG-32")
@pytest.mark.parametrize("nonce", ["--nonce", "--no-nonce"])
def test_ocsptool_sees_a_revocation_at_once(
    gnutls: GnuTLS, lists: Daemon, nonce: str
) -> None:
    unit = gnutls.openssl.enrol("unit")
    assert "Certificate Status: good" in ask(gnutls, lists, nonce)
    revoke(lists, unit, "key-compromise")
    assert "Certificate Status: revoked" in ask(gnutls, lists, nonce)


@pytest.mark.requirement("ENG-31")
def test_certtool_verifies_full_and_delta_lists(gnutls: GnuTLS, lists: Daemon) -> None:
    unit = gnutls.openssl.enrol("unit")
    full, delta = places_of(unit)
    revoke(lists, unit, "superseded")
    wait_for_entry(lists, delta, unit)
    for path in (full, delta):
        crl = x509.load_der_x509_crl(fetch(lists, path))
        (gnutls.folder / "list.pem").write_bytes(crl.public_bytes(Encoding.PEM))
        status, text = gnutls.run(
            *("certtool", "--verify-crl", "--infile", "list.pem"),
            *("--load-ca-certificate", "issuing.pem"),
        )
        assert status == 0, text
        assert "Verified" in text, text
        status, text = gnutls.run("certtool", "--crl-info", "--infile", "list.pem")
        assert status == 0, text
        listed = f"{unit.serial_number:x}" in text.replace(":", "").lower()
        assert listed == (path == delta), text


@pytest.mark.requirement("ENG-33")
def test_certtool_reads_the_bundle(gnutls: GnuTLS, lists: Daemon) -> None:
    octets = fetch(lists, "/certificates/issuing.p7c")
    (gnutls.folder / "bundle.p7c").write_bytes(octets)
    status, text = gnutls.run(
        "certtool", "--p7-info", "--inder", "--infile", "bundle.p7c"
    )
    assert status == 0, text
    assert "Number of certificates: 2" in text, text
