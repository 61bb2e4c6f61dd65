"""Exchanges of one request and one answer: rr and genm.

Their answers are kept like any other, so that the same octets again get the same
answer, and the transaction id is not used twice.
"""

from __future__ import annotations

from datetime import datetime

from pkid.engine.model import TransactionRecord, TransactionStatus
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.responders.cmp.answers import Sealed
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.transactions import KeptAnswer, TransactionState


async def find_repeat(engine: Engine, request: Request) -> Answered | None:
    """The answer given to these octets before, None when the id is new.

    :raises PKIError: ``TRANSACTION_IN_USE`` when the id belongs to another request.
    """
    record = await engine.find_transaction(request.key)
    if record is None:
        return None
    octets = None
    if record.request_hash == request.request_hash:
        octets = TransactionState.decode(record.state).repeated(request.request_hash)
    if octets is None:
        raise PKIError(
            ErrorCode.TRANSACTION_IN_USE,
            "another request has used this transaction id",
        )
    return Answered(octets=octets, repeated=True)


def finished_record(
    request: Request, body_type: BodyType, sealed: Sealed, now: datetime
) -> TransactionRecord:
    """The row of an exchange that is over with its answer."""
    state = TransactionState(
        body_type=body_type,
        pvno=request.header.pvno,
        sender=request.header.sender,
        client_nonces=(request.sender_nonce,),
        our_nonce=sealed.nonce,
        delivered=True,
        answers=(KeptAnswer(request.request_hash, sealed.octets),),
    )
    return TransactionRecord(
        key=request.key,
        request_hash=request.request_hash,
        status=TransactionStatus.DONE,
        created=now,
        due=now + REPLAY_WINDOW,
        state=state.encode(),
    )
