"""Certificates that wait for the client's confirmation, and what ends the wait.

Confirmed, rejected, or the deadline passes: an unconfirmed certificate is revoked
(cessationOfOperation), and a renewal that was not confirmed never happened.

**Source:** RFC 9810 sections 5.1.1.2 and 5.3.18.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pkid.engine import audit
from pkid.engine.model import (
    CertificateRecord,
    CertificateStatus,
    RequestContext,
    Requester,
    RevocationReason,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
    UpdateState,
)
from pkid.engine.ports import Store
from pkid.engine.records import ApprovalStatus
from pkid.engine.renewal import update_of_abandoned, update_of_replaced
from pkid.engine.transactions import REPLAY_WINDOW
from pkid.engine.writes import (
    UpdateApproval,
    UpdateCertificate,
    UpdateTransaction,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError

SWEEP_SLICE = 200
_DAEMON = "system:daemon"
_INTERNAL = RequestContext(protocol="internal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The client's word on the certificate of a transaction.

    :ivar detail: the client's reason when it rejects.
    :ivar state: the protocol's state (with its answer) for the transaction row.
    """

    key: TransactionKey
    accepted: bool
    requester: Requester
    context: RequestContext
    state: bytes
    detail: str = ""


async def confirm(
    store: Store, confirmation: Confirmation, now: datetime, *, revoke_replaced: bool
) -> None:
    """Carry out the client's word, durably.

    A rejection while the request still waits for approval withdraws the request.

    :param revoke_replaced: whether policy revokes the certificate that was renewed.
    :raises PKIError: ``BAD_REQUEST`` for an unknown transaction or a late word,
        ``CERTIFICATE_CONFIRMED`` when it was confirmed already.
    """
    row = await store.find_transaction(confirmation.key)
    if row is not None and row.status is TransactionStatus.PENDING:
        await _withdraw(store, row, confirmation, now)
        return
    if row is None or row.certificate is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "no such transaction waits for this")
    if row.status is TransactionStatus.DONE:
        raise PKIError(
            ErrorCode.CERTIFICATE_CONFIRMED, "the certificate is confirmed already"
        )
    if row.status is not TransactionStatus.ISSUED or row.due < now:
        raise PKIError(ErrorCode.BAD_REQUEST, "the time to confirm has passed")
    writes = await _writes(
        store,
        row,
        now,
        accepted=confirmation.accepted,
        revoke_replaced=revoke_replaced,
    )
    done = confirmation.accepted
    try:
        await store.commit(
            UpdateTransaction(
                key=row.key,
                expected_version=row.version,
                status=TransactionStatus.DONE if done else TransactionStatus.REJECTED,
                due=now + REPLAY_WINDOW,
                state=confirmation.state,
                certificate=row.certificate,
            ),
            *writes,
            audit.of_action(
                now,
                "confirm" if done else "confirm-rejected",
                confirmation.requester.identity,
                confirmation.context,
                audit.Facts(
                    alias=row.key.alias,
                    certificate=str(row.certificate),
                    transaction=row.key,
                    detail=confirmation.detail,
                ),
            ),
        )
    except WriteConflict as conflict:
        raise PKIError(
            ErrorCode.CERTIFICATE_CONFIRMED, "the certificate is confirmed already"
        ) from conflict


async def _withdraw(
    store: Store, row: TransactionRecord, word: Confirmation, now: datetime
) -> None:
    """The client gives up a request that still waits for approval."""
    waiting = await store.find_approval(row.request_id or "")
    if word.accepted or waiting is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "nothing was issued yet")
    withdrawn = replace(
        waiting, status=ApprovalStatus.REJECTED, note="withdrawn by the requester"
    )
    try:
        await store.commit(
            UpdateTransaction(
                key=row.key,
                expected_version=row.version,
                status=TransactionStatus.REJECTED,
                due=now + REPLAY_WINDOW,
                state=word.state,
            ),
            UpdateApproval(withdrawn),
            audit.of_action(
                now,
                "withdraw",
                word.requester.identity,
                word.context,
                audit.Facts(
                    alias=row.key.alias,
                    entity=waiting.entity,
                    subject=waiting.subject,
                    transaction=row.key,
                    detail=f"request {waiting.id}: {word.detail}",
                ),
            ),
        )
    except WriteConflict as conflict:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "the request was decided in the same moment"
        ) from conflict


async def expire_unconfirmed(store: Store, now: datetime) -> int:
    """Revoke what nobody confirmed in time.

    :returns: how many transactions were ended.
    """
    rows = await store.due_transactions(TransactionStatus.ISSUED, now, SWEEP_SLICE)
    ended = 0
    for row in rows:
        writes = await _writes(store, row, now, accepted=False, revoke_replaced=False)
        try:
            await store.commit(
                UpdateTransaction(
                    key=row.key,
                    expected_version=row.version,
                    status=TransactionStatus.EXPIRED,
                    due=now + REPLAY_WINDOW,
                    state=row.state,
                    certificate=row.certificate,
                ),
                *writes,
                audit.of_action(
                    now,
                    "confirm-expired",
                    _DAEMON,
                    _INTERNAL,
                    audit.Facts(
                        alias=row.key.alias,
                        certificate=str(row.certificate or ""),
                        transaction=row.key,
                        rule="unconfirmed certificates are revoked at the deadline",
                    ),
                ),
            )
        except WriteConflict:
            continue  # the client's word came in the same moment
        ended += 1
    return ended


async def _writes(
    store: Store,
    row: TransactionRecord,
    now: datetime,
    *,
    accepted: bool,
    revoke_replaced: bool,
) -> list[Write]:
    if row.certificate is None:
        return []
    record = await store.find_certificate(row.certificate)
    if record is None:
        raise PKIError(ErrorCode.INTERNAL, "a transaction without its certificate")
    writes: list[Write] = []
    if record.status is CertificateStatus.AWAITING_CONFIRMATION:
        writes.append(_settled(record, now, accepted=accepted))
    if record.replaces is not None:
        old = await store.find_certificate(record.replaces)
        if old is not None and old.update_state is UpdateState.IN_UPDATE:
            writes.append(
                update_of_replaced(old, revoke=revoke_replaced, now=now)
                if accepted
                else update_of_abandoned(old)
            )
    return writes


def _settled(
    record: CertificateRecord, now: datetime, *, accepted: bool
) -> UpdateCertificate:
    return UpdateCertificate(
        reference=record.reference,
        expected_status=record.status,
        expected_update_state=record.update_state,
        status=CertificateStatus.ACTIVE if accepted else CertificateStatus.REVOKED,
        update_state=record.update_state,
        reason=None if accepted else RevocationReason.CESSATION_OF_OPERATION,
        revoked_at=None if accepted else now,
    )
