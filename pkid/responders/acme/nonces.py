"""Anti-replay nonces that need no store: slot of time, chance, MAC.

Each is good once, within its slot of time or the next. The key is drawn at start: after
a restart old nonces are refused, and the refusal brings a fresh one.

**Source:** RFC 8555 section 6.5.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Final

from pkid.engine.ports import Clock
from pkid.errors import PKIError
from pkid.messages.jose import decode_base64url, encode_base64url
from pkid.responders.acme.failures import ProblemError

SLOT_SECONDS: Final = 1800
CHANCE_OCTETS: Final = 16
MAC_OCTETS: Final = 12
#: Used nonces that are remembered in one slot; the slot ends early when it is full.
MAX_USED: Final = 1_000_000


class Nonces:
    """Makes nonces and takes each back once."""

    def __init__(self, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._clock = clock
        self._random = random
        self._key = random(32)
        self._early = 0
        self._used: dict[int, set[bytes]] = {}

    def fresh(self) -> str:
        """A new nonce."""
        body = self._slot().to_bytes(6, "big") + self._random(CHANCE_OCTETS)
        return encode_base64url(body + self._mac(body))

    def consume(self, nonce: str | None) -> None:
        """Take a nonce back.

        :raises ProblemError: ``badNonce`` for one that is missing, unknown, used or
            old; ``malformed`` for one that is not base64url.
        """
        if nonce is None:
            raise _bad("the request has no nonce")
        octets = self._decoded(nonce)
        body, mac = octets[:-MAC_OCTETS], octets[-MAC_OCTETS:]
        if not hmac.compare_digest(self._mac(body), mac):
            raise _bad("the nonce is not one of this server")
        slot, now = int.from_bytes(body[:6], "big"), self._slot()
        if slot not in (now, now - 1):
            raise _bad("the nonce is too old")
        used = self._used.setdefault(slot, set())
        if body in used:
            raise _bad("the nonce was used before")
        used.add(body)
        if len(used) >= MAX_USED:
            self._early += 2
        for old in [one for one in self._used if one < now - 1]:
            del self._used[old]

    def _decoded(self, nonce: str) -> bytes:
        try:
            return decode_base64url(nonce)
        except PKIError:
            raise ProblemError("malformed", 400, "the nonce is not base64url") from None

    def _slot(self) -> int:
        return int(self._clock.now().timestamp()) // SLOT_SECONDS + self._early

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:MAC_OCTETS]


def _bad(detail: str) -> ProblemError:
    return ProblemError("badNonce", 400, detail)
