"""ir, cr, kur and p10cr through the responder."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.crypto.signatures import sign
from pkid.engine.model import CertificateStatus, UpdateState
from pkid.messages.cmp.body import BodyType, CertRepMessage
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.controls import (
    ALT_CERT_TEMPLATE,
    PKI_ARCHIVE_OPTIONS,
    KeyGenParameters,
)
from pkid.messages.crmf import AttributeTypeAndValue, CertId, OptionalValidity
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.certification import certificate_hash
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    foreign_certificate,
    message,
    new_key,
    signed_request,
)


def pkcs10(
    key: ec.EllipticCurvePrivateKey, common_name: str = "device-1"
) -> CertificationRequest:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([x509.DNSName("device.example")]), critical=False
    )
    request = builder.sign(key, hashes.SHA256())
    return CertificationRequest.decode(request.public_bytes(Encoding.DER))


def old_cert_id(certificate: bytes) -> AttributeTypeAndValue:
    parsed = x509.load_der_x509_certificate(certificate)
    issuer = GeneralName.directory(Name(parsed.issuer.public_bytes()))
    value = CertId(issuer, parsed.serial_number).encode()
    return AttributeTypeAndValue(oids.ID_REG_CTRL_OLD_CERT_ID, value)


@pytest.mark.requirement("CMP-30", "CMP-72", "CMP-47")
def test_an_ir_under_a_secret_is_answered_by_ip_under_the_same_secret(
    desk: Desk,
) -> None:
    key = new_key()
    answer = desk.enroll(key=key)
    assert answer.body_type is BodyType.IP
    assert answer.status.status is PKIStatus.ACCEPTED
    assert not answer.status.fail_info
    assert not answer.is_signed
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.public_key() == key.public_key()
    assert issued.subject.rfc4514_string() == "CN=device-1,O=pkid test"
    record = desk.record(answer.certificate)
    assert record.status is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-09", "CMP-10", "CMP-07")
def test_header_of_an_answer_names_both_sides(desk: Desk) -> None:
    by = ByMAC()
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), by)
    header = desk.ask(sent).header
    assert header.recipient == by.sender
    assert header.sender_kid == by.reference
    identity = desk.world.engine.message_identity("issuing")
    assert header.sender == GeneralName.directory(identity.subject)
    # A signed answer never carries the client's senderKID (checked by ask).
    signed = desk.enroll(desk.holder(), subject="CN=device-1", body_type=BodyType.CR)
    assert signed.header.sender_kid == identity.subject_key_id


@pytest.mark.requirement("CMP-92", "CMP-13")
def test_implicit_confirmation_is_granted_when_asked_for(desk: Desk) -> None:
    answer = desk.enroll(implicit=True)
    assert answer.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    assert not answer.has_info(oids.ID_IT_CONFIRM_WAIT_TIME)
    assert desk.record(answer.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-93", "CMP-13")
@pytest.mark.parametrize("asked", [False, True])
def test_without_implicit_confirmation_the_time_to_confirm_is_told(
    desk: Desk, asked: bool
) -> None:
    desk.settings["implicit_confirm"] = False
    desk.settings["confirm_wait"] = timedelta(minutes=7)
    answer = desk.enroll(implicit=asked)
    assert not answer.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    info = answer.header.find_info(oids.ID_IT_CONFIRM_WAIT_TIME)
    assert info is not None
    assert info.value is not None
    time = der.decode_generalized_time(der.single(info.value, der.GENERALIZED_TIME))
    assert time == desk.world.clock.now() + timedelta(minutes=7)


@pytest.mark.requirement("CMP-73", "CMP-49")
def test_ca_pubs_hold_the_root_only_and_extra_certs_the_chain(desk: Desk) -> None:
    issuing, root = desk.world.engine.chain("issuing")
    answer = desk.enroll()
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.ca_pubs == (root,)
    assert answer.message.extra_certs == (issuing, root)


def test_the_root_stays_away_where_it_is_not_wanted(desk: Desk) -> None:
    desk.settings.update(ca_pubs=False, extra_certs_root=False)
    answer = desk.enroll()
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.ca_pubs == ()
    assert answer.message.extra_certs == desk.world.engine.chain("issuing")[:1]


@pytest.mark.requirement("CMP-49", "CMP-81")
def test_an_ir_of_our_own_certificate_is_answered_without_ca_pubs(desk: Desk) -> None:
    holder = desk.holder()
    answer = desk.enroll(holder, subject="CN=device-1")
    assert answer.body_type is BodyType.IP
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.ca_pubs == ()
    identity = desk.world.engine.message_identity("issuing")
    assert answer.message.extra_certs == (identity.certificate, *identity.chain)


@pytest.mark.requirement("CMP-73", "CMP-79")
def test_a_cr_under_a_secret_is_answered_by_cp_without_ca_pubs(desk: Desk) -> None:
    answer = desk.enroll(body_type=BodyType.CR)
    assert answer.body_type is BodyType.CP
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.ca_pubs == ()
    assert answer.certificate


@pytest.mark.requirement("CMP-59", "CMP-80")
def test_a_p10cr_is_answered_by_cp_with_request_id_minus_one(desk: Desk) -> None:
    csr = pkcs10(new_key())
    answer = desk.ask(message(BodyType.P10CR, csr, ByMAC()))
    assert answer.body_type is BodyType.CP
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.responses[0].cert_req_id == -1
    issued = x509.load_der_x509_certificate(answer.certificate)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["device.example"]


def test_a_p10cr_whose_signature_is_wrong_is_badPOP(desk: Desk) -> None:
    csr = pkcs10(new_key())
    broken = CertificationRequest.build(
        csr.request_info, csr.signature_algorithm, csr.signature[:-1] + b"\x00"
    )
    answer = desk.ask(message(BodyType.P10CR, broken, ByMAC()))
    assert answer.body_type is BodyType.CP
    assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-80")
def test_a_p10cr_of_another_version_is_badCertTemplate(desk: Desk) -> None:
    key = new_key()
    csr = pkcs10(key)
    info = der.sequence(der.integer(1), csr.subject, csr.spki, der.encode(0xA0, b""))
    signature = sign(key, csr.signature_algorithm, info)
    other = CertificationRequest.build(info, csr.signature_algorithm, signature)
    answer = desk.ask(message(BodyType.P10CR, other, ByMAC()))
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE


@pytest.mark.requirement("CMP-59")
@pytest.mark.parametrize("number", [0, 1, -1, 77])
def test_cert_req_id_is_echoed(desk: Desk, number: int) -> None:
    answer = desk.enroll(cert_req_id=number)
    assert isinstance(answer.body, CertRepMessage)
    assert answer.body.responses[0].cert_req_id == number


@pytest.mark.requirement("CMP-65")
def test_a_validity_that_is_clipped_is_grantedWithMods(desk: Desk) -> None:
    now = desk.world.clock.now()
    wanted = OptionalValidity(None, now + timedelta(days=20000))
    answer = desk.enroll(validity=wanted)
    assert answer.status.status is PKIStatus.GRANTED_WITH_MODS
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.not_valid_after_utc < now + timedelta(days=731)


@pytest.mark.requirement("CMP-22")
def test_cert_profile_chooses_among_the_profiles_of_the_alias(desk: Desk) -> None:
    desk.world.change_alias(profiles=("tls",))

    def with_profile(*names: str) -> Answer:
        value = der.sequence(*map(der.utf8_string, names))
        info = InfoTypeAndValue(oids.ID_IT_CERT_PROFILE, value)
        body = cert_requests(signed_request(new_key()))
        sent = message(BodyType.IR, body, ByMAC(), general_info=(info, IMPLICIT))
        return desk.ask(sent)

    assert desk.record(with_profile("tls").certificate).profile == "tls"
    assert desk.record(with_profile("").certificate).profile == "device"
    assert with_profile("secret").fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert with_profile("tls", "device").fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-20")
def test_unknown_general_information_is_passed_over(desk: Desk) -> None:
    info = InfoTypeAndValue("1.2.3.4", der.integer(987))
    body = cert_requests(signed_request(new_key()))
    answer = desk.ask(message(BodyType.IR, body, ByMAC(), general_info=(info,)))
    assert answer.certificate


@pytest.mark.requirement("CMP-60")
def test_version_and_issuer_of_the_template_are_checked(desk: Desk) -> None:
    assert desk.enroll(version=2, implicit=True).certificate
    assert desk.enroll(version=1).fail_info is FailInfo.BAD_CERT_TEMPLATE
    foreign = Name.from_text("CN=another").der
    assert desk.enroll(issuer=foreign).fail_info is FailInfo.BAD_CERT_TEMPLATE
    # What a client may not choose is passed over.
    answer = desk.enroll(serial_number=4711, implicit=True)
    assert x509.load_der_x509_certificate(answer.certificate).serial_number != 4711


@pytest.mark.parametrize(
    "control",
    [
        PKI_ARCHIVE_OPTIONS.attribute(KeyGenParameters(b"\x01")),
        ALT_CERT_TEMPLATE.attribute(AttributeTypeAndValue("1.2.3", der.NULL)),
    ],
    ids=["pkiArchiveOptions", "altCertTemplate"],
)
def test_controls_that_cannot_be_honoured_are_refused(
    desk: Desk, control: AttributeTypeAndValue
) -> None:
    answer = desk.enroll(controls=(control,))
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-53")
def test_a_secret_bound_to_a_subject_serves_no_other(desk: Desk) -> None:
    desk.secret("bound", subject="CN=meter-*")
    by = ByMAC(reference=b"bound")
    assert desk.enroll(by, subject="CN=meter-5", implicit=True).certificate
    answer = desk.enroll(by, subject="CN=station-5")
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


def test_a_sender_without_kid_is_found_by_its_common_name(desk: Desk) -> None:
    by = ByMAC(sender=GeneralName.directory(Name.from_text("CN=ref")))
    body = cert_requests(signed_request(new_key()))
    sent = message(BodyType.IR, body, by, sender_kid=None)
    reply = desk.reply(sent.octets)
    answer = Answer.read(reply.body)
    answer.check_mac()
    assert answer.certificate


# --- key update ---------------------------------------------------------------


@pytest.mark.requirement("CMP-75", "CMP-76", "CMP-77")
def test_a_kur_replaces_the_certificate_that_signed_it(desk: Desk) -> None:
    holder = desk.holder()
    key = new_key()
    answer = desk.enroll(
        holder,
        body_type=BodyType.KUR,
        key=key,
        subject="CN=device-1",
        controls=(old_cert_id(holder.certificate),),
    )
    assert answer.body_type is BodyType.KUP
    assert desk.record(holder.certificate).update_state is UpdateState.IN_UPDATE
    again = desk.enroll(holder, body_type=BodyType.KUR, subject="CN=device-1")
    assert again.fail_info is FailInfo.CERT_REVOKED
    confirm(desk, answer, holder)
    assert desk.record(holder.certificate).update_state is UpdateState.UPDATED
    late = desk.enroll(holder, body_type=BodyType.KUR, subject="CN=device-1")
    assert late.fail_info is FailInfo.CERT_REVOKED


def confirm(desk: Desk, answer: Answer, by: By) -> None:
    hash_ = certificate_hash(answer.certificate)
    sent = follow(answer, BodyType.CERT_CONF, cert_conf(hash_), by)
    assert desk.ask(sent).body_type is BodyType.PKICONF


def test_a_kur_without_subject_keeps_the_old_one(desk: Desk) -> None:
    holder = desk.holder(subject="CN=device-1,O=pkid test")
    wanted = signed_request(new_key(), None)
    sent = message(
        BodyType.KUR, cert_requests(wanted), holder, general_info=(IMPLICIT,)
    )
    answer = desk.ask(sent)
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.subject == holder.parsed.subject


@pytest.mark.requirement("CMP-75", "SEC-08")
def test_oldCertID_must_be_the_signing_certificate(desk: Desk) -> None:
    one, other = desk.holder(), desk.holder(subject="CN=device-2")
    answer = desk.enroll(
        one,
        body_type=BodyType.KUR,
        subject="CN=device-1",
        controls=(old_cert_id(other.certificate),),
    )
    assert answer.body_type is BodyType.KUP
    assert answer.fail_info is FailInfo.BAD_CERT_ID


@pytest.mark.requirement("CMP-36", "CMP-79")
def test_a_kur_under_a_secret_is_wrongIntegrity(desk: Desk) -> None:
    answer = desk.enroll(body_type=BodyType.KUR)
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.WRONG_INTEGRITY
    assert not answer.is_signed


@pytest.mark.requirement("CMP-78", "CMP-43")
def test_a_vendor_certificate_asks_by_ir_only(desk: Desk) -> None:
    now = desk.world.clock.now()
    anchor_key, unit_key = new_key(), new_key()
    anchor = foreign_certificate(anchor_key, "vendor", ca=True, at=now)
    above = (x509.load_der_x509_certificate(anchor), anchor_key)
    unit = foreign_certificate(unit_key, issuer=above, serial="0001", at=now)
    desk.trust_vendor(anchor)
    by = BySignature(unit, unit_key)
    assert desk.enroll(by).fail_info is FailInfo.NOT_AUTHORIZED
    desk.allow_unit("0001")
    for body_type in (BodyType.CR, BodyType.KUR):
        answer = desk.enroll(by, body_type=body_type)
        assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    issued = x509.load_der_x509_certificate(desk.enroll(by).certificate)
    assert issued.subject.rfc4514_string() == "CN=station-1"


def test_extensions_of_the_template_reach_the_certificate(desk: Desk) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("device.example")])
    wanted = Extension(
        oids.ID_CE_SUBJECT_ALT_NAME, critical=False, value=names.public_bytes()
    )
    answer = desk.enroll(extensions=(wanted,))
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert (
        issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        == names
    )


def test_a_request_without_key_says_that_none_is_made(desk: Desk) -> None:
    answer = desk.enroll(spki=None, popo=None)
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert "keys are not made here" in answer.status.strings[0]


def test_oldCertID_of_no_certificate_is_badCertId(desk: Desk) -> None:
    holder = desk.holder()
    ours = GeneralName.directory(Name(holder.parsed.issuer.public_bytes()))
    strangers = GeneralName.directory(Name.from_text("CN=another"))
    for issuer, serial in (
        (ours, 4711),
        (strangers, holder.parsed.serial_number),
        (GeneralName.dns("ca.example"), holder.parsed.serial_number),
    ):
        value = CertId(issuer, serial).encode()
        control = AttributeTypeAndValue(oids.ID_REG_CTRL_OLD_CERT_ID, value)
        answer = desk.enroll(
            holder, body_type=BodyType.KUR, subject="CN=device-1", controls=(control,)
        )
        assert answer.fail_info is FailInfo.BAD_CERT_ID


@pytest.mark.requirement("CMP-21")
@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (oids.ID_IT_CONFIRM_WAIT_TIME, None),
        (oids.ID_IT_CONFIRM_WAIT_TIME, der.utf8_string("soon")),
        (oids.ID_IT_CERT_PROFILE, None),
        (oids.ID_IT_CERT_PROFILE, der.sequence()),
        (oids.ID_IT_CERT_PROFILE, der.utf8_string("device")),
    ],
)
def test_known_general_information_of_the_wrong_form_is_badDataFormat(
    desk: Desk, oid: str, value: bytes | None
) -> None:
    body = cert_requests(signed_request(new_key()))
    info = (InfoTypeAndValue(oid, value),)
    answer = desk.ask(message(BodyType.IR, body, ByMAC(), general_info=info))
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT


@pytest.mark.requirement("CMP-21", "CMP-74")
def test_implicitConfirm_without_NULL_is_badRequest_in_an_error(desk: Desk) -> None:
    body = cert_requests(signed_request(new_key()))
    for value in (None, der.boolean(value=True)):
        info = (InfoTypeAndValue(oids.ID_IT_IMPLICIT_CONFIRM, value),)
        answer = desk.ask(message(BodyType.IR, body, ByMAC(), general_info=info))
        assert answer.body_type is BodyType.ERROR
        assert answer.fail_info is FailInfo.BAD_REQUEST


def test_a_profile_name_beyond_all_measure_is_badRequest(desk: Desk) -> None:
    body = cert_requests(signed_request(new_key()))
    value = der.sequence(der.utf8_string("x" * 65))
    info = (InfoTypeAndValue(oids.ID_IT_CERT_PROFILE, value),)
    answer = desk.ask(message(BodyType.IR, body, ByMAC(), general_info=info))
    assert answer.fail_info is FailInfo.BAD_REQUEST


def test_a_broken_name_in_the_template_is_badCertTemplate(desk: Desk) -> None:
    broken = der.sequence(der.NULL)
    assert desk.enroll(issuer=broken).fail_info is FailInfo.BAD_CERT_TEMPLATE
