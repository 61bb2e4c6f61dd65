"""strongSwan's `pki --estca` and `pki --est` (5.9.8): one line, Basic at once."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.daemon import Daemon, running
from tests.support.estclient import Curl

pytestmark = pytest.mark.interop

SETTINGS = (
    'est.alias.default = { authority = "issuing", certificate_profile = "device" }',
    'est.alias.waiting = { authority = "issuing", approval = "operator", '
    'retry_after = "1s" }',
    'listener.waiting = { endpoint = "tcp:0:interface=127.0.0.1", serves = ["est"], '
    'tls = true, alias = "waiting" }',
)
TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("pkid"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


class Pki:
    """strongSwan's tool in a directory of its own."""

    def __init__(self, program: str, daemon: Daemon, folder: Path) -> None:
        self._program = program
        self.daemon = daemon
        self.folder = folder
        # Keys and requests are OpenSSL's: pki 5.9.8 makes none with Ed25519 for all.
        self.openssl = Curl(daemon, folder)
        self.listener = "est"

    def command(self, *arguments: str) -> list[str]:
        # The name in the certificate is checked: an address is one there.
        door = self.daemon._door(self.listener)
        trust = str(self.daemon.first_run / "root.pem")
        verb, *others = arguments
        return [
            *(self._program, f"--{verb}", "--url", f"https://{door}"),
            *("--cacert", trust, *others),
        ]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            check=False,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "no_proxy": "127.0.0.1", "LEAK_DETECTIVE_DISABLE": "1"},
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done

    def enroll(self, *options: str, name: str, subject: str, kind: str) -> bytes:
        self.openssl.key(name, kind)
        self.openssl.request(name, subject, form="der")
        done = self.run(
            *("est", "--in", f"{name}.req", "--outform", "pem"),
            *("--cacert", str(self.daemon.first_run / "chain.pem"), *options),
        )
        (self.folder / f"{name}.pem").write_bytes(done.stdout)
        return done.stdout


@pytest.fixture
def pki(daemon: Daemon, tmp_path: Path, require_client: Callable[[str], str]) -> Pki:
    return Pki(require_client("pki"), daemon, tmp_path)


def test_ca_certificates_are_read(pki: Pki) -> None:
    pki.run("estca", "--caout", "ca.pem", "--outform", "pem")
    found = [path.read_bytes() for path in pki.folder.glob("ca*.pem")]
    root = (pki.daemon.first_run / "root.pem").read_bytes().split()
    assert root in [one.split() for one in found]
    assert len(found) == 2


@pytest.mark.parametrize("kind", ["ec:P-256", "ec:P-384", "rsa:2048", "ed25519"])
def test_enrols_by_password_and_renews_by_certificate(pki: Pki, kind: str) -> None:
    subject = f"/CN=swan-{kind.replace(':', '-')}"
    user = pki.openssl.first_run_user
    first = pki.enroll("--userpass", user, name="one", subject=subject, kind=kind)
    second = pki.enroll(
        *("--cert", "one.pem", "--key", "one.key"),
        name="two",
        subject=subject,
        kind=kind,
    )
    old, new = map(x509.load_pem_x509_certificate, (first, second))
    assert new.subject == old.subject
    assert new.serial_number != old.serial_number
    history = pki.daemon.ask_tool("entity", "show", f"swan-{kind.replace(':', '-')}")
    assert len(history["certificates"]) == 2


def test_waits_for_approval_and_comes_back(pki: Pki) -> None:
    pki.listener = "waiting"
    pki.openssl.key("one")
    pki.openssl.request("one", "/CN=swan-waiting", form="der")
    with (pki.folder / "one.pem").open("wb") as made:
        waiting = subprocess.Popen(
            pki.command(
                *("est", "--in", "one.req", "--outform", "pem", "--interval", "1"),
                *("--userpass", pki.openssl.first_run_user, "--maxpolltime", "30"),
                *("--cacert", str(pki.daemon.first_run / "chain.pem")),
            ),
            cwd=pki.folder,
            stdout=made,
            stderr=subprocess.PIPE,
            env={**os.environ, "no_proxy": "127.0.0.1"},
        )
        try:
            approve(pki.daemon, "CN=swan-waiting")
            _, said = waiting.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            waiting.kill()
            waiting.wait()
    assert waiting.returncode == 0, said
    made_octets = (pki.folder / "one.pem").read_bytes()
    assert x509.load_pem_x509_certificate(made_octets)


def approve(daemon: Daemon, subject: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for one in daemon.ask_tool("request", "list"):
            if one["subject"] == subject and one["status"] == "waiting":
                daemon.tool("request", "approve", one["id"])
                return
        time.sleep(0.2)
    raise AssertionError(f"no request of {subject} waits")


@pytest.mark.requirement("EST-08")
def test_the_answer_is_one_line_for_it_and_wrapped_for_others(pki: Pki) -> None:
    # What the unit tests say of headers is what this client truly sends.
    pki.run("estca", "--caout", "ca.pem", "--outform", "pem")
    assert '"client":""' in pki.daemon.log.replace(": ", ":").replace(" ", "")
