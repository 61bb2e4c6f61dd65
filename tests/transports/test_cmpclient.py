"""CMP toward another server: one exchange, its limits, and which server is asked."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionDone,
    ConnectionLost,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.framing import (
    Framing,
    encode_error,
    encode_nothing,
    encode_poll_rep,
    encode_request,
    encode_response,
)
from pkid.transports.cmpclient import (
    MAX_HEAD_OCTETS,
    CMPClient,
    OutgoingExchange,
    Patience,
    Target,
)

MESSAGE = b"\x30\x03\x02\x01\x07"
ANSWER = b"\x30\x03\x02\x01\x08"
HTTP = "http://ca.example/.well-known/cmp"
TCP = "tcp://ca.example:829"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkixcmp\r\n"


class Line(StringTransport):
    """The wire to one server, with the test at its other end."""

    protocol: OutgoingExchange
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose(ConnectionLost())

    def lose(self, reason: Exception) -> None:
        if self.protocol.transport is not None:
            self.protocol.connectionLost(Failure(reason))


class Network:
    """Endpoints in memory.

    :ivar refusing: URLs that nobody listens at.
    :ivar silent: URLs that connect to nothing, ever.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.asked: list[str] = []
        self.refusing: set[str] = set()
        self.silent: set[str] = set()

    def endpoint(self, target: Target) -> Any:
        network = self

        class Endpoint:
            def connect(self, factory: Any) -> Deferred[Any]:
                network.asked.append(target.url)
                if target.url in network.refusing:
                    return fail(ConnectError())
                if target.url in network.silent:
                    return Deferred()
                line = Line()
                line.protocol = factory.buildProtocol(None)
                network.lines.append(line)
                line.protocol.makeConnection(line)
                return succeed(line.protocol)

        return Endpoint()


class Setting:
    """A client, its clock and its network."""

    def __init__(self, *urls: str, **options: Any) -> None:
        self.clock = Clock()
        self.network = Network()
        self.client = CMPClient(
            urls, clock=self.clock, endpoints=self.network.endpoint, **options
        )

    def send(self) -> Sent:
        return Sent(Deferred.fromCoroutine(self.client.send(MESSAGE)))

    @property
    def line(self) -> Line:
        return self.network.lines[-1]

    def receive(self, octets: bytes) -> None:
        self.line.protocol.dataReceived(octets)


class Sent:
    """What became of a message."""

    def __init__(self, work: Deferred[bytes]) -> None:
        self.results: list[bytes | PKIError] = []
        work.addCallbacks(self.results.append, self._failed)

    def _failed(self, failure: Failure) -> None:
        failure.trap(PKIError)
        self.results.append(failure.value)  # type: ignore[arg-type] # trapped

    @property
    def refusal(self) -> PKIError:
        (result,) = self.results
        assert isinstance(result, PKIError)
        assert result.code is ErrorCode.UNAVAILABLE
        return result


def headed(body: bytes, *headers: bytes) -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return OK + length + b"".join(headers) + b"\r\n" + body


# --- URLs -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        ("http://ca.example", 80, "/"),
        ("https://ca.example/pkix/?a=b", 443, "/pkix/?a=b"),
        ("tcp://192.0.2.1", 829, ""),
        ("tls://[2001:db8::1]:8829", 8829, ""),
    ],
)
def test_a_URL_names_server_port_and_path(url: str, port: int, path: str) -> None:
    target = Target.decode(url)
    assert (target.port, target.path) == (port, path)


@pytest.mark.parametrize(
    "url",
    ["ftp://ca.example", "http://", "tcp://ca/x", "http://user@ca/", "http://ca:x/"],
)
def test_a_URL_that_is_none_of_ours_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - also urlsplit's own words
        Target.decode(url)


# --- HTTP -------------------------------------------------------------------------


def test_a_message_is_posted_as_old_servers_understand_it() -> None:
    setting = Setting(HTTP)
    setting.send()
    head, _, body = setting.line.value().partition(b"\r\n\r\n")
    assert head.splitlines()[:4] == [
        b"POST /.well-known/cmp HTTP/1.0",
        b"Host: ca.example:80",
        b"Content-Type: application/pkixcmp",
        b"Content-Length: 5",
    ]
    assert body == MESSAGE


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_answer_is_taken_however_it_is_cut(step: int) -> None:
    setting = Setting(HTTP)
    sent = setting.send()
    octets = headed(ANSWER)
    for start in range(0, len(octets), step):
        assert sent.results == []
        setting.receive(octets[start : start + step])
    assert sent.results == [ANSWER]
    assert setting.line.disconnecting


def test_an_answer_without_length_ends_with_its_connection() -> None:
    setting = Setting(HTTP)
    sent = setting.send()
    setting.receive(OK + b"\r\n" + ANSWER)
    assert sent.results == []
    setting.line.lose(ConnectionDone())
    assert sent.results == [ANSWER]


def test_a_CMP_error_under_an_HTTP_error_is_an_answer() -> None:
    setting = Setting(HTTP)
    sent = setting.send()
    setting.receive(headed(ANSWER).replace(b"200 OK", b"400 Bad Request"))
    assert sent.results == [ANSWER]


BROKEN: dict[str, bytes] = {
    "another protocol": b"SSH-2.0-x\r\n\r\n",
    "an HTTP error": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "chunks": headed(ANSWER, b"Transfer-Encoding: chunked\r\n"),
    "a length that is no number": OK + b"Content-Length: five\r\n\r\n",
    "a length beyond the limit": OK + b"Content-Length: 1048577\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_OCTETS,
    "an endless body": OK + b"\r\n" + b"x" * ((1 << 20) + 1),
}


@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_HTTP_answer_ends_the_exchange(octets: bytes) -> None:
    setting = Setting(HTTP)
    sent = setting.send()
    setting.receive(octets)
    assert sent.refusal.hint
    assert setting.line.aborted


def test_an_answer_that_is_cut_short_is_none() -> None:
    setting = Setting(HTTP)
    sent = setting.send()
    setting.receive(headed(ANSWER)[:-1])
    setting.line.lose(ConnectionDone())
    assert "the connection ended" in (sent.refusal.hint or "")


# --- TCP --------------------------------------------------------------------------

FRAMED = {"draft": Framing.TCP_DRAFT, "rfc2510": Framing.RFC2510, "der": Framing.BARE}


@pytest.mark.parametrize("name", FRAMED)
def test_a_record_goes_and_a_record_comes(name: str) -> None:
    setting = Setting(TCP, framing=name)
    sent = setting.send()
    framing = FRAMED[name]
    assert setting.line.value() == encode_request(framing, MESSAGE, close=True)
    setting.receive(encode_response(framing, ANSWER))
    assert sent.results == [ANSWER]


@pytest.mark.parametrize("name", ["draft", "rfc2510"])
def test_finRep_is_an_answer_of_no_octets(name: str) -> None:
    setting = Setting(TCP, framing=name)
    sent = setting.send()
    setting.receive(encode_nothing(FRAMED[name]))
    assert sent.results == [b""]


@pytest.mark.parametrize("name", ["draft", "rfc2510"])
def test_errorMsgRep_is_a_server_that_does_not_answer(name: str) -> None:
    setting = Setting(TCP, framing=name)
    sent = setting.send()
    from pkid.messages.cmp.framing import ErrorMessageCode

    code = ErrorMessageCode.GENERAL_SERVER_ERROR
    setting.receive(encode_error(FRAMED[name], code, "no\nroom"))
    assert "no\\nroom" in (sent.refusal.hint or "")


def test_a_polling_record_means_not_yet() -> None:
    setting = Setting(TCP)
    sent = setting.send()
    setting.receive(encode_poll_rep(Framing.TCP_DRAFT, 1, 2))
    assert "not ready" in (sent.refusal.hint or "")


def test_a_record_of_another_framing_ends_the_exchange() -> None:
    setting = Setting(TCP, framing="draft")
    sent = setting.send()
    setting.receive(encode_response(Framing.RFC2510, ANSWER))
    assert "broken" in (sent.refusal.hint or "")


# --- time -------------------------------------------------------------------------


def test_no_octet_that_arrives_prolongs_an_exchange() -> None:
    setting = Setting(HTTP, patience=Patience(timeout_seconds=10))
    sent = setting.send()
    for _ in range(9):
        setting.clock.advance(1)
        setting.receive(b"H")
    assert sent.results == []
    setting.clock.advance(1)
    assert "10 seconds" in (sent.refusal.hint or "")
    assert setting.line.aborted
    assert setting.clock.getDelayedCalls() == []


def test_connecting_has_the_same_deadline() -> None:
    setting = Setting(HTTP)
    setting.network.silent.add(HTTP)
    sent = setting.send()
    setting.clock.advance(10)
    assert sent.refusal
    assert setting.clock.getDelayedCalls() == []


# --- which server -----------------------------------------------------------------

FIRST, SECOND = "tcp://one.example", "http://two.example/"


def answered(setting: Setting, url: str) -> bool:
    sent = setting.send()
    if not url.startswith("tcp"):
        setting.receive(headed(ANSWER))
    else:
        setting.receive(encode_response(Framing.TCP_DRAFT, ANSWER))
    return sent.results == [ANSWER]


@pytest.mark.requirement("CMP-144")
def test_the_next_server_is_asked_when_one_does_not_answer() -> None:
    setting = Setting(FIRST, SECOND)
    setting.network.refusing.add(FIRST)
    assert answered(setting, SECOND)
    assert setting.network.asked == [FIRST, SECOND]


def test_a_server_that_failed_rests_longer_each_time() -> None:
    setting = Setting(FIRST, SECOND, patience=Patience(rest_seconds=5))
    setting.network.refusing.add(FIRST)
    for waits in (4.9, 0.2, 9.7, 0.4):
        answered(setting, SECOND)
        setting.clock.advance(waits)
    asked = [url for url in setting.network.asked if url == FIRST]
    assert len(asked) == 2


def test_a_server_that_is_back_is_preferred_again() -> None:
    setting = Setting(FIRST, SECOND)
    setting.network.refusing.add(FIRST)
    assert answered(setting, SECOND)
    setting.network.refusing.clear()
    setting.clock.advance(5)
    assert answered(setting, FIRST)


def test_when_all_rest_nobody_is_asked_and_the_time_is_told() -> None:
    setting = Setting(FIRST, SECOND)
    setting.network.refusing.update((FIRST, SECOND))
    assert setting.send().refusal.retry_after == 5
    setting.clock.advance(2)
    assert setting.send().refusal.retry_after == 3
    assert setting.network.asked == [FIRST, SECOND]


def test_a_rest_has_an_end() -> None:
    setting = Setting(FIRST, patience=Patience(most_rest_seconds=60))
    setting.network.refusing.add(FIRST)
    for _ in range(20):
        rest = setting.send().refusal.retry_after
        assert rest is not None
        setting.clock.advance(rest)
    assert rest == 60


# --- how many, and the end --------------------------------------------------------


def test_only_so_many_exchanges_are_open_at_a_time() -> None:
    setting = Setting(TCP, most_exchanges=2)
    sent = [setting.send() for _ in range(3)]
    assert len(setting.network.lines) == 2
    setting.receive(encode_response(Framing.TCP_DRAFT, ANSWER))
    assert len(setting.network.lines) == 3
    setting.receive(encode_response(Framing.TCP_DRAFT, ANSWER))
    assert [one.results for one in sent] == [[], [ANSWER], [ANSWER]]


def test_who_waits_for_a_turn_finds_a_server_resting() -> None:
    setting = Setting(TCP, most_exchanges=1)
    first, second = setting.send(), setting.send()
    setting.clock.advance(10)
    assert first.refusal
    assert second.refusal.retry_after
    assert setting.network.asked == [TCP]


def test_closing_ends_what_is_under_way() -> None:
    setting = Setting(TCP)
    sent = setting.send()
    setting.client.close()
    assert "stopping" in (sent.refusal.hint or "")
    assert setting.send().refusal
    assert len(setting.network.lines) == 1
    assert setting.clock.getDelayedCalls() == []
