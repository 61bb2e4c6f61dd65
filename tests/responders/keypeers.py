"""Clients that protect messages with Diffie-Hellman and KEM keys.

What they compute comes from ``cryptography`` and pyasn1, not from what is under test.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pyasn1.codec.der.encoder import encode
from pyasn1.type import char, namedtype, tag, univ

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_algorithm
from pkid.engine.creation import ServiceCertificate
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.peers import Answer, new_key

HMAC_SHA256 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
HMAC_SHA384 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA384)
HKDF_SHA256 = AlgorithmIdentifier(oids.ID_ALG_HKDF_WITH_SHA256)
HKDF_SHA512 = AlgorithmIdentifier(oids.ID_ALG_HKDF_WITH_SHA512)
DIGESTS = {oids.ID_HMAC_WITH_SHA256: "sha256", oids.ID_HMAC_WITH_SHA384: "sha384"}
KDFS = {
    oids.ID_ALG_HKDF_WITH_SHA256: hashes.SHA256(),
    oids.ID_ALG_HKDF_WITH_SHA512: hashes.SHA512(),
}


class KemOtherInfo(univ.Sequence):
    """RFC 9810 section 5.1.3.4, explicit tags."""

    componentType = namedtype.NamedTypes(  # noqa: N815  pyasn1's name
        namedtype.NamedType(
            "staticString", univ.SequenceOf(componentType=char.UTF8String())
        ),
        namedtype.NamedType("transactionID", univ.OctetString()),
        namedtype.OptionalNamedType(
            "kemContext",
            univ.OctetString().subtype(
                explicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 0)
            ),
        ),
    )


def other_info(transaction_id: bytes, context: bytes | None = None) -> bytes:
    info = KemOtherInfo()
    info["staticString"].append("CMP-KEM")
    info["transactionID"] = transaction_id
    if context is not None:
        info["kemContext"] = context
    octets: bytes = encode(info)
    return octets


@dataclass(frozen=True)
class _Holder:
    certificate: bytes

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def sender(self) -> GeneralName:
        return GeneralName.directory(Name(self.parsed.subject.public_bytes()))

    @property
    def sender_kid(self) -> bytes:
        found = self.parsed.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        )
        return found.value.digest

    @property
    def extra_certs(self) -> tuple[bytes, ...]:
        return (self.certificate,)


@dataclass(frozen=True)
class ByDH(_Holder):
    """A key agreement key, and the certificate of the CA's."""

    key: ec.EllipticCurvePrivateKey
    peer: bytes
    owf: str = "sha256"
    mac: AlgorithmIdentifier = HMAC_SHA256

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        parameters = der.sequence(hash_algorithm(self.owf).encode(), self.mac.encode())
        return AlgorithmIdentifier(oids.ID_DH_BASED_MAC, parameters)

    @property
    def base_key(self) -> bytes:
        public: Any = x509.load_der_x509_certificate(self.peer).public_key()
        return hashlib.new(self.owf, self.key.exchange(ec.ECDH(), public)).digest()

    def bits(self, part: bytes) -> bytes:
        return hmac.digest(self.base_key, part, DIGESTS[self.mac.oid])


@dataclass(frozen=True)
class ByKEM(_Holder):
    """A KEM key and the secret that the CA encapsulated to it."""

    secret: bytes = field(repr=False)
    transaction_id: bytes
    kdf: AlgorithmIdentifier = HKDF_SHA256
    mac: AlgorithmIdentifier = HMAC_SHA256
    context: bytes | None = None

    @property
    def length(self) -> int:
        return hashlib.new(DIGESTS[self.mac.oid]).digest_size

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        return kem_algorithm(self.kdf, self.length, self.mac, self.context)

    def bits(self, part: bytes) -> bytes:
        info = other_info(self.transaction_id, self.context)
        key = HKDF(KDFS[self.kdf.oid], self.length, None, info).derive(self.secret)
        return hmac.digest(key, part, DIGESTS[self.mac.oid])


def kem_algorithm(
    kdf: AlgorithmIdentifier,
    length: int,
    mac: AlgorithmIdentifier,
    context: bytes | None = None,
) -> AlgorithmIdentifier:
    given = b"" if context is None else der.explicit(0, der.octet_string(context))
    parameters = der.sequence(kdf.encode(), given, der.integer(length), mac.encode())
    return AlgorithmIdentifier(oids.ID_KEM_BASED_MAC, parameters)


def limit_usage(desk: Desk, *usage: str) -> None:
    """Certificates of devices have these usages from now on."""
    policies = desk.world.policies
    profiles = dict(policies.certificate_profiles)
    profiles["device"] = replace(profiles["device"], key_usage=usage)
    desk.world.policies = replace(policies, certificate_profiles=profiles)


def dh_holder(desk: Desk, subject: str = "CN=dh", **changes: Any) -> ByDH:
    """Someone with a certificate for key agreement; the alias takes such."""
    engine = desk.world.engine
    identity = result_of(engine.prepare_agreement_identity("issuing", CMP))
    desk.settings["agreement"] = True
    before = desk.world.policies
    limit_usage(desk, "keyAgreement")
    key = new_key()
    answer = desk.enroll(key=key, subject=subject, implicit=True)
    desk.world.policies = before
    values: dict[str, Any] = {
        "certificate": answer.certificate,
        "key": key,
        "peer": identity.certificate,
    }
    return ByDH(**(values | changes))


def kem_certificate(desk: Desk, spec: str = "ml-kem-768") -> tuple[bytes, Any]:
    """A client's KEM certificate and the handle of its key."""
    wanted = ServiceCertificate(
        name="kem-client",
        authority="issuing",
        profile="cmp-kem",
        subject=Name.from_text("CN=kem client,O=pkid test"),
        key_spec=spec,
        purpose="decapsulation",
    )
    engine = desk.world.engine
    issued = result_of(engine.issue_service_certificate(wanted, CMP))
    handle = result_of(desk.world.keys.decapsulation("service-kem-client"))
    return issued.certificate, handle


def check_kem_answer(answer: Answer, secret: bytes, transaction_id: bytes) -> None:
    """Verify an answer that the CA's KEM key protects."""
    algorithm = answer.header.protection_alg
    assert algorithm == kem_algorithm(HKDF_SHA256, 32, HMAC_SHA256)
    info = other_info(transaction_id)
    key = HKDF(hashes.SHA256(), 32, None, info).derive(secret)
    expected = hmac.digest(key, answer.message.protected_part, "sha256")
    assert answer.message.protection == expected
    certificate = x509.load_der_x509_certificate(answer.message.extra_certs[0])
    assert answer.header.sender.value == certificate.subject.public_bytes()
    identifier = certificate.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier
    )
    assert answer.header.sender_kid == identifier.value.digest
