"""Bent messages under keys, at both levels: always an answer, never a surprise."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
from twisted.logger import LogLevel, capturedLogs

from pkid.asn1 import oids
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from tests.responders.bending import by_mac, refused, sent
from tests.responders.desk import Desk
from tests.responders.keypeers import dh_holder, kem_certificate
from tests.responders.peers import (
    Answer,
    ByMAC,
    asking,
    cert_requests,
    new_key,
    signed_request,
)
from tests.responders.peers import message as made
from tests.responders.test_cmp_agreed_macs import (
    KEY,
    Bare,
    asked,
    bootstrap,
    encapsulated,
    gmac,
    kem_holder,
    our_kem,
)
from tests.support.mutator import Mutator, Specimen

SEED = 20261123
COUNT = 120
#: Announcements, which some mutants turn into, have statuses of their own.
STATUSES = frozenset((200, 201, 202, 400, 403))


def specimens(desk: Desk) -> list[Specimen]:
    """One message of each kind of protection, and one that nothing protects."""
    desk.secret("key", secret=KEY)
    own = our_kem(desk)
    _, info = encapsulated(own)
    certificate, _ = kem_certificate(desk)
    by_kem = kem_holder(desk)
    by_dh = dh_holder(desk)
    update = cert_requests(signed_request(new_key(), "CN=dh"))
    desk.settings["unprotected_requests"] = True
    nothing = made(
        BodyType.IR,
        cert_requests(signed_request(new_key(), "CN=open")),
        ByMAC(),
        protected=False,
    )
    found = {
        "mac": sent(desk, general_info=(info,)),
        "bare": sent(desk, BodyType.GENM, asking(oids.ID_IT_CA_CERTS), Bare(gmac())),
        "dh": sent(desk, BodyType.KUR, update, by_dh),
        "kem": asked(desk, by_kem, BodyType.KUR),
        "bootstrap": bootstrap(desk, certificate, os.urandom(16)),
        "nothing": nothing,
    }
    return [Specimen.take_apart(name, one.octets) for name, one in found.items()]


@pytest.mark.parametrize("level", ["rfc", "lcmpp"])
def test_mutants_get_an_answer_and_raise_nothing(desk: Desk, level: str) -> None:
    mutator = Mutator(specimens(desk), SEED)
    desk.settings["conformance"] = level
    with capturedLogs() as events:
        for mutant in mutator.mutants(COUNT):
            check(desk, mutant)
    failures = [event for event in events if event["log_level"] is LogLevel.critical]
    assert not failures, failures[0]
    # So many wrong MACs have locked the secrets, for a while.
    desk.world.clock.advance(timedelta(hours=1))
    assert refused(desk, sent(desk, by=by_mac())).certificate


def check(desk: Desk, mutant: Any) -> None:
    reply = desk.reply(mutant.octets)
    assert reply.status in STATUSES, str(mutant)
    if not reply.body:
        return
    answer = Answer.read(reply.body)
    if answer.body_type is BodyType.ERROR:
        assert answer.status.status is PKIStatus.REJECTION, str(mutant)
        assert answer.fail_info is not FailInfo.SYSTEM_FAILURE, str(mutant)
