"""Two daemons are set up as ``docs/cmp-ra.md`` says, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from pkid.app.config import decode_configuration
from tests.support import pages
from tests.support.daemon import running

pytestmark = pytest.mark.interop

PAGE = "cmp-ra"
LISTENERS = ("http", "cmp-tcp")


def configured(side: str) -> str:
    (found,) = [
        one.text
        for one in pages.blocks(PAGE)
        if one.language == "toml" and one.label == side
    ]
    return found


@pytest.mark.parametrize("side", ["ca", "ra"])
def test_the_configurations_of_the_page_are_without_fault(side: str) -> None:
    assert decode_configuration(configured(side), source=PAGE).cmp_aliases


def test_a_device_enrols_renews_and_revokes_as_the_page_says(
    tmp_path: Path, require_client: Callable[[str], str]
) -> None:
    require_client("openssl")
    homes = {side: tmp_path / side for side in ("ca", "ra")}
    for side, home in homes.items():
        (home / "state").mkdir(parents=True)
        (home / "state").chmod(0o700)
        (tmp_path / f"{side}-state").symlink_to(home / "state")
    secret, files, addresses, device = pages.scripts(PAGE)
    assert addresses.label == "addresses"
    with running(
        homes["ca"], configuration=configured("ca"), listeners=LISTENERS
    ) as ca:
        pages.run(secret.text, tmp_path)
        pages.run(files.text, tmp_path)
        text = configured("ra")
        for said, true in (("8080", ca.http.port), ("8829", ca.tcp.port)):
            text, count = re.subn(rf"//127.0.0.1:{said}", f"//127.0.0.1:{true}", text)
            assert count
        with running(homes["ra"], configuration=text, listeners=LISTENERS) as ra:
            doors = pages.addresses(addresses, RA=str(ra.http))
            said = pages.run(f"{doors}\n{device.text}", tmp_path)
            log = ra.log
        new = x509.load_pem_x509_certificate((tmp_path / "next.pem").read_bytes())
        view = ca.ask_tool("certificate", "show", f"issuing/{new.serial_number:x}")
    assert "Traceback" not in log
    assert view["status"] == "revoked"
    for word in ("hand-on", "issue", "confirm", "revoke"):
        assert word in said
