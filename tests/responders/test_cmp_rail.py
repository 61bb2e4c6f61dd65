"""Deviations of rail equipment (ERTMS/ETCS), each let pass by its name and no other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pkid.app.presets import PRESETS
from pkid.asn1 import der
from pkid.engine.aliases import Mode
from pkid.engine.model import CertificateStatus, EndEntity, EntityStatus
from pkid.messages.cmp.body import BodyType, CertRepMessage
from pkid.messages.cmp.message import encode_message, protected_part
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.responders.cmp.aliases import (
    CA_PUBS_ALWAYS,
    NEW_CERTIFICATE_CONFIRMS,
    UTC_MESSAGE_TIME,
)
from tests.engine.world import CMP, OPERATOR, result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)
from tests.responders.test_cmp_groups import confirming

UTC_TIME = 0x17


def with_utc_time(desk: Desk, sent: Sent) -> Sent:
    """The same message, its messageTime a UTCTime; protected anew."""
    contents = der.single(sent.octets, der.SEQUENCE)
    cursor = der.Cursor(contents)
    header, body = cursor.raw(), cursor.raw()
    now = desk.world.clock.now()
    whole = der.explicit(0, der.generalized_time(now))
    short = der.encode(UTC_TIME, now.strftime("%y%m%d%H%M%SZ").encode())
    assert whole in header
    fields = der.single(header, der.SEQUENCE)
    header = der.sequence(fields.replace(whole, der.explicit(0, short)))
    bits = sent.by.bits(protected_part(header, body))
    certificates = sent.by.extra_certs
    octets = encode_message(header, body, protection=bits, extra_certs=certificates)
    return replace(sent, octets=octets)


def allow(desk: Desk, *quirks: str) -> None:
    desk.settings["quirks"] = frozenset(quirks)
    desk.open()


def ir(by: By | None = None, **fields: Any) -> Sent:
    wanted = signed_request(new_key())
    return message(BodyType.IR, cert_requests(wanted), by or ByMAC(), **fields)


def ca_pubs(answer: Answer) -> tuple[bytes, ...]:
    assert isinstance(answer.body, CertRepMessage)
    return answer.body.ca_pubs


# --- messageTime ------------------------------------------------------------------


@pytest.mark.requirement("CMP-196")
def test_a_time_as_UTCTime_passes_with_the_quirk(desk: Desk) -> None:
    sent = ir(message_time=desk.world.clock.now())
    allow(desk, UTC_MESSAGE_TIME)
    assert desk.ask(with_utc_time(desk, sent)).certificate


def test_a_time_as_UTCTime_is_badDataFormat_else(desk: Desk) -> None:
    sent = ir(message_time=desk.world.clock.now())
    reply = desk.reply(with_utc_time(desk, sent).octets)
    assert Answer.read(reply.body).fail_info is FailInfo.BAD_DATA_FORMAT


def test_a_time_as_UTCTime_is_held_to_the_window(desk: Desk) -> None:
    from datetime import timedelta

    desk.settings["message_time_window"] = timedelta(minutes=5)
    allow(desk, UTC_MESSAGE_TIME)
    sent = ir(message_time=desk.world.clock.now())
    late = with_utc_time(desk, sent)
    desk.world.clock.advance(timedelta(minutes=6))
    assert desk.ask(late).fail_info is FailInfo.BAD_TIME


def test_the_quirk_leaves_broken_messages_broken(desk: Desk) -> None:
    allow(desk, UTC_MESSAGE_TIME)
    sent = ir(message_time=desk.world.clock.now())
    cut = with_utc_time(desk, sent).octets[:-1]
    assert Answer.read(desk.reply(cut).body).fail_info is FailInfo.BAD_DATA_FORMAT


# --- caPubs -----------------------------------------------------------------------


@pytest.mark.requirement("CMP-196")
@pytest.mark.parametrize("always", [True, False])
def test_an_ip_to_a_holder_has_caPubs_with_the_quirk(desk: Desk, always: bool) -> None:
    holder = desk.holder()
    if always:
        allow(desk, CA_PUBS_ALWAYS)
    answer = desk.enroll(holder, subject="CN=device-1")
    root = desk.world.engine.chain("issuing")[-1]
    assert ca_pubs(answer) == ((root,) if always else ())


# --- confirmation -----------------------------------------------------------------


def enrolled(desk: Desk) -> tuple[Answer, BySignature]:
    key = new_key()
    answer = desk.enroll(key=key, subject="CN=device-1")
    return answer, BySignature(answer.certificate, key)


def confirmed_by(desk: Desk, answer: Answer, by: By) -> Answer:
    content = cert_conf(desk.record(answer.certificate).fingerprint)
    return desk.ask(follow(answer, BodyType.CERT_CONF, content, by))


@pytest.mark.requirement("CMP-196")
def test_the_new_certificate_confirms_what_a_secret_opened(desk: Desk) -> None:
    allow(desk, NEW_CERTIFICATE_CONFIRMS)
    answer, new = enrolled(desk)
    said = confirmed_by(desk, answer, new)
    assert said.body_type is BodyType.PKICONF
    assert said.is_signed
    status = desk.record(answer.certificate).status
    assert status is CertificateStatus.ACTIVE


def test_without_the_quirk_it_confirms_nothing(desk: Desk) -> None:
    answer, new = enrolled(desk)
    assert confirmed_by(desk, answer, new).body_type is BodyType.ERROR
    status = desk.record(answer.certificate).status
    assert status is CertificateStatus.AWAITING_CONFIRMATION


def test_another_certificate_does_not_confirm_it(desk: Desk) -> None:
    allow(desk, NEW_CERTIFICATE_CONFIRMS)
    other = desk.holder(subject="CN=device-2")
    answer, _ = enrolled(desk)
    said = confirmed_by(desk, answer, other)
    assert said.fail_info is FailInfo.WRONG_AUTHORITY


def test_the_secret_still_confirms(desk: Desk) -> None:
    allow(desk, NEW_CERTIFICATE_CONFIRMS)
    answer, _ = enrolled(desk)
    assert confirmed_by(desk, answer, ByMAC()).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-196")
@pytest.mark.parametrize("conformance", ["rfc", "lcmpp"])
def test_a_certConf_without_statusInfo_accepts(desk: Desk, conformance: str) -> None:
    from pkid.asn1.names import GeneralName, Name

    desk.settings["conformance"] = conformance
    desk.open()
    now = desk.world.clock.now()
    sender = GeneralName.directory(Name.from_text("CN=ref"))
    wanted = signed_request(new_key())
    by = ByMAC(sender=sender)
    answer = desk.ask(message(BodyType.IR, cert_requests(wanted), by, message_time=now))
    content = cert_conf(desk.record(answer.certificate).fingerprint, status=None)
    sent = follow(answer, BodyType.CERT_CONF, content, by, message_time=now)
    assert desk.ask(sent).body_type is BodyType.PKICONF


# --- several requests -------------------------------------------------------------


@pytest.mark.requirement("CMP-196")
def test_one_of_several_new_certificates_confirms_them_all(desk: Desk) -> None:
    allow(desk, NEW_CERTIFICATE_CONFIRMS)
    keys = [new_key(), new_key()]
    wanted = [
        signed_request(key, f"CN=device-{number}", cert_req_id=number)
        for number, key in enumerate(keys)
    ]
    answer = desk.ask(message(BodyType.IR, cert_requests(*wanted), ByMAC()))
    assert isinstance(answer.body, CertRepMessage)
    pairs = [one.certified_key_pair for one in answer.body.responses]
    issued = [one.certificate for one in pairs if one is not None and one.certificate]
    assert len(issued) == 2
    content = confirming(answer, 0, 1)
    by = BySignature(issued[1], keys[1])
    said = desk.ask(follow(answer, BodyType.CERT_CONF, content, by))
    assert said.body_type is BodyType.PKICONF
    for certificate in issued:
        assert desk.record(certificate).status is CertificateStatus.ACTIVE


# --- the entrance -----------------------------------------------------------------


def rail(desk: Desk, etcs_id: str, secret: str = "etcs") -> None:
    """An entrance as the preset makes it, one entity and its one-time secret."""
    from pkid.app.config import decode_configuration

    text = '[listener]\n[cmp.alias.default]\npreset = "ertms"\nauthority = "issuing"\n'
    found = decode_configuration(text, source="test")
    alias = found.cmp_aliases["default"]
    desk.world.policies = replace(
        desk.world.policies,
        certificate_profiles=found.certificate_profiles,
        end_entity_profiles=found.end_entity_profiles,
        aliases={("cmp", "default"): alias.alias},
    )
    desk.settings = {"quirks": alias.quirks, "implicit_confirm": False}
    desk.open()
    entity = EndEntity(
        name="onboard-1",
        status=EntityStatus.NEW,
        created=desk.world.clock.now(),
        subject=f"CN={etcs_id},O=Rail",
    )
    result_of(desk.world.engine.administration.add_entity(entity, OPERATOR, CMP))
    desk.secret(secret, entity="onboard-1", uses=1)


@pytest.mark.requirement("CMP-184", "CMP-185")
def test_the_registered_ETCS_ID_is_certified_whatever_is_asked_for(desk: Desk) -> None:
    rail(desk, "02016500")
    assert desk.world.alias.mode is Mode.CLIENT
    answer = desk.enroll(ByMAC(b"etcs"), subject="CN=02FFFFFF,O=Other")
    assert answer.status.status is PKIStatus.GRANTED_WITH_MODS
    assert desk.record(answer.certificate).subject == "CN=02016500,O=Rail"


@pytest.mark.requirement("CMP-185")
@pytest.mark.parametrize("etcs_id", ["2016500", "0201650G", "train-1", "020165001"])
def test_a_common_name_that_is_no_ETCS_ID_is_refused(desk: Desk, etcs_id: str) -> None:
    rail(desk, etcs_id)
    answer = desk.enroll(ByMAC(b"etcs"), subject=f"CN={etcs_id}")
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE


@pytest.mark.requirement("CMP-184")
def test_the_secret_is_good_for_one_certificate_and_that_renews(desk: Desk) -> None:
    rail(desk, "02016500")
    key = new_key()
    answer = desk.enroll(ByMAC(b"etcs"), key=key)
    new = BySignature(answer.certificate, key)
    assert confirmed_by(desk, answer, new).body_type is BodyType.PKICONF
    again = desk.enroll(ByMAC(b"etcs"))
    assert again.fail_info is FailInfo.BAD_MESSAGE_CHECK
    renewed = desk.enroll(new, body_type=BodyType.KUR)
    assert desk.record(renewed.certificate).subject == "CN=02016500,O=Rail"


def test_the_preset_asks_for_every_quirk_of_rail() -> None:
    assert set(PRESETS["ertms"].defaults["quirks"]) == {
        UTC_MESSAGE_TIME,
        CA_PUBS_ALWAYS,
        NEW_CERTIFICATE_CONFIRMS,
    }
