"""OpenSSL's client waits for an operator, or comes with a vendor's certificate."""

from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL, Outcome

pytestmark = pytest.mark.interop

DECIDED_SECONDS = 30.0


class Waiting:
    """A client that polls in the background."""

    def __init__(
        self, openssl: OpenSSL, command: str, arguments: tuple[str, ...]
    ) -> None:
        self.outcome: Outcome | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._call = (command, arguments)
        self._openssl = openssl
        self._thread.start()

    def _run(self) -> None:
        command, arguments = self._call
        self.outcome = self._openssl.cmp(command, *arguments, alias="waiting")

    def end(self) -> Outcome:
        self._thread.join(DECIDED_SECONDS)
        assert self.outcome is not None, "the client still waits"
        return self.outcome


def pending(daemon: Daemon, subject: str) -> dict[str, Any]:
    """The request with that subject, once it is there."""
    deadline = time.monotonic() + DECIDED_SECONDS
    while time.monotonic() < deadline:
        for view in daemon.ask_tool("request", "list"):
            if subject in str(view):
                return dict(view)
        time.sleep(0.2)
    raise AssertionError(f"no request for {subject}")


def request_arguments(openssl: OpenSSL, command: str, name: str) -> tuple[str, ...]:
    openssl.make_key(name)
    openssl.make_request(name, f"/CN={name}")
    out = ("-certout", f"{name}.pem")
    if command == "p10cr":
        return (*openssl.by_secret, "-csr", f"{name}.csr", *out)
    subject = ("-newkey", f"{name}.key", "-subject", f"/CN={name}")
    return (*openssl.by_secret, *subject, *out)


@pytest.mark.requirement("CMP-101", "CMP-103")
@pytest.mark.parametrize("command", ["ir", "cr", "p10cr"])
def test_an_approved_request_is_answered_at_the_next_poll(
    openssl: OpenSSL, daemon: Daemon, command: str
) -> None:
    name = f"approved-{command}"
    waiting = Waiting(openssl, command, request_arguments(openssl, command, name))
    request = pending(daemon, name)
    daemon.tool("request", "approve", str(request["id"]))
    outcome = waiting.end()
    assert outcome.ok, outcome.text
    assert "received POLLREP" in outcome.text or "received polling" in outcome.text
    openssl.judge(name)


def test_a_rejected_request_ends_in_a_refusal(openssl: OpenSSL, daemon: Daemon) -> None:
    waiting = Waiting(openssl, "ir", request_arguments(openssl, "ir", "rejected"))
    request = pending(daemon, "rejected")
    daemon.tool("request", "reject", str(request["id"]))
    outcome = waiting.end()
    assert not outcome.ok
    assert "PKIStatus: rejection" in outcome.text, outcome.text
    assert not (openssl.folder / "rejected.pem").exists()


# --- vendors ----------------------------------------------------------------------


def make_device(
    openssl: OpenSSL, vendor: Path, serial: str, issuer: str = "maker"
) -> None:
    """A device certificate of the manufacturer: ``device.pem`` and ``device.key``."""
    openssl.make_key("device")
    openssl.make_request("device", f"/O=Maker/serialNumber={serial}/CN=device")
    (openssl.folder / "usage.cnf").write_text("keyUsage=critical,digitalSignature\n")
    openssl.must(
        *("x509", "-req", "-in", "device.csr", "-CA", vendor / f"{issuer}.pem"),
        *(
            "-CAkey",
            vendor / f"{issuer}.key",
            "-set_serial",
            "0x" + serial.encode().hex(),
        ),
        *("-days", "365", "-out", "device.pem", "-extfile", "usage.cnf"),
    )


def our_issuer(daemon: Daemon) -> tuple[str, ...]:
    """Left to itself OpenSSL asks for the issuer of its own certificate."""
    chain = (daemon.first_run / "chain.pem").read_bytes()
    subject = x509.load_pem_x509_certificates(chain)[0].subject
    (name,) = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return ("-issuer", f"/CN={name.value}")


def ask_as_device(
    openssl: OpenSSL, daemon: Daemon, *arguments: str, issuer: tuple[str, ...]
) -> Outcome:
    openssl.make_key("unit")
    return openssl.cmp(
        *("ir", "-cert", "device.pem", "-key", "device.key", "-newkey", "unit.key"),
        *("-certout", "unit.pem", "-trusted", str(daemon.first_run / "root.pem")),
        *("-untrusted", str(daemon.first_run / "chain.pem")),
        *("-subject", "/CN=unit", *issuer, *arguments),
        alias="vendor",
    )


@pytest.mark.requirement("ENG-22", "CMP-178")
@pytest.mark.parametrize("issuer", ["ours", "vendors"])
def test_a_listed_device_enrols_with_its_vendor_certificate(
    openssl: OpenSSL, daemon: Daemon, vendor_folder: Path, issuer: str
) -> None:
    unit = f"LISTED-{issuer}"
    make_device(openssl, vendor_folder, unit)
    daemon.tool(
        *("vendor", "add", "maker", unit, "--name", unit.lower()),
        *("--subject", f"CN={unit}"),
    )
    asked = our_issuer(daemon) if issuer == "ours" else ()
    outcome = ask_as_device(openssl, daemon, issuer=asked)
    assert outcome.ok, outcome.text
    certificate = openssl.judge("unit")
    assert unit in certificate.subject.rfc4514_string()
    openssl.enrol("next", command="kur", by=openssl.by_certificate("unit"))


@pytest.mark.requirement("ENG-22")
def test_an_unlisted_device_is_told_no_and_the_operator_why(
    openssl: OpenSSL, daemon: Daemon, vendor_folder: Path
) -> None:
    make_device(openssl, vendor_folder, "UNLISTED-7")
    outcome = ask_as_device(openssl, daemon, issuer=our_issuer(daemon))
    assert not outcome.ok
    assert "notAuthorized" in outcome.text, outcome.text
    assert "vendor add" not in outcome.text
    said = daemon.tool("explain", "UNLISTED-7").stdout
    assert "vendor add" in said, said


def test_a_device_of_another_vendor_is_not_trusted(
    openssl: OpenSSL, daemon: Daemon, vendor_folder: Path
) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-subj", "/CN=Other Root", "-keyout", "other.key", "-out", "other.pem"),
        ],
        cwd=openssl.folder,
        check=True,
        capture_output=True,
    )
    make_device(openssl, openssl.folder, "LISTED-1", issuer="other")
    outcome = ask_as_device(
        openssl, daemon, "-extracerts", "other.pem", issuer=our_issuer(daemon)
    )
    assert not outcome.ok
    assert "signerNotTrusted" in outcome.text, outcome.text
