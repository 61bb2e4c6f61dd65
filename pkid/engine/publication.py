"""Put what relying parties fetch where they fetch it; from the outbox, later."""

from __future__ import annotations

from pkid.asn1.cms.signed import encode_certs_only
from pkid.engine.crl import DELTA_TASK, FULL_TASK
from pkid.engine.crlplaces import crl_path
from pkid.engine.ports import OutboxTask, Publisher, Store


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
    if authority is not None and not delta:
        own = authority.certificate
        await publisher.put(f"certificates/{name}.cer", own)
        bundle = encode_certs_only(sorted((own, *authority.chain)))
        await publisher.put(f"certificates/{name}.p7c", bundle)
