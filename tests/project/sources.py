"""The package's sources as syntax trees, for tests about the code itself."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Source:
    """One module: where it stands, in which room, and its tree."""

    path: str
    room: str
    text: str
    tree: ast.Module

    def walk(self) -> Iterator[ast.AST]:
        return ast.walk(self.tree)

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@functools.cache
def sources() -> tuple[Source, ...]:
    """Read every module of pkid once."""
    return tuple(_source(path) for path in sorted((ROOT / "pkid").rglob("*.py")))


def _source(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    inside = path.relative_to(ROOT / "pkid")
    room = inside.parts[0] if len(inside.parts) > 1 else ""
    return Source(
        f"pkid/{inside.as_posix()}", room, text, ast.parse(text, filename=str(path))
    )


def imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    """Give every imported name in full: ``from a import b`` is ``a.b``."""
    for node in source.walk():
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{a.name}") for a in node.names)


def is_within(name: str, package: str) -> bool:
    """Say whether a dotted name is a package or something below it."""
    return name == package or name.startswith(f"{package}.")
