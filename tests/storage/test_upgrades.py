"""Schema upgrades go step by step, after a backup, and refuse the future."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pkid.errors import ErrorCode, PKIError
from pkid.storage.connections import connect_writer
from pkid.storage.filestore import DATABASE, FileStore, ReadOnlyStore
from pkid.storage.fsck import fsck
from pkid.storage.upgrades import (
    SCHEMA_VERSION,
    packaged_steps,
    prepare_schema,
    schema_version,
)
from tests.storage import samples
from tests.storage.samples import result_of

STEPS = {
    2: "ALTER TABLE entities ADD COLUMN note TEXT NOT NULL DEFAULT '';",
    3: "CREATE TABLE more (x) STRICT;",
    4: "UPDATE entities SET note = name || ';' || note;",
}
STEPS[3] = "CREATE TABLE more (x INTEGER) STRICT; INSERT INTO more VALUES (1);"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    store = FileStore.open(directory)
    result_of(store.commit(samples.InsertCertificate(samples.certificate(1), b"x")))
    result_of(store.close())
    return directory


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return schema_version(connection)
    finally:
        connection.close()


def upgrade(directory: Path, wanted: int, steps: dict[int, str] = STEPS) -> None:
    connection = connect_writer(directory / DATABASE)
    try:
        prepare_schema(connection, directory / DATABASE, wanted=wanted, steps=steps)
    finally:
        connection.close()


def test_the_package_holds_a_step_to_every_version_after_the_first() -> None:
    assert sorted(packaged_steps()) == list(range(2, SCHEMA_VERSION + 1))


@pytest.mark.requirement("ENG-46")
def test_steps_are_taken_in_order_after_a_backup(directory: Path) -> None:
    upgrade(directory, 4)
    assert version_of(directory / DATABASE) == 4
    backup = directory / "backups" / "pkid-schema-1.sqlite"
    assert version_of(backup) == 1
    assert backup.stat().st_mode & 0o777 == 0o600
    assert backup.parent.stat().st_mode & 0o777 == 0o700
    upgrade(directory, 4)
    assert [path.name for path in backup.parent.iterdir()] == [backup.name]


def test_a_step_that_fails_leaves_the_version_before_it_and_can_be_repeated(
    directory: Path,
) -> None:
    broken = STEPS | {3: "CREATE TABLE more (x INTEGER) STRICT; SELECT nonsense;"}
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="nonsense"):
            upgrade(directory, 4, broken)
        assert version_of(directory / DATABASE) == 2
    upgrade(directory, 4)
    assert version_of(directory / DATABASE) == 4


@pytest.mark.requirement("FLT-22", "ENG-46")
def test_a_newer_schema_is_refused(directory: Path) -> None:
    upgrade(directory, SCHEMA_VERSION + 1)
    for opening in (FileStore, ReadOnlyStore):
        with pytest.raises(PKIError, match="this program knows") as caught:
            opening.open(directory)
        assert caught.value.code is ErrorCode.UNAVAILABLE
        assert caught.value.hint


def test_a_version_that_no_step_leads_to_is_refused_untouched(directory: Path) -> None:
    with pytest.raises(PKIError, match="no upgrade leads"):
        upgrade(directory, 9)
    assert version_of(directory / DATABASE) == 1
    assert not (directory / "backups").exists()


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from pkid.storage import upgrades
    from pkid.storage.connections import connect_writer
    database, step, steps = Path(sys.argv[1]), int(sys.argv[2]), eval(sys.argv[3])
    connection = connect_writer(database)
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    connection.create_function("die", 0, die)
    steps[step] += " SELECT die();"
    upgrades.prepare_schema(connection, database, wanted=4, steps=steps)
    """
)


@pytest.mark.requirement("FLT-22")
@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_kill_in_a_step_leaves_a_store_that_can_be_upgraded(
    directory: Path, step: int
) -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(directory / DATABASE),
            str(step),
            str(STEPS),
        ],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL
    assert version_of(directory / DATABASE) == step - 1
    assert version_of(directory / "backups" / "pkid-schema-1.sqlite") == 1
    upgrade(directory, 4)
    assert version_of(directory / DATABASE) == 4
    kinds = [finding.kind for finding in fsck(directory)]
    assert kinds == ["DER is not what was issued", "certificate without audit record"]
