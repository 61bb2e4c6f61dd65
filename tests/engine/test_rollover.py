"""A CA changes its key, or gets a new certificate for the key that it has."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store

from pkid.engine.model import CertificateReference
from pkid.engine.records import AuthorityPhase, AuthorityRecord
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, World, result_of


def prepare(world: World, name: str, spec: str = "") -> AuthorityRecord:
    return result_of(world.engine.rollover.prepare(name, spec, CMP))


def activate(world: World, name: str) -> AuthorityRecord:
    return result_of(world.engine.rollover.activate(name, OPERATOR, CMP))


def roll(world: World, name: str) -> AuthorityRecord:
    prepare(world, name)
    return activate(world, name)


def parsed(octets: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(octets)


def root_of(world: World) -> bytes:
    return world.engine.chain("issuing")[-1]


def leads_to(
    leaf: x509.Certificate, others: tuple[bytes, ...], root: bytes, world: World
) -> None:
    """Independent judge: cryptography finds a path to that root."""
    verifier = (
        PolicyBuilder()
        .store(Store([parsed(root)]))
        .time(world.clock.now())
        .extension_policies(
            # Devices have no alternative names, which this verifier insists upon.
            ee_policy=ExtensionPolicy.permit_all(),
            ca_policy=ExtensionPolicy.webpki_defaults_ca(),
        )
        .build_client_verifier()
    )
    verifier.verify(leaf, [parsed(one) for one in others if one != root])


@pytest.mark.requirement("ENG-03")
def test_a_prepared_successor_is_handed_out_and_does_not_issue(world: World) -> None:
    before = world.engine.chain("issuing")
    record = prepare(world, "issuing")
    assert (record.name, record.phase) == ("issuing-2", AuthorityPhase.NEXT)
    assert world.engine.chain("issuing") == before
    assert world.engine.rollover.next_chain("issuing")[0] == record.certificate
    issued = world.issue(world.request(world.secret()))
    assert issued.certificate.reference.authority == "issuing"


@pytest.mark.requirement("ENG-03")
def test_who_took_over_issues_and_the_former_one_still_signs_its_crl(
    world: World,
) -> None:
    old = world.issue(world.request(world.secret("a")))
    roll(world, "issuing")
    new = world.issue(
        world.request(world.secret("b"), subject="CN=device-2,O=pkid test")
    )
    assert new.certificate.reference.authority == "issuing-2"
    assert parsed(new.der).issuer == parsed(old.der).issuer
    for issued in (old, new):
        authority = issued.certificate.reference.authority
        crl = result_of(world.engine.issue_crl(authority, OPERATOR, CMP))
        by = parsed(world.engine.authority_certificate(authority))
        loaded = x509.load_der_x509_crl(crl.der)
        assert loaded.is_signature_valid(by.public_key())  # type: ignore[arg-type]


@pytest.mark.requirement("ENG-03")
def test_links_lead_from_each_root_to_the_other(world: World) -> None:
    old_root = root_of(world)
    record = prepare(world, "root")
    update = world.engine.rollover.root_update(old_root)
    assert update is not None
    assert update.new_with_new == record.certificate
    old, new = parsed(old_root), parsed(update.new_with_new)
    new_with_old, old_with_new = (
        parsed(update.new_with_old),
        parsed(update.old_with_new),
    )
    assert {one.subject for one in (old, new, new_with_old, old_with_new)} == {
        old.subject
    }
    assert new_with_old.public_key() == new.public_key()
    new_with_old.verify_directly_issued_by(old)
    assert old_with_new.public_key() == old.public_key()
    old_with_new.verify_directly_issued_by(new)
    assert old_with_new.not_valid_before_utc == old.not_valid_before_utc
    assert old_with_new.not_valid_after_utc == old.not_valid_after_utc
    assert new_with_old.not_valid_before_utc == new.not_valid_before_utc
    assert new_with_old.not_valid_after_utc <= old.not_valid_after_utc


@pytest.mark.requirement("ENG-03", "ENG-04")
def test_after_a_new_root_everybody_finds_a_path(world: World) -> None:
    old_root = root_of(world)
    early = world.issue(world.request(world.secret("a")))
    world.clock.advance(timedelta(days=1))
    roll(world, "root")
    world.restart()
    renewed = result_of(world.engine.rollover.renew("issuing", CMP))
    new_root = root_of(world)
    assert parsed(renewed.certificate).issuer == parsed(new_root).subject
    late = world.issue(
        world.request(world.secret("b"), subject="CN=device-2,O=pkid test")
    )
    assert late.certificate.reference.authority == "issuing"
    known = world.engine.rollover.published("issuing")
    for issued in (early, late):
        for root in (old_root, new_root):
            leads_to(parsed(issued.der), known, root, world)
    # Who gets the chain alone finds both roots too.
    leads_to(parsed(late.der), late.chain, old_root, world)
    leads_to(parsed(late.der), late.chain, new_root, world)


@pytest.mark.requirement("ENG-24")
def test_a_certificate_of_the_former_ca_is_found_and_renewed(world: World) -> None:
    old = world.issue(world.request(world.secret()))
    roll(world, "issuing")
    issuer = world.engine.authority_subject("issuing")
    serial = old.certificate.reference.serial
    found = result_of(world.engine.find_certificate_by_issuer(issuer, serial))
    assert found == world.record(old)
    renewal = world.request(world.holder(old), renews=old.certificate.reference)
    new = world.issue(renewal)
    assert new.certificate.reference.authority == "issuing-2"
    assert new.certificate.entity == old.certificate.entity


@pytest.mark.requirement("ENG-24")
def test_a_certificate_of_the_new_ca_is_renewed_where_the_old_one_was(
    world: World,
) -> None:
    roll(world, "issuing")
    first = world.issue(world.request(world.secret()))
    renewal = world.request(world.holder(first), renews=first.certificate.reference)
    assert world.issue(renewal).certificate.entity == first.certificate.entity


def test_preparing_twice_makes_one_successor(world: World) -> None:
    assert prepare(world, "root") == prepare(world, "root")
    activate(world, "root")
    assert prepare(world, "root").name == "root-3"


def test_nothing_takes_over_that_was_not_prepared(world: World) -> None:
    with pytest.raises(PKIError) as caught:
        activate(world, "issuing")
    assert caught.value.code is ErrorCode.CONFLICT


def test_a_successor_may_have_a_key_of_another_kind(world: World) -> None:
    record = prepare(world, "issuing", "ec:P-384")
    assert parsed(record.certificate).public_key().curve.name == "secp384r1"  # type: ignore[union-attr]


def test_a_rollover_and_its_phases_survive_a_restart(world: World) -> None:
    prepare(world, "issuing")
    world.restart()
    assert activate(world, "issuing").phase is AuthorityPhase.CURRENT
    world.restart()
    issued = world.issue(world.request(world.secret()))
    assert issued.certificate.reference.authority == "issuing-2"
    assert "rollover" in world.audited(OPERATOR)


def test_service_certificates_come_from_who_issues_now(world: World) -> None:
    roll(world, "issuing")
    identity = result_of(world.engine.prepare_message_identity("issuing", CMP))
    serial = parsed(identity.certificate).serial_number
    reference = CertificateReference("issuing-2", serial)
    assert result_of(world.engine.find_certificate(reference)) is not None
