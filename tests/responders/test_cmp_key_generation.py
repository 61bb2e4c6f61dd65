"""Keys made here, delivered to who asked: read by pyasn1, opened by others' tools.

**Source:** RFC 9810 sections 4.2.1.2 and 5.2.2; RFC 5958; RFC 9483 section 4.1.6.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1.codec.der.encoder import encode as pyasn1_encode
from pyasn1_alt_modules import rfc5652, rfc5958, rfc8018

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.model import CertificateStatus
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.controls import PROTOCOL_ENCR_KEY
from pkid.messages.crmf import RAVerified
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.keypeers import ByKEM
from tests.responders.ownkeys import (
    ENCR_CERT,
    KEYS,
    SPECS,
    encrypted_certificate,
    opened,
    opened_old_value,
    oracle_pair,
    request_for,
)
from tests.responders.peers import (
    IMPLICIT,
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
from tests.responders.test_cmp_agreed_macs import bootstrap, ciphertext_of

EC = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(oids.SECP384R1))


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """A desk where keys are made."""
    desk.world.change_alias(key_generation=True)
    result_of(desk.world.engine.key_generators.prepare("issuing", CMP))
    return desk


@pytest.fixture
def by() -> ByMAC:
    return ByMAC()


def without_bits(algorithm: AlgorithmIdentifier) -> bytes:
    """A SubjectPublicKeyInfo that only says of which algorithm the key shall be."""
    return der.sequence(algorithm.encode(), der.bit_string(b""))


def asked(
    by: By, *, body_type: BodyType = BodyType.IR, pvno: int = 3, **request: Any
) -> Sent:
    """A request without a key."""
    request = {"spki": None, "popo": None, **request}
    content = cert_requests(signed_request(new_key(), **request))
    return message(body_type, content, by, pvno=pvno)


def enveloped_in(answer: Answer) -> bytes:
    """EnvelopedData of the private key, whole; that there is one recipient."""
    assert answer.status.status is PKIStatus.ACCEPTED
    pair = oracle_pair(answer)
    assert pair["certOrEncCert"].getName() == "certificate"
    tagged = pyasn1_encode(pair["privateKey"]["envelopedData"])
    octets = der.sequence(der.single(tagged, der.constructed(0)))
    enveloped, rest = pyasn1_decode(octets, asn1Spec=rfc5652.EnvelopedData())
    assert not rest
    info = enveloped["encryptedContentInfo"]
    assert info["contentType"] == rfc5652.id_signedData
    algorithm = str(info["contentEncryptionAlgorithm"]["algorithm"])
    assert algorithm == oids.ID_AES256_CBC
    assert len(enveloped["recipientInfos"]) == 1
    return octets


def recipient_of(enveloped: bytes) -> Any:
    read, _ = pyasn1_decode(enveloped, asn1Spec=rfc5652.EnvelopedData())
    return read["recipientInfos"][0]


def private_key_in(signed: bytes, desk: Desk, folder: Path) -> Any:
    """The key, once OpenSSL has verified who signed it."""
    content_info = der.sequence(der.oid(oids.ID_SIGNED_DATA), der.explicit(0, signed))
    (folder / "signed").write_bytes(content_info)
    root = x509.load_der_x509_certificate(desk.world.engine.chain("issuing")[-1])
    (folder / "root").write_bytes(root.public_bytes(Encoding.PEM))
    at = int(desk.world.clock.now().timestamp())
    subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "DER"),
            *("-in", folder / "signed", "-CAfile", folder / "root"),
            *("-purpose", "any", "-attime", str(at), "-out", folder / "package"),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    package = (folder / "package").read_bytes()
    read, rest = pyasn1_decode(package, asn1Spec=rfc5958.AsymmetricKeyPackage())
    assert not rest
    (one,) = read
    return load_der_private_key(pyasn1_encode(one), None)


def opened_by_password(enveloped: bytes, password: bytes) -> bytes:
    """The content, with hashlib and two primitives."""
    read, _ = pyasn1_decode(enveloped, asn1Spec=rfc5652.EnvelopedData())
    info = read["recipientInfos"][0]["pwri"]
    derivation = info["keyDerivationAlgorithm"]["parameters"].asOctets()
    parameters, _ = pyasn1_decode(derivation, asn1Spec=rfc8018.PBKDF2_params())
    kek = hashlib.pbkdf2_hmac(
        "sha256",
        password,
        parameters["salt"]["specified"].asOctets(),
        int(parameters["iterationCount"]),
        32,
    )
    key = aes_key_unwrap(kek, info["encryptedKey"].asOctets())
    content = read["encryptedContentInfo"]
    encoded = content["contentEncryptionAlgorithm"]["parameters"].asOctets()
    vector, _ = pyasn1_decode(encoded)
    decryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(vector))).decryptor()
    padded = decryptor.update(content["encryptedContent"].asOctets())
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def salt_of(enveloped: bytes) -> bytes:
    derivation = recipient_of(enveloped)["pwri"]["keyDerivationAlgorithm"]
    octets = derivation["parameters"].asOctets()
    read, _ = pyasn1_decode(octets, asn1Spec=rfc8018.PBKDF2_params())
    salt: bytes = read["salt"]["specified"].asOctets()
    return salt


def check_fits(key: Any, certificate: bytes) -> None:
    """That this is the key of the certificate."""
    certified = x509.load_der_x509_certificate(certificate).public_key()
    own = key.public_key()
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert own.public_bytes(*form) == certified.public_bytes(*form)


def holder(desk: Desk, key: Any, *usages: str) -> BySignature:
    """Someone with a certificate of this PKI for a key of theirs."""
    desk.world.change_profile(
        "device", keys=(*SPECS, "ed25519"), key_usage=tuple(usages)
    )
    answer = desk.enroll(key=key, subject="CN=device-1", implicit=True)
    desk.world.change_profile("device", keys=SPECS[1:], key_usage=())
    return BySignature(answer.certificate, key)


# --- by credential ------------------------------------------------------------


@pytest.mark.requirement("CMP-106", "CMP-107", "CMP-108")
def test_under_a_shared_secret_the_key_comes_for_the_password(
    desk: Desk, by: ByMAC, tmp_path: Path
) -> None:
    answer = desk.ask(asked(by))
    enveloped = enveloped_in(answer)
    assert recipient_of(enveloped).getName() == "pwri"
    key = private_key_in(opened_by_password(enveloped, SECRET), desk, tmp_path)
    check_fits(key, answer.certificate)
    content = cert_conf(certificate_hash(answer.certificate))
    done = desk.ask(follow(answer, BodyType.CERT_CONF, content, by, pvno=3))
    assert done.body_type is BodyType.PKICONF
    assert desk.record(answer.certificate).status is CertificateStatus.ACTIVE


@pytest.mark.requirement("CMP-107", "CMP-108", "CMP-110")
@pytest.mark.parametrize("transport", ["oaep", "pkcs1"])
def test_under_an_rsa_certificate_the_key_is_transported(
    desk: Desk, tmp_path: Path, transport: str
) -> None:
    desk.settings["key_transport"] = transport
    by = holder(desk, KEYS["rsa"])
    answer = desk.ask(asked(by, body_type=BodyType.CR, subject="CN=device-1"))
    enveloped = enveloped_in(answer)
    recipient = recipient_of(enveloped)
    assert recipient.getName() == "ktri"
    algorithm = str(recipient["ktri"]["keyEncryptionAlgorithm"]["algorithm"])
    expected = {"oaep": oids.ID_RSAES_OAEP, "pkcs1": oids.RSA_ENCRYPTION}
    assert algorithm == expected[transport]
    key = private_key_in(opened(enveloped, "rsa"), desk, tmp_path)
    check_fits(key, answer.certificate)


@pytest.mark.requirement("CMP-107", "CMP-108")
@pytest.mark.parametrize("family", ["ec:P-256", "ec:P-384", "ec:P-521"])
def test_under_an_ec_certificate_the_key_is_agreed_upon(
    desk: Desk, tmp_path: Path, family: str
) -> None:
    by = holder(desk, KEYS[family])
    answer = desk.ask(asked(by, body_type=BodyType.KUR, subject="CN=device-1"))
    assert answer.body_type is BodyType.KUP
    enveloped = enveloped_in(answer)
    assert recipient_of(enveloped).getName() == "kari"
    key = private_key_in(opened(enveloped, family), desk, tmp_path)
    check_fits(key, answer.certificate)


@pytest.mark.requirement("CMP-108")
@pytest.mark.parametrize(
    "family", ["rsa", "ec:P-256", "x25519", "x448", "ml-kem-768", "ml-kem-1024"]
)
def test_a_control_names_any_other_key_for_the_answer(
    desk: Desk, by: ByMAC, tmp_path: Path, family: str
) -> None:
    control = PROTOCOL_ENCR_KEY.attribute(spki_of(KEYS[family]))
    answer = desk.ask(asked(by, controls=(control,)))
    enveloped = enveloped_in(answer)
    kind = "ktri" if family == "rsa" else "kari"
    kind = "ori" if family.startswith("ml-kem") else kind
    assert recipient_of(enveloped).getName() == kind
    key = private_key_in(opened(enveloped, family), desk, tmp_path)
    check_fits(key, answer.certificate)


@pytest.mark.requirement("CMP-108", "CMP-174")
@pytest.mark.parametrize("family", ["ml-kem-768", "ml-kem-1024"])
def test_under_a_KEM_certificate_the_key_is_encapsulated(
    desk: Desk, by: ByMAC, tmp_path: Path, family: str
) -> None:
    desk.settings["kem"] = True
    device = kem_device(desk, by, family)
    request = signed_request(new_key(), "CN=kem-1", spki=None, popo=None)
    answer = desk.ask(
        message(
            BodyType.CR,
            cert_requests(request),
            device,
            pvno=3,
            transaction_id=device.transaction_id,
        )
    )
    enveloped = enveloped_in(answer)
    assert recipient_of(enveloped).getName() == "ori"
    key = private_key_in(opened(enveloped, family), desk, tmp_path)
    check_fits(key, answer.certificate)


def kem_device(desk: Desk, by: ByMAC, family: str) -> ByKEM:
    """A device that proved its KEM key by decrypting its certificate, and now asks."""
    desk.world.change_profile("device", keys=(family, "ec:P-256"))
    wanted = request_for(family, ENCR_CERT, subject="CN=kem-1")
    sent = message(BodyType.IR, cert_requests(wanted), by, pvno=3)
    answer = desk.ask(sent)
    certificate = opened(encrypted_certificate(answer), family)
    content = cert_conf(certificate_hash(certificate))
    desk.ask(follow(answer, BodyType.CERT_CONF, content, by, pvno=3))
    desk.world.change_profile("device", keys=("ec:P-256",))
    transaction_id = os.urandom(16)
    question = bootstrap(desk, certificate, transaction_id)
    info = ciphertext_of(desk.ask(question))
    secret = KEYS[family].decapsulate(info.ciphertext)
    return ByKEM(certificate, secret, transaction_id)


@pytest.mark.requirement("CMP-108")
def test_under_a_secret_whose_answers_are_signed_the_key_comes_for_the_password(
    desk: Desk, by: ByMAC, tmp_path: Path
) -> None:
    desk.settings["response_protection"] = "signature"
    enveloped = enveloped_in(desk.ask(asked(by)))
    private_key_in(opened_by_password(enveloped, SECRET), desk, tmp_path)


@pytest.mark.requirement("CMP-109")
def test_a_certificate_without_keyEncipherment_is_notAuthorized(desk: Desk) -> None:
    by = holder(desk, KEYS["rsa"], "digitalSignature")
    answer = desk.ask(asked(by, body_type=BodyType.CR, subject="CN=device-1"))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    assert desk.count() == 1


@pytest.mark.requirement("CMP-109")
def test_a_certificate_without_keyAgreement_is_notAuthorized(desk: Desk) -> None:
    by = holder(desk, new_key(), "digitalSignature")
    answer = desk.ask(asked(by, body_type=BodyType.CR, subject="CN=device-1"))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-109")
def test_a_key_that_only_signs_cannot_receive_one(desk: Desk) -> None:
    by = holder(desk, ed25519.Ed25519PrivateKey.generate())
    answer = desk.ask(asked(by, body_type=BodyType.CR, subject="CN=device-1"))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-109")
def test_a_key_update_under_a_secret_is_wrongIntegrity(desk: Desk, by: ByMAC) -> None:
    answer = desk.ask(asked(by, body_type=BodyType.KUR))
    assert answer.fail_info is FailInfo.WRONG_INTEGRITY


# --- what key -----------------------------------------------------------------


@pytest.mark.requirement("CMP-106")
def test_an_algorithm_without_bits_says_which_kind_of_key(
    desk: Desk, by: ByMAC, tmp_path: Path
) -> None:
    answer = desk.ask(asked(by, spki=without_bits(EC)))
    signed = opened_by_password(enveloped_in(answer), SECRET)
    key = private_key_in(signed, desk, tmp_path)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp384r1"


@pytest.mark.requirement("CMP-106")
def test_rsa_may_be_asked_for(desk: Desk, by: ByMAC, tmp_path: Path) -> None:
    wanted = without_bits(AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL))
    answer = desk.ask(asked(by, spki=wanted))
    signed = opened_by_password(enveloped_in(answer), SECRET)
    key = private_key_in(signed, desk, tmp_path)
    assert isinstance(key, rsa.RSAPrivateKey)


@pytest.mark.requirement("CMP-106")
def test_a_kind_that_the_profile_has_not_is_badAlg(desk: Desk, by: ByMAC) -> None:
    wanted = without_bits(AlgorithmIdentifier(oids.ID_ED448))
    assert desk.ask(asked(by, spki=wanted)).fail_info is FailInfo.BAD_ALG


@pytest.mark.requirement("CMP-106")
def test_a_proof_of_possession_for_no_key_is_badCertTemplate(
    desk: Desk, by: ByMAC
) -> None:
    answer = desk.ask(asked(by, popo=RAVerified()))
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE


def test_keys_are_made_in_messages_of_their_own(desk: Desk, by: ByMAC) -> None:
    content = cert_requests(
        signed_request(new_key(), "CN=a", cert_req_id=0),
        signed_request(new_key(), "CN=b", cert_req_id=1, spki=None, popo=None),
    )
    answer = desk.ask(message(BodyType.IR, content, by, pvno=3))
    body: Any = answer.body
    assert body.responses[0].certified_key_pair is not None
    assert body.responses[1].status.fail_info == frozenset((FailInfo.BAD_REQUEST,))


# --- fresh each time, kept nowhere --------------------------------------------


@pytest.mark.requirement("CMP-111")
def test_salt_key_and_vector_are_fresh_each_time(desk: Desk, by: ByMAC) -> None:
    enveloped = [
        enveloped_in(desk.ask(asked(by, subject=f"CN=device-{number}")))
        for number in range(3)
    ]
    salts = {salt_of(octets) for octets in enveloped}
    assert len(salts) == 3
    parameters: Any = by.parameters
    assert parameters.salt not in salts
    wrapped = {
        recipient_of(octets)["pwri"]["encryptedKey"].asOctets() for octets in enveloped
    }
    assert len(wrapped) == 3


@pytest.mark.requirement("CMP-111")
def test_the_ephemeral_key_is_fresh_each_time(desk: Desk) -> None:
    by = holder(desk, KEYS["ec:P-256"])
    seen = set()
    for _ in range(2):
        sent = asked(by, body_type=BodyType.CR, subject="CN=device-1")
        info = recipient_of(enveloped_in(desk.ask(sent)))["kari"]
        seen.add(info["originator"]["originatorKey"]["publicKey"].asOctets())
    assert len(seen) == 2


def test_the_same_request_again_gets_the_same_envelope(desk: Desk, by: ByMAC) -> None:
    sent = asked(by)
    first = desk.ask(sent)
    desk.restart()
    assert desk.reply(sent.octets).body == first.octets
    assert desk.count() == 1


@pytest.mark.requirement("CMP-107")
def test_the_private_key_stands_nowhere_in_the_clear(
    desk: Desk, by: ByMAC, tmp_path: Path
) -> None:
    answer = desk.ask(asked(by))
    signed = opened_by_password(enveloped_in(answer), SECRET)
    key = private_key_in(signed, desk, tmp_path)
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    pkcs8 = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert scalar in pkcs8
    assert scalar not in answer.octets
    files = [path for path in desk.world.directory.rglob("*") if path.is_file()]
    assert all(scalar not in path.read_bytes() for path in files)


@pytest.mark.requirement("CMP-107")
def test_who_signs_the_key_may_make_keys(desk: Desk, by: ByMAC) -> None:
    signed = opened_by_password(enveloped_in(desk.ask(asked(by))), SECRET)
    read, _ = pyasn1_decode(signed, asn1Spec=rfc5652.SignedData())
    package = read["encapContentInfo"]["eContentType"]
    assert str(package) == oids.ID_CT_KP_KEY_PACKAGE
    first = x509.load_der_x509_certificate(pyasn1_encode(read["certificates"][0]))
    purposes = first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [purpose.dotted_string for purpose in purposes] == [oids.ID_KP_CM_KGA]
    assert len(read["certificates"]) == 3


# --- version 2 ----------------------------------------------------------------


@pytest.mark.requirement("CMP-106", "CMP-112")
def test_version_2_is_badRequest(desk: Desk, by: ByMAC) -> None:
    assert desk.ask(asked(by, pvno=2)).fail_info is FailInfo.BAD_REQUEST
    desk.settings["encrypted_value"] = True
    # There is no old form for a key under a secret.
    assert desk.ask(asked(by, pvno=2)).fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0


@pytest.mark.requirement("CMP-112")
def test_version_2_gets_an_EncryptedValue_where_it_is_enabled(desk: Desk) -> None:
    desk.settings["encrypted_value"] = True
    by = holder(desk, KEYS["rsa"])
    sent = asked(by, body_type=BodyType.CR, subject="CN=device-1", pvno=2)
    answer = desk.ask(sent)
    value = oracle_pair(answer)["privateKey"]["encryptedValue"]
    key = load_der_private_key(opened_old_value(value), None)
    check_fits(key, answer.certificate)
    intended = str(value["intendedAlg"]["algorithm"])
    assert intended == oids.ID_EC_PUBLIC_KEY


def test_implicit_confirmation_may_be_granted(desk: Desk, by: ByMAC) -> None:
    content = cert_requests(signed_request(new_key(), spki=None, popo=None))
    sent = message(BodyType.IR, content, by, pvno=3, general_info=(IMPLICIT,))
    answer = desk.ask(sent)
    assert answer.has_info(IMPLICIT.oid)
    assert desk.record(answer.certificate).status is CertificateStatus.ACTIVE
