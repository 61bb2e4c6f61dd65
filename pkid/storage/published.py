"""The served directory: public files for a web server, each whole at any moment.

Nothing secret is written here, and everybody may read it: 0755 and 0644, whatever the
umask.

**Source:** DESIGN section 6; faults FLT-06.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path, PurePosixPath
from typing import Final

from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError
from pkid.storage.directory import (
    PUBLIC_DIRECTORY,
    PUBLIC_FILE,
    sync_directory,
    write_atomically,
)

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DEEPEST: Final = 4


class PublishedDirectory:
    """The `Publisher` port over one directory.

    :param directory: made when it is not there; may lie outside the state directory.
    :param workers: where the waiting for the disk is done.
    """

    __slots__ = ("_directory", "_workers")

    def __init__(self, directory: Path, workers: Workers) -> None:
        self._directory = directory
        self._workers = workers

    async def put(self, path: str, octets: bytes) -> None:
        """Replace one file atomically.

        :param path: relative, as "crls/issuing.crl".
        :raises PKIError: ``BAD_REQUEST`` for a path that leads elsewhere,
            ``UNAVAILABLE`` when it cannot be written.
        """
        parts = PurePosixPath(path).parts
        if not 1 <= len(parts) <= _DEEPEST or not all(map(_SEGMENT.fullmatch, parts)):
            raise PKIError(ErrorCode.BAD_REQUEST, "not a path of a published file")
        await self._workers.run(publish, self._directory, parts, octets)


def publish(directory: Path, parts: tuple[str, ...], octets: bytes) -> None:
    """Write one public file and the directories above it; blocks for the disk.

    :param parts: the path below ``directory``, checked.
    :raises PKIError: ``UNAVAILABLE``.
    """
    try:
        folder = _make_public(directory)
        for part in parts[:-1]:
            folder = _make_public(folder / part)
        write_atomically(folder / parts[-1], octets, PUBLIC_FILE)
    except OSError as fault:
        raise PKIError(
            ErrorCode.UNAVAILABLE,
            "a public file cannot be written",
            hint=f"{directory}: {fault.strerror}",
            retry_after=60,
        ) from fault


def _make_public(path: Path) -> Path:
    with contextlib.suppress(FileExistsError):
        path.mkdir(parents=True)
        path.chmod(PUBLIC_DIRECTORY)
        sync_directory(path.parent)
    return path
