"""Announcements at work: the recipients of the configuration, told in turns."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pkid.app.announce_tables import AnnouncementSettings
from pkid.app.house import House
from pkid.app.settings import Configuration
from pkid.errors import ErrorCode, PKIError
from pkid.responders.cmp.announcing import Announcer, Subscription
from pkid.transports.cmpannounce import AnnouncementClient
from pkid.transports.cmpclient import Patience, network_endpoints


@dataclass(frozen=True, slots=True)
class _Told:
    settings: AnnouncementSettings
    subscriptions: tuple[Subscription, ...]


class Announcements:
    """Tells all configured recipients what is new."""

    def __init__(
        self,
        house: House,
        configuration: Callable[[], Configuration],
        reactor: Any,  # noqa: ANN401 - the reactor has no one interface
    ) -> None:
        self._announcer = Announcer(house.engine, house.clock, secrets.token_bytes)
        self._configuration = configuration
        self._reactor = reactor
        self._told: dict[str, _Told] = {}

    async def announce(self) -> int:
        """One turn: each recipient gets what it does not have; how many it were."""
        count = 0
        for name, settings in self._configuration().cmp_announcements.items():
            for subscription in self._subscriptions(name, settings):
                try:
                    count += await self._announcer.announce(subscription)
                except PKIError as error:
                    # The client has logged it and lets its recipient rest.
                    if error.code is not ErrorCode.UNAVAILABLE:
                        raise
        return count

    def _subscriptions(
        self, name: str, settings: AnnouncementSettings
    ) -> tuple[Subscription, ...]:
        known = self._told.get(name)
        if known is None or known.settings != settings:
            known = _Told(
                settings,
                tuple(self._subscription(settings, url) for url in settings.urls),
            )
            self._told[name] = known
        return known.subscriptions

    def _subscription(self, settings: AnnouncementSettings, url: str) -> Subscription:
        client = AnnouncementClient(
            [url],
            clock=self._reactor,
            endpoints=network_endpoints(self._reactor, ()),
            patience=Patience(
                timeout_seconds=settings.timeout_seconds,
                rest_seconds=settings.rest_seconds,
                most_rest_seconds=settings.most_rest_seconds,
            ),
        )
        return Subscription(url, client, settings.authorities, settings.contents)
