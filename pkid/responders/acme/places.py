"""URLs of a directory: made for answers, recognised in requests.

**Source:** RFC 8555 sections 6.4 and 7.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.acme.failures import ProblemError, malformed, not_found
from pkid.responders.base import Exchange

PREFIX = "/acme/"


@dataclass(frozen=True, slots=True)
class Places:
    """The URLs of one directory under one base.

    :ivar base: "https://host:port/acme/name".
    """

    base: str

    def __call__(self, *parts: str) -> str:
        """URL of a resource."""
        return "/".join((self.base, *parts))

    def name_of(self, url: str, resource: str) -> str:
        """The last part of a URL that we gave out.

        :raises ProblemError: ``malformed`` 404 for any other.
        """
        start = self(resource, "")
        name = url.removeprefix(start)
        if not url.startswith(start) or not name or "/" in name:
            raise not_found()
        return name


def places_of(alias: ACMEAlias, exchange: Exchange, bases: frozenset[str]) -> Places:
    """The URLs as this client sees them.

    :param bases: "https://host:port" of all that this listener may be called by.
    :raises ProblemError: ``malformed`` when the client calls it something else: a URL
        that it made up is never repeated.
    """
    if alias.url:
        return Places(f"{alias.url}{PREFIX}{alias.name}")
    scheme = "https" if exchange.peer.secure else "http"
    base = f"{scheme}://{exchange.headers.get('host', '').lower()}"
    if base not in bases:
        raise malformed("this server is not called by that name")
    return Places(f"{base}{PREFIX}{alias.name}")


def request_url(places: Places, exchange: Exchange) -> str:
    """The URL that a request came to."""
    parts = [part for part in (exchange.operation, exchange.rest) if part]
    return places(*parts)


def check_url(places: Places, exchange: Exchange, url: str) -> None:
    """Refuse a request that was signed for another URL.

    :raises ProblemError: ``unauthorized`` 401.
    """
    if url != request_url(places, exchange):
        raise ProblemError(
            "unauthorized", 401, "the request was signed for another URL"
        )
