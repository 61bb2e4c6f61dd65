"""Renewal: who signed decides, whatever the messageType says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkid.engine.aliases import Authentication, VendorTrust
from pkid.engine.model import RevocationReason, UpdateState
from pkid.engine.revocation import RevocationRequest
from tests.engine.world import CMP, OPERATOR_REQUESTER, result_of
from tests.responders.scepdesk import CHALLENGE, SCEPDesk, known_key
from tests.support import scepclient

BAD_MESSAGE_CHECK, BAD_REQUEST = 1, 2


@pytest.fixture
def held(scep: SCEPDesk) -> x509.Certificate:
    """A certificate of device-1, of key 0."""
    csr = {"extensions": [scepclient.san("device-1.example")]}
    return scep.enroll(csr=csr).certificate


@pytest.mark.requirement("SCEP-48", "SCEP-49")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_a_device_renews_with_its_certificate(
    scep: SCEPDesk, held: x509.Certificate, message_type: str
) -> None:
    scep.world.clock.advance(timedelta(seconds=1))
    answer = scep.renew(held, known_key(), message_type=message_type)
    assert answer.certificate.subject == held.subject
    names = answer.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["device-1.example"]
    newest, oldest = scep.issued()
    assert newest.replaces == oldest.reference
    assert oldest.update_state is UpdateState.UPDATED


@pytest.mark.requirement("SCEP-48")
def test_a_renewal_is_answered_to_the_old_key(
    scep: SCEPDesk, held: x509.Certificate
) -> None:
    sent = scep.renewal(held, known_key(), known_key(1))
    answer = scep.read(scep.post(sent.encode()), known_key())
    assert answer.certificate.public_key() == known_key(1).public_key()


@pytest.mark.requirement("SCEP-48")
def test_a_renewal_may_keep_its_key_where_that_is_allowed(
    scep: SCEPDesk, held: x509.Certificate
) -> None:
    scep.change_alias(renewal_same_key=False)
    refused = scep.renew(held, known_key(), key=known_key())
    assert (refused.status, refused.fail_info) == (2, BAD_REQUEST)
    scep.change_alias(renewal_same_key=True)
    assert scep.renew(held, known_key(), key=known_key()).status == 0


@pytest.mark.requirement("SCEP-48", "SEC-23")
@pytest.mark.parametrize("message_type", ["17", "19"])
@pytest.mark.parametrize(
    "change",
    [
        {"subject": "CN=device-2"},
        {"csr": {"extensions": [scepclient.san("www.example")]}},
        {"csr": {"extensions": [scepclient.san("device-1.example", "b.example")]}},
    ],
    ids=["subject", "another name", "one name more"],
)
def test_a_renewal_keeps_its_names(
    scep: SCEPDesk, held: x509.Certificate, message_type: str, change: dict[str, Any]
) -> None:
    answer = scep.renew(held, known_key(), message_type=message_type, **change)
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert len(scep.issued()) == 1


@pytest.mark.requirement("SCEP-48", "SEC-23")
@pytest.mark.parametrize("message_type", ["17", "19"])
@pytest.mark.parametrize(
    "reason", [RevocationReason.KEY_COMPROMISE, RevocationReason.CERTIFICATE_HOLD]
)
def test_a_revoked_certificate_renews_nothing_not_even_with_the_challenge(
    scep: SCEPDesk,
    held: x509.Certificate,
    message_type: str,
    reason: RevocationReason,
) -> None:
    request = RevocationRequest(
        reference=scep.issued()[0].reference,
        reason=reason,
        requester=OPERATOR_REQUESTER,
        context=CMP,
    )
    result_of(scep.world.engine.revoke(request))
    answer = scep.renew(
        held, known_key(), message_type=message_type, challenge=CHALLENGE
    )
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert len(scep.issued()) == 1


@pytest.mark.requirement("SCEP-48", "SEC-23")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_an_expired_certificate_renews_nothing(
    scep: SCEPDesk, held: x509.Certificate, message_type: str
) -> None:
    scep.world.clock.advance(timedelta(days=731))
    scep.open()
    answer = scep.renew(
        held, known_key(), message_type=message_type, challenge=CHALLENGE
    )
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)


@pytest.mark.requirement("SCEP-48", "SEC-23")
def test_a_renewal_waits_for_its_window(scep: SCEPDesk, held: x509.Certificate) -> None:
    scep.world.change_names(renewal_window=timedelta(days=30))
    early = scep.renew(held, known_key())
    assert (early.status, early.fail_info) == (2, BAD_REQUEST)
    assert "too early" in early.text
    scep.world.clock.advance(timedelta(days=705))
    scep.open()
    assert scep.renew(held, known_key()).status == 0


@pytest.mark.requirement("SCEP-48", "SEC-23")
@pytest.mark.parametrize("message_type", ["17", "19"])
def test_a_foreign_certificate_renews_nothing(
    scep: SCEPDesk, message_type: str
) -> None:
    root = scepclient.self_signed(known_key(2), "CN=other CA")
    leaf = (
        x509.CertificateBuilder()
        .subject_name(scepclient.name("CN=device-1"))
        .issuer_name(root.subject)
        .public_key(known_key().public_key())
        .serial_number(7)
        .not_valid_before(root.not_valid_before_utc)
        .not_valid_after(root.not_valid_after_utc)
        .sign(known_key(2), root.signature_hash_algorithm)  # type: ignore[arg-type]
    )
    answer = scep.renew(
        leaf, known_key(), message_type=message_type, challenge=CHALLENGE
    )
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert not scep.issued()


@pytest.mark.requirement("SCEP-48", "SCEP-49")
def test_a_self_signed_renewal_is_none(scep: SCEPDesk) -> None:
    answer = scep.enroll(message_type="17")
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert "signed with the certificate" in answer.text


@pytest.mark.requirement("SCEP-48")
def test_a_challenge_beside_the_certificate_is_no_guess(
    scep: SCEPDesk, held: x509.Certificate
) -> None:
    scep.challenge("used up", uses=1)
    assert scep.enroll(known_key(3), subject="CN=b", challenge="used up").status == 0
    wrong = scep.renew(held, known_key(), challenge="wrong")
    assert (wrong.status, wrong.fail_info) == (2, BAD_REQUEST)
    # certmonger sends the challenge of its first enrolment again.
    assert scep.renew(held, known_key(), challenge="used up").status == 0


@pytest.mark.requirement("SCEP-48")
def test_a_certificate_is_renewed_once(scep: SCEPDesk, held: x509.Certificate) -> None:
    assert scep.renew(held, known_key(), key=known_key(1)).status == 0
    again = scep.renew(held, known_key(), key=known_key(2))
    assert (again.status, again.fail_info) == (2, BAD_REQUEST)


@pytest.mark.requirement("SCEP-44", "SCEP-48")
def test_a_renewal_whose_answer_was_lost_is_answered_again(
    scep: SCEPDesk, held: x509.Certificate
) -> None:
    sent = scep.renewal(held, known_key(), known_key(1)).encode()
    first = scep.read(scep.post(sent), known_key()).certificate
    assert scep.read(scep.post(sent), known_key()).certificate == first


@pytest.mark.requirement("SCEP-44", "SCEP-48")
def test_the_first_request_again_signed_by_its_certificate_is_a_renewal(
    scep: SCEPDesk,
) -> None:
    # micromdm's scepclient keeps key, request and transactionID in files.
    inner = scepclient.pkcs10(known_key(), challenge=CHALLENGE)
    fields = {"transaction_id": "of the key"}
    first = scep.message(inner, known_key(), **fields)
    held = scep.read(scep.post(first.encode()), known_key()).certificate
    second = scep.message(
        inner, known_key(), certificate=held, message_type="17", **fields
    )
    renewed = scep.read(scep.post(second.encode()), known_key()).certificate
    assert renewed.serial_number != held.serial_number
    again = scep.read(scep.post(second.encode()), known_key()).certificate
    assert again == renewed


@pytest.mark.requirement("SCEP-48")
def test_where_renewal_is_off_neither_type_renews(
    scep: SCEPDesk, held: x509.Certificate
) -> None:
    scep.change_alias(renewal=False)
    for message_type in ("17", "19"):
        answer = scep.renew(held, known_key(), message_type=message_type)
        assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert b"Renewal" not in scep.get("GetCACaps").body


# --- vendors -----------------------------------------------------------------------


def device_certificate() -> tuple[x509.Certificate, x509.Certificate]:
    """A manufacturer's root and the certificate of one of its units."""
    maker = known_key(4)
    root = (
        x509.CertificateBuilder()
        .subject_name(scepclient.name("CN=Maker"))
        .issuer_name(scepclient.name("CN=Maker"))
        .public_key(maker.public_key())
        .serial_number(1)
        .not_valid_before(scepclient.datetime(2026, 1, 1))
        .not_valid_after(scepclient.datetime(2036, 1, 1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(maker, scepclient.hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(scepclient.name("2.5.4.5=FTX1,CN=unit"))
        .issuer_name(root.subject)
        .public_key(known_key(5).public_key())
        .serial_number(2)
        .not_valid_before(scepclient.datetime(2026, 1, 1))
        .not_valid_after(scepclient.datetime(2036, 1, 1))
        .sign(maker, scepclient.hashes.SHA256())
    )
    return root, leaf


@pytest.mark.requirement("SCEP-48")
@pytest.mark.parametrize("trusted", [True, False])
def test_a_vendor_certificate_enrols_by_configured_trust_only(
    scep: SCEPDesk, trusted: bool
) -> None:
    from dataclasses import replace

    root, leaf = device_certificate()
    vendor = VendorTrust(name="maker", anchors=(scepclient.der_of(root),))
    scep.world.policies = replace(scep.world.policies, vendors={"maker": vendor})
    if trusted:
        scep.change_alias(
            authenticate=frozenset((Authentication.VENDOR,)),
            vendors=("maker",),
            unknown_vendor_unit="pend",
        )
    inner = scepclient.pkcs10(known_key(), "CN=unit")
    sent = scep.message(inner, known_key(5), certificate=leaf)
    answer = scep.read(scep.post(sent.encode()), known_key(5))
    if not trusted:
        assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
        return
    assert answer.status == 3
    scep.approve_all()
    again = scep.read(scep.post(sent.encode()), known_key(5))
    assert again.certificate.public_key() == known_key().public_key()
