"""ckuann, cann, rann, crlann: what other CAs announce is kept.

Nothing of CMP answers an announcement: over HTTP the status says what became of it,
over TCP there is silence. Believed are CAs that the alias certifies across and listed
registration authorities; what they announce is stored with its octets and audited, and
changes nothing by itself: a new key or a revocation elsewhere is for an operator to act
upon.

**Source:** RFC 9810 sections 5.3.13 to 5.3.16; RFC 9811 section 3.5.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Final

from pkid.asn1 import der
from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate
from pkid.crypto.signatures import SignedStructure
from pkid.engine import audit
from pkid.engine.model import RequesterKind
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.announcements import (
    CAKeyUpdContent,
    CertAnnContent,
    CRLAnnContent,
    RevAnnContent,
)
from pkid.messages.cmp.body import Body, BodyType
from pkid.messages.cmp.message import decode_body
from pkid.responders.cmp.answers import Sealed
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.failures import FAIL_INFO
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.singles import finished_record

ANNOUNCEMENTS: Final = frozenset(
    (BodyType.CKUANN, BodyType.CANN, BodyType.RANN, BodyType.CRLANN)
)
#: How long what was announced is kept.
KEPT: Final = timedelta(days=3650)

_BELIEVED: Final = frozenset(
    (RequesterKind.AUTHORITY, RequesterKind.REGISTRATION_AUTHORITY)
)
_STATUSES: Final = {
    ErrorCode.NOT_AUTHORIZED: 403,
    ErrorCode.SIGNER_NOT_TRUSTED: 403,
    ErrorCode.BAD_MESSAGE_CHECK: 403,
    ErrorCode.CERTIFICATE_REVOKED: 403,
    ErrorCode.WRONG_INTEGRITY: 403,
    ErrorCode.BUSY: 503,
    ErrorCode.CONFLICT: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}
_STATUS_BY_BIT: Final = {FAIL_INFO[code]: status for code, status in _STATUSES.items()}


def http_status(answered: Answered) -> int:
    """What HTTP says of an announcement: 201 when it is stored, or was before.

    **Source:** RFC 9811 section 3.5.
    """
    if answered.fail_info is None:
        return 201
    return _STATUS_BY_BIT.get(answered.fail_info, 400)


class Announcements:
    """Keeps what others announce."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def answer(self, request: Request) -> Answered:
        """Keep an announcement, durably; there is nothing to answer.

        :raises PKIError: ``NOT_AUTHORIZED``, ``MALFORMED``.
        :raises WriteConflict: when the same one was stored in the same moment.
        """
        if request.requester.kind not in _BELIEVED:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "announcements are taken from certification authorities",
                hint=f"cross_certify of alias {request.alias.name}",
            )
        message = request.message
        detail = _describe(decode_body(message))
        digest = hashlib.sha256(message.body).digest()
        # By what it says, whoever carries it again under whatever transactionID.
        key = replace(
            request.key,
            requester=f"{request.requester.identity}\nannouncement",
            transaction_id=digest,
        )
        if await self._engine.find_transaction(key) is not None:
            return Answered(octets=b"", repeated=True)
        now = self._clock.now()
        body_type = message.body_type or BodyType.CRLANN
        row = finished_record(request, body_type, Sealed(message.der, b""), now)
        row = replace(row, key=key, request_hash=digest, due=now + KEPT)
        event = audit.of_action(
            now,
            "announcement",
            request.requester.identity,
            request.context,
            audit.Facts(
                alias=request.alias.name, transaction=request.key, detail=detail
            ),
        )
        await self._engine.begin(row, event)
        return Answered(octets=b"")


def _describe(body: Body) -> str:
    """What is announced, for the audit; all certificates and CRLs in it are read.

    :raises PKIError: ``MALFORMED``.
    """
    match body:
        case CAKeyUpdContent(update):
            found = Certificate.decode(update.new_with_new)
            return f"new key of {found.subject.text()}"
        case CertAnnContent(octets):
            certificate = Certificate.decode(octets)
            return f"certificate of {certificate.subject.text()}"
        case RevAnnContent():
            serial = body.cert_id.serial_number
            return f"revocation of {serial:x} by {body.cert_id.issuer.text()}"
        case CRLAnnContent(crls):
            issuers = [_issuer_of(octets).text() for octets in crls]
            return f"CRLs of {'; '.join(issuers)}"
    raise PKIError(ErrorCode.INTERNAL, "not an announcement")


def _issuer_of(crl: bytes) -> Name:
    """Issuer of a CRL (RFC 5280 section 5.1)."""
    signed = SignedStructure.decode(crl).signed
    cursor = der.Cursor(der.single(signed, der.SEQUENCE))
    cursor.optional(der.INTEGER)
    cursor.take(der.SEQUENCE)
    return Name.decode(cursor.raw(der.SEQUENCE))
