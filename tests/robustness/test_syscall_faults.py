"""SIGKILL at the Nth system call of a kind: what was answered is there, and once."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.robustness.strace import killed_at
from tests.support.daemon import Daemon
from tests.support.journal import Entry, Workload, replay
from tests.support.oracle import check_revocations, check_store, check_tools
from tests.support.processes import end

pytestmark = pytest.mark.robustness

SEED = 20261123
CALLS = ("pwrite64", "fdatasync", "sendto")
#: Ordinary runs take the first of these, `--soak` goes on with drawn ones.
NUMBERS = {"pwrite64": (1, 6, 23), "fdatasync": (1, 2, 5), "sendto": (1, 4, 9)}
HIGHEST = 200
END_SECONDS = 60.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    found = Daemon(tmp_path, settings=("limits.connections_per_address=200",))
    found.start()
    try:
        yield found
    finally:
        if found.process is not None:
            end(found.process)


def points(soak_factor: int) -> Iterator[tuple[str, int]]:
    choice = random.Random(SEED)
    for call in CALLS:
        yield from ((call, number) for number in NUMBERS[call])
        for _ in range(3 * (soak_factor - 1)):
            yield call, choice.randint(1, HIGHEST)


def killed_under_load(
    daemon: Daemon, strace: str, seed: int, call: str, number: int
) -> list[Entry]:
    assert daemon.process is not None
    with killed_at(strace, daemon.pid, call, number):
        workload = Workload(daemon, seed)
        workload.start()
        try:
            assert daemon.process.wait(END_SECONDS) == -9, (call, number)
        finally:
            workload.stop()
    return workload.journal.entries


@pytest.mark.requirement("FLT-04")
def test_a_kill_at_any_system_call_loses_nothing_and_repeats_nothing(
    daemon: Daemon, soak_factor: int, require_client: Any
) -> None:
    strace = require_client("strace")
    choice = random.Random(SEED)
    entries: list[Entry] = []
    for seed, (call, number) in enumerate(points(soak_factor), SEED):
        fresh = killed_under_load(daemon, strace, seed, call, number)
        daemon.start()
        replay(daemon, fresh, choice)
        entries += fresh
    check_store(daemon, entries)
    check_revocations(daemon, entries)
    assert "Traceback" not in daemon.log
    daemon.stop()
    check_tools(daemon)
