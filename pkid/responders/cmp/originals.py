"""origPKIMessage: the device's own message, which a registration authority passes on.

With it raVerified is no mere word: the proof of possession in the original is checked
here, and its protection as far as we can know it. A signature is verified with the
certificate that came along (whether to trust it was the registration authority's
affair), a MAC where we have its secret.

**Source:** RFC 9810 sections 5.1.1.3 and 5.2.8.1; RFC 9483 section 5.2.3.2.
"""

from __future__ import annotations

import hmac

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.certificates import Certificate
from pkid.crypto.mac import decode_mac_parameters, derive_mac_key, is_mac_algorithm
from pkid.crypto.possession import SignedPossession, verify_possession
from pkid.crypto.publickeys import decode_spki
from pkid.engine.model import CredentialKind
from pkid.engine.ports import Workers
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import Body, CertReqMessages
from pkid.messages.cmp.infotypes import ORIG_PKI_MESSAGE
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.crmf import CertReqMsg, POPOSigningKey, RAVerified
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import Request


class Originals:
    """Checks the originals of requests that a registration authority vouches for."""

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers

    async def check(self, request: Request, message: CertReqMsg) -> None:
        """Check the original of a request with raVerified, if it came along.

        :raises PKIError: ``BAD_MESSAGE_CHECK`` when it is broken: not one message, its
            protection wrong, another key; ``BAD_POSSESSION`` when it proves nothing;
            ``NOT_AUTHORIZED`` when it claims raVerified itself.
        """
        info = request.header.find_info(ORIG_PKI_MESSAGE.oid)
        if info is None or not isinstance(message.popo, RAVerified):
            return
        try:
            original = _only_one(info.value)
            body = decode_body(original)
        except PKIError as error:
            raise _broken(f"the original message: {error.detail}") from error
        await self._check_protection(request, original)
        spki = message.cert_req.cert_template.spki or b""
        _check_proof(body, spki)

    async def _check_protection(self, request: Request, original: PKIMessage) -> None:
        algorithm, protection = original.header.protection_alg, original.protection
        if algorithm is None or protection is None:
            raise _broken("the original message is not protected")
        if is_mac_algorithm(algorithm):
            await self._check_mac(request, original, algorithm)
            return
        signer = _signer_of(original)
        try:
            signer.public_key_info.verify(
                algorithm,
                protection,
                original.protected_part,
                allow_sha1=request.alias.allow_sha1,
            )
        except PKIError as error:
            raise _broken("the original's signature does not verify") from error

    async def _check_mac(
        self, request: Request, original: PKIMessage, algorithm: AlgorithmIdentifier
    ) -> None:
        """Under a secret of ours; others are known to the registration authority."""
        kid = (original.header.sender_kid or b"").decode("utf-8", "replace")
        shared = await self._engine.find_secret(
            CredentialKind.CMP_SECRET, kid, request.alias.name
        )
        if shared is None:
            return
        parameters = decode_mac_parameters(algorithm)
        if parameters.iterations > request.alias.maximum_iterations:
            raise _broken("the original's MAC would cost too much")
        key = await self._workers.run(derive_mac_key, parameters, shared.secret)
        try:
            key.verify(original.protected_part, original.protection or b"")
        except PKIError as error:
            raise _broken("the original's MAC does not verify") from error


def _only_one(value: bytes | None) -> PKIMessage:
    """The one message that stands beside a message that is not nested."""
    found = ORIG_PKI_MESSAGE.decode(value or b"")
    if len(found) != 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "it is not exactly one")
    return PKIMessage.decode(found[0])


def _signer_of(original: PKIMessage) -> Certificate:
    name = original.header.sender.directory_name
    for octets in original.extra_certs:
        certificate = read_certificate(octets)
        if name is not None and certificate.subject.matches(name):
            return certificate
    raise _broken("the original's protection certificate is missing")


def _check_proof(body: Body, spki: bytes) -> None:
    """The original's proof of possession, for the very key of the request.

    :param spki: SubjectPublicKeyInfo that the registration authority asks for.
    """
    if isinstance(body, CertificationRequest):
        proof = SignedPossession(
            body.request_info, body.signature, body.signature_algorithm
        )
        _check_signature(proof, body.spki, spki)
        return
    if not isinstance(body, CertReqMessages) or len(body.messages) != 1:
        raise _broken("the original asks for no certificate, or for several")
    (message,) = body.messages
    if isinstance(message.popo, RAVerified):
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED, "raVerified is for registration authorities only"
        )
    if not isinstance(message.popo, POPOSigningKey):
        # By decryption or a key: that was between the two of them.
        _check_key(message.cert_req.cert_template.spki or b"", spki)
        return
    popo, signed = message.popo, message.popo.poposk_input
    octets = message.cert_req.der if signed is None else signed.der
    theirs = message.cert_req.cert_template.spki
    if signed is not None:
        theirs = signed.spki
    _check_signature(
        SignedPossession(octets, popo.signature, popo.algorithm), theirs or b"", spki
    )


def _check_signature(proof: SignedPossession, theirs: bytes, spki: bytes) -> None:
    _check_key(theirs, spki)
    verify_possession(proof, decode_spki(theirs))


def _check_key(theirs: bytes, spki: bytes) -> None:
    if not hmac.compare_digest(theirs, spki):
        raise _broken("the original asks for another key")


def _broken(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_MESSAGE_CHECK, detail)
