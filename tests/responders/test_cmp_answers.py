"""What answers are protected with, and what an operator is told of a refusal."""

from __future__ import annotations

import pytest
from cryptography import x509

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_algorithm
from pkid.crypto.mac import MacParameters, PBMAC1Parameters, PBMParameters
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    HMAC_SHA1,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    foreign_certificate,
    message,
    new_key,
    signed_request,
)

HMAC_SHA256 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.NULL)
PBM = PBMParameters(bytes(16), hash_algorithm("sha256"), 500, HMAC_SHA1)
PBMAC1 = PBMAC1Parameters(bytes(16), 1000, HMAC_SHA256, HMAC_SHA256, 32)


def ir(by: ByMAC | BySignature) -> Sent:
    return message(BodyType.IR, cert_requests(signed_request(new_key())), by)


@pytest.mark.requirement("CMP-29")
@pytest.mark.parametrize("parameters", [PBM, PBMAC1], ids=["PBM", "PBMAC1"])
def test_a_mac_from_a_password_is_taken_and_answered_in_kind(
    desk: Desk, parameters: MacParameters
) -> None:
    by = ByMAC(parameters=parameters)
    answer = desk.ask(ir(by))
    assert answer.certificate
    assert answer.header.protection_alg == by.algorithm
    wrong = message(
        BodyType.IR, cert_requests(signed_request(new_key())), by, wrong_bits=True
    )
    assert desk.ask(wrong).fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-46")
def test_messages_are_signed_by_a_key_that_is_not_the_ca_s(desk: Desk) -> None:
    answer = desk.enroll(desk.holder(), subject="CN=device-1", body_type=BodyType.CR)
    signer = answer.check_signature()
    usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    for octets in desk.world.engine.chain("issuing"):
        authority = x509.load_der_x509_certificate(octets)
        assert authority.public_key() != signer.public_key()


@pytest.mark.requirement("ENG-51")
def test_refusals_of_the_unknown_are_explained_to_the_operator_alone(
    desk: Desk,
) -> None:
    key = new_key()
    stranger = BySignature(foreign_certificate(key, at=desk.world.clock.now()), key)
    for by, hint in (
        (ByMAC(reference=b"nobody"), "no CMP secret has reference 'nobody'"),
        (ByMAC(secret=b"guess"), "wrong secret for reference 'ref'"),
        (stranger, "trusts no vendor"),
    ):
        sent = ir(by)
        assert sent.transaction_id is not None
        reply = desk.reply(sent.octets)
        found = result_of(desk.world.engine.explain(sent.transaction_id.hex()))
        (record,) = found
        assert record.event.outcome == "refused"
        assert hint in record.event.hint
        assert hint.encode() not in reply.body
