"""From CRMF and PKCS #10 to what the engine is asked, with proof of possession.

Checks of form only; what may be had is the engine's business.

**Source:** RFC 4211 sections 4 to 6; RFC 9810 sections 5.2.1, 5.2.8 and 5.3.4;
RFC 2986.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.possession import (
    PublicKeyMAC,
    SignedPossession,
    check_signing_key_input,
    verify_public_key_mac,
)
from pkid.crypto.publickeys import decode_spki
from pkid.engine.model import (
    DecryptionPossession,
    GeneratedPossession,
    ProofOfPossession,
    RequestedCertificate,
    RequesterKind,
    VouchedPossession,
    make_requested_certificate,
)
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.header import CMP2021
from pkid.messages.crmf import (
    CertReqMsg,
    CertTemplate,
    POPOPrivKey,
    POPOSigningKey,
    POPOSigningKeyInput,
    RAVerified,
    SubsequentMessage,
)
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.replacement import template_of
from pkid.responders.cmp.requests import Request
from pkid.responders.cmp.withholding import check_version

X509_V3: Final = 2
P10CR_REQ_ID: Final = -1
_NO_BITS: Final = der.bit_string(b"")

# Controls that change what the client may rely on: not to be passed over in silence.
_REFUSED_CONTROLS: Final = {
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


def wanted_by_crmf(
    message: CertReqMsg,
    request: Request,
    issuer: Name,
    proven: ProofOfPossession | None = None,
) -> Wanted:
    """Read one ``CertReqMsg``.

    :param issuer: subject of the authority that would issue.
    :param proven: the proof, where it took another exchange or one of our keys.
    :raises PKIError: ``BAD_TEMPLATE``, ``BAD_POSSESSION``, ``NOT_AUTHORIZED`` (an end
        entity used raVerified), ``BAD_REQUEST`` (a control that is not supported).
    """
    cert_req = message.cert_req
    template = template_of(message, request)
    _check_template(template, (issuer, *_signers_issuer(request)))
    for control in cert_req.controls:
        name = _REFUSED_CONTROLS.get(control.oid)
        if name is not None:
            raise PKIError(
                ErrorCode.BAD_REQUEST, f"the control {name} is not supported here yet"
            )
    spki, possession = _proof(message, request, proven)
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


def _proof(
    message: CertReqMsg, request: Request, proven: ProofOfPossession | None
) -> tuple[bytes | None, ProofOfPossession]:
    """The key to certify, and what shows that the client holds its private half.

    None for the key when we are asked to make it.
    """
    popo = message.popo
    spki = message.cert_req.cert_template.spki
    if proven is not None:
        return spki, proven
    if isinstance(popo, POPOSigningKey):
        return _signed_proof(message, popo, request)
    wish = wish_for_key(message)
    if wish is not None:
        return None, wish
    if isinstance(popo, RAVerified):
        return spki, _vouched(request)
    if (
        isinstance(popo, POPOPrivKey)
        and popo.subsequent_message is SubsequentMessage.ENCR_CERT
    ):
        check_version(request.header.pvno, request.alias, ErrorCode.BAD_POSSESSION)
        _check_old_form(spki, request.header.pvno)
        return spki, DecryptionPossession()
    raise PKIError(ErrorCode.BAD_POSSESSION, "proof of possession is missing")


def _check_old_form(spki: bytes | None, pvno: int) -> None:
    """Version 2 encrypts a certificate to RSA keys only."""
    if pvno < CMP2021 and spki is not None and decode_spki(spki).family != "rsa":
        raise PKIError(
            ErrorCode.BAD_POSSESSION,
            "for keys other than RSA use version 3 (pvno 3)",
        )


def wish_for_key(message: CertReqMsg) -> GeneratedPossession | None:
    """Whether we shall make the key, and of which algorithm.

    It is left out, or has an algorithm and no bits.

    :raises PKIError: ``BAD_TEMPLATE`` when there is a proof of possession for no key.

    **Source:** RFC 9483 section 4.1.6.
    """
    if isinstance(message.popo, POPOSigningKey):
        return None  # poposkInput may bring the key
    spki = message.cert_req.cert_template.spki
    wish = GeneratedPossession() if spki is None else _algorithm_alone(spki)
    if wish is not None and message.popo is not None:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE, "publicKey is missing, and popo is there"
        )
    return wish


def _algorithm_alone(spki: bytes) -> GeneratedPossession | None:
    """The algorithm of a ``SubjectPublicKeyInfo`` whose BIT STRING is empty."""
    if not spki.endswith(_NO_BITS):
        return None
    cursor = der.Cursor(der.single(spki, der.SEQUENCE))
    try:
        algorithm = AlgorithmIdentifier.decode(cursor.take(der.SEQUENCE))
        bits = cursor.take(der.BIT_STRING)
    except PKIError:
        return None  # decode_spki says what is wrong with it
    return GeneratedPossession(algorithm) if bits == _NO_BITS[-1:] else None


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
