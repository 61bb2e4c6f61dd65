"""EST's /fullcmc: simple and full requests, controls, refusals in CMC's words."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.asn1 import der, oids
from pkid.asn1.cms.signed import SignedData
from pkid.asn1.names import GeneralName, Name
from pkid.engine.aliases import Authentication
from pkid.engine.model import CertificateReference, CertificateStatus
from pkid.engine.profiles import CertificateProfile
from pkid.errors import ErrorCode
from pkid.messages.cmc import CMCFailInfo, CMCStatus
from pkid.messages.crmf import CertReqMsg, CertRequest, CertTemplate, RAVerified
from pkid.messages.pkcs10 import Attribute
from pkid.responders.base import Reply
from pkid.responders.est.failures import FAIL_INFO
from tests.engine.world import result_of
from tests.responders.cmcpeer import (
    CMC_REQUEST,
    Response,
    control,
    crm,
    identity_proof,
    octets_control,
    pki_data,
    signed_request,
    tcr,
)
from tests.responders.estdesk import (
    PASSWORD,
    USER,
    ESTDesk,
    basic,
    certificates,
    csr,
    new_key,
    san,
)


@pytest.fixture
def cmc(est: ESTDesk) -> ESTDesk:
    est.settings["full_cmc"] = True
    return est


def ask(est: ESTDesk, octets: bytes, **fields: Any) -> Reply:
    return est.ask("fullcmc", octets, headers=CMC_REQUEST, **fields)


def full(
    est: ESTDesk,
    controls: tuple[Any, ...] = (),
    requests: tuple[bytes, ...] = (),
    signer: tuple[Any, x509.Certificate] | None = None,
    **fields: Any,
) -> Response:
    octets = signed_request(pki_data(controls, requests), *(signer or ()))
    return Response.read(ask(est, octets, **fields))


def names(certificate: x509.Certificate) -> bytes:
    return certificate.issuer.public_bytes()


def revoke_control(
    part: int, certificate: x509.Certificate, reason: int = 1, *more: bytes
) -> Any:
    value = der.sequence(
        names(certificate),
        der.integer(certificate.serial_number),
        der.encode(der.ENUMERATED, bytes((reason,))),
        *more,
    )
    return control(part, oids.ID_CMC_REVOKE_REQUEST, value)


def status_of(est: ESTDesk, certificate: x509.Certificate) -> CertificateStatus:
    reference = CertificateReference("issuing", certificate.serial_number)
    record = result_of(est.world.engine.find_certificate(reference))
    assert record is not None
    return record.status


# --- requests ---------------------------------------------------------------------


@pytest.mark.requirement("EST-37")
def test_a_simple_request_is_answered_as_simpleenroll(cmc: ESTDesk) -> None:
    reply = ask(cmc, csr(new_key()), user=basic())
    assert reply.content_type == "application/pkcs7-mime; smime-type=certs-only"
    assert len(certificates(reply)) == 1
    assert ask(cmc, csr(new_key())).status == 401
    refused = ask(cmc, csr(new_key(), signer=new_key()), user=basic())
    assert refused.status == 400
    (status,) = Response.read(refused).statuses
    assert status.failure == CMCFailInfo.POP_FAILED
    assert status.parts == (1,)


@pytest.mark.parametrize("form", ["PKCS #10", "CRMF"])
@pytest.mark.requirement("EST-37")
def test_a_signed_request_gets_its_certificate(cmc: ESTDesk, form: str) -> None:
    signer = cmc.holder()
    key = new_key()
    request = tcr(7, csr(key)) if form == "PKCS #10" else crm(7, key)
    controls = (
        control(1, oids.ID_CMC_TRANSACTION_ID, der.integer(4711)),
        octets_control(2, oids.ID_CMC_SENDER_NONCE, b"nonce of the client"),
        octets_control(3, oids.ID_CMC_DATA_RETURN, b"my own"),
        octets_control(4, oids.ID_CMC_REG_INFO, b"whatever"),
    )
    response = full(cmc, controls, (request,), signer)
    (status,) = response.statuses
    assert (status.status, status.parts) == (CMCStatus.SUCCESS, (7,))
    assert any(one.public_key() == key.public_key() for one in response.certificates)
    answered = response.controls
    assert answered[oids.ID_CMC_TRANSACTION_ID] == der.integer(4711)
    nonce = answered[oids.ID_CMC_RECIPIENT_NONCE]
    assert nonce == der.octet_string(b"nonce of the client")
    assert answered[oids.ID_CMC_DATA_RETURN] == der.octet_string(b"my own")
    assert len(answered[oids.ID_CMC_SENDER_NONCE]) == 18
    again = full(cmc, controls, (request,), signer)
    assert set(again.certificates) == set(response.certificates)


@pytest.mark.requirement("EST-37")
def test_the_connection_speaks_for_a_request_that_nobody_signed(cmc: ESTDesk) -> None:
    response = full(cmc, (), (tcr(1, csr(new_key())),), user=basic())
    assert response.statuses[0].status == CMCStatus.SUCCESS
    nobody = ask(cmc, signed_request(pki_data((), (tcr(1, csr(new_key())),))))
    assert nobody.status == 401


@pytest.mark.requirement("EST-37")
def test_an_identity_proof_speaks_for_a_key_of_its_own(cmc: ESTDesk) -> None:
    key = new_key()
    requests = (tcr(3, csr(key)),)
    controls = identity_proof(1, requests, PASSWORD, USER)
    octets = signed_request(pki_data(controls, requests), key, by_key_id=True)
    response = Response.read(ask(cmc, octets))
    assert response.statuses[0].status == CMCStatus.SUCCESS
    wrong = identity_proof(1, requests, "guess", USER)
    for others in (wrong, identity_proof(1, requests, PASSWORD, "nobody"), wrong[:1]):
        octets = signed_request(pki_data(others, requests), key, by_key_id=True)
        reply = ask(cmc, octets)
        assert reply.status == 403
        (status,) = Response.read(reply).statuses
        assert status.failure == CMCFailInfo.BAD_IDENTITY
        assert status.parts == (0,)


def test_an_old_identity_proof_is_read(cmc: ESTDesk) -> None:
    requests = (tcr(3, csr(new_key())),)
    key = hashlib.sha1((PASSWORD + USER).encode()).digest()
    witness = hmac.digest(key, der.sequence(*requests), "sha1")
    controls = (
        octets_control(1, oids.ID_CMC_IDENTITY_PROOF, witness),
        control(2, oids.ID_CMC_IDENTIFICATION, der.utf8_string(USER)),
    )
    response = full(cmc, controls, requests)
    assert response.statuses[0].status == CMCStatus.SUCCESS


@pytest.mark.parametrize("right", [True, False, None])
def test_a_pop_link_ties_each_request_to_the_secret(
    cmc: ESTDesk, right: bool | None
) -> None:
    random = b"r" * 64
    key = hashlib.sha1((PASSWORD if right else "guess").encode()).digest()
    witness = der.octet_string(hmac.digest(key, random, "sha1"))
    attributes = (Attribute(oids.ID_CMC_POP_LINK_WITNESS, (witness,)),)
    requests = (tcr(5, csr(new_key(), attributes=attributes[: right is not None])),)
    controls = (
        *identity_proof(1, requests, PASSWORD, USER),
        octets_control(4, oids.ID_CMC_POP_LINK_RANDOM, random),
    )
    (status,) = full(cmc, controls, requests).statuses
    expected = None if right else CMCFailInfo.BAD_IDENTITY
    assert status.failure == expected


@pytest.mark.requirement("EST-37")
def test_waiting_is_pending_and_asked_for_by_its_token(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    cmc.change_alias(approval="operator")
    key = new_key()
    (status,) = full(cmc, (), (tcr(9, csr(key)),), signer).statuses
    assert (status.status, status.parts) == (CMCStatus.PENDING, (9,))
    assert status.token is not None
    query = (octets_control(1, oids.ID_CMC_QUERY_PENDING, status.token),)
    (waiting,) = full(cmc, query, (), signer).statuses
    assert (waiting.status, waiting.token) == (CMCStatus.PENDING, status.token)
    cmc.change_alias(approval="automatic")
    other = cmc.holder("CN=device-2")
    cmc.change_alias(approval="operator")
    (stranger,) = full(cmc, query, (), other).statuses
    assert stranger.status == CMCStatus.FAILED
    cmc.approve()
    response = full(cmc, query, (), signer)
    assert response.statuses[0].status == CMCStatus.SUCCESS
    assert any(one.public_key() == key.public_key() for one in response.certificates)


# --- registration authorities -----------------------------------------------------


@pytest.fixture
def authority(cmc: ESTDesk) -> tuple[Any, x509.Certificate]:
    profile = CertificateProfile(
        name="ra",
        validity=timedelta(days=30),
        extended_key_usage=(oids.ID_KP_CLIENT_AUTH, oids.ID_KP_CMC_RA),
    )
    profiles = {**cmc.world.policies.certificate_profiles, "ra": profile}
    cmc.world.policies = replace(cmc.world.policies, certificate_profiles=profiles)
    cmc.change_alias(certificate_profile="ra")
    holder = cmc.holder("CN=ra-1")
    cmc.change_alias(
        certificate_profile="device",
        registration_authorities=("CN=ra-1",),
        authenticate=frozenset(Authentication) - {Authentication.VENDOR},
    )
    return holder


@pytest.mark.requirement("EST-38", "EST-20")
def test_an_authority_sends_many_requests_in_one_message(
    cmc: ESTDesk, authority: tuple[Any, x509.Certificate]
) -> None:
    requests = tuple(
        tcr(number, csr(new_key(), f"CN=bulk-{number}")) for number in range(1, 6)
    )
    broken = tcr(6, csr(new_key(), "CN=bulk-6", signer=new_key()))
    response = full(cmc, (), (*requests, broken), authority)
    assert [one.status for one in response.statuses] == [0, 0, 0, 0, 0, 2]
    assert response.statuses[-1].failure == CMCFailInfo.POP_FAILED
    for number in range(1, 6):
        assert response.of(f"CN=bulk-{number}")


@pytest.mark.requirement("EST-38")
def test_keys_that_cannot_sign_are_vouched_for(
    cmc: ESTDesk, authority: tuple[Any, x509.Certificate]
) -> None:
    cmc.change_profile(keys=("x25519", "ec:P-256"))
    key = x25519.X25519PrivateKey.generate()
    spki = key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    template = CertTemplate(subject=Name.from_text("CN=box").der, spki=spki)
    message = CertReqMsg(CertRequest.build(3, template), RAVerified())
    request = der.implicit(1, message.encode())
    response = full(cmc, (), (request,), authority)
    assert response.of("CN=box").public_key() == key.public_key()
    (refused,) = full(cmc, (), (request,), cmc.holder()).statuses
    assert refused.failure == CMCFailInfo.POP_FAILED


def test_another_than_who_is_connected_may_not_have_signed(
    cmc: ESTDesk, authority: tuple[Any, x509.Certificate]
) -> None:
    one, other = cmc.holder(), cmc.holder("CN=device-2")
    request = (tcr(1, csr(new_key())),)
    (refused,) = full(cmc, (), request, one, cert=other[1]).statuses
    assert refused.failure == CMCFailInfo.BAD_IDENTITY
    for connected in (one[1], authority[1]):
        (status,) = full(cmc, (), request, one, cert=connected).statuses
        assert status.status == CMCStatus.SUCCESS


# --- revocation, certificates, CRLs -----------------------------------------------


@pytest.mark.requirement("EST-38")
def test_a_device_revokes_its_own_certificate_and_no_other(cmc: ESTDesk) -> None:
    one, other = cmc.holder(), cmc.holder("CN=device-2")
    (refused,) = full(cmc, (revoke_control(1, other[1]),), (), one).statuses
    assert refused.failure == CMCFailInfo.BAD_IDENTITY
    comment = der.utf8_string("lost")
    (status,) = full(cmc, (revoke_control(1, one[1], 1, comment),), (), one).statuses
    assert status.status == CMCStatus.SUCCESS
    assert status_of(cmc, one[1]) is CertificateStatus.REVOKED
    assert status_of(cmc, other[1]) is CertificateStatus.ACTIVE
    (again,) = full(cmc, (revoke_control(1, one[1]),), (), one).statuses
    assert again.status == CMCStatus.FAILED


@pytest.mark.requirement("EST-38")
def test_who_lost_the_key_revokes_by_the_code(cmc: ESTDesk) -> None:
    _, lost = cmc.holder()
    _, helper = cmc.holder("CN=device-2")
    identification = control(2, oids.ID_CMC_IDENTIFICATION, der.utf8_string(USER))
    for secret, status in ((b"guess", 2), (PASSWORD.encode(), 0)):
        wish = revoke_control(1, lost, 1, der.octet_string(secret))
        (found,) = full(cmc, (wish, identification), (), cert=helper).statuses
        assert found.status == status
    assert status_of(cmc, lost) is CertificateStatus.REVOKED


def test_an_identity_proof_alone_revokes_nothing(cmc: ESTDesk) -> None:
    _, certificate = cmc.holder()
    key = new_key()
    for requests, signer in (((), ()), ((tcr(9, csr(key)),), (key,))):
        controls = (
            *identity_proof(1, requests, PASSWORD, USER),
            revoke_control(5, certificate),
        )
        octets = signed_request(
            pki_data(controls, requests), *signer, by_key_id=bool(signer)
        )
        found = Response.read(ask(cmc, octets)).statuses
        (status,) = [one for one in found if one.parts == (5,)]
        # What a key within the proof has signed is covered by the proof.
        expected = CMCStatus.SUCCESS if signer else CMCStatus.FAILED
        assert status.status == expected
    assert status_of(cmc, certificate) is CertificateStatus.REVOKED


@pytest.mark.parametrize("reason", [7, 11, 99])
def test_a_reason_that_is_none_is_refused(cmc: ESTDesk, reason: int) -> None:
    signer = cmc.holder()
    wish = revoke_control(1, signer[1], reason)
    (status,) = full(cmc, (wish,), (), signer).statuses
    assert status.failure == CMCFailInfo.BAD_REQUEST


@pytest.mark.requirement("EST-37")
def test_certificates_and_crls_come_in_a_simple_response(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    _, wanted = cmc.holder("CN=device-2")
    issuer = GeneralName.directory(Name.decode(names(wanted))).encode()
    get_cert = der.sequence(issuer, der.integer(wanted.serial_number))
    get_crl = der.sequence(names(wanted))
    controls = (
        control(1, oids.ID_CMC_GET_CERT, get_cert),
        control(2, oids.ID_CMC_GET_CRL, get_crl),
    )
    octets = signed_request(pki_data(controls, ()), *signer)
    reply = ask(cmc, octets)
    assert reply.content_type == "application/pkcs7-mime; smime-type=certs-only"
    found = SignedData.decode_content_info(base64.b64decode(reply.body))
    assert found.certificates == (wanted.public_bytes(Encoding.DER),)
    assert len(found.crls) == 1


def test_what_is_not_there_is_bad_cert_id(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    stranger = Name.from_text("CN=nobody").der
    issuer = GeneralName.directory(Name.decode(stranger)).encode()
    controls = (
        control(1, oids.ID_CMC_GET_CERT, der.sequence(issuer, der.integer(5))),
        control(2, oids.ID_CMC_GET_CRL, der.sequence(stranger)),
        control(
            3,
            oids.ID_CMC_REVOKE_REQUEST,
            der.sequence(stranger, der.integer(5), der.encode(der.ENUMERATED, b"\1")),
        ),
    )
    octets = signed_request(pki_data(controls, ()), *signer)
    reply = ask(cmc, octets)
    assert reply.status == 400
    found = Response.read(reply).statuses
    assert {one.failure for one in found} == {CMCFailInfo.BAD_CERT_ID}
    assert [one.parts for one in found] == [(1,), (2,), (3,)]


# --- refusals ---------------------------------------------------------------------


def test_unknown_controls_fail_everything_and_are_named(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    controls = (
        control(4, "1.3.6.1.5.5.7.7.31", der.NULL),
        octets_control(5, oids.ID_CMC_REG_INFO, b""),
        control(6, "1.3.6.1.4.1.99999.1", der.NULL),
    )
    before = len(result_of(cmc.world.store.list_entities("", 100)))
    response = full(cmc, controls, (tcr(1, csr(new_key())),), signer)
    (status,) = response.statuses
    assert (status.failure, status.parts) == (CMCFailInfo.BAD_REQUEST, (4, 6))
    assert len(result_of(cmc.world.store.list_entities("", 100))) == before


def broken() -> dict[str, bytes]:
    key = new_key()
    good = pki_data((), (tcr(1, csr(key)),))
    part = octets_control(1, oids.ID_CMC_REG_INFO, b"")
    return {
        "another content type": signed_request(good, content_type=oids.ID_DATA),
        "no PKIData": signed_request(der.sequence()),
        "not SignedData": der.sequence(der.oid(oids.ID_DATA)),
        "an id twice": signed_request(pki_data((part, part), ())),
        "an id out of range": signed_request(
            pki_data((control(2**32, oids.ID_CMC_REG_INFO, der.NULL),), ())
        ),
        "an unknown form": signed_request(
            pki_data((), (der.encode(0xA3, der.integer(1)),))
        ),
    }


@pytest.mark.parametrize("what", sorted(broken()))
@pytest.mark.requirement("EST-37")
def test_what_is_no_full_request_is_refused_in_cmcs_words(
    cmc: ESTDesk, what: str
) -> None:
    reply = ask(cmc, broken()[what], user=basic())
    assert reply.status in {400, 403}
    (status,) = Response.read(reply).statuses
    assert status.failure == CMCFailInfo.BAD_REQUEST


def test_a_signature_that_is_wrong_is_bad_message_check(cmc: ESTDesk) -> None:
    _, certificate = cmc.holder()
    octets = signed_request(
        pki_data((), (tcr(1, csr(new_key())),)), new_key(), certificate
    )
    reply = ask(cmc, octets)
    assert reply.status == 403
    (status,) = Response.read(reply).statuses
    assert (status.failure, status.parts) == (CMCFailInfo.BAD_MESSAGE_CHECK, (0,))


def test_a_revoked_signer_is_refused(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    cmc.revoke(signer[1])
    reply = ask(cmc, signed_request(pki_data((), (tcr(1, csr(new_key())),)), *signer))
    assert reply.status == 403
    assert Response.read(reply).statuses[0].failure == CMCFailInfo.BAD_IDENTITY


def test_both_wants_the_connection_too(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    cmc.settings["both"] = True
    octets = signed_request(pki_data((), (tcr(1, csr(new_key())),)), *signer)
    assert ask(cmc, octets).status == 403
    response = Response.read(ask(cmc, octets, cert=signer[1], user=basic()))
    assert response.statuses[0].status == CMCStatus.SUCCESS


def test_every_code_has_its_word() -> None:
    assert set(FAIL_INFO) == set(ErrorCode)


def test_extensions_of_a_crmf_request_are_read(cmc: ESTDesk) -> None:
    signer = cmc.holder()
    key = new_key()
    request = crm(2, key, extensions=(san("a.example"),))
    response = full(cmc, (), (request,), signer)
    (made,) = [
        one for one in response.certificates if one.public_key() == key.public_key()
    ]
    found = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert found.value.get_values_for_type(x509.DNSName) == ["a.example"]
