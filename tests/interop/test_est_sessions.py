"""EST over real TLS sessions: bindings, resumption, and who came by another door."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from tests.responders.estdesk import bound, csr, new_key
from tests.support.daemon import Daemon, running
from tests.support.estwire import ESTWire
from tests.support.opensslcmp import OpenSSL

pytestmark = pytest.mark.interop

SETTINGS = (
    'est.alias.bound = { authority = "issuing", binding = "require" }',
    'est.alias.own = { authority = "issuing", authenticate = ["certificate"] }',
)
VERSIONS = [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("pkid"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


def connect(daemon: Daemon, **options: Any) -> ESTWire:
    return ESTWire(daemon.est.address, **options)


def user(daemon: Daemon) -> str:
    est = daemon.credentials["est"]
    return f"{est['username']}:{est['password']}"


def holder(daemon: Daemon, subject: str) -> tuple[Any, list[x509.Certificate]]:
    key = new_key()
    with connect(daemon, user=user(daemon)) as wire:
        return key, [wire.ask("simpleenroll", csr(key, subject)).certificate]


@pytest.mark.parametrize("newest", VERSIONS)
@pytest.mark.requirement("EST-22", "EST-23", "SEC-32")
def test_a_request_bound_to_one_session_is_refused_in_another(
    daemon: Daemon, newest: int
) -> None:
    options = {"newest": newest, "user": user(daemon)}
    key, subject = new_key(), f"CN=bound-{newest}"
    with connect(daemon, **options) as one, connect(daemon, **options) as other:
        body = csr(key, subject, attributes=(bound(one.binding),))
        refused = other.ask("simpleenroll", body, "bound")
        assert refused.status == 400
        assert b"channel binding" in refused.body
        made = one.ask("simpleenroll", body, "bound").certificate
        again = csr(key, subject, attributes=(bound(other.binding),))
        assert other.ask("simpleenroll", again, "bound").certificate == made


@pytest.mark.requirement("EST-26", "SEC-33", "EST-48")
def test_a_revoked_certificate_is_refused_on_open_and_on_resumed_sessions(
    daemon: Daemon,
) -> None:
    key, chain = holder(daemon, "CN=resuming")
    serial = f"issuing/{chain[0].serial_number:x}"
    with connect(daemon, identity=(key, chain)) as first:
        assert first.ask("simpleenroll", csr(new_key(), "CN=resuming"), "own")
        daemon.tool("certificate", "revoke", serial, "--reason", "key-compromise")
        open_one = first.ask("simpleenroll", csr(new_key(), "CN=resuming"), "own")
    with connect(daemon, resumes=first) as second:
        resumed = second.ask("simpleenroll", csr(new_key(), "CN=resuming"), "own")
    assert (open_one.status, resumed.status) == (403, 403)
    assert b"revoked" in resumed.body


@pytest.mark.requirement("EST-17", "SEC-31")
def test_renewal_on_a_kept_connection_and_none_under_another_name(
    daemon: Daemon,
) -> None:
    key, chain = holder(daemon, "CN=keeping")
    with connect(daemon, identity=(key, chain)) as wire:
        other = wire.ask("simplereenroll", csr(new_key(), "CN=keepinG2"))
        assert other.status == 400
        renewed = wire.ask("simplereenroll", csr(new_key(), "CN=keeping")).certificate
    assert renewed.subject == chain[0].subject


@pytest.mark.requirement("EST-45")
def test_a_device_that_came_by_cmp_renews_over_est_as_one_entity(
    daemon: Daemon, require_client: Callable[[str], str], tmp_path: Path
) -> None:
    openssl = OpenSSL(require_client("openssl"), daemon, tmp_path)
    own = openssl.enrol("traveller")
    key = load_pem_private_key((tmp_path / "traveller.key").read_bytes(), None)
    with connect(daemon, identity=(key, [own])) as wire:
        renewed = wire.ask("simplereenroll", csr(new_key(), "CN=traveller")).certificate
    history = daemon.ask_tool("entity", "show", "traveller")["certificates"]
    serials = {f"issuing/{one.serial_number:x}" for one in (own, renewed)}
    assert {one["reference"] for one in history} == serials
    assert {one["protocol"] for one in history} == {"cmp", "est"}


@pytest.mark.requirement("EST-04")
def test_a_client_that_leaves_finds_its_certificate_when_it_returns(
    daemon: Daemon,
) -> None:
    body = csr(new_key(), "CN=hasty")
    with connect(daemon, user=user(daemon)) as wire:
        octets = base64.encodebytes(body)
        text = base64.b64encode(user(daemon).encode()).decode()
        wire.tls.sendall(
            b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n"
            b"Authorization: Basic %s\r\nContent-Length: %d\r\n\r\n%s"
            % (text.encode(), len(octets), octets)
        )
    with connect(daemon, user=user(daemon)) as wire:
        first = wire.ask("simpleenroll", body).certificate
        assert wire.ask("simpleenroll", body).certificate == first
    history = daemon.ask_tool("entity", "show", "hasty")["certificates"]
    assert len(history) == 1
