"""The configuration as values: what `pkid.app.config` makes of the file.

Pure. Each part of the program gets its own record, never the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pkid.app.acme_tables import ValidationSettings
from pkid.app.announce_tables import AnnouncementSettings
from pkid.app.endpoints import Endpoint
from pkid.app.upstream_tables import UpstreamSettings
from pkid.engine.aliases import Alias, ApprovalRule, AuthoritySettings
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.responders.acme.aliases import ACMEAlias
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.scep.aliases import SCEPAlias
from pkid.transports.cmptcp import FRAMINGS
from pkid.transports.limits import Limits

Entrance = CMPAlias | ESTAlias | SCEPAlias | ACMEAlias

DEFAULT_PUBLIC_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralSettings:
    """Keys outside any table."""

    public_url: str = DEFAULT_PUBLIC_URL


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """Where the log goes.

    :ivar file: path; "" is where twistd logs, standard output in the foreground.
    """

    file: str = ""
    form: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """How private keys rest.

    :ivar passphrase: reference to the passphrase of the key files; "" takes the
        systemd credential ``pkid-passphrase`` if there is one, else a random one
        that the first start writes beside the keys.
    """

    passphrase: str = ""
    authority_key: str = "ec:P-256"
    blocked: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """Where public files go.

    :ivar published: directory of CRLs and certificates; "" is <state>/published.
    """

    published: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """One listening endpoint and what it serves.

    :ivar certificate: PEM file of a TLS chain from elsewhere; "" for our own.
    :ivar key: reference to its private key, PEM.
    :ivar newest_tls: the highest version of TLS, "1.3" or "1.2".
    """

    name: str
    endpoint: Endpoint
    serves: tuple[str, ...]
    alias: str = "default"
    tls: bool = False
    certificate: str = ""
    key: str = ""
    newest_tls: str = "1.3"
    framings: tuple[str, ...] = tuple(FRAMINGS)

    @property
    def beyond_loopback(self) -> bool:
        """Whether other hosts can reach it."""
        return self.endpoint.beyond_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorSettings:
    """A manufacturer's trust anchors, as paths of PEM or DER files."""

    name: str
    anchors: tuple[str, ...]
    intermediates: tuple[str, ...] = ()
    identity: str = "serialNumber"
    allow_expired: bool = False
    allow_sha1: bool = False
    minimum_rsa_bits: int = 2048
    crls: tuple[str, ...] = ()
    crl_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherSettings:
    """A web service that public files are posted to.

    :ivar secret: reference to the key of the signatures.
    """

    name: str
    url: str
    secret: str = ""
    timeout: timedelta = timedelta(seconds=30)
    authorities: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatorSettings:
    """A service elsewhere that knows SCEP challenges.

    :ivar secret: reference to the key of a webhook's signatures, or to Intune's client
        secret.
    """

    name: str
    kind: str = "webhook"
    url: str = ""
    secret: str = ""
    timeout: timedelta = timedelta(seconds=10)
    tenant: str = ""
    application: str = ""
    login_url: str = "https://login.microsoftonline.com"
    graph_url: str = "https://graph.microsoft.com"
    authorities: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that the file says, checked.

    :ivar source: where it came from, for people.
    """

    source: str
    general: GeneralSettings = GeneralSettings()
    log: LogSettings = LogSettings()
    limits: Limits = field(default_factory=Limits)
    keys: KeySettings = KeySettings()
    storage: StorageSettings = StorageSettings()
    listeners: Mapping[str, Listener] = field(default_factory=dict)
    cmp_aliases: Mapping[str, CMPAlias] = field(default_factory=dict)
    cmp_announcements: Mapping[str, AnnouncementSettings] = field(default_factory=dict)
    cmp_upstreams: Mapping[str, UpstreamSettings] = field(default_factory=dict)
    est_aliases: Mapping[str, ESTAlias] = field(default_factory=dict)
    acme_aliases: Mapping[str, ACMEAlias] = field(default_factory=dict)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    scep_aliases: Mapping[str, SCEPAlias] = field(default_factory=dict)
    validators: Mapping[str, ValidatorSettings] = field(default_factory=dict)
    publishers: Mapping[str, PublisherSettings] = field(default_factory=dict)
    certificate_profiles: Mapping[str, CertificateProfile] = field(default_factory=dict)
    end_entity_profiles: Mapping[str, EndEntityProfile] = field(default_factory=dict)
    approval_rules: Mapping[str, ApprovalRule] = field(default_factory=dict)
    vendors: Mapping[str, VendorSettings] = field(default_factory=dict)
    authorities: Mapping[str, AuthoritySettings] = field(default_factory=dict)

    def entrances(self) -> Iterator[Alias]:
        """What the engine knows of each entrance, of all protocols."""
        tables: tuple[Mapping[str, Entrance], ...] = (
            self.cmp_aliases,
            self.est_aliases,
            self.scep_aliases,
            self.acme_aliases,
        )
        for aliases in tables:
            for one in aliases.values():
                yield one.alias
