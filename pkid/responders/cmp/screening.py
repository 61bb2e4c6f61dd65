"""Between protection and body: time, nonces, transaction, and whether the body is fit.

What is wrong with the body of a request for certificates is answered in ip, cp or kup;
anything else by an error message.

**Source:** RFC 9483 section 3.5; RFC 9810 section 7.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import Body, CertReqMessages
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.versions import required_version
from pkid.responders.cmp import strict
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers
from pkid.responders.cmp.certification import RESPONSE_TYPES, refusal
from pkid.responders.cmp.controls import check_controls
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.failures import OF_THE_EXCHANGE
from pkid.responders.cmp.headers import (
    check_sender_nonce,
    check_time,
    transaction_id_of,
)
from pkid.responders.cmp.requests import PROTOCOL, Answered, Request
from pkid.responders.cmp.strict import FOLLOWING, LCMPP, Stage
from pkid.responders.cmp.templates import P10CR_REQ_ID
from pkid.responders.cmp.transactions import TransactionState

_BY_SECRET: Final = "secret:"


def check_header(
    alias: CMPAlias, message: PKIMessage, request_hash: bytes, now: datetime
) -> tuple[bytes, bytes]:
    """Check time, nonces and transactionID, in this order.

    :returns: senderNonce and transactionID.
    :raises PKIError: ``BAD_TIME``, ``BAD_SENDER_NONCE``, ``BAD_RECIPIENT_NONCE``,
        ``BAD_REQUEST``.
    """
    header = message.header
    strict.enforce(alias, Stage.TIME, message)
    window = alias.message_time_window
    if window is None and alias.conformance == LCMPP:
        window = strict.TIME_WINDOW
    check_time(header, now, window)
    nonce = check_sender_nonce(header)
    strict.enforce(alias, Stage.NONCES, message)
    transaction_id = transaction_id_of(header, request_hash)
    strict.enforce(alias, Stage.TRANSACTION, message)
    return nonce, transaction_id


class Screening:
    """Looks at bodies before anybody acts on them."""

    def __init__(self, engine: Engine, answers: Answers) -> None:
        self._engine = engine
        self._answers = answers

    async def screen(self, request: Request) -> Answered | None:
        """The refusal of a body that is not fit, None when it is.

        :raises PKIError: for refusals that are answered by an error message.
        """
        message = request.message
        body: Body | None = None
        try:
            body = decode_body(message)
            _check_version(body, request.header)
            strict.enforce(request.alias, Stage.BODY, message, body=body)
            check_controls(body)
        except PKIError as error:
            await self._check_transaction(request)
            if message.body_type not in RESPONSE_TYPES or error.code in OF_THE_EXCHANGE:
                raise
            draft = refusal(message.body_type, _request_ids(body), error)
            sealed = await self._answers.answer(request, draft)
            return Answered.refused(sealed.octets, error)
        return None

    async def _check_transaction(self, request: Request) -> None:
        """Say first what is wrong with the transaction: it comes before the body.

        :raises PKIError: ``TRANSACTION_IN_USE``, ``BAD_REQUEST``,
            ``BAD_SENDER_NONCE``, ``BAD_RECIPIENT_NONCE``.
        """
        record = await self._engine.find_transaction(request.key)
        if request.message.body_type in FOLLOWING:
            if record is None:
                raise PKIError(
                    ErrorCode.BAD_REQUEST, "no transaction has this transactionID"
                )
            state = TransactionState.decode(record.state)
            state.check_nonces(request.sender_nonce, request.header.recip_nonce)
        elif record is not None and record.request_hash != request.request_hash:
            raise PKIError(
                ErrorCode.TRANSACTION_IN_USE,
                "another request has used this transaction id",
            )

    async def change_of_kind(self, request: Request, error: PKIError) -> PKIError:
        """What a follow-up gets that is not its opener's.

        At the strict level a secret after a signature, or the reverse, is told apart
        from another one's certificate.

        :param error: the refusal so far, ``WRONG_AUTHORITY``.
        """
        if request.alias.conformance != LCMPP:
            return error
        by_secret = request.proven.secret is not None
        for record in await self._engine.find_transactions_by_id(
            PROTOCOL, request.alias.name, request.transaction_id
        ):
            if record.key.requester.startswith(_BY_SECRET) is not by_secret:
                return PKIError(
                    ErrorCode.WRONG_INTEGRITY,
                    "the kind of protection changed within the transaction",
                )
        return error


def _check_version(body: Body, header: PKIHeader) -> None:
    """A message must say at least the version whose syntax it has.

    :raises PKIError: ``BAD_REQUEST``.

    **Source:** RFC 9810 section 7.
    """
    needed = required_version(body, header.general_info)
    if header.pvno < needed:
        raise PKIError(
            ErrorCode.BAD_REQUEST, f"what this message holds needs pvno {needed}"
        )


def _request_ids(body: Body | None) -> tuple[int, ...]:
    if isinstance(body, CertReqMessages):
        return tuple(message.cert_req.cert_req_id for message in body.messages)
    return (P10CR_REQ_ID,)
