"""``pkid verify-audit``: the chain of the audit, and the signatures over its heads.

Every record is hashed again over the one before it; every checkpoint must name a record
of the chain and be signed by a key of ours.

**Source:** SEC-105, ENG-40.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pkid.app.client import run_now
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.publickeys import PublicKeyInfo, decode_spki
from pkid.engine.audit import checkpoint_octets
from pkid.engine.records import AuditRecord
from pkid.engine.writes import InsertAuditCheckpoint
from pkid.errors import PKIError
from pkid.storage.reads import StoreReads
from pkid.storage.rows import encode_event
from pkid.storage.writes import FIRST_DIGEST, chain

MOST_FAULTS = 100


@dataclass(slots=True)
class AuditReport:
    """What was found.

    :ivar records: how many were read.
    :ivar head: digest of the last one.
    :ivar checkpoints: how many signatures were checked.
    """

    records: int = 0
    head: bytes = FIRST_DIGEST
    checkpoints: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, fault: str) -> None:
        """Note a fault, up to a bound."""
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)


def verify_audit(store: StoreReads) -> AuditReport:
    """Check the whole audit of a store that is opened for reading.

    Cost: reads every record, some microseconds each.
    """
    report = AuditReport()
    checkpoints = {one.sequence: one for one in run_now(store.audit_checkpoints())}
    keys = run_now(_keys(store))
    records = store.audit_records()
    while True:
        try:
            record: AuditRecord = run_now(anext(records))
        except StopAsyncIteration:
            break
        _check_record(record, report)
        checkpoint = checkpoints.pop(record.sequence, None)
        if checkpoint is not None:
            _check_checkpoint(checkpoint, record, keys, report)
    for sequence in checkpoints:
        report.add(f"record {sequence} was signed and is not there")
    return report


def _check_record(record: AuditRecord, report: AuditReport) -> None:
    if record.sequence != report.records + 1:
        report.add(f"record {report.records + 1} is missing")
    if chain(report.head, encode_event(record.event)) != record.digest:
        report.add(f"record {record.sequence} was changed, or the one before it")
    report.records = record.sequence
    report.head = record.digest


def _check_checkpoint(
    checkpoint: InsertAuditCheckpoint,
    record: AuditRecord,
    keys: Sequence[PublicKeyInfo],
    report: AuditReport,
) -> None:
    report.checkpoints += 1
    if checkpoint.digest != record.digest:
        report.add(f"record {record.sequence} is not the one that was signed")
        return
    octets = checkpoint_octets(checkpoint.sequence, checkpoint.digest, checkpoint.at)
    if not any(_is_signed(key, checkpoint.signature, octets) for key in keys):
        report.add(f"the signature over record {record.sequence} is not ours")


def _is_signed(key: PublicKeyInfo, signature: bytes, octets: bytes) -> bool:
    try:
        key.verify(signature_algorithm_for(key.load()), signature, octets)
    except PKIError:
        return False
    return True


async def _keys(store: StoreReads) -> list[PublicKeyInfo]:
    """The message signers of all authorities: they sign the heads."""
    found = []
    for authority in await store.list_authorities():
        handle = await store.find_key_handle(f"service-cmp-{authority.name}")
        if handle is not None:
            found.append(decode_spki(handle.public_key))
    return found
