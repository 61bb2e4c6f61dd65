"""EST's listener: what of the TLS connection goes with a request."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from pkid.responders.base import Peer
from pkid.transports.est import ESTFront
from pkid.transports.limits import Admission, Limits
from pkid.transports.site import Site, est_routes
from pkid.transports.tls import TLSContext, TLSListenerFactory
from tests.transports.tlsclient import Made, TLSClient, client_context, make
from tests.transports.wires import NOW, Recorder, connect, hang_up, responses

ROOT = make("root")
SERVER = make("ca.example", ROOT)
MIDDLE = make("middle", ROOT)
DEVICE = make("device", MIDDLE)
GET = b"GET /.well-known/est/cacerts HTTP/1.1\r\nHost: ca.example\r\n\r\n"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


class Served:
    """An EST listener whose responder remembers."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.recorder = Recorder()
        site = Site({"est": self.recorder}, est_routes())
        admission = Admission(self.clock, Limits())
        front = ESTFront(site, now=lambda: NOW, admission=admission)
        self.tls = TLSContext(SERVER.credentials, full_handshakes=True, **options)
        self.factory = TLSListenerFactory(self.tls, front, self.clock)

    def connect(
        self, context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> TLSClient:
        return TLSClient(self.factory, self.clock, context, session=session).pump()

    def ask(self, client: TLSClient) -> Peer:
        """What the responder is told of the peer."""
        (response,) = responses(client.send(GET).received)
        assert response.status == 200
        client.received = b""
        return self.recorder.exchanges[-1].peer


def with_certificate(context: ssl.SSLContext, made: Made, folder: Any) -> None:
    path = folder / "own.pem"
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(key + made.credentials.chain_pem)
    context.load_cert_chain(path)


@pytest.mark.requirement("EST-22", "EST-48")
def test_under_tls_1_2_the_binding_is_tls_unique() -> None:
    served = Served()
    client = served.connect(client_context(version=V12))
    unique = client.tls.get_channel_binding("tls-unique")
    assert unique is not None
    assert unique in served.ask(client).channel_bindings
    other = served.connect(client_context(version=V12))
    assert unique not in served.ask(other).channel_bindings


@pytest.mark.requirement("EST-23", "EST-48")
@pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION])
def test_the_exporters_value_is_a_binding_under_both_versions(version: int) -> None:
    served = Served()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    near = SSL.Connection(context, None)
    near.set_connect_state()
    from pkid.transports.est import channel_bindings

    far = served.tls.serverConnectionForTLS(None)  # type: ignore[arg-type]
    far.set_accept_state()
    for _ in range(4):
        for end, other in ((near, far), (far, near)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                other.bio_write(end.bio_read(65536))
    found = channel_bindings(far)
    label = b"EXPORTER-Channel-Binding"
    assert near.export_keying_material(label, 32, b"") in found
    # A Finished of TLS 1.3 (48 octets) is none: tls-unique is not defined there.
    assert {len(one) for one in found} == (
        {32} if version == SSL.TLS1_3_VERSION else {12, 32}
    )


@pytest.mark.requirement("EST-48")
def test_tls_1_2_is_never_resumed_and_tls_1_3_is_with_a_binding_of_its_own() -> None:
    served = Served()
    for version, resumes in ((V12, False), (V13, True)):
        context = client_context(version=version)
        first = served.connect(context)
        session = first.tls.session
        one = served.ask(first)
        second = served.connect(context, session)
        assert second.established
        assert second.tls.session_reused == resumes
        assert not set(one.channel_bindings) & set(served.ask(second).channel_bindings)


@pytest.mark.requirement("EST-46", "EST-47")
@pytest.mark.parametrize("version", [V12, V13])
def test_any_certificate_is_passed_on_with_its_chain(
    version: ssl.TLSVersion, tmp_path: Any
) -> None:
    served = Served()
    context = client_context(version=version)
    assert served.ask(served.connect(context)).certificate is None
    expired = make("old", MIDDLE, days=-1)
    for made in (DEVICE, expired, make("self-signed")):
        context = client_context(version=version)
        with_certificate(context, made, tmp_path)
        client = served.connect(context)
        peer = served.ask(client)
        assert peer.certificate == made.der
        above = [one.public_bytes(Encoding.DER) for one in made.above]
        assert list(peer.chain) == above


@pytest.mark.requirement("EST-47")
def test_a_handshake_that_fails_is_logged_with_the_peers_address() -> None:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        served = Served()
        old = served.connect(client_context(version=ssl.TLSVersion.TLSv1_1))
        assert not old.established
        hang_up(old.wire)
        wire = connect(served.factory, "198.51.100.9")
        wire.protocol.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        hang_up(wire)
    finally:
        globalLogPublisher.removeObserver(events.append)
    told = {one["peer"]: one["cause"] for one in events if "cause" in one}
    assert "unsupported protocol" in told["192.0.2.7"]
    assert "http request" in told["198.51.100.9"]


@pytest.mark.requirement("SEC-33", "EST-48")
def test_on_a_resumed_session_the_certificate_is_known_still(tmp_path: Any) -> None:
    served = Served()
    context = client_context(version=V13)
    with_certificate(context, DEVICE, tmp_path)
    first = served.connect(context)
    served.ask(first)
    second = served.connect(context, first.tls.session)
    assert second.tls.session_reused
    assert served.ask(second).certificate == DEVICE.der


@pytest.mark.requirement("EST-49")
def test_no_names_of_authorities_are_sent_so_any_device_can_choose() -> None:
    served = Served()
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    near = SSL.Connection(context, None)
    near.set_connect_state()
    far = served.tls.serverConnectionForTLS(None)  # type: ignore[arg-type]
    far.set_accept_state()
    with pytest.raises(SSL.WantReadError):
        near.do_handshake()
    far.bio_write(near.bio_read(65536))
    with pytest.raises(SSL.WantReadError):
        far.do_handshake()
    near.bio_write(far.bio_read(65536))
    near.do_handshake()
    assert near.get_client_ca_list() == []


@pytest.mark.requirement("EST-01", "EST-06")
def test_versions_and_protocols_of_the_listener() -> None:
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        assert not Served().connect(client_context(version=version)).established
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = Served().connect(context)
    assert client.tls.selected_alpn_protocol() == "http/1.1"
    only = client_context()
    only.set_alpn_protocols(["h2"])
    assert not Served().connect(only).established


@pytest.mark.requirement("EST-23")
def test_a_listener_may_be_held_to_tls_1_2() -> None:
    served = Served(newest="1.2")
    assert served.connect(client_context()).tls.version() == "TLSv1.2"
    assert not served.connect(client_context(version=V13)).established


@pytest.mark.requirement("EST-04")
def test_several_requests_share_a_connection_and_its_certificate(
    tmp_path: Any,
) -> None:
    served = Served()
    context = client_context()
    with_certificate(context, DEVICE, tmp_path)
    client = served.connect(context)
    peers = [served.ask(client) for _ in range(3)]
    assert {one.certificate for one in peers} == {DEVICE.der}
    assert len({one.channel_bindings for one in peers}) == 1


@pytest.mark.requirement("EST-02", "EST-03")
@pytest.mark.parametrize(
    ("path", "method", "found"),
    [
        ("/.well-known/est/cacerts", "GET", ("default", "cacerts")),
        ("/.well-known/est/lab/cacerts", "GET", ("lab", "cacerts")),
        ("/.well-known/est/l%61b/csrattrs", "GET", ("lab", "csrattrs")),
        ("/.well-known/est/lab/simplereenroll", "POST", ("lab", "simplereenroll")),
        ("/.well-known/est/fullcmc", "POST", ("default", "fullcmc")),
        ("/.well-known/est/cacerts/cacerts", "GET", None),
        ("/.well-known/est/lab", "GET", None),
        ("/.well-known/est/l%2561b/cacerts", "GET", None),
        ("/.well-known/est/../est/cacerts", "GET", None),
        (f"/.well-known/est/{'a' * 65}/cacerts", "GET", None),
        ("/.well-known/est/lab/firmware", "GET", None),
    ],
)
def test_paths_with_and_without_a_label(
    path: str, method: str, found: tuple[str, str] | None
) -> None:
    target = Site({"est": Recorder()}, est_routes()).find(path)
    assert (target and (target.alias, target.operation)) == found
    if target is not None:
        assert target.route.takes(method)
        assert not target.route.takes("PUT")


@pytest.mark.requirement("EST-05")
def test_bodies_are_bounded_more_for_cmc() -> None:
    site = Site({"est": Recorder()}, est_routes())
    limits = {}
    for operation in ("simpleenroll", "fullcmc", "cacerts"):
        target = site.find(f"/.well-known/est/{operation}")
        assert target is not None
        limits[operation] = target.route.body_limit
    assert limits == {"simpleenroll": 65536, "fullcmc": 262144, "cacerts": 0}


@pytest.mark.requirement("EST-15")
def test_a_renewed_certificate_serves_the_next_connection_and_disturbs_none() -> None:
    served = Served()
    client = served.connect(client_context())
    old = client.tls.getpeercert(binary_form=True)
    renewed = make("ca.example", ROOT)
    served.tls.replace(renewed.credentials)
    assert served.ask(client)
    next_client = served.connect(client_context())
    assert next_client.tls.getpeercert(binary_form=True) == renewed.der != old
    other = make("from another PKI")
    served.tls.replace(other.credentials)
    found = served.connect(client_context()).tls.getpeercert(binary_form=True)
    assert found == other.der
