"""The commands that the first start prints work as they stand, in order, twice."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import BIN, Daemon

pytestmark = pytest.mark.interop

COMMANDS = ("openssl", "pkid", "curl", "pki ", "LEGO_CA_CERTIFICATES=", "F=")


def pasted(text: str) -> list[str]:
    """Lines of the README that are meant for a shell, continued lines joined."""
    found: list[str] = []
    continued = False
    for line in text.splitlines():
        code = line.strip()
        if continued:
            found[-1] += "\n" + code
        elif line.startswith("    ") and code.startswith(COMMANDS):
            found.append(code)
        continued = code.endswith("\\") and (continued or line.startswith("    "))
    return found


def test_every_command_works_as_it_stands(
    daemon: Daemon, require_client: Callable[[str], str], tmp_path: Path
) -> None:
    for client in ("openssl", "curl", "pki", "lego"):
        require_client(client)
    commands = pasted((daemon.first_run / "README.txt").read_text())
    kinds = {word for text in commands for word in re.findall(r"-cmd (\w+)", text)}
    assert kinds >= {"ir", "kur", "rr", "p10cr", "genm"}
    assert any("openssl verify" in text for text in commands)
    script = "set -e\n" + "\n".join(
        text for text in commands if not text.startswith("pkid init")
    )
    for round_number in range(2):
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            env={
                **os.environ,
                "PATH": f"{BIN}:{os.environ['PATH']}",
                "no_proxy": "127.0.0.1",
            },
        )
        said = f"round {round_number}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, said
    assert (tmp_path / "cert2.pem").exists()


def test_the_credentials_name_the_doors(daemon: Daemon) -> None:
    cmp = daemon.credentials["cmp"]
    assert cmp["url"] == f"http://{daemon.http}/.well-known/cmp/p/default"
    assert cmp["tcp"] == str(daemon.tcp)
    secret = (daemon.first_run / "cmp.secret").read_text().strip()
    assert secret == cmp["secret"]
    assert len(secret) * 5 >= 160


def test_no_secret_is_in_the_log(daemon: Daemon) -> None:
    credentials = daemon.credentials
    assert credentials["cmp"]["secret"] not in daemon.log
    assert credentials["rest"]["p12_password"] not in daemon.log
    passphrase = (daemon.state / "keys" / "passphrase").read_text().strip()
    assert passphrase not in daemon.log
