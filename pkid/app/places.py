"""Where the state directory is when nobody says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pkid.app.resources import DEFAULT_STATE


def default_state(environment: Mapping[str, str]) -> Path:
    """``$STATE_DIRECTORY`` as systemd sets it, else ``./pkid-state``."""
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(given or DEFAULT_STATE)
