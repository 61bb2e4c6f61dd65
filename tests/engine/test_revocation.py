"""Revocation, hold, release, and the CRLs that tell of them."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from cryptography import x509

from pkid.engine.model import (
    CertificateStatus,
    Issued,
    Requester,
    RevocationReason,
)
from pkid.engine.revocation import RevocationRequest
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR_REQUESTER, World, result_of

HOLD = RevocationReason.CERTIFICATE_HOLD
RELEASE = RevocationReason.REMOVE_FROM_CRL


def revoke(
    world: World,
    issued: Issued,
    reason: RevocationReason = RevocationReason.UNSPECIFIED,
    requester: Requester = OPERATOR_REQUESTER,
) -> None:
    result_of(
        world.engine.revoke(
            RevocationRequest(
                reference=issued.certificate.reference,
                reason=reason,
                requester=requester,
                context=CMP,
            )
        )
    )


def refused(world: World, issued: Issued, **fields: object) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        revoke(world, issued, **fields)  # type: ignore[arg-type]
    return caught.value.code


def crl(world: World, authority: str = "issuing") -> x509.CertificateRevocationList:
    result_of(world.engine.refresh_crls())
    record = result_of(world.engine.latest_crl(authority))
    return x509.load_der_x509_crl(record.der)


def on_crl(world: World, issued: Issued) -> x509.RevokedCertificate | None:
    serial = issued.certificate.reference.serial
    return crl(world).get_revoked_certificate_by_serial_number(serial)


@pytest.mark.requirement("CMP-120")
def test_a_revoked_certificate_is_on_the_next_crl_and_asks_no_more(
    world: World,
) -> None:
    issued = world.issue(world.request(world.secret()))
    revoke(world, issued, RevocationReason.KEY_COMPROMISE)
    entry = on_crl(world, issued)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value
    assert reason.reason is x509.ReasonFlags.key_compromise
    with pytest.raises(PKIError) as caught:
        world.holder(issued)
    assert caught.value.code is ErrorCode.CERTIFICATE_REVOKED


@pytest.mark.requirement("CMP-117")
def test_revoking_twice_is_certRevoked(world: World) -> None:
    issued = world.issue(world.request(world.secret()))
    revoke(world, issued)
    assert refused(world, issued) is ErrorCode.CERTIFICATE_REVOKED


@pytest.mark.requirement("CMP-116")
def test_only_a_held_certificate_is_released(world: World) -> None:
    issued = world.issue(world.request(world.secret()))
    assert refused(world, issued, reason=RELEASE) is ErrorCode.BAD_CERTIFICATE_ID
    revoke(world, issued, HOLD)
    entry = on_crl(world, issued)
    assert entry is not None
    revoke(world, issued, RELEASE)
    assert on_crl(world, issued) is None
    assert world.record(issued).status is CertificateStatus.ACTIVE
    revoke(world, issued)
    assert refused(world, issued, reason=RELEASE) is ErrorCode.BAD_CERTIFICATE_ID


def test_a_held_certificate_may_be_revoked_for_good(world: World) -> None:
    issued = world.issue(world.request(world.secret()))
    revoke(world, issued, HOLD)
    assert refused(world, issued, reason=HOLD) is ErrorCode.CERTIFICATE_REVOKED
    revoke(world, issued, RevocationReason.KEY_COMPROMISE)
    assert world.record(issued).status is CertificateStatus.REVOKED


@pytest.mark.requirement("ENG-30")
def test_a_revocation_may_turn_out_to_be_a_compromise(world: World) -> None:
    issued = world.issue(world.request(world.secret()))
    revoke(world, issued, RevocationReason.SUPERSEDED)
    before = world.record(issued)
    holder = world.known_secret("device-1")
    compromise = RevocationReason.KEY_COMPROMISE
    code = refused(world, issued, reason=compromise, requester=holder)
    assert code is ErrorCode.CERTIFICATE_REVOKED
    world.clock.advance(timedelta(hours=1))
    revoke(world, issued, compromise)
    after = world.record(issued)
    assert after.reason is compromise
    assert after.revoked_at == before.revoked_at
    entry = on_crl(world, issued)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value
    assert reason.reason is x509.ReasonFlags.key_compromise
    # The other way, or twice, is no news.
    for reason_again in (RevocationReason.SUPERSEDED, compromise):
        code = refused(world, issued, reason=reason_again)
        assert code is ErrorCode.CERTIFICATE_REVOKED


@pytest.mark.requirement("CMP-118", "SEC-08")
def test_who_may_revoke(world: World) -> None:
    owner = world.secret("one")
    issued = world.issue(world.request(owner, subject="CN=one"))
    other = world.issue(world.request(world.secret("two"), subject="CN=two"))
    for stranger in (world.known_secret("two"), world.holder(other)):
        code = refused(world, issued, requester=stranger)
        assert code is ErrorCode.NOT_AUTHORIZED
    revoke(world, issued, requester=world.holder(issued))
    again = world.issue(world.request(owner, subject="CN=one"))
    revoke(world, again, requester=owner)


def test_an_unknown_certificate_is_badCertId(world: World) -> None:
    from dataclasses import replace

    issued = world.issue(world.request(world.secret()))
    reference = replace(issued.certificate.reference, serial=1)
    unknown = replace(
        issued, certificate=replace(issued.certificate, reference=reference)
    )
    assert refused(world, unknown) is ErrorCode.BAD_CERTIFICATE_ID


def test_crl_numbers_rise_and_times_do_not_go_back(world: World) -> None:
    lists = []
    for step in (0, 0, 3600, -7200, 0):
        world.clock.jump(timedelta(seconds=step))
        result_of(world.engine.issue_crl("issuing", "uid:0", CMP))
        record = result_of(world.store.latest_crl("issuing"))
        assert record is not None
        lists.append(record)
    for earlier, later in pairwise(lists):
        assert later.number > earlier.number
        assert later.this_update >= earlier.this_update


def test_a_crl_is_signed_by_the_authority_and_names_its_number(world: World) -> None:
    found = crl(world)
    issuing = x509.load_der_x509_certificate(world.engine.chain("issuing")[0])
    assert found.is_signature_valid(issuing.public_key())  # type: ignore[arg-type]
    assert found.issuer == issuing.subject
    number = found.extensions.get_extension_for_class(x509.CRLNumber).value
    assert number.crl_number > 0


def test_crls_are_made_when_due_or_dirty_only(world: World) -> None:
    assert result_of(world.engine.refresh_crls()) == 0
    issued = world.issue(world.request(world.secret()))
    revoke(world, issued)
    assert result_of(world.engine.refresh_crls()) == 1
    assert result_of(world.engine.refresh_crls()) == 0
    world.clock.advance(timedelta(hours=24))
    assert result_of(world.engine.refresh_crls()) == 2


def test_an_overdue_crl_is_not_handed_out(world: World) -> None:
    world.clock.advance(timedelta(days=3))
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.latest_crl("issuing"))
    assert caught.value.code is ErrorCode.UNAVAILABLE


def test_crls_are_published_from_the_outbox(world: World) -> None:
    class Shelf:
        def __init__(self) -> None:
            self.files: dict[str, bytes] = {}

        async def put(self, path: str, octets: bytes) -> None:
            self.files[path] = octets

    shelf = Shelf()
    assert result_of(world.engine.publish(shelf)) >= 2
    assert set(shelf.files) >= {"crls/issuing.crl", "certificates/issuing.cer"}
    x509.load_der_x509_crl(shelf.files["crls/issuing.crl"])
    assert result_of(world.engine.publish(shelf)) == 0
