"""Waiting by TCP-level polling, for clients that know no other way.

A reference is 32 random bits, good for one poll, and bound to nothing but its value:
the answer it fetches is protected for the client that opened the transaction.

**Source:** RFC 2510 section 5.2.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from pkid.asn1 import der
from pkid.engine.model import (
    Outcome,
    Pending,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.certification import (
    certification,
    confirm_from,
    refusal,
    with_outcome,
)
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import ProtectionCheck
from pkid.responders.cmp.requests import (
    PROTOCOL,
    SIGNED,
    Addressing,
    Answered,
    RandomOctets,
    Ticket,
    of_outcome,
)
from pkid.responders.cmp.transactions import KeptAnswer, TransactionState

REFERENCE_OCTETS: Final = 4
#: Clients take their own idea of time when it is nearer than this.
SHORTEST_WAIT: Final = timedelta(seconds=5)
REFERENCE_LIFE: Final = timedelta(days=1)

_HOLDER: Final = "tcp-poll"
_PREFIX: Final = b"tcp-poll/"
_USED: Final = b""
_NOTHING: Final = Answered(octets=b"")


class TCPPolling:
    """Gives out references and answers polls that bring one."""

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        protection: ProtectionCheck,
        clock: Clock,
        random: RandomOctets,
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._protection = protection
        self._clock = clock
        self._random = random

    async def ticket(
        self, alias: CMPAlias, key: TransactionKey, outcome: Outcome
    ) -> Ticket:
        """A new reference for a transaction, durable before it is given out."""
        reference = self._random(REFERENCE_OCTETS)
        now = self._clock.now()
        wait = SHORTEST_WAIT
        if isinstance(outcome, Pending):
            wait = max(wait, alias.poll_after or outcome.retry_after)
        await self._engine.begin(
            TransactionRecord(
                key=_reference_key(alias, reference),
                request_hash=reference,
                status=TransactionStatus.DONE,
                created=now,
                due=now + REFERENCE_LIFE,
                state=_encode_target(key),
            )
        )
        return Ticket(int.from_bytes(reference, "big"), now + wait)

    async def answer(self, alias: CMPAlias, body: bytes) -> Answered:
        """Answer a pollReq record.

        :param body: the reference, 4 octets; nothing is said to anything else.
        """
        key = await self._redeem(alias, body)
        record = None if key is None else await self._engine.find_transaction(key)
        if key is None or record is None:
            return _NOTHING
        state = TransactionState.decode(record.state)
        if state.delivered:
            return Answered(octets=state.answers[0].octets, repeated=True)
        try:
            outcome = await self._engine.collect(key)
        except PKIError as error:
            if error.code is not ErrorCode.REJECTED:
                raise
            draft = refusal(state.body_type, (state.cert_req_id,), error)
            octets = await self._deliver(
                alias, key, replace(state, delivered=True), draft
            )
            return Answered.refused(octets, error)
        if isinstance(outcome, Pending):
            ticket = await self.ticket(alias, key, outcome)
            return of_outcome(outcome, b"", ticket=ticket)
        outcome, due = confirm_from(alias, outcome, self._clock.now())
        draft = certification(alias, state, outcome)
        state = with_outcome(state, outcome)
        octets = await self._deliver(alias, key, state, draft, due)
        return of_outcome(outcome, octets)

    async def _redeem(self, alias: CMPAlias, reference: bytes) -> TransactionKey | None:
        record = await self._engine.find_transaction(_reference_key(alias, reference))
        if record is None or record.state == _USED or record.due < self._clock.now():
            return None
        try:
            await self._engine.remember(record, _USED)
        except PKIError as error:
            if error.code is ErrorCode.CONFLICT:
                return None  # another poll with this reference was faster
            raise
        return _decode_target(alias, record.state)

    async def _deliver(
        self,
        alias: CMPAlias,
        key: TransactionKey,
        state: TransactionState,
        draft: Draft,
        due: datetime | None = None,
    ) -> bytes:
        """Seal the final answer as if it answered the opening request, and keep it."""
        revived = None
        if state.mac_algorithm is not None and alias.response_protection == "mirror":
            revived = await self._protection.revive(
                alias, state.mac_algorithm, state.sender_kid
            )
        addressing = Addressing(
            pvno=state.pvno,
            recipient=state.sender,
            transaction_id=key.transaction_id,
            recip_nonce=state.client_nonces[0],
        )
        sealed = await self._answers.seal(alias, addressing, revived or SIGNED, draft)
        kept = KeptAnswer(state.answers[0].request_hash, sealed.octets)
        state = replace(state, our_nonce=sealed.nonce, answers=(kept,))
        record = await self._engine.find_transaction(key)
        if record is None:
            raise PKIError(ErrorCode.INTERNAL, "the transaction is gone")
        await self._engine.remember(record, state.encode(), due)
        return sealed.octets


def _reference_key(alias: CMPAlias, reference: bytes) -> TransactionKey:
    return TransactionKey(PROTOCOL, alias.name, _HOLDER, _PREFIX + reference)


def _encode_target(key: TransactionKey) -> bytes:
    return der.sequence(
        der.utf8_string(key.requester), der.octet_string(key.transaction_id)
    )


def _decode_target(alias: CMPAlias, state: bytes) -> TransactionKey:
    cursor = der.Cursor(der.single(state, der.SEQUENCE))
    requester = der.decode_utf8(cursor.take(der.UTF8_STRING))
    transaction_id = cursor.take(der.OCTET_STRING)
    return TransactionKey(PROTOCOL, alias.name, requester, transaction_id)
