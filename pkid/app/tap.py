"""``twistd pkid``: parse, nothing else; the service does the rest.

**Source:** DESIGN section 7; FLT-12, SEC-110.
"""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet import reactor

from pkid.app.config import load_configuration
from pkid.app.floors import too_old
from pkid.app.kinds import ConfigurationError
from pkid.app.logging import make_observer
from pkid.app.options import DaemonOptions
from pkid.app.service import PKIDService
from pkid.app.settings import Configuration

# Twisted's timers follow the wall clock: set back by an hour, none would fire in it.
reactor.seconds = time.monotonic  # type: ignore[method-assign] # that is the point

Options = DaemonOptions


def makeService(options: DaemonOptions) -> PKIDService:  # noqa: N802 - Twisted's name
    """The service, from a configuration that has no fault.

    :raises SystemExit: with every fault, status 1.
    """
    old = list(too_old())
    if old:
        raise SystemExit("pkid: " + "\npkid: ".join(old))
    path, settings = options.configuration, tuple(options.settings)
    configuration = _load(path, settings)
    observer = make_observer(
        file=configuration.log.file or options.log_file,
        level=configuration.log.level,
        form=configuration.log.form,
        seconds=time.monotonic,
    )
    return PKIDService(
        state=options.state,
        configuration=configuration,
        load=lambda: load_configuration(options.configuration, settings),
        observer=observer,
        reactor=reactor,
    )


def _load(path: Path | None, settings: tuple[str, ...]) -> Configuration:
    try:
        return load_configuration(path, settings)
    except ConfigurationError as error:
        message = f"pkid: {error}"
        raise SystemExit(message) from None
