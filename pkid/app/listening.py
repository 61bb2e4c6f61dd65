"""Listening ports: bound while we may, open once there is somebody to answer.

Ports are bound before privileges drop and rest until the engine works: who connects
meanwhile waits in the kernel's queue and is not turned away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pkid.app.settings import Listener
from pkid.transports.connections import ConnectionFactory
from pkid.transports.limits import Admission, PausablePort

ANY_ADDRESS: Final = frozenset(("0.0.0.0", "::", ""))  # noqa: S104 - compared with


class ListeningError(Exception):
    """A listener that cannot be bound; the text is for the operator."""


class _Doorway(Factory[Protocol]):
    """Stands in front of a factory that is made later.

    :ivar behind: serves the connections; None turns them away.
    """

    noisy = False

    def __init__(self) -> None:
        self.behind: Factory[Any] | None = None

    def buildProtocol(  # noqa: N802 - Twisted's name
        self, addr: IAddress | None
    ) -> Protocol | None:
        """Let the factory behind build it."""
        if self.behind is None:
            return None
        return cast("Protocol | None", self.behind.buildProtocol(addr))


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener truly listens.

    :ivar host: address text; "" for a local socket.
    :ivar port: 0 for a local socket.
    """

    host: str
    port: int
    path: str = ""

    def reachable(self, public_host: str) -> str:
        """``host:port`` to connect to; ``public_host`` where it listens everywhere."""
        host = public_host if self.host in ANY_ADDRESS else self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


class _Bound:
    """One bound listener."""

    def __init__(
        self, settings: Listener, port: IListeningPort, doorway: _Doorway
    ) -> None:
        self.settings = settings
        self.port = port
        self.doorway = doorway
        self.connections: ConnectionFactory | None = None

    @property
    def address(self) -> Address:
        found: Any = self.port.getHost()
        host = getattr(found, "host", None)
        if host is None:
            name = found.name or b""
            return Address("", 0, name.decode("utf-8", "replace"))
        return Address(host, found.port)


class Listeners:
    """All listeners of the daemon.

    :param reactor: gives ports and time.
    :ivar admission: counts connections over all of them.
    """

    _log = Logger()

    def __init__(self, reactor: object, admission: Admission) -> None:
        self._reactor = reactor
        self.admission = admission
        self._bound: dict[str, _Bound] = {}
        self._is_open = False

    def bind(self, listeners: Iterable[Listener]) -> None:
        """Bind every listener and let it rest.

        :raises ListeningError: for the first that cannot be bound; those before it
            are closed again.
        """
        for settings in listeners:
            try:
                self._bound[settings.name] = self._bind(settings)
            except ListeningError:
                self._close_ports()
                raise

    def _bind(self, settings: Listener) -> _Bound:
        doorway = _Doorway()
        ports: list[IListeningPort] = []
        faults: list[Failure] = []
        endpoint = serverFromString(self._reactor, settings.endpoint.listening_text)
        endpoint.listen(doorway).addCallbacks(ports.append, faults.append)
        if not ports:
            reason = faults[0].getErrorMessage() if faults else "it is not ready"
            message = f"listener {settings.name} cannot be opened: {reason}"
            raise ListeningError(message)
        port = ports[0]
        cast(PausablePort, port).pauseProducing()
        return _Bound(settings, port, doorway)

    def serve(
        self, name: str, factory: Factory[Any], connections: ConnectionFactory
    ) -> None:
        """Put what answers behind a listener.

        :param factory: builds the connections, perhaps with TLS around.
        :param connections: the factory inside, which is drained at the end.
        """
        bound = self._bound[name]
        bound.doorway.behind = factory
        bound.connections = connections

    def open(self) -> None:
        """Accept connections on every listener."""
        for name, bound in self._bound.items():
            port = cast(PausablePort, bound.port)
            port.resumeProducing()
            self.admission.guard(port)
            self._log.info(
                "listener {listener} accepts connections at {address}",
                listener=name,
                address=_text(bound.address),
            )
        self._is_open = True

    def addresses(self) -> dict[str, Address]:
        """True addresses by listener."""
        return {name: bound.address for name, bound in self._bound.items()}

    def close(self) -> Deferred[None]:
        """Stop accepting and finish answers; fires when the last connection is gone."""
        self._close_ports()
        waiting = [
            bound.connections.drain()
            for bound in self._bound.values()
            if bound.connections is not None
        ]
        done: Deferred[None] = Deferred()
        DeferredList(waiting, consumeErrors=True).addBoth(lambda _: done.callback(None))
        return done

    def _close_ports(self) -> None:
        for bound in self._bound.values():
            if self._is_open:
                self.admission.release(cast(PausablePort, bound.port))
            bound.port.stopListening()
        self._is_open = False


def _text(address: Address) -> str:
    return address.path or address.reachable(address.host)


def encode_listeners(
    listeners: Mapping[str, Listener], addresses: Mapping[str, Address]
) -> bytes:
    """Contents of ``run/listeners.json``."""
    found = {
        name: {
            "endpoint": listeners[name].endpoint.text,
            "serves": list(listeners[name].serves),
            "tls": listeners[name].tls,
            "host": address.host,
            "port": address.port,
            "path": address.path,
        }
        for name, address in addresses.items()
    }
    return (json.dumps(found, indent=2) + "\n").encode()
