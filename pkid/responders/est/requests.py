"""One EST request: what every operation is answered from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1.constructors import constructor
from pkid.engine.model import RequestContext, Requester, make_request_context
from pkid.responders.base import Exchange
from pkid.responders.est.aliases import PROTOCOL, ESTAlias
from pkid.responders.est.authentication import Proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose sender is known.

    :ivar octets: DER of the body.
    """

    alias: ESTAlias
    exchange: Exchange
    context: RequestContext
    proven: Proven
    octets: bytes

    @property
    def requester(self) -> Requester:
        """Who asks."""
        return self.proven.requester


make_request: Final = constructor(Request)


def context_of(exchange: Exchange) -> RequestContext:
    """Where an exchange came in."""
    peer = exchange.peer
    return make_request_context(
        protocol=PROTOCOL,
        transport=exchange.transport,
        peer=peer.address,
        beyond_loopback=peer.beyond_loopback,
    )
