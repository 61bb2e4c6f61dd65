"""What the tool writes: tables and fields for people, JSON for programs.

Everything that came from a request is escaped, so that no name drives a terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from pkid.app.escaping import escape


def write_json(value: object) -> None:
    """One JSON document."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def write_text(text: str) -> None:
    """Text as it is."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")


def write_fields(view: Mapping[str, object], *, indent: str = "") -> None:
    """A record: one field a line, empty ones left out."""
    shown = {key: value for key, value in view.items() if value not in (None, "", [])}
    width = max(map(len, shown), default=0)
    for key, value in shown.items():
        if isinstance(value, Mapping):
            sys.stdout.write(f"{indent}{key}\n")
            write_fields(value, indent=f"{indent}    ")
        elif isinstance(value, list) and isinstance(value[0], Mapping):
            sys.stdout.write(f"{indent}{key}\n")
            _write_records(value, f"{indent}    ")
        else:
            sys.stdout.write(f"{indent}{key:{width}}  {cell(value)}\n")


def _write_records(records: list[Mapping[str, object]], indent: str) -> None:
    if not any(_is_deep(value) for record in records for value in record.values()):
        write_table(records, indent=indent)
        return
    for number, record in enumerate(records):
        if number:
            sys.stdout.write(f"{indent}--\n")
        write_fields(record, indent=indent)


def _is_deep(value: object) -> bool:
    if isinstance(value, list):
        return any(isinstance(one, Mapping) for one in value)
    return isinstance(value, Mapping)


def write_table(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str] = (),
    *,
    indent: str = "",
) -> None:
    """Records: one line each, under the names of the columns."""
    if not rows:
        sys.stdout.write(f"{indent}none\n")
        return
    names = list(columns) or list(rows[0])
    lines = [names, *[[cell(row.get(name)) for name in names] for row in rows]]
    widths = [max(len(line[index]) for line in lines) for index in range(len(names))]
    for line in lines:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        sys.stdout.write(f"{indent}{'  '.join(padded).rstrip()}\n")


def cell(value: object) -> str:
    """A value on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return escape(", ".join(map(str, value))) or "-"
    return escape(str(value)) or "-"
