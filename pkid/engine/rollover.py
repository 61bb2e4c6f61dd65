"""A CA changes its key, or gets a new certificate for the key that it has.

A new key makes a new authority of the same line: same subject, its own serial numbers,
CRL and URLs. It is handed out as NEXT until an operator lets it take over; the former
one issues no more and goes on signing its CRL. Two roots of a line are tied together
by link certificates, so that who knows one of them finds a path from the other.

**Source:** RFC 9810 section 4.4; ENG-03, ENG-04.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from pkid.crypto.certificates import Certificate
from pkid.engine import audit
from pkid.engine.authorities import Authorities, Authority
from pkid.engine.creation import CACertificate, Creation, NewAuthority
from pkid.engine.model import Issued, RequestContext
from pkid.engine.ports import Clock, Store
from pkid.engine.records import AuthorityPhase, AuthorityRecord
from pkid.engine.writes import UpdateAuthority, Write
from pkid.errors import ErrorCode, PKIError

LINK_PROFILE: Final = "ca-link"


@dataclass(frozen=True, slots=True)
class RootUpdate:
    """How a client gets from an old root to the new one (RootCaKeyUpdateContent)."""

    new_with_new: bytes
    new_with_old: bytes
    old_with_new: bytes


class Rollover:
    """Prepares successors, lets them take over, renews certificates of CAs."""

    def __init__(
        self,
        *,
        store: Store,
        authorities: Authorities,
        creation: Creation,
        clock: Clock,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._creation = creation
        self._clock = clock

    async def prepare(
        self, name: str, key_spec: str, context: RequestContext
    ) -> AuthorityRecord:
        """Make the next key of a CA and its certificates, or go on where that stopped.

        :param name: of any CA of the line.
        :param key_spec: of the new key; "" for one like the old.
        :raises PKIError: ``UNAVAILABLE`` for an unknown CA or one whose issuer is not
            here.
        """
        old = self._authorities.issuing(name)
        following = self._authorities.successor(old.name)
        if following is None:
            new = NewAuthority(
                name=self._next_name(old),
                subject=old.subject,
                key_spec=key_spec or await self._spec(old),
                parent=self._parent_of(old),
                predecessor=old.name,
            )
            await self._creation.create_authority(new, context)
            following = self._authorities.get(new.name)
        if not following.issuers and not following.links:
            await self._link(old, following, context)
        return await self._record(following.name)

    async def activate(
        self, name: str, actor: str, context: RequestContext
    ) -> AuthorityRecord:
        """Let the next CA of a line take over.

        :raises PKIError: ``CONFLICT`` when none was prepared.
        """
        old = self._authorities.issuing(name)
        following = self._authorities.successor(old.name)
        if following is None:
            raise PKIError(
                ErrorCode.CONFLICT,
                f"no successor of {old.name} was prepared",
                hint=f"pkid ca rollover {name}",
            )
        former = replace(await self._record(old.name), phase=AuthorityPhase.FORMER)
        current = replace(
            await self._record(following.name), phase=AuthorityPhase.CURRENT
        )
        await self._store.commit(
            UpdateAuthority(former, AuthorityPhase.CURRENT),
            UpdateAuthority(current, AuthorityPhase.NEXT),
            audit.of_action(
                self._clock.now(),
                "rollover",
                actor,
                context,
                audit.Facts(detail=f"{current.name} takes over from {former.name}"),
            ),
        )
        self._authorities.add(replace(old, phase=AuthorityPhase.FORMER))
        self._authorities.add(replace(following, phase=AuthorityPhase.CURRENT))
        return current

    async def renew(self, name: str, context: RequestContext) -> AuthorityRecord:
        """A new certificate for the key that a CA has, from whoever issues above now.

        :raises PKIError: ``UNAVAILABLE`` for one whose issuer is not here.
        """
        own = self._authorities.issuing(name)
        parent = self._parent_of(own)
        issuer = own if parent is None else self._authorities.issuing(parent)
        record = await self._record(own.name)
        made: list[AuthorityRecord] = []

        def replaced(issued: Issued) -> tuple[Write, ...]:
            chain = () if parent is None else issuer.chain_below
            made.append(replace(record, certificate=issued.der, chain=chain))
            return (UpdateAuthority(made[-1], record.phase),)

        wanted = CACertificate(
            name=own.name,
            subject=own.subject,
            public_key=own.key.spki,
            profile="root-ca" if parent is None else "sub-ca",
        )
        await self._creation.certify(wanted, issuer, context, replaced)
        self._authorities.add(await self._authorities.open(made[-1]))
        return made[-1]

    # --- what clients ask for ----------------------------------------------------

    def root_update(self, root: bytes) -> RootUpdate | None:
        """What leads from a root to its successor; None where there is none.

        :param root: DER of the root that a client knows.
        """
        known = self._authorities.find_by_certificate(root)
        following = None if known is None else self._authorities.successor(known.name)
        if following is None or len(following.links) != 2:
            return None
        return RootUpdate(following.certificate, *following.links)

    def next_chain(self, name: str) -> tuple[bytes, ...]:
        """Chain of the CA that will take over, its own certificate first; or empty."""
        following = self._authorities.successor(self._authorities.issuing(name).name)
        return () if following is None else following.chain

    def published(self, name: str) -> tuple[bytes, ...]:
        """All certificates of CAs that a client of a line may need.

        The chain in force first, then roots before and after it, with their links.
        """
        chain = self._authorities.issuing(name).chain_below
        found = dict.fromkeys(chain)
        found.update(dict.fromkeys(self.next_chain(name)))
        root = self._authorities.find_by_certificate(chain[-1])
        for relative in () if root is None else self._authorities.relatives(root.name):
            found.update(dict.fromkeys((relative.certificate, *relative.links)))
        return tuple(found)

    # --- parts -------------------------------------------------------------------

    async def _link(
        self, old: Authority, new: Authority, context: RequestContext
    ) -> None:
        """NewWithOld and OldWithNew; both are stored with the second."""
        record = await self._record(new.name)
        links: list[bytes] = []

        def first(issued: Issued) -> tuple[Write, ...]:
            links.append(issued.der)
            return ()

        def second(issued: Issued) -> tuple[Write, ...]:
            links.append(issued.der)
            linked = replace(record, links=tuple(links))
            return (UpdateAuthority(linked, record.phase),)

        begin, end = _validity(new)
        _, old_end = old_validity = _validity(old)
        new_with_old = _link_for(new, begin, min(end, old_end))
        await self._creation.certify(new_with_old, old, context, first)
        old_with_new = _link_for(old, *old_validity)
        await self._creation.certify(old_with_new, new, context, second)
        self._authorities.add(replace(new, links=tuple(links)))

    def _parent_of(self, own: Authority) -> str | None:
        """The CA above; None for a root.

        :raises PKIError: ``UNAVAILABLE`` when another PKI certified it.
        """
        if not own.issuers:
            return None
        for certificate in own.issuers:
            above = self._authorities.find_by_certificate(certificate)
            if above is not None:
                return above.name
        raise PKIError(
            ErrorCode.UNAVAILABLE,
            f"the issuer of {own.name} is not here",
            hint="its own PKI has to certify it",
        )

    def _next_name(self, old: Authority) -> str:
        line = self._authorities.line(old.name)
        generation = len(self._authorities.relatives(old.name)) + 1
        return f"{line}-{generation}"

    async def _spec(self, own: Authority) -> str:
        record = await self._record(own.name)
        handle = await self._store.find_key_handle(record.key)
        if handle is None:
            raise PKIError(ErrorCode.INTERNAL, "the key of an authority is not stored")
        return handle.spec

    async def _record(self, name: str) -> AuthorityRecord:
        record = await self._store.find_authority(name)
        if record is None:
            raise PKIError(ErrorCode.INTERNAL, "an authority at work is not stored")
        return record


def _link_for(subject: Authority, begin: datetime, end: datetime) -> CACertificate:
    return CACertificate(
        name=f"{subject.name}-link",
        subject=subject.subject,
        public_key=subject.key.spki,
        profile=LINK_PROFILE,
        not_before=begin,
        not_after=end,
    )


def _validity(authority: Authority) -> tuple[datetime, datetime]:
    certificate = Certificate.decode(authority.certificate)
    return certificate.not_before, certificate.not_after
