"""A root changes its key while devices enrol, update and trust either root."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.daemon import Daemon, running
from tests.support.opensslcmp import OpenSSL, Outcome

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of its own: what happens here changes its CAs for good."""
    with running(tmp_path_factory.mktemp("rollover")) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


def fetch(daemon: Daemon, path: str) -> bytes:
    with daemon.http_wire() as wire:
        answer = wire.get(path)
    assert answer.status == 200, answer
    return answer.body


class Enrolling:
    """Devices that enrol one after another until they are told to stop."""

    def __init__(self, openssl: OpenSSL) -> None:
        self.outcomes: list[Outcome] = []
        self._openssl = openssl
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        openssl.make_key("busy")
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            number = len(self.outcomes)
            self.outcomes.append(
                self._openssl.cmp(
                    *("ir", *self._openssl.by_secret, "-newkey", "busy.key"),
                    *("-subject", f"/CN=busy-{number}", "-certout", "busy.pem"),
                )
            )

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def update(openssl: OpenSSL, name: str, root: Path) -> Outcome:
    """A key update by a device that knows one root and nothing else."""
    openssl.make_key(f"{name}-new")
    return openssl.cmp(
        *("kur", "-cert", f"{name}.pem", "-key", f"{name}.key"),
        *("-trusted", root, "-newkey", f"{name}-new.key"),
        *("-certout", f"{name}-new.pem", "-extracertsout", f"{name}-extra.pem"),
    )


@pytest.mark.requirement("ENG-03", "ENG-04", "ENG-24")
def test_a_root_rolls_over_while_devices_enrol(
    openssl: OpenSSL, daemon: Daemon, tmp_path: Path
) -> None:
    old_root = daemon.first_run / "root.pem"
    for name in ("trusts-old", "trusts-new"):
        openssl.enrol(name)
    enrolling = Enrolling(openssl)
    daemon.tool("ca", "rollover", "root")
    daemon.tool("ca", "activate", "root")
    daemon.tool("ca", "renew", "issuing")
    enrolling.end()
    assert enrolling.outcomes
    for outcome in enrolling.outcomes:
        assert outcome.ok, outcome.text
    new_root = tmp_path / "new-root.pem"
    (phases,) = [
        one for one in daemon.ask_tool("ca", "list") if one["name"] == "root-2"
    ]
    assert (phases["phase"], phases["predecessor"]) == ("current", "root")
    octets = fetch(daemon, "/certificates/root-2.cer")
    loaded = x509.load_der_x509_certificate(octets)
    new_root.write_bytes(loaded.public_bytes(Encoding.PEM))
    for name, root in (("trusts-old", old_root), ("trusts-new", new_root)):
        outcome = update(openssl, name, root)
        assert outcome.ok, outcome.text
        said = openssl.must(
            *("verify", "-x509_strict", "-CAfile", root),
            *("-untrusted", f"{name}-extra.pem", f"{name}-new.pem"),
        )
        assert said.strip().endswith("OK")


@pytest.mark.requirement("ENG-03")
def test_the_issuing_ca_rolls_over_and_both_sign_their_lists(
    openssl: OpenSSL, daemon: Daemon
) -> None:
    daemon.tool("ca", "rollover", "issuing", "--key", "ec:P-384")
    daemon.tool("ca", "activate", "issuing")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", openssl.make_key("after")),
        *("-subject", "/CN=after", "-certout", "after.pem"),
    )
    assert outcome.ok, outcome.text
    after = x509.load_pem_x509_certificate((openssl.folder / "after.pem").read_bytes())
    authority = daemon.ask_tool("ca", "show", "issuing-2")
    assert authority["phase"] == "current"
    for name in ("issuing", "issuing-2"):
        crl = x509.load_der_x509_crl(fetch(daemon, f"/crls/{name}.crl"))
        issuer = x509.load_der_x509_certificate(
            fetch(daemon, f"/certificates/{name}.cer")
        )
        assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
        if name == "issuing-2":
            after.verify_directly_issued_by(issuer)


@pytest.mark.requirement("ENG-01")
def test_a_ca_that_another_pki_certifies_goes_to_work(
    openssl: OpenSSL, daemon: Daemon
) -> None:
    openssl.must(
        *("req", "-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=Other Root"),
        *("-keyout", "other.key", "-out", "other.pem", "-days", "3650"),
    )
    asked = daemon.tool("ca", "request", "outside", "--subject", "CN=Outside,O=Example")
    (openssl.folder / "outside.csr").write_text(asked.stdout)
    (openssl.folder / "ca.cnf").write_text(
        "basicConstraints=critical,CA:TRUE,pathlen:0\n"
        "keyUsage=critical,keyCertSign,cRLSign\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    openssl.must(
        *("x509", "-req", "-in", "outside.csr", "-CA", "other.pem"),
        *("-CAkey", "other.key", "-days", "1000", "-extfile", "ca.cnf"),
        *("-out", "outside.pem"),
    )
    files = [str(openssl.folder / name) for name in ("outside.pem", "other.pem")]
    daemon.tool("ca", "install", "outside", *files)
    crl = x509.load_der_x509_crl(fetch(daemon, "/crls/outside.crl"))
    by = x509.load_pem_x509_certificate((openssl.folder / "outside.pem").read_bytes())
    assert crl.is_signature_valid(by.public_key())  # type: ignore[arg-type]
    refused = daemon.tool("ca", "install", "outside", files[1], check=False)
    assert refused.returncode == 1
    assert "none of the certificates is for the key of this CA" in refused.stderr


def test_a_further_ca_is_made_by_a_command(daemon: Daemon) -> None:
    daemon.tool(
        *("ca", "create", "second", "--subject", "CN=Second,O=Example"),
        *("--key", "ec:P-384", "--parent", "issuing"),
        check=False,
    )
    made = daemon.tool(
        *("ca", "create", "third", "--subject", "CN=Third", "--parent", "root")
    )
    assert "CN=Third" in made.stdout
    assert fetch(daemon, "/crls/third.crl")
