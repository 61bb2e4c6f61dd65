"""curl and openssl as an EST client of one daemon, in a directory of its own."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from tests.support.daemon import Daemon
from tests.support.opensslcmp import KEY_OPTIONS

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    :ivar headers: names in lower case, of the last response.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def der(self) -> bytes:
        return base64.b64decode(self.body)

    @property
    def certificates(self) -> list[x509.Certificate]:
        assert self.status == 200, (self.status, self.text)
        return pkcs7.load_der_pkcs7_certificates(self.der)

    @property
    def parts(self) -> list[tuple[str, bytes]]:
        """Media types and contents of a multipart body."""
        assert self.status == 200, (self.status, self.text)
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = message_from_bytes(head + self.body)
        assert message.is_multipart()
        assert not message.defects
        found = []
        for part in message.get_payload():
            assert part["Content-Transfer-Encoding"] == "base64"
            found.append((part["Content-Type"], part.get_payload(decode=True)))
        return found


class Curl:
    """curl as a client, openssl for keys and requests."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.folder = folder
        self.tls = ""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            arguments,
            cwd=self.folder,
            check=False,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            env={**os.environ, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"},
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done

    def key(self, name: str, kind: str = "ec:P-256") -> str:
        """Make ``name.key``."""
        self.run("openssl", "genpkey", *KEY_OPTIONS[kind], "-out", f"{name}.key")
        return name

    def request(
        self,
        name: str,
        subject: str,
        *,
        key: str | None = None,
        extensions: Sequence[str] = (),
        attributes: Sequence[str] = (),
        form: str = "base64",
    ) -> str:
        """Make ``name.req``: a request in base64, PEM or DER.

        :param attributes: lines of OpenSSL's attribute section.
        """
        lines = ["[req]", "distinguished_name=dn", "prompt=no", "[dn]"]
        if attributes:
            lines[1:1] = ["attributes=attributes"]
            lines += ["[attributes]", *attributes]
        (self.folder / f"{name}.cnf").write_text("\n".join(lines) + "\n")
        added = [part for one in extensions for part in ("-addext", one)]
        self.run(
            *("openssl", "req", "-new", "-config", f"{name}.cnf"),
            *("-key", f"{key or name}.key", "-subj", subject, *added),
            *("-outform", "PEM" if form == "pem" else "DER", "-out", f"{name}.req"),
        )
        path = self.folder / f"{name}.req"
        if form == "base64":
            path.write_bytes(base64.encodebytes(path.read_bytes()))
        return f"{name}.req"

    def ask(
        self,
        operation: str,
        *options: str,
        body: str | None = None,
        user: str | None = None,
        cert: str | None = None,
        label: str = "",
    ) -> Answer:
        """One exchange.

        :param body: file that is posted.
        :param user: "user:password"; "first-run" for the first-run user.
        :param cert: stem of ``.pem`` and ``.key`` files.
        """
        if user == "first-run":
            user = self.first_run_user
        given = ["--tlsv1.2"]
        if self.tls:
            given = [f"--tlsv{self.tls}", "--tls-max", self.tls]
        if user is not None:
            given += ["--user", user]
        if cert is not None:
            given += ["--cert", f"{cert}.pem", "--key", f"{cert}.key"]
        if body is not None:
            given += ["-H", "Content-Type: application/pkcs10"]
            given += ["--data-binary", f"@{body}"]
        url = f"https://{self.daemon.est}/.well-known/est/{label and label + '/'}"
        self.run(
            *("curl", "--silent", "--show-error", "--dump-header", "head"),
            *("--cacert", str(self.daemon.first_run / "root.pem")),
            *("--output", "body", *given, *options, url + operation),
        )
        path = self.folder / "body"
        found = path.read_bytes() if path.exists() else b""
        path.unlink(missing_ok=True)
        return Answer(*_head((self.folder / "head").read_text("latin-1")), found)

    @property
    def first_run_user(self) -> str:
        est = self.daemon.credentials["est"]
        return f"{est['username']}:{est['password']}"

    def enroll(
        self,
        name: str,
        subject: str,
        *options: str,
        kind: str = "ec:P-256",
        extensions: Sequence[str] = (),
        **given: str,
    ) -> x509.Certificate:
        """Make a key, enrol, and keep ``name.pem``."""
        self.key(name, kind)
        body = self.request(name, subject, extensions=extensions)
        if "cert" not in given:
            given.setdefault("user", "first-run")
        answer = self.ask("simpleenroll", *options, body=body, **given)
        return self.keep(name, answer)

    def keep(self, name: str, answer: Answer) -> x509.Certificate:
        (certificate,) = answer.certificates
        (self.folder / f"{name}.pem").write_bytes(
            certificate.public_bytes(Encoding.PEM)
        )
        return certificate


def _head(text: str) -> tuple[int, dict[str, str]]:
    """Status and headers of the last response; an interim one stands before it."""
    blocks = [block for block in text.replace("\r\n", "\n").split("\n\n") if block]
    first, *lines = blocks[-1].split("\n")
    pairs = (line.partition(":") for line in lines if line)
    return int(first.split()[1]), {
        name.lower(): value.strip() for name, _, value in pairs
    }
