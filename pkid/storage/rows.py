"""Between records of the engine's model and rows of the tables.

Pure. A time is whole microseconds since 1970 UTC, a serial number 20 octets
big-endian; names that repeat in every row travel as the small integers of ``names``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any, Final

from pkid.asn1 import der
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateState,
    CertificateStatus,
    Credential,
    CredentialBinding,
    CredentialKind,
    EndEntity,
    EntityStatus,
    RevocationReason,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
    UpdateState,
    make_certificate_record,
    make_certificate_state,
    make_credential,
    make_end_entity,
    make_transaction_record,
)
from pkid.engine.records import (
    ApprovalRequest,
    ApprovalStatus,
    ArchivedKey,
    AuditEvent,
    AuditRecord,
    AuthorityPhase,
    AuthorityRecord,
    CRLHead,
    CRLRecord,
    KeyHandleRecord,
)
from pkid.errors import ErrorCode, PKIError

#: What sqlite3 gives: the columns in the order of the statement.
Row = tuple[Any, ...]
#: The number of a repeated name, and back.
NameNumber = Callable[[str], int]
NameText = Callable[[int], str]

SERIAL_OCTETS: Final = 20
MAX_CHAIN: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# A look-up here costs a quarter of a call of the enumeration.
_STATUSES: Final = {int(status): status for status in CertificateStatus}
_UPDATE_STATES: Final = {int(state): state for state in UpdateState}
_CREDENTIAL_KINDS: Final = {kind.value: kind for kind in CredentialKind}
_ENTITY_STATUSES: Final = {status.value: status for status in EntityStatus}
_TRANSACTION_STATUSES: Final = {int(status): status for status in TransactionStatus}
_NO_TEXTS: Final = "[]"

CERTIFICATE_COLUMNS: Final = (
    "authority, serial, subject, fingerprint, spki_hash, subject_key_id, entity, "
    "profile, alias, protocol, requester, not_before, not_after, issued_at, status, "
    "update_state, reason, revoked_at, invalidity_at, replaces_authority, "
    "replaces_serial, credential, crl_partition"
)
TRANSACTION_COLUMNS: Final = (
    "transaction_id, alias, protocol, requester, request_hash, status, created, due, "
    "certificate_authority, certificate_serial, request_id, state, version"
)
ENTITY_COLUMNS: Final = (
    "name, status, created, subject, alternative_names, authority, "
    "certificate_profile, end_entity_profile, vendor, made_by, enrollments_left, "
    "version"
)
CREDENTIAL_COLUMNS: Final = (
    "id, kind, reference, sealed, created, alias, entity, subject, uses_left, "
    "expires, failures, locked_until, binding"
)
APPROVAL_COLUMNS: Final = (
    "id, protocol, alias, transaction_requester, transaction_id, request_alias, "
    "request_protocol, requester, subject, entity, rule, needed, enrollment, digest, "
    "created, expires, status, approvers, note, version"
)


def marks(columns: str) -> str:
    """As many question marks as there are columns."""
    return ", ".join("?" * (columns.count(",") + 1))


def from_time(moment: datetime) -> int:
    """Microseconds since 1970 of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def to_time(microseconds: int) -> datetime:
    """Aware UTC datetime of a stored time."""
    return _EPOCH + timedelta(microseconds=microseconds)


def from_optional_time(moment: datetime | None) -> int | None:
    """As `from_time`, NULL for None."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def to_optional_time(microseconds: int | None) -> datetime | None:
    """As `to_time`, None for NULL."""
    return None if microseconds is None else to_time(microseconds)


def from_serial(serial: int) -> bytes:
    """A serial or CRL number as 20 octets (RFC 5280 section 4.1.2.2's limit).

    :raises PKIError: ``BAD_REQUEST`` when it is negative or longer.
    """
    try:
        return serial.to_bytes(SERIAL_OCTETS, "big")
    except OverflowError:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "a serial or CRL number does not fit 20 octets"
        ) from None


def to_serial(octets: bytes) -> int:
    """Number of 20 stored octets."""
    return int.from_bytes(octets, "big")


def _from_texts(texts: tuple[str, ...]) -> str:
    """A JSON array; mostly there is nothing in it, which needs no encoder."""
    return json.dumps(texts) if texts else _NO_TEXTS


def _to_texts(array: str) -> tuple[str, ...]:
    return () if array == _NO_TEXTS else tuple(json.loads(array))


# --- certificates ---------------------------------------------------------------


def from_certificate(record: CertificateRecord, number: NameNumber) -> Row:
    """Row of ``certificates``, in the order of `CERTIFICATE_COLUMNS`."""
    reference, replaces = record.reference, record.replaces
    return (
        number(reference.authority),
        from_serial(reference.serial),
        record.subject,
        record.fingerprint,
        record.spki_hash,
        record.subject_key_id,
        record.entity,
        number(record.profile),
        number(record.alias),
        number(record.protocol),
        record.requester,
        from_time(record.not_before),
        from_time(record.not_after),
        from_time(record.issued_at),
        int(record.status),
        int(record.update_state),
        None if record.reason is None else int(record.reason),
        from_optional_time(record.revoked_at),
        from_optional_time(record.invalidity_at),
        None if replaces is None else number(replaces.authority),
        None if replaces is None else from_serial(replaces.serial),
        record.credential,
        record.crl_partition,
    )


def to_certificate(row: Row, text: NameText) -> CertificateRecord:
    """Record of a row in the order of `CERTIFICATE_COLUMNS`."""
    return make_certificate_record(
        reference=CertificateReference(text(row[0]), to_serial(row[1])),
        subject=row[2],
        fingerprint=row[3],
        spki_hash=row[4],
        subject_key_id=row[5],
        entity=row[6],
        profile=text(row[7]),
        alias=text(row[8]),
        protocol=text(row[9]),
        requester=row[10],
        not_before=to_time(row[11]),
        not_after=to_time(row[12]),
        issued_at=to_time(row[13]),
        status=_STATUSES[row[14]],
        update_state=_UPDATE_STATES[row[15]],
        reason=None if row[16] is None else RevocationReason(row[16]),
        revoked_at=to_optional_time(row[17]),
        invalidity_at=to_optional_time(row[18]),
        replaces=to_reference(row[19], row[20], text),
        credential=row[21],
        crl_partition=row[22],
    )


def to_state(row: Row) -> CertificateState:
    """State of (status, reason, revoked_at)."""
    status, reason, revoked_at = row
    return make_certificate_state(
        _STATUSES[status],
        None if reason is None else RevocationReason(reason),
        None if revoked_at is None else to_time(revoked_at),
    )


def to_reference(
    authority: int | None, serial: bytes | None, text: NameText
) -> CertificateReference | None:
    """Reference of two columns that are NULL together."""
    if authority is None or serial is None:
        return None
    return CertificateReference(text(authority), to_serial(serial))


# --- transactions ---------------------------------------------------------------


def from_transaction(record: TransactionRecord, number: NameNumber) -> Row:
    """Row of ``transactions``, in the order of `TRANSACTION_COLUMNS`."""
    key, certificate = record.key, record.certificate
    return (
        key.transaction_id,
        number(key.alias),
        number(key.protocol),
        key.requester,
        record.request_hash,
        int(record.status),
        from_time(record.created),
        from_time(record.due),
        None if certificate is None else number(certificate.authority),
        None if certificate is None else from_serial(certificate.serial),
        record.request_id,
        record.state,
        record.version,
    )


def to_transaction(row: Row, text: NameText) -> TransactionRecord:
    """Record of a row in the order of `TRANSACTION_COLUMNS`."""
    return make_transaction_record(
        key=TransactionKey(text(row[2]), text(row[1]), row[3], row[0]),
        request_hash=row[4],
        status=_TRANSACTION_STATUSES[row[5]],
        created=to_time(row[6]),
        due=to_time(row[7]),
        certificate=to_reference(row[8], row[9], text),
        request_id=row[10],
        state=row[11],
        version=row[12],
    )


# --- entities, credentials, approvals -------------------------------------------


def from_entity(entity: EndEntity) -> Row:
    """Row of ``entities``, in the order of `ENTITY_COLUMNS`."""
    return (
        entity.name,
        entity.status.value,
        from_time(entity.created),
        entity.subject,
        _from_texts(entity.alternative_names),
        entity.authority,
        entity.certificate_profile,
        entity.end_entity_profile,
        entity.vendor,
        entity.made_by,
        entity.enrollments_left,
        entity.version,
    )


def to_entity(row: Row) -> EndEntity:
    """Record of a row in the order of `ENTITY_COLUMNS`."""
    return make_end_entity(
        name=row[0],
        status=_ENTITY_STATUSES[row[1]],
        created=to_time(row[2]),
        subject=row[3],
        alternative_names=_to_texts(row[4]),
        authority=row[5],
        certificate_profile=row[6],
        end_entity_profile=row[7],
        vendor=row[8],
        made_by=row[9],
        enrollments_left=row[10],
        version=row[11],
    )


def from_credential(credential: Credential) -> Row:
    """Row of ``credentials``, in the order of `CREDENTIAL_COLUMNS`."""
    return (
        credential.id,
        credential.kind.value,
        credential.reference,
        credential.sealed,
        from_time(credential.created),
        credential.alias,
        credential.entity,
        credential.subject,
        credential.uses_left,
        from_optional_time(credential.expires),
        credential.failures,
        from_optional_time(credential.locked_until),
        credential.binding.encode(),
    )


def to_credential(row: Row) -> Credential:
    """Record of a row in the order of `CREDENTIAL_COLUMNS`."""
    return make_credential(
        id=row[0],
        kind=_CREDENTIAL_KINDS[row[1]],
        reference=row[2],
        sealed=row[3],
        created=to_time(row[4]),
        alias=row[5],
        entity=row[6],
        subject=row[7],
        uses_left=row[8],
        expires=to_optional_time(row[9]),
        failures=row[10],
        locked_until=to_optional_time(row[11]),
        binding=CredentialBinding.decode(row[12]),
    )


def from_approval(approval: ApprovalRequest) -> Row:
    """Row of ``approvals``, in the order of `APPROVAL_COLUMNS`."""
    key = approval.transaction
    return (
        approval.id,
        key.protocol,
        key.alias,
        key.requester,
        key.transaction_id,
        approval.alias,
        approval.protocol,
        approval.requester,
        approval.subject,
        approval.entity,
        approval.rule,
        approval.needed,
        approval.enrollment,
        approval.digest,
        from_time(approval.created),
        from_time(approval.expires),
        approval.status.value,
        _from_texts(approval.approvers),
        approval.note,
        approval.version,
    )


def to_approval(row: Row) -> ApprovalRequest:
    """Record of a row in the order of `APPROVAL_COLUMNS`."""
    return ApprovalRequest(
        id=row[0],
        transaction=TransactionKey(row[1], row[2], row[3], row[4]),
        alias=row[5],
        protocol=row[6],
        requester=row[7],
        subject=row[8],
        entity=row[9],
        rule=row[10],
        needed=row[11],
        enrollment=row[12],
        digest=row[13],
        created=to_time(row[14]),
        expires=to_time(row[15]),
        status=ApprovalStatus(row[16]),
        approvers=_to_texts(row[17]),
        note=row[18],
        version=row[19],
    )


# --- authorities, CRLs, keys ----------------------------------------------------


def from_archived_key(record: ArchivedKey, number: NameNumber) -> Row:
    """Row of ``archived_keys``, in the order of `ARCHIVED_KEY_COLUMNS`."""
    return (
        number(record.certificate.authority),
        from_serial(record.certificate.serial),
        record.entity,
        record.key,
        record.sealed,
        from_time(record.created),
    )


def to_archived_key(row: Row, text: NameText) -> ArchivedKey:
    """Record of a row as `from_archived_key` makes it."""
    return ArchivedKey(
        certificate=CertificateReference(text(row[0]), to_serial(row[1])),
        entity=row[2],
        key=row[3],
        sealed=row[4],
        created=to_time(row[5]),
    )


def from_authority(record: AuthorityRecord, number: NameNumber) -> Row:
    """Row of ``authorities``, in the order of its columns.

    Chain and links are stored as a DER SEQUENCE of certificates.
    """
    return (
        number(record.name),
        record.certificate,
        der.sequence(*record.chain),
        record.key,
        from_time(record.created),
        from_serial(record.crl_number),
        int(record.active),
        record.predecessor,
        record.phase,
        der.sequence(*record.links),
    )


def to_authority(row: Row, text: NameText) -> AuthorityRecord:
    """Record of a row as `from_authority` makes it."""
    return AuthorityRecord(
        name=text(row[0]),
        certificate=row[1],
        chain=_certificates(row[2]),
        key=row[3],
        created=to_time(row[4]),
        crl_number=to_serial(row[5]),
        active=bool(row[6]),
        predecessor=row[7],
        phase=AuthorityPhase(row[8]),
        links=_certificates(row[9]),
    )


def _certificates(octets: bytes) -> tuple[bytes, ...]:
    found = der.Cursor(der.single(octets, der.SEQUENCE))
    return tuple(found.raw_elements(MAX_CHAIN))


OUTBOX_HEAD: Final = (
    "SELECT max((SELECT coalesce(max(id), 0) FROM outbox), "
    "(SELECT coalesce(max(position), 0) FROM publishers))"
)
ARCHIVED_KEY_COLUMNS: Final = "authority, serial, entity, key, sealed, created"
CRL_HEAD: Final = (
    "authority, part, delta, number, base, this_update, next_update, revision"
)


def from_crl(record: CRLRecord, authority: int | None) -> Row:
    """Row of ``crls``: `CRL_HEAD` and the octets."""
    return (
        authority,
        record.partition,
        int(record.base is not None),
        from_serial(record.number),
        from_serial(record.base or 0),
        from_time(record.this_update),
        from_time(record.next_update),
        record.revision,
        record.der,
    )


def _crl_fields(row: Row, text: NameText) -> dict[str, Any]:
    return {
        "authority": text(row[0]),
        "partition": row[1],
        "number": to_serial(row[3]),
        "base": to_serial(row[4]) if row[2] else None,
        "this_update": to_time(row[5]),
        "next_update": to_time(row[6]),
        "revision": row[7],
    }


def to_crl_head(row: Row, text: NameText) -> CRLHead:
    """Head of `CRL_HEAD`."""
    return CRLHead(**_crl_fields(row, text))


def to_crl(row: Row, text: NameText) -> CRLRecord:
    """Record of `CRL_HEAD` and the octets."""
    return CRLRecord(**_crl_fields(row, text), der=row[8])


def to_key_handle(row: Row) -> KeyHandleRecord:
    """Record of (name, purpose, spec, public_key, created)."""
    return KeyHandleRecord(
        name=row[0],
        purpose=row[1],
        spec=row[2],
        public_key=row[3],
        created=to_time(row[4]),
    )


# --- audit ----------------------------------------------------------------------

_TEXT_FIELDS: Final = tuple(field.name for field in fields(AuditEvent))[1:]
_TEXTS: Final[Callable[[AuditEvent], tuple[str, ...]]] = attrgetter(*_TEXT_FIELDS)
_LABELS: Final = tuple(f',"{name}":' for name in _TEXT_FIELDS)


def encode_event(event: AuditEvent) -> str:
    """The canonical text of an event, which the digest chain covers.

    JSON in ASCII without spaces; the fields in the order of `AuditEvent`, the time in
    microseconds; those that are empty are left out, so that a field added later
    changes no stored record.
    """
    labelled = zip(_LABELS, _TEXTS(event), strict=True)
    texts = [label + encode_basestring_ascii(text) for label, text in labelled if text]
    return f'{{"at":{from_time(event.at)}{"".join(texts)}}}'


def to_audit_record(row: Row) -> AuditRecord:
    """Record of (sequence, digest, event)."""
    values = json.loads(row[2])
    values["at"] = to_time(values["at"])
    for required in ("action", "outcome", "actor"):
        values.setdefault(required, "")
    return AuditRecord(sequence=row[0], digest=row[1], event=AuditEvent(**values))
