from __future__ import annotations

from pathlib import Path

import pytest

from pkid.app.config import built_in_text
from pkid.app.kinds import Faults
from pkid.app.reference import block, page, refreshed, title
from pkid.app.schema import Key, Table
from pkid.app.tables import SHAPE

PROJECT = Path(__file__).parents[2]
KEYS = [(table, key) for table in SHAPE.tables for key in table.keys]


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    """Else run ``python -m pkid.app.reference``."""
    assert (PROJECT / "docs/configuration.md").read_text("utf-8") == page()


def test_the_blocks_of_the_shipped_file_are_up_to_date() -> None:
    text = built_in_text()
    assert refreshed(text) == text


@pytest.mark.parametrize("table", SHAPE.tables, ids=title)
def test_the_shipped_file_describes_every_table(table: Table) -> None:
    assert block(table) in built_in_text()


@pytest.mark.parametrize(
    ("table", "key"), KEYS, ids=lambda one: getattr(one, "name", None)
)
def test_every_default_reads_back_as_itself(table: Table, key: Key) -> None:
    if table.is_required(key) or table.default(key) is None:
        assert key.example
        return
    import tomllib

    default = table.default(key)
    shown = tomllib.loads(f"x = {key.kind.show(default)}")["x"]
    faults = Faults()
    assert key.kind.read(shown, "x", faults) == default
    assert not faults.found


@pytest.mark.parametrize("table", SHAPE.tables, ids=title)
def test_every_field_of_a_record_is_a_key_or_given(table: Table) -> None:
    from dataclasses import fields

    known = {key.field or key.name for key in table.keys} | set(table.given)
    for record in table.records:
        if record.__name__ == "Limits":
            continue
        assert {field.name for field in fields(record)} <= known
