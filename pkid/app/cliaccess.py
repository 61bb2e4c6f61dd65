"""Commands about who may ask: secrets, end entities, vendors' units, aliases.

What only a command without a daemon needs is imported there, so that the tool is quick.
"""

from __future__ import annotations

import base64
import csv
import json
import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pkid.app import output
from pkid.app.client import run_now
from pkid.app.clisetup import stored_configuration
from pkid.app.commands import DONE, REFUSED, Command, Tool, argument
from pkid.app.readings import MAX_LIMIT, missing, refuse
from pkid.app.resources import ENTITY_COLUMNS, KINDS
from pkid.app.views import View
from pkid.storage.filestore import ReadOnlyStore

# --- secrets --------------------------------------------------------------------


def add_secret(tool: Tool, given: Namespace) -> int:
    """Make a shared secret."""
    secret = ""
    if given.secret_file is not None:
        secret = _read(given.secret_file).rstrip("\r\n")
    body = {
        "kind": given.kind,
        "reference": given.reference,
        "secret": secret,
        "alias": given.alias,
        "entity": given.entity,
        "subject": given.subject,
        "uses": given.uses,
        "expires": given.expires,
    }
    return tool.show(tool.daemon.call("POST", "secrets", body=body))


def list_secrets(tool: Tool, _given: Namespace) -> int:
    """All secrets without their values."""
    columns = ("reference", "kind", "alias", "entity", "uses_left", "expires")
    return tool.table(tool.daemon.read("secrets"), columns)


def remove_secret(tool: Tool, given: Namespace) -> int:
    """Remove one at once."""
    arguments = {"reference": given.reference, "kind": given.kind}
    return tool.show(tool.daemon.call("DELETE", "secrets", arguments))


def _read(path: Path) -> str:
    return sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")


# --- entities -------------------------------------------------------------------


def add_entity(tool: Tool, given: Namespace) -> int:
    """Register an end entity."""
    body = {
        "name": given.name,
        "subject": given.subject,
        "alternative_names": given.san,
        "authority": given.authority,
        "certificate_profile": given.certificate_profile,
        "enrollments_left": given.enrollments,
    }
    return tool.show(tool.daemon.call("POST", "entities", body=body))


def list_entities(tool: Tool, given: Namespace) -> int:
    """A page of end entities."""
    arguments = {"after": given.after, "limit": given.limit}
    columns = ("name", "status", "subject", "vendor", "made_by")
    return tool.table(tool.daemon.read("entities", arguments), columns)


def show_entity(tool: Tool, given: Namespace) -> int:
    """One end entity and its certificates."""
    view = tool.daemon.read("entity", {"name": given.name})
    if not tool.json:
        columns = ("reference", "status", "subject", "not_after")
        found = view["certificates"]
        view["certificates"] = [{key: one[key] for key in columns} for one in found]
    return tool.show(view)


def rearm_entity(tool: Tool, given: Namespace) -> int:
    """Allow one new enrolment."""
    body = {"name": given.name, "unit": given.unit, "revoke": given.revoke}
    return tool.show(tool.daemon.call("POST", "entities/rearm", body=body))


def recover_entity(tool: Tool, given: Namespace) -> int:
    """Allow one recovery of archived keys."""
    body = {"name": given.name}
    return tool.show(tool.daemon.call("POST", "entities/recover", body=body))


def import_entities(tool: Tool, given: Namespace) -> int:
    """Register many: all or nothing."""
    rows = read_rows(given.file)
    body = {"entities": rows, "dry_run": given.dry_run}
    result = tool.daemon.call("POST", "entities/import", body=body)
    if tool.json:
        output.write_json(result)
    else:
        for fault in result["faults"]:
            output.write_text(output.cell(fault))
        word = "would be added" if given.dry_run else "added"
        output.write_text(f"{result['added']} {word}")
    return REFUSED if result["faults"] else DONE


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a bulk file: CSV with a header line, or a JSON list of objects.

    :raises PKIError: ``BAD_REQUEST`` for another form or an unknown column.
    """
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise refuse(f"{path} is not JSON: {error}") from None
        if not isinstance(rows, list):
            raise refuse(f"{path} must hold a list of objects")
        return rows
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        unknown = set(reader.fieldnames or ()) - set(ENTITY_COLUMNS)
        if unknown:
            raise refuse(
                f"unknown column {min(map(str, unknown))}",
                f"known are {', '.join(ENTITY_COLUMNS)}",
            )
        return [_row(number, row) for number, row in enumerate(reader, 1)]


def _row(number: int, row: dict[str, str | None]) -> dict[str, Any]:
    found: dict[str, Any] = {key: value for key, value in row.items() if value}
    if "alternative_names" in found:
        names = found["alternative_names"].split(";")
        found["alternative_names"] = [name.strip() for name in names if name.strip()]
    left = found.get("enrollments_left")
    if left is not None:
        if not (left.isascii() and left.isdigit()):
            raise refuse(f"row {number}: enrollments_left must be a whole number")
        found["enrollments_left"] = int(left)
    return found


# --- vendors --------------------------------------------------------------------


def add_unit(tool: Tool, given: Namespace) -> int:
    """Put a unit on a vendor's allow-list."""
    body = {
        "vendor": given.vendor,
        "unit": given.unit,
        "name": given.name,
        "subject": given.subject,
        "alternative_names": given.san,
        "enrollments_left": given.enrollments,
    }
    return tool.show(tool.daemon.call("POST", "vendor-units", body=body))


def list_units(tool: Tool, given: Namespace) -> int:
    """All units of all vendors, or of one."""
    found: list[View] = []
    after = ""
    while True:
        arguments = {"after": after, "limit": str(MAX_LIMIT)}
        page = tool.daemon.read("entities", arguments)
        found += [one for one in page if _is_unit(one, given.vendor)]
        if len(page) < MAX_LIMIT:
            break
        after = page[-1]["name"]
    return tool.table(found, ("vendor", "name", "status", "subject"))


def _is_unit(entity: View, vendor: str) -> bool:
    pattern = str(entity["vendor"])
    return bool(pattern) and (not vendor or pattern.partition("|")[0] == vendor)


# --- aliases --------------------------------------------------------------------


def list_aliases(tool: Tool, _given: Namespace) -> int:
    """All entrances."""
    if tool.daemon.is_running():
        rows = tool.daemon.call("GET", "aliases")
    else:
        from pkid.app.showing import list_aliases as shown_aliases

        rows = shown_aliases(stored_configuration(tool))
    columns = ("name", "protocol", "authority", "mode", "authenticate", "approval")
    return tool.table(rows, columns)


def show_one_alias(tool: Tool, given: Namespace) -> int:
    """One entrance."""
    if tool.daemon.is_running():
        arguments = {
            "name": given.name,
            "protocol": given.protocol,
            "effective": "yes" if given.effective else "",
        }
        return tool.show(tool.daemon.call("GET", "alias", arguments))
    from pkid.app.showing import show_alias

    configuration = stored_configuration(tool)
    view = show_alias(
        configuration,
        given.name,
        protocol=given.protocol,
        effective=given.effective,
    )
    return tool.show(view)


def test_alias(tool: Tool, given: Namespace) -> int:
    """What an entrance would do with a request."""
    octets: bytes = given.request.read_bytes()
    if tool.daemon.is_running():
        text = base64.b64encode(octets).decode("ascii")
        body = {"name": given.name, "request": text}
        view = tool.daemon.call("POST", "aliases/test", body=body)
    else:
        view = _rehearse(tool, given.name, octets)
    tool.show(view)
    return DONE if view["would_issue"] else REFUSED


def _rehearse(tool: Tool, name: str, octets: bytes) -> View:
    from pkid.app.rehearsal import rehearse
    from pkid.app.snapshot import make_policies

    configuration = stored_configuration(tool)
    alias = configuration.cmp_aliases.get(name)
    if alias is None:
        raise missing("there is no such alias", "pkid alias list")
    store = ReadOnlyStore.open(tool.state)
    try:
        record = run_now(store.find_authority(alias.alias.authority))
    finally:
        store.close()
    if record is None:
        raise missing("the authority of this alias is not there", "pkid ca list")
    return rehearse(
        octets,
        alias,
        policies=make_policies(configuration, base=tool.state),
        issuer=record.certificate,
        now=datetime.now(UTC),
    )


_KIND: Final = argument(
    "--kind", default="cmp", choices=sorted(KINDS), help="what it is for [cmp]"
)
COMMANDS: Final = (
    Command(
        noun="secret",
        verb="add",
        help="make a shared secret; it is shown this once",
        run=add_secret,
        arguments=(
            argument("--reference", default="", help="its name [a random one]"),
            _KIND,
            argument("--alias", default="", help="good for this alias only"),
            argument("--entity", default="", help="good for this end entity only"),
            argument("--subject", default="", help="subjects allowed, like CN=ap-*"),
            argument("--uses", type=int, help="certificates it is good for [any]"),
            argument("--expires", default="", help="after that time, like 90d"),
            argument(
                "--secret-file",
                type=Path,
                metavar="FILE",
                help="take it from there, - is standard input [160 random bits]",
            ),
        ),
    ),
    Command(noun="secret", verb="list", help="all, without values", run=list_secrets),
    Command(
        noun="secret",
        verb="remove",
        help="remove one at once",
        run=remove_secret,
        arguments=(argument("reference", help="its name"), _KIND),
    ),
    Command(
        noun="entity",
        verb="add",
        help="register an end entity",
        run=add_entity,
        arguments=(
            argument("name", help="its unique name"),
            argument("--subject", default="", help="CN=..., RFC 4514"),
            argument(
                "--san", action="append", default=[], help="dns:host, ip:..., again"
            ),
            argument("--authority", default="", help="issued by this CA only"),
            argument("--certificate-profile", default="", help="of this kind only"),
            argument("--enrollments", type=int, help="how many [any number]"),
        ),
    ),
    Command(
        noun="entity",
        verb="list",
        help="end entities by name",
        run=list_entities,
        arguments=(
            argument("--after", default="", metavar="NAME", help="go on behind this"),
            argument("--limit", default="", help="at most so many [100]"),
        ),
    ),
    Command(
        noun="entity",
        verb="show",
        help="one end entity and its certificates",
        run=show_entity,
        arguments=(argument("name"),),
    ),
    Command(
        noun="entity",
        verb="rearm",
        help="allow one new enrolment (factory reset, board swap)",
        run=rearm_entity,
        arguments=(
            argument("name"),
            argument("--unit", default="", help="the vendor's unit that is there now"),
            argument(
                "--revoke",
                action="store_true",
                help="revoke the certificates that it has (superseded)",
            ),
        ),
    ),
    Command(
        noun="entity",
        verb="recover",
        help="allow one recovery of its archived keys",
        run=recover_entity,
        arguments=(argument("name"),),
    ),
    Command(
        noun="entity",
        verb="import",
        help="register many from CSV or JSON, all or nothing",
        run=import_entities,
        arguments=(
            argument("file", type=Path),
            argument("--dry-run", action="store_true", help="only say what is wrong"),
        ),
    ),
    Command(
        noun="vendor",
        verb="add",
        help="put a unit on the allow-list of a vendor",
        run=add_unit,
        arguments=(
            argument("vendor", help="as configured, [vendor.NAME]"),
            argument("unit", help="serial number, or what the vendor's identity says"),
            argument("--name", default="", help="of the end entity [the unit]"),
            argument("--subject", default="", help="of its certificates"),
            argument(
                "--san", action="append", default=[], help="dns:host, ip:..., again"
            ),
            argument("--enrollments", type=int, help="how many [any number]"),
        ),
    ),
    Command(
        noun="vendor",
        verb="list",
        help="units on the allow-list",
        run=list_units,
        arguments=(argument("vendor", nargs="?", default=""),),
    ),
    Command(noun="alias", verb="list", help="all entrances", run=list_aliases),
    Command(
        noun="alias",
        verb="show",
        help="one entrance",
        run=show_one_alias,
        arguments=(
            argument("name"),
            argument("--effective", action="store_true", help="with all that holds"),
            argument(
                "--protocol",
                default="cmp",
                choices=("cmp", "est", "scep", "acme"),
                help="whose entrance it is [cmp]",
            ),
        ),
    ),
    Command(
        noun="alias",
        verb="test",
        help="what an entrance would do with a request; nothing is signed",
        run=test_alias,
        arguments=(
            argument("name"),
            argument("--with", dest="request", type=Path, required=True, metavar="DER"),
        ),
    ),
)
