"""Put what relying parties fetch where they fetch it; from the outbox, later."""

from __future__ import annotations

from pkid.engine.ports import OutboxTask, Publisher, Store


async def publish_task(store: Store, publisher: Publisher, task: OutboxTask) -> None:
    """Carry out one outbox task; a task of an unknown kind is done by ignoring it.

    "crl": the latest CRL and the certificate of an authority.
    """
    if task.kind != "crl":
        return
    latest = await store.latest_crl(task.subject)
    if latest is not None:
        await publisher.put(f"crls/{task.subject}.crl", latest.der)
    authority = await store.find_authority(task.subject)
    if authority is not None:
        await publisher.put(f"certificates/{task.subject}.cer", authority.certificate)
