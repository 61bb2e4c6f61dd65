"""The reference of the configuration, made from its tables.

``python -m pkid.app.reference`` in a checkout writes ``docs/configuration.md`` and the
commented blocks of ``etc/pkid.conf`` again; a test holds both to the tables.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Final

from pkid.app.config import built_in_text
from pkid.app.presets import PRESETS
from pkid.app.schema import EACH, REQUIRED, Key, Table
from pkid.app.tables import CMP_ALIAS, SHAPE
from pkid.responders.cmp.aliases import QUIRKS

PAGE: Final = Path("docs/configuration.md")
FILE: Final = Path("etc/pkid.conf")
_WIDTH: Final = 78
_BLOCK: Final = re.compile(r"^#: (.*)\n(?:#.*\n)*", re.MULTILINE)

_PREFACE: Final = """\
# Configuration

pkid reads one TOML file: `--config FILE`, else `pkid.conf` in the state directory, else
the built-in configuration, which is `etc/pkid.conf` of the sources. The file is checked
whole before anything starts and every fault is told at once; an unknown key is a fault.
`pkid check-config FILE` does only that.

* Certificate profiles, end entity profiles and approval rules of the built-in
  configuration stand beside those of the file; one of the same name replaces it.
* Listeners and aliases of the built-in configuration hold until the file has any of its
  own.
* `--set key=value` wins over the file; the value is TOML:
  `--set 'listener.http.endpoint="tcp:0:interface=127.0.0.1"'`.
* SIGHUP reads the file again. Keys marked *restart* need a restart; a file with faults
  changes nothing and the faults are in the log.
* Secrets never stand in the file: a reference does, `file:/path`, `env:NAME` or
  `credential:name` (a systemd credential).

The tables below are made from the program's own (`python -m pkid.app.reference`).
"""


def title(table: Table) -> str:
    """The table's header as it stands in a file."""
    if not table.path:
        return "(top of the file)"
    return f"[{table.path.replace(EACH, 'NAME')}]"


def shown_default(table: Table, key: Key) -> str:
    """TOML text of the default; empty when there is none."""
    default = table.default(key)
    return "" if default is REQUIRED else key.kind.show(default)


def block(table: Table) -> str:
    """The table as a commented block of ``pkid.conf``."""
    lines = [f"#: {title(table)}", *_comment(table.doc)]
    for key in table.keys:
        lines.append("#")
        lines += _comment(key.doc)
        lines.append(f"# {_assignment(table, key)}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    plain = text.replace("`", "")
    return [
        f"#  {line}" for line in textwrap.wrap(plain, _WIDTH, break_on_hyphens=False)
    ]


def _assignment(table: Table, key: Key) -> str:
    default = shown_default(table, key)
    if default:
        return f"{key.name} = {default}"
    reason = "must be given" if table.is_required(key) else "left out"
    return f"{key.name} = {key.example}  # {reason}"


def page() -> str:
    """The whole page for the documentation."""
    sections = [_PREFACE]
    for table in SHAPE.tables:
        sections.append(f"## `{title(table)}`\n\n{table.doc}\n")
        sections.append("| key | value | default | |\n| --- | --- | --- | --- |\n")
        sections[-1] += "".join(_row(table, key) for key in table.keys)
        if table is CMP_ALIAS:
            sections += [_quirks(), *map(_preset, PRESETS)]
    return "\n".join(sections)


def _quirks() -> str:
    """The quirks of a CMP entrance: which peer needs each."""
    rows = "".join(f"| `{name}` | {text} |\n" for name, text in QUIRKS.items())
    return f"### Quirks\n\n| name | who needs it |\n| --- | --- |\n{rows}"


def _preset(name: str) -> str:
    """A preset as a part of the page: what it puts under the keys of the file."""
    preset = PRESETS[name]
    fixed = ", ".join(f"`{key}`" for key in sorted(preset.fixed))
    words = [f'### `preset = "{name}"`\n\n{preset.title}']
    if fixed:
        words.append(f"Fixed, whatever the file says: {fixed}.")
    text = textwrap.indent(preset.text, "    ")
    return f"{' '.join(words)}\n\n{text}"


def _row(table: Table, key: Key) -> str:
    default = shown_default(table, key)
    shown = f"`{default}`" if default else "*must be given*"
    if not default and not table.is_required(key):
        shown = "*left out*"
    restart = "" if key.reloadable else " *Restart.*"
    cells = (f"`{key.name}`", key.kind.name, shown, f"{key.doc}{restart}")
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


def refreshed(text: str) -> str:
    """The text of ``pkid.conf`` with its commented blocks made again."""
    by_title = {title(table): table for table in SHAPE.tables}

    def renew(match: re.Match[str]) -> str:
        return block(by_title[match.group(1)])

    return _BLOCK.sub(renew, text)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    FILE.write_text(refreshed(built_in_text()), "utf-8")
