"""MACs from keys instead of passwords: bare, by Diffie-Hellman, by KEM."""

from __future__ import annotations

import hmac
import os
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.body import BodyType, CertRepMessage, GenMsgContent
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.polling import PollingReply
from tests.engine.world import CMP, result_of
from tests.responders.bending import by_mac, refused, sent
from tests.responders.desk import Desk
from tests.responders.keypeers import (
    HKDF_SHA512,
    HMAC_SHA256,
    HMAC_SHA384,
    ByDH,
    ByKEM,
    check_kem_answer,
    dh_holder,
    kem_certificate,
    limit_usage,
)
from tests.responders.peers import (
    NOBODY,
    Answer,
    ByMAC,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    polling,
    revocation_of,
    signed_request,
)

KEY = bytes(range(32))
KEM_INFO = oids.ID_IT_KEM_CIPHERTEXT_INFO


# --- a shared key, bare -------------------------------------------------------------


class Bare(ByMAC):
    """A secret that is the MAC's key itself."""

    mac: AlgorithmIdentifier

    def __init__(self, mac: AlgorithmIdentifier, secret: bytes = KEY) -> None:
        super().__init__(reference=b"key", secret=secret)
        object.__setattr__(self, "mac", mac)

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        return self.mac

    def bits(self, part: bytes) -> bytes:
        return bare_mac(self.mac, self.secret, part)


HMACS = {
    oids.HMAC_SHA1: "sha1",
    oids.ID_HMAC_WITH_SHA1: "sha1",
    oids.ID_HMAC_WITH_SHA224: "sha224",
    oids.ID_HMAC_WITH_SHA256: "sha256",
    oids.ID_HMAC_WITH_SHA384: "sha384",
    oids.ID_HMAC_WITH_SHA512: "sha512",
}


def gmac(nonce: bytes | None = None, oid: str = oids.ID_AES_256_GMAC) -> Any:
    octets = der.octet_string(nonce or os.urandom(12))
    return AlgorithmIdentifier(oid, der.sequence(octets, der.integer(16)))


def nonce_of(algorithm: AlgorithmIdentifier | None) -> bytes:
    assert algorithm is not None
    assert algorithm.parameters is not None
    return der.Cursor(der.single(algorithm.parameters, der.SEQUENCE)).take(
        der.OCTET_STRING
    )


def bare_mac(algorithm: AlgorithmIdentifier, key: bytes, part: bytes) -> bytes:
    name = HMACS.get(algorithm.oid)
    if name is not None:
        return hmac.digest(key, part, name)
    return AESGCM(key).encrypt(nonce_of(algorithm), b"", part)


@pytest.mark.requirement("CMP-29")
@pytest.mark.parametrize(
    "mac",
    [*(AlgorithmIdentifier(oid) for oid in HMACS), gmac()],
    ids=[*(f"{name}-{oid}" for oid, name in HMACS.items()), "gmac-256"],
)
def test_a_shared_key_protects_request_and_answer_by_itself(
    desk: Desk, mac: AlgorithmIdentifier
) -> None:
    desk.secret("key", secret=KEY)
    by = Bare(mac)
    request = sent(desk, by=by)
    answer = refused(desk, request)
    assert answer.certificate
    algorithm = answer.header.protection_alg
    assert algorithm is not None
    assert algorithm.oid == mac.oid
    expected = bare_mac(algorithm, KEY, answer.message.protected_part)
    assert answer.message.protection == expected
    assert answer.header.sender_kid == b"key"


def test_TCP_polling_ends_under_the_bare_key_too(desk: Desk) -> None:
    desk.secret("key", secret=KEY)
    desk.settings["tcp_polling"] = True
    desk.needs_approval()
    by = Bare(gmac())
    request = sent(desk, by=by)
    tcp: dict[str, Any] = {"transport": "tcp-rfc2510", "method": "", "headers": {}}
    waiting = desk.reply(request.octets, **tcp)
    assert isinstance(waiting, PollingReply)
    desk.approve()
    reference = waiting.reference.to_bytes(4, "big")
    desk.world.clock.advance(timedelta(minutes=5))
    reply = desk.reply(reference, operation="tcp-poll", **tcp)
    answer = Answer.read(reply.body)
    assert answer.certificate
    algorithm = answer.header.protection_alg
    assert algorithm is not None
    expected = bare_mac(algorithm, KEY, answer.message.protected_part)
    assert answer.message.protection == expected
    assert nonce_of(algorithm) != nonce_of(by.mac)


@pytest.mark.parametrize("octets", [16, 24, 32])
def test_a_GMAC_nonce_is_never_used_twice(desk: Desk, octets: int) -> None:
    oid = {
        16: oids.ID_AES_128_GMAC,
        24: oids.ID_AES_192_GMAC,
        32: oids.ID_AES_256_GMAC,
    }[octets]
    desk.secret("key", secret=KEY[:octets])
    nonces = set()
    for _ in range(3):
        by = Bare(gmac(oid=oid), KEY[:octets])
        answer = refused(desk, sent(desk, BodyType.GENM, asking(KEM_INFO), by))
        assert answer.body_type is BodyType.GENP
        nonces |= {nonce_of(by.mac), nonce_of(answer.header.protection_alg)}
    assert len(nonces) == 6


@pytest.mark.parametrize(
    "by",
    [
        Bare(AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256), b"x" * 32),
        Bare(gmac(), b"x" * 32),
    ],
    ids=["hmac", "gmac"],
)
def test_another_key_is_badMessageCheck(desk: Desk, by: Bare) -> None:
    desk.secret("key", secret=KEY)
    answer = refused(desk, sent(desk, by=by))
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert desk.count() == 0


@pytest.mark.parametrize("mac", [gmac(), gmac(oid=oids.ID_AES_128_GMAC)])
def test_a_secret_that_is_no_key_looks_like_a_wrong_one(
    desk: Desk, mac: AlgorithmIdentifier
) -> None:
    size = 16 if mac.oid == oids.ID_AES_128_GMAC else 32
    for reference in (b"ref", b"nobody"):
        by = Bare(mac, b"x" * size)
        wrong = sent(desk, by=by, sender_kid=reference)
        assert refused(desk, wrong).fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.parametrize(
    "mac",
    [
        AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.integer(1)),
        AlgorithmIdentifier(oids.ID_AES_256_GMAC),
        AlgorithmIdentifier("2.16.840.1.101.3.4.2.19"),
        AlgorithmIdentifier("2.16.840.1.101.3.4.2.20"),
    ],
    ids=["hmac-with-parameters", "gmac-without-nonce", "kmac-128", "kmac-256"],
)
def test_a_MAC_that_cannot_be_computed_is_badAlg(
    desk: Desk, mac: AlgorithmIdentifier
) -> None:
    desk.secret("key", secret=KEY)
    by = Bare(AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256))
    answer = refused(desk, sent(desk, by=by, protection_alg=mac))
    assert answer.fail_info is FailInfo.BAD_ALG


# --- Diffie-Hellman -----------------------------------------------------------------


def check_dh_answer(answer: Answer, by: ByDH) -> None:
    assert answer.header.protection_alg == by.algorithm
    assert answer.message.protection == by.bits(answer.message.protected_part)
    assert answer.message.extra_certs[0] == by.peer
    ours = x509.load_der_x509_certificate(by.peer)
    assert answer.header.sender.value == ours.subject.public_bytes()
    identifier = ours.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    assert answer.header.sender_kid == identifier.value.digest


@pytest.mark.requirement("CMP-29", "CMP-52")
@pytest.mark.parametrize(
    ("owf", "mac"),
    [("sha256", HMAC_SHA256), ("sha512", HMAC_SHA384), ("sha384", HMAC_SHA256)],
    ids=["sha256", "sha512-sha384", "sha384-sha256"],
)
def test_a_key_that_both_sides_agree_upon_protects_both_ways(
    desk: Desk, owf: str, mac: AlgorithmIdentifier
) -> None:
    by = dh_holder(desk, owf=owf, mac=mac)
    request = signed_request(new_key(), "CN=dh")
    answer = refused(desk, sent(desk, BodyType.CR, cert_requests(request), by))
    check_dh_answer(answer, by)
    assert answer.body_type is BodyType.CP
    confirmation = cert_conf(certificate_hash(answer.certificate))
    done = refused(desk, follow(answer, BodyType.CERT_CONF, confirmation, by))
    check_dh_answer(done, by)
    assert done.body_type is BodyType.PKICONF
    revoked = refused(desk, sent(desk, BodyType.RR, revocation_of(by.certificate), by))
    check_dh_answer(revoked, by)
    assert revoked.status.status is PKIStatus.ACCEPTED


def test_a_Diffie_Hellman_key_updates_its_certificate(desk: Desk) -> None:
    by = dh_holder(desk)
    desk.settings["conformance"] = "lcmpp"
    request = signed_request(new_key(), "CN=dh")
    answer = refused(desk, sent(desk, BodyType.KUR, cert_requests(request), by))
    check_dh_answer(answer, by)
    assert answer.body_type is BodyType.KUP
    assert answer.certificate


@pytest.mark.requirement("CMP-52")
def test_what_is_wrong_with_a_Diffie_Hellman_MAC(desk: Desk) -> None:
    by = dh_holder(desk)
    limit_usage(desk, "digitalSignature")
    signing = desk.holder(subject="CN=signer")
    cases = (
        (replace(by, key=new_key()), FailInfo.BAD_MESSAGE_CHECK),
        (
            ByDH(signing.certificate, signing.key, by.peer),
            FailInfo.BAD_MESSAGE_CHECK,
        ),
        (replace(by, owf="shake256"), FailInfo.BAD_ALG),
    )
    for wrong, expected in cases:
        usual = replace(wrong, owf="sha256")
        question = sent(
            desk,
            BodyType.GENM,
            asking(oids.ID_IT_CA_CERTS),
            usual,
            protection_alg=wrong.algorithm,
        )
        answer = refused(desk, question)
        assert answer.is_signed
        assert answer.fail_info is expected
    desk.settings["agreement"] = False
    question = sent(desk, BodyType.GENM, asking(oids.ID_IT_CA_CERTS), by)
    assert refused(desk, question).fail_info is FailInfo.BAD_ALG


# --- KEM: a client's key ------------------------------------------------------------


def bootstrap(
    desk: Desk, certificate: bytes, transaction_id: bytes, **header: Any
) -> Sent:
    """The question that nothing protects."""
    sender = ByKEM(certificate, b"", transaction_id).sender
    fields: dict[str, Any] = {
        "message_time": desk.world.clock.now(),
        "sender": sender,
        "sender_kid": None,
        "transaction_id": transaction_id,
        "extra_certs": (certificate,),
    }
    fields.update(header)
    return message(BodyType.GENM, asking(KEM_INFO), ByMAC(), protected=False, **fields)


def ciphertext_of(answer: Answer) -> KemCiphertextInfo:
    assert isinstance(answer.body, GenMsgContent)
    (info,) = answer.body.info_values
    assert info.oid == KEM_INFO
    assert info.value is not None
    return KemCiphertextInfo.decode(info.value)


def kem_holder(desk: Desk, spec: str = "ml-kem-768", **changes: Any) -> ByKEM:
    """Someone with a KEM certificate who has asked for a ciphertext."""
    desk.settings["kem"] = True
    certificate, handle = kem_certificate(desk, spec)
    transaction_id = os.urandom(16)
    answer = refused(desk, bootstrap(desk, certificate, transaction_id))
    assert answer.body_type is BodyType.GENP
    answer.check_signature()
    info = ciphertext_of(answer)
    secret = result_of(handle.decapsulate(info.kem, info.ciphertext))
    return ByKEM(certificate, secret, transaction_id, **changes)


def asked(
    desk: Desk, by: ByKEM, body_type: BodyType = BodyType.CR, **header: Any
) -> Sent:
    request = signed_request(new_key(), "CN=kem client,O=pkid test")
    fields = {"transaction_id": by.transaction_id} | header
    return sent(desk, body_type, cert_requests(request), by, **fields)


@pytest.mark.requirement("CMP-171", "CMP-172", "CMP-135")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kdf": HKDF_SHA512, "mac": HMAC_SHA384},
        {"context": b"what both sides know"},
    ],
    ids=["sha256", "sha512", "context"],
)
def test_a_client_with_a_KEM_key_proves_itself_by_a_ciphertext(
    desk: Desk, changes: dict[str, Any]
) -> None:
    desk.world.change_alias(renewal=True)
    by = kem_holder(desk, **changes)
    answer = refused(desk, asked(desk, by, BodyType.KUR))
    answer.check_signature()
    assert answer.body_type is BodyType.KUP
    confirmation = cert_conf(certificate_hash(answer.certificate))
    done = refused(desk, follow(answer, BodyType.CERT_CONF, confirmation, by))
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-28", "CMP-171")
def test_without_protection_a_KEM_client_asks_for_the_ciphertext_only(
    desk: Desk,
) -> None:
    desk.settings["kem"] = True
    certificate, _ = kem_certificate(desk)
    transaction_id = os.urandom(16)
    fields = {"sender": NOBODY, "sender_kid": None, "extra_certs": (certificate,)}
    for body in (
        asking(oids.ID_IT_CA_CERTS),
        asking(KEM_INFO, oids.ID_IT_CA_CERTS),
        asking(),
    ):
        wrong = message(BodyType.GENM, body, ByMAC(), protected=False, **fields)
        assert refused(desk, wrong).fail_info is FailInfo.BAD_MESSAGE_CHECK
    request = cert_requests(signed_request(new_key()))
    wrong = message(BodyType.IR, request, ByMAC(), protected=False, **fields)
    assert refused(desk, wrong).fail_info is FailInfo.BAD_MESSAGE_CHECK
    good = bootstrap(desk, certificate, transaction_id)
    desk.settings["kem"] = False
    assert refused(desk, good).fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_what_is_wrong_with_the_question_for_a_ciphertext(desk: Desk) -> None:
    desk.settings["kem"] = True
    certificate, _ = kem_certificate(desk)
    holder = desk.holder()
    stranger = os.urandom(16)
    value = InfoTypeAndValue(KEM_INFO, der.NULL)
    no_value = GenMsgContent((value,))
    cases = (
        ({"extra_certs": ()}, None, FailInfo.ADD_INFO_NOT_AVAILABLE),
        (
            {"extra_certs": (holder.certificate,)},
            None,
            FailInfo.BAD_MESSAGE_CHECK,
        ),
        ({}, no_value, FailInfo.BAD_REQUEST),
    )
    for header, body, expected in cases:
        question = bootstrap(desk, certificate, stranger, **header)
        if body is not None:
            question = message(
                BodyType.GENM,
                body,
                ByMAC(),
                protected=False,
                sender_kid=None,
                extra_certs=(certificate,),
            )
        assert refused(desk, question).fail_info is expected


@pytest.mark.requirement("CMP-172")
def test_a_secret_counts_for_its_transaction_and_its_key(desk: Desk) -> None:
    by = kem_holder(desk)
    other = replace(by, transaction_id=os.urandom(16))
    wrong = asked(desk, other)
    assert refused(desk, wrong).fail_info is FailInfo.BAD_MESSAGE_CHECK
    forged = replace(by, secret=bytes(32))
    assert refused(desk, asked(desk, forged)).fail_info is FailInfo.BAD_MESSAGE_CHECK
    named = replace(by, context=b"another")
    told = asked(desk, by, protection_alg=named.algorithm)
    assert refused(desk, told).fail_info is FailInfo.BAD_MESSAGE_CHECK
    desk.settings["kem"] = False
    assert refused(desk, asked(desk, by)).fail_info is FailInfo.BAD_ALG


def test_the_same_question_gets_the_same_ciphertext(desk: Desk) -> None:
    desk.settings["kem"] = True
    certificate, _ = kem_certificate(desk)
    transaction_id = os.urandom(16)
    question = bootstrap(desk, certificate, transaction_id)
    first = desk.reply(question.octets).body
    assert desk.reply(question.octets).body == first
    again = bootstrap(desk, certificate, transaction_id)
    assert refused(desk, again).fail_info is FailInfo.TRANSACTION_ID_IN_USE
    fresh = refused(desk, bootstrap(desk, certificate, os.urandom(16)))
    assert ciphertext_of(fresh) != ciphertext_of(Answer.read(first))


@pytest.mark.requirement("CMP-172")
def test_the_secret_outlives_a_restart_and_a_long_wait(desk: Desk) -> None:
    desk.needs_approval()
    by = kem_holder(desk)
    waiting = refused(desk, asked(desk, by, BodyType.KUR))
    assert waiting.status.status is PKIStatus.WAITING
    state = [
        record.state
        for record in result_of(
            desk.world.engine.find_transactions_by_id(
                "cmp", "default", by.transaction_id
            )
        )
    ]
    assert not any(by.secret in octets for octets in state)
    desk.restart()
    for hours in (14, 14, 14):
        desk.world.clock.advance(timedelta(hours=hours))
        result_of(desk.world.engine.sweep_transactions())
        waiting = refused(desk, follow(waiting, BodyType.POLL_REQ, polling(), by))
        assert waiting.body_type is BodyType.POLL_REP
    desk.approve()
    answer = refused(desk, follow(waiting, BodyType.POLL_REQ, polling(), by))
    assert answer.certificate


def test_a_secret_that_nobody_uses_is_forgotten(desk: Desk) -> None:
    by = kem_holder(desk)
    used = kem_holder(desk)
    assert refused(desk, asked(desk, used, BodyType.KUR)).certificate
    desk.world.clock.advance(timedelta(minutes=11))
    assert result_of(desk.world.engine.sweep_transactions()) == 1
    answer = refused(desk, asked(desk, by))
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


# --- KEM: our key -------------------------------------------------------------------


def our_kem(desk: Desk, **settings: Any) -> bytes:
    """Our KEM certificate, the alias using it."""
    desk.settings.update({"kem": True} | settings)
    identity = result_of(desk.world.engine.prepare_kem_identity("issuing", CMP))
    return identity.certificate


def encapsulated(certificate: bytes) -> tuple[bytes, InfoTypeAndValue]:
    public: Any = x509.load_der_x509_certificate(certificate).public_key()
    secret, ciphertext = public.encapsulate()
    info = KemCiphertextInfo(AlgorithmIdentifier(oids.ID_ALG_ML_KEM_768), ciphertext)
    return secret, InfoTypeAndValue(KEM_INFO, info.encode())


@pytest.mark.requirement("CMP-171", "CMP-172")
@pytest.mark.parametrize("protection", ["mirror", "kem"])
@pytest.mark.parametrize("signed", [False, True])
def test_our_KEM_key_protects_the_answers_to_a_client_that_knows_it(
    desk: Desk, protection: str, signed: bool
) -> None:
    by: Any = desk.holder(subject="CN=device-1") if signed else by_mac()
    certificate = our_kem(desk, response_protection=protection)
    secret, info = encapsulated(certificate)
    body_type = BodyType.KUR if signed else BodyType.IR
    request = cert_requests(signed_request(new_key(), "CN=device-1"))
    opening = sent(desk, body_type, request, by, general_info=(info,))
    transaction_id = opening.transaction_id or b""
    answer = refused(desk, opening)
    check_kem_answer(answer, secret, transaction_id)
    assert isinstance(answer.body, CertRepMessage)
    assert answer.certificate
    assert desk.reply(opening.octets).body == answer.octets
    desk.restart()
    result_of(desk.world.engine.prepare_kem_identity("issuing", CMP))
    confirmation = cert_conf(certificate_hash(answer.certificate))
    done = refused(desk, follow(answer, BodyType.CERT_CONF, confirmation, by))
    check_kem_answer(done, secret, transaction_id)
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-171")
def test_a_client_that_does_not_know_our_KEM_key_is_shown_it(desk: Desk) -> None:
    certificate = our_kem(desk, response_protection="kem")
    answer = refused(desk, sent(desk))
    assert answer.fail_info is FailInfo.WRONG_INTEGRITY
    assert answer.message.protection is None
    assert answer.header.protection_alg is None
    chain = desk.world.engine.chain("issuing")
    assert answer.message.extra_certs == (certificate, *chain)
    assert desk.count() == 0
    secret, info = encapsulated(answer.message.extra_certs[0])
    again = sent(desk, general_info=(info,))
    granted = refused(desk, again)
    check_kem_answer(granted, secret, again.transaction_id or b"")
    assert granted.certificate


@pytest.mark.requirement("CMP-172")
def test_a_ciphertext_that_is_not_for_our_key_is_refused(desk: Desk) -> None:
    certificate = our_kem(desk)
    _, info = encapsulated(certificate)
    assert info.value is not None
    good = KemCiphertextInfo.decode(info.value)
    short = replace(good, ciphertext=good.ciphertext[1:])
    other = replace(good, kem=AlgorithmIdentifier(oids.ID_ALG_ML_KEM_1024))
    for wrong, expected in (
        (short.encode(), FailInfo.BAD_MESSAGE_CHECK),
        (other.encode(), FailInfo.BAD_ALG),
        (der.NULL, FailInfo.BAD_DATA_FORMAT),
    ):
        value = InfoTypeAndValue(KEM_INFO, wrong)
        answer = refused(desk, sent(desk, general_info=(value,)))
        assert answer.fail_info is expected
    assert desk.count() == 0


def test_a_ciphertext_serves_one_operation(desk: Desk) -> None:
    certificate = our_kem(desk)
    _, info = encapsulated(certificate)
    first = sent(desk, general_info=(info,))
    assert refused(desk, first).certificate
    _, another = encapsulated(certificate)
    second = sent(desk, general_info=(another,), transaction_id=first.transaction_id)
    assert refused(desk, second).fail_info is FailInfo.TRANSACTION_ID_IN_USE


def test_an_alias_that_always_signs_signs(desk: Desk) -> None:
    certificate = our_kem(desk, response_protection="signature")
    _, info = encapsulated(certificate)
    answer = refused(desk, sent(desk, general_info=(info,)))
    answer.check_signature()
