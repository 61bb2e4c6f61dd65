"""Kills a running daemon at a system call of its own, from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import end

ATTACH_SECONDS = 10.0


@contextmanager
def killed_at(program: str, pid: int, call: str, number: int) -> Iterator[None]:
    """Kill a process when one of its threads enters a system call for the Nth time.

    :param program: the path of strace.
    :raises AssertionError: when strace cannot attach.
    """
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    options = ("-f", "-q", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject)
    tracer = subprocess.Popen(
        [program, *options, "-p", str(pid)], stdin=subprocess.DEVNULL
    )
    try:
        _wait_until_traced(pid, tracer)
        yield
    finally:
        end(tracer)


def _wait_until_traced(pid: int, tracer: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + ATTACH_SECONDS
    while not all(map(_is_traced, Path(f"/proc/{pid}/task").iterdir())):
        assert tracer.poll() is None, "strace ended: may we trace processes?"
        assert time.monotonic() < deadline, "strace does not attach"
        time.sleep(0.01)


def _is_traced(task: Path) -> bool:
    status = (task / "status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return fields["TracerPid"] != "0"
