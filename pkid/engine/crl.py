"""CRLs: joined from stored entries, signed by the CA, numbered upwards.

One list for all certificates of an authority, or several (partitions), each of which
may have delta CRLs beside it:

    full   7 ................... 12 ...        every crl_period
    delta     8 (7)   10 (7)     12 (7)   15 (12)  ...  (the base it builds on)

A list is due when its time has come, or when an entry changed after those that it
holds: that is asked of the store each time, so that no restart forgets it.

**Source:** RFC 5280 sections 3.3 and 5; ENG-31, SEC-78 to 80.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from twisted.internet.defer import DeferredLock

from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.crls import (
    assemble_crl,
    crl_number,
    delta_crl_indicator,
    encode_certificate_list,
    issuing_distribution_point,
)
from pkid.crypto.extensions import (
    DistributionPoint,
    authority_key_identifier,
    freshest_crl,
)
from pkid.engine import audit
from pkid.engine.aliases import AuthoritySettings, Policies
from pkid.engine.authorities import Authorities, Authority
from pkid.engine.crlplaces import crl_path
from pkid.engine.model import RequestContext
from pkid.engine.ports import Clock, Store, Workers
from pkid.engine.records import CRLEntries, CRLHead, CRLRecord
from pkid.engine.writes import Enqueue, InsertCRL
from pkid.errors import ErrorCode, PKIError

FULL_TASK: Final = "crl"
DELTA_TASK: Final = "delta-crl"
INTERNAL: Final = RequestContext(protocol="internal")
_DAEMON: Final = "system:daemon"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What one issue of one partition's CRLs is made of.

    :ivar base: the full CRL that the delta builds on.
    :ivar partitioned: whether the list has to say which certificates it covers.
    """

    authority: Authority
    settings: AuthoritySettings
    partition: int
    number: int
    this_update: datetime
    not_expired_at: datetime
    base: CRLHead | None
    partitioned: bool

    def place(self, *, delta: bool = False) -> GeneralName:
        """The URL of the list."""
        path = crl_path(self.authority.name, self.partition, delta=delta)
        return GeneralName.uri(f"{self.settings.public_url.rstrip('/')}/{path}")

    def next_update(self, *, delta: bool) -> datetime:
        """When the list ends: some time after the next one is due."""
        settings = self.settings
        if not delta or settings.delta_crl_period is None:
            return self.this_update + settings.crl_period + settings.crl_overlap
        overlap = min(settings.crl_overlap, settings.delta_crl_period)
        return self.this_update + settings.delta_crl_period + overlap

    def extensions(self, *, delta: bool) -> tuple[Extension, ...]:
        """Of the list."""
        found = [
            authority_key_identifier(self.authority.key.key_id),
            crl_number(self.number),
        ]
        if self.partitioned:
            # The same in the delta: it covers what its base covers (section 5.2.4).
            found.append(issuing_distribution_point((self.place(),)))
        if delta and self.base is not None:
            found.append(delta_crl_indicator(self.base.number))
        elif self.settings.delta_crl_period is not None:
            point = DistributionPoint(names=(self.place(delta=True),))
            found.append(freshest_crl((point,)))
        return tuple(found)


class RevocationLists:
    """Issues and hands out the CRLs of all authorities."""

    def __init__(
        self,
        *,
        store: Store,
        workers: Workers,
        authorities: Authorities,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._store = store
        self._workers = workers
        self._authorities = authorities
        self._policies = policies
        self._clock = clock
        self._locks: dict[str, DeferredLock] = {}
        self._latest: dict[tuple[str, int, bool], CRLRecord] = {}
        self._started: set[str] = set()

    # --- handing out -------------------------------------------------------------

    async def latest(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> CRLRecord:
        """The current CRL.

        :raises PKIError: ``UNAVAILABLE`` when there is none or it is overdue;
            ``NOT_FOUND`` for a partition or delta CRL that there never was.
        """
        head = await self._store.crl_head(authority, partition, delta=delta)
        if head is None and (partition or delta):
            raise PKIError(ErrorCode.NOT_FOUND, "there is no such CRL")
        if head is None or head.next_update < self._clock.now():
            raise PKIError(
                ErrorCode.UNAVAILABLE,
                "there is no current CRL",
                hint="pkid ca crl AUTHORITY; is the daemon's clock right?",
                retry_after=60,
            )
        key = (authority, partition, delta)
        known = self._latest.get(key)
        if known is None or known.number != head.number:
            known = await self._store.latest_crl(authority, partition, delta=delta)
            if known is None:
                raise PKIError(ErrorCode.NOT_FOUND, "there is no such CRL")
            self._latest[key] = known
        return known

    # --- what is due -------------------------------------------------------------

    async def refresh(self) -> int:
        """Make the CRLs that are due or whose entries changed; how many.

        The first time after a start every authority's list is made anew.
        """
        made = 0
        for name in self._authorities.names():
            settings = self._settings(name)
            last = max(settings.crl_partitions, await self._store.crl_partitions(name))
            for partition in range(last + 1):
                made += await self._refresh(name, partition, settings)
        return made

    async def _refresh(
        self, name: str, partition: int, settings: AuthoritySettings
    ) -> int:
        full = await self._store.crl_head(name, partition)
        now = self._clock.now()
        first = not partition and name not in self._started
        if first or full is None or full.this_update + settings.crl_period <= now:
            await self.issue(name, _DAEMON, INTERNAL, partition)
            return 1
        changed = await self._store.crl_revision(name, partition)
        if settings.delta_crl_period is None:
            if changed <= full.revision or now < full.this_update + settings.crl_delay:
                return 0
            await self.issue(name, _DAEMON, INTERNAL, partition)
            return 1
        delta = await self._store.crl_head(name, partition, delta=True)
        if not _delta_due(full, delta, changed, settings, now):
            return 0
        await self.issue(name, _DAEMON, INTERNAL, partition, delta=True)
        return 1

    def _settings(self, authority: str) -> AuthoritySettings:
        return self._policies().authority(self._authorities.line(authority))

    # --- issuing -----------------------------------------------------------------

    async def issue(
        self,
        authority: str,
        actor: str,
        context: RequestContext,
        partition: int = 0,
        *,
        delta: bool = False,
    ) -> CRLRecord:
        """Make, store and announce the next CRL.

        Its number is above every earlier one, also after a restored backup: it follows
        the clock where that is ahead. thisUpdate never goes back.

        :param delta: only the delta CRL; else the full one and, where there are delta
            CRLs, the one of the same number.
        :raises PKIError: ``UNAVAILABLE`` for an unknown authority or a key out of
            reach; ``BAD_REQUEST`` for a delta without its base.
        """
        lock = self._locks.setdefault(authority, DeferredLock())
        await lock.acquire()
        try:
            return await self._issue(authority, actor, context, partition, delta=delta)
        finally:
            lock.release()

    async def _issue(
        self,
        name: str,
        actor: str,
        context: RequestContext,
        partition: int,
        *,
        delta: bool,
    ) -> CRLRecord:
        plan = await self._plan(name, partition)
        if delta and plan.base is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "there is no full CRL to build on")
        full = None if delta else await self._make(plan, delta=False)
        with_delta = plan.settings.delta_crl_period is not None
        change = None
        if plan.base is not None and (delta or with_delta):
            change = await self._make(plan, delta=True)
        made = [one for one in (full, change) if one is not None]
        await self._announce(plan, made, actor, context)
        return made[0].record

    async def _plan(self, name: str, partition: int) -> _Plan:
        authority = self._authorities.get(name)
        settings = self._settings(name)
        record = await self._store.find_authority(name)
        full = await self._store.crl_head(name, partition)
        delta = await self._store.crl_head(name, partition, delta=True)
        last = await self._store.crl_partitions(name)
        now = self._clock.now().replace(microsecond=0)
        earlier = [one.this_update for one in (full, delta) if one is not None]
        number = 0 if record is None else record.crl_number
        # An entry stays until a list of after its certificate's end has held it, and
        # one period more (section 3.3): whoever misses one list does not miss it.
        kept = now if full is None else min(now, full.this_update)
        return _Plan(
            authority=authority,
            settings=settings,
            partition=partition,
            number=max(number + 1, int(now.timestamp())),
            this_update=max(now, *earlier) if earlier else now,
            not_expired_at=kept - settings.crl_period,
            base=full,
            partitioned=bool(last or partition or settings.crl_partitions),
        )

    async def _make(self, plan: _Plan, *, delta: bool) -> _Made:
        signer = plan.authority.status_signer
        after = plan.base.revision if delta and plan.base is not None else None
        tbs, entries = await self._workers.run(
            _assemble, self._store, plan, after, signer.algorithm
        )
        signature = await signer.sign_status(tbs)
        octets = await self._workers.run(
            _complete, plan.authority, tbs, signer.algorithm, signature
        )
        base = plan.base.number if delta and plan.base is not None else None
        record = CRLRecord(
            authority=plan.authority.name,
            partition=plan.partition,
            number=plan.number,
            base=base,
            this_update=plan.this_update,
            next_update=plan.next_update(delta=delta),
            revision=entries.revision,
            der=octets,
        )
        return _Made(record, entries.count)

    async def _announce(
        self, plan: _Plan, made: Sequence[_Made], actor: str, context: RequestContext
    ) -> None:
        name, partition = plan.authority.name, plan.partition
        subject = f"{name}/{partition}" if partition else name
        what = ", ".join(
            f"{'full' if one.record.base is None else 'delta'} {one.count} entries"
            for one in made
        )
        detail = f"number {plan.number}, {what}"
        first, *second = [one.record for one in made]
        await self._store.commit(
            InsertCRL(first, second[0] if second else None),
            *(
                Enqueue(FULL_TASK if one.base is None else DELTA_TASK, subject)
                for one in (first, *second)
            ),
            audit.of_action(
                self._clock.now(),
                "crl",
                actor,
                context,
                audit.Facts(certificate=subject, detail=detail),
            ),
        )
        if not partition:
            self._started.add(name)


@dataclass(frozen=True, slots=True)
class _Made:
    record: CRLRecord
    count: int


def _delta_due(
    full: CRLHead,
    delta: CRLHead | None,
    changed: int,
    settings: AuthoritySettings,
    now: datetime,
) -> bool:
    """Whether the next delta CRL is to be made."""
    last = full if delta is None or delta.number < full.number else delta
    if now.replace(microsecond=0) <= last.this_update:
        # Two lists of one time would have to say the same (section 5.2.3).
        return False
    period = settings.delta_crl_period or settings.crl_period
    if delta is None or last.this_update + period <= now:
        return True
    return changed > last.revision and now >= last.this_update + settings.crl_delay


def _assemble(
    store: Store, plan: _Plan, after: int | None, algorithm: AlgorithmIdentifier
) -> tuple[bytes, CRLEntries]:
    """Read the entries and join them; in a worker."""
    delta = after is not None
    entries = store.read_crl_entries(
        plan.authority.name,
        plan.partition,
        not_expired_at=plan.not_expired_at,
        after=after,
    )
    tbs = assemble_crl(
        plan.authority.subject.der,
        algorithm,
        plan.this_update,
        plan.next_update(delta=delta),
        entries.pieces,
        plan.extensions(delta=delta),
    )
    return tbs, CRLEntries((), entries.count, entries.revision)


def _complete(
    authority: Authority, tbs: bytes, algorithm: AlgorithmIdentifier, signature: bytes
) -> bytes:
    """The CRL, its signature checked: one check a list costs nothing."""
    authority.key.verify(algorithm, signature, tbs)
    return encode_certificate_list(tbs, algorithm, signature)
