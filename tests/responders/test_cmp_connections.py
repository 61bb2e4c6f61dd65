"""No connection and no process holds what a transaction needs."""

from __future__ import annotations

import pytest

from pkid.engine.model import CertificateStatus
from pkid.messages.cmp.body import BodyType
from pkid.responders.base import Peer
from pkid.responders.cmp.certification import certificate_hash
from tests.responders.desk import Desk
from tests.responders.peers import (
    ByMAC,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    signed_request,
)

TCP = {"transport": "tcp-rfc2510", "method": "", "headers": {}}
ELSEWHERE = Peer(address="192.0.2.99", listener="cmp-tcp")


@pytest.mark.requirement("CMP-195")
def test_a_transaction_goes_on_in_a_new_process_over_another_door(desk: Desk) -> None:
    opened = desk.enroll()
    desk.restart()
    body = cert_conf(certificate_hash(opened.certificate))
    sent = follow(opened, BodyType.CERT_CONF, body, ByMAC())
    answer = desk.ask(sent, peer=ELSEWHERE, **TCP)
    assert answer.body_type is BodyType.PKICONF
    assert desk.record(opened.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-195")
def test_each_step_of_a_wait_may_come_to_a_fresh_process(desk: Desk) -> None:
    desk.needs_approval()
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    answer = desk.ask(sent)
    desk.restart()
    again = desk.ask(sent, peer=ELSEWHERE)
    assert again.octets == answer.octets
    desk.restart()
    answer = desk.ask(follow(answer, BodyType.POLL_REQ, polling(), ByMAC()))
    assert answer.body_type is BodyType.POLL_REP
    desk.restart()
    desk.approve()
    desk.restart()
    answer = desk.ask(follow(answer, BodyType.POLL_REQ, polling(), ByMAC()))
    assert answer.body_type is BodyType.IP
    assert answer.certificate
