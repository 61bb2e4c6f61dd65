"""Thousands of connections that do nothing, or nearly nothing."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.robustness.served import RECORD, Served, asks, descriptors_allowed, served

pytestmark = pytest.mark.robustness

MIB_IN_KIB = 1024


def crowd(server: Served, count: int, name: str) -> None:
    for _ in range(count):
        server.connect(name)


def idle_count() -> int:
    return min(10_000, descriptors_allowed() - 1_000)


@pytest.mark.requirement("FLT-15")
@pytest.mark.parametrize("name", ["tcp", "http"])
def test_ten_thousand_idle_connections_take_less_than_40_mib(
    name: str, tmp_path: Path
) -> None:
    count = idle_count()
    assert count == 10_000, "the limit of descriptors is too low to measure this"
    limits = {"connections": 20_000, "connections_per_address": 20_000}
    with served(tmp_path, idle_seconds=600, **limits) as server:
        assert server.enrols()
        before = server.resident_kib()
        crowd(server, count, name)
        assert server.enrols()
        grown = server.resident_kib() - before
        assert grown <= 40 * MIB_IN_KIB, f"{grown} KiB for {count} connections"
        # Each of them is still served.
        assert name == "http" or all(asks(one) for one in server.sockets[::500])


@pytest.mark.requirement("SEC-12")
def test_droppers_and_idle_clients_do_not_stop_twenty_enrolments(
    tmp_path: Path,
) -> None:
    limits = {"connections": 20_000, "connections_per_address": 20_000}
    with served(tmp_path, **limits) as server:
        crowd(server, idle_count(), "tcp")
        droppers = [server.connect() for _ in range(500)]
        stop = threading.Event()
        thread = threading.Thread(target=drop, args=(droppers, stop))
        thread.start()
        try:
            results = [asks(server.connect()) for _ in range(20)]
            longest = max(timed(server) for _ in range(20))
        finally:
            stop.set()
            thread.join()
    assert results == [True] * 20
    assert longest < 5


def timed(server: Served) -> float:
    begin = time.monotonic()
    assert server.enrols()
    return time.monotonic() - begin


def drop(droppers: list[object], stop: threading.Event) -> None:
    for octet in RECORD[:200]:
        for one in droppers:
            try:
                one.send(bytes([octet]))  # type: ignore[attr-defined]
            except OSError:
                return
            if stop.is_set():
                return
