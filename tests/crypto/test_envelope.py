"""Enveloped data: both ways, against OpenSSL and cryptography, and damaged."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import load_der_x509_certificate

from pkid.asn1 import ber, der, oids
from pkid.asn1.cms.content import IssuerAndSerialNumber, SubjectKeyIdentifier
from pkid.asn1.cms.enveloped import AuthEnvelopedData, EnvelopedData
from pkid.asn1.cms.recipients import (
    KEKRecipientInfo,
    KEMRecipientInfo,
    KeyAgreeRecipientInfo,
    KeyTransRecipientInfo,
    OriginatorPublicKey,
    PasswordRecipientInfo,
    RecipientEncryptedKey,
)
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import keyagreement, keytransport
from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import (
    CBCEncryption,
    ContentCipher,
    GCMEncryption,
    decode_content_encryption,
)
from pkid.crypto.decryption import (
    content_key_octets,
    decrypt,
    decrypt_authenticated_content,
    decrypt_content,
    decrypt_with_password,
    find_recipient_info,
    recover_key,
)
from pkid.crypto.envelope import (
    PasswordRecipient,
    PublicKeyRecipient,
    encrypt,
    encrypt_authenticated,
    recipient_of,
)
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.keywrap import kek_octets, unwrap_key, wrap_key
from pkid.crypto.passwordkeys import (
    PBKDF2Parameters,
    pwri_kek_algorithm,
    wrap_under_password,
)
from pkid.errors import ErrorCode, PKIError
from tests.crypto.cmspeers import (
    FAMILIES,
    OPENSSL_FAMILIES,
    cms,
    peer,
    pem,
    signer,
    unpem,
)
from tests.crypto.oracles import code_of, issue, private_key

SECRET = b"correct horse battery"
TEXT = b"The quick brown fox jumps over the lazy dog, " * 7
RANDOM = secrets.token_bytes
FEW = 1_000
CBC = [
    ContentCipher.AES_128_CBC,
    ContentCipher.AES_192_CBC,
    ContentCipher.AES_256_CBC,
]
GCM = [
    ContentCipher.AES_128_GCM,
    ContentCipher.AES_192_GCM,
    ContentCipher.AES_256_GCM,
]
PASSWORD = PasswordRecipient(password=SECRET, iterations=FEW)
KINDS = {
    "rsa": KeyTransRecipientInfo,
    "ec": KeyAgreeRecipientInfo,
    "x25519": KeyAgreeRecipientInfo,
    "x448": KeyAgreeRecipientInfo,
    "ml-kem-768": KEMRecipientInfo,
    "ml-kem-1024": KEMRecipientInfo,
}


def message_for(*families: str, **keywords: Any) -> EnvelopedData:
    recipients = tuple(recipient_of(peer(family).certificate) for family in families)
    return encrypt(TEXT, recipients, RANDOM, **keywords)


# --- both ways ----------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_recipients_key_decides_the_way(family: str) -> None:
    enveloped = EnvelopedData.decode(message_for(family).encode())
    (info,) = enveloped.recipient_infos
    assert isinstance(info, KINDS[family.partition(":")[0]])
    own = peer(family)
    assert decrypt(enveloped, own.key, RANDOM) == TEXT
    assert decrypt(enveloped, own.key, RANDOM, certificate=own.certificate) == TEXT


@pytest.mark.parametrize("cipher", CBC, ids=lambda cipher: cipher.value)
def test_every_cbc_cipher_round_trips(cipher: ContentCipher) -> None:
    enveloped = message_for("ec:P-256", cipher=cipher)
    assert decrypt(enveloped, peer("ec:P-256").key, RANDOM) == TEXT
    assert content_key_octets(enveloped.encrypted_content_info) == cipher.key_octets


@pytest.mark.parametrize("cipher", GCM, ids=lambda cipher: cipher.value)
@pytest.mark.parametrize("content_type", [oids.ID_DATA, oids.ID_SIGNED_DATA])
def test_every_gcm_cipher_round_trips(cipher: ContentCipher, content_type: str) -> None:
    own = peer("ml-kem-768")
    octets = encrypt_authenticated(
        TEXT,
        (recipient_of(own.certificate), PASSWORD),
        RANDOM,
        cipher=cipher,
        content_type=content_type,
    ).encode_content_info()
    enveloped = AuthEnvelopedData.decode_content_info(octets)
    assert decrypt(enveloped, own.key, RANDOM) == TEXT
    assert decrypt_with_password(enveloped, SECRET) == TEXT
    # RFC 5083 section 2.1: attributes exactly when the content is not id-data.
    attributes = enveloped.authenticated_attributes_octets
    assert (attributes is None) == (content_type == oids.ID_DATA)
    broken = replace(enveloped, authenticated_attributes_octets=b"\x30\x00")
    assert code_of(decrypt, broken, own.key, RANDOM) is ErrorCode.BAD_MESSAGE_CHECK


def test_aes_256_cbc_is_the_default() -> None:
    algorithm = message_for("rsa").encrypted_content_info.algorithm
    assert algorithm.oid == oids.ID_AES256_CBC


def test_key_vector_ephemeral_and_salt_are_fresh() -> None:
    recipients = (recipient_of(peer("ec:P-256").certificate), PASSWORD)
    one, two = (encrypt(TEXT, recipients, RANDOM) for _ in range(2))
    assert one.encrypted_content_info.algorithm != two.encrypted_content_info.algorithm
    first, second = one.recipient_infos, two.recipient_infos
    assert isinstance(first[0], KeyAgreeRecipientInfo)
    assert isinstance(second[0], KeyAgreeRecipientInfo)
    assert first[0].originator != second[0].originator
    assert isinstance(first[1], PasswordRecipientInfo)
    assert isinstance(second[1], PasswordRecipientInfo)
    assert first[1].key_derivation_algorithm != second[1].key_derivation_algorithm
    keys = {
        recover_key(one_of[0], peer("ec:P-256").key, 32, RANDOM)
        for one_of in (first, second)
    }
    assert len(keys) == 2


def test_several_recipients_share_one_content() -> None:
    enveloped = message_for(*FAMILIES)
    for family in FAMILIES:
        own = peer(family)
        assert decrypt(enveloped, own.key, RANDOM, certificate=own.certificate) == TEXT


def test_versions_follow_the_recipients() -> None:
    key_id = PublicKeyRecipient(
        rid=SubjectKeyIdentifier(b"id"), public_key=peer("rsa").key.public_key()
    )
    for recipients, version in (
        ((recipient_of(peer("rsa").certificate),), 0),
        ((key_id,), 2),
        ((recipient_of(peer("x448").certificate),), 2),
        ((PASSWORD,), 3),
        ((recipient_of(peer("ml-kem-768").certificate),), 3),
    ):
        assert encrypt(TEXT, recipients, RANDOM).version == version


@pytest.mark.parametrize("family", FAMILIES)
def test_key_identifiers_name_recipients_too(family: str) -> None:
    own = peer(family)
    rid = SubjectKeyIdentifier(own.certificate.public_key_info.key_id)
    recipient = PublicKeyRecipient(rid=rid, public_key=own.key.public_key())
    enveloped = EnvelopedData.decode(encrypt(TEXT, (recipient,), RANDOM).encode())
    assert decrypt(enveloped, own.key, RANDOM, certificate=own.certificate) == TEXT
    other = peer(family, number=1).certificate
    assert (
        code_of(decrypt, enveloped, own.key, RANDOM, certificate=other)
        is ErrorCode.BAD_REQUEST
    )


def test_what_is_for_others_is_a_bad_request() -> None:
    enveloped = message_for("rsa")
    assert code_of(decrypt, enveloped, peer("x448").key, RANDOM) is (
        ErrorCode.BAD_REQUEST
    )
    assert code_of(decrypt_with_password, enveloped, SECRET) is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("family", "usage"),
    [
        ("rsa", "digitalSignature"),
        ("ec:P-256", "keyEncipherment"),
        ("x25519", "keyEncipherment"),
        ("ml-kem-768", "keyAgreement"),
    ],
)
def test_a_certificate_without_the_usage_is_not_authorized(
    family: str, usage: str
) -> None:
    certificate = peer(family, usage).certificate
    assert code_of(recipient_of, certificate) is ErrorCode.NOT_AUTHORIZED


def test_keys_that_only_sign_receive_nothing() -> None:
    own = signer("ed25519")
    assert code_of(recipient_of, own.certificate) is ErrorCode.BAD_ALGORITHM
    recipient = PublicKeyRecipient(
        rid=identifier_of(own.certificate), public_key=own.key.public_key()
    )
    assert code_of(encrypt, TEXT, (recipient,), RANDOM) is ErrorCode.BAD_ALGORITHM


def test_ciphers_stay_in_their_content_type() -> None:
    for function, cipher in (
        (encrypt, ContentCipher.AES_128_GCM),
        (encrypt_authenticated, ContentCipher.AES_128_CBC),
    ):
        assert code_of(function, TEXT, (PASSWORD,), RANDOM, cipher=cipher) is (
            ErrorCode.BAD_ALGORITHM
        )


# --- RSA ----------------------------------------------------------------------


@pytest.mark.parametrize("mgf", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("label", [b"", b"label"])
def test_oaep_round_trips_with_its_parameters(mgf: str, label: bytes) -> None:
    own = peer("rsa")
    algorithm = keytransport.OAEP("sha256", mgf, label).algorithm
    recipient = recipient_of(own.certificate, algorithm=algorithm)
    enveloped = EnvelopedData.decode(encrypt(TEXT, (recipient,), RANDOM).encode())
    assert decrypt(enveloped, own.key, RANDOM) == TEXT
    (info,) = enveloped.recipient_infos
    assert isinstance(info, KeyTransRecipientInfo)
    assert keytransport.OAEP.decode(info.key_encryption_algorithm.parameters) == (
        keytransport.OAEP("sha256", mgf, label)
    )


DAMAGES = ("padding", "too short", "other", "size", "empty", "nothing")


@cache
def damaged_keys() -> dict[str, bytes]:
    public = peer("rsa").key.public_key()
    return {
        "padding": bytes(256),
        "too short": b"x" * 100,
        "other": RANDOM(255).rjust(256, b"\0"),
        "size": public.encrypt(b"k" * 31, padding.PKCS1v15()),
        "empty": public.encrypt(b"", padding.PKCS1v15()),
        "nothing": b"",
    }


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize(
    "algorithm", [keytransport.RSA_PKCS1, keytransport.RSA_OAEP_SHA256]
)
def test_a_damaged_rsa_key_is_rejected_implicitly(
    name: str, algorithm: AlgorithmIdentifier
) -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return b"\x5a" * size

    key = keytransport.recover_transported_key(
        peer("rsa").key, algorithm, damaged_keys()[name], 32, random
    )
    # OpenSSL draws its own substitute for bad padding; that of a wrong size is ours.
    assert len(key) == 32
    assert asked == [32]
    right = keytransport.transport_key(
        peer("rsa").key.public_key(), algorithm, b"k" * 32
    )
    assert (
        keytransport.recover_transported_key(
            peer("rsa").key, algorithm, right, 32, random
        )
        == b"k" * 32
    )
    assert asked == [32, 32]


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_keys_and_contents_look_alike(name: str) -> None:
    enveloped = message_for("rsa")
    (info,) = enveloped.recipient_infos
    assert isinstance(info, KeyTransRecipientInfo)
    bad_key = replace(info, encrypted_key=damaged_keys()[name])
    content = enveloped.encrypted_content_info
    cut = replace(content, encrypted_content=(content.encrypted_content or b"")[:-1])
    said = set()
    for broken in (
        replace(enveloped, recipient_infos=(bad_key,)),
        replace(enveloped, encrypted_content_info=cut),
    ):
        try:
            octets = decrypt(broken, peer("rsa").key, RANDOM)
        except PKIError as error:
            said.add((error.code, error.detail))
        else:
            # One random key in 256 leaves something that looks padded.
            assert octets != TEXT
    assert said <= {(ErrorCode.BAD_MESSAGE_CHECK, "the content cannot be decrypted")}


# --- key agreement ------------------------------------------------------------


SCHEMES = {
    name: getattr(oids, name)
    for name in dir(oids)
    if name.startswith("DH_SINGLE_PASS_STD_DH")
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("family", ["ec:P-384", "x25519"])
def test_every_scheme_round_trips(family: str, scheme: str) -> None:
    own = peer(family)
    algorithm = keyagreement.agreement_algorithm(
        own.key.public_key(),
        scheme=scheme,
        wrap=AlgorithmIdentifier(oids.ID_AES128_WRAP),
    )
    recipient = recipient_of(own.certificate, algorithm=algorithm)
    enveloped = EnvelopedData.decode(encrypt(TEXT, (recipient,), RANDOM).encode())
    assert decrypt(enveloped, own.key, RANDOM) == TEXT


def shared_info(wrap: AlgorithmIdentifier, ukm: bytes | None, size: int) -> bytes:
    parts = [wrap.encode()]
    if ukm is not None:
        parts.append(der.encode(0xA0, der.encode(0x04, ukm)))
    parts.append(der.encode(0xA2, der.encode(0x04, (size * 8).to_bytes(4, "big"))))
    return der.encode(0x30, *parts)


@pytest.mark.parametrize("ukm", [None, b"nonce" * 4])
@pytest.mark.parametrize("size", [16, 24, 32])
def test_the_kek_is_what_the_rfcs_compute(ukm: bytes | None, size: int) -> None:
    oid = {16: oids.ID_AES128_WRAP, 24: oids.ID_AES192_WRAP, 32: oids.ID_AES256_WRAP}
    wrap = AlgorithmIdentifier(oid[size])
    info = shared_info(wrap, ukm, size)
    # RFC 8418 section 2.1, by hand.
    blocks = b"".join(
        hashlib.sha1(b"K" * 32 + number.to_bytes(4, "big") + info).digest()
        for number in (1, 2)
    )
    algorithm = AlgorithmIdentifier(
        oids.DH_SINGLE_PASS_STD_DH_SHA1KDF_SCHEME, wrap.encode()
    )
    assert keyagreement.derive_kek(algorithm, b"K" * 32, ukm) == blocks[:size]
    # RFC 8418 section 2.2, by hand.
    prk = hmac.digest(ukm or bytes(32), b"K" * 32, "sha256")
    okm = hmac.digest(prk, info + b"\x01", "sha256")
    algorithm = AlgorithmIdentifier(
        oids.DH_SINGLE_PASS_STD_DH_HKDF_SHA256_SCHEME, wrap.encode()
    )
    assert keyagreement.derive_kek(algorithm, b"K" * 32, ukm) == okm[:size]


def test_a_point_of_small_order_is_refused() -> None:
    enveloped = message_for("x25519")
    (info,) = enveloped.recipient_infos
    assert isinstance(info, KeyAgreeRecipientInfo)
    key = OriginatorPublicKey(AlgorithmIdentifier(oids.ID_X25519), bytes(32))
    broken = replace(enveloped, recipient_infos=(replace(info, originator=key),))
    assert code_of(decrypt, broken, peer("x25519").key, RANDOM) is (
        ErrorCode.BAD_MESSAGE_CHECK
    )


@pytest.mark.parametrize(
    ("family", "algorithm", "key"),
    [
        ("ec:P-256", oids.ID_EC_PUBLIC_KEY, b"\x04" + b"\x01" * 64),
        ("ec:P-256", oids.ID_EC_PUBLIC_KEY, b""),
        ("ec:P-256", oids.ID_X25519, bytes(32)),
        ("x25519", oids.ID_X25519, b"short"),
        ("x448", oids.ID_X448, b"short"),
        ("x448", oids.ID_EC_PUBLIC_KEY, bytes(56)),
    ],
)
def test_a_foreign_originator_key_is_refused(
    family: str, algorithm: str, key: bytes
) -> None:
    enveloped = message_for(family)
    (info,) = enveloped.recipient_infos
    assert isinstance(info, KeyAgreeRecipientInfo)
    originator = OriginatorPublicKey(AlgorithmIdentifier(algorithm), key)
    broken = replace(enveloped, recipient_infos=(replace(info, originator=originator),))
    assert code_of(decrypt, broken, peer(family).key, RANDOM) is (
        ErrorCode.BAD_MESSAGE_CHECK
    )


def test_keys_of_two_kinds_do_not_agree() -> None:
    one, two = ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey
    other = two.generate().public_key()
    assert code_of(keyagreement.agree, one, other) is ErrorCode.BAD_MESSAGE_CHECK
    curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    assert code_of(keyagreement.agree, one, curve) is ErrorCode.BAD_MESSAGE_CHECK


def test_a_static_originator_needs_its_key() -> None:
    own, sender = peer("ec:P-256"), peer("ec:P-256", number=2)
    algorithm = keyagreement.agreement_algorithm(own.key.public_key())
    secret = keyagreement.agree(sender.key, own.key.public_key())
    kek = keyagreement.derive_kek(algorithm, secret, b"ukm")
    info = KeyAgreeRecipientInfo(
        version=3,
        originator=identifier_of(sender.certificate),
        ukm=b"ukm",
        key_encryption_algorithm=algorithm,
        recipient_encrypted_keys=(
            RecipientEncryptedKey(IssuerAndSerialNumber(b"\x30\0", 1), bytes(24)),
            RecipientEncryptedKey(
                identifier_of(own.certificate), wrap_key(kek, b"k" * 16)
            ),
        ),
    )
    keywords = {"certificate": own.certificate}
    assert code_of(recover_key, info, own.key, 16, RANDOM, **keywords) is (
        ErrorCode.BAD_ALGORITHM
    )
    public = sender.key.public_key()
    found = recover_key(info, own.key, 16, RANDOM, originator=public, **keywords)
    assert found == b"k" * 16
    nobody = {"certificate": sender.certificate, "originator": public}
    assert code_of(recover_key, info, own.key, 16, RANDOM, **nobody) is (
        ErrorCode.BAD_MESSAGE_CHECK
    )


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier("1.2.3", AlgorithmIdentifier(oids.ID_AES128_WRAP).encode()),
        AlgorithmIdentifier(oids.DH_SINGLE_PASS_STD_DH_SHA256KDF_SCHEME),
        AlgorithmIdentifier(
            oids.DH_SINGLE_PASS_STD_DH_SHA256KDF_SCHEME,
            AlgorithmIdentifier(oids.ID_AES128_CBC).encode(),
        ),
        AlgorithmIdentifier(
            oids.DH_SINGLE_PASS_STD_DH_SHA256KDF_SCHEME,
            AlgorithmIdentifier(oids.ID_AES128_WRAP, der.integer(1)).encode(),
        ),
        AlgorithmIdentifier(
            oids.DH_SINGLE_PASS_COFACTOR_DH_SHA256KDF_SCHEME,
            AlgorithmIdentifier(oids.ID_AES128_WRAP).encode(),
        ),
    ],
)
def test_unknown_agreements_are_bad_algorithms(algorithm: AlgorithmIdentifier) -> None:
    public = peer("x25519").key.public_key()
    assert code_of(keyagreement.check_scheme, algorithm, public) is (
        ErrorCode.BAD_ALGORITHM
    )


def test_keying_material_is_bounded() -> None:
    algorithm = keyagreement.agreement_algorithm(peer("x25519").key.public_key())
    assert code_of(keyagreement.derive_kek, algorithm, b"K", bytes(1025)) is (
        ErrorCode.BAD_ALGORITHM
    )


# --- passwords ----------------------------------------------------------------


@pytest.mark.parametrize("pwri_kek", [False, True])
@pytest.mark.parametrize(
    "prf", [oids.ID_HMAC_WITH_SHA1, oids.ID_HMAC_WITH_SHA256, oids.ID_HMAC_WITH_SHA512]
)
def test_passwords_open_what_they_closed(pwri_kek: bool, prf: str) -> None:
    recipient = PasswordRecipient(
        password=SECRET,
        iterations=FEW,
        prf=AlgorithmIdentifier(prf, der.NULL),
        pwri_kek=pwri_kek,
    )
    assert SECRET.decode() not in repr(recipient)
    octets = encrypt(TEXT, (recipient,), RANDOM).encode()
    enveloped = EnvelopedData.decode(octets)
    assert decrypt_with_password(enveloped, SECRET) == TEXT
    assert code_of(decrypt_with_password, enveloped, b"wrong") is (
        ErrorCode.BAD_MESSAGE_CHECK
    )


@pytest.mark.parametrize(
    ("salt", "iterations"),
    [
        (bytes(8), 99),
        (bytes(8), 100_001),
        (bytes(8), -1),
        (bytes(7), 100),
        (bytes(129), 100),
        (bytes(8), 2**64),
    ],
)
def test_pbkdf2_is_bounded_before_it_is_computed(salt: bytes, iterations: int) -> None:
    parameters = der.sequence(der.octet_string(salt), der.integer(iterations))
    algorithm = AlgorithmIdentifier(oids.ID_PBKDF2, parameters)
    assert code_of(PBKDF2Parameters.decode, algorithm) is ErrorCode.BAD_ALGORITHM


def test_pbkdf2_parameters_round_trip() -> None:
    for parameters in (
        PBKDF2Parameters(b"saltsalt", 100),
        PBKDF2Parameters(b"saltsalt", 100_000, key_length=32),
        PBKDF2Parameters(
            b"saltsalt", 100, AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA1, der.NULL)
        ),
    ):
        assert PBKDF2Parameters.decode(parameters.algorithm) == parameters
    stated = PBKDF2Parameters(b"saltsalt", 100, key_length=16)
    assert code_of(stated.derive, b"x", 32) is ErrorCode.BAD_ALGORITHM


@pytest.mark.parametrize(
    "parameters",
    [None, der.sequence(der.sequence(der.oid("1.2.3")), der.integer(100))],
)
def test_other_salts_and_derivations_are_bad_algorithms(
    parameters: bytes | None,
) -> None:
    algorithm = AlgorithmIdentifier(oids.ID_PBKDF2, parameters)
    assert code_of(PBKDF2Parameters.decode, algorithm) is ErrorCode.BAD_ALGORITHM


def test_damaged_password_recipients_are_refused() -> None:
    enveloped = encrypt(TEXT, (replace(PASSWORD, pwri_kek=True),), RANDOM)
    (info,) = enveloped.recipient_infos
    assert isinstance(info, PasswordRecipientInfo)
    gcm = GCMEncryption(ContentCipher.AES_128_GCM, bytes(12)).algorithm
    for change, code in (
        ({"encrypted_key": b"x" * 16}, ErrorCode.BAD_MESSAGE_CHECK),
        ({"encrypted_key": b"x" * 33}, ErrorCode.BAD_MESSAGE_CHECK),
        ({"encrypted_key": b"x" * 16 * 33}, ErrorCode.BAD_MESSAGE_CHECK),
        ({"encrypted_key": b"x" * 48}, ErrorCode.BAD_MESSAGE_CHECK),
        ({"key_derivation_algorithm": None}, ErrorCode.BAD_ALGORITHM),
        (
            {"key_encryption_algorithm": AlgorithmIdentifier(oids.ID_ALG_PWRI_KEK)},
            ErrorCode.BAD_ALGORITHM,
        ),
        (
            {
                "key_encryption_algorithm": AlgorithmIdentifier(
                    oids.ID_ALG_PWRI_KEK, gcm.encode()
                )
            },
            ErrorCode.BAD_ALGORITHM,
        ),
    ):
        changed: Any = replace(info, **change)  # type: ignore[arg-type]  # one field each
        broken = replace(enveloped, recipient_infos=(changed,))
        assert code_of(decrypt_with_password, broken, SECRET) is code


def test_pwri_kek_takes_only_short_keys() -> None:
    derivation = PBKDF2Parameters(b"saltsalt", 100)
    algorithm = pwri_kek_algorithm(RANDOM)
    for key in (b"ab", bytes(256)):
        assert (
            code_of(wrap_under_password, derivation, algorithm, b"p", key, RANDOM)
            is ErrorCode.BAD_ALGORITHM
        )


# --- ciphers and wraps --------------------------------------------------------


@pytest.mark.parametrize(
    "cipher", [ContentCipher.TRIPLE_DES_CBC, ContentCipher.DES_CBC]
)
def test_des_needs_to_be_asked_for(cipher: ContentCipher) -> None:
    own = peer("rsa")
    recipients = (recipient_of(own.certificate),)
    assert code_of(encrypt, TEXT, recipients, RANDOM, cipher=cipher) is (
        ErrorCode.BAD_ALGORITHM
    )
    enveloped = encrypt(TEXT, recipients, RANDOM, cipher=cipher, legacy=True)
    assert code_of(decrypt, enveloped, own.key, RANDOM) is ErrorCode.BAD_ALGORITHM
    assert decrypt(enveloped, own.key, RANDOM, legacy=True) == TEXT


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier("1.2.3"),
        AlgorithmIdentifier(oids.ID_AES128_CBC),
        AlgorithmIdentifier(oids.ID_AES128_CBC, der.octet_string(bytes(15))),
        AlgorithmIdentifier(
            oids.ID_AES128_GCM, der.sequence(der.octet_string(bytes(7)))
        ),
        AlgorithmIdentifier(
            oids.ID_AES128_GCM, der.sequence(der.octet_string(bytes(65)))
        ),
        AlgorithmIdentifier(
            oids.ID_AES128_GCM,
            der.sequence(der.octet_string(bytes(12)), der.integer(11)),
        ),
    ],
)
def test_unknown_content_ciphers_are_bad_algorithms(
    algorithm: AlgorithmIdentifier,
) -> None:
    assert code_of(decode_content_encryption, algorithm) is ErrorCode.BAD_ALGORITHM


def test_a_short_mac_is_checked_at_its_length() -> None:
    encryption = GCMEncryption(ContentCipher.AES_128_GCM, bytes(12), 12)
    assert decode_content_encryption(encryption.algorithm) == encryption
    encrypted, mac = encryption.encrypt(bytes(16), TEXT, b"")
    assert len(mac) == 12
    assert encryption.decrypt(bytes(16), encrypted, mac, b"") == TEXT
    for bad in (mac[:11], b"\0" * 12):
        with pytest.raises(PKIError):
            encryption.decrypt(bytes(16), encrypted, bad, b"")


def test_a_key_of_a_wrong_size_opens_nothing() -> None:
    enveloped = message_for("rsa")
    assert code_of(decrypt_content, enveloped, bytes(16)) is ErrorCode.BAD_MESSAGE_CHECK
    cbc = CBCEncryption(ContentCipher.AES_256_CBC, bytes(16))
    assert code_of(cbc.decrypt, bytes(15), bytes(16)) is ErrorCode.BAD_MESSAGE_CHECK


def test_missing_content_is_a_bad_request() -> None:
    enveloped = message_for("rsa")
    empty = replace(enveloped.encrypted_content_info, encrypted_content=None)
    broken = replace(enveloped, encrypted_content_info=empty)
    assert code_of(decrypt, broken, peer("rsa").key, RANDOM) is ErrorCode.BAD_REQUEST


def test_key_wrap_gives_the_vectors_of_rfc_3394() -> None:
    kek = bytes(range(32))
    key = bytes.fromhex("00112233445566778899aabbccddeeff")
    wrapped = bytes.fromhex("64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7")
    assert wrap_key(kek, key) == wrapped
    assert unwrap_key(kek, wrapped) == key
    assert code_of(unwrap_key, kek, bytes(24)) is ErrorCode.BAD_MESSAGE_CHECK
    assert code_of(unwrap_key, kek, bytes(1024)) is ErrorCode.BAD_MESSAGE_CHECK
    assert code_of(wrap_key, kek, bytes(8)) is ErrorCode.BAD_ALGORITHM
    assert kek_octets(AlgorithmIdentifier(oids.ID_AES256_WRAP, der.NULL)) == 32


def test_a_way_that_does_not_fit_the_key_is_a_bad_algorithm() -> None:
    (info,) = message_for("rsa").recipient_infos
    assert code_of(recover_key, info, peer("x448").key, 32, RANDOM) is (
        ErrorCode.BAD_ALGORITHM
    )


# --- OpenSSL and cryptography -------------------------------------------------


@pytest.mark.parametrize("family", OPENSSL_FAMILIES)
def test_openssl_decrypts_ours(family: str) -> None:
    own = peer(family)
    told = cms(
        "-decrypt", "-inform", "PEM", "-in", "@m", "-inkey", "@k", "-recip", "@c",
        m=pem("CMS", message_for(family).encode_content_info()),
        k=own.key_pem, c=own.certificate_pem,
    )  # fmt: skip
    assert told.encode() == TEXT


@pytest.mark.parametrize("stream", [(), ("-stream",)], ids=["der", "ber"])
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("rsa", ()),
        (
            "rsa",
            ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"),
        ),
        ("ec:P-256", ()),
        ("ec:P-384", ("-keyopt", "ecdh_kdf_md:sha384")),
        ("ec:P-521", ("-keyopt", "ecdh_cofactor_mode:1")),
    ],
)
def test_we_decrypt_openssls(
    family: str, options: tuple[str, ...], stream: tuple[str, ...]
) -> None:
    own = peer(family)
    told = cms(
        "-encrypt", "-binary", *stream, "-in", "@t", "-outform", "PEM",
        "-aes-128-cbc", "-recip", "@c", *options,
        t=TEXT, c=own.certificate_pem,
    )  # fmt: skip
    enveloped = EnvelopedData.decode_content_info(ber.to_der(unpem(told)))
    assert decrypt(enveloped, own.key, RANDOM, certificate=own.certificate) == TEXT


def test_openssl_opens_our_password_and_we_theirs() -> None:
    recipient = replace(PASSWORD, pwri_kek=True)
    ours = encrypt(TEXT, (recipient,), RANDOM).encode_content_info()
    told = cms(
        "-decrypt", "-inform", "PEM", "-in", "@m", "-pwri_password", SECRET.decode(),
        m=pem("CMS", ours),
    )  # fmt: skip
    assert told.encode() == TEXT
    theirs = cms(
        "-encrypt", "-binary", "-in", "@t", "-outform", "PEM", "-aes-256-cbc",
        "-pwri_password", SECRET.decode(), t=TEXT,
    )  # fmt: skip
    enveloped = EnvelopedData.decode_content_info(unpem(theirs))
    assert decrypt_with_password(enveloped, SECRET) == TEXT


def test_openssls_gcm_and_its_shared_key_are_read() -> None:
    own = peer("ec:P-256")
    told = cms(
        "-encrypt", "-binary", "-in", "@t", "-outform", "PEM", "-aes-256-gcm",
        "-secretkey", "00" * 32, "-secretkeyid", "0102", "-recip", "@c",
        t=TEXT, c=own.certificate_pem,
    )  # fmt: skip
    octets = ber.to_der(unpem(told))
    enveloped = AuthEnvelopedData.decode_content_info(octets)
    assert enveloped.encode_content_info() == octets
    assert any(isinstance(i, KEKRecipientInfo) for i in enveloped.recipient_infos)
    assert decrypt(enveloped, own.key, RANDOM) == TEXT


def test_openssl_opens_our_gcm() -> None:
    own = peer("ec:P-384")
    ours = encrypt_authenticated(TEXT, (recipient_of(own.certificate),), RANDOM)
    told = cms(
        "-decrypt", "-inform", "PEM", "-in", "@m", "-inkey", "@k", "-recip", "@c",
        m=pem("CMS", ours.encode_content_info()),
        k=own.key_pem, c=own.certificate_pem,
    )  # fmt: skip
    assert told.encode() == TEXT


def test_cryptography_and_we_open_each_others() -> None:
    own = peer("rsa")
    certificate = load_der_x509_certificate(own.certificate.der)
    ours = message_for("rsa", cipher=ContentCipher.AES_128_CBC).encode_content_info()
    assert pkcs7.pkcs7_decrypt_der(ours, certificate, own.key, []) == TEXT
    theirs = (
        pkcs7.PKCS7EnvelopeBuilder()
        .set_data(TEXT)
        .set_content_encryption_algorithm(algorithms.AES256)
        .add_recipient(certificate)
        .encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    )
    enveloped = EnvelopedData.decode_content_info(theirs)
    info = find_recipient_info(enveloped.recipient_infos, own.key, own.certificate)
    key = recover_key(info, own.key, 32, RANDOM)
    assert decrypt_content(enveloped, key) == TEXT


# --- what else is refused -----------------------------------------------------


OAEP = oids.ID_RSAES_OAEP
SHA3 = AlgorithmIdentifier(oids.ID_SHA3_256).encode()


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier("1.2.3"),
        AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.integer(1)),
        AlgorithmIdentifier(OAEP),
        AlgorithmIdentifier(OAEP, der.sequence(der.explicit(0, SHA3))),
        AlgorithmIdentifier(OAEP, der.sequence(der.explicit(1, SHA3))),
        AlgorithmIdentifier(OAEP, der.sequence(der.explicit(2, SHA3))),
    ],
    ids=["unknown", "parameters", "none", "digest", "mask", "label"],
)
def test_unknown_key_transport_is_a_bad_algorithm(
    algorithm: AlgorithmIdentifier,
) -> None:
    own = peer("rsa").key
    assert code_of(keytransport.transport_key, own.public_key(), algorithm, b"k") is (
        ErrorCode.BAD_ALGORITHM
    )
    assert (
        code_of(
            keytransport.recover_transported_key, own, algorithm, bytes(256), 32, RANDOM
        )
        is ErrorCode.BAD_ALGORITHM
    )


def test_oaep_without_fields_is_sha_1() -> None:
    algorithm = AlgorithmIdentifier(OAEP, der.sequence())
    assert keytransport.OAEP().algorithm == algorithm
    own = peer("rsa").key
    encrypted = keytransport.transport_key(own.public_key(), algorithm, b"k" * 16)
    found = keytransport.recover_transported_key(own, algorithm, encrypted, 16, RANDOM)
    assert found == b"k" * 16


def test_an_rsa_key_that_is_too_small_for_its_padding_is_refused() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()
    algorithm = keytransport.OAEP("sha512", "sha512").algorithm
    assert code_of(keytransport.transport_key, small, algorithm, bytes(32)) is (
        ErrorCode.BAD_ALGORITHM
    )


def test_a_certificate_without_key_usage_may_receive() -> None:
    key = peer("rsa").key
    certificate = Certificate.decode(
        issue("CN=issuer", private_key("ec:P-256"), "CN=any", key.public_key())
    )
    enveloped = encrypt(TEXT, (recipient_of(certificate),), RANDOM)
    assert decrypt(enveloped, key, RANDOM, certificate=certificate) == TEXT


def test_content_of_one_kind_is_not_opened_as_the_other() -> None:
    own = peer("rsa")
    gcm = encrypt_authenticated(TEXT, (recipient_of(own.certificate),), RANDOM)
    cbc = message_for("rsa")
    as_cbc = replace(cbc, encrypted_content_info=gcm.encrypted_content_info)
    as_gcm = replace(gcm, encrypted_content_info=cbc.encrypted_content_info)
    for mixed in (as_cbc, as_gcm):
        assert code_of(decrypt, mixed, own.key, RANDOM) is ErrorCode.BAD_ALGORITHM
    # A cipher with a longer key than the one that was handed over.
    longer = GCMEncryption(ContentCipher.AES_128_GCM, bytes(12)).algorithm
    info = replace(gcm.encrypted_content_info, algorithm=longer)
    other = replace(gcm, encrypted_content_info=info)
    assert code_of(decrypt_authenticated_content, other, bytes(32)) is (
        ErrorCode.BAD_MESSAGE_CHECK
    )
