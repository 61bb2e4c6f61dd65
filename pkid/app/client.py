"""The tool's side of the control socket, and what it does when no daemon runs."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from pkid.app.readings import READINGS
from pkid.app.resources import ROOT, SOCKET
from pkid.errors import ErrorCode, PKIError
from pkid.storage.filestore import ReadOnlyStore

START_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.2
CALL_SECONDS: Final = 180.0
_CODES: Final = {code.value: code for code in ErrorCode}


class _LocalConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon of a state directory, running or not."""

    state: Path

    @property
    def socket(self) -> Path:
        """Where it listens for us."""
        return self.state / SOCKET

    def is_running(self) -> bool:
        """Whether it answers; one that is starting is waited for.

        :raises PKIError: ``UNAVAILABLE`` when it starts for too long.
        """
        until = time.monotonic() + START_SECONDS
        while not self._accepts():
            if not is_locked(self.state):
                return False
            if time.monotonic() > until:
                raise PKIError(
                    ErrorCode.UNAVAILABLE,
                    "the daemon is starting or stopping",
                    hint="look at its log, and try again",
                )
            time.sleep(LOOK_SECONDS)
        return True

    def _accepts(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(CALL_SECONDS)
            try:
                probe.connect(str(self.socket))
            except PermissionError:
                raise PKIError(
                    ErrorCode.NOT_AUTHORIZED,
                    "the state directory belongs to another user",
                    hint=f"run this as the owner of {self.state}, or as root",
                ) from None
            except OSError:
                return False
        return True

    def call(
        self,
        method: str,
        resource: str,
        arguments: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """Call a resource of the running daemon.

        :raises PKIError: what the daemon refused, or ``UNAVAILABLE`` when it is gone.
        """
        if not self.is_running():
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "this needs the daemon, and none runs here",
                hint=f"twistd -n pkid --state {self.state}",
            )
        connection = _LocalConnection(self.socket)
        given = {key: value for key, value in (arguments or {}).items() if value}
        path = f"{ROOT}{resource}" + (f"?{urlencode(given)}" if given else "")
        octets = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, octets)
            answer = connection.getresponse()
            return _value(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise PKIError(
                ErrorCode.UNAVAILABLE, "the daemon went away", hint=str(error)
            ) from error
        finally:
            connection.close()

    def read(self, resource: str, arguments: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
        """Read a resource: from the daemon, or from the store when none runs.

        :raises PKIError: what was refused.
        """
        if self.is_running():
            return self.call("GET", resource, arguments)
        store = ReadOnlyStore.open(self.state)
        try:
            return run_now(READINGS[resource](store, arguments or {}))
        finally:
            store.close()


def _value(status: int, octets: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        value = json.loads(octets)
    except ValueError:
        value = {}
    if status == http.HTTPStatus.OK:
        return value
    raise PKIError(
        _CODES.get(value.get("error", ""), ErrorCode.INTERNAL),
        value.get("detail") or f"the daemon answered {status}",
        hint=value.get("hint"),
    )


def run_now(work: Any) -> Any:  # noqa: ANN401 - what a reading gives
    """The result of a coroutine that waits for nothing.

    Reads of a file store never wait; there is no reactor in the tool.
    """
    coroutine: Coroutine[Any, Any, object] = work
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    message = "a read from the store waited for something"
    raise RuntimeError(message)


def is_locked(directory: Path) -> bool:
    """Whether a process holds the lock of a state directory.

    Read from the kernel's list: to try the lock would hold a starting daemon up.
    """
    try:
        found = directory.stat()
        locks = Path("/proc/locks").read_text("ascii")
    except OSError:
        return False
    major, minor = os.major(found.st_dev), os.minor(found.st_dev)
    wanted = f"{major:02x}:{minor:02x}:{found.st_ino}"
    return any(
        "FLOCK" in line and wanted in line.split() for line in locks.splitlines()
    )
