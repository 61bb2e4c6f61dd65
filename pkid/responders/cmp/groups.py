"""Several requests in one message: each with an answer and a fate of its own.

Each CertReqMsg is one transaction of the engine, a *part*: issued, refused, approved,
confirmed by itself; how many there may be is the codec's limit. The message is a
transaction too. Its row is made before the first part is issued, so that a message cut
short is taken up where it stopped, and it holds which parts were delivered and the
answer of the whole, written at once.

The dialogue, with two certificates of which one has to wait::

    client                      pkid
    ir (0, 1)            ->     both asked of the engine, one after the other
                         <-     ip: 0 accepted, 1 waiting
    certConf (0)         ->     0 confirmed
                         <-     pkiconf
    pollReq (1)          ->     decided meanwhile
                         <-     ip: 1 accepted
    certConf (1)         ->     1 confirmed
                         <-     pkiconf

**Source:** RFC 9810 sections 5.3.4, 5.3.18 and 5.3.22.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pkid.engine.model import (
    EnrollmentRequest,
    Issued,
    Outcome,
    Pending,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    CertRepMessage,
    CertResponse,
)
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import CertReqMsg
from pkid.responders.cmp.answers import Answers, Draft, Sealed, without_root
from pkid.responders.cmp.certification import (
    RESPONSE_TYPES,
    confirmation_info,
    hash_of,
    opening_state,
    response_of,
)
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.failures import OF_THE_EXCHANGE, rejection
from pkid.responders.cmp.headers import Wishes
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.transactions import KeptAnswer, Part, TransactionState

#: Makes what the engine is asked of one CertReqMsg, under the key of its part.
Reader = Callable[[CertReqMsg, TransactionKey], Awaitable[EnrollmentRequest]]
#: What became of a part: an outcome of the engine, or why there is none.
Fate = Outcome | PKIError


@dataclass(frozen=True, slots=True)
class Fated:
    """A part and what became of it."""

    cert_req_id: int
    fate: Fate


def part_key(whole: TransactionKey, index: int) -> TransactionKey:
    """The key of a part: the message's own, with its place in the message.

    No requester has a line break in its identity, so that no message of its own can
    ever meet the key of a part.
    """
    return replace(whole, requester=f"{whole.requester}\n{index}")


class Groups:
    """Answers messages with several requests."""

    def __init__(self, engine: Engine, answers: Answers, clock: Clock) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock

    async def answer(
        self,
        request: Request,
        wishes: Wishes,
        messages: Sequence[CertReqMsg],
        read: Reader,
    ) -> Answered:
        """Answer an ir, cr, kur or ccr with several CertReqMsg.

        :raises PKIError: ``BAD_REQUEST`` for ids that are not unique,
            ``TRANSACTION_IN_USE``; what is wrong with the exchange itself.
        :raises WriteConflict: when the same message was answered meanwhile.
        """
        ids = tuple(message.cert_req.cert_req_id for message in messages)
        _check_ids(ids)
        record = await self._engine.find_transaction(request.key)
        if record is not None:
            octets = _repeated(request, record)
            if octets is not None:
                return Answered(octets=octets, repeated=True)
        read_parts = await _read_all(request.key, messages, read)
        if record is None:
            record = await self._begin(request, opening_state(request, ids[0], wishes))
        fates = [
            Fated(number, fate)
            for number, fate in zip(
                ids, await self._enroll(read_parts, record.state), strict=True
            )
        ]
        state = TransactionState.decode(record.state)
        sealed = await self._answers.answer(
            request, answer_of_parts(request, state, fates)
        )
        state = replace(
            state,
            parts=tuple(map(part_after, fates)),
            delivered=True,
            withheld=any_withheld(fates),
            our_nonce=sealed.nonce,
            answers=(KeptAnswer(request.request_hash, sealed.octets),),
        )
        await self._engine.remember(
            record, state.encode(), await self._due(request.key, len(ids))
        )
        return answered_with(fates, sealed)

    async def _begin(
        self, request: Request, state: TransactionState
    ) -> TransactionRecord:
        """Take the transactionID, durably, before anything is issued under it."""
        now = self._clock.now()
        record = TransactionRecord(
            key=request.key,
            request_hash=request.request_hash,
            status=TransactionStatus.DONE,
            created=now,
            due=now + REPLAY_WINDOW,
            state=state.encode(),
        )
        await self._engine.begin(record)
        return record

    async def _enroll(
        self, parts: Sequence[EnrollmentRequest | PKIError], state: bytes
    ) -> list[Fate]:
        """Ask for one after the other: they may be of one and the same entity.

        One use of a secret is for the message, not for each certificate in it: the
        first part that is not refused consumes it.

        :param state: of the message as it was opened; the parts keep it unchanged.
        """
        fates: list[Fate] = []

        async def keep(_: Outcome) -> bytes:
            return state

        paid = False
        for part in parts:
            if isinstance(part, PKIError):
                fates.append(part)
                continue
            asked = _without_credential(part) if paid else part
            try:
                fates.append(await self._engine.enroll(asked, keep))
            except PKIError as error:
                if error.code in OF_THE_EXCHANGE:
                    raise
                fates.append(error)
            else:
                paid = True
        return fates

    async def _due(self, key: TransactionKey, count: int) -> datetime:
        """The row outlives all of its parts."""
        latest = self._clock.now()
        for index in range(count):
            record = await self._engine.find_transaction(part_key(key, index))
            if record is not None:
                latest = max(latest, record.due)
        return latest + REPLAY_WINDOW


def answer_of_parts(
    request: Request, state: TransactionState, fates: Iterable[Fated]
) -> Draft:
    """ip, cp, kup or ccp with a CertResponse for each part."""
    fates = tuple(fates)
    alias = request.alias
    responses = tuple(
        CertResponse(one.cert_req_id, rejection(one.fate))
        if isinstance(one.fate, PKIError)
        else response_of(alias, one.cert_req_id, one.fate, pvno=state.pvno)
        for one in fates
    )
    issued = [one.fate for one in fates if isinstance(one.fate, Issued)]
    chain = issued[0].chain if issued else ()
    return Draft(
        body_type=RESPONSE_TYPES[state.body_type],
        body=CertRepMessage(responses, chain[-1:] if state.ca_pubs else ()),
        general_info=_confirmation_info(issued),
        certificates=without_root(chain, alias) if chain else (),
    )


def any_withheld(fates: Iterable[Fated]) -> bool:
    """Whether a certificate leaves encrypted: its certHash proves possession."""
    return any(isinstance(one.fate, Issued) and one.fate.withheld for one in fates)


def part_after(fated: Fated) -> Part:
    """A part once this was said of it."""
    fate = fated.fate
    if isinstance(fate, Pending):
        return Part(fated.cert_req_id)
    cert_hash = hash_of(fate) if isinstance(fate, Issued) else b""
    return Part(fated.cert_req_id, delivered=True, cert_hash=cert_hash)


def answered_with(fates: Sequence[Fated], sealed: Sealed) -> Answered:
    """The answer, with what the log says of it: the worst that befell a part."""
    refusals = [one.fate for one in fates if isinstance(one.fate, PKIError)]
    serials = [
        f"{one.fate.certificate.reference.serial:x}"
        for one in fates
        if isinstance(one.fate, Issued)
    ]
    status, bit = PKIStatus.ACCEPTED, None
    if any(isinstance(one.fate, Pending) for one in fates):
        status = PKIStatus.WAITING
    if refusals:
        status = PKIStatus.REJECTION
        bit = _bit_of(refusals[0])
    return Answered(
        octets=sealed.octets,
        status=status,
        fail_info=bit,
        serial=",".join(serials),
        cause="; ".join(dict.fromkeys(error.detail for error in refusals)),
        hint="; ".join(dict.fromkeys(error.hint or "" for error in refusals)),
    )


def _bit_of(error: PKIError) -> FailInfo:
    (bit,) = rejection(error).fail_info
    return bit


def _confirmation_info(issued: Sequence[Issued]) -> tuple[InfoTypeAndValue, ...]:
    """Implicit confirmation, or the earliest of the times to confirm."""
    if not issued:
        return ()
    deadlines = [one.confirm_by for one in issued if one.confirm_by is not None]
    earliest = min(deadlines, default=None)
    return confirmation_info(replace(issued[0], confirm_by=earliest))


def _check_ids(ids: Sequence[int]) -> None:
    if len(set(ids)) != len(ids):
        raise PKIError(ErrorCode.BAD_REQUEST, "certReqId is not unique in the message")
    if min(ids) < 0:
        raise PKIError(ErrorCode.BAD_REQUEST, "certReqId is negative")


def _repeated(request: Request, record: TransactionRecord) -> bytes | None:
    """The answer given to these octets; None when they were cut short.

    :raises PKIError: ``TRANSACTION_IN_USE`` when the id belongs to another request.
    """
    if record.request_hash != request.request_hash:
        raise PKIError(
            ErrorCode.TRANSACTION_IN_USE,
            "another request has used this transaction id",
        )
    return TransactionState.decode(record.state).repeated(request.request_hash)


async def _read_all(
    key: TransactionKey, messages: Sequence[CertReqMsg], read: Reader
) -> list[EnrollmentRequest | PKIError]:
    """Read all parts before the first is issued.

    :raises PKIError: for what cannot be read: the message as a whole is at fault.
    """
    parts: list[EnrollmentRequest | PKIError] = []
    for index, message in enumerate(messages):
        try:
            parts.append(await read(message, part_key(key, index)))
        except PKIError as error:
            if error.code in OF_THE_EXCHANGE:
                raise
            parts.append(error)
    return _confirmed_alike(parts)


def _confirmed_alike(
    parts: list[EnrollmentRequest | PKIError],
) -> list[EnrollmentRequest | PKIError]:
    """All implicitly confirmed or none: the header of the answer speaks for all.

    A certificate that leaves encrypted has to be confirmed, and the others with it.
    """
    asked = [part for part in parts if not isinstance(part, PKIError)]
    waits = [part.confirmation for part in asked if part.confirmation is not None]
    if not waits or len(waits) == len(asked):
        return parts
    return [
        part if isinstance(part, PKIError) else replace(part, confirmation=waits[0])
        for part in parts
    ]


def _without_credential(asked: EnrollmentRequest) -> EnrollmentRequest:
    return replace(asked, requester=replace(asked.requester, credential=None))
