"""Whom an entrance believes, and for what; and what it believes without protection."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from pkid.asn1 import oids
from pkid.engine.aliases import Alias, Authentication, VendorTrust
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from pkid.messages.crmf import RAVerified
from pkid.responders.base import Peer
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.responder import CMPResponder
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    foreign_certificate,
    message,
    new_key,
    revocation_of,
    signed_request,
)


def request(
    by: By, body_type: BodyType = BodyType.IR, subject: str = "CN=device-1"
) -> Sent:
    return message(body_type, cert_requests(signed_request(new_key(), subject)), by)


class Vendor:
    """A manufacturer, and one unit that it made."""

    def __init__(self, desk: Desk, name: str, serial: str) -> None:
        at = desk.world.clock.now()
        key, unit = new_key(), new_key()
        self.name = name
        self.anchor = foreign_certificate(key, name, ca=True, at=at)
        above = (x509.load_der_x509_certificate(self.anchor), key)
        octets = foreign_certificate(unit, serial=serial, issuer=above, at=at)
        self.unit = BySignature(octets, unit, chain=(self.anchor,))


@pytest.fixture
def vendors(desk: Desk) -> tuple[Vendor, Vendor]:
    """Two vendors, trusted at one entrance each: "default" and "other"."""
    first, second = Vendor(desk, "acme", "0001"), Vendor(desk, "apex", "0002")
    everyone = frozenset(Authentication)
    aliases: dict[tuple[str, str], Alias] = {
        ("cmp", name): Alias(
            name=name,
            protocol="cmp",
            authority="issuing",
            vendors=(vendor.name,),
            unknown_vendor_unit="pend",
            authenticate=everyone,
        )
        for name, vendor in (("default", first), ("other", second))
    }
    world = desk.world
    known = {
        one.name: VendorTrust(name=one.name, anchors=(one.anchor,))
        for one in (first, second)
    }
    world.policies = replace(world.policies, aliases=aliases, vendors=known)
    desk.responder = CMPResponder(
        world.engine,
        lambda: {name: CMPAlias(alias=one) for (_, name), one in aliases.items()},
        policies=lambda: world.policies,
        clock=world.clock,
        workers=desk.workers,
    )
    return first, second


@pytest.mark.requirement("CMP-44")
@pytest.mark.parametrize(("trusting", "other"), [("default", 1), ("other", 0)])
def test_an_anchor_is_trusted_at_its_own_entrance_only(
    desk: Desk, vendors: tuple[Vendor, Vendor], trusting: str, other: int
) -> None:
    own, stranger = vendors[1 - other], vendors[other]
    # Trusted, and nobody is on the allow-list: the request waits for an operator.
    waits = desk.ask(request(own.unit), alias=trusting)
    assert waits.status.fail_info == frozenset()
    refused = desk.ask(request(stranger.unit), alias=trusting)
    assert refused.fail_info is FailInfo.SIGNER_NOT_TRUSTED


@pytest.mark.requirement("CMP-44")
def test_a_vendors_anchor_is_good_for_the_first_enrolment_alone(
    desk: Desk, vendors: tuple[Vendor, Vendor]
) -> None:
    unit = vendors[0].unit
    for body_type in (BodyType.CR, BodyType.KUR):
        answer = desk.ask(request(unit, body_type))
        assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    certificate = desk.enroll(implicit=True).certificate
    answer = desk.ask(message(BodyType.RR, revocation_of(certificate), unit))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    vouched = signed_request(new_key(), popo=RAVerified())
    answer = desk.ask(message(BodyType.IR, cert_requests(vouched), unit))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-44")
def test_a_registration_authority_is_one_at_the_entrance_that_lists_it(
    desk: Desk, vendors: tuple[Vendor, Vendor]
) -> None:
    world = desk.world
    world.change_profile("device", extended_key_usage=(oids.ID_KP_CMC_RA,))
    authority = desk.holder(subject="CN=ra-1")
    world.change_profile("device", extended_key_usage=(oids.ID_KP_CLIENT_AUTH,))
    aliases = world.policies.aliases
    listing = replace(aliases["cmp", "other"], registration_authorities=("CN=ra-1",))
    aliases = {**aliases, ("cmp", "other"): listing}
    world.policies = replace(world.policies, aliases=aliases)
    desk.responder._aliases = lambda: {
        name: CMPAlias(alias=one) for (_, name), one in aliases.items()
    }

    def vouch(alias: str) -> Answer:
        wanted = signed_request(new_key(), "CN=meter-1", popo=RAVerified())
        sent = message(BodyType.IR, cert_requests(wanted), authority)
        return desk.ask(sent, alias=alias)

    assert vouch("default").fail_info is FailInfo.NOT_AUTHORIZED
    assert vouch("other").certificate


@pytest.mark.requirement("CMP-158")
def test_a_tls_client_certificate_does_not_stand_in_for_protection(desk: Desk) -> None:
    holder = desk.holder()
    behind_tls = Peer(
        address="127.0.0.1", listener="https", certificate=holder.certificate
    )
    body = cert_requests(signed_request(new_key(), "CN=device-1"))
    bare = message(BodyType.CR, body, holder, protected=False)
    answer = desk.ask(bare, peer=behind_tls)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    wrong = message(BodyType.CR, body, holder, wrong_bits=True)
    assert desk.ask(wrong, peer=behind_tls).fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.ask(request(holder, BodyType.CR), peer=behind_tls).certificate


@pytest.mark.requirement("CMP-158")
def test_the_tls_client_and_the_sender_need_not_be_one(desk: Desk) -> None:
    proxy = foreign_certificate(new_key(), "proxy", at=desk.world.clock.now())
    behind_tls = Peer(address="127.0.0.1", listener="https", certificate=proxy)
    assert desk.ask(request(ByMAC()), peer=behind_tls).certificate
