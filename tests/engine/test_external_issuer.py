"""A CA whose certificate comes from another PKI."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkid.asn1.names import Name
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, START, World, result_of

SUBJECT = "CN=Outside Issuing,O=pkid test"


class OtherPKI:
    """A root that is not ours, made with cryptography."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other Root")])
        self.root = self._sign(self.name, self.key.public_key(), START, ca=True)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        begin: datetime,
        *,
        ca: bool,
        days: int = 3000,
    ) -> x509.Certificate:
        usage = dict.fromkeys(
            (
                "digital_signature",
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin - timedelta(days=1))
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
            .add_extension(
                x509.KeyUsage(key_cert_sign=ca, crl_sign=ca, **usage),
                True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), False)
            .sign(self.key, hashes.SHA256())
        )

    def certify(self, request: bytes, *, ca: bool = True, days: int = 3000) -> bytes:
        csr = x509.load_der_x509_csr(request)
        assert csr.is_signature_valid
        key = csr.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        made = self._sign(csr.subject, key, START, ca=ca, days=days)
        return made.public_bytes(Encoding.DER)

    @property
    def anchor(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)


@pytest.fixture
def other() -> OtherPKI:
    return OtherPKI()


def ask(world: World) -> bytes:
    return result_of(
        world.engine.external_issuer.request(
            "outside", Name.from_text(SUBJECT), "ec:P-256", OPERATOR, CMP
        )
    )


def install(world: World, *certificates: bytes) -> None:
    result_of(
        world.engine.external_issuer.install("outside", certificates, OPERATOR, CMP)
    )


@pytest.mark.requirement("ENG-01")
def test_a_ca_certified_elsewhere_issues_and_signs_its_crl(
    world: World, other: OtherPKI
) -> None:
    own = other.certify(ask(world))
    install(world, other.anchor, own)
    world.restart()
    world.change_alias(authority="outside")
    issued = world.issue(world.request(world.secret()))
    leaf = x509.load_der_x509_certificate(issued.der)
    leaf.verify_directly_issued_by(x509.load_der_x509_certificate(own))
    assert issued.chain == (own, other.anchor)
    assert result_of(world.engine.refresh_crls()) >= 1
    assert "authority-installed" in world.audited(OPERATOR)


@pytest.mark.requirement("ENG-01")
def test_a_longer_life_comes_the_same_way(world: World, other: OtherPKI) -> None:
    install(world, other.certify(ask(world)), other.anchor)
    longer = other.certify(ask(world), days=5000)
    install(world, longer, other.anchor)
    assert world.engine.authority_certificate("outside") == longer


@pytest.mark.parametrize("fault", ["key", "leaf", "chain", "nothing"])
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    world: World, other: OtherPKI, fault: str
) -> None:
    request = ask(world)
    given = {
        "key": (other.anchor,),
        "leaf": (other.certify(request, ca=False), other.anchor),
        "chain": (other.certify(request), OtherPKI().anchor),
        "nothing": (),
    }[fault]
    with pytest.raises(PKIError) as caught:
        install(world, *given)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert "outside" not in world.engine.authority_names()
    assert result_of(world.store.find_authority("outside")) is None


def test_nothing_is_installed_without_a_request(world: World, other: OtherPKI) -> None:
    with pytest.raises(PKIError) as caught:
        install(world, other.anchor)
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_the_key_of_a_ca_is_not_certified_for_anybody(
    world: World, other: OtherPKI
) -> None:
    spki = x509.load_der_x509_csr(ask(world)).public_key()
    request = world.request(world.secret())
    from cryptography.hazmat.primitives.serialization import PublicFormat

    octets = spki.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    stolen = replace(request, requested=replace(request.requested, public_key=octets))
    with pytest.raises(PKIError):
        world.issue(stolen)
