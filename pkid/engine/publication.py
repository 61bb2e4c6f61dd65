"""Put what relying parties fetch where they fetch it; from the outbox, later.

Each publisher goes along the outbox by itself and remembers in the store how far it
came: one that fails is asked again, loses nothing, and holds nobody up. One that is new
gets all there is.

**Source:** ENG-34.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.asn1.cms.signed import encode_certs_only
from pkid.engine.crl import DELTA_TASK, FULL_TASK
from pkid.engine.crlplaces import crl_path
from pkid.engine.ports import Clock, OutboxTask, Publisher, Store
from pkid.engine.writes import AdvancePublisher, RetainPublishers
from pkid.errors import PKIError

SLICE: Final = 100
FIRST_WAIT: Final = 5.0
LONGEST_WAIT: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Pause:
    """A publisher that failed: when it is asked again, and what it said."""

    until: float
    seconds: float
    refusal: PKIError


class Publication:
    """Carries out what waits in the outbox."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._pauses: dict[str, _Pause] = {}

    async def retain(self, names: tuple[str, ...]) -> None:
        """Forget the publishers of former configurations: nobody waits for them."""
        await self._store.commit(RetainPublishers(names))

    async def publish(self, name: str, publisher: Publisher) -> int:
        """Tell one publisher what it does not know yet; how many tasks were done.

        :param name: stable: by it the publisher finds its place again.
        :raises PKIError: what the publisher refused with; also while it is left in
            peace before it is asked again, each time twice as long, up to
            `LONGEST_WAIT` seconds.
        """
        pause = self._pauses.get(name)
        if pause is not None and self._clock.monotonic() < pause.until:
            raise pause.refusal
        try:
            done = await self._publish(name, publisher)
        except PKIError as refusal:
            seconds = FIRST_WAIT
            if pause is not None:
                seconds = min(LONGEST_WAIT, pause.seconds * 2)
            until = self._clock.monotonic() + seconds
            self._pauses[name] = _Pause(until, seconds, refusal)
            raise
        self._pauses.pop(name, None)
        return done

    async def _publish(self, name: str, publisher: Publisher) -> int:
        position = await self._store.publisher_position(name)
        if position is None:
            head = await self._store.outbox_head()
            done = await self._publish_all(publisher)
            await self._store.commit(AdvancePublisher(name, head))
            return done
        tasks = await self._store.outbox(SLICE, after=position)
        # Of many lists of one authority the last is all that counts.
        latest = {(task.kind, task.subject): task for task in tasks}
        for task in latest.values():
            await publish_task(self._store, publisher, task)
        if tasks:
            await self._store.commit(AdvancePublisher(name, tasks[-1].id))
        return len(tasks)

    async def _publish_all(self, publisher: Publisher) -> int:
        done = 0
        for authority in await self._store.list_authorities():
            last = await self._store.crl_partitions(authority.name)
            for partition in range(last + 1):
                subject = f"{authority.name}/{partition}" if partition else ""
                for kind in (FULL_TASK, DELTA_TASK):
                    task = OutboxTask(0, kind, subject or authority.name)
                    await publish_task(self._store, publisher, task)
                    done += 1
        return done


async def publish_task(store: Store, publisher: Publisher, task: OutboxTask) -> None:
    """Carry out one outbox task; a task of an unknown kind is done by ignoring it.

    "crl" and "delta-crl": the latest CRL of an authority ("issuing") or of one of its
    partitions ("issuing/3"), and with it the authority's certificate,
    alone and with those above it.
    """
    if task.kind not in {FULL_TASK, DELTA_TASK}:
        return
    name, _, part = task.subject.partition("/")
    partition = int(part or 0)
    delta = task.kind == DELTA_TASK
    latest = await store.latest_crl(name, partition, delta=delta)
    if latest is not None:
        await publisher.put(crl_path(name, partition, delta=delta), latest.der)
    authority = await store.find_authority(name)
    if authority is not None and not delta and not partition:
        own = authority.certificate
        await publisher.put(f"certificates/{name}.cer", own)
        bundle = encode_certs_only(sorted((own, *authority.chain)))
        await publisher.put(f"certificates/{name}.p7c", bundle)
