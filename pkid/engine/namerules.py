"""What a vendor's unit is called in our certificates: the entrance's rule, filled in.

A rule is text with places in braces: ``CN={entity},O=Example`` or
``dns:{unit}.ran.example``. ``{entity}`` is the end entity's name, ``{unit}`` the unit's
identity within its ``{vendor}``; any other place is an attribute of the subject of the
vendor's certificate. A rule is taken apart before it is filled in, so that no value,
whatever its characters, can add an attribute to a name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pkid.asn1.dntext import parse_text
from pkid.asn1.names import AttributeValue, GeneralName, Name
from pkid.engine.endentities import attribute_oid
from pkid.errors import ErrorCode, PKIError

ENTITY: Final = "entity"
UNIT: Final = "unit"
VENDOR: Final = "vendor"
_PLACE: Final = re.compile(r"\{([A-Za-z0-9.-]{1,64})\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """What a rule is filled in with.

    :ivar subject: of the vendor's certificate.
    """

    entity: str
    unit: str
    vendor: str
    subject: Name

    def value(self, place: str) -> str:
        """What stands at a place.

        :raises PKIError: ``NOT_AUTHORIZED`` when the certificate has no such attribute,
            or several.
        """
        own = {ENTITY: self.entity, UNIT: self.unit, VENDOR: self.vendor}.get(place)
        if own is not None:
            return own
        values = self.subject.values(attribute_oid(place))
        if len(values) != 1:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                f"the vendor certificate names no single {place}",
                hint="issued_subject and issued_names of the alias ask for it",
            )
        return values[0]

    def fill(self, text: str) -> str:
        """The text with its places filled in."""
        return _PLACE.sub(lambda found: self.value(found.group(1)), text)


def subject_by_rule(rule: str, facts: UnitFacts) -> Name:
    """The subject that a rule gives; the leftmost part of its text is the last RDN.

    :raises PKIError: ``NOT_AUTHORIZED``, or ``MALFORMED`` when a value does not fit its
        attribute.
    """
    return Name.of(
        [
            [_attribute(oid, value, facts) for oid, value in rdn]
            for rdn in reversed(parse_text(rule))
        ]
    )


def _attribute(oid: str, value: str | bytes, facts: UnitFacts) -> AttributeValue:
    if isinstance(value, bytes):
        raise PKIError(ErrorCode.BAD_REQUEST, "a rule takes no values written with #")
    return AttributeValue.build(oid, facts.fill(value))


def alternative_name_by_rule(rule: str, facts: UnitFacts) -> GeneralName:
    """The alternative name that a rule like ``dns:{entity}.example`` gives.

    :raises PKIError: as `subject_by_rule`, and ``BAD_REQUEST`` for another kind than
        those of `MAKERS`.
    """
    kind, separator, text = rule.partition(":")
    make = MAKERS.get(kind)
    if make is None or not separator or not text:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            "a name rule begins with dns:, ip:, email: or uri:",
        )
    return make(facts.fill(text))


MAKERS: Final = {
    "dns": GeneralName.dns,
    "ip": GeneralName.ip,
    "email": GeneralName.email,
    "uri": GeneralName.uri,
}


def check_subject_rule(rule: str) -> None:
    """Refuse a rule for subjects that can never be filled in.

    :raises PKIError: ``BAD_REQUEST`` or ``MALFORMED``.
    """
    for rdn in parse_text(rule):
        for _, value in rdn:
            if isinstance(value, bytes):
                raise PKIError(ErrorCode.BAD_REQUEST, "values with # are not taken")
            _check_places(value)


def check_alternative_name_rule(rule: str) -> None:
    """Likewise, a rule for an alternative name.

    :raises PKIError: ``BAD_REQUEST``.
    """
    kind, _, text = rule.partition(":")
    if kind not in MAKERS or not text:
        raise PKIError(
            ErrorCode.BAD_REQUEST, f"starts with {', '.join(MAKERS)} and a colon"
        )
    _check_places(text)


def _check_places(text: str) -> None:
    for place in _PLACE.findall(text):
        if place not in {ENTITY, UNIT, VENDOR}:
            attribute_oid(place)
    if set("{}") & set(_PLACE.sub("", text)):
        raise PKIError(ErrorCode.BAD_REQUEST, "has braces that hold no place")
