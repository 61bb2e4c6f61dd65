"""Write the conformance pages from the list of requirements and the tests' marks.

``python docs/conformance/generate.py`` writes the pages beside this file;
``--check`` writes nothing and fails if a page would change. A line is met when a
test carries ``@pytest.mark.requirement`` with its id. The list may lower that, never
raise it:

* ``partly = "reason"``: what the tests do not reach;
* ``unread = ["RFC ..."]``: texts behind the line that it was not yet held against;
* ``refused = "reason"``: decided against;
* ``describes = true``: says how things are, asks for nothing.
"""

from __future__ import annotations

import argparse
import ast
import enum
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = {
    "cmp": ("CMP", ("CMP",)),
    "scep": ("SCEP", ("SCEP",)),
    "est": ("EST", ("EST",)),
    "acme": ("ACME", ("ACME",)),
    "rest": ("REST", ("REST",)),
    "engine": ("Engine, life of a CA, status services", ("ENG",)),
    "security": ("Security and faults", ("SEC", "FLT")),
}
FIELDS = frozenset({"text", "source", "partly", "unread", "refused", "describes"})
NOTE = "<!-- Written by docs/conformance/generate.py; run `make docs`. -->"


class State(enum.Enum):
    """How far a requirement is met."""

    MET = "met"
    PARTLY = "partly"
    NOT = "not"
    REFUSED = "refused"
    DESCRIBES = "describes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One line of the list, as it is written there."""

    name: str
    text: str
    source: str
    partly: str = ""
    unread: tuple[str, ...] = ()
    refused: str = ""
    describes: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """One requirement named by one test."""

    requirement: str
    path: str
    test: str


def read_requirements(path: Path) -> dict[str, Requirement]:
    """Read the list.

    :param path: the TOML file.
    :return: every line, by id, in the file's order.
    :raises ValueError: for an unknown field or an empty one.
    """
    with path.open("rb") as file:
        rows: dict[str, dict[str, Any]] = tomllib.load(file)["requirement"]
    return {name: _requirement(name, row) for name, row in rows.items()}


def _requirement(name: str, row: dict[str, Any]) -> Requirement:
    unknown = sorted(row.keys() - FIELDS)
    if unknown:
        raise ValueError(f"{name}: unknown fields {unknown}")
    if not row.get("text") or not row.get("source"):
        raise ValueError(f"{name}: text and source are needed")
    unread = tuple(row.pop("unread", ()))
    return Requirement(name=name, unread=unread, **row)


def read_marks(root: Path, tests: Path) -> list[Mark]:
    """Find every requirement mark below ``tests``, without importing anything.

    :param root: the project; paths in the marks are relative to it.
    :raises ValueError: where an id is not a literal string.
    """
    marks: list[Mark] = []
    for path in sorted(tests.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        where = path.relative_to(root).as_posix()
        marks.extend(_marks_in(tree, where, ""))
    return sorted(set(marks))


def _marks_in(node: ast.AST, path: str, test: str) -> Iterator[Mark]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        test = f"{test}.{node.name}" if test else node.name
    if isinstance(node, ast.Call) and _is_requirement(node.func):
        names = [a.value for a in node.args if isinstance(a, ast.Constant)]
        if len(names) != len(node.args):
            raise ValueError(f"{path}:{node.lineno}: an id is a literal string")
        yield from (Mark(str(name), path, test) for name in names)
        return
    for child in ast.iter_child_nodes(node):
        yield from _marks_in(child, path, test)


def _is_requirement(function: ast.expr) -> bool:
    return ast.unparse(function).endswith("mark.requirement")


def state_of(requirement: Requirement, tests: Iterable[Mark]) -> State:
    """Say how far a requirement is met, by its tests and by what lowers it."""
    if requirement.refused:
        return State.REFUSED
    if requirement.describes:
        return State.DESCRIBES
    if not list(tests):
        return State.NOT
    lowered = requirement.partly or requirement.unread
    return State.PARTLY if lowered else State.MET


def make_pages(
    requirements: Mapping[str, Requirement], marks: Iterable[Mark]
) -> dict[str, str]:
    """Compose every page.

    :return: file names and their whole contents.
    :raises ValueError: when a mark names no requirement.
    """
    by_name: defaultdict[str, list[Mark]] = defaultdict(list)
    for mark in marks:
        if mark.requirement not in requirements:
            raise ValueError(f"{mark.path}: {mark.requirement} is not in the list")
        by_name[mark.requirement].append(mark)
    pages: dict[str, str] = {}
    totals: dict[str, Counter[State]] = {}
    for page, (title, prefixes) in PAGES.items():
        rows = [r for r in requirements.values() if r.name.split("-")[0] in prefixes]
        totals[page] = Counter(state_of(r, by_name[r.name]) for r in rows)
        pages[f"{page}.md"] = _page(title, rows, by_name, totals[page])
    pages["README.md"] = _overview(totals)
    return pages


def _page(
    title: str,
    rows: list[Requirement],
    marks: Mapping[str, list[Mark]],
    total: Counter[State],
) -> str:
    lines = [
        NOTE,
        "",
        f"# Conformance: {title}",
        "",
        ", ".join(f"{total[state]} {state.value}" for state in State) + ".",
        "[How to read this](README.md).",
        "",
        "| id | requirement | source | state | proven by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        tests = marks.get(row.name, [])
        cells = (row.name, row.text, row.source, _state(row, tests), _tests(tests))
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _state(row: Requirement, tests: list[Mark]) -> str:
    state = state_of(row, tests)
    reasons = [reason for reason in (row.refused, row.partly) if reason]
    if row.unread:
        reasons.append("not yet held against the text of " + ", ".join(row.unread))
    if not reasons or state in {State.NOT, State.DESCRIBES}:
        return state.value
    return f"{state.value}: {'; '.join(reasons)}"


def _tests(tests: list[Mark]) -> str:
    return "<br>".join(f"[{t.test}](../../{t.path})" for t in sorted(set(tests)))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _overview(totals: Mapping[str, Counter[State]]) -> str:
    lines = [
        NOTE,
        "",
        "# Conformance",
        "",
        "What pkid sets out to do, line by line, and which tests prove it. The list is",
        "[requirements.toml](requirements.toml); a test names the lines that it proves",
        "with `@pytest.mark.requirement`.",
        "",
        "* **met**: at least one test proves the line.",
        "* **partly**: tests prove some of it; the reason says what is missing. A line",
        "  resting on a text that it was not yet held against is partly at best.",
        "* **not**: no test names it. The code may be there or not.",
        "* **refused**: decided against, with the reason.",
        "* **describes**: says how things are and asks for nothing.",
        "",
        "| page | " + " | ".join(state.value for state in State) + " |",
        "| --- |" + " --- |" * len(State),
    ]
    for page, total in totals.items():
        counts = " | ".join(str(total[state]) for state in State)
        lines.append(f"| [{PAGES[page][0]}]({page}.md) | {counts} |")
    sums = [str(sum(total[state] for total in totals.values())) for state in State]
    lines.append("| all | " + " | ".join(sums) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or say which are out of date.

    :return: the status of the process.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check: bool = parser.parse_args(arguments).check
    here = Path(__file__).resolve().parent
    root = here.parents[1]
    pages = make_pages(
        read_requirements(here / "requirements.toml"),
        read_marks(root, root / "tests"),
    )
    stale = [name for name, text in pages.items() if _read(here / name) != text]
    for name in stale:
        if check:
            print(f"docs/conformance/{name} is out of date: make docs")
        else:
            (here / name).write_text(pages[name], encoding="utf-8")
    return 1 if check and stale else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
