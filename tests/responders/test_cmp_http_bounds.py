"""The HTTP door of CMP with everything behind it: types, chunks, pipelines, size."""

from __future__ import annotations

import pytest

from pkid.messages.cmp.body import BodyType
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    Sent,
    cert_requests,
    message,
    new_key,
    signed_request,
)
from tests.responders.test_cmp_surprises import PATH, TYPE, front
from tests.transports.wires import Wire, connect, post, responses, send

LIMIT = 256 * 1024
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: ca.example\r\n{TYPE}\r\n".encode()


@pytest.fixture
def wire(desk: Desk) -> Wire:
    return connect(front(desk.responder))


def ir() -> Sent:
    return message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())


def chunked(octets: bytes, size: int) -> bytes:
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


@pytest.mark.requirement("SEC-13")
@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_message_in_chunks_is_answered_like_any(wire: Wire, size: int) -> None:
    sent = ir()
    send(wire, chunked(sent.octets, size), pieces=100)
    (response,) = responses(wire.value())
    assert response.status == 200
    answer = Answer.read(response.body)
    assert answer.certificate
    assert answer.header.transaction_id == sent.transaction_id


@pytest.mark.requirement("SEC-13", "CMP-156")
@pytest.mark.parametrize("in_chunks", [False, True])
def test_a_body_above_256_KiB_is_413_and_asks_nobody(
    desk: Desk, wire: Wire, in_chunks: bool
) -> None:
    octets = b"\x30" * (LIMIT + 1)
    send(wire, chunked(octets, 8192) if in_chunks else post(octets, PATH, "1.1", TYPE))
    (response,) = responses(wire.value())
    assert response.status == 413
    assert wire.closing
    assert desk.count() == 0


@pytest.mark.requirement("SEC-13")
def test_a_body_of_256_KiB_that_is_no_message_is_answered(wire: Wire) -> None:
    send(wire, chunked(b"\x30" * LIMIT, 8192))
    (response,) = responses(wire.value())
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/pkixcmp"
    assert not wire.closing


@pytest.mark.requirement("SEC-13")
@pytest.mark.parametrize("given", ["text/html", "application/json", "x" * 8000])
def test_another_media_type_is_415_before_the_message_is_read(
    desk: Desk, wire: Wire, given: str
) -> None:
    send(wire, post(ir().octets, PATH, "1.1", f"Content-Type: {given}"))
    (response,) = responses(wire.value())
    assert response.status == 415
    assert desk.count() == 0


@pytest.mark.requirement("SEC-13")
def test_pipelined_messages_are_answered_in_order(desk: Desk, wire: Wire) -> None:
    asked = [ir() for _ in range(20)]
    stream = b"".join(post(sent.octets, PATH, "1.1", TYPE) for sent in asked)
    send(wire, stream)
    answers = [Answer.read(response.body) for response in responses(wire.value())]
    assert [one.header.transaction_id for one in answers] == [
        sent.transaction_id for sent in asked
    ]
    assert all(one.certificate for one in answers)
    assert desk.count() == 20
