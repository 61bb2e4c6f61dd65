"""What one client may take of us: octets, connections, descriptors and time.

All numbers stand in `Limits`; `Admission` counts who is connected, over all
listeners together, and lets the listening ports rest while the house is full.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

KIB = 1024
#: One in so many places must be free before a full house opens again.
ROOM_SHARE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds that every listener keeps.

    Deadlines are absolute: no octet that arrives starts one again.

    :ivar handshake_seconds: for the TLS handshake.
    :ivar headers_seconds: from a request's first octet to the end of its HTTP
        headers, or of its TCP record header.
    :ivar request_seconds: from a request's first octet to its last.
    :ivar write_seconds: from the moment a client stops taking our answer until it
        has taken all of it; a large answer has ``write_rate`` on top.
    :ivar write_rate: octets a second that a client must take of a large answer.
    :ivar idle_seconds: between two requests.
    :ivar linger_seconds: after a refusal, for the client to read why.
    :ivar linger_octets: what is read and thrown away meanwhile.
    :ivar request_line: octets of an HTTP request line; more is 414.
    :ivar header_octets: all HTTP header lines together; more is 431.
    :ivar header_count: number of HTTP headers; more is 431.
    :ivar read_ahead: octets kept of later requests while one is in work.
    :ivar message_octets: one message over TCP; HTTP has a limit for each route.
    :ivar connections_per_address: from one address, over all listeners.
    :ivar connections: from everywhere, over all listeners.
    :ivar spare_descriptors: file descriptors that connections leave free.
    """

    handshake_seconds: float = 15.0
    headers_seconds: float = 10.0
    request_seconds: float = 30.0
    write_seconds: float = 60.0
    write_rate: int = 64 * KIB
    idle_seconds: float = 60.0
    linger_seconds: float = 2.0
    linger_octets: int = 512 * KIB
    request_line: int = 64 * KIB
    header_octets: int = 16 * KIB
    header_count: int = 100
    read_ahead: int = 16 * KIB
    message_octets: int = 256 * KIB
    connections_per_address: int = 64
    connections: int = 4096
    spare_descriptors: int = 32


class PausablePort(Protocol):
    """What `Admission` needs of a listening port.

    :ivar numberAccepts: how many connections Twisted's port accepts at a time; it
        adds to it whenever that many came, and takes the true count otherwise.
    """

    numberAccepts: int  # noqa: N815

    def pauseProducing(self) -> None:
        """Leave new connections in the kernel's queue."""
        ...

    def resumeProducing(self) -> None:
        """Accept again."""
        ...


def has_spare_descriptors(spare: int) -> bool:
    """Say whether this process can still open more than ``spare`` descriptors.

    The kernel gives the lowest free number, so one duplicate tells.
    """
    try:
        lowest_free = os.dup(0)
    except OSError as error:
        # EBADF: nothing to duplicate, so no way to know; do not stand in the way.
        return error.errno == errno.EBADF
    os.close(lowest_free)
    return lowest_free + spare < _descriptor_limit()


def _descriptor_limit() -> int:
    return os.sysconf("SC_OPEN_MAX")


class Admission:
    """Counts connections by address and in all; shared by all listeners.

    While the house is full, or descriptors are short, the guarded ports rest: who
    knocks then waits in the kernel's queue and is not turned away.

    :param clock: time and timers for all who share this; the reactor.
    :param limits: the numbers, likewise.
    :param has_room: tells whether ``spare_descriptors`` are left.
    """

    _log = Logger()
    RETRY_SECONDS = 1.0

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits,
        *,
        has_room: Callable[[int], bool] = has_spare_descriptors,
    ) -> None:
        self.clock = clock
        self.limits = limits
        self._has_room = has_room
        self._by_address: dict[str, int] = {}
        self._ports: list[PausablePort] = []
        self._resting = False
        self.connections = 0

    def guard(self, port: PausablePort) -> None:
        """Let this listening port rest while there is no room.

        A port that is not guarded is not paused: its clients are turned away.
        """
        self._ports.append(port)
        port.numberAccepts = 1
        if self._resting:
            port.pauseProducing()

    def release(self, port: PausablePort) -> None:
        """Forget a guarded port, which was or will be closed."""
        self._ports.remove(port)

    def admit(self, address: str) -> bool:
        """Count one more connection, unless it would be one too many.

        :param address: text of the peer's address without port; "" (a local
            socket) has no limit of its own.
        """
        # Not the number that were just accepted: the port falls back to one at a
        # time, and none is taken from the kernel's queue after it was paused.
        for port in self._ports:
            port.numberAccepts = 0
        if self._resting:
            return False
        here = self._by_address.get(address, 0)
        if address and here >= self.limits.connections_per_address:
            return False
        self._by_address[address] = here + 1
        self.connections += 1
        if self.connections >= self.limits.connections:
            self._rest("{count} connections: not accepting more for now")
        elif not self._has_room(self.limits.spare_descriptors):
            self._rest("file descriptors are short at {count} connections: waiting")
        return True

    def leave(self, address: str) -> None:
        """Count one connection less."""
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]
        self.connections -= 1

    def _rest(self, why: str) -> None:
        if self._resting:
            return
        self._resting = True
        self._log.warn(why, count=self.connections)
        for port in self._ports:
            port.pauseProducing()
        self.clock.callLater(self.RETRY_SECONDS, self._look_again)

    def _look_again(self) -> None:
        # Wait for more room than the one place that made us stop: to take turns
        # between full and not full would fill the log and help nobody.
        limits = self.limits
        margin = max(1, limits.connections // ROOM_SHARE)
        full = self.connections > limits.connections - margin
        spare = limits.spare_descriptors + max(4, limits.spare_descriptors // 4)
        if full or not self._has_room(spare):
            self.clock.callLater(self.RETRY_SECONDS, self._look_again)
            return
        self._resting = False
        self._log.info("accepting connections again at {count}", count=self.connections)
        for port in self._ports:
            port.resumeProducing()
