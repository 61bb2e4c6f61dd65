"""An IDevID enrolled by curl, and a device of SCEP that renews over EST."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.responders.estdesk import csr, new_key
from tests.support.daemon import Daemon, running
from tests.support.estclient import Curl
from tests.support.estwire import ESTWire

pytestmark = pytest.mark.interop

ONBOARDING = (
    'est.alias.default = { authority = "issuing" }',
    'est.alias.onboarding = { authority = "issuing", vendors = ["acme"], '
    'authenticate = ["vendor", "certificate"], certificate_profile = "ldevid", '
    'issued_subject = "CN={entity},O=Example" }',
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("pkid")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "3650"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/O=Acme/CN=Acme Root"),
            *("-keyout", "acme.key", "-out", "acme.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    trust = f'vendor.acme = {{ anchors = ["{folder / "acme.pem"}"] }}'
    with running(folder, settings=(*ONBOARDING, trust)) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture
def curl(daemon: Daemon, tmp_path: Path, require_client: Callable[[str], str]) -> Curl:
    for name in ("curl", "openssl"):
        require_client(name)
    return Curl(daemon, tmp_path)


def make_idevid(curl: Curl, unit: str) -> None:
    """``idevid.pem`` and ``idevid.key``, as the vendor's factory makes them."""
    factory = curl.daemon.state.parent
    curl.key("idevid")
    curl.request("idevid", f"/O=Acme/serialNumber={unit}", form="pem")
    curl.run(
        *("openssl", "x509", "-req", "-in", "idevid.req", "-days", "3650"),
        *("-CA", str(factory / "acme.pem"), "-CAkey", str(factory / "acme.key")),
        *("-set_serial", "4711", "-out", "idevid.pem"),
    )


@pytest.mark.requirement("EST-43")
def test_an_idevid_on_the_list_gets_an_ldevid_that_renews_itself(
    curl: Curl,
) -> None:
    make_idevid(curl, "SN-4711")
    curl.key("own")
    body = curl.request("own", "/CN=whatever the box says")
    asked = {"body": body, "label": "onboarding"}
    refused = curl.ask("simpleenroll", cert="idevid", **asked)
    assert refused.status == 403
    assert "allow-list" in refused.text
    curl.daemon.tool("vendor", "add", "acme", "SN-4711", "--name", "switch-7")
    answer = curl.ask("simpleenroll", cert="idevid", **asked)
    first = curl.keep("own", answer)
    assert first.subject.rfc4514_string() == "CN=switch-7,O=Example"
    curl.key("next")
    body = curl.request("next", "/O=Example/CN=switch-7")
    renewed = curl.ask("simplereenroll", body=body, label="onboarding", cert="own")
    assert curl.keep("next", renewed).subject == first.subject
    by_idevid = curl.ask("simplereenroll", body=body, label="onboarding", cert="idevid")
    assert by_idevid.status == 403


@pytest.mark.requirement("EST-45")
def test_a_device_that_came_by_scep_renews_over_est_as_one_entity(
    curl: Curl, require_client: Callable[[str], str]
) -> None:
    pki = require_client("pki")
    scep = curl.daemon.credentials["scep"]
    curl.key("box", "rsa:2048")
    curl.run(
        *(pki, "--scepca", "--url", scep["url"], "--force"),
        *("--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem"),
    )
    speaker = "ra.pem" if (curl.folder / "ra.pem").exists() else "ca-1.pem"
    trust = [
        part
        for path in sorted(curl.folder.glob("ca*.pem"))
        for part in ("--cacert", path.name)
    ]
    done = curl.run(
        *(pki, "--scep", "--url", scep["url"], "--in", "box.key", "--dn", "CN=box"),
        *("--cacert-enc", speaker, "--cacert-sig", speaker, *trust),
        *("--outform", "pem", "--password", scep["challenge"]),
    )
    own = x509.load_pem_x509_certificate(done.stdout)
    key = load_pem_private_key((curl.folder / "box.key").read_bytes(), None)
    with ESTWire(curl.daemon.est.address, identity=(key, [own])) as wire:
        renewed = wire.ask("simplereenroll", csr(new_key(), "CN=box")).certificate
    history = curl.daemon.ask_tool("entity", "show", "box")["certificates"]
    serials = {f"issuing/{one.serial_number:x}" for one in (own, renewed)}
    assert {one["reference"] for one in history} == serials
    assert {one["protocol"] for one in history} == {"scep", "est"}
