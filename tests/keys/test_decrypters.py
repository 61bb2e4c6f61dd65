"""Keys that decrypt: a content key comes out whatever went in, never a signature."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pkid.asn1 import oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.keytransport import RSA_OAEP_SHA256, RSA_PKCS1, transport_key
from pkid.crypto.signatures import verify_signature
from pkid.engine.model import PreparedCertificate
from pkid.errors import ErrorCode, PKIError
from pkid.keys.file import FileKeyStore
from tests.keys import samples
from tests.keys.samples import key_store
from tests.storage.samples import result_of

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    store = key_store(tmp_path_factory.mktemp("keys") / "keys")
    for name, purpose in (
        ("ra", "message-exchange"),
        ("encryption", "decryption"),
        ("ca", "certificate-signing"),
    ):
        result_of(store.generate(name, "rsa:2048", purpose))
    return store


def public_key(octets: bytes) -> rsa.RSAPublicKey:
    key = load_der_public_key(octets)
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def refusal_of(work: Any) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        result_of(work)
    return caught.value.code


@pytest.mark.parametrize("name", ["ra", "encryption", "ca"])
@pytest.mark.parametrize("algorithm", [RSA_PKCS1, RSA_OAEP_SHA256], ids=["v15", "oaep"])
def test_what_was_encrypted_to_the_key_is_recovered(
    keys: FileKeyStore, name: str, algorithm: AlgorithmIdentifier
) -> None:
    decrypter = result_of(keys.decrypter(name))
    encrypted = transport_key(public_key(decrypter.public_key), algorithm, KEY)
    assert result_of(decrypter.recover_key(algorithm, encrypted, 32)) == KEY


@pytest.mark.requirement("SEC-22", "SCEP-56")
@pytest.mark.parametrize(
    "damage",
    [
        lambda octets: bytes(256),
        lambda octets: octets[:-1] + bytes((octets[-1] ^ 1,)),
        lambda octets: octets[:100],
        lambda octets: b"",
        lambda octets: octets + b"\0",
        lambda octets: b"\xff" * 256,
    ],
    ids=["zeros", "one bit", "short", "empty", "long", "above the modulus"],
)
def test_a_damaged_key_gives_another_key_and_no_error(
    keys: FileKeyStore, damage: Any
) -> None:
    decrypter = result_of(keys.decrypter("ra"))
    encrypted = transport_key(public_key(decrypter.public_key), RSA_PKCS1, KEY)
    found = result_of(decrypter.recover_key(RSA_PKCS1, damage(encrypted), 32))
    assert len(found) == 32
    assert found != KEY


def test_a_key_of_another_size_gives_another_key(keys: FileKeyStore) -> None:
    decrypter = result_of(keys.decrypter("ra"))
    encrypted = transport_key(public_key(decrypter.public_key), RSA_PKCS1, KEY[:8])
    assert len(result_of(decrypter.recover_key(RSA_PKCS1, encrypted, 16))) == 16


def test_another_key_transport_is_refused(keys: FileKeyStore) -> None:
    decrypter = result_of(keys.decrypter("ra"))
    algorithm = AlgorithmIdentifier(oids.ID_SHA256)
    work = decrypter.recover_key(algorithm, bytes(256), 16)
    assert refusal_of(work) is ErrorCode.BAD_ALGORITHM


def test_a_decrypter_signs_nothing_and_shows_nothing(keys: FileKeyStore) -> None:
    decrypter = result_of(keys.decrypter("ra"))
    for name in ("sign", "sign_message", "sign_status"):
        assert not hasattr(decrypter, name)
    assert repr(decrypter) == "FileDecrypter(ra)"


def test_only_keys_for_decryption_decrypt(keys: FileKeyStore) -> None:
    result_of(keys.generate("tls", "rsa:2048", "tls"))
    assert refusal_of(keys.decrypter("tls")) is ErrorCode.NOT_AUTHORIZED
    assert refusal_of(keys.message_signer("encryption")) is ErrorCode.NOT_AUTHORIZED


@pytest.mark.parametrize("purpose", ["decryption", "message-exchange"])
def test_a_key_that_decrypts_is_rsa(tmp_path: Path, purpose: str) -> None:
    store = key_store(tmp_path / "keys")
    made = store.generate("ra", "ec:P-256", purpose)
    assert refusal_of(made) is ErrorCode.BAD_ALGORITHM


def test_an_ec_authority_does_not_decrypt(tmp_path: Path) -> None:
    store = key_store(tmp_path / "keys")
    result_of(store.generate("ca", "ec:P-256", "certificate-signing"))
    assert refusal_of(store.decrypter("ca")) is ErrorCode.BAD_ALGORITHM


# --- signing -------------------------------------------------------------------


@pytest.mark.requirement("SCEP-39", "SCEP-64")
@pytest.mark.parametrize("name", ["sha1", "sha256", "sha384", "sha512"])
def test_messages_are_signed_in_the_digest_asked_for(
    keys: FileKeyStore, name: str
) -> None:
    signer = result_of(keys.message_signer("ra"))
    key = public_key(signer.public_key)
    algorithm = signature_algorithm_for(key, name)
    octets = b"\x31" + secrets.token_bytes(40)
    signature = result_of(signer.sign_message(octets, algorithm))
    verify_signature(key, algorithm, signature, octets, allow_sha1=True)


@pytest.mark.requirement("SCEP-64")
def test_no_certificate_is_signed_with_sha1(keys: FileKeyStore) -> None:
    signer = result_of(keys.certificate_signer("ca"))
    token = PreparedCertificate(
        samples.TBS_CERTIFICATE,
        authority="issuing",
        algorithm=signature_algorithm_for(public_key(signer.public_key), "sha1"),
        serial=77,
    )
    assert refusal_of(signer.sign(token)) is ErrorCode.BAD_ALGORITHM


@pytest.mark.requirement("SCEP-61")
def test_a_ca_key_signs_messages_only_where_it_is_meant_to(keys: FileKeyStore) -> None:
    assert refusal_of(keys.message_signer("ca")) is ErrorCode.NOT_AUTHORIZED
    signer = result_of(keys.message_signer("ca", of_authority=True))
    assert result_of(signer.sign_message(b"\x31\x00"))
    work = signer.sign_message(samples.TBS_CERTIFICATE)
    assert refusal_of(work) is ErrorCode.INTERNAL
