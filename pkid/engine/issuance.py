"""Assemble what a CA signs, and check what it signed.

`prepare` is the only maker of `PreparedCertificate`, the token that a
`CertificateSigner` accepts. What all certificates of a profile and an issuer share is
encoded once (`CertificateTemplate`); the first certificate of each template and one in
`CHECK_EVERY` is parsed and verified by an independent implementation before it is
stored.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.asn1.names import EMPTY, GeneralName
from pkid.asn1.x509 import Extension
from pkid.crypto import extensions
from pkid.crypto.tbs import (
    RANDOM_OCTETS,
    CertificateTemplate,
    encode_certificate,
    serial_number,
)
from pkid.engine.aliases import AuthoritySettings, OCSPMode
from pkid.engine.authorities import Authority
from pkid.engine.authorization import general_name
from pkid.engine.crlplaces import crl_path, partition_of
from pkid.engine.model import PreparedCertificate
from pkid.engine.policy import CertificatePlan
from pkid.engine.profiles import CertificateProfile, ProfileKind
from pkid.errors import ErrorCode, PKIError

CHECK_EVERY = 256


class Issuance:
    """Makes tokens for signers and certificates from signatures."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._templates: dict[tuple[str, str], _Compiled] = {}

    def prepare(
        self,
        authority: Authority,
        settings: AuthoritySettings,
        plan: CertificatePlan,
        now: datetime,
    ) -> PreparedCertificate:
        """Exactly what would be signed, with a fresh serial number.

        :raises PKIError: ``BAD_TEMPLATE`` when an extension cannot be encoded.
        """
        compiled = self._compiled(authority, settings, plan.profile)
        serial = serial_number(int(now.timestamp()), self._random(RANDOM_OCTETS))
        tbs = compiled.template.assemble(
            serial,
            plan.not_before,
            plan.not_after,
            plan.subject.der,
            plan.key.spki,
            _variable_extensions(plan)
            + _partition_extensions(authority, settings, plan.profile, serial),
        )
        return PreparedCertificate(
            tbs,
            authority=authority.name,
            algorithm=authority.signer.algorithm,
            serial=serial,
        )

    def complete(
        self,
        authority: Authority,
        plan: CertificatePlan,
        prepared: PreparedCertificate,
        tbs: bytes,
        signature: bytes,
    ) -> bytes:
        """The certificate, self-checked when it is its turn.

        :param tbs: of the token, taken before it was spent.
        :raises PKIError: ``INTERNAL`` when the check fails; nothing may be stored then.
        """
        octets = encode_certificate(tbs, prepared.algorithm, signature)
        compiled = self._templates[authority.name, plan.profile.name]
        if compiled.count % CHECK_EVERY == 0:
            check_certificate(octets, authority, plan, prepared.serial)
        compiled.count += 1
        return octets

    def _compiled(
        self,
        authority: Authority,
        settings: AuthoritySettings,
        profile: CertificateProfile,
    ) -> _Compiled:
        key = (authority.name, profile.name)
        compiled = self._templates.get(key)
        if compiled is None or not compiled.serves(authority, settings, profile):
            compiled = _Compiled(authority, settings, profile)
            self._templates[key] = compiled
        return compiled


class _Compiled:
    """A template, what it was compiled from, and how often it was used."""

    __slots__ = ("_authority", "_profile", "_settings", "count", "template")

    def __init__(
        self,
        authority: Authority,
        settings: AuthoritySettings,
        profile: CertificateProfile,
    ) -> None:
        self._authority = authority
        self._settings = settings
        self._profile = profile
        self.count = 0
        self.template = CertificateTemplate.compile(
            authority.subject.der,
            authority.signer.algorithm,
            [
                extension.encode()
                for extension in _fixed_extensions(authority, settings, profile)
            ],
        )

    def serves(
        self,
        authority: Authority,
        settings: AuthoritySettings,
        profile: CertificateProfile,
    ) -> bool:
        """Whether nothing that went into it has changed."""
        return (
            self._authority is authority
            and self._profile is profile
            and (self._settings is settings or self._settings == settings)
        )


def _fixed_extensions(
    authority: Authority, settings: AuthoritySettings, profile: CertificateProfile
) -> list[Extension]:
    is_ca = profile.kind is not ProfileKind.END_ENTITY
    found = [
        extensions.basic_constraints(ca=is_ca, path_length=profile.path_length),
        extensions.authority_key_identifier(authority.key.key_id),
    ]
    base = settings.public_url.rstrip("/")
    if not settings.crl_partitions:
        found += _crl_extensions(authority, settings, profile, 0)
    issuers = (f"{base}/certificates/{authority.name}.cer",)
    responders = profile.ocsp
    if not responders and profile.ocsp_responder and settings.ocsp is not OCSPMode.OFF:
        responders = (f"{base}/ocsp",)
    if profile.ca_issuers or responders:
        found.append(
            extensions.authority_information_access(
                issuers if profile.ca_issuers else (), responders
            )
        )
    found += _optional_extensions(profile)
    found += profile.static_extensions
    return found


def _crl_extensions(
    authority: Authority,
    settings: AuthoritySettings,
    profile: CertificateProfile,
    partition: int,
) -> list[Extension]:
    """Where the CRL of one partition is, and its delta CRL."""
    if not profile.crl_distribution_point:
        return []

    def point(*, delta: bool) -> tuple[extensions.DistributionPoint, ...]:
        path = crl_path(authority.name, partition, delta=delta)
        uri = GeneralName.uri(f"{settings.public_url.rstrip('/')}/{path}")
        return (extensions.DistributionPoint(names=(uri,)),)

    found = [extensions.crl_distribution_points(point(delta=False))]
    if settings.delta_crl_period is not None and not profile.freshest_crl:
        found.append(extensions.freshest_crl(point(delta=True)))
    return found


def _partition_extensions(
    authority: Authority,
    settings: AuthoritySettings,
    profile: CertificateProfile,
    serial: int,
) -> bytes:
    """The CRL that this certificate is to be on, where there are several."""
    partition = partition_of(settings, serial)
    if not partition:
        return b""
    found = _crl_extensions(authority, settings, profile, partition)
    return b"".join([extension.encode() for extension in found])


def _optional_extensions(profile: CertificateProfile) -> list[Extension]:
    found: list[Extension] = []
    if profile.freshest_crl:
        points = tuple(
            extensions.DistributionPoint(names=(GeneralName.uri(url),))
            for url in profile.freshest_crl
        )
        found.append(extensions.freshest_crl(points))
    if profile.issuer_alternative_names:
        names = map(general_name, profile.issuer_alternative_names)
        found.append(extensions.issuer_alternative_name(names))
    if profile.policies:
        policies = tuple(
            extensions.PolicyInformation(
                policy.oid, (policy.cps,) if policy.cps else (), policy.notice
            )
            for policy in profile.policies
        )
        found.append(
            extensions.certificate_policies(
                policies, critical=profile.policies_critical
            )
        )
    found += _ca_extensions(profile)
    if profile.tls_features:
        found.append(extensions.tls_feature(profile.tls_features))
    if profile.ocsp_no_check:
        found.append(extensions.ocsp_no_check())
    return found


def _ca_extensions(profile: CertificateProfile) -> list[Extension]:
    found: list[Extension] = []
    if (
        profile.require_explicit_policy is not None
        or profile.inhibit_policy_mapping is not None
    ):
        found.append(
            extensions.policy_constraints(
                require_explicit_policy=profile.require_explicit_policy,
                inhibit_policy_mapping=profile.inhibit_policy_mapping,
            )
        )
    if profile.inhibit_any_policy is not None:
        found.append(extensions.inhibit_any_policy(profile.inhibit_any_policy))
    if profile.permitted_names or profile.excluded_names:
        found.append(
            extensions.name_constraints(
                tuple(map(general_name, profile.permitted_names)),
                tuple(map(general_name, profile.excluded_names)),
            )
        )
    return found


@lru_cache(maxsize=256)
def _key_usage(usage: frozenset[str], critical: bool) -> bytes:  # noqa: FBT001
    return extensions.key_usage(usage, critical=critical).encode()


@lru_cache(maxsize=256)
def _extended_key_usage(purposes: tuple[str, ...], critical: bool) -> bytes:  # noqa: FBT001
    return extensions.extended_key_usage(purposes, critical=critical).encode()


def _variable_extensions(plan: CertificatePlan) -> bytes:
    profile = plan.profile
    parts = [
        _key_usage(plan.key_usage, profile.key_usage_critical),
        extensions.subject_key_identifier(plan.key.key_id).encode(),
    ]
    if plan.extended_key_usage:
        parts.append(
            _extended_key_usage(
                plan.extended_key_usage, profile.extended_key_usage_critical
            )
        )
    if plan.alternative_names:
        critical = profile.san_critical or plan.subject == EMPTY
        parts.append(
            extensions.subject_alternative_name(
                plan.alternative_names, critical=critical
            ).encode()
        )
    if profile.private_key_usage_period is not None:
        end = plan.not_before + profile.private_key_usage_period
        parts.append(extensions.private_key_usage_period(plan.not_before, end).encode())
    parts += [extension.encode() for extension in plan.copied]
    return b"".join(parts)


def check_certificate(
    octets: bytes, authority: Authority, plan: CertificatePlan, serial: int
) -> None:
    """Parse a certificate of ours with an independent reader and verify it.

    :raises PKIError: ``INTERNAL`` when anything is not as planned.
    """
    try:
        certificate = x509.load_der_x509_certificate(octets)
        spki = certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        list(certificate.extensions)
        same = (
            certificate.serial_number == serial
            and certificate.issuer.public_bytes() == authority.subject.der
            and certificate.subject.public_bytes() == plan.subject.der
            and spki == plan.key.spki
            and certificate.not_valid_after_utc == plan.not_after
        )
        authority.key.verify(
            authority.signer.algorithm,
            certificate.signature,
            certificate.tbs_certificate_bytes,
        )
    except (ValueError, PKIError) as error:
        raise PKIError(
            ErrorCode.INTERNAL, "the certificate failed its self-check"
        ) from error
    if not same:
        raise PKIError(ErrorCode.INTERNAL, "the certificate is not what was planned")
