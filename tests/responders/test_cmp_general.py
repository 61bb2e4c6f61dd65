"""genm: questions about the CA."""

from __future__ import annotations

import pytest
from cryptography import x509

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.status import FailInfo
from tests.engine.world import result_of
from tests.responders.desk import Desk
from tests.responders.peers import Answer, By, ByMAC, asking, message


def ask(desk: Desk, *info_types: str, by: By | None = None) -> dict[str, bytes | None]:
    answer = desk.ask(message(BodyType.GENM, asking(*info_types), by or ByMAC()))
    return values_of(answer)


def values_of(answer: Answer) -> dict[str, bytes | None]:
    assert answer.body_type is BodyType.GENP
    assert isinstance(answer.body, GenMsgContent)
    return {info.oid: info.value for info in answer.body.info_values}


def algorithms(value: bytes | None) -> list[AlgorithmIdentifier]:
    assert value is not None
    cursor = der.Cursor(der.single(value, der.SEQUENCE))
    found = []
    while cursor:
        found.append(AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE)))
    return found


@pytest.mark.requirement("CMP-132", "CMP-123")
@pytest.mark.parametrize("signed", [False, True])
def test_caCerts_are_all_CA_certificates_of_the_alias(desk: Desk, signed: bool) -> None:
    by = desk.holder() if signed else ByMAC()
    value = ask(desk, oids.ID_IT_CA_CERTS, by=by)[oids.ID_IT_CA_CERTS]
    assert value == der.sequence(*desk.world.engine.chain("issuing"))


@pytest.mark.requirement("CMP-126")
def test_currentCRL_is_the_latest_full_crl(desk: Desk) -> None:
    value = ask(desk, oids.ID_IT_CURRENT_CRL)[oids.ID_IT_CURRENT_CRL]
    latest = result_of(desk.world.engine.latest_crl("issuing"))
    assert value == latest.der
    assert x509.load_der_x509_crl(value).issuer


@pytest.mark.requirement("CMP-126")
def test_preferredSymmAlg_is_aes_256(desk: Desk) -> None:
    value = ask(desk, oids.ID_IT_PREFERRED_SYMM_ALG)[oids.ID_IT_PREFERRED_SYMM_ALG]
    assert value == AlgorithmIdentifier("2.16.840.1.101.3.4.1.42").encode()


@pytest.mark.requirement("CMP-125")
def test_key_pair_types_are_those_of_the_profiles_one_per_curve(desk: Desk) -> None:
    keys = ("ec:P-256", "ec:P-384", "rsa:2048-4096", "ed25519", "ml-dsa-65", "x25519")
    desk.world.change_profile("device", keys=keys)
    values = ask(desk, oids.ID_IT_SIGN_KEY_PAIR_TYPES, oids.ID_IT_ENC_KEY_PAIR_TYPES)
    p256 = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(oids.SECP256R1))
    p384 = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(oids.SECP384R1))
    rsa = AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)
    assert algorithms(values[oids.ID_IT_SIGN_KEY_PAIR_TYPES]) == [
        p256,
        p384,
        rsa,
        AlgorithmIdentifier(oids.ID_ED25519),
        AlgorithmIdentifier(oids.ID_ML_DSA_65),
    ]
    assert algorithms(values[oids.ID_IT_ENC_KEY_PAIR_TYPES]) == [
        p256,
        p384,
        rsa,
        AlgorithmIdentifier(oids.ID_X25519),
    ]


def test_no_key_type_for_a_use_is_an_absent_value(desk: Desk) -> None:
    desk.world.change_profile("device", keys=("ed25519",))
    values = ask(desk, oids.ID_IT_ENC_KEY_PAIR_TYPES)
    assert values == {oids.ID_IT_ENC_KEY_PAIR_TYPES: None}


@pytest.mark.requirement("CMP-124")
def test_caProtEncCert_is_absent(desk: Desk) -> None:
    values = ask(desk, oids.ID_IT_CA_PROT_ENC_CERT)
    assert values == {oids.ID_IT_CA_PROT_ENC_CERT: None}


@pytest.mark.requirement("CMP-128", "CMP-122")
def test_unknown_types_are_listed_and_known_ones_answered(desk: Desk) -> None:
    values = ask(desk, "1.2.3.4", oids.ID_IT_CA_CERTS, "1.2.3.5", "1.2.3.4")
    assert set(values) == {oids.ID_IT_CA_CERTS, oids.ID_IT_UNSUPPORTED_OIDS}
    listed = der.sequence(der.oid("1.2.3.4"), der.oid("1.2.3.5"))
    assert values[oids.ID_IT_UNSUPPORTED_OIDS] == listed


@pytest.mark.requirement("CMP-122")
def test_a_value_where_none_belongs_is_badRequest(desk: Desk) -> None:
    body = GenMsgContent((InfoTypeAndValue(oids.ID_IT_CA_CERTS, der.NULL),))
    answer = desk.ask(message(BodyType.GENM, body, ByMAC()))
    assert answer.fail_info is FailInfo.BAD_REQUEST


def language(desk: Desk, value: bytes | None) -> Answer:
    body = GenMsgContent((InfoTypeAndValue(oids.ID_IT_SUPP_LANG_TAGS, value),))
    return desk.ask(message(BodyType.GENM, body, ByMAC()))


@pytest.mark.requirement("CMP-131")
def test_a_language_is_chosen_from_those_offered(desk: Desk) -> None:
    offered = der.sequence(*map(der.utf8_string, ("de", "en-GB", "en")))
    values = values_of(language(desk, offered))
    chosen = der.sequence(der.utf8_string("en-GB"))
    assert values == {oids.ID_IT_SUPP_LANG_TAGS: chosen}


@pytest.mark.requirement("CMP-131")
@pytest.mark.parametrize(
    "value", [None, der.sequence(), der.sequence(der.utf8_string("fi"))]
)
def test_without_a_common_language_it_is_badRequest(
    desk: Desk, value: bytes | None
) -> None:
    assert language(desk, value).fail_info is FailInfo.BAD_REQUEST


def test_an_empty_genm_gets_an_empty_genp(desk: Desk) -> None:
    assert ask(desk) == {}


@pytest.mark.requirement("SEC-15", "CMP-28")
def test_questions_are_answered_to_those_who_say_who_they_are(desk: Desk) -> None:
    sent = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), ByMAC(), protected=False)
    assert desk.ask(sent).fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_an_overdue_crl_is_not_handed_out(desk: Desk) -> None:
    from datetime import timedelta

    desk.world.clock.advance(timedelta(days=3))
    sent = message(BodyType.GENM, asking(oids.ID_IT_CURRENT_CRL), ByMAC())
    assert desk.ask(sent).fail_info is FailInfo.SYSTEM_UNAVAIL


@pytest.mark.requirement("CMP-193")
def test_the_same_genm_again_gets_the_same_answer(desk: Desk) -> None:
    sent = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), ByMAC())
    answer = desk.ask(sent)
    assert desk.reply(sent.octets).body == answer.octets
    other = message(
        BodyType.GENM,
        asking(oids.ID_IT_CURRENT_CRL),
        ByMAC(),
        transaction_id=sent.transaction_id,
    )
    assert desk.ask(other).fail_info is FailInfo.TRANSACTION_ID_IN_USE
    follow_up = message(
        BodyType.ERROR,
        b"\x30\x05\x30\x03\x02\x01\x02",
        ByMAC(),
        transaction_id=sent.transaction_id,
        recip_nonce=answer.header.sender_nonce,
    )
    assert desk.ask(follow_up).body_type is BodyType.PKICONF
