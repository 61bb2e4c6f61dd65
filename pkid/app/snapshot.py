"""The engine's view of a configuration: with the files that it names, read.

**Source:** DESIGN section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import (
    Certificate,
    load_der_x509_certificate,
    load_pem_x509_certificates,
    load_pem_x509_crl,
)

from pkid.app.kinds import ConfigurationError, Faults
from pkid.app.settings import Configuration, VendorSettings
from pkid.crypto.revocationlists import RevocationList
from pkid.engine.aliases import Policies, VendorTrust
from pkid.errors import PKIError

_DIGEST_OCTETS: Final = 32


def make_policies(configuration: Configuration, *, base: Path) -> Policies:
    """One snapshot for the engine.

    :param base: directory that relative paths start from.
    :raises ConfigurationError: with every file that cannot be used.
    """
    faults = Faults()
    vendors = {
        name: _vendor(vendor, base, faults)
        for name, vendor in configuration.vendors.items()
    }
    blocked = _blocked_keys(configuration.keys.blocked, base, faults)
    if faults.found:
        raise ConfigurationError(configuration.source, faults.found)
    return Policies(
        certificate_profiles=configuration.certificate_profiles,
        end_entity_profiles=configuration.end_entity_profiles,
        aliases={
            (alias.protocol, alias.name): alias for alias in configuration.entrances()
        },
        approval_rules=configuration.approval_rules,
        vendors=vendors,
        authorities=configuration.authorities,
        default_public_url=configuration.general.public_url,
        blocked_keys=blocked,
    )


def _vendor(vendor: VendorSettings, base: Path, faults: Faults) -> VendorTrust:
    where = f"vendor.{vendor.name}"
    return VendorTrust(
        name=vendor.name,
        anchors=read_certificates(vendor.anchors, f"{where}.anchors", base, faults),
        intermediates=read_certificates(
            vendor.intermediates, f"{where}.intermediates", base, faults
        ),
        identity=vendor.identity,
        allow_expired=vendor.allow_expired,
        allow_sha1=vendor.allow_sha1,
        minimum_rsa_bits=vendor.minimum_rsa_bits,
        crls=_lists(vendor.crls, f"{where}.crls", base, faults),
        crl_required=vendor.crl_required,
    )


def read_certificates(
    paths: Sequence[str], where: str, base: Path, faults: Faults
) -> tuple[bytes, ...]:
    """DER of the certificates in files of PEM or DER; what is wrong: in ``faults``."""
    found: list[bytes] = []
    for path in paths:
        try:
            octets = (base / path).read_bytes()
            found += [one.public_bytes(Encoding.DER) for one in _parse(octets)]
        except OSError as error:
            faults.add(where, f"{path} cannot be read: {error.strerror}")
        except ValueError:
            faults.add(where, f"{path} holds no certificate in PEM or DER")
    return tuple(found)


def _lists(
    paths: Sequence[str], where: str, base: Path, faults: Faults
) -> tuple[bytes, ...]:
    """CRLs as DER."""
    found: list[bytes] = []
    for path in paths:
        try:
            octets = (base / path).read_bytes()
            if b"-----BEGIN" in octets:
                octets = load_pem_x509_crl(octets).public_bytes(Encoding.DER)
            RevocationList.decode(octets)
        except OSError as error:
            faults.add(where, f"{path} cannot be read: {error.strerror}")
        except ValueError:
            faults.add(where, f"{path} holds no CRL in PEM or DER")
        except PKIError as error:
            faults.add(where, f"{path} cannot be used: {error.detail}")
        else:
            found.append(octets)
    return tuple(found)


def _parse(octets: bytes) -> list[Certificate]:
    if b"-----BEGIN" in octets:
        return load_pem_x509_certificates(octets)
    return [load_der_x509_certificate(octets)]


def _blocked_keys(path: str, base: Path, faults: Faults) -> frozenset[bytes]:
    if not path:
        return frozenset()
    try:
        lines = (base / path).read_text("ascii").split()
        found = frozenset(bytes.fromhex(line) for line in lines)
    except OSError as error:
        faults.add("keys.blocked", f"{path} cannot be read: {error.strerror}")
        return frozenset()
    except ValueError:
        faults.add("keys.blocked", f"{path} has a line that is not hexadecimal")
        return frozenset()
    if any(len(digest) != _DIGEST_OCTETS for digest in found):
        faults.add("keys.blocked", f"{path} has a line that is no SHA-256 digest")
    return found
