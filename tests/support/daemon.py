"""pkid as a child process on loopback: started, stopped, killed, started again.

The ports are free ones, taken anew at every start; state, log and configuration
stay in one directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.cmpclient import Client, MacCredential
from tests.support.processes import STOP_SECONDS, end
from tests.support.wires import HTTPWire, TCPWire

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
START_SECONDS = 60.0
LISTENERS = ("cmp-tcp", "http", "https", "est")
FREE_PORT = "tcp:0:interface=127.0.0.1"


@dataclass(frozen=True, slots=True)
class Door:
    """Where a listener truly listens."""

    host: str
    port: int

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Daemon:
    """One state directory, and the process that serves it now.

    :ivar state: the state directory.
    :ivar settings: further ``--set`` texts.
    :ivar tcp_listener: whose door `tcp` is.
    :ivar log_path: standard output and error of all its processes, one after another.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: Sequence[str] = (),
        configuration: str | None = None,
        environment: dict[str, str] | None = None,
        wrapper: Sequence[str] = (),
        listeners: Sequence[str] = LISTENERS,
    ) -> None:
        self.state = folder / "state"
        self.log_path = folder / "pkid.log"
        self.settings = tuple(settings)
        self.tcp_listener = "cmp-tcp"
        self._folder = folder
        self._environment = environment or {}
        self._wrapper = tuple(wrapper)
        self._listeners = tuple(listeners)
        self._configuration: Path | None = None
        if configuration is not None:
            self._configuration = folder / "pkid.conf"
            self._configuration.write_text(configuration)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def http(self) -> Door:
        return self._door("http")

    @property
    def est(self) -> Door:
        return self._door("est")

    @property
    def tcp(self) -> Door:
        return self._door(self.tcp_listener)

    @property
    def credentials(self) -> dict[str, Any]:
        """``first-run/credentials.toml``."""
        return tomllib.loads((self.first_run / "credentials.toml").read_text())

    @property
    def first_run(self) -> Path:
        return self.state / "first-run"

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def command(self) -> list[str]:
        """What starts the daemon."""
        ports = [f'listener.{one}.endpoint="{FREE_PORT}"' for one in self._listeners]
        sets = [part for text in (*ports, *self.settings) for part in ("--set", text)]
        given = () if self._configuration is None else ("--config", self._configuration)
        return [
            *self._wrapper,
            str(BIN / "twistd"),
            *("-n", "--pidfile=", "pkid"),
            *("--state", str(self.state)),
            *map(str, given),
            *sets,
        ]

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait for it."""
        # What is there from the start before says nothing about this one.
        (self.state / "run" / "listeners.json").unlink(missing_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=self._child_environment(),
            )
        return self.process

    def start(self, timeout: float = START_SECONDS) -> float:
        """Start and wait until it answers.

        :returns: seconds that it took.
        :raises RuntimeError: when it ends instead, with its log.
        """
        begin = time.monotonic()
        self.launch()
        self.wait_until_ready(timeout)
        return time.monotonic() - begin

    def wait_until_ready(self, timeout: float = START_SECONDS) -> None:
        """Wait until ``/readyz`` says yes."""
        assert self.process is not None
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if self.process.poll() is not None:
                status = self.process.returncode
                raise RuntimeError(f"pkid ended with {status}:\n{self.log[-4000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"pkid does not answer:\n{self.log[-4000:]}")
            time.sleep(0.01)

    def stop(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM, and wait for its end.

        :returns: its status.
        """
        assert self.process is not None
        return end(self.process, timeout)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def client(self, **options: Any) -> Client:
        """A client with the first-run secret."""
        return Client(self.mac_credential(**options))

    def mac_credential(self, **options: Any) -> MacCredential:
        """The first-run secret."""
        cmp = self.credentials["cmp"]
        return MacCredential(
            cmp["reference"].encode(), cmp["secret"].encode(), **options
        )

    def added_credential(self, **options: Any) -> MacCredential:
        """A secret of its own for the caller: who guesses at it locks no other."""
        made = self.ask_tool("secret", "add")
        return MacCredential(
            made["reference"].encode(), made["secret"].encode(), **options
        )

    def http_wire(self, **options: Any) -> HTTPWire:
        return HTTPWire(self.http.address, **options)

    def tcp_wire(self, **options: Any) -> TCPWire:
        return TCPWire(self.tcp.address, **options)

    def tool(
        self, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the operator's tool on this state directory.

        :raises AssertionError: when it fails and ``check`` is set, with what it said.
        """
        done = subprocess.run(
            [str(BIN / "pkid"), *arguments, "--state", str(self.state)],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._child_environment(),
            cwd=self._folder,
        )
        if check:
            said = f"pkid {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
            assert done.returncode == 0, said
        return done

    def ask_tool(self, *arguments: str) -> Any:
        """What the tool says as JSON."""
        return json.loads(self.tool(*arguments, "--json").stdout)

    def _is_ready(self) -> bool:
        try:
            with HTTPWire(self.http.address, timeout=5) as wire:
                return wire.get("/readyz").status == 200
        except (OSError, KeyError, ValueError):
            return False

    def door(self, name: str) -> Door:
        """Where the listener of that name listens."""
        return self._door(name)

    def _door(self, name: str) -> Door:
        path = self.state / "run" / "listeners.json"
        found = json.loads(path.read_text())[name]
        return Door(found["host"], found["port"])

    def _child_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
            **self._environment,
        }


@contextmanager
def running(folder: Path, **options: Any) -> Iterator[Daemon]:
    """A daemon that is started, and gone afterwards whatever happens."""
    daemon = Daemon(folder, **options)
    try:
        daemon.start()
        yield daemon
    finally:
        if daemon.process is not None:
            end(daemon.process)
