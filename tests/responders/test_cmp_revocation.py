"""rr: revoke, hold and release, and who may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkid.asn1 import der, oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.engine.model import CertificateStatus, RevocationReason
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.revocation import RevDetails, RevRepContent, RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import CertTemplate, OptionalValidity
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    message,
    new_key,
    reason_code,
    revocation_of,
    spki_of,
)


def rr(body: RevReqContent, by: By) -> Sent:
    return message(BodyType.RR, body, by)


def revoke(
    desk: Desk, holder: BySignature, by: By | None = None, *extensions: Extension
) -> Answer:
    return desk.ask(rr(revocation_of(holder.certificate, *extensions), by or holder))


def crl_serials(desk: Desk) -> set[int]:
    result_of(desk.world.engine.refresh_crls())
    record = result_of(desk.world.engine.latest_crl("issuing"))
    crl = x509.load_der_x509_crl(record.der)
    return {entry.serial_number for entry in crl}


@pytest.mark.requirement("CMP-118", "CMP-119", "CMP-120")
def test_a_certificate_revokes_itself(desk: Desk) -> None:
    holder = desk.holder()
    answer = revoke(desk, holder, holder, reason_code(1))
    assert answer.body_type is BodyType.RP
    assert answer.status.status is PKIStatus.ACCEPTED
    assert isinstance(answer.body, RevRepContent)
    (cert_id,) = answer.body.rev_certs
    assert cert_id.serial_number == holder.parsed.serial_number
    record = desk.record(holder.certificate)
    assert record.status is CertificateStatus.REVOKED
    assert record.reason is RevocationReason.KEY_COMPROMISE
    assert holder.parsed.serial_number in crl_serials(desk)
    refused = desk.enroll(holder, subject="CN=device-1")
    assert refused.fail_info is FailInfo.CERT_REVOKED


@pytest.mark.requirement("CMP-115")
def test_without_a_reason_it_is_unspecified(desk: Desk) -> None:
    holder = desk.holder()
    revoke(desk, holder)
    assert desk.record(holder.certificate).reason is RevocationReason.UNSPECIFIED


@pytest.mark.requirement("CMP-118", "CMP-36")
def test_the_secret_that_enrolled_it_may_revoke_it_and_no_other(desk: Desk) -> None:
    desk.secret("other", secret=b"another insecure value")
    holder = desk.holder()
    other = ByMAC(b"other", b"another insecure value")
    refused = revoke(desk, holder, other)
    assert refused.body_type is BodyType.RP
    assert refused.fail_info is FailInfo.NOT_AUTHORIZED
    assert revoke(desk, holder, ByMAC()).status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-118", "SEC-08")
def test_a_certificate_revokes_no_other(desk: Desk) -> None:
    one, other = desk.holder(), desk.holder(subject="CN=device-2")
    refused = revoke(desk, one, other)
    assert refused.fail_info is FailInfo.NOT_AUTHORIZED
    assert desk.record(one.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-116", "CMP-120")
def test_hold_and_release(desk: Desk) -> None:
    holder = desk.holder()
    assert revoke(desk, holder, ByMAC(), reason_code(6)).status.status == 0
    assert desk.record(holder.certificate).status is CertificateStatus.HELD
    assert holder.parsed.serial_number in crl_serials(desk)
    assert revoke(desk, holder, ByMAC(), reason_code(8)).status.status == 0
    assert desk.record(holder.certificate).status is CertificateStatus.ACTIVE
    again = revoke(desk, holder, ByMAC(), reason_code(8))
    assert again.fail_info is FailInfo.BAD_CERT_ID


@pytest.mark.requirement("CMP-117")
def test_what_is_revoked_already_is_certRevoked(desk: Desk) -> None:
    holder = desk.holder()
    revoke(desk, holder, ByMAC())
    assert revoke(desk, holder, ByMAC()).fail_info is FailInfo.CERT_REVOKED


@pytest.mark.requirement("CMP-114")
@pytest.mark.parametrize("missing", ["issuer", "serial_number"])
def test_issuer_and_serial_must_be_named(desk: Desk, missing: str) -> None:
    holder = desk.holder()
    body = revocation_of(holder.certificate, **{missing: None})
    answer = desk.ask(rr(body, holder))
    assert answer.fail_info is FailInfo.ADD_INFO_NOT_AVAILABLE


@pytest.mark.requirement("CMP-114")
@pytest.mark.parametrize(
    "wrong",
    [
        {"subject": Name.from_text("CN=another").der},
        {"spki": spki_of(new_key())},
        {"signing_alg": AlgorithmIdentifier(oids.ECDSA_WITH_SHA512)},
        {"serial_number": 4711},
        {"issuer": Name.from_text("CN=another").der},
        {"extensions": (Extension("1.2.3", critical=False, value=b"x"),)},
    ],
)
def test_every_field_given_must_be_the_certificates(
    desk: Desk, wrong: dict[str, object]
) -> None:
    holder = desk.holder()
    answer = desk.ask(rr(revocation_of(holder.certificate, **wrong), holder))
    assert answer.fail_info is FailInfo.BAD_CERT_ID
    assert desk.record(holder.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-114")
def test_fields_that_are_the_certificates_do_no_harm(desk: Desk) -> None:
    holder = desk.holder()
    parsed = holder.parsed
    body = revocation_of(
        holder.certificate,
        version=2,
        subject=parsed.subject.public_bytes(),
        spki=spki_of(holder.key),
        validity=OptionalValidity(
            parsed.not_valid_before_utc, parsed.not_valid_after_utc
        ),
    )
    assert desk.ask(rr(body, holder)).status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-114")
def test_another_version_is_badRequest(desk: Desk) -> None:
    holder = desk.holder()
    answer = desk.ask(rr(revocation_of(holder.certificate, version=0), holder))
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-115")
@pytest.mark.parametrize("number", [7, 11, 100])
def test_an_unknown_reason_is_badDataFormat(desk: Desk, number: int) -> None:
    holder = desk.holder()
    answer = revoke(desk, holder, holder, reason_code(number))
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT


@pytest.mark.requirement("CMP-121")
def test_entry_extensions_are_honoured_or_refused(desk: Desk) -> None:
    holder = desk.holder()
    unknown = Extension("1.2.3", critical=True, value=b"\x05\x00")
    refused = revoke(desk, holder, holder, unknown)
    assert refused.fail_info is FailInfo.UNACCEPTED_EXTENSION
    moment = desk.world.clock.now() - timedelta(hours=3)
    invalidity = Extension(
        oids.ID_CE_INVALIDITY_DATE, critical=False, value=der.generalized_time(moment)
    )
    passed_over = Extension("1.2.3", critical=False, value=b"\x05\x00")
    hold_instruction = Extension(
        oids.ID_CE_HOLD_INSTRUCTION_CODE, critical=True, value=der.oid("1.2.3")
    )
    revoke(desk, holder, holder, invalidity, passed_over, hold_instruction)
    assert desk.record(holder.certificate).invalidity_at == moment


def test_several_certificates_have_a_status_each(desk: Desk) -> None:
    one, other = desk.holder(), desk.holder(subject="CN=device-2")
    details = [
        *revocation_of(one.certificate).details,
        RevDetails(CertTemplate(serial_number=1)),
        *revocation_of(other.certificate).details,
    ]
    sent = rr(RevReqContent(tuple(details)), ByMAC())
    answer = desk.ask(sent)
    assert isinstance(answer.body, RevRepContent)
    assert [status.status for status in answer.body.statuses] == [0, 2, 0]
    assert answer.body.statuses[1].fail_info == {FailInfo.ADD_INFO_NOT_AVAILABLE}
    assert desk.reply(sent.octets).body == answer.octets


@pytest.mark.requirement("CMP-115")
@pytest.mark.parametrize("second", [1, 8], ids=["revoke", "release"])
def test_two_reasons_are_badRequest(desk: Desk, second: int) -> None:
    holder = desk.holder()
    answer = revoke(desk, holder, holder, reason_code(4), reason_code(second))
    assert answer.body_type is BodyType.RP
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert desk.record(holder.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-119", "CMP-193")
@pytest.mark.parametrize("after", [0, 1, 2], ids=["first", "second", "third"])
def test_several_that_were_cut_short_are_taken_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    holders = [desk.holder(subject=f"CN=device-{number}") for number in range(3)]
    details = [
        one
        for holder in holders
        for one in revocation_of(holder.certificate, reason_code(1)).details
    ]
    sent = rr(RevReqContent(tuple(details)), ByMAC())
    revoked = desk.world.engine.revoke
    asked: list[object] = []

    def failing(request: Any) -> Any:
        asked.append(request)
        if len(asked) > after:
            raise PKIError(ErrorCode.UNAVAILABLE, "the store is away")
        return revoked(request)

    monkeypatch.setattr(desk.world.engine, "revoke", failing)
    assert desk.ask(sent).fail_info is FailInfo.SYSTEM_UNAVAIL
    desk.restart()
    answer = desk.ask(sent)
    assert isinstance(answer.body, RevRepContent)
    assert [status.status for status in answer.body.statuses] == [0, 0, 0]
    assert len(answer.body.rev_certs) == 3
    assert crl_serials(desk) == {one.parsed.serial_number for one in holders}


def test_an_rr_about_nothing_is_badRequest(desk: Desk) -> None:
    answer = desk.ask(rr(RevReqContent(()), ByMAC()))
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-193", "CMP-120")
def test_the_same_rr_again_gets_the_same_answer_though_its_signer_is_revoked(
    desk: Desk,
) -> None:
    holder = desk.holder()
    sent = rr(revocation_of(holder.certificate), holder)
    answer = desk.ask(sent)
    assert answer.status.status is PKIStatus.ACCEPTED
    assert desk.reply(sent.octets).body == answer.octets
    desk.restart()
    assert desk.reply(sent.octets).body == answer.octets
