"""Proofs with a key of ours: an agreed MAC, and the private key itself.

**Source:** RFC 4211 sections 4.2 and 4.3; RFC 9810 section 5.2.8.3.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1.codec.der.encoder import encode as pyasn1_encode
from pyasn1_alt_modules import rfc4211

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import DHBMParameters
from pkid.crypto.algorithms import hash_algorithm
from pkid.crypto.certificates import Certificate
from pkid.crypto.envelope import PasswordRecipient, Recipient, encrypt, recipient_of
from pkid.crypto.keytransport import RSA_OAEP_SHA256, RSA_PKCS1
from pkid.engine.aliases import POSSESSION_METHODS
from pkid.engine.model import PossessionMethod
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import (
    CertReqMsg,
    KeyUse,
    PKMACValue,
    POPOSigningKey,
)
from pkid.messages.encryptedkeys import EncKeyWithID, EncryptedValue, EnvelopedKey
from pkid.messages.privkeyproofs import DHMAC, make_popo
from tests.crypto.cmspeers import peer
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.ownkeys import (
    ENCIPHERING,
    FAMILIES,
    KEYS,
    is_certificate_of,
    take_every_key,
)
from tests.responders.peers import (
    SECRET,
    Answer,
    By,
    ByMAC,
    cert_requests,
    message,
    signed_request,
)

SUBJECT = "CN=device-1,O=pkid test"
MAC = DHBMParameters(
    hash_algorithm("sha256"), AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
)


@pytest.fixture
def by() -> ByMAC:
    return ByMAC()


@pytest.fixture
def ours(desk: Desk) -> Certificate:
    """The certificate that agrees upon keys in the CA's name."""
    engine = desk.world.engine
    identity = result_of(engine.prepare_agreement_identity("issuing", CMP))
    return Certificate.decode(identity.certificate)


def ask(desk: Desk, by: By, request: CertReqMsg, pvno: int = 3) -> Answer:
    return desk.ask(message(BodyType.IR, cert_requests(request), by, pvno=pvno))


# --- an agreed MAC ------------------------------------------------------------


def agreed_mac(request: CertReqMsg, key: Any, ours: Certificate) -> PKMACValue:
    """A MAC over the CertRequest, with hashlib alone."""
    theirs: Any = ours.public_key_info.load()
    shared = key.exchange(ec.ECDH(), theirs)
    basekey = hashlib.sha256(shared).digest()
    value = hmac.digest(basekey, request.cert_req.der, "sha256")
    return PKMACValue(MAC.algorithm, value)


def request_by_mac(
    ours: Certificate, *, owner: str = "ec:P-256", **fields: Any
) -> CertReqMsg:
    """A request for a P-256 key, its MAC with the key of ``owner``."""
    request = signed_request(KEYS["ec:P-256"], popo=None, **fields)
    value = agreed_mac(request, KEYS[owner], ours)
    popo = make_popo(KeyUse.KEY_AGREEMENT, value)
    return CertReqMsg(request.cert_req, popo)


@pytest.mark.requirement("CMP-88")
def test_a_MAC_that_both_keys_give_proves_possession(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    request = request_by_mac(ours)
    read, _ = pyasn1_decode(request.encode(), asn1Spec=rfc4211.CertReqMsg())
    assert read["popo"]["keyAgreement"].getName() == "agreeMAC"
    answer = ask(desk, by, request)
    assert answer.status.status is PKIStatus.ACCEPTED
    assert is_certificate_of(answer.certificate, "ec:P-256")
    reference = desk.record(answer.certificate).reference
    (found,) = result_of(desk.world.engine.explain(str(reference)))
    assert found.event.detail == "possession by agreed-mac"


@pytest.mark.requirement("CMP-88")
def test_the_MAC_may_stand_where_a_signature_would(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    request = signed_request(KEYS["ec:P-256"], popo=None)
    mac = agreed_mac(request, KEYS["ec:P-256"], ours)
    popo = POPOSigningKey(mac.algorithm, mac.value)
    answer = ask(desk, by, CertReqMsg(request.cert_req, popo), pvno=2)
    assert is_certificate_of(answer.certificate, "ec:P-256")


@pytest.mark.requirement("CMP-88")
def test_the_MAC_of_another_key_is_badPOP(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    request = signed_request(KEYS["ec:P-256"], popo=None)
    other = ec.generate_private_key(ec.SECP256R1())
    popo = make_popo(KeyUse.KEY_AGREEMENT, agreed_mac(request, other, ours))
    answer = ask(desk, by, CertReqMsg(request.cert_req, popo))
    assert answer.fail_info is FailInfo.BAD_POP
    assert desk.count() == 0


@pytest.mark.requirement("CMP-88")
def test_a_MAC_over_another_request_is_badPOP(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    proven = request_by_mac(ours, subject="CN=another")
    other = signed_request(KEYS["ec:P-256"], popo=None)
    answer = ask(desk, by, CertReqMsg(other.cert_req, proven.popo))
    assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-88")
def test_an_agreed_MAC_covers_the_subject(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    answer = ask(desk, by, request_by_mac(ours, subject=None))
    assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-88")
def test_an_agreed_MAC_needs_version_3(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    answer = ask(desk, by, request_by_mac(ours), pvno=2)
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-88", "CMP-90")
def test_without_a_key_of_ours_it_is_badPOP(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    request = request_by_mac(ours)
    desk.restart()
    assert ask(desk, by, request).fail_info is FailInfo.BAD_POP


def test_a_key_on_another_curve_is_badPOP(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    request = signed_request(KEYS["ec:P-384"], popo=None)
    popo = make_popo(KeyUse.KEY_AGREEMENT, PKMACValue(MAC.algorithm, bytes(32)))
    answer = ask(desk, by, CertReqMsg(request.cert_req, popo))
    assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-90")
@pytest.mark.parametrize(
    "proof",
    [DHMAC(b"mac"), EncryptedValue(enc_value=b"value")],
    ids=["dhMAC", "thisMessage"],
)
def test_the_deprecated_ways_are_badPOP(
    desk: Desk, by: ByMAC, proof: DHMAC | EncryptedValue
) -> None:
    request = signed_request(
        KEYS["rsa"], popo=make_popo(KeyUse.KEY_ENCIPHERMENT, proof)
    )
    assert ask(desk, by, request, pvno=2).fail_info is FailInfo.BAD_POP


# --- the key itself -----------------------------------------------------------


@pytest.fixture
def takes_keys(desk: Desk) -> None:
    desk.world.change_alias(possession=frozenset(PossessionMethod))
    take_every_key(desk)


def pkcs8_of(key: Any) -> bytes:
    octets: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return octets


def packed(family: str, identifier: str | GeneralName | None = "ref") -> bytes:
    """EncKeyWithID, its octets written by pyasn1 too."""
    pkcs8 = pkcs8_of(KEYS[family])
    octets = EncKeyWithID(pkcs8, identifier).encode()
    if not isinstance(identifier, GeneralName):
        read, rest = pyasn1_decode(octets, asn1Spec=rfc4211.EncKeyWithID())
        assert not rest
        assert pyasn1_encode(read) == octets
    return octets


def request_with_key(
    family: str,
    recipient: Recipient,
    content: bytes | None = None,
    content_type: str = oids.ID_CT_ENC_KEY_WITH_ID,
) -> CertReqMsg:
    enveloped = encrypt(
        packed(family) if content is None else content,
        (recipient,),
        secrets.token_bytes,
        content_type=content_type,
    )
    use = KeyUse.KEY_ENCIPHERMENT if family in ENCIPHERING else KeyUse.KEY_AGREEMENT
    return signed_request(
        KEYS[family], popo=make_popo(use, EnvelopedKey(enveloped.encode()))
    )


def for_password() -> PasswordRecipient:
    return PasswordRecipient(password=SECRET, iterations=1000)


@pytest.mark.requirement("CMP-89", "CMP-91", "CMP-174")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.usefixtures("takes_keys")
def test_a_key_that_comes_under_the_secret_is_compared(
    desk: Desk, by: ByMAC, family: str
) -> None:
    answer = ask(desk, by, request_with_key(family, for_password()))
    assert answer.status.status is PKIStatus.ACCEPTED
    assert is_certificate_of(answer.certificate, family)


@pytest.mark.requirement("CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_a_key_that_comes_for_our_agreement_key_is_compared(
    desk: Desk, by: ByMAC, ours: Certificate
) -> None:
    answer = ask(desk, by, request_with_key("rsa", recipient_of(ours)))
    assert is_certificate_of(answer.certificate, "rsa")


@pytest.mark.requirement("CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_a_key_that_comes_for_our_KEM_key_is_compared(desk: Desk, by: ByMAC) -> None:
    engine = desk.world.engine
    identity = result_of(engine.prepare_kem_identity("issuing", CMP))
    recipient = recipient_of(Certificate.decode(identity.certificate))
    answer = ask(desk, by, request_with_key("x25519", recipient))
    assert is_certificate_of(answer.certificate, "x25519")


@pytest.fixture
def reception(desk: Desk) -> Certificate:
    """The certificate to which clients encrypt by RSA."""
    engine = desk.world.engine
    identity = result_of(engine.key_receivers.prepare("issuing", CMP))
    return Certificate.decode(identity.certificate)


@pytest.mark.requirement("CMP-89")
@pytest.mark.parametrize("algorithm", [RSA_PKCS1, RSA_OAEP_SHA256], ids=["1", "oaep"])
@pytest.mark.usefixtures("takes_keys")
def test_a_key_that_comes_for_our_rsa_key_is_compared(
    desk: Desk, by: ByMAC, reception: Certificate, algorithm: AlgorithmIdentifier
) -> None:
    recipient = recipient_of(reception, algorithm=algorithm)
    answer = ask(desk, by, request_with_key("ml-kem-768", recipient))
    assert is_certificate_of(answer.certificate, "ml-kem-768")


def old_value(key: Any, reception: Certificate) -> EncryptedValue:
    """A private key as version 2 hands it over, with primitives alone."""
    public: Any = reception.public_key_info.load()
    secret, vector = os.urandom(16), os.urandom(16)
    padder = PKCS7(128).padder()
    padded = padder.update(pkcs8_of(key)) + padder.finalize()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(vector)).encryptor()
    return EncryptedValue(
        enc_value=encryptor.update(padded) + encryptor.finalize(),
        symm_alg=AlgorithmIdentifier(oids.ID_AES128_CBC, der.octet_string(vector)),
        enc_symm_key=public.encrypt(secret, PKCS1v15()),
        key_alg=AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL),
    )


@pytest.mark.requirement("CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_version_2_hands_a_key_over_in_thisMessage_where_it_is_enabled(
    desk: Desk, by: ByMAC, reception: Certificate
) -> None:
    desk.settings["encrypted_value"] = True
    good = make_popo(KeyUse.KEY_AGREEMENT, old_value(KEYS["x25519"], reception))
    answer = ask(desk, by, signed_request(KEYS["x25519"], popo=good), pvno=2)
    assert is_certificate_of(answer.certificate, "x25519")
    other = make_popo(KeyUse.KEY_AGREEMENT, old_value(KEYS["x448"], reception))
    answer = ask(desk, by, signed_request(KEYS["x25519"], popo=other), pvno=2)
    assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-89")
@pytest.mark.parametrize(
    "changes",
    [{"enc_symm_key": b"k" * 256}, {"symm_alg": None}, {"enc_value": b"short"}],
    ids=["key", "cipher", "value"],
)
@pytest.mark.usefixtures("takes_keys")
def test_a_broken_thisMessage_is_badPOP(
    desk: Desk, by: ByMAC, reception: Certificate, changes: dict[str, Any]
) -> None:
    desk.settings["encrypted_value"] = True
    value = replace(old_value(KEYS["x25519"], reception), **changes)
    popo = make_popo(KeyUse.KEY_AGREEMENT, value)
    answer = ask(desk, by, signed_request(KEYS["x25519"], popo=popo), pvno=2)
    assert answer.fail_info is FailInfo.BAD_POP
    assert answer.status.strings == ("possession of the private key is not proven",)


@pytest.mark.requirement("CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_the_key_is_kept_nowhere(desk: Desk, by: ByMAC) -> None:
    key = KEYS["ec:P-256"]
    answer = ask(desk, by, request_with_key("ec:P-256", for_password()))
    assert answer.status.status is PKIStatus.ACCEPTED
    scalar = key.private_numbers().private_value.to_bytes(32, "big")
    files = [path for path in desk.world.directory.rglob("*") if path.is_file()]
    assert all(scalar not in path.read_bytes() for path in files)


@pytest.mark.requirement("CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_the_identifier_may_be_the_subject(desk: Desk, by: ByMAC) -> None:
    owner = GeneralName.directory(Name.from_text(SUBJECT))
    request = request_with_key("rsa", for_password(), packed("rsa", owner))
    assert ask(desk, by, request).status.status is PKIStatus.ACCEPTED


CONTENTS: dict[str, Callable[[], bytes]] = {
    "of another key": lambda: packed("ec:P-384"),
    "without identifier": lambda: packed("rsa", None),
    "of another owner": lambda: packed("rsa", "somebody"),
    "of another subject": lambda: packed(
        "rsa", GeneralName.directory(Name.from_text("CN=another"))
    ),
    "no key at all": lambda: EncKeyWithID(der.sequence(), "ref").encode(),
    "nonsense": lambda: b"nonsense",
}


@pytest.mark.requirement("CMP-89")
@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.usefixtures("takes_keys")
def test_what_does_not_prove_the_key_is_badPOP(
    desk: Desk, by: ByMAC, content: str
) -> None:
    request = request_with_key("rsa", for_password(), CONTENTS[content]())
    answer = ask(desk, by, request)
    assert answer.fail_info is FailInfo.BAD_POP
    # One text, whatever it was.
    assert answer.status.strings == ("possession of the private key is not proven",)
    assert desk.count() == 0


@pytest.mark.requirement("CMP-89")
@pytest.mark.parametrize(
    "recipient",
    [
        PasswordRecipient(password=b"wrong", iterations=1000),
        PasswordRecipient(password=SECRET, iterations=1000, pwri_kek=True),
    ],
    ids=["wrong secret", "other wrap"],
)
@pytest.mark.usefixtures("takes_keys")
def test_only_who_has_the_secret_hands_a_key_over(
    desk: Desk, by: ByMAC, recipient: PasswordRecipient
) -> None:
    answer = ask(desk, by, request_with_key("rsa", recipient))
    if recipient.password == SECRET:
        assert answer.status.status is PKIStatus.ACCEPTED
    else:
        assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-31", "CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_a_password_costs_no_more_than_a_MAC_may(desk: Desk, by: ByMAC) -> None:
    desk.settings["maximum_iterations"] = 1000
    dear = PasswordRecipient(password=SECRET, iterations=1001)
    answer = ask(desk, by, request_with_key("rsa", dear))
    assert answer.fail_info is FailInfo.BAD_POP
    answer = ask(desk, by, request_with_key("rsa", for_password()))
    assert answer.status.status is PKIStatus.ACCEPTED


@pytest.mark.usefixtures("takes_keys")
def test_a_key_for_somebody_else_is_badPOP(desk: Desk, by: ByMAC) -> None:
    for family in ("rsa", "ec:P-256", "ml-kem-768"):
        recipient = recipient_of(peer(family).certificate)
        answer = ask(desk, by, request_with_key("rsa", recipient))
        assert answer.fail_info is FailInfo.BAD_POP


@pytest.mark.usefixtures("takes_keys")
def test_another_content_type_is_badPOP(desk: Desk, by: ByMAC) -> None:
    request = request_with_key("rsa", for_password(), content_type=oids.ID_DATA)
    assert ask(desk, by, request).fail_info is FailInfo.BAD_POP


@pytest.mark.requirement("CMP-89")
@pytest.mark.usefixtures("takes_keys")
def test_a_key_handed_over_needs_version_3(desk: Desk, by: ByMAC) -> None:
    request = request_with_key("rsa", for_password())
    assert ask(desk, by, request, pvno=2).fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-89", "CMP-90")
def test_keys_are_not_taken_unless_the_alias_says_so(desk: Desk, by: ByMAC) -> None:
    assert PossessionMethod.ENCRYPTED_KEY not in POSSESSION_METHODS
    answer = ask(desk, by, request_with_key("rsa", for_password()))
    assert answer.fail_info is FailInfo.BAD_POP
