"""Engine records as plain JSON objects: what the tool and the control socket show.

One function a kind of record. No secret, sealed or not, is ever part of a view.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime

from cryptography import x509

from pkid.asn1.names import Name
from pkid.engine.model import CertificateRecord, Credential, EndEntity
from pkid.engine.orders import Account, Order
from pkid.engine.records import ApprovalRequest, AuditRecord, AuthorityRecord, CRLRecord

View = dict[str, object]


def moment(value: datetime | None) -> str | None:
    """ISO 8601 in UTC, whole seconds."""
    return None if value is None else value.strftime("%Y-%m-%dT%H:%M:%SZ")


def certificate(record: CertificateRecord) -> View:
    """One certificate; ``reference`` is what commands take."""
    return {
        "reference": str(record.reference),
        "authority": record.reference.authority,
        "serial": f"{record.reference.serial:x}",
        "subject": record.subject,
        "status": record.status.name.lower(),
        "entity": record.entity,
        "profile": record.profile,
        "alias": record.alias,
        "protocol": record.protocol,
        "requester": record.requester,
        "not_before": moment(record.not_before),
        "not_after": moment(record.not_after),
        "issued_at": moment(record.issued_at),
        "update_state": record.update_state.name.lower(),
        "reason": None if record.reason is None else record.reason.name.lower(),
        "revoked_at": moment(record.revoked_at),
        "invalidity_at": moment(record.invalidity_at),
        "replaces": None if record.replaces is None else str(record.replaces),
        "fingerprint": record.fingerprint.hex(),
        "subject_key_id": record.subject_key_id.hex(),
    }


def secret(record: Credential) -> View:
    """One shared secret without its value."""
    return {
        "reference": record.reference,
        "kind": record.kind.value,
        "alias": record.alias,
        "entity": record.entity,
        "subject": record.subject,
        "uses_left": record.uses_left,
        "expires": moment(record.expires),
        "created": moment(record.created),
        "failures": record.failures,
        "locked_until": moment(record.locked_until),
    }


def entity(record: EndEntity) -> View:
    """One end entity."""
    return {
        "name": record.name,
        "status": record.status.value,
        "subject": record.subject,
        "alternative_names": list(record.alternative_names),
        "authority": record.authority,
        "certificate_profile": record.certificate_profile,
        "end_entity_profile": record.end_entity_profile,
        "vendor": record.vendor,
        "made_by": record.made_by,
        "enrollments_left": record.enrollments_left,
        "created": moment(record.created),
    }


def approval(record: ApprovalRequest) -> View:
    """One request that people must agree to."""
    return {
        "id": record.id,
        "status": record.status.value,
        "subject": record.subject,
        "entity": record.entity,
        "protocol": record.protocol,
        "alias": record.alias,
        "requester": record.requester,
        "transaction": record.transaction.transaction_id.hex(),
        "rule": record.rule,
        "needed": record.needed,
        "approvers": list(record.approvers),
        "created": moment(record.created),
        "expires": moment(record.expires),
        "note": record.note,
    }


def audit(record: AuditRecord) -> View:
    """One audit record; empty fields are left out."""
    event = record.event
    texts = {
        name: getattr(event, name)
        for name in (
            "actor",
            "protocol",
            "alias",
            "transport",
            "peer",
            "transaction",
            "certificate",
            "entity",
            "subject",
            "rule",
            "code",
            "detail",
            "hint",
        )
    }
    return {
        "sequence": record.sequence,
        "at": moment(event.at),
        "action": event.action,
        "outcome": event.outcome,
        **{name: text for name, text in texts.items() if text},
    }


def authority(record: AuthorityRecord) -> View:
    """One certification authority."""
    parsed = x509.load_der_x509_certificate(record.certificate)
    return {
        "name": record.name,
        "subject": Name.decode(parsed.subject.public_bytes()).text(),
        "issuer": Name.decode(parsed.issuer.public_bytes()).text(),
        "serial": f"{parsed.serial_number:x}",
        "not_before": moment(parsed.not_valid_before_utc),
        "not_after": moment(parsed.not_valid_after_utc),
        "key": record.key,
        "active": record.active,
        "phase": record.phase.name.lower(),
        "predecessor": record.predecessor,
        "crl_number": record.crl_number,
        "created": moment(record.created),
    }


def crl(record: CRLRecord) -> View:
    """One CRL without its octets."""
    return {
        "authority": record.authority,
        "number": record.number,
        "this_update": moment(record.this_update),
        "next_update": moment(record.next_update),
    }


def octets(value: bytes) -> str:
    """Octets as base64 text."""
    return base64.b64encode(value).decode("ascii")


def acme_account(account: Account) -> View:
    """One account; its key is told by the thumbprint."""
    return {
        "id": account.id,
        "alias": account.alias,
        "status": account.status.value,
        "contacts": list(account.contacts),
        "thumbprint": account.thumbprint,
        "external_key": account.binding,
        "created": moment(account.created),
    }


def acme_order(order: Order) -> View:
    """One order."""
    return {
        "id": order.id,
        "status": order.status.value,
        "identifiers": [f"{one.kind}:{one.value}" for one in order.identifiers],
        "certificate": str(order.certificate or ""),
        "detail": order.detail,
        "created": moment(order.created),
        "expires": moment(order.expires),
    }


def fingerprints(alias: str, what: str, certificate: bytes) -> View:
    """Digests of a certificate that clients of an entrance are shown.

    :param what: what its key does there.
    """
    read = x509.load_der_x509_certificate(certificate)
    return {
        "alias": alias,
        "certificate": what,
        "subject": Name.decode(read.subject.public_bytes()).text(),
        "not_after": moment(read.not_valid_after_utc),
        "sha256": hashlib.sha256(certificate).hexdigest(),
        "sha1": hashlib.sha1(certificate, usedforsecurity=False).hexdigest(),
        "md5": hashlib.md5(certificate, usedforsecurity=False).hexdigest(),
    }
