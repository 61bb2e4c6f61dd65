"""The certification authorities at work: certificate, chain, key handles.

An `Authority` is a frozen view of one CA with its opened key handles; `Authorities`
holds them all and the identities with which protocol messages are signed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate, basic_constraints
from pkid.crypto.publickeys import PublicKeyInfo
from pkid.engine.policy import IssuerBounds
from pkid.engine.ports import (
    CertificateSigner,
    Decapsulation,
    KeyAgreement,
    KeyStore,
    MessageSigner,
    StatusSigner,
    Store,
)
from pkid.engine.records import AuthorityPhase, AuthorityRecord
from pkid.errors import ErrorCode, PKIError


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """One CA, ready to issue.

    :ivar predecessor: name of the one whose key it replaces; "" for the first.
    :ivar certificate: its own certificate; b"" while a root signs itself.
    :ivar issuers: certificates above it, root last.
    :ivar links: of a root that took over: NewWithOld and OldWithNew.
    :ivar bounds: what its certificate allows; None while a root signs itself.
    """

    name: str
    predecessor: str = ""
    phase: AuthorityPhase = AuthorityPhase.CURRENT
    subject: Name
    certificate: bytes
    issuers: tuple[bytes, ...]
    links: tuple[bytes, ...] = ()
    key: PublicKeyInfo
    bounds: IssuerBounds | None
    signer: CertificateSigner
    status_signer: StatusSigner

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Its own certificate first, the root last."""
        return (self.certificate, *self.issuers)

    @property
    def chain_below(self) -> tuple[bytes, ...]:
        """What stands above the certificates it issues, the root last.

        NewWithOld comes before the new root: who knows the old root only finds a path
        too, and who sends a chain without its root sends the link.
        """
        return (*self.links[:1], *self.chain)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageIdentity:
    """What signs protocol messages in an authority's name.

    :ivar chain: above ``certificate``: issuing CA first, root last.
    """

    signer: MessageSigner
    certificate: bytes
    chain: tuple[bytes, ...]
    subject: Name
    subject_key_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementIdentity:
    """What agrees upon keys with clients in an authority's name.

    :ivar chain: above ``certificate``: issuing CA first, root last.
    """

    key: KeyAgreement
    certificate: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KEMIdentity:
    """What opens the encapsulations of clients in an authority's name.

    :ivar chain: above ``certificate``: issuing CA first, root last.
    """

    key: Decapsulation
    certificate: bytes
    chain: tuple[bytes, ...]


class Authorities:
    """All authorities of this daemon, by name.

    :ivar revision: rises with every authority that is put to work.
    """

    def __init__(self, store: Store, keys: KeyStore) -> None:
        self._store = store
        self._keys = keys
        self._by_name: dict[str, Authority] = {}
        self._successors: dict[str, str] = {}
        self._identities: dict[str, MessageIdentity] = {}
        self.revision = 0
        self._own_identities: dict[str, MessageIdentity] = {}
        self._agreements: dict[str, AgreementIdentity] = {}
        self._kems: dict[str, KEMIdentity] = {}
        self._own_keys: set[bytes] = set()

    async def load(self) -> None:
        """Open every stored authority that is active, and know our own keys."""
        self._own_keys.update(await self._store.own_keys())
        for record in await self._store.list_authorities():
            if record.active:
                self.add(await self.open(record))

    async def open(self, record: AuthorityRecord) -> Authority:
        """An authority at work from its record."""
        certificate = Certificate.decode(record.certificate)
        return Authority(
            name=record.name,
            predecessor=record.predecessor,
            phase=record.phase,
            subject=certificate.subject,
            certificate=record.certificate,
            issuers=record.chain,
            links=record.links,
            key=certificate.public_key_info,
            bounds=bounds_of(certificate),
            signer=await self._keys.certificate_signer(record.key),
            status_signer=await self._keys.status_signer(record.key),
        )

    def add(self, authority: Authority) -> None:
        """Put an opened authority to work."""
        self.revision += 1
        self._by_name[authority.name] = authority
        if authority.predecessor:
            self._successors[authority.predecessor] = authority.name

    def get(self, name: str) -> Authority:
        """The authority of that name.

        :raises PKIError: ``UNAVAILABLE``.
        """
        found = self._by_name.get(name)
        if found is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the certification authority is not available",
                hint=f"there is no active authority {name!r}: pkid ca list",
            )
        return found

    def issuing(self, name: str) -> Authority:
        """The one of that line that issues now: where an entrance leads.

        :raises PKIError: ``UNAVAILABLE``.
        """
        found = self.get(name)
        while found.phase is AuthorityPhase.FORMER:
            found = self.get(self._successors.get(found.name, ""))
        return found

    def successor(self, name: str) -> Authority | None:
        """The one that takes over from it, or has; None when there is none yet."""
        return self._by_name.get(self._successors.get(name, ""))

    def line(self, name: str) -> str:
        """Name of the first CA of a line: what the configuration calls all of them."""
        found = self._by_name.get(name)
        while found is not None and found.predecessor:
            name = found.predecessor
            found = self._by_name.get(name)
        return name

    def relatives(self, name: str) -> tuple[Authority, ...]:
        """All CAs of a line, the first of it first."""
        found = [self.get(self.line(name))]
        while (following := self.successor(found[-1].name)) is not None:
            found.append(following)
        return tuple(found)

    def find_by_subject(self, subject: Name) -> tuple[Authority, ...]:
        """The authorities with that name as their subject; a line shares one."""
        wanted = subject.canonical
        return tuple(
            one for one in self._by_name.values() if one.subject.canonical == wanted
        )

    def find_by_certificate(self, certificate: bytes) -> Authority | None:
        """The authority whose own certificate this is."""
        return next(
            (one for one in self._by_name.values() if one.certificate == certificate),
            None,
        )

    def names(self) -> tuple[str, ...]:
        """Names of all authorities at work."""
        return tuple(self._by_name)

    def anchors(self) -> tuple[bytes, ...]:
        """Certificates of all authorities at work."""
        return tuple(authority.certificate for authority in self._by_name.values())

    def add_key(self, public_key: bytes) -> None:
        """Know a key of ours, before anybody can ask for a certificate of it.

        :param public_key: SubjectPublicKeyInfo.
        """
        self._own_keys.add(public_key)

    def is_own_key(self, public_key: bytes) -> bool:
        """Whether this SubjectPublicKeyInfo is one of our own keys (ENG-14)."""
        return public_key in self._own_keys

    def set_identity(self, authority: str, identity: MessageIdentity) -> None:
        """Let this identity sign messages in the authority's name."""
        self._identities[authority] = identity

    def identity(self, authority: str) -> MessageIdentity:
        """What signs messages in the authority's name.

        :raises PKIError: ``UNAVAILABLE``.
        """
        found = self._identities.get(authority)
        if found is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the certification authority cannot sign messages",
                hint=f"authority {authority} has no message signer",
            )
        return found

    def set_own_identity(self, authority: str, identity: MessageIdentity) -> None:
        """Let the authority's own key sign messages where that is asked for."""
        self._own_identities[authority] = identity

    def own_identity(self, authority: str) -> MessageIdentity:
        """The authority's own key and certificate, for messages.

        :raises PKIError: ``UNAVAILABLE``.
        """
        found = self._own_identities.get(authority)
        if found is None:
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "the certification authority cannot sign messages",
                hint=f"the key of authority {authority} is not open for messages",
            )
        return found

    def set_agreement_identity(
        self, authority: str, identity: AgreementIdentity
    ) -> None:
        """Let this identity agree upon keys in the authority's name."""
        self._agreements[authority] = identity

    def find_agreement_identity(self, authority: str) -> AgreementIdentity | None:
        """What agrees upon keys in the authority's name, None when nothing does."""
        return self._agreements.get(authority)

    def set_kem_identity(self, authority: str, identity: KEMIdentity) -> None:
        """Let this identity open encapsulations in the authority's name."""
        self._kems[authority] = identity

    def find_kem_identity(self, authority: str) -> KEMIdentity | None:
        """What opens encapsulations in the authority's name, None when nothing does."""
        return self._kems.get(authority)


def bounds_of(certificate: Certificate) -> IssuerBounds:
    """What an issuer's certificate allows."""
    constraints = basic_constraints(certificate)
    return IssuerBounds(
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        path_length=None if constraints is None else constraints.path_length,
    )


def is_loopback_url(url: str) -> bool:
    """Whether a URL points at this host only."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
