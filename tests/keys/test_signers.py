"""Each handle signs its own kind of thing, and shows nothing of its key."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from pkid.crypto import signatures
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.signatures import verify_signature
from pkid.engine.model import PreparedCertificate
from pkid.errors import ErrorCode, PKIError
from pkid.keys import signers
from pkid.keys.file import FileKeyStore
from pkid.keys.signers import (
    FileCertificateSigner,
    FileMessageSigner,
    FileStatusSigner,
    signing,
)
from tests.keys import samples
from tests.keys.samples import InlineWorkers, key_store
from tests.storage.samples import result_of

CERTIFICATES = [samples.TBS_CERTIFICATE, samples.TBS_CERTIFICATE_VERSION_1]
STATUS = [
    samples.TBS_CRL,
    samples.TBS_CRL_VERSION_1,
    samples.RESPONSE_DATA,
    samples.RESPONSE_DATA_BY_KEY,
]
KINDS = ["ec:P-256", "ed25519", "ed448", "rsa:2048", "ml-dsa-44"]


@pytest.fixture
def keys(tmp_path: Path) -> FileKeyStore:
    return key_store(tmp_path / "keys")


def certificate_signer(
    keys: FileKeyStore, spec: str = "ec:P-256"
) -> FileCertificateSigner:
    result_of(keys.generate("ca", spec, "certificate-signing"))
    return result_of(keys.certificate_signer("ca"))


def status_signer(keys: FileKeyStore) -> FileStatusSigner:
    result_of(keys.generate("ocsp", "ec:P-256", "status-signing"))
    return result_of(keys.status_signer("ocsp"))


def message_signer(keys: FileKeyStore, spec: str = "ec:P-256") -> FileMessageSigner:
    result_of(keys.generate("cmp", spec, "message-signing"))
    return result_of(keys.message_signer("cmp"))


def prepared(signer: Any, authority: str = "issuing") -> PreparedCertificate:
    return PreparedCertificate(
        samples.TBS_CERTIFICATE,
        authority=authority,
        algorithm=signer.algorithm,
        serial=77,
    )


def verify(signer: Any, signature: bytes, octets: bytes) -> None:
    public = load_der_public_key(signer.public_key)
    verify_signature(public, signer.algorithm, signature, octets)


def refuse(deferred: Any) -> None:
    with pytest.raises(PKIError) as caught:
        result_of(deferred)
    assert caught.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize("spec", KINDS)
def test_each_kind_of_key_signs_certificates_and_messages(
    keys: FileKeyStore, spec: str
) -> None:
    signer = certificate_signer(keys, spec)
    signature = result_of(signer.sign(prepared(signer)))
    verify(signer, signature, samples.TBS_CERTIFICATE)
    messenger = message_signer(keys, spec)
    signature = result_of(messenger.sign_message(samples.PROTECTED_PART))
    verify(messenger, signature, samples.PROTECTED_PART)


def test_a_prepared_certificate_is_signed_once(keys: FileKeyStore) -> None:
    signer = certificate_signer(keys)
    token = prepared(signer)
    result_of(signer.sign(token))
    refuse(signer.sign(token))


@pytest.mark.parametrize("thing", [samples.TBS_CERTIFICATE, None, "text"])
def test_a_certificate_signer_takes_nothing_but_a_prepared_certificate(
    keys: FileKeyStore, thing: Any
) -> None:
    signer = certificate_signer(keys)
    refuse(signer.sign(thing))
    for name in ("sign_message", "sign_status", "sign_octets"):
        assert not hasattr(signer, name)


def test_a_certificate_signer_serves_one_authority(keys: FileKeyStore) -> None:
    signer = certificate_signer(keys)
    result_of(signer.sign(prepared(signer, "issuing")))
    foreign = prepared(signer, "root")
    refuse(signer.sign(foreign))
    assert foreign.tbs
    refuse(result_of(keys.certificate_signer("ca")).sign(foreign))


@pytest.mark.requirement("SEC-111")
@pytest.mark.parametrize(
    "octets", [*CERTIFICATES, samples.PROTECTED_PART, b"", b"text"]
)
def test_a_status_signer_signs_crls_and_ocsp_responses_only(
    keys: FileKeyStore, octets: bytes
) -> None:
    signer = status_signer(keys)
    refuse(signer.sign_status(octets))
    for status in STATUS:
        verify(signer, result_of(signer.sign_status(status)), status)


def test_a_ca_key_signs_its_crls_but_not_by_that_handle_a_certificate(
    keys: FileKeyStore,
) -> None:
    certificate_signer(keys)
    signer = result_of(keys.status_signer("ca"))
    verify(signer, result_of(signer.sign_status(samples.TBS_CRL)), samples.TBS_CRL)
    for octets in CERTIFICATES:
        refuse(signer.sign_status(octets))


@pytest.mark.requirement("SEC-111")
@pytest.mark.parametrize("octets", [*CERTIFICATES, *STATUS])
def test_a_message_signer_signs_no_certificate_and_no_status(
    keys: FileKeyStore, octets: bytes
) -> None:
    signer = message_signer(keys)
    refuse(signer.sign_message(octets))
    # A reader that forgives bad lengths must not be fooled either.
    refuse(signer.sign_message(b"\x30\x80" + octets[4:] + b"\0\0"))
    refuse(signer.sign_message(octets + b"\0"))


@pytest.mark.parametrize("octets", [b"", b"audit head", bytes(32), b"\x31\x00"])
def test_a_message_signer_signs_other_octets(keys: FileKeyStore, octets: bytes) -> None:
    signer = message_signer(keys)
    verify(signer, result_of(signer.sign_message(octets)), octets)


@pytest.mark.requirement("FLT-34")
@pytest.mark.parametrize("every", [1, 50])
def test_a_faulty_rsa_signature_never_leaves(
    monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    private = rsa.generate_private_key(65537, 2048)
    algorithm = signature_algorithm_for(private.public_key())
    made = [0]

    def faulty(*arguments: Any, **options: Any) -> bytes:
        signature = signatures.sign(*arguments, **options)
        made[0] += 1
        if made[0] % every:
            return signature
        bit = made[0] * 7919 % (8 * len(signature))
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        return bytes(flipped)

    monkeypatch.setattr(signers, "sign", faulty)
    sign = signing(private, InlineWorkers())
    released = refused = 0
    for number in range(200):
        octets = b"message %d" % number
        try:
            signature = result_of(sign(algorithm, octets))
        except PKIError as fault:
            assert fault.code is ErrorCode.INTERNAL  # noqa: PT017 - counted, not raised
            refused += 1
        else:
            verify_signature(private.public_key(), algorithm, signature, octets)
            released += 1
    assert (released, refused) == (200 - 200 // every, 200 // every)


def test_quick_keys_sign_at_once_and_slow_ones_go_to_the_workers() -> None:
    workers = InlineWorkers()
    quick = ec.generate_private_key(ec.SECP256R1())
    slow = rsa.generate_private_key(65537, 2048)
    for key, calls in ((quick, 0), (slow, 1)):
        algorithm = signature_algorithm_for(key.public_key())
        result_of(signing(key, workers)(algorithm, b"x"))
        assert workers.calls == calls


def test_an_algorithm_that_does_not_fit_fails_the_deferred(keys: FileKeyStore) -> None:
    signer = certificate_signer(keys)
    token = PreparedCertificate(
        samples.TBS_CERTIFICATE,
        authority="issuing",
        algorithm=signature_algorithm_for("rsa"),
        serial=77,
    )
    with pytest.raises(PKIError) as caught:
        result_of(signer.sign(token))
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_a_handle_shows_nothing_of_its_key(keys: FileKeyStore) -> None:
    for signer in (certificate_signer(keys), status_signer(keys), message_signer(keys)):
        assert repr(signer).startswith(f"{type(signer).__name__}(")
        assert not hasattr(signer, "__dict__")
        held = [getattr(signer, name) for name in dir(signer)]
        kinds = (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)
        assert not any(isinstance(each, kinds) for each in held)
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            pickle.dumps(signer)
