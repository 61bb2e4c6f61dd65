"""The order of checks: of two faults the earlier is told.

Parse, version, presence, algorithm, sender, signature, certificate, time, nonces,
transaction, body.

**Source:** RFC 9483 section 3.5.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pkid.asn1 import der
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from tests.responders.bending import HOLDER, by_mac, holder, refused, sent
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    BySignature,
    Sent,
    cert_requests,
    new_key,
    revocation_of,
    signed_request,
)

UNKNOWN = AlgorithmIdentifier("1.2.3.4")


@dataclass(frozen=True)
class Fault:
    """One step that fails.

    :ivar field: of the message, which the fault bends.
    """

    name: str
    bit: FailInfo
    field: str
    text: str


# In their order.
FAULTS = (
    Fault("version", FailInfo.UNSUPPORTED_VERSION, "pvno", "pvno"),
    Fault("presence", FailInfo.BAD_DATA_FORMAT, "transaction_id", "is required"),
    Fault("algorithm", FailInfo.BAD_ALG, "protection_alg", "algorithm"),
    Fault("sender", FailInfo.BAD_MESSAGE_CHECK, "sender_kid", "senderKID"),
    Fault("signature", FailInfo.BAD_MESSAGE_CHECK, "wrong_bits", "signature"),
    Fault("certificate", FailInfo.CERT_REVOKED, "by", "revoked"),
    Fault("time", FailInfo.BAD_TIME, "message_time", "messageTime"),
    Fault("senderNonce", FailInfo.BAD_SENDER_NONCE, "sender_nonce", "senderNonce"),
    Fault("recipNonce", FailInfo.BAD_RECIPIENT_NONCE, "recip_nonce", "recipNonce"),
    Fault("transaction", FailInfo.BAD_REQUEST, "transaction_id", "transactionID"),
    Fault("operation", FailInfo.BAD_REQUEST, "operation", "operation"),
    Fault("body", FailInfo.BAD_DATA_FORMAT, "body", ""),
)
PAIRS = [
    pytest.param(one, other, id=f"{one.name}-{other.name}")
    for one, other in itertools.combinations(FAULTS, 2)
    if one.field != other.field
]


def revoked(desk: Desk) -> BySignature:
    by = holder(desk)
    revocation = sent(desk, BodyType.RR, revocation_of(by.certificate), by)
    assert refused(desk, revocation).body_type is BodyType.RP
    return by


def bent(desk: Desk, faults: tuple[Fault, ...]) -> tuple[Sent, str]:
    """A message with these faults, and the operation of the path it goes to."""
    names = {fault.name for fault in faults}
    values: dict[str, Any] = {
        "version": {"pvno": 1},
        "presence": {"transaction_id": None},
        "algorithm": {"protection_alg": UNKNOWN},
        "sender": {"sender_kid": os.urandom(20)},
        "signature": {"wrong_bits": True},
        "time": {"message_time": desk.world.clock.now() - timedelta(minutes=6)},
        "senderNonce": {"sender_nonce": os.urandom(15)},
        "recipNonce": {"recip_nonce": os.urandom(16)},
        "transaction": {"transaction_id": os.urandom(15)},
    }
    header: dict[str, Any] = {}
    for name in names & values.keys():
        header |= values[name]
    by = revoked(desk) if "certificate" in names else holder(desk)
    body: Any = cert_requests(signed_request(new_key(), HOLDER))
    if "body" in names:
        body = der.sequence(der.NULL)
    wrong = sent(desk, BodyType.CR, body, by, **header)
    return wrong, "initialization" if "operation" in names else ""


@pytest.mark.requirement("CMP-26")
@pytest.mark.parametrize(("earlier", "later"), PAIRS)
def test_of_two_faults_the_earlier_is_told(
    desk: Desk, earlier: Fault, later: Fault
) -> None:
    desk.settings["conformance"] = "lcmpp"
    wrong, operation = bent(desk, (earlier, later))
    before = desk.count()
    answer = Answer.read(desk.reply(wrong.octets, operation=operation).body)
    assert answer.fail_info is earlier.bit
    assert earlier.text in answer.status.strings[0]
    assert desk.count() == before


@pytest.mark.requirement("CMP-26")
def test_under_a_secret_protection_comes_before_all_that_follows(desk: Desk) -> None:
    desk.settings["conformance"] = "lcmpp"
    wrong = sent(
        desk,
        body=der.sequence(der.NULL),
        by=by_mac(secret=b"a guess"),
        message_time=None,
        sender_nonce=None,
        recip_nonce=b"x",
        transaction_id=b"x",
    )
    answer = refused(desk, wrong)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
