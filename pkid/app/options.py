"""The command line of ``twistd pkid``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from twisted.python.usage import Options

from pkid.app.places import default_state
from pkid.app.resources import CONFIGURATION_FILE

_TWISTD_PIDFILE: Final = "twistd.pid"


class DaemonOptions(Options):
    """Options of the daemon.

    :ivar settings: ``--set`` texts, in order.
    """

    synopsis = "[--config FILE] [--state DIR] [--set key=value ...]"
    longdesc = (
        "Issues, renews and revokes X.509 certificates. With no configuration a first"
        " start makes a root, an issuing CA and a secret, listens on loopback, and says"
        " how to go on."
    )
    optParameters = [  # noqa: N815, RUF012 - Twisted's own form
        [
            "config",
            "c",
            None,
            "Configuration [default: pkid.conf in the state directory]",
        ],
        [
            "state",
            "s",
            None,
            "State directory [default: $STATE_DIRECTORY, ./pkid-state]",
        ],
    ]

    def __init__(self) -> None:
        self.settings: list[str] = []
        super().__init__()  # type: ignore[no-untyped-call] # Twisted's is untyped

    def opt_set(self, setting: str) -> None:
        """Set a key of the configuration: key=value, the value in TOML."""
        self.settings.append(setting)

    def postOptions(self) -> None:  # noqa: N802 - Twisted's name
        """Leave twistd's pid file alone in the foreground.

        The lock on the state directory keeps a second daemon away; a stale pid file,
        or another daemon's in the same directory, would only stand in the way.
        """
        parent: Any = getattr(self, "parent", None)
        if (
            parent is not None
            and parent.get("nodaemon")
            and parent.get("pidfile") == _TWISTD_PIDFILE
        ):
            parent["pidfile"] = ""

    @property
    def state(self) -> Path:
        """The state directory, absolute: twistd may change directory."""
        given: str | None = self["state"]
        return (Path(given) if given else default_state(os.environ)).absolute()

    @property
    def configuration(self) -> Path | None:
        """The configuration file; None for the built-in configuration."""
        given: str | None = self["config"]
        if given:
            return Path(given).absolute()
        found = self.state / CONFIGURATION_FILE
        return found if found.exists() else None

    @property
    def log_file(self) -> str:
        """Where twistd was told to log: ``--logfile``, or its own when in the back."""
        parent: Any = getattr(self, "parent", None)
        if parent is None:
            return ""
        given: str = parent.get("logfile") or ""
        return given or ("" if parent.get("nodaemon") else "twistd.log")
