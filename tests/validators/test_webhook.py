"""A service of the operator's own: only a plain yes is one."""

from __future__ import annotations

import base64
import hmac
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pkid.engine.validation import ChallengeQuestion
from pkid.errors import ErrorCode, PKIError
from pkid.validators.calls import MAX_ANSWER_OCTETS, ServiceCalls
from pkid.validators.webhook import WebhookValidator
from tests.engine.world import TurnedClock, result_of
from tests.validators.services import REFUSED, FakeAgent

QUESTION = ChallengeQuestion(
    transaction="tid",
    request=b"pkcs10",
    challenge="blob",
    alias="phones",
    peer="192.0.2.7",
)


def webhook(
    answer: Any, secret: bytes = b"key"
) -> tuple[WebhookValidator, FakeAgent, Clock]:
    agent = FakeAgent(answer if callable(answer) else lambda _: answer)
    clock = Clock()
    calls = ServiceCalls(agent, clock, 10.0)
    hook = WebhookValidator(
        "hook",
        "https://mdm.test/scep?k=1",
        secret=secret,
        calls=calls,
        clock=TurnedClock(),
    )
    return hook, agent, clock


def refusal(hook: WebhookValidator) -> PKIError:
    with pytest.raises(PKIError) as caught:
        result_of(hook.validate(QUESTION))
    return caught.value


@pytest.mark.requirement("SCEP-51")
def test_a_yes_is_a_yes_and_the_call_is_signed() -> None:
    hook, agent, _ = webhook((200, {"allow": True}))
    result_of(hook.validate(QUESTION))
    (call,) = agent.calls
    assert (call.method, call.url) == ("POST", "https://mdm.test/scep?k=1")
    told = call.json
    assert told["event"] == "validate"
    assert told["challenge"] == "blob"
    assert told["transaction_id"] == "tid"
    assert base64.b64decode(told["request"]) == b"pkcs10"
    digest = hmac.new(b"key", call.body, "sha256").hexdigest()
    assert call.headers["x-pkid-signature"] == f"sha256={digest}"


def test_without_a_secret_nothing_is_signed() -> None:
    hook, agent, _ = webhook((200, {"allow": True}), b"")
    result_of(hook.validate(QUESTION))
    assert "x-pkid-signature" not in agent.calls[0].headers


@pytest.mark.requirement("SCEP-51")
def test_a_no_is_a_no_with_its_reason() -> None:
    hook, _, _ = webhook((200, {"allow": False, "reason": "unknown device"}))
    error = refusal(hook)
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert error.detail == "unknown device"


@pytest.mark.requirement("SCEP-51")
@pytest.mark.parametrize(
    "answer",
    [
        (200, {}),
        (200, {"allow": "true"}),
        (200, {"allow": 1}),
        (200, []),
        (200, b"<html>"),
        (200, b""),
        (200, b"[" * 100_000),
        (200, b"x" * (MAX_ANSWER_OCTETS + 1)),
        (302, {"allow": True}),
        (401, {"allow": True}),
        (500, {"allow": True}),
        REFUSED,
    ],
    ids=[f"case {number}" for number in range(12)],
)
def test_whatever_is_neither_yes_nor_no_fails_closed(answer: Any) -> None:
    hook, _, _ = webhook(answer)
    error = refusal(hook)
    assert error.code is ErrorCode.UNAVAILABLE
    assert error.hint
    assert "k=1" not in error.hint


@pytest.mark.requirement("SCEP-51")
def test_no_answer_in_time_fails_closed() -> None:
    hook, _, clock = webhook(lambda _: None)
    work = Deferred.fromCoroutine(hook.validate(QUESTION))
    failures: list[Any] = []
    work.addErrback(failures.append)
    clock.advance(9.0)
    assert not failures
    clock.advance(2.0)
    assert failures[0].value.code is ErrorCode.UNAVAILABLE


@pytest.mark.requirement("SCEP-51")
def test_the_outcome_is_told() -> None:
    hook, agent, _ = webhook((204, b""))
    result_of(hook.issued(QUESTION, b"certificate", b"issuer"))
    error = PKIError(ErrorCode.BAD_TEMPLATE, "no such name", hint="not for them")
    result_of(hook.failed(QUESTION, error))
    issued, failed = (call.json for call in agent.calls)
    assert issued["event"] == "issued"
    assert base64.b64decode(issued["certificate"]) == b"certificate"
    assert (failed["event"], failed["error"]) == ("failed", "no such name")
    assert "not for them" not in agent.calls[1].body.decode()
