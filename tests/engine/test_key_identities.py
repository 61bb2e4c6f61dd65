"""Keys of ours that agree and decapsulate, each with a certificate that says so."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from tests.engine.world import CMP, World, result_of


@pytest.fixture
def started(world: World) -> World:
    world.first_start()
    return world


def usages(octets: bytes) -> x509.KeyUsage:
    certificate = x509.load_der_x509_certificate(octets)
    return certificate.extensions.get_extension_for_class(x509.KeyUsage).value


def test_the_agreement_certificate_is_for_key_agreement_only(started: World) -> None:
    engine = started.engine
    assert engine.find_agreement_identity("issuing") is None
    identity = result_of(engine.prepare_agreement_identity("issuing", CMP))
    assert engine.find_agreement_identity("issuing") is identity
    usage = usages(identity.certificate)
    assert usage.key_agreement
    assert not usage.digital_signature
    assert not usage.key_cert_sign
    certificate = x509.load_der_x509_certificate(identity.certificate)
    public: Any = certificate.public_key()
    other = ec.generate_private_key(ec.SECP256R1())
    spki = other.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    secret = result_of(identity.key.agree(spki))
    assert secret == other.exchange(ec.ECDH(), public)


def test_the_kem_certificate_is_for_key_encipherment_only(started: World) -> None:
    engine = started.engine
    assert engine.find_kem_identity("issuing") is None
    identity = result_of(engine.prepare_kem_identity("issuing", CMP))
    assert engine.find_kem_identity("issuing") is identity
    usage = usages(identity.certificate)
    assert usage.key_encipherment
    assert not usage.digital_signature
    certificate = x509.load_der_x509_certificate(identity.certificate)
    public: Any = certificate.public_key()
    secret, ciphertext = public.encapsulate()
    opened = identity.key.decapsulate(identity.key.algorithm, ciphertext)
    assert result_of(opened) == secret


def test_both_are_the_same_after_a_restart(started: World) -> None:
    agreement = result_of(started.engine.prepare_agreement_identity("issuing", CMP))
    kem = result_of(started.engine.prepare_kem_identity("issuing", CMP))
    started.restart()
    engine = started.engine
    again = result_of(engine.prepare_agreement_identity("issuing", CMP))
    assert again.certificate == agreement.certificate
    again_kem = result_of(engine.prepare_kem_identity("issuing", CMP))
    assert again_kem.certificate == kem.certificate
