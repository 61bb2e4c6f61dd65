"""Key files: made once, never overwritten, readable by their owner alone.

**Source:** security requirements SEC-100, SEC-101.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from pkid.errors import ErrorCode, PKIError

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_OTHERS: Final = 0o077
_MAX_OCTETS: Final = 256 * 1024


def make_key_directory(path: Path) -> None:
    """Make the directory of keys with mode 0700 if it is not there, and check it.

    :raises PKIError: ``UNAVAILABLE`` when it is open to others or not ours.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=_DIRECTORY_MODE)
        path.chmod(_DIRECTORY_MODE)  # the umask may have taken bits away
        _sync(path.parent)
    _check(path, path.stat())


def read_key_file(path: Path) -> bytes:
    """The contents of a key file.

    :raises PKIError: ``NOT_FOUND``; ``UNAVAILABLE`` when it is a symbolic link, open
        to others, not ours, or too long.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise PKIError(ErrorCode.NOT_FOUND, "there is no such key") from None
    except OSError as fault:
        raise _refuse("cannot be opened", f"{path}: {fault.strerror}") from None
    with open(descriptor, "rb") as file:
        # Checked on the open file: it cannot be exchanged between check and use.
        _check(path, os.fstat(descriptor))
        octets = file.read(_MAX_OCTETS + 1)
    if len(octets) > _MAX_OCTETS:
        raise _refuse("is too long", str(path))
    return octets


def create_key_file(path: Path, octets: bytes) -> bool:
    """Make a key file whole and durable; one that is there is left as it is.

    :returns: whether it was made.
    :raises OSError: nothing was made.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with open(os.open(temporary, flags, _FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), _FILE_MODE)  # whatever the umask took away
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, fails when the name is taken.
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, found: os.stat_result) -> None:
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise _refuse("is not a file", str(path))
    if found.st_uid != os.geteuid():
        raise _refuse("belongs to another user", f"chown {path}")
    if found.st_mode & _OTHERS:
        raise _refuse("is open to other users", f"chmod go= {path}")


def _refuse(what: str, hint: str) -> PKIError:
    return PKIError(ErrorCode.UNAVAILABLE, f"a key file {what}", hint=hint)
