"""A start on a disk that takes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import Daemon


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        return False
    command = [unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.requirement("FLT-09")
def test_a_start_on_a_read_only_disk_is_refused_in_one_line(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("a read-only file system needs root and unshare")
    first = Daemon(tmp_path)
    first.start()
    first.stop()
    first.log_path.unlink()
    (first.state / "run" / "listeners.json").unlink()
    before = contents(first.state)
    read_only = (
        f"mount --bind {first.state} {first.state} && "
        f"mount -o remount,ro,bind {first.state} && "
        'exec "$@"'
    )
    found = Daemon(tmp_path, wrapper=("unshare", "-m", "sh", "-c", read_only, "sh"))
    process = found.launch()
    try:
        assert process.wait(60) == 1
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(one) for one in found.log.splitlines() if one.startswith("{")]
    (said,) = [one for one in lines if one["level"] in {"error", "critical"}]
    assert said["message"].startswith("pkid does not start: ")
    assert "the state directory cannot be written to" in said["message"]
    assert "Traceback" not in found.log
    assert contents(first.state) == before
    try:
        found = Daemon(tmp_path)
        found.start()
        client = found.client()
        request = client.enrol()
        with found.http_wire() as wire:
            assert client.read(wire.exchange(request.octets), request).granted
    finally:
        found.kill()
