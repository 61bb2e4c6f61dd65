"""The shape of the configuration file: tables of keys, read all faults at once.

Pure. A `Table` says which keys it has and which record it builds; a key's default is
the default of the record's field, so that nothing is written twice. The same tables
make the reference in ``docs/configuration.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar, Final, Protocol

from pkid.app.kinds import IDENTIFIER, Faults, Kind, suggestion

EACH: Final = "*"

Values = dict[str, object]


class Record(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


class _Nothing:
    """Stands for "there is no default"."""


REQUIRED: Final = _Nothing()


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table.

    :ivar doc: one or two sentences for the reference.
    :ivar reloadable: whether SIGHUP is enough, or a restart is needed.
    :ivar field: name of the record's field, when it is not the key's own.
    :ivar example: TOML text of a value, for a key without a default.
    """

    name: str
    kind: Kind
    doc: str
    reloadable: bool = True
    field: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of the file.

    :ivar path: dotted; ``*`` as the last part stands for a name chosen by the user.
    :ivar records: the dataclasses whose fields give the defaults, in order.
    :ivar given: fields that are not in the file (the name, computed ones).
    """

    path: str
    doc: str
    keys: tuple[Key, ...]
    records: tuple[type[Record], ...]
    given: tuple[str, ...] = ()

    def key(self, name: str) -> Key | None:
        """The key of that name."""
        return next((key for key in self.keys if key.name == name), None)

    def default(self, key: Key) -> object:
        """What holds when the key is left out; `REQUIRED` when it may not be."""
        wanted = key.field or key.name
        for record in self.records:
            for field in fields(record):
                if field.name != wanted:
                    continue
                if field.default is not MISSING:
                    return field.default
                if field.default_factory is not MISSING:
                    made: object = field.default_factory()
                    return made
                return REQUIRED
        message = f"no record of {self.path} has a field {wanted}"
        raise LookupError(message)

    def is_required(self, key: Key) -> bool:
        """Whether the key must be given."""
        return self.default(key) is REQUIRED

    def read(
        self,
        found: Mapping[str, object],
        where: str,
        faults: Faults,
        tables: Collection[str] = (),
    ) -> Values:
        """The values given in one table of the file, by field name.

        :param tables: names of the tables inside it, for a hint.
        """
        values: Values = {}
        for name, value in found.items():
            key = self.key(name)
            if key is None:
                known = [*tables, *(key.name for key in self.keys)]
                faults.add(join(where, name), f"unknown key{suggestion(name, known)}")
                continue
            values[key.field or name] = key.kind.read(value, join(where, name), faults)
        for key in self.keys:
            if self.is_required(key) and (key.field or key.name) not in values:
                faults.add(join(where, key.name), "is missing")
        return values


@dataclass(frozen=True, slots=True)
class Inline:
    """An inline table as a value: a kind made of a `Table`."""

    table: Table
    build: Callable[..., object]

    @property
    def name(self) -> str:
        """Its keys."""
        return f"table of {', '.join(key.name for key in self.table.keys)}"

    def read(self, value: object, where: str, faults: Faults) -> object:
        """Take a TOML table and build its record."""
        if not isinstance(value, dict):
            faults.add(where, f"must be a {self.name}")
            return None
        before = len(faults.found)
        values = self.table.read(value, where, faults)
        return self.build(**values) if len(faults.found) == before else None

    def show(self, value: object) -> str:
        """An inline table of what differs from the defaults."""
        shown = [
            f"{key.name} = {key.kind.show(current)}"
            for key in self.table.keys
            if (current := getattr(value, key.field or key.name))
            != self.table.default(key)
        ]
        return f"{{ {', '.join(shown)} }}" if shown else "{}"


def join(*parts: str) -> str:
    """Dotted key of the parts that are not empty."""
    return ".".join(part for part in parts if part)


class Shape:
    """All tables of the file, as a tree."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tuple(tables)
        self._by_path = {table.path: table for table in tables}

    def read(self, document: Mapping[str, object], faults: Faults) -> Reading:
        """Everything that the document says, with what is wrong in ``faults``."""
        reading = Reading({}, {})
        self._descend(document, "", "", reading, faults)
        return reading

    def _children(self, path: str) -> Iterator[str]:
        depth = len(path.split(".")) if path else 0
        for other in self._by_path:
            parts = other.split(".") if other else []
            if len(parts) > depth and join(*parts[:depth]) == path:
                yield parts[depth]

    def _descend(
        self,
        found: Mapping[str, object],
        path: str,
        where: str,
        reading: Reading,
        faults: Faults,
    ) -> None:
        children = set(self._children(path))
        table = self._by_path.get(path)
        own: dict[str, object] = {}
        for name, value in found.items():
            if name not in children:
                own[name] = value
            elif isinstance(value, dict):
                self._enter(value, join(path, name), join(where, name), reading, faults)
            else:
                faults.add(join(where, name), "must be a table")
        if table is not None:
            reading.single[path] = table.read(own, where, faults, children)
            return
        for name in own:
            faults.add(join(where, name), f"unknown table{suggestion(name, children)}")

    def _enter(
        self,
        value: Mapping[str, object],
        path: str,
        where: str,
        reading: Reading,
        faults: Faults,
    ) -> None:
        table = self._by_path.get(join(path, EACH))
        if table is None:
            self._descend(value, path, where, reading, faults)
            return
        named = reading.named.setdefault(table.path, {})
        for name, inner in value.items():
            place = join(where, name)
            if not IDENTIFIER.fullmatch(name):
                faults.add(place, "a name is 1 to 64 characters of a-z, 0-9, _ and -")
            elif isinstance(inner, dict):
                named[name] = table.read(inner, place, faults)
            else:
                faults.add(place, "must be a table")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a document says: field values by table, and by table and name."""

    single: dict[str, Values]
    named: dict[str, dict[str, Values]]

    def of(self, path: str) -> Values:
        """Values of a table; empty when it is not in the document."""
        return self.single.get(path, {})

    def each(self, path: str) -> dict[str, Values]:
        """Values of each named table under ``path``."""
        return self.named.get(path, {})
