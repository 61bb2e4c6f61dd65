"""The responders' tests run on a whole engine with one shared secret."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.responders.desk import Desk, desk_in

MEMORY = Path("/dev/shm")


@pytest.fixture
def desk() -> Iterator[Desk]:
    # Hundreds of stores are made: in memory where the system has room for it, since
    # what these tests prove does not depend on the disk.
    room = MEMORY if MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=room) as directory,
        desk_in(Path(directory) / "state") as desk,
    ):
        yield desk
