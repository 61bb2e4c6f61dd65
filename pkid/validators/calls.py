"""Calls of web services: JSON out and in, bounded in time and octets, failing closed.

No redirect is followed: a service that moved is configured anew. Whatever goes wrong is
``UNAVAILABLE``, with the reason for the operator alone.

**Source:** requirements SCEP-51, SEC-69.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pkid.errors import ErrorCode, PKIError

MAX_ANSWER_OCTETS: Final = 256 * 1024

JSON = Mapping[str, Any]


def unavailable(hint: str) -> PKIError:
    """What the requester hears when a service does not say yes."""
    return PKIError(
        ErrorCode.UNAVAILABLE,
        "the service that judges this request is out of reach",
        hint=hint,
        retry_after=30,
    )


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service said.

    :ivar body: the JSON object; empty when there was none.
    """

    status: int
    body: JSON


class TooMuchError(Exception):
    """An answer longer than any should be."""


class ServiceCalls:
    """Makes calls.

    :param agent: Twisted's ``IAgent``; it brings connections and trust.
    :param clock: the reactor.
    :param seconds: for one call, from first to last.
    """

    def __init__(
        self,
        agent: Any,  # noqa: ANN401 - only transports name twisted.web's interfaces
        clock: IReactorTime,
        seconds: float,
    ) -> None:
        self._client = HTTPClient(agent)
        self._clock = clock
        self._seconds = seconds

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str]
    ) -> ServiceAnswer:
        """POST octets and read the answer.

        :raises PKIError: ``UNAVAILABLE`` when there is no answer, in time.
        """
        return await self._call("POST", url, body, headers)

    async def get(self, url: str, headers: Mapping[str, str]) -> ServiceAnswer:
        """GET, likewise."""
        return await self._call("GET", url, None, headers)

    async def _call(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> ServiceAnswer:
        work = Deferred.fromCoroutine(self._exchange(method, url, body, headers))
        work.addTimeout(self._seconds, self._clock)
        try:
            return await work
        except PKIError:
            raise
        except Exception as fault:  # noqa: BLE001  whatever a network can do
            name = type(fault).__name__
            raise unavailable(f"{method} {_place(url)}: {name} {fault}") from None

    async def _exchange(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> ServiceAnswer:
        given: dict[bytes | str, list[bytes | str]] = {
            name: [value] for name, value in headers.items()
        }
        response = await self._client.request(
            method,
            url,
            data=body,
            headers=given,
            allow_redirects=False,
            unbuffered=True,
        )
        pieces: list[bytes] = []

        def collect(octets: bytes) -> None:
            pieces.append(octets)
            if sum(map(len, pieces)) > MAX_ANSWER_OCTETS:
                raise TooMuchError

        await response.collect(collect)
        return ServiceAnswer(response.code, _decoded(b"".join(pieces)))


def _decoded(octets: bytes) -> JSON:
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _place(url: str) -> str:
    """A URL without its query, which may hold what is not for logs."""
    return url.partition("?")[0]
