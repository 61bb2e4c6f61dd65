"""Structural checks on a plan before it is signed (RFC 5280).

Always on. A fault here is ours or the profile's, never only the requester's, so it
refuses with the rule's name; a profile that lints badly issues nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from pkid.asn1 import oids
from pkid.engine.policy import MAX_FACTS, CertificatePlan
from pkid.engine.profiles import CertificateProfile, ProfileKind
from pkid.errors import ErrorCode, PKIError

MAX_COMMON_NAME = 64


def _subject_or_names(plan: CertificatePlan) -> bool:
    return bool(plan.alternative_names) or not plan.subject.is_empty


def _ca_has_subject(plan: CertificatePlan) -> bool:
    return plan.profile.kind is ProfileKind.END_ENTITY or not plan.subject.is_empty


def _ca_signs(plan: CertificatePlan) -> bool:
    is_ca = plan.profile.kind is not ProfileKind.END_ENTITY
    return ("keyCertSign" in plan.key_usage) is is_ca


def _some_key_usage(plan: CertificatePlan) -> bool:
    return bool(plan.key_usage)


def _validity_runs_forward(plan: CertificatePlan) -> bool:
    return plan.not_before < plan.not_after


def _common_name_length(plan: CertificatePlan) -> bool:
    names = plan.subject.values(oids.ID_AT_COMMON_NAME)
    return all(len(name) <= MAX_COMMON_NAME for name in names)


def _extensions_once(plan: CertificatePlan) -> bool:
    found = [extension.oid for extension in plan.copied]
    found += [extension.oid for extension in plan.profile.static_extensions]
    return len(found) == len(set(found))


def _end_entity_constraints(plan: CertificatePlan) -> bool:
    profile = plan.profile
    limits = (
        profile.permitted_names
        or profile.excluded_names
        or profile.path_length is not None
    )
    return profile.kind is not ProfileKind.END_ENTITY or not limits


#: Rule name -> check; the name is what the operator reads.
RULES: dict[str, Callable[[CertificatePlan], bool]] = {
    "a certificate names something (4.1.2.6)": _subject_or_names,
    "a CA has a subject (4.1.2.6)": _ca_has_subject,
    "keyCertSign if and only if CA (4.2.1.3)": _ca_signs,
    "key usage is not empty (4.2.1.3)": _some_key_usage,
    "validity runs forward (4.1.2.5)": _validity_runs_forward,
    "common name has at most 64 characters (A.1)": _common_name_length,
    "no extension twice (4.2)": _extensions_once,
    "constraints stand in CA certificates only (4.2.1.9, 4.2.1.10)": (
        _end_entity_constraints
    ),
}


# Plans of one profile with the same key usage and nothing copied differ in names and
# times only. The rules about the rest are checked at the first of them.
_CLEAN: dict[tuple[int, frozenset[str]], CertificateProfile] = {}


def _is_clean(plan: CertificatePlan) -> bool:
    """Whether a plan breaks no rule, told by what is known of its profile."""
    profile = plan.profile
    known = _CLEAN.get((id(profile), plan.key_usage))
    return (
        known is profile
        and not plan.copied
        and _subject_or_names(plan)
        and _ca_has_subject(plan)
        and _validity_runs_forward(plan)
        and _common_name_length(plan)
    )


def _remember(plan: CertificatePlan) -> None:
    if plan.copied:
        return
    if len(_CLEAN) >= MAX_FACTS:
        _CLEAN.clear()
    _CLEAN[id(plan.profile), plan.key_usage] = plan.profile


def findings(plan: CertificatePlan) -> tuple[str, ...]:
    """Names of the rules that a plan breaks."""
    return tuple(name for name, holds in RULES.items() if not holds(plan))


def check(plan: CertificatePlan) -> None:
    """Refuse a plan that breaks a rule.

    :raises PKIError: ``BAD_TEMPLATE`` with the first rule's name.
    """
    if _is_clean(plan):
        return
    for name, holds in RULES.items():
        if not holds(plan):
            raise PKIError(
                ErrorCode.BAD_TEMPLATE,
                f"the certificate would break RFC 5280: {name}",
                hint=f"[certificate_profile.{plan.profile.name}]",
            )
    _remember(plan)
