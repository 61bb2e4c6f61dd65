"""``pkid``: the operator's tool.

Nouns, then verbs. It talks to the running daemon; without one, lists, searches and
checks read the store. Exit status: 0 done, 1 refused or at fault, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pkid.app.cliaccess import COMMANDS as ACCESS
from pkid.app.cliacme import COMMANDS as ACME
from pkid.app.cliauthorities import COMMANDS as AUTHORITIES
from pkid.app.clicertificates import COMMANDS as CERTIFICATES
from pkid.app.clichecks import COMMANDS as CHECKS
from pkid.app.cliscep import COMMANDS as SCEP
from pkid.app.clisetup import COMMANDS as SETUP
from pkid.app.commands import REFUSED, Command, Tool
from pkid.app.escaping import escape
from pkid.app.hardening import close_to_others
from pkid.app.kinds import ConfigurationError
from pkid.app.places import default_state
from pkid.app.relaying import COMMANDS as RELAYING
from pkid.errors import PKIError

COMMANDS: Final[tuple[Command, ...]] = (
    *SETUP,
    *CHECKS,
    *ACCESS,
    *AUTHORITIES,
    *CERTIFICATES,
    *RELAYING,
    *SCEP,
    *ACME,
)
NOUNS: Final = {
    "clock": "the clock of this host",
    "ca": "certification authorities",
    "secret": "shared secrets of devices",
    "entity": "end entities: devices and people",
    "vendor": "units on the allow-list of a vendor",
    "alias": "entrances, as configured",
    "cmp": "messages of CMP",
    "scep": "SCEP",
    "acme": "ACME",
    "request": "requests that wait for an operator",
    "certificate": "certificates",
    "trace": "recorded messages",
}
_BROKEN_PIPE: Final = 141


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    common = argparse.ArgumentParser(add_help=False)
    # No default here: an option before the verb must not be undone behind it.
    common.add_argument(
        "--state",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="DIR",
        help="state directory [default: $STATE_DIRECTORY, else ./pkid-state]",
    )
    common.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="write JSON, for programs",
    )
    parser = argparse.ArgumentParser(
        prog="pkid", description="Operate pkid.", parents=[common]
    )
    tops: Any = parser.add_subparsers(required=True, metavar="COMMAND")
    verbs: dict[str, Any] = {}
    for command in COMMANDS:
        place = tops
        if command.noun:
            if command.noun not in verbs:
                text = NOUNS[command.noun]
                noun = tops.add_parser(command.noun, help=text, description=text)
                verbs[command.noun] = noun.add_subparsers(required=True, metavar="VERB")
            place = verbs[command.noun]
        _add(place, command, common)
    return parser


def _add(place: Any, command: Command, common: argparse.ArgumentParser) -> None:  # noqa: ANN401
    found = place.add_parser(
        command.verb, help=command.help, description=command.help, parents=[common]
    )
    for argument in command.arguments:
        found.add_argument(*argument.flags, **argument.settings)
    found.set_defaults(run=command.run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    close_to_others()
    given = make_parser().parse_args(arguments)
    state: Path = getattr(given, "state", None) or default_state(os.environ)
    tool = Tool(state=state.absolute(), json=getattr(given, "json", False))
    try:
        status: int = given.run(tool, given)
        sys.stdout.flush()
    except PKIError as error:
        return _refused(error.detail, error.hint or "")
    except ConfigurationError as error:
        return _refused(str(error), "", escaped=False)
    except BrokenPipeError:
        # Who reads us has enough; nothing more may be written, not even at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        return _refused(error.strerror or str(error), error.filename or "")
    return status


def _refused(detail: str, hint: str, *, escaped: bool = True) -> int:
    sys.stderr.write(f"pkid: {escape(detail) if escaped else detail}\n")
    if hint:
        sys.stderr.write(f"  hint: {escape(str(hint))}\n")
    return REFUSED


if __name__ == "__main__":
    sys.exit(main())
