"""SCEP challenges that are made one by one, for a page or a person.

A challenge is used once and lives for minutes. Those that a page gave out are counted,
as NDES counts them: whoever asks for many and uses none stops getting any.

**Source:** security requirements SCEP-45, SCEP-50.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pkid.engine.administration import Administration
from pkid.engine.credentials import IssuedSecret, NewSecret
from pkid.engine.model import (
    Credential,
    CredentialBinding,
    CredentialKind,
    RequestContext,
)
from pkid.engine.ports import Clock, Store
from pkid.engine.writes import DeleteCredential
from pkid.errors import ErrorCode, PKIError

#: How long a challenge that ran out is still known, to tell a late one from a guess.
REMEMBERED = timedelta(days=1)
SWEEP_SLICE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class PageChallenge:
    """A challenge to be made for a page.

    :ivar owner: identity of who asks; it owns what comes of the challenge.
    :ivar outstanding: how many challenges of the entrance may wait for their use.
    """

    secret: bytes = field(repr=False)
    alias: str
    owner: str
    validity: timedelta
    outstanding: int


class PageChallenges:
    """Makes challenges, and forgets those that are over."""

    def __init__(
        self, store: Store, administration: Administration, clock: Clock
    ) -> None:
        self._store = store
        self._administration = administration
        self._clock = clock

    async def mint(
        self, wanted: PageChallenge, context: RequestContext
    ) -> IssuedSecret:
        """Make one that is used once.

        :raises PKIError: ``BUSY`` when as many as may be wait for their use.
        """
        now = self._clock.now()
        found = [
            one
            for one in await self._store.list_credentials()
            if one.kind is CredentialKind.SCEP_CHALLENGE
            and one.alias == wanted.alias
            and one.binding.owner
        ]
        await self._forget(found, now)
        waiting = sum(_waits(one, now) for one in found)
        if waiting >= wanted.outstanding:
            raise PKIError(
                ErrorCode.BUSY,
                "the password cache is full: too many challenges wait for their use",
                hint=f"ndes_outstanding of [scep.alias.{wanted.alias}]",
                retry_after=60,
            )
        new = NewSecret(
            kind=CredentialKind.SCEP_CHALLENGE,
            secret=wanted.secret,
            alias=wanted.alias,
            uses=1,
            expires=now + wanted.validity,
            binding=CredentialBinding(owner=wanted.owner),
        )
        return await self._administration.add_secret(new, wanted.owner, context)

    async def _forget(self, found: Sequence[Credential], now: datetime) -> None:
        over = [
            DeleteCredential(one.id)
            for one in found
            if one.expires is not None and one.expires + REMEMBERED < now
        ]
        if over:
            await self._store.commit(*over[:SWEEP_SLICE])


def _waits(one: Credential, now: datetime) -> bool:
    return one.uses_left != 0 and (one.expires is None or one.expires > now)
