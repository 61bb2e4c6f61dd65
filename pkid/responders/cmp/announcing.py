"""crlann and ckuann from our CAs: what is new, told until each recipient has it.

What a recipient has is a row of its own in the store, so that a restart neither forgets
nor repeats.

**Source:** RFC 9810 sections 5.3.13 and 5.3.16; RFC 9811 section 3.5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from pkid.asn1.names import EMPTY, GeneralName
from pkid.engine.aliases import Alias
from pkid.engine.model import TransactionKey, TransactionRecord, TransactionStatus
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.announcements import (
    CAKeyUpdContent,
    CRLAnnContent,
    RootCaKeyUpdateContent,
)
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.header import CMP2021
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.requests import PROTOCOL, SIGNED, Addressing, RandomOctets

CRLANN: Final = "crlann"
CKUANN: Final = "ckuann"
ANNOUNCED: Final = (CRLANN, CKUANN)
#: How long it is remembered what a recipient has.
REMEMBERED: Final = timedelta(days=3650)

_ID_OCTETS: Final = 16


class Recipient(Protocol):
    """Somebody who is told."""

    def send(self, message: bytes) -> Awaitable[bytes]:
        """Give it a message.

        :raises PKIError: ``UNAVAILABLE`` unless it says that it has stored it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told what.

    :ivar url: names the recipient in the store.
    :ivar contents: from `ANNOUNCED`.
    """

    url: str
    recipient: Recipient
    authorities: tuple[str, ...]
    contents: tuple[str, ...] = ANNOUNCED


@dataclass(frozen=True, slots=True)
class _News:
    """One thing to be told.

    :ivar digest: of what is told: the same again is no news.
    """

    authority: str
    digest: bytes
    draft: Draft


class Announcer:
    """Tells recipients what is new."""

    def __init__(self, engine: Engine, clock: Clock, random: RandomOctets) -> None:
        self._engine = engine
        self._answers = Answers(engine, clock, random)
        self._clock = clock
        self._random = random
        self._sources: dict[str, Callable[[str], Awaitable[_News | None]]] = {
            CRLANN: self._crl,
            CKUANN: self._root_update,
        }

    async def announce(self, subscription: Subscription) -> int:
        """Tell one recipient what it does not have yet.

        :returns: how many announcements it took.
        :raises PKIError: ``UNAVAILABLE`` when it does not take one; it gets the same
            the next time.
        """
        told = 0
        for authority in subscription.authorities:
            for content in subscription.contents:
                news = await self._sources[content](authority)
                if news is not None and await self._tell(subscription, news):
                    told += 1
        return told

    async def _tell(self, subscription: Subscription, news: _News) -> bool:
        key = TransactionKey(PROTOCOL, "", f"announced:{subscription.url}", news.digest)
        if await self._engine.find_transaction(key) is not None:
            return False
        await subscription.recipient.send(await self._message(news))
        now = self._clock.now()
        await self._engine.begin(
            TransactionRecord(
                key=key,
                request_hash=news.digest,
                status=TransactionStatus.DONE,
                created=now,
                due=now + REMEMBERED,
            )
        )
        return True

    async def _message(self, news: _News) -> bytes:
        """The announcement, signed by the CA's CMP signer."""
        addressing = Addressing(
            pvno=CMP2021,
            recipient=GeneralName.directory(EMPTY),
            transaction_id=self._random(_ID_OCTETS),
            recip_nonce=None,
        )
        alias = CMPAlias(
            alias=Alias(
                name="announcement", protocol=PROTOCOL, authority=news.authority
            )
        )
        sealed = await self._answers.seal(alias, addressing, SIGNED, news.draft)
        return sealed.octets

    async def _crl(self, authority: str) -> _News | None:
        try:
            record = await self._engine.latest_crl(authority)
        except PKIError as error:
            if error.code is not ErrorCode.UNAVAILABLE:
                raise
            return None  # the next one is on its way
        return _News(
            authority,
            hashlib.sha256(record.der).digest(),
            Draft(body_type=BodyType.CRLANN, body=CRLAnnContent((record.der,))),
        )

    async def _root_update(self, authority: str) -> _News | None:
        """The successor of the root above an authority, once there is one.

        Also after it took over: whoever missed it then is told now.
        """
        for root in reversed(self._engine.rollover.published(authority)):
            found = self._engine.rollover.root_update(root)
            if found is not None:
                update = RootCaKeyUpdateContent(
                    new_with_new=found.new_with_new,
                    new_with_old=found.new_with_old,
                    old_with_new=found.old_with_new,
                )
                return _News(
                    authority,
                    hashlib.sha256(update.encode()).digest(),
                    Draft(body_type=BodyType.CKUANN, body=CAKeyUpdContent(update)),
                )
        return None
