"""Secrets do not show; references to them resolve or say why not."""

from __future__ import annotations

import copy
import json
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from pkid.errors import ErrorCode, PKIError
from pkid.keys.secrets import (
    MAX_SECRET_OCTETS,
    AESGCMSecretBox,
    Secret,
    SecretReference,
)

CANARY = b"canary-7f3a"


def test_a_secret_does_not_show() -> None:
    secret = Secret(CANARY)
    shown = f"{secret} {secret!r} {secret!s:>40} {[secret]} {{}}".format(secret)
    shown += "%s %r" % (secret, secret)  # noqa: UP031 - a way to print as any other
    assert "canary" not in shown
    assert secret.reveal() == CANARY
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError):
            leak(secret)
    assert not hasattr(secret, "__dict__")


def test_a_secret_is_not_in_a_traceback_with_local_values() -> None:
    def fail(secret: Secret) -> None:
        raise ValueError("no")

    try:
        fail(Secret(CANARY))
    except ValueError as fault:
        shown = traceback.TracebackException.from_exception(fault, capture_locals=True)
        text = "".join(shown.format())
    assert "secret = " in text
    assert CANARY.decode() not in text


def test_secrets_are_compared_by_value_in_constant_time_only() -> None:
    secret = Secret(CANARY)
    assert secret.matches(CANARY)
    assert not secret.matches(CANARY + b"x")
    assert secret != Secret(CANARY)
    assert not Secret(b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "file:",
        "env:",
        "env:A-B",
        "env:A=B",
        "credential:../x",
        "credential:",
        "http://x",
        "FILE:x",
        "file:a\0b",
    ],
)
def test_what_is_no_reference_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(PKIError) as caught:
        SecretReference.decode(text)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert "hunter2" not in caught.value.detail


def test_a_reference_is_written_as_it_is_read() -> None:
    for text in ("file:/etc/pkid/a:b", "env:PKID_SECRET", "credential:pkid.key"):
        assert SecretReference.decode(text).encode() == text


def test_a_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content, value in [
        (b"abc\n", b"abc"),
        (b"abc\r\n", b"abc"),
        (b"abc", b"abc"),
        (b"a\nb\n\n", b"a\nb\n"),
        (b" \xff\0 ", b" \xff\0 "),
    ]:
        path.write_bytes(content)
        path.chmod(0o600)
        for name in (str(path), "secret"):
            secret = SecretReference("file", name).resolve({}, base=tmp_path)
            assert secret.matches(value)


@pytest.mark.requirement("SEC-100")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(CANARY)
    path.chmod(mode)
    with pytest.raises(PKIError, match="open to other users") as caught:
        SecretReference("file", "secret").resolve({}, base=tmp_path)
    assert "chmod" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(mode=0o700),
        lambda path: path.touch(mode=0o600),
        lambda path: path.write_bytes(b"\n") or path.chmod(0o600),
        lambda path: (
            path.write_bytes(bytes(MAX_SECRET_OCTETS + 1)) or path.chmod(0o600)
        ),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "secret")
    with pytest.raises(PKIError, match="secret file:secret") as caught:
        SecretReference("file", "secret").resolve({}, base=tmp_path)
    assert caught.value.code is ErrorCode.UNAVAILABLE
    assert caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(CANARY)
    path.chmod(0o600)
    os.chown(path, 1234, -1)
    with pytest.raises(PKIError, match="belongs to another user"):
        SecretReference("file", "secret").resolve({}, base=tmp_path)


def test_the_environment_and_systemd_credentials_are_read(tmp_path: Path) -> None:
    (tmp_path / "pkid.key").write_bytes(CANARY + b"\n")
    environment = {
        "PKID_SECRET": os.fsdecode(b"\xff" + CANARY),
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }
    found = SecretReference("env", "PKID_SECRET").resolve(environment, base=tmp_path)
    assert found.matches(b"\xff" + CANARY)
    reference = SecretReference("credential", "pkid.key")
    assert reference.resolve(environment, base=tmp_path).matches(CANARY)
    for scheme, name in (("env", "OTHER"), ("credential", "other")):
        with pytest.raises(PKIError, match=f"{scheme}:{name}"):
            SecretReference(scheme, name).resolve(environment, base=tmp_path)
    with pytest.raises(PKIError, match="no systemd credentials"):
        reference.resolve({}, base=tmp_path)


def test_a_box_opens_what_it_sealed_for_the_same_row_only() -> None:
    box = AESGCMSecretBox(Secret(bytes(32)))
    sealed = box.seal(CANARY, b"row 1")
    assert CANARY not in sealed
    assert sealed != box.seal(CANARY, b"row 1")
    assert box.open(sealed, b"row 1") == CANARY
    other = AESGCMSecretBox(Secret(bytes(31) + b"1"))
    attempts = [
        (box, sealed, b"row 2"),
        (other, sealed, b"row 1"),
        (box, sealed[:-1], b"row 1"),
        (box, b"", b"row 1"),
        (box, b"\x02" + sealed[1:], b"row 1"),
        *(
            (box, sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :], b"row 1")
            for at in range(len(sealed))
        ),
    ]
    for opener, octets, associated in attempts:
        with pytest.raises(PKIError) as caught:
            opener.open(octets, associated)
        assert caught.value.code is ErrorCode.INTERNAL


def test_a_box_wants_256_bits() -> None:
    with pytest.raises(PKIError):
        AESGCMSecretBox(Secret(bytes(16)))
