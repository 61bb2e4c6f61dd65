"""What the documents tell a reader to do exists."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.project.sources import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MADE = re.compile(r"`make ([a-z-]+)|^(?:    )?\$? ?make ([a-z-]+)", re.MULTILINE)
FRAGMENT = re.compile(
    r"(\d+|\+[\w-]+)\.(security|feature|bugfix|removal|doc|misc)(\.\d+)?\.md"
)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.fixture(scope="module")
def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_command_is_a_target(document: Path, targets: set[str]) -> None:
    text = document.read_text(encoding="utf-8")
    named = {one or two for one, two in MADE.findall(text)}
    assert named - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    links = set(LINK.findall(document.read_text(encoding="utf-8")))
    broken = [link for link in links if not (document.parent / link).exists()]
    assert broken == []


def test_help_names_every_target(targets: set[str]) -> None:
    told = subprocess.run(
        ["make", "-s", "-C", str(ROOT), "help"],
        capture_output=True, text=True, check=True, timeout=10,
    ).stdout  # fmt: skip
    named = set(re.findall(r"^make ([a-z-]+)", told, re.MULTILINE))
    parts = {target for target in targets if target.startswith("lint-")}
    assert targets - parts - named == {"help"}


def test_every_news_fragment_has_a_known_type() -> None:
    names = {path.name for path in (ROOT / "changes").iterdir()} - {"README.md"}
    wrong = [name for name in names if not FRAGMENT.fullmatch(name)]
    assert wrong == []


def test_the_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=10)
