"""pkid before another CA: as a proxy, with added protection, and as the one who signs.

The devices are OpenSSL's client; the CA is a second pkid or OpenSSL's mock server.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import PKIStatus
from pkid.transports.cmptcp import FRAMINGS
from tests.support.daemon import Daemon, running
from tests.support.mockserver import mock_server
from tests.support.opensslcmp import OpenSSL
from tests.support.processes import free_port

pytestmark = pytest.mark.interop


MOST_AUTHORITIES = 30
NAMES = tuple(f"CN=Registration Authority {n}" for n in range(MOST_AUTHORITIES))
_names = iter(NAMES)

CA = """
[certificate_profile.ra]
keys = ["ec:P-256"]
validity = "90d"
key_usage = ["digitalSignature"]
extended_key_usage = ["cmcRA"]
san = "none"

[cmp.alias.default]
authority = "issuing"

[cmp.alias.ra]
authority = "issuing"
authenticate = ["ra", "mac", "certificate"]
registration_authorities = [{names}]

[cmp.alias.waiting]
authority = "issuing"
authenticate = ["ra", "mac", "certificate"]
registration_authorities = [{names}]
approval = "operator"
poll_after = "1s"

[cmp.alias.ra-enrolment]
authority = "issuing"
certificate_profile = "ra"

[listener.cmp-tcp]
endpoint = "tcp:0:interface=127.0.0.1"
serves = ["cmp-tcp"]

[listener.ra-tcp]
endpoint = "tcp:0:interface=127.0.0.1"
serves = ["cmp-tcp"]
alias = "ra"

[listener.ra-tls]
endpoint = "tcp:0:interface=127.0.0.1"
serves = ["cmp-tcp"]
alias = "ra"
tls = true

[listener.http]
endpoint = "tcp:0:interface=127.0.0.1"
serves = ["cmp", "status", "operations"]

[listener.https]
endpoint = "tcp:0:interface=127.0.0.1"
serves = ["cmp"]
tls = true

[listener.est]
endpoint = "tcp:0:interface=127.0.0.1"
serves = ["est"]
tls = true
""".replace("{names}", ", ".join(f'"{name}"' for name in NAMES))

PROXY = """
[cmp.upstream.ca]
urls = [{urls}]
framing = "{framing}"
trust = ["{root}"]
timeout = "5s"
rest = "1s"
most_rest = "1s"

[cmp.alias.default]
upstream = "ca"
"""

RA = """
[cmp.upstream.ca]
urls = [{urls}]
framing = "{framing}"
trust = ["{root}"]
timeout = "5s"
rest = "1s"
most_rest = "1s"
retry = "1s"
poll_after = "1s"
enrolment_urls = ["{enrolment}"]
subject = "{subject}"
{way_to_certificate}
{options}

[cmp.alias.default]
upstream = "ca"
upstream_mode = "{mode}"
{alias}
"""


def proxy_configuration(ca: Daemon, *urls: str, framing: str = "draft") -> str:
    return PROXY.format(
        urls=", ".join(f'"{url}"' for url in urls),
        framing=framing if framing in FRAMINGS else "draft",
        root=ca.first_run / "root.pem",
    )


def ra_configuration(
    ca: Daemon,
    folder: Path,
    mode: str,
    *urls: str,
    framing: str = "draft",
    options: str = "",
    alias: str = "",
    certificate: str = "",
) -> str:
    """An RA that asks for its certificate under a secret of its own.

    :param certificate: the setting of one that is brought instead.
    """
    made = ca.ask_tool("secret", "add", "--alias", "ra-enrolment")
    secret = folder / "ra.secret"
    secret.touch(0o600)
    secret.write_text(made["secret"])
    return RA.format(
        urls=", ".join(f'"{url}"' for url in urls),
        framing=framing if framing in FRAMINGS else "draft",
        root=ca.first_run / "root.pem",
        enrolment=f"http://{ca.http}/.well-known/cmp/p/ra-enrolment",
        subject=next(_names),
        way_to_certificate=certificate
        or f'reference = "{made["reference"]}"\nsecret = "file:{secret}"',
        mode=mode,
        options=options,
        alias=alias,
    )


@pytest.fixture
def program(require_client: Callable[[str], str]) -> str:
    """OpenSSL's command."""
    return require_client("openssl")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The CA that all of these stand before."""
    with running(tmp_path_factory.mktemp("ca"), configuration=CA) as daemon:
        yield daemon


def url_of(ca: Daemon, way: str, alias: str = "default") -> str:
    """The CA's address by HTTP, HTTPS or a framing of TCP."""
    if way in FRAMINGS:
        return f"tcp://{ca.tcp if alias == 'default' else ca.door('ra-tcp')}"
    if way == "tls":
        return f"tls://{ca.door('ra-tls')}"
    door = ca.door("https") if way == "https" else ca.http
    return f"{way}://{door}/.well-known/cmp/p/{alias}"


def proxied_by(proxy: Daemon, ca: Daemon, program: str, folder: Path) -> OpenSSL:
    """A client that asks the proxy, and knows the CA's secret and root."""
    return OpenSSL(program, ca, folder, door=proxy)


# --- proxy ------------------------------------------------------------------------


@pytest.mark.requirement("CMP-144")
def test_a_proxy_before_openssls_own_server(
    ca: Daemon, program: str, tmp_path: Path
) -> None:
    (tmp_path / "mock").mkdir()
    with mock_server(tmp_path / "mock", program) as mock:
        # It gives one and the same certificate to all.
        pem = mock.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "unit.key").write_bytes(pem)
        url = f"http://127.0.0.1:{mock.address[1]}/pkix/"
        with running(tmp_path, configuration=proxy_configuration(ca, url)) as proxy:
            outcome = OpenSSL(program, proxy, tmp_path).cmp(
                *("ir", "-ref", "reference", "-secret", "pass:not-a-secret-at-all"),
                *("-newkey", "unit.key", "-subject", "/CN=device"),
                *("-certout", "unit.pem"),
            )
            assert outcome.ok, outcome.text + proxy.log
            assert (tmp_path / "unit.pem").exists()


@pytest.mark.requirement("CMP-144")
@pytest.mark.parametrize("way", ["http", "https", "draft", "der"])
def test_a_proxy_before_another_pkid(
    ca: Daemon, program: str, tmp_path: Path, way: str
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/"
    configuration = proxy_configuration(ca, dead, url_of(ca, way), framing=way)
    with running(tmp_path, configuration=configuration) as proxy, told(proxy):
        client = proxied_by(proxy, ca, program, tmp_path)
        unit = f"proxy-{way}"
        client.enrol(unit)
        client.enrol("next", command="kur", by=client.by_certificate(unit))
        asked = client.cmp("genm", *client.by_secret, "-infotype", "caCerts")
        assert asked.ok, asked.text
        revoked = client.cmp(
            *("rr", *client.by_certificate("next"), "-oldcert", "next.pem"),
        )
        assert revoked.ok, revoked.text


# --- re-protection ----------------------------------------------------------------


@contextmanager
def told(daemon: Daemon) -> Iterator[None]:
    """Say what the daemon logged when something goes wrong."""
    try:
        yield
        assert "Traceback" not in daemon.log
    except AssertionError as error:
        raise AssertionError(f"{error}\n{daemon.log[-6000:]}") from error


def client_of(ra: Daemon, ca: Daemon, program: str, folder: Path) -> OpenSSL:
    """A client with a secret of the RA, and the CA's root as its trust."""
    return OpenSSL(program, ra, folder, trust=ca)


@pytest.mark.requirement("CMP-141", "CMP-142")
@pytest.mark.parametrize("way", ["http", "draft", "rfc2510", "tls"])
def test_an_RA_speaks_for_its_devices(
    ca: Daemon, program: str, tmp_path: Path, way: str
) -> None:
    configuration = ra_configuration(
        ca, tmp_path, "reprotect", url_of(ca, way, "ra"), framing=way
    )
    with running(tmp_path, configuration=configuration) as ra, told(ra):
        client = client_of(ra, ca, program, tmp_path)
        unit = f"re-{way}"
        client.enrol(unit)
        client.enrol(f"{unit}-direct", "-implicit_confirm")
        client.enrol("next", command="kur", by=client.by_certificate(unit))
        asked = client.cmp("genm", *client.by_secret, "-infotype", "caCerts")
        assert asked.ok, asked.text
        revoked = client.cmp(
            *("rr", *client.by_certificate("next"), "-oldcert", "next.pem"),
        )
        assert revoked.ok, revoked.text


# --- added protection -------------------------------------------------------------


@pytest.mark.requirement("CMP-141")
@pytest.mark.parametrize("way", ["http", "draft", "rfc2510"])
def test_an_RA_adds_its_protection(
    ca: Daemon, program: str, tmp_path: Path, way: str
) -> None:
    configuration = ra_configuration(
        ca, tmp_path, "protect", url_of(ca, way, "ra"), framing=way
    )
    with running(tmp_path, configuration=configuration) as ra, told(ra):
        client = proxied_by(ra, ca, program, tmp_path)
        unit = f"added-{way}"
        client.enrol(unit)
        client.enrol(f"{unit}-direct", "-implicit_confirm")
        client.enrol("next", command="kur", by=client.by_certificate(unit))
        revoked = client.cmp(
            *("rr", *client.by_certificate("next"), "-oldcert", "next.pem"),
        )
        assert revoked.ok, revoked.text


# --- the CA is away ---------------------------------------------------------------

AWAY_SECONDS = 4.0


@contextmanager
def mortal_ca(folder: Path) -> Iterator[Daemon]:
    """A CA that comes back to the same port."""
    folder.mkdir()
    endpoint = f'listener.http.endpoint="tcp:{free_port()}:interface=127.0.0.1"'
    with running(folder, configuration=CA, settings=(endpoint,)) as daemon:
        yield daemon


@pytest.mark.requirement("CMP-105")
def test_a_device_waits_while_the_CA_is_away(program: str, tmp_path: Path) -> None:
    with mortal_ca(tmp_path / "ca") as ca:
        configuration = ra_configuration(
            ca, tmp_path, "reprotect", url_of(ca, "http", "ra")
        )
        with running(tmp_path, configuration=configuration) as ra, told(ra):
            client = client_of(ra, ca, program, tmp_path)
            ca.stop()
            with ThreadPoolExecutor(1) as pool:
                enrolling = pool.submit(client.enrol, "unit")
                time.sleep(AWAY_SECONDS)
                assert not enrolling.done()
                ca.start()
                enrolling.result()


def test_a_kill_in_the_middle_loses_nothing(program: str, tmp_path: Path) -> None:
    """Begun over HTTP, gone on with over TCP, each side stopped in between."""
    with mortal_ca(tmp_path / "ca") as ca:
        configuration = ra_configuration(
            ca, tmp_path, "reprotect", url_of(ca, "http", "ra")
        )
        with running(tmp_path, configuration=configuration) as ra, told(ra):
            client = ra.client()
            ca.stop()
            request = client.enrol("CN=unit", implicit_confirm=False)
            with ra.http_wire() as wire:
                answer = client.read(wire.exchange(request.octets), request)
            assert answer.status is not None
            assert answer.status.status is PKIStatus.WAITING
            ra.kill()
            ra.start()
            ca.start()
            deadline = time.monotonic() + 30
            with ra.tcp_wire() as wire:
                while not answer.granted:
                    assert time.monotonic() < deadline
                    time.sleep(0.5)
                    request = client.poll(answer)
                    answer = client.read(wire.exchange(request.octets), request)
                ra.kill()
            ra.start()
            request = client.confirm(answer)
            with ra.http_wire() as wire:
                done = client.read(wire.exchange(request.octets), request)
            assert done.body_type is BodyType.PKICONF


# --- a certificate that is brought ------------------------------------------------


def test_a_certificate_for_the_RA_may_be_brought(
    ca: Daemon, program: str, tmp_path: Path
) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    brought = tmp_path / "state" / "ra.pem"
    configuration = ra_configuration(
        ca,
        tmp_path,
        "reprotect",
        url_of(ca, "http", "ra"),
        certificate='certificate = "ra.pem"',
    )
    with running(tmp_path, configuration=configuration) as ra, told(ra):
        request = ra.state / "upstream" / "ca.csr"
        assert request.exists()
        client = client_of(ra, ca, program, tmp_path)
        client.make_key("brought")
        refused = client.cmp(
            *("ir", *client.by_secret, "-newkey", "brought.key"),
            *("-subject", "/CN=brought", "-certout", "brought.pem"),
        )
        assert not refused.ok
        # The CA's operator has it certified; chain and root come with it.
        operator = OpenSSL(program, ca, tmp_path)
        done = operator.cmp(
            *("p10cr", *operator.by_secret, "-csr", request),
            *("-certout", "ra.pem", "-extracertsout", "chain.pem"),
            alias="ra-enrolment",
        )
        assert done.ok, done.text
        chain = [tmp_path / name for name in ("ra.pem", "chain.pem")]
        brought.write_bytes(b"".join(path.read_bytes() for path in chain))
        os.kill(ra.pid, signal.SIGHUP)
        deadline = time.monotonic() + 20
        while "was read again" not in ra.log:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        client.enrol("brought")
