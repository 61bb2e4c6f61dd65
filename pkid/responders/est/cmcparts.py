"""The parts of a full CMC request: each is carried out, each gets its status.

**Source:** RFC 5272 sections 3.2.1.2, 6.9 to 6.11 and 6.13.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from pkid.asn1 import der, oids
from pkid.asn1.names import EMPTY, Name
from pkid.crypto.possession import SignedPossession
from pkid.engine.model import (
    Outcome,
    Pending,
    ProofOfPossession,
    Requester,
    RequesterKind,
    RevocationReason,
    TransactionKey,
    VouchedPossession,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmc import (
    CMCStatus,
    Control,
    GetCert,
    PKIData,
    RevokeRequest,
    StatusInfo,
    TaggedRequest,
    decode_get_crl,
)
from pkid.messages.crmf import CertReqMsg, POPOSigningKey, RAVerified
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.est.aliases import PROTOCOL
from pkid.responders.est.authentication import KIND
from pkid.responders.est.binding import check_binding
from pkid.responders.est.doors import Engine, RevocationRequest
from pkid.responders.est.enrollment import (
    Enrollment,
    Wanted,
    check_alive,
    wanted_by_pkcs10,
)
from pkid.responders.est.failures import FAIL_INFO
from pkid.responders.est.requests import Request

_REASONS = {reason.value: reason for reason in RevocationReason}


@dataclass(slots=True)
class Results:
    """What came of the parts so far.

    :ivar certificates: DER, in the order of the parts.
    :ivar granted: whether any part was granted, or waits.
    """

    statuses: list[StatusInfo] = field(default_factory=list)
    certificates: list[bytes] = field(default_factory=list)
    crls: list[bytes] = field(default_factory=list)
    errors: list[PKIError] = field(default_factory=list)
    granted: bool = False


class Parts:
    """Carries out the parts of full requests."""

    def __init__(self, engine: Engine, enrollment: Enrollment, clock: Clock) -> None:
        self._engine = engine
        self._enrollment = enrollment
        self._clock = clock
        self._controls = {
            oids.ID_CMC_REVOKE_REQUEST: self._revoke,
            oids.ID_CMC_GET_CERT: self._get_certificate,
            oids.ID_CMC_GET_CRL: self._get_crl,
            oids.ID_CMC_QUERY_PENDING: self._query,
        }

    async def process(
        self, request: Request, data: PKIData, *, may_revoke: bool
    ) -> Results:
        """Carry out all parts, one after another; one's refusal stops no other.

        :param may_revoke: whether the sender's word covers the controls; else a
            certificate is revoked by its shared secret only.
        """
        results = Results()
        for one in data.requests:
            try:
                outcome = await self._enroll(request, one)
            except PKIError as error:
                self._note_failure(results, one.body_part, error)
            else:
                self._note_outcome(results, request, one.body_part, outcome)
        for control in data.controls:
            work = self._controls.get(control.oid)
            if work is None:
                continue
            try:
                _check_word(control, may_revoke=may_revoke)
                await work(request, data, control, results)
            except PKIError as error:
                self._note_failure(results, control.body_part, error)
        if not results.statuses:
            results.statuses.append(StatusInfo(status=CMCStatus.SUCCESS, parts=(0,)))
            results.granted = True
        return results

    # --- what came of it ---------------------------------------------------------

    def _note_failure(self, results: Results, part: int, error: PKIError) -> None:
        results.errors.append(error)
        results.statuses.append(
            StatusInfo(
                status=CMCStatus.FAILED,
                parts=(part,),
                text=error.detail,
                failure=FAIL_INFO[error.code],
            )
        )

    def _note_success(self, results: Results, part: int) -> None:
        results.granted = True
        results.statuses.append(StatusInfo(status=CMCStatus.SUCCESS, parts=(part,)))

    def _note_outcome(
        self,
        results: Results,
        request: Request,
        part: int,
        outcome: tuple[bytes, Outcome],
    ) -> None:
        token, found = outcome
        if not isinstance(found, Pending):
            results.certificates += (found.der, *found.chain)
            self._note_success(results, part)
            return
        wait = request.alias.retry_after or found.retry_after
        moment = (self._clock.now() + wait).replace(microsecond=0)
        results.granted = True
        results.statuses.append(
            StatusInfo(
                status=CMCStatus.PENDING,
                parts=(part,),
                text=found.reason,
                pending=(token, moment),
            )
        )

    # --- certification requests --------------------------------------------------

    async def _enroll(
        self, request: Request, one: TaggedRequest
    ) -> tuple[bytes, Outcome]:
        """Token and outcome of one request."""
        wanted = _wanted(request, one)
        outcome = await self._enrollment.run(request, wanted)
        return wanted.digest(request.exchange.operation), outcome

    async def _query(
        self, request: Request, _data: PKIData, control: Control, results: Results
    ) -> None:
        """What became of a request that had to wait, asked by who sent it."""
        token = control.octets
        key = TransactionKey(
            PROTOCOL, request.alias.name, request.requester.identity, token
        )
        outcome = check_alive(await self._engine.collect(key))
        self._note_outcome(results, request, control.body_part, (token, outcome))

    # --- certificates and CRLs ---------------------------------------------------

    async def _get_certificate(
        self, _request: Request, _data: PKIData, control: Control, results: Results
    ) -> None:
        wanted = GetCert.decode(control.value)
        record = await self._engine.find_certificate_by_issuer(
            wanted.issuer, wanted.serial
        )
        if record is None:
            raise PKIError(ErrorCode.BAD_CERTIFICATE_ID, "no such certificate here")
        octets = await self._engine.certificate_der(record.reference)
        results.certificates.append(octets)
        self._note_success(results, control.body_part)

    async def _get_crl(
        self, request: Request, _data: PKIData, control: Control, results: Results
    ) -> None:
        issuer = decode_get_crl(control.value)
        authority = request.alias.alias.authority
        if not issuer.matches(self._engine.authority_subject(authority)):
            raise PKIError(ErrorCode.BAD_CERTIFICATE_ID, "no such CRL issuer here")
        results.crls.append((await self._engine.latest_crl(authority)).der)
        self._note_success(results, control.body_part)

    # --- revocation --------------------------------------------------------------

    async def _revoke(
        self, request: Request, data: PKIData, control: Control, results: Results
    ) -> None:
        wanted = RevokeRequest.decode(control.value)
        reason = _REASONS.get(wanted.reason)
        if reason is None:
            raise PKIError(ErrorCode.MALFORMED, f"{wanted.reason} is no CRLReason")
        record = await self._engine.find_certificate_by_issuer(
            wanted.issuer, wanted.serial
        )
        if record is None:
            raise PKIError(ErrorCode.BAD_CERTIFICATE_ID, "no such certificate here")
        await self._engine.revoke(
            RevocationRequest(
                reference=record.reference,
                reason=reason,
                requester=await self._revoker(request, data, wanted),
                context=request.context,
                alias=request.alias.name,
                invalidity_at=wanted.invalidity_date,
                detail=wanted.comment,
            )
        )
        self._note_success(results, control.body_part)

    async def _revoker(
        self, request: Request, data: PKIData, wanted: RevokeRequest
    ) -> Requester:
        """Who sent it; or who knows the code that the certificate was enrolled by.

        :raises PKIError: ``NOT_AUTHORIZED``.
        """
        if wanted.shared_secret is None:
            return request.requester
        control = data.control(oids.ID_CMC_IDENTIFICATION)
        name = "" if control is None else _utf8(control)
        shared = await self._engine.find_secret(KIND, name, request.alias.name)
        if (
            shared is None
            or not (shared.usable or shared.credential.uses_left == 0)
            or not hmac.compare_digest(wanted.shared_secret, shared.secret)
        ):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "the secret does not revoke this certificate",
                hint=f"sharedSecret of {name!r}",
            )
        return shared.requester


def _check_word(control: Control, *, may_revoke: bool) -> None:
    """Refuse a revocation that nobody vouches for.

    :raises PKIError: ``NOT_AUTHORIZED``; ``MALFORMED``.
    """
    if may_revoke or control.oid != oids.ID_CMC_REVOKE_REQUEST:
        return
    if RevokeRequest.decode(control.value).shared_secret is None:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "a revocation is signed, or carries the shared secret",
            hint="an identity proof covers certification requests only",
        )


def _utf8(control: Control) -> str:
    return der.decode_utf8(der.single(control.value, der.UTF8_STRING))


def _wanted(request: Request, one: TaggedRequest) -> Wanted:
    """Read one request of either form.

    :raises PKIError: ``BAD_REQUEST`` for a third form, ``BAD_TEMPLATE``,
        ``BAD_POSSESSION``, ``MALFORMED``.
    """
    match one.body:
        case CertificationRequest():
            check_binding(request, one.body)
            return wanted_by_pkcs10(one.body)
        case CertReqMsg():
            return _wanted_by_crmf(one.body, request.requester)
        case None:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "this form of request is not supported here"
            )


def _wanted_by_crmf(message: CertReqMsg, requester: Requester) -> Wanted:
    """Read a CRMF request, as CMC restricts it.

    **Source:** RFC 5272 section 3.2.1.2.2.
    """
    template = message.cert_req.cert_template
    if template.subject is None or template.spki is None:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE, "a CRMF request in CMC has subject and public key"
        )
    subject = Name.decode(template.subject)
    return Wanted(
        subject=EMPTY if subject.is_empty else subject,
        spki=template.spki,
        extensions=template.extensions,
        possession=_possession(message, requester),
    )


def _possession(message: CertReqMsg, requester: Requester) -> ProofOfPossession:
    popo = message.popo
    if isinstance(popo, POPOSigningKey) and popo.poposk_input is None:
        return SignedPossession(message.cert_req.der, popo.signature, popo.algorithm)
    if (
        isinstance(popo, RAVerified)
        and requester.kind is RequesterKind.REGISTRATION_AUTHORITY
    ):
        return VouchedPossession(requester.identity)
    raise PKIError(
        ErrorCode.BAD_POSSESSION,
        "possession is proven by a signature over the request, or vouched for by a"
        " registration authority",
    )
