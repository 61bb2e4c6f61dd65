"""The daemon's own authorities and certificates: made once, renewed in time.

All of it is idempotent: at the first start it makes what is missing, at every other
start and at each renewal it finds what is there.

**Source:** DESIGN section 7; CMP-46; SEC-87; ENG-50.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from twisted.logger import Logger

from pkid.app.house import House
from pkid.asn1 import oids
from pkid.asn1.names import GeneralName, Name
from pkid.crypto.certificates import Certificate, allows_digital_signature
from pkid.engine.aliases import Alias, KeyRecovery
from pkid.engine.creation import NewAuthority, ServiceCertificate, ServiceIdentity
from pkid.engine.model import PossessionMethod, RequestContext
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.scep.aliases import SCEPAlias
from pkid.transports.tls import TLSCredentials

_log = Logger()
ROOT: Final = "root"
ISSUING: Final = "issuing"
TLS: Final = "tls"
ADMINISTRATOR: Final = "administrator"
INTERNAL: Final = RequestContext(protocol="internal")
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


async def make_authorities(house: House, key_spec: str) -> None:
    """The root and the issuing CA of a first start, unless they are there."""
    known = set(house.engine.authority_names())
    if {ROOT, ISSUING} <= known:
        return
    # Two installations must not share a name: relying parties may trust both.
    mark = secrets.token_hex(3)
    for name, title, parent in (
        (ROOT, "Root CA", None),
        (ISSUING, "Issuing CA", ROOT),
    ):
        subject = _subject(f"pkid {title} {mark}")
        new = NewAuthority(name=name, subject=subject, key_spec=key_spec, parent=parent)
        await house.engine.create_authority(new, INTERNAL)


async def prepare_signers(house: House, authorities: Iterable[str]) -> None:
    """Give each authority that is there the identity that signs its messages."""
    known = set(house.engine.authority_names())
    for name in sorted(known & set(authorities)):
        await house.engine.prepare_message_identity(name, INTERNAL)


async def prepare_key_generators(house: House, aliases: Iterable[Alias]) -> None:
    """Give each authority what makes keys for others, or archives them.

    Keys that leave are signed by who makes them, also those out of the archive.
    """
    known = set(house.engine.authority_names())
    for alias in aliases:
        if alias.authority not in known:
            continue
        recovers = alias.key_recovery is not KeyRecovery.OFF
        if alias.key_generation or recovers:
            await house.engine.key_generators.prepare(alias.authority, INTERNAL)
        if alias.key_archive or PossessionMethod.ENCRYPTED_KEY in alias.possession:
            await house.engine.key_receivers.prepare(alias.authority, INTERNAL)
        if alias.key_archive or recovers:
            await house.engine.key_archive.prepare(alias.authority)


async def prepare_cmp_keys(house: House, aliases: Iterable[CMPAlias]) -> None:
    """Give authorities the CMP keys, beside their signers, that aliases switch on."""
    known = set(house.engine.authority_names())
    for alias in aliases:
        authority = alias.alias.authority
        if authority in known and alias.signer == "authority":
            identity = await house.engine.prepare_own_identity(authority)
            if not allows_digital_signature(Certificate.decode(identity.certificate)):
                _log.warn(
                    "cmp {alias}: answers are signed with the key of {authority}, whose"
                    " keyUsage lacks digitalSignature: some clients refuse that",
                    alias=alias.name,
                    authority=authority,
                )
        if authority in known and alias.agreement:
            await house.engine.prepare_agreement_identity(authority, INTERNAL)
        if authority in known and alias.kem:
            await house.engine.prepare_kem_identity(authority, INTERNAL)


async def prepare_ocsp(house: House) -> None:
    """Give each authority its OCSP signer, or a fresh one in time."""
    await house.engine.prepare_ocsp(INTERNAL)


async def prepare_exchanges(house: House, aliases: Iterable[SCEPAlias]) -> None:
    """Give each authority that is spoken SCEP to what opens requests in its name."""
    known = set(house.engine.authority_names())
    wanted = {(one.alias.authority, one.identity, one.identity_key) for one in aliases}
    for name, kind, key_spec in sorted(wanted, key=str):
        if name in known:
            await house.engine.exchange.prepare(name, kind, key_spec, INTERNAL)


async def tls_credentials(
    house: House, *, authority: str, public_url: str
) -> TLSCredentials:
    """Key and chain of the HTTPS listeners; the root is left out."""
    names = tls_names(public_url)
    wanted = ServiceCertificate(
        name=TLS,
        authority=authority,
        profile="tls",
        subject=_subject(names[0]),
        alternative_names=tuple(map(_general_name, names)),
        purpose="tls",
    )
    identity = await house.engine.issue_service_certificate(wanted, INTERNAL)
    return TLSCredentials(
        key_pem=await house.keys.tls_key(f"service-{TLS}"),
        chain_pem=encode_chain(without_root(identity)),
    )


async def administrator(house: House, authority: str) -> ServiceIdentity:
    """The first administrator's certificate; its key is ``service-administrator``."""
    wanted = ServiceCertificate(
        name=ADMINISTRATOR,
        authority=authority,
        profile=ADMINISTRATOR,
        subject=_subject("pkid administrator"),
        purpose="client",
    )
    return await house.engine.issue_service_certificate(wanted, INTERNAL)


def tls_names(public_url: str) -> tuple[str, ...]:
    """Names of the TLS certificate: that of the public URL first, then loopback's."""
    host = urlsplit(public_url).hostname or ""
    first = (host,) if host and host not in LOOPBACK_NAMES else ()
    return first + LOOPBACK_NAMES


def without_root(identity: ServiceIdentity) -> tuple[bytes, ...]:
    """A certificate and those above it but the last, which is the root."""
    return (identity.certificate, *identity.chain[:-1])


def encode_chain(certificates: Iterable[bytes]) -> bytes:
    """PEM of DER certificates, in order."""
    return b"".join(
        load_der_x509_certificate(one).public_bytes(Encoding.PEM)
        for one in certificates
    )


def _subject(common_name: str) -> Name:
    return Name.build([[(oids.ID_AT_COMMON_NAME, common_name)]])


def _general_name(text: str) -> GeneralName:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return GeneralName.dns(text)
    return GeneralName.ip(text)
