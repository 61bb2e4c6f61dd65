"""What commands share that hand out octets: certificates, lists, requests."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Final

from pkid.app.commands import DONE, argument
from pkid.app.views import View
from pkid.storage.directory import write_atomically

OUT: Final = argument("--out", type=Path, metavar="FILE", help="[standard output]")
DER: Final = argument("--der", action="store_true", help="DER instead of PEM")


def decoded(view: View, name: str) -> bytes:
    """Octets that a view carries as Base64."""
    return base64.b64decode(str(view[name]))


def write(octets: bytes, out: Path | None) -> int:
    """Octets into a file, or to standard output."""
    if out is None:
        sys.stdout.buffer.write(octets)
    else:
        write_atomically(out.absolute(), octets, 0o644)
    return DONE


def without(view: View, *names: str) -> View:
    """A view without what is not for people."""
    return {key: value for key, value in view.items() if key not in names}
