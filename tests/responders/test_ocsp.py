"""OCSP: who answers, what is said, how long it is kept."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, encode_extensions
from pkid.crypto.algorithms import HASH_OIDS, digest
from pkid.crypto.publickeys import decode_spki
from pkid.engine.aliases import AuthoritySettings, OCSPMode, UnknownSerial
from pkid.engine.creation import NewAuthority
from pkid.engine.model import Issued, RevocationReason
from pkid.engine.profiles import CertificateProfile
from pkid.engine.revocation import RevocationRequest
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Reply
from pkid.responders.status.failures import OCSP_STATUSES
from pkid.responders.status.responder import StatusResponder
from tests.engine.world import CMP, OPERATOR_REQUESTER, World, result_of
from tests.responders.desk import Desk
from tests.support.lint import lint_ocsp_response

GOOD = ocsp.OCSPCertStatus.GOOD
REVOKED = ocsp.OCSPCertStatus.REVOKED
UNKNOWN = ocsp.OCSPCertStatus.UNKNOWN
SUCCESSFUL = ocsp.OCSPResponseStatus.SUCCESSFUL
MALFORMED = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
TRY_LATER = ocsp.OCSPResponseStatus.TRY_LATER
PROFILE = CertificateProfile(
    name="ocsp",
    validity=timedelta(days=30),
    key_usage=("digitalSignature",),
    extended_key_usage=(oids.ID_KP_OCSP_SIGNING,),
    ocsp_no_check=True,
    crl_distribution_point=False,
    ocsp_responder=False,
)
DAY = timedelta(days=1)


@pytest.fixture
def world(desk: Desk) -> World:
    return desk.world


@pytest.fixture
def status(world: World) -> World:
    profiles = {**world.policies.certificate_profiles, "ocsp": PROFILE}
    world.policies = replace(world.policies, certificate_profiles=profiles)
    assert result_of(world.engine.prepare_ocsp(CMP)) == 2
    return world


def configure(world: World, **settings: Any) -> None:
    said = AuthoritySettings(name="issuing", **settings)
    world.policies = replace(world.policies, authorities={"issuing": said})
    result_of(world.engine.prepare_ocsp(CMP))


def issue(world: World, name: str = "one") -> Issued:
    return world.issue(world.request(world.secret(name), subject=f"CN={name}"))


def serial(issued: Issued) -> int:
    return issued.certificate.reference.serial


def revoke(
    world: World,
    issued: Issued,
    reason: RevocationReason = RevocationReason.KEY_COMPROMISE,
) -> None:
    request = RevocationRequest(
        reference=issued.certificate.reference,
        reason=reason,
        requester=OPERATOR_REQUESTER,
        context=CMP,
    )
    result_of(world.engine.revoke(request))


def issuer(world: World, name: str = "issuing") -> x509.Certificate:
    return x509.load_der_x509_certificate(world.engine.authority_certificate(name))


def cert_id(certificate: x509.Certificate, number: int, hash_name: str) -> bytes:
    spki = certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return der.sequence(
        AlgorithmIdentifier(HASH_OIDS[hash_name]).encode(),
        der.octet_string(digest(hash_name, certificate.subject.public_bytes())),
        der.octet_string(digest(hash_name, decode_spki(spki).key)),
        der.integer(number),
    )


def request(
    *cert_ids: bytes, extensions: tuple[Extension, ...] = (), tail: bytes = b""
) -> bytes:
    body = der.sequence(*(der.sequence(one) for one in cert_ids))
    if extensions:
        body += der.explicit(2, encode_extensions(extensions))
    return der.sequence(der.sequence(body), tail)


def nonce(octets: bytes) -> Extension:
    return Extension(oids.ID_PKIX_OCSP_NONCE, critical=False, value=octets)


def send(world: World, octets: bytes, method: str = "POST", **headers: str) -> Reply:
    responder = StatusResponder(world.engine, world.clock)
    rest = base64.b64encode(octets).decode("ascii") if method == "GET" else ""
    exchange = Exchange(
        transport="http",
        alias="",
        operation="ocsp",
        method=method,
        body=b"" if method == "GET" else octets,
        rest=rest,
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )
    reply = result_of(responder.respond(exchange))
    assert reply.status in {200, 304}
    return reply


def ask(
    world: World,
    number: int,
    name: str = "issuing",
    hash_name: str = "sha1",
    extensions: tuple[Extension, ...] = (),
) -> ocsp.OCSPResponse:
    """The answer; its signature and the signer's right to it are verified."""
    authority = issuer(world, name)
    octets = request(cert_id(authority, number, hash_name), extensions=extensions)
    response = ocsp.load_der_ocsp_response(send(world, octets).body)
    if response.response_status is SUCCESSFUL:
        verify(response, authority)
    return response


@pytest.mark.requirement("ENG-32")
def test_another_reader_finds_nothing_wrong(status: World) -> None:
    configure(
        status,
        ocsp_archive_cutoff=DAY,
        ocsp_unknown=UnknownSerial.REVOKED,
    )
    good, gone = issue(status), issue(status, "gone")
    revoke(status, gone)
    value = (nonce(der.octet_string(b"n" * 16)),)
    for number in (serial(good), serial(gone), 12345):
        for extensions in ((), value):
            response = ask(status, number, extensions=extensions)
            assert lint_ocsp_response(response.public_bytes(Encoding.DER)) == []


def verify(response: ocsp.OCSPResponse, authority: x509.Certificate) -> None:
    signer = authority
    for certificate in response.certificates:
        certificate.verify_directly_issued_by(authority)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
        assert x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING in usage.value
        assert certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
        signer = certificate
    key = signer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert response.signature_hash_algorithm is not None
    key.verify(
        response.signature,
        response.tbs_response_bytes,
        ec.ECDSA(response.signature_hash_algorithm),
    )
    bits = decode_spki(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).key
    assert response.responder_key_hash == digest("sha1", bits)


def refused(reply: Reply) -> ocsp.OCSPResponseStatus:
    assert dict(reply.headers)["Cache-Control"] == "no-store"
    return ocsp.load_der_ocsp_response(reply.body).response_status


# --- what is said -------------------------------------------------------------------


@pytest.mark.requirement("ENG-32")
@pytest.mark.parametrize("hash_name", sorted(HASH_OIDS))
def test_an_issuer_is_found_by_any_digest(status: World, hash_name: str) -> None:
    issued = issue(status)
    octets = request(cert_id(issuer(status), serial(issued), hash_name))
    response = ocsp.load_der_ocsp_response(send(status, octets).body)
    assert response.certificate_status is GOOD
    assert response.serial_number == serial(issued)


@pytest.mark.requirement("ENG-32")
def test_every_status_of_a_certificate_is_told(status: World) -> None:
    issued = issue(status)
    assert ask(status, serial(issued)).certificate_status is GOOD
    revoke(status, issued, RevocationReason.CERTIFICATE_HOLD)
    held = ask(status, serial(issued))
    assert held.certificate_status is REVOKED
    assert held.revocation_reason is x509.ReasonFlags.certificate_hold
    revoke(status, issued, RevocationReason.REMOVE_FROM_CRL)
    assert ask(status, serial(issued)).certificate_status is GOOD
    revoke(status, issued, RevocationReason.UNSPECIFIED)
    gone = ask(status, serial(issued))
    assert gone.certificate_status is REVOKED
    assert gone.revocation_reason is None
    assert gone.revocation_time_utc == status.clock.now()


@pytest.mark.requirement("SEC-75")
def test_a_serial_number_never_issued_is_never_good(status: World) -> None:
    issued = issue(status)
    for _ in range(50):
        number = secrets.randbits(152) + 1
        assert ask(status, number).certificate_status is UNKNOWN
    for number in (0, -1, -serial(issued), 1 << 159, 1 << 400):
        assert ask(status, number).certificate_status is UNKNOWN
    for issued_number in (serial(issued), issuer(status).serial_number):
        name = "root" if issued_number != serial(issued) else "issuing"
        assert ask(status, issued_number, name).certificate_status is GOOD


@pytest.mark.requirement("SEC-75")
def test_a_serial_number_never_issued_may_be_said_to_be_revoked(status: World) -> None:
    configure(status, ocsp_unknown=UnknownSerial.REVOKED)
    response = ask(status, 12345)
    assert response.certificate_status is REVOKED
    assert response.revocation_reason is x509.ReasonFlags.certificate_hold
    assert response.revocation_time_utc is not None
    assert response.revocation_time_utc.timestamp() == 0
    (extended,) = response.extensions
    assert extended.oid.dotted_string == oids.ID_PKIX_OCSP_EXTENDED_REVOKE


@pytest.mark.requirement("SEC-75")
def test_a_foreign_issuer_is_unauthorized(status: World) -> None:
    issued = issue(status)
    root = issuer(status, "root")
    for hash_name in ("sha1", "sha256"):
        ours = cert_id(issuer(status), serial(issued), hash_name)
        assert ask(status, serial(issued), hash_name=hash_name).serial_number
        theirs = cert_id(root, 5, hash_name)
        cursor = der.Cursor(der.single(ours, der.SEQUENCE))
        other = der.Cursor(der.single(theirs, der.SEQUENCE))
        mixed = der.sequence(
            cursor.raw(), cursor.raw(), *other.raw_elements(4)[2:3], der.integer(5)
        )
        assert refused(send(status, request(mixed))) is UNAUTHORIZED
    known = AlgorithmIdentifier(HASH_OIDS["sha1"], b"\x04\x00").encode()
    ours = cert_id(issuer(status), serial(issued), "sha1")
    strange = der.Cursor(der.single(ours, der.SEQUENCE))
    strange.raw()
    parameters = der.sequence(known, *strange.raw_elements(3))
    assert refused(send(status, request(parameters))) is UNAUTHORIZED
    unknown = AlgorithmIdentifier("1.2.3.4").encode()
    odd = der.sequence(unknown, *[der.octet_string(b"x")] * 2, der.integer(1))
    assert refused(send(status, request(odd))) is UNAUTHORIZED


@pytest.mark.requirement("ENG-32")
def test_those_of_another_issuer_are_unknown_beside_ours(status: World) -> None:
    issued = issue(status)
    octets = request(
        cert_id(issuer(status), serial(issued), "sha1"),
        cert_id(issuer(status, "root"), issuer(status).serial_number, "sha1"),
    )
    response = ocsp.load_der_ocsp_response(send(status, octets).body)
    verify(response, issuer(status))
    assert [one.certificate_status for one in response.responses] == [GOOD, UNKNOWN]


@pytest.mark.requirement("SEC-77")
def test_up_to_sixteen_certificates_are_asked_for_at_once(status: World) -> None:
    issued = issue(status)
    one = cert_id(issuer(status), serial(issued), "sha1")
    response = ocsp.load_der_ocsp_response(send(status, request(*[one] * 16)).body)
    assert len(list(response.responses)) == 16
    assert refused(send(status, request(*[one] * 17))) is MALFORMED
    assert refused(send(status, request())) is MALFORMED


# --- nonces -------------------------------------------------------------------------


@pytest.mark.requirement("SEC-76")
@pytest.mark.parametrize("size", [1, 16, 32, 127, 128])
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_nonce_is_echoed_as_it_came(status: World, size: int, wrapped: bool) -> None:
    # 0xff is no tag, so that the bare one cannot look like a wrapped one.
    value = b"\xff" * size
    value = der.octet_string(value) if wrapped else value
    response = ask(status, serial(issue(status)), extensions=(nonce(value),))
    octets = response.public_bytes(Encoding.DER)
    assert nonce(value).encode() in octets


@pytest.mark.requirement("SEC-76")
@pytest.mark.parametrize(
    "value",
    [
        b"",
        der.octet_string(b""),
        der.octet_string(b"x" * 129),
        b"\xff" * 129,
        der.octet_string(b"x" * 300),
    ],
    ids=["none", "empty", "129", "bare-129", "300"],
)
def test_a_nonce_out_of_bounds_is_malformed(status: World, value: bytes) -> None:
    one = cert_id(issuer(status), 5, "sha1")
    assert refused(send(status, request(one, extensions=(nonce(value),)))) is MALFORMED


@pytest.mark.requirement("SEC-76")
def test_an_answer_with_a_nonce_is_for_one_client_alone(status: World) -> None:
    one = cert_id(issuer(status), serial(issue(status)), "sha1")
    fresh = request(one, extensions=(nonce(der.octet_string(b"n" * 16)),))
    first, second = send(status, fresh, "GET"), send(status, fresh, "GET")
    assert first.body != second.body
    assert dict(first.headers) == {"Cache-Control": "no-store"}
    plain = ocsp.load_der_ocsp_response(send(status, request(one)).body)
    assert not list(plain.extensions)


@pytest.mark.requirement("SEC-76")
def test_above_the_rate_nonces_are_left_out(status: World) -> None:
    configure(status, ocsp_signatures=3)
    issued = issue(status)
    value = (nonce(der.octet_string(b"n" * 16)),)
    assert not list(ask(status, serial(issued)).extensions)
    answers = [ask(status, serial(issued), extensions=value) for _ in range(5)]
    echoed = [len(list(answer.extensions)) for answer in answers]
    assert echoed == [1, 1, 0, 0, 0]
    assert ask(status, 5).response_status is TRY_LATER
    status.clock.advance(timedelta(seconds=1))
    assert ask(status, 5).certificate_status is UNKNOWN


# --- how long it is kept ------------------------------------------------------------


@pytest.mark.requirement("ENG-32")
def test_an_answer_is_signed_once_and_renewed_at_half_its_time(status: World) -> None:
    one = request(cert_id(issuer(status), serial(issue(status)), "sha1"))
    first = send(status, one, "GET")
    status.clock.advance(timedelta(hours=5, minutes=59))
    assert send(status, one).body == first.body
    status.clock.advance(timedelta(minutes=1))
    second = send(status, one)
    assert second.body != first.body
    response = ocsp.load_der_ocsp_response(second.body)
    assert response.this_update_utc == status.clock.now()
    assert response.produced_at_utc == status.clock.now()
    assert response.next_update_utc == status.clock.now() + timedelta(hours=12)


@pytest.mark.requirement("ENG-32")
def test_the_headers_are_those_of_rfc_5019(status: World) -> None:
    one = request(cert_id(issuer(status), serial(issue(status)), "sha1"))
    reply = send(status, one, "GET")
    headers = dict(reply.headers)
    assert reply.content_type == "application/ocsp-response"
    assert headers["Cache-Control"] == (
        "max-age=300, public, no-transform, must-revalidate"
    )
    assert headers["Last-Modified"] == "Mon, 23 Nov 2026 12:00:00 GMT"
    assert headers["Expires"] == "Tue, 24 Nov 2026 00:00:00 GMT"
    again = send(status, one, "GET", if_none_match=headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert send(status, one, "GET", if_none_match='"other"').status == 200
    assert send(status, one, if_none_match=headers["ETag"]).status == 200


@pytest.mark.requirement("SEC-80")
def test_a_revocation_shows_in_the_next_answer(status: World) -> None:
    for number in range(20):
        issued = issue(status, f"n{number}")
        assert ask(status, serial(issued)).certificate_status is GOOD
        revoke(status, issued)
        assert ask(status, serial(issued)).certificate_status is REVOKED


def test_what_is_not_known_yet_is_not_kept_by_caches(status: World) -> None:
    reply = send(status, request(cert_id(issuer(status), 5, "sha1")), "GET")
    assert dict(reply.headers)["Cache-Control"] == "no-cache, no-transform"


@pytest.mark.requirement("ENG-32")
def test_the_archive_cutoff_is_told_when_it_is_set(status: World) -> None:
    configure(status, ocsp_archive_cutoff=timedelta(days=365))
    response = ask(status, serial(issue(status)))
    (cutoff,) = response.single_extensions
    assert cutoff.oid.dotted_string == oids.ID_PKIX_OCSP_ARCHIVE_CUTOFF
    then = status.clock.now() - timedelta(days=365)
    assert der.generalized_time(then) in response.public_bytes(Encoding.DER)


def test_the_kept_answers_are_bounded(
    status: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkid.engine.ocsp.MAX_ANSWERS", 4)
    for number in range(1, 20):
        ask(status, number)
    assert len(status.engine.status._kept) == 4


# --- who answers --------------------------------------------------------------------


@pytest.mark.requirement("SEC-81")
def test_the_signer_renews_itself_at_two_thirds_of_its_life(status: World) -> None:
    issued = issue(status)
    (first,) = ask(status, serial(issued)).certificates
    for _ in range(4):
        status.clock.advance(21 * DAY)
        assert result_of(status.engine.prepare_ocsp(CMP)) == 2
        response = ask(status, serial(issued))
        (signer,) = response.certificates
        assert signer.serial_number != first.serial_number
        assert signer.not_valid_after_utc >= status.clock.now() + 9 * DAY
        assert response.next_update_utc is not None
        assert response.next_update_utc <= signer.not_valid_after_utc
        assert result_of(status.engine.prepare_ocsp(CMP)) == 0
        first = signer


@pytest.mark.requirement("SEC-81")
def test_an_expired_signer_signs_nothing(status: World) -> None:
    issued = issue(status)
    status.clock.advance(29 * DAY + timedelta(hours=20))
    response = ask(status, serial(issued))
    (signer,) = response.certificates
    assert response.next_update_utc == signer.not_valid_after_utc
    status.clock.advance(DAY)
    assert ask(status, serial(issued)).response_status is TRY_LATER


@pytest.mark.requirement("SEC-81")
def test_the_signers_certificate_is_for_that_alone(status: World) -> None:
    (signer,) = ask(status, serial(issue(status))).certificates
    usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert not usage.crl_sign
    for absent in (x509.CRLDistributionPoints,):
        with pytest.raises(x509.ExtensionNotFound):
            signer.extensions.get_extension_for_class(absent)
    access = signer.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    methods = {place.access_method for place in access.value}
    assert x509.AuthorityInformationAccessOID.OCSP not in methods


@pytest.mark.requirement("ENG-32")
def test_a_ca_may_answer_with_its_own_key(status: World) -> None:
    configure(status, ocsp=OCSPMode.DIRECT)
    response = ask(status, serial(issue(status)))
    assert list(response.certificates) == []
    assert response.certificate_status is GOOD


def test_a_ca_that_does_not_answer_is_unauthorized_and_named_nowhere(
    status: World,
) -> None:
    configure(status, ocsp=OCSPMode.OFF)
    issued = issue(status)
    assert ask(status, serial(issued)).response_status is UNAUTHORIZED
    access = status.certificate(issued).extensions.get_extension_for_class(
        x509.AuthorityInformationAccess
    )
    methods = {place.access_method for place in access.value}
    assert x509.AuthorityInformationAccessOID.OCSP not in methods


def test_one_authority_without_its_signer_does_not_hinder_another(
    world: World,
) -> None:
    configure(world, ocsp=OCSPMode.DIRECT)
    # There is no profile for the root's signer in this world.
    assert ask(world, 5, "root").response_status is TRY_LATER
    assert ask(world, 5).certificate_status is UNKNOWN


@pytest.mark.requirement("ENG-32")
def test_a_ca_whose_key_was_replaced_goes_on_answering_itself(status: World) -> None:
    issued = issue(status)
    rollover = status.engine.rollover
    prepared = result_of(rollover.prepare("issuing", "", CMP))
    result_of(rollover.activate("issuing", "uid:0", CMP))
    result_of(status.engine.prepare_ocsp(CMP))
    response = ask(status, serial(issued))
    assert response.certificate_status is GOOD
    assert list(response.certificates) == []
    later = issue(status, "later")
    assert later.certificate.reference.authority == prepared.name
    answer = ask(status, serial(later), prepared.name)
    assert answer.certificate_status is GOOD
    assert len(list(answer.certificates)) == 1


def test_a_new_authority_has_its_signer_without_waiting_for_the_hour(
    status: World,
) -> None:
    refresh = status.engine.status.refresh
    assert result_of(refresh(CMP)) == 0
    new = NewAuthority(name="plant", subject=Name.from_text("CN=Plant"), parent="root")
    result_of(status.engine.create_authority(new, CMP))
    assert ask(status, 5, "plant").response_status is TRY_LATER
    assert result_of(refresh(CMP)) == 1
    assert ask(status, 5, "plant").certificate_status is UNKNOWN
    assert result_of(refresh(CMP)) == 0


# --- bad input ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30\x00",
        b"\x30\x80\x00\x00",
        b"rubbish",
        request(b"\x30\x00"),
        request(der.sequence(der.integer(1))),
    ],
    ids=["nothing", "empty", "indefinite", "rubbish", "no-id", "no-sequence"],
)
def test_what_cannot_be_read_is_malformed(status: World, octets: bytes) -> None:
    assert refused(send(status, octets)) is MALFORMED
    assert refused(send(status, octets, "GET")) is MALFORMED


def test_extensions_and_signatures_that_do_no_harm_are_passed_over(
    status: World,
) -> None:
    issued = issue(status)
    one = cert_id(issuer(status), serial(issued), "sha1")
    harmless = Extension("1.2.3.4", critical=False, value=b"\x05\x00")
    grave = Extension("1.2.3.4", critical=True, value=b"\x05\x00")
    signature = der.explicit(0, der.sequence(der.integer(1)))
    for octets in (
        request(one, extensions=(harmless,)),
        request(one, tail=signature),
        request(one + der.explicit(0, encode_extensions((harmless,)))),
    ):
        response = ocsp.load_der_ocsp_response(send(status, octets).body)
        assert response.certificate_status is GOOD
    for octets in (
        request(one, extensions=(grave,)),
        request(one + der.explicit(0, encode_extensions((grave,)))),
    ):
        assert refused(send(status, octets)) is MALFORMED


@given(st.binary(max_size=200))
def test_any_octets_get_an_answer(octets: bytes) -> None:
    from pkid.messages.ocsp import OCSPRequest

    codes = []
    try:
        OCSPRequest.decode(octets)
    except PKIError as error:
        codes.append(error.code)
    assert codes in ([], [ErrorCode.MALFORMED])


def test_the_table_of_statuses_is_total() -> None:
    assert set(OCSP_STATUSES) == set(ErrorCode)


def test_a_surprise_is_internalError_and_tells_nothing(
    status: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object) -> None:
        raise RuntimeError("path=/var/lib/secret")

    monkeypatch.setattr(status.engine.status, "answer", break_down)
    octets = request(cert_id(issuer(status), 5, "sha1"))
    assert refused(send(status, octets)) is ocsp.OCSPResponseStatus.INTERNAL_ERROR


def test_requests_of_another_maker_are_read_alike(status: World) -> None:
    issued = issue(status)
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        status.certificate(issued), issuer(status), hashes.SHA256()
    )
    theirs = builder.build().public_bytes(Encoding.DER)
    assert ocsp.load_der_ocsp_response(send(status, theirs).body).serial_number == (
        serial(issued)
    )
