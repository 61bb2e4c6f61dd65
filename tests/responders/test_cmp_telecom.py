"""The entrance that ``preset = "3gpp"`` makes, asked by stations good and bad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.app.config import decode_configuration
from pkid.asn1 import der, oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.signatures import sign
from pkid.engine.aliases import VendorTrust
from pkid.engine.model import EndEntity, EntityStatus
from pkid.messages.cmp.body import BodyType, CertRepMessage
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import (
    CertReqMsg,
    CertRequest,
    CertTemplate,
    POPOSigningKey,
    POPOSigningKeyInput,
)
from tests.engine.world import CMP, OPERATOR, result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    foreign_certificate,
    message,
    new_key,
    revocation_of,
    signed_request,
    spki_of,
)

FILE = """
[listener]
[vendor.acme]
anchors = ["acme.pem"]
[vendor.bell]
anchors = ["bell.pem"]
[cmp.alias.default]
preset = "3gpp"
authority = "issuing"
vendors = ["acme", "bell"]
issued_subject = "CN={entity},O=Operator"
issued_names = ["dns:{entity}.ran.example"]
"""


class Maker:
    """A manufacturer: root, an intermediate, units."""

    def __init__(self, desk: Desk, name: str) -> None:
        self.now = desk.world.clock.now()
        key, self.key = new_key(), new_key()
        self.root = foreign_certificate(key, f"{name} root", ca=True, at=self.now)
        above = (x509.load_der_x509_certificate(self.root), key)
        self.intermediate = foreign_certificate(
            self.key, f"{name} factory", issuer=above, ca=True, at=self.now
        )

    def unit(self, serial: str) -> BySignature:
        key = new_key()
        above = (x509.load_der_x509_certificate(self.intermediate), self.key)
        leaf = foreign_certificate(
            key, "station", serial=serial, issuer=above, at=self.now
        )
        return BySignature(leaf, key, chain=(self.intermediate,))


class Network:
    """An operator's entrance with two manufacturers and one listed unit."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.makers = {name: Maker(desk, name) for name in ("acme", "bell")}
        found = decode_configuration(FILE, source="test")
        self.alias = found.cmp_aliases["default"]
        world = desk.world
        world.policies = replace(
            world.policies,
            certificate_profiles=found.certificate_profiles,
            end_entity_profiles=found.end_entity_profiles,
            aliases={("cmp", "default"): self.alias.alias},
            vendors={
                name: VendorTrust(name=name, anchors=(maker.root,))
                for name, maker in self.makers.items()
            },
        )
        kept = (
            *("implicit_confirm", "response_protection", "several_requests"),
            *("quirks", "extra_certs_root", "ca_pubs", "allow_sha1", "preset"),
        )
        desk.settings = {name: getattr(self.alias, name) for name in kept}
        desk.open()
        self.list_unit("acme|S-1", "site-1")
        self.station = self.makers["acme"].unit("S-1")

    def list_unit(self, pattern: str, name: str) -> None:
        entity = EndEntity(
            name=name,
            status=EntityStatus.NEW,
            created=self.desk.world.clock.now(),
            vendor=pattern,
        )
        world = self.desk.world
        result_of(world.engine.administration.add_entity(entity, OPERATOR, CMP))

    def ask(self, *requests: CertReqMsg, by: By | None = None, **fields: Any) -> Answer:
        body = cert_requests(*requests)
        return self.desk.ask(message(BodyType.IR, body, by or self.station, **fields))

    def confirm(self, answer: Answer, by: By) -> Answer:
        fingerprint = self.desk.record(answer.certificate).fingerprint
        sent = follow(answer, BodyType.CERT_CONF, cert_conf(fingerprint), by)
        return self.desk.ask(sent)


@pytest.fixture
def network(desk: Desk) -> Network:
    return Network(desk)


@pytest.mark.requirement("CMP-177", "CMP-178", "CMP-180")
def test_a_station_enrols_renews_and_revokes(network: Network) -> None:
    desk, key = network.desk, new_key()
    first = network.ask(signed_request(key, "CN=station,serialNumber=S-1"))
    own = BySignature(first.certificate, key)
    assert network.confirm(first, network.station).body_type is BodyType.PKICONF
    key = new_key()
    second = desk.enroll(own, body_type=BodyType.KUR, key=key, subject="CN=any")
    assert network.confirm(second, own).body_type is BodyType.PKICONF
    new = BySignature(second.certificate, key)
    assert new.parsed.subject == own.parsed.subject
    said = desk.ask(message(BodyType.RR, revocation_of(second.certificate), new))
    assert said.status.status is PKIStatus.ACCEPTED


@pytest.mark.requirement("CMP-178")
@pytest.mark.parametrize("maker", ["acme", "bell"])
def test_each_manufacturer_has_its_own_units(network: Network, maker: str) -> None:
    network.list_unit("bell|S-1", "other-site")
    answer = network.ask(
        signed_request(new_key()), by=network.makers[maker].unit("S-1")
    )
    name = {"acme": "site-1", "bell": "other-site"}[maker]
    assert network.desk.record(answer.certificate).entity == name


@pytest.mark.requirement("CMP-181", "CMP-182")
def test_a_unit_that_is_not_listed_gets_a_signed_refusal(network: Network) -> None:
    unlisted = network.makers["acme"].unit("S-2")
    answer = network.ask(signed_request(new_key()), by=unlisted)
    assert answer.is_signed
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    assert network.desk.count() == 0


@pytest.mark.requirement("CMP-177", "CMP-181")
def test_a_template_without_subject_is_named_by_the_entity(network: Network) -> None:
    """The station proves possession over poposkInput, as RFC 4211 section 4.1 asks."""
    key = new_key()
    request = CertRequest.build(0, CertTemplate(spki=spki_of(key)), ())
    signed = POPOSigningKeyInput.build(network.station.sender, spki_of(key))
    algorithm = signature_algorithm_for(key.public_key())
    proof = POPOSigningKey(algorithm, sign(key, algorithm, signed.der), signed)
    answer = network.ask(CertReqMsg(request, proof))
    assert network.desk.record(answer.certificate).subject == "CN=site-1,O=Operator"


@pytest.mark.requirement("CMP-181")
@pytest.mark.parametrize("plain", [True, False])
def test_another_name_than_asked_for_is_accepted_by_switch(
    network: Network, plain: bool
) -> None:
    if not plain:
        network.desk.settings["quirks"] = frozenset()
        network.desk.open()
    answer = network.ask(signed_request(new_key(), "CN=station"))
    status = answer.status.status
    assert status is (PKIStatus.ACCEPTED if plain else PKIStatus.GRANTED_WITH_MODS)


@pytest.mark.requirement("CMP-179")
def test_extraCerts_hold_all_that_a_station_must_know(network: Network) -> None:
    """From the one self-issued certificate among them everything else follows."""
    answer = network.ask(signed_request(new_key()))
    given = [x509.load_der_x509_certificate(one) for one in answer.message.extra_certs]
    (root,) = [one for one in given if one.issuer == one.subject]
    by_subject = {one.subject: one for one in given}

    def rests_on_root(certificate: x509.Certificate) -> bool:
        for _ in range(4):
            if certificate == root:
                return True
            above = by_subject[certificate.issuer]
            certificate.verify_directly_issued_by(above)
            certificate = above
        return False

    root.verify_directly_issued_by(root)
    assert rests_on_root(answer.check_signature())
    assert rests_on_root(x509.load_der_x509_certificate(answer.certificate))
    assert isinstance(answer.body, CertRepMessage)
    assert set(answer.body.ca_pubs) <= set(answer.message.extra_certs)


@pytest.mark.requirement("CMP-177")
def test_implicit_confirmation_is_not_granted(network: Network) -> None:
    answer = network.ask(signed_request(new_key()), general_info=(IMPLICIT,))
    assert answer.certificate
    assert not answer.has_info(oids.ID_IT_IMPLICIT_CONFIRM)
    network.desk.world.clock.advance(timedelta(minutes=10))
    late = network.confirm(answer, network.station)
    assert late.body_type is BodyType.ERROR


@pytest.mark.requirement("CMP-177")
def test_two_requests_in_one_message_are_badRequest(network: Network) -> None:
    body = cert_requests(
        signed_request(new_key()), signed_request(new_key(), cert_req_id=1)
    )
    answer = network.desk.ask(message(BodyType.IR, body, network.station))
    assert isinstance(answer.body, CertRepMessage)
    for response in answer.body.responses:
        assert response.status.fail_info == frozenset((FailInfo.BAD_REQUEST,))
    assert network.desk.count() == 0


@pytest.mark.requirement("CMP-177")
def test_a_shared_secret_is_wrongIntegrity(network: Network) -> None:
    answer = network.ask(signed_request(new_key()), by=ByMAC())
    assert answer.is_signed
    assert answer.fail_info is FailInfo.WRONG_INTEGRITY


@pytest.mark.requirement("CMP-180")
def test_a_key_update_by_the_manufacturers_certificate_is_refused(
    network: Network,
) -> None:
    answer = network.desk.enroll(network.station, body_type=BodyType.KUR)
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.mark.requirement("CMP-180")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_key_update_with_the_same_key_is_by_switch(
    network: Network, allowed: bool
) -> None:
    network.desk.world.change_alias(renewal_same_key=allowed)
    key = new_key()
    first = network.ask(signed_request(key))
    network.confirm(first, network.station)
    own = BySignature(first.certificate, key)
    answer = network.desk.enroll(own, body_type=BodyType.KUR, key=key)
    granted = answer.status.status is not PKIStatus.REJECTION
    assert granted is allowed


@pytest.mark.requirement("CMP-177")
@pytest.mark.parametrize(
    "digest", [hashes.SHA256(), hashes.SHA384()], ids=["SHA-256", "SHA-384"]
)
def test_digests_of_the_standard_are_taken(
    network: Network, digest: hashes.HashAlgorithm
) -> None:
    key = network.station.key
    oid = {"sha256": oids.ECDSA_WITH_SHA256, "sha384": oids.ECDSA_WITH_SHA384}

    class WithDigest(BySignature):
        @property
        def algorithm(self) -> AlgorithmIdentifier:
            return AlgorithmIdentifier(oid[digest.name])

        def bits(self, part: bytes) -> bytes:
            return key.sign(part, ec.ECDSA(digest))

    by = WithDigest(network.station.certificate, key, network.station.chain)
    assert network.ask(signed_request(new_key()), by=by).certificate


# --- SHA-1 ------------------------------------------------------------------------

SHA1_WITH_RSA = AlgorithmIdentifier("1.2.840.113549.1.1.5", der.NULL)
ECDSA_WITH_SHA1 = AlgorithmIdentifier("1.2.840.10045.4.1")


@pytest.mark.requirement("CMP-177")
def test_protection_with_SHA_1_is_refused(network: Network) -> None:
    key = network.station.key

    class WithSHA1(BySignature):
        @property
        def algorithm(self) -> AlgorithmIdentifier:
            return ECDSA_WITH_SHA1

        def bits(self, part: bytes) -> bytes:
            return key.sign(part, ec.ECDSA(SHA1()))

    by = WithSHA1(network.station.certificate, key, network.station.chain)
    sent = message(BodyType.IR, cert_requests(signed_request(new_key())), by)
    answer = network.desk.ask(sent)
    assert answer.fail_info is FailInfo.BAD_ALG


def by_ec(request: CertRequest, key: ec.EllipticCurvePrivateKey) -> POPOSigningKey:
    return POPOSigningKey(ECDSA_WITH_SHA1, key.sign(request.der, ec.ECDSA(SHA1())))


def by_rsa(request: CertRequest, key: rsa.RSAPrivateKey) -> POPOSigningKey:
    signature = key.sign(request.der, padding.PKCS1v15(), SHA1())
    return POPOSigningKey(SHA1_WITH_RSA, signature)


@pytest.mark.requirement("CMP-177")
@pytest.mark.parametrize(
    ("make", "prove"),
    [
        (new_key, by_ec),
        (lambda: rsa.generate_private_key(65537, 2048), by_rsa),
    ],
    ids=["ECDSA", "RSA"],
)
def test_proof_of_possession_with_SHA_1_is_refused(
    network: Network, make: Callable[[], object], prove: Callable[..., POPOSigningKey]
) -> None:
    key = make()
    spki = key.public_key().public_bytes(  # type: ignore[attr-defined] # both have it
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    template = CertTemplate(subject=Name.from_text("CN=station").der, spki=spki)
    request = CertRequest.build(0, template, ())
    answer = network.ask(CertReqMsg(request, prove(request, key)))
    assert answer.status.status is PKIStatus.REJECTION
    assert network.desk.count() == 0
