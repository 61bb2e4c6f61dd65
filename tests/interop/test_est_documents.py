"""What docs/est-curl.md prints works as it stands, twice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, running

pytestmark = pytest.mark.interop

PAGE = ROOT / "docs" / "est-curl.md"
KEYS = 'est.alias.keys = { authority = "issuing", key_generation = true }'
OURS = 'est.alias.default = { authority = "issuing" }'
CONFIGURATION = ("[est.alias.keys]", "authority =", "key_generation =")


def printed() -> str:
    """The lines that are indented, but for the piece of configuration."""
    lines = [
        line[4:]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("    ")
    ]
    return "\n".join(line for line in lines if not line.startswith(CONFIGURATION))


def test_every_command_of_the_page_works_as_printed(
    require_client: Callable[[str], str], tmp_path: Path
) -> None:
    for client in ("curl", "openssl"):
        require_client(client)
    state = tmp_path / "daemon"
    state.mkdir()
    with running(state, settings=(OURS, KEYS)) as daemon:
        for round_number in range(2):
            done = subprocess.run(
                ["/bin/sh", "-ec", printed()],
                check=False,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=120,
                env={
                    **os.environ,
                    "no_proxy": "127.0.0.1",
                    "F": str(daemon.first_run),
                    "EST": f"https://{daemon.est}/.well-known/est",
                },
            )
            said = f"round {round_number}\n{done.stdout}\n{done.stderr}"
            assert done.returncode == 0, said
    assert (tmp_path / "made.pem").stat().st_size > 500
