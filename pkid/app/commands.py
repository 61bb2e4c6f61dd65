"""How the tool's commands are declared: nouns, verbs, arguments, functions.

A command is a value; `pkid.app.cli` makes the parser of all of them.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pkid.app import output
from pkid.app.client import Daemon

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Tool:
    """What every command gets.

    :ivar json: whether programs read the output.
    """

    state: Path
    json: bool

    @property
    def daemon(self) -> Daemon:
        """The daemon of the state directory."""
        return Daemon(self.state)

    def show(self, view: Mapping[str, object]) -> int:
        """Write one record."""
        if self.json:
            output.write_json(view)
        else:
            output.write_fields(view)
        return DONE

    def table(
        self, rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()
    ) -> int:
        """Write many records; programs get all fields."""
        if self.json:
            output.write_json(rows)
        else:
            output.write_table(rows, columns)
        return DONE


Run = Callable[[Tool, Namespace], int]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, as ``argparse`` takes it."""

    flags: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def argument(*flags: str, **settings: Any) -> Argument:  # noqa: ANN401 - argparse's
    """An argument; ``help`` is among the settings."""
    return Argument(flags, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command.

    :ivar noun: "" for a command that is a verb alone.
    """

    noun: str = ""
    verb: str
    help: str
    run: Run
    arguments: tuple[Argument, ...] = ()
