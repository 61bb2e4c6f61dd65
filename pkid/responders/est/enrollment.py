"""/simpleenroll and /simplereenroll: a PKCS #10 request in, a certificate out.

The same request again gets the same certificate, on whatever connection: it is known
by who asks and what is asked for, without the channel binding, which differs.

**Source:** RFC 7030 sections 3.4, 3.5, 4.2.1 and 4.2.2.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from pkid.asn1 import oids
from pkid.asn1.cms.signed import encode_certs_only
from pkid.asn1.names import EMPTY, Name
from pkid.asn1.x509 import Extension, encode_extensions
from pkid.crypto.certificates import Certificate
from pkid.crypto.extensions import subject_alternative_name
from pkid.crypto.possession import SignedPossession
from pkid.engine.model import (
    CertificateReference,
    CertificateStatus,
    EnrollmentRequest,
    Issued,
    Outcome,
    Pending,
    ProofOfPossession,
    RequesterKind,
    RevocationReason,
    TransactionKey,
    make_enrollment_request,
    make_requested_certificate,
)
from pkid.errors import ErrorCode, PKIError
from pkid.messages.changename import ChangeSubjectName
from pkid.messages.est import CERTS_ONLY
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import PROTOCOL, ESTAlias
from pkid.responders.est.binding import check_binding
from pkid.responders.est.bodies import der_reply, request_octets
from pkid.responders.est.doors import Engine
from pkid.responders.est.names import check_same_names
from pkid.responders.est.requests import Request

RENEWAL = "simplereenroll"
_ACCEPTED = 202


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a request asks for.

    :ivar subject: of the new certificate, as `extensions` are.
    :ivar renews: the certificate that is taken over from.
    :ivar changes_names: whether the names are said to be other ones.
    """

    subject: Name
    spki: bytes
    extensions: tuple[Extension, ...]
    possession: ProofOfPossession
    renews: CertificateReference | None = None
    changes_names: bool = False

    def digest(self, operation: str) -> bytes:
        """What makes it the same request: names, key and extensions, no binding."""
        parts = (
            operation.encode(),
            self.subject.der,
            self.spki,
            encode_extensions(self.extensions),
        )
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.sha256(joined).digest()


class Enrollment:
    """Answers both operations."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def answer(self, request: Request) -> Reply:
        """The certificate, or when to come back.

        :raises PKIError: the refusal.
        """
        outcome = await self.enroll(request)
        return outcome_reply(request, outcome)

    async def enroll(self, request: Request) -> Outcome:
        """Run a simple request down the one path."""
        return await self.run(request, self._wanted(request))

    async def run(self, request: Request, wanted: Wanted) -> Outcome:
        """Run what was read of a request down the one path, or find its outcome.

        :raises PKIError: the refusal.
        """
        digest = wanted.digest(request.exchange.operation)
        key = TransactionKey(
            PROTOCOL, request.alias.name, request.requester.identity, digest
        )
        if not request.proven.usable:
            return await self._fetch_again(request, key)
        enrollment = enrollment_request(request, wanted, key, digest)
        return check_alive(await self._engine.enroll(enrollment, no_state))

    async def find_repeat(self, alias: ESTAlias, exchange: Exchange) -> Issued | None:
        """What a renewal brought before it revoked the certificate that it came with.

        The client may never have seen that answer; now its certificate opens nothing
        any more, and it has no other. It gets what it was given, for the same request.
        """
        leaf = exchange.peer.certificate
        if leaf is None or exchange.operation != RENEWAL:
            return None
        held = Certificate.decode(leaf)
        record = await self._engine.find_certificate_by_issuer(held.issuer, held.serial)
        if record is None or record.reason is not RevocationReason.SUPERSEDED:
            return None
        csr = CertificationRequest.decode(request_octets(exchange))
        key = TransactionKey(
            PROTOCOL,
            alias.name,
            f"certificate:{record.reference}",
            _with_change(csr).digest(RENEWAL),
        )
        if await self._engine.find_transaction(key) is None:
            return None
        outcome = check_alive(await self._engine.collect(key))
        return outcome if isinstance(outcome, Issued) else None

    def _wanted(self, request: Request) -> Wanted:
        csr = CertificationRequest.decode(request.octets)
        check_binding(request, csr)
        renews = None
        if request.exchange.operation == RENEWAL:
            renews = self._renewed(request, wanted_by_pkcs10(csr))
        return replace(_with_change(csr), renews=renews)

    def _renewed(self, request: Request, wanted: Wanted) -> CertificateReference | None:
        requester = request.requester
        if requester.kind is RequesterKind.REGISTRATION_AUTHORITY:
            # It asks for another: there is no certificate of the connection to renew.
            return None
        if requester.certificate is None or requester.certificate_der is None:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "to renew, connect with the certificate that is to be renewed",
            )
        held = Certificate.decode(requester.certificate_der)
        check_same_names(request.alias, held, wanted.subject, wanted.extensions)
        return requester.certificate

    async def _fetch_again(self, request: Request, key: TransactionKey) -> Outcome:
        """What a code was used up for is given again, nothing else.

        :raises PKIError: ``BAD_MESSAGE_CHECK``, as for a wrong password.
        """
        if await self._engine.find_transaction(key) is None:
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK,
                "wrong user or password",
                hint=request.proven.hint,
            )
        return check_alive(await self._engine.collect(key))


def wanted_by_pkcs10(csr: CertificationRequest) -> Wanted:
    """Read a PKCS #10 request; its self-signature is the proof.

    :raises PKIError: ``MALFORMED``.
    """
    return Wanted(
        subject=Name.decode(csr.subject),
        spki=csr.spki,
        extensions=csr.extension_request,
        possession=SignedPossession(
            csr.request_info, csr.signature, csr.signature_algorithm
        ),
    )


def enrollment_request(
    request: Request, wanted: Wanted, key: TransactionKey, digest: bytes
) -> EnrollmentRequest:
    """What the engine is asked for."""
    return make_enrollment_request(
        alias=request.alias.name,
        context=request.context,
        requester=request.requester,
        requested=make_requested_certificate(
            subject=wanted.subject,
            public_key=wanted.spki,
            extensions=wanted.extensions,
        ),
        possession=wanted.possession,
        transaction=key,
        request_hash=digest,
        renews=wanted.renews,
        changes_names=wanted.changes_names,
    )


def _with_change(csr: CertificationRequest) -> Wanted:
    """A request under the names that it asks for in the end."""
    wanted, change = wanted_by_pkcs10(csr), ChangeSubjectName.of(csr)
    return wanted if change is None else _changed(wanted, change)


def _changed(wanted: Wanted, change: ChangeSubjectName) -> Wanted:
    """The request under the names that its ChangeSubjectName holds."""
    others = tuple(
        one for one in wanted.extensions if one.oid != oids.ID_CE_SUBJECT_ALT_NAME
    )
    if change.alternative_names:
        others = (*others, subject_alternative_name(change.alternative_names))
    return replace(
        wanted, subject=change.subject or EMPTY, extensions=others, changes_names=True
    )


async def no_state(_: Outcome) -> bytes:
    """EST keeps nothing of its own: the certificate is the whole answer."""
    return b""


def check_alive(outcome: Outcome) -> Outcome:
    """Refuse to hand out again what has been revoked since.

    :raises PKIError: ``CERTIFICATE_REVOKED``.
    """
    if (
        isinstance(outcome, Issued)
        and outcome.certificate.status is CertificateStatus.REVOKED
    ):
        raise PKIError(
            ErrorCode.CERTIFICATE_REVOKED,
            "the certificate of this request was revoked: ask with a new key",
        )
    return outcome


def certificates_of(alias: ESTAlias, issued: Issued) -> bytes:
    """The certs-only CMS of an issued certificate, which stands first."""
    above = issued.chain if alias.chain else ()
    return encode_certs_only((issued.der, *above))


def outcome_reply(request: Request, outcome: Outcome) -> Reply:
    """The certificate, or 202."""
    if isinstance(outcome, Pending):
        return waiting_reply(request.alias, outcome)
    return issued_reply(request.alias, request.exchange, outcome)


def issued_reply(alias: ESTAlias, exchange: Exchange, issued: Issued) -> Reply:
    """The certificate."""
    return der_reply(alias, exchange, certificates_of(alias, issued), CERTS_ONLY)


def waiting_reply(alias: ESTAlias, outcome: Pending) -> Reply:
    """202: the same request again, after a while.

    Without a body, which Bouncy Castle 1.72 does not read and then trips over.

    **Source:** RFC 7030 section 4.2.3.
    """
    wait = alias.retry_after or outcome.retry_after
    seconds = str(max(1, int(wait.total_seconds())))
    return Reply(status=_ACCEPTED, headers=(("Retry-After", seconds),))
