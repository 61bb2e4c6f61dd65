"""The responders' tests run on a whole engine with one shared secret."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.world import CMP as CMP_CONTEXT
from tests.engine.world import World, result_of
from tests.responders.acmedesk import ACMEDesk
from tests.responders.desk import Desk, desk_in, make_template
from tests.responders.estdesk import ESTDesk
from tests.responders.scepdesk import SCEPDesk

MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    # Hundreds of stores are made: in memory where the system has room for it, since
    # what these tests prove does not depend on the disk.
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as directory:
        make_template(Path(directory) / "template")
        yield Path(directory)


@pytest.fixture
def acme(desk: Desk) -> ACMEDesk:
    """An ACME responder on the same engine."""
    return ACMEDesk(desk.world)


@pytest.fixture
def est(desk: Desk) -> ESTDesk:
    """An EST responder on the same engine."""
    return ESTDesk(desk.world)


@pytest.fixture
def desk(room: Path) -> Iterator[Desk]:
    directory = room / "state"
    shutil.copytree(room / "template", directory)
    try:
        with desk_in(directory) as desk:
            yield desk
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def scep_template(room: Path) -> Path:
    """The state of a first start whose CA has its RA: RSA keys are dear to make."""
    directory = room / "scep-template"
    shutil.copytree(room / "template", directory)
    world = World(directory)
    SCEPDesk(world).challenge()
    world.close()
    return directory


@pytest.fixture
def scep(room: Path, scep_template: Path) -> Iterator[SCEPDesk]:
    directory = room / "scep-state"
    shutil.copytree(scep_template, directory)
    world = World(directory)
    desk = SCEPDesk(world)
    try:
        result_of(world.engine.prepare_message_identity("issuing", CMP_CONTEXT))
        yield desk
    finally:
        desk.world.close()
        shutil.rmtree(directory)
