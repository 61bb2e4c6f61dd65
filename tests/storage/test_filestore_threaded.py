"""FileStore keeps the contract also when the commit thread waits for the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pkid.storage.filestore import FileStore
from tests.storage.contract import StoreContract
from tests.storage.samples import Pump


@pytest.fixture
def pump() -> Pump:
    return Pump()


@pytest.fixture
def resolve(pump: Pump) -> Callable[[Any], Any]:
    def wait(awaited: Any) -> Any:
        if not isinstance(awaited, Deferred):
            awaited = Deferred.fromCoroutine(awaited)
        return pump.result_of(awaited)

    return wait


@pytest.fixture
def store(tmp_path: Path, pump: Pump) -> Iterator[FileStore]:
    opened = FileStore.open(tmp_path / "state", call_in_reactor=pump.calls.put)
    yield opened
    pump.result_of(opened.close())


class TestThreadedFileStore(StoreContract):
    """The contract, with the thread."""
