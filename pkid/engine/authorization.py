"""From alias and requester to a grant: which CA, which profiles, which names.

Step 3 of the one path. A grant is a value; only `Authorization.authorize` makes one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from pkid.asn1 import oids
from pkid.asn1.constructors import constructor
from pkid.asn1.names import EMPTY, GeneralName, Name
from pkid.crypto.certificates import Certificate, subject_alternative_names
from pkid.engine import endentities, namerules
from pkid.engine.aliases import Alias, ApprovalRule, Mode, NameScheme, Policies
from pkid.engine.crosscertification import check_purpose
from pkid.engine.identification import unit_of
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateStatus,
    EndEntity,
    EnrollmentRequest,
    Requester,
    RequesterKind,
    UpdateState,
)
from pkid.engine.naming import check_alternative_name
from pkid.engine.ports import Store
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.errors import ErrorCode, PKIError


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a requester may have through an alias.

    :ivar entity: the end entity, as it is or as it would be made.
    :ivar new_entity: whether the entity is made by this request.
    :ivar subject: the subject that stands whatever was asked; None leaves it open.
    :ivar alternative_names: likewise; None leaves them open.
    :ivar credential: one use of it is consumed with the certificate.
    :ivar renews: the certificate that is taken over from.
    """

    alias: Alias
    profile: CertificateProfile
    end_entity_profile: EndEntityProfile
    approval: ApprovalRule
    entity: EndEntity
    new_entity: bool
    subject: Name | None = None
    alternative_names: tuple[GeneralName, ...] | None = None
    credential: int | None = None
    renews: CertificateRecord | None = None


_make_grant = constructor(Grant)
_AUTOMATIC = ApprovalRule()
_ANY = EndEntityProfile(name="any")
_BY_OPERATOR = "operator"
_VENDOR_CHECK = ApprovalRule(name="unknown-vendor-unit", needed=1)


class Authorization:
    """Decides what a requester is granted; reads the store, writes nothing.

    :param line: which CAs are one after a change of key: the name of the first.
    """

    def __init__(
        self,
        store: Store,
        random: Callable[[int], bytes],
        line: Callable[[str], str],
    ) -> None:
        self._store = store
        self._random = random
        self._line = line

    async def authorize(
        self,
        alias: Alias,
        request: EnrollmentRequest,
        policies: Policies,
        now: datetime,
    ) -> Grant:
        """Grant or refuse.

        :raises PKIError: ``NOT_AUTHORIZED``, ``BAD_TEMPLATE`` (no name, unknown
            profile), ``CERTIFICATE_REVOKED`` and ``BAD_REQUEST`` for renewals.
        """
        check_purpose(alias, request.requester)
        await self._check_signer(request, now)
        renews = None
        if request.renews is not None:
            renews = await self._renewable(request.renews, alias, now)
        unit = _unit_facts(request.requester, policies)
        entity, new = await self._entity(alias, request, renews, unit, now)
        _check_registered_authority(entity, alias)
        profile = _profile(alias, request, entity, policies)
        end_entity_profile = _end_entity_profile(alias, entity, policies)
        _check_profile_allowed(end_entity_profile, profile.name, alias.authority)
        approval = _approval_rule(alias, request.requester, policies)
        _check_somebody_decides(request.requester, approval)
        subject, names = await self._forced_names(alias, request, entity, renews)
        if unit is not None:
            unit = replace(unit, entity=entity.name)
            subject = subject or _unit_subject(alias, request, unit)
            names = names or _unit_alternative_names(alias, unit) or names
        if renews is not None:
            _check_renewal_window(end_entity_profile, renews, now)
        return _make_grant(
            alias=alias,
            profile=profile,
            end_entity_profile=end_entity_profile,
            approval=approval,
            entity=entity,
            new_entity=new,
            subject=subject,
            alternative_names=names,
            credential=request.requester.credential,
            renews=renews,
        )

    async def _check_signer(self, request: EnrollmentRequest, now: datetime) -> None:
        """A certificate that is not current asks for nothing (CMP-76, CMP-77).

        One that has expired lately asks for its renewal at most.
        """
        requester = request.requester
        if requester.kind is not RequesterKind.CERTIFICATE:
            return
        if requester.certificate is None:
            raise PKIError(ErrorCode.INTERNAL, "a certificate without its reference")
        record = await self._store.find_certificate(requester.certificate)
        if record is None or record.update_state is not UpdateState.CURRENT:
            raise PKIError(
                ErrorCode.CERTIFICATE_REVOKED,
                "the certificate was updated, or an update of it is under way",
            )
        if record.status is CertificateStatus.AWAITING_CONFIRMATION:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED, "the certificate was not confirmed yet"
            )
        if record.not_after < now and request.renews is None:
            raise PKIError(ErrorCode.NOT_AUTHORIZED, "the certificate has expired")

    async def _entity(
        self,
        alias: Alias,
        request: EnrollmentRequest,
        renews: CertificateRecord | None,
        unit: namerules.UnitFacts | None,
        now: datetime,
    ) -> tuple[EndEntity, bool]:
        requester = request.requester
        if renews is not None:
            return await self._renewing_entity(alias, request, renews, now)
        if alias.mode is Mode.CLIENT:
            return await self._registered_entity(requester), False
        if requester.entity is not None and requester.kind in (
            RequesterKind.VENDOR,
            RequesterKind.CREDENTIAL,
        ):
            return await self._registered_entity(requester), False
        return await self._entity_of_request(alias, request, unit, now)

    async def _registered_entity(self, requester: Requester) -> EndEntity:
        name = requester.entity or requester.identity.rpartition(":")[2]
        entity = await self._store.find_entity(name)
        if entity is None:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "the end entity is not registered",
                hint=f"pkid entity add {name}",
            )
        if requester.identity.rpartition(":")[2] != entity.name:
            endentities.check_right_to(entity, requester)
        if requester.kind is not RequesterKind.CERTIFICATE:
            endentities.check_may_enroll(entity)
        return entity

    async def _renewing_entity(
        self,
        alias: Alias,
        request: EnrollmentRequest,
        renews: CertificateRecord,
        now: datetime,
    ) -> tuple[EndEntity, bool]:
        requester = request.requester
        if (
            requester.kind is RequesterKind.CERTIFICATE
            and requester.certificate != renews.reference
        ):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "a certificate is renewed with that certificate itself",
            )
        entity = await self._store.find_entity(renews.entity)
        if entity is not None:
            return entity, False
        subject = Name.from_text(renews.subject)
        made = endentities.from_request(
            renews.entity, subject, alias.authority, requester, now
        )
        return made, True

    async def _entity_of_request(
        self,
        alias: Alias,
        request: EnrollmentRequest,
        unit: namerules.UnitFacts | None,
        now: datetime,
    ) -> tuple[EndEntity, bool]:
        subject = request.requested.subject or EMPTY
        if unit is not None and subject.is_empty:
            subject = Name.build([[(oids.ID_AT_COMMON_NAME, unit.unit)]])
        requester = request.requester
        names = _alternative_names(request)
        if subject.is_empty and not names:
            raise PKIError(
                ErrorCode.BAD_TEMPLATE,
                "the request names no subject",
                hint=f"alias {alias.name} is in RA mode: names come from the request",
            )
        rule = alias.name_rule
        drawn = self._random(12) if rule.scheme is NameScheme.RANDOM else b""
        name = endentities.entity_name(rule, subject, names, drawn)
        existing = await self._store.find_entity(name)
        if existing is None:
            _check_may_name(requester, name)
            made = endentities.from_request(
                name, subject, alias.authority, requester, now
            )
            return made, True
        endentities.check_right_to(existing, requester)
        endentities.check_may_enroll(existing)
        return existing, False

    async def _forced_names(
        self,
        alias: Alias,
        request: EnrollmentRequest,
        entity: EndEntity,
        renews: CertificateRecord | None,
    ) -> tuple[Name | None, tuple[GeneralName, ...] | None]:
        if request.changes_names:
            _check_may_change_names(alias)
            return None, None
        if renews is not None:
            octets = await self._store.get_certificate_der(renews.reference)
            return names_of_certificate(octets)
        registered = entity.made_by == _BY_OPERATOR and entity.subject
        names = tuple(map(general_name, entity.alternative_names))
        if _is_unit(request.requester) and not entity.subject:
            return None, names or None
        if alias.mode is Mode.CLIENT or registered:
            return Name.from_text(entity.subject), names
        requester = request.requester
        if requester.kind is RequesterKind.CERTIFICATE and requester.certificate_der:
            subject, _ = names_of_certificate(requester.certificate_der)
            return subject, None
        return None, None

    async def _renewable(
        self, reference: CertificateReference, alias: Alias, now: datetime
    ) -> CertificateRecord:
        record = await self._store.find_certificate(reference)
        if record is None:
            raise PKIError(ErrorCode.BAD_CERTIFICATE_ID, "no such certificate here")
        own = self._line(reference.authority) == self._line(alias.authority)
        if not alias.renewal or not own:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "certificates of this kind are not renewed here",
                hint=f"renewal of alias {alias.name}, or use the CA's own alias",
            )
        check_renewable(record, now, alias.renew_expired)
        return record


def check_renewable(
    record: CertificateRecord, now: datetime, grace: timedelta = timedelta(0)
) -> None:
    """Refuse the renewal of a certificate that is not valid and current.

    :param grace: how long after its end it may still be renewed.
    :raises PKIError: ``CERTIFICATE_REVOKED`` when revoked, held, already updated or
        being updated; ``NOT_AUTHORIZED`` when expired.

    **Source:** RFC 9483 section 4.1.3.
    """
    if record.status in (CertificateStatus.REVOKED, CertificateStatus.HELD):
        raise PKIError(ErrorCode.CERTIFICATE_REVOKED, "the certificate is revoked")
    if record.update_state is UpdateState.UPDATED:
        raise PKIError(
            ErrorCode.CERTIFICATE_REVOKED, "the certificate was updated already"
        )
    if record.update_state is UpdateState.IN_UPDATE:
        raise PKIError(
            ErrorCode.CERTIFICATE_REVOKED,
            "an update of this certificate is under way",
            hint="it ends with the client's certConf or at the confirmation deadline",
        )
    if record.status is CertificateStatus.AWAITING_CONFIRMATION:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED, "the certificate was not confirmed yet"
        )
    if record.not_after + grace < now:
        raise PKIError(ErrorCode.NOT_AUTHORIZED, "the certificate has expired")


def _check_may_change_names(alias: Alias) -> None:
    if not alias.change_names:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "names are not changed here",
            hint=f"change_names of alias {alias.name}",
        )


def check_subject_pattern(pattern: str, subject: Name) -> None:
    """Refuse a subject outside the pattern that a secret is bound to.

    :param pattern: glob on the RFC 4514 text; "" allows all.
    :raises PKIError: ``NOT_AUTHORIZED``.
    """
    if pattern and not fnmatch.fnmatchcase(subject.text(), pattern):
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the secret does not allow this subject",
            hint=f"the secret is bound to subjects {pattern!r}",
        )


@lru_cache(maxsize=512)
def names_of_certificate(
    octets: bytes,
) -> tuple[Name, tuple[GeneralName, ...]]:
    """Subject and alternative names of a certificate; who asks, asks again."""
    certificate = Certificate.decode(octets)
    return certificate.subject, subject_alternative_names(certificate)


_GENERAL_NAME_KINDS: dict[str, Callable[[str], GeneralName]] = {
    "dns": GeneralName.dns,
    "ip": GeneralName.ip,
    "email": GeneralName.email,
    "uri": GeneralName.uri,
    "rid": GeneralName.rid,
    "dn": lambda text: GeneralName.directory(Name.from_text(text)),
}


def general_name(text: str) -> GeneralName:
    """A general name of its configuration text, "dns:host" or "ip:192.0.2.1".

    :raises PKIError: ``BAD_REQUEST`` for a kind or value that is none.
    """
    kind, separator, value = text.partition(":")
    make = _GENERAL_NAME_KINDS.get(kind)
    if make is None or not separator:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            f"{text!r} is not a name of the form dns:, ip:, email:, uri:, rid: or dn:",
        )
    return make(value)


def _alternative_names(request: EnrollmentRequest) -> bytes:
    """The requested SubjectAltName value; empty when there is none."""
    for extension in request.requested.extensions:
        if extension.oid == oids.ID_CE_SUBJECT_ALT_NAME:
            return extension.value
    return b""


def _check_may_name(requester: Requester, name: str) -> None:
    """A device's own certificate speaks for its own entity only."""
    if requester.kind is RequesterKind.CERTIFICATE and requester.entity != name:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "a certificate asks for further certificates of its own entity only",
            hint=f"the certificate belongs to {requester.entity}, asked was {name}",
        )


def _is_unit(requester: Requester) -> bool:
    """Whether it comes with a vendor's certificate."""
    return requester.kind is RequesterKind.VENDOR


def _unit_facts(requester: Requester, policies: Policies) -> namerules.UnitFacts | None:
    """What is known of a vendor's unit; None for any other requester."""
    leaf = requester.certificate_der
    if not _is_unit(requester) or leaf is None:
        return None
    name = requester.identity.split(":")[1]
    vendor = policies.vendors.get(name)
    if vendor is None:
        raise PKIError(
            ErrorCode.SIGNER_NOT_TRUSTED,
            "the signer's certificate is not of a vendor trusted here",
            hint=f"[vendor.{name}] is gone from the configuration",
        )
    subject, _ = names_of_certificate(leaf)
    unit = unit_of(vendor, leaf)
    return namerules.UnitFacts(entity=unit, unit=unit, vendor=name, subject=subject)


def _unit_subject(
    alias: Alias, request: EnrollmentRequest, unit: namerules.UnitFacts
) -> Name | None:
    """Subject of a unit that is registered without one.

    By the alias's rule; without a rule as asked, or by the registered name when the
    template names no subject (CMP-181).
    """
    if alias.issued_subject:
        return namerules.subject_by_rule(alias.issued_subject, unit)
    if request.requested.subject is not None:
        return None
    return Name.build([[(oids.ID_AT_COMMON_NAME, unit.entity)]])


def _unit_alternative_names(
    alias: Alias, unit: namerules.UnitFacts
) -> tuple[GeneralName, ...]:
    """Alternative names by the alias's rules."""
    names = tuple(
        namerules.alternative_name_by_rule(rule, unit) for rule in alias.issued_names
    )
    for name in names:
        check_alternative_name(name, wildcards=False)
    return names


def _check_registered_authority(entity: EndEntity, alias: Alias) -> None:
    """An entity registered for one CA is served by that CA alone."""
    registered = entity.authority if entity.made_by == _BY_OPERATOR else ""
    if registered and registered != alias.authority:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the end entity is registered with another authority",
            hint=f"entity {entity.name} is registered with {registered}",
        )


def _profile(
    alias: Alias, request: EnrollmentRequest, entity: EndEntity, policies: Policies
) -> CertificateProfile:
    """The certificate profile: the registered one, that asked for, the alias's.

    :raises PKIError: ``BAD_TEMPLATE``.
    """
    registered = entity.certificate_profile
    default = registered or alias.certificate_profile
    name = request.profile or default
    if registered and name != registered:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "the end entity is registered with another certificate profile",
            hint=f"entity {entity.name} is registered with {registered}",
        )
    if name != default and name not in alias.profiles:
        raise PKIError(
            ErrorCode.BAD_TEMPLATE,
            "this certificate profile is not offered here",
            hint=f"add {name!r} to profiles of alias {alias.name}",
        )
    return policies.certificate_profile(name)


def _end_entity_profile(
    alias: Alias, entity: EndEntity, policies: Policies
) -> EndEntityProfile:
    name = entity.end_entity_profile or alias.end_entity_profile
    found = policies.end_entity_profiles.get(name, _ANY)
    if found is _ANY and name != _ANY.name:
        raise PKIError(
            ErrorCode.UNAVAILABLE,
            "this entrance is not configured completely",
            hint=f"declare [end_entity_profile.{name}]",
        )
    return found


def _check_profile_allowed(
    profile: EndEntityProfile, certificate_profile: str, authority: str
) -> None:
    if (
        profile.certificate_profiles
        and certificate_profile not in profile.certificate_profiles
    ):
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the end entity profile does not allow this certificate profile",
            hint=f"certificate_profiles of [end_entity_profile.{profile.name}]",
        )
    if profile.authorities and authority not in profile.authorities:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the end entity profile does not allow this authority",
            hint=f"authorities of [end_entity_profile.{profile.name}]",
        )


def _check_renewal_window(
    profile: EndEntityProfile, record: CertificateRecord, now: datetime
) -> None:
    window = profile.renewal_window
    if window is not None and now < record.not_after - window:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "it is too early to renew this certificate",
            hint=f"renewal_window of [end_entity_profile.{profile.name}]",
        )


def _check_somebody_decides(requester: Requester, rule: ApprovalRule) -> None:
    """Whoever has proved nothing but a key gets nothing that nobody looked at."""
    if requester.kind is RequesterKind.KEY and not rule.needed:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "requests without a credential are not taken here",
            hint="set approval of the alias to a rule that needs an operator",
        )


def _approval_rule(
    alias: Alias, requester: Requester, policies: Policies
) -> ApprovalRule:
    if requester.kind is RequesterKind.VENDOR and requester.entity is None:
        return _VENDOR_CHECK
    if requester.kind is RequesterKind.SYSTEM or alias.approval == "automatic":
        return _AUTOMATIC
    rule = policies.approval_rules.get(alias.approval)
    if rule is None:
        raise PKIError(
            ErrorCode.UNAVAILABLE,
            "this entrance is not configured completely",
            hint=f"declare [approval.{alias.approval}]",
        )
    return rule
