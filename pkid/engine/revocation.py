"""Revoke, hold and release certificates.

The answer leaves after the commit; the CRL follows at once (`pkid.engine.crl`).

**Source:** RFC 5280 section 5.3.1, RFC 9483 section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pkid.engine import audit
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateStatus,
    CredentialKind,
    RequestContext,
    Requester,
    RequesterKind,
    RevocationReason,
    TransactionRecord,
    UpdateState,
)
from pkid.engine.ports import Store
from pkid.engine.writes import (
    InsertTransaction,
    UpdateCertificate,
    Write,
    WriteConflict,
)
from pkid.errors import ErrorCode, PKIError


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRequest:
    """What is to become of which certificate.

    :ivar reason: `RevocationReason.REMOVE_FROM_CRL` releases a held certificate.
    :ivar transaction: row to insert in the same commit, so that the answer can be
        given again.
    """

    reference: CertificateReference
    reason: RevocationReason
    requester: Requester
    context: RequestContext
    alias: str = ""
    invalidity_at: datetime | None = None
    detail: str = ""
    transaction: TransactionRecord | None = None


#: How the identity of whoever showed a revocation passphrase begins.
_PASSPHRASE = f"secret:{CredentialKind.REVOCATION.value}:"
_TRUSTED = frozenset(
    (
        RequesterKind.OPERATOR,
        RequesterKind.SYSTEM,
        RequesterKind.REGISTRATION_AUTHORITY,
    )
)
_ACTIONS = {
    CertificateStatus.ACTIVE: "release",
    CertificateStatus.HELD: "hold",
    CertificateStatus.REVOKED: "revoke",
}


async def revoke(
    store: Store, request: RevocationRequest, now: datetime
) -> CertificateRecord:
    """Change the status of a certificate, durably.

    :returns: the record as it stands afterwards.
    :raises PKIError: ``BAD_CERTIFICATE_ID`` (no such certificate, not held),
        ``CERTIFICATE_REVOKED`` (already, or an update is under way),
        ``NOT_AUTHORIZED``.
    """
    record = await store.find_certificate(request.reference)
    if record is None:
        raise PKIError(ErrorCode.BAD_CERTIFICATE_ID, "no such certificate here")
    check_right_to_revoke(record, request.requester)
    after = _after(record, request, now)
    writes: list[Write] = [
        UpdateCertificate(
            reference=record.reference,
            expected_status=record.status,
            expected_update_state=record.update_state,
            status=after.status,
            update_state=after.update_state,
            reason=after.reason,
            revoked_at=after.revoked_at,
            invalidity_at=after.invalidity_at,
            released_at=now,
        ),
        audit.of_action(
            now,
            _ACTIONS[after.status],
            request.requester.identity,
            request.context,
            audit.Facts(
                alias=request.alias,
                certificate=str(record.reference),
                entity=record.entity,
                subject=record.subject,
                rule=f"reason {request.reason.name}",
                detail=request.detail,
            ),
        ),
    ]
    if request.transaction is not None:
        writes.append(InsertTransaction(request.transaction))
    try:
        await store.commit(*writes)
    except WriteConflict as conflict:
        raise _lost_race(conflict) from conflict
    return after


def _lost_race(conflict: WriteConflict) -> PKIError:
    if isinstance(conflict.write, InsertTransaction):
        return PKIError(
            ErrorCode.TRANSACTION_IN_USE, "this transaction id was used already"
        )
    return PKIError(
        ErrorCode.CERTIFICATE_REVOKED, "another request changed the certificate"
    )


def check_right_to_revoke(record: CertificateRecord, requester: Requester) -> None:
    """Refuse who may not revoke a certificate.

    Its own holder (signed with it), who enrolled it with the same secret, an RA, an
    operator.

    :raises PKIError: ``NOT_AUTHORIZED``.
    """
    if requester.kind in _TRUSTED:
        return
    if requester.certificate == record.reference:
        return
    if requester.identity.startswith(_PASSPHRASE) and requester.entity == record.entity:
        return
    if (
        requester.kind in (RequesterKind.CREDENTIAL, RequesterKind.ACCOUNT)
        and requester.identity == record.requester
    ):
        return
    raise PKIError(
        ErrorCode.NOT_AUTHORIZED,
        "this certificate is not the requester's to revoke",
        hint=f"it was enrolled by {record.requester}: pkid certificate revoke",
    )


def _worsens(record: CertificateRecord, request: RevocationRequest) -> bool:
    """Whether a revoked certificate's key turns out to be compromised (ENG-30)."""
    return (
        record.status is CertificateStatus.REVOKED
        and request.reason is RevocationReason.KEY_COMPROMISE
        and record.reason is not RevocationReason.KEY_COMPROMISE
        and request.requester.kind in _TRUSTED
    )


def _after(
    record: CertificateRecord, request: RevocationRequest, now: datetime
) -> CertificateRecord:
    if request.reason is RevocationReason.REMOVE_FROM_CRL:
        if record.status is not CertificateStatus.HELD:
            raise PKIError(ErrorCode.BAD_CERTIFICATE_ID, "the certificate is not held")
        return replace(
            record,
            status=CertificateStatus.ACTIVE,
            reason=None,
            revoked_at=None,
            invalidity_at=None,
        )
    if _worsens(record, request):
        # Since when the key is not to be trusted is for invalidityDate to say.
        return replace(
            record,
            reason=request.reason,
            invalidity_at=request.invalidity_at or record.invalidity_at,
        )
    hold = request.reason is RevocationReason.CERTIFICATE_HOLD
    if record.status is CertificateStatus.REVOKED or (
        hold and record.status is CertificateStatus.HELD
    ):
        raise PKIError(
            ErrorCode.CERTIFICATE_REVOKED, "the certificate is revoked already"
        )
    if (
        record.update_state is UpdateState.IN_UPDATE
        and request.requester.kind not in _TRUSTED
    ):
        raise PKIError(
            ErrorCode.CERTIFICATE_REVOKED, "an update of the certificate is under way"
        )
    return replace(
        record,
        status=CertificateStatus.HELD if hold else CertificateStatus.REVOKED,
        reason=request.reason,
        revoked_at=now,
        invalidity_at=request.invalidity_at,
    )
