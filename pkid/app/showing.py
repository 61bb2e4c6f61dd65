"""The configuration as JSON: what an entrance is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pkid.app.profile_tables import CERTIFICATE_PROFILE, END_ENTITY_PROFILE
from pkid.app.readings import missing
from pkid.app.schema import Table
from pkid.app.settings import Configuration, Entrance
from pkid.app.tables import APPROVAL, SHAPE
from pkid.app.views import View
from pkid.engine.aliases import Alias

_TABLES: Final = {
    table.path.partition(".")[0]: table
    for table in SHAPE.tables
    if table.path.endswith(".alias.*")
}


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


def list_aliases(configuration: Configuration) -> list[View]:
    """Every entrance of every protocol, in short."""
    return [_summary(entrance) for entrance in configuration.entrances()]


def _summary(entrance: Alias) -> View:
    return {
        "name": entrance.name,
        "protocol": entrance.protocol,
        "authority": entrance.authority,
        "mode": entrance.mode.value,
        "authenticate": sorted(one.value for one in entrance.authenticate),
        "certificate_profile": entrance.certificate_profile,
        "end_entity_profile": entrance.end_entity_profile,
        "approval": entrance.approval,
    }


def _aliases(configuration: Configuration, protocol: str) -> Mapping[str, Entrance]:
    tables: dict[str, Mapping[str, Entrance]] = {
        "cmp": configuration.cmp_aliases,
        "est": configuration.est_aliases,
        "scep": configuration.scep_aliases,
        "acme": configuration.acme_aliases,
    }
    return tables.get(protocol, {})


def show_alias(
    configuration: Configuration,
    name: str,
    *,
    protocol: str = "cmp",
    effective: bool = False,
) -> View:
    """One entrance.

    :param effective: with defaults, profiles and approval rule; else the names alone.
    :raises PKIError: ``NOT_FOUND``.
    """
    alias = _aliases(configuration, protocol).get(name)
    if alias is None:
        raise missing("there is no such alias", "pkid alias list")
    entrance = alias.alias
    if not effective:
        return _summary(entrance)
    profiles = (entrance.certificate_profile, *entrance.profiles)
    rule = configuration.approval_rules.get(entrance.approval)
    names = configuration.end_entity_profiles[entrance.end_entity_profile]
    return {
        f"{protocol}.alias.{name}": shown(_TABLES[protocol], entrance, alias),
        f"end_entity_profile.{names.name}": shown(END_ENTITY_PROFILE, names),
        **{
            f"certificate_profile.{one}": shown(
                CERTIFICATE_PROFILE, configuration.certificate_profiles[one]
            )
            for one in profiles
        },
        **({} if rule is None else {f"approval.{rule.name}": shown(APPROVAL, rule)}),
    }
