"""A relay carries messages as they are, and says so when it cannot."""

from __future__ import annotations

import pytest

from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange
from pkid.transports.cmprelay import MEDIA_TYPE, Relay
from tests.engine.world import result_of

MESSAGE = b"\x30\x03\x02\x01\x02"


class Server:
    """Says what it was told to say."""

    def __init__(self, said: bytes | PKIError) -> None:
        self.said = said
        self.asked: list[bytes] = []

    async def send(self, message: bytes) -> bytes:
        self.asked.append(message)
        if isinstance(self.said, PKIError):
            raise self.said
        return self.said


def ask(server: Server, content_type: str = MEDIA_TYPE) -> tuple[int, str, bytes]:
    exchange = Exchange(
        transport="http",
        alias="default",
        method="POST",
        headers={"content-type": content_type},
        body=MESSAGE,
    )
    reply = result_of(Relay(server).respond(exchange))
    return reply.status, reply.content_type, reply.body


@pytest.mark.parametrize("answer", [b"\x30\x00", b""], ids=["message", "nothing"])
def test_octets_pass_as_they_are(answer: bytes) -> None:
    server = Server(answer)
    assert ask(server) == (200, MEDIA_TYPE, answer)
    assert server.asked == [MESSAGE]


def test_a_server_out_of_reach_is_a_bad_gateway_with_the_reason() -> None:
    reason = "tcp://ca:829: refused"
    error = PKIError(ErrorCode.UNAVAILABLE, "out of reach", hint=reason)
    status, _, body = ask(Server(error))
    assert status == 502
    assert body == b"tcp://ca:829: refused\n"


def test_what_is_no_cmp_is_not_carried() -> None:
    server = Server(b"")
    assert ask(server, "application/json")[0] == 415
    assert server.asked == []
