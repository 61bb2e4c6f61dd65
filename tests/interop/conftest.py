"""One daemon for the whole room: clients only add to its store."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, running
from tests.support.opensslcmp import OpenSSL
from tests.support.scepdaemon import Place, scep_daemon

ALIASES = (
    'cmp.alias.waiting = { authority = "issuing", approval = "operator", '
    'poll_after = "1s", authenticate = ["mac", "certificate"] }',
    'cmp.alias.vendor = { authority = "issuing", authenticate = ["vendor"], '
    'certificate_profile = "3gpp-base-station", vendors = ["maker"] }',
    'cmp.alias.confirmed = { authority = "issuing", implicit_confirm = false, '
    'confirm_wait = "2s", authenticate = ["mac", "certificate"] }',
    'cmp.alias.lcmpp = { authority = "issuing", conformance = "lcmpp", '
    'kem = true, agreement = true, authenticate = ["mac", "certificate"] }',
    'cmp.alias.open = { authority = "issuing", unprotected_requests = true, '
    'authenticate = ["mac", "certificate"] }',
    'cmp.alias.keys = { authority = "issuing", encrypted_value = true, '
    'key_generation = true, authenticate = ["mac", "certificate"] }',
    'cmp.alias.strictkey = { authority = "issuing", same_key = false, '
    'authenticate = ["mac", "certificate"] }',
)
VENDOR_ROOT = (
    *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    *("-nodes", "-subj", "/O=Maker/CN=Maker Root", "-days", "3650"),
    *("-keyout", "maker.key", "-out", "maker.pem"),
)


@pytest.fixture(scope="session")
def vendor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manufacturer's root: ``maker.pem`` and ``maker.key``."""
    folder = tmp_path_factory.mktemp("vendor")
    subprocess.run(
        ["openssl", *VENDOR_ROOT], cwd=folder, check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="session")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, vendor_folder: Path
) -> Iterator[Daemon]:
    """A daemon with the first-run alias and some that differ from it."""
    vendor = f'vendor.maker = {{ anchors = ["{vendor_folder / "maker.pem"}"] }}'
    folder = tmp_path_factory.mktemp("pkid")
    with running(folder, settings=(*ALIASES, vendor)) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture
def openssl(
    require_client: Callable[[str], str], daemon: Daemon, tmp_path: Path
) -> OpenSSL:
    """OpenSSL as a client, in an empty directory."""
    return OpenSSL(require_client("openssl"), daemon, tmp_path)


@pytest.fixture(scope="session", params=["ec", "rsa"])
def scep_place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """An EC CA behind an RSA RA, then an RSA CA that speaks SCEP itself."""
    folder = tmp_path_factory.mktemp("scep")
    with scep_daemon(folder, request.param) as daemon:
        yield Place(daemon, request.param, folder)
    assert "Traceback" not in daemon.log, daemon.log
