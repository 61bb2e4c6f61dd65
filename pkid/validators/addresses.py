"""Which addresses a check from outside may go to.

Clients name hosts; who resolves a name decides where we connect. What only this host
reaches, or only this link, is never connected to unless the configuration says so.

**Source:** ACME-72; security requirements SEC-40 to 42.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from pkid.engine.validation import ControlError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Where connections may go; ``allow`` wins, then ``deny``, then what is safe.

    :ivar allow: networks that are allowed whatever they are.
    :ivar deny: networks that are not, though they would be.
    """

    allow: Sequence[Network] = field(default=())
    deny: Sequence[Network] = field(default=())

    def admits(self, text: str) -> bool:
        """Whether an address may be connected to."""
        try:
            address = _plain(ipaddress.ip_address(text))
        except ValueError:
            return False
        if any(address in network for network in self.allow):
            return True
        if any(address in network for network in self.deny):
            return False
        return not _reaches_ourselves(address)

    def filtered(self, name: str, addresses: Sequence[str]) -> list[str]:
        """Those that may be connected to.

        :raises ControlError: "connection" when there is none.
        """
        found = [one for one in addresses if self.admits(one)]
        if not found:
            tried = ", ".join(addresses) or "none"
            raise ControlError(
                "connection", f"{name} has no address that is connected to: {tried}"
            )
        return found


def _plain(address: Address) -> Address:
    """An IPv4 address in whatever dress."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def _reaches_ourselves(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address in _BROADCAST
    )


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_BROADCAST = ipaddress.IPv4Network("255.255.255.255/32")
