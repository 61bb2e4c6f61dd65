"""Services that know challenges, as an agent that needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

Told = tuple[int, Any]


@dataclass
class Call:
    """One call as it was made."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        return {name: one[0] for name, one in parse_qs(self.body.decode()).items()}


class FakeResponse:
    """As much of a response as treq reads."""

    version = (b"HTTP", 1, 1)
    phrase = b"whatever"

    def __init__(self, code: int, body: bytes) -> None:
        self.code = code
        self.body = body
        self.length = len(body)
        self.headers = Headers({b"Content-Type": [b"application/json"]})
        self.request = None
        self.previousResponse = None

    def deliverBody(self, protocol: Any) -> None:
        protocol.dataReceived(self.body)
        from twisted.python.failure import Failure

        protocol.connectionLost(Failure(ResponseDone()))

    def setPreviousResponse(self, response: Any) -> None:
        self.previousResponse = response


class Consumer:
    """Takes what a body producer writes."""

    def __init__(self) -> None:
        self.octets = b""

    def write(self, octets: bytes) -> None:
        self.octets += octets

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass


@implementer(IAgent)
@dataclass
class FakeAgent:
    """Answers what ``answer`` says; None never answers, an exception is raised."""

    answer: Callable[[Call], Any]
    calls: list[Call] = field(default_factory=list)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,
    ) -> Deferred[Any]:
        consumer = Consumer()
        if bodyProducer is not None:
            assert IBodyProducer.providedBy(bodyProducer)
            _produce(bodyProducer, consumer)
        found = {
            name.decode().lower(): values[0].decode()
            for name, values in (headers or Headers()).getAllRawHeaders()
        }
        call = Call(method.decode(), uri.decode(), found, consumer.octets)
        self.calls.append(call)
        told = self.answer(call)
        if told is None:
            return Deferred()
        if isinstance(told, Exception):
            return fail(told)
        status, body = told
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        return succeed(FakeResponse(status, octets))


def _produce(producer: Any, consumer: Consumer) -> None:
    """Write a whole body at once: treq's producers hold a file."""
    file = getattr(producer, "_inputFile", None)
    if file is not None:
        consumer.write(file.read())
        return
    producer.startProducing(consumer)


REFUSED = Refused()


@dataclass
class FakeIntune:
    """Microsoft's sign-in, Graph and the SCEP service, by its published library."""

    code: str = "Success"
    secret: str = "s3cr3t"
    lifetime: int = 3600
    tokens: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    published: bool = True
    actions: list[tuple[str, Any]] = field(default_factory=list)
    status: int = 200

    def __call__(self, call: Call) -> Told:
        if call.url == "https://login.test/contoso/oauth2/v2.0/token":
            return self._token(call)
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.valid:
            return 401, {"error": "unauthorized"}
        if call.url.startswith("https://graph.test/v1.0/servicePrincipals/appId="):
            return self._endpoints(token)
        assert call.url.startswith("https://fef.test/x/StatelessScep/ScepActions/")
        assert token.startswith("https://api.manage.microsoft.com//.default")
        assert call.headers["api-version"] == "2018-02-20"
        self.actions.append((call.url.rpartition("/")[2], call.json))
        return self.status, {"code": self.code, "errorDescription": "as told"}

    def _token(self, call: Call) -> Told:
        form = call.form
        assert form["grant_type"] == "client_credentials"
        assert form["client_id"] == "app"
        if form["client_secret"] != self.secret:
            return 401, {"error": "invalid_client"}
        token = f"{form['scope']} {len(self.tokens)}"
        self.tokens.append(token)
        self.valid.add(token)
        return 200, {"access_token": token, "expires_in": self.lifetime}

    def _endpoints(self, token: str) -> Told:
        assert token.startswith("https://graph.microsoft.com/.default")
        found = [{"providerName": "Other", "uri": "https://other.test"}]
        if self.published:
            place = "https://fef.test/x/StatelessScep/"
            found.append(
                {"providerName": "ScepRequestValidationFEService", "uri": place}
            )
        return 200, {"value": found}
