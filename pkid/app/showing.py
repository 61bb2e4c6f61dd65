"""The configuration as JSON: what an entrance is made of."""

from __future__ import annotations

from pkid.app.profile_tables import CERTIFICATE_PROFILE, END_ENTITY_PROFILE
from pkid.app.readings import missing
from pkid.app.schema import Table
from pkid.app.settings import Configuration
from pkid.app.tables import APPROVAL, CMP_ALIAS
from pkid.app.views import View


def shown(table: Table, *records: object) -> View:
    """Every key of a table with its value, in the file's own words."""
    view: View = {}
    for key in table.keys:
        field = key.field or key.name
        for record in records:
            if hasattr(record, field):
                text = key.kind.show(getattr(record, field))
                view[key.name] = text or None
                break
    return view


def show_alias(
    configuration: Configuration, name: str, *, effective: bool = False
) -> View:
    """One CMP entrance.

    :param effective: with defaults, profiles and approval rule; else the names alone.
    :raises PKIError: ``NOT_FOUND``.
    """
    alias = configuration.cmp_aliases.get(name)
    if alias is None:
        raise missing("there is no such alias", "pkid alias list")
    entrance = alias.alias
    if not effective:
        return {
            "name": name,
            "protocol": entrance.protocol,
            "authority": entrance.authority,
            "mode": entrance.mode.value,
            "authenticate": sorted(one.value for one in entrance.authenticate),
            "certificate_profile": entrance.certificate_profile,
            "end_entity_profile": entrance.end_entity_profile,
            "approval": entrance.approval,
        }
    profiles = (entrance.certificate_profile, *entrance.profiles)
    rule = configuration.approval_rules.get(entrance.approval)
    names = configuration.end_entity_profiles[entrance.end_entity_profile]
    return {
        f"cmp.alias.{name}": shown(CMP_ALIAS, entrance, alias),
        f"end_entity_profile.{names.name}": shown(END_ENTITY_PROFILE, names),
        **{
            f"certificate_profile.{one}": shown(
                CERTIFICATE_PROFILE, configuration.certificate_profiles[one]
            )
            for one in profiles
        },
        **({} if rule is None else {f"approval.{rule.name}": shown(APPROVAL, rule)}),
    }
