"""Revocation passphrases: what revokes the certificates of an entity without its key.

A passphrase rests sealed like any other secret, under a reference that its owner chose
or the name of its entity. It is for revoking and for nothing else, and only the
certificates of the entity that set it.

**Source:** RFC 9810 section 5.3.19.9 and appendix B.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pkid.engine import audit, credentials
from pkid.engine.credentials import NewSecret
from pkid.engine.model import CredentialKind, RequestContext, Requester
from pkid.engine.ports import Clock, SecretBox, Store
from pkid.engine.writes import DeleteCredential, InsertCredential, Write
from pkid.errors import ErrorCode, PKIError


class Passphrases:
    """Keeps revocation passphrases."""

    def __init__(
        self,
        store: Store,
        box: SecretBox,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._box = box
        self._clock = clock
        self._random = random

    def keep(
        self,
        requester: Requester,
        passphrase: bytes,
        reference: str | None,
        context: RequestContext,
        alias: str,
    ) -> Deferred[None]:
        """Keep a passphrase; one that its entity set before is replaced.

        :param reference: under which it will be used; None takes the entity's name.
        :raises PKIError: ``NOT_AUTHORIZED`` for a requester that is no end entity,
            ``BAD_REQUEST`` for a reference of another or an empty passphrase.
        """
        return Deferred.fromCoroutine(
            self._keep(requester, passphrase, reference, context, alias)
        )

    async def _keep(
        self,
        requester: Requester,
        passphrase: bytes,
        reference: str | None,
        context: RequestContext,
        alias: str,
    ) -> None:
        entity = requester.entity
        if not entity:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "a passphrase belongs to an end entity: sign with its certificate",
                hint="or bind the secret to its entity: pkid secret add --entity NAME",
            )
        now = self._clock.now()
        new = NewSecret(
            kind=CredentialKind.REVOCATION,
            reference=reference or entity,
            secret=passphrase,
            alias=alias,
            entity=entity,
        )
        made = credentials.mint(new, box=self._box, now=now, random=self._random)
        known = await self._store.find_credential(
            CredentialKind.REVOCATION, made.credential.reference
        )
        writes: list[Write] = []
        if known is not None:
            if known.entity != entity:
                raise PKIError(ErrorCode.BAD_REQUEST, "choose another key identifier")
            writes.append(DeleteCredential(known.id))
        await self._store.commit(
            *writes,
            InsertCredential(made.credential),
            audit.of_action(
                now,
                "passphrase-set",
                requester.identity,
                context,
                audit.Facts(alias=alias, entity=entity),
            ),
        )
