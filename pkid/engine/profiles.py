"""What a certificate looks like and which names may be asked for.

Both kinds are declared in the configuration and frozen; a new configuration makes new
values. `pkid.engine.policy` applies them.

**Source:** RFC 5280 section 4.2 for the extensions; EJBCA for the division in two.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from pkid.asn1.x509 import Extension


class ProfileKind(enum.Enum):
    """What the certificate's subject is."""

    END_ENTITY = "end-entity"
    SUB_CA = "sub-ca"
    ROOT_CA = "root-ca"


@dataclass(frozen=True, slots=True)
class CertificatePolicy:
    """One certificate policy with its qualifiers (empty text: none)."""

    oid: str
    cps: str = ""
    notice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateProfile:
    """The form of a certificate.

    :ivar keys: accepted subject keys: "ec:P-256", "rsa:2048-4096", "ed25519" ...
    :ivar validity: period granted; the end is inclusive (RFC 5280 section 4.1.2.5).
    :ivar forever: end at 99991231235959Z instead (IEEE 802.1AR).
    :ivar request_validity: whether a request may ask for less.
    :ivar exact_validity: a request's validity stands as it is, the past included:
        link certificates between two keys of a CA.
    :ivar request_subject: whether the subject may come from the request.
    :ivar request_key_usage: whether a request may narrow the key usage.
    :ivar request_extended_key_usage: EKUs that a request may name instead.
    :ivar request_extensions: further extension OIDs copied from a request.
    :ivar subject_order: attribute types in the order wanted; the rest follow.
    :ivar subject_subset: attribute types kept; None keeps all.
    :ivar unique_key: refuse a key that another certificate has.
    :ivar unique_subject: refuse a subject that another entity's valid certificate has.
    :ivar key_usage: bit names; empty means: what fits the key.
    :ivar san: "optional", "required" or "none"; critical when the subject is empty.
    :ivar ca_issuers, crl_distribution_point: add ours.
    :ivar ocsp: URLs of OCSP responders; none: ours, if ``ocsp_responder`` says so.
    :ivar static_extensions: any extension with a fixed DER value.
    """

    name: str
    kind: ProfileKind = ProfileKind.END_ENTITY
    keys: tuple[str, ...] = ("ec:P-256", "ec:P-384", "rsa:2048-4096")
    signature_hash: str = ""
    validity: timedelta = timedelta(days=90)
    forever: bool = False
    backdate: timedelta = timedelta(minutes=5)
    request_validity: bool = True
    exact_validity: bool = False
    request_subject: bool = True
    request_key_usage: bool = True
    request_extended_key_usage: tuple[str, ...] = ()
    request_extensions: tuple[str, ...] = ()
    subject_order: tuple[str, ...] = ()
    subject_subset: tuple[str, ...] | None = None
    unique_key: bool = False
    unique_subject: bool = False
    path_length: int | None = None
    key_usage: tuple[str, ...] = ()
    key_usage_critical: bool = True
    extended_key_usage: tuple[str, ...] = ()
    extended_key_usage_critical: bool = False
    san: str = "optional"
    san_critical: bool = False
    issuer_alternative_names: tuple[str, ...] = ()
    crl_distribution_point: bool = True
    freshest_crl: tuple[str, ...] = ()
    ca_issuers: bool = True
    ocsp: tuple[str, ...] = ()
    ocsp_responder: bool = True
    policies: tuple[CertificatePolicy, ...] = ()
    policies_critical: bool = False
    require_explicit_policy: int | None = None
    inhibit_policy_mapping: int | None = None
    inhibit_any_policy: int | None = None
    permitted_names: tuple[str, ...] = ()
    excluded_names: tuple[str, ...] = ()
    private_key_usage_period: timedelta | None = None
    tls_features: tuple[int, ...] = ()
    ocsp_no_check: bool = False
    static_extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NameField:
    """Rule for one field of a subject ("CN", "O") or of the SAN ("dns", "ip", "uri").

    :ivar modifiable: whether the request may give it; else ``default`` always stands.
    :ivar default: value used when the request gives none; "" for none.
    :ivar pattern: regular expression that the whole value must match; "" for any.
    """

    field: str
    required: bool = False
    modifiable: bool = True
    default: str = ""
    pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEntityProfile:
    """Which names may be asked for, and what for.

    :ivar other_fields: whether fields without a rule are allowed.
    :ivar certificate_profiles, authorities: allowed ones; empty means any.
    :ivar minimum_validity, maximum_validity: bounds on what a request may ask.
    :ivar renewal_window: how long before its end a certificate may be renewed; None
        at any time.
    :ivar wildcard_names: whether ``*.host`` is allowed as a DNS name.
    :ivar network_function_types: of the 5G core (RFC 9310) that a request may name;
        empty means any.
    """

    name: str
    subject: tuple[NameField, ...] = ()
    alternative_names: tuple[NameField, ...] = ()
    other_fields: bool = True
    certificate_profiles: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    minimum_validity: timedelta | None = None
    maximum_validity: timedelta | None = None
    renewal_window: timedelta | None = None
    wildcard_names: bool = False
    network_function_types: tuple[str, ...] = ()
