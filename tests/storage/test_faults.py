"""Kills, full disks and failing disks, in child processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pkid.storage.filestore import FileStore
from pkid.storage.fsck import fsck
from tests.storage import samples
from tests.storage.samples import result_of

ROOT = str(Path(__file__).parents[2])
KILLS = 10

PRELUDE = """
import os, queue, sys, time
from pathlib import Path
from pkid.engine.model import *
from pkid.engine.ports import *
from pkid.engine.records import *
from pkid.engine.writes import *
from pkid.errors import *
from pkid.storage.filestore import FileStore
from tests.storage import samples
from tests.storage.contract import revocation
directory = Path(sys.argv[1])
calls = queue.SimpleQueue()
"""

# Commits without end, eight in flight, and says each number once it is answered.
COMMITTING = """
store = FileStore.open(directory, call_in_reactor=calls.put)
number = int(sys.argv[2])
def answer(_, number):
    os.write(1, b"%d\\n" % number)
    send()
def send():
    global number
    number += 1
    store.commit(*samples.issuance(number)).addCallback(answer, number)
for _ in range(8):
    send()
for _ in range(100_000):
    calls.get(timeout=30)()
"""

FAILING = """
import resource
fatal = []
store = FileStore.open(directory, call_in_reactor=calls.put, on_fatal=fatal.append)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
answered, refused = [], []
for number in range(1, 2000):
    done = store.commit(*samples.issuance(number))
    done.addCallbacks(lambda _, n=number: answered.append(n), refused.append)
    calls.get(timeout=30)()
    if fatal:
        break
late = []
store.commit(*samples.issuance(9999)).addErrback(late.append)
print(len(answered), len(refused), len(late), fatal[0].code.name)
sys.stdout.flush()
os._exit(3)
"""

FILLING = """
store = FileStore.open(directory)
def outcome(*writes):
    found = []
    store.commit(*writes).addBoth(found.append)
    return getattr(found[0], "value", None)
for number in range(1, 5000):
    fault = outcome(*samples.issuance(number))
    if fault is not None:
        break
assert fault.code is ErrorCode.UNAVAILABLE and fault.retry_after, fault
stored = number - 1
assert not (directory / "reserve").exists()
assert outcome(*samples.issuance(number)).code is ErrorCode.UNAVAILABLE
for revoked in range(1, 201):
    update = revocation(revoked)
    event = AppendAudit(samples.event(revoked, action="revoke"))
    assert outcome(update, event) is None, revoked
entries = store.read_crl_entries("issuing", 0, not_expired_at=samples.NOW)
assert entries.count == 200
(directory / "ballast").unlink()
assert outcome(*samples.issuance(number)) is None
assert (directory / "reserve").stat().st_size == 4 * 1024 * 1024
head = samples.result_of(store.audit_head())[0]
assert head == stored + 200 + 1, (head, stored)
store.close()
from pkid.storage.fsck import fsck
assert fsck(directory) == []
print("recovered")
"""


def child(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(script), *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": ROOT}


@pytest.mark.robustness
def test_what_was_answered_survives_a_kill_and_no_unit_is_half_there(
    tmp_path: Path, soak_factor: int
) -> None:
    directory = tmp_path / "state"
    answered: set[int] = set()
    start = 0
    for kill in range(KILLS * soak_factor):
        process = subprocess.Popen(
            child(COMMITTING, str(directory), str(start)),
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(7 + 13 * (kill % 10))]
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        lines = b"".join(seen) + rest
        # The last line may be cut off in its middle.
        now = {int(line) for line in lines.split(b"\n")[:-1]}
        assert len(now) >= 7
        answered |= now
        # Some were under way: up to eight more than the last that was answered.
        start = max(answered) + 100
        store = FileStore.open(directory)
        for number in now:
            record = samples.certificate(number)
            assert result_of(store.find_certificate(record.reference)) == record
            key = samples.transaction(number).key
            assert result_of(store.find_transaction(key)) is not None
        records = result_of(samples.listed(store.audit_records()))
        tasks = result_of(store.outbox(1_000_000))
        assert len(records) == len(tasks) >= len(answered)
        result_of(store.close())
    assert fsck(directory) == []


@pytest.mark.requirement("FLT-20")
def test_a_killed_daemon_leaves_its_directory_free(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    process = subprocess.Popen(
        child(COMMITTING, str(directory), "0"),
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    second = subprocess.run(
        child("FileStore.open(directory)", str(directory)),
        capture_output=True,
        env=environment(),
        check=False,
        timeout=30,
    )
    assert second.returncode == 1
    assert b"in use by another daemon" in second.stderr
    process.kill()
    process.communicate(timeout=30)
    store = FileStore.open(directory)
    assert result_of(store.audit_head())[0] > 0
    result_of(store.close())


@pytest.mark.requirement("FLT-10")
def test_a_disk_error_ends_issuing_and_releases_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    ended = subprocess.run(
        child(FAILING, str(directory)),
        capture_output=True,
        env=environment(),
        check=False,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    assert ended.returncode == 3, ended.stderr
    answered, refused, late, code = ended.stdout.split()
    assert int(answered) > 10
    assert (refused, late, code) == (b"1", b"1", b"UNAVAILABLE")
    # Recovery is a new start: all that was answered is there, nothing is broken.
    store = FileStore.open(directory)
    assert result_of(store.audit_head())[0] >= int(answered)
    result_of(store.close())
    assert fsck(directory) == []


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        return False
    command = [unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.requirement("FLT-08")
def test_a_full_disk_stops_issuing_not_revoking_and_ends_by_itself(
    tmp_path: Path,
) -> None:
    if not may_mount():
        pytest.skip("a small file system needs root and unshare")
    disk = tmp_path / "disk"
    disk.mkdir()
    fill = (
        f"mount -t tmpfs -o size=16m,mode=0700 none {disk} && "
        f"mkdir -m 700 {disk}/state && "
        f"head -c 6000000 /dev/zero > {disk}/state/ballast && "
        'exec "$@"'
    )
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", fill, "sh", *child(FILLING, f"{disk}/state")],
        capture_output=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert ended.stdout == b"recovered\n", ended.stderr.decode()
