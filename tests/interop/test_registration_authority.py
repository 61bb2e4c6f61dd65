"""pkid before another CA: as a proxy, with added protection, and as the one who signs.

The devices are OpenSSL's client; the CA is a second pkid or OpenSSL's mock server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pkid.transports.cmptcp import FRAMINGS
from tests.support.daemon import Daemon, running
from tests.support.mockserver import mock_server
from tests.support.opensslcmp import OpenSSL
from tests.support.processes import free_port

pytestmark = pytest.mark.interop


def proxy_configuration(
    *urls: str, framing: str = "draft", trust: Path | None = None
) -> str:
    framing = framing if framing in FRAMINGS else "draft"
    trusted = "" if trust is None else f'trust = ["{trust}"]'
    listed = ", ".join(f'"{url}"' for url in urls)
    return f"""
[cmp.upstream.ca]
urls = [{listed}]
framing = "{framing}"
timeout = "5s"
rest = "1s"
{trusted}

[cmp.alias.default]
upstream = "ca"
"""


@pytest.fixture
def program(require_client: Callable[[str], str]) -> str:
    """OpenSSL's command."""
    return require_client("openssl")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The CA that all of these stand before."""
    with running(tmp_path_factory.mktemp("ca")) as daemon:
        yield daemon


def url_of(ca: Daemon, way: str, alias: str = "default") -> str:
    """The CA's address by HTTP, HTTPS or a framing of TCP."""
    if way in FRAMINGS:
        return f"tcp://{ca.tcp}"
    door = ca.door("https") if way == "https" else ca.http
    return f"{way}://{door}/.well-known/cmp/p/{alias}"


def proxied_by(proxy: Daemon, ca: Daemon, program: str, folder: Path) -> OpenSSL:
    """A client that asks the proxy, and knows the CA's secret and root."""
    return OpenSSL(program, ca, folder, door=proxy)


# --- proxy ------------------------------------------------------------------------


@pytest.mark.requirement("CMP-144")
def test_a_proxy_before_openssls_own_server(program: str, tmp_path: Path) -> None:
    (tmp_path / "mock").mkdir()
    with mock_server(tmp_path / "mock", program) as mock:
        # It gives one and the same certificate to all.
        pem = mock.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "unit.key").write_bytes(pem)
        url = f"http://127.0.0.1:{mock.address[1]}/pkix/"
        with running(tmp_path, configuration=proxy_configuration(url)) as proxy:
            outcome = OpenSSL(program, proxy, tmp_path).cmp(
                *("ir", "-ref", "reference", "-secret", "pass:not-a-secret-at-all"),
                *("-newkey", "unit.key", "-subject", "/CN=device"),
                *("-certout", "unit.pem"),
            )
            assert outcome.ok, outcome.text + proxy.log
            assert (tmp_path / "unit.pem").exists()


@pytest.mark.requirement("CMP-144")
@pytest.mark.parametrize("way", ["http", "https", "draft", "rfc2510", "der"])
def test_a_proxy_before_another_pkid(
    ca: Daemon, program: str, tmp_path: Path, way: str
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    with running(
        tmp_path,
        configuration=proxy_configuration(
            dead, url_of(ca, way), framing=way, trust=ca.first_run / "root.pem"
        ),
    ) as proxy:
        client = proxied_by(proxy, ca, program, tmp_path)
        client.enrol("unit")
        client.enrol("next", command="kur", by=client.by_certificate("unit"))
        asked = client.cmp("genm", *client.by_secret, "-infotype", "caCerts")
        assert asked.ok, asked.text
        revoked = client.cmp(
            *("rr", *client.by_certificate("next"), "-oldcert", "next.pem"),
        )
        assert revoked.ok, revoked.text
        assert "Traceback" not in proxy.log, proxy.log
