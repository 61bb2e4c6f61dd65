"""The configured entrances and what stands behind them.

An alias names the CA, the accepted ways to authenticate, the profiles, the approval
rule and the mode. `Policies` is one consistent snapshot of the whole configuration as
the engine sees it; a reload swaps the snapshot.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from pkid.engine.model import PossessionMethod
from pkid.engine.profiles import CertificateProfile, EndEntityProfile
from pkid.errors import ErrorCode, PKIError

#: Ways that are taken unless an alias says otherwise: all that leave the private key
#: where it is.
POSSESSION_METHODS = frozenset(PossessionMethod) - {PossessionMethod.ENCRYPTED_KEY}


class Mode(enum.Enum):
    """Whether the end entity must be registered beforehand."""

    CLIENT = "client"
    RA = "ra"


class KeyRecovery(enum.Enum):
    """Whether end entities get archived keys back."""

    OFF = "off"
    APPROVED = "approved"  # once, after an operator's word
    SELF = "self"


class Authentication(enum.Enum):
    """A way to authenticate that an alias may accept."""

    MAC = "mac"
    CERTIFICATE = "certificate"
    VENDOR = "vendor"
    REGISTRATION_AUTHORITY = "ra"


class NameScheme(enum.Enum):
    """How RA mode names an entity (EJBCA's generation schemes)."""

    DN = "dn"
    RANDOM = "random"
    FIXED = "fixed"
    USERNAME = "username"


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRule:
    """How an entity made from a request is named.

    :ivar parts: attribute types for ``DN``, the first that the subject has counts;
        none found: a hash of the whole DN.
    :ivar fixed: the name for ``FIXED``.
    """

    scheme: NameScheme = NameScheme.DN
    parts: tuple[str, ...] = ("CN", "serialNumber")
    fixed: str = ""
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorTrust:
    """A manufacturer's trust anchors and how far they are trusted.

    :ivar anchors: DER certificates.
    :ivar identity: attribute of the vendor certificate's subject that names the unit
        ("serialNumber", "CN"), or "subject" for the whole name.
    :ivar crls: DER; what is on one is not believed.
    :ivar crl_required: refuse also where a current CRL is missing.
    """

    name: str
    anchors: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    identity: str = "serialNumber"
    allow_expired: bool = False
    allow_sha1: bool = False
    minimum_rsa_bits: int = 2048
    crls: tuple[bytes, ...] = ()
    crl_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Who must agree before a certificate is signed.

    :ivar needed: number of approvers; 0 is automatic.
    :ivar approvers: operators who may approve; empty means any.
    :ivar expires: how long a request waits.
    :ivar retry_after: when a waiting client is told to ask again.
    """

    name: str = "automatic"
    needed: int = 0
    approvers: tuple[str, ...] = ()
    expires: timedelta = timedelta(days=7)
    retry_after: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One entrance of one protocol.

    :ivar certificate_profile: used unless the request names one of ``profiles``.
    :ivar profiles: certificate profiles that a request may name.
    :ivar vendors: names of `VendorTrust` accepted for ``VENDOR``.
    :ivar unknown_vendor_unit: "refuse", or "pend" to wait for an approver.
    :ivar issued_subject, issued_names: rules (`pkid.engine.namerules`) for the names of
        a vendor's unit that is registered without them; "" takes those of the request.
    :ivar revoke_replaced: revoke the old certificate (superseded) after a renewal.
    :ivar possession: ways to prove possession that are taken.
    :ivar sha1_possession: take SHA-1 in self-signatures of requests, for old devices.
    :ivar renew_expired: how long after its end a certificate may still be renewed.
    :ivar change_names: whether a renewal may ask for other names than those it has.
    :ivar key_generation: make keys for requests that bring none.
    :ivar key_archive: archive private keys whose owners ask for it.
    :ivar key_recovery: whether end entities get them back.
    :ivar cross_certify: names of `VendorTrust` whose anchors are CAs of other PKIs
        that are certified here; nobody else asks then.
    :ivar upstream: name of the CA elsewhere that issues for this entrance; "" issues
        here. ``authority`` is then the name that its certificates are recorded under.
    """

    name: str
    protocol: str
    authority: str
    mode: Mode = Mode.RA
    authenticate: frozenset[Authentication] = frozenset(
        (Authentication.MAC, Authentication.CERTIFICATE)
    )
    certificate_profile: str = "device"
    profiles: tuple[str, ...] = ()
    end_entity_profile: str = "any"
    approval: str = "automatic"
    name_rule: NameRule = NameRule()
    vendors: tuple[str, ...] = ()
    unknown_vendor_unit: str = "refuse"
    issued_subject: str = ""
    issued_names: tuple[str, ...] = ()
    same_key: bool = True
    renewal: bool = True
    renewal_same_key: bool = True
    revoke_replaced: bool = False
    registration_authorities: tuple[str, ...] = ()
    possession: frozenset[PossessionMethod] = POSSESSION_METHODS
    sha1_possession: bool = False
    renew_expired: timedelta = timedelta(0)
    change_names: bool = False
    key_generation: bool = False
    key_archive: bool = False
    key_recovery: KeyRecovery = KeyRecovery.OFF
    cross_certify: tuple[str, ...] = ()
    upstream: str = ""


class OCSPMode(enum.Enum):
    """Who signs OCSP answers for a CA."""

    DELEGATED = "delegated"
    DIRECT = "direct"
    OFF = "off"


class UnknownSerial(enum.Enum):
    """What OCSP says of a serial number that was never issued."""

    UNKNOWN = "unknown"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySettings:
    """What the configuration says of one CA.

    :ivar public_url: base of the URLs in its certificates (CDP, AIA); no final slash.
    :ivar crl_period: from thisUpdate to the next scheduled CRL.
    :ivar crl_overlap: nextUpdate lies this much after the next scheduled CRL.
    :ivar crl_delay: least time between two CRLs that revocations bring about.
    :ivar crl_partitions: CRLs that new certificates are spread over; 0: one for all.
    :ivar delta_crl_period: from one delta CRL to the next; None: no delta CRLs, every
        revocation brings about a full one.
    :ivar ocsp_key: kind of the delegated key, None for what fits the CA's.
    :ivar ocsp_validity: from thisUpdate to nextUpdate of an answer.
    :ivar ocsp_max_age: how long HTTP caches may keep an answer.
    :ivar ocsp_archive_cutoff: how long expired certificates are still answered for, as
        the answers say; None: they do not say.
    :ivar ocsp_signatures: most answers signed in a second.
    """

    name: str
    public_url: str = "http://127.0.0.1:8080"
    crl_period: timedelta = timedelta(hours=24)
    crl_overlap: timedelta = timedelta(hours=24)
    crl_delay: timedelta = timedelta(0)
    crl_partitions: int = 0
    delta_crl_period: timedelta | None = None
    ocsp: OCSPMode = OCSPMode.DELEGATED
    ocsp_key: str | None = None
    ocsp_validity: timedelta = timedelta(hours=12)
    ocsp_max_age: timedelta = timedelta(minutes=5)
    ocsp_unknown: UnknownSerial = UnknownSerial.UNKNOWN
    ocsp_archive_cutoff: timedelta | None = None
    ocsp_signatures: int = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The configuration as the engine sees it: one immutable snapshot.

    :ivar aliases: by (protocol, name).
    :ivar default_public_url: for authorities without settings of their own.
    """

    certificate_profiles: Mapping[str, CertificateProfile]
    end_entity_profiles: Mapping[str, EndEntityProfile]
    aliases: Mapping[tuple[str, str], Alias]
    approval_rules: Mapping[str, ApprovalRule] = field(default_factory=dict)
    vendors: Mapping[str, VendorTrust] = field(default_factory=dict)
    authorities: Mapping[str, AuthoritySettings] = field(default_factory=dict)
    default_public_url: str = "http://127.0.0.1:8080"
    blocked_keys: frozenset[bytes] = frozenset()

    def alias(self, protocol: str, name: str) -> Alias:
        """The alias of that name.

        :raises PKIError: ``NOT_FOUND``.
        """
        found = self.aliases.get((protocol, name))
        if found is None:
            raise PKIError(
                ErrorCode.NOT_FOUND,
                f"there is no {protocol} alias of this name",
                hint=f"add [{protocol}.alias.{name}] or use another URL label",
            )
        return found

    def certificate_profile(self, name: str) -> CertificateProfile:
        """The certificate profile of that name.

        :raises PKIError: ``BAD_TEMPLATE``.
        """
        found = self.certificate_profiles.get(name)
        if found is None:
            raise PKIError(
                ErrorCode.BAD_TEMPLATE,
                "the certificate profile is not known here",
                hint=f"declare [certificate_profile.{name}]",
            )
        return found

    def authority(self, name: str) -> AuthoritySettings:
        """Settings of that authority, defaults if the configuration has none."""
        found = self.authorities.get(name)
        return found or AuthoritySettings(name=name, public_url=self.default_public_url)
