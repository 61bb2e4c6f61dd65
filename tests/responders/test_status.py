"""CRLs and CA certificates over HTTP."""

from __future__ import annotations

from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from cryptography import x509
from twisted.logger import LogLevel, capturedLogs

from pkid.errors import ErrorCode
from pkid.responders.base import Exchange, Reply
from pkid.responders.status.conditional import http_date
from pkid.responders.status.failures import STATUSES
from pkid.responders.status.responder import StatusResponder
from tests.engine.world import CMP, World, result_of
from tests.responders.desk import Desk


def get(world: World, operation: str, name: str, **headers: str) -> Reply:
    responder = StatusResponder(world.engine, world.clock)
    exchange = Exchange(
        transport="http",
        alias=name,
        operation=operation,
        method="GET",
        body=b"",
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )
    return result_of(responder.respond(exchange))


def header(reply: Reply, name: str) -> str:
    (found,) = [value for key, value in reply.headers if key == name]
    return found


@pytest.mark.requirement("ENG-31", "ENG-33")
def test_the_current_crl_is_served(desk: Desk) -> None:
    reply = get(desk.world, "crl", "issuing")
    record = result_of(desk.world.engine.latest_crl("issuing"))
    assert reply.status == 200
    assert reply.content_type == "application/pkix-crl"
    assert reply.body == record.der
    assert x509.load_der_x509_crl(reply.body).is_signature_valid(
        x509.load_der_x509_certificate(
            desk.world.engine.chain("issuing")[0]
        ).public_key()
    )
    modified = parsedate_to_datetime(header(reply, "Last-Modified"))
    assert modified == record.this_update
    assert header(reply, "Cache-Control") == "public, max-age=300"


@pytest.mark.requirement("ENG-33")
def test_the_certificate_of_a_ca_is_served(desk: Desk) -> None:
    for name in ("issuing", "root"):
        reply = get(desk.world, "certificate", name)
        assert reply.status == 200
        assert reply.content_type == "application/pkix-cert"
        assert reply.body == desk.world.engine.chain(name)[0]


@pytest.mark.requirement("ENG-31")
@pytest.mark.parametrize("operation", ["crl", "certificate"])
def test_what_a_client_has_already_is_not_sent_again(
    desk: Desk, operation: str
) -> None:
    first = get(desk.world, operation, "issuing")
    tag, modified = header(first, "ETag"), header(first, "Last-Modified")
    for condition in (
        {"if_none_match": tag},
        {"if_none_match": f'"another", W/{tag}'},
        {"if_none_match": "*"},
        {"if_modified_since": modified},
    ):
        reply = get(desk.world, operation, "issuing", **condition)
        assert reply.status == 304
        assert reply.body == b""
        assert header(reply, "ETag") == tag


@pytest.mark.parametrize(
    "condition",
    [
        {"if_none_match": '"another"'},
        {"if_modified_since": "nonsense"},
        {"if_modified_since": "Mon, 01 Jan 2001 00:00:00 GMT"},
        {
            "if_none_match": '"another"',
            "if_modified_since": "Mon, 01 Jan 2035 00:00:00 GMT",
        },
    ],
)
def test_what_a_client_lacks_is_sent(desk: Desk, condition: dict[str, Any]) -> None:
    assert get(desk.world, "crl", "issuing", **condition).status == 200


@pytest.mark.requirement("ENG-31")
def test_another_crl_has_another_tag(desk: Desk) -> None:
    before = header(get(desk.world, "crl", "issuing"), "ETag")
    desk.world.clock.advance(timedelta(minutes=1))
    result_of(desk.world.engine.issue_crl("issuing", "uid:0", CMP))
    after = get(desk.world, "crl", "issuing", if_none_match=before)
    assert after.status == 200
    assert header(after, "ETag") != before


@pytest.mark.requirement("ENG-31", "SEC-78")
def test_an_overdue_crl_is_503_and_an_alarm(desk: Desk) -> None:
    desk.world.clock.advance(timedelta(days=3))
    with capturedLogs() as events:
        reply = get(desk.world, "crl", "issuing")
    alarms = [event for event in events if event["log_level"] is LogLevel.critical]
    assert [event["authority"] for event in alarms] == ["issuing"]
    assert reply.status == 503
    assert header(reply, "Retry-After") == "60"


def test_caches_forget_a_crl_before_it_is_overdue(desk: Desk) -> None:
    record = result_of(desk.world.engine.latest_crl("issuing"))
    left = record.next_update - desk.world.clock.now()
    desk.world.clock.advance(left - timedelta(seconds=9))
    reply = get(desk.world, "crl", "issuing")
    assert header(reply, "Cache-Control") == "public, max-age=9"


@pytest.mark.parametrize(
    ("operation", "name"),
    [("crl", "nobody"), ("certificate", "nobody"), ("other", "issuing")],
)
def test_what_is_not_there_is_404(desk: Desk, operation: str, name: str) -> None:
    assert get(desk.world, operation, name).status == 404


def test_a_surprise_is_500_and_tells_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("path=/var/lib/secret")

    monkeypatch.setattr(desk.world.engine, "latest_crl", break_down)
    reply = get(desk.world, "crl", "issuing")
    assert reply.status == 500
    assert b"/var/lib" not in reply.body


def test_the_table_of_statuses_is_total() -> None:
    assert set(STATUSES) == set(ErrorCode)


def test_dates_are_written_as_http_wants_them(desk: Desk) -> None:
    assert http_date(desk.world.clock.now()) == "Mon, 23 Nov 2026 12:00:00 GMT"
