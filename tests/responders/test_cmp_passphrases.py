"""Revocation passphrases: set in a genm or a header, used in rr without a key."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from pkid.asn1 import der, oids
from pkid.crypto.certificates import Certificate
from pkid.crypto.envelope import PasswordRecipient, Recipient, encrypt, recipient_of
from pkid.engine.model import CertificateStatus
from pkid.messages.cmp import infotypes
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.encryptedkeys import EncryptedValue, EnvelopedKey
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.passphrases import LOCAL_KEY_ID
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    SECRET,
    Answer,
    By,
    ByMAC,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    reason_code,
    revocation_of,
    signed_request,
)

PASSPHRASE = b"an insecure test passphrase"


@pytest.fixture
def recipient(desk: Desk) -> Recipient:
    """Our key, to which a passphrase is encrypted."""
    identity = result_of(desk.world.engine.prepare_agreement_identity("issuing", CMP))
    return recipient_of(Certificate.decode(identity.certificate))


def passphrase(
    recipient: Recipient,
    text: bytes = PASSPHRASE,
    *,
    hint: bytes | None = None,
    content_type: str = oids.ID_DATA,
) -> InfoTypeAndValue:
    enveloped = encrypt(text, (recipient,), os.urandom, content_type=content_type)
    if hint is not None:
        attribute = der.sequence(
            der.oid(LOCAL_KEY_ID), der.set_of(der.octet_string(hint))
        )
        enveloped = replace(enveloped, unprotected_attributes_octets=attribute)
    return infotypes.REV_PASSPHRASE.info(EnvelopedKey(enveloped.encode()))


def say(desk: Desk, info: InfoTypeAndValue, by: By, pvno: int = 3) -> Answer:
    return desk.ask(message(BodyType.GENM, GenMsgContent((info,)), by, pvno=pvno))


def revoke_by(desk: Desk, certificate: bytes, by: By) -> Answer:
    return desk.ask(
        message(BodyType.RR, revocation_of(certificate, reason_code(1)), by)
    )


def by_passphrase(reference: bytes, text: bytes = PASSPHRASE) -> ByMAC:
    return ByMAC(reference=reference, secret=text)


@pytest.mark.requirement("CMP-130", "CMP-118")
def test_a_passphrase_of_a_genm_revokes_the_certificates_of_its_entity(
    desk: Desk, recipient: Recipient
) -> None:
    holder = desk.holder()
    answer = say(desk, passphrase(recipient), holder)
    assert isinstance(answer.body, GenMsgContent)
    assert answer.body.info_values == (infotypes.REV_PASSPHRASE.info(),)
    desk.restart()
    revoked = revoke_by(desk, holder.certificate, by_passphrase(b"device-1"))
    assert revoked.status.status is PKIStatus.ACCEPTED
    assert desk.record(holder.certificate).status is CertificateStatus.REVOKED


@pytest.mark.requirement("CMP-130", "CMP-118")
def test_a_key_identifier_names_it(desk: Desk, recipient: Recipient) -> None:
    holder = desk.holder()
    say(desk, passphrase(recipient, hint=b"lost-key-7"), holder)
    missed = revoke_by(desk, holder.certificate, by_passphrase(b"device-1"))
    assert missed.fail_info is FailInfo.BAD_MESSAGE_CHECK
    revoked = revoke_by(desk, holder.certificate, by_passphrase(b"lost-key-7"))
    assert revoked.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-130")
def test_it_may_come_in_the_header_of_certConf(
    desk: Desk, recipient: Recipient
) -> None:
    holder = desk.holder()
    opened = desk.enroll(holder, body_type=BodyType.CR, subject="CN=device-1")
    sent = follow(
        opened,
        BodyType.CERT_CONF,
        cert_conf(certificate_hash(opened.certificate)),
        holder,
        general_info=(passphrase(recipient),),
        pvno=3,
    )
    confirmed = desk.ask(sent)
    assert confirmed.body_type is BodyType.PKICONF
    acknowledged = confirmed.header.find_info(oids.ID_IT_REV_PASSPHRASE)
    assert acknowledged == infotypes.REV_PASSPHRASE.info()
    revoked = revoke_by(desk, opened.certificate, by_passphrase(b"device-1"))
    assert revoked.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-130")
def test_a_later_one_replaces_it(desk: Desk, recipient: Recipient) -> None:
    holder = desk.holder()
    say(desk, passphrase(recipient), holder)
    say(desk, passphrase(recipient, b"a second passphrase"), holder)
    old = revoke_by(desk, holder.certificate, by_passphrase(b"device-1"))
    assert old.fail_info is FailInfo.BAD_MESSAGE_CHECK
    new = by_passphrase(b"device-1", b"a second passphrase")
    assert revoke_by(desk, holder.certificate, new).status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-130")
def test_it_may_be_encrypted_under_the_shared_secret(desk: Desk) -> None:
    holder = desk.holder()
    desk.secret("bound", entity="device-1")
    by = ByMAC(reference=b"bound")
    answer = say(desk, passphrase(PasswordRecipient(password=SECRET)), by)
    assert answer.body_type is BodyType.GENP
    revoked = revoke_by(desk, holder.certificate, by_passphrase(b"device-1"))
    assert revoked.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-118", "SEC-08")
def test_it_revokes_nothing_of_another_entity(desk: Desk, recipient: Recipient) -> None:
    holder, other = desk.holder(), desk.holder(subject="CN=device-2")
    say(desk, passphrase(recipient), holder)
    answer = revoke_by(desk, other.certificate, by_passphrase(b"device-1"))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    assert desk.record(other.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-118")
def test_it_does_nothing_but_revoke(desk: Desk, recipient: Recipient) -> None:
    say(desk, passphrase(recipient), desk.holder())
    by = by_passphrase(b"device-1")
    wanted = cert_requests(signed_request(new_key(), "CN=device-1"))
    for sent in (
        message(BodyType.IR, wanted, by),
        message(BodyType.CR, wanted, by),
        message(BodyType.GENM, GenMsgContent(()), by),
    ):
        assert desk.ask(sent).fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 1


@pytest.mark.requirement("CMP-130")
def test_nobody_takes_anothers_key_identifier(desk: Desk, recipient: Recipient) -> None:
    say(desk, passphrase(recipient, hint=b"mine"), desk.holder())
    other = desk.holder(subject="CN=device-2")
    answer = say(desk, passphrase(recipient, hint=b"mine"), other)
    assert answer.fail_info is FailInfo.BAD_REQUEST
    again = say(desk, passphrase(recipient, hint=b"device-1"), other)
    assert again.body_type is BodyType.GENP


@pytest.mark.requirement("CMP-130")
def test_who_is_no_entity_has_no_passphrase(desk: Desk, recipient: Recipient) -> None:
    answer = say(desk, passphrase(recipient), ByMAC())
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-130")
def test_what_cannot_be_taken_is_refused_and_not_acknowledged(
    desk: Desk, recipient: Recipient
) -> None:
    holder = desk.holder()
    stranger = recipient_of(Certificate.decode(desk.holder().certificate))
    old = EncryptedValue(enc_value=b"octets")
    for info, pvno in (
        (infotypes.REV_PASSPHRASE.info(), 3),
        (infotypes.REV_PASSPHRASE.info(old), 2),
        (passphrase(recipient), 2),
        (passphrase(recipient, b"short"), 3),
        (passphrase(recipient, content_type=oids.ID_CT_ENC_KEY_WITH_ID), 3),
        (passphrase(recipient, hint=b"\xff"), 3),
        (passphrase(stranger), 3),
    ):
        for sent in (
            message(BodyType.GENM, GenMsgContent((info,)), holder, pvno=pvno),
            message(
                BodyType.GENM,
                GenMsgContent(()),
                holder,
                pvno=pvno,
                general_info=(info,),
            ),
        ):
            answer = desk.ask(sent)
            assert answer.body_type is BodyType.ERROR
            assert answer.fail_info in {
                FailInfo.BAD_REQUEST,
                FailInfo.BAD_MESSAGE_CHECK,
            }
            assert not answer.has_info(oids.ID_IT_REV_PASSPHRASE)
