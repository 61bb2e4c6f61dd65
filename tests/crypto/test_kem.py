"""ML-KEM, and the MACs from Diffie-Hellman and KEM keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pyasn1.codec.der import decoder, encoder
from pyasn1_alt_modules import rfc9629, rfc9810

from pkid.asn1 import der, oids
from pkid.asn1.cms.enveloped import AuthEnvelopedData
from pkid.asn1.cms.recipients import KEMRecipientInfo
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import kem, keyagreement
from pkid.crypto.agreedmac import (
    DHBMParameters,
    KemBMParameters,
    encode_kem_other_info,
)
from pkid.crypto.decryption import decrypt_authenticated_content
from pkid.crypto.keyedmac import (
    compute_mac,
    decode_keyed_mac,
    gmac_algorithm,
    verify_mac,
)
from pkid.crypto.keywrap import unwrap_key
from pkid.errors import ErrorCode
from tests.crypto.cmspeers import peer
from tests.crypto.oracles import code_of

VECTOR = Path(__file__).parents[1] / "vectors" / "cms" / "ml-kem-512.pem"
# Beside the vector in RFC 9936 appendix C.
SHARED_SECRET = bytes.fromhex(
    "7DF12D412AE299A24FDE6D7C3BB8E3194C80AD3C733DCF2775E09FE8BEDB86D8"
)
KEK = bytes.fromhex("CF453A3E2BAE0A78701B8206C185A008")
TRANSACTION = b"0123456789abcdef"
HMAC_SHA256 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
KEMS = ("ml-kem-768", "ml-kem-1024")


def test_the_published_message_opens_with_its_shared_secret() -> None:
    text = VECTOR.read_text().splitlines()[1:-1]
    enveloped = AuthEnvelopedData.decode_content_info(base64.b64decode("".join(text)))
    (info,) = enveloped.recipient_infos
    assert isinstance(info, KEMRecipientInfo)
    assert info.kem.oid == oids.ID_ALG_ML_KEM_512
    kek = kem.derive_kek(
        info.kdf, info.wrap, SHARED_SECRET, size=info.kek_length, ukm=info.ukm
    )
    assert kek == KEK
    key = unwrap_key(kek, info.encrypted_key)
    assert decrypt_authenticated_content(enveloped, key) == b"Hello, world!"


@pytest.mark.parametrize("family", KEMS)
def test_both_sides_have_the_same_secret(family: str) -> None:
    key = peer(family).key
    one = kem.encapsulate(key.public_key())
    algorithm = kem.kem_algorithm(key)
    assert kem.kem_algorithm(key.public_key()) == algorithm
    assert kem.decapsulate(key, algorithm, one.ciphertext) == one.shared_secret
    assert one.shared_secret.hex() not in repr(one)
    assert str(one.shared_secret) not in repr(one)
    assert kem.encapsulate(key.public_key()) != one


@pytest.mark.parametrize("family", KEMS)
def test_a_forged_ciphertext_gives_another_secret_and_a_short_one_none(
    family: str,
) -> None:
    key = peer(family).key
    one = kem.encapsulate(key.public_key())
    forged = bytes((one.ciphertext[0] ^ 1,)) + one.ciphertext[1:]
    algorithm = kem.kem_algorithm(key)
    assert kem.decapsulate(key, algorithm, forged) != one.shared_secret
    assert code_of(kem.decapsulate, key, algorithm, b"short") is (
        ErrorCode.BAD_MESSAGE_CHECK
    )
    other = AlgorithmIdentifier(oids.ID_ALG_ML_KEM_512)
    assert code_of(kem.decapsulate, key, other, forged) is ErrorCode.BAD_ALGORITHM


def test_the_info_of_a_kem_recipient_is_what_pyasn1_writes() -> None:
    info = rfc9629.CMSORIforKEMOtherInfo()
    info["wrap"]["algorithm"] = oids.ID_AES256_WRAP
    info["kekLength"] = 32
    info["ukm"] = b"ukm"
    wrap = AlgorithmIdentifier(oids.ID_AES256_WRAP)
    prk = hmac.digest(bytes(32), b"S" * 32, "sha256")
    by_hand = hmac.digest(prk, encoder.encode(info) + b"\x01", "sha256")
    found = kem.derive_kek(kem.HKDF_SHA256, wrap, b"S" * 32, size=32, ukm=b"ukm")
    assert found == by_hand


def test_parameters_of_a_kem_recipient_are_held_in_bounds() -> None:
    wrap = AlgorithmIdentifier(oids.ID_AES256_WRAP)
    kmac = AlgorithmIdentifier(oids.ID_KMAC_WITH_SHAKE256)
    null = AlgorithmIdentifier(oids.ID_ALG_HKDF_WITH_SHA256, der.NULL)
    for kdf, size, ukm in (
        (kem.HKDF_SHA256, 16, None),
        (kem.HKDF_SHA256, 32, bytes(1025)),
        (kmac, 32, None),
        (null, 32, None),
    ):
        keywords = {"size": size, "ukm": ukm}
        assert code_of(kem.derive_kek, kdf, wrap, b"S" * 32, **keywords) is (
            ErrorCode.BAD_ALGORITHM
        )
    for size in (0, 1025):
        assert code_of(kem.derive, kem.HKDF_SHA256, b"S", size, b"") is (
            ErrorCode.BAD_ALGORITHM
        )


# --- KemBasedMac --------------------------------------------------------------


@pytest.mark.parametrize("family", KEMS)
def test_alice_and_bob_derive_the_same_mac_key(family: str) -> None:
    alice = peer(family).key
    bob = kem.encapsulate(alice.public_key())
    sent = KemBMParameters.build(kem.HKDF_SHA256, HMAC_SHA256).algorithm
    received = KemBMParameters.decode(sent)
    secret = kem.decapsulate(alice, kem.kem_algorithm(alice), bob.ciphertext)
    key = received.derive(secret, TRANSACTION)
    assert key == received.derive(bob.shared_secret, TRANSACTION)
    assert len(key) == received.length == 32
    verify_mac(
        received.mac, key, b"message", compute_mac(received.mac, key, b"message")
    )
    assert received.derive(secret, b"another") != key


@pytest.mark.parametrize("context", [None, b"context"])
def test_what_binds_the_key_is_what_pyasn1_writes(context: bytes | None) -> None:
    info = rfc9810.KemOtherInfo()
    info["staticString"].append("CMP-KEM")
    info["transactionID"] = TRANSACTION
    if context is not None:
        info["kemContext"] = context
    assert encode_kem_other_info(TRANSACTION, context) == encoder.encode(info)
    parameters = KemBMParameters(kem.HKDF_SHA256, context, 32, HMAC_SHA256)
    assert KemBMParameters.decode(parameters.algorithm) == parameters
    octets = parameters.algorithm.parameters or b""
    found, rest = decoder.decode(octets, asn1Spec=rfc9810.KemBMParameter())
    assert (encoder.encode(found), rest) == (octets, b"")
    prk = hmac.digest(bytes(32), b"S", "sha256")
    by_hand = hmac.digest(prk, encoder.encode(info) + b"\x01", "sha256")
    assert parameters.derive(b"S", TRANSACTION) == by_hand


@pytest.mark.parametrize("length", [0, 15, 129, 2**40])
def test_a_key_length_that_the_mac_does_not_take_is_a_bad_algorithm(
    length: int,
) -> None:
    algorithm = KemBMParameters(kem.HKDF_SHA256, None, length, HMAC_SHA256).algorithm
    assert code_of(KemBMParameters.decode, algorithm) is ErrorCode.BAD_ALGORITHM


def test_kem_macs_without_transaction_or_with_too_much_context_are_refused() -> None:
    parameters = KemBMParameters.build(kem.HKDF_SHA256, HMAC_SHA256)
    assert code_of(parameters.derive, b"S", b"") is ErrorCode.BAD_ALGORITHM
    long = KemBMParameters(kem.HKDF_SHA256, bytes(1025), 32, HMAC_SHA256).algorithm
    assert code_of(KemBMParameters.decode, long) is ErrorCode.BAD_ALGORITHM
    wrong = AlgorithmIdentifier(oids.ID_PBMAC1, parameters.algorithm.parameters)
    assert code_of(KemBMParameters.decode, wrong) is ErrorCode.BAD_ALGORITHM
    bare = AlgorithmIdentifier(oids.ID_KEM_BASED_MAC)
    assert code_of(KemBMParameters.decode, bare) is ErrorCode.MALFORMED


# --- DHBasedMac ---------------------------------------------------------------


@pytest.mark.parametrize("family", ["ec:P-256", "x25519", "x448"])
def test_both_sides_of_dh_derive_the_same_mac_key(family: str) -> None:
    one, two = peer(family).key, peer(family, number=1).key
    parameters = DHBMParameters.decode(
        DHBMParameters(AlgorithmIdentifier(oids.ID_SHA256), HMAC_SHA256).algorithm
    )
    secret = keyagreement.agree(one, two.public_key())
    key = parameters.derive(secret)
    assert key == parameters.derive(keyagreement.agree(two, one.public_key()))
    assert key == hashlib.sha256(secret).digest()


@pytest.mark.parametrize("size", [16, 24, 32])
def test_a_mac_that_demands_a_size_gets_it_cut_or_stretched(size: int) -> None:
    mac = gmac_algorithm(size, secrets.token_bytes)
    parameters = DHBMParameters(AlgorithmIdentifier(oids.ID_SHA1), mac)
    base = hashlib.sha1(b"secret").digest()
    assert (
        parameters.derive(b"secret")
        == (base + hashlib.sha1(b"1" + base).digest())[:size]
    )


def test_dh_macs_of_unknown_parts_are_bad_algorithms() -> None:
    sha256 = AlgorithmIdentifier(oids.ID_SHA256)
    for parameters in (
        DHBMParameters(AlgorithmIdentifier("1.2.3"), HMAC_SHA256),
        DHBMParameters(sha256, AlgorithmIdentifier("1.2.3")),
    ):
        assert code_of(DHBMParameters.decode, parameters.algorithm) is (
            ErrorCode.BAD_ALGORITHM
        )
    shake = DHBMParameters(AlgorithmIdentifier(oids.ID_SHAKE128), HMAC_SHA256)
    assert code_of(shake.derive, b"x") is ErrorCode.BAD_ALGORITHM


# --- the MACs themselves ------------------------------------------------------


def test_hmac_gives_the_vector_of_rfc_4231() -> None:
    key, data = b"\x0b" * 20, b"Hi There"
    expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert compute_mac(HMAC_SHA256, key, data).hex() == expected


def gmac(nonce: bytes, *size: bytes) -> AlgorithmIdentifier:
    return AlgorithmIdentifier(
        oids.ID_AES_128_GMAC, der.sequence(der.octet_string(nonce), *size)
    )


def test_gmac_is_gcm_with_nothing_encrypted() -> None:
    # Test case 1 of the GCM specification (McGrew and Viega).
    zero = gmac(bytes(12), der.integer(16))
    assert compute_mac(zero, bytes(16), b"").hex() == "58e2fccefa7e3061367f1d57a4e7455a"
    key, nonce, data = bytes(range(16)), bytes(range(12)), b"message" * 9
    mac = AESGCM(key).encrypt(nonce, b"", data)
    algorithm = gmac(nonce, der.integer(16))
    assert compute_mac(algorithm, key, data) == mac
    verify_mac(algorithm, key, data, mac)
    for wrong in (mac[:12], bytes(16)):
        assert code_of(verify_mac, algorithm, key, data, wrong) is (
            ErrorCode.BAD_MESSAGE_CHECK
        )
    assert compute_mac(gmac(nonce), key, data) == mac[:12]


def test_macs_take_only_keys_of_their_size() -> None:
    large = gmac_algorithm(32, secrets.token_bytes)
    assert decode_keyed_mac(large).key_octets == 32
    for algorithm, key in (
        (large, bytes(16)),
        (HMAC_SHA256, bytes(15)),
        (HMAC_SHA256, bytes(129)),
    ):
        assert code_of(compute_mac, algorithm, key, b"") is ErrorCode.BAD_ALGORITHM
    assert code_of(gmac_algorithm, 20, secrets.token_bytes) is ErrorCode.BAD_ALGORITHM


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier(oids.ID_AES_128_GMAC),
        AlgorithmIdentifier(oids.ID_KMAC_WITH_SHAKE128),
        AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.integer(1)),
    ],
)
def test_unknown_macs_are_bad_algorithms(algorithm: AlgorithmIdentifier) -> None:
    assert code_of(decode_keyed_mac, algorithm) is ErrorCode.BAD_ALGORITHM
