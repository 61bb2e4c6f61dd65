"""End entities: how they are named, who may use one, and the vendor allow-list.

A certificate row names its entity, so that a renewal through any door finds it. RA mode
makes entities from requests; an existing one is reused only by who has a right to it: a
shared secret must not take over names.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.engine.aliases import NameRule, NameScheme
from pkid.engine.model import (
    EndEntity,
    EntityStatus,
    Requester,
    RequesterKind,
    make_end_entity,
)
from pkid.errors import ErrorCode, PKIError

_PART_OIDS = {name: oid for oid, name in oids.NAME_BY_OID.items()}
MAX_NAME = 250
_TRUSTED = frozenset(
    (
        RequesterKind.REGISTRATION_AUTHORITY,
        RequesterKind.OPERATOR,
        RequesterKind.SYSTEM,
    )
)


def attribute_oid(field: str) -> str:
    """OID of an attribute type by its short name ("CN") or dotted text.

    :raises PKIError: ``BAD_REQUEST`` for a name that nobody knows.
    """
    found = _PART_OIDS.get(field) or oids.OID_BY_OTHER_NAME.get(field)
    if found is None and not oids.is_dotted(field):
        raise PKIError(ErrorCode.BAD_REQUEST, f"unknown attribute type {field!r}")
    return found or field


def entity_name(
    rule: NameRule, subject: Name, alternative_names: bytes, random_octets: bytes
) -> str:
    """Name of the entity that RA mode makes for a subject.

    :param alternative_names: the SubjectAltName value asked for; names the entity when
        the subject is empty.
    :param random_octets: used by the ``RANDOM`` scheme.
    """
    match rule.scheme:
        case NameScheme.FIXED:
            stem = rule.fixed
        case NameScheme.RANDOM:
            stem = random_octets.hex()
        case NameScheme.DN | NameScheme.USERNAME:
            stem = _from_subject(rule, subject, alternative_names)
    return f"{rule.prefix}{stem}{rule.suffix}"


def _from_subject(rule: NameRule, subject: Name, alternative_names: bytes) -> str:
    for part in rule.parts:
        values = subject.values(attribute_oid(part))
        if values and len(values[0]) <= MAX_NAME:
            return values[0]
    if subject.is_empty:
        return "san-" + hashlib.sha256(alternative_names).hexdigest()[:32]
    return "dn-" + hashlib.sha256(subject.canonical).hexdigest()[:32]


def check_right_to(entity: EndEntity, requester: Requester) -> None:
    """Refuse a requester that has no right to an existing entity.

    :raises PKIError: ``NOT_AUTHORIZED``.
    """
    if (
        requester.kind in _TRUSTED
        or requester.entity == entity.name
        or (requester.identity == entity.made_by and _is_somebody(requester))
        or _has_proven_the_same(entity, requester)
    ):
        return
    raise PKIError(
        ErrorCode.NOT_AUTHORIZED,
        "these names belong to another requester",
        hint=f"entity {entity.name} was made by {entity.made_by}; renew with its own"
        f" certificate, or bind the secret to it: pkid secret add --entity"
        f" {entity.name}",
    )


def _has_proven_the_same(entity: EndEntity, requester: Requester) -> bool:
    """Whether what made the entity was proof of control, and here is the same proof.

    An account gets no certificate for a name that it has not proven to control; who
    controls a name today may have what an earlier holder of it had.
    """
    return requester.kind is RequesterKind.ACCOUNT and entity.made_by.startswith(
        "account:"
    )


def _is_somebody(requester: Requester) -> bool:
    """Whoever proved nothing is never the same one again."""
    return requester.kind is not RequesterKind.ANONYMOUS


def check_may_enroll(entity: EndEntity) -> None:
    """Refuse a registered entity that is not to enrol (again).

    :raises PKIError: ``NOT_AUTHORIZED``.
    """
    if entity.enrollments_left == 0 or entity.status in (
        EntityStatus.FAILED,
        EntityStatus.HISTORICAL,
        EntityStatus.REVOKED,
    ):
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the end entity is not open for enrolment",
            hint=f"pkid entity rearm {entity.name}",
        )


def after_enrollment(entity: EndEntity) -> EndEntity:
    """The entity once a certificate was issued: GENERATED, one enrolment fewer."""
    left = entity.enrollments_left
    return replace(
        entity,
        status=EntityStatus.GENERATED,
        enrollments_left=None if left is None else left - 1,
    )


def from_request(
    name: str, subject: Name, authority: str, requester: Requester, now: datetime
) -> EndEntity:
    """The entity that RA mode makes."""
    return make_end_entity(
        name=name,
        status=EntityStatus.GENERATED,
        created=now,
        subject=subject.text(),
        authority=authority,
        made_by=requester.identity,
    )


def rearmed(entity: EndEntity, unit: str = "") -> EndEntity:
    """The entity, open for one new enrolment (factory reset, board swap).

    :param unit: of the same vendor, that takes the place of the one before.
    :raises PKIError: ``BAD_REQUEST`` for an entity that is no vendor's unit.
    """
    vendor = entity.vendor.partition("|")[0]
    if unit and not vendor:
        raise PKIError(ErrorCode.BAD_REQUEST, "the end entity is no vendor's unit")
    pattern = vendor_pattern(vendor, unit) if unit else entity.vendor
    return replace(entity, status=EntityStatus.NEW, enrollments_left=1, vendor=pattern)


def vendor_pattern(vendor: str, unit: str) -> str:
    """Allow-list text of one unit of one vendor."""
    return f"{vendor}|{unit}"
