"""The doors of all modes before another CA: which one takes a message, and the chore.

What nobody verifies here goes to `Relay` as it came; what was verified goes there too,
where the CA gets the device's own message, or to `RegistrationAuthority`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from twisted.logger import Logger

from pkid.engine.model import TransactionRecord
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.requests import Answered, RandomOctets, Request
from pkid.responders.cmp.upstream import Upstream
from pkid.responders.cmp.upstreamra import RegistrationAuthority
from pkid.responders.cmp.upstreamrelay import Passing, Relay

SLICE: Final = 50


class UpstreamDesk:
    """Everything that entrances before another CA do.

    :param upstreams: the CAs elsewhere by name, as configured at this moment.
    """

    _log = Logger()

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        upstreams: Callable[[], Mapping[str, Upstream]],
        clock: Clock,
        random: RandomOctets,
    ) -> None:
        self._engine = engine
        self._relay = Relay(engine, answers, upstreams, clock)
        self.registration = RegistrationAuthority(
            engine, answers, upstreams, clock, random
        )

    async def pass_on(self, passing: Passing) -> Answered:
        """Answer a message that is not verified here.

        :raises PKIError: for refusals that are answered by an error message.
        """
        return await self._relay.answer(passing)

    async def answer(self, request: Request) -> Answered:
        """Answer a message that was verified here.

        :raises PKIError: for refusals that are answered by an error message.
        """
        if not request.alias.relays:
            return await self.registration.answer(request)
        return await self._relay.answer(
            Passing(
                alias=request.alias,
                message=request.message,
                request_hash=request.request_hash,
                transaction_id=request.transaction_id,
                addressing=request.addressing,
                context=request.context,
            )
        )

    async def advance(self, aliases: Mapping[str, CMPAlias]) -> int:
        """Ask CAs elsewhere again for what waits for them; how much was looked at.

        :raises PKIError: `WriteConflict` when somebody else looked at it too.
        """
        due = await self._engine.elsewhere.due(SLICE)
        for record in due:
            alias = aliases.get(record.key.alias)
            if alias is None or not alias.alias.upstream:
                # Its entrance is gone, perhaps only for a moment.
                await self._engine.elsewhere.postpone(record)
                continue
            try:
                await self._advance(alias, record)
            except PKIError as error:
                if error.code is not ErrorCode.CONFLICT:
                    await self._postpone(record, error)
        return len(due)

    def _advance(self, alias: CMPAlias, record: TransactionRecord) -> Awaitable[object]:
        door = self._relay if alias.relays else self.registration
        return door.advance(alias, record)

    async def _postpone(self, record: TransactionRecord, error: PKIError) -> None:
        self._log.warn(
            "cmp {alias}: {detail} ({hint})",
            alias=record.key.alias,
            detail=error.detail,
            hint=error.hint or "",
        )
        await self._engine.elsewhere.postpone(record)
