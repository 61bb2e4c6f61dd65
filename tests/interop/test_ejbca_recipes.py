"""The recipes of ``docs/ejbca-cmp.md``, on EJBCA's own URLs, by OpenSSL's client."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.support import pages
from tests.support.daemon import Daemon, running
from tests.support.opensslcmp import OpenSSL, Outcome

pytestmark = pytest.mark.interop

AROUND = """
[listener.http]
endpoint = "tcp:8080:interface=127.0.0.1"
serves = ["cmp", "status", "operations"]
alias = "clients"

# The certificate of the registration authority itself.
[certificate_profile.registration-authority]
keys = ["ec:P-256"]
extended_key_usage = ["cmcRA"]
key_usage = ["digitalSignature"]

[cmp.alias.staff]
authority = "issuing"
certificate_profile = "registration-authority"
"""
ROOT = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650"
    " -subj '/O=Maker/CN=Maker Root' -keyout maker.key -out maker.pem"
)


class Recipes(OpenSSL):
    """OpenSSL's client on EJBCA's URL."""

    def __init__(self, program: str, daemon: Daemon, folder: Path) -> None:
        super().__init__(program, daemon, folder)
        self.daemon = daemon

    def cmp(self, command: str, *arguments: str | Path, alias: str = "") -> Outcome:
        return self.run(
            *("cmp", "-cmd", command, "-server", str(self.daemon.http)),
            *("-path", f"ejbca/publicweb/cmp/{alias}", "-msg_timeout", "20"),
            *arguments,
        )

    def secret(self, reference: str, *arguments: str) -> tuple[str, ...]:
        tool = ("secret", "add", "--reference", reference, *arguments)
        made = self.daemon.ask_tool(*tool)
        return ("-ref", reference, "-secret", f"pass:{made['secret']}")


@pytest.fixture(scope="module")
def recipes(
    tmp_path_factory: pytest.TempPathFactory, require_client: Callable[[str], str]
) -> Iterator[Recipes]:
    folder = tmp_path_factory.mktemp("devices")
    home = tmp_path_factory.mktemp("pkid")
    (home / "state").mkdir(mode=0o700)
    pages.run(ROOT, folder)
    shutil.copy(folder / "maker.pem", home / "state" / "acme-root.pem")
    text = AROUND + pages.configuration("ejbca-cmp")
    with running(home, configuration=text, listeners=("http",)) as daemon:
        yield Recipes(require_client("openssl"), daemon, folder)
    assert "Traceback" not in daemon.log, daemon.log


def subject(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


@pytest.mark.requirement("CMP-187", "CMP-189")
def test_a_registered_device_enrols_once_and_updates(recipes: Recipes) -> None:
    recipes.daemon.tool(
        *("entity", "add", "box-1", "--subject", "CN=box-1,O=Example"),
        *("--enrollments", "1"),
    )
    _, _, *secret = recipes.secret("box-1", "--entity", "box-1")
    by = ("-ref", "1234", *secret)
    name = "/O=Asked/CN=box-1"
    found = recipes.enrol("box", "-subject", name, by=by, alias="clients")
    assert subject(found) == "CN=box-1,O=Example"
    recipes.make_key("second")
    again = recipes.cmp(
        *("ir", *by, "-newkey", "second.key", "-subject", "/CN=box-1"),
        *("-certout", "second.pem"),
        alias="clients",
    )
    assert not again.ok
    recipes.make_key("renewed")
    renewed = recipes.enrol(
        "renewed", command="kur", by=recipes.by_certificate("box"), alias="clients"
    )
    assert subject(renewed) == "CN=box-1,O=Example"


@pytest.mark.requirement("CMP-188", "CMP-189")
def test_behind_a_registration_authority(recipes: Recipes) -> None:
    """The RA is known by its certificate, and says that it saw the key (-popo 0)."""
    by = recipes.secret("staff", "--alias", "staff", "--uses", "1")
    name = "/O=Example/CN=Example RA"
    recipes.enrol("ra", "-subject", name, by=by, alias="staff")
    for number in (1, 2):
        device = recipes.enrol(
            *(f"device{number}", "-popo", "0"),
            by=recipes.by_certificate("ra"),
            alias="authority",
        )
        view = recipes.daemon.ask_tool(
            "certificate", "show", f"{device.serial_number:x}"
        )
        assert view["entity"] == f"cmp-device{number}"


@pytest.mark.requirement("CMP-188")
def test_a_shared_secret_names_the_profile(recipes: Recipes) -> None:
    by = recipes.secret("tls-client", "--alias", "authority")
    found = recipes.enrol("web", by=by, alias="authority")
    view = recipes.daemon.ask_tool("certificate", "show", f"{found.serial_number:x}")
    assert view["profile"] == "tls-client"


@pytest.mark.requirement("CMP-187", "CMP-189")
def test_a_station_with_its_manufacturers_certificate(recipes: Recipes) -> None:
    recipes.make_key("unit")
    csr = recipes.make_request("unit", "/O=Maker/CN=station-0001")
    recipes.must(
        *("x509", "-req", "-in", csr, "-CA", "maker.pem", "-CAkey", "maker.key"),
        *("-CAcreateserial", "-days", "3650", "-out", "unit.pem"),
    )
    recipes.daemon.tool(
        *("vendor", "add", "acme", "station-0001", "--name", "station-0001"),
        *("--subject", "CN=station-0001"),
    )
    found = recipes.enrol(
        *("station", "-subject", "/CN=station-0001"),
        by=recipes.by_certificate("unit"),
        alias="stations",
    )
    assert subject(found) == "CN=station-0001"
    recipes.make_key("station2")
    renewed = recipes.enrol(
        "station2",
        command="kur",
        by=recipes.by_certificate("station"),
        alias="stations",
    )
    assert subject(renewed) == "CN=station-0001"
