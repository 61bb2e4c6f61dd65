"""A relay: CMP over HTTP in, CMP over raw TCP out.

For clients that speak HTTP only and servers that are reached over TCP. Messages pass
as they are, in both directions; the relay reads none of them and keeps nothing.

    client                     relay                       server
    POST any CMP path      ->
                               record with the message ->
                                                       <-  record with the answer
                           <-  200, the answer

**Source:** RFC 9811 section 3 for HTTP; RFC 2510 section 5.2 for records.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from twisted.logger import Logger

from pkid.errors import PKIError
from pkid.responders.base import Exchange, Reply
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission
from pkid.transports.site import Site, cmp_routes

MEDIA_TYPE = "application/pkixcmp"


class Outgoing(Protocol):
    """Carries one message to a server."""

    async def send(self, message: bytes) -> bytes:
        """Its answer; b"" when the server has nothing to say.

        :raises PKIError: ``UNAVAILABLE``.
        """
        ...


class Relay:
    """Answers with what the server answers.

    :param outgoing: the way to the server.
    """

    _log = Logger()

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    async def respond(self, exchange: Exchange) -> Reply:
        """Carry one message there and its answer back; 502 when there is none."""
        if exchange.headers.get("content-type", "").partition(";")[0] != MEDIA_TYPE:
            return _text(415, f"send {MEDIA_TYPE}")
        try:
            answer = await self._outgoing.send(exchange.body)
        except PKIError as error:
            reason = error.hint or error.detail
            self._log.warn("relay: {reason}", reason=reason)
            return _text(502, reason)
        return Reply(body=answer, content_type=MEDIA_TYPE)


def _text(status: int, words: str) -> Reply:
    return Reply(status=status, content_type="text/plain", body=f"{words}\n".encode())


def relay_front(
    relay: Relay, *, now: Callable[[], datetime], admission: Admission
) -> HTTPFront:
    """The HTTP side of a relay: it takes every path that CMP has.

    :param now: wall-clock time in UTC.
    """
    return HTTPFront(
        Site({"cmp": relay}, cmp_routes(at_root=True)), now=now, admission=admission
    )
