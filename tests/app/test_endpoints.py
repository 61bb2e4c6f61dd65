from __future__ import annotations

import pytest
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from pkid.app.endpoints import decode_endpoint
from pkid.app.kinds import Refused

LOOPBACK = [
    "tcp:8829:interface=127.0.0.1",
    "tcp:port=0:interface=localhost",
    "tcp:8080:interface=127.9.9.9:backlog=100",
    r"tcp6:8080:interface=\:\:1",
    "unix:/run/pkid.sock",
    "unix:address=/run/pkid.sock:mode=600",
]
BEYOND = [
    "tcp:8829",
    "tcp:8829:interface=0.0.0.0",
    "tcp:8829:interface=192.0.2.1",
    "tcp6:8829",
    r"tcp6:8829:interface=\:\:",
    "systemd:domain=INET:name=cmp",
    "systemd:domain=UNIX:index=0",
]
BROKEN = [
    "",
    "tcp",
    "tcp:",
    "tcp:http",
    "tcp:70000",
    "tcp:-1",
    "tcp:8080:interface=example.com",
    "tcp:8080:interface=2001:db8::1",
    r"tcp:8080:interface=2001\:db8\:\:1",
    "tcp:8080:127.0.0.1",
    "tcp:8080:interfaces=127.0.0.1",
    "udp:8080",
    "ssl:8443",
    "8080",
    "unix:",
    "systemd:domain=INET",
    "systemd:domain=INET:name=a:index=1",
    "systemd:name=a",
    "systemd:domain=IPX:name=a",
]


@pytest.mark.parametrize("text", LOOPBACK)
def test_loopback_and_local_sockets_are_not_beyond_loopback(text: str) -> None:
    assert not decode_endpoint(text).beyond_loopback


@pytest.mark.parametrize("text", BEYOND)
def test_everything_else_is_beyond_loopback(text: str) -> None:
    assert decode_endpoint(text).beyond_loopback


@pytest.mark.parametrize(
    ("text", "listens"),
    [
        ("tcp:8829:interface=127.0.0.1", 1024),
        ("tcp:8829:backlog=7", 7),
        (r"tcp6:8829:interface=\:\:1", 1024),
    ],
)
def test_a_thousand_may_connect_at_once_unless_the_text_says_otherwise(
    text: str, listens: int
) -> None:
    reactor = MemoryReactorClock()
    endpoint = serverFromString(reactor, decode_endpoint(text).listening_text)
    endpoint.listen(Factory())
    ((_port, _factory, backlog, _interface),) = reactor.tcpServers
    assert backlog == listens


def test_an_inherited_socket_keeps_its_backlog() -> None:
    text = "systemd:domain=INET:name=cmp"
    assert decode_endpoint(text).listening_text == text


@pytest.mark.parametrize("text", BROKEN)
def test_broken_endpoints_are_refused_with_a_reason(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        decode_endpoint(text)
    assert str(refusal.value)


@pytest.mark.parametrize(
    "text", [text for text in LOOPBACK + BEYOND if not text.startswith("systemd")]
)
def test_what_is_accepted_twisted_accepts(text: str) -> None:
    assert serverFromString(MemoryReactorClock(), text) is not None


@pytest.mark.parametrize(
    ("text", "address", "moved"),
    [
        ("tcp:8080:interface=127.0.0.1", "0.0.0.0", "tcp:8080:interface=0.0.0.0"),
        ("tcp:8080", "::", r"tcp6:8080:interface=\:\:"),
        (
            r"tcp6:1:interface=\:\:1:backlog=5",
            "192.0.2.1",
            "tcp:1:interface=192.0.2.1:backlog=5",
        ),
    ],
)
def test_an_endpoint_moves_to_another_address(
    text: str, address: str, moved: str
) -> None:
    there = decode_endpoint(text).listening_on(address)
    assert there == moved
    assert decode_endpoint(there).arguments["interface"] == address
