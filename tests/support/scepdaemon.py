"""The two kinds of CA that SCEP's clients meet, and what a client has to know."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support import scepclient
from tests.support.daemon import Daemon, running

OLD = "static_challenge = true, allow_sha1 = true, allow_des = true, allow_des3 = true"
SIGNING_AND_DECRYPTING = (
    '["keyCertSign", "cRLSign", "digitalSignature", "keyEncipherment"]'
)
DECIDED_SECONDS = 30.0


def settings(kind: str) -> tuple[str, ...]:
    """``ec``: an EC CA behind an RSA RA. ``rsa``: an RSA CA that speaks itself."""
    identity = "ra" if kind == "ec" else "ca"
    common = f'authority = "issuing", identity = "{identity}"'
    aliases = (
        f'scep.alias.default.identity = "{identity}"',
        f"scep.alias.legacy = {{ {common}, {OLD} }}",
        f'scep.alias.waiting = {{ {common}, approval = "operator",'
        ' unknown_requesters = "pend" }',
        f"scep.alias.once = {{ {common} }}",
    )
    if kind == "ec":
        return aliases
    usage = f"certificate_profile.sub-ca.key_usage = {SIGNING_AND_DECRYPTING}"
    return (*aliases, 'keys.authority_key = "rsa:3072"', usage)


@contextmanager
def scep_daemon(folder: Path, kind: str) -> Iterator[Daemon]:
    """A daemon with entrances for every test."""
    with running(folder, settings=settings(kind)) as daemon:
        yield daemon


@dataclass(frozen=True)
class Place:
    """One daemon as a client sees it, and a directory of the client's own."""

    daemon: Daemon
    kind: str
    folder: Path

    def url(self, alias: str = "default") -> str:
        found: str = self.daemon.credentials["scep"]["url"]
        return f"{found.rpartition('/')[0]}/{alias}"

    @property
    def challenge(self) -> str:
        return str(self.daemon.credentials["scep"]["challenge"])

    def fetch(self, operation: str, alias: str = "default") -> bytes:
        with urllib.request.urlopen(
            f"{self.url(alias)}?operation={operation}", timeout=20
        ) as reply:
            octets: bytes = reply.read()
        return octets

    def certificates(self, alias: str = "default") -> list[x509.Certificate]:
        """What GetCACert gives, in its order."""
        found, _ = scepclient.read_certs_only(self.fetch("GetCACert", alias))
        return list(found)

    @property
    def speaker(self) -> x509.Certificate:
        """Who opens requests: the RA, or the CA itself."""
        octets = self.fetch("GetCACert")
        done = subprocess.run(
            ["openssl", "pkcs7", "-inform", "DER", "-print_certs"],
            input=octets,
            capture_output=True,
            check=True,
        )
        return x509.load_pem_x509_certificates(done.stdout)[0]

    def run(
        self, *command: str | Path, check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        assert not check or done.returncode == 0, f"{command}:\n{said}"
        return done

    def judge(self, name: str) -> x509.Certificate:
        """The certificate in a file, if OpenSSL finds a path to the root."""
        first = self.daemon.first_run
        octets = (self.folder / name).read_bytes()
        load = (
            x509.load_pem_x509_certificate
            if b"-----BEGIN" in octets
            else x509.load_der_x509_certificate
        )
        certificate = load(octets)
        (self.folder / "judged.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        self.run(
            *("openssl", "verify", "-CAfile", first / "root.pem"),
            *("-untrusted", first / "chain.pem", "judged.pem"),
        )
        return certificate

    def pending(self, subject: str) -> dict[str, Any]:
        """The request with that subject, once it is there."""
        deadline = time.monotonic() + DECIDED_SECONDS
        while time.monotonic() < deadline:
            for view in self.daemon.ask_tool("request", "list"):
                if subject in str(view) and view["status"] == "waiting":
                    return dict(view)
            time.sleep(0.1)
        raise AssertionError(f"no request for {subject}")

    def approve(self, subject: str) -> None:
        self.daemon.tool("request", "approve", str(self.pending(subject)["id"]))

    def reject(self, subject: str) -> None:
        self.daemon.tool("request", "reject", str(self.pending(subject)["id"]))
