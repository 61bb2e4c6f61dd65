"""Who speaks for an authority where clients encrypt: an RA, a pair, or the CA."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.crypto.keytransport import RSA_PKCS1, transport_key
from pkid.engine.creation import NewAuthority
from pkid.engine.exchange import ExchangeIdentity, ExchangeKind
from pkid.engine.profiles import CertificateProfile
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, World, result_of

PROFILES = (
    CertificateProfile(
        name="scep-ra",
        keys=("rsa:2048-8192",),
        key_usage=("digitalSignature", "keyEncipherment"),
        validity=timedelta(days=365),
    ),
    CertificateProfile(
        name="scep-ra-signing",
        keys=("rsa:2048-8192",),
        key_usage=("digitalSignature",),
        extended_key_usage=(oids.MICROSOFT_ENROLLMENT_AGENT,),
        validity=timedelta(days=365),
    ),
    CertificateProfile(
        name="scep-ra-encryption",
        keys=("rsa:2048-8192",),
        key_usage=("keyEncipherment",),
        validity=timedelta(days=365),
    ),
)


@pytest.fixture
def speaking(world: World) -> World:
    profiles = dict(world.policies.certificate_profiles)
    profiles.update({profile.name: profile for profile in PROFILES})
    world.policies = replace(world.policies, certificate_profiles=profiles)
    return world


def prepare(world: World, kind: ExchangeKind = ExchangeKind.RA) -> ExchangeIdentity:
    return result_of(world.engine.exchange.prepare("issuing", kind, "rsa:2048", CMP))


def opens(identity: ExchangeIdentity) -> bool:
    certificate = x509.load_der_x509_certificate(identity.encryption_certificate)
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    encrypted = transport_key(key, RSA_PKCS1, b"k" * 16)
    recovered = identity.decrypter.recover_key(RSA_PKCS1, encrypted, 16)
    return result_of(recovered) == b"k" * 16


@pytest.mark.requirement("SCEP-19", "SCEP-20")
def test_an_ec_ca_speaks_through_an_rsa_ra(speaking: World) -> None:
    identity = prepare(speaking)
    certificate = x509.load_der_x509_certificate(identity.certificate)
    assert isinstance(certificate.public_key(), rsa.RSAPublicKey)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert not usage.key_cert_sign
    issuer = x509.load_der_x509_certificate(identity.chain[0])
    certificate.verify_directly_issued_by(issuer)
    assert opens(identity)


@pytest.mark.requirement("SCEP-19")
def test_an_ra_renews_itself_and_opens_what_was_meant_for_its_old_certificate(
    speaking: World,
) -> None:
    first = prepare(speaking)
    assert prepare(speaking).certificate == first.certificate
    speaking.clock.advance(timedelta(days=300))
    second = prepare(speaking)
    assert second.certificate != first.certificate
    assert [one.der for one in second.recipients] == [
        second.certificate,
        first.certificate,
    ]
    speaking.clock.advance(timedelta(days=65 + 31))
    assert len(prepare(speaking).recipients) == 1


@pytest.mark.requirement("SCEP-19")
def test_a_pair_signs_with_one_and_decrypts_with_the_other(speaking: World) -> None:
    identity = prepare(speaking, ExchangeKind.PAIR)
    assert identity.signer.public_key != identity.decrypter.public_key
    signing = x509.load_der_x509_certificate(identity.certificate)
    purposes = signing.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [one.dotted_string for one in purposes] == [oids.MICROSOFT_ENROLLMENT_AGENT]
    encryption = x509.load_der_x509_certificate(identity.encryption_certificate)
    usage = encryption.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment
    assert not usage.digital_signature
    assert opens(identity)


def test_an_ec_ca_does_not_speak_itself(speaking: World) -> None:
    with pytest.raises(PKIError) as caught:
        prepare(speaking, ExchangeKind.CA)
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_an_rsa_ca_speaks_itself(speaking: World) -> None:
    speaking.change_profile("root-ca", keys=("rsa:2048-8192",))
    new = NewAuthority(
        name="old", subject=Name.from_text("CN=old,O=pkid test"), key_spec="rsa:2048"
    )
    result_of(speaking.engine.create_authority(new, CMP))
    identity = result_of(
        speaking.engine.exchange.prepare("old", ExchangeKind.CA, "", CMP)
    )
    assert identity.certificate == identity.encryption_certificate
    assert identity.chain == ()
    assert opens(identity)


def test_what_was_not_prepared_does_not_speak(speaking: World) -> None:
    with pytest.raises(PKIError) as caught:
        speaking.engine.exchange.get("issuing", ExchangeKind.RA)
    assert caught.value.code is ErrorCode.UNAVAILABLE
