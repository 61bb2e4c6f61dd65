"""CAs elsewhere in the configuration: what fits together, and which files are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.task import Clock

from pkid.app.config import decode_configuration
from pkid.app.house import House
from pkid.app.kinds import ConfigurationError
from pkid.app.settings import Configuration
from pkid.app.upstreams import UpstreamMaterial, Upstreams, read_upstreams
from tests.engine.world import START
from tests.responders.peers import foreign_certificate, new_key

UPSTREAM = """
[cmp.upstream.ca]
urls = ["http://ca.example/.well-known/cmp"]
"""
ALIAS = """
[cmp.alias.default]
upstream = "ca"
"""
SIGNING = """
trust = ["root.pem"]
subject = "CN=RA"
reference = "ra"
secret = "file:ra.secret"
"""


def read(text: str) -> Configuration:
    return decode_configuration(text, source="test")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        read(text)
    return [str(fault) for fault in raised.value.faults]


def test_an_entrance_before_a_CA_needs_no_authority_of_its_own() -> None:
    alias = read(UPSTREAM + ALIAS).cmp_aliases["default"]
    assert alias.alias.authority == "ca"
    assert alias.relays


def test_a_proxy_may_speak_in_the_name_of_a_CA_here() -> None:
    alias = read(UPSTREAM + ALIAS + 'authority = "issuing"').cmp_aliases["default"]
    assert alias.alias.authority == "issuing"


def test_the_CA_must_be_there() -> None:
    (fault,) = faults(ALIAS)
    assert fault.startswith("cmp.alias.default.upstream: ")


@pytest.mark.parametrize("scheme", ["https", "tls"])
def test_a_server_that_proves_its_name_needs_a_root(scheme: str) -> None:
    url = f'urls = ["{scheme}://ca.example"]'
    (fault,) = faults(f"[cmp.upstream.ca]\n{url}\n{ALIAS}")
    assert fault.startswith("cmp.upstream.ca.trust: ")


@pytest.mark.parametrize("mode", ["protect", "reprotect"])
def test_who_signs_needs_trust_a_name_and_a_way_to_a_certificate(mode: str) -> None:
    alias = f'{ALIAS}upstream_mode = "{mode}"\n'
    found = faults(UPSTREAM + alias)
    assert [fault.partition(":")[0] for fault in found] == [
        "cmp.upstream.ca.trust",
        "cmp.upstream.ca.subject",
        "cmp.upstream.ca.certificate",
    ]
    assert read(UPSTREAM + SIGNING + alias).cmp_upstreams["ca"].subject == "CN=RA"
    (fault,) = faults(UPSTREAM + SIGNING + alias + 'authority = "issuing"\n')
    assert fault.startswith("cmp.alias.default.authority: ")


@pytest.mark.parametrize(
    "url", ["ftp://ca.example", "http://", "tcp://ca.example/path", "ca.example:829"]
)
def test_an_address_that_is_none_is_a_fault(url: str) -> None:
    (fault,) = faults(f'[cmp.upstream.ca]\nurls = ["{url}"]\n{ALIAS}')
    assert fault.startswith("cmp.upstream.ca.urls")


# --- files ------------------------------------------------------------------------


@pytest.fixture
def signing() -> Configuration:
    alias = f'{ALIAS}upstream_mode = "reprotect"\n'
    return read(UPSTREAM + SIGNING + alias)


@pytest.fixture
def bringing() -> Configuration:
    alias = f'{ALIAS}upstream_mode = "reprotect"\n'
    way = 'trust = ["root.pem"]\nsubject = "CN=RA"\ncertificate = "ra.pem"\n'
    return read(UPSTREAM + way + alias)


def test_files_and_secret_are_read_from_the_state_directory(
    signing: Configuration, tmp_path: Path
) -> None:
    root = foreign_certificate(new_key(), ca=True, at=START)
    (tmp_path / "root.pem").write_bytes(root)
    (tmp_path / "ra.secret").touch(0o600)
    (tmp_path / "ra.secret").write_bytes(b"insecure-test-value\n")
    found = read_upstreams(signing, base=tmp_path, environment={})["ca"]
    assert found.anchors == (root,)
    assert found.secret == b"insecure-test-value"
    assert "insecure" not in repr(found)


def test_a_certificate_is_brought_later(
    bringing: Configuration, tmp_path: Path
) -> None:
    """The request for it has to be made first."""
    root = foreign_certificate(new_key(), ca=True, at=START)
    (tmp_path / "root.pem").write_bytes(root)
    found = read_upstreams(bringing, base=tmp_path, environment={})["ca"]
    assert found.brought == ()
    (tmp_path / "ra.pem").write_bytes(root)
    found = read_upstreams(bringing, base=tmp_path, environment={})["ca"]
    assert found.brought == (root,)


def test_a_certificate_is_brought_or_asked_for() -> None:
    alias = f'{ALIAS}upstream_mode = "protect"\n'
    (fault,) = faults(UPSTREAM + SIGNING + 'certificate = "ra.pem"\n' + alias)
    assert fault.startswith("cmp.upstream.ca.certificate: ")


def test_everything_that_is_missing_is_said_at_once(
    signing: Configuration, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_upstreams(signing, base=tmp_path, environment={})
    assert {fault.where for fault in raised.value.faults} == {
        "cmp.upstream.ca.trust",
        "cmp.upstream.ca.secret",
    }


# --- at work ----------------------------------------------------------------------


def test_what_did_not_change_goes_on_over_a_reload() -> None:
    ca = read(UPSTREAM + ALIAS).cmp_upstreams["ca"]
    other = replace(ca, name="other")
    now = {"ca": UpstreamMaterial(settings=ca)}
    at_work = Upstreams(
        cast(House, None),  # not asked before a certificate is
        Path(),
        configuration=lambda: read(UPSTREAM + ALIAS),
        materials=lambda: now,
        reactor=Clock(),
    )
    first = at_work.current()
    assert at_work.current() is first
    kept = first["ca"]
    now["other"] = UpstreamMaterial(settings=other)
    assert at_work.current()["ca"] is kept
    now["ca"] = UpstreamMaterial(settings=replace(ca, most_held=1))
    assert at_work.current()["ca"].most_held == 1
    del now["other"]
    assert at_work.current().keys() == {"ca"}
    assert at_work.warnings() == []
