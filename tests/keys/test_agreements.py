"""Keys that agree and keys that decapsulate: a secret comes out, never a signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from pkid.asn1 import oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.keys.file import FileKeyStore
from tests.keys.samples import key_store
from tests.storage.samples import result_of

OTHERS: dict[str, Any] = {
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "x25519": x25519.X25519PrivateKey.generate,
    "x448": x448.X448PrivateKey.generate,
}
KEMS = {
    "ml-kem-768": oids.ID_ALG_ML_KEM_768,
    "ml-kem-1024": oids.ID_ALG_ML_KEM_1024,
}


@pytest.fixture
def keys(tmp_path: Path) -> FileKeyStore:
    return key_store(tmp_path / "keys")


def spki_of(key: Any) -> bytes:
    octets: bytes = key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    return octets


def refusal_of(deferred: Any) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        result_of(deferred)
    return caught.value.code


def agreed(other: Any, spki: bytes) -> bytes:
    public: Any = load_der_public_key(spki)
    if isinstance(other, ec.EllipticCurvePrivateKey):
        return other.exchange(ec.ECDH(), public)
    secret: bytes = other.exchange(public)
    return secret


@pytest.mark.parametrize("spec", OTHERS)
def test_both_sides_agree_upon_one_secret_also_after_a_restart(
    tmp_path: Path, keys: FileKeyStore, spec: str
) -> None:
    spki = result_of(keys.generate("dh", spec, "key-agreement"))
    other = OTHERS[spec]()
    for store in (keys, key_store(tmp_path / "keys")):
        handle = result_of(store.key_agreement("dh"))
        assert handle.public_key == spki
        assert result_of(handle.agree(spki_of(other))) == agreed(other, spki)


@pytest.mark.parametrize(
    "octets", [b"", b"\x30\x00", spki_of(x448.X448PrivateKey.generate())],
    ids=["nothing", "no key", "another kind"],
)  # fmt: skip
def test_a_key_that_does_not_fit_agrees_upon_nothing(
    keys: FileKeyStore, octets: bytes
) -> None:
    result_of(keys.generate("dh", "x25519", "key-agreement"))
    handle = result_of(keys.key_agreement("dh"))
    assert refusal_of(handle.agree(octets)) is ErrorCode.BAD_MESSAGE_CHECK


@pytest.mark.parametrize("spec", KEMS)
def test_what_was_encapsulated_comes_out(keys: FileKeyStore, spec: str) -> None:
    spki = result_of(keys.generate("kem", spec, "decapsulation"))
    handle = result_of(keys.decapsulation("kem"))
    public: Any = load_der_public_key(spki)
    secret, ciphertext = public.encapsulate()
    assert handle.algorithm == AlgorithmIdentifier(KEMS[spec])
    assert result_of(handle.decapsulate(handle.algorithm, ciphertext)) == secret
    short = handle.decapsulate(handle.algorithm, ciphertext[1:])
    assert refusal_of(short) is ErrorCode.BAD_MESSAGE_CHECK
    other = AlgorithmIdentifier(oids.ID_ML_DSA_44)
    wrong = handle.decapsulate(other, ciphertext)
    assert refusal_of(wrong) is ErrorCode.BAD_ALGORITHM


def test_a_forged_ciphertext_gives_another_secret(keys: FileKeyStore) -> None:
    spki = result_of(keys.generate("kem", "ml-kem-768", "decapsulation"))
    handle = result_of(keys.decapsulation("kem"))
    public = load_der_public_key(spki)
    assert isinstance(public, mlkem.MLKEM768PublicKey)
    secret, ciphertext = public.encapsulate()
    forged = bytes((ciphertext[0] ^ 1,)) + ciphertext[1:]
    assert result_of(handle.decapsulate(handle.algorithm, forged)) != secret


@pytest.mark.parametrize(
    ("spec", "purpose"),
    [
        ("ed25519", "key-agreement"),
        ("rsa:2048", "key-agreement"),
        ("ml-kem-768", "key-agreement"),
        ("ec:P-256", "decapsulation"),
        ("x25519", "message-signing"),
    ],
)
def test_no_key_is_made_that_does_not_fit_its_purpose(
    keys: FileKeyStore, spec: str, purpose: str
) -> None:
    fault = refusal_of(_started(keys, spec, purpose))
    assert fault is ErrorCode.BAD_ALGORITHM
    assert keys.names() == ()


async def _started(keys: FileKeyStore, spec: str, purpose: str) -> bytes:
    return await keys.generate("key", spec, purpose)


def test_these_handles_sign_nothing_and_show_nothing(keys: FileKeyStore) -> None:
    result_of(keys.generate("dh", "ec:P-256", "key-agreement"))
    result_of(keys.generate("kem", "ml-kem-768", "decapsulation"))
    agreement = result_of(keys.key_agreement("dh"))
    decapsulation = result_of(keys.decapsulation("kem"))
    for handle in (agreement, decapsulation):
        for name in ("sign", "sign_message", "sign_status", "private_key"):
            assert not hasattr(handle, name)
    assert repr(agreement) == "FileKeyAgreement(dh)"
    assert repr(decapsulation) == "FileDecapsulation(kem)"
