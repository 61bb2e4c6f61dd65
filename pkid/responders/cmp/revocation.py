"""rr and rp: revoke, hold, release.

What is wrong with one RevDetails is answered by its status in rp; what is wrong with
the message by an error.

**Source:** RFC 9810 sections 5.3.9 and 5.3.10; RFC 9483 section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.engine.model import (
    CertificateRecord,
    RevocationReason,
    TransactionRecord,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.message import decode_body
from pkid.messages.cmp.revocation import RevDetails, RevRepContent, RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.crmf import CertId, CertTemplate
from pkid.responders.cmp.answers import Answers, Draft, Sealed
from pkid.responders.cmp.doors import Engine, RevocationRequest
from pkid.responders.cmp.failures import OF_THE_EXCHANGE, rejection
from pkid.responders.cmp.groups import part_key
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.singles import find_repeat, finished_record
from pkid.responders.cmp.templates import X509_V3

_ACCEPTED: Final = PKIStatusInfo(PKIStatus.ACCEPTED)
_REASONS: Final = {int(reason): reason for reason in RevocationReason}
_PASSED_OVER: Final = frozenset((oids.ID_CE_HOLD_INSTRUCTION_CODE,))


@dataclass(frozen=True, slots=True)
class Wanted:
    """One revocation asked for."""

    record: CertificateRecord
    reason: RevocationReason
    invalidity_at: datetime | None


class Revocation:
    """Answers revocation requests."""

    def __init__(self, engine: Engine, answers: Answers, clock: Clock) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock

    async def answer(self, request: Request) -> Answered:
        """Answer an rr.

        :raises PKIError: for refusals of the message as a whole.
        """
        repeat = await find_repeat(self._engine, request)
        if repeat is not None:
            return repeat
        body = decode_body(request.message)
        if not isinstance(body, RevReqContent) or not body.details:
            raise PKIError(ErrorCode.BAD_REQUEST, "rr names no certificate")
        if len(body.details) == 1:
            return await self._one(request, body.details[0])
        return await self._several(request, body.details)

    async def _one(self, request: Request, details: RevDetails) -> Answered:
        """Revoke one certificate; its answer is stored in the same commit."""
        try:
            wanted = await self._wanted(details)
            sealed = await self._sealed(request, [_ACCEPTED], [wanted])
            row = finished_record(request, BodyType.RR, sealed, self._clock.now())
            await self._revoke(request, wanted, row)
        except PKIError as error:
            if error.code is ErrorCode.TRANSACTION_IN_USE:
                raise
            sealed = await self._sealed(request, [rejection(error)], [])
            return Answered.refused(sealed.octets, error)
        serial = f"{wanted.record.reference.serial:x}"
        return Answered(octets=sealed.octets, serial=serial)

    async def _several(
        self, request: Request, details: tuple[RevDetails, ...]
    ) -> Answered:
        """Revoke one after the other; each has its own status and its own commit.

        With each a row is stored under the key of its place in the message, so that
        what was cut short is taken up by the repeat and not refused as revoked.
        """
        statuses: list[PKIStatusInfo] = []
        done: list[Wanted] = []
        for index, one in enumerate(details):
            try:
                wanted = await self._wanted(one)
                await self._revoke_part(request, index, wanted)
            except PKIError as error:
                if error.code in OF_THE_EXCHANGE - {ErrorCode.MALFORMED}:
                    raise
                statuses.append(rejection(error))
            else:
                statuses.append(_ACCEPTED)
                done.append(wanted)
        sealed = await self._sealed(request, statuses, done)
        now = self._clock.now()
        if done:
            await self._engine.begin(finished_record(request, BodyType.RR, sealed, now))
        refused = [status for status in statuses if status is not _ACCEPTED]
        return Answered(
            octets=sealed.octets,
            status=PKIStatus.REJECTION if refused else PKIStatus.ACCEPTED,
            fail_info=_first_bit(refused),
            serial=",".join(f"{one.record.reference.serial:x}" for one in done),
        )

    async def _revoke_part(self, request: Request, index: int, wanted: Wanted) -> None:
        key = part_key(request.key, index)
        known = await self._engine.find_transaction(key)
        if known is None:
            nothing = Sealed(b"", b"")
            row = finished_record(request, BodyType.RR, nothing, self._clock.now())
            await self._revoke(request, wanted, replace(row, key=key))
        elif known.request_hash != request.request_hash:
            raise PKIError(
                ErrorCode.TRANSACTION_IN_USE,
                "another request has used this transaction id",
            )

    async def _revoke(
        self, request: Request, wanted: Wanted, row: TransactionRecord | None
    ) -> None:
        await self._engine.revoke(
            RevocationRequest(
                reference=wanted.record.reference,
                reason=wanted.reason,
                invalidity_at=wanted.invalidity_at,
                requester=request.requester,
                context=request.context,
                alias=request.alias.name,
                transaction=row,
            )
        )

    async def _sealed(
        self, request: Request, statuses: list[PKIStatusInfo], done: list[Wanted]
    ) -> Sealed:
        ids: tuple[CertId, ...] = ()
        if len(done) == len(statuses):
            ids = tuple(self._cert_id(one.record) for one in done)
        body = RevRepContent(tuple(statuses), ids)
        return await self._answers.answer(
            request, Draft(body_type=BodyType.RP, body=body)
        )

    def _cert_id(self, record: CertificateRecord) -> CertId:
        issuer = self._engine.authority_subject(record.reference.authority)
        return CertId(GeneralName.directory(issuer), record.reference.serial)

    # --- which certificate -------------------------------------------------------

    async def _wanted(self, details: RevDetails) -> Wanted:
        """Find the certificate and read what is to become of it.

        :raises PKIError: ``MISSING_INFORMATION``, ``BAD_CERTIFICATE_ID``,
            ``BAD_REQUEST``, ``MALFORMED``, ``UNACCEPTED_EXTENSION``.
        """
        template = details.cert_details
        if template.version is not None and template.version != X509_V3:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "version in certDetails must be v3 (2)"
            )
        if template.issuer is None or template.serial_number is None:
            raise PKIError(
                ErrorCode.MISSING_INFORMATION,
                "certDetails must name issuer and serialNumber",
            )
        record = await self._engine.find_certificate_by_issuer(
            Name.decode(template.issuer), template.serial_number
        )
        if record is None:
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "certDetails name no certificate of ours"
            )
        if _says_more(template):
            octets = await self._engine.certificate_der(record.reference)
            _check_same(template, octets)
        reason, invalidity_at = _read_entry(details.crl_entry_details)
        return Wanted(record, reason, invalidity_at)


def _says_more(template: CertTemplate) -> bool:
    return bool(
        template.subject
        or template.spki
        or template.validity
        or template.signing_alg
        or template.extensions
    )


def _check_same(template: CertTemplate, octets: bytes) -> None:
    """Every field given must be that of the certificate.

    :raises PKIError: ``BAD_CERTIFICATE_ID``.

    **Source:** RFC 9483 section 4.2.
    """
    certificate = read_certificate(octets)
    validity = template.validity
    given_not_before = validity.not_before if validity else None
    given_not_after = validity.not_after if validity else None
    pairs = (
        (template.spki, certificate.spki),
        (template.signing_alg, certificate.structure.algorithm),
        (given_not_before, certificate.not_before),
        (given_not_after, certificate.not_after),
        *(
            (given.value, certificate.extension(given.oid))
            for given in template.extensions
        ),
    )
    subject = template.subject
    if any(given is not None and given != true for given, true in pairs) or (
        subject is not None and not Name.decode(subject).matches(certificate.subject)
    ):
        raise PKIError(
            ErrorCode.BAD_CERTIFICATE_ID,
            "certDetails differ from the certificate of that serial number",
        )


def _read_entry(
    extensions: tuple[Extension, ...],
) -> tuple[RevocationReason, datetime | None]:
    """Reason and invalidity date; without a reason it is unspecified.

    **Source:** RFC 5280 section 5.3.
    """
    reason, invalidity_at = RevocationReason.UNSPECIFIED, None
    if len({extension.oid for extension in extensions}) != len(extensions):
        raise PKIError(ErrorCode.BAD_REQUEST, "crlEntryDetails hold an extension twice")
    for extension in extensions:
        if extension.oid == oids.ID_CE_CRL_REASONS:
            reason = _reason(extension.value)
        elif extension.oid == oids.ID_CE_INVALIDITY_DATE:
            contents = der.single(extension.value, der.GENERALIZED_TIME)
            invalidity_at = der.decode_generalized_time(contents)
        elif extension.critical and extension.oid not in _PASSED_OVER:
            raise PKIError(
                ErrorCode.UNACCEPTED_EXTENSION,
                f"the critical CRL entry extension {extension.oid} is not known here",
            )
    return reason, invalidity_at


def _reason(value: bytes) -> RevocationReason:
    number = der.decode_integer(der.single(value, der.ENUMERATED))
    reason = _REASONS.get(number)
    if reason is None:
        der.malformed(f"{number} is no CRLReason")
    return reason


def _first_bit(refused: list[PKIStatusInfo]) -> FailInfo | None:
    return min(refused[0].fail_info) if refused else None
