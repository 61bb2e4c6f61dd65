"""`openssl cmp` and the other commands of OpenSSL, in a directory of its own.

No leniency is ever asked for: neither unprotected errors nor ignored key usage.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from tests.support.daemon import Daemon
from tests.support.lint import lint_certificate

TIMEOUT_SECONDS = 60.0
KEY_OPTIONS = {
    "ec:P-256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "ec:P-384": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
    "ec:P-521": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"),
    "rsa:2048": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "rsa:3072": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"),
    "ed25519": ("-algorithm", "ED25519"),
    "ed448": ("-algorithm", "ED448"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended.

    :ivar text: standard output and error.
    """

    status: int
    text: str

    @property
    def ok(self) -> bool:
        return self.status == 0


class OpenSSL:
    """OpenSSL's command line as a client of one daemon.

    :param daemon: the one whose secret and root the client knows.
    :param door: the one that it asks, when that is another.
    :param trust: the one whose root it trusts, when that is another.
    :ivar alias: the entrance that is asked, unless a call names another.
    """

    def __init__(
        self,
        program: str,
        daemon: Daemon,
        folder: Path,
        *,
        door: Daemon | None = None,
        trust: Daemon | None = None,
    ) -> None:
        self._program = program
        self._daemon = daemon
        self._door = door or daemon
        self._trust = trust or daemon
        self.folder = folder
        self.alias = "default"

    # --- OpenSSL ------------------------------------------------------------------

    def run(self, *arguments: str | Path) -> Outcome:
        """Run any command."""
        done = subprocess.run(
            [self._program, *map(str, arguments)],
            check=False,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"},
        )
        return Outcome(done.returncode, done.stdout.decode("utf-8", "replace"))

    def must(self, *arguments: str | Path) -> str:
        """Run any command, which must not fail."""
        outcome = self.run(*arguments)
        assert outcome.ok, f"openssl {' '.join(map(str, arguments))}:\n{outcome.text}"
        return outcome.text

    def make_key(self, name: str, kind: str = "ec:P-256") -> Path:
        """Make a private key."""
        path = self.folder / f"{name}.key"
        self.must("genpkey", *KEY_OPTIONS[kind], "-out", path)
        return path

    def make_request(self, name: str, subject: str, *arguments: str) -> Path:
        """Make a PKCS #10 request with the key of that name."""
        path = self.folder / f"{name}.csr"
        key = self.folder / f"{name}.key"
        self.must(
            *("req", "-new", "-key", key, "-subj", subject, "-out", path), *arguments
        )
        return path

    # --- CMP ----------------------------------------------------------------------

    @property
    def by_secret(self) -> tuple[str, ...]:
        """Protection by the first-run secret."""
        reference = self._daemon.credentials["cmp"]["reference"]
        secret = self._daemon.first_run / "cmp.secret"
        return ("-ref", reference, "-secret", f"file:{secret}")

    def by_certificate(self, name: str) -> tuple[str, ...]:
        """Protection by a certificate and its key; trust in the root alone."""
        return (
            *("-cert", f"{name}.pem", "-key", f"{name}.key"),
            *("-trusted", str(self._trust.first_run / "root.pem")),
            *("-untrusted", str(self._trust.first_run / "chain.pem")),
        )

    def cmp(self, command: str, *arguments: str | Path, alias: str = "") -> Outcome:
        """Send a request and see it through."""
        return self.run(
            *("cmp", "-cmd", command, "-server", str(self._door.http)),
            *("-path", f".well-known/cmp/p/{alias or self.alias}"),
            *("-msg_timeout", "20", "-total_timeout", "40"),
            *arguments,
        )

    def enrol(
        self,
        name: str,
        *arguments: str | Path,
        command: str = "ir",
        kind: str = "ec:P-256",
        by: Sequence[str] = (),
        alias: str = "",
    ) -> x509.Certificate:
        """Make a key if there is none, get a certificate for it, and judge that."""
        if not (self.folder / f"{name}.key").exists():
            self.make_key(name, kind)
        subject = () if "-subject" in arguments else ("-subject", f"/CN={name}")
        outcome = self.cmp(
            command,
            *(by or self.by_secret),
            *("-newkey", f"{name}.key", *subject, "-certout", f"{name}.pem"),
            *arguments,
            alias=alias,
        )
        assert outcome.ok, outcome.text
        return self.judge(name)

    # --- judgement ----------------------------------------------------------------

    def judge(self, name: str) -> x509.Certificate:
        """Hold a certificate to the chain of the first start, and to pkilint."""
        path = self.folder / f"{name}.pem"
        said = self.must(
            *("verify", "-x509_strict", "-check_ss_sig"),
            *("-CAfile", self._trust.first_run / "root.pem"),
            *("-untrusted", self._trust.first_run / "chain.pem"),
            path,
        )
        assert said.strip().endswith("OK")
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        findings = lint_certificate(certificate)
        assert not findings, findings
        return certificate
