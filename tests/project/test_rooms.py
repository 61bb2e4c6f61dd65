"""What each room of the package may import, and how large its pieces may be."""

from __future__ import annotations

import ast
import re

from tests.project.sources import Source, imports, is_within, sources

# Who may import it: the rooms, or the single modules, of pkid.
BELONGS_TO = {
    "twisted.web": ("transports/",),
    "twisted.web.template": ("transports/", "responders/web/"),
    "twisted.internet.reactor": ("app/",),
    "sqlite3": ("storage/",),
    "psycopg": ("storage/",),
    "OpenSSL": ("transports/",),
    "pkcs11": ("keys/",),
    "random": (),
    "pickle": (),
    "shelve": (),
    "marshal": (),
    "yaml": (),
}
# All that a room uses of Twisted; rooms not named here are free.
TWISTED_OF = {
    "": (),
    "asn1": (),
    "messages": (),
    "crypto": (),
    "engine": (
        "twisted.internet.defer",
        "twisted.internet.interfaces",
        "twisted.logger",
        "twisted.python.failure",
    ),
    "responders": ("twisted.logger",),
}
BANNED_CALLS = {"time.time", "datetime.utcnow", "datetime.datetime.utcnow", "print"}
BANNED_NAMES = ("Manager", "Handler", "Helper", "Processor")
BANNED_MODULES = ("util", "utils", "helpers", "common", "misc")
SQL = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE .* SET|DELETE FROM)\b")
MOST_LINES_A_FUNCTION = 60
MOST_LINES_A_MODULE = 600


def test_a_library_stays_in_its_room() -> None:
    strays = [
        f"{source.at(node)} imports {name}"
        for source in sources()
        for node, name in imports(source)
        if not _may_import(source, name)
    ]
    assert strays == []


def _may_import(source: Source, name: str) -> bool:
    owners = [package for package in BELONGS_TO if is_within(name, package)]
    if not owners:
        return True
    # The longest match is the most exact row.
    rooms = BELONGS_TO[max(owners, key=len)]
    return source.path.removeprefix("pkid/").startswith(rooms) if rooms else False


def test_pure_rooms_and_the_engine_use_only_their_part_of_twisted() -> None:
    strays = [
        f"{source.at(node)} imports {name}"
        for source in sources()
        if source.room in TWISTED_OF and "/web/" not in source.path
        for node, name in imports(source)
        if is_within(name, "twisted")
        and not any(is_within(name, ours) for ours in TWISTED_OF[source.room])
    ]
    assert strays == []


def test_nobody_asks_the_system_for_the_time_or_prints() -> None:
    strays = [
        f"{source.at(node)} calls {ast.unparse(node.func)}"
        for source in sources()
        if source.path != "pkid/app/cli.py"
        for node in source.walk()
        if isinstance(node, ast.Call) and ast.unparse(node.func) in BANNED_CALLS
    ]
    assert strays == []


def test_nobody_writes_inline_callbacks() -> None:
    strays = [source.path for source in sources() if "inlineCallbacks" in source.text]
    assert strays == []


def test_sql_is_never_put_together_from_values() -> None:
    strays = [
        f"{source.at(string)} {ast.unparse(string)[:60]}"
        for source in sources()
        # A schema step is run as it stands in its file.
        if source.path != "pkid/storage/upgrades.py"
        for function in source.walk()
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for string in ast.walk(function)
        if isinstance(string, ast.JoinedStr) and SQL.search(ast.unparse(string))
    ]
    assert strays == []


def test_a_package_file_holds_only_a_docstring() -> None:
    strays = [
        source.path
        for source in sources()
        if source.path.endswith("__init__.py")
        and (len(source.tree.body) != 1 or ast.get_docstring(source.tree) is None)
    ]
    assert strays == []


def test_names_say_what_a_thing_is() -> None:
    strays = [
        f"{source.at(node)} {node.name}"
        for source in sources()
        for node in source.walk()
        if isinstance(node, ast.ClassDef) and node.name.endswith(BANNED_NAMES)
    ]
    strays += [
        source.path
        for source in sources()
        if source.path.removesuffix(".py").rpartition("/")[2] in BANNED_MODULES
    ]
    assert strays == []


def test_functions_fit_on_a_screen() -> None:
    strays = [
        f"{source.at(node)} {node.name}: {length} lines"
        for source in sources()
        for node in source.walk()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := _lines_of_code(node)) >= MOST_LINES_A_FUNCTION
    ]
    assert strays == []


def _lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    # A docstring is read by itself; it does not make the function longer.
    first = node.body[0]
    documented = ast.get_docstring(node) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_modules_stay_small() -> None:
    strays = [
        f"{source.path}: {length} lines"
        for source in sources()
        if (length := source.text.count("\n")) >= MOST_LINES_A_MODULE
    ]
    assert strays == []
