"""``pkid cmp relay`` as a process: in the foreground, and around one command."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import BIN, ROOT

# Nothing listens on port 1 of loopback.
NOWHERE = "127.0.0.1:1"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "pkid"), "cmp", "relay", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
    )


def test_it_says_where_it_listens_and_ends_when_told(tmp_path: Path) -> None:
    relay = subprocess.Popen(
        [str(BIN / "pkid"), "cmp", "relay", "--to", NOWHERE],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        cwd=tmp_path,
    )
    try:
        assert relay.stdout is not None
        line = relay.stdout.readline().decode()
        found = re.fullmatch(r"relay at (127\.0\.0\.1):(\d+)\n", line)
        assert found is not None, line
        connection = http.client.HTTPConnection(found[1], int(found[2]), timeout=30)
        headers = {"Content-Type": "application/pkixcmp"}
        connection.request("POST", "/pkix", b"\x30\x00", headers)
        answer = connection.getresponse()
        assert answer.status == 502
        assert b"refused" in answer.read()
        connection.close()
    finally:
        relay.send_signal(signal.SIGTERM)
        status = relay.wait(30)
        if relay.stdout is not None:
            relay.stdout.close()
    assert status == 0


@pytest.mark.parametrize("status", [0, 3])
def test_it_ends_with_the_status_of_its_command(status: int) -> None:
    words = ("-c", f"import sys; print(sys.argv[1]); sys.exit({status})", "{relay}")
    done = run("--to", NOWHERE, "--", sys.executable, *words)
    assert done.returncode == status
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", done.stdout)


def test_a_command_that_was_killed_is_told_apart() -> None:
    kill = "import os; os.kill(os.getpid(), 9)"
    assert run("--to", NOWHERE, "--", sys.executable, "-c", kill).returncode == 137


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "ftp://ca"), "--to"),
        (("--to", NOWHERE, "--listen", "nowhere"), "--listen"),
        (("--to", NOWHERE, "--trusted", __file__), "certificate"),
        (("--to", NOWHERE, "--", "there-is-no-such-command"), "no command"),
    ],
    ids=["to", "listen", "trusted", "command"],
)
def test_what_cannot_work_is_said_at_once(
    arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
