"""Which version of CMP the syntax of a message needs."""

from __future__ import annotations

from typing import Any

import pytest

from pkid.asn1 import der
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages import crmf
from pkid.messages.cmp import body
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    CAKeyUpdContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.challenge import Challenge, POPODecKeyChallContent
from pkid.messages.cmp.header import CMP2000, CMP2021, InfoTypeAndValue
from pkid.messages.cmp.infotypes import REV_PASSPHRASE
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.cmp.versions import required_version
from pkid.messages.controls import PKI_ARCHIVE_OPTIONS
from pkid.messages.encryptedkeys import EncryptedKey, EncryptedValue, EnvelopedKey
from pkid.messages.privkeyproofs import DHMAC, PrivKeyProof, make_popo
from tests.messages.oracle import assert_malformed

SHA256 = AlgorithmIdentifier("2.16.840.1.101.3.4.2.1")
OK = PKIStatusInfo(PKIStatus.ACCEPTED)
OLD = EncryptedValue(enc_value=b"key")
NEW = EnvelopedKey(der.sequence(der.integer(2), der.set_of(), der.sequence()))
CERTIFICATE = der.sequence()
AGREE_MAC = crmf.PKMACValue(SHA256, b"mac")


def proven(proof: PrivKeyProof) -> body.CertReqMessages:
    popo = make_popo(crmf.KeyUse.KEY_AGREEMENT, proof)
    request = crmf.CertRequest.build(0, crmf.CertTemplate())
    return body.CertReqMessages((crmf.CertReqMsg(request, popo),))


def archived(key: EncryptedKey) -> body.CertReqMessages:
    control = PKI_ARCHIVE_OPTIONS.attribute(key)
    request = crmf.CertRequest.build(0, crmf.CertTemplate(), (control,))
    return body.CertReqMessages((crmf.CertReqMsg(request),))


def answered(pair: CertifiedKeyPair | None) -> body.CertRepMessage:
    return body.CertRepMessage((body.CertResponse(0, OK, pair),))


def confirmed(hash_alg: AlgorithmIdentifier | None) -> body.CertConfirmContent:
    return body.CertConfirmContent((body.CertStatus(b"h", 0, hash_alg=hash_alg),))


def told(key: EncryptedKey) -> body.GenMsgContent:
    return body.GenMsgContent((InfoTypeAndValue("1.2.3"), REV_PASSPHRASE.info(key)))


@pytest.mark.parametrize(
    "content",
    [
        proven(crmf.SubsequentMessage.CHALLENGE_RESP),
        proven(OLD),
        proven(DHMAC(b"mac")),
        archived(OLD),
        answered(None),
        answered(CertifiedKeyPair(certificate=CERTIFICATE, private_key=OLD)),
        answered(CertifiedKeyPair(encrypted_cert=OLD)),
        confirmed(None),
        told(OLD),
        KeyRecRepContent(OK, key_pair_hist=(CertifiedKeyPair(encrypted_cert=OLD),)),
        POPODecKeyChallContent((Challenge(SHA256, b"w", b"c"),)),
        CAKeyUpdContent(
            CAKeyUpdAnnContent(
                old_with_new=CERTIFICATE,
                new_with_old=CERTIFICATE,
                new_with_new=CERTIFICATE,
            )
        ),
        body.PKIConfirmContent(),
    ],
    ids=lambda content: type(content).__name__,
)
def test_syntax_of_RFC_4210_needs_version_2(content: Any) -> None:
    assert required_version(content) == CMP2000


@pytest.mark.parametrize(
    "content",
    [
        proven(AGREE_MAC),
        proven(NEW),
        archived(NEW),
        answered(CertifiedKeyPair(certificate=CERTIFICATE, private_key=NEW)),
        answered(CertifiedKeyPair(encrypted_cert=NEW)),
        confirmed(SHA256),
        told(NEW),
        KeyRecRepContent(OK, key_pair_hist=(CertifiedKeyPair(encrypted_cert=NEW),)),
        POPODecKeyChallContent(
            (Challenge(SHA256, b"w", encrypted_rand=NEW.enveloped),)
        ),
        CAKeyUpdContent(RootCaKeyUpdateContent(new_with_new=CERTIFICATE)),
    ],
    ids=lambda content: type(content).__name__,
)
def test_syntax_that_came_later_needs_version_3(content: Any) -> None:
    assert required_version(content) == CMP2021


def test_passphrase_in_a_header_counts_too() -> None:
    content = body.PKIConfirmContent()
    assert required_version(content, (REV_PASSPHRASE.info(OLD),)) == CMP2000
    assert required_version(content, (REV_PASSPHRASE.info(NEW),)) == CMP2021
    assert required_version(content, (REV_PASSPHRASE.info(),)) == CMP2000


def test_broken_passphrase_is_malformed() -> None:
    info = InfoTypeAndValue(REV_PASSPHRASE.oid, GeneralName.dns("no key").encode())
    content = body.GenMsgContent((info,))
    assert_malformed(lambda _: required_version(content), b"")
