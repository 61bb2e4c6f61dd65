"""What happens when the process has no file descriptor left for a client."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.robustness.served import asks, served

pytestmark = pytest.mark.robustness


@pytest.mark.requirement("FLT-16")
@pytest.mark.parametrize("spare", [24, 0])
def test_shortage_is_logged_once_and_recovered_from(spare: int, tmp_path: Path) -> None:
    limits = {"connections_per_address": 1_000, "spare_descriptors": spare}
    with served(tmp_path, descriptors=64, **limits) as server:
        first = server.connect()
        assert asks(first)
        for _ in range(200):
            server.connect()
        time.sleep(3)
        assert asks(first)
        for one in server.sockets[1:]:
            one.close()
        del server.sockets[1:]
        begin = time.monotonic()
        assert server.enrols()
        assert time.monotonic() - begin < 5
        assert asks(first)
    log = server.log.read_text()
    assert log.count("file descriptors are short") == 1
    assert log.count("accepting connections again") == 1
    assert "EMFILE" not in log
    assert len(log.splitlines()) < 10
