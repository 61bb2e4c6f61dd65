"""certConf, pollReq, error and pkiconf for a message with several requests.

What was delivered stands in the row of the message, whether it was confirmed in the
transaction of each part. A confirmation that is cut short between two parts is taken up
by its repeat: each part keeps what concluded it.

**Source:** RFC 9810 sections 5.3.17, 5.3.18, 5.3.21 and 5.3.22.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkid.engine.model import Pending, TransactionRecord
from pkid.engine.ports import Clock
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertConfirmContent,
    CertStatus,
    ErrorMsgContent,
    PKIConfirmContent,
    PollRepContent,
    PollRepEntry,
    PollReqContent,
)
from pkid.messages.cmp.message import decode_body
from pkid.responders.cmp.answers import Answers, Draft, Sealed
from pkid.responders.cmp.certification import confirm_from
from pkid.responders.cmp.certstatus import BY_OMISSION, is_hash_right, rejection_of
from pkid.responders.cmp.doors import Confirmation, Engine
from pkid.responders.cmp.failures import error_content
from pkid.responders.cmp.groups import (
    Fate,
    Fated,
    answer_of_parts,
    answered_with,
    any_withheld,
    part_after,
    part_key,
)
from pkid.responders.cmp.protection import printable
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.transactions import (
    WHOLE_MESSAGE,
    KeptAnswer,
    Part,
    Stage,
    TransactionState,
    stage_of_part,
    step_for,
)

_PKICONF: Final = Draft(body_type=BodyType.PKICONF, body=PKIConfirmContent())
_UNDECIDED: Final = frozenset((Stage.WAITING, Stage.READY))
#: Of several parts the first of these decides what a follow-up may do.
_ORDER: Final = (
    Stage.DELIVERED,
    Stage.READY,
    Stage.WAITING,
    Stage.CONFIRMED,
    Stage.REFUSED,
)


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part where it stands.

    :ivar record: None when it was refused at once.
    """

    part: Part
    record: TransactionRecord | None
    stage: Stage


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """A message with several requests, and the follow-up that belongs to it."""

    request: Request
    record: TransactionRecord
    state: TransactionState
    parts: tuple[OpenPart, ...]

    def at(self, *stages: Stage) -> tuple[OpenPart, ...]:
        """The parts that stand at one of these stages."""
        return tuple(one for one in self.parts if one.stage in stages)

    def find(self, cert_req_id: int) -> OpenPart:
        """The part of that certReqId.

        :raises PKIError: ``BAD_REQUEST``.
        """
        for one in self.parts:
            if one.part.cert_req_id == cert_req_id:
                return one
        raise PKIError(
            ErrorCode.BAD_REQUEST, "certReqId is not that of a request of the message"
        )

    def check(self, body_type: BodyType, stage: Stage | None = None) -> None:
        """Refuse what cannot be done at a stage, by default that of the message.

        :raises PKIError: by the table of steps.
        """
        at = {one.stage for one in self.parts}
        step_for(stage or next(one for one in _ORDER if one in at), body_type)


class PartFollowUps:
    """Answers what comes after the answer to a message with several requests."""

    def __init__(self, engine: Engine, answers: Answers, clock: Clock) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._bodies: dict[BodyType, Callable[[OpenGroup], Awaitable[Answered]]] = {
            BodyType.POLL_REQ: self._poll,
            BodyType.CERT_CONF: self._confirm,
            BodyType.PKICONF: self._confirm_all,
            BodyType.ERROR: self._abandon,
        }

    async def answer(
        self, request: Request, record: TransactionRecord, state: TransactionState
    ) -> Answered:
        """Answer a follow-up that was found to be fresh.

        :raises PKIError: for refusals; they are answered by an error message.
        :raises WriteConflict: when another follow-up was faster.
        """
        parts = [
            await self._open(record, index, part)
            for index, part in enumerate(state.parts)
        ]
        group = OpenGroup(request, record, state, tuple(parts))
        body_type = request.message.body_type
        if body_type is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "unknown body type")
        return await self._bodies[body_type](group)

    async def _open(self, whole: TransactionRecord, index: int, part: Part) -> OpenPart:
        record = await self._engine.find_transaction(part_key(whole.key, index))
        if record is None:
            return OpenPart(part, None, Stage.REFUSED)
        return OpenPart(part, record, stage_of_part(record, delivered=part.delivered))

    # --- confirmation ------------------------------------------------------------

    async def _confirm(self, group: OpenGroup) -> Answered:
        body = decode_body(group.request.message)
        if not isinstance(body, CertConfirmContent):
            raise PKIError(ErrorCode.INTERNAL, "not a certConf")
        concluded = _concluded_by(group)
        if not concluded:
            group.check(BodyType.CERT_CONF)
        words: dict[int, str] = {}
        for status in body.statuses:
            if status.cert_req_id in words:
                raise PKIError(ErrorCode.BAD_REQUEST, "two CertStatus of one certReqId")
            one = group.find(status.cert_req_id)
            words[status.cert_req_id] = rejection_of(status)
            if one not in concluded:
                group.check(BodyType.CERT_CONF, one.stage)
                if not await self._is_right(group, one, status):
                    return await self._refuse_hash(group, one)
        for one in group.at(Stage.DELIVERED):
            # Of a certificate that is not named the client wants nothing.
            await self._conclude(
                group, one, words.get(one.part.cert_req_id, BY_OMISSION)
            )
        return await self._keep(
            group, _PKICONF, cause="; ".join(filter(None, words.values()))
        )

    async def _is_right(
        self, group: OpenGroup, one: OpenPart, status: CertStatus
    ) -> bool:
        return await is_hash_right(
            self._engine,
            status,
            pvno=group.request.header.pvno,
            certificate=None if one.record is None else one.record.certificate,
            cert_hash=one.part.cert_hash,
        )

    async def _refuse_hash(self, group: OpenGroup, one: OpenPart) -> Answered:
        """A wrong certHash ends this part; the others may be confirmed yet."""
        error = PKIError(
            ErrorCode.BAD_CERTIFICATE_ID, "certHash is not that of the certificate"
        )
        await self._conclude(group, one, error.detail)
        draft = Draft(body_type=BodyType.ERROR, body=error_content(error))
        kept = await self._keep(group, draft)
        return Answered.refused(kept.octets, error)

    async def _confirm_all(self, group: OpenGroup) -> Answered:
        """Everything accepted by an RFC 2510 client; there is nothing to answer."""
        group.state.check_confirms_all()
        if not _concluded_by(group):
            group.check(BodyType.PKICONF)
        for one in group.at(Stage.DELIVERED):
            await self._conclude(group, one, "")
        return await self._keep(group, None)

    async def _abandon(self, group: OpenGroup) -> Answered:
        """The client gives up all that is not confirmed yet."""
        body = decode_body(group.request.message)
        reason = "the client gave up"
        if isinstance(body, ErrorMsgContent) and body.status_info.strings:
            reason = f"{reason}: {printable(body.status_info.strings[0])}"
        for one in group.at(Stage.DELIVERED, Stage.READY, Stage.WAITING):
            try:
                await self._conclude(group, one, reason)
            except PKIError as error:
                if error.code not in {
                    ErrorCode.BAD_REQUEST,
                    ErrorCode.CERTIFICATE_CONFIRMED,
                }:
                    raise
        return await self._keep(group, _PKICONF, cause=reason)

    async def _conclude(self, group: OpenGroup, one: OpenPart, rejected: str) -> None:
        """Carry out the client's word on one part; by which message is kept there."""
        request, record = group.request, one.record
        if record is None:
            return
        kept = KeptAnswer(request.request_hash, b"")
        state = replace(TransactionState.decode(record.state), answers=(kept,))
        await self._engine.confirm(
            Confirmation(
                key=record.key,
                accepted=not rejected,
                detail=rejected,
                requester=request.requester,
                context=request.context,
                state=state.encode(),
            )
        )

    # --- polling -----------------------------------------------------------------

    async def _poll(self, group: OpenGroup) -> Answered:
        asked = self._polled(group)
        fates = [Fated(one.part.cert_req_id, await self._fate(one)) for one in asked]
        if all(isinstance(one.fate, Pending) for one in fates):
            return await self._keep(group, _still_waiting(group, fates), fates=fates)
        due = group.record.due
        for index, one in enumerate(asked):
            fate, deadline = self._deliver(group, fates[index].fate)
            fates[index] = replace(fates[index], fate=fate)
            if deadline is not None and one.record is not None:
                await self._engine.remember(one.record, one.record.state, deadline)
                due = max(due, deadline + REPLAY_WINDOW)
        draft = answer_of_parts(group.request, group.state, fates)
        return await self._keep(group, draft, fates=fates, due=due)

    def _deliver(self, group: OpenGroup, fate: Fate) -> tuple[Fate, datetime | None]:
        """What is given to the client now, and until when it is to confirm."""
        if isinstance(fate, PKIError):
            return fate, None
        return confirm_from(group.request.alias, fate, self._clock.now())

    def _polled(self, group: OpenGroup) -> tuple[OpenPart, ...]:
        """The parts asked after; -1 is all that are still to come.

        :raises PKIError: ``BAD_REQUEST``.
        """
        body = decode_body(group.request.message)
        if not isinstance(body, PollReqContent) or not body.cert_req_ids:
            raise PKIError(ErrorCode.BAD_REQUEST, "pollReq asks after no request")
        if WHOLE_MESSAGE in body.cert_req_ids:
            asked = group.at(*_UNDECIDED)
            if not asked:
                group.check(BodyType.POLL_REQ)
            return asked
        asked = tuple(map(group.find, dict.fromkeys(body.cert_req_ids)))
        for one in asked:
            group.check(BodyType.POLL_REQ, one.stage)
        return asked

    async def _fate(self, one: OpenPart) -> Fate:
        if one.record is None:
            raise PKIError(ErrorCode.INTERNAL, "a part that waits without a row")
        try:
            return await self._engine.collect(one.record.key)
        except PKIError as error:
            if error.code is not ErrorCode.REJECTED:
                raise
            return error

    # --- answer ------------------------------------------------------------------

    async def _keep(
        self,
        group: OpenGroup,
        draft: Draft | None,
        *,
        cause: str = "",
        fates: Sequence[Fated] = (),
        due: datetime | None = None,
    ) -> Answered:
        """Seal an answer and keep it, durably, before it leaves.

        :param draft: None when nothing is answered.
        :param fates: what it says of parts: which are delivered by it.
        """
        request = group.request
        sealed = Sealed(b"", b"")
        if draft is not None:
            sealed = await self._answers.answer(request, draft)
        after = {one.cert_req_id: part_after(one) for one in fates}
        parts = tuple(after.get(part.cert_req_id, part) for part in group.state.parts)
        withheld = group.state.withheld or any_withheld(fates)
        state = replace(group.state, parts=parts, withheld=withheld).after(
            request.request_hash, request.sender_nonce, sealed.octets, sealed.nonce
        )
        await self._engine.remember(group.record, state.encode(), due)
        if fates:
            return answered_with(fates, sealed)
        return Answered(octets=sealed.octets, cause=cause)


def _still_waiting(group: OpenGroup, fates: Sequence[Fated]) -> Draft:
    alias = group.request.alias
    entries: list[PollRepEntry] = []
    for one in fates:
        if isinstance(one.fate, Pending):
            wait = alias.poll_after or one.fate.retry_after
            entries.append(
                PollRepEntry(
                    one.cert_req_id, int(wait.total_seconds()), (one.fate.reason,)
                )
            )
    return Draft(body_type=BodyType.POLL_REP, body=PollRepContent(tuple(entries)))


def _concluded_by(group: OpenGroup) -> tuple[OpenPart, ...]:
    """The parts that this very message concluded before it was cut short."""
    digest = group.request.request_hash
    return tuple(
        one
        for one in group.parts
        if one.record is not None
        and one.part.delivered
        and TransactionState.decode(one.record.state).repeated(digest) is not None
    )
