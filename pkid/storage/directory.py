"""The state directory: its lock, its permissions, and files that appear whole.

Whatever the umask is, directories are made 0700 and files 0600; what is wider, or
belongs to somebody else, is refused. A file is written beside its place, synced and
renamed, so that a crash leaves the old file or the new one.

**Source:** security requirements SEC-100, SEC-101; faults FLT-06, FLT-20.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from pkid.errors import ErrorCode, PKIError

PRIVATE_DIRECTORY: Final = 0o700
PRIVATE_FILE: Final = 0o600
PUBLIC_DIRECTORY: Final = 0o755
PUBLIC_FILE: Final = 0o644
RESERVE_OCTETS: Final = 4 * 1024 * 1024
_WIDER_THAN_OWNER: Final = 0o077


def refuse(detail: str, hint: str) -> PKIError:
    """A ``PKIError(UNAVAILABLE)`` to raise: we do not start on such a directory."""
    return PKIError(ErrorCode.UNAVAILABLE, detail, hint=hint)


def check_writable(path: Path) -> None:
    """Refuse a directory that cannot be written to.

    :raises PKIError: ``UNAVAILABLE``.
    """
    if os.statvfs(path).f_flag & os.ST_RDONLY or not os.access(path, os.W_OK):
        raise refuse(
            "the state directory cannot be written to",
            f"is the file system of {path} mounted read-only?",
        )


def make_private_directory(path: Path) -> None:
    """Make a directory with mode 0700 if it is not there, then check it.

    :raises PKIError: ``UNAVAILABLE`` as `check_private` says.
    """
    path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_DIRECTORY)
        path.chmod(PRIVATE_DIRECTORY)  # the umask may have taken bits away
        sync_directory(path.parent)
    check_private(path)
    parent = path.resolve().parent
    mode = parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise refuse(
            "the state directory lies in a directory that everybody may write to",
            f"chmod o-w {parent}",
        )


def check_private(path: Path) -> None:
    """Refuse what others may read, what is not ours, and symbolic links to files.

    :raises PKIError: ``UNAVAILABLE`` when the mode is wider than the owner's, or the
        owner is not the user whom we run as.
    """
    found = path.stat() if path.is_dir() else path.lstat()
    if stat.S_ISLNK(found.st_mode):
        raise refuse("a private file is a symbolic link", f"remove {path}")
    if found.st_uid != os.geteuid():
        raise refuse(
            "a private file belongs to another user",
            f"chown it to the user of the daemon: {path}",
        )
    if found.st_mode & _WIDER_THAN_OWNER:
        raise refuse(
            "a private file or directory is open to other users",
            f"chmod go= {path}",
        )


def create_private_file(path: Path) -> None:
    """Make an empty file with mode 0600 if it is not there, then check it.

    :raises PKIError: ``UNAVAILABLE`` as `check_private` says.
    """
    with contextlib.suppress(FileExistsError):
        os.close(_create(path, PRIVATE_FILE))
        sync_directory(path.parent)
    check_private(path)


def _create(path: Path, mode: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)  # the umask may have taken bits away
    return descriptor


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes, mode: int = PRIVATE_FILE) -> None:
    """Write a file that is seen whole or not at all, also after a crash.

    :param data: the whole contents.
    :param mode: permissions, whatever the umask.
    :raises OSError: nothing was changed then.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(_create(temporary, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


class DirectoryLock:
    """The one daemon of a state directory: an flock on the directory itself.

    It goes with the process, however that ends, and leaves no file behind.
    """

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        """Take the lock.

        :raises PKIError: ``UNAVAILABLE`` when another process has it.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._descriptor: int | None = os.open(path, flags)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise refuse(
                "the state directory is in use by another daemon",
                f"stop the other pkid, or give this one another --state than {path}",
            ) from None

    def release(self) -> None:
        """Let go; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class Reserve:
    """A file that holds disk space back, for what must go on when the disk is full.

    :param path: where the file stands.
    :param octets: how much it holds.
    """

    __slots__ = ("_octets", "_path")

    def __init__(self, path: Path, octets: int = RESERVE_OCTETS) -> None:
        self._path = path
        self._octets = octets

    @property
    def held(self) -> bool:
        """Whether the space is held back now."""
        return self._path.exists()

    def release(self) -> None:
        """Give the space to the database."""
        self._path.unlink(missing_ok=True)

    def restore(self) -> bool:
        """Hold the space back again.

        :returns: whether it is held; not, while less than twice of it is free.
        """
        if self.held:
            return True
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize < 2 * self._octets:
            return False
        try:
            self._allocate()
        except OSError:
            self.release()
            return False
        return True

    def _allocate(self) -> None:
        descriptor = _create(self._path, PRIVATE_FILE)
        try:
            os.posix_fallocate(descriptor, 0, self._octets)
        finally:
            os.close(descriptor)
