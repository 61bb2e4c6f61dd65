"""Who opens requests and signs answers in an authority's name, where clients encrypt.

SCEP's clients encrypt their requests, and they know RSA only. So an authority speaks
through a registration authority of its own, an RSA service certificate that renews
itself; through a pair of such certificates, as NDES does; or, when its own key is RSA,
as itself.

**Source:** RFC 8894 sections 2.1 and 2.2; the project's requirements for the pair.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate
from pkid.engine.authorities import Authorities, Authority
from pkid.engine.creation import Creation, ServiceCertificate
from pkid.engine.model import RequestContext
from pkid.engine.ports import (
    CertificateQuery,
    Clock,
    Decrypter,
    KeyStore,
    MessageSigner,
    Store,
)
from pkid.errors import ErrorCode, PKIError

#: How long requests that are encrypted to an expired certificate are still opened.
GRACE: Final = timedelta(days=30)
MAX_EARLIER: Final = 16


class ExchangeKind(enum.Enum):
    """How an authority speaks."""

    RA = "ra"  # one certificate that signs and decrypts
    PAIR = "pair"  # one that signs, one that decrypts
    CA = "ca"  # the CA itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeIdentity:
    """What opens requests and signs answers in an authority's name.

    :ivar certificate: of the key that signs.
    :ivar encryption_certificate: what clients encrypt to; the same unless a pair.
    :ivar recipients: all certificates of the decrypter that requests may name, earlier
        ones too.
    :ivar chain: above ``certificate``: issuing CA first, root last; of a CA that
        speaks itself those above it.
    """

    kind: ExchangeKind
    signer: MessageSigner
    certificate: bytes
    decrypter: Decrypter
    encryption_certificate: bytes
    recipients: tuple[Certificate, ...]
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Service:
    """One service certificate: whose key does what."""

    prefix: str
    title: str
    profile: str
    purpose: str


_RA: Final = _Service("scep-ra", "SCEP RA", "scep-ra", "message-exchange")
_SIGNING: Final = _Service(
    "scep-sign", "SCEP RA signing", "scep-ra-signing", "message-signing"
)
_ENCRYPTION: Final = _Service(
    "scep-encrypt", "SCEP RA encryption", "scep-ra-encryption", "decryption"
)


class ExchangeIdentities:
    """The identities of all authorities, made when they are first wanted."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        authorities: Authorities,
        creation: Creation,
        clock: Clock,
    ) -> None:
        self._store = store
        self._keys = keys
        self._authorities = authorities
        self._creation = creation
        self._clock = clock
        self._found: dict[tuple[str, ExchangeKind], ExchangeIdentity] = {}

    def get(self, authority: str, kind: ExchangeKind) -> ExchangeIdentity:
        """What was prepared.

        :raises PKIError: ``UNAVAILABLE``.
        """
        found = self._found.get((authority, kind))
        if found is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the certification authority cannot be spoken to here yet",
                hint=f"authority {authority} has no identity of kind {kind.value}",
            )
        return found

    async def prepare(
        self, authority: str, kind: ExchangeKind, key_spec: str, context: RequestContext
    ) -> ExchangeIdentity:
        """Make an authority able to speak; renews its certificates in time.

        :param key_spec: of the keys, "rsa:2048"; not used for a CA that speaks itself.
        :raises PKIError: ``UNAVAILABLE`` for an unknown authority; ``BAD_ALGORITHM``
            when a CA that is to speak itself has no RSA key.
        """
        issuer = self._authorities.issuing(authority)
        if kind is ExchangeKind.CA:
            made = await self._of_authority(issuer)
        elif kind is ExchangeKind.PAIR:
            made = await self._pair(authority, issuer, key_spec, context)
        else:
            made = await self._registration_authority(
                authority, issuer, key_spec, context
            )
        self._found[authority, kind] = made
        return made

    async def _of_authority(self, issuer: Authority) -> ExchangeIdentity:
        record = await self._store.find_authority(issuer.name)
        if record is None:
            raise PKIError(ErrorCode.INTERNAL, "an authority without its record")
        decrypter = await self._keys.decrypter(record.key)
        return ExchangeIdentity(
            kind=ExchangeKind.CA,
            signer=await self._keys.message_signer(record.key, of_authority=True),
            certificate=issuer.certificate,
            decrypter=decrypter,
            encryption_certificate=issuer.certificate,
            recipients=(Certificate.decode(issuer.certificate),),
            chain=issuer.issuers,
        )

    async def _registration_authority(
        self,
        authority: str,
        issuer: Authority,
        key_spec: str,
        context: RequestContext,
    ) -> ExchangeIdentity:
        wanted = _wanted(_RA, authority, issuer, key_spec)
        service = await self._creation.issue_service_certificate(wanted, context)
        key = f"service-{wanted.name}"
        return ExchangeIdentity(
            kind=ExchangeKind.RA,
            signer=await self._keys.message_signer(key),
            certificate=service.certificate,
            decrypter=await self._keys.decrypter(key),
            encryption_certificate=service.certificate,
            recipients=await self._recipients(key, service.certificate),
            chain=service.chain,
        )

    async def _pair(
        self,
        authority: str,
        issuer: Authority,
        key_spec: str,
        context: RequestContext,
    ) -> ExchangeIdentity:
        signing = _wanted(_SIGNING, authority, issuer, key_spec)
        encryption = _wanted(_ENCRYPTION, authority, issuer, key_spec)
        signs = await self._creation.issue_service_certificate(signing, context)
        opens = await self._creation.issue_service_certificate(encryption, context)
        key = f"service-{encryption.name}"
        return ExchangeIdentity(
            kind=ExchangeKind.PAIR,
            signer=await self._keys.message_signer(f"service-{signing.name}"),
            certificate=signs.certificate,
            decrypter=await self._keys.decrypter(key),
            encryption_certificate=opens.certificate,
            recipients=await self._recipients(key, opens.certificate),
            chain=signs.chain,
        )

    async def _recipients(self, entity: str, current: bytes) -> tuple[Certificate, ...]:
        """The current certificate, and earlier ones of the same key within grace."""
        first = Certificate.decode(current)
        found = [first]
        since = self._clock.now() - GRACE
        query = CertificateQuery(entity=entity, limit=MAX_EARLIER)
        for record in await self._store.search_certificates(query):
            if record.not_after < since:
                continue
            octets = await self._store.get_certificate_der(record.reference)
            other = Certificate.decode(octets)
            if other.spki == first.spki and other != first:
                found.append(other)
        return tuple(found)


def _wanted(
    service: _Service, authority: str, issuer: Authority, key_spec: str
) -> ServiceCertificate:
    common_name = Name.build(
        [[(oids.ID_AT_COMMON_NAME, f"{authority} {service.title}")]]
    )
    return ServiceCertificate(
        name=f"{service.prefix}-{authority}",
        authority=authority,
        profile=service.profile,
        subject=Name.of([*issuer.subject.rdns[:-1], *common_name.rdns]),
        key_spec=key_spec,
        purpose=service.purpose,
    )
