"""A base station enrols, renews and revokes as ``docs/3gpp.md`` says, word for word."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from pkid.app.config import decode_configuration
from tests.support import pages
from tests.support.daemon import ROOT, Daemon, running

pytestmark = pytest.mark.interop

PAGE = "3gpp"


@dataclass(frozen=True)
class Site:
    """A daemon set up by the page, and the folder in which its commands are run."""

    daemon: Daemon
    folder: Path
    output: list[str]

    def certificate(self, name: str) -> x509.Certificate:
        path = self.folder / f"{name}.pem"
        return x509.load_pem_x509_certificate(path.read_bytes())

    def status(self, name: str) -> tuple[str, str]:
        serial = f"{self.certificate(name).serial_number:x}"
        view = self.daemon.ask_tool("certificate", "show", serial)
        return view["status"], view["reason"]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, require_client: Callable[[str], str]
) -> Iterator[Site]:
    """All commands of the page, run once in their order."""
    require_client("openssl")
    folder = tmp_path_factory.mktemp("station")
    maker, addresses, *rest = pages.scripts(PAGE)
    assert addresses.label == "addresses"
    pages.run(maker.text, folder)
    home = tmp_path_factory.mktemp("pkid")
    (home / "state").mkdir(mode=0o700)
    shutil.copy(folder / "acme-root.pem", home / "state")
    text = pages.configuration(PAGE)
    listeners = ("http", "cmp-tcp")
    with running(home, configuration=text, listeners=listeners) as daemon:
        (folder / "pkid-state").symlink_to(daemon.state)
        doors = pages.addresses(addresses, HTTP=str(daemon.http), TCP=str(daemon.tcp))
        output = [pages.run(f"{doors}\n{block.text}", folder, daemon) for block in rest]
        yield Site(daemon, folder, output)
    assert "Traceback" not in daemon.log, daemon.log


def test_the_configuration_of_the_page_is_without_fault() -> None:
    found = decode_configuration(pages.configuration(PAGE), source=PAGE)
    assert {"ran", "gateways", "functions"} <= found.cmp_aliases.keys()


def test_what_the_page_calls_proven_is_a_test() -> None:
    text = (ROOT / "docs" / f"{PAGE}.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    rooms = [ROOT / "tests" / room for room in ("interop", "responders", "engine")]
    found = {
        name
        for room in rooms
        for path in room.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.M)
    }
    assert named
    assert named - found == set()


@pytest.mark.requirement("CMP-178", "CMP-181", "ENG-22")
def test_a_station_gets_the_operators_name_for_its_serial_number(site: Site) -> None:
    found = site.certificate("site")
    assert found.subject.rfc4514_string() == "CN=site-0001,O=Example Mobile"
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [
        "site-0001.ran.example.net"
    ]


@pytest.mark.requirement("CMP-180")
@pytest.mark.parametrize("name", ["site2", "rfc2510-2", "draft-2"])
def test_a_station_renews_with_a_new_key_under_its_name(site: Site, name: str) -> None:
    old = site.certificate(name.replace("-2", "").replace("2", "", name == "site2"))
    new = site.certificate(name)
    assert new.subject == old.subject
    assert new.public_key() != old.public_key()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("site2", "cessation_of_operation"),
        ("rfc2510-2", "superseded"),
        ("draft-2", "superseded"),
    ],
)
def test_a_station_revokes_its_certificate(site: Site, name: str, reason: str) -> None:
    assert site.status(name) == ("revoked", reason)


@pytest.mark.requirement("ENG-22", "ENG-29")
def test_a_reset_revokes_what_the_station_held(site: Site) -> None:
    """``pkid entity rearm --revoke``: the certificate before the key update too."""
    assert site.status("site") == ("revoked", "superseded")
    view = site.daemon.ask_tool("entity", "show", "site-0002")
    assert view["vendor"] == "acme|AC-0077"


@pytest.mark.requirement("ENG-22")
def test_the_operator_learns_how_to_list_a_unit(site: Site) -> None:
    key = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
    script = f"""
        {key} -out other.key
        openssl req -new -key other.key -out other.csr \
            -subj "/O=Acme Radio/CN=Station/serialNumber=AC-0009"
        openssl x509 -req -in other.csr -CA acme-root.pem -CAkey acme-root.key \
            -CAcreateserial -days 365 -extfile unit.ext -out other.pem
        ! openssl cmp -cmd ir -server {site.daemon.http} -path pkix \
            -cert other.pem -key other.key -newkey other.key -subject /CN=x \
            -trusted pkid-state/first-run/root.pem -certout none.pem
    """
    pages.run(script, site.folder, site.daemon)
    said = site.daemon.tool("explain", "AC-0009").stdout
    assert "pkid vendor add acme AC-0009" in said


@pytest.mark.requirement("CMP-177")
@pytest.mark.parametrize("transport", ["http", "tcp-rfc2510", "tcp-draft"])
def test_everything_went_over_each_transport(site: Site, transport: str) -> None:
    lines = [line for line in site.daemon.log.splitlines() if transport in line]
    words = {word for line in lines for word in re.findall(r"\w+", line.lower())}
    assert words >= {"ir", "cert_conf", "kur", "rr"}
