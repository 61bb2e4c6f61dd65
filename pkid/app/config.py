"""Read the configuration: TOML in, a checked `Configuration` out, all faults at once.

Reads no file but the one it is given. `pkid.conf` in this package is ``etc/pkid.conf``,
the built-in configuration: its profiles and approval rules stand beside those of the
file; its listeners and aliases hold until the file has any of its own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeVar

from pkid.app.acme_tables import ValidationSettings
from pkid.app.announce_tables import AnnouncementSettings
from pkid.app.kinds import ConfigurationError, Fault, Faults
from pkid.app.presets import apply_presets
from pkid.app.schema import Reading, Values
from pkid.app.settings import (
    Configuration,
    GeneralSettings,
    KeySettings,
    Listener,
    LogSettings,
    PublisherSettings,
    StorageSettings,
    ValidatorSettings,
    VendorSettings,
)
from pkid.app.tables import SHAPE
from pkid.app.upstream_tables import UpstreamSettings
from pkid.app.wholeness import check_whole
from pkid.engine.aliases import Alias, ApprovalRule, AuthoritySettings
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.errors import PKIError
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.scep.aliases import SCEPAlias
from pkid.transports.limits import Limits

BUILT_IN: Final = "built-in configuration"
_REPLACED: Final = ("listener", "cmp", "est", "scep", "acme")
_JOINED: Final = ("certificate_profile", "end_entity_profile", "approval")
_ALIAS_FIELDS: Final = frozenset(Alias.__slots__)

T = TypeVar("T")
Document = dict[str, object]


def built_in_text() -> str:
    """The text of the built-in configuration."""
    return files("pkid.app").joinpath("pkid.conf").read_text("utf-8")


def load_configuration(
    path: Path | None, overrides: Iterable[str] = ()
) -> Configuration:
    """Read a configuration file, or the built-in configuration.

    :param overrides: ``key=value`` texts with TOML values; they win.
    :raises ConfigurationError: with every fault found.
    """
    if path is None:
        return decode_configuration("", source=BUILT_IN, overrides=overrides)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        fault = Fault(str(path), f"cannot be read: {reason}")
        raise ConfigurationError(str(path), [fault]) from None
    return decode_configuration(text, source=str(path), overrides=overrides)


def decode_configuration(
    text: str, *, source: str, overrides: Iterable[str] = ()
) -> Configuration:
    """Make a configuration of its text.

    :raises ConfigurationError: with every fault found; a fault of syntax hides the
        others, because nothing behind it can be read.
    """
    faults = Faults()
    document = _parse(text, faults)
    if faults.found:
        raise ConfigurationError(source, faults.found)
    document = _layered(tomllib.loads(built_in_text()), document)
    for override in overrides:
        _override(document, override, faults)
    apply_presets(document, faults)
    _name_authorities(document)
    reading = SHAPE.read(document, faults)
    if not faults.found:
        configuration = _build(reading, source, faults)
        check_whole(configuration, faults)
        if not faults.found:
            return configuration
    raise ConfigurationError(source, faults.found)


def _parse(text: str, faults: Faults) -> Document:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).rpartition(" (at ")
        # Without a line at the very end, where something is missing.
        end = f"line {text.count(chr(10)) + 1}"
        where = place.rstrip(")").replace("end of document", end)
        faults.add(where, message)
        return {}


def _layered(built_in: Document, document: Document) -> Document:
    """The document with what the built-in configuration adds to it."""
    layered = dict(document)
    for name in _REPLACED:
        layered.setdefault(name, built_in.get(name, {}))
    for name in _JOINED:
        own = layered.get(name, {})
        beside = built_in.get(name, {})
        if isinstance(own, dict) and isinstance(beside, dict):
            layered[name] = {**beside, **own}
    return layered


def _override(document: Document, override: str, faults: Faults) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        faults.add(f"--set {override}", "must be key=value")
        return
    try:
        change = tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        faults.add(
            f"--set {key}", 'the value must be TOML: a text needs quotes, "like this"'
        )
        return
    _merge(document, change)


def _merge(document: Document, change: Mapping[str, object]) -> None:
    for name, value in change.items():
        inner = document.get(name)
        if isinstance(value, dict) and isinstance(inner, dict):
            document[name] = copy = dict(inner)
            _merge(copy, value)
        else:
            document[name] = value


def _build(reading: Reading, source: str, faults: Faults) -> Configuration:
    general = _make(GeneralSettings, reading.of(""))
    return Configuration(
        source=source,
        general=general,
        log=_make(LogSettings, reading.of("log")),
        limits=_make(Limits, reading.of("limits")),
        keys=_make(KeySettings, reading.of("keys")),
        storage=_make(StorageSettings, reading.of("storage")),
        listeners=_each(reading, "listener.*", Listener),
        cmp_aliases=_aliases(reading, faults, "cmp", CMPAlias),
        est_aliases=_aliases(reading, faults, "est", ESTAlias),
        acme_aliases=_aliases(reading, faults, "acme", ACMEAlias),
        validation=_make(ValidationSettings, reading.of("validation")),
        scep_aliases=_aliases(reading, faults, "scep", SCEPAlias),
        validators=_each(reading, "validator.*", ValidatorSettings),
        publishers=_each(reading, "publisher.*", PublisherSettings),
        cmp_announcements=_each(reading, "cmp.announce.*", AnnouncementSettings),
        cmp_upstreams=_each(reading, "cmp.upstream.*", UpstreamSettings),
        certificate_profiles=_each(
            reading, "certificate_profile.*", CertificateProfile
        ),
        end_entity_profiles=_each(reading, "end_entity_profile.*", EndEntityProfile),
        approval_rules=_each(reading, "approval.*", ApprovalRule),
        vendors=_each(reading, "vendor.*", VendorSettings),
        authorities={
            name: _make(
                AuthoritySettings,
                {"public_url": general.public_url, **values, "name": name},
            )
            for name, values in reading.each("authority.*").items()
        },
    )


def _name_authorities(document: Document) -> None:
    """Before a CA elsewhere an entrance needs no authority: that CA is it."""
    cmp = document.get("cmp")
    aliases = cmp.get("alias") if isinstance(cmp, dict) else None
    if not isinstance(cmp, dict) or not isinstance(aliases, dict):
        return
    named = {
        name: (
            {"authority": alias["upstream"], **alias}
            if isinstance(alias, dict) and alias.get("upstream")
            else alias
        )
        for name, alias in aliases.items()
    }
    document["cmp"] = {**cmp, "alias": named}


def _make(record: Callable[..., T], values: Values) -> T:
    return record(**values)


def _each(reading: Reading, path: str, record: Callable[..., T]) -> dict[str, T]:
    return {
        name: _make(record, {**values, "name": name})
        for name, values in reading.each(path).items()
    }


def _aliases(
    reading: Reading, faults: Faults, protocol: str, record: Callable[..., T]
) -> dict[str, T]:
    """Entrances: what every protocol has, and what this one adds to it."""
    aliases: dict[str, T] = {}
    for name, values in reading.each(f"{protocol}.alias.*").items():
        entrance = {key: value for key, value in values.items() if key in _ALIAS_FIELDS}
        own = {key: value for key, value in values.items() if key not in _ALIAS_FIELDS}
        alias = _make(Alias, {**entrance, "name": name, "protocol": protocol})
        # With the defaults where its own values clash: the rest is checked as well.
        try:
            aliases[name] = record(alias=alias)
            aliases[name] = _make(record, {**own, "alias": alias})
        except PKIError as error:
            faults.add(f"{protocol}.alias.{name}", error.detail)
    return aliases
