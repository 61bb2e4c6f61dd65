"""Looks at identifiers from outside, as the configuration wants them.

**Source:** DESIGN section 7 (`[validation]`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from pkid.app.acme_tables import ValidationSettings
from pkid.transports.outbound import Outbound
from pkid.validators.addresses import AddressRules
from pkid.validators.control import ControlSettings, OutsideView
from pkid.validators.resolution import Resolution

DNS_PORT: Final = 53


def decode_resolver(text: str) -> tuple[str, int]:
    """Address and port of "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT".

    :raises ValueError: for anything else.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = text, str(DNS_PORT)
    host = host.removeprefix("[").removesuffix("]")
    ipaddress.ip_address(host)
    number = int(port)
    if not 0 < number < 65536:
        message = "a port is from 1 to 65535"
        raise ValueError(message)
    return host, number


def control_settings(settings: ValidationSettings) -> ControlSettings:
    """The same as the looks need it.

    :raises ValueError: for a network that is none.
    """
    return ControlSettings(
        http_port=settings.http_port,
        tls_port=settings.tls_port,
        seconds=settings.timeout.total_seconds(),
        rules=AddressRules(
            allow=tuple(map(ipaddress.ip_network, settings.allow)),
            deny=tuple(map(ipaddress.ip_network, settings.deny)),
        ),
    )


def outside_view(
    reactor: Any,  # noqa: ANN401 - twistd's reactor has no one interface
    settings: Callable[[], ValidationSettings],
) -> OutsideView:
    """What looks at identifiers from outside."""
    made: dict[tuple[str, ...], Resolution] = {}

    def names() -> Resolution:
        resolvers = settings().resolvers
        if resolvers not in made:
            made.clear()
            made[resolvers] = Resolution(
                reactor, [decode_resolver(one) for one in resolvers]
            )
        return made[resolvers]

    return OutsideView(
        names, Outbound(reactor), reactor, lambda: control_settings(settings())
    )
