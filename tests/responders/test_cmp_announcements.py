"""ckuann, cann, rann and crlann: what other CAs announce is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pkid.asn1.names import GeneralName, Name
from pkid.engine.aliases import VendorTrust
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.body import Body, BodyType
from pkid.messages.cmp.framing import Framing, encode_request
from pkid.messages.cmp.status import PKIStatus
from pkid.messages.crmf import CertId
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import By, ByMAC, BySignature, Sent, message
from tests.responders.test_cmp_crosscertification import authority

NAMES = ("ckuann-v2", "ckuann-v3", "cann", "rann", "crlann")


@pytest.fixture
def partner(desk: Desk) -> BySignature:
    """A CA whose announcements are believed."""
    world = desk.world
    found = authority(world.clock.now())
    trust = VendorTrust(name="partner", anchors=(found.certificate,))
    world.policies = replace(world.policies, vendors={"partner": trust})
    world.change_alias(cross_certify=("partner",))
    return found


def announcement(
    desk: Desk, name: str, by: By, certificate: bytes = b"", **header: Any
) -> Sent:
    now = desk.world.clock.now()
    certificate = certificate or desk.world.engine.chain("issuing")[0]
    crl = result_of(desk.world.engine.latest_crl("issuing")).der
    issuer = GeneralName.directory(Name.from_text("CN=partner root"))
    bodies: dict[str, tuple[BodyType, Body]] = {
        "ckuann-v2": (
            BodyType.CKUANN,
            CAKeyUpdContent(
                CAKeyUpdAnnContent(
                    old_with_new=certificate,
                    new_with_old=certificate,
                    new_with_new=certificate,
                )
            ),
        ),
        "ckuann-v3": (
            BodyType.CKUANN,
            CAKeyUpdContent(RootCaKeyUpdateContent(new_with_new=certificate)),
        ),
        "cann": (BodyType.CANN, CertAnnContent(certificate)),
        "rann": (
            BodyType.RANN,
            RevAnnContent(
                status=PKIStatus.REVOCATION_WARNING,
                cert_id=CertId(issuer, 0x2A),
                will_be_revoked_at=now,
                bad_since_date=now,
            ),
        ),
        "crlann": (BodyType.CRLANN, CRLAnnContent((crl,))),
    }
    body_type, body = bodies[name]
    return message(body_type, body, by, pvno=3, **header)


def told(desk: Desk) -> list[str]:
    async def all_of() -> list[str]:
        return [
            one.event.detail
            async for one in desk.world.store.audit_records()
            if one.event.action == "announcement"
        ]

    return result_of(all_of())


@pytest.mark.requirement("CMP-148")
@pytest.mark.parametrize("name", NAMES)
def test_an_announcement_of_a_trusted_CA_is_stored(
    desk: Desk, partner: BySignature, name: str
) -> None:
    sent = announcement(desk, name, partner)
    reply = desk.reply(sent.octets)
    assert (reply.status, reply.body) == (201, b"")
    (detail,) = told(desk)
    assert detail
    desk.restart()
    for again in (sent, announcement(desk, name, partner)):
        reply = desk.reply(again.octets)
        assert (reply.status, reply.body) == (201, b"")
    assert told(desk) == [detail]


@pytest.mark.requirement("CMP-148", "CMP-43")
@pytest.mark.parametrize("name", NAMES)
def test_a_device_announces_nothing(desk: Desk, name: str) -> None:
    holder = desk.holder()
    for by in (holder, ByMAC()):
        reply = desk.reply(announcement(desk, name, by).octets)
        assert (reply.status, reply.body) == (403, b"")
    assert told(desk) == []


@pytest.mark.requirement("CMP-148")
def test_a_stranger_announces_nothing(desk: Desk, partner: BySignature) -> None:
    stranger = authority(desk.world.clock.now())
    reply = desk.reply(announcement(desk, "crlann", stranger).octets)
    assert (reply.status, reply.body) == (403, b"")
    sent = announcement(desk, "crlann", partner)
    reply = desk.reply(sent.octets[:-1] + bytes((sent.octets[-1] ^ 1,)))
    assert reply.status in {400, 403}
    assert told(desk) == []


@pytest.mark.requirement("CMP-148")
def test_what_is_no_certificate_is_refused(desk: Desk, partner: BySignature) -> None:
    sent = announcement(desk, "cann", partner, certificate=b"\x30\x03\x02\x01\x02")
    reply = desk.reply(sent.octets)
    assert (reply.status, reply.body) == (400, b"")
    assert told(desk) == []


@pytest.mark.requirement("CMP-148", "CMP-165")
@pytest.mark.parametrize("transport", ["tcp-rfc2510", "tcp-draft"])
def test_over_tcp_there_is_nothing_to_say(
    desk: Desk, partner: BySignature, transport: str
) -> None:
    sent = announcement(desk, "crlann", partner)
    reply = desk.reply(sent.octets, transport=transport, method="", headers={})
    assert reply.body == b""
    assert len(told(desk)) == 1


@pytest.mark.requirement("CMP-157", "CMP-165")
def test_a_record_over_http_gets_an_empty_record(
    desk: Desk, partner: BySignature
) -> None:
    sent = announcement(desk, "crlann", partner)
    record = encode_request(Framing.RFC2510, sent.octets)
    reply = desk.reply(record)
    assert reply.body == b"\x00\x00\x00\x02\x03\x00"
    assert len(told(desk)) == 1


def test_the_audit_names_what_was_announced(desk: Desk, partner: BySignature) -> None:
    for name in NAMES:
        desk.reply(announcement(desk, name, partner).octets)
    assert told(desk) == [
        "new key of CN=pkid issuing,O=pkid test",
        "new key of CN=pkid issuing,O=pkid test",
        "certificate of CN=pkid issuing,O=pkid test",
        "revocation of 2a by directory:CN=partner root",
        "CRLs of CN=pkid issuing,O=pkid test",
    ]
