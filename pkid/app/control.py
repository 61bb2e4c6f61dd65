"""The control socket: the operator's tool speaks HTTP and JSON to the daemon here.

A UNIX socket that the daemon's user and root may open, nobody else; the kernel says who
is at the other end, and that is who the audit names. Resources are rows of a table: a
method and a path, and the function that calls the engine's door.

**Source:** DESIGN section 7.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger

from pkid.app.readings import READINGS, Arguments, refuse
from pkid.app.resources import ROOT
from pkid.engine.model import RequestContext
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Peer, Reply
from pkid.storage.reads import StoreReads
from pkid.transports.http import HTTPConnection, HTTPFront
from pkid.transports.limits import Admission, Limits
from pkid.transports.site import Route, Site

JSON: Final = "application/json"
BODY_LIMIT: Final = 64 * 1024 * 1024
MAX_PATH: Final = 107
_CREDENTIALS: Final = struct.Struct("3i")

STATUSES: Final[Mapping[ErrorCode, int]] = {
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.NOT_AUTHORIZED: 403,
    ErrorCode.CONFLICT: 409,
    ErrorCode.BUSY: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}
REFUSED: Final = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPeer(Peer):
    """A process of this machine.

    :ivar uid: its user, by the kernel's word; -1 when that is not known.
    """

    uid: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a resource.

    :ivar actor: who calls, as the audit names it.
    :ivar arguments: from the query.
    :ivar body: the JSON object of the request; empty when there is none.
    """

    actor: str
    context: RequestContext
    arguments: Arguments
    body: Mapping[str, object]


Action = Callable[[Call], Awaitable[object]]
#: What can be called, by method and resource name.
Actions = Mapping[tuple[str, str], Action]


class ControlResponder:
    """Answers the calls of the tool.

    :param store: for the readings.
    :param actions: what changes something, and what only the daemon knows.
    """

    _log = Logger()

    def __init__(self, store: StoreReads, actions: Actions) -> None:
        self._store = store
        self._actions = dict(actions)

    def routes(self) -> tuple[Route, ...]:
        """One row a resource."""
        methods: dict[str, set[str]] = {name: {"GET"} for name in READINGS}
        for method, name in self._actions:
            methods.setdefault(name, set()).add(method)
        return tuple(
            Route(
                pattern=ROOT + name,
                responder="control",
                operation=name,
                methods=tuple(sorted(found)),
                body_limit=BODY_LIMIT,
            )
            for name, found in methods.items()
        )

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one call; refusals have their reason, hint and code in the body."""
        try:
            return _reply(200, await self._answer(exchange))
        except PKIError as error:
            status = STATUSES.get(error.code, REFUSED)
            return _reply(status, describe(error))

    async def _answer(self, exchange: Exchange) -> object:
        actor = _actor(exchange.peer)
        arguments = dict(parse_qsl(exchange.query))
        reading = READINGS.get(exchange.operation)
        if exchange.method == "GET" and reading is not None:
            return await reading(self._store, arguments)
        action = self._actions[exchange.method, exchange.operation]
        call = Call(
            actor=actor,
            context=RequestContext(protocol="control", transport="control", peer=actor),
            arguments=arguments,
            body=_body(exchange.body),
        )
        return await action(call)


def describe(error: PKIError) -> dict[str, object]:
    """A refusal as JSON: the operator sees the hint too."""
    return {
        "error": error.code.value,
        "detail": error.detail,
        "hint": error.hint or "",
    }


def _actor(peer: Peer) -> str:
    """Who calls; only the daemon's user and root may."""
    uid = peer.uid if isinstance(peer, LocalPeer) else -1
    if uid not in {0, os.geteuid()}:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "only the daemon's user and root may control it",
        )
    return f"uid:{uid}"


def _body(octets: bytes) -> Mapping[str, object]:
    if not octets:
        return {}
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        raise refuse("the body is not JSON") from None
    if not isinstance(found, dict):
        raise refuse("the body is not a JSON object")
    return found


def _reply(status: int, value: object) -> Reply:
    body = json.dumps(value).encode() + b"\n"
    return Reply(status=status, content_type=JSON, body=body)


class _LocalConnection(HTTPConnection):
    """A connection whose peer the kernel names."""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Ask who it is before anything is read."""
        uid = -1
        handle = self.transport.getHandle()
        if hasattr(socket, "SO_PEERCRED"):
            size = _CREDENTIALS.size
            octets = handle.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            _, uid, _ = _CREDENTIALS.unpack(octets)
        self.peer = LocalPeer(address="", listener=self.peer.listener, uid=uid)
        super().connectionMade()


class _LocalFront(HTTPFront):
    """Serves a site to processes of this machine."""

    def connection(self, peer: Peer) -> _LocalConnection:
        """Make the protocol object for one client."""
        return _LocalConnection(self, peer)


class ControlSocket:
    """The listening side.

    :param path: of the socket.
    """

    _log = Logger()

    def __init__(self, path: Path, reactor: Any) -> None:  # noqa: ANN401
        self._path = path
        self._reactor = reactor
        self._front: _LocalFront | None = None
        self._port: IListeningPort | None = None

    def open(self, responder: ControlResponder, now: Callable[[], Any]) -> None:
        """Listen; what a dead daemon left in our place is removed."""
        if len(os.fsencode(self._path)) > MAX_PATH:
            self._log.error(
                "the path {path} is too long for a socket: the tool cannot reach this"
                " daemon",
                path=str(self._path),
            )
            return
        self._path.unlink(missing_ok=True)
        clock = cast(IReactorTime, self._reactor)
        # Numbers of its own: a full house must not lock the operator out.
        limits = replace(Limits(), request_seconds=120.0)
        self._front = _LocalFront(
            Site({"control": responder}, responder.routes()),
            now=now,
            admission=Admission(clock, limits),
        )
        self._port = self._reactor.listenUNIX(
            str(self._path), self._front, mode=0o600, wantPID=False
        )

    def close(self) -> Deferred[None]:
        """Stop listening and finish answers."""
        if self._port is None or self._front is None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        self._port.stopListening()
        self._path.unlink(missing_ok=True)
        return self._front.drain()
