"""What devices are told in the name of a CA elsewhere, and checks of what they say.

**Source:** RFC 9810 sections 5.3.2 to 5.3.22; RFC 9483 section 4.4.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from pkid.asn1.names import EMPTY, Name
from pkid.engine.model import TransactionStatus
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertRepMessage,
    CertReqMessages,
    CertResponse,
    ErrorMsgContent,
    PollRepContent,
    PollRepEntry,
    PollReqContent,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.revocation import RevRepContent
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.crmf import CertReqMsg
from pkid.responders.cmp.answers import Draft, Sealed
from pkid.responders.cmp.certification import refusal
from pkid.responders.cmp.failures import error_content
from pkid.responders.cmp.protection import NOT_PROTECTED, printable
from pkid.responders.cmp.requests import Request
from pkid.responders.cmp.templates import P10CR_REQ_ID
from pkid.responders.cmp.transactions import KeptAnswer, TransactionState
from pkid.responders.cmp.upstream import CERTIFICATE_ANSWERS
from pkid.responders.cmp.upstreamrelay import seconds_of
from pkid.responders.cmp.upstreamstate import HandedState

WHOLE_MESSAGE: Final = -1


# --- answers --------------------------------------------------------------------------


def answered(
    request: Request, device: TransactionState, sealed: Sealed
) -> TransactionState:
    """The device's side once it was answered."""
    if not device.answers:
        kept = KeptAnswer(request.request_hash, sealed.octets)
        return replace(device, answers=(kept,), our_nonce=sealed.nonce)
    return device.after(
        request.request_hash, request.sender_nonce, sealed.octets, sealed.nonce
    )


def of_answer(answer: PKIMessage) -> tuple[Draft, PKIStatus, str]:
    """What the CA said, for the device; status and cause are for the log."""
    content = decode_body(answer)
    body_type = answer.body_type
    if body_type is None:
        raise PKIError(ErrorCode.INTERNAL, "an answer without a body was stored")
    draft = Draft(
        body_type=body_type,
        body=content,
        general_info=answer.header.general_info,
        certificates=answer.extra_certs,
    )
    info: PKIStatusInfo | None = None
    if isinstance(content, CertRepMessage):
        info = content.responses[0].status
    elif isinstance(content, RevRepContent):
        info = content.statuses[0]
    elif isinstance(content, ErrorMsgContent):
        info = content.status_info
    if info is None:
        return draft, PKIStatus.ACCEPTED, ""
    return draft, info.status, printable(" ".join(info.strings[:1]))


def waiting(
    asked: BodyType | None, state: HandedState, reason: str, after: timedelta
) -> Draft:
    """Ask again later, in the words that fit what was asked.

    **Source:** RFC 9810 section 5.3.22; RFC 9483 section 4.4.
    """
    number = state.device.cert_req_id
    if asked is BodyType.POLL_REQ:
        entry = PollRepEntry(number, seconds_of(after), (reason,))
        return Draft(body_type=BodyType.POLL_REP, body=PollRepContent((entry,)))
    status = PKIStatusInfo(PKIStatus.WAITING, (reason,))
    response_type = CERTIFICATE_ANSWERS.get(asked) if asked is not None else None
    if response_type is None:
        return Draft(body_type=BodyType.ERROR, body=ErrorMsgContent(status))
    response = CertResponse(number, status)
    return Draft(body_type=response_type, body=CertRepMessage((response,)))


def refused(state: HandedState, error: PKIError) -> Draft:
    """The end of what was asked, without an answer of the CA."""
    if state.device.body_type in CERTIFICATE_ANSWERS and not state.certificate:
        ids = (state.device.cert_req_id,)
        return refusal(state.device.body_type, ids, error)
    return Draft(body_type=BodyType.ERROR, body=error_content(error))


def ended(status: TransactionStatus) -> PKIError:
    """Why a transaction is over without an answer of the CA."""
    if status is TransactionStatus.REJECTED:
        return PKIError(ErrorCode.REJECTED, "the request was rejected")
    return PKIError(ErrorCode.REJECTED, "the request was not decided in time")


# --- checks ---------------------------------------------------------------------------


def check_same_mac(request: Request, device: TransactionState) -> None:
    """One MAC algorithm carries a transaction through.

    **Source:** RFC 9483 section 3.2.
    """
    opening, now = device.mac_algorithm, request.header.protection_alg
    if opening is not None and now is not None and opening.oid != now.oid:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            NOT_PROTECTED,
            hint="the MAC algorithm changed within the transaction",
        )


def check_poll(request: Request, number: int) -> None:
    """Check that a pollReq asks after this request, or the whole message.

    :raises PKIError: ``BAD_REQUEST``.
    """
    body = decode_body(request.message)
    if not isinstance(body, PollReqContent) or len(body.cert_req_ids) != 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "pollReq asks after exactly one request")
    if body.cert_req_ids[0] not in {number, WHOLE_MESSAGE}:
        raise PKIError(ErrorCode.BAD_REQUEST, "certReqId is not that of the request")


def request_id(body: Body) -> int:
    """``certReqId`` of a request for one certificate; -1 for a p10cr."""
    if isinstance(body, CertReqMessages):
        return body.messages[0].cert_req.cert_req_id
    return P10CR_REQ_ID


def issuer_asked(message: CertReqMsg) -> Name:
    """The issuer that a template names, or none.

    :raises PKIError: ``BAD_TEMPLATE``.
    """
    element = message.cert_req.cert_template.issuer
    if element is None:
        return EMPTY
    try:
        return Name.decode(element)
    except PKIError as error:
        raise PKIError(ErrorCode.BAD_TEMPLATE, error.detail) from error


def unknown(body_type: BodyType | None) -> str:
    """Why a message that opens nothing here is refused."""
    if body_type in {BodyType.CERT_CONF, BodyType.POLL_REQ, BodyType.PKICONF}:
        return "no transaction has this transactionID, or it is over"
    name = "the body" if body_type is None else body_type.name.lower()
    return f"{name} is not handed on to the certification authority"
