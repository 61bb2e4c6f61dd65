"""Cost of the CMP codec against pyasn1, and where it goes.

Run ``python -m benchmarks.codec``. The unit is CPU time of one operation, the median
of rounds in which the candidates take turns, so that a busy machine moves all alike.
Certificates are where the comparison flatters us: pyasn1 takes them apart, our codec
hands them on whole, to be parsed by cryptography. The rows without certificates
(ir-pbm-req1, ir-pbm-req2, ir-pbm-rsp2) compare like with like. One message again and
again also finds its names and times remembered, which a stranger's first does not.
"""

from __future__ import annotations

import dataclasses
import gc
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc4210  # type: ignore[import-untyped]  # it has no types

from pkid.messages.cmp.body import encode_body
from pkid.messages.cmp.message import PKIMessage, decode_body, encode_message

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "cmp"
EXCHANGE = ("ir-pbm-req1", "ir-pbm-rsp1", "ir-pbm-req2", "ir-pbm-rsp2")
OTHERS = ("ir-sig-req1",)
ROUNDS = 41
TARGET = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Median CPU time of both codecs for one message, µs."""

    name: str
    size: int
    decode: float
    oracle_decode: float
    encode: float
    oracle_encode: float

    def line(self) -> str:
        return (
            f"{self.name:<12} {self.size:>5} "
            f"{self.decode:>8.1f} {self.oracle_decode:>8.0f} {self.factor:>6.0f}x "
            f"{self.encode:>8.1f} {self.oracle_encode:>8.0f} "
            f"{self.oracle_encode / self.encode:>6.0f}x"
        )

    @property
    def factor(self) -> float:
        return self.oracle_decode / self.decode


def median_costs(candidates: list[tuple[Callable[[], object], int]]) -> list[float]:
    """Median µs of each candidate, taking turns; the number says how often a turn."""
    taken: list[list[float]] = [[] for _ in candidates]
    for _ in range(ROUNDS):
        for samples, (operation, repeat) in zip(taken, candidates, strict=True):
            start = time.process_time_ns()
            for _ in range(repeat):
                operation()
            samples.append((time.process_time_ns() - start) / repeat / 1000)
    return [statistics.median(samples) for samples in taken]


def measure(name: str) -> Row:
    """Decode and encode one recorded message, whole, with both codecs."""
    octets = (VECTORS / f"{name}.der").read_bytes()
    message = PKIMessage.decode(octets)
    content = decode_body(message)
    body_type = message.body_type
    assert body_type is not None
    oracle, _ = decoder.decode(octets, asn1Spec=rfc4210.PKIMessage())

    def decode() -> object:
        return decode_body(PKIMessage.decode(octets))

    def encode() -> bytes:
        return encode_message(
            message.header.encode(),
            encode_body(body_type, content),
            protection=message.protection,
            extra_certs=message.extra_certs,
        )

    assert encode() == octets == encoder.encode(oracle)
    costs = median_costs(
        [
            (decode, 100),
            (lambda: decoder.decode(octets, asn1Spec=rfc4210.PKIMessage()), 2),
            (encode, 100),
            (lambda: encoder.encode(oracle), 2),
        ]
    )
    return Row(name, len(octets), costs[0], costs[1], costs[2], costs[3])


def total(rows: list[Row]) -> Row:
    """Sum rows: what a whole exchange costs."""
    return Row(
        "exchange",
        sum(row.size for row in rows),
        sum(row.decode for row in rows),
        sum(row.oracle_decode for row in rows),
        sum(row.encode for row in rows),
        sum(row.oracle_encode for row in rows),
    )


def main() -> int:
    gc.freeze()
    print("message      octets  decode   pyasn1          encode   pyasn1   (µs of CPU)")
    rows = [measure(name) for name in EXCHANGE]
    whole = total(rows)
    for row in (*rows, whole, *(measure(name) for name in OTHERS)):
        print(row.line())
    slow = [row.name for row in rows if row.factor < TARGET]
    print(f"target, each decoded {TARGET}x faster; missed by: {', '.join(slow) or '-'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
