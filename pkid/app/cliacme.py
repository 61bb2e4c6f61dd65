"""Commands about ACME: external account keys, accounts."""

from __future__ import annotations

from argparse import Namespace
from typing import Final

from pkid.app.commands import Command, Tool, argument


def add_key(tool: Tool, given: Namespace) -> int:
    """Make an external account key."""
    body = {
        "reference": given.kid,
        "alias": given.alias,
        "names": given.name,
        "uses": given.uses,
        "expires": given.expires,
    }
    return tool.show(tool.daemon.call("POST", "acme/eab", body=body))


def list_accounts(tool: Tool, _given: Namespace) -> int:
    """All accounts."""
    columns = ("id", "alias", "status", "contacts", "external_key", "created")
    return tool.table(tool.daemon.read("acme/accounts"), columns)


def show_account(tool: Tool, given: Namespace) -> int:
    """One account with its orders."""
    return tool.show(tool.daemon.read("acme/account", {"id": given.id}))


COMMANDS: Final = (
    Command(
        noun="acme",
        verb="eab",
        help="make an external account key",
        run=add_key,
        arguments=(
            argument("--kid", default="", help="its id [drawn]"),
            argument("--alias", default="", help="the only directory [any]"),
            argument(
                "--name",
                action="append",
                default=[],
                metavar="NAME",
                help='name that needs no challenge, like "dns:*.example.com"; again'
                " for more",
            ),
            argument("--uses", type=int, help="accounts that it makes [any number]"),
            argument("--expires", default="", help='lifetime, like "30d" [none]'),
        ),
    ),
    Command(noun="acme", verb="accounts", help="all of them", run=list_accounts),
    Command(
        noun="acme",
        verb="show",
        help="one account with its orders",
        run=show_account,
        arguments=(argument("id"),),
    ),
)
