"""SIGHUP: the whole new configuration, or the old one untouched."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from pkid.app.config import built_in_text
from tests.app.broken import BROKEN
from tests.support.daemon import Daemon, running


class Reloading:
    """A daemon, its configuration file, and what its log says of it."""

    def __init__(self, daemon: Daemon, path: Path) -> None:
        self.daemon = daemon
        self.path = path
        self.text = path.read_text()

    def reload(self, text: str, expected: str) -> str:
        """Write a configuration, send SIGHUP, wait for words in the log."""
        self.path.write_text(text)
        begin = len(self.daemon.log)
        self.daemon.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while expected not in (said := self.daemon.log[begin:]):
            assert time.monotonic() < deadline, said
            time.sleep(0.01)
        return said

    @property
    def https(self) -> tuple[str, int]:
        """Where the HTTPS listener truly listens."""
        path = self.daemon.state / "run" / "listeners.json"
        found = json.loads(path.read_text())["https"]
        return found["host"], found["port"]

    def alias(self, name: str = "default") -> dict[str, object]:
        found: dict[str, object] = self.daemon.ask_tool(
            "alias", "show", name, "--effective"
        )
        return found


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloading]:
    folder = tmp_path_factory.mktemp("reload")
    with running(folder, configuration=built_in_text()) as daemon:
        yield Reloading(daemon, folder / "pkid.conf")


TAKEN = "was read again"
NOT_TAKEN = "was not taken"


@pytest.mark.requirement("ENG-48")
def test_aliases_profiles_and_the_log_level_follow_at_once(
    reloading: Reloading,
) -> None:
    text = reloading.text.replace('validity = "2y"', 'validity = "1h"', 1)
    text += '\n[cmp.alias.second]\nauthority = "issuing"\napproval = "operator"\n'
    with reloading.daemon.http_wire() as wire:
        assert wire.get("/livez").status == 200
        reloading.reload(text, TAKEN)
        assert wire.get("/livez").status == 200  # the same connection
    found = reloading.alias("second")
    assert found["cmp.alias.second"]["approval"] == '"operator"'
    assert found["certificate_profile.device"]["validity"] == '"1h"'
    certificate = enrolled(reloading.daemon, "CN=short-lived")
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime.total_seconds() < 2 * 3600
    reloading.reload(reloading.text, TAKEN)
    entrances = reloading.daemon.ask_tool("alias", "list")
    assert {one["name"] for one in entrances} == {"default"}


def enrolled(daemon: Daemon, subject: str) -> x509.Certificate:
    client = daemon.client()
    request = client.enrol(subject)
    with daemon.http_wire() as wire:
        answer = client.read(wire.exchange(request.octets), request)
    assert answer.certificate is not None
    return x509.load_der_x509_certificate(answer.certificate)


@pytest.mark.requirement("FLT-33")
def test_a_file_with_faults_changes_nothing(reloading: Reloading) -> None:
    before = reloading.alias()
    for text, _ in BROKEN:
        said = reloading.reload(text, NOT_TAKEN)
        assert TAKEN not in said
    assert reloading.alias() == before
    assert "swordfish" not in reloading.daemon.log
    reloading.reload(reloading.text, TAKEN)


def test_a_vendor_file_that_is_missing_changes_nothing(reloading: Reloading) -> None:
    text = f'{reloading.text}\n[vendor.acme]\nanchors = ["/nowhere/root.pem"]\n'
    said = reloading.reload(text, NOT_TAKEN)
    assert "vendor.acme.anchors" in said
    reloading.reload(reloading.text, TAKEN)


def test_what_needs_a_restart_is_named_and_stays(reloading: Reloading) -> None:
    https = re.compile(r"serves = \[[^]]*\]\ntls")
    text = https.sub('serves = ["cmp"]\ntls', reloading.text, count=1)
    said = reloading.reload(text, TAKEN)
    assert "restart needed: listeners changed" in said
    with reloading.daemon.http_wire() as wire:
        assert wire.get("/readyz").status == 200
    reloading.reload(reloading.text, TAKEN)


@pytest.mark.requirement("ENG-50")
def test_a_new_public_url_brings_a_new_tls_certificate(reloading: Reloading) -> None:
    url = "http://ca.example.test:8080"
    text = reloading.text.replace(
        '# public_url = "http://127.0.0.1:8080"', f'public_url = "{url}"', 1
    )
    reloading.reload(text, TAKEN)
    host, port = reloading.https
    context = ssl.create_default_context(
        cafile=str(reloading.daemon.first_run / "root.pem")
    )
    with (
        socket.create_connection((host, port), 10) as plain,
        context.wrap_socket(plain, server_hostname="ca.example.test") as tls,
    ):
        octets = tls.getpeercert(binary_form=True)
    assert octets is not None
    certificate = x509.load_der_x509_certificate(octets)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [
        "ca.example.test",
        "localhost",
    ]
    reloading.reload(reloading.text, TAKEN)


def test_a_storm_of_hang_ups_loses_nothing(
    reloading: Reloading,
) -> None:
    daemon = reloading.daemon
    before = daemon.ask_tool("status")["audit"]["sequence"]
    for _ in range(100):
        daemon.process.send_signal(signal.SIGHUP)
    enrolled(daemon, "CN=in-the-storm")
    daemon.tool("verify-audit")
    assert daemon.ask_tool("status")["audit"]["sequence"] > before
    assert daemon.process.poll() is None
