"""Transactions: the same request again gets the same answer.

A transaction is unique by protocol, alias, requester and transaction id. Its row is
written in the same commit as the fact, and kept for a replay window after its end.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    EnrollmentRequest,
    TransactionRecord,
    TransactionStatus,
    make_transaction_record,
)

REPLAY_WINDOW = timedelta(days=1)


def of_issued(
    request: EnrollmentRequest,
    certificate: CertificateRecord,
    confirm_by: datetime | None,
    now: datetime,
    state: bytes,
) -> TransactionRecord:
    """The row of a request that was granted at once."""
    return make_transaction_record(
        key=request.transaction,
        request_hash=request.request_hash,
        status=TransactionStatus.ISSUED if confirm_by else TransactionStatus.DONE,
        created=now,
        due=confirm_by or now + REPLAY_WINDOW,
        certificate=certificate.reference,
        state=state,
    )


def of_pending(
    request: EnrollmentRequest,
    request_id: str,
    expires: datetime,
    now: datetime,
    state: bytes,
) -> TransactionRecord:
    """The row of a request that waits for approval."""
    return TransactionRecord(
        key=request.transaction,
        request_hash=request.request_hash,
        status=TransactionStatus.PENDING,
        created=now,
        due=expires,
        request_id=request_id,
        state=state,
    )


def of_handed_on(
    request: EnrollmentRequest, now: datetime, state: bytes
) -> TransactionRecord:
    """The row of a request that another CA decides upon."""
    return TransactionRecord(
        key=request.transaction,
        request_hash=request.request_hash,
        status=TransactionStatus.ELSEWHERE,
        created=now,
        due=now,
        state=state,
    )


def certificate_of(record: TransactionRecord) -> CertificateReference | None:
    """The certificate that a transaction made, if it made one."""
    if record.status in (TransactionStatus.ISSUED, TransactionStatus.DONE):
        return record.certificate
    return None
