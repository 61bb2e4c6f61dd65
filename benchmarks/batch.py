"""What 16 messages cost in one: nested batches, and several requests in a message.

Run ``python -m benchmarks.batch``. All in one process on a whole engine with its store
on disk, so that the unit is CPU time of the work itself without sockets. A batch of 16
may cost at most 16 times what one message costs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pkid.asn1 import oids
from pkid.messages.cmp.body import BodyType, CertRepMessage
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.messages.cmp.status import PKIStatus
from tests.engine.world import result_of
from tests.responders.desk import Desk, desk_in, make_template
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    message,
    new_key,
    signed_request,
)

MANY = 16
ROUNDS = 24
Make = Callable[[int], list[bytes]]


def one(number: int) -> Sent:
    """An ir with implicit confirmation."""
    wanted = signed_request(new_key(), f"CN=unit-{number}-{os.urandom(4).hex()}")
    return message(
        BodyType.IR, cert_requests(wanted), ByMAC(), general_info=(IMPLICIT,)
    )


def several(rounds: int) -> list[bytes]:
    """Each an ir with 16 requests."""
    return [
        message(
            BodyType.IR,
            cert_requests(
                *(
                    signed_request(
                        new_key(),
                        f"CN=part-{os.urandom(6).hex()}",
                        cert_req_id=number,
                    )
                    for number in range(MANY)
                )
            ),
            ByMAC(),
            general_info=(IMPLICIT,),
        ).octets
        for _ in range(rounds)
    ]


def alone(rounds: int) -> list[bytes]:
    """Each an ir by itself."""
    return [one(number).octets for number in range(rounds)]


def nested(authority: BySignature, count: int) -> Make:
    """Each ``count`` irs under the protection of a registration authority."""

    def make(rounds: int) -> list[bytes]:
        return [batch(authority, count) for _ in range(rounds)]

    return make


def batch(authority: BySignature, count: int) -> bytes:
    """One nested message; with one inside it is added protection."""
    inner = [one(number) for number in range(count)]
    header: dict[str, Any] = {}
    if count == 1:
        header = {
            "transaction_id": inner[0].transaction_id,
            "sender_nonce": inner[0].sender_nonce,
        }
    content = NestedMessageContent(tuple(sent.octets for sent in inner))
    return message(BodyType.NESTED, content, authority, **header).octets


def cost(desk: Desk, messages: list[bytes]) -> float:
    """Median CPU seconds of a message."""
    spent = []
    for octets in messages:
        begun = time.process_time()
        reply = result_of(desk.responder.respond(desk.exchange(octets)))
        spent.append(time.process_time() - begun)
        check(Answer.read(reply.body))
    return statistics.median(spent)


def check(answer: Answer) -> None:
    """Whatever was asked for was granted."""
    body = answer.body
    if isinstance(body, NestedMessageContent):
        for octets in body.messages:
            check(Answer.read(octets))
        return
    assert isinstance(body, CertRepMessage), answer.body_type
    granted = {PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS}
    assert all(one.status.status in granted for one in body.responses)


def registration_authority(desk: Desk) -> BySignature:
    """One that the alias lists."""
    desk.world.change_profile("device", extended_key_usage=(oids.ID_KP_CMC_RA,))
    holder = desk.holder(subject="CN=ra-1")
    desk.world.change_profile("device", extended_key_usage=(oids.ID_KP_CLIENT_AUTH,))
    desk.world.change_alias(registration_authorities=("CN=ra-1",))
    return holder


def measure(directory: Path, rounds: int) -> list[tuple[str, float, float]]:
    """Name, microseconds, and the ratio to 16 of the single ones."""
    make_template(directory)
    with desk_in(directory) as desk:
        authority = registration_authority(desk)
        cost(desk, alone(rounds))  # the first ones pay for caches
        single = cost(desk, alone(rounds))
        added = cost(desk, nested(authority, 1)(rounds))
        batched = cost(desk, nested(authority, MANY)(rounds))
        grouped = cost(desk, several(rounds))
    return [
        ("ir", single, 1.0),
        ("nested { ir }", added, added / single),
        (f"nested {{ {MANY} ir }}", batched, batched / (MANY * single)),
        (f"ir with {MANY} requests", grouped, grouped / (MANY * single)),
    ]


def main() -> int:
    """Measure and print; 1 when a batch costs more than its messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        rows = measure(Path(directory) / "state", rounds)
    sys.stdout.write(
        "| message | µs of CPU | to as many irs |\n| --- | ---: | ---: |\n"
    )
    for name, seconds, ratio in rows:
        sys.stdout.write(f"| {name} | {seconds * 1e6:.0f} | {ratio:.2f} |\n")
    return 0 if all(ratio <= 1.0 for name, _, ratio in rows if "16" in name) else 1


if __name__ == "__main__":
    sys.exit(main())
