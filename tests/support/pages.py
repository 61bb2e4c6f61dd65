"""Pages of the documentation, taken at their word: blocks are files and scripts."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.daemon import BIN, ROOT, Daemon

_FENCE = re.compile(r"^```(\w+)(?: ([\w ]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    :ivar label: what stands behind the language.
    """

    language: str
    label: str
    text: str


def blocks(page: str) -> list[Block]:
    """The fenced blocks of ``docs/<page>.md``, in order."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return [Block(one, label, body) for one, label, body in _FENCE.findall(text)]


def configuration(page: str) -> str:
    """All TOML of a page, as one file."""
    return "\n".join(one.text for one in blocks(page) if one.language == "toml")


def scripts(page: str) -> list[Block]:
    """The shell blocks of a page."""
    return [one for one in blocks(page) if one.language == "sh"]


def addresses(block: Block, **values: str) -> str:
    """The block of addresses with true ones: free ports, where this daemon lives."""
    text = block.text
    for name, value in values.items():
        text, count = re.subn(rf"^{name}=.*$", f"{name}={value}", text, flags=re.M)
        assert count == 1, name
    return text


def run(script: str, folder: Path, daemon: Daemon | None = None) -> str:
    """Run a script as a user would; its output."""
    state = {} if daemon is None else {"STATE_DIRECTORY": str(daemon.state)}
    done = subprocess.run(
        ["/bin/sh", "-ec", script],
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
        env={
            **os.environ,
            **state,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        },
    )
    assert done.returncode == 0, f"{script}\n---\n{done.stdout}"
    return done.stdout
