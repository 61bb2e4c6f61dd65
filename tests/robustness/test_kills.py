"""SIGKILL at any moment under load: nothing is lost, nothing is issued twice."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.journal import Entry, Kind, Workload, replay
from tests.support.oracle import (
    check_revocations,
    check_store,
    check_tools,
    crl_number,
    read_crl,
    read_store,
)
from tests.support.processes import end

pytestmark = pytest.mark.robustness

SEED = 20261123
KILLS = 10
READY_SECONDS = 5.0
EARLIEST, LATEST = 0.05, 1.5


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path, settings=("limits.connections_per_address=200",))
    found.start()
    try:
        yield found
    finally:
        with contextlib.suppress(AssertionError):
            end(found.process) if found.process else None


def killed_under_load(daemon: Daemon, seed: int, after: float) -> list[Entry]:
    """Run clients, kill the daemon, give what they wrote down."""
    workload = Workload(daemon, seed)
    workload.start()
    time.sleep(after)
    daemon.kill()
    # Not told to stop: one that had its answer in hand has to ask once more to notice.
    workload.wait()
    assert workload.cut == 8, "a client did not notice"
    return workload.journal.entries


@pytest.mark.requirement("FLT-01", "FLT-02", "FLT-03")
def test_kills_under_load_lose_nothing_and_repeat_nothing(
    daemon: Daemon, soak_factor: int
) -> None:
    choice = random.Random(SEED)
    entries: list[Entry] = []
    number = crl_number(read_crl(daemon))
    lost = 0
    slowest = 0.0
    for kill in range(KILLS * soak_factor):
        fresh = killed_under_load(daemon, SEED + kill, choice.uniform(EARLIEST, LATEST))
        slowest = max(slowest, daemon.start())
        lost += replay(daemon, fresh, choice)
        entries += fresh
        latest = crl_number(read_crl(daemon))
        assert latest >= number, "the number of the CRL went back"
        number = latest
    replay(daemon, entries, choice)
    print(  # what docs/reliability.md tells comes from here
        f"seed {SEED}: {KILLS * soak_factor} kills, {len(entries)} requests, "
        f"{lost} answers fetched again, slowest start {slowest:.1f} s"
    )
    assert any(entry.kind is Kind.REVOKE for entry in entries)
    assert lost, "no kill came between request and answer"
    check_store(daemon, entries)
    check_revocations(daemon, entries)
    assert slowest < READY_SECONDS
    assert "Traceback" not in daemon.log
    daemon.stop()
    check_tools(daemon)


def test_a_first_start_that_is_killed_is_taken_up_again(
    tmp_path: Path, soak_factor: int
) -> None:
    choice = random.Random(SEED)
    for number in range(8 * soak_factor):
        folder = tmp_path / str(number)
        folder.mkdir()
        daemon = Daemon(folder)
        daemon.launch()
        time.sleep(choice.uniform(0.3, 1.2))
        daemon.kill()
        try:
            daemon.start()
            client = daemon.client()
            request = client.enrol()
            with daemon.http_wire() as wire:
                answer = client.read(wire.exchange(request.octets), request)
            assert answer.granted, answer.status
            assert crl_number(read_crl(daemon)) >= 1
            check_tools(daemon)
        finally:
            daemon.kill()


@pytest.mark.requirement("FLT-07")
def test_sigterm_under_load_answers_what_it_took(
    daemon: Daemon, soak_factor: int
) -> None:
    choice = random.Random(SEED)
    entries: list[Entry] = []
    for number in range(4 * soak_factor):
        workload = Workload(daemon, SEED + number)
        workload.start()
        time.sleep(choice.uniform(0.2, 0.8))
        begin = time.monotonic()
        status = daemon.stop(15)
        assert time.monotonic() - begin < 12
        assert status in {0, -15}
        workload.stop()
        fresh = workload.journal.entries
        entries += fresh
        answered = [entry for entry in entries if entry.answer is not None]
        issued = sum(entry.kind is Kind.ISSUE for entry in answered)
        assert read_store(daemon).serials == issued, "issued, and not answered"
        daemon.start()
        replay(daemon, fresh, choice)
    check_store(daemon, entries)
    assert "Traceback" not in daemon.log
