"""The conformance pages say what the tests prove, no more."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.project.sources import ROOT

FOLDER = ROOT / "docs" / "conformance"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look themselves up by module name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "generate", module)
        spec.loader.exec_module(module)
    return module


LIST = """
[requirement.CMP-01]
text = "first"
source = "RFC 1"

[requirement.CMP-02]
text = "second"
source = "RFC 2"
unread = ["RFC 2"]

[requirement.SEC-01]
text = "third"
source = "pkid"
refused = "because"

[requirement.FLT-01]
text = "fourth"
source = "pkid"
partly = "only half"
"""
# The ids are put in later: a search of this file for marks finds none.
TEST = """
import pytest
pytestmark = pytest.mark.requirement(FAULT)

@pytest.mark.requirement(FIRST, SECOND)
def test_something_is_so(): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement(FIRST))])
class TestOther:
    def test_inside(self): ...
"""
IDS = {"FAULT": "'FLT-01'", "FIRST": "'CMP-01'", "SECOND": "'CMP-02'"}
for placeholder, name in IDS.items():
    TEST = TEST.replace(placeholder, name)


def pages_of(generate: ModuleType, folder: Path, test: str) -> dict[str, str]:
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "list.toml").write_text(LIST)
    (folder / "tests" / "test_it.py").write_text(test)
    pages: dict[str, str] = generate.make_pages(
        generate.read_requirements(folder / "list.toml"),
        generate.read_marks(folder, folder / "tests"),
    )
    return pages


def row(page: str, name: str) -> list[str]:
    (line,) = (text for text in page.splitlines() if text.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_marked_requirement_is_met(generate: ModuleType, tmp_path: Path) -> None:
    page = pages_of(generate, tmp_path, TEST)["cmp.md"]
    assert row(page, "CMP-01")[3] == "met"
    assert "test_something_is_so" in row(page, "CMP-01")[4]
    assert "TestOther" in row(page, "CMP-01")[4]


def test_a_line_on_an_unread_text_is_partly(
    generate: ModuleType, tmp_path: Path
) -> None:
    page = pages_of(generate, tmp_path, TEST)["cmp.md"]
    assert row(page, "CMP-02")[3].startswith("partly: not yet held against")


def test_an_unmarked_requirement_is_not_met(
    generate: ModuleType, tmp_path: Path
) -> None:
    page = pages_of(generate, tmp_path, "")["cmp.md"]
    assert row(page, "CMP-01")[3] == "not"
    assert row(page, "CMP-02")[3] == "not"


def test_reasons_are_told(generate: ModuleType, tmp_path: Path) -> None:
    page = pages_of(generate, tmp_path, TEST)["security.md"]
    assert row(page, "SEC-01")[3] == "refused: because"
    assert row(page, "FLT-01")[3] == "partly: only half"


def test_a_mark_on_an_unknown_line_is_refused(
    generate: ModuleType, tmp_path: Path
) -> None:
    name = "'CMP-99'"
    test = f"@pytest.mark.requirement({name})\ndef test_x(): ...\n"
    with pytest.raises(ValueError, match="CMP-99"):
        pages_of(generate, tmp_path, test)


def test_an_id_that_is_computed_is_refused(
    generate: ModuleType, tmp_path: Path
) -> None:
    test = "@pytest.mark.requirement(NAME)\ndef test_x(): ...\n"
    with pytest.raises(ValueError, match="literal"):
        pages_of(generate, tmp_path, test)


def test_the_list_is_whole(generate: ModuleType) -> None:
    rows = generate.read_requirements(FOLDER / "requirements.toml")
    prefixes = {name.split("-")[0] for name in rows}
    assert prefixes == {"CMP", "SCEP", "EST", "ACME", "REST", "ENG", "SEC", "FLT"}
    assert [r.name for r in rows.values() if len(r.text) > 300] == []
