"""ccr: a CA of another PKI asks to be certified by ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.aliases import VendorTrust
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import AttributeTypeAndValue, OptionalValidity, RAVerified
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)

ECDSA = AlgorithmIdentifier(oids.ECDSA_WITH_SHA256)
PARTNER = "CN=partner root"


def authority(
    at: datetime,
    *,
    name: str = "partner root",
    issuer: BySignature | None = None,
    purpose: str = "",
) -> BySignature:
    """A CA of another PKI that may sign messages; or what it lets sign for it."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    above = subject if issuer is None else issuer.parsed.subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=3650))
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True
        )
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
    )
    if purpose:
        usage = x509.ExtendedKeyUsage([ObjectIdentifier(purpose)])
        builder = builder.add_extension(usage, critical=False)
    signer = key if issuer is None else issuer.key
    made = builder.sign(signer, hashes.SHA256())
    return BySignature(made.public_bytes(Encoding.DER), key)


@pytest.fixture
def partner(desk: Desk) -> BySignature:
    """A CA that the alias trusts; the alias leads to our root."""
    world = desk.world
    found = authority(world.clock.now())
    trust = VendorTrust(name="partner", anchors=(found.certificate,))
    world.policies = replace(world.policies, vendors={"partner": trust})
    world.change_alias(
        authority="root", certificate_profile="sub-ca", cross_certify=("partner",)
    )
    result_of(world.engine.prepare_message_identity("root", CMP))
    return found


def template(desk: Desk, **changes: Any) -> dict[str, Any]:
    now = desk.world.clock.now()
    fields: dict[str, Any] = {
        "version": 2,
        "signing_alg": ECDSA,
        "issuer": desk.world.engine.authority_subject("root").der,
        "validity": OptionalValidity(now, now + timedelta(days=365)),
        "subject": PARTNER,
    }
    fields.update(changes)
    return fields


def ccr(
    desk: Desk, by: By, key: ec.EllipticCurvePrivateKey | None = None, **changes: Any
) -> Answer:
    popo = changes.pop("popo", "signature")
    controls = changes.pop("controls", ())
    fields = template(desk, **changes)
    request = signed_request(key or new_key(), popo=popo, controls=controls, **fields)
    return desk.ask(message(BodyType.CCR, cert_requests(request), by))


def subordinates(desk: Desk) -> int:
    from pkid.engine.ports import CertificateQuery

    query = CertificateQuery(authority="root", limit=100)
    found = result_of(desk.world.engine.search_certificates(query))
    return sum(record.alias == "default" for record in found)


@pytest.mark.requirement("CMP-145", "CMP-44")
def test_a_trusted_CA_is_certified_under_its_own_name(
    desk: Desk, partner: BySignature
) -> None:
    answer = ccr(desk, partner, partner.key)
    assert answer.body_type is BodyType.CCP
    assert answer.status.status in {PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS}
    answer.check_signature()
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.subject == partner.parsed.subject
    assert issued.public_key() == partner.key.public_key()
    constraints = issued.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca
    conf = cert_conf(certificate_hash(answer.certificate))
    done = desk.ask(follow(answer, BodyType.CERT_CONF, conf, partner))
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-145")
def test_approval_is_asked_for_as_of_others(desk: Desk, partner: BySignature) -> None:
    desk.needs_approval()
    answer = ccr(desk, partner, partner.key)
    assert answer.body_type is BodyType.CCP
    assert answer.status.status is PKIStatus.WAITING
    assert subordinates(desk) == 0


@pytest.mark.requirement("CMP-145", "CMP-45")
def test_a_CA_may_let_its_own_signer_ask(desk: Desk, partner: BySignature) -> None:
    now = desk.world.clock.now()
    signer = authority(now, name="signer", issuer=partner, purpose=oids.ID_KP_CMC_CA)
    answer = ccr(desk, signer, partner.key)
    assert answer.body_type is BodyType.CCP
    assert answer.status.status is not PKIStatus.REJECTION
    other = authority(now, name="device", issuer=partner)
    assert ccr(desk, other).fail_info is FailInfo.SIGNER_NOT_TRUSTED
    assert subordinates(desk) == 1


@pytest.mark.requirement("CMP-145")
def test_a_CA_gets_no_other_name_than_its_own(desk: Desk, partner: BySignature) -> None:
    for subject in ("CN=somebody else", "CN=pkid issuing,O=pkid test"):
        answer = ccr(desk, partner, subject=subject)
        assert answer.body_type is BodyType.CCP
        assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    assert subordinates(desk) == 0


@pytest.mark.requirement("CMP-145", "CMP-43")
def test_a_device_asks_in_vain(desk: Desk) -> None:
    desk.world.change_alias(cross_certify=())
    answer = ccr(desk, desk.holder())
    assert answer.body_type is BodyType.CCP
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-145")
def test_only_ccr_and_only_from_CAs_is_answered_there(
    desk: Desk, partner: BySignature
) -> None:
    as_device = desk.ask(
        message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    )
    assert as_device.fail_info is FailInfo.NOT_AUTHORIZED
    fields = template(desk)
    request = signed_request(partner.key, **fields)
    by_ir = desk.ask(message(BodyType.IR, cert_requests(request), partner))
    assert by_ir.fail_info is FailInfo.NOT_AUTHORIZED
    assert subordinates(desk) == 0


@pytest.mark.requirement("CMP-145")
def test_a_stranger_is_not_trusted(desk: Desk, partner: BySignature) -> None:
    stranger = authority(desk.world.clock.now())
    answer = ccr(desk, stranger)
    assert answer.body_type is BodyType.ERROR
    assert answer.fail_info is FailInfo.SIGNER_NOT_TRUSTED


@pytest.mark.requirement("CMP-36", "CMP-145")
def test_a_ccr_under_a_mac_is_wrongIntegrity(desk: Desk, partner: BySignature) -> None:
    assert ccr(desk, ByMAC()).fail_info is FailInfo.WRONG_INTEGRITY


@pytest.mark.requirement("CMP-145")
@pytest.mark.parametrize(
    "missing", ["version", "signing_alg", "issuer", "validity", "subject", "spki"]
)
def test_a_template_that_is_not_complete_is_badCertTemplate(
    desk: Desk, partner: BySignature, missing: str
) -> None:
    answer = ccr(desk, partner, **{missing: None})
    assert answer.body_type is BodyType.CCP
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE
    assert subordinates(desk) == 0


@pytest.mark.requirement("CMP-145")
def test_a_key_that_cannot_sign_is_badCertTemplate(
    desk: Desk, partner: BySignature
) -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import PublicFormat

    key = X25519PrivateKey.generate().public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert ccr(desk, partner, spki=spki).fail_info is FailInfo.BAD_CERT_TEMPLATE


@pytest.mark.requirement("CMP-145")
@pytest.mark.parametrize("popo", [None, RAVerified()], ids=["none", "raVerified"])
def test_possession_is_proven_by_signature(
    desk: Desk, partner: BySignature, popo: RAVerified | None
) -> None:
    assert ccr(desk, partner, popo=popo).fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-145")
def test_a_wrong_signature_is_badPOP(desk: Desk, partner: BySignature) -> None:
    other = signed_request(new_key(), **template(desk))
    assert ccr(desk, partner, popo=other.popo).fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-145")
def test_a_private_key_is_refused(desk: Desk, partner: BySignature) -> None:
    control = AttributeTypeAndValue(
        oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS, der.implicit(2, der.boolean(value=True))
    )
    answer = ccr(desk, partner, controls=(control,))
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-145")
def test_two_at_once_are_badRequest(desk: Desk, partner: BySignature) -> None:
    requests = [
        signed_request(new_key(), cert_req_id=number, **template(desk))
        for number in (0, 1)
    ]
    answer = desk.ask(message(BodyType.CCR, cert_requests(*requests), partner))
    body = answer.body
    assert answer.body_type is BodyType.CCP
    assert {one.status.status for one in body.responses} == {PKIStatus.REJECTION}  # type: ignore[union-attr]  # a ccp
    assert subordinates(desk) == 0


@pytest.mark.requirement("CMP-146")
def test_a_subordinate_CA_may_ask_by_ir_where_the_profile_says_so(desk: Desk) -> None:
    world = desk.world
    world.change_alias(authority="root", certificate_profile="sub-ca")
    result_of(world.engine.prepare_message_identity("root", CMP))
    answer = desk.enroll(subject="CN=our own subordinate", implicit=True)
    issued = x509.load_der_x509_certificate(answer.certificate)
    constraints = issued.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca
