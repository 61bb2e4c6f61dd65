"""Encode the extensions of certificates.

Pure. Each function gives an `Extension`; what a profile fixes is encoded once, into a
`pkid.crypto.tbs.CertificateTemplate`. A value that cannot be encoded as its RFC
demands is ``PKIError(BAD_TEMPLATE)``. The criticality is what RFC 5280 asks for, and an
argument where it leaves the choice.

**Source:** RFC 5280 section 4.2, RFC 7633, RFC 9310, RFC 9608.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.errors import ErrorCode, PKIError

KEY_USAGE_BITS: Final = {
    "digitalSignature": 0,
    "nonRepudiation": 1,
    "contentCommitment": 1,
    "keyEncipherment": 2,
    "dataEncipherment": 3,
    "keyAgreement": 4,
    "keyCertSign": 5,
    "cRLSign": 6,
    "encipherOnly": 7,
    "decipherOnly": 8,
}
TLS_STATUS_REQUEST: Final = 5
MAX_NOTICE_CHARACTERS: Final = 200
MAX_NF_TYPE_CHARACTERS: Final = 32

_SHA1_OCTETS: Final = 20
_SAN_HEAD: Final = der.oid(oids.ID_CE_SUBJECT_ALT_NAME)
_CRITICAL_SAN_HEAD: Final = _SAN_HEAD + der.boolean(value=True)
# All that goes before an identifier of 20 octets.
_SKI_HEAD: Final = (
    b"\x30\x1d" + der.oid(oids.ID_CE_SUBJECT_KEY_IDENTIFIER) + b"\x04\x16\x04\x14"
)


def _refuse(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_TEMPLATE, detail)


def _names(names: Iterable[GeneralName], what: str) -> bytes:
    """Joined elements of ``GeneralNames``; at least one."""
    octets = b"".join([name.encode() for name in names])
    if not octets:
        raise _refuse(f"{what} without a name")
    return octets


def _count(value: int, what: str) -> bytes:
    if value < 0:
        raise _refuse(f"{what} is negative")
    return der.integer(value)


# --- what the key may do ------------------------------------------------------


def basic_constraints(
    *, ca: bool, path_length: int | None = None, critical: bool = True
) -> Extension:
    """``basicConstraints``.

    :param path_length: CA certificates that may follow; only with ``ca``.
    :param critical: must stay True for a CA.

    **Source:** RFC 5280 section 4.2.1.9.
    """
    if path_length is not None and not ca:
        raise _refuse("a path length is for CA certificates only")
    parts = b""
    if ca:
        parts = der.boolean(value=True)
        if path_length is not None:
            parts += _count(path_length, "path length")
    return Extension(oids.ID_CE_BASIC_CONSTRAINTS, critical, der.sequence(parts))


def key_usage(names: Iterable[str], *, critical: bool = True) -> Extension:
    """``keyUsage``.

    :param names: of bits, as RFC 5280 prints them; at least one.

    **Source:** RFC 5280 section 4.2.1.3.
    """
    unknown = set(names := tuple(names)) - KEY_USAGE_BITS.keys()
    if unknown or not names:
        raise _refuse(f"key usage unknown or missing: {', '.join(sorted(unknown))}")
    bits = frozenset(KEY_USAGE_BITS[name] for name in names)
    return Extension(oids.ID_CE_KEY_USAGE, critical, der.named_bits(bits))


def extended_key_usage(purposes: Sequence[str], *, critical: bool = False) -> Extension:
    """``extKeyUsage``.

    :param purposes: OIDs in dotted text, at least one.

    **Source:** RFC 5280 section 4.2.1.12.
    """
    if not purposes or not all(map(oids.is_dotted, purposes)):
        raise _refuse("extended key usage is empty or not an OID")
    value = der.sequence(*map(der.oid, dict.fromkeys(purposes)))
    return Extension(oids.ID_CE_EXT_KEY_USAGE, critical, value)


def private_key_usage_period(
    not_before: datetime.datetime | None, not_after: datetime.datetime | None
) -> Extension:
    """``privateKeyUsagePeriod``; at least one end.

    **Source:** RFC 3280 section 4.2.1.4 (RFC 5280 leaves it to others).
    """
    if not_before is None and not_after is None:
        raise _refuse("private key usage period without an end")
    parts = [
        der.implicit(number, der.generalized_time(moment))
        for number, moment in enumerate((not_before, not_after))
        if moment is not None
    ]
    value = der.sequence(*parts)
    return Extension(oids.ID_CE_PRIVATE_KEY_USAGE_PERIOD, critical=False, value=value)


# --- who it is ----------------------------------------------------------------


def subject_alternative_name(
    names: Iterable[GeneralName], *, critical: bool = False
) -> Extension:
    """``subjectAltName``.

    :param critical: must be True when the subject is empty.

    **Source:** RFC 5280 section 4.2.1.6.
    """
    value = der.sequence(_names(names, "subjectAltName"))
    return Extension(oids.ID_CE_SUBJECT_ALT_NAME, critical, value)


def encode_subject_alternative_name(
    names: Iterable[GeneralName], *, critical: bool = False
) -> bytes:
    """``subjectAltName`` as octets at once, for where certificates are made in numbers.

    **Source:** RFC 5280 section 4.2.1.6.
    """
    value = der.encode(der.SEQUENCE, _names(names, "subjectAltName"))
    head = _CRITICAL_SAN_HEAD if critical else _SAN_HEAD
    return der.encode(der.SEQUENCE, head + der.encode(der.OCTET_STRING, value))


def issuer_alternative_name(names: Iterable[GeneralName]) -> Extension:
    """``issuerAltName``.

    **Source:** RFC 5280 section 4.2.1.7.
    """
    value = der.sequence(_names(names, "issuerAltName"))
    return Extension(oids.ID_CE_ISSUER_ALT_NAME, critical=False, value=value)


def subject_key_identifier(key_id: bytes) -> Extension:
    """``subjectKeyIdentifier``.

    **Source:** RFC 5280 section 4.2.1.2.
    """
    value = der.octet_string(key_id)
    return Extension(oids.ID_CE_SUBJECT_KEY_IDENTIFIER, critical=False, value=value)


def encode_subject_key_identifier(key_id: bytes) -> bytes:
    """``subjectKeyIdentifier`` as octets at once; see `subject_key_identifier`."""
    if len(key_id) == _SHA1_OCTETS:
        return _SKI_HEAD + key_id
    return subject_key_identifier(key_id).encode()


def authority_key_identifier(
    key_id: bytes, issuer: Name | None = None, serial: int | None = None
) -> Extension:
    """``authorityKeyIdentifier``.

    :param key_id: the issuer's subject key identifier.
    :param issuer: the issuer's own issuer, together with ``serial`` or not at all.
    :param serial: the issuer's serial number.

    **Source:** RFC 5280 section 4.2.1.1.
    """
    parts = [der.encode(der.context(0), key_id)]
    if issuer is not None and serial is not None:
        parts.append(
            der.encode(der.constructed(1), GeneralName.directory(issuer).encode())
        )
        parts.append(der.implicit(2, der.integer(serial)))
    elif issuer is not None or serial is not None:
        raise _refuse("authority issuer and serial number go together")
    value = der.sequence(*parts)
    return Extension(oids.ID_CE_AUTHORITY_KEY_IDENTIFIER, critical=False, value=value)


def name_constraints(
    permitted: Sequence[GeneralName], excluded: Sequence[GeneralName]
) -> Extension:
    """``nameConstraints``; always critical, and only for CA certificates.

    :param permitted: bases of subtrees; IP addresses with their mask.
    :param excluded: the same.

    **Source:** RFC 5280 section 4.2.1.10.
    """
    if not permitted and not excluded:
        raise _refuse("name constraints without a name")
    parts = [
        der.encode(
            der.constructed(number), *(der.sequence(base.encode()) for base in bases)
        )
        for number, bases in enumerate((permitted, excluded))
        if bases
    ]
    return Extension(
        oids.ID_CE_NAME_CONSTRAINTS, critical=True, value=der.sequence(*parts)
    )


# --- where to ask -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionPoint:
    """One place of one CRL.

    :ivar names: alternatives for the same CRL; usually URIs.
    :ivar reasons: numbers of the bits of ``ReasonFlags``, or None for all reasons.
    :ivar crl_issuer: name of an indirect CRL's issuer.
    """

    names: tuple[GeneralName, ...]
    reasons: frozenset[int] | None = None
    crl_issuer: Name | None = None

    def encode(self) -> bytes:
        """The ``DistributionPoint`` SEQUENCE."""
        parts = []
        if self.names:
            parts.append(der.explicit(0, full_name(self.names)))
        if self.reasons is not None:
            parts.append(der.implicit(1, der.named_bits(self.reasons)))
        if self.crl_issuer is not None:
            issuer = GeneralName.directory(self.crl_issuer).encode()
            parts.append(der.encode(der.constructed(2), issuer))
        if not self.names and self.crl_issuer is None:
            raise _refuse("CRL distribution point without a name")
        return der.sequence(*parts)


def full_name(names: Iterable[GeneralName]) -> bytes:
    """``DistributionPointName`` as ``fullName``."""
    return der.encode(der.constructed(0), _names(names, "distribution point"))


def _points(oid: str, points: Sequence[DistributionPoint]) -> Extension:
    if not points:
        raise _refuse("CRL distribution points without a point")
    value = der.sequence(*(point.encode() for point in points))
    return Extension(oid, critical=False, value=value)


def crl_distribution_points(points: Sequence[DistributionPoint]) -> Extension:
    """``cRLDistributionPoints``.

    **Source:** RFC 5280 section 4.2.1.13.
    """
    return _points(oids.ID_CE_CRL_DISTRIBUTION_POINTS, points)


def freshest_crl(points: Sequence[DistributionPoint]) -> Extension:
    """``freshestCRL``: where the delta CRLs are; in certificates and in full CRLs.

    **Source:** RFC 5280 sections 4.2.1.15 and 5.2.6.
    """
    return _points(oids.ID_CE_FRESHEST_CRL, points)


def authority_information_access(
    ca_issuers: Sequence[str] = (), ocsp: Sequence[str] = ()
) -> Extension:
    """``authorityInfoAccess``.

    :param ca_issuers: URLs of the issuer's certificate.
    :param ocsp: URLs of OCSP responders.

    **Source:** RFC 5280 section 4.2.2.1.
    """
    if not ca_issuers and not ocsp:
        raise _refuse("authority information access without a URL")
    pairs = [(oids.ID_AD_OCSP, url) for url in ocsp]
    pairs += [(oids.ID_AD_CA_ISSUERS, url) for url in ca_issuers]
    value = der.sequence(
        *(
            der.sequence(der.oid(method), GeneralName.uri(url).encode())
            for method, url in pairs
        )
    )
    return Extension(oids.ID_PE_AUTHORITY_INFO_ACCESS, critical=False, value=value)


def no_revocation_available() -> Extension:
    """``noRevAvail``: the certificate is too short-lived to be revoked.

    **Source:** RFC 9608 section 2.
    """
    return Extension(oids.ID_CE_NO_REV_AVAIL, critical=False, value=der.NULL)


def ocsp_no_check() -> Extension:
    """``id-pkix-ocsp-nocheck``, for the certificate of an OCSP responder.

    **Source:** RFC 6960 section 4.2.2.2.1.
    """
    return Extension(oids.ID_PKIX_OCSP_NOCHECK, critical=False, value=der.NULL)


# --- under which rules --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyInformation:
    """One certificate policy.

    :ivar oid: dotted text.
    :ivar cps: URLs of certification practice statements.
    :ivar notice: explicit text of a user notice, or "" for none.
    """

    oid: str
    cps: tuple[str, ...] = ()
    notice: str = ""

    def encode(self) -> bytes:
        """The ``PolicyInformation`` SEQUENCE."""
        if not oids.is_dotted(self.oid):
            raise _refuse("policy is not an OID")
        if not all(url.isascii() and url for url in self.cps):
            raise _refuse("URL of a practice statement is not ASCII")
        if len(self.notice) > MAX_NOTICE_CHARACTERS:
            raise _refuse("policy notice is longer than 200 characters")
        qualifiers = [
            der.sequence(der.oid(oids.ID_QT_CPS), der.ia5_string(url))
            for url in self.cps
        ]
        if self.notice:
            text = der.sequence(der.utf8_string(self.notice))
            qualifiers.append(der.sequence(der.oid(oids.ID_QT_UNOTICE), text))
        tail = der.sequence(*qualifiers) if qualifiers else b""
        return der.sequence(der.oid(self.oid), tail)


def certificate_policies(
    policies: Sequence[PolicyInformation], *, critical: bool = False
) -> Extension:
    """``certificatePolicies``; each policy once.

    **Source:** RFC 5280 section 4.2.1.4.
    """
    distinct = {policy.oid for policy in policies}
    if not policies or len(distinct) != len(policies):
        raise _refuse("no certificate policy, or one of them twice")
    value = der.sequence(*(policy.encode() for policy in policies))
    return Extension(oids.ID_CE_CERTIFICATE_POLICIES, critical, value)


def policy_constraints(
    *,
    require_explicit_policy: int | None = None,
    inhibit_policy_mapping: int | None = None,
) -> Extension:
    """``policyConstraints``; critical; at least one of the two numbers.

    **Source:** RFC 5280 section 4.2.1.11.
    """
    counts = (require_explicit_policy, inhibit_policy_mapping)
    parts = [
        der.implicit(number, _count(count, "policy constraint"))
        for number, count in enumerate(counts)
        if count is not None
    ]
    if not parts:
        raise _refuse("policy constraints without a number")
    return Extension(
        oids.ID_CE_POLICY_CONSTRAINTS, critical=True, value=der.sequence(*parts)
    )


def inhibit_any_policy(skip_certificates: int) -> Extension:
    """``inhibitAnyPolicy``; critical.

    **Source:** RFC 5280 section 4.2.1.14.
    """
    value = _count(skip_certificates, "inhibitAnyPolicy")
    return Extension(oids.ID_CE_INHIBIT_ANY_POLICY, critical=True, value=value)


# --- for one kind of user -----------------------------------------------------


def tls_feature(features: Sequence[int]) -> Extension:
    """``id-pe-tlsfeature``, such as `TLS_STATUS_REQUEST` ("must staple").

    **Source:** RFC 7633 section 4.
    """
    if not features or not all(0 <= feature < 65536 for feature in features):
        raise _refuse("TLS features are missing or out of range")
    value = der.sequence(*map(der.integer, features))
    return Extension(oids.ID_PE_TLS_FEATURE, critical=False, value=value)


def network_function_types(types: Iterable[str]) -> Extension:
    """``NFTypes`` of the 5G core; sorted, each once, never critical.

    :param types: such as ``AMF``; visible ASCII, 1 to 32 characters.

    **Source:** RFC 9310 section 3.
    """
    names = sorted(set(types))
    if not names:
        raise _refuse("NFTypes without a type")
    for name in names:
        visible = all("!" <= character <= "~" for character in name)
        if not visible or not 1 <= len(name) <= MAX_NF_TYPE_CHARACTERS:
            raise _refuse("a network function type is not 1..32 visible characters")
    value = der.sequence(*map(der.ia5_string, names))
    return Extension(oids.ID_PE_NFTYPE, critical=False, value=value)


def microsoft_template_name(name: str) -> Extension:
    """Microsoft's template by name (version 1 templates)."""
    value = der.encode_text(der.BMP_STRING, name)
    return Extension(
        oids.MICROSOFT_CERTIFICATE_TEMPLATE_NAME, critical=False, value=value
    )


def microsoft_template(oid: str, major: int, minor: int | None = None) -> Extension:
    """Microsoft's template by OID and version (version 2 templates)."""
    if not oids.is_dotted(oid):
        raise _refuse("Microsoft template is not an OID")
    version = _count(major, "template version")
    if minor is not None:
        version += _count(minor, "template version")
    value = der.sequence(der.oid(oid), version)
    return Extension(oids.MICROSOFT_CERTIFICATE_TEMPLATE, critical=False, value=value)


def microsoft_security_identifier(sid: str) -> Extension:
    """Microsoft's object security identifier (strong certificate mapping).

    :param sid: text such as ``S-1-5-21-...``.
    """
    if not sid.startswith("S-1-") or not sid.isascii():
        raise _refuse("not a security identifier")
    name = GeneralName.other(
        oids.MICROSOFT_OBJECT_SID, der.octet_string(sid.encode("ascii"))
    )
    return Extension(
        oids.MICROSOFT_NTDS_CA_SECURITY,
        critical=False,
        value=der.sequence(name.encode()),
    )
