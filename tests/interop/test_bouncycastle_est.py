"""Bouncy Castle's EST client (1.72), driven by a small program of ours."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from tests.support.daemon import Daemon, running

pytestmark = pytest.mark.interop

JARS = tuple(f"/usr/share/java/{name}.jar" for name in ("bcpkix", "bcprov", "bcutil"))
SOURCE = Path(__file__).parent / "java" / "BouncyEST.java"
LABELS = ("keys", "digest", "waiting")
SETTINGS = (
    'est.alias.keys = { authority = "issuing", key_generation = true }',
    'est.alias.digest = { authority = "issuing", '
    'http_authentication = ["digest-md5"] }',
    'est.alias.waiting = { authority = "issuing", approval = "operator", '
    'retry_after = "7m" }',
)
TIMEOUT_SECONDS = 60.0


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("pkid"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture(scope="module")
def classpath(
    tmp_path_factory: pytest.TempPathFactory, require_client: Callable[[str], str]
) -> str:
    """The client, compiled once."""
    compiler = require_client("javac")
    missing = [jar for jar in JARS if not Path(jar).exists()]
    if missing:
        reason = f"{', '.join(missing)}: not installed (libbcpkix-java)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("classes")
    done = subprocess.run(
        [compiler, "-cp", ":".join(JARS), "-d", str(folder), str(SOURCE)],
        check=False,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr.decode()
    return ":".join((str(folder), *JARS))


def converse(
    daemon: Daemon, classpath: str, folder: Path, version: str, kind: str
) -> dict[str, str]:
    trust = folder / "trust.pem"
    first_run = daemon.first_run
    trust.write_bytes(
        (first_run / "root.pem").read_bytes() + (first_run / "chain.pem").read_bytes()
    )
    est = daemon.credentials["est"]
    done = subprocess.run(
        [
            *("java", "-cp", classpath, "BouncyEST"),
            *(f"localhost:{daemon.est.port}", str(trust), version, kind),
            *(f"CN=bouncy-{version}-{kind.replace(':', '-')}",),
            *(est["username"], est["password"], *LABELS),
        ],
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def certificate(text: str) -> x509.Certificate:
    return x509.load_der_x509_certificate(base64.b64decode(text))


def spki(key: object) -> bytes:
    form = PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(Encoding.DER, form)  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("kind", ["ec:P-256", "ec:P-384", "rsa:2048", "ed25519"])
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.requirement("EST-08", "EST-25", "EST-34")
def test_all_that_it_can_do(
    daemon: Daemon, classpath: str, tmp_path: Path, version: str, kind: str
) -> None:
    begin = time.time()
    found = converse(daemon, classpath, tmp_path, version, kind)
    assert found["cacerts"] == "2"
    assert base64.b64decode(found["csrattrs"])[0] == 0x30
    old, new = certificate(found["enrolled"]), certificate(found["renewed"])
    assert (old.subject, old.public_key() == new.public_key()) == (new.subject, False)
    made = load_der_private_key(base64.b64decode(found["made-key"]), None)
    assert spki(made.public_key()) == spki(certificate(found["made"]).public_key())
    assert certificate(found["digest"]).subject == old.subject
    assert found["waiting"] == "true"
    wait = int(found["not-before"]) / 1000 - begin
    assert 400 < wait < 500
    assert found["refused"] == "403"
