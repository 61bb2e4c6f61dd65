"""Approvals: requests that people must agree to, and how they are kept.

A request waits as the octets of its `EnrollmentRequest`; nothing prepared or signed is
stored. The last approval makes the engine prepare it again under today's policy.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pkid.asn1 import der
from pkid.asn1.names import Name
from pkid.asn1.x509 import (
    AlgorithmIdentifier,
    decode_extensions,
    encode_extensions,
)
from pkid.crypto.possession import SignedPossession
from pkid.engine.authorization import Grant
from pkid.engine.model import (
    CertificateReference,
    CredentialBinding,
    DecryptionPossession,
    EnrollmentRequest,
    GeneratedPossession,
    PossessionMethod,
    ProofOfPossession,
    ProvenPossession,
    RequestContext,
    RequestedCertificate,
    Requester,
    RequesterKind,
    SystemPossession,
    TransactionKey,
    VouchedPossession,
)
from pkid.engine.policy import CertificatePlan
from pkid.engine.records import ApprovalRequest, ApprovalStatus
from pkid.errors import ErrorCode, PKIError

VERSION = 1


def of_request(
    request: EnrollmentRequest,
    grant: Grant,
    plan: CertificatePlan,
    request_id: str,
    now: datetime,
) -> ApprovalRequest:
    """The approval request of an enrolment that must wait."""
    return ApprovalRequest(
        id=request_id,
        transaction=request.transaction,
        alias=request.alias,
        protocol=request.context.protocol,
        requester=request.requester.identity,
        subject=plan.subject.text(),
        entity=grant.entity.name,
        rule=grant.approval.name,
        needed=grant.approval.needed,
        enrollment=encode_enrollment(request),
        digest=plan.digest,
        created=now,
        expires=now + grant.approval.expires,
    )


def with_approval(
    approval: ApprovalRequest,
    actor: str,
    allowed: tuple[str, ...],
    now: datetime,
    note: str,
) -> ApprovalRequest:
    """One more approver.

    :param allowed: operators who may approve; empty means any.
    :raises PKIError: ``CONFLICT`` when it waits no longer or this operator approved
        already; ``NOT_AUTHORIZED`` for the requester and for who is not listed.
    """
    check_waiting(approval, now)
    if allowed and actor not in allowed:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            f"{actor} is not among the approvers of rule {approval.rule}",
            hint=f"approvers of [approval.{approval.rule}]",
        )
    if actor == approval.requester:
        raise PKIError(ErrorCode.NOT_AUTHORIZED, "nobody approves their own request")
    if actor in approval.approvers:
        raise PKIError(ErrorCode.CONFLICT, f"{actor} has approved this already")
    approvers = (*approval.approvers, actor)
    complete = len(approvers) >= approval.needed
    return replace(
        approval,
        approvers=approvers,
        note=note or approval.note,
        status=ApprovalStatus.APPROVED if complete else ApprovalStatus.WAITING,
    )


def check_waiting(approval: ApprovalRequest, now: datetime) -> None:
    """Refuse to decide on a request that waits no longer.

    :raises PKIError: ``CONFLICT``.
    """
    if approval.status is not ApprovalStatus.WAITING:
        raise PKIError(
            ErrorCode.CONFLICT, f"the request is {approval.status.value} already"
        )
    if approval.expires <= now:
        raise PKIError(ErrorCode.CONFLICT, "the request has expired")


# --- an enrolment request as octets --------------------------------------------


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else base64.b64encode(octets).decode("ascii")


def _octets(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _reference(parts: list[Any] | None) -> CertificateReference | None:
    return None if parts is None else CertificateReference(parts[0], int(parts[1], 16))


def _reference_parts(reference: CertificateReference | None) -> list[str] | None:
    return None if reference is None else [reference.authority, f"{reference.serial:x}"]


def encode_enrollment(request: EnrollmentRequest) -> bytes:
    """An enrolment request as versioned octets."""
    requester, requested = request.requester, request.requested
    subject = requested.subject
    return json.dumps(
        {
            "version": VERSION,
            "alias": request.alias,
            "protocol": request.context.protocol,
            "transport": request.context.transport,
            "peer": request.context.peer,
            "beyond_loopback": request.context.beyond_loopback,
            "requester": {
                "kind": requester.kind.value,
                "identity": requester.identity,
                "credential": requester.credential,
                "entity": requester.entity,
                "certificate": _reference_parts(requester.certificate),
                "certificate_der": _text(requester.certificate_der),
                "subject_pattern": requester.subject_pattern,
                "binding": requester.binding.encode(),
            },
            "subject": _text(None if subject is None else subject.der),
            "public_key": _text(requested.public_key),
            "extensions": _text(encode_extensions(requested.extensions)),
            "not_before": requested.not_before and requested.not_before.isoformat(),
            "not_after": requested.not_after and requested.not_after.isoformat(),
            "possession": _encode_possession(request.possession),
            "transaction": [
                request.transaction.requester,
                _text(request.transaction.transaction_id),
            ],
            "request_hash": _text(request.request_hash),
            "profile": request.profile,
            "renews": _reference_parts(request.renews),
            "changes_names": request.changes_names,
            "confirmation": request.confirmation
            and request.confirmation.total_seconds(),
            "archived": _text(request.archived),
        },
        sort_keys=True,
    ).encode()


def decode_enrollment(octets: bytes) -> EnrollmentRequest:
    """The enrolment request of `encode_enrollment`'s octets.

    :raises PKIError: ``INTERNAL`` for octets of another version.
    """
    values: dict[str, Any] = json.loads(octets)
    if values["version"] != VERSION:
        raise PKIError(
            ErrorCode.INTERNAL, "the stored request is of an unknown version"
        )
    subject, seconds = _octets(values["subject"]), values["confirmation"]
    requester, transaction_id = values["transaction"]
    return EnrollmentRequest(
        alias=values["alias"],
        context=RequestContext(
            protocol=values["protocol"],
            transport=values["transport"],
            peer=values["peer"],
            beyond_loopback=values["beyond_loopback"],
        ),
        requester=_decode_requester(values["requester"]),
        requested=RequestedCertificate(
            subject=None if subject is None else Name(subject),
            public_key=_octets(values["public_key"]),
            extensions=decode_extensions(
                der.single(_octets(values["extensions"]) or b"", der.SEQUENCE)
            ),
            not_before=_moment(values["not_before"]),
            not_after=_moment(values["not_after"]),
        ),
        possession=_decode_possession(values["possession"]),
        transaction=TransactionKey(
            values["protocol"],
            values["alias"],
            requester,
            _octets(transaction_id) or b"",
        ),
        request_hash=_octets(values["request_hash"]) or b"",
        profile=values["profile"],
        renews=_reference(values["renews"]),
        changes_names=values["changes_names"],
        confirmation=None if seconds is None else timedelta(seconds=seconds),
        archived=_octets(values["archived"]) or b"",
    )


def _decode_requester(values: dict[str, Any]) -> Requester:
    return Requester(
        kind=RequesterKind(values["kind"]),
        identity=values["identity"],
        credential=values["credential"],
        entity=values["entity"],
        certificate=_reference(values["certificate"]),
        certificate_der=_octets(values["certificate_der"]),
        subject_pattern=values["subject_pattern"],
        binding=CredentialBinding.decode(values["binding"]),
    )


def _encode_possession(possession: ProofOfPossession) -> list[str | None]:
    match possession:
        case SignedPossession():
            algorithm = possession.algorithm.encode()
            return [
                "signed",
                _text(possession.octets),
                _text(possession.signature),
                _text(algorithm),
            ]
        case VouchedPossession():
            return ["vouched", possession.registration_authority]
        case SystemPossession():
            return ["system"]
        case ProvenPossession():
            return ["proven", possession.method.value, _text(possession.key)]
        case DecryptionPossession():
            return ["decryption"]
        case GeneratedPossession():
            raise PKIError(ErrorCode.INTERNAL, "a key made by us waits for nobody")


def _decode_possession(values: list[str]) -> ProofOfPossession:
    match values:
        case ["vouched", authority]:
            return VouchedPossession(authority)
        case ["system"]:
            return SystemPossession()
        case ["decryption"]:
            return DecryptionPossession()
        case ["proven", method, key]:
            return ProvenPossession(PossessionMethod(method), _octets(key) or b"")
    octets, signature, algorithm = (_octets(value) or b"" for value in values[1:])
    return SignedPossession(
        octets,
        signature,
        AlgorithmIdentifier.decode(der.single(algorithm, der.SEQUENCE)),
    )
