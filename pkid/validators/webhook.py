"""A web service of the operator's own that judges challenges.

One POST of JSON for each of three events::

    {"event": "validate", "time": "2026-11-23T12:00:00+00:00", "alias": "phones",
     "peer": "192.0.2.7", "transaction_id": "...", "challenge": "...",
     "request": "PKCS #10, base64"}                          -> {"allow": true}
                                            or {"allow": false, "reason": "..."}
    {"event": "issued", ..., "certificate": "base64", "issuer": "base64"}  -> any 2xx
    {"event": "failed", ..., "error": "..."}                 -> any 2xx

With a secret the body is signed: ``X-Pkid-Signature: sha256=<HMAC, hexadecimal>``.
Only ``allow`` that is exactly true is a yes. Jamf, Kandji, Mosyle, Workspace ONE and
what else knows its challenges itself stand behind such a service.

**Source:** security requirement SCEP-51.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Final

from pkid.engine.ports import Clock
from pkid.engine.validation import ChallengeQuestion
from pkid.errors import ErrorCode, PKIError
from pkid.validators.calls import JSON, ServiceCalls, unavailable

SIGNATURE_HEADER: Final = "X-Pkid-Signature"
MAX_REASON: Final = 200


class WebhookValidator:
    """One such service.

    :param secret: signs what is sent; b"" leaves it unsigned.
    """

    def __init__(
        self, name: str, url: str, *, secret: bytes, calls: ServiceCalls, clock: Clock
    ) -> None:
        self._name = name
        self._url = url
        self._secret = secret
        self._calls = calls
        self._clock = clock

    @property
    def name(self) -> str:
        """As configured."""
        return self._name

    async def validate(self, question: ChallengeQuestion) -> None:
        """Ask whether the challenge is good for this request.

        :raises PKIError: ``NOT_AUTHORIZED`` for a plain no; ``UNAVAILABLE`` for
            anything that is neither yes nor no.
        """
        answer = await self._tell("validate", question, {})
        allow = answer.get("allow")
        if allow is True:
            return
        if allow is False:
            reason = str(answer.get("reason", "no"))[:MAX_REASON]
            raise PKIError(ErrorCode.NOT_AUTHORIZED, reason)
        raise unavailable(f"{self._name} answered without allow")

    async def issued(
        self, question: ChallengeQuestion, certificate: bytes, issuer: bytes
    ) -> None:
        """Tell that the certificate was issued."""
        more = {"certificate": _base64(certificate), "issuer": _base64(issuer)}
        await self._tell("issued", question, more)

    async def failed(self, question: ChallengeQuestion, error: PKIError) -> None:
        """Tell that the request was refused after its challenge was found good."""
        await self._tell("failed", question, {"error": error.detail})

    async def _tell(self, event: str, question: ChallengeQuestion, more: JSON) -> JSON:
        body = json.dumps(
            {
                "event": event,
                "time": self._clock.now().isoformat(),
                "alias": question.alias,
                "peer": question.peer,
                "transaction_id": question.transaction,
                "challenge": question.challenge,
                "request": _base64(question.request),
                **more,
            }
        ).encode()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            digest = hmac.new(self._secret, body, "sha256").hexdigest()
            headers[SIGNATURE_HEADER] = f"sha256={digest}"
        answer = await self._calls.post(self._url, body, headers)
        if not 200 <= answer.status < 300:
            raise unavailable(f"{self._name} answered {event} with {answer.status}")
        return answer.body


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")
