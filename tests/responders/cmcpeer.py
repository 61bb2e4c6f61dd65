"""The other side of CMC, to be bent at will: requests built, answers read by pyasn1."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1_alt_modules import rfc5652, rfc6402

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import IssuerAndSerialNumber, SubjectKeyIdentifier
from pkid.asn1.cms.signed import SignedData
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.algorithms import hash_algorithm, signature_algorithm_for
from pkid.crypto.certificates import Certificate
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.signatures import sign
from pkid.crypto.signeddata import draft_signed_data, verify_signed_data
from pkid.messages.cmc import Control
from pkid.messages.crmf import (
    CertReqMsg,
    CertRequest,
    CertTemplate,
    POPOSigningKey,
)
from pkid.responders.base import Reply
from tests.responders.estdesk import spki_of

HMAC_SHA256 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.NULL)
SHA256 = hash_algorithm("sha256")
CMC_REQUEST = {"content-type": "application/pkcs7-mime; smime-type=CMC-request"}


def tcr(part: int, request: bytes) -> bytes:
    return der.encode(der.constructed(0), der.integer(part), request)


def crm(
    part: int,
    key: Any,
    subject: str = "CN=device-1,O=pkid test",
    extensions: tuple[Extension, ...] = (),
    popo: Any = None,
) -> bytes:
    template = CertTemplate(
        subject=Name.from_text(subject).der, spki=spki_of(key), extensions=extensions
    )
    request = CertRequest.build(part, template)
    if popo is None:
        algorithm = signature_algorithm_for(key.public_key())
        popo = POPOSigningKey(algorithm, sign(key, algorithm, request.der))
    return der.implicit(1, CertReqMsg(request, popo).encode())


def control(part: int, oid: str, *values: bytes) -> Control:
    return Control(part, oid, values)


def octets_control(part: int, oid: str, octets: bytes) -> Control:
    return control(part, oid, der.octet_string(octets))


def pki_data(controls: tuple[Control, ...], requests: tuple[bytes, ...]) -> bytes:
    return der.sequence(
        der.sequence(*(one.encode() for one in controls)),
        der.sequence(*requests),
        der.sequence(),
        der.sequence(),
    )


def signed_request(
    content: bytes,
    key: Any = None,
    certificate: x509.Certificate | None = None,
    *,
    by_key_id: bool = False,
    content_type: str = oids.ID_CCT_PKI_DATA,
) -> bytes:
    """A full request: signed by a certificate, by a key alone, or by nobody."""
    if key is None:
        from pkid.asn1.cms.content import EncapsulatedContentInfo

        inner = EncapsulatedContentInfo(content_type, content)
        return SignedData(
            version=3, digest_algorithms=(), encapsulated=inner
        ).encode_content_info()
    sid: Any
    certificates: tuple[bytes, ...] = ()
    if by_key_id or certificate is None:
        sid = SubjectKeyIdentifier(decode_spki(spki_of(key)).key_id)
    else:
        octets = certificate.public_bytes(Encoding.DER)
        own = Certificate.decode(octets)
        sid = IssuerAndSerialNumber(own.issuer.der, own.serial)
        certificates = (octets,)
    algorithm = signature_algorithm_for(key.public_key())
    draft = draft_signed_data(
        content, content_type, sid, algorithm, certificates=certificates
    )
    signature = sign(key, algorithm, draft.to_be_signed)
    return draft.complete(signature).encode_content_info()


def identity_proof(
    part: int, requests: tuple[bytes, ...], secret: str, name: str
) -> tuple[Control, ...]:
    """Identification and IdentityProofV2 over the requests."""
    key = hashlib.sha256(secret.encode() + name.encode()).digest()
    witness = hmac.digest(key, der.sequence(*requests), "sha256")
    value = der.sequence(
        SHA256.encode(), HMAC_SHA256.encode(), der.octet_string(witness)
    )
    return (
        control(part, oids.ID_CMC_IDENTITY_PROOF_V2, value),
        control(part + 1, oids.ID_CMC_IDENTIFICATION, der.utf8_string(name)),
    )


@dataclass(frozen=True)
class Status:
    status: int
    parts: tuple[int, ...]
    text: str
    failure: int | None
    token: bytes | None


@dataclass(frozen=True)
class Response:
    """A full response whose signature was verified.

    :ivar controls: values by OID, but for statuses.
    """

    statuses: tuple[Status, ...]
    controls: dict[str, bytes]
    certificates: tuple[x509.Certificate, ...]
    crls: tuple[bytes, ...]

    @classmethod
    def read(cls, reply: Reply) -> Response:
        assert reply.content_type == (
            "application/pkcs7-mime; smime-type=CMC-response"
        ), (reply.status, reply.body)
        octets = base64.b64decode(reply.body)
        outer, rest = pyasn1_decode(octets, asn1Spec=rfc5652.ContentInfo())
        assert rest == b""
        assert outer["contentType"] == rfc5652.id_signedData
        signed = SignedData.decode_content_info(octets)
        (info,) = signed.signer_infos
        certificates = tuple(map(x509.load_der_x509_certificate, signed.certificates))
        (signer,) = [
            Certificate.decode(one)
            for one in signed.certificates
            if Certificate.decode(one).serial == info.sid.serial  # type: ignore[union-attr]
        ]
        content = verify_signed_data(signed, info, signer.public_key_info)
        response, rest = pyasn1_decode(content, asn1Spec=rfc6402.PKIResponse())
        assert rest == b""
        statuses, controls = [], {}
        for one in response["controlSequence"]:
            (value,) = one["attrValues"]
            if one["attrType"] == rfc6402.id_cmc_statusInfoV2:
                statuses.append(_status(bytes(value)))
            else:
                controls[str(one["attrType"])] = bytes(value)
        return cls(tuple(statuses), controls, certificates, signed.crls)

    def of(self, subject: str) -> x509.Certificate:
        (found,) = [
            one for one in self.certificates if one.subject.rfc4514_string() == subject
        ]
        return found


def _status(octets: bytes) -> Status:
    found, rest = pyasn1_decode(octets, asn1Spec=rfc6402.CMCStatusInfoV2())
    assert rest == b""
    other = found["otherInfo"]
    failure = token = None
    if other.isValue and other.getName() == "failInfo":
        failure = int(other["failInfo"])
    elif other.isValue:
        token = bytes(other["pendInfo"]["pendToken"])
    return Status(
        status=int(found["cMCStatus"]),
        parts=tuple(int(one["bodyPartID"]) for one in found["bodyList"]),
        text=str(found["statusString"]) if found["statusString"].isValue else "",
        failure=failure,
        token=token,
    )
