"""What every listener's factory does, whatever is spoken over its connections.

A factory admits connections, watches their deadlines and closes them in order at
shutdown. One sweep a second looks at all deadlines: a timer for each connection
would cost more than most requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol

from pkid.responders.base import Peer
from pkid.transports.limits import Admission

NEVER = float("inf")


class Watched(Protocol):
    """A connection with a deadline.

    :ivar due: when `deadline_passed` is to be called, by the factory's clock.
    :ivar peer: who is at the other end.
    """

    due: float
    peer: Peer

    def deadline_passed(self) -> None:
        """Do what the connection's state asks for when its time is over."""
        ...

    def finish(self) -> None:
        """Answer what is in work, then close; close at once when idle."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What responders are told of the listener.

    :ivar name: as configured.
    :ivar beyond_loopback: whether other hosts can reach it.
    """

    name: str = ""
    beyond_loopback: bool = False


NAMELESS = Listener()


class ConnectionFactory(Factory[TwistedProtocol]):
    """Admits, watches and closes the connections of one listener.

    :param admission: shared by all listeners of the process; brings clock and limits.
    :param listener: which one this is.
    """

    noisy = False
    SWEEP_SECONDS = 1.0

    def __init__(self, *, admission: Admission, listener: Listener) -> None:
        self.clock = admission.clock
        self.limits = admission.limits
        self._admission = admission
        self._listener = listener
        self._live: set[Watched] = set()
        self._sweep: IDelayedCall | None = None
        self._drained: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        """Build the connection for one client, or None when it is one too many."""
        host = str(getattr(addr, "host", ""))
        if self._drained is not None or not self._admission.admit(host):
            return None
        peer = Peer(
            address=host,
            listener=self._listener.name,
            beyond_loopback=self._listener.beyond_loopback,
        )
        protocol = self.connection(peer)
        protocol.factory = self
        return protocol

    def connection(self, peer: Peer) -> TwistedProtocol:
        """Make the protocol object for one admitted client."""
        raise NotImplementedError

    def opened(self, connection: Watched) -> None:
        """Watch the deadlines of a connection that is now open."""
        self._live.add(connection)
        if self._sweep is None:
            self._sweep = self.clock.callLater(self.SWEEP_SECONDS, self._look)

    def closed(self, connection: Watched) -> None:
        """Forget a connection that was lost."""
        self._admission.leave(connection.peer.address)
        self.forget(connection)

    def forget(self, connection: Watched) -> None:
        """Forget a connection that is lost, or that another factory goes on with."""
        self._live.discard(connection)
        if self._live:
            return
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if self._drained is not None and not self._drained.called:
            self._drained.callback(None)

    def drain(self) -> Deferred[None]:
        """Finish answers in work, close everything, admit nobody.

        :return: fires when the last connection is gone. Who waits sets a limit:
            a responder's work is not cut off here.
        """
        if self._drained is None:
            self._drained = Deferred()
            for connection in tuple(self._live):
                connection.finish()
            if not self._live and not self._drained.called:
                self._drained.callback(None)
        return self._drained

    def _look(self) -> None:
        # Set again first: the last connection to close cancels it.
        self._sweep = self.clock.callLater(self.SWEEP_SECONDS, self._look)
        now = self.clock.seconds()
        for connection in [one for one in self._live if one.due <= now]:
            connection.deadline_passed()
