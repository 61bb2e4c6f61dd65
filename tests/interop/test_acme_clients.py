"""lego and certbot get certificates: every challenge, external accounts, revocation."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.daemon import Daemon, running
from tests.support.lint import lint_certificate
from tests.support.nameserver import NameServer, name_server

pytestmark = pytest.mark.interop

TIMEOUT_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Place:
    """A daemon, where it looks for challenges, and its names."""

    daemon: Daemon
    names: NameServer
    http_port: int
    tls_port: int


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("acme")
    http_port, tls_port = free_port(), free_port()
    with name_server(folder / "texts") as names:
        settings = (
            f'validation.resolvers = ["127.0.0.1:{names.port}"]',
            f"validation.http_port = {http_port}",
            f"validation.tls_port = {tls_port}",
            'validation.allow = ["127.0.0.0/8"]',
            'acme.alias.open = { authority = "issuing", external_account = "off", '
            'end_entity_profile = "hosts", '
            'certificate_profile = "tls-server", authorization_lifetime = "0s" }',
            'acme.alias.asks = { authority = "issuing", external_account = "off", '
            'certificate_profile = "tls-server", approval = "operator" }',
        )
        with running(folder, settings=settings) as daemon:
            yield Place(daemon, names, http_port, tls_port)
        assert "Traceback" not in daemon.log, daemon.log


@dataclass(frozen=True, slots=True)
class ACMEClient:
    """One client program in a folder of its own."""

    program: str
    place: Place
    folder: Path

    @property
    def root(self) -> Path:
        return self.place.daemon.first_run / "root.pem"

    def directory(self, alias: str) -> str:
        url = str(self.place.daemon.credentials["acme"]["directory"])
        return url.replace("/default/", f"/{alias}/")

    def run(
        self, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.program, *arguments],
            check=False,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env={
                **os.environ,
                "LEGO_CA_CERTIFICATES": str(self.root),
                "REQUESTS_CA_BUNDLE": str(self.root),
                "no_proxy": "127.0.0.1",
            },
        )
        if check:
            assert done.returncode == 0, done.stdout
        return done

    def judge(self, path: Path) -> x509.Certificate:
        """The leaf verifies and lints."""
        chain = self.place.daemon.first_run / "chain.pem"
        subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-CAfile", str(self.root)),
                *("-untrusted", str(chain), str(path)),
            ],
            check=True,
            capture_output=True,
        )
        leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
        findings = [
            one
            for one in lint_certificate(leaf)
            # RFC 5280 leaves wildcards to applications; this linter knows none.
            if '"*.' not in one
        ]
        assert not findings, findings
        return leaf


# --- lego -------------------------------------------------------------------------


@pytest.fixture
def lego(
    require_client: Callable[[str], str], place: Place, tmp_path: Path
) -> ACMEClient:
    return ACMEClient(require_client("lego"), place, tmp_path)


def lego_run(
    lego: ACMEClient, *domains: str, alias: str = "open", how: str = "http"
) -> x509.Certificate:
    place = lego.place
    ways = {
        "http": ("--http", "--http.port", f"127.0.0.1:{place.http_port}"),
        "tls": ("--tls", "--tls.port", f"127.0.0.1:{place.tls_port}"),
    }
    named = [part for domain in domains for part in ("--domains", domain)]
    lego.run(
        *("--accept-tos", "--email", "you@pkid.test", "--path", "lego"),
        *("--server", lego.directory(alias), *named, *ways[how], "run"),
    )
    stem = domains[0].replace("*", "_")
    return lego.judge(lego.folder / "lego" / "certificates" / f"{stem}.crt")


@pytest.mark.requirement("ACME-68", "ACME-46")
def test_lego_meets_http_01(lego: ACMEClient) -> None:
    leaf = lego_run(lego, "www.pkid.test", "mail.pkid.test")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "www.pkid.test",
        "mail.pkid.test",
    ]


@pytest.mark.requirement("ACME-76")
def test_lego_meets_tls_alpn_01(lego: ACMEClient) -> None:
    assert lego_run(lego, "tls.pkid.test", how="tls")


@pytest.mark.requirement("ACME-67", "ACME-63")
def test_lego_revokes_what_it_got(lego: ACMEClient) -> None:
    leaf = lego_run(lego, "gone.pkid.test")
    lego.run(
        *("--email", "you@pkid.test", "--path", "lego"),
        *("--server", lego.directory("open")),
        *("--domains", "gone.pkid.test", "revoke"),
    )
    view = lego.place.daemon.ask_tool("certificate", "show", f"{leaf.serial_number:x}")
    assert view["status"] == "revoked"


@pytest.mark.requirement("ACME-34", "ACME-36")
def test_lego_needs_no_challenge_for_names_that_its_external_key_vouches_for(
    lego: ACMEClient,
) -> None:
    eab = lego.place.daemon.credentials["acme"]
    arguments = (
        *("--accept-tos", "--email", "you@pkid.test", "--path", "lego"),
        *("--server", lego.directory("default"), "--domains", "vouched.pkid.test"),
        *("--http", "--http.port", "127.0.0.1:1"),
    )
    refused = lego.run(*arguments, "run", check=False)
    assert refused.returncode != 0
    assert "Server requires External Account Binding" in refused.stdout
    lego.run(
        *arguments,
        *("--eab", "--kid", eab["eab_kid"], "--hmac", eab["eab_hmac_key"], "run"),
    )
    assert lego.judge(lego.folder / "lego" / "certificates" / "vouched.pkid.test.crt")


@pytest.mark.requirement("ACME-54")
def test_lego_is_told_why_control_was_not_shown(lego: ACMEClient) -> None:
    done = lego.run(
        *("--accept-tos", "--email", "you@pkid.test", "--path", "lego"),
        *("--server", lego.directory("open"), "--domains", "nowhere.pkid.test"),
        *("--http", "--http.port", f"127.0.0.1:{free_port()}", "run"),
        check=False,
    )
    assert done.returncode != 0
    assert "acme:error:connection" in done.stdout
    assert "nowhere.pkid.test does not answer at 127.0.0.1" in done.stdout


# --- certbot ----------------------------------------------------------------------


@pytest.fixture
def certbot(
    require_client: Callable[[str], str], place: Place, tmp_path: Path
) -> ACMEClient:
    return ACMEClient(require_client("certbot"), place, tmp_path)


def certbot_run(
    certbot: ACMEClient, verb: str, *arguments: str, alias: str = "open"
) -> subprocess.CompletedProcess[str]:
    folder = certbot.folder
    return certbot.run(
        *(verb, "--non-interactive", "--server", certbot.directory(alias)),
        *("--config-dir", str(folder / "c"), "--work-dir", str(folder / "w")),
        *("--logs-dir", str(folder / "l"), *arguments),
    )


def agreed(*arguments: str) -> tuple[str, ...]:
    return ("--agree-tos", "--email", "you@pkid.test", "--no-eff-email", *arguments)


@pytest.mark.requirement("ACME-68", "ACME-67")
def test_certbot_meets_http_01_renews_and_revokes(certbot: ACMEClient) -> None:
    port = str(certbot.place.http_port)
    certbot_run(
        certbot,
        "certonly",
        *agreed("--standalone", "--http-01-port", port, "-d", "bot.pkid.test"),
    )
    live = certbot.folder / "c" / "live" / "bot.pkid.test"
    first = certbot.judge(live / "cert.pem")
    certbot_run(certbot, "renew", "--force-renewal", "--no-random-sleep-on-renew")
    second = certbot.judge(live / "cert.pem")
    assert first.serial_number != second.serial_number
    certbot_run(
        certbot,
        "revoke",
        *("--cert-path", str(live / "cert.pem"), "--reason", "keycompromise"),
        "--no-delete-after-revoke",
    )
    view = certbot.place.daemon.ask_tool(
        "certificate", "show", f"{second.serial_number:x}"
    )
    assert view["status"] == "revoked"


@pytest.mark.requirement("ACME-74", "ACME-44")
def test_certbot_meets_dns_01_for_a_wildcard(certbot: ACMEClient) -> None:
    hook = certbot.folder / "hook"
    texts = certbot.place.names.folder
    hook.write_text(
        "#!/bin/sh\n"
        f'echo "$CERTBOT_VALIDATION" >> {texts}/_acme-challenge.$CERTBOT_DOMAIN\n'
    )
    hook.chmod(0o755)
    certbot_run(
        certbot,
        "certonly",
        *agreed("--manual", "--preferred-challenges", "dns"),
        *("--manual-auth-hook", str(hook), "-d", "*.wild.pkid.test"),
        *("-d", "wild.pkid.test"),
    )
    leaf = certbot.judge(certbot.folder / "c/live/wild.pkid.test/cert.pem")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "*.wild.pkid.test",
        "wild.pkid.test",
    }


def test_certbot_changes_and_gives_up_its_account(certbot: ACMEClient) -> None:
    certbot_run(certbot, "register", *agreed())
    certbot_run(certbot, "update_account", "--email", "me@pkid.test")
    certbot_run(certbot, "unregister")


# --- operators --------------------------------------------------------------------


@pytest.mark.requirement("ACME-35")
def test_a_key_made_by_the_tool_makes_one_account_and_no_more(
    lego: ACMEClient,
) -> None:
    daemon = lego.place.daemon
    key = daemon.ask_tool(
        *("acme", "eab", "--alias", "default", "--uses", "1", "--expires", "1d"),
        *("--name", "dns:*.plant.test"),
    )
    arguments = (
        *("--accept-tos", "--path", "lego", "--server", lego.directory("default")),
        *("--domains", "a.plant.test", "--http", "--http.port", "127.0.0.1:1"),
        *("--eab", "--kid", key["reference"], "--hmac", key["hmac"]),
    )
    lego.run(*arguments, "--email", "first@pkid.test", "run")
    accounts = daemon.ask_tool("acme", "accounts")
    (account,) = [one for one in accounts if one["external_key"] == key["reference"]]
    shown = daemon.ask_tool("acme", "show", account["id"])
    assert [order["status"] for order in shown["orders"]] == ["valid"]
    assert shown["orders"][0]["identifiers"] == ["dns:a.plant.test"]
    again = lego.run(*arguments, "--email", "second@pkid.test", "run", check=False)
    assert again.returncode != 0
    assert "the external account binding does not hold" in again.stdout


@pytest.mark.requirement("ACME-46")
def test_an_order_waits_for_an_operator(lego: ACMEClient) -> None:
    daemon, place = lego.place.daemon, lego.place
    waiting = subprocess.Popen(
        [
            *(lego.program, "--accept-tos", "--email", "you@pkid.test"),
            *("--path", "lego", "--server", lego.directory("asks")),
            *("--domains", "asks.pkid.test", "--http"),
            *("--http.port", f"127.0.0.1:{place.http_port}", "run"),
        ],
        cwd=lego.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "LEGO_CA_CERTIFICATES": str(lego.root)},
    )
    with waiting:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        requests: list[dict[str, str]] = []
        while not requests and time.monotonic() < deadline:
            requests = daemon.ask_tool("request", "list")
            time.sleep(0.2)
        daemon.tool("request", "approve", requests[0]["id"])
        text, _ = waiting.communicate(timeout=TIMEOUT_SECONDS)
    assert waiting.returncode == 0, text
    assert lego.judge(lego.folder / "lego" / "certificates" / "asks.pkid.test.crt")
