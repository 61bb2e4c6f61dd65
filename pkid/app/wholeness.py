"""What the parts of a configuration say of each other.

Pure. Every name that is used must be declared; what cannot work together is a fault
at start, not a refusal on the day of the first request.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator

from pkid.app.acme_tables import ValidationSettings
from pkid.app.controlling import decode_resolver
from pkid.app.kinds import Fault, Faults, suggestion
from pkid.app.presets import PRESETS
from pkid.app.settings import Configuration, Listener, ValidatorSettings
from pkid.app.tables import ACME_SERVICE, EST_SERVICE, TCP_SERVICE
from pkid.app.upstream_tables import UpstreamSettings
from pkid.engine.aliases import Alias, Authentication
from pkid.engine.profiles import ProfileKind
from pkid.responders.cmp.aliases import FORWARD, CMPAlias
from pkid.responders.scep.aliases import SCEPAlias

AUTOMATIC = "automatic"


def check_whole(configuration: Configuration, faults: Faults) -> None:
    """Add a fault for everything that does not fit together."""
    for fault in _faults(configuration):
        faults.add(fault.where, fault.what)


def _faults(configuration: Configuration) -> Iterator[Fault]:
    yield from _entrance_faults(configuration)
    yield from _validation_faults(configuration.validation)
    for listener in configuration.listeners.values():
        yield from _listener_faults(listener, configuration)
    for name, validator in configuration.validators.items():
        yield from _validator_faults(f"validator.{name}", validator)
    yield from _twice(configuration)
    yield from _profile_faults(configuration)
    for name, rule in configuration.approval_rules.items():
        if rule.approvers and rule.needed > len(rule.approvers):
            yield Fault(f"approval.{name}.needed", "is more than there are approvers")


def _entrance_faults(configuration: Configuration) -> Iterator[Fault]:
    for name, alias in configuration.cmp_aliases.items():
        yield from _alias_faults(f"cmp.alias.{name}", alias.alias, configuration)
        yield from _preset_faults(f"cmp.alias.{name}", alias, configuration)
        yield from _upstream_faults(f"cmp.alias.{name}", alias, configuration)
    for name, entrance in configuration.est_aliases.items():
        yield from _alias_faults(f"est.alias.{name}", entrance.alias, configuration)
    for name, scep in configuration.scep_aliases.items():
        yield from _alias_faults(f"scep.alias.{name}", scep.alias, configuration)
        yield from _scep_faults(f"scep.alias.{name}", scep, configuration)
    for name, directory in configuration.acme_aliases.items():
        yield from _alias_faults(f"acme.alias.{name}", directory.alias, configuration)


def _alias_faults(
    where: str, alias: Alias, configuration: Configuration
) -> Iterator[Fault]:
    profiles = configuration.certificate_profiles
    yield from _unknown(
        f"{where}.certificate_profile", [alias.certificate_profile], profiles
    )
    yield from _unknown(f"{where}.profiles", alias.profiles, profiles)
    yield from _unknown(
        f"{where}.end_entity_profile",
        [alias.end_entity_profile],
        configuration.end_entity_profiles,
    )
    yield from _unknown(
        f"{where}.approval",
        [alias.approval],
        {AUTOMATIC, *configuration.approval_rules},
    )
    yield from _unknown(f"{where}.vendors", alias.vendors, configuration.vendors)
    yield from _cross_faults(where, alias, configuration)
    if Authentication.VENDOR in alias.authenticate and not alias.vendors:
        yield Fault(f"{where}.vendors", 'is empty, but authenticate has "vendor"')
    by_authority = Authentication.REGISTRATION_AUTHORITY in alias.authenticate
    if by_authority and not alias.registration_authorities:
        yield Fault(
            f"{where}.registration_authorities",
            'is empty, but authenticate has "ra"',
        )


def _cross_faults(
    where: str, alias: Alias, configuration: Configuration
) -> Iterator[Fault]:
    if not alias.cross_certify:
        return
    yield from _unknown(
        f"{where}.cross_certify", alias.cross_certify, configuration.vendors
    )
    profile = configuration.certificate_profiles.get(alias.certificate_profile)
    if profile is not None and profile.kind is not ProfileKind.SUB_CA:
        yield Fault(
            f"{where}.certificate_profile",
            'is not of kind "sub-ca", but cross_certify names CAs',
        )


def _preset_faults(
    where: str, alias: CMPAlias, configuration: Configuration
) -> Iterator[Fault]:
    preset = PRESETS.get(alias.preset)
    if preset is None or preset.vendor_sha1:
        return
    for name in alias.alias.vendors:
        vendor = configuration.vendors.get(name)
        if vendor is not None and vendor.allow_sha1:
            yield Fault(
                f"vendor.{name}.allow_sha1",
                f"must be false: {where} has preset {alias.preset!r}",
            )


def _upstream_faults(
    where: str, alias: CMPAlias, configuration: Configuration
) -> Iterator[Fault]:
    name = alias.alias.upstream
    if not name:
        return
    yield from _unknown(f"{where}.upstream", [name], configuration.cmp_upstreams)
    found = configuration.cmp_upstreams.get(name)
    if found is None:
        return
    here = f"cmp.upstream.{name}"
    by_tls = any(url.startswith(("https:", "tls:")) for url in found.urls)
    if by_tls and not found.trust:
        yield Fault(f"{here}.trust", "is empty, but a server has to prove its name")
    if alias.upstream_mode == FORWARD:
        return
    if alias.alias.authority != name:
        yield Fault(f"{where}.authority", f'must be left out, or "{name}"')
    yield from _authority_elsewhere_faults(here, where, found)


def _authority_elsewhere_faults(
    here: str, where: str, found: UpstreamSettings
) -> Iterator[Fault]:
    if not found.trust:
        yield Fault(f"{here}.trust", f"is empty, but {where} relies upon that CA")
    if not found.subject:
        yield Fault(f"{here}.subject", f"is missing, but {where} signs messages")
    if found.certificate and (found.reference or found.secret):
        yield Fault(
            f"{here}.certificate", "is brought, or asked for with a secret: not both"
        )
    if not found.certificate and not (found.reference and found.secret):
        yield Fault(
            f"{here}.certificate",
            "is missing: name a file, or reference and secret to ask for one",
        )


def _tls_faults(where: str, listener: Listener) -> Iterator[Fault]:
    if bool(listener.certificate) != bool(listener.key):
        yield Fault(f"{where}.certificate", "and key belong together")
    if listener.certificate and not listener.tls:
        yield Fault(f"{where}.certificate", "needs tls = true")
    if EST_SERVICE in listener.serves and not listener.tls:
        yield Fault(f"{where}.tls", "must be true: EST is spoken in TLS only")


def _listener_faults(
    listener: Listener, configuration: Configuration
) -> Iterator[Fault]:
    where = f"listener.{listener.name}"
    if TCP_SERVICE in listener.serves and set(listener.serves) != {TCP_SERVICE}:
        yield Fault(f"{where}.serves", f'"{TCP_SERVICE}" stands alone')
    if {TCP_SERVICE, "cmp"} & set(listener.serves):
        yield from _unknown(
            f"{where}.alias", [listener.alias], configuration.cmp_aliases
        )
    yield from _tls_faults(where, listener)
    if EST_SERVICE in listener.serves:
        yield from _unknown(
            f"{where}.alias", [listener.alias], configuration.est_aliases
        )
    if ACME_SERVICE in listener.serves and not listener.tls:
        yield Fault(f"{where}.tls", "must be true: ACME is spoken in TLS only")


def _validation_faults(settings: ValidationSettings) -> Iterator[Fault]:
    for text in settings.resolvers:
        try:
            decode_resolver(text)
        except ValueError:
            yield Fault("validation.resolvers", f"is no address and port: {text}")
    for name in ("allow", "deny"):
        for text in getattr(settings, name):
            try:
                ipaddress.ip_network(text)
            except ValueError:
                yield Fault(f"validation.{name}", f"is no network: {text}")


def _scep_faults(
    where: str, alias: SCEPAlias, configuration: Configuration
) -> Iterator[Fault]:
    if alias.validator:
        yield from _unknown(
            f"{where}.validator", [alias.validator], configuration.validators
        )
    offered = {alias.alias.certificate_profile, *alias.alias.profiles}
    for name in ("signature_profile", "encryption_profile"):
        profile = getattr(alias, name)
        if profile and profile not in offered:
            yield Fault(f"{where}.{name}", "is not among profiles")


def _validator_faults(where: str, validator: ValidatorSettings) -> Iterator[Fault]:
    needed = {
        "webhook": ("url",),
        "intune": ("tenant", "application", "secret"),
    }
    for name in needed[validator.kind]:
        if not getattr(validator, name):
            yield Fault(f"{where}.{name}", f"is missing: {validator.kind} needs it")


def _twice(configuration: Configuration) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for listener in configuration.listeners.values():
        if listener.endpoint.port == 0:
            continue
        first = seen.setdefault(listener.endpoint.text, listener.name)
        if first != listener.name:
            yield Fault(f"listener.{listener.name}.endpoint", f"is that of {first} too")


def _profile_faults(configuration: Configuration) -> Iterator[Fault]:
    for name, profile in configuration.end_entity_profiles.items():
        yield from _unknown(
            f"end_entity_profile.{name}.certificate_profiles",
            profile.certificate_profiles,
            configuration.certificate_profiles,
        )


def _unknown(
    where: str, names: Collection[str], known: Collection[str]
) -> Iterator[Fault]:
    for name in names:
        if name not in known:
            yield Fault(where, f'there is no "{name}"{suggestion(name, known)}')
