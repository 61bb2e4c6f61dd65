"""Whose certificate is this: step 1 of the one path for signed requests.

A certificate of ours is known by its octets in the store, status included; a foreign
one by a chain to a configured vendor. Whoever signed proved the key already; what the
header of a message claims plays no part.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pkid.asn1 import der, oids
from pkid.asn1.names import OTHER_NAME
from pkid.crypto.certificates import (
    Certificate,
    has_extended_key_usage,
    subject_alternative_names,
)
from pkid.crypto.chains import validate_chain
from pkid.crypto.revocationlists import Standing, read_list, standing_of
from pkid.engine import endentities
from pkid.engine.aliases import Alias, Authentication, Policies, VendorTrust
from pkid.engine.crosscertification import find_peer
from pkid.engine.model import (
    CertificateRecord,
    CertificateStatus,
    EndEntity,
    Requester,
    RequesterKind,
)
from pkid.engine.ports import Store
from pkid.errors import ErrorCode, PKIError

#: Identity of a unit by its hardwareModuleName.
HARDWARE_MODULE = "hardware-module"
CHAIN_CACHE_PERIOD = timedelta(minutes=1)
MAX_CACHED_CHAINS = 4096


class UnlistedUnitError(PKIError):
    """A unit of a trusted vendor that is not on the allow-list.

    :ivar unit: its identity within the vendor, for the audit trail.
    """

    def __init__(self, vendor: str, unit: str) -> None:
        super().__init__(
            ErrorCode.NOT_AUTHORIZED,
            "this unit is not on the allow-list",
            hint=f"pkid vendor add {vendor} {shlex.quote(unit)} --name NAME",
        )
        self.unit = unit


@dataclass(frozen=True, slots=True)
class _Verified:
    vendor: VendorTrust
    until: datetime


class Identification:
    """Finds out who the holder of a certificate is.

    :param line: which CAs are one after a change of key: the name of the first.
    """

    def __init__(self, store: Store, line: Callable[[str], str]) -> None:
        self._store = store
        self._line = line
        self._chains: dict[bytes, _Verified] = {}

    async def identify(
        self,
        alias: Alias,
        leaf: bytes,
        others: Sequence[bytes],
        policies: Policies,
        now: datetime,
    ) -> Requester:
        """The requester behind a certificate whose key signed the request.

        :param leaf: DER; :param others: further certificates that came along, DER.
        :raises PKIError: ``CERTIFICATE_REVOKED``, ``SIGNER_NOT_TRUSTED``,
            ``MISSING_INFORMATION`` (no chain), ``NOT_AUTHORIZED``, ``MALFORMED``.
        """
        fingerprint = hashlib.sha256(leaf).digest()
        record = await self._store.find_certificate_by_fingerprint(fingerprint)
        if record is not None:
            return self._own(alias, leaf, record, now)
        peer = find_peer(alias, leaf, others, policies, now)
        if peer is not None:
            return peer
        if Authentication.VENDOR not in alias.authenticate or not alias.vendors:
            raise PKIError(
                ErrorCode.SIGNER_NOT_TRUSTED,
                "the signer's certificate is not of this PKI",
                hint=f"alias {alias.name} trusts no vendor; see vendors of the alias",
            )
        vendor = self._vendor_of(alias, leaf, others, policies, now)
        return await self._unit(alias, vendor, leaf, fingerprint)

    def _own(
        self, alias: Alias, leaf: bytes, record: CertificateRecord, now: datetime
    ) -> Requester:
        if record.status in (CertificateStatus.REVOKED, CertificateStatus.HELD):
            raise PKIError(
                ErrorCode.CERTIFICATE_REVOKED, "the signer's certificate is revoked"
            )
        is_authority = _is_listed_authority(alias, record, leaf)
        grace = timedelta(0) if is_authority else alias.renew_expired
        if not record.not_before <= now <= record.not_after + grace:
            raise PKIError(
                ErrorCode.SIGNER_NOT_TRUSTED,
                "the signer's certificate is not within its validity",
            )
        kind = RequesterKind.CERTIFICATE
        if is_authority:
            kind = RequesterKind.REGISTRATION_AUTHORITY
        elif (
            self._line(record.reference.authority) != self._line(alias.authority)
            or Authentication.CERTIFICATE not in alias.authenticate
        ):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "certificates of this kind may not ask here",
                hint=f"authority and authenticate of alias {alias.name}",
            )
        return Requester(
            kind=kind,
            identity=f"certificate:{record.reference}",
            entity=record.entity,
            certificate=record.reference,
            certificate_der=leaf,
        )

    def _vendor_of(
        self,
        alias: Alias,
        leaf: bytes,
        others: Sequence[bytes],
        policies: Policies,
        now: datetime,
    ) -> VendorTrust:
        key = hashlib.sha256(leaf).digest()
        cached = self._chains.get(key)
        if cached is not None and cached.until > now:
            current = policies.vendors.get(cached.vendor.name)
            if current is cached.vendor and cached.vendor.name in alias.vendors:
                return cached.vendor
        vendor = _validated_vendor(alias, leaf, others, policies, now)
        if len(self._chains) >= MAX_CACHED_CHAINS:
            self._chains.clear()
        self._chains[key] = _Verified(vendor, now + CHAIN_CACHE_PERIOD)
        return vendor

    async def _unit(
        self, alias: Alias, vendor: VendorTrust, leaf: bytes, fingerprint: bytes
    ) -> Requester:
        unit = unit_of(vendor, leaf)
        pattern = endentities.vendor_pattern(vendor.name, unit)
        entity = await self._store.find_entity_by_vendor(pattern)
        if entity is None and alias.unknown_vendor_unit != "pend":
            raise UnlistedUnitError(vendor.name, unit)
        return _vendor_requester(vendor, leaf, fingerprint, entity)


def unit_of(vendor: VendorTrust, leaf: bytes) -> str:
    """Identity of a unit within its vendor, from its certificate.

    :raises PKIError: ``NOT_AUTHORIZED`` when the certificate lacks the attribute.
    """
    certificate = Certificate.decode(leaf)
    subject = certificate.subject
    if vendor.identity == "subject":
        return subject.text()
    if vendor.identity == HARDWARE_MODULE:
        values = _hardware_modules(certificate)
    else:
        values = subject.values(endentities.attribute_oid(vendor.identity))
    if len(values) != 1:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            f"the vendor certificate names no single {vendor.identity}",
            hint=f"identity of [vendor.{vendor.name}]",
        )
    return values[0]


def check_identity(identity: str) -> None:
    """Refuse a vendor's identity that no certificate can have.

    :raises PKIError: ``BAD_REQUEST``.
    """
    if identity not in {"subject", HARDWARE_MODULE}:
        endentities.attribute_oid(identity)


def _hardware_modules(certificate: Certificate) -> tuple[str, ...]:
    """``type:serial`` of each hardwareModuleName, the serial number in hexadecimal.

    **Source:** RFC 4108 section 5; IEEE 802.1AR.
    """
    found: list[str] = []
    for name in subject_alternative_names(certificate):
        other = name.other_name if name.tag == OTHER_NAME else None
        if other is None or other[0] != oids.ID_ON_HARDWARE_MODULE_NAME:
            continue
        kind, serial = der.split_oid(der.single(other[1], der.SEQUENCE))
        found.append(f"{kind}:{der.single(serial, der.OCTET_STRING).hex()}")
    return tuple(found)


def _vendor_requester(
    vendor: VendorTrust, leaf: bytes, fingerprint: bytes, entity: EndEntity | None
) -> Requester:
    return Requester(
        kind=RequesterKind.VENDOR,
        identity=f"vendor:{vendor.name}:{fingerprint.hex()[:40]}",
        entity=None if entity is None else entity.name,
        certificate_der=leaf,
    )


def _validated_vendor(
    alias: Alias,
    leaf: bytes,
    others: Sequence[bytes],
    policies: Policies,
    now: datetime,
) -> VendorTrust:
    refusal: PKIError | None = None
    certificate = Certificate.decode(leaf)
    given = [Certificate.decode(octets) for octets in others]
    for name in alias.vendors:
        vendor = policies.vendors.get(name)
        if vendor is None:
            continue
        known = [Certificate.decode(octets) for octets in vendor.intermediates]
        anchors = [Certificate.decode(octets) for octets in vendor.anchors]
        try:
            path = validate_chain(
                certificate,
                [*given, *known],
                anchors,
                now,
                allow_sha1=vendor.allow_sha1,
                allow_expired_leaf=vendor.allow_expired,
                min_rsa=vendor.minimum_rsa_bits,
            )
            _check_standing(vendor, path, now)
        except PKIError as error:
            refusal = refusal or error
        else:
            return vendor
    raise refusal or PKIError(
        ErrorCode.SIGNER_NOT_TRUSTED,
        "the signer's certificate is not of a vendor trusted here",
        hint=f"vendors of alias {alias.name} name no declared [vendor]",
    )


def _check_standing(
    vendor: VendorTrust, path: Sequence[Certificate], now: datetime
) -> None:
    """Refuse a chain that the vendor has revoked, or may have (ENG-22)."""
    if not vendor.crls and not vendor.crl_required:
        return
    lists = [read_list(octets) for octets in vendor.crls]
    standing = standing_of(path, lists, now, allow_sha1=vendor.allow_sha1)
    if standing is Standing.REVOKED:
        raise PKIError(
            ErrorCode.CERTIFICATE_REVOKED,
            "the signer's certificate is revoked",
            hint=f"crls of [vendor.{vendor.name}] name it or a CA above it",
        )
    if standing is Standing.UNKNOWN and vendor.crl_required:
        raise PKIError(
            ErrorCode.SIGNER_NOT_TRUSTED,
            "whether the signer's certificate is revoked is not known",
            hint=f"a current CRL is missing in crls of [vendor.{vendor.name}]:"
            " replace the file and send SIGHUP",
        )


def _is_listed_authority(alias: Alias, record: CertificateRecord, leaf: bytes) -> bool:
    """A registration authority has id-kp-cmcRA and is listed in the alias (SEC-07)."""
    if not alias.registration_authorities:
        return False
    names = {str(record.reference), record.fingerprint.hex(), record.subject}
    return not names.isdisjoint(
        alias.registration_authorities
    ) and has_extended_key_usage(Certificate.decode(leaf), oids.ID_KP_CMC_RA)
