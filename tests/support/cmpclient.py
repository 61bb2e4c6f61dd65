"""The client's side of CMP, made of our own codecs: cheap enough for ten thousands.

What OpenSSL's client sends by default is the model: PasswordBasedMac with SHA-256,
500 iterations and HMAC-SHA1, a fresh 16-octet salt, a NULL-DN as sender.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.algorithms import (
    digest,
    digest_for_certificate_hash,
    hash_algorithm,
    signature_algorithm_for,
)
from pkid.crypto.mac import (
    PBMParameters,
    decode_mac_parameters,
    derive_mac_key,
    encode_mac_parameters,
    is_mac_algorithm,
)
from pkid.crypto.signatures import SignedStructure, sign, verify_signature
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
from pkid.messages.cmp.revocation import RevDetails, RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    CertId,
    CertReqMsg,
    CertRequest,
    CertTemplate,
    POPOSigningKey,
)

NOBODY = GeneralName.directory(Name.build(()))
SHA256 = hash_algorithm("sha256")
HMAC_SHA1 = AlgorithmIdentifier(oids.HMAC_SHA1, der.NULL)
IMPLICIT_CONFIRM = InfoTypeAndValue(oids.ID_IT_IMPLICIT_CONFIRM, der.NULL)


class ClientCredential(Protocol):
    """What a client protects its messages with."""

    sender: GeneralName
    sender_kid: bytes

    def protect(
        self, seal: Callable[[AlgorithmIdentifier], tuple[bytes, bytes]]
    ) -> bytes:
        """Give the whole message; ``seal`` gives header and body for an algorithm."""
        ...

    def verify(self, message: PKIMessage) -> None:
        """Check the protection of an answer."""
        ...


@dataclass(frozen=True, slots=True)
class MacCredential:
    """A reference and a secret.

    :ivar salt: None for a fresh one in each message.
    """

    reference: bytes
    secret: bytes
    iterations: int = 500
    owf: AlgorithmIdentifier = SHA256
    mac: AlgorithmIdentifier = HMAC_SHA1
    sender: GeneralName = NOBODY
    salt: bytes | None = None

    @property
    def sender_kid(self) -> bytes:
        return self.reference

    def protect(
        self, seal: Callable[[AlgorithmIdentifier], tuple[bytes, bytes]]
    ) -> bytes:
        salt = self.salt or os.urandom(16)
        parameters = PBMParameters(salt, self.owf, self.iterations, self.mac)
        header, body = seal(encode_mac_parameters(parameters))
        key = derive_mac_key(parameters, self.secret)
        mac = key.compute(protected_part(header, body))
        return encode_message(header, body, protection=mac)

    def verify(self, message: PKIMessage) -> None:
        algorithm = message.header.protection_alg
        assert algorithm is not None
        assert is_mac_algorithm(algorithm)
        assert message.protection is not None
        key = derive_mac_key(decode_mac_parameters(algorithm), self.secret)
        key.verify(message.protected_part, message.protection)


@dataclass(frozen=True, slots=True)
class SignatureCredential:
    """A certificate, its key and its chain.

    :ivar signers: SHA-256 fingerprints of certificates that may sign answers; empty
        for whichever stands first in extraCerts.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    chain: tuple[bytes, ...] = ()
    signers: frozenset[bytes] = frozenset()

    @property
    def sender(self) -> GeneralName:
        name = self.certificate.subject.public_bytes()
        return GeneralName.directory(Name.decode(name))

    @property
    def sender_kid(self) -> bytes:
        found = self.certificate.extensions.get_extension_for_class(
            x509.SubjectKeyIdentifier
        )
        return found.value.digest

    def protect(
        self, seal: Callable[[AlgorithmIdentifier], tuple[bytes, bytes]]
    ) -> bytes:
        algorithm = signature_algorithm_for(self.key.public_key())
        header, body = seal(algorithm)
        return encode_message(
            header,
            body,
            protection=sign(self.key, algorithm, protected_part(header, body)),
            extra_certs=(self.certificate.public_bytes(Encoding.DER), *self.chain),
        )

    def verify(self, message: PKIMessage) -> None:
        algorithm = message.header.protection_alg
        assert algorithm is not None
        assert message.protection is not None
        signer = message.extra_certs[0]
        if self.signers:
            assert hashlib.sha256(signer).digest() in self.signers
        public = x509.load_der_x509_certificate(signer).public_key()
        verify_signature(public, algorithm, message.protection, message.protected_part)


@dataclass(frozen=True, slots=True)
class Request:
    """A message that is ready to be sent."""

    octets: bytes
    transaction_id: bytes
    sender_nonce: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, taken apart.

    :ivar status: of the first response or status; None where the body has none.
    :ivar certificate: the first that came.
    """

    message: PKIMessage
    content: Body
    status: PKIStatusInfo | None
    certificate: bytes | None

    @property
    def body_type(self) -> BodyType | None:
        return self.message.body_type

    @property
    def implicitly_confirmed(self) -> bool:
        oid = oids.ID_IT_IMPLICIT_CONFIRM
        return self.message.header.find_info(oid) is not None

    @property
    def fail_info(self) -> frozenset[FailInfo]:
        return frozenset() if self.status is None else self.status.fail_info

    @property
    def granted(self) -> bool:
        accepted = {PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS}
        return self.status is not None and self.status.status in accepted


def decode_answer(octets: bytes) -> Answer:
    """Take an answer apart.

    :raises PKIError: when it does not decode.
    """
    message = PKIMessage.decode(octets)
    content = decode_body(message)
    status: PKIStatusInfo | None = None
    certificate: bytes | None = None
    if isinstance(content, CertRepMessage):
        status = content.responses[0].status
        pairs = [response.certified_key_pair for response in content.responses]
        found = [pair.certificate for pair in pairs if pair is not None]
        certificate = found[0] if found else None
    elif isinstance(content, ErrorMsgContent):
        status = content.status_info
    elif message.body_type is BodyType.RP:
        status = content.statuses[0]  # type: ignore[union-attr] # rp has them
    return Answer(message, content, status, certificate)


_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Client:
    """Makes messages of one requester.

    :ivar key: certified by every request that does not bring its own.
    """

    credential: ClientCredential
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def enrol(
        self,
        subject: str = "",
        *,
        body_type: BodyType = BodyType.IR,
        implicit_confirm: bool = True,
        key: ec.EllipticCurvePrivateKey | None = None,
        controls: tuple[AttributeTypeAndValue, ...] = (),
        transaction_id: bytes = b"",
    ) -> Request:
        """An ir, cr or kur.

        :param subject: as text; empty for a name of its own.
        """
        key = key or self.key
        request = CertRequest.build(
            0,
            CertTemplate(
                subject=Name.from_text(subject or _next_subject()).der,
                spki=_spki(key),
            ),
            controls,
        )
        algorithm = signature_algorithm_for(key.public_key())
        popo = POPOSigningKey(algorithm, sign(key, algorithm, request.der))
        return self.send(
            body_type,
            CertReqMessages((CertReqMsg(request, popo),)),
            info=(IMPLICIT_CONFIRM,) if implicit_confirm else (),
            transaction_id=transaction_id,
        )

    def renew(
        self, certificate: bytes, key: ec.EllipticCurvePrivateKey, **options: bool
    ) -> Request:
        """A kur for a certificate, with ``oldCertID``."""
        old = x509.load_der_x509_certificate(certificate)
        control = AttributeTypeAndValue(
            oids.ID_REG_CTRL_OLD_CERT_ID, _cert_id(old).encode()
        )
        subject = Name.decode(old.subject.public_bytes()).text()
        return self.enrol(
            subject, body_type=BodyType.KUR, key=key, controls=(control,), **options
        )

    def revoke(self, certificate: bytes, reason: int | None = None) -> Request:
        """An rr; ``reason`` is the number of the CRLReason."""
        old = x509.load_der_x509_certificate(certificate)
        template = CertTemplate(
            issuer=old.issuer.public_bytes(), serial_number=old.serial_number
        )
        details: tuple[Extension, ...] = ()
        if reason is not None:
            value = der.encode(0x0A, bytes((reason,)))
            details = (Extension(oids.ID_CE_CRL_REASONS, critical=False, value=value),)
        return self.send(BodyType.RR, RevReqContent((RevDetails(template, details),)))

    def ask(self, *info_types: str) -> Request:
        """A genm."""
        values = tuple(InfoTypeAndValue(oid) for oid in info_types)
        return self.send(BodyType.GENM, GenMsgContent(values))

    def confirm(
        self, answer: Answer, *, accept: bool = True, cert_req_id: int = 0
    ) -> Request:
        """A certConf for what came."""
        assert answer.certificate is not None
        hash_ = certificate_hash(answer.certificate)
        state = PKIStatus.ACCEPTED if accept else PKIStatus.REJECTION
        status = CertStatus(hash_, cert_req_id, PKIStatusInfo(state))
        return self.follow(answer, BodyType.CERT_CONF, CertConfirmContent((status,)))

    def poll(self, answer: Answer, cert_req_id: int = 0) -> Request:
        """A pollReq."""
        content = PollReqContent((cert_req_id,))
        return self.follow(answer, BodyType.POLL_REQ, content)

    def follow(self, answer: Answer, body_type: BodyType, content: Body) -> Request:
        """The next message of a transaction."""
        header = answer.message.header
        assert header.transaction_id is not None
        return self.send(
            body_type,
            content,
            transaction_id=header.transaction_id,
            recip_nonce=header.sender_nonce,
        )

    def send(
        self,
        body_type: BodyType,
        content: Body,
        *,
        info: tuple[InfoTypeAndValue, ...] = (),
        transaction_id: bytes = b"",
        recip_nonce: bytes | None = None,
        pvno: int = 2,
    ) -> Request:
        """Any message, protected."""
        transaction_id = transaction_id or os.urandom(16)
        nonce = os.urandom(16)
        body = encode_body(body_type, content)

        def seal(algorithm: AlgorithmIdentifier) -> tuple[bytes, bytes]:
            header = PKIHeader(
                pvno=pvno,
                sender=self.credential.sender,
                recipient=NOBODY,
                message_time=datetime.datetime.now(datetime.UTC),
                protection_alg=algorithm,
                sender_kid=self.credential.sender_kid,
                transaction_id=transaction_id,
                sender_nonce=nonce,
                recip_nonce=recip_nonce,
                general_info=info,
            )
            return header.encode(), body

        return Request(self.credential.protect(seal), transaction_id, nonce)

    def read(self, octets: bytes, request: Request) -> Answer:
        """Take an answer apart, its protection and its nonces checked."""
        answer = decode_answer(octets)
        header = answer.message.header
        assert header.transaction_id == request.transaction_id
        assert header.recip_nonce == request.sender_nonce
        assert answer.message.protection is not None
        self.credential.verify(answer.message)
        return answer


def certificate_hash(certificate: bytes) -> bytes:
    """``certHash`` of a certificate, whole."""
    algorithm = SignedStructure.decode(certificate).algorithm
    return digest(digest_for_certificate_hash(algorithm), certificate)


def _next_subject() -> str:
    return f"CN=unit-{next(_numbers)}-{os.urandom(4).hex()}"


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def _cert_id(certificate: x509.Certificate) -> CertId:
    issuer = GeneralName.directory(Name.decode(certificate.issuer.public_bytes()))
    return CertId(issuer, certificate.serial_number)
