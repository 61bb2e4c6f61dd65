"""Microsoft Intune: challenges that only Intune can read.

Intune puts an encrypted blob into the device's request. It is judged by a service
whose place is asked of Microsoft Graph, and which is told what became of the request::

    POST login/{tenant}/oauth2/v2.0/token     two tokens: for Graph, for Intune
    GET  graph/v1.0/servicePrincipals/appId=.../endpoints   where the service is
    POST service/ScepActions/validateRequest        {"code": "Success"}
    POST service/ScepActions/successNotification, .../failureNotification

Tokens are kept until shortly before their end, the service's place for an hour.

**Source:** Microsoft, "Use APIs to add third-party CAs for SCEP to Intune", and the
API version 2018-02-20 of its published library.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final
from urllib.parse import quote, urlencode

from pkid.crypto.certificates import Certificate
from pkid.engine.ports import Clock
from pkid.engine.validation import ChallengeQuestion
from pkid.errors import ErrorCode, PKIError
from pkid.validators.calls import JSON, ServiceAnswer, ServiceCalls, unavailable

API_VERSION: Final = "2018-02-20"
INTUNE: Final = "0000000a-0000-0000-c000-000000000000"
SERVICE: Final = "ScepRequestValidationFEService"
GRAPH_SCOPE: Final = "https://graph.microsoft.com/.default"
# With two slashes, as Microsoft's own library writes it.
INTUNE_SCOPE: Final = "https://api.manage.microsoft.com//.default"
CALLER: Final = "pkid"
#: Tokens are renewed so many seconds before they end.
TOKEN_MARGIN: Final = 300.0
PLACE_PERIOD: Final = 3600.0
#: HRESULT of a failure without a number of its own (E_FAIL), as signed 32 bits.
E_FAIL: Final = -2147467259
_UNAUTHORIZED: Final = 401
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class IntuneApplication:
    """Our registration at a tenant.

    :ivar secret: client secret of the application.
    """

    tenant: str
    application: str
    secret: str = field(repr=False)
    login_url: str = "https://login.microsoftonline.com"
    graph_url: str = "https://graph.microsoft.com"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Something that is good until a moment of the monotonic clock."""

    value: str = field(repr=False)
    until: float


class IntuneValidator:
    """Asks Intune."""

    def __init__(
        self,
        name: str,
        application: IntuneApplication,
        *,
        calls: ServiceCalls,
        clock: Clock,
    ) -> None:
        self._name = name
        self._application = application
        self._calls = calls
        self._clock = clock
        self._tokens: dict[str, _Kept] = {}
        self._place: _Kept | None = None

    @property
    def name(self) -> str:
        """As configured."""
        return self._name

    async def validate(self, question: ChallengeQuestion) -> None:
        """Ask whether Intune made this challenge for this request.

        :raises PKIError: ``NOT_AUTHORIZED`` when it says no, ``UNAVAILABLE``.
        """
        answer = await self._act("validateRequest", {"request": _request(question)})
        code = answer.get("code")
        if code == "Success":
            return
        if isinstance(code, str) and code:
            words = str(answer.get("errorDescription", ""))[:200]
            raise PKIError(ErrorCode.NOT_AUTHORIZED, f"{code} {words}".strip())
        raise unavailable(f"{self._name} answered without code")

    async def issued(
        self, question: ChallengeQuestion, certificate: bytes, issuer: bytes
    ) -> None:
        """Tell that the certificate was issued.

        :raises PKIError: ``UNAVAILABLE``.
        """
        read = Certificate.decode(certificate)
        thumbprint = hashlib.sha1(certificate, usedforsecurity=False).hexdigest()
        authority = Certificate.decode(issuer).subject.text()
        notification = {
            **_request(question),
            "certificateThumbprint": thumbprint.upper(),
            "certificateSerialNumber": f"{read.serial:x}".upper(),
            "certificateExpirationDateUtc": read.not_after.astimezone(UTC).strftime(
                "%Y-%m-%dT%H:%M:%S.000Z"
            ),
            "issuingCertificateAuthority": authority,
            "caConfiguration": "",
            "certificateAuthority": authority,
        }
        await self._act("successNotification", {"notification": notification})

    async def failed(self, question: ChallengeQuestion, error: PKIError) -> None:
        """Tell that the request was refused after its challenge was found good.

        :raises PKIError: ``UNAVAILABLE``.
        """
        notification = {
            **_request(question),
            "hResult": E_FAIL,
            "errorDescription": error.detail,
        }
        await self._act("failureNotification", {"notification": notification})

    # --- calls -------------------------------------------------------------------

    async def _act(self, action: str, body: JSON) -> JSON:
        url = f"{await self._service()}/ScepActions/{action}"
        octets = json.dumps(body).encode()
        answer = await self._authorized(INTUNE_SCOPE, url, octets)
        if answer.status != _OK:
            # The service may have moved: ask for its place the next time.
            self._place = None
            raise unavailable(f"{self._name}: {action} was answered {answer.status}")
        return answer.body

    async def _service(self) -> str:
        """Base URL of the service for this tenant."""
        if self._place is not None and self._place.until > self._clock.monotonic():
            return self._place.value
        base = self._application.graph_url.rstrip("/")
        url = f"{base}/v1.0/servicePrincipals/appId={INTUNE}/endpoints"
        answer = await self._authorized(GRAPH_SCOPE, url, None)
        found = answer.body.get("value")
        for one in found if isinstance(found, list) else []:
            if isinstance(one, dict) and one.get("providerName") == SERVICE:
                place = str(one.get("uri", "")).rstrip("/")
                until = self._clock.monotonic() + PLACE_PERIOD
                self._place = _Kept(place, until)
                return place
        raise unavailable(
            f"{self._name}: Graph ({answer.status}) names no {SERVICE}: see the"
            " application's permissions"
        )

    async def _authorized(
        self, scope: str, url: str, body: bytes | None
    ) -> ServiceAnswer:
        """One call with a token; with a fresh one when the kept one is not liked."""
        answer = await self._with_token(scope, url, body)
        if answer.status == _UNAUTHORIZED:
            del self._tokens[scope]
            answer = await self._with_token(scope, url, body)
        return answer

    async def _with_token(
        self, scope: str, url: str, body: bytes | None
    ) -> ServiceAnswer:
        headers = {
            "Authorization": f"Bearer {await self._token(scope)}",
            "Content-Type": "application/json",
            "api-version": API_VERSION,
        }
        if body is None:
            return await self._calls.get(url, headers)
        return await self._calls.post(url, body, headers)

    async def _token(self, scope: str) -> str:
        kept = self._tokens.get(scope)
        if kept is not None and kept.until > self._clock.monotonic():
            return kept.value
        application = self._application
        base = application.login_url.rstrip("/")
        form = {
            "grant_type": "client_credentials",
            "client_id": application.application,
            "client_secret": application.secret,
            "scope": scope,
        }
        answer = await self._calls.post(
            f"{base}/{quote(application.tenant, safe='')}/oauth2/v2.0/token",
            urlencode(form).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        token = _text(answer.body, "access_token")
        if answer.status != _OK or not token:
            why = _text(answer.body, "error")
            raise unavailable(f"{self._name}: no token ({answer.status} {why})")
        seconds = answer.body.get("expires_in", 0)
        lifetime = float(seconds) if isinstance(seconds, int) else 0.0
        until = self._clock.monotonic() + max(0.0, lifetime - TOKEN_MARGIN)
        self._tokens[scope] = _Kept(token, until)
        return token


def _text(body: JSON, name: str) -> str:
    found = body.get(name)
    return found if isinstance(found, str) else ""


def _request(question: ChallengeQuestion) -> Mapping[str, str]:
    return {
        "transactionId": question.transaction,
        "certificateRequest": base64.b64encode(question.request).decode("ascii"),
        "callerInfo": CALLER,
    }
