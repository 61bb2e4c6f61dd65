"""Proxy and added protection: messages for another CA pass as they came.

What a device and the CA say to each other is not ours to verify or to change. Answers
are kept, so that a repeated message finds its answer without the CA. With added
protection we are the CA's registration authority, and speak for it while it is out of
reach: a request for a certificate is held, and its device told to wait.

    device                    pkid                             CA
    ir              ->        ir, or nested(ir)        ->
                    <-        ip                       <-      ip

    ir              ->        (out of reach)
                    <-  ip waiting, signed by us
    pollReq         ->        nested(ir)               ->
                    <-        ip                       <-      ip

**Source:** RFC 9810 section 5.1.3.5; RFC 9483 sections 5.2.1 and 5.2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from pkid.engine.conflicts import look_again
from pkid.engine.elsewhere import Progress
from pkid.engine.model import (
    RequestContext,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    CertRepMessage,
    CertReqMessages,
    CertResponse,
    ErrorMsgContent,
    PollRepContent,
    PollRepEntry,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.responders.cmp.aliases import FORWARD, CMPAlias
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import printable
from pkid.responders.cmp.requests import PROTOCOL, SIGNED, Addressing, Answered
from pkid.responders.cmp.templates import P10CR_REQ_ID
from pkid.responders.cmp.upstream import (
    CERTIFICATE_ANSWERS,
    Upstream,
    read_answer,
    upstream_of,
)
from pkid.responders.cmp.upstreamseal import nest
from pkid.responders.cmp.upstreamstate import RelayState

REQUESTER: Final = "upstream:"
_WAITING: Final = PKIStatusInfo(
    PKIStatus.WAITING, ("the certification authority is out of reach at the moment",)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """A message that passes, not verified.

    :ivar transaction_id: of the message, or made from its digest.
    """

    alias: CMPAlias
    message: PKIMessage
    request_hash: bytes
    transaction_id: bytes
    addressing: Addressing
    context: RequestContext


class Relay:
    """Passes messages on, and answers back.

    :param upstreams: the CAs elsewhere by name, as configured at this moment.
    """

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        upstreams: Callable[[], Mapping[str, Upstream]],
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._upstreams = upstreams
        self._clock = clock

    async def answer(self, passing: Passing) -> Answered:
        """The CA's answer, or while it is out of reach perhaps ours.

        :raises PKIError: ``UNAVAILABLE``, ``TRANSACTION_IN_USE``, ``BAD_REQUEST``.
        """
        return await look_again(lambda: self._answer(passing))

    async def _answer(self, passing: Passing) -> Answered:
        alias = passing.alias
        upstream = upstream_of(self._upstreams(), alias.alias.upstream)
        record = await self._engine.find_transaction(
            TransactionKey(
                PROTOCOL,
                alias.name,
                f"{REQUESTER}{upstream.name}",
                passing.transaction_id,
            )
        )
        state = RelayState() if record is None else RelayState.decode(record.state)
        octets = state.repeated(passing.request_hash)
        if octets is not None:
            return Answered(octets=octets, repeated=True)
        if record is not None and (state.held or state.arrived):
            return await self._go_on(passing, upstream, record, state)
        try:
            octets = await self._pass(alias, upstream, passing.message)
        except PKIError as error:
            if record is not None or not self._may_wait(passing, error):
                raise
            return await self._hold(passing, upstream, error)
        await self._keep(passing, upstream, record, state, octets)
        return _told(octets)

    async def _pass(
        self, alias: CMPAlias, upstream: Upstream, message: PKIMessage
    ) -> bytes:
        """The CA's answer to one message.

        :raises PKIError: ``UNAVAILABLE``.
        """
        octets = message.der
        if alias.upstream_mode != FORWARD:
            identity = self._engine.message_identity(alias.alias.authority)
            octets = await nest(identity, message, self._clock.now())
        answer = await upstream.wire.send(octets)
        if answer:
            read_answer(answer, message)
        return answer

    async def _keep(
        self,
        passing: Passing,
        upstream: Upstream,
        record: TransactionRecord | None,
        state: RelayState,
        octets: bytes,
    ) -> None:
        """Keep an answer for the same octets again.

        Only what the CA took is kept: strangers fill no store.
        """
        if record is None and (not octets or _is_error(octets)):
            return
        state = state.answered(passing.request_hash, octets)
        if record is not None:
            await self._proceed(record, state, TransactionStatus.DONE)
            return
        await self._begin(
            passing, upstream, state, TransactionStatus.DONE, REPLAY_WINDOW
        )

    # --- while the CA is out of reach --------------------------------------------

    def _may_wait(self, passing: Passing, error: PKIError) -> bool:
        return (
            error.code is ErrorCode.UNAVAILABLE
            and passing.alias.upstream_mode != FORWARD
            and passing.message.body_type in CERTIFICATE_ANSWERS
        )

    async def _hold(
        self, passing: Passing, upstream: Upstream, away: PKIError
    ) -> Answered:
        """Keep the request, and tell its device to wait."""
        message = passing.message
        await check_room(self._engine, upstream)
        number = _request_id(message)
        response = CertResponse(number, _WAITING)
        body_type = CERTIFICATE_ANSWERS[message.body_type or BodyType.IR]
        draft = Draft(body_type=body_type, body=CertRepMessage((response,)))
        sealed = await self._answers.seal(
            passing.alias, passing.addressing, SIGNED, draft
        )
        state = RelayState(
            held=message.der, cert_req_id=number, our_nonce=sealed.nonce
        ).answered(passing.request_hash, sealed.octets)
        await self._begin(
            passing, upstream, state, TransactionStatus.ELSEWHERE, upstream.retry
        )
        return Answered(
            octets=sealed.octets, status=PKIStatus.WAITING, hint=away.hint or ""
        )

    async def _go_on(
        self,
        passing: Passing,
        upstream: Upstream,
        record: TransactionRecord,
        state: RelayState,
    ) -> Answered:
        """The device asks after what is held, or what meanwhile arrived for it."""
        header, body_type = passing.message.header, passing.message.body_type
        if body_type in CERTIFICATE_ANSWERS:
            raise PKIError(
                ErrorCode.TRANSACTION_IN_USE,
                "another request has used this transaction id",
            )
        if body_type is not BodyType.POLL_REQ or header.recip_nonce != state.our_nonce:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "a request that waits is only polled for"
            )
        if state.held and record.due <= self._clock.now():
            record = await self.advance(passing.alias, record)
            state = RelayState.decode(record.state)
        if state.arrived:
            octets = state.arrived
            state = replace(state, arrived=b"").answered(passing.request_hash, octets)
            await self._proceed(record, state, TransactionStatus.DONE)
            return _told(octets)
        entry = PollRepEntry(
            state.cert_req_id, seconds_of(upstream.poll_after), _WAITING.strings
        )
        draft = Draft(body_type=BodyType.POLL_REP, body=PollRepContent((entry,)))
        sealed = await self._answers.seal(
            passing.alias, passing.addressing, SIGNED, draft
        )
        state = replace(state, our_nonce=sealed.nonce)
        state = state.answered(passing.request_hash, sealed.octets)
        await self._proceed(
            record, state, record.status, record.due - self._clock.now()
        )
        return Answered(octets=sealed.octets, status=PKIStatus.WAITING)

    async def advance(
        self, alias: CMPAlias, record: TransactionRecord
    ) -> TransactionRecord:
        """Ask the CA again for what is held.

        :returns: the row as it is now.
        :raises PKIError: `WriteConflict` when the device did at the same moment.
        """
        upstream = upstream_of(self._upstreams(), alias.alias.upstream)
        state = RelayState.decode(record.state)
        if not state.held:
            return await self._proceed(record, state, TransactionStatus.DONE)
        try:
            octets = await self._pass(alias, upstream, PKIMessage.decode(state.held))
        except PKIError as error:
            if error.code is not ErrorCode.UNAVAILABLE:
                raise
            if record.created + upstream.hold < self._clock.now():
                state = replace(state, held=b"")
                return await self._proceed(record, state, TransactionStatus.EXPIRED)
            return await self._proceed(record, state, record.status, upstream.retry)
        state = replace(state, held=b"", arrived=octets)
        return await self._proceed(record, state, TransactionStatus.DONE)

    # --- rows --------------------------------------------------------------------

    async def _begin(
        self,
        passing: Passing,
        upstream: Upstream,
        state: RelayState,
        status: TransactionStatus,
        after: timedelta,
    ) -> None:
        now = self._clock.now()
        record = TransactionRecord(
            key=TransactionKey(
                PROTOCOL,
                passing.alias.name,
                f"{REQUESTER}{upstream.name}",
                passing.transaction_id,
            ),
            request_hash=passing.request_hash,
            status=status,
            created=now,
            due=now + after,
            state=state.encode(),
        )
        await self._engine.elsewhere.begin(record, passing.context)

    async def _proceed(
        self,
        record: TransactionRecord,
        state: RelayState,
        status: TransactionStatus,
        after: timedelta = REPLAY_WINDOW,
    ) -> TransactionRecord:
        progress = Progress(
            status=status, state=state.encode(), due=self._clock.now() + after
        )
        return await self._engine.elsewhere.proceed(record, progress)


async def check_room(engine: Engine, upstream: Upstream) -> None:
    """Refuse to hold more than is allowed to wait.

    :raises PKIError: ``BUSY``.
    """
    waiting = await engine.elsewhere.waiting(upstream.most_held)
    if waiting >= upstream.most_held:
        raise PKIError(
            ErrorCode.BUSY,
            "too many requests wait for the certification authority",
            retry_after=seconds_of(upstream.poll_after),
        )


def seconds_of(period: timedelta) -> int:
    """Whole seconds, at least one."""
    return max(1, round(period.total_seconds()))


def _request_id(message: PKIMessage) -> int:
    content = decode_body(message)
    if isinstance(content, CertReqMessages):
        return content.messages[0].cert_req.cert_req_id
    return P10CR_REQ_ID


def _is_error(octets: bytes) -> bool:
    return PKIMessage.decode(octets).body_type is BodyType.ERROR


def _told(octets: bytes) -> Answered:
    """An answer of the CA, with what the log says of it."""
    if octets and _is_error(octets):
        content = decode_body(PKIMessage.decode(octets))
        if isinstance(content, ErrorMsgContent):
            text = " ".join(content.status_info.strings) or "refused by the CA"
            status = content.status_info.status
            return Answered(octets=octets, status=status, cause=printable(text))
    return Answered(octets=octets)
