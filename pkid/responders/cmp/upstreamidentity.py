"""Our own certificate of another CA's PKI: asked for by CMP, renewed in time.

The key is made here and never leaves. The first certificate is asked for under a shared
secret, later ones under the one before::

    pkid                              CA
    ir under the secret      ->
                             <-       ip, perhaps waiting: asked after at the next turn
    certConf                 ->
                             <-       pkiconf

**Source:** RFC 9810 sections 5.3.1 to 5.3.6, 5.3.18 and 5.3.22.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from twisted.logger import Logger

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import hash_algorithm
from pkid.crypto.certificates import (
    Certificate,
    has_extended_key_usage,
    subject_key_identifier,
)
from pkid.crypto.chains import validate_chain
from pkid.crypto.mac import (
    PBMParameters,
    derive_mac_key,
    encode_mac_parameters,
    is_mac_algorithm,
)
from pkid.crypto.signatures import encode_signed
from pkid.engine.authorities import MessageIdentity
from pkid.engine.ports import Clock, MessageSigner
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertReqMessages,
    CertStatus,
    ErrorMsgContent,
    PollReqContent,
    encode_body,
)
from pkid.messages.cmp.header import CMP2000, PKIHeader
from pkid.messages.cmp.message import (
    PKIMessage,
    decode_body,
    encode_message,
    protected_part,
)
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    CertId,
    CertReqMsg,
    CertRequest,
    CertTemplate,
    POPOSigningKey,
)
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.requests import RandomOctets
from pkid.responders.cmp.upstream import (
    Upstream,
    read_answer,
    verify_mac_of_authority,
    verify_signature_of_authority,
    wait_of,
)
from pkid.responders.cmp.upstreamseal import sign_message

#: Within the limits of every CA that is known for having some.
ITERATIONS: Final = 2000
NONCE_OCTETS: Final = 16
RENEW_AT: Final = 2 / 3
_HMAC: Final = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256, der.NULL)


@dataclass(frozen=True, slots=True)
class _Begun:
    """A request for our certificate that the CA has not decided.

    :ivar asked: our latest message.
    :ivar nonce: senderNonce of its latest answer.
    """

    asked: PKIMessage
    nonce: bytes
    cert_req_id: int


class OwnCertificate:
    """Gets and renews our certificate of one CA elsewhere.

    A request that waits for the CA's approval is known to this object alone: after a
    restart it is made anew.
    """

    _log = Logger()

    def __init__(
        self,
        upstream: Upstream,
        signer: MessageSigner,
        clock: Clock,
        random: RandomOctets,
    ) -> None:
        self._upstream = upstream
        self._signer = signer
        self._clock = clock
        self._random = random
        self._begun: _Begun | None = None

    async def current(self, stored: Sequence[bytes]) -> tuple[bytes, ...]:
        """Our certificate and those above it, root last; asked for when need be.

        :param stored: what this gave last time, () at the first.
        :raises PKIError: ``UNAVAILABLE`` when there is none that can be used.
        """
        if self._upstream.brought:
            return self.check(self._upstream.brought)
        kept = self._usable(stored)
        if kept and not self._is_old(kept[0]):
            return kept
        if not self._upstream.reference:
            raise self._unusable("it was not brought yet")
        identity = self.identity(kept) if kept else None
        try:
            return await self._enrol(identity)
        except PKIError as error:
            if not kept:
                raise
            self._log.warn(
                "the certificate before {upstream} could not be renewed: {detail}"
                " ({hint})",
                upstream=self._upstream.name,
                detail=error.detail,
                hint=error.hint or "",
            )
            return kept

    def identity(self, chain: Sequence[bytes]) -> MessageIdentity:
        """What signs our messages to the CA, and our answers in its name."""
        certificate = Certificate.decode(chain[0])
        return MessageIdentity(
            signer=self._signer,
            certificate=chain[0],
            chain=tuple(chain[1:]),
            subject=certificate.subject,
            subject_key_id=subject_key_identifier(certificate) or b"",
        )

    def check(self, chain: Sequence[bytes]) -> tuple[bytes, ...]:
        """A certificate of ours with the chain to the CA's root.

        :raises PKIError: ``UNAVAILABLE`` when it is of another key, or not of its PKI.
        """
        anchors = [Certificate.decode(octets) for octets in self._upstream.anchors]
        try:
            leaf, *others = map(Certificate.decode, chain)
            path = validate_chain(leaf, others, anchors, self._clock.now())
        except PKIError as error:
            raise self._unusable(error.detail) from error
        if leaf.spki != self._signer.public_key:
            raise self._unusable("it is of another key")
        if not has_extended_key_usage(leaf, oids.ID_KP_CMC_RA):
            self._log.warn(
                "the certificate before {upstream} lacks cmcRA: most CAs will not"
                " take it for a registration authority's",
                upstream=self._upstream.name,
            )
        return tuple(one.der for one in path)

    def _usable(self, stored: Sequence[bytes]) -> tuple[bytes, ...]:
        try:
            return self.check(stored) if stored else ()
        except PKIError:
            return ()

    def _is_old(self, octets: bytes) -> bool:
        one = Certificate.decode(octets)
        lifetime = one.not_after - one.not_before
        return self._clock.now() - one.not_before > lifetime * RENEW_AT

    def _unusable(self, why: str) -> PKIError:
        return PKIError(
            ErrorCode.UNAVAILABLE,
            "the certification authority is out of reach at the moment",
            hint=f"our certificate before {self._upstream.name} is of no use: {why}",
        )

    async def certification_request(self) -> bytes:
        """DER of a PKCS #10 request, for a certificate that will be brought.

        **Source:** RFC 2986 section 4.
        """
        subject = Name.from_text(self._upstream.subject).der
        info = der.sequence(
            der.integer(0),
            subject,
            self._signer.public_key,
            der.encode(der.constructed(0), b""),
        )
        signature = await self._signer.sign_message(info)
        return encode_signed(info, self._signer.algorithm, signature)

    # --- enrolment ---------------------------------------------------------------

    async def _enrol(self, identity: MessageIdentity | None) -> tuple[bytes, ...]:
        if self._begun is None:
            asked = await self._request(identity)
        else:
            asked = await self._poll(identity, self._begun)
        answer = await self._exchange(asked, identity)
        nonce = answer.header.sender_nonce or b""
        wait = wait_of(answer)
        if wait is not None:
            self._begun = _Begun(asked, nonce, wait.cert_req_id)
            raise self._unusable("the CA has not decided on it yet")
        self._begun = None
        response = _granted(answer)
        if response is None:
            raise self._unusable(_reason(answer))
        given = (*answer.extra_certs, *response.ca_pubs)
        chain = self.check((response.certificate, *given))
        if answer.header.find_info(oids.ID_IT_IMPLICIT_CONFIRM) is None:
            await self._confirm(asked, nonce, response, identity)
        self._log.info(
            "{upstream} certified our key as registration authority",
            upstream=self._upstream.name,
        )
        return chain

    async def _request(self, identity: MessageIdentity | None) -> PKIMessage:
        """An ir, or a kur for the certificate that grows old."""
        controls: tuple[AttributeTypeAndValue, ...] = ()
        if identity is not None:
            old = Certificate.decode(identity.certificate)
            named = CertId(GeneralName.directory(old.issuer), old.serial)
            controls = (
                AttributeTypeAndValue(oids.ID_REG_CTRL_OLD_CERT_ID, named.encode()),
            )
        template = CertTemplate(
            subject=Name.from_text(self._upstream.subject).der,
            spki=self._signer.public_key,
        )
        request = CertRequest.build(0, template, controls)
        signature = await self._signer.sign_message(request.der)
        popo = POPOSigningKey(self._signer.algorithm, signature)
        content = CertReqMessages((CertReqMsg(request, popo),))
        body_type = BodyType.IR if identity is None else BodyType.KUR
        return await self._sealed(
            identity, body_type, content, self._random(NONCE_OCTETS), None
        )

    async def _poll(
        self, identity: MessageIdentity | None, begun: _Begun
    ) -> PKIMessage:
        return await self._sealed(
            identity,
            BodyType.POLL_REQ,
            PollReqContent((begun.cert_req_id,)),
            begun.asked.header.transaction_id or b"",
            begun.nonce,
        )

    async def _confirm(
        self,
        asked: PKIMessage,
        nonce: bytes,
        response: _Granted,
        identity: MessageIdentity | None,
    ) -> None:
        digest = certificate_hash(response.certificate)
        accepted = PKIStatusInfo(PKIStatus.ACCEPTED)
        status = CertStatus(digest, response.cert_req_id, accepted)
        confirmation = await self._sealed(
            identity,
            BodyType.CERT_CONF,
            CertConfirmContent((status,)),
            asked.header.transaction_id or b"",
            nonce,
        )
        answer = await self._exchange(confirmation, identity)
        if answer.body_type is not BodyType.PKICONF:
            raise self._unusable(_reason(answer))

    async def _exchange(
        self, asked: PKIMessage, identity: MessageIdentity | None
    ) -> PKIMessage:
        octets = await self._upstream.enrolment.send(asked.der)
        answer = read_answer(octets, asked)
        if identity is None and not _is_signed(answer):
            verify_mac_of_authority(answer, self._upstream.secret)
        else:
            verify_signature_of_authority(answer, self._upstream, self._clock.now())
        return answer

    async def _sealed(
        self,
        identity: MessageIdentity | None,
        body_type: BodyType,
        content: Body,
        transaction_id: bytes,
        recip_nonce: bytes | None,
    ) -> PKIMessage:
        """A message under our certificate, or under the secret while we have none."""
        now: datetime = self._clock.now()
        subject = GeneralName.directory(Name.from_text(self._upstream.subject))
        recipient = Certificate.decode(self._upstream.anchors[0]).subject
        header = PKIHeader(
            pvno=CMP2000,
            sender=subject,
            recipient=GeneralName.directory(recipient),
            message_time=now.replace(microsecond=0),
            sender_kid=self._upstream.reference.encode(),
            transaction_id=transaction_id,
            sender_nonce=self._random(NONCE_OCTETS),
            recip_nonce=recip_nonce,
        )
        body = encode_body(body_type, content)
        if identity is not None:
            octets = await sign_message(identity, header, body, now)
        else:
            octets = self._under_secret(header, body)
        return PKIMessage.decode(octets)

    def _under_secret(self, header: PKIHeader, body: bytes) -> bytes:
        salt = self._random(NONCE_OCTETS)
        parameters = PBMParameters(salt, hash_algorithm("sha256"), ITERATIONS, _HMAC)
        algorithm = encode_mac_parameters(parameters)
        encoded = replace(header, protection_alg=algorithm).encode()
        key = derive_mac_key(parameters, self._upstream.secret)
        mac = key.compute(protected_part(encoded, body))
        return encode_message(encoded, body, protection=mac)


@dataclass(frozen=True, slots=True)
class _Granted:
    certificate: bytes
    cert_req_id: int
    ca_pubs: tuple[bytes, ...]


def _granted(answer: PKIMessage) -> _Granted | None:
    content = decode_body(answer)
    if not isinstance(content, CertRepMessage):
        return None
    response = content.responses[0]
    pair = response.certified_key_pair
    if pair is None or pair.certificate is None:
        return None
    return _Granted(pair.certificate, response.cert_req_id, content.ca_pubs)


def _reason(answer: PKIMessage) -> str:
    """Why the CA refuses, in its own words, fit for a log."""
    content = decode_body(answer)
    info: PKIStatusInfo | None = None
    if isinstance(content, ErrorMsgContent):
        info = content.status_info
    elif isinstance(content, CertRepMessage):
        info = content.responses[0].status
    if info is None:
        return "the CA answers something else"
    bits = ", ".join(sorted(bit.name for bit in info.fail_info))
    text = " ".join(info.strings).encode("unicode_escape").decode("ascii")[:200]
    return f"refused by the CA: {bits} {text}"


def _is_signed(answer: PKIMessage) -> bool:
    algorithm = answer.header.protection_alg
    return algorithm is not None and not is_mac_algorithm(algorithm)
