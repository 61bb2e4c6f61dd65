"""A transaction that changes its transport, its connection and its daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pkid.messages.cmp.body import (
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertReqMessages,
    CertStatus,
    PollReqContent,
)
from pkid.messages.cmp.framing import Framing
from pkid.messages.cmp.message import decode_body
from pkid.messages.cmp.status import PKIStatus
from tests.responders.peers import signed_request
from tests.support.cmpclient import Answer, Request, certificate_hash
from tests.support.daemon import Daemon, running

WAITING = 'cmp.alias.default.approval = "operator"'


def over_tcp(daemon: Daemon, request: Request, framing: Framing) -> bytes:
    with daemon.tcp_wire() as wire:
        return wire.exchange(request.octets, framing)


def over_http(daemon: Daemon, request: Request) -> bytes:
    with daemon.http_wire() as wire:
        return wire.exchange(request.octets)


def again(daemon: Daemon) -> None:
    """Another process on the same state."""
    daemon.stop()
    daemon.start()


def kill_and_start(daemon: Daemon) -> None:
    daemon.kill()
    daemon.start()


def approve_all(daemon: Daemon) -> None:
    for view in daemon.ask_tool("request", "list"):
        daemon.tool("request", "approve", view["id"])


def status_of(daemon: Daemon, subject: str) -> str:
    (view,) = daemon.ask_tool("certificate", "search", "--subject", subject)
    return str(view["status"])


def statuses(answer: Answer) -> dict[int, PKIStatus]:
    body = decode_body(answer.message)
    assert isinstance(body, CertRepMessage)
    return {one.cert_req_id: one.status.status for one in body.responses}


@pytest.mark.requirement("CMP-104", "CMP-162", "CMP-193")
def test_begun_over_tcp_polled_over_http_confirmed_over_tcp(tmp_path: Path) -> None:
    with running(tmp_path, settings=(WAITING,)) as daemon:
        client = daemon.client()
        opening = client.enrol("CN=wanderer", implicit_confirm=False)
        first = over_tcp(daemon, opening, Framing.RFC2510)
        waiting = client.read(first, opening)
        assert statuses(waiting) == {0: PKIStatus.WAITING}
        again(daemon)
        assert over_http(daemon, opening) == first
        poll = client.poll(waiting)
        told = client.read(over_http(daemon, poll), poll)
        assert told.body_type is BodyType.POLL_REP
        approve_all(daemon)
        kill_and_start(daemon)
        poll = client.poll(told)
        answered = over_http(daemon, poll)
        ready = client.read(answered, poll)
        assert ready.granted
        assert over_tcp(daemon, poll, Framing.TCP_DRAFT) == answered
        again(daemon)
        confirm = client.confirm(ready)
        done = client.read(over_tcp(daemon, confirm, Framing.TCP_DRAFT), confirm)
        assert done.body_type is BodyType.PKICONF
        assert status_of(daemon, "CN=wanderer") == "active"


@pytest.mark.requirement("CMP-58", "CMP-193")
def test_several_requests_wander_together(tmp_path: Path) -> None:
    keys = {number: ec.generate_private_key(ec.SECP256R1()) for number in (0, 1)}
    with running(tmp_path, settings=(WAITING,)) as daemon:
        client = daemon.client()
        opening = client.send(
            BodyType.IR,
            CertReqMessages(
                tuple(
                    signed_request(key, f"CN=pair-{number}", cert_req_id=number)
                    for number, key in keys.items()
                )
            ),
        )
        first = client.read(over_http(daemon, opening), opening)
        assert statuses(first) == {0: PKIStatus.WAITING, 1: PKIStatus.WAITING}
        kill_and_start(daemon)
        approve_all(daemon)
        poll = client.follow(first, BodyType.POLL_REQ, PollReqContent((0, 1)))
        ready = client.read(over_tcp(daemon, poll, Framing.RFC2510), poll)
        assert set(statuses(ready).values()) == {PKIStatus.ACCEPTED}
        kill_and_start(daemon)
        body = decode_body(ready.message)
        assert isinstance(body, CertRepMessage)
        words = []
        for response in body.responses:
            pair = response.certified_key_pair
            assert pair is not None
            assert pair.certificate is not None
            hash_ = certificate_hash(pair.certificate)
            words.append(CertStatus(hash_, response.cert_req_id))
        content = CertConfirmContent(tuple(words))
        confirm = client.follow(ready, BodyType.CERT_CONF, content)
        done = client.read(over_http(daemon, confirm), confirm)
        assert done.body_type is BodyType.PKICONF
        assert status_of(daemon, "CN=pair-0") == "active"
        assert status_of(daemon, "CN=pair-1") == "active"
