"""Profile + grant + request -> exactly what would be signed.

Pure; step 5 of the one path and, together with `pkid.engine.lint`, the dry run. The
result is a `CertificatePlan`, a value that approvals can be held against.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from pkid.asn1 import oids
from pkid.asn1.constructors import constructor
from pkid.asn1.names import EMPTY, GeneralName, Name, encode_general_names
from pkid.asn1.x509 import Extension
from pkid.crypto.algorithms import decode_key_specs
from pkid.crypto.publickeys import PublicKeyInfo, check_key_quality
from pkid.crypto.tbs import NO_EXPIRY, not_after
from pkid.engine.authorization import Grant
from pkid.engine.model import RequestedCertificate
from pkid.engine.naming import (
    alternative_names_of,
    check_given_subject,
    refuse,
    subject_of,
)
from pkid.engine.nftypes import check_network_functions
from pkid.engine.profiles import CertificateProfile, ProfileKind
from pkid.engine.requested import RequestedExtensions, read_extensions
from pkid.errors import ErrorCode, PKIError

#: Profiles whose facts are kept; a reload of the configuration makes new ones.
MAX_FACTS = 256
_CA_USAGE = frozenset(("keyCertSign", "cRLSign"))
_AUTHORITY_PURPOSES = frozenset(
    (oids.ID_KP_CMC_CA, oids.ID_KP_CMC_RA, oids.ID_KP_CM_KGA)
)
# Never copied from a request: ours to say, whatever a profile lists.
_RESERVED = frozenset(
    (
        oids.ID_CE_AUTHORITY_KEY_IDENTIFIER,
        oids.ID_CE_SUBJECT_KEY_IDENTIFIER,
        oids.ID_CE_CRL_DISTRIBUTION_POINTS,
        oids.ID_PE_AUTHORITY_INFO_ACCESS,
    )
)
_SIGNING = frozenset(("digitalSignature", "nonRepudiation"))
_USAGE_BY_FAMILY = {
    "rsa": _SIGNING | {"keyEncipherment", "dataEncipherment"},
    "ec": _SIGNING | {"keyAgreement", "encipherOnly", "decipherOnly"},
    "ed25519": _SIGNING,
    "ed448": _SIGNING,
    "x25519": frozenset({"keyAgreement", "encipherOnly", "decipherOnly"}),
    "x448": frozenset({"keyAgreement", "encipherOnly", "decipherOnly"}),
    "ml-dsa": _SIGNING,
    "ml-kem": frozenset({"keyEncipherment"}),
}
_DEFAULT_USAGE = {
    "rsa": frozenset({"digitalSignature", "keyEncipherment"}),
    "ec": frozenset({"digitalSignature", "keyAgreement"}),
    "ed25519": frozenset({"digitalSignature"}),
    "ed448": frozenset({"digitalSignature"}),
    "x25519": frozenset({"keyAgreement"}),
    "x448": frozenset({"keyAgreement"}),
    "ml-dsa": frozenset({"digitalSignature"}),
    "ml-kem": frozenset({"keyEncipherment"}),
}


class _ProfileFacts:
    """What follows from a profile alone, computed once for it.

    :ivar specs: the keys that it takes.
    :ivar fixed: OIDs that a request cannot bring.
    :ivar usages: by key family: the key usage possible, and that which is granted.
    """

    __slots__ = ("fixed", "profile", "specs", "usages")

    def __init__(self, profile: CertificateProfile) -> None:
        self.profile = profile
        self.specs = decode_key_specs(profile.keys)
        self.fixed = _RESERVED | {
            extension.oid for extension in profile.static_extensions
        }
        self.usages: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def usage(self, family: str) -> tuple[frozenset[str], frozenset[str]]:
        """Key usage possible for a key family, and what the profile grants of it."""
        found = self.usages.get(family)
        if found is None:
            found = self.usages[family] = _usage_of(self.profile, family)
        return found


_FACTS: dict[int, _ProfileFacts] = {}


def _facts_of(profile: CertificateProfile) -> _ProfileFacts:
    """The facts of a profile, by identity: to hash its 35 fields would cost more."""
    facts = _FACTS.get(id(profile))
    if facts is None or facts.profile is not profile:
        if len(_FACTS) >= MAX_FACTS:
            _FACTS.clear()
        facts = _FACTS[id(profile)] = _ProfileFacts(profile)
    return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerBounds:
    """What the issuer's own certificate allows; None for a self-signed root.

    :ivar path_length: its pathLenConstraint, None for none.
    """

    not_before: datetime
    not_after: datetime
    path_length: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePlan:
    """Exactly what would be signed, but for serial number and issuer.

    :ivar extended_key_usage: OIDs, in order.
    :ivar copied: further extensions that came from the request.
    :ivar modified: whether it differs from what was asked.
    """

    profile: CertificateProfile
    subject: Name
    key: PublicKeyInfo
    not_before: datetime
    not_after: datetime
    key_usage: frozenset[str]
    extended_key_usage: tuple[str, ...]
    alternative_names: tuple[GeneralName, ...]
    copied: tuple[Extension, ...]
    modified: bool

    @property
    def digest(self) -> bytes:
        """SHA-256 over names, key and profile: what an approver agrees to."""
        names = encode_general_names(self.alternative_names or ())
        parts = (
            self.profile.name.encode(),
            self.subject.der,
            names,
            self.key.spki,
            ",".join(sorted(self.key_usage)).encode(),
            ",".join(self.extended_key_usage).encode(),
            *(extension.encode() for extension in self.copied),
        )
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hashlib.sha256(joined).digest()


_make_plan = constructor(CertificatePlan)


def plan_certificate(
    grant: Grant,
    requested: RequestedCertificate,
    key: PublicKeyInfo,
    bounds: IssuerBounds | None,
    now: datetime,
    *,
    blocked: frozenset[bytes] = frozenset(),
) -> CertificatePlan:
    """Apply profile and grant to what was asked.

    :param key: the subject key, decoded from the request.
    :param bounds: of the issuer's certificate; None for a root.
    :param blocked: SHA-256 of refused SubjectPublicKeyInfo values.
    :raises PKIError: ``BAD_TEMPLATE``, ``BAD_ALGORITHM``, ``NOT_AUTHORIZED``,
        ``UNACCEPTED_EXTENSION``, ``UNACCEPTED_POLICY``: the field and the rule that
        refused.
    """
    profile = grant.profile
    facts = _facts_of(profile)
    check_key_quality(key, facts.specs, blocked)
    asked = read_extensions(requested.extensions)
    _check_authority_claims(profile, asked, bounds)
    subject = _subject(grant, requested)
    names = _alternative_names(grant, asked)
    _check_has_name(subject, names, profile)
    usage = _key_usage(facts, asked, key.family)
    purposes = _extended_key_usage(profile, asked)
    copied, dropped = _copied(facts, asked)
    check_network_functions(copied, grant.end_entity_profile)
    begin, end = _validity(grant, requested, bounds, now)
    modified = (
        dropped
        or (requested.subject is not None and requested.subject.der != subject.der)
        or names != asked.alternative_names
        or (asked.key_usage is not None and asked.key_usage != usage)
        or (
            asked.extended_key_usage is not None
            and set(asked.extended_key_usage) != set(purposes)
        )
        or (requested.not_after is not None and requested.not_after != end)
    )
    return _make_plan(
        profile=profile,
        subject=subject,
        key=key,
        not_before=begin,
        not_after=end,
        key_usage=usage,
        extended_key_usage=purposes,
        alternative_names=names,
        copied=copied,
        modified=modified,
    )


def _check_authority_claims(
    profile: CertificateProfile,
    asked: RequestedExtensions,
    bounds: IssuerBounds | None,
) -> None:
    is_ca = profile.kind is not ProfileKind.END_ENTITY
    if asked.is_ca and not is_ca:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "CA certificates are not issued here",
            hint=f"kind of [certificate_profile.{profile.name}]",
        )
    if asked.path_length is not None and not asked.is_ca:
        raise refuse("pathLenConstraint without cA")
    if "keyCertSign" in (asked.key_usage or ()) and not is_ca:
        raise refuse("keyCertSign is for CA certificates only")
    if is_ca and bounds is not None and bounds.path_length == 0:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED, "the issuer may not certify further CAs"
        )


def _subject(grant: Grant, requested: RequestedCertificate) -> Name:
    if grant.subject is not None:
        if grant.renews is None:
            check_given_subject(grant.subject, grant.end_entity_profile)
        return grant.subject
    if not grant.profile.request_subject:
        raise refuse(
            "the request's subject may not be used",
            f"request_subject of [certificate_profile.{grant.profile.name}]",
        )
    asked = requested.subject or EMPTY
    return subject_of(asked, grant.profile, grant.end_entity_profile)


def _alternative_names(
    grant: Grant, asked: RequestedExtensions
) -> tuple[GeneralName, ...]:
    if grant.alternative_names is not None:
        return grant.alternative_names
    if grant.profile.san == "none":
        return ()
    return alternative_names_of(asked.alternative_names, grant.end_entity_profile)


def _check_has_name(
    subject: Name, names: tuple[GeneralName, ...], profile: CertificateProfile
) -> None:
    if profile.san == "required" and not names:
        raise refuse("an alternative name is required")
    if not names and (subject == EMPTY or subject.is_empty):
        raise refuse("neither a subject nor an alternative name")


def _usage_of(
    profile: CertificateProfile, family: str
) -> tuple[frozenset[str], frozenset[str]]:
    kind = family.partition(":")[0]
    for prefix in ("ml-dsa", "ml-kem"):
        if kind.startswith(prefix):
            kind = prefix
    possible = _USAGE_BY_FAMILY[kind]
    if profile.kind is not ProfileKind.END_ENTITY:
        possible |= _CA_USAGE
    granted = frozenset(profile.key_usage) & possible or _DEFAULT_USAGE[kind]
    return possible, granted


def _key_usage(
    facts: _ProfileFacts, asked: RequestedExtensions, family: str
) -> frozenset[str]:
    possible, granted = facts.usage(family)
    wanted = asked.key_usage
    if wanted is None or not facts.profile.request_key_usage:
        return granted
    if not wanted <= possible:
        raise refuse(f"key usage {', '.join(sorted(wanted - possible))} does not fit")
    return (wanted & granted) or granted


def _extended_key_usage(
    profile: CertificateProfile, asked: RequestedExtensions
) -> tuple[str, ...]:
    wanted = asked.extended_key_usage
    if wanted is None:
        return profile.extended_key_usage
    allowed = {*profile.extended_key_usage, *profile.request_extended_key_usage}
    claims = (set(wanted) & _AUTHORITY_PURPOSES) - allowed
    if claims:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "the extended key usage of a CA, RA or KGA is not granted here",
            hint=f"extended_key_usage of [certificate_profile.{profile.name}]",
        )
    granted = tuple(purpose for purpose in wanted if purpose in allowed)
    return granted or profile.extended_key_usage


def _copied(
    facts: _ProfileFacts, asked: RequestedExtensions
) -> tuple[tuple[Extension, ...], bool]:
    if not asked.other:
        return (), False
    profile = facts.profile
    copied: list[Extension] = []
    dropped = False
    for extension in asked.other:
        allowed = extension.oid in profile.request_extensions
        if allowed and extension.oid not in facts.fixed:
            copied.append(extension)
        elif extension.critical:
            policy = extension.oid == oids.ID_CE_CERTIFICATE_POLICIES
            raise PKIError(
                ErrorCode.UNACCEPTED_POLICY
                if policy
                else ErrorCode.UNACCEPTED_EXTENSION,
                f"critical extension {extension.oid} is not granted",
                hint=f"request_extensions of [certificate_profile.{profile.name}]",
            )
        else:
            dropped = True
    return tuple(copied), dropped


def _validity(
    grant: Grant,
    requested: RequestedCertificate,
    bounds: IssuerBounds | None,
    now: datetime,
) -> tuple[datetime, datetime]:
    profile, rules = grant.profile, grant.end_entity_profile
    if profile.exact_validity and requested.not_before and requested.not_after:
        return requested.not_before, requested.not_after
    begin = now.replace(microsecond=0) - profile.backdate
    period = profile.validity
    if rules.maximum_validity is not None:
        period = min(period, rules.maximum_validity)
    end = NO_EXPIRY if profile.forever else not_after(begin + profile.backdate, period)
    if profile.request_validity:
        begin, end = _narrowed(begin, end, requested)
    if bounds is not None:
        begin, end = max(begin, bounds.not_before), min(end, bounds.not_after)
    if end <= begin:
        raise refuse("the validity asked for is not possible")
    if rules.minimum_validity is not None and end - begin < rules.minimum_validity:
        raise refuse("the validity is shorter than the profile allows")
    return begin, end


def _narrowed(
    begin: datetime, end: datetime, requested: RequestedCertificate
) -> tuple[datetime, datetime]:
    if requested.not_before is not None and requested.not_before > begin:
        begin = requested.not_before.replace(microsecond=0)
    if requested.not_after is not None and requested.not_after < end:
        end = requested.not_after.replace(microsecond=0)
    return begin, end
