"""The log tells what happened and no secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import LogEvent, globalLogPublisher

from pkid.messages.cmp.body import BodyType
from pkid.responders.cmp.responder import CMPResponder
from tests.responders.desk import Desk
from tests.responders.peers import (
    SECRET,
    Answer,
    ByMAC,
    cert_requests,
    message,
    new_key,
    signed_request,
)


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []

    def observe(event: LogEvent) -> None:
        found.append(dict(event))

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


def lines(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if "transaction" in event]


@pytest.mark.requirement("CMP-194")
def test_an_exchange_is_one_line(desk: Desk, events: list[dict[str, Any]]) -> None:
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    answer = desk.ask(sent)
    (event,) = lines(events)
    assert sent.transaction_id is not None
    assert event["alias"] == "default"
    assert event["transport"] == "http"
    assert event["peer"] == "127.0.0.1"
    assert event["body"] == "ir"
    assert event["transaction"] == sent.transaction_id.hex()
    assert event["sender"] == "directory:"
    assert event["kid"] == "ref"
    assert event["status"] == "accepted"
    assert event["failure"] == ""
    serial = desk.record(answer.certificate).reference.serial
    assert event["serial"] == f"{serial:x}"


@pytest.mark.requirement("CMP-194")
def test_a_refusal_is_logged_with_its_cause_and_the_operators_hint(
    desk: Desk, events: list[dict[str, Any]]
) -> None:
    body = cert_requests(signed_request(new_key()))
    desk.reply(message(BodyType.IR, body, ByMAC(reference=b"nobody")).octets)
    (event,) = lines(events)
    assert event["failure"] == "BAD_MESSAGE_CHECK"
    assert "nobody" in event["hint"]
    assert event["log_level"].name == "info"


@pytest.mark.requirement("CMP-194")
def test_no_secret_and_no_message_is_in_the_log(
    desk: Desk, events: list[dict[str, Any]]
) -> None:
    body = cert_requests(signed_request(new_key()))
    for by in (ByMAC(), ByMAC(secret=b"a wrong guess at it"), desk.holder()):
        desk.reply(message(BodyType.IR, body, by).octets)
    desk.reply(b"nonsense")
    text = repr(events)
    assert SECRET.decode() not in text
    assert "a wrong guess" not in text
    assert "\\x30\\x82" not in text


def test_control_characters_from_outside_are_escaped(
    desk: Desk, events: list[dict[str, Any]]
) -> None:
    body = cert_requests(signed_request(new_key()))
    desk.reply(message(BodyType.IR, body, ByMAC(reference=b"a\nb\x1b[2J")).octets)
    (event,) = lines(events)
    assert event["kid"].isprintable()
    assert event["hint"].isprintable()


@pytest.mark.requirement("CMP-24")
def test_a_surprise_is_systemFailure_and_tells_nothing(
    desk: Desk, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("path=/var/lib/secret")

    monkeypatch.setattr(desk.world.engine, "enroll", break_down)
    answer = desk.enroll()
    assert answer.fail_info.name == "SYSTEM_FAILURE"
    assert answer.status.strings == ("internal error",)
    assert b"/var/lib" not in answer.octets
    assert any(event.get("log_failure") for event in events)
    assert not answer.is_signed


def test_without_a_signer_there_is_no_answer_but_503(desk: Desk) -> None:
    desk.world.engine._authorities._identities.clear()
    assert isinstance(desk.responder, CMPResponder)
    reply = desk.reply(b"nonsense")
    assert reply.status == 503
    assert reply.body == b""


def test_an_unreadable_message_is_logged_too(
    desk: Desk, events: list[dict[str, Any]]
) -> None:
    Answer.read(desk.reply(b"nonsense").body)
    (event,) = lines(events)
    assert event["body"] == "none"
    assert event["failure"] == "BAD_DATA_FORMAT"
