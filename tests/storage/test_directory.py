"""Files appear whole, private or public as they should be; locks and reserves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import execute

from pkid.errors import ErrorCode, PKIError
from pkid.storage.directory import (
    DirectoryLock,
    Reserve,
    check_private,
    create_private_file,
    make_private_directory,
    write_atomically,
)
from pkid.storage.published import PublishedDirectory
from tests.storage.samples import result_of


class Inline:
    """Workers that work at once."""

    run = staticmethod(execute)


@pytest.fixture(params=[0, 0o022, 0o077, 0o777])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.requirement("SEC-101")
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    private = tmp_path / "private"
    make_private_directory(private)
    create_private_file(private / "file")
    write_atomically(private / "other", b"x")
    write_atomically(private / "public", b"x", 0o644)
    assert mode_of(private) == 0o700
    assert mode_of(private / "file") == 0o600
    assert mode_of(private / "other") == 0o600
    assert mode_of(private / "public") == 0o644


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_private_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    create_private_file(target)
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(PKIError, match="symbolic link"):
        check_private(tmp_path / "link")


def test_a_lock_is_free_when_it_was_released_twice(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path)
    first.release()
    second = DirectoryLock(tmp_path)
    first.release()
    with pytest.raises(PKIError):
        DirectoryLock(tmp_path)
    second.release()


def test_a_reserve_holds_space_while_there_is_plenty(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 100_000)
    assert reserve.restore()
    assert reserve.held
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 100_000
    reserve.release()
    assert not reserve.held
    assert not Reserve(tmp_path / "reserve", 1 << 60).restore()


def test_published_files_are_readable_by_all_and_replaced_atomically(
    tmp_path: Path, umask: int
) -> None:
    published = PublishedDirectory(tmp_path / "published", Inline())
    result_of(published.put("crls/issuing.crl", b"one"))
    result_of(published.put("crls/issuing.crl", b"two"))
    path = tmp_path / "published" / "crls" / "issuing.crl"
    assert path.read_bytes() == b"two"
    assert mode_of(path) == 0o644
    assert mode_of(path.parent) == mode_of(tmp_path / "published") == 0o755
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "path",
    ["", ".", "..", "../x", "/etc/passwd", "a/../b", "a/.b", "a\0b", "a/b/c/d/e", "ü"],
)
def test_a_published_path_stays_inside(tmp_path: Path, path: str) -> None:
    published = PublishedDirectory(tmp_path / "published", Inline())
    with pytest.raises(PKIError) as caught:
        result_of(published.put(path, b"x"))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_published_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "published").write_bytes(b"a file")
    published = PublishedDirectory(tmp_path / "published", Inline())
    with pytest.raises(PKIError) as caught:
        result_of(published.put("crls/issuing.crl", b"x"))
    assert caught.value.code is ErrorCode.UNAVAILABLE
