"""Apply profiles to names: subject fields, alternative names, their rules.

Pure. Step 5 of the one path, the part about names.

**Source:** RFC 5280 sections 4.1.2.6, 4.2.1.6 and 7; RFC 5890 for labels.
"""

from __future__ import annotations

import re
from functools import lru_cache

import idna

from pkid.asn1.names import EMPTY, AttributeValue, GeneralName, Name
from pkid.engine.endentities import attribute_oid
from pkid.engine.profiles import CertificateProfile, EndEntityProfile, NameField
from pkid.errors import ErrorCode, PKIError

_KINDS = ("other", "email", "dns", "x400", "dn", "edi", "uri", "ip", "rid")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)
_EMAIL = re.compile(r"[\x21-\x7e]{1,64}@[A-Za-z0-9.\[\]:_-]{1,255}", re.ASCII)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}:[\x21-\x7e]{1,2000}", re.ASCII)
_FORMS = {"email": (_EMAIL, "an e-mail address"), "uri": (_URI, "an absolute URI")}
MAX_DNS_NAME = 253

Rdn = tuple[AttributeValue, ...]


def refuse(detail: str, hint: str | None = None) -> PKIError:
    """``BAD_TEMPLATE``: what is asked for does not fit the profile."""
    return PKIError(ErrorCode.BAD_TEMPLATE, detail, hint=hint)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def subject_of(
    asked: Name, profile: CertificateProfile, rules: EndEntityProfile
) -> Name:
    """The subject that stands after the profiles' rules.

    :raises PKIError: ``BAD_TEMPLATE`` naming the field that refused.
    """
    plain = profile.subject_subset is None and not profile.subject_order
    if plain and not rules.subject and rules.other_fields:
        return asked
    rdns = [rdn for rdn in asked.rdns if _kept(rdn, profile) and _ruled(rdn, rules)]
    rdns = _with_defaults(rdns, rules)
    if profile.subject_order:
        rdns = _ordered(rdns, profile.subject_order)
    return Name.of(rdns) if rdns else EMPTY


def check_given_subject(subject: Name, rules: EndEntityProfile) -> None:
    """Hold a subject that was registered, not asked for, to the profile's rules.

    It stands as it is: a mistake of the register is refused, never mended.

    :raises PKIError: ``BAD_TEMPLATE`` naming the field that refused.
    """
    for rdn in subject.rdns:
        _ruled(rdn, rules)
    present = {value.oid for rdn in subject.rdns for value in rdn}
    for rule in rules.subject:
        if rule.required and attribute_oid(rule.field) not in present:
            raise refuse(
                f"subject field {rule.field} is required",
                f"the end entity's registered subject {subject.text()!r} lacks it",
            )


def _kept(rdn: Rdn, profile: CertificateProfile) -> bool:
    subset = profile.subject_subset
    if subset is None:
        return True
    kept = {attribute_oid(field) for field in subset}
    return all(value.oid in kept for value in rdn)


def _ruled(rdn: Rdn, rules: EndEntityProfile) -> bool:
    """Check one RDN; False drops it (a fixed field: the default comes instead)."""
    by_oid = {attribute_oid(rule.field): rule for rule in rules.subject}
    for value in rdn:
        rule = by_oid.get(value.oid)
        if rule is None:
            if not rules.other_fields:
                raise refuse(
                    f"subject field {value.oid} is not allowed",
                    f"subject of [end_entity_profile.{rules.name}]",
                )
        elif not rule.modifiable:
            return False
        else:
            _check_pattern(rule, value.value, rules)
    return True


def _check_pattern(rule: NameField, value: str, rules: EndEntityProfile) -> None:
    if rule.pattern and not _compiled(rule.pattern).fullmatch(value):
        raise refuse(
            f"the value of {rule.field} is not allowed",
            f"pattern {rule.pattern!r} in [end_entity_profile.{rules.name}]",
        )


def _with_defaults(rdns: list[Rdn], rules: EndEntityProfile) -> list[Rdn]:
    present = {value.oid for rdn in rdns for value in rdn}
    found = list(rdns)
    for rule in rules.subject:
        oid = attribute_oid(rule.field)
        if oid in present:
            continue
        if rule.default:
            found.append((AttributeValue.build(oid, rule.default),))
        elif rule.required:
            raise refuse(f"subject field {rule.field} is required")
    return found


def _ordered(rdns: list[Rdn], order: tuple[str, ...]) -> list[Rdn]:
    place = {attribute_oid(field): index for index, field in enumerate(order)}
    return sorted(rdns, key=lambda rdn: place.get(rdn[0].oid, len(order)))


def alternative_names_of(
    asked: tuple[GeneralName, ...], rules: EndEntityProfile
) -> tuple[GeneralName, ...]:
    """The alternative names that stand after the profile's rules.

    :raises PKIError: ``BAD_TEMPLATE`` naming the kind that refused.
    """
    for name in asked:
        check_alternative_name(name, wildcards=rules.wildcard_names)
    if not rules.alternative_names and rules.other_fields:
        return asked
    by_kind = {rule.field: rule for rule in rules.alternative_names}
    kept = [name for name in asked if _kind_allowed(name, by_kind, rules)]
    present = {_KINDS[name.tag] for name in kept}
    for rule in rules.alternative_names:
        if rule.field in present:
            continue
        if rule.default:
            kept.append(_default_name(rule))
        elif rule.required:
            raise refuse(f"an alternative name of kind {rule.field} is required")
    return tuple(kept)


def _kind_allowed(
    name: GeneralName, by_kind: dict[str, NameField], rules: EndEntityProfile
) -> bool:
    rule = by_kind.get(_KINDS[name.tag])
    if rule is None:
        if not rules.other_fields:
            raise refuse(f"alternative names of kind {_KINDS[name.tag]} are refused")
        return True
    if rule.modifiable:
        _check_pattern(rule, name.text().partition(":")[2], rules)
    return rule.modifiable


def _default_name(rule: NameField) -> GeneralName:
    make = {
        "dns": GeneralName.dns,
        "email": GeneralName.email,
        "uri": GeneralName.uri,
        "ip": GeneralName.ip,
        "rid": GeneralName.rid,
    }.get(rule.field)
    if make is None:
        raise refuse(f"alternative names of kind {rule.field} have no default")
    return make(rule.default)


def check_alternative_name(name: GeneralName, *, wildcards: bool) -> None:
    """Refuse an alternative name that no certificate should hold.

    :raises PKIError: ``BAD_TEMPLATE``.

    **Source:** RFC 5280 section 4.2.1.6.
    """
    kind = _KINDS[name.tag]
    if kind == "dns":
        _check_dns(_ascii(name), wildcards=wildcards)
    elif kind in _FORMS:
        pattern, what = _FORMS[kind]
        if not pattern.fullmatch(_ascii(name)):
            raise refuse(f"an alternative name is not {what}")
    elif kind == "ip" and len(name.value) not in (4, 16):
        raise refuse("an alternative name is not an IP address")
    elif kind in ("x400", "edi"):
        raise refuse("X.400 and EDI alternative names are not certified here")


def _ascii(name: GeneralName) -> str:
    try:
        return name.value.decode("ascii")
    except UnicodeDecodeError:
        raise refuse("an alternative name is not ASCII") from None


def _check_dns(text: str, *, wildcards: bool) -> None:
    host = text
    if text.startswith("*."):
        if not wildcards:
            raise refuse("wildcard names are not certified here")
        host = text[2:]
        if "." not in host:
            raise refuse("a wildcard needs two labels behind it")
    labels = host.split(".")
    if len(text) > MAX_DNS_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise refuse("an alternative name is not a DNS name")
    for label in labels:
        if label[:4].lower() == "xn--":
            _check_a_label(label)


def _check_a_label(label: str) -> None:
    try:
        idna.ulabel(label)
    except idna.IDNAError:
        raise refuse("an internationalised label is not valid (RFC 5891)") from None
