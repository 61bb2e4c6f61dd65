"""Keys that cannot sign prove themselves: by their certificate, encrypted to them.

**Source:** RFC 9810 section 5.2.8.3.2; RFC 4211 sections 4.2 and 4.3.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkid.engine.model import CertificateStatus, PossessionMethod
from pkid.messages.cmp.body import BodyType, PKIConfirmContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import RAVerified
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.ownkeys import (
    ENCR_CERT,
    FAMILIES,
    KEYS,
    encrypted_certificate,
    is_certificate_of,
    opened,
    opened_old_value,
    oracle_pair,
    request_for,
    take_every_key,
)
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    ByMAC,
    Sent,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    signed_request,
)


@pytest.fixture
def by() -> ByMAC:
    return ByMAC()


def asked(family: str, by: ByMAC, **header: Any) -> Sent:
    """An ir of version 3 for a key that cannot sign."""
    content = cert_requests(request_for(family, ENCR_CERT))
    return message(BodyType.IR, content, by, **{"pvno": 3, **header})


def confirming(answer: Answer, certificate: bytes, by: ByMAC) -> Sent:
    content = cert_conf(certificate_hash(certificate))
    return follow(answer, BodyType.CERT_CONF, content, by, pvno=3)


def status_of(desk: Desk, certificate: bytes) -> CertificateStatus:
    return desk.record(certificate).status


@pytest.mark.requirement("CMP-86", "CMP-91", "CMP-174")
@pytest.mark.parametrize("family", FAMILIES)
def test_who_decrypts_its_certificate_and_confirms_it_has_proven_its_key(
    desk: Desk, by: ByMAC, family: str
) -> None:
    take_every_key(desk)
    answer = desk.ask(asked(family, by))
    assert answer.status.status is PKIStatus.ACCEPTED
    certificate = opened(encrypted_certificate(answer), family)
    assert is_certificate_of(certificate, family)
    assert certificate not in answer.octets
    assert status_of(desk, certificate) is CertificateStatus.AWAITING_CONFIRMATION
    done = desk.ask(confirming(answer, certificate, by))
    assert done.body_type is BodyType.PKICONF
    assert status_of(desk, certificate) is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-86")
def test_a_wrong_hash_proves_nothing_and_ends_the_certificate(
    desk: Desk, by: ByMAC
) -> None:
    answer = desk.ask(asked("rsa", by))
    certificate = opened(encrypted_certificate(answer), "rsa")
    wrong = cert_conf(bytes(32))
    refused = desk.ask(follow(answer, BodyType.CERT_CONF, wrong, by, pvno=3))
    assert refused.fail_info is FailInfo.BAD_CERT_ID
    assert status_of(desk, certificate) is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-86")
def test_a_certificate_nobody_decrypts_is_revoked_at_the_deadline(
    desk: Desk, by: ByMAC
) -> None:
    answer = desk.ask(asked("rsa", by))
    certificate = opened(encrypted_certificate(answer), "rsa")
    desk.world.clock.advance(timedelta(minutes=6))
    assert result_of(desk.world.engine.expire_unconfirmed()) == 1
    assert status_of(desk, certificate) is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-86")
def test_implicit_confirmation_is_not_granted_for_it(desk: Desk, by: ByMAC) -> None:
    answer = desk.ask(asked("rsa", by, general_info=(IMPLICIT,)))
    certificate = opened(encrypted_certificate(answer), "rsa")
    assert not answer.has_info(IMPLICIT.oid)
    assert status_of(desk, certificate) is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-86")
def test_a_confirmation_without_a_hash_is_badPOP(desk: Desk, by: ByMAC) -> None:
    answer = desk.ask(asked("rsa", by))
    old = follow(answer, BodyType.PKICONF, PKIConfirmContent(), by, pvno=3)
    assert desk.ask(old).fail_info is FailInfo.BAD_POP
    certificate = opened(encrypted_certificate(answer), "rsa")
    assert status_of(desk, certificate) is CertificateStatus.AWAITING_CONFIRMATION


def test_the_same_request_again_gets_the_same_octets(desk: Desk, by: ByMAC) -> None:
    sent = asked("rsa", by)
    first = desk.ask(sent)
    desk.restart()
    assert desk.reply(sent.octets).body == first.octets


@pytest.mark.requirement("CMP-86")
def test_after_an_approval_it_leaves_encrypted_too(desk: Desk, by: ByMAC) -> None:
    desk.needs_approval()
    waiting = desk.ask(asked("rsa", by))
    assert waiting.status.status is PKIStatus.WAITING
    desk.approve()
    desk.restart()
    answer = desk.ask(follow(waiting, BodyType.POLL_REQ, polling(), by, pvno=3))
    certificate = opened(encrypted_certificate(answer), "rsa")
    assert status_of(desk, certificate) is CertificateStatus.AWAITING_CONFIRMATION
    done = desk.ask(confirming(answer, certificate, by))
    assert done.body_type is BodyType.PKICONF


def test_each_of_several_leaves_encrypted_to_its_own_key(desk: Desk, by: ByMAC) -> None:
    take_every_key(desk)
    families = ("rsa", "ml-kem-768", "x25519")
    requests = [
        request_for(family, ENCR_CERT, cert_req_id=number, subject=f"CN={family}")
        for number, family in enumerate(families)
    ]
    content = cert_requests(*requests, signed_request(new_key(), cert_req_id=7))
    answer = desk.ask(message(BodyType.IR, content, by, pvno=3))
    body: Any = answer.body
    pairs = [response.certified_key_pair for response in body.responses]
    assert pairs[3].certificate is not None
    for family, pair in zip(families, pairs, strict=False):
        certificate = opened(pair.encrypted_cert.enveloped, family)
        assert is_certificate_of(certificate, family)
    old = follow(answer, BodyType.PKICONF, PKIConfirmContent(), by, pvno=3)
    assert desk.ask(old).fail_info is FailInfo.BAD_POP


# --- version 2 ----------------------------------------------------------------


@pytest.mark.requirement("CMP-112")
def test_version_2_gets_an_EncryptedValue_where_it_is_enabled(
    desk: Desk, by: ByMAC
) -> None:
    desk.settings["encrypted_value"] = True
    answer = desk.ask(asked("rsa", by, pvno=2))
    read = oracle_pair(answer)["certOrEncCert"]["encryptedCert"]
    assert read.getName() == "encryptedValue"
    certificate = opened_old_value(read["encryptedValue"])
    assert is_certificate_of(certificate, "rsa")
    content = cert_conf(certificate_hash(certificate))
    done = desk.ask(follow(answer, BodyType.CERT_CONF, content, by))
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-90", "CMP-112")
def test_version_2_is_badPOP_where_EncryptedValue_is_not_enabled(
    desk: Desk, by: ByMAC
) -> None:
    answer = desk.ask(asked("rsa", by, pvno=2))
    assert answer.fail_info is FailInfo.BAD_POP
    assert desk.count() == 0


def test_version_2_has_no_form_for_keys_other_than_rsa(desk: Desk, by: ByMAC) -> None:
    desk.settings["encrypted_value"] = True
    answer = desk.ask(asked("ec:P-256", by, pvno=2))
    assert answer.fail_info is FailInfo.BAD_POP
    assert desk.count() == 0


# --- what is not taken --------------------------------------------------------


@pytest.mark.requirement("CMP-90")
def test_a_way_that_the_alias_does_not_take_is_badPOP(desk: Desk, by: ByMAC) -> None:
    desk.world.change_alias(possession=frozenset((PossessionMethod.SIGNATURE,)))
    assert desk.ask(asked("rsa", by)).fail_info is FailInfo.BAD_POP
    by_signature = desk.enroll(by)
    assert by_signature.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-90")
def test_a_signature_is_badPOP_where_only_decryption_is_taken(
    desk: Desk, by: ByMAC
) -> None:
    only = frozenset((PossessionMethod.ENCRYPTED_CERTIFICATE,))
    desk.world.change_alias(possession=only)
    assert desk.enroll(by).fail_info is FailInfo.BAD_POP


def test_a_certificate_that_is_not_for_encryption_is_badPOP(
    desk: Desk, by: ByMAC
) -> None:
    desk.world.change_profile("device", key_usage=("digitalSignature",))
    assert desk.ask(asked("rsa", by)).fail_info is FailInfo.BAD_POP
    assert desk.count() == 0


@pytest.mark.requirement("CMP-91")
@pytest.mark.parametrize("family", ["ml-kem-768", "ml-kem-1024"])
def test_a_KEM_key_with_a_signature_is_badPOP(
    desk: Desk, by: ByMAC, family: str
) -> None:
    take_every_key(desk)
    other = signed_request(new_key())
    forged = signed_request(KEYS[family], popo=other.popo)
    answer = desk.ask(message(BodyType.IR, cert_requests(forged), by, pvno=3))
    assert answer.fail_info is FailInfo.BAD_POP


def test_the_audit_says_how_possession_was_shown(desk: Desk, by: ByMAC) -> None:
    answer = desk.ask(asked("rsa", by))
    certificate = opened(encrypted_certificate(answer), "rsa")
    serial = x509.load_der_x509_certificate(certificate).serial_number
    (event,) = [
        record.event
        for record in result_of(desk.world.engine.explain(f"issuing/{serial:x}"))
    ]
    assert event.detail == "possession by encrypted-certificate, once it is confirmed"


def test_raVerified_from_an_end_entity_stays_notAuthorized(
    desk: Desk, by: ByMAC
) -> None:
    request = signed_request(KEYS["rsa"], popo=RAVerified())
    answer = desk.ask(message(BodyType.IR, cert_requests(request), by, pvno=3))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
