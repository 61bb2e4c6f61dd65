"""Who sent it, and how the answer is protected."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_algorithm, signature_algorithm_for
from pkid.crypto.mac import (
    PBMAC1Parameters,
    PBMParameters,
    decode_mac_parameters,
    derive_mac_key,
    encode_mac_parameters,
)
from pkid.crypto.signatures import sign
from pkid.engine.model import RequesterKind
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from pkid.messages.crmf import (
    CertReqMsg,
    PKMACValue,
    POPOSigningKey,
    POPOSigningKeyInput,
    RAVerified,
)
from pkid.responders.cmp.aliases import CMPAlias
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    foreign_certificate,
    message,
    new_key,
    pbm,
    revocation_of,
    signed_request,
    spki_of,
)
from tests.responders.test_cmp_enrollment import old_cert_id

HMACS = {
    "sha1": AlgorithmIdentifier(oids.HMAC_SHA1, der.NULL),
    "sha1-rsadsi": AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA1),
    "sha224": AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA224),
    "sha256": AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256),
    "sha384": AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA384),
    "sha512": AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA512),
}


def ir(by: By, request: CertReqMsg | None = None, **header: object) -> Sent:
    wanted = request or signed_request(new_key())
    header.setdefault("general_info", (IMPLICIT,))
    return message(BodyType.IR, cert_requests(wanted), by, **header)


# --- MAC ------------------------------------------------------------------------


@pytest.mark.requirement("CMP-33")
@pytest.mark.parametrize("owf", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("mac", list(HMACS))
def test_pbm_is_taken_and_mirrored_with_every_digest(
    desk: Desk, owf: str, mac: str
) -> None:
    parameters = PBMParameters(bytes(16), hash_algorithm(owf), 500, HMACS[mac])
    by = ByMAC(parameters=parameters)
    answer = desk.ask(ir(by))
    assert answer.certificate
    assert answer.header.protection_alg == by.algorithm


@pytest.mark.requirement("CMP-33")
@pytest.mark.parametrize("mac", list(HMACS))
def test_pbmac1_is_taken_and_mirrored(desk: Desk, mac: str) -> None:
    prf = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.NULL)
    by = ByMAC(parameters=PBMAC1Parameters(bytes(16), 1000, prf, HMACS[mac], 32))
    answer = desk.ask(ir(by))
    assert answer.certificate
    assert answer.header.protection_alg == by.algorithm


@pytest.mark.requirement("CMP-33")
def test_a_fresh_salt_is_a_switch_and_keeps_the_rest(desk: Desk) -> None:
    desk.settings["fresh_salt"] = True
    by = ByMAC(parameters=pbm(700))
    answer = desk.ask(ir(by))
    algorithm = answer.header.protection_alg
    assert algorithm is not None
    parameters = decode_mac_parameters(algorithm)
    assert isinstance(by.parameters, PBMParameters)
    assert parameters.salt != by.parameters.salt
    assert replace(parameters, salt=by.parameters.salt) == by.parameters


@pytest.mark.requirement("CMP-47")
def test_an_alias_may_sign_all_its_answers(desk: Desk) -> None:
    desk.settings["response_protection"] = "signature"
    answer = desk.ask(ir(ByMAC()))
    assert answer.is_signed
    assert answer.certificate


@pytest.mark.requirement("SEC-01", "CMP-31")
def test_dear_derivations_are_paced(desk: Desk) -> None:
    desk.ask(ir(ByMAC(parameters=pbm(2000))))
    assert desk.workers.paced == 0
    desk.ask(ir(ByMAC(parameters=pbm(2001))))
    assert desk.workers.paced == 1
    desk.ask(ir(ByMAC(reference=b"nobody", parameters=pbm(2001))))
    assert desk.workers.paced == 2


@pytest.mark.requirement("SEC-01", "CMP-31")
@pytest.mark.parametrize("count", [-1, 0, 1, 99, 100_001, 2**31, 2**63])
def test_a_count_out_of_bounds_is_refused_without_computing(
    desk: Desk, count: int
) -> None:
    octets = der.sequence(
        der.octet_string(bytes(16)),
        hash_algorithm("sha256").encode(),
        der.integer(count),
        HMACS["sha256"].encode(),
    )
    algorithm = AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC, octets)
    started = time.process_time()
    answer = desk.ask(ir(ByMAC(), protection_alg=algorithm))
    assert time.process_time() - started < 0.2
    assert answer.fail_info is FailInfo.BAD_ALG
    assert desk.workers.runs == 0


def test_an_unknown_reference_computes_what_a_wrong_secret_does(desk: Desk) -> None:
    def cost(by: ByMAC) -> float:
        octets = ir(by).octets
        started = time.process_time()
        desk.reply(octets)
        return time.process_time() - started

    heavy = pbm(1900)
    unknown, wrong = [], []
    for _ in range(25):
        unknown.append(cost(ByMAC(reference=b"nobody", parameters=heavy)))
        wrong.append(cost(ByMAC(secret=b"guess", parameters=heavy)))
        desk.world.clock.advance(timedelta(minutes=2))
    ratio = statistics.median(unknown) / statistics.median(wrong)
    assert 0.5 < ratio < 2


# --- signature ------------------------------------------------------------------


@pytest.mark.requirement("CMP-41")
def test_the_signer_is_found_wherever_it_stands_in_extraCerts(desk: Desk) -> None:
    holder = desk.holder()
    chain = desk.world.engine.chain("issuing")
    by = replace(holder, chain=chain, others_first=True)
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    assert desk.ask(message(BodyType.CR, body, by)).certificate


@pytest.mark.requirement("CMP-41")
def test_our_own_certificate_need_not_be_sent_again(desk: Desk) -> None:
    holder = desk.holder()
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    sent = message(BodyType.CR, body, holder, extra_certs=())
    assert desk.ask(sent).certificate


def test_what_cannot_be_read_in_extraCerts_is_passed_over(desk: Desk) -> None:
    holder = desk.holder()
    by = replace(holder, chain=(der.sequence(der.NULL),), others_first=True)
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    assert desk.ask(message(BodyType.CR, body, by)).certificate


@pytest.mark.requirement("CMP-51", "SEC-08")
def test_identity_is_what_was_verified_and_not_what_the_header_says(
    desk: Desk,
) -> None:
    one, other = desk.holder(), desk.holder(subject="CN=device-2")
    body = cert_requests(signed_request(new_key(), "CN=device-2"))
    # The other's certificate, our own signature: it does not verify.
    forged = BySignature(other.certificate, one.key)
    assert desk.ask(message(BodyType.CR, body, forged)).fail_info is (
        FailInfo.BAD_MESSAGE_CHECK
    )
    # Both certificates come along, the header names the other.
    both = replace(one, chain=(other.certificate,))
    sent = message(BodyType.CR, body, both, sender=other.sender)
    assert desk.ask(sent).fail_info is FailInfo.BAD_MESSAGE_CHECK
    # Properly signed, it still speaks for its own entity only.
    assert desk.ask(message(BodyType.CR, body, one)).fail_info is (
        FailInfo.NOT_AUTHORIZED
    )


@pytest.mark.requirement("CMP-50")
def test_null_parameters_are_taken_by_quirk_only(desk: Desk) -> None:
    holder = desk.holder()
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    null = AlgorithmIdentifier(oids.ECDSA_WITH_SHA256, der.NULL)
    sent = message(BodyType.CR, body, holder, protection_alg=null)
    assert desk.ask(sent).fail_info is FailInfo.BAD_ALG
    desk.settings["quirks"] = frozenset(("null-parameters",))
    assert desk.ask(sent).certificate


@pytest.mark.requirement("CMP-42")
def test_a_certificate_without_digitalSignature_does_not_sign_messages(
    desk: Desk,
) -> None:
    desk.world.change_profile("device", key_usage=("keyAgreement",))
    key = new_key()
    opened = desk.enroll(key=key, subject="CN=device-1", implicit=True)
    by = BySignature(opened.certificate, key)
    answer = desk.enroll(by, subject="CN=device-1")
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-42")
def test_an_expired_certificate_does_not_sign_messages(desk: Desk) -> None:
    holder = desk.holder()
    desk.world.clock.advance(timedelta(days=731))
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    answer = desk.ask(message(BodyType.CR, body, holder))
    assert answer.fail_info is FailInfo.SIGNER_NOT_TRUSTED


def test_answers_are_signed_by_a_certificate_made_for_it(desk: Desk) -> None:
    answer = desk.ask(ir(ByMAC(secret=b"guess")))
    signer = answer.check_signature()
    usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    purposes = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert oids.ID_KP_CMC_CA in {purpose.dotted_string for purpose in purposes}
    issuing, root = desk.world.engine.chain("issuing")
    assert answer.message.extra_certs[1:] == (issuing, root)


# --- proof of possession -----------------------------------------------------------


def with_input(
    key_for_popo: ec.EllipticCurvePrivateKey,
    signed: POPOSigningKeyInput,
    *,
    subject: str | None = None,
    template_key: ec.EllipticCurvePrivateKey | None = None,
) -> CertReqMsg:
    algorithm = signature_algorithm_for(key_for_popo.public_key())
    popo = POPOSigningKey(algorithm, sign(key_for_popo, algorithm, signed.der), signed)
    spki = None if template_key is None else spki_of(template_key)
    return signed_request(key_for_popo, subject, popo=popo, spki=spki)


@pytest.mark.requirement("CMP-83")
def test_poposkInput_by_sender_proves_a_key_without_a_subject(desk: Desk) -> None:
    holder, key = desk.holder(), new_key()
    signed = POPOSigningKeyInput.build(holder.sender, spki_of(key))
    body = cert_requests(with_input(key, signed, template_key=key))
    answer = desk.ask(message(BodyType.KUR, body, holder, general_info=(IMPLICIT,)))
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.public_key() == key.public_key()
    assert issued.subject == holder.parsed.subject


@pytest.mark.requirement("CMP-83", "SEC-09")
def test_poposkInput_of_another_sender_or_key_is_badPOP(desk: Desk) -> None:
    holder, key = desk.holder(), new_key()
    stranger = GeneralName.directory(Name.from_text("CN=another"))
    for signed in (
        POPOSigningKeyInput.build(stranger, spki_of(key)),
        POPOSigningKeyInput.build(holder.sender, spki_of(new_key())),
    ):
        body = cert_requests(with_input(key, signed, template_key=key))
        answer = desk.ask(message(BodyType.KUR, body, holder))
        assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-83")
def test_poposkInput_by_publicKeyMAC_is_tied_to_the_secret(desk: Desk) -> None:
    key, parameters = new_key(), pbm()
    for secret, good in ((ByMAC().secret, True), (b"guess", False)):
        value = derive_mac_key(parameters, secret).compute(spki_of(key))
        mac = PKMACValue(encode_mac_parameters(parameters), value)
        signed = POPOSigningKeyInput.build(mac, spki_of(key))
        request = with_input(key, signed, subject="CN=device-1")
        answer = desk.ask(ir(ByMAC(), request))
        if good:
            assert answer.certificate
        else:
            assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-83")
def test_publicKeyMAC_in_a_signed_request_is_badPOP(desk: Desk) -> None:
    holder, key = desk.holder(), new_key()
    mac = PKMACValue(encode_mac_parameters(pbm()), bytes(20))
    signed = POPOSigningKeyInput.build(mac, spki_of(key))
    body = cert_requests(with_input(key, signed, template_key=key))
    assert desk.ask(message(BodyType.KUR, body, holder)).fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-82", "SEC-09")
def test_poposkInput_beside_subject_and_key_is_badPOP(desk: Desk) -> None:
    by, key = ByMAC(), new_key()
    signed = POPOSigningKeyInput.build(by.sender, spki_of(key))
    request = with_input(key, signed, subject="CN=device-1", template_key=key)
    assert desk.ask(ir(by, request)).fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-82", "SEC-09")
def test_no_bit_of_a_CertRequest_can_change_after_it_was_signed(desk: Desk) -> None:
    request = signed_request(new_key())
    octets = request.cert_req.der
    for bit in range(0, len(octets) * 8, max(1, len(octets) * 8 // 256)):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        popo = request.popo
        assert isinstance(popo, POPOSigningKey)
        body = der.sequence(der.sequence(bytes(changed), popo.encode()))
        answer = Answer.read(
            desk.reply(message(BodyType.IR, body, ByMAC()).octets).body
        )
        assert answer.fail_info in {
            FailInfo.BAD_POP,
            FailInfo.BAD_DATA_FORMAT,
            FailInfo.BAD_CERT_TEMPLATE,
            FailInfo.BAD_ALG,
            FailInfo.BAD_REQUEST,
        }
    assert desk.count() == 0


@pytest.mark.requirement("CMP-82")
def test_a_signature_without_any_key_is_badPOP(desk: Desk) -> None:
    request = signed_request(new_key())
    nothing = signed_request(new_key(), spki=None, popo=request.popo)
    assert desk.ask(ir(ByMAC(), nothing)).fail_info is FailInfo.BAD_POP


# --- registration authorities ------------------------------------------------------


def registration_authority(desk: Desk, *, listed: bool = True) -> BySignature:
    desk.world.change_profile("device", extended_key_usage=(oids.ID_KP_CMC_RA,))
    holder = desk.holder(subject="CN=ra-1")
    desk.world.change_profile("device", extended_key_usage=(oids.ID_KP_CLIENT_AUTH,))
    if listed:
        desk.world.change_alias(registration_authorities=("CN=ra-1",))
    return holder


@pytest.mark.requirement("CMP-84", "SEC-07", "CMP-45")
def test_a_listed_registration_authority_vouches_for_possession(desk: Desk) -> None:
    authority = registration_authority(desk)
    request = signed_request(new_key(), "CN=meter-1", popo=RAVerified())
    answer = desk.ask(ir(authority, request))
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.subject.rfc4514_string() == "CN=meter-1"


@pytest.mark.requirement("CMP-84", "SEC-07", "CMP-45")
def test_raVerified_needs_both_the_listing_and_the_purpose(desk: Desk) -> None:
    unlisted = registration_authority(desk, listed=False)
    request = signed_request(new_key(), "CN=ra-1", popo=RAVerified())
    assert desk.ask(ir(unlisted, request)).fail_info is FailInfo.NOT_AUTHORIZED
    ordinary = desk.holder(subject="CN=device-9")
    desk.world.change_alias(registration_authorities=("CN=device-9",))
    request = signed_request(new_key(), "CN=device-9", popo=RAVerified())
    assert desk.ask(ir(ordinary, request)).fail_info is FailInfo.NOT_AUTHORIZED


def test_an_alias_may_refuse_raVerified_altogether(desk: Desk) -> None:
    authority = registration_authority(desk)
    desk.settings["raverified"] = False
    request = signed_request(new_key(), "CN=meter-1", popo=RAVerified())
    assert desk.ask(ir(authority, request)).fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-118")
def test_a_registration_authority_revokes_on_behalf(desk: Desk) -> None:
    holder = desk.holder()
    authority = registration_authority(desk)
    sent = message(BodyType.RR, revocation_of(holder.certificate), authority)
    assert desk.ask(sent).status.status == 0


def test_a_registration_authority_names_what_it_updates(desk: Desk) -> None:
    holder = desk.holder()
    authority = registration_authority(desk)
    nameless = cert_requests(signed_request(new_key(), "CN=device-1"))
    refused = desk.ask(message(BodyType.KUR, nameless, authority))
    assert refused.fail_info is FailInfo.BAD_CERT_ID
    body = cert_requests(
        signed_request(
            new_key(), "CN=device-1", controls=(old_cert_id(holder.certificate),)
        )
    )
    answer = desk.ask(message(BodyType.KUR, body, authority))
    assert answer.body_type is BodyType.KUP
    assert answer.certificate


# --- settings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"conformance": "rfc9483"},
        {"response_protection": "pbe"},
        {"response_protection": "kem"},
        {"maximum_iterations": 99},
        {"quirks": frozenset(("unheard-of",))},
    ],
)
def test_what_is_not_offered_cannot_be_configured(
    desk: Desk, settings: dict[str, object]
) -> None:
    with pytest.raises(PKIError):
        CMPAlias(alias=desk.world.alias, **settings)


def test_the_requester_of_a_signed_message_is_its_certificate(desk: Desk) -> None:
    holder = desk.holder()
    requester = result_of(
        desk.world.engine.identify(desk.world.alias, holder.certificate, ())
    )
    assert requester.kind is RequesterKind.CERTIFICATE


def test_a_vendor_certificate_is_trusted_where_its_root_is(desk: Desk) -> None:
    now = desk.world.clock.now()
    anchor_key, unit_key = new_key(), new_key()
    anchor = foreign_certificate(anchor_key, "vendor", ca=True, at=now)
    above = (x509.load_der_x509_certificate(anchor), anchor_key)
    unit = foreign_certificate(unit_key, issuer=above, at=now)
    by = BySignature(unit, unit_key)
    assert desk.ask(ir(by)).fail_info is FailInfo.SIGNER_NOT_TRUSTED
    desk.trust_vendor(anchor)
    desk.allow_unit("0001")
    answer = desk.ask(ir(by))
    assert answer.is_signed
    assert answer.certificate


def test_a_failure_that_cannot_be_written_down_is_refused_all_the_same(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> None:
        raise PKIError(ErrorCode.UNAVAILABLE, "the disk is full")

    monkeypatch.setattr(desk.world.engine, "report_failure", full)
    for by in (ByMAC(secret=b"guess"), ByMAC(reference=b"nobody")):
        assert desk.ask(ir(by)).fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_a_template_may_name_the_issuer_of_its_own_certificate(desk: Desk) -> None:
    # OpenSSL's client takes the issuer from -cert when nothing else is said.
    now = desk.world.clock.now()
    anchor_key, unit_key = new_key(), new_key()
    anchor = foreign_certificate(anchor_key, "vendor", ca=True, at=now)
    above = (x509.load_der_x509_certificate(anchor), anchor_key)
    unit = foreign_certificate(unit_key, issuer=above, at=now)
    desk.trust_vendor(anchor)
    desk.allow_unit("0001")
    vendor = Name(above[0].subject.public_bytes()).der
    stranger = Name.from_text("CN=another").der
    by = BySignature(unit, unit_key)
    refused = desk.ask(ir(by, signed_request(new_key(), issuer=stranger)))
    assert refused.fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert desk.ask(ir(by, signed_request(new_key(), issuer=vendor))).certificate
