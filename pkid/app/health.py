"""``/livez`` and ``/readyz``: whether we run, and whether we can issue."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pkid.responders.base import Exchange, Reply

NO_STORE = (("Cache-Control", "no-store"),)


class OperationsResponder:
    """Answers what a load balancer or a supervisor asks.

    :param parts: gives whether each part works, by name.
    """

    def __init__(self, parts: Callable[[], Mapping[str, bool]]) -> None:
        self._parts = parts

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer ``livez`` and ``readyz``."""
        if exchange.operation == "livez":
            return Reply(body=b"ok\n", content_type="text/plain", headers=NO_STORE)
        parts = dict(self._parts())
        ready = all(parts.values())
        body = json.dumps({"ready": ready, "parts": parts}) + "\n"
        return Reply(
            status=200 if ready else 503,
            body=body.encode(),
            content_type="application/json",
            headers=NO_STORE,
        )
