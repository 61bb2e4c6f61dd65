"""What a durable issuance costs: group commit at several depths, and the start.

Run ``python -m benchmarks.store``. A unit is what one enrolment stores: certificate,
transaction with its answer, audit record and outbox task, in one commit. Rates depend
on the disk of this machine; quote the ratios, and the CPU time.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import CertificateQuery
from pkid.engine.records import AuditEvent
from pkid.engine.writes import (
    AppendAudit,
    Enqueue,
    InsertCertificate,
    InsertTransaction,
    Write,
)
from pkid.storage.filestore import FileStore

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
YEAR = datetime.timedelta(days=365)
DEPTHS = (1, 4, 16, 64, 256)
DER = os.urandom(700)
ANSWER = os.urandom(1200)
TARGET_RATIO = 10
TARGET_OPEN_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One depth: durable units a second, and CPU time of a unit in µs.

    ``front`` is the part of it that the calling thread spends.
    """

    depth: int
    rate: float
    cpu: float
    front: float

    def line(self) -> str:
        return f"{self.depth:>9} {self.rate:>10.0f} {self.cpu:>9.1f} {self.front:>9.1f}"


def unit(number: int) -> tuple[Write, ...]:
    """The writes of one enrolment; made beforehand, they are not what is measured."""
    moment = START + datetime.timedelta(milliseconds=number)
    serial = (number + 1) << 88 | int.from_bytes(os.urandom(10), "big")
    reference = CertificateReference("issuing", serial)
    name = f"device-{os.urandom(4).hex()}"
    subject = f"CN={name},O=Example"
    record = CertificateRecord(
        reference=reference,
        subject=subject,
        fingerprint=os.urandom(32),
        spki_hash=os.urandom(32),
        subject_key_id=os.urandom(20),
        entity=name,
        profile="device",
        alias="default",
        protocol="cmp",
        requester="secret:fleet",
        not_before=moment,
        not_after=moment + YEAR,
        issued_at=moment,
    )
    transaction = TransactionRecord(
        key=TransactionKey("cmp", "default", "secret:fleet", os.urandom(16)),
        request_hash=os.urandom(32),
        status=TransactionStatus.DONE,
        created=moment,
        due=moment + YEAR,
        certificate=reference,
        state=ANSWER,
    )
    event = AuditEvent(
        at=moment,
        action="issue",
        outcome="issued",
        actor="secret:fleet",
        protocol="cmp",
        alias="default",
        transport="http",
        peer="192.0.2.17",
        transaction=transaction.key.transaction_id.hex(),
        certificate=str(reference),
        entity=name,
        subject=subject,
        rule="profile device",
    )
    return (
        InsertCertificate(record, DER),
        InsertTransaction(transaction),
        AppendAudit(event),
        Enqueue("certificate", str(reference)),
    )


class Pump:
    """Stands for the reactor: runs what the commit thread hands over."""

    def __init__(self) -> None:
        self.calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def turn(self) -> None:
        self.calls.get(timeout=60)()


def measure(store: FileStore, pump: Pump, depth: int, units: list) -> Row:
    """Commit all units, ``depth`` of them in flight."""
    done = 0

    def count(_: object) -> None:
        nonlocal done
        done += 1

    sent = 0
    wall, cpu, front = time.perf_counter(), time.process_time(), time.thread_time()
    while done < len(units):
        while sent < len(units) and sent - done < depth:
            store.commit(*units[sent]).addCallback(count)
            sent += 1
        pump.turn()
    count_of = len(units)
    return Row(
        depth=depth,
        rate=count_of / (time.perf_counter() - wall),
        cpu=(time.process_time() - cpu) / count_of * 1e6,
        front=(time.thread_time() - front) / count_of * 1e6,
    )


def measure_depths(directory: Path, *, rounds: int) -> list[Row]:
    """Medians of rounds in which the depths take turns."""
    pump = Pump()
    store = FileStore.open(directory, call_in_reactor=pump.calls.put)
    number = 0
    taken: dict[int, list[Row]] = {depth: [] for depth in DEPTHS}
    for _ in range(rounds):
        for depth in DEPTHS:
            units = [unit(number + each) for each in range(10 * depth + 50)]
            number += len(units)
            taken[depth].append(measure(store, pump, depth, units))
    close(store, pump)
    return [median_row(rows) for rows in taken.values()]


def median_row(rows: list[Row]) -> Row:
    return Row(
        depth=rows[0].depth,
        rate=statistics.median(row.rate for row in rows),
        cpu=statistics.median(row.cpu for row in rows),
        front=statistics.median(row.front for row in rows),
    )


def signature_cost() -> float:
    """µs of one P-256 signature: what other machines' figures are compared by."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = time.thread_time()
    for _ in range(500):
        key.sign(DER, ec.ECDSA(hashes.SHA256()))
    return (time.thread_time() - start) / 500 * 1e6


def close(store: FileStore, pump: Pump) -> None:
    closed: list[object] = []
    store.close().addBoth(closed.append)
    while not closed:
        pump.turn()


def measure_size(directory: Path, rows: int) -> tuple[float, float, float]:
    """Seconds to open a store of that many certificates; µs of two look-ups."""
    pump = Pump()
    store = FileStore.open(directory, call_in_reactor=pump.calls.put)
    filled = 0
    while filled < rows:
        units = [unit(each) for each in range(filled, min(filled + 5000, rows))]
        measure(store, pump, 512, units)
        filled += len(units)
    close(store, pump)
    start = time.perf_counter()
    store = FileStore.open(directory)
    opened = time.perf_counter() - start
    page = run(store.search_certificates(CertificateQuery(limit=500)))
    by_serial = average(lambda each: store.find_certificate(each.reference), page * 4)
    by_fingerprint = average(
        lambda each: store.find_certificate_by_fingerprint(each.fingerprint), page * 4
    )
    store.close()
    return opened, by_serial, by_fingerprint


def run(coroutine):  # noqa: ANN001, ANN201 - a coroutine that does not suspend
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a read suspended")


def average(read: Callable, records: list) -> float:
    start = time.process_time()
    for record in records:
        run(read(record))
    return (time.process_time() - start) / len(records) * 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--gate", action="store_true", help="fail below the targets; a quiet machine"
    )
    parser.add_argument("--rows", type=int, default=100_000, help="size of the store")
    parser.add_argument("--directory", type=Path, help="where; on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        table = measure_depths(Path(folder) / "depths", rounds=arguments.rounds)
        print("in flight    units/s    CPU µs  front µs")
        for row in table:
            print(row.line())
        print(f"for comparison, one P-256 signature: {signature_cost():.1f} µs")
        by_depth = {row.depth: row.rate for row in table}
        ratio = by_depth[64] / by_depth[1]
        print(
            f"64 in flight: {ratio:.1f} times single commits (at least {TARGET_RATIO})"
        )
        opened, serial, fingerprint = measure_size(
            Path(folder) / "size", arguments.rows
        )
        print(f"open with {arguments.rows} certificates: {opened:.3f} s")
        print(f"look-up by serial {serial:.1f} µs, by fingerprint {fingerprint:.1f} µs")
    met = ratio >= TARGET_RATIO and opened < TARGET_OPEN_SECONDS
    return 1 if arguments.gate and not met else 0


if __name__ == "__main__":
    sys.exit(main())
