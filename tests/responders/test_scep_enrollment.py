"""PKCSReq: signed by a key of the client's own, a challenge in it, a certificate."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pkid.asn1 import der
from pkid.asn1.names import Name
from pkid.engine.creation import NewAuthority
from pkid.engine.model import EndEntity, EntityStatus
from tests.engine.world import CMP, OPERATOR, result_of
from tests.responders.scepdesk import CHALLENGE, SCEPDesk, kind, known_key
from tests.support import scepclient
from tests.support.scepclient import (
    FAIL_INFO_TEXT,
    MESSAGE_TYPE,
    PKI_STATUS,
    RECIPIENT_NONCE,
    SENDER_NONCE,
    TRANSACTION_ID,
    Envelope,
)

BAD_ALG, BAD_MESSAGE_CHECK, BAD_REQUEST, BAD_TIME, BAD_CERT_ID = range(5)


@pytest.mark.requirement("SCEP-23", "SCEP-30", "SCEP-36")
def test_a_device_enrols_with_a_challenge(scep: SCEPDesk) -> None:
    answer = scep.enroll()
    certificate = answer.certificate
    assert certificate.subject.rfc4514_string() == "CN=device-1"
    assert certificate.public_key() == known_key().public_key()
    certificate.verify_directly_issued_by(scep.ca)
    assert len(answer.certificates) == 1
    assert [one.subject for one in scep.issued()] == ["CN=device-1"]


@pytest.mark.requirement("SCEP-34")
def test_an_answer_repeats_the_transaction_and_the_nonce(scep: SCEPDesk) -> None:
    sent = scep.request(transaction_id="a b/c+d=")
    answer = scep.read(scep.post(sent.encode()), known_key())
    assert answer.attributes[MESSAGE_TYPE] == b"3"
    assert answer.attributes[PKI_STATUS] == b"0"
    assert answer.attributes[TRANSACTION_ID] == b"a b/c+d="
    assert answer.attributes[RECIPIENT_NONCE] == sent.nonce
    assert len(answer.attributes[SENDER_NONCE]) == 16
    assert answer.attributes[SENDER_NONCE] != sent.nonce
    assert answer.tags[MESSAGE_TYPE] == der.PRINTABLE_STRING


@pytest.mark.requirement("SCEP-25", "SCEP-34")
@pytest.mark.parametrize(
    "tag", [der.UTF8_STRING, der.IA5_STRING, der.TELETEX_STRING, der.PRINTABLE_STRING]
)
def test_the_transaction_id_comes_back_in_its_own_string_type(
    scep: SCEPDesk, tag: int
) -> None:
    sent = scep.request()
    sent.attributes = [
        scepclient.attribute(MESSAGE_TYPE, der.encode(tag, b"19")),
        scepclient.attribute(TRANSACTION_ID, der.encode(tag, b"0")),
        scepclient.attribute(SENDER_NONCE, der.octet_string(b"n" * 64)),
    ]
    answer = scep.read(scep.post(sent.encode()), known_key())
    assert answer.status == 0
    assert answer.tags[TRANSACTION_ID] == tag
    assert answer.attributes[RECIPIENT_NONCE] == b"n" * 64


@pytest.mark.requirement("SCEP-25")
def test_unknown_signed_attributes_are_normal(scep: SCEPDesk) -> None:
    further = [
        scepclient.attribute("1.2.840.113549.1.9.52", der.sequence()),
        scepclient.attribute("1.2.840.113549.1.9.15", der.sequence()),
        scepclient.attribute("1.2.3.4", der.NULL, der.NULL),
    ]
    assert scep.enroll(further=further).status == 0


# --- algorithms --------------------------------------------------------------------


@pytest.mark.requirement("SCEP-24", "SCEP-39")
@pytest.mark.parametrize("digest", ["sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("plain_rsa", [False, True], ids=["with", "rsaEncryption"])
def test_the_answer_uses_the_digest_of_the_request(
    scep: SCEPDesk, digest: str, plain_rsa: bool
) -> None:
    answer = scep.enroll(digest=digest, plain_rsa=plain_rsa)
    assert answer.status == 0
    assert answer.digest == digest
    assert answer.signature_oid == "1.2.840.113549.1.1.1"


@pytest.mark.requirement("SCEP-28", "SCEP-39")
@pytest.mark.parametrize(
    "cipher", ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "aes-256-gcm"]
)
def test_the_answer_uses_the_cipher_of_the_request(scep: SCEPDesk, cipher: str) -> None:
    answer = scep.enroll(envelope=scep.envelope(cipher=cipher))
    assert answer.status == 0
    assert answer.cipher == cipher


@pytest.mark.requirement("SCEP-28", "SCEP-58", "SEC-26")
@pytest.mark.parametrize(
    ("switch", "request_fields", "cipher"),
    [
        ("allow_sha1", {"digest": "sha1"}, "aes-128-cbc"),
        ("allow_md5", {"digest": "md5"}, "aes-128-cbc"),
        ("allow_des3", {}, "des-ede3-cbc"),
        ("allow_des", {}, "des-cbc"),
    ],
)
def test_old_algorithms_are_taken_behind_their_switch_only(
    scep: SCEPDesk, switch: str, request_fields: dict[str, Any], cipher: str
) -> None:
    def enroll(subject: str) -> scepclient.Answer:
        envelope = scep.envelope(cipher=cipher)
        return scep.enroll(subject=subject, envelope=envelope, **request_fields)

    refused = enroll("CN=device-1")
    assert (refused.status, refused.fail_info) == (2, BAD_ALG)
    assert not scep.issued()
    scep.settings[switch] = True
    answer = enroll("CN=device-2")
    assert answer.status == 0
    assert answer.cipher == cipher


@pytest.mark.requirement("SCEP-39", "SCEP-64")
def test_sha1_is_answered_in_sha1_but_certificates_never_are(scep: SCEPDesk) -> None:
    scep.settings["allow_sha1"] = True
    answer = scep.enroll(digest="sha1", csr={"digest": "sha1"})
    assert answer.digest == "sha1"
    algorithm = answer.certificate.signature_hash_algorithm
    assert algorithm is not None
    assert algorithm.name == "sha256"


@pytest.mark.requirement("SCEP-28")
def test_an_md5_client_gets_sha1(scep: SCEPDesk) -> None:
    scep.settings.update(allow_md5=True, allow_des=True)
    answer = scep.enroll(
        digest="md5", csr={"digest": "md5"}, envelope=scep.envelope(cipher="des-cbc")
    )
    assert answer.digest == "sha1"
    assert answer.status == 0


@pytest.mark.requirement("SCEP-27")
def test_oaep_and_key_identifiers_are_understood(scep: SCEPDesk) -> None:
    assert scep.enroll(envelope=scep.envelope(oaep=True)).status == 0
    second = scep.enroll(subject="CN=device-2", envelope=scep.envelope(by_key_id=True))
    assert second.status == 0


@pytest.mark.requirement("SCEP-27", "SCEP-18")
def test_our_recipient_is_found_among_several(scep: SCEPDesk) -> None:
    other = Envelope(recipient=scepclient.self_signed(known_key(2)))
    others = (other.recipient_info(b"k" * 16),)
    assert scep.enroll(envelope=scep.envelope(others=others)).status == 0


@pytest.mark.requirement("SCEP-27")
def test_a_request_for_another_ra_is_refused_with_advice(scep: SCEPDesk) -> None:
    other = Envelope(recipient=scepclient.self_signed(known_key(2)))
    answer = scep.enroll(envelope=other)
    assert (answer.status, answer.fail_info) == (2, BAD_MESSAGE_CHECK)
    assert "get the CA certificates" in answer.text


# --- what old clients write --------------------------------------------------------


@pytest.mark.requirement("SCEP-24")
def test_attributes_in_any_order_are_verified_as_they_came(scep: SCEPDesk) -> None:
    sent = scep.request(unsorted=True)
    assert scep.read(scep.post(sent.encode()), known_key()).status == 0


@pytest.mark.requirement("SCEP-30", "SCEP-32")
def test_a_request_with_unsorted_attributes_is_read(scep: SCEPDesk) -> None:
    attributes = [
        scepclient.attribute("1.2.840.113549.1.9.20", der.utf8_string("friendly")),
        scepclient.attribute("1.2.840.113549.1.9.2", scepclient.printable("n")),
    ]
    answer = scep.enroll(csr={"attributes": attributes})
    assert answer.status == 0


@pytest.mark.requirement("SCEP-32")
@pytest.mark.parametrize("pieces", [1, 3, 20])
def test_encrypted_content_in_pieces_is_read(scep: SCEPDesk, pieces: int) -> None:
    assert scep.enroll(envelope=scep.envelope(pieces=pieces)).status == 0


@pytest.mark.requirement("SCEP-32")
@pytest.mark.parametrize(
    "tag",
    [der.UTF8_STRING, der.IA5_STRING, der.TELETEX_STRING, der.BMP_STRING],
)
def test_a_challenge_of_any_string_type_is_read(scep: SCEPDesk, tag: int) -> None:
    codec = "utf-16-be" if tag == der.BMP_STRING else "ascii"
    value = der.encode(tag, CHALLENGE.encode(codec))
    attributes = [scepclient.attribute(scepclient.CHALLENGE, value)]
    answer = scep.enroll(challenge=None, csr={"attributes": attributes})
    assert answer.status == 0


@pytest.mark.requirement("SCEP-32")
def test_an_alternative_name_alone_is_enough(scep: SCEPDesk) -> None:
    answer = scep.enroll(
        subject="",
        certificate=scepclient.self_signed(known_key(), "CN=SCEP SIGNER"),
        csr={"extensions": [scepclient.san("device-1.example")]},
    )
    names = answer.certificate.extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["device-1.example"]


@pytest.mark.requirement("SCEP-32")
def test_cisco_names_and_a_serial_number_stand_in_the_subject(scep: SCEPDesk) -> None:
    subject = "1.2.840.113549.1.9.2=router.example,2.5.4.5=FTX1,CN=router"
    answer = scep.enroll(subject=subject)
    found = answer.certificate.subject
    unstructured = x509.ObjectIdentifier("1.2.840.113549.1.9.2")
    assert found.get_attributes_for_oid(unstructured)[0].value == "router.example"


@pytest.mark.requirement("SCEP-31")
def test_the_signer_may_have_any_name(scep: SCEPDesk) -> None:
    signer = scepclient.self_signed(known_key(), "CN=SCEP SIGNER")
    answer = scep.enroll(certificate=signer)
    assert answer.certificate.subject.rfc4514_string() == "CN=device-1"


# --- who may -----------------------------------------------------------------------


@pytest.mark.requirement("SCEP-45", "SCEP-47")
@pytest.mark.parametrize("challenge", [None, "", "wrong", CHALLENGE + " "])
def test_without_the_challenge_nothing_is_issued(
    scep: SCEPDesk, challenge: str | None
) -> None:
    answer = scep.enroll(challenge=challenge)
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert answer.text == "the challenge password is not accepted"
    assert not scep.issued()


@pytest.mark.requirement("SEC-21")
def test_a_static_challenge_needs_its_switch(scep: SCEPDesk) -> None:
    scep.settings["static_challenge"] = False
    answer = scep.enroll()
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    assert answer.text == "the challenge password is not accepted"


@pytest.mark.requirement("SCEP-45", "SCEP-47")
def test_a_used_challenge_sounds_like_an_unknown_one(scep: SCEPDesk) -> None:
    scep.challenge("once", uses=1)
    assert scep.enroll(challenge="once").status == 0
    again = scep.enroll(known_key(1), subject="CN=device-2", challenge="once")
    unknown = scep.enroll(known_key(1), subject="CN=device-2", challenge="never")
    for answer in (again, unknown):
        assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
        assert answer.text == "the challenge password is not accepted"
    found = result_of(scep.world.engine.explain("scep:nobody"))
    hints = [record.event.hint for record in found]
    assert any("is used up" in hint for hint in hints)
    assert any("is not known" in hint for hint in hints)


@pytest.mark.requirement("SCEP-45", "SCEP-53")
def test_a_challenge_of_a_registered_device_gives_it_its_own_name(
    scep: SCEPDesk,
) -> None:
    entity = EndEntity(
        name="router-7",
        status=EntityStatus.NEW,
        created=scep.world.clock.now(),
        subject="CN=router-7,O=Example",
    )
    administration = scep.world.engine.administration
    result_of(administration.add_entity(entity, OPERATOR, CMP))
    scep.challenge("of router-7", entity="router-7", uses=1)
    answer = scep.enroll(subject="CN=admin", challenge="of router-7")
    found = answer.certificate.subject.rfc4514_string()
    assert found == "CN=router-7,O=Example"


@pytest.mark.requirement("SCEP-46", "SEC-21")
def test_a_challenge_for_one_name_is_refused_for_another(scep: SCEPDesk) -> None:
    scep.settings["static_challenge"] = False
    scep.challenge("for device-1", subject="CN=device-1", uses=1)
    refused = scep.enroll(subject="CN=boss", challenge="for device-1")
    assert (refused.status, refused.fail_info) == (2, BAD_REQUEST)
    assert scep.enroll(challenge="for device-1").status == 0


@pytest.mark.requirement("SCEP-31", "SEC-25")
def test_a_signer_with_another_key_than_the_request_is_refused(
    scep: SCEPDesk,
) -> None:
    inner = scepclient.pkcs10(known_key(1), challenge=CHALLENGE)
    sent = scep.message(inner, known_key())
    answer = scep.read(scep.post(sent.encode()))
    assert (answer.status, answer.fail_info) == (2, BAD_MESSAGE_CHECK)
    assert FAIL_INFO_TEXT not in answer.attributes
    assert not scep.issued()


@pytest.mark.requirement("SCEP-30")
def test_a_request_that_its_key_did_not_sign_is_refused(scep: SCEPDesk) -> None:
    key = known_key()
    inner = scepclient.pkcs10(
        known_key(1), challenge=CHALLENGE, spki=scepclient.spki_of(key)
    )
    sent = scep.message(inner, key)
    answer = scep.read(scep.post(sent.encode()))
    assert (answer.status, answer.fail_info) == (2, BAD_MESSAGE_CHECK)
    assert not scep.issued()


@pytest.mark.requirement("SCEP-59")
def test_what_a_request_asks_for_beyond_the_profile_is_not_reflected(
    scep: SCEPDesk,
) -> None:
    ca = der.sequence(
        der.oid("2.5.29.19"),
        der.octet_string(der.sequence(der.boolean(value=True))),
    )
    answer = scep.enroll(csr={"extensions": [ca]})
    assert (answer.status, answer.fail_info) == (2, BAD_REQUEST)
    sid = der.sequence(
        der.oid("1.3.6.1.4.1.311.25.2"), der.octet_string(der.sequence())
    )
    agent = der.sequence(
        der.oid("2.5.29.37"),
        der.octet_string(der.sequence(der.oid("1.3.6.1.4.1.311.20.2.1"))),
    )
    answer = scep.enroll(csr={"extensions": [sid, agent]})
    extensions = [one.oid.dotted_string for one in answer.certificate.extensions]
    assert "1.3.6.1.4.1.311.25.2" not in extensions
    purposes = answer.certificate.extensions.get_extension_for_class(
        x509.ExtendedKeyUsage
    )
    assert [one.dotted_string for one in purposes.value] == ["1.3.6.1.5.5.7.3.2"]


# --- once and again ----------------------------------------------------------------


@pytest.mark.requirement("SCEP-44", "SCEP-63")
def test_the_same_request_again_gets_the_same_certificate(scep: SCEPDesk) -> None:
    scep.challenge("once", uses=1)
    sent = scep.request(challenge="once")
    first = scep.read(scep.post(sent.encode()), known_key())
    again = scep.read(scep.post(sent.encode()), known_key())
    assert again.certificate == first.certificate
    assert len(scep.issued()) == 1
    scep.restart()
    sent.nonce = b"other nonce 0123"
    third = scep.read(scep.post(sent.encode()), known_key())
    assert third.certificate == first.certificate
    assert third.attributes[RECIPIENT_NONCE] == sent.nonce


@pytest.mark.requirement("SCEP-44", "SCEP-62")
def test_the_same_transaction_id_with_another_request_is_another_transaction(
    scep: SCEPDesk,
) -> None:
    first = scep.enroll(transaction_id="SSCEP transactionId")
    second = scep.enroll(subject="CN=device-2", transaction_id="SSCEP transactionId")
    other = scep.enroll(
        known_key(1), subject="CN=device-3", transaction_id="SSCEP transactionId"
    )
    serials = {one.certificate.serial_number for one in (first, second, other)}
    assert len(serials) == 3


@pytest.mark.requirement("SCEP-62", "SCEP-60")
def test_neither_transaction_id_nor_challenge_becomes_a_name_in_the_store(
    scep: SCEPDesk,
) -> None:
    identifier = "../../../etc/passwd"
    assert scep.enroll(transaction_id=identifier).status == 0
    names = {path.name for path in scep.world.directory.rglob("*")}
    assert not any("passwd" in name for name in names)
    for path in scep.world.directory.rglob("*"):
        if path.is_file():
            assert CHALLENGE.encode() not in path.read_bytes(), path


# --- what the answer carries -------------------------------------------------------


@pytest.mark.requirement("SCEP-37")
@pytest.mark.parametrize(("chain", "count"), [("none", 1), ("issuer", 2), ("full", 3)])
def test_the_chain_stands_behind_the_certificate_where_it_is_wanted(
    scep: SCEPDesk, chain: str, count: int
) -> None:
    scep.settings["include_chain"] = chain
    found = scep.enroll().certificates
    assert len(found) == count
    assert found[0].subject.rfc4514_string() == "CN=device-1"
    if count > 1:
        assert found[1] == scep.ca


@pytest.mark.requirement("SCEP-36")
def test_certificates_stand_in_der_order_where_it_is_wanted(scep: SCEPDesk) -> None:
    scep.settings.update(include_chain="full", sort_certificates=True)
    found = [scepclient.der_of(one) for one in scep.enroll().certificates]
    assert found == sorted(found)


@pytest.mark.requirement("SCEP-38")
@pytest.mark.parametrize("included", [True, False])
def test_the_signer_stands_in_the_answer_unless_it_is_switched_off(
    scep: SCEPDesk, included: bool
) -> None:
    scep.settings["include_signer"] = included
    outer = scep.enroll().outer
    assert outer == ((scepclient.der_of(scep.ra),) if included else ())


@pytest.mark.requirement("SCEP-29")
def test_an_ec_client_reads_its_answer_with_its_challenge(scep: SCEPDesk) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sent = scep.request(key)
    answer = scep.read(scep.post(sent.encode()), key, password=CHALLENGE)
    assert answer.certificate.public_key() == key.public_key()


@pytest.mark.requirement("SCEP-29", "SCEP-33")
def test_an_ec_client_without_a_challenge_is_refused_before_anything_is_issued(
    scep: SCEPDesk,
) -> None:
    scep.change_alias(approval="operator")
    scep.settings["unknown_requesters"] = "pend"
    key = ec.generate_private_key(ec.SECP256R1())
    answer = scep.enroll(key, challenge=None)
    assert (answer.status, answer.fail_info) == (2, BAD_ALG)
    assert not result_of(scep.world.store.list_approvals())


@pytest.mark.requirement("SCEP-40")
def test_words_are_left_out_where_they_hurt(scep: SCEPDesk) -> None:
    scep.settings["fail_info_text"] = False
    answer = scep.enroll(challenge="wrong")
    assert answer.fail_info == BAD_REQUEST
    assert FAIL_INFO_TEXT not in answer.attributes


@pytest.mark.requirement("SCEP-35")
@pytest.mark.parametrize("empty", [True, False])
def test_a_failure_carries_nothing_and_is_signed(scep: SCEPDesk, empty: bool) -> None:
    # OpenSSL's clients verify nothing where there is no content, not even an empty one.
    scep.settings["empty_content"] = empty
    answer = scep.enroll(challenge="wrong")
    assert answer.has_content is empty
    digest = hashlib.sha256(b"").digest()
    assert answer.attributes[scepclient.MESSAGE_DIGEST] == digest


@pytest.mark.requirement("SCEP-33")
def test_a_short_rsa_key_is_refused(scep: SCEPDesk) -> None:
    key = rsa.generate_private_key(65537, 1024)
    answer = scep.enroll(key)
    assert answer.status == 2
    assert not scep.issued()


# --- the pair, the CA itself -------------------------------------------------------


@pytest.mark.requirement("SCEP-19", "SCEP-50")
def test_a_pair_of_ra_certificates_serves_as_ndes_does(scep: SCEPDesk) -> None:
    scep.settings["identity"] = kind("pair")
    scep.prepare()
    assert scep.enroll().status == 0


@pytest.mark.requirement("SCEP-16", "SCEP-20")
def test_an_rsa_root_serves_as_itself(scep: SCEPDesk) -> None:
    scep.world.change_profile("root-ca", keys=("rsa:2048-8192",))
    new = NewAuthority(
        name="old", subject=Name.from_text("CN=old,O=pkid test"), key_spec="rsa:2048"
    )
    result_of(scep.world.engine.create_authority(new, CMP))
    scep.change_alias(authority="old")
    scep.settings["identity"] = kind("ca")
    scep.prepare()
    reply = scep.get("GetCACert")
    assert reply.content_type == "application/x-x509-ca-cert"
    assert x509.load_der_x509_certificate(reply.body) == scep.ca == scep.ra
    scep.enroll().certificate.verify_directly_issued_by(scep.ca)


def test_what_is_not_prepared_is_unavailable(scep: SCEPDesk) -> None:
    scep.settings["identity"] = kind("pair")
    reply = scep.get("GetCACert")
    assert reply.status == 503
    assert ("Retry-After", "5") in reply.headers
