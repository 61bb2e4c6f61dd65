"""What one enrolment over EST costs: on a kept, a resumed and a new TLS connection.

Run ``python -m benchmarks.est``; ``--write`` puts the table into docs/performance.md.

The client shows a certificate of this CA; server and device keys are P-256; requests
are made beforehand. The unit is CPU time of the server process with all its threads,
while sixteen clients ask at once: pkid authorizes, signs, audits and commits to disk
before it answers.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from tests.support.daemon import Daemon, running
from tests.support.estwire import ESTWire
from tests.support.processes import cpu_seconds, resident

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
MARKS = ("<!-- benchmarks.est -->", "<!-- end of benchmarks.est -->")
LANES = 16
ROUNDS = 3
IDLE = 1000
SUBJECT = "bench-device"
SETTINGS = (
    'est.alias.default = { authority = "issuing" }',
    "limits.connections_per_address=4000",
    'log.level="warn"',
)
Identity = tuple[Any, list[x509.Certificate]]


@dataclass(frozen=True, slots=True)
class Row:
    """CPU in µs an enrolment, and the target."""

    case: str
    cpu: float
    rate: float
    target: float


def request() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SUBJECT)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    return key, made.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def enrol_first(daemon: Daemon) -> Identity:
    est = daemon.credentials["est"]
    key, octets = request()
    with ESTWire(
        daemon.est.address, user=f"{est['username']}:{est['password']}"
    ) as wire:
        return key, [wire.ask("simpleenroll", octets).certificate]


def ask(wire: ESTWire, octets: bytes) -> None:
    status = wire.ask("simpleenroll", octets).status
    assert status == 200, status


def kept(daemon: Daemon, identity: Identity, requests: Sequence[bytes]) -> None:
    with ESTWire(daemon.est.address, identity=identity) as wire:
        for octets in requests:
            ask(wire, octets)


def new(daemon: Daemon, identity: Identity, requests: Sequence[bytes]) -> None:
    for octets in requests:
        with ESTWire(daemon.est.address, identity=identity) as wire:
            ask(wire, octets)


def new_1_2(daemon: Daemon, identity: Identity, requests: Sequence[bytes]) -> None:
    for octets in requests:
        with ESTWire(
            daemon.est.address, identity=identity, newest=SSL.TLS1_2_VERSION
        ) as wire:
            ask(wire, octets)


def resumed(daemon: Daemon, identity: Identity, requests: Sequence[bytes]) -> None:
    last = ESTWire(daemon.est.address, identity=identity)
    with last:
        # The ticket comes with the first answer.
        assert last.ask("cacerts").status == 200
    for octets in requests:
        with ESTWire(daemon.est.address, resumes=last) as wire:
            ask(wire, octets)
        last = wire


CASES: tuple[tuple[str, Callable[..., None], float], ...] = (
    ("kept connection", kept, 230),
    ("resumed, TLS 1.3", resumed, 900),
    ("new, full handshake, TLS 1.3", new, 1400),
    ("new, full handshake, TLS 1.2", new_1_2, 1400),
)


def measure(
    daemon: Daemon, identity: Identity, work: Callable[..., None], count: int
) -> tuple[float, float]:
    """CPU in µs an enrolment, and enrolments a second."""
    shares = [[request()[1] for _ in range(count // LANES)] for _ in range(LANES)]
    begin, wall = cpu_seconds(daemon.pid), time.monotonic()
    with ThreadPoolExecutor(LANES) as pool:
        for done in [pool.submit(work, daemon, identity, one) for one in shares]:
            done.result()
    number = sum(map(len, shares))
    spent = cpu_seconds(daemon.pid) - begin
    return spent / number * 1e6, number / (time.monotonic() - wall)


def idle(daemon: Daemon) -> float:
    """MiB that a thousand idle TLS connections take."""
    before = resident(daemon.pid)
    with ExitStack() as stack:
        for _ in range(IDLE):
            stack.enter_context(ESTWire(daemon.est.address))
        return (resident(daemon.pid) - before) / (1 << 20)


def run(count: int) -> tuple[list[Row], float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), settings=SETTINGS) as daemon,
    ):
        identity = enrol_first(daemon)
        measure(daemon, identity, kept, LANES * 4)
        rows = []
        for name, work, target in CASES:
            number = count if work is kept else count // 4
            found = [measure(daemon, identity, work, number) for _ in range(ROUNDS)]
            cpu = statistics.median(one[0] for one in found)
            rate = statistics.median(one[1] for one in found)
            rows.append(Row(name, cpu, rate, target))
        return rows, idle(daemon)


def table(rows: Sequence[Row], idle_mib: float) -> str:
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f}, {LANES} clients: `python -m benchmarks.est`."
        f" {IDLE} idle TLS connections took {idle_mib:.0f} MiB (target 80).",
        "",
        "| simpleenroll, P-256 | CPU, µs | target | a second, with its clients |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.case} | {row.cpu:.0f} | {row.target:.0f} | {row.rate:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def write(text: str) -> None:
    page = DOCUMENT.read_text("utf-8")
    begin, end = map(re.escape, MARKS)
    pattern = re.compile(f"({begin}\n).*?({end})", re.DOTALL)
    assert pattern.search(page), f"{DOCUMENT} has no marks {MARKS}"
    DOCUMENT.write_text(pattern.sub(lambda m: f"{m[1]}{text}{m[2]}", page), "utf-8")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args(arguments)
    text = table(*run(given.count))
    print(text)
    if given.write:
        write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
