"""The one path: what comes out, what is stored with it, what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from pkid.asn1.names import GeneralName
from pkid.crypto import extensions
from pkid.engine.aliases import Mode
from pkid.engine.model import (
    CertificateStatus,
    CredentialKind,
    EndEntity,
    EntityStatus,
    Issued,
    Outcome,
    Requester,
    RequesterKind,
    SystemPossession,
    VouchedPossession,
)
from pkid.engine.ports import CertificateQuery
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, START, DeviceKey, World, result_of


def refusal(world: World, request: object) -> PKIError:
    with pytest.raises(PKIError) as caught:
        world.enroll(request)  # type: ignore[arg-type]
    return caught.value


def everything(world: World) -> int:
    return len(result_of(world.engine.search_certificates(CertificateQuery())))


def test_a_request_becomes_a_certificate_that_chains_to_the_root(world: World) -> None:
    key = DeviceKey()
    issued = world.issue(world.request(world.secret(), key))
    certificate = world.certificate(issued)
    issuing, root = map(x509.load_der_x509_certificate, issued.chain)
    certificate.verify_directly_issued_by(issuing)
    issuing.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert certificate.subject.rfc4514_string() == "CN=device-1,O=pkid test"
    assert certificate.public_key() == key.private.public_key()


@pytest.mark.requirement("ENG-06")
def test_the_end_of_validity_is_inclusive_and_never_beyond_the_issuer(
    world: World,
) -> None:
    issued = world.issue(world.request(world.secret()))
    certificate = world.certificate(issued)
    assert certificate.not_valid_after_utc == START + timedelta(days=730) - timedelta(
        seconds=1
    )
    assert certificate.not_valid_before_utc == START - timedelta(minutes=5)
    world.change_profile("device", validity=timedelta(days=36500))
    late = world.issue(world.request(world.known_secret("device-1")))
    issuing = x509.load_der_x509_certificate(late.chain[0])
    assert late.certificate.not_after == issuing.not_valid_after_utc


@pytest.mark.requirement("ENG-05")
def test_serial_numbers_rise_with_time_and_are_random_below(world: World) -> None:
    requester = world.secret()
    first = world.issue(world.request(requester)).certificate.reference.serial
    world.clock.advance(timedelta(seconds=1))
    second = world.issue(world.request(requester)).certificate.reference.serial
    assert 0 < first < second < 1 << 159
    assert second.bit_length() > 104


def test_urls_of_the_authority_stand_in_the_certificate(world: World) -> None:
    certificate = world.certificate(world.issue(world.request(world.secret())))
    points = certificate.extensions.get_extension_for_oid(
        ExtensionOID.CRL_DISTRIBUTION_POINTS
    ).value
    assert "http://127.0.0.1:8080/crls/issuing.crl" in str(points)
    access = certificate.extensions.get_extension_for_oid(
        ExtensionOID.AUTHORITY_INFORMATION_ACCESS
    ).value
    assert "http://127.0.0.1:8080/certificates/issuing.cer" in str(access)


@pytest.mark.requirement("ENG-25", "FLT-02")
def test_the_same_request_again_gets_the_same_certificate(world: World) -> None:
    request = world.request(world.secret())
    first = world.issue(request)
    again = world.issue(request)
    world.restart()
    after_restart = world.issue(request)
    assert first.der == again.der == after_restart.der
    assert (
        len(
            result_of(world.store.find_certificates_by_key(first.certificate.spki_hash))
        )
        == 1
    )


def test_another_request_of_the_same_transaction_is_refused(world: World) -> None:
    requester = world.secret()
    world.issue(world.request(requester, transaction_id=b"t" * 16))
    other = world.request(requester, transaction_id=b"t" * 16)
    assert refusal(world, other).code is ErrorCode.TRANSACTION_IN_USE


def test_certificate_audit_and_transaction_are_one_commit(world: World) -> None:
    request = world.request(world.secret())
    issued = world.issue(request)
    row = result_of(world.engine.find_transaction(request.transaction))
    assert row is not None
    assert row.state == b"state"
    assert row.certificate == issued.certificate.reference
    assert "issue" in world.audited(str(issued.certificate.reference))


def test_what_fails_while_the_answer_is_made_leaves_nothing_behind(
    world: World,
) -> None:
    request = world.request(world.secret())
    before = everything(world)

    async def broken(outcome: Outcome) -> bytes:
        raise PKIError(ErrorCode.INTERNAL, "the answer could not be encoded")

    with pytest.raises(PKIError):
        world.enroll(request, broken)
    assert everything(world) == before
    assert isinstance(world.enroll(request), Issued)


@pytest.mark.requirement("FLT-35")
def test_a_serial_number_drawn_twice_is_drawn_again(world: World) -> None:
    requester = world.secret()
    fixed = [b"\x01" * 13, b"\x01" * 13, b"\x02" * 13]
    real = world.random
    world.random = lambda count: fixed.pop(0) if count == 13 and fixed else real(count)
    first = world.issue(world.request(requester))
    second = world.issue(world.request(requester))
    assert not fixed
    assert first.certificate.reference != second.certificate.reference


# --- credentials -------------------------------------------------------------------


@pytest.mark.requirement("CMP-53")
def test_a_secret_with_one_use_issues_one_certificate(world: World) -> None:
    requester = world.secret(uses=1)
    request = world.request(requester)
    world.issue(request)
    error = refusal(world, world.request(requester))
    assert error.code is ErrorCode.BAD_MESSAGE_CHECK
    assert error.hint is not None
    assert "used up" in error.hint
    assert isinstance(world.enroll(request), Issued), "a repeat costs no use"


def test_a_secret_bound_to_subjects_allows_no_other(world: World) -> None:
    requester = world.secret(subject="CN=device-*,O=pkid test")
    world.issue(world.request(requester))
    error = refusal(world, world.request(requester, subject="CN=server,O=pkid test"))
    assert error.code is ErrorCode.NOT_AUTHORIZED


def test_a_secret_does_not_take_over_another_requesters_names(world: World) -> None:
    world.issue(world.request(world.secret("one")))
    other = world.secret("two")
    error = refusal(world, world.request(other))
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert "pkid secret add --entity device-1" in (error.hint or "")
    world.issue(world.request(other, subject="CN=device-2"))


def test_the_secret_that_made_an_entity_enrolls_it_again(world: World) -> None:
    requester = world.secret()
    world.issue(world.request(requester))
    world.issue(world.request(requester))


def test_a_secret_is_removed_at_once(world: World) -> None:
    world.secret()
    administration = world.engine.administration
    kind = CredentialKind.CMP_SECRET
    result_of(administration.remove_secret(kind, "device-1", OPERATOR, CMP))
    assert result_of(world.engine.find_secret(kind, "device-1", "default")) is None
    with pytest.raises(PKIError) as caught:
        result_of(administration.remove_secret(kind, "device-1", OPERATOR, CMP))
    assert caught.value.code is ErrorCode.NOT_FOUND


# --- client and RA mode ------------------------------------------------------------


def register(world: World, name: str, **fields: object) -> None:
    entity = EndEntity(
        name=name,
        status=EntityStatus.NEW,
        created=START,
        **fields,  # type: ignore[arg-type]
    )
    result_of(world.engine.administration.add_entity(entity, OPERATOR, CMP))


@pytest.mark.requirement("ENG-21", "CMP-187")
def test_client_mode_takes_the_registered_names_not_the_requests(
    world: World,
) -> None:
    world.change_alias(mode=Mode.CLIENT)
    register(
        world,
        "station-7",
        subject="CN=station-7,O=Operator",
        alternative_names=("dns:station-7.example",),
        enrollments_left=1,
    )
    requester = world.secret("station-7")
    issued = world.issue(world.request(requester, subject="CN=other"))
    assert issued.certificate.subject == "CN=station-7,O=Operator"
    assert issued.modified
    certificate = world.certificate(issued)
    names = certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    ).value
    assert names.get_values_for_type(x509.DNSName) == ["station-7.example"]
    assert refusal(world, world.request(requester)).code is ErrorCode.NOT_AUTHORIZED


@pytest.mark.requirement("ENG-20")
def test_a_rearmed_entity_enrolls_once_more(world: World) -> None:
    world.change_alias(mode=Mode.CLIENT)
    register(world, "station-7", subject="CN=station-7", enrollments_left=1)
    requester = world.secret("station-7")
    world.issue(world.request(requester))
    administration = world.engine.administration
    result_of(administration.rearm_entity("station-7", OPERATOR, CMP))
    world.issue(world.request(requester))
    assert refusal(world, world.request(requester)).code is ErrorCode.NOT_AUTHORIZED


def test_client_mode_refuses_who_is_not_registered(world: World) -> None:
    world.change_alias(mode=Mode.CLIENT)
    error = refusal(world, world.request(world.secret("unknown")))
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert error.hint == "pkid entity add unknown"


def test_ra_mode_without_a_subject_is_refused(world: World) -> None:
    error = refusal(world, world.request(world.secret(), subject=None))
    assert error.code is ErrorCode.BAD_TEMPLATE


def test_an_empty_subject_with_a_name_gives_a_critical_alternative_name(
    world: World,
) -> None:
    names = extensions.subject_alternative_name((GeneralName.dns("a.example"),))
    issued = world.issue(world.request(world.secret(), subject="", extensions=(names,)))
    certificate = world.certificate(issued)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert found.critical
    assert certificate.subject.rfc4514_string() == ""


# --- possession and keys -----------------------------------------------------------


def test_possession_by_another_key_is_refused(world: World) -> None:
    stranger = DeviceKey().possession()
    request = world.request(world.secret(), possession=stranger)
    assert refusal(world, request).code is ErrorCode.BAD_POSSESSION


@pytest.mark.requirement("CMP-84", "SEC-07")
@pytest.mark.parametrize("kind", [RequesterKind.CREDENTIAL, RequesterKind.VENDOR])
def test_only_a_registration_authority_vouches_for_possession(
    world: World, kind: RequesterKind
) -> None:
    requester = Requester(kind=kind, identity="secret:cmp:x", entity=None)
    world.change_alias(unknown_vendor_unit="pend")
    request = world.request(requester, possession=VouchedPossession("itself"))
    assert refusal(world, request).code is ErrorCode.NOT_AUTHORIZED
    request = world.request(requester, possession=SystemPossession())
    assert refusal(world, request).code is ErrorCode.BAD_POSSESSION


@pytest.mark.requirement("ENG-14")
def test_a_key_of_the_ca_itself_is_no_subject_key(world: World) -> None:
    record = result_of(world.store.find_key_handle("ca-issuing"))
    assert record is not None
    requester = Requester(
        kind=RequesterKind.REGISTRATION_AUTHORITY, identity="certificate:ra"
    )
    request = world.request(requester, possession=VouchedPossession("ra"))
    stolen = replace(
        request, requested=replace(request.requested, public_key=record.public_key)
    )
    assert refusal(world, stolen).code is ErrorCode.BAD_TEMPLATE


@pytest.mark.requirement("CMP-63", "CMP-64")
def test_the_same_key_again_is_refused_where_the_alias_says_so(world: World) -> None:
    key, requester = DeviceKey(), world.secret()
    world.issue(world.request(requester, key))
    world.issue(world.request(requester, key))
    world.change_alias(same_key=False)
    again = world.request(requester, key)
    assert refusal(world, again).code is ErrorCode.DUPLICATE_REQUEST
    other = world.request(requester, key, subject="CN=device-2")
    assert refusal(world, other).code is ErrorCode.BAD_TEMPLATE
    world.issue(world.request(requester))


@pytest.mark.requirement("ENG-50")
def test_issuing_beyond_loopback_with_loopback_urls_is_refused(world: World) -> None:
    outside = replace(CMP, beyond_loopback=True)
    requester = world.secret()
    error = refusal(world, world.request(requester, context=outside))
    assert error.code is ErrorCode.UNAVAILABLE
    assert "pkid init --hostname" in (error.hint or "")
    world.policies = replace(
        world.policies, default_public_url="http://pki.example.net"
    )
    issued = world.issue(world.request(requester, context=outside))
    assert b"http://pki.example.net/crls/issuing.crl" in issued.der


def test_a_refusal_is_audited_with_its_hint(world: World) -> None:
    request = world.request(world.secret(), possession=DeviceKey().possession())
    refusal(world, request)
    found = result_of(world.engine.explain(request.transaction.transaction_id.hex()))
    assert [record.event.outcome for record in found] == ["refused"]
    assert found[0].event.code == "bad-possession"


def test_an_unknown_alias_is_refused(world: World) -> None:
    request = replace(world.request(world.secret()), alias="nowhere")
    assert refusal(world, request).code is ErrorCode.NOT_FOUND


def test_certificates_wait_for_confirmation_when_asked_to(world: World) -> None:
    issued = world.issue(
        world.request(world.secret(), confirmation=timedelta(minutes=5))
    )
    assert issued.confirm_by == START + timedelta(minutes=5)
    assert issued.certificate.status is CertificateStatus.AWAITING_CONFIRMATION


@pytest.mark.requirement("CMP-61")
def test_alternative_names_alone_name_an_entity_each(world: World) -> None:
    requester = world.secret()
    entities = set()
    for host in ("a.example", "b.example"):
        names = extensions.subject_alternative_name((GeneralName.dns(host),))
        request = world.request(requester, subject=None, extensions=(names,))
        entities.add(world.issue(request).certificate.entity)
    assert len(entities) == 2
