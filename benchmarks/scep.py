"""What one PKCSReq costs, RSA-2048 throughout: two signatures and one decryption.

Run ``python -m benchmarks.scep``.

CA, RA and device keys are RSA-2048 (the built-in profiles ask for 3072 of a CA; here it
is 2048, as the aim was set). Requests are made beforehand. The unit is CPU time of the
server process with all its threads, while sixteen clients ask at once: pkid verifies,
decrypts, checks the challenge, authorizes, signs, audits and commits to disk, and signs
and envelopes the answer before it leaves.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support import scepclient
from tests.support.daemon import Daemon, running
from tests.support.processes import cpu_seconds
from tests.support.scepclient import Envelope, Message
from tests.support.scepdaemon import Place

LANES = 16
ROUNDS = 3
AIM = 900
KEYS = '["rsa:2048-8192"]'
SETTINGS = (
    'keys.authority_key = "rsa:2048"',
    f"certificate_profile.root-ca.keys = {KEYS}",
    f"certificate_profile.sub-ca.keys = {KEYS}",
    'scep.alias.bench = { authority = "issuing", static_challenge = true }',
    'log.level = "warn"',
)


@dataclass(frozen=True, slots=True)
class Row:
    """CPU in µs a request, and how many of it are private-key operations."""

    case: str
    cpu: float
    rate: float
    signature: float


def requests(daemon: Daemon, count: int) -> list[bytes]:
    """Requests of one key for many names."""
    place = Place(daemon, "rsa", Path())
    key = scepclient.new_key()
    signer = scepclient.self_signed(key, "CN=bench")
    envelope = Envelope(recipient=place.speaker)
    mark = time.time_ns()
    return [
        Message(
            content=envelope.encode(
                scepclient.pkcs10(key, f"CN=bench-{mark}-{number}", place.challenge)
            ),
            key=key,
            certificate=signer,
        ).encode()
        for number in range(count)
    ]


def ask(daemon: Daemon, lane: Sequence[bytes]) -> None:
    """One client: all of its requests over one connection."""
    connection = http.client.HTTPConnection(*daemon.http.address, timeout=60)
    with closing(connection):
        for octets in lane:
            connection.request("POST", "/scep/bench?operation=PKIOperation", octets)
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 200 or len(body) < 1500:
                message = f"refused: {reply.status}, {len(body)} octets"
                raise RuntimeError(message)


def signature_cost() -> float:
    """CPU of one RSA-2048 signature here and now, in µs."""
    key = rsa.generate_private_key(65537, 2048)
    begin = time.thread_time()
    for _ in range(300):
        key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    return (time.thread_time() - begin) / 300 * 1e6


def measure(daemon: Daemon, count: int) -> Row:
    cpu, rate, signature = [], [], []
    for _ in range(ROUNDS):
        made = requests(daemon, count)
        signature.append(signature_cost())
        before, begin = cpu_seconds(daemon.pid), time.perf_counter()
        lanes = [made[number::LANES] for number in range(LANES)]
        with ThreadPoolExecutor(LANES) as pool:
            list(pool.map(ask, [daemon] * LANES, lanes))
        cpu.append((cpu_seconds(daemon.pid) - before) / count * 1e6)
        rate.append(count / (time.perf_counter() - begin))
    return Row(
        "PKCSReq",
        statistics.median(cpu),
        statistics.median(rate),
        statistics.median(signature),
    )


def table(row: Row) -> str:
    """Markdown."""
    return (
        "| case | µs of CPU | an RSA-2048 signature then | of it private keys | aim |"
        " seen a second |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
        f"| {row.case} | {row.cpu:.0f} | {row.signature:.0f} |"
        f" {3 * row.signature:.0f} | {AIM} | {row.rate:.0f} |\n"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1600, help="requests a round")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), settings=SETTINGS) as daemon,
    ):
        text = table(measure(daemon, given.count))
    print(text)


if __name__ == "__main__":
    main()
