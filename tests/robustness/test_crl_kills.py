"""SIGKILL while a CRL is made and published: the old one or the new one, whole."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.app.client import run_now
from pkid.storage.filestore import ReadOnlyStore
from tests.robustness.strace import killed_at
from tests.support.daemon import Daemon
from tests.support.oracle import check_tools, crl_number, read_crl
from tests.support.processes import end

pytestmark = pytest.mark.robustness

#: The commit of the list, its file written, named and known, the task struck off.
POINTS = (
    ("pwrite64", 2),
    ("fdatasync", 1),
    ("fsync", 1),
    ("rename", 1),
    ("fsync", 2),
    ("fdatasync", 2),
)
END_SECONDS = 30.0
PUBLISHED_SECONDS = 30.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path)
    found.start()
    try:
        yield found
    finally:
        if found.process is not None:
            end(found.process)


class Seen:
    """Every CRL that anybody could get, by number."""

    def __init__(self, issuer: x509.Certificate) -> None:
        self._issuer = issuer
        self._by_number: dict[int, bytes] = {}

    @property
    def highest(self) -> int:
        return max(self._by_number)

    def add(self, octets: bytes) -> int:
        crl = x509.load_der_x509_crl(octets)
        assert crl.is_signature_valid(self._issuer.public_key())  # type: ignore[arg-type]
        number = crl_number(crl)
        known = self._by_number.setdefault(number, octets)
        assert known == octets, f"two lists have the number {number}"
        return number


def stored(daemon: Daemon) -> bytes:
    store = ReadOnlyStore.open(daemon.state)
    try:
        record = run_now(store.latest_crl("issuing"))
    finally:
        store.close()
    assert record is not None
    return record.der


def kill_while_a_crl_is_made(
    daemon: Daemon, strace: str, call: str, number: int
) -> None:
    def ask() -> None:
        daemon.tool("ca", "crl", "issuing", "--issue", check=False)

    assert daemon.process is not None
    asking = threading.Thread(target=ask)
    with killed_at(strace, daemon.pid, call, number):
        asking.start()
        try:
            assert daemon.process.wait(END_SECONDS) == -9, (call, number)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{call} is not called {number} times for a list")
        finally:
            asking.join(END_SECONDS)


@pytest.mark.requirement("FLT-06", "SEC-78")
def test_a_crl_is_whole_and_its_number_its_own_whenever_the_daemon_is_killed(
    daemon: Daemon, require_client: Any, soak_factor: int
) -> None:
    strace = require_client("strace")
    chain = (daemon.first_run / "chain.pem").read_bytes()
    seen = Seen(x509.load_pem_x509_certificates(chain)[0])
    path = daemon.state / "published" / "crls" / "issuing.crl"
    for call, number in POINTS * (1 if soak_factor == 1 else 4):
        seen.add(path.read_bytes())
        before = seen.add(stored(daemon))
        kill_while_a_crl_is_made(daemon, strace, call, number)
        seen.add(path.read_bytes())
        assert seen.add(stored(daemon)) >= before
        highest = seen.highest
        daemon.start()
        assert seen.add(read_crl(daemon).public_bytes(Encoding.DER)) > highest
        seen.add(path.read_bytes())
    deadline = time.monotonic() + PUBLISHED_SECONDS
    while path.read_bytes() != stored(daemon):
        assert time.monotonic() < deadline, "the last list is not published"
        time.sleep(0.1)
    daemon.stop()
    check_tools(daemon)
