"""Private keys go into the archive, and come back to their owners alone.

**Source:** RFC 4211 section 6.4; RFC 9810 sections 5.3.7 and 5.3.8.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1.codec.der.encoder import encode as pyasn1_encode
from pyasn1_alt_modules import rfc5652, rfc5958

from pkid.asn1 import der, oids
from pkid.asn1.cms.enveloped import AuthEnvelopedData
from pkid.crypto.certificates import Certificate
from pkid.crypto.envelope import PasswordRecipient, Recipient, encrypt, recipient_of
from pkid.engine.aliases import KeyRecovery
from pkid.engine.model import EntityStatus, PossessionMethod
from pkid.engine.records import ArchivedKey
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.controls import (
    PKI_ARCHIVE_OPTIONS,
    PROTOCOL_ENCR_KEY,
    ArchiveRemGenPrivKey,
    KeyGenParameters,
)
from pkid.messages.crmf import CertReqMsg, KeyUse
from pkid.messages.encryptedkeys import EncKeyWithID, EncryptedValue, EnvelopedKey
from pkid.messages.privkeyproofs import make_popo
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import CMP, OPERATOR, result_of
from tests.responders.desk import Desk
from tests.responders.ownkeys import KEYS, opened, take_every_key
from tests.responders.peers import (
    SECRET,
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
    spki_of,
)
from tests.responders.test_cmp_key_proofs import old_value

ARCHIVE_MINE = PKI_ARCHIVE_OPTIONS.attribute(ArchiveRemGenPrivKey(wanted=True))


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """A desk that archives keys and gives them back."""
    desk.world.change_alias(
        key_generation=True,
        key_archive=True,
        key_recovery=KeyRecovery.SELF,
        possession=frozenset(PossessionMethod),
    )
    take_every_key(desk)
    prepare(desk)
    return desk


def prepare(desk: Desk) -> None:
    engine = desk.world.engine
    result_of(engine.key_generators.prepare("issuing", CMP))
    result_of(engine.key_archive.prepare("issuing"))
    result_of(engine.prepare_agreement_identity("issuing", CMP))


@pytest.fixture
def by() -> ByMAC:
    return ByMAC()


def pkcs8_of(key: Any) -> bytes:
    octets: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return octets


def handed_over(
    key: Any, recipient: Recipient, identifier: str | None = None
) -> EnvelopedKey:
    enveloped = encrypt(
        EncKeyWithID(pkcs8_of(key), identifier).encode(),
        (recipient,),
        secrets.token_bytes,
        content_type=oids.ID_CT_ENC_KEY_WITH_ID,
    )
    return EnvelopedKey(enveloped.encode())


def for_secret() -> PasswordRecipient:
    return PasswordRecipient(password=SECRET, iterations=1000)


def with_archive(key: Any, recipient: Recipient, **fields: Any) -> CertReqMsg:
    """A signed request that hands the key over for the archive."""
    control = PKI_ARCHIVE_OPTIONS.attribute(handed_over(key, recipient))
    return signed_request(key, controls=(control,), **fields)


def ask(desk: Desk, by: By, request: CertReqMsg) -> Answer:
    return desk.ask(message(BodyType.IR, cert_requests(request), by, pvno=3))


def archived(desk: Desk, entity: str = "device-1") -> list[ArchivedKey]:
    return list(result_of(desk.world.store.archived_keys(entity, 10)))


def opened_in_archive(desk: Desk) -> list[bytes]:
    archive = desk.world.engine.key_archive
    return [result_of(archive.open(record)) for record in archived(desk)]


# --- in -----------------------------------------------------------------------


@pytest.mark.requirement("CMP-113", "ENG-27")
def test_a_key_that_is_handed_over_is_archived_with_its_certificate(
    desk: Desk, by: ByMAC
) -> None:
    key = new_key()
    answer = ask(desk, by, with_archive(key, for_secret()))
    assert answer.status.status is PKIStatus.ACCEPTED
    (record,) = archived(desk)
    assert record.certificate == desk.record(answer.certificate).reference
    assert opened_in_archive(desk) == [pkcs8_of(key)]


@pytest.mark.requirement("CMP-113")
def test_a_key_may_come_encrypted_for_our_agreement_key(desk: Desk, by: ByMAC) -> None:
    ours = desk.world.engine.find_agreement_identity("issuing")
    assert ours is not None
    recipient = recipient_of(Certificate.decode(ours.certificate))
    key = new_key()
    assert ask(desk, by, with_archive(key, recipient)).certificate
    assert opened_in_archive(desk) == [pkcs8_of(key)]


@pytest.mark.requirement("CMP-113")
def test_version_2_archives_a_key_where_EncryptedValue_is_enabled(
    desk: Desk, by: ByMAC
) -> None:
    desk.settings["encrypted_value"] = True
    identity = result_of(desk.world.engine.key_receivers.prepare("issuing", CMP))
    key = new_key()
    value = old_value(key, Certificate.decode(identity.certificate))
    control = PKI_ARCHIVE_OPTIONS.attribute(value)
    content = cert_requests(signed_request(key, controls=(control,)))
    assert desk.ask(message(BodyType.IR, content, by)).certificate
    assert opened_in_archive(desk) == [pkcs8_of(key)]


@pytest.mark.requirement("CMP-89", "CMP-113")
def test_a_key_that_proved_itself_so_is_archived(desk: Desk, by: ByMAC) -> None:
    key = KEYS["x25519"]
    popo = make_popo(KeyUse.KEY_AGREEMENT, handed_over(key, for_secret(), "ref"))
    answer = ask(desk, by, signed_request(key, popo=popo))
    assert answer.status.status is PKIStatus.ACCEPTED
    assert opened_in_archive(desk) == [pkcs8_of(key)]
    reference = desk.record(answer.certificate).reference
    (found,) = result_of(desk.world.engine.explain(str(reference)))
    assert found.event.detail == (
        "possession by encrypted-key; the private key is archived"
    )


@pytest.mark.requirement("CMP-113", "ENG-27")
def test_a_key_made_here_is_archived_when_its_owner_says_so(
    desk: Desk, by: ByMAC
) -> None:
    desk.world.change_profile("device", keys=("ec:P-256",))
    request = signed_request(new_key(), spki=None, popo=None, controls=(ARCHIVE_MINE,))
    answer = ask(desk, by, request)
    (pkcs8,) = opened_in_archive(desk)
    key = load_der_private_key(pkcs8, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert spki_of(key) == Certificate.decode(answer.certificate).spki


@pytest.mark.requirement("CMP-113")
def test_a_key_made_here_is_not_archived_otherwise(desk: Desk, by: ByMAC) -> None:
    no = PKI_ARCHIVE_OPTIONS.attribute(ArchiveRemGenPrivKey(wanted=False))
    for number, controls in enumerate([(), (no,)]):
        request = signed_request(
            new_key(), f"CN=d{number}", spki=None, popo=None, controls=controls
        )
        assert ask(desk, by, request).status.status is PKIStatus.ACCEPTED
        assert archived(desk, f"d{number}") == []


@pytest.mark.requirement("CMP-113")
def test_archived_keys_rest_sealed(desk: Desk, by: ByMAC) -> None:
    key = new_key()
    ask(desk, by, with_archive(key, for_secret()))
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    files = [path for path in desk.world.directory.rglob("*") if path.is_file()]
    assert all(scalar not in path.read_bytes() for path in files)
    (record,) = archived(desk)
    cursor = der.Cursor(der.single(record.sealed, der.SEQUENCE))
    assert der.decode_utf8(cursor.take(der.UTF8_STRING)) == "issuing"
    enveloped = AuthEnvelopedData.decode(cursor.raw(der.SEQUENCE))
    assert enveloped.encrypted_content_info.algorithm.oid == oids.ID_AES256_GCM


def test_archived_keys_open_after_a_restart(desk: Desk, by: ByMAC) -> None:
    key = new_key()
    ask(desk, by, with_archive(key, for_secret()))
    desk.restart()
    with pytest.raises(PKIError) as refused:
        opened_in_archive(desk)
    assert refused.value.code is ErrorCode.UNAVAILABLE
    prepare(desk)
    assert opened_in_archive(desk) == [pkcs8_of(key)]


def test_an_archived_key_that_was_changed_or_moved_does_not_open(
    desk: Desk, by: ByMAC
) -> None:
    ask(desk, by, with_archive(new_key(), for_secret()))
    (record,) = archived(desk)
    spoilt = record.sealed[:-1] + bytes((record.sealed[-1] ^ 1,))
    archive = desk.world.engine.key_archive
    for wrong in (
        replace(record, sealed=spoilt),
        replace(record, key=bytes(32)),
        replace(record, sealed=b"0"),
    ):
        with pytest.raises(PKIError) as refused:
            result_of(archive.open(wrong))
        assert refused.value.code is ErrorCode.INTERNAL


@pytest.mark.requirement("CMP-113")
def test_a_key_waits_sealed_for_its_approval(desk: Desk, by: ByMAC) -> None:
    desk.needs_approval()
    key = new_key()
    waiting = ask(desk, by, with_archive(key, for_secret()))
    assert waiting.status.status is PKIStatus.WAITING
    assert archived(desk) == []
    desk.approve()
    assert opened_in_archive(desk) == [pkcs8_of(key)]


@pytest.mark.requirement("CMP-113")
@pytest.mark.parametrize(
    "value",
    [
        KeyGenParameters(b"seed"),
        EncryptedValue(enc_value=b"old"),
        ArchiveRemGenPrivKey(wanted=True),
    ],
    ids=["keyGenParameters", "encryptedValue", "archiveRemGenPrivKey"],
)
def test_options_that_cannot_be_honoured_are_badRequest(
    desk: Desk, by: ByMAC, value: Any
) -> None:
    control = PKI_ARCHIVE_OPTIONS.attribute(value)
    answer = ask(desk, by, signed_request(new_key(), controls=(control,)))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0


@pytest.mark.requirement("CMP-113")
def test_another_key_than_the_request_has_is_not_archived(
    desk: Desk, by: ByMAC
) -> None:
    control = PKI_ARCHIVE_OPTIONS.attribute(handed_over(new_key(), for_secret()))
    answer = ask(desk, by, signed_request(new_key(), controls=(control,)))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert archived(desk) == []


@pytest.mark.requirement("CMP-113")
def test_without_an_archive_the_wish_is_badRequest(desk: Desk, by: ByMAC) -> None:
    desk.world.change_alias(key_archive=False)
    request = with_archive(new_key(), for_secret())
    assert ask(desk, by, request).fail_info is FailInfo.BAD_REQUEST
    made = signed_request(new_key(), spki=None, popo=None, controls=(ARCHIVE_MINE,))
    assert ask(desk, by, made).fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0


# --- out ----------------------------------------------------------------------


def owner(desk: Desk, by: ByMAC, key: Any) -> BySignature:
    """The device whose key is in the archive, with a certificate to ask by."""
    answer = ask(desk, by, with_archive(key, for_secret(), subject="CN=device-1"))
    _confirm(desk, answer, by)
    return BySignature(answer.certificate, key)


def _confirm(desk: Desk, answer: Answer, by: By) -> None:
    content = cert_conf(certificate_hash(answer.certificate))
    done = desk.ask(follow(answer, BodyType.CERT_CONF, content, by, pvno=3))
    assert done.body_type is BodyType.PKICONF


def krr(by: By, family: str = "ec:P-384", **template: Any) -> Sent:
    control = PROTOCOL_ENCR_KEY.attribute(spki_of(KEYS[family]))
    fields = {"spki": None, "popo": None, "controls": (control,), **template}
    request = signed_request(new_key(), None, **fields)
    return message(BodyType.KRR, cert_requests(request), by, pvno=3)


def history(answer: Answer, family: str = "ec:P-384") -> list[tuple[bytes, bytes]]:
    """Certificates and keys in a krp, as pyasn1 reads it."""
    assert answer.body_type is BodyType.KRP
    content = answer.oracle["body"]["krp"]
    assert int(content["status"]["status"]) == 0
    found = []
    for pair in content["keyPairHist"]:
        certificate = pyasn1_encode(pair["certOrEncCert"]["certificate"])
        tagged = pyasn1_encode(pair["privateKey"]["envelopedData"])
        enveloped = der.sequence(der.single(tagged, der.constructed(0)))
        signed = opened(enveloped, family)
        data, _ = pyasn1_decode(signed, asn1Spec=rfc5652.SignedData())
        package = data["encapContentInfo"]["eContent"].asOctets()
        keys, _ = pyasn1_decode(package, asn1Spec=rfc5958.AsymmetricKeyPackage())
        (one,) = keys
        certificate = der.single(certificate, der.constructed(0))
        found.append((certificate, pyasn1_encode(one)))
    return found


def refusal_of(answer: Answer) -> FailInfo:
    assert isinstance(answer.body, KeyRecRepContent)
    assert answer.body.status.status is PKIStatus.REJECTION
    assert answer.body.key_pair_hist == ()
    (bit,) = answer.body.status.fail_info
    return bit


@pytest.mark.requirement("CMP-147", "ENG-27")
@pytest.mark.parametrize("family", ["rsa", "ec:P-384", "x25519", "ml-kem-768"])
def test_the_owner_gets_its_archived_keys_back(
    desk: Desk, by: ByMAC, family: str
) -> None:
    key = new_key()
    device = owner(desk, by, key)
    answer = desk.ask(krr(device, family))
    assert history(answer, family) == [(device.certificate, pkcs8_of(key))]
    body: Any = answer.body
    assert body.ca_certs == desk.world.engine.chain("issuing")


@pytest.mark.requirement("CMP-147")
def test_the_history_has_the_newest_key_first(desk: Desk, by: ByMAC) -> None:
    first, second = new_key(), new_key()
    device = owner(desk, by, first)
    ours = desk.world.engine.find_agreement_identity("issuing")
    assert ours is not None
    request = with_archive(
        second,
        recipient_of(Certificate.decode(ours.certificate)),
        subject="CN=device-1",
    )
    sent = message(BodyType.CR, cert_requests(request), device, pvno=3)
    newer = desk.ask(sent).certificate
    found = history(desk.ask(krr(device)))
    assert found == [
        (newer, pkcs8_of(second)),
        (device.certificate, pkcs8_of(first)),
    ]


@pytest.mark.requirement("CMP-147", "ENG-27")
def test_every_key_that_leaves_is_audited(desk: Desk, by: ByMAC) -> None:
    device = owner(desk, by, new_key())
    desk.ask(krr(device))
    reference = str(desk.record(device.certificate).reference)
    assert "recover-key" in desk.world.audited(reference)


def test_the_same_krr_again_gets_the_same_octets(desk: Desk, by: ByMAC) -> None:
    device = owner(desk, by, new_key())
    sent = krr(device)
    first = desk.ask(sent)
    desk.restart()
    assert desk.reply(sent.octets).body == first.octets
    reference = str(desk.record(device.certificate).reference)
    assert desk.world.audited(reference).count("recover-key") == 1


@pytest.mark.requirement("CMP-147")
def test_who_has_nothing_in_the_archive_gets_nothing(desk: Desk, by: ByMAC) -> None:
    owner(desk, by, new_key())
    stranger = desk.holder(subject="CN=device-2")
    answer = desk.ask(krr(stranger))
    assert isinstance(answer.body, KeyRecRepContent)
    assert answer.body.status.status is PKIStatus.REJECTION


@pytest.mark.requirement("CMP-147")
def test_a_secret_that_belongs_to_no_entity_recovers_nothing(
    desk: Desk, by: ByMAC
) -> None:
    owner(desk, by, new_key())
    assert refusal_of(desk.ask(krr(by))) is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-147")
def test_a_krr_names_the_key_for_the_answer(desk: Desk, by: ByMAC) -> None:
    device = owner(desk, by, new_key())
    assert refusal_of(desk.ask(krr(device, controls=()))) is FailInfo.BAD_REQUEST


def test_a_new_certificate_is_asked_for_elsewhere(desk: Desk, by: ByMAC) -> None:
    device = owner(desk, by, new_key())
    answer = desk.ask(krr(device, spki=spki_of(new_key())))
    assert refusal_of(answer) is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-147")
def test_where_recovery_is_off_a_krr_is_badRequest(desk: Desk, by: ByMAC) -> None:
    device = owner(desk, by, new_key())
    desk.world.change_alias(key_recovery=KeyRecovery.OFF)
    assert refusal_of(desk.ask(krr(device))) is FailInfo.BAD_REQUEST


@pytest.mark.requirement("ENG-27")
def test_an_operator_allows_one_recovery(desk: Desk, by: ByMAC) -> None:
    desk.world.change_alias(key_recovery=KeyRecovery.APPROVED)
    key = new_key()
    device = owner(desk, by, key)
    assert refusal_of(desk.ask(krr(device))) is FailInfo.NOT_AUTHORIZED
    archive = desk.world.engine.key_archive
    allowed = result_of(archive.allow("device-1", OPERATOR, CMP))
    assert allowed.status is EntityStatus.KEYRECOVERY
    found = history(desk.ask(krr(device)))
    assert found == [(device.certificate, pkcs8_of(key))]
    assert refusal_of(desk.ask(krr(device))) is FailInfo.NOT_AUTHORIZED
    assert "key-recovery-allowed" in desk.world.audited("device-1")


@pytest.mark.requirement("ENG-27")
def test_only_entities_with_archived_keys_are_allowed(desk: Desk) -> None:
    desk.holder(subject="CN=device-2")
    for name in ("device-2", "nobody"):
        with pytest.raises(PKIError) as refused:
            result_of(desk.world.engine.key_archive.allow(name, OPERATOR, CMP))
        assert refused.value.code is ErrorCode.NOT_FOUND
