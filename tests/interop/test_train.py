"""A unit of rail enrols, renews and withdraws as ``docs/ertms.md`` says, as printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import pages
from tests.support.daemon import Daemon, Door, running

pytestmark = pytest.mark.interop

PAGE = "ertms"


@dataclass(frozen=True)
class Depot:
    """A daemon set up by the page, and the folder in which its commands are run."""

    daemon: Daemon
    folder: Path

    def certificate(self, name: str) -> x509.Certificate:
        path = self.folder / f"{name}.pem"
        return x509.load_pem_x509_certificate(path.read_bytes())


def tls_door(daemon: Daemon) -> Door:
    daemon.tcp_listener = "cmp-tls"
    try:
        return daemon.tcp
    finally:
        daemon.tcp_listener = "cmp-tcp"


@pytest.fixture(scope="module")
def depot(
    tmp_path_factory: pytest.TempPathFactory, require_client: Callable[[str], str]
) -> Iterator[Depot]:
    """All commands of the page, run once in their order."""
    require_client("openssl")
    folder = tmp_path_factory.mktemp("unit")
    addresses, *rest = pages.scripts(PAGE)
    assert addresses.label == "addresses"
    text = pages.configuration(PAGE)
    doors = ("http", "cmp-tcp", "cmp-tls")
    home = tmp_path_factory.mktemp("pkid")
    with running(home, configuration=text, listeners=doors) as daemon:
        (folder / "pkid-state").symlink_to(daemon.state)
        true = pages.addresses(
            addresses, TCP=str(daemon.tcp), TLS=str(tls_door(daemon))
        )
        for block in rest:
            pages.run(f"{true}\n{block.text}", folder, daemon)
        yield Depot(daemon, folder)
    assert "Traceback" not in daemon.log, daemon.log


@pytest.mark.requirement("CMP-184", "CMP-185")
def test_a_unit_gets_its_registered_ETCS_ID(depot: Depot) -> None:
    found = depot.certificate("unit")
    assert found.subject.rfc4514_string() == "CN=02016500,O=Example Rail"


@pytest.mark.requirement("CMP-196")
def test_the_root_came_with_the_certificate(depot: Depot) -> None:
    root = x509.load_pem_x509_certificate(
        (depot.daemon.first_run / "root.pem").read_bytes()
    )
    assert depot.certificate("ca") == root


@pytest.mark.requirement("CMP-184")
def test_a_unit_renews_and_withdraws(depot: Depot) -> None:
    renewed = depot.certificate("unit2")
    assert renewed.subject == depot.certificate("unit").subject
    view = depot.daemon.ask_tool("certificate", "show", f"{renewed.serial_number:x}")
    assert view["status"] == "revoked"


@pytest.mark.requirement("CMP-170")
def test_another_enrols_over_TCP_inside_TLS(depot: Depot) -> None:
    found = depot.certificate("rbc")
    assert found.subject.rfc4514_string() == "CN=05000001,O=Example Rail"


@pytest.mark.requirement("CMP-54", "CMP-184")
def test_the_secret_is_used_up(depot: Depot) -> None:
    (view,) = [
        one
        for one in depot.daemon.ask_tool("secret", "list")
        if one["reference"] == "02016500"
    ]
    assert view["uses_left"] == 0
