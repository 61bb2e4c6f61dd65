"""Messages and possession under every signature algorithm, ML-DSA included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    rsa,
)
from twisted.logger import LogLevel, capturedLogs

from pkid.app.identities import prepare_cmp_keys
from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import (
    Padding,
    digest,
    hash_algorithm,
    signature_algorithm_for,
)
from pkid.crypto.signatures import sign
from pkid.engine.creation import NewAuthority
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from pkid.messages.crmf import CertReqMsg, CertRequest, CertTemplate, POPOSigningKey
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.certification import certificate_hash
from tests.crypto.test_signatures import shake_pss
from tests.engine.world import CMP, result_of
from tests.responders.bending import by_mac, followed, refused, sent
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    BySignature,
    cert_conf,
    cert_requests,
    spki_of,
)

MAKERS: dict[str, Any] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ec:brainpoolP256r1": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
SHA2 = ("sha224", "sha256", "sha384", "sha512")
SHA3 = ("sha3_224", "sha3_256", "sha3_384", "sha3_512")
SHAKE = ("shake128", "shake256")
SHAKE_PSS = {
    oids.ID_RSASSA_PSS_SHAKE128: "shake128",
    oids.ID_RSASSA_PSS_SHAKE256: "shake256",
}
UNHASHED = ("ed25519", "ed448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")


def algorithms() -> Iterator[Any]:
    """Every algorithm of RFC 9481 section 3, RFC 9688 and RFC 9882, with its key."""
    for name in (*SHA2, *SHA3):
        found = signature_algorithm_for("rsa", name)
        yield pytest.param("rsa", found, id=f"rsa-{name}")
    for name in (*SHA2, *SHAKE):
        found = signature_algorithm_for("rsa", name, padding=Padding.PSS)
        yield pytest.param("rsa", found, id=f"rsa-pss-{name}")
    for name in (*SHA2, *SHA3, *SHAKE):
        found = signature_algorithm_for("ec:P-256", name)
        yield pytest.param("ec:P-256", found, id=f"ecdsa-{name}")
    for family in ("ec:P-384", "ec:P-521", "ec:brainpoolP256r1", *UNHASHED):
        yield pytest.param(family, signature_algorithm_for(family), id=family)


@pytest.fixture(scope="module")
def keys() -> dict[str, Any]:
    """One key of each kind; RSA is slow to make."""
    return {family: make() for family, make in MAKERS.items()}


@pytest.fixture(autouse=True)
def _all_keys(desk: Desk) -> None:
    policies = desk.world.policies
    profiles = dict(policies.certificate_profiles)
    kinds = ("rsa:2048-4096", *(one for one in MAKERS if one != "rsa"))
    for name in ("device", "cmp-signer", "root-ca", "sub-ca"):
        profiles[name] = replace(profiles[name], keys=kinds)
    desk.world.policies = replace(policies, certificate_profiles=profiles)


class Signing(BySignature):
    """Signs with an algorithm of its own choice."""

    def __init__(
        self, certificate: bytes, key: Any, algorithm: AlgorithmIdentifier
    ) -> None:
        super().__init__(certificate, key)
        object.__setattr__(self, "chosen", algorithm)

    def bits(self, part: bytes) -> bytes:
        return signed(self.key, self.algorithm, part)

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        found: AlgorithmIdentifier = getattr(self, "chosen")  # noqa: B009
        return found


def signed(key: Any, algorithm: AlgorithmIdentifier, octets: bytes) -> bytes:
    """A signature; that of RSASSA-PSS with SHAKE is computed by hand."""
    name = SHAKE_PSS.get(algorithm.oid)
    if name is None:
        return sign(key, algorithm, octets)
    return shake_pss(key, name, octets, os.urandom(32 if name == "shake128" else 64))


def request_of(
    key: Any, algorithm: AlgorithmIdentifier, subject: str = "CN=device-1"
) -> CertReqMsg:
    """A request whose proof of possession is signed so."""
    template = CertTemplate(subject=Name.from_text(subject).der, spki=spki_of(key))
    request = CertRequest.build(0, template, ())
    bits = signed(key, algorithm, request.der)
    return CertReqMsg(request, POPOSigningKey(algorithm, bits))


def enrolled(desk: Desk, key: Any, algorithm: AlgorithmIdentifier) -> Signing:
    """The holder of a certificate, its possession proven by this algorithm."""
    body = cert_requests(request_of(key, algorithm))
    answer = refused(desk, sent(desk, body=body, general_info=(IMPLICIT,)))
    return Signing(answer.certificate, key, algorithm)


@pytest.mark.requirement("CMP-39", "CMP-82")
@pytest.mark.parametrize(("family", "algorithm"), list(algorithms()))
def test_every_algorithm_protects_messages_and_proves_possession(
    desk: Desk, keys: dict[str, Any], family: str, algorithm: AlgorithmIdentifier
) -> None:
    by = enrolled(desk, keys[family], algorithm)
    update = cert_requests(request_of(keys[family], algorithm))
    answer = refused(desk, sent(desk, BodyType.KUR, update, by))
    assert answer.body_type is BodyType.KUP
    body = cert_conf(certificate_hash(answer.certificate))
    done = refused(desk, followed(desk, answer, BodyType.CERT_CONF, body, by))
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-39")
@pytest.mark.parametrize(
    ("family", "other"),
    [
        ("rsa", oids.ECDSA_WITH_SHA256),
        ("ec:P-256", oids.ID_ED25519),
        ("ed25519", oids.ID_ED448),
        ("ml-dsa-65", oids.ID_ML_DSA_44),
        ("ml-dsa-65", oids.ID_ML_DSA_87),
    ],
)
def test_an_algorithm_of_another_key_is_badAlg(
    desk: Desk, keys: dict[str, Any], family: str, other: str
) -> None:
    by = enrolled(desk, keys[family], signature_algorithm_for(family))
    wrong = sent(desk, BodyType.CR, by=by, protection_alg=AlgorithmIdentifier(other))
    assert refused(desk, wrong).fail_info is FailInfo.BAD_ALG


@pytest.mark.requirement("CMP-40")
@pytest.mark.parametrize(
    "oid", [oids.ID_DSA_WITH_SHA1, oids.ID_DSA_WITH_SHA224, oids.ID_DSA_WITH_SHA256]
)
def test_DSA_is_not_taken(desk: Desk, keys: dict[str, Any], oid: str) -> None:
    by = enrolled(desk, keys["ec:P-256"], signature_algorithm_for("ec:P-256"))
    wrong = sent(desk, BodyType.CR, by=by, protection_alg=AlgorithmIdentifier(oid))
    assert refused(desk, wrong).fail_info is FailInfo.BAD_ALG


# --- post-quantum -------------------------------------------------------------------


def quantum_safe(desk: Desk, spec: str) -> None:
    """The alias's CA has an ML-DSA key, and so has what signs its messages."""
    engine = desk.world.engine
    for name, parent in (("pq-root", None), ("pq", "pq-root")):
        subject = Name.from_text(f"CN={name},O=pkid test")
        new = NewAuthority(name=name, subject=subject, key_spec=spec, parent=parent)
        result_of(engine.create_authority(new, CMP))
    result_of(engine.prepare_message_identity("pq", CMP))
    desk.world.change_alias(authority="pq")


def check_ml_dsa(answer: Answer) -> None:
    """Verify with cryptography alone: pure ML-DSA, empty context."""
    certificate = x509.load_der_x509_certificate(answer.message.extra_certs[0])
    key: Any = certificate.public_key()
    key.verify(answer.message.protection, answer.message.protected_part)
    algorithm = answer.header.protection_alg
    assert algorithm is not None
    assert algorithm.parameters is None


@pytest.mark.requirement("CMP-173", "CMP-175")
@pytest.mark.parametrize("spec", ["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"])
def test_a_whole_pair_is_ML_DSA_from_key_to_confirmation(
    desk: Desk, keys: dict[str, Any], spec: str
) -> None:
    quantum_safe(desk, spec)
    algorithm = signature_algorithm_for(spec)
    by = enrolled(desk, keys[spec], algorithm)
    issuer = x509.load_der_x509_certificate(desk.world.engine.chain("pq")[0])
    by.parsed.verify_directly_issued_by(issuer)
    key = MAKERS[spec]()
    update = cert_requests(request_of(key, algorithm))
    answer = refused(desk, sent(desk, BodyType.KUR, update, by))
    check_ml_dsa(answer)
    certificate = x509.load_der_x509_certificate(answer.certificate)
    assert certificate.signature_algorithm_oid.dotted_string == algorithm.oid
    certificate.verify_directly_issued_by(issuer)
    body = cert_conf(digest("sha512", answer.certificate))
    done = refused(desk, followed(desk, answer, BodyType.CERT_CONF, body, by))
    check_ml_dsa(done)
    assert done.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-175")
@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512", "sha3_256", "shake256"])
def test_certConf_names_its_digest_in_version_3(desk: Desk, name: str) -> None:
    quantum_safe(desk, "ml-dsa-44")
    answer = refused(desk, sent(desk, pvno=3))
    good = cert_conf(digest(name, answer.certificate), hash_alg=hash_algorithm(name))
    wrong = followed(desk, answer, BodyType.CERT_CONF, good)
    assert refused(desk, wrong).fail_info is FailInfo.BAD_REQUEST
    right = followed(desk, answer, BodyType.CERT_CONF, good, pvno=3)
    assert refused(desk, right).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-175")
def test_without_hashAlg_the_digest_is_SHA_512(desk: Desk) -> None:
    quantum_safe(desk, "ml-dsa-44")
    answer = refused(desk, sent(desk))
    other = cert_conf(digest("sha256", answer.certificate))
    wrong = followed(desk, answer, BodyType.CERT_CONF, other, by_mac())
    assert refused(desk, wrong).fail_info is FailInfo.BAD_CERT_ID


# --- whose key signs ----------------------------------------------------------------


@pytest.mark.requirement("CMP-46")
def test_the_authority_signs_answers_itself_where_that_is_asked_for(
    desk: Desk,
) -> None:
    own = refused(desk, sent(desk, protected=False))
    signer = own.check_signature()
    assert not is_ca(signer)
    usage = signer.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    desk.settings["signer"] = "authority"
    closed = desk.reply(sent(desk, protected=False).octets)
    assert closed.status == 503
    result_of(desk.world.engine.prepare_own_identity("issuing"))
    answer = refused(desk, sent(desk, protected=False))
    certificate = answer.check_signature()
    assert is_ca(certificate)
    chain = desk.world.engine.chain("issuing")
    assert answer.message.extra_certs == chain


@pytest.mark.requirement("CMP-46", "CMP-182")
@pytest.mark.parametrize("signs", [False, True])
def test_a_CA_without_digitalSignature_signs_and_the_operator_is_warned(
    desk: Desk, signs: bool
) -> None:
    if signs:
        policies = desk.world.policies
        profiles = dict(policies.certificate_profiles)
        usage = ("keyCertSign", "cRLSign", "digitalSignature")
        profiles["root-ca"] = replace(profiles["root-ca"], key_usage=usage)
        desk.world.policies = replace(policies, certificate_profiles=profiles)
    new = NewAuthority(name="lone", subject=Name.from_text("CN=lone"))
    result_of(desk.world.engine.create_authority(new, CMP))
    result_of(desk.world.engine.prepare_message_identity("lone", CMP))
    desk.world.change_alias(authority="lone")
    desk.settings["signer"] = "authority"
    alias = CMPAlias(alias=desk.world.alias, **desk.settings)
    house: Any = SimpleNamespace(engine=desk.world.engine)
    with capturedLogs() as events:
        result_of(prepare_cmp_keys(house, [alias]))
    warned = [event for event in events if event["log_level"] is LogLevel.warn]
    assert bool(warned) is not signs
    granted = refused(desk, sent(desk))
    assert granted.certificate
    rejected = refused(desk, sent(desk, protected=False))
    assert rejected.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert is_ca(rejected.check_signature())


def is_ca(certificate: x509.Certificate) -> bool:
    found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    return found.value.ca
