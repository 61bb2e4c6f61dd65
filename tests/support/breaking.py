"""Sends broken messages to a daemon and judges how it takes them."""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pkid.asn1 import der
from pkid.crypto.mac import MacKey, PBMParameters, derive_mac_key, encode_mac_parameters
from pkid.errors import PKIError
from pkid.messages.cmp.framing import (
    Framing,
    Record,
    RecordType,
    encode_request,
)
from tests.support.cmpclient import MacCredential, decode_answer
from tests.support.daemon import Daemon
from tests.support.mutator import Mutant
from tests.support.wires import HTTPWire, TCPWire

STALL_SECONDS: Final = 0.05
ATTEMPTS: Final = 5
Way = Literal["http", "rfc2510", "draft"]
WAYS: Final[tuple[Way, ...]] = ("http", "rfc2510", "draft")
FRAMINGS: Final = {"rfc2510": Framing.RFC2510, "draft": Framing.TCP_DRAFT}
TRANSACTION_ID: Final = bytes(range(0xA0, 0xB0))
#: 403 without a body: what has become an announcement is not answered by a message.
HTTP_STATUSES: Final = frozenset((200, 400, 403, 413, 500))


class Verdicts:
    """How answers were, counted."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, mutant: Mutant, octets: bytes) -> None:
        """Judge an answer that is a message.

        :raises AssertionError: when it brings a certificate, or is no CMP message.
        """
        try:
            answer = decode_answer(octets)
        except (PKIError, ValueError) as error:
            raise AssertionError(f"{mutant}: {error}: {octets.hex()}") from error
        assert answer.certificate is None, f"{mutant} got a certificate"
        bits = ",".join(sorted(bit.name for bit in answer.fail_info))
        body = answer.body_type.name if answer.body_type is not None else "?"
        self.counts[f"{body} {bits}".strip()] += 1


class Lane:
    """Carries mutants one way, on a connection that it opens again as needed."""

    def __init__(
        self, daemon: Daemon, way: Way, path: str, finish: Callable[[Mutant], bytes]
    ) -> None:
        self._daemon = daemon
        self._way = way
        self._path = path
        self._finish = finish
        self._wire: HTTPWire | TCPWire | None = None
        self.verdicts = Verdicts()

    def carry(self, mutant: Mutant) -> float:
        """Send one mutant.

        :returns: seconds until the answer, or until the connection was closed.
        :raises AssertionError: for anything but an answer or an orderly close.
        """
        try:
            if self._way == "http":
                return self._carry_http(mutant)
            return self._carry_tcp(mutant)
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"{mutant} over {self._way}: {error!r}") from error

    def _carry_http(self, mutant: Mutant) -> float:
        if not isinstance(self._wire, HTTPWire):
            self._wire = HTTPWire(self._daemon.http.address, self._path)
        octets = self._finish(mutant)
        begin = time.perf_counter()
        answer = self._wire.post(octets)
        taken = time.perf_counter() - begin
        assert answer.status in HTTP_STATUSES, f"{mutant}: {answer}"
        assert answer.status != 500 or answer.body[:1] == b"\x30", f"{mutant}: {answer}"
        assert answer.status != 403 or not answer.body, f"{mutant}: {answer}"
        if answer.headers.get("content-type") == "application/pkixcmp":
            self.verdicts.add(mutant, answer.body)
        else:
            self.verdicts.counts[f"status {answer.status}"] += 1
        if answer.headers.get("connection", "").lower() == "close":
            self.close()
        return taken

    def _carry_tcp(self, mutant: Mutant) -> float:
        if not isinstance(self._wire, TCPWire):
            self._wire = TCPWire(self._daemon.tcp.address)
        octets = encode_request(FRAMINGS[self._way], self._finish(mutant))
        begin = time.perf_counter()
        self._wire.send(octets)
        record = self._wire.receive()
        taken = time.perf_counter() - begin
        self._judge(mutant, record)
        if record is None or record.close:
            self.close()
        return taken

    def _judge(self, mutant: Mutant, record: Record | None) -> None:
        if record is None:
            self.verdicts.counts["closed"] += 1
        elif record.type is RecordType.PKI_REP:
            self.verdicts.add(mutant, record.value)
        elif record.type in {RecordType.ERROR_MSG_REP, RecordType.FIN_REP}:
            self.verdicts.counts[record.type.name] += 1
        else:
            raise AssertionError(f"{mutant}: {record}")

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class Probe:
    """A second client with a small question, asked all the time."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.latencies: list[float] = []
        self.failure = ""

    def __enter__(self) -> Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        try:
            with self._daemon.http_wire() as wire:
                while not self._stop.wait(0.005):
                    begin = time.perf_counter()
                    status = wire.get("/livez").status
                    self.latencies.append(time.perf_counter() - begin)
                    assert status == 200
        except (OSError, http.client.HTTPException, AssertionError) as error:
            self.failure = repr(error)

    def percentile(self, share: float) -> float:
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(len(found) * share))]


@dataclass(slots=True)
class Report:
    """What a run over many mutants showed.

    :ivar slow: mutants whose answer took longer than a stall may.
    """

    count: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    slow: list[tuple[Mutant, Way]] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{name}: {n}" for name, n in self.verdicts.most_common())
        return f"{self.count} mutants ({told}), {len(self.slow)} to be looked at again"


def as_it_is(mutant: Mutant) -> bytes:
    """Send a mutant without doing anything about it."""
    return mutant.octets


def break_over_every_way(
    daemon: Daemon,
    mutants: Iterable[Mutant],
    path: str,
    report: Report,
    finish: Callable[[Mutant], bytes] = as_it_is,
) -> None:
    """Send each mutant, a third of them each way, the ways side by side.

    :raises AssertionError: for the first that is not taken well.
    """
    shares: dict[Way, list[Mutant]] = {way: [] for way in WAYS}
    for number, mutant in enumerate(mutants):
        shares[WAYS[number % len(WAYS)]].append(mutant)

    def run(way: Way) -> None:
        with contextlib.closing(Lane(daemon, way, path, finish)) as lane:
            for mutant in shares[way]:
                if lane.carry(mutant) > STALL_SECONDS:
                    report.slow.append((mutant, way))
                report.count += 1
            report.verdicts += lane.verdicts.counts

    with ThreadPoolExecutor(len(WAYS)) as threads:
        for done in [threads.submit(run, way) for way in WAYS]:
            done.result()


def look_again(
    daemon: Daemon,
    path: str,
    report: Report,
    finish: Callable[[Mutant], bytes] = as_it_is,
) -> list[str]:
    """Mutants that are slow whenever they are sent: they, not the machine.

    :returns: what to tell of each.
    """
    found: list[str] = []
    for mutant, way in report.slow:
        lane = Lane(daemon, way, path, finish)
        best = min(lane.carry(mutant) for _ in range(ATTEMPTS))
        lane.close()
        if best > STALL_SECONDS:
            found.append(f"{mutant} over {way} takes {best * 1000:.0f} ms")
    return found


class Protector:
    """Protects mutants of header and body anew, so that they get past the MAC.

    :ivar parameters: the same for all, which lets the key be derived once.
    """

    def __init__(self, credential: MacCredential, salt: bytes) -> None:
        self.credential = replace(credential, salt=salt)
        parameters = PBMParameters(
            salt, credential.owf, credential.iterations, credential.mac
        )
        self._key: MacKey = derive_mac_key(parameters, credential.secret)
        self._algorithm = encode_mac_parameters(parameters).encode()
        self._kid = der.explicit(2, der.octet_string(credential.sender_kid))

    def protect(self, part: bytes) -> bytes:
        """The whole message of a ``ProtectedPart``, however broken."""
        mac = self._key.compute(part)
        bits = der.explicit(0, der.bit_string(mac))
        try:
            contents = der.single(part, der.SEQUENCE)
        except PKIError:
            return part + bits
        return der.sequence(contents, bits)

    def finish(self, mutant: Mutant) -> bytes:
        """The whole message of a mutated part, in a transaction of its own."""
        part = mutant.octets.replace(TRANSACTION_ID, os.urandom(16))
        return self.protect(part)

    def keeps_protection(self, mutant: Mutant) -> bool:
        """Whether a mutant names our secret and algorithm still.

        With the others the MAC is wrong, and after some of them the secret is locked.
        """
        return self._algorithm in mutant.octets and self._kid in mutant.octets
