"""What a renewal does to the certificate that it replaces.

**Source:** RFC 9483 section 4.1.3: until the new certificate is confirmed the old one
stays valid but is "in update"; afterwards it is updated and asks for nothing more.
"""

from __future__ import annotations

from datetime import datetime

from pkid.engine.model import (
    CertificateRecord,
    CertificateStatus,
    RevocationReason,
    UpdateState,
)
from pkid.engine.writes import UpdateCertificate


def update_of_replaced(
    old: CertificateRecord, *, revoke: bool, now: datetime
) -> UpdateCertificate:
    """The old certificate once the new one stands.

    :param revoke: whether policy revokes it (superseded).
    """
    revoked = revoke and old.status is CertificateStatus.ACTIVE
    return UpdateCertificate(
        reference=old.reference,
        expected_status=old.status,
        expected_update_state=old.update_state,
        status=CertificateStatus.REVOKED if revoked else old.status,
        update_state=UpdateState.UPDATED,
        reason=RevocationReason.SUPERSEDED if revoked else old.reason,
        revoked_at=now if revoked else old.revoked_at,
        invalidity_at=old.invalidity_at,
    )


def update_of_abandoned(old: CertificateRecord) -> UpdateCertificate:
    """The old certificate when the new one was rejected or never confirmed."""
    return UpdateCertificate(
        reference=old.reference,
        expected_status=old.status,
        expected_update_state=UpdateState.IN_UPDATE,
        status=old.status,
        update_state=UpdateState.CURRENT,
        reason=old.reason,
        revoked_at=old.revoked_at,
        invalidity_at=old.invalidity_at,
    )
