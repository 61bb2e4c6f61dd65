"""TLS against the client of Python's standard library."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.task import Clock

from pkid.messages.cmp.framing import Framing, encode_request, encode_response
from pkid.transports.cmptcp import CMPTCPFactory
from pkid.transports.limits import Admission, Limits
from pkid.transports.tls import TLSContext, TLSCredentials, TLSListenerFactory
from tests.transports.tlsclient import Made, TLSClient, client_context, make
from tests.transports.wires import (
    NOW,
    Later,
    Recorder,
    connect,
    hang_up,
    http_front,
    post,
    responses,
)

ROOT = make("root")
SERVER = make("ca.example", ROOT)


def serve(
    responder: Any = None, *, made: Made = SERVER, limits: Limits | None = None
) -> tuple[TLSListenerFactory, Clock, TLSContext]:
    front, clock = http_front(responder or Recorder(), limits=limits)
    context = TLSContext(made.credentials)
    return TLSListenerFactory(context, front, clock), clock, context


def client(
    factory: TLSListenerFactory, clock: Clock, context: ssl.SSLContext | None = None
) -> TLSClient:
    return TLSClient(factory, clock, context).pump()


def test_request_over_tls_is_answered() -> None:
    factory, clock, _ = serve()
    connection = client(factory, clock).send(post(b"message"))
    (response,) = responses(connection.received)
    assert response.body == b"re:message"


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_ec_and_rsa_keys_serve_both_versions(key: Any, version: Any) -> None:
    factory, clock, _ = serve(made=make("ca.example", key=key))
    connection = client(factory, clock, client_context(version=version))
    assert connection.established
    assert connection.tls.version() == version.name.replace("_", ".")


def test_chain_is_sent_so_that_a_strict_client_is_content() -> None:
    factory, clock, _ = serve(made=make("ca.example", make("middle", ROOT)))
    context = ssl.create_default_context(
        cadata=ROOT.certificate.public_bytes(Encoding.PEM).decode()
    )
    context.check_hostname = False
    assert client(factory, clock, context).established


WEAK_CIPHERS = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-CCM8",
    "ECDHE-ECDSA-NULL-SHA",
    "AES128-GCM-SHA256",
    "AES256-SHA",
    "AECDH-AES128-SHA",
    "DHE-RSA-AES128-GCM-SHA256",
    "PSK-AES128-GCM-SHA256",
]


@pytest.mark.requirement("SEC-85")
def test_floor_ciphers_renegotiation_compression_and_ticket_keys() -> None:
    factory, clock, tls = serve()
    rsa_key = rsa.generate_private_key(65537, 2048)
    with_rsa = serve(made=make("ca.example", key=rsa_key))[:2]
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = client(factory, clock, client_context(version=version))
        assert not old.established
        assert old.failure is not None
    for ciphers in WEAK_CIPHERS:
        context = client_context(
            version=ssl.TLSVersion.TLSv1_2, ciphers=f"{ciphers}:@SECLEVEL=0"
        )
        assert not client(factory, clock, context).established
        assert not client(*with_rsa, context).established
    good = client(factory, clock)
    assert good.established
    assert good.tls.compression() is None
    assert renegotiation_is_refused(tls)
    context = client_context(version=ssl.TLSVersion.TLSv1_3)
    first = client(factory, clock, context)
    session = first.tls.session
    assert session is not None
    resumed = TLSClient(factory, clock, context, session=session).pump()
    assert resumed.tls.session_reused
    tls.rotate()
    anew = TLSClient(factory, clock, context, session=session).pump()
    assert anew.established
    assert not anew.tls.session_reused
    # 200 handshakes that never end, from many addresses, and one that does.
    halves = [connect(factory, f"198.51.100.{number}") for number in range(200)]
    for half in halves:
        half.protocol.dataReceived(b"\x16\x03\x01")
    assert responses(client(factory, clock).send(post()).received)[0].status == 200
    for _ in range(17):
        clock.advance(1)
    assert all(half.aborted for half in halves)


def renegotiation_is_refused(tls: TLSContext) -> bool:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    near, far = SSL.Connection(context, None), tls.serverConnectionForTLS(None)  # type: ignore[arg-type]
    near.set_connect_state()
    far.set_accept_state()

    def pump(*actions: Any) -> None:
        for _ in range(6):
            for end, other, action in (
                (near, far, actions[0]),
                (far, near, actions[1]),
            ):
                with contextlib.suppress(SSL.WantReadError):
                    action()
                with contextlib.suppress(SSL.WantReadError):
                    other.bio_write(end.bio_read(65536))

    pump(near.do_handshake, far.do_handshake)
    assert near.renegotiate()
    with pytest.raises(SSL.Error, match="renegotiation"):
        pump(near.do_handshake, lambda: far.recv(10))
    return far.total_renegotiations() == 0


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), ([], None)],
)
def test_http_1_1_is_chosen(offered: list[str], chosen: str | None) -> None:
    factory, clock, _ = serve()
    context = client_context()
    if offered:
        context.set_alpn_protocols(offered)
    connection = client(factory, clock, context)
    assert connection.established
    assert connection.tls.selected_alpn_protocol() == chosen


@pytest.mark.parametrize("offered", [["h2"], ["acme-tls/1"], ["h2", "coap"]])
def test_client_of_another_protocol_gets_no_session(offered: list[str]) -> None:
    responder = Recorder()
    factory, clock, _ = serve(responder)
    context = client_context()
    context.set_alpn_protocols(offered)
    connection = client(factory, clock, context)
    assert connection.failure is not None or connection.wire.closing
    assert not responder.exchanges


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    "made",
    [make("device", make("vendor")), make("self"), make("expired", ROOT, days=-5)],
)
def test_client_certificate_reaches_the_responder_whoever_issued_it(
    made: Made, version: Any, tmp_path: Path
) -> None:
    responder = Recorder()
    factory, clock, _ = serve(responder)
    context = client_context(version=version)
    offer(context, made.credentials, tmp_path)
    client(factory, clock, context).send(post())
    assert responder.exchanges[0].peer.certificate == made.der
    assert responder.exchanges[0].peer.address == "192.0.2.7"


def offer(context: ssl.SSLContext, credentials: TLSCredentials, folder: Path) -> None:
    file = folder / "client.pem"
    file.write_bytes(credentials.chain_pem + credentials.key_pem)
    context.load_cert_chain(file)


def test_client_certificate_survives_resumption(tmp_path: Path) -> None:
    responder = Recorder()
    factory, clock, _ = serve(responder)
    made = make("device")
    context = client_context(version=ssl.TLSVersion.TLSv1_3)
    offer(context, made.credentials, tmp_path)
    first = client(factory, clock, context).send(post())
    again = TLSClient(factory, clock, context, session=first.tls.session).pump()
    again.send(post())
    assert again.tls.session_reused
    assert responder.exchanges[1].peer.certificate == made.der


def test_no_client_certificate_is_needed() -> None:
    responder = Recorder()
    factory, clock, _ = serve(responder)
    client(factory, clock).send(post())
    assert responder.exchanges[0].peer.certificate is None


def test_credentials_are_exchanged_for_new_connections_only() -> None:
    factory, clock, context = serve()
    before = client(factory, clock)
    renewed = make("ca.example", ROOT)
    context.replace(renewed.credentials)
    after = client(factory, clock)
    assert certificate_of(before) == SERVER.der
    assert certificate_of(after) == renewed.der
    assert responses(before.send(post()).received)[0].status == 200


def certificate_of(connection: TLSClient) -> bytes | None:
    return connection.tls.getpeercert(binary_form=True)


@pytest.mark.parametrize(
    ("key_pem", "chain_pem"),
    [
        (make("other").credentials.key_pem, SERVER.credentials.chain_pem),
        (b"", SERVER.credentials.chain_pem),
        (SERVER.credentials.key_pem, b""),
        (SERVER.credentials.key_pem, SERVER.credentials.key_pem),
    ],
)
def test_credentials_that_do_not_fit_are_refused_and_the_old_ones_stay(
    key_pem: bytes, chain_pem: bytes
) -> None:
    factory, clock, context = serve()
    with pytest.raises(ValueError, match=r"TLS|PEM|key|certificate"):
        context.replace(TLSCredentials(key_pem=key_pem, chain_pem=chain_pem))
    context.rotate()
    assert certificate_of(client(factory, clock)) == SERVER.der


def test_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(SERVER.credentials)


def test_plain_http_to_a_tls_port_is_no_session() -> None:
    factory, clock, _ = serve()
    wire = connect(factory)
    wire.protocol.dataReceived(post())
    clock.advance(0)
    assert wire.closing


def test_connection_too_many_is_turned_away_before_tls() -> None:
    factory, _, _ = serve(limits=Limits(connections_per_address=1))
    wire = connect(factory)
    assert factory.buildProtocol(wire.getPeer()) is None


def test_deadlines_hold_inside_tls_and_the_refusal_is_readable() -> None:
    factory, clock, _ = serve()
    connection = client(factory, clock).send(b"POST /cmp/x HTTP/1.1\r\n")
    for _ in range(12):
        clock.advance(1)
    assert responses(connection.pump().received)[0].status == 408
    for _ in range(4):
        clock.advance(1)
    assert connection.wire.closing


def test_body_too_large_is_413_inside_tls() -> None:
    factory, clock, _ = serve()
    connection = client(factory, clock).send(post(b"x" * 262_145)[:100_000])
    assert responses(connection.received)[0].status == 413


def test_drain_waits_for_the_answer_inside_tls() -> None:
    responder = Later()
    factory, clock, _ = serve(responder)
    connection = client(factory, clock).send(post())
    done: list[None] = []
    factory.wrappedFactory.drain().addCallback(done.append)
    responder.answer_next()
    assert responses(connection.pump().received)[0].headers["Connection"] == "close"
    hang_up(connection.wire)
    assert done == [None]


@pytest.mark.requirement("CMP-170")
@pytest.mark.parametrize("framing", [Framing.RFC2510, Framing.TCP_DRAFT])
def test_cmp_records_inside_tls(framing: Framing, tmp_path: Path) -> None:
    responder = Recorder()
    clock = Clock()
    admission = Admission(clock, Limits(), has_room=lambda _: True)
    inner = CMPTCPFactory(responder, alias="rail", admission=admission)
    factory = TLSListenerFactory(TLSContext(SERVER.credentials), inner, clock)
    made = make("rbc")
    context = client_context()
    offer(context, made.credentials, tmp_path)
    connection = client(factory, clock, context)
    request = encode_request(framing, b"one") + encode_request(framing, b"two")
    connection.send(request[:3]).send(request[3:])
    assert connection.received == b"".join(
        encode_response(framing, body) for body in (b"re:one", b"re:two")
    )
    assert {one.peer.certificate for one in responder.exchanges} == {made.der}


def test_http_on_the_tcp_port_inside_tls(tmp_path: Path) -> None:
    responder = Recorder()
    front, clock = http_front(responder)
    admission = Admission(clock, Limits(), has_room=lambda _: True)
    http = type(front)(front.site, now=lambda: NOW, admission=admission)
    inner = CMPTCPFactory(responder, alias="rail", admission=admission, http=http)
    factory = TLSListenerFactory(TLSContext(SERVER.credentials), inner, clock)
    made = make("rbc")
    context = client_context()
    offer(context, made.credentials, tmp_path)
    connection = client(factory, clock, context).send(post(b"one"))
    for _ in range(20):
        clock.advance(1)
    connection.send(post(b"two")).send(b"nonsense\r\n\r\n")
    statuses = [response.status for response in responses(connection.received)]
    assert statuses == [200, 200, 400]
    assert {one.peer.certificate for one in responder.exchanges} == {made.der}
    assert admission.connections == 1
    hang_up(connection.wire)
    assert admission.connections == 0
