"""The other side of CMP, to be bent at will: credentials, messages, answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1.codec.der.encoder import encode as pyasn1_encode
from pyasn1_alt_modules import rfc9810

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.algorithms import hash_algorithm, signature_algorithm_for
from pkid.crypto.mac import (
    MacParameters,
    PBMParameters,
    decode_mac_parameters,
    derive_mac_key,
    encode_mac_parameters,
)
from pkid.crypto.signatures import sign, verify_signature
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertReqMessages,
    CertStatus,
    ErrorMsgContent,
    GenMsgContent,
    PollReqContent,
    encode_body,
)
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.message import (
    PKIMessage,
    decode_body,
    encode_message,
    protected_part,
)
from pkid.messages.cmp.revocation import RevDetails, RevRepContent, RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    CertReqMsg,
    CertRequest,
    CertTemplate,
    POPOSigningKey,
    ProofOfPossession,
)
from tests.responders.cmpmodule import PKIMessage as PKIMessageSpec

NOBODY = GeneralName.directory(Name.build(()))
HMAC_SHA1 = AlgorithmIdentifier(oids.HMAC_SHA1, der.NULL)
IMPLICIT = InfoTypeAndValue(oids.ID_IT_IMPLICIT_CONFIRM, der.NULL)
SECRET = b"insecure-test-value"


def pbm(iterations: int = 500, salt: bytes = b"") -> MacParameters:
    """What OpenSSL 3.0 sends: SHA-256, 500 iterations, HMAC-SHA1."""
    return PBMParameters(
        salt or os.urandom(16), hash_algorithm("sha256"), iterations, HMAC_SHA1
    )


@dataclass(frozen=True)
class ByMAC:
    """A reference value and a secret."""

    reference: bytes = b"ref"
    secret: bytes = SECRET
    parameters: MacParameters = field(default_factory=pbm)
    sender: GeneralName = NOBODY

    @property
    def sender_kid(self) -> bytes:
        return self.reference

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        return encode_mac_parameters(self.parameters)

    @property
    def extra_certs(self) -> tuple[bytes, ...]:
        return ()

    def bits(self, part: bytes) -> bytes:
        return derive_mac_key(self.parameters, self.secret).compute(part)


@dataclass(frozen=True)
class BySignature:
    """A certificate and its key."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey
    chain: tuple[bytes, ...] = ()
    others_first: bool = False

    @property
    def parsed(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate)

    @property
    def sender(self) -> GeneralName:
        return GeneralName.directory(Name(self.parsed.subject.public_bytes()))

    @property
    def sender_kid(self) -> bytes | None:
        try:
            found = self.parsed.extensions.get_extension_for_class(
                x509.SubjectKeyIdentifier
            )
        except x509.ExtensionNotFound:
            return None
        return found.value.digest

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        return signature_algorithm_for(self.key.public_key())

    @property
    def extra_certs(self) -> tuple[bytes, ...]:
        ordered = (self.certificate, *self.chain)
        return ordered[::-1] if self.others_first else ordered

    def bits(self, part: bytes) -> bytes:
        return sign(self.key, self.algorithm, part)


By = ByMAC | BySignature


def spki_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def foreign_certificate(
    key: ec.EllipticCurvePrivateKey,
    subject: str = "unit",
    *,
    serial: str = "0001",
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    ca: bool = False,
    key_id: bool = True,
    at: datetime,
) -> bytes:
    """A certificate that this PKI has not issued."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, subject),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, serial),
        ]
    )
    above, signer = issuer or (None, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if above is None else above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if key_id:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass(frozen=True)
class Sent:
    """A message ready to leave."""

    octets: bytes
    by: By
    transaction_id: bytes | None
    sender_nonce: bytes | None


def message(
    body_type: BodyType | int,
    body: Body | bytes,
    by: By,
    *,
    protected: bool = True,
    wrong_bits: bool = False,
    extra_certs: tuple[bytes, ...] | None = None,
    **header: Any,
) -> Sent:
    """Any message; ``header`` overrides fields of its header."""
    fields: dict[str, Any] = {
        "pvno": 2,
        "sender": by.sender,
        "recipient": NOBODY,
        "protection_alg": by.algorithm if protected else None,
        "sender_kid": by.sender_kid,
        "transaction_id": os.urandom(16),
        "sender_nonce": os.urandom(16),
    }
    fields.update(header)
    encoded = PKIHeader(**fields).encode()
    if isinstance(body, bytes):
        content = der.explicit(int(body_type), body)
    else:
        content = encode_body(BodyType(body_type), body)
    bits = by.bits(protected_part(encoded, content)) if protected else None
    if bits is not None and wrong_bits:
        bits = bytes((bits[0] ^ 1,)) + bits[1:]
    certificates = by.extra_certs if extra_certs is None else extra_certs
    octets = encode_message(encoded, content, protection=bits, extra_certs=certificates)
    return Sent(octets, by, fields["transaction_id"], fields["sender_nonce"])


# --- bodies -------------------------------------------------------------------


def signed_request(
    key: ec.EllipticCurvePrivateKey,
    subject: str | None = "CN=device-1,O=pkid test",
    *,
    cert_req_id: int = 0,
    extensions: tuple[Extension, ...] = (),
    controls: tuple[AttributeTypeAndValue, ...] = (),
    popo: ProofOfPossession | str | None = "signature",
    **template: Any,
) -> CertReqMsg:
    """One CertReqMsg; ``template`` overrides fields of the template."""
    fields: dict[str, Any] = {
        "subject": None if subject is None else Name.from_text(subject).der,
        "spki": spki_of(key),
        "extensions": extensions,
    }
    fields.update(template)
    request = CertRequest.build(cert_req_id, CertTemplate(**fields), controls)
    proof = popo
    if popo == "signature":
        algorithm = signature_algorithm_for(key.public_key())
        proof = POPOSigningKey(algorithm, sign(key, algorithm, request.der))
    assert not isinstance(proof, str)
    return CertReqMsg(request, proof)


def cert_requests(*messages: CertReqMsg) -> CertReqMessages:
    return CertReqMessages(messages)


def cert_conf(
    cert_hash: bytes,
    cert_req_id: int = 0,
    status: PKIStatusInfo | None = None,
    hash_alg: AlgorithmIdentifier | None = None,
) -> CertConfirmContent:
    return CertConfirmContent((CertStatus(cert_hash, cert_req_id, status, hash_alg),))


def revocation_of(
    certificate: bytes, *extensions: Extension, **template: Any
) -> RevReqContent:
    """An rr for one certificate; ``template`` overrides fields."""
    parsed = x509.load_der_x509_certificate(certificate)
    fields: dict[str, Any] = {
        "issuer": parsed.issuer.public_bytes(),
        "serial_number": parsed.serial_number,
    }
    fields.update(template)
    return RevReqContent((RevDetails(CertTemplate(**fields), extensions),))


def reason_code(number: int) -> Extension:
    value = der.encode(der.ENUMERATED, bytes((number,)))
    return Extension(oids.ID_CE_CRL_REASONS, critical=False, value=value)


def asking(*info_types: str) -> GenMsgContent:
    return GenMsgContent(tuple(InfoTypeAndValue(oid) for oid in info_types))


def polling(cert_req_id: int = 0) -> PollReqContent:
    return PollReqContent((cert_req_id,))


# --- answers ------------------------------------------------------------------


@lru_cache(maxsize=64)
def oracle_of(octets: bytes) -> rfc9810.PKIMessage:
    """A message as pyasn1 reads it, which it must write again to the same octets."""
    oracle, rest = pyasn1_decode(octets, asn1Spec=PKIMessageSpec())
    assert not rest
    assert pyasn1_encode(oracle) == octets
    return oracle


@dataclass(frozen=True)
class Answer:
    """An answer, read by our codec and by pyasn1."""

    octets: bytes
    message: PKIMessage
    body: Body
    oracle: rfc9810.PKIMessage

    @classmethod
    def read(cls, octets: bytes) -> Answer:
        message = PKIMessage.decode(octets)
        oracle, rest = pyasn1_decode(octets, asn1Spec=PKIMessageSpec())
        assert not rest
        return cls(octets, message, decode_body(message), oracle)

    @property
    def body_type(self) -> BodyType | None:
        return self.message.body_type

    @property
    def header(self) -> PKIHeader:
        return self.message.header

    @property
    def status(self) -> PKIStatusInfo:
        """The one status of this answer."""
        body = self.body
        if isinstance(body, ErrorMsgContent):
            return body.status_info
        if isinstance(body, CertRepMessage):
            (response,) = body.responses
            return response.status
        assert isinstance(body, RevRepContent)
        (status,) = body.statuses
        return status

    @property
    def certificate(self) -> bytes:
        assert isinstance(self.body, CertRepMessage)
        pair = self.body.responses[0].certified_key_pair
        assert pair is not None
        assert pair.certificate is not None
        return pair.certificate

    @property
    def fail_info(self) -> FailInfo:
        """The one bit, as pyasn1 sees it too."""
        status = self.status
        assert status.status is PKIStatus.REJECTION
        assert status.strings
        assert all(text.isascii() for text in status.strings)
        (bit,) = status.fail_info
        assert self._oracle_bits() == [int(bit)]
        return bit

    def _oracle_bits(self) -> list[int]:
        name = self.oracle["body"].getName()
        content = self.oracle["body"][name]
        if name == "error":
            info = content["pKIStatusInfo"]["failInfo"]
        elif name == "rp":
            info = content["status"][0]["failInfo"]
        else:
            info = content["response"][0]["status"]["failInfo"]
        bits = list(info)
        # A BIT STRING with named bits ends with a one (X.690 section 11.2.2).
        assert bits[-1] == 1
        return [number for number, bit in enumerate(bits) if bit]

    def has_info(self, oid: str) -> bool:
        return self.header.find_info(oid) is not None

    def check_mac(self, secret: bytes = SECRET) -> None:
        algorithm = self.header.protection_alg
        assert algorithm is not None
        assert self.message.protection is not None
        key = derive_mac_key(decode_mac_parameters(algorithm), secret)
        key.verify(self.message.protected_part, self.message.protection)

    def check_signature(self) -> x509.Certificate:
        """Check it with the first of extraCerts, which must be the sender's."""
        signer = x509.load_der_x509_certificate(self.message.extra_certs[0])
        assert self.header.sender.value == signer.subject.public_bytes()
        identifier = signer.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        )
        assert self.header.sender_kid == identifier.value.digest
        assert self.header.protection_alg is not None
        assert self.message.protection is not None
        key = signer.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        verify_signature(
            key,
            self.header.protection_alg,
            self.message.protection,
            self.message.protected_part,
        )
        return signer

    @property
    def is_signed(self) -> bool:
        algorithm = self.header.protection_alg
        return algorithm is not None and algorithm.oid.startswith("1.2.840.10045.4")


def follow(
    answer: Answer,
    body_type: BodyType,
    body: Body,
    by: By,
    **header: Any,
) -> Sent:
    """The next message of a transaction."""
    fields: dict[str, Any] = {
        "transaction_id": answer.header.transaction_id,
        "recip_nonce": answer.header.sender_nonce,
    }
    fields.update(header)
    return message(body_type, body, by, **fields)


def other_mac(by: ByMAC, **changes: Any) -> ByMAC:
    return replace(by, **changes)
