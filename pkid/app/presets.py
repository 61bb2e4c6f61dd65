"""Presets of CMP entrances: tables of defaults for whole kinds of equipment.

A preset is TOML text, put under what the file says of an alias that names it: keys of
the file win. What a preset fixes, or forbids in a list, the file may not say otherwise:
that would be another kind of entrance under the same name.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pkid.app.kinds import Fault, Faults

KEY: Final = "preset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Defaults for one kind of equipment.

    :ivar title: what it is for, one sentence.
    :ivar text: keys of ``[cmp.alias.NAME]`` in TOML, with comments for the reference.
    :ivar fixed: keys that the file may not set to another value.
    :ivar forbidden: members that a list of the file may not have.
    :ivar vendor_sha1: whether a vendor of the alias may allow SHA-1 in its chain.
    """

    title: str
    text: str
    fixed: frozenset[str] = frozenset()
    forbidden: Mapping[str, frozenset[str]] = field(default_factory=dict)
    vendor_sha1: bool = True

    @property
    def defaults(self) -> dict[str, Any]:
        """The keys as the file would give them."""
        return tomllib.loads(self.text)


_BASE_STATIONS: Final = Preset(
    title="Base stations and security gateways of mobile networks (3GPP TS 33.310,"
    " clause 9).",
    text="""\
# The first request is signed with the certificate of the manufacturer, the next ones
# with ours. No shared secrets.
authenticate = ["vendor", "certificate"]
response_protection = "signature"
# A manufacturer's root vouches for every unit ever sold: only listed units enrol.
unknown_vendor_unit = "refuse"
certificate_profile = "3gpp-base-station"
# The station confirms each certificate.
implicit_confirm = false
# Chain and root stand among extraCerts of every ip; caPubs adds to that.
extra_certs_root = true
ca_pubs = true
allow_sha1 = false
# One message asks for one certificate.
several_requests = false
# A key update brings a new key.
renewal_same_key = false
quirks = ["plain-accepted"]
""",
    fixed=frozenset(
        (
            "allow_sha1",
            "extra_certs_root",
            "implicit_confirm",
            "response_protection",
            "several_requests",
        )
    ),
    forbidden={"authenticate": frozenset(("mac",))},
    vendor_sha1=False,
)

_KEY_MANAGEMENT: Final = Preset(
    title="Key-management entities of rail (ERTMS/ETCS Subset-137).",
    text="""\
# The first certificate is proven by a one-time secret, the next ones by the last.
authenticate = ["mac", "certificate"]
# Entities are registered beforehand (pkid entity add), under their ETCS-ID.
mode = "client"
certificate_profile = "ertms"
# The common name is the expanded ETCS-ID.
end_entity_profile = "ertms"
implicit_confirm = false
ca_pubs = true
quirks = ["utc-message-time", "ca-pubs-always", "new-certificate-confirms"]
""",
    fixed=frozenset(("implicit_confirm", "ca_pubs")),
)

PRESETS: Final[Mapping[str, Preset]] = {
    "3gpp": _BASE_STATIONS,
    "ertms": _KEY_MANAGEMENT,
}


def apply_presets(document: dict[str, Any], faults: Faults) -> None:
    """Put presets under the CMP aliases of a document that name one.

    What is no table, or names no preset, is left for the tables to complain of.
    """
    cmp = document.get("cmp")
    aliases = cmp.get("alias") if isinstance(cmp, dict) else None
    if not isinstance(cmp, dict) or not isinstance(aliases, dict):
        return
    made = {
        name: _under(given, f"cmp.alias.{name}", faults)
        for name, given in aliases.items()
    }
    document["cmp"] = {**cmp, "alias": made}


def _under(given: object, where: str, faults: Faults) -> object:
    if not isinstance(given, dict):
        return given
    preset = _named(given.get(KEY))
    if preset is None:
        return given
    for fault in _clashes(preset, given, where):
        faults.add(fault.where, fault.what)
    return {**preset.defaults, **given}


def _named(name: object) -> Preset | None:
    return PRESETS.get(name) if isinstance(name, str) else None


def _clashes(preset: Preset, given: Mapping[str, Any], where: str) -> Iterator[Fault]:
    defaults = preset.defaults
    for key in sorted(preset.fixed & given.keys()):
        if given[key] != defaults[key]:
            yield Fault(f"{where}.{key}", f"is fixed by preset {given[KEY]!r}")
    for key, members in preset.forbidden.items():
        found = given.get(key)
        listed = found if isinstance(found, list) else []
        for member in sorted(one for one in members if one in listed):
            yield Fault(
                f"{where}.{key}", f"may not have {member!r} with preset {given[KEY]!r}"
            )
