"""Child processes of the tests: CPU time, memory, an orderly end by process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
STOP_SECONDS = 20.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, in steps of a tick."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def thread_cpu(pid: int) -> dict[str, float]:
    """CPU seconds of each living thread, finer than a tick, by name and id."""
    found: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        name = (task / "comm").read_text().strip()
        found[f"{name}/{task.name}"] = nanoseconds / 1e9
    return found


def resident(pid: int) -> int:
    """Resident memory in octets."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def end(process: subprocess.Popen[bytes], timeout: float = STOP_SECONDS) -> int:
    """Ask a process to stop, and kill it when it does not.

    :returns: its status, negative for a signal.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(timeout)


def free_port() -> int:
    """A port of loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(
    address: tuple[str, int],
    process: subprocess.Popen[bytes],
    timeout: float = 20.0,
) -> None:
    """Wait until somebody accepts there.

    :raises RuntimeError: when the process ends, or the time does.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"ended with status {process.returncode}")
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nobody accepts at {address}")
