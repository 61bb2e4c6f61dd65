"""Commands about the daemon as a whole: configuration, status, backup.

What only one command needs is imported there, so that the tool is quick.
"""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pkid.app.commands import DONE, Command, Tool, argument
from pkid.app.resources import CONFIGURATION_FILE, KEY_DIRECTORY
from pkid.errors import ErrorCode, PKIError
from pkid.storage.backup import copy_database
from pkid.storage.directory import make_private_directory, write_atomically
from pkid.storage.filestore import DATABASE, ReadOnlyStore

if TYPE_CHECKING:
    from pkid.app.settings import Configuration


def stored_configuration(tool: Tool) -> Configuration:
    """The configuration that a daemon of this state directory would read."""
    from pkid.app.config import load_configuration

    path = tool.state / CONFIGURATION_FILE
    return load_configuration(path if path.exists() else None)


def check_config(tool: Tool, given: Namespace) -> int:
    """Read a configuration and the files that it names."""
    from pkid.app.config import BUILT_IN, load_configuration
    from pkid.app.snapshot import make_policies

    path: Path | None = given.file
    default = tool.state / CONFIGURATION_FILE
    if path is None and default.exists():
        path = default
    configuration = load_configuration(path)
    make_policies(configuration, base=tool.state)
    return tool.show(
        {
            "configuration": BUILT_IN if path is None else str(path),
            "faults": 0,
            "listeners": list(configuration.listeners),
            "aliases": list(configuration.cmp_aliases),
        }
    )


def init(tool: Tool, given: Namespace) -> int:
    """Set the public name and where to listen."""
    from pkid.app.initial import initialise

    configuration = initialise(tool.state, hostname=given.hostname, listen=given.listen)
    running = tool.daemon.is_running()
    return tool.show(
        {
            "configuration": configuration.source,
            "public_url": configuration.general.public_url,
            "listeners": [
                one.endpoint.text for one in configuration.listeners.values()
            ],
            "next": "restart the daemon" if running else "start the daemon",
        }
    )


def status(tool: Tool, _given: Namespace) -> int:
    """How the daemon is."""
    if tool.daemon.is_running():
        return tool.show(tool.daemon.call("GET", "status"))
    authorities = tool.daemon.read("authorities")
    tool.show({"daemon": "not running", "authorities": authorities})
    return DONE


def confirm_clock(tool: Tool, _given: Namespace) -> int:
    """Say that the clock is right."""
    return tool.show(tool.daemon.call("POST", "clock/confirm", body={}))


def backup(tool: Tool, given: Namespace) -> int:
    """Copy store, keys and configuration; the daemon goes on."""
    target: Path = given.directory.absolute()
    if target.exists() and any(target.iterdir()):
        raise PKIError(
            ErrorCode.CONFLICT, "the target is not empty", hint="name a new directory"
        )
    ReadOnlyStore.open(tool.state).close()
    make_private_directory(target)
    # The store first: keys that are made meanwhile do no harm, missing ones would.
    copy_database(tool.state / DATABASE, target / DATABASE)
    make_private_directory(target / KEY_DIRECTORY)
    for path in sorted((tool.state / KEY_DIRECTORY).iterdir()):
        if not path.name.startswith("."):
            write_atomically(target / KEY_DIRECTORY / path.name, path.read_bytes())
    for name in (CONFIGURATION_FILE, "first-run.done"):
        if (tool.state / name).exists():
            write_atomically(target / name, (tool.state / name).read_bytes())
    return tool.show(
        {
            "backup": str(target),
            "note": "its passphrase file opens every key: keep it as you keep keys",
        }
    )


COMMANDS: Final = (
    Command(
        verb="check-config",
        help="check a configuration file; every fault is told",
        run=check_config,
        arguments=(
            argument("file", nargs="?", type=Path, help="[default: that of --state]"),
        ),
    ),
    Command(
        verb="init",
        help="set the public host name and where to listen",
        run=init,
        arguments=(
            argument("--hostname", required=True, help="as clients know this host"),
            argument("--listen", default="", metavar="ADDRESS", help="0.0.0.0, ::"),
        ),
    ),
    Command(verb="status", help="how the daemon is", run=status),
    Command(
        noun="clock",
        verb="confirm",
        help="say that the clock is right after it jumped; issuing goes on",
        run=confirm_clock,
    ),
    Command(
        verb="backup",
        help="copy store, keys and configuration while the daemon runs",
        run=backup,
        arguments=(argument("directory", type=Path, help="new directory"),),
    ),
)
