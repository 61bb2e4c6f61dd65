"""Re-protection: devices on one side, a CA on the other, and what may go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.extensions import subject_alternative_name
from pkid.crypto.signatures import sign
from pkid.engine.aliases import Mode
from pkid.engine.model import (
    CertificateStatus,
    EndEntity,
    EntityStatus,
    TransactionStatus,
)
from pkid.engine.records import AuditEvent
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertReqMessages,
    PollRepContent,
    encode_body,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.nested import decode_messages
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import (
    CertReqMsg,
    POPOSigningKey,
    POPOSigningKeyInput,
    RAVerified,
)
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.upstreamidentity import OwnCertificate
from pkid.storage.fsck import fsck
from tests.engine.world import CMP, OPERATOR, World, result_of
from tests.responders.peers import (
    Answer,
    ByMAC,
    BySignature,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    follow,
    foreign_certificate,
    message,
    new_key,
    polling,
    reason_code,
    revocation_of,
    signed_request,
    spki_of,
)
from tests.responders.radesk import NAME, RA_SUBJECT, CADesk, RADesk


@pytest.fixture
def ca(room: Path) -> Iterator[CADesk]:
    directory = room / "ca"
    shutil.copytree(room / "template", directory)
    desk = CADesk(World(directory))
    try:
        result_of(desk.world.engine.prepare_message_identity("issuing", CMP))
        yield desk
    finally:
        desk.world.close()
        shutil.rmtree(directory)


@pytest.fixture
def ra(room: Path, ca: CADesk) -> Iterator[RADesk]:
    directory = room / "ra"
    shutil.copytree(room / "template", directory)
    desk = RADesk(World(directory), ca)
    try:
        yield desk
    finally:
        desk.world.close()
        shutil.rmtree(directory)


def confirmation(answer: Answer, by: ByMAC | BySignature | None = None) -> Sent:
    digest = certificate_hash(answer.certificate)
    return follow(answer, BodyType.CERT_CONF, cert_conf(digest), by or ByMAC())


def poll(answer: Answer, by: ByMAC | BySignature | None = None) -> Sent:
    return follow(answer, BodyType.POLL_REQ, polling(), by or ByMAC())


def asked_for(ra: RADesk) -> CertReqMsg:
    """What the CA was asked for in the last message."""
    body = decode_body(ra.line.last)
    assert isinstance(body, CertReqMessages)
    return body.messages[0]


def events(ra: RADesk, action: str) -> list[str]:
    """Outcomes of that action in the audit trail, oldest first."""

    async def read() -> list[AuditEvent]:
        return [one.event async for one in ra.world.store.audit_records()]

    return [one.outcome for one in result_of(read()) if one.action == action]


# --- our own certificate ----------------------------------------------------------


def test_our_certificate_is_asked_for_under_the_secret(ra: RADesk) -> None:
    assert BySignature(ra.chain[0], new_key()).parsed.subject.rfc4514_string() == (
        RA_SUBJECT
    )
    types = [PKIMessage.decode(one).body_type for one in ra.enrolment.sent]
    assert types == [BodyType.IR, BodyType.CERT_CONF]


def test_our_certificate_is_kept_while_it_is_young(ra: RADesk) -> None:
    ra.restart()
    assert len(ra.enrolment.sent) == 2


def test_our_certificate_is_renewed_in_time_with_itself(ra: RADesk) -> None:
    before = ra.chain[0]
    ra.wait(days=250)
    ra.prepare()
    assert ra.chain[0] != before
    first, *_ = [PKIMessage.decode(one) for one in ra.enrolment.sent[2:]]
    assert first.body_type is BodyType.KUR
    assert first.extra_certs[0] == before


def test_an_old_certificate_serves_while_the_CA_is_away(ra: RADesk) -> None:
    before = ra.chain[0]
    ra.wait(days=250)
    ra.enrolment.cut = True
    ra.prepare()
    assert ra.chain[0] == before


def test_a_brought_certificate_of_another_key_is_refused(
    ra: RADesk, ca: CADesk
) -> None:
    other = ca.holder(subject="CN=other")
    ra.options["brought"] = (other.certificate, *ca.world.engine.chain("issuing"))
    with pytest.raises(PKIError, match="out of reach") as refused:
        ra.prepare()
    assert "another key" in (refused.value.hint or "")


def test_nothing_is_asked_for_what_is_to_be_brought(ra: RADesk) -> None:
    own = OwnCertificate(
        replace(ra.upstream, reference="", secret=b""),
        result_of(ra.world.engine.elsewhere.make_key(NAME, "ec:P-256")),
        ra.world.clock,
        ra.world.random,
    )
    ra.enrolment.sent.clear()
    with pytest.raises(PKIError) as refused:
        result_of(own.current(()))
    assert "not brought yet" in (refused.value.hint or "")
    assert ra.enrolment.sent == []


def test_a_brought_certificate_answers_our_own_request(ra: RADesk) -> None:
    csr = x509.load_der_x509_csr(result_of(ra.own().certification_request()))
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == RA_SUBJECT
    ra.options["brought"] = ra.chain
    ra.prepare()
    assert len(ra.enrolment.sent) == 2


def test_a_CA_may_take_its_time_for_our_certificate(ra: RADesk, ca: CADesk) -> None:
    aliases = dict(ca.world.policies.aliases)
    enrolment = aliases["cmp", "enrolment"]
    aliases["cmp", "enrolment"] = replace(enrolment, approval="operator")
    ca.world.policies = replace(ca.world.policies, aliases=aliases)
    ra.enrolment.sent.clear()
    own = ra.own()
    for _ in range(2):
        with pytest.raises(PKIError) as refused:
            result_of(own.current(()))
        assert "not decided" in (refused.value.hint or "")
    ca.approve()
    chain = result_of(own.current(()))
    assert own.identity(chain).certificate == chain[0] != ra.chain[0]
    types = [PKIMessage.decode(one).body_type for one in ra.enrolment.sent]
    assert types == [
        BodyType.IR,
        BodyType.POLL_REQ,
        BodyType.POLL_REQ,
        BodyType.CERT_CONF,
    ]


def test_a_CA_that_refuses_us_is_quoted_to_the_operator(ra: RADesk, ca: CADesk) -> None:
    ca.world.change_profile("ra", request_subject=False)
    with pytest.raises(PKIError) as refused:
        result_of(ra.own().current(()))
    assert "BAD_CERT_TEMPLATE" in (refused.value.hint or "")


def test_an_answer_under_another_secret_is_none(ra: RADesk) -> None:
    own = OwnCertificate(
        replace(ra.upstream, secret=b"another secret"),
        result_of(ra.world.engine.elsewhere.make_key(NAME, "ec:P-256")),
        ra.world.clock,
        ra.world.random,
    )
    with pytest.raises(PKIError) as refused:
        result_of(own.current(()))
    assert refused.value.code is ErrorCode.UNAVAILABLE


# --- a certificate ----------------------------------------------------------------


@pytest.mark.requirement("CMP-141", "CMP-142")
def test_a_device_gets_a_certificate_of_the_CA(ra: RADesk, ca: CADesk) -> None:
    answer = ra.enroll(subject="CN=device-7")
    assert answer.status.status is PKIStatus.ACCEPTED
    assert ca.record(answer.certificate).status is (
        CertificateStatus.AWAITING_CONFIRMATION
    )
    confirmed = ra.ask(confirmation(answer))
    assert confirmed.body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).status is CertificateStatus.ACTIVE
    record = ra.foreign(answer.certificate)
    assert record.status is CertificateStatus.ACTIVE
    assert record.entity == "device-7"
    assert ra.status(answer.header.transaction_id) is TransactionStatus.DONE
    assert events(ra, "hand-on") == ["done"]
    assert events(ra, "issue")[-1:] == ["issued"]
    assert events(ra, "confirm") == ["done"]


@pytest.mark.requirement("CMP-141")
def test_the_CA_sees_the_devices_transaction_under_our_signature(ra: RADesk) -> None:
    wanted = signed_request(new_key())
    sent = message(BodyType.IR, cert_requests(wanted), ByMAC())
    ra.ask(sent)
    seen = ra.line.last
    assert seen.header.transaction_id == sent.transaction_id
    assert seen.header.sender_nonce == sent.sender_nonce
    assert seen.extra_certs[0] == ra.chain[0]
    assert seen.header.sender.directory_name == Name.from_text(RA_SUBJECT)


def test_implicit_confirmation_is_the_CAs_to_grant(ra: RADesk) -> None:
    answer = ra.enroll(implicit=True)
    assert answer.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    assert ra.foreign(answer.certificate).status is CertificateStatus.ACTIVE
    assert ra.status(answer.header.transaction_id) is TransactionStatus.DONE


def test_an_entrance_may_insist_on_confirmation(ra: RADesk) -> None:
    ra.settings["implicit_confirm"] = False
    answer = ra.enroll(implicit=True)
    assert not answer.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    assert ra.line.last.header.find_info(oids.ID_IT_IMPLICIT_CONFIRM) is None


def test_a_profile_is_asked_for_only_where_it_is_offered_here(ra: RADesk) -> None:
    from pkid.asn1 import der
    from pkid.messages.cmp.header import InfoTypeAndValue

    name = der.sequence(der.utf8_string("ra"))
    wish = InfoTypeAndValue(oids.ID_IT_CERT_PROFILE, name)
    wanted = cert_requests(signed_request(new_key()))
    sent = message(BodyType.IR, wanted, ByMAC(), general_info=(wish,))
    assert ra.ask(sent).fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert ra.line.sent == []


def test_nothing_is_signed_here(ra: RADesk) -> None:
    ra.enroll()
    assert ra.count() == 0
    with pytest.raises(PKIError) as refused:
        ra.world.issue(ra.world.request(ra.world.known_secret("ref")))
    assert refused.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize("implicit", [True, False])
def test_a_rejection_is_passed_on(ra: RADesk, ca: CADesk, implicit: bool) -> None:
    ca.world.change_profile("device", request_subject=False)
    answer = ra.enroll(implicit=implicit)
    assert answer.body_type is BodyType.IP
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert ra.status(answer.header.transaction_id) is TransactionStatus.REJECTED
    assert events(ra, "issue")[-1:] == ["refused"]


def test_a_device_may_reject_its_certificate(ra: RADesk, ca: CADesk) -> None:
    from pkid.messages.cmp.status import PKIStatusInfo

    answer = ra.enroll()
    status = PKIStatusInfo(PKIStatus.REJECTION, ("no",))
    digest = certificate_hash(answer.certificate)
    conf = cert_conf(digest, status=status)
    said = ra.ask(follow(answer, BodyType.CERT_CONF, conf, ByMAC()))
    assert said.body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).status is CertificateStatus.REVOKED
    assert ra.foreign(answer.certificate).status is CertificateStatus.REVOKED


def test_who_gives_up_by_an_error_is_heard_on_both_sides(
    ra: RADesk, ca: CADesk
) -> None:
    from pkid.responders.cmp.failures import error_content

    answer = ra.enroll()
    error = error_content(PKIError(ErrorCode.BAD_REQUEST, "no"))
    said = ra.ask(follow(answer, BodyType.ERROR, error, ByMAC()))
    assert said.body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).status is CertificateStatus.REVOKED
    assert ra.status(answer.header.transaction_id) is TransactionStatus.REJECTED


# --- the same again ---------------------------------------------------------------


def test_the_same_octets_get_the_same_answer_and_the_CA_is_not_asked(
    ra: RADesk,
) -> None:
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    first = ra.ask(sent)
    confirm = confirmation(first)
    second = ra.ask(confirm)
    asked = len(ra.line.sent)
    ra.restart()
    assert ra.reply(sent.octets).body == first.octets
    assert ra.reply(confirm.octets).body == second.octets
    assert len(ra.line.sent) == asked


def test_other_octets_under_the_same_id_are_refused(ra: RADesk) -> None:
    first = ra.enroll()
    again = message(
        BodyType.IR,
        cert_requests(signed_request(new_key())),
        ByMAC(),
        transaction_id=first.header.transaction_id,
    )
    assert ra.ask(again).fail_info is FailInfo.TRANSACTION_ID_IN_USE


def test_a_one_time_secret_sees_its_transaction_through(ra: RADesk) -> None:
    ra.secret("once", uses=1)
    once = ByMAC(reference=b"once")
    answer = ra.enroll(once)
    assert ra.ask(confirmation(answer, once)).body_type is BodyType.PKICONF
    ra.line.sent.clear()
    second = message(BodyType.IR, cert_requests(signed_request(new_key())), once)
    reply = Answer.read(ra.reply(second.octets).body)
    assert reply.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert ra.line.sent == []


# --- who may ----------------------------------------------------------------------


def test_the_CA_hears_nothing_of_who_cannot_prove_who_it_is(ra: RADesk) -> None:
    sent = message(
        BodyType.IR,
        cert_requests(signed_request(new_key())),
        ByMAC(secret=b"wrong" * 4),
    )
    answer = Answer.read(ra.reply(sent.octets).body)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert ra.line.sent == []


def test_the_CA_hears_nothing_of_a_key_without_proof(ra: RADesk) -> None:
    answer = ra.enroll(popo=None)
    assert answer.fail_info is FailInfo.BAD_POP
    other = signed_request(new_key()).popo
    assert ra.enroll(popo=other).fail_info is FailInfo.BAD_POP
    assert ra.line.sent == []


def test_policy_here_holds(ra: RADesk) -> None:
    ra.world.change_profile("device", keys=("rsa:2048",))
    assert ra.enroll().status.status is PKIStatus.REJECTION
    assert ra.line.sent == []


# --- what goes on -----------------------------------------------------------------


def test_a_proof_that_still_stands_goes_on_as_it_came(ra: RADesk) -> None:
    wanted = signed_request(new_key())
    ra.ask(message(BodyType.IR, cert_requests(wanted), ByMAC()))
    assert asked_for(ra) == wanted


def test_raVerified_can_be_said_always(ra: RADesk) -> None:
    ra.options["vouched"] = True
    wanted = signed_request(new_key())
    answer = ra.ask(message(BodyType.IR, cert_requests(wanted), ByMAC()))
    assert answer.status.status is PKIStatus.ACCEPTED
    assert asked_for(ra) == CertReqMsg(wanted.cert_req, RAVerified())


@pytest.mark.requirement("CMP-141")
def test_a_changed_template_says_raVerified(ra: RADesk) -> None:
    entity = EndEntity(
        name="ref",
        status=EntityStatus.NEW,
        created=ra.world.clock.now(),
        subject="CN=registered,O=here",
        alternative_names=("dns:device.example",),
    )
    result_of(ra.world.engine.administration.add_entity(entity, OPERATOR, CMP))
    ra.world.change_alias(mode=Mode.CLIENT)
    answer = ra.enroll(subject="CN=whatever")
    assert answer.status.status is PKIStatus.ACCEPTED
    wanted = asked_for(ra)
    assert isinstance(wanted.popo, RAVerified)
    template = wanted.cert_req.cert_template
    assert template.subject == Name.from_text("CN=registered,O=here").der
    assert [one.oid for one in template.extensions] == [oids.ID_CE_SUBJECT_ALT_NAME]
    issued = BySignature(answer.certificate, new_key()).parsed
    assert Name(issued.subject.public_bytes()).text() == "CN=registered,O=here"


@pytest.mark.requirement("CMP-141")
@pytest.mark.parametrize("original", [True, False])
def test_the_devices_own_message_goes_along_where_it_is_wanted(
    ra: RADesk, original: bool
) -> None:
    ra.options["original"] = original
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    answer = ra.ask(sent)
    found = ra.line.last.header.find_info(oids.ID_IT_ORIG_PKI_MESSAGE)
    if not original:
        assert found is None
        assert answer.status.status is PKIStatus.ACCEPTED
        return
    assert found is not None
    assert found.value is not None
    assert decode_messages(found.value) == (sent.octets,)


def test_alternative_names_that_stay_keep_the_request(ra: RADesk) -> None:
    from pkid.asn1.names import GeneralName

    names = subject_alternative_name([GeneralName.dns("a.example")])
    wanted = signed_request(new_key(), extensions=(names,))
    ra.ask(message(BodyType.IR, cert_requests(wanted), ByMAC()))
    assert isinstance(asked_for(ra).popo, POPOSigningKey)


def test_a_proof_that_names_its_sender_is_replaced(ra: RADesk) -> None:
    """Under our protection the sender is another: the CA could not check it."""
    key = new_key()
    signed = POPOSigningKeyInput.build(ByMAC().sender, spki_of(key))
    algorithm = signature_algorithm_for(key.public_key())
    popo = POPOSigningKey(algorithm, sign(key, algorithm, signed.der), signed)
    answer = ra.enroll(key=key, spki=None, popo=popo)
    assert answer.status.status is PKIStatus.ACCEPTED
    assert isinstance(asked_for(ra).popo, RAVerified)
    assert asked_for(ra).cert_req.cert_template.spki == spki_of(key)


def pkcs10(subject: str) -> CertificationRequest:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name)
    octets = csr.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)
    return CertificationRequest.decode(octets)


def test_a_PKCS10_request_goes_on_as_it_came(ra: RADesk) -> None:
    csr = pkcs10("by-request")
    answer = ra.ask(message(BodyType.P10CR, csr, ByMAC()))
    assert answer.body_type is BodyType.CP
    assert answer.status.status is PKIStatus.ACCEPTED
    assert ra.line.last.body == csr.der


def test_a_PKCS10_request_that_would_have_to_change_is_refused(ra: RADesk) -> None:
    entity = EndEntity(
        name="ref",
        status=EntityStatus.NEW,
        created=ra.world.clock.now(),
        subject="CN=registered",
    )
    result_of(ra.world.engine.administration.add_entity(entity, OPERATOR, CMP))
    ra.world.change_alias(mode=Mode.CLIENT)
    answer = ra.ask(message(BodyType.P10CR, pkcs10("other"), ByMAC()))
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert ra.line.sent == []


@pytest.mark.requirement("CMP-141")
def test_a_vendors_device_enrols_by_the_allow_list_here(ra: RADesk, ca: CADesk) -> None:
    now, maker, key = ra.world.clock.now(), new_key(), new_key()
    root = foreign_certificate(maker, "maker", ca=True, at=now)
    issuer = (x509.load_der_x509_certificate(root), maker)
    unit = BySignature(
        foreign_certificate(key, "unit", serial="AC-1", issuer=issuer, at=now), key
    )
    ra.trust_vendor(root)
    assert ra.enroll(unit).fail_info is FailInfo.NOT_AUTHORIZED
    assert ra.line.sent == []
    ra.allow_unit("AC-1")
    answer = ra.enroll(unit)
    assert answer.status.status is PKIStatus.ACCEPTED
    assert ra.foreign(answer.certificate).entity == "station-1"
    assert isinstance(asked_for(ra).popo, RAVerified)


def test_several_requests_in_a_message_are_refused(ra: RADesk) -> None:
    wanted = [signed_request(new_key(), cert_req_id=number) for number in (0, 1)]
    sent = message(BodyType.IR, cert_requests(*wanted), ByMAC())
    answer = Answer.read(ra.reply(sent.octets).body)
    assert answer.message.body_type in {BodyType.IP, BodyType.ERROR}
    assert ra.line.sent == []


# --- key update, revocation, questions --------------------------------------------


def holder(ra: RADesk, subject: str = "CN=holder") -> BySignature:
    key = new_key()
    answer = ra.enroll(key=key, subject=subject, implicit=True)
    return BySignature(answer.certificate, key)


@pytest.mark.requirement("CMP-141")
def test_a_certificate_of_the_CA_is_updated_through_us(ra: RADesk, ca: CADesk) -> None:
    old = holder(ra)
    wanted = signed_request(new_key(), "CN=holder")
    answer = ra.ask(message(BodyType.KUR, cert_requests(wanted), old))
    assert answer.body_type is BodyType.KUP
    assert answer.status.status is PKIStatus.ACCEPTED
    seen = asked_for(ra).cert_req
    assert seen.control(oids.ID_REG_CTRL_OLD_CERT_ID) is not None
    assert ra.ask(confirmation(answer, old)).body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).replaces == (
        ca.record(old.certificate).reference
    )


def test_a_key_update_under_a_secret_is_refused(ra: RADesk) -> None:
    wanted = signed_request(new_key(), "CN=holder")
    answer = ra.ask(message(BodyType.KUR, cert_requests(wanted), ByMAC()))
    assert answer.fail_info is FailInfo.WRONG_INTEGRITY


@pytest.mark.requirement("CMP-142")
@pytest.mark.parametrize("by_secret", [True, False])
def test_a_device_revokes_its_own_certificate(
    ra: RADesk, ca: CADesk, by_secret: bool
) -> None:
    mine = holder(ra)
    by: ByMAC | BySignature = ByMAC() if by_secret else mine
    answer = ra.ask(message(BodyType.RR, revocation_of(mine.certificate), by))
    assert answer.body_type is BodyType.RP
    assert ca.record(mine.certificate).status is CertificateStatus.REVOKED
    assert ra.foreign(mine.certificate).status is CertificateStatus.REVOKED


def test_an_operator_here_does_not_revoke_what_another_CA_issued(
    ra: RADesk,
) -> None:
    from pkid.engine.model import Requester, RequesterKind, RevocationReason
    from pkid.engine.revocation import RevocationRequest

    record = ra.foreign(holder(ra).certificate)
    request = RevocationRequest(
        reference=record.reference,
        requester=Requester(kind=RequesterKind.OPERATOR, identity=OPERATOR),
        reason=RevocationReason.UNSPECIFIED,
        context=CMP,
        alias="default",
    )
    with pytest.raises(PKIError) as refused:
        result_of(ra.world.engine.revoke(request))
    assert refused.value.code is ErrorCode.NOT_AUTHORIZED
    assert ra.foreign(holder(ra, "CN=b").certificate).status is (
        CertificateStatus.ACTIVE
    )


def test_the_store_of_a_registration_authority_is_whole(ra: RADesk) -> None:
    mine = holder(ra)
    ra.ask(message(BodyType.RR, revocation_of(mine.certificate), mine))
    ra.line.cut = True
    ra.enroll(subject="CN=waits")
    ra.world.close()
    assert fsck(ra.world.directory) == []
    ra.world.open()


def test_a_hold_is_the_CAs_alone(ra: RADesk, ca: CADesk) -> None:
    mine = holder(ra)
    held = revocation_of(mine.certificate, reason_code(6))
    ra.ask(message(BodyType.RR, held, ByMAC()))
    assert ca.record(mine.certificate).status is CertificateStatus.HELD
    assert ra.foreign(mine.certificate).status is CertificateStatus.ACTIVE


def test_nobody_revokes_anothers_certificate_through_us(ra: RADesk, ca: CADesk) -> None:
    mine, other = holder(ra), holder(ra, "CN=other")
    ra.secret("second")
    ra.line.sent.clear()
    for by in (other, ByMAC(reference=b"second")):
        sent = message(BodyType.RR, revocation_of(mine.certificate), by)
        assert ra.ask(sent).fail_info is FailInfo.NOT_AUTHORIZED
    assert ra.line.sent == []


def test_a_certificate_that_was_not_got_here_is_not_revoked_here(
    ra: RADesk, ca: CADesk
) -> None:
    theirs = ca.holder(subject="CN=direct")
    sent = message(BodyType.RR, revocation_of(theirs.certificate), ByMAC())
    assert ra.ask(sent).fail_info is FailInfo.BAD_CERT_ID
    assert ra.line.sent == []


def test_questions_go_on_and_answers_come_back(ra: RADesk) -> None:
    answer = ra.ask(message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), ByMAC()))
    assert answer.body_type is BodyType.GENP
    received = PKIMessage.decode(ra.line.received[-1])
    assert answer.message.body == received.body


# --- the CA is away ---------------------------------------------------------------


@pytest.mark.requirement("CMP-105")
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_device_waits_while_the_CA_is_away(
    ra: RADesk, ca: CADesk, restarted: bool, turned: bool
) -> None:
    ra.line.cut = True
    waiting = ra.enroll()
    assert waiting.body_type is BodyType.IP
    assert waiting.status.status is PKIStatus.WAITING
    still = ra.ask(poll(waiting))
    assert still.body_type is BodyType.POLL_REP
    assert isinstance(still.body, PollRepContent)
    assert still.body.entries[0].check_after == 15
    if restarted:
        ra.restart()
    ra.line.cut = False
    ra.wait(seconds=15)
    if turned:
        assert ra.turn() == 1
        # What came meanwhile is told, also when the CA is gone again.
        ra.line.cut = True
    answer = ra.ask(poll(still))
    assert answer.body_type is BodyType.IP
    ra.line.cut = False
    assert ra.ask(confirmation(answer)).body_type is BodyType.PKICONF
    assert ca.count() == 1


def test_the_CA_is_not_asked_more_often_than_configured(ra: RADesk) -> None:
    ra.line.cut = True
    waiting = ra.enroll()
    asked = len(ra.line.sent)
    for _ in range(5):
        waiting = ra.ask(poll(waiting))
        assert ra.turn() == 0
    assert len(ra.line.sent) == asked


def test_an_answer_that_is_lost_costs_no_second_certificate(
    ra: RADesk, ca: CADesk
) -> None:
    ra.line.losing = True
    waiting = ra.enroll()
    ra.line.losing = False
    ra.wait(seconds=15)
    answer = ra.ask(poll(waiting))
    assert answer.body_type is BodyType.IP
    assert ca.count() == 1
    assert ra.line.sent[0] == ra.line.sent[1]


def test_a_stop_between_asking_and_telling_loses_nothing(
    ra: RADesk, ca: CADesk
) -> None:
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    answers = ra.responder._elsewhere.registration._answers
    seal, broken = answers.answer, []

    async def fails(*_: object) -> None:
        broken.append(True)
        raise PKIError(ErrorCode.UNAVAILABLE, "stopped here")

    answers.answer = fails  # type: ignore[method-assign] # the moment of the stop
    ra.reply(sent.octets)
    assert broken
    answers.answer = seal  # type: ignore[method-assign] # and after it
    ra.restart()
    answer = ra.ask(sent)
    assert answer.status.status is PKIStatus.ACCEPTED
    assert ca.count() == 1


def test_a_confirmation_waits_too(ra: RADesk, ca: CADesk) -> None:
    answer = ra.enroll()
    ra.line.cut = True
    waiting = ra.ask(confirmation(answer))
    assert waiting.body_type is BodyType.ERROR
    assert waiting.status.status is PKIStatus.WAITING
    ra.restart()
    ra.line.cut = False
    ra.wait(seconds=15)
    done = ra.ask(poll(waiting))
    assert done.body_type is BodyType.PKICONF
    assert ca.record(answer.certificate).status is CertificateStatus.ACTIVE
    assert ra.foreign(answer.certificate).status is CertificateStatus.ACTIVE


def test_a_revocation_waits_too(ra: RADesk, ca: CADesk) -> None:
    mine = holder(ra)
    ra.line.cut = True
    sent = message(BodyType.RR, revocation_of(mine.certificate), mine)
    waiting = ra.ask(sent)
    assert waiting.body_type is BodyType.ERROR
    assert waiting.status.status is PKIStatus.WAITING
    ra.line.cut = False
    ra.wait(seconds=15)
    ra.turn()
    assert ca.record(mine.certificate).status is CertificateStatus.REVOKED


def test_what_waited_too_long_for_the_CAs_clock_is_sealed_again(
    ra: RADesk, ca: CADesk
) -> None:
    ca.settings["message_time_window"] = timedelta(minutes=5)
    ra.line.cut = True
    waiting = ra.enroll()
    ra.line.cut = False
    ra.wait(hours=1)
    ra.turn()
    ra.turn()
    answer = ra.ask(poll(waiting))
    assert answer.status.status is PKIStatus.ACCEPTED
    first, second, third = ra.line.sent
    assert first == second != third
    assert ca.count() == 1


def test_a_CA_whose_clock_is_wrong_is_believed(ra: RADesk, ca: CADesk) -> None:
    ca.settings["message_time_window"] = timedelta(minutes=5)
    ca.world.clock.advance(timedelta(minutes=10))
    assert ra.enroll().fail_info is FailInfo.BAD_TIME


def test_what_the_CA_never_answers_is_given_up(ra: RADesk) -> None:
    ra.line.cut = True
    waiting = ra.enroll()
    ra.wait(days=3)
    ra.turn()
    assert ra.status(waiting.header.transaction_id) is TransactionStatus.EXPIRED
    over = ra.ask(poll(waiting))
    assert over.body_type is BodyType.IP
    assert over.fail_info is FailInfo.NOT_AUTHORIZED
    assert events(ra, "give-up") == ["refused"]


def test_only_so_many_requests_are_held(ra: RADesk) -> None:
    ra.options["most_held"] = 2
    ra.line.cut = True
    for number in range(2):
        assert ra.enroll(subject=f"CN=unit-{number}").status.status is (
            PKIStatus.WAITING
        )
    answer = ra.enroll(subject="CN=unit-3")
    assert answer.fail_info is FailInfo.SYSTEM_UNAVAIL


def test_what_cannot_be_looked_at_now_is_looked_at_later(ra: RADesk) -> None:
    ra.line.cut = True
    waiting = ra.enroll()
    number = waiting.header.transaction_id
    ra.wait(seconds=15)
    ra.world.change_alias(upstream="gone")
    assert ra.turn() == 1
    assert ra.turn() == 0
    ra.wait(minutes=2)
    ra.world.change_alias(upstream="")
    assert ra.turn() == 1
    assert ra.turn() == 0
    ra.world.change_alias(upstream=NAME)
    ra.line.cut = False
    ra.wait(minutes=2)
    assert ra.turn() == 1
    assert ra.status(number) is TransactionStatus.ELSEWHERE
    assert ra.ask(poll(waiting)).status.status is PKIStatus.ACCEPTED


def test_what_nobody_looks_at_any_more_ends(ra: RADesk) -> None:
    ra.line.cut = True
    number = ra.enroll().header.transaction_id
    ra.world.change_alias(upstream="")
    ra.wait(days=8)
    ra.turn()
    assert ra.status(number) is TransactionStatus.EXPIRED


# --- decisions that take time -----------------------------------------------------


def test_a_CA_that_wants_to_think_is_polled(ra: RADesk, ca: CADesk) -> None:
    ca.change(approval="operator")
    waiting = ra.enroll()
    assert waiting.status.status is PKIStatus.WAITING
    ra.wait(seconds=15)
    still = ra.ask(poll(waiting))
    assert still.body_type is BodyType.POLL_REP
    assert ra.line.last.body_type is BodyType.POLL_REQ
    ca.approve()
    ra.wait(seconds=90)
    ra.turn()
    answer = ra.ask(poll(still))
    assert answer.status.status is PKIStatus.ACCEPTED
    assert ra.ask(confirmation(answer)).body_type is BodyType.PKICONF
    assert ca.count() == 1


def test_a_CA_that_says_no_after_all_is_heard(ra: RADesk, ca: CADesk) -> None:
    ca.change(approval="operator")
    waiting = ra.enroll()
    ca.reject("not today")
    ra.wait(seconds=90)
    answer = ra.ask(poll(waiting))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


def test_an_approval_here_comes_before_the_CA(ra: RADesk, ca: CADesk) -> None:
    ra.needs_approval()
    waiting = ra.enroll()
    assert waiting.status.status is PKIStatus.WAITING
    still = ra.ask(poll(waiting))
    assert still.body_type is BodyType.POLL_REP
    assert ra.line.sent == []
    ra.restart()
    ra.approve()
    answer = ra.ask(poll(still))
    assert answer.status.status is PKIStatus.ACCEPTED
    assert ra.ask(confirmation(answer)).body_type is BodyType.PKICONF
    assert ca.count() == 1


def test_a_no_here_ends_it(ra: RADesk) -> None:
    ra.needs_approval()
    waiting = ra.enroll()
    ra.reject("no")
    answer = ra.ask(poll(waiting))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    assert ra.line.sent == []


# --- answers that are not the CA's ------------------------------------------------


def flipped(octets: bytes) -> bytes:
    """An answer with one bit of its body changed."""
    answer = PKIMessage.decode(octets)
    index = octets.rindex(answer.body) + len(answer.body) // 2
    return octets[:index] + bytes((octets[index] ^ 1,)) + octets[index + 1 :]


def test_an_answer_that_was_changed_is_none(ra: RADesk) -> None:
    ra.line.forge = flipped
    assert ra.enroll().status.status is PKIStatus.WAITING


def test_whatever_is_wrong_with_an_answer_the_device_waits_or_is_served(
    ra: RADesk,
) -> None:
    """Every 23rd octet of an answer broken in turn: never a surprise."""
    ra.enroll(subject="CN=first", implicit=True)
    size = len(ra.line.received[-1])
    seen = set()
    for number, index in enumerate(range(0, size, 23)):
        ra.line.forge = lambda octets, at=index: (
            octets[:at] + bytes((octets[at] ^ 0x15,)) + octets[at + 1 :]
            if at < len(octets)
            else octets
        )
        answer = ra.enroll(subject=f"CN=unit-{number}", implicit=True)
        seen.add(answer.status.status)
    # What is outside the protection, as certificates of a chain, may be broken.
    assert seen <= {PKIStatus.WAITING, PKIStatus.ACCEPTED}
    assert PKIStatus.WAITING in seen


def test_an_answer_of_another_transaction_is_none(ra: RADesk) -> None:
    holder(ra)
    old = ra.line.received[-1]
    ra.line.forge = lambda _: old
    assert ra.enroll(subject="CN=second").status.status is PKIStatus.WAITING


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"not CMP at all"])
def test_what_is_no_message_is_no_answer(ra: RADesk, octets: bytes) -> None:
    ra.line.forge = lambda _: octets
    assert ra.enroll().status.status is PKIStatus.WAITING


def test_a_device_of_the_PKI_cannot_answer_for_the_CA(ra: RADesk, ca: CADesk) -> None:
    device = ca.holder(subject="CN=impostor")

    def signed_by_device(octets: bytes) -> bytes:
        answer = PKIMessage.decode(octets)
        assert answer.body_type is not None
        header = answer.header
        return message(
            answer.body_type,
            answer.body,
            device,
            transaction_id=header.transaction_id,
            sender_nonce=header.sender_nonce,
            recip_nonce=header.recip_nonce,
            extra_certs=(device.certificate, *ca.world.engine.chain("issuing")),
        ).octets

    ra.line.forge = signed_by_device
    assert ra.enroll().status.status is PKIStatus.WAITING


# --- what is kept -----------------------------------------------------------------


def test_a_certificate_that_nobody_confirms_is_left_to_the_CA(ra: RADesk) -> None:
    answer = ra.enroll()
    ra.wait(minutes=10)
    ra.turn()
    assert ra.status(answer.header.transaction_id) is TransactionStatus.EXPIRED
    assert events(ra, "unconfirmed") == ["done"]
    assert ra.ask(confirmation(answer)).fail_info is FailInfo.BAD_REQUEST


def test_a_certificate_is_confirmed_once(ra: RADesk) -> None:
    answer = ra.enroll()
    done = ra.ask(confirmation(answer))
    digest = certificate_hash(answer.certificate)
    again = follow(done, BodyType.CERT_CONF, cert_conf(digest), ByMAC())
    assert ra.ask(again).fail_info is FailInfo.CERT_CONFIRMED


def test_the_name_of_a_CA_of_ours_is_not_given_away(ra: RADesk) -> None:
    identity = ra.own().identity(ra.chain)
    with pytest.raises(PKIError) as refused:
        ra.world.engine.elsewhere.adopt("issuing", identity)
    assert refused.value.code is ErrorCode.CONFLICT
    assert ra.world.engine.message_identity(NAME)


def test_the_wait_that_is_told_is_at_least_the_configured(ra: RADesk) -> None:
    ra.options["poll_after"] = timedelta(seconds=40)
    ra.line.cut = True
    still = ra.ask(poll(ra.enroll()))
    assert isinstance(still.body, PollRepContent)
    assert still.body.entries[0].check_after == 40
    assert encode_body(BodyType.POLL_REP, still.body)
