"""SCEP through the daemon's own HTTP: old versions, kept connections, limits, HTTPS."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from contextlib import closing

import pytest

from tests.support import scepclient
from tests.support.scepclient import Envelope, Message
from tests.support.scepdaemon import Place

pytestmark = pytest.mark.interop


def raw(place: Place, request: bytes) -> bytes:
    """What comes back until the daemon closes."""
    with socket.create_connection(place.daemon.http.address, 10) as connection:
        connection.settimeout(20)
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


def message(place: Place, name: str) -> bytes:
    key = scepclient.new_key()
    inner = scepclient.pkcs10(key, f"CN={name}", place.challenge)
    sent = Message(
        content=Envelope(recipient=place.speaker).encode(inner),
        key=key,
        certificate=scepclient.self_signed(key),
    )
    return sent.encode()


@pytest.mark.requirement("SCEP-03")
def test_http_1_0_is_answered_and_closed(scep_place: Place) -> None:
    octets = message(scep_place, f"old-{scep_place.kind}")
    head = b"POST /scep/default/pkiclient.exe?operation=PKIOperation HTTP/1.0\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(octets)
    received = raw(scep_place, head + octets)
    assert received.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"\r\nContent-Type: application/x-pki-message\r\n" in received
    assert b"\r\nContent-Length: " in received


@pytest.mark.requirement("SCEP-03", "SCEP-10")
def test_all_operations_go_over_one_connection(scep_place: Place) -> None:
    connection = http.client.HTTPConnection(*scep_place.daemon.http.address, timeout=20)
    types = {
        "GetCACaps": "text/plain",
        "GetCACert": "application/x-x509-ca-ra-cert",
        "GetCACertChain": "application/x-x509-ca-ra-cert-chain",
    }
    with closing(connection):
        for operation, content_type in types.items():
            connection.request("GET", f"/scep/default?operation={operation}")
            reply = connection.getresponse()
            octets = reply.read()
            assert reply.headers["Content-Type"] == content_type
            assert int(reply.headers["Content-Length"]) == len(octets)
            socket_of = connection.sock
        body = message(scep_place, f"kept-{scep_place.kind}")
        connection.request("POST", "/scep/default?operation=PKIOperation", body)
        reply = connection.getresponse()
        assert reply.read()
        assert reply.headers["Content-Type"] == "application/x-pki-message"
        assert connection.sock is socket_of


@pytest.mark.requirement("SCEP-06")
def test_a_long_line_works_and_a_longer_one_is_414(scep_place: Place) -> None:
    path = b"/scep/default?operation=PKIOperation&message="
    end = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    long = raw(scep_place, b"GET " + path + b"A" * 40_000 + end)
    # It came to the responder, which found no CMS in it.
    assert long.startswith(b"HTTP/1.1 400 ")
    longer = raw(scep_place, b"GET " + path + b"A" * 70_000 + end)
    assert longer.startswith(b"HTTP/1.1 414 ")


@pytest.mark.requirement("SCEP-07")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_413(scep_place: Place, chunked: bool) -> None:
    head = b"POST /scep/default?operation=PKIOperation HTTP/1.1\r\nHost: x\r\n"
    if chunked:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"10001\r\n" + b"0" * 0x10001 + b"\r\n0\r\n\r\n"
    else:
        head += b"Content-Length: 65537\r\n\r\n"
        body = b""
    assert raw(scep_place, head + body).startswith(b"HTTP/1.1 413 ")


@pytest.mark.requirement("SCEP-11", "SCEP-09")
def test_head_options_and_other_methods(scep_place: Place) -> None:
    path = b" /scep/default?operation=GetCACaps HTTP/1.1\r\nHost: x\r\n"
    close = b"Connection: close\r\n\r\n"
    head = raw(scep_place, b"HEAD" + path + close)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert head.endswith(b"\r\n\r\n")
    options = raw(scep_place, b"OPTIONS" + path + close)
    assert b"\r\nAllow: GET, POST, HEAD, OPTIONS\r\n" in options
    assert raw(scep_place, b"DELETE" + path + close).startswith(b"HTTP/1.1 405 ")


@pytest.mark.requirement("SCEP-12")
def test_https_serves_and_still_wants_the_challenge(scep_place: Place) -> None:
    place = scep_place.daemon.state / "run" / "listeners.json"
    port = json.loads(place.read_text())["https"]["port"]
    context = ssl.create_default_context(
        cafile=str(scep_place.daemon.first_run / "root.pem")
    )
    connection = http.client.HTTPSConnection(
        "127.0.0.1", port, context=context, timeout=20
    )
    key = scepclient.new_key()
    inner = scepclient.pkcs10(key, f"CN=secure-{time.time_ns()}")
    sent = Message(
        content=Envelope(recipient=scep_place.speaker).encode(inner),
        key=key,
        certificate=scepclient.self_signed(key),
    )
    with closing(connection):
        connection.request(
            "POST", "/scep/default?operation=PKIOperation", sent.encode()
        )
        octets = connection.getresponse().read()
    answer = scepclient.read_answer(octets, scep_place.speaker)
    assert (answer.status, answer.fail_info) == (2, 2)


@pytest.mark.requirement("SCEP-22")
def test_the_tool_shows_fingerprints_to_compare(scep_place: Place) -> None:
    rows = scep_place.daemon.ask_tool("scep", "fingerprints")
    shown = {row["sha256"] for row in rows if row["alias"] == "default"}
    for certificate in scep_place.certificates()[:2]:
        digest = scepclient.fingerprint(certificate)
        assert digest in shown or certificate.issuer == certificate.subject
    assert all(len(row["md5"]) == 32 and len(row["sha1"]) == 40 for row in rows)


@pytest.mark.requirement("SCEP-45", "SCEP-46")
def test_the_tool_mints_a_challenge_for_one_device(scep_place: Place) -> None:
    name = f"minted-{scep_place.kind}"
    made = scep_place.daemon.ask_tool(
        *("scep", "challenge", "--subject", f"CN={name}", "--alias", "default")
    )
    statuses = []
    for subject in ("CN=another", f"CN={name}", f"CN={name}"):
        key = scepclient.new_key()
        inner = scepclient.pkcs10(key, subject, str(made["challenge"]))
        sent = Message(
            content=Envelope(recipient=scep_place.speaker).encode(inner),
            key=key,
            certificate=scepclient.self_signed(key),
        )
        connection = http.client.HTTPConnection(
            *scep_place.daemon.http.address, timeout=20
        )
        with closing(connection):
            connection.request("POST", "/scep/default", sent.encode())
            octets = connection.getresponse().read()
        statuses.append(scepclient.read_answer(octets, scep_place.speaker).status)
    assert statuses == [2, 0, 2]
