"""``pkid cmp relay``: lets a CMP client that speaks HTTP only ask a server over TCP.

Runs in the foreground until it is interrupted, or for as long as the one command runs
that it was given: ``{relay}`` in the command stands for the relay's ``host:port``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates

from pkid.app.commands import Command, Tool, argument
from pkid.app.readings import refuse

PLACE: Final = "{relay}"
_NOT_RUN: Final = 127
_BY_SIGNAL: Final = 128


def relay(_tool: Tool, given: Namespace) -> int:
    """Carry messages until the end.

    :returns: the exit status of the command; 0 without one.
    """
    # The reactor is only for this command: others start in a fraction of the time.
    from twisted.internet import reactor

    work = _Work(reactor, given)
    work.start()
    reactor.run()
    return work.status


class _Work:
    """One run of the relay.

    :ivar status: exit status.
    """

    def __init__(self, reactor: Any, given: Namespace) -> None:  # noqa: ANN401
        from pkid.transports.cmpclient import CMPClient, Patience, network_endpoints

        try:
            self._client = CMPClient(
                [given.to if "://" in given.to else f"tcp://{given.to}"],
                clock=reactor,
                endpoints=network_endpoints(reactor, _anchors(given.trusted)),
                framing=given.framing,
                # A relay has nowhere else to go: it tries each time anew.
                patience=Patience(timeout_seconds=given.timeout, rest_seconds=0.0),
            )
        except ValueError as error:
            raise refuse(f"--to: {error}", "like tcp://127.0.0.1:829") from None
        self._reactor = reactor
        self._command: list[str] = list(given.command)
        if self._command and shutil.which(self._command[0]) is None:
            raise refuse(f"there is no command {self._command[0]}")
        self._listen: str = given.listen
        self.status = 0

    def start(self) -> None:
        """Listen, and say where or run the command."""
        from pkid.transports.cmprelay import Relay, relay_front
        from pkid.transports.limits import Admission, Limits

        # The reactor's timers follow the wall clock otherwise.
        self._reactor.seconds = time.monotonic
        host, _, port = self._listen.rpartition(":")
        if not host or not port.isdigit():
            raise refuse("--listen: must be HOST:PORT", "like 127.0.0.1:8300")
        front = relay_front(
            Relay(self._client),
            now=lambda: datetime.now(UTC),
            admission=Admission(self._reactor, Limits()),
        )
        bound = self._reactor.listenTCP(int(port), front, interface=host.strip("[]"))
        found = bound.getHost()
        shown = f"[{found.host}]" if ":" in found.host else found.host
        self._listening(f"{shown}:{found.port}")

    def _listening(self, address: str) -> None:
        if not self._command:
            sys.stdout.write(f"relay at {address}\n")
            sys.stdout.flush()
            return
        words = [word.replace(PLACE, address) for word in self._command]
        # Once the reactor runs: a child that ends at once must be seen to.
        self._reactor.callWhenRunning(self._run, words)

    def _run(self, words: Sequence[str]) -> None:
        from twisted.internet.protocol import ProcessProtocol

        work = self

        class Child(ProcessProtocol):
            def processEnded(self, reason: Any) -> None:  # noqa: ANN401, N802
                work.ended(reason.value.exitCode, reason.value.signal)

        self._reactor.spawnProcess(
            Child(),
            words[0],
            words,
            env=os.environ,
            childFDs={0: 0, 1: 1, 2: 2},
        )

    def ended(self, status: int | None, signal: int | None) -> None:
        """End as the command ended."""
        if status is not None:
            self.status = status
        else:
            self.status = _NOT_RUN if signal is None else _BY_SIGNAL + signal
        self._reactor.stop()


def _anchors(path: Path | None) -> list[bytes]:
    if path is None:
        return []
    try:
        found = load_pem_x509_certificates(path.read_bytes())
    except ValueError:
        raise refuse(f"{path} holds no certificate in PEM") from None
    return [one.public_bytes(Encoding.DER) for one in found]


COMMANDS: Final = (
    Command(
        noun="cmp",
        verb="relay",
        help="let a client that speaks HTTP ask a server over TCP",
        run=relay,
        arguments=(
            argument(
                "--to",
                required=True,
                metavar="HOST:PORT",
                help="the server; tls://HOST:PORT for TCP inside TLS",
            ),
            argument(
                "--framing",
                default="rfc2510",
                choices=("rfc2510", "draft", "der"),
                help="of the records [rfc2510]",
            ),
            argument(
                "--listen",
                default="127.0.0.1:0",
                metavar="HOST:PORT",
                help="where HTTP comes in [a free port of 127.0.0.1]",
            ),
            argument(
                "--trusted",
                type=Path,
                metavar="FILE",
                help="PEM of the roots that a TLS server's certificate rests upon",
            ),
            argument(
                "--timeout",
                type=float,
                default=30.0,
                metavar="SECONDS",
                help="for one message and its answer [30]",
            ),
            argument(
                "command",
                nargs="*",
                help="run this behind --, with {relay} for the relay's address, and end"
                " with it",
            ),
        ),
    ),
)
