"""certConf, pollReq, error and the old pkiconf: what comes after the first answer.

Found by transactionID and by who sent it: the credential that opened a transaction
carries it through. What a follow-up does is read from the table in `transactions`.

**Source:** RFC 9810 sections 5.3.17, 5.3.18, 5.3.21 and 5.3.22; RFC 9483 sections
4.1.1 and 4.4.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkid.engine.model import Issued, Outcome, TransactionRecord
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertConfirmContent,
    ErrorMsgContent,
    PKIConfirmContent,
    PollRepContent,
    PollRepEntry,
    PollReqContent,
)
from pkid.messages.cmp.message import decode_body
from pkid.responders.cmp.aliases import NEW_CERTIFICATE_CONFIRMS
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.certification import (
    certification,
    confirm_from,
    refusal,
    with_outcome,
)
from pkid.responders.cmp.certstatus import BY_OMISSION, is_hash_right, rejection_of
from pkid.responders.cmp.doors import Confirmation, Engine
from pkid.responders.cmp.failures import error_content
from pkid.responders.cmp.groups import part_key
from pkid.responders.cmp.partfollowups import PartFollowUps
from pkid.responders.cmp.protection import NOT_PROTECTED, printable
from pkid.responders.cmp.requests import PROTOCOL, Answered, Request, of_outcome
from pkid.responders.cmp.transactions import (
    WHOLE_MESSAGE,
    Step,
    TransactionState,
    stage_of,
    step_for,
)

_PKICONF: Final = Draft(body_type=BodyType.PKICONF, body=PKIConfirmContent())
# The transaction cannot be given up any more: the client is heard all the same.
_PAST: Final = frozenset((ErrorCode.BAD_REQUEST, ErrorCode.CERTIFICATE_CONFIRMED))


@dataclass(frozen=True, slots=True)
class Open:
    """A transaction that a follow-up belongs to."""

    request: Request
    record: TransactionRecord
    state: TransactionState

    @property
    def serial(self) -> str:
        """Serial number of its certificate in hex, "" before there is one."""
        reference = self.record.certificate
        return "" if reference is None else f"{reference.serial:x}"


class FollowUps:
    """Answers what comes after the first answer."""

    def __init__(self, engine: Engine, answers: Answers, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._answers = answers
        self._parts = PartFollowUps(engine, answers, clock)
        self._steps: dict[Step, Callable[[Open], Awaitable[Answered]]] = {
            Step.POLL: self._poll,
            Step.CONFIRM: self._confirm,
            Step.CONFIRM_ALL: self._confirm_all,
            Step.ABANDON: self._abandon,
            Step.ACKNOWLEDGE: self._acknowledge,
        }

    async def answer(self, request: Request) -> Answered:
        """Answer certConf, pollReq, error or pkiconf.

        :raises PKIError: for refusals; they are answered by an error message.
        """
        record = await self._find(request)
        state = TransactionState.decode(record.state)
        octets = state.repeated(request.request_hash)
        if octets is not None:
            return Answered(octets=octets, repeated=True)
        body_type = request.message.body_type
        if body_type is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "unknown body type")
        _check_same_mac(request, state)
        state.check_nonces(request.sender_nonce, request.header.recip_nonce)
        if state.parts:
            return await self._parts.answer(request, record, state)
        step = step_for(stage_of(record, state), body_type)
        return await self._steps[step](Open(request, record, state))

    async def _find(self, request: Request) -> TransactionRecord:
        """The sender's own transaction.

        :raises PKIError: ``WRONG_AUTHORITY`` when it is another's; ``BAD_REQUEST``.
        """
        if request.header.transaction_id is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "transactionID is missing")
        record = await self._engine.find_transaction(request.key)
        if record is not None:
            return record
        others = await self._engine.find_transactions_by_id(
            PROTOCOL, request.alias.name, request.transaction_id
        )
        for other in others:
            if await self._came_from(other, request):
                return other
        if others:
            raise PKIError(
                ErrorCode.WRONG_AUTHORITY,
                "the transaction was opened with another credential",
            )
        raise PKIError(ErrorCode.BAD_REQUEST, "no transaction has this transactionID")

    async def _came_from(self, record: TransactionRecord, request: Request) -> bool:
        """Whether the signer's certificate came out of this transaction (CMP-196)."""
        own = request.requester.certificate
        if own is None or NEW_CERTIFICATE_CONFIRMS not in request.alias.quirks:
            return False
        parts = range(len(TransactionState.decode(record.state).parts))
        found = [
            await self._engine.find_transaction(part_key(record.key, index))
            for index in parts
        ]
        return any(
            one is not None and one.certificate == own for one in (record, *found)
        )

    # --- confirmation ------------------------------------------------------------

    async def _confirm(self, opened: Open) -> Answered:
        body = decode_body(opened.request.message)
        if not isinstance(body, CertConfirmContent):
            raise PKIError(ErrorCode.INTERNAL, "not a certConf")
        if not body.statuses:
            return await self._conclude(opened, _PKICONF, BY_OMISSION)
        if len(body.statuses) > 1:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "more than one CertStatus for one certificate"
            )
        status = body.statuses[0]
        if status.cert_req_id != opened.state.cert_req_id:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "certReqId is not that of the request"
            )
        rejected = rejection_of(status)
        if not await is_hash_right(
            self._engine,
            status,
            pvno=opened.request.header.pvno,
            certificate=opened.record.certificate,
            cert_hash=opened.state.cert_hash,
        ):
            return await self._refuse_hash(opened)
        return await self._conclude(opened, _PKICONF, rejected)

    async def _refuse_hash(self, opened: Open) -> Answered:
        """A wrong certHash ends the transaction: the client has something else."""
        error = PKIError(
            ErrorCode.BAD_CERTIFICATE_ID, "certHash is not that of the certificate"
        )
        draft = Draft(body_type=BodyType.ERROR, body=error_content(error))
        concluded = await self._conclude(opened, draft, error.detail)
        return Answered.refused(concluded.octets, error)

    async def _confirm_all(self, opened: Open) -> Answered:
        """Everything accepted by an RFC 2510 client; there is nothing to answer."""
        opened.state.check_confirms_all()
        return await self._conclude(opened, None, "")

    async def _abandon(self, opened: Open) -> Answered:
        """The client gives up: what it was issued is revoked."""
        body = decode_body(opened.request.message)
        reason = "the client gave up"
        if isinstance(body, ErrorMsgContent) and body.status_info.strings:
            reason = f"{reason}: {printable(body.status_info.strings[0])}"
        try:
            return await self._conclude(opened, _PKICONF, reason)
        except PKIError as error:
            if error.code not in _PAST:
                raise
        return await self._keep(opened, opened.state, _PKICONF)

    async def _acknowledge(self, opened: Open) -> Answered:
        sealed = await self._answers.answer(opened.request, _PKICONF)
        return Answered(octets=sealed.octets, serial=opened.serial)

    async def _conclude(
        self, opened: Open, draft: Draft | None, rejected: str
    ) -> Answered:
        """Carry out the client's word; the answer is stored with it.

        :param draft: None when nothing is answered.
        :param rejected: why the certificate is not taken; "" when it is.
        """
        request = opened.request
        octets, nonce = b"", b""
        if draft is not None:
            sealed = await self._answers.answer(request, draft)
            octets, nonce = sealed.octets, sealed.nonce
        state = opened.state.after(
            request.request_hash, request.sender_nonce, octets, nonce
        )
        await self._engine.confirm(
            Confirmation(
                key=opened.record.key,
                accepted=not rejected,
                detail=rejected,
                requester=request.requester,
                context=request.context,
                state=replace(state, delivered=True).encode(),
            )
        )
        return Answered(octets=octets, serial=opened.serial, cause=rejected)

    # --- polling -----------------------------------------------------------------

    async def _poll(self, opened: Open) -> Answered:
        number = _polled_id(opened)
        state = opened.state
        try:
            outcome = await self._engine.collect(opened.record.key)
        except PKIError as error:
            if error.code is not ErrorCode.REJECTED:
                raise
            draft = refusal(state.body_type, (state.cert_req_id,), error)
            kept = await self._keep(opened, replace(state, delivered=True), draft)
            return Answered.refused(kept.octets, error)
        outcome, due = confirm_from(opened.request.alias, outcome, self._clock.now())
        draft = self._polled(opened, outcome, number)
        kept = await self._keep(opened, with_outcome(state, outcome), draft, due)
        return of_outcome(outcome, kept.octets)

    def _polled(self, opened: Open, outcome: Outcome, number: int) -> Draft:
        alias = opened.request.alias
        if isinstance(outcome, Issued):
            return certification(alias, opened.state, outcome)
        wait = alias.poll_after or outcome.retry_after
        entry = PollRepEntry(number, int(wait.total_seconds()), (outcome.reason,))
        return Draft(body_type=BodyType.POLL_REP, body=PollRepContent((entry,)))

    async def _keep(
        self,
        opened: Open,
        state: TransactionState,
        draft: Draft,
        due: datetime | None = None,
    ) -> Answered:
        """Seal an answer and keep it, durably, before it leaves."""
        request = opened.request
        sealed = await self._answers.answer(request, draft)
        state = state.after(
            request.request_hash, request.sender_nonce, sealed.octets, sealed.nonce
        )
        await self._engine.remember(opened.record, state.encode(), due)
        return Answered(octets=sealed.octets, serial=opened.serial)


def _check_same_mac(request: Request, state: TransactionState) -> None:
    """One MAC algorithm carries a transaction through.

    **Source:** RFC 9483 section 3.2.
    """
    opening, now = state.mac_algorithm, request.header.protection_alg
    if (
        NEW_CERTIFICATE_CONFIRMS in request.alias.quirks
        and request.requester.certificate is not None
    ):
        # Whose certificate it is was looked at when the transaction was found.
        return
    if opening is not None and now is not None and opening.oid != now.oid:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            NOT_PROTECTED,
            hint="the MAC algorithm changed within the transaction",
        )


def _polled_id(opened: Open) -> int:
    """The certReqId polled for: the request's, or the whole message.

    :raises PKIError: ``BAD_REQUEST``.
    """
    body = decode_body(opened.request.message)
    if not isinstance(body, PollReqContent) or len(body.cert_req_ids) != 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "pollReq asks after exactly one request")
    number = body.cert_req_ids[0]
    if number not in {opened.state.cert_req_id, WHOLE_MESSAGE}:
        raise PKIError(ErrorCode.BAD_REQUEST, "certReqId is not that of the request")
    return number
