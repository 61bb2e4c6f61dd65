"""Public files posted to a web service: what it gets, and what becomes of a refusal."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from treq.client import HTTPClient
from treq.testing import RequestTraversalAgent, _SynchronousProducer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pkid.errors import ErrorCode, PKIError
from pkid.publishers.webhook import WebhookPublisher
from tests.engine.world import START, TurnedClock

SECRET = b"of both"
PATH = "crls/issuing.crl"


class Service(Resource):
    """Takes files, or answers as it is told."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.answer: bytes | int = b""

    def render_POST(self, request: Any) -> bytes | int:
        names = ("content-type", "x-pkid-path", "x-pkid-time", "x-pkid-signature")
        headers = {name: request.getHeader(name) or "" for name in names}
        self.taken.append((headers, request.content.read()))
        request.setResponseCode(self.status)
        if self.status == 307:
            request.setHeader(b"Location", b"http://elsewhere.example/")
        return self.answer


class Line:
    """A publisher and the service at its other end."""

    def __init__(self, secret: bytes = SECRET) -> None:
        self.service = Service()
        self.agent = RequestTraversalAgent(self.service)
        self.timer = Clock()
        self.publisher = WebhookPublisher(
            "http://hook.example/files?token=hidden",
            agent=self.agent,
            timer=self.timer,
            clock=TurnedClock(),
            seconds=10,
            secret=secret,
        )

        # What sends a body asks the reactor for turns; here it is sent at once.
        self.publisher._client = HTTPClient(
            self.agent, data_to_body_producer=_SynchronousProducer
        )

    def begin(self, octets: bytes = b"octets") -> list[Any]:
        results: list[Any] = []
        work = Deferred.fromCoroutine(self.publisher.put(PATH, octets))
        work.addBoth(results.append)
        self.agent.flush()
        return results

    def refusal(self) -> PKIError:
        (failure,) = self.begin()
        error = failure.value
        assert isinstance(error, PKIError)
        assert error.code is ErrorCode.UNAVAILABLE
        return error


@pytest.mark.requirement("ENG-34")
def test_a_file_is_posted_as_it_is_and_signed() -> None:
    line = Line()
    assert line.begin(b"\x30\x00") == [None]
    ((headers, octets),) = line.service.taken
    assert octets == b"\x30\x00"
    moment = str(int(START.timestamp()))
    signed = b"%b.%b.\x30\x00" % (moment.encode(), PATH.encode())
    digest = hmac.new(SECRET, signed, "sha256").hexdigest()
    assert headers == {
        "content-type": "application/pkix-crl",
        "x-pkid-path": PATH,
        "x-pkid-time": moment,
        "x-pkid-signature": f"sha256={digest}",
    }


def test_without_a_secret_nothing_is_signed() -> None:
    line = Line(secret=b"")
    assert line.begin() == [None]
    assert line.service.taken[0][0]["x-pkid-signature"] == ""


@pytest.mark.requirement("ENG-34")
@pytest.mark.parametrize("status", [307, 400, 404, 500, 503])
def test_what_is_not_taken_is_an_outage(status: int) -> None:
    line = Line()
    line.service.status = status
    error = line.refusal()
    assert error.hint == f"http://hook.example/files: status {status}"
    assert "hidden" not in f"{error.detail} {error.hint}"
    assert len(line.service.taken) == 1


def test_an_endless_answer_is_cut_off() -> None:
    line = Line()
    line.service.answer = b"x" * 70_000
    line.service.status = 200
    assert "TooMuch" in (line.refusal().hint or "")


@pytest.mark.requirement("ENG-34")
def test_a_service_that_is_silent_is_given_up() -> None:
    line = Line()
    line.service.answer = NOT_DONE_YET
    results = line.begin()
    assert results == []
    line.timer.advance(10)
    (failure,) = results
    assert failure.value.code is ErrorCode.UNAVAILABLE
