"""The daemon's own certificates: its CAs, its message signers, TLS, administrators.

They go down the one path like all others; the daemon itself is the requester. Each is
idempotent by name, so that a first start that was cut short is resumed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pkid.asn1.names import GeneralName, Name
from pkid.crypto.certificates import (
    Certificate,
    subject_alternative_names,
    subject_key_identifier,
)
from pkid.crypto.extensions import subject_alternative_name
from pkid.crypto.publickeys import decode_spki
from pkid.engine.aliases import Alias, NameRule, NameScheme
from pkid.engine.authorities import (
    AgreementIdentity,
    Authorities,
    Authority,
    KEMIdentity,
    MessageIdentity,
)
from pkid.engine.enrollment import Enrollment
from pkid.engine.model import (
    CertificateStatus,
    EnrollmentRequest,
    Issued,
    Outcome,
    RequestContext,
    RequestedCertificate,
    Requester,
    RequesterKind,
    SystemPossession,
    TransactionKey,
)
from pkid.engine.ports import CertificateQuery, Clock, KeyStore, Store
from pkid.engine.records import AuthorityPhase, AuthorityRecord, KeyHandleRecord
from pkid.engine.writes import InsertAuthority, InsertKeyHandle, Write
from pkid.errors import ErrorCode, PKIError

DAEMON = Requester(kind=RequesterKind.SYSTEM, identity="system:daemon")
INTERNAL = "internal"
RENEW_AT = 2 / 3
SIGNER_PROFILE = "cmp-signer"
AGREEMENT_PROFILE = "cmp-agreement"
KEM_PROFILE = "cmp-kem"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAuthority:
    """A CA to be made.

    :ivar parent: name of the issuing authority; None for a root.
    :ivar validity: None takes the profile's.
    :ivar predecessor: name of the CA that it will take over from; "" for none.
    """

    name: str
    subject: Name
    key_spec: str = "ec:P-256"
    parent: str | None = None
    validity: timedelta | None = None
    predecessor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CACertificate:
    """A certificate for a key of one of our CAs.

    :ivar name: of the CA.
    :ivar public_key: SubjectPublicKeyInfo.
    :ivar not_before, not_after: None takes the profile's.
    """

    name: str
    subject: Name
    public_key: bytes
    profile: str
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCertificate:
    """A certificate of the daemon itself.

    :ivar purpose: of its key: "tls", "message-signing", "client", "key-agreement",
        "decapsulation".
    """

    name: str
    authority: str
    profile: str
    subject: Name
    alternative_names: tuple[GeneralName, ...] = ()
    key_spec: str = "ec:P-256"
    purpose: str = "tls"


@dataclass(frozen=True, slots=True)
class ServiceIdentity:
    """A service certificate and the chain above it, issuing CA first, root last."""

    certificate: bytes
    chain: tuple[bytes, ...]


class Creation:
    """Makes the daemon's own certificates."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        authorities: Authorities,
        enrollment: Enrollment,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._keys = keys
        self._authorities = authorities
        self._enrollment = enrollment
        self._clock = clock
        self._random = random

    async def create_authority(
        self, new: NewAuthority, context: RequestContext
    ) -> AuthorityRecord:
        """Make a CA with its key, or return the one of that name.

        :raises PKIError: ``UNAVAILABLE`` for an unknown parent, ``BAD_ALGORITHM`` for
            a key that its profile does not allow.
        """
        existing = await self._store.find_authority(new.name)
        if existing is not None:
            return existing
        key = f"ca-{new.name}"
        spki = await self._keys.generate(key, new.key_spec, "certificate-signing")
        self._authorities.add_key(spki)
        issuer = None if new.parent else await self._unsigned_root(new, key, spki)
        above = self._above(new.parent)
        made: list[AuthorityRecord] = []

        def further_writes(issued: Issued) -> tuple[Write, ...]:
            now = self._clock.now()
            made.append(
                AuthorityRecord(
                    name=new.name,
                    certificate=issued.der,
                    chain=above,
                    key=key,
                    created=now,
                    predecessor=new.predecessor,
                    phase=(
                        AuthorityPhase.NEXT
                        if new.predecessor
                        else AuthorityPhase.CURRENT
                    ),
                )
            )
            handle = _key_handle(key, "certificate-signing", new.key_spec, spki, now)
            return (InsertAuthority(made[-1]), InsertKeyHandle(handle))

        wanted = CACertificate(
            name=new.name,
            subject=new.subject,
            public_key=spki,
            profile="sub-ca" if new.parent else "root-ca",
            not_after=self._end(new.validity),
        )
        by = issuer or self._authorities.issuing(new.parent or "")
        await self.certify(wanted, by, context, further_writes)
        self._authorities.add(await self._authorities.open(made[-1]))
        return made[-1]

    async def certify(
        self,
        wanted: CACertificate,
        issuer: Authority,
        context: RequestContext,
        extra: Callable[[Issued], tuple[Write, ...]],
    ) -> None:
        """Issue a certificate of a CA of ours down the one path.

        :param issuer: who signs; a root that signs itself has no certificate yet.
        :param extra: gives what is stored with it.
        :raises PKIError: what the profile refuses.
        """
        alias = _system_alias(issuer.name, wanted.profile, f"ca-{wanted.name}")
        request = self._request(
            alias, wanted.subject, wanted.public_key, (), context, end=wanted.not_after
        )
        if wanted.not_before is not None:
            requested = replace(request.requested, not_before=wanted.not_before)
            request = replace(request, requested=requested)
        await self._enrollment.enroll(
            request, _no_state, alias=alias, authority=issuer, extra=extra
        )

    def _above(self, parent: str | None) -> tuple[bytes, ...]:
        return () if parent is None else self._authorities.issuing(parent).chain_below

    async def issue_service_certificate(
        self, wanted: ServiceCertificate, context: RequestContext
    ) -> ServiceIdentity:
        """A certificate for the daemon itself, made anew only when it must be."""
        key = f"service-{wanted.name}"
        spki = await self._keys.generate(key, wanted.key_spec, wanted.purpose)
        self._authorities.add_key(spki)
        issuer = self._authorities.issuing(wanted.authority)
        current = await self._current(issuer, wanted, spki)
        if current is not None:
            return ServiceIdentity(current, issuer.chain_below)
        alias = _system_alias(wanted.authority, wanted.profile, _entity_of(wanted))
        known = await self._store.find_key_handle(key)

        def further_writes(_: Issued) -> tuple[Write, ...]:
            if known is not None:
                return ()
            now = self._clock.now()
            handle = _key_handle(key, wanted.purpose, wanted.key_spec, spki, now)
            return (InsertKeyHandle(handle),)

        request = self._request(
            alias, wanted.subject, spki, wanted.alternative_names, context
        )
        outcome = await self._enrollment.enroll(
            request, _no_state, alias=alias, extra=further_writes
        )
        if not isinstance(outcome, Issued):
            raise PKIError(ErrorCode.INTERNAL, "a service certificate must not wait")
        return ServiceIdentity(outcome.der, issuer.chain_below)

    async def prepare_message_identity(
        self, authority: str, context: RequestContext
    ) -> MessageIdentity:
        """Give an authority the identity that signs its protocol messages."""
        wanted = self._key_service(
            f"cmp-{authority}",
            authority,
            SIGNER_PROFILE,
            title="CMP signer",
            key_spec=_signer_spec(self._authorities.get(authority)),
            purpose="message-signing",
        )
        service = await self.issue_service_certificate(wanted, context)
        certificate = Certificate.decode(service.certificate)
        identity = MessageIdentity(
            signer=await self._keys.message_signer(f"service-{wanted.name}"),
            certificate=service.certificate,
            chain=service.chain,
            subject=certificate.subject,
            subject_key_id=_key_id(certificate),
        )
        self._authorities.set_identity(authority, identity)
        return identity

    async def prepare_own_identity(self, authority: str) -> MessageIdentity:
        """Open an authority's own key for messages: no certificate comes out of it."""
        record = await self._store.find_authority(authority)
        if record is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE, "the certification authority is not available"
            )
        certificate = Certificate.decode(record.certificate)
        identity = MessageIdentity(
            signer=await self._keys.message_signer(record.key, of_authority=True),
            certificate=record.certificate,
            chain=record.chain,
            subject=certificate.subject,
            subject_key_id=_key_id(certificate),
        )
        self._authorities.set_own_identity(authority, identity)
        return identity

    async def prepare_agreement_identity(
        self, authority: str, context: RequestContext
    ) -> AgreementIdentity:
        """Give an authority the identity that agrees upon keys with clients."""
        wanted = self._key_service(
            f"cmp-agreement-{authority}",
            authority,
            AGREEMENT_PROFILE,
            title="CMP key agreement",
            key_spec="ec:P-256",
            purpose="key-agreement",
        )
        service = await self.issue_service_certificate(wanted, context)
        identity = AgreementIdentity(
            key=await self._keys.key_agreement(f"service-{wanted.name}"),
            certificate=service.certificate,
            chain=service.chain,
        )
        self._authorities.set_agreement_identity(authority, identity)
        return identity

    async def prepare_kem_identity(
        self, authority: str, context: RequestContext
    ) -> KEMIdentity:
        """Give an authority the identity that opens what clients encapsulate."""
        wanted = self._key_service(
            f"cmp-kem-{authority}",
            authority,
            KEM_PROFILE,
            title="CMP key encapsulation",
            key_spec="ml-kem-768",
            purpose="decapsulation",
        )
        service = await self.issue_service_certificate(wanted, context)
        identity = KEMIdentity(
            key=await self._keys.decapsulation(f"service-{wanted.name}"),
            certificate=service.certificate,
            chain=service.chain,
        )
        self._authorities.set_kem_identity(authority, identity)
        return identity

    # --- parts -------------------------------------------------------------------

    def _key_service(
        self,
        name: str,
        authority: str,
        profile: str,
        *,
        title: str,
        key_spec: str,
        purpose: str,
    ) -> ServiceCertificate:
        """A service certificate named after its authority."""
        issuer = self._authorities.issuing(authority)
        common_name = _named(f"{authority} {title}")
        return ServiceCertificate(
            name=name,
            authority=authority,
            profile=profile,
            subject=Name.of([*issuer.subject.rdns[:-1], *common_name.rdns]),
            key_spec=key_spec,
            purpose=purpose,
        )

    async def _unsigned_root(
        self, new: NewAuthority, key: str, spki: bytes
    ) -> Authority:
        return Authority(
            name=new.name,
            subject=new.subject,
            certificate=b"",
            issuers=(),
            key=decode_spki(spki),
            bounds=None,
            signer=await self._keys.certificate_signer(key),
            status_signer=await self._keys.status_signer(key),
        )

    async def _current(
        self, issuer: Authority, wanted: ServiceCertificate, spki: bytes
    ) -> bytes | None:
        """A certificate of ours that still serves: same names, same key, young."""
        query = CertificateQuery(
            authority=issuer.name,
            entity=_entity_of(wanted),
            status=CertificateStatus.ACTIVE,
            limit=1,
        )
        now = self._clock.now()
        for record in await self._store.search_certificates(query):
            age = (now - record.not_before) / (record.not_after - record.not_before)
            octets = await self._store.get_certificate_der(record.reference)
            certificate = Certificate.decode(octets)
            names = subject_alternative_names(certificate)
            if (
                age < RENEW_AT
                and certificate.spki == spki
                and certificate.subject.matches(wanted.subject)
                and set(names) == set(wanted.alternative_names)
            ):
                return octets
        return None

    def _end(self, validity: timedelta | None) -> datetime | None:
        if validity is None:
            return None
        return self._clock.now().replace(microsecond=0) + validity

    def _request(
        self,
        alias: Alias,
        subject: Name,
        spki: bytes,
        names: tuple[GeneralName, ...],
        context: RequestContext,
        end: datetime | None = None,
    ) -> EnrollmentRequest:
        transaction_id = self._random(16)
        extensions = (subject_alternative_name(names),) if names else ()
        return EnrollmentRequest(
            alias=alias.name,
            context=replace(context, protocol=INTERNAL),
            requester=DAEMON,
            requested=RequestedCertificate(
                subject=subject,
                public_key=spki,
                extensions=extensions,
                not_after=end,
            ),
            possession=SystemPossession(),
            transaction=TransactionKey(
                INTERNAL, alias.name, DAEMON.identity, transaction_id
            ),
            request_hash=hashlib.sha256(transaction_id).digest(),
        )


async def _no_state(_: Outcome) -> bytes:
    return b""


def _signer_spec(issuer: Authority) -> str:
    """Key of what signs messages: post-quantum where the CA's is."""
    family = issuer.key.family
    return family if family.startswith("ml-dsa-") else "ec:P-256"


def _entity_of(wanted: ServiceCertificate) -> str:
    return f"service-{wanted.name}"


def _system_alias(authority: str, profile: str, entity: str) -> Alias:
    """The entrance of the daemon itself; no door leads to it."""
    return Alias(
        name="system",
        protocol=INTERNAL,
        authority=authority,
        certificate_profile=profile,
        name_rule=NameRule(scheme=NameScheme.FIXED, fixed=entity),
    )


def _named(common_name: str) -> Name:
    return Name.build([[("2.5.4.3", common_name)]])


def _key_id(certificate: Certificate) -> bytes:
    found = subject_key_identifier(certificate)
    if found is None:
        raise PKIError(ErrorCode.INTERNAL, "a certificate of ours without key id")
    return found


def _key_handle(
    name: str, purpose: str, spec: str, spki: bytes, now: datetime
) -> KeyHandleRecord:
    return KeyHandleRecord(
        name=name, purpose=purpose, spec=spec, public_key=spki, created=now
    )
