"""Bodies that rarely travel, as something to read: challenges, recovery, announcements.

Pure. Part of `pkid.app.trace`.

**Source:** RFC 9810 sections 5.2.8.3.3, 5.3.8 and 5.3.13 to 5.3.16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pkid.app import views
from pkid.app.views import View
from pkid.crypto.certificates import Certificate
from pkid.errors import PKIError
from pkid.messages.cmp.announcements import (
    CAKeyUpdAnnContent,
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
)
from pkid.messages.cmp.challenge import (
    POPODecKeyChallContent,
    POPODecKeyRespContent,
)
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatusInfo


def show_certificate(octets: bytes) -> View:
    """Whose certificate it is."""
    try:
        certificate = Certificate.decode(octets)
    except PKIError as error:
        return {"fault": error.detail}
    return {
        "subject": certificate.subject.text(),
        "issuer": certificate.issuer.text(),
        "serial": f"{certificate.serial:x}",
    }


def show_status(info: PKIStatusInfo) -> View:
    """A status in words."""
    return {
        "status": info.status.name.lower(),
        "text": list(info.strings),
        "fail_info": sorted(one.name.lower() for one in info.fail_info),
    }


def _optional(octets: bytes | None) -> View | None:
    return None if octets is None else show_certificate(octets)


def _challenges(body: POPODecKeyChallContent) -> View:
    return {
        "challenges": [
            {
                "witness": one.witness.hex(),
                "form": "version 2" if one.encrypted_rand is None else "version 3",
                "octets": len(one.encrypted_rand or one.challenge),
            }
            for one in body.challenges
        ]
    }


def _solutions(body: POPODecKeyRespContent) -> View:
    return {"count": len(body.integers)}


def _recovered(body: KeyRecRepContent) -> View:
    return {
        **show_status(body.status),
        "certificate": _optional(body.new_sig_cert),
        "ca_certs": [show_certificate(one) for one in body.ca_certs],
        "key_pairs": [_optional(one.certificate) for one in body.key_pair_hist],
    }


def _new_key(body: CAKeyUpdContent) -> View:
    update = body.update
    if isinstance(update, CAKeyUpdAnnContent):
        old_with_new: bytes | None = update.old_with_new
    else:
        old_with_new = update.old_with_new
    return {
        "new_with_new": show_certificate(update.new_with_new),
        "new_with_old": _optional(update.new_with_old),
        "old_with_new": _optional(old_with_new),
    }


def _announced(body: CertAnnContent) -> View:
    return {"certificate": show_certificate(body.certificate)}


def _revocation(body: RevAnnContent) -> View:
    return {
        "status": body.status.name.lower(),
        "issuer": body.cert_id.issuer.text(),
        "serial": f"{body.cert_id.serial_number:x}",
        "will_be_revoked_at": views.moment(body.will_be_revoked_at),
        "bad_since": views.moment(body.bad_since_date),
    }


def _crls(body: CRLAnnContent) -> View:
    return {"crls": [len(one) for one in body.crls]}


RARE_BODIES: Final[dict[type, Callable[[Any], View]]] = {
    POPODecKeyChallContent: _challenges,
    POPODecKeyRespContent: _solutions,
    KeyRecRepContent: _recovered,
    CAKeyUpdContent: _new_key,
    CertAnnContent: _announced,
    RevAnnContent: _revocation,
    CRLAnnContent: _crls,
}
