"""Names to addresses and texts, by configured resolvers.

**Source:** RFC 8555 sections 8.4, 10.2 and 11.2; ACME-75.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSNameError, DomainError, ResolverError

from pkid.engine.validation import ControlError

TIMEOUTS: Final = (1, 2, 2)
MAX_RECORDS: Final = 100
MAX_ALIASES: Final = 10


class Resolution:
    """Asks resolvers.

    :param reactor: Twisted's.
    :param servers: (address, port) of resolvers; none: those of the system.
    """

    def __init__(self, reactor: Any, servers: Sequence[tuple[str, int]] = ()) -> None:  # noqa: ANN401
        self._resolver = Resolver(
            resolv=None if servers else "/etc/resolv.conf",
            servers=list(servers) or None,
            reactor=reactor,
        )

    async def addresses(self, name: str) -> list[str]:
        """Addresses of a host, IPv6 first.

        :raises ControlError: "dns" when it has none or nobody answers.
        """
        six = self._ask(name, dns.AAAA).addErrback(_as_fault)
        four = self._ask(name, dns.A).addErrback(_as_fault)
        answers = await gatherResults([six, four])
        found = [
            record.payload.dottedQuad()
            if record.type == dns.A
            else _six(record.payload.address)
            for answer in answers
            if not isinstance(answer, ControlError)
            for record in answer
            if record.type in (dns.A, dns.AAAA)
        ]
        if found:
            return found
        faults = [one for one in answers if isinstance(one, ControlError)]
        raise faults[0] if faults else ControlError("dns", f"{name} has no address")

    async def texts(self, name: str) -> list[bytes]:
        """Values of TXT records, each joined; aliases are followed.

        :raises ControlError: "dns".
        """
        for _ in range(MAX_ALIASES):
            answer = await self._ask(name, dns.TXT).addErrback(_as_fault)
            if isinstance(answer, ControlError):
                raise answer
            texts = [
                b"".join(one.payload.data) for one in answer if one.type == dns.TXT
            ]
            aliases = [one for one in answer if one.type == dns.CNAME]
            if texts or not aliases:
                return texts
            name = str(aliases[-1].payload.name)
        raise ControlError("dns", f"too many aliases at {name}")

    def _ask(self, name: str, kind: int) -> Deferred[Any]:
        query = dns.Query(name.encode("ascii"), kind, dns.IN)
        asked: Deferred[Any] = self._resolver.query(query, TIMEOUTS)
        return asked.addCallback(lambda answer: list(answer[0])[:MAX_RECORDS])


def _as_fault(failure: Any) -> ControlError:  # noqa: ANN401 - a Failure
    failure.trap(DomainError, ResolverError, Exception)
    if failure.check(DNSNameError):
        return ControlError("dns", "the name does not exist")
    return ControlError("dns", f"the resolver: {failure.type.__name__}")


def _six(octets: bytes) -> str:
    return str(ipaddress.IPv6Address(octets))
