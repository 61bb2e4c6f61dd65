"""What one enrolment over CMP costs, beside OpenSSL's mock server on the same machine.

Run ``python -m benchmarks.cmp``; ``--write`` puts the tables into docs/performance.md.

Both servers get the same messages in turns: PasswordBasedMac with 500 iterations and a
fresh salt each, as `openssl cmp` sends them, made and protected beforehand. The unit is
CPU time of the server process with all its threads. pkid authorizes, signs, audits and
commits to disk before it answers; the mock server gives one and the same certificate to
all, signs none and stores nothing. It closes the connection after each transaction, so
that pkid is measured on new connections too.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Address, Carrier, Flow, HTTPCarrier, Load, TCPCarrier
from benchmarks.load import single as single_flow
from benchmarks.store import Pump, close, measure, unit
from pkid.messages.cmp.body import BodyType
from pkid.storage.filestore import FileStore
from tests.support.cmpclient import Client, SignatureCredential, decode_answer
from tests.support.daemon import Daemon, running
from tests.support.mockserver import MockServer, mock_server
from tests.support.processes import cpu_seconds, resident
from tests.support.wires import DEFAULT_PATH

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
MARKS = ("<!-- benchmarks.cmp -->", "<!-- end of benchmarks.cmp -->")
ROUNDS = 3
CONCURRENCY = (1, 16, 64)
TARGET_RATIO = 1.0
IDLE_CONNECTIONS = 10_000
STORED = 100_000
LIMITS = (
    "limits.connections=20000",
    "limits.connections_per_address=20000",
    'log.level="warn"',
)
NEW = HTTPCarrier(DEFAULT_PATH, keep=False)
KEPT = HTTPCarrier(DEFAULT_PATH, keep=True)
RAW = TCPCarrier(keep=True)
MOCK = HTTPCarrier("/pkix/", keep=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One case under one load; CPU in µs, times in ms, memory in octets."""

    case: str
    server: str
    lanes: int
    cpu: float
    rate: float
    p50: float
    p99: float
    memory: int


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of exchange and what sends it.

    :ivar flows: makes fresh flows, each with a transaction of its own.
    """

    name: str
    server: str
    pid: int
    address: Address
    carrier: Carrier
    flows: Callable[[int], list[Flow]]

    def measure(self, lanes: int, count: int) -> Row:
        flows = self.flows(count)
        begin = cpu_seconds(self.pid)
        outcome = Load(self.address, self.carrier, lanes).run(flows)
        return Row(
            case=self.name,
            server=self.server,
            lanes=lanes,
            cpu=(cpu_seconds(self.pid) - begin) / count * 1e6,
            rate=outcome.rate,
            p50=outcome.percentile(0.5) * 1e3,
            p99=outcome.percentile(0.99) * 1e3,
            memory=resident(self.pid),
        )


# --- flows ------------------------------------------------------------------------


def check_granted(octets: bytes) -> None:
    assert decode_answer(octets).granted


def no_check(_octets: bytes) -> None:
    """For all but a few: decoding answers is not what is measured."""


def initial_flows(client: Client, count: int, body: BodyType = BodyType.IR) -> list:
    checks = [
        check_granted if number % 100 == 0 else no_check for number in range(count)
    ]
    return [single_flow(client.enrol(body_type=body).octets, check) for check in checks]


def signed_flows(client: Client, count: int, subject: str) -> list[Flow]:
    requests = [
        client.enrol(subject, body_type=BodyType.CR).octets for _ in range(count)
    ]
    return [single_flow(octets, check_granted) for octets in requests]


def confirmed_flow(client: Client, octets: bytes) -> Flow:
    """An ir and its certConf; the second is made while the server waits."""
    answer = decode_answer((yield octets))
    said = decode_answer((yield client.confirm(answer).octets))
    assert said.body_type is BodyType.PKICONF


def confirmed_flows(client: Client, count: int) -> list[Flow]:
    return [
        confirmed_flow(client, client.enrol(implicit_confirm=False).octets)
        for _ in range(count)
    ]


# --- servers ----------------------------------------------------------------------


def pkid_cases(daemon: Daemon) -> list[Case]:
    client = daemon.client()
    signer = signing_client(daemon, client)

    def case(name: str, carrier: Carrier, flows: Callable[[int], list[Flow]]) -> Case:
        door = daemon.tcp if carrier is RAW else daemon.http
        return Case(name, "pkid", daemon.pid, door.address, carrier, flows)

    def initial(count: int) -> list[Flow]:
        return initial_flows(client, count)

    return [
        case("ir, new connection", NEW, initial),
        case("ir, HTTP kept", KEPT, initial),
        case("ir, TCP kept", RAW, initial),
        case("ir + certConf", NEW, lambda count: confirmed_flows(client, count)),
        case(
            "cr, signed P-256", NEW, lambda count: signed_flows(signer, count, "CN=me")
        ),
    ]


def signing_client(daemon: Daemon, client: Client) -> Client:
    """A client with a certificate of pkid."""
    from cryptography import x509

    request = client.enrol("CN=me")
    with daemon.http_wire() as wire:
        answer = client.read(wire.exchange(request.octets), request)
    assert answer.certificate is not None
    certificate = x509.load_der_x509_certificate(answer.certificate)
    return Client(SignatureCredential(certificate, client.key))


def mock_cases(implicit: MockServer, explicit: MockServer) -> list[Case]:
    client = Client(implicit.credential, implicit.key)
    signer = Client(implicit.signature, implicit.key)
    confirming = Client(explicit.credential, explicit.key)

    def case(name: str, server: MockServer, flows: Callable[[int], list[Flow]]) -> Case:
        return Case(name, "mock", server.pid, server.address, MOCK, flows)

    return [
        case("ir, new connection", implicit, lambda n: initial_flows(client, n)),
        case("ir + certConf", explicit, lambda n: confirmed_flows(confirming, n)),
        case("cr, signed P-256", implicit, lambda n: signed_flows(signer, n, "CN=me")),
    ]


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[Case]]:
    program = shutil.which("openssl")
    if program is None:
        sys.exit("openssl is not installed")
    places = [folder / name for name in ("pkid", "implicit", "explicit")]
    for place in places:
        place.mkdir()
    with (
        running(places[0], settings=LIMITS) as daemon,
        mock_server(places[1], program, ["-grant_implicitconf"]) as implicit,
        mock_server(places[2], program) as explicit,
    ):
        yield [*pkid_cases(daemon), *mock_cases(implicit, explicit)]


def measure_cases(cases: list[Case], count: int, rounds: int) -> list[Row]:
    """Medians over rounds in which the cases take turns."""
    for case in cases:
        case.measure(4, max(20, count // 10))
    found: dict[tuple[str, str, int], list[Row]] = {}
    for number in range(rounds):
        for lanes in CONCURRENCY:
            for case in cases:
                row = case.measure(lanes, count)
                found.setdefault((row.case, row.server, lanes), []).append(row)
                print(f"\r{number + 1}/{rounds} {line(row)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return [median_row(rows) for rows in found.values()]


def median_row(rows: list[Row]) -> Row:
    def middle(name: str) -> float:
        return statistics.median(getattr(row, name) for row in rows)

    first = rows[0]
    return Row(
        case=first.case,
        server=first.server,
        lanes=first.lanes,
        cpu=middle("cpu"),
        rate=middle("rate"),
        p50=middle("p50"),
        p99=middle("p99"),
        memory=rows[-1].memory,
    )


# --- rest -------------------------------------------------------------------------


def measure_idle(folder: Path) -> tuple[int, int]:
    """Resident octets at rest, and with ten thousand connections that say nothing."""
    folder.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE_CONNECTIONS, hard - 500)
    with running(folder, settings=(*LIMITS, 'limits.idle="1h"')) as daemon:
        time.sleep(1)
        before = resident(daemon.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                made = socket.create_connection(daemon.tcp.address)
                stack.enter_context(contextlib.closing(made))
            with daemon.http_wire() as wire:
                assert wire.get("/livez").status == 200
            after = resident(daemon.pid)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return before, after


def measure_start(folder: Path, rows: int) -> tuple[float, float]:
    """Seconds to be ready with an empty store, and with a full one."""
    folder.mkdir()
    daemon = Daemon(folder, settings=LIMITS)
    daemon.start()
    daemon.stop()
    empty = daemon.start()
    daemon.stop()
    fill(daemon.state, rows)
    full = daemon.start()
    daemon.stop()
    return empty, full


def fill(state: Path, rows: int) -> None:
    pump = Pump()
    store = FileStore.open(state, call_in_reactor=pump.calls.put)
    for start in range(0, rows, 5000):
        units = [unit(number) for number in range(start, min(start + 5000, rows))]
        measure(store, pump, 512, units)
    close(store, pump)


# --- tables -----------------------------------------------------------------------

HEADINGS = (
    "| exchange | server | at once | CPU µs | ratio | per second | p50 ms | p99 ms | "
    "memory MiB |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)
PEERS = {"ir, HTTP kept": "ir, new connection", "ir, TCP kept": "ir, new connection"}


def line(row: Row, ratio: float | None = None) -> str:
    told = "" if ratio is None else f"{ratio:.2f}"
    return (
        f"| {row.case} | {row.server} | {row.lanes} | {row.cpu:.0f} | {told} | "
        f"{row.rate:.0f} | {row.p50:.1f} | {row.p99:.1f} | {row.memory >> 20} |"
    )


def ratios(rows: list[Row]) -> dict[tuple[str, int], float]:
    """pkid's CPU time over that of the mock server, by exchange and load."""
    mock = {(row.case, row.lanes): row.cpu for row in rows if row.server == "mock"}
    return {
        (row.case, row.lanes): row.cpu / mock[PEERS.get(row.case, row.case), row.lanes]
        for row in rows
        if row.server == "pkid"
    }


def table(rows: list[Row]) -> str:
    found = ratios(rows)
    lines = [
        line(row, found[row.case, row.lanes] if row.server == "pkid" else None)
        for row in sorted(rows, key=lambda row: (row.lanes, row.case, row.server))
    ]
    return "\n".join((HEADINGS, *lines))


def machine() -> str:
    model = ""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text()
        found = re.search(r"model name\s*: (.*)", text)
        model = found[1] if found else ""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (
        f"{os.cpu_count()} cores ({model}), {memory} GiB, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    )


def write(text: str) -> None:
    """Put the text between the marks, or at the end when there are none yet."""
    document = DOCUMENT.read_text("utf-8")
    before, mark, rest = document.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2] if mark else "\n"
    if not mark:
        before = before.rstrip("\n") + "\n\n"
    DOCUMENT.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", "utf-8")


def main() -> int:
    """Measure and print; fail above the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="exchanges a round")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--stored", type=int, default=STORED)
    parser.add_argument("--quick", action="store_true", help="no idle, no full store")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    parser.add_argument("--directory", type=Path, help="where; on the disk to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        folder = Path(name)
        (folder / "cases").mkdir()
        with servers(folder / "cases") as cases:
            rows = measure_cases(cases, given.count, given.rounds)
        told = [table(rows)]
        if not given.quick:
            told.append(rest_table(folder, given.stored))
    today = datetime.datetime.now(datetime.UTC).date()
    command = " ".join(("python -m benchmarks.cmp", *sys.argv[1:]))
    text = "\n\n".join((f"{today}, {machine()}: `{command}`", *told))
    print(text)
    if given.write:
        write(text)
    worst = max(value for (case, _), value in ratios(rows).items() if case[:3] == "ir,")
    print(f"worst ratio of an ir: {worst:.2f} (at most {TARGET_RATIO})")
    return 0 if worst <= TARGET_RATIO else 1


def rest_table(folder: Path, stored: int) -> str:
    idle, crowded = measure_idle(folder / "idle")
    empty, full = measure_start(folder / "start", stored)
    rows = (
        ("memory at rest", f"{idle / 2**20:.0f} MiB"),
        (
            f"memory with {IDLE_CONNECTIONS} idle connections",
            f"{crowded / 2**20:.0f} MiB",
        ),
        ("start, store empty", f"{empty:.2f} s"),
        (f"start, {stored} certificates in the store", f"{full:.2f} s"),
    )
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(("| | |\n| --- | ---: |", *lines))


if __name__ == "__main__":
    sys.exit(main())
