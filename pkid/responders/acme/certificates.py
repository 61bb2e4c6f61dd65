"""Download, revocation and renewal information.

**Source:** RFC 8555 sections 7.4.2 and 7.6; RFC 9773.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import timedelta
from typing import Any, Final

from pkid.asn1 import der
from pkid.crypto.certificates import Certificate, authority_key_identifier
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateStatus,
    Requester,
    RequesterKind,
    RevocationReason,
)
from pkid.engine.orders import OrderStatus
from pkid.engine.ports import Clock
from pkid.engine.revocation import RevocationRequest
from pkid.errors import PKIError
from pkid.messages.jose import decode_base64url
from pkid.responders.acme.authorizations import moment
from pkid.responders.acme.doors import Engine
from pkid.responders.acme.failures import ProblemError, malformed, not_found
from pkid.responders.acme.replies import json_reply, link
from pkid.responders.acme.requests import Request
from pkid.responders.base import Exchange, Reply

PEM_CHAIN: Final = "application/pem-certificate-chain"
PKIX_CERT: Final = "application/pkix-cert"
REASONS: Final = (
    RevocationReason.UNSPECIFIED,
    RevocationReason.KEY_COMPROMISE,
    RevocationReason.AFFILIATION_CHANGED,
    RevocationReason.SUPERSEDED,
    RevocationReason.CESSATION_OF_OPERATION,
)
RENEW_AT: Final = 2 / 3
RENEW_WINDOW: Final = 0.05
POLL_SECONDS: Final = 6 * 3600


class CertificateResources:
    """Answers them."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def download(self, request: Request) -> Reply:
        """The certificate of an order with what stands above it."""
        request.check_get()
        order = await self._engine.accounts.find_order(request.rest)
        if (
            order is None
            or order.account != request.owner.id
            or order.status is not OrderStatus.VALID
            or order.certificate is None
        ):
            raise not_found()
        leaf = await self._engine.certificate_der(order.certificate)
        chain = self._engine.issuer_chain(order.certificate)
        if _accepts(request.exchange, PKIX_CERT):
            up = link(request.places("issuer", order.certificate.authority), "up")
            return Reply(body=leaf, content_type=PKIX_CERT, headers=(up,))
        shown = chain if request.alias.root else chain[:-1]
        body = b"".join(map(_pem, (leaf, *shown)))
        return Reply(body=body, content_type=PEM_CHAIN)

    # --- revokeCert --------------------------------------------------------------

    async def revoke(self, request: Request) -> Reply:
        """Revoke, for the account that ordered it or for the certificate's own key."""
        members = request.members()
        text = members.get("certificate")
        if not isinstance(text, str):
            raise malformed("certificate is missing or not a text")
        octets = decode_base64url(text)
        record = await self._find(octets)
        requester = await self._entitled(request, record, octets)
        revocation = RevocationRequest(
            reference=record.reference,
            reason=_reason(members.get("reason")),
            requester=requester,
            context=request.context,
            alias=request.alias.name,
        )
        await self._engine.revoke(revocation)
        return Reply(status=200, content_type="application/json")

    async def _find(self, octets: bytes) -> CertificateRecord:
        try:
            certificate = Certificate.decode(octets)
        except PKIError as error:
            raise malformed(f"the certificate: {error.detail}") from error
        record = await self._engine.find_certificate_by_issuer(
            certificate.issuer, certificate.serial
        )
        fingerprint = hashlib.sha256(octets).digest()
        if record is None or not hmac.compare_digest(record.fingerprint, fingerprint):
            raise ProblemError("malformed", 404, "this certificate is not one of ours")
        return record

    async def _entitled(
        self, request: Request, record: CertificateRecord, octets: bytes
    ) -> Requester:
        if request.account is None:
            if request.key.spki != Certificate.decode(octets).spki:
                raise _unauthorized()
            return Requester(
                kind=RequesterKind.CERTIFICATE,
                identity=f"certificate:{record.reference}",
                certificate=record.reference,
            )
        requester = request.requester
        if requester.identity != record.requester:
            raise _unauthorized()
        return requester

    # --- renewal information -----------------------------------------------------

    async def renewal_info(self, exchange: Exchange) -> Reply:
        """When a certificate is best renewed; for anybody (RFC 9773 section 4)."""
        record = await self._named(exchange.rest)
        now = self._clock.now()
        life = record.not_after - record.not_before
        start = record.not_before + life * RENEW_AT
        end = start + life * RENEW_WINDOW
        if record.status in (CertificateStatus.REVOKED, CertificateStatus.HELD):
            start, end = now - timedelta(hours=2), now - timedelta(hours=1)
        window = {"start": moment(start), "end": moment(end)}
        return json_reply(
            {"suggestedWindow": window}, ("Retry-After", str(POLL_SECONDS))
        )

    async def _named(self, text: str) -> CertificateRecord:
        """The certificate of an ARI identifier: key id of its issuer, serial."""
        key_id, dot, serial = text.partition(".")
        if not dot:
            raise malformed("the identifier is not key id and serial number")
        issuer_key = decode_base64url(key_id)
        number = der.decode_integer(decode_base64url(serial) or b"\0")
        for authority in self._engine.authority_names():
            reference = CertificateReference(authority, number)
            record = await self._engine.find_certificate(reference)
            if record is None:
                continue
            octets = await self._engine.certificate_der(reference)
            found = authority_key_identifier(Certificate.decode(octets))
            if found == issuer_key:
                return record
        raise ProblemError("malformed", 404, "this certificate is not one of ours")


def _reason(value: Any) -> RevocationReason:  # noqa: ANN401 - JSON
    if value is None:
        return RevocationReason.UNSPECIFIED
    for reason in REASONS:
        if type(value) is int and value == reason:
            return reason
    allowed = ", ".join(str(int(reason)) for reason in REASONS)
    raise ProblemError(
        "badRevocationReason", 400, f"the reason must be one of {allowed}"
    )


def _unauthorized() -> ProblemError:
    return ProblemError(
        "unauthorized", 403, "this certificate is not the requester's to revoke"
    )


def _accepts(exchange: Exchange, media_type: str) -> bool:
    accept = exchange.headers.get("accept", "")
    return accept.partition(";")[0].strip().lower() == media_type


def _pem(octets: bytes) -> bytes:
    text = base64.b64encode(octets)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join(
        (
            b"-----BEGIN CERTIFICATE-----",
            *lines,
            b"-----END CERTIFICATE-----",
            b"",
        )
    )
