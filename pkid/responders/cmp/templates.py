"""From CRMF and PKCS #10 to what the engine is asked, with proof of possession.

Checks of form only; what may be had is the engine's business.

**Source:** RFC 4211 sections 4 to 6; RFC 9810 sections 5.2.1, 5.2.8 and 5.3.4;
RFC 2986.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.names import GeneralName, Name
from pkid.crypto.possession import (
    PublicKeyMAC,
    SignedPossession,
    check_signing_key_input,
    verify_public_key_mac,
)
from pkid.engine.model import (
    ProofOfPossession,
    RequestedCertificate,
    RequesterKind,
    VouchedPossession,
    make_requested_certificate,
)
from pkid.errors import ErrorCode, PKIError
from pkid.messages.crmf import (
    CertReqMsg,
    CertTemplate,
    POPOPrivKey,
    POPOSigningKey,
    POPOSigningKeyInput,
    RAVerified,
)
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import Request

X509_V3: Final = 2
P10CR_REQ_ID: Final = -1

# Controls that change what the client may rely on: not to be passed over in silence.
_REFUSED_CONTROLS: Final = {
    oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS: "pkiArchiveOptions",
    oids.ID_REG_CTRL_ALT_CERT_TEMPLATE: "altCertTemplate",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One certificate asked for.

    :ivar cert_req_id: echoed in the answer; -1 for a p10cr.
    """

    cert_req_id: int
    certificate: RequestedCertificate
    possession: ProofOfPossession


def wanted_by_crmf(message: CertReqMsg, request: Request, issuer: Name) -> Wanted:
    """Read one ``CertReqMsg``.

    :param issuer: subject of the authority that would issue.
    :raises PKIError: ``BAD_TEMPLATE``, ``BAD_POSSESSION``, ``NOT_AUTHORIZED`` (an end
        entity used raVerified), ``BAD_REQUEST`` (a control that is not supported).
    """
    cert_req = message.cert_req
    template = cert_req.cert_template
    _check_template(template, (issuer, *_signers_issuer(request)))
    for control in cert_req.controls:
        name = _REFUSED_CONTROLS.get(control.oid)
        if name is not None:
            raise PKIError(
                ErrorCode.BAD_REQUEST, f"the control {name} is not supported here yet"
            )
    if any(info.oid == oids.ID_REG_INFO_CERT_REQ for info in message.reg_info):
        # To pass over it would certify what the registration authority replaced.
        raise PKIError(
            ErrorCode.BAD_REQUEST, "certReq in regInfo is not supported here yet"
        )
    spki, possession = _proof(message, request)
    validity = template.validity
    return Wanted(
        cert_req.cert_req_id,
        make_requested_certificate(
            subject=_name(template.subject),
            public_key=spki,
            extensions=template.extensions,
            not_before=None if validity is None else validity.not_before,
            not_after=None if validity is None else validity.not_after,
        ),
        possession,
    )


def wanted_by_pkcs10(csr: CertificationRequest) -> Wanted:
    """Read a p10cr; its self-signature is the proof.

    :raises PKIError: ``BAD_TEMPLATE``.

    **Source:** RFC 2986 section 4; RFC 9483 section 4.1.4.
    """
    if csr.version != 0:
        raise PKIError(ErrorCode.BAD_TEMPLATE, "the version of a PKCS #10 request is 0")
    try:
        subject = Name.decode(csr.subject)
        extensions = csr.extension_request
    except PKIError as error:
        raise PKIError(ErrorCode.BAD_TEMPLATE, error.detail) from error
    return Wanted(
        P10CR_REQ_ID,
        RequestedCertificate(
            subject=subject, public_key=csr.spki, extensions=extensions
        ),
        SignedPossession(csr.request_info, csr.signature, csr.signature_algorithm),
    )


def _signers_issuer(request: Request) -> tuple[Name, ...]:
    """Issuer of the certificate that protects the request.

    OpenSSL's client puts it into the template when it is told of no other, so a device
    with a vendor's certificate asks for one of its vendor; that is no wish to refuse.
    """
    octets = request.proven.requester.certificate_der
    return () if octets is None else (read_certificate(octets).issuer,)


def _check_template(template: CertTemplate, issuers: tuple[Name, ...]) -> None:
    if template.version is not None and template.version != X509_V3:
        raise PKIError(ErrorCode.BAD_TEMPLATE, "version in certTemplate must be v3 (2)")
    asked = _name(template.issuer)
    if asked is None or asked.is_empty:
        return
    if not any(map(asked.matches, issuers)):
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "issuer in certTemplate is not the authority that issues here",
        )


def _name(element: bytes | None) -> Name | None:
    if element is None:
        return None
    try:
        return Name.decode(element)
    except PKIError as error:
        raise PKIError(ErrorCode.BAD_TEMPLATE, error.detail) from error


# --- proof of possession ------------------------------------------------------


def _proof(message: CertReqMsg, request: Request) -> tuple[bytes, ProofOfPossession]:
    """The key to certify, and what shows that the client holds its private half."""
    template = message.cert_req.cert_template
    popo = message.popo
    if isinstance(popo, POPOSigningKey):
        return _signed_proof(message, popo, request)
    if template.spki is None:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "publicKey is missing: central key generation is not supported here yet",
        )
    if isinstance(popo, RAVerified):
        return template.spki, _vouched(request)
    if isinstance(popo, POPOPrivKey):
        raise PKIError(
            ErrorCode.BAD_POSSESSION,
            "this method of proof of possession is not supported here yet",
        )
    raise PKIError(ErrorCode.BAD_POSSESSION, "proof of possession is missing")


def _vouched(request: Request) -> VouchedPossession:
    requester = request.requester
    if requester.kind is not RequesterKind.REGISTRATION_AUTHORITY:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED, "raVerified is for registration authorities only"
        )
    if not request.alias.raverified:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "raVerified is not accepted here",
            hint=f"raverified of alias {request.alias.name}",
        )
    return VouchedPossession(requester.identity)


def _signed_proof(
    message: CertReqMsg, popo: POPOSigningKey, request: Request
) -> tuple[bytes, SignedPossession]:
    template = message.cert_req.cert_template
    signed = popo.poposk_input
    if signed is None:
        if template.spki is None:
            raise PKIError(
                ErrorCode.BAD_POSSESSION,
                "without publicKey in certTemplate poposkInput is required",
            )
        octets = message.cert_req.der
        return template.spki, SignedPossession(octets, popo.signature, popo.algorithm)
    if template.subject is not None and template.spki is not None:
        raise PKIError(
            ErrorCode.BAD_POSSESSION,
            "poposkInput must be absent when subject and publicKey are present",
        )
    check_signing_key_input(signed.spki, template.spki)
    _check_author(signed, request)
    return signed.spki, SignedPossession(signed.der, popo.signature, popo.algorithm)


def _check_author(signed: POPOSigningKeyInput, request: Request) -> None:
    """Check that ``poposkInput`` names the very requester that was authenticated.

    **Source:** RFC 4211 section 4.1.
    """
    if signed.sender is not None:
        if not _same_sender(signed.sender, request.header.sender):
            raise PKIError(ErrorCode.BAD_POSSESSION, "poposkInput names another sender")
        return
    mac = signed.public_key_mac
    if mac is None or request.proven.secret is None:
        raise PKIError(
            ErrorCode.BAD_POSSESSION,
            "publicKeyMAC needs a request that is protected by the same secret",
        )
    verify_public_key_mac(
        PublicKeyMAC(mac.algorithm, mac.value), signed.spki, request.proven.secret
    )


def _same_sender(one: GeneralName, other: GeneralName) -> bool:
    if one == other:
        return True
    first, second = one.directory_name, other.directory_name
    return first is not None and second is not None and first.matches(second)
