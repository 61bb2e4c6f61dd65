"""Our own messages to another CA: sealed, nested around, or made of a device's.

**Source:** RFC 9810 sections 5.1.1, 5.1.1.3, 5.1.3.5 and 5.2.8.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.crypto.certificates import Certificate
from pkid.crypto.extensions import subject_alternative_name
from pkid.engine.authorities import MessageIdentity
from pkid.engine.requested import read_extensions
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertReqMessages,
    PollReqContent,
    encode_body,
)
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.message import (
    PKIMessage,
    encode_message,
    protected_part,
)
from pkid.messages.cmp.nested import NestedMessageContent, encode_messages
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    CertId,
    CertReqMsg,
    CertRequest,
    POPOSigningKey,
    RAVerified,
)
from pkid.messages.pkcs10 import CertificationRequest

#: Information about the protection of one side only.
_OF_ONE_SIDE: Final = frozenset(
    (oids.ID_IT_ORIG_PKI_MESSAGE, oids.ID_IT_KEM_CIPHERTEXT_INFO)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the CA is to be asked for, by policy here.

    :ivar renews: DER of the certificate that a kur is about.
    :ivar vouched: say raVerified also where the device's own proof still stands.
    """

    subject: Name
    names: tuple[GeneralName, ...]
    spki: bytes
    renews: bytes | None = None
    vouched: bool = False


async def sign_message(
    identity: MessageIdentity, header: PKIHeader, body: bytes, now: datetime
) -> bytes:
    """A message of ours, whole.

    :param header: sender, time, algorithm and key identifier are put into it.
    :param body: ``PKIBody``, whole.
    :raises PKIError: ``UNAVAILABLE`` when the signer is out of reach.
    """
    encoded = replace(
        header,
        sender=GeneralName.directory(identity.subject),
        message_time=now.replace(microsecond=0),
        protection_alg=identity.signer.algorithm,
        sender_kid=identity.subject_key_id or None,
        recip_kid=None,
    ).encode()
    bits = await identity.signer.sign_message(protected_part(encoded, body))
    certificates = (identity.certificate, *identity.chain)
    # The root is the CA's own: it need not be told.
    if len(certificates) > 1:
        certificates = certificates[:-1]
    return encode_message(encoded, body, protection=bits, extra_certs=certificates)


async def nest(identity: MessageIdentity, inner: PKIMessage, now: datetime) -> bytes:
    """The message unchanged inside one of ours, with its transactionID and nonces.

    **Source:** RFC 9810 section 5.1.3.5; RFC 9483 section 5.2.2.1.
    """
    header = PKIHeader(
        pvno=inner.header.pvno,
        sender=inner.header.sender,
        recipient=inner.header.recipient,
        transaction_id=inner.header.transaction_id,
        sender_nonce=inner.header.sender_nonce,
        recip_nonce=inner.header.recip_nonce,
    )
    body = encode_body(BodyType.NESTED, NestedMessageContent((inner.der,)))
    return await sign_message(identity, header, body, now)


async def reprotect(
    identity: MessageIdentity,
    message: PKIMessage,
    body: bytes,
    now: datetime,
    *,
    recip_nonce: bytes | None,
    original: bool,
    implicit_confirm: bool = True,
) -> bytes:
    """A device's message under our protection; transactionID and senderNonce stay.

    :param body: ``PKIBody``, whole.
    :param recip_nonce: the CA's latest, where it has spoken.
    :param original: send the device's own message along.
    :param implicit_confirm: let the CA know where the device would rather not confirm.
    """
    header = message.header
    left_out = _OF_ONE_SIDE
    if not implicit_confirm:
        left_out |= {oids.ID_IT_IMPLICIT_CONFIRM}
    info = tuple(one for one in header.general_info if one.oid not in left_out)
    if original:
        value = encode_messages((message.der,))
        info = (*info, InfoTypeAndValue(oids.ID_IT_ORIG_PKI_MESSAGE, value))
    changed = replace(header, recip_nonce=recip_nonce or None, general_info=info)
    return await sign_message(identity, changed, body, now)


async def sealed_again(
    identity: MessageIdentity, asked: PKIMessage, now: datetime
) -> bytes:
    """A message of ours with the time of now."""
    return await sign_message(identity, asked.header, body_of(asked), now)


async def poll_for(
    identity: MessageIdentity,
    asked: PKIMessage,
    cert_req_id: int,
    nonces: tuple[bytes, bytes],
    now: datetime,
) -> bytes:
    """A pollReq of ours for a transaction that goes on.

    :param nonces: a fresh one of ours, and the CA's latest.
    """
    header = replace(
        asked.header, sender_nonce=nonces[0], recip_nonce=nonces[1], general_info=()
    )
    body = encode_body(BodyType.POLL_REQ, PollReqContent((cert_req_id,)))
    return await sign_message(identity, header, body, now)


def body_of(message: PKIMessage) -> bytes:
    """The ``PKIBody`` of a message, its octets as they came.

    :raises PKIError: ``BAD_REQUEST`` for an unknown body.
    """
    if message.body_type is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "unknown body type")
    return der.explicit(message.body_type, message.body)


def decided_body(message: PKIMessage, content: Body, decided: Decided) -> bytes:
    """The body of a request for a certificate, as policy here lets it go on.

    What policy leaves as it was keeps its octets, and with them the device's proof of
    possession; what is changed says raVerified, for the proof was checked here.

    :param content: of ``message``, read.
    :raises PKIError: ``BAD_TEMPLATE`` when a PKCS #10 request would have to change.

    **Source:** RFC 9810 section 5.2.8.1.
    """
    if isinstance(content, CertificationRequest):
        _check_unchanged(content, decided)
        return body_of(message)
    if not isinstance(content, CertReqMessages) or message.body_type is None:
        raise PKIError(ErrorCode.INTERNAL, "a body that asks for no certificate")
    (request,) = content.messages
    return encode_body(
        message.body_type, CertReqMessages((_decided_request(request, decided),))
    )


def _decided_request(request: CertReqMsg, decided: Decided) -> CertReqMsg:
    cert_req = request.cert_req
    template = cert_req.cert_template
    extensions = _with_names(template.extensions, decided)
    controls = _with_old_cert_id(cert_req.controls, decided.renews)
    wanted = replace(
        template,
        subject=decided.subject.der,
        spki=decided.spki,
        extensions=extensions,
    )
    stays = wanted == template and controls == cert_req.controls
    if stays and not decided.vouched and _stands_alone(request):
        return request
    if not stays:
        cert_req = CertRequest.build(cert_req.cert_req_id, wanted, controls)
    return CertReqMsg(cert_req, RAVerified(), request.reg_info)


def _stands_alone(request: CertReqMsg) -> bool:
    """Whether the proof says nothing of who sent the message."""
    popo = request.popo
    return isinstance(popo, POPOSigningKey) and popo.poposk_input is None


def _with_names(
    extensions: tuple[Extension, ...], decided: Decided
) -> tuple[Extension, ...]:
    names = decided.names
    if read_extensions(extensions).alternative_names == names:
        return extensions
    others = tuple(one for one in extensions if one.oid != oids.ID_CE_SUBJECT_ALT_NAME)
    if not names:
        return others
    critical = decided.subject.is_empty
    return (*others, subject_alternative_name(names, critical=critical))


def _with_old_cert_id(
    controls: tuple[AttributeTypeAndValue, ...], renews: bytes | None
) -> tuple[AttributeTypeAndValue, ...]:
    """A registration authority names what is renewed: it signs with its own key."""
    known = any(one.oid == oids.ID_REG_CTRL_OLD_CERT_ID for one in controls)
    if renews is None or known:
        return controls
    old = Certificate.decode(renews)
    named = CertId(GeneralName.directory(old.issuer), old.serial)
    control = AttributeTypeAndValue(oids.ID_REG_CTRL_OLD_CERT_ID, named.encode())
    return (*controls, control)


def _check_unchanged(csr: CertificationRequest, decided: Decided) -> None:
    same_names = read_extensions(csr.extension_request).alternative_names
    if csr.subject != decided.subject.der or same_names != decided.names:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "a PKCS #10 request must ask for the very names that are granted",
            hint="its signature covers the names: let the device use ir or cr",
        )
