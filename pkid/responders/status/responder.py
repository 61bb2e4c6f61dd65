"""What relying parties fetch: CRLs, CA certificates, and answers of OCSP.

A CRL is served until its nextUpdate and no longer: an old one would hide revocations,
so then the answer is 503 and an alarm in the log.

**Source:** RFC 5280 sections 4.2.1.13 and 4.2.2.1; RFC 2585 section 4; RFC 4387.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, Protocol

from twisted.logger import Logger

from pkid.asn1.cms.signed import encode_certs_only
from pkid.crypto.certificates import Certificate
from pkid.engine.ports import Clock
from pkid.engine.records import CRLRecord
from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Exchange, Reply
from pkid.responders.status.conditional import Representation, reply_to
from pkid.responders.status.failures import status_of
from pkid.responders.status.ocsp import OCSPResponder, Status
from pkid.responders.status.stores import StoreResponder

CRL_TYPE: Final = "application/pkix-crl"
CERTIFICATE_TYPE: Final = "application/pkix-cert"
BUNDLE_TYPE: Final = "application/pkcs7-mime"
#: A revocation is on the CRL at once: caches must not hide it for long.
CRL_MAX_AGE: Final = timedelta(minutes=5)
CERTIFICATE_MAX_AGE: Final = timedelta(hours=1)
_PARTITION: Final = re.compile(r"([1-9][0-9]{0,3})(-delta)?\.crl").fullmatch


class Engine(Protocol):
    """The doors of the engine that are used here."""

    @property
    def status(self) -> Status:
        """Answers of OCSP."""
        ...

    def authority_names(self) -> tuple[str, ...]:
        """Names of all authorities at work."""
        ...

    def authority_certificate(self, authority: str) -> bytes:
        """The certificate of exactly this authority."""
        ...

    def chain(self, authority: str) -> tuple[bytes, ...]:
        """What stands above the certificates that a line issues, the root last."""
        ...

    def latest_crl(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> Awaitable[CRLRecord]:
        """The current CRL; ``UNAVAILABLE`` when it is overdue."""
        ...


class CRLResponder:
    """Serves the current CRLs of an authority: full, delta, of a partition."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer ``/crls/<authority>.crl``, the full CRL.

        :raises PKIError: ``NOT_FOUND``; ``UNAVAILABLE`` when the CRL is overdue.
        """
        return await self.serve(exchange, exchange.alias)

    async def respond_delta(self, exchange: Exchange) -> Reply:
        """Answer ``/crls/<authority>-delta.crl``."""
        return await self.serve(exchange, exchange.alias, delta=True)

    async def respond_partition(self, exchange: Exchange) -> Reply:
        """Answer ``/crls/<authority>/<partition>.crl`` and ``...-delta.crl``."""
        named = _PARTITION(exchange.rest)
        if named is None:
            return await _nothing(exchange)
        number, delta = named.groups()
        return await self.serve(
            exchange, exchange.alias, int(number), delta=delta is not None
        )

    async def serve(
        self,
        exchange: Exchange,
        authority: str,
        partition: int = 0,
        *,
        delta: bool = False,
    ) -> Reply:
        """Answer with one CRL, or that the client has it already."""
        _check_known(self._engine, authority)
        record = await self._engine.latest_crl(authority, partition, delta=delta)
        left = record.next_update - self._clock.now()
        age = min(CRL_MAX_AGE, max(left, timedelta(0)))
        return reply_to(
            exchange,
            Representation(
                octets=record.der,
                media_type=CRL_TYPE,
                tag=f"{record.number:x}{'-delta' if delta else ''}",
                modified=record.this_update,
                max_age=int(age.total_seconds()),
            ),
        )


class CertificateResponder:
    """Serves the certificate of an authority, alone and with those above it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer ``/certificates/<authority>.cer``.

        :raises PKIError: ``NOT_FOUND``.
        """
        return self._serve(exchange, self._own(exchange), CERTIFICATE_TYPE)

    async def respond_bundle(self, exchange: Exchange) -> Reply:
        """Answer ``/certificates/<authority>.p7c``: its certificate and those above.

        **Source:** RFC 5280 section 4.2.2.1.
        """
        own = self._own(exchange)
        above = [one for one in self._engine.chain(exchange.alias) if one != own]
        # Sorted, it is DER: to those who read a bundle the order says nothing.
        bundle = encode_certs_only(sorted((own, *above)))
        return self._serve(exchange, bundle, BUNDLE_TYPE)

    def _own(self, exchange: Exchange) -> bytes:
        _check_known(self._engine, exchange.alias)
        return self._engine.authority_certificate(exchange.alias)

    def _serve(self, exchange: Exchange, octets: bytes, media_type: str) -> Reply:
        return reply_to(
            exchange,
            Representation(
                octets=octets,
                media_type=media_type,
                tag=hashlib.sha256(octets).hexdigest()[:32],
                modified=Certificate.decode(self._own(exchange)).not_before,
                max_age=int(CERTIFICATE_MAX_AGE.total_seconds()),
            ),
        )


class StatusResponder:
    """Serves whatever the operation of the route names."""

    log = Logger()

    def __init__(self, engine: Engine, clock: Clock) -> None:
        crls = CRLResponder(engine, clock)
        certificates = CertificateResponder(engine)
        stores = StoreResponder(engine, crls.serve)
        self._operations: dict[str, Callable[[Exchange], Awaitable[Reply]]] = {
            "crl": crls.respond,
            "delta-crl": crls.respond_delta,
            "crl-partition": crls.respond_partition,
            "certificate": certificates.respond,
            "certificate-bundle": certificates.respond_bundle,
            "certificate-search": stores.search_certificates,
            "crl-search": stores.search_crls,
            "certdist": stores.certdist,
            "ocsp": OCSPResponder(engine.status).respond,
        }

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one GET; never raises for anything a client can send."""
        try:
            respond = self._operations.get(exchange.operation, _nothing)
            return await respond(exchange)
        except PKIError as error:
            refusal = error
        except Exception:  # noqa: BLE001  the one place where surprises end
            self.log.failure("status {path}: internal error", path=exchange.operation)
            refusal = PKIError(ErrorCode.INTERNAL, "internal error")
        return self._refused(exchange, refusal)

    def _refused(self, exchange: Exchange, error: PKIError) -> Reply:
        status = status_of(error.code)
        if status >= 500:
            self.log.critical(
                "{operation} of {authority} cannot be served: {detail} {hint}",
                operation=exchange.operation,
                authority=exchange.alias,
                detail=error.detail,
                hint=error.hint or "",
            )
        headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)
        if status == 503:
            headers += (("Retry-After", str(error.retry_after or 60)),)
        return Reply(
            body=error.detail.encode("ascii", "replace") + b"\n",
            status=status,
            content_type="text/plain",
            headers=headers,
        )


async def _nothing(_exchange: Exchange) -> Reply:
    raise PKIError(ErrorCode.NOT_FOUND, "there is nothing of this name")


def _check_known(engine: Engine, name: str) -> None:
    if name not in engine.authority_names():
        raise PKIError(ErrorCode.NOT_FOUND, "there is no such authority")
