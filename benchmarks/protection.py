"""What a pair of messages costs under each kind of protection, and how much is crypto.

Run ``python -m benchmarks.protection``. A pair is a cr and its certConf, answered in
this process, on a store in memory: no socket, no disk. The unit is CPU time. Beside it
stands what the bare computations of the pair take on the same machine at the same time:
signatures made and verified, MAC keys derived. Ratios of the two hold on a busy machine
too, times do not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pkid.asn1.names import Name
from pkid.crypto.algorithms import PrivateKey, signature_algorithm_for
from pkid.crypto.mac import derive_mac_key
from pkid.crypto.signatures import sign, verify_signature
from pkid.engine.creation import NewAuthority
from pkid.keys.file import generate_private_key
from pkid.keys.signers import public_octets
from pkid.messages.cmp.body import BodyType
from pkid.messages.crmf import CertReqMsg, CertRequest, CertTemplate, POPOSigningKey
from pkid.responders.cmp.certification import certificate_hash
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk, desk_in, make_template
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    cert_conf,
    cert_requests,
    follow,
    message,
    pbm,
)

MEMORY = Path("/dev/shm")  # noqa: S108  as memory, not as a place for files
SUBJECT = "CN=device-1"
OCTETS = bytes(600)


@dataclass(frozen=True)
class Kind:
    """A kind of protection.

    :ivar spec: of every key in it: the client's, its new one, the CA's, the signer's.
    :ivar signed: else a MAC of 500 iterations protects.
    """

    name: str
    spec: str
    signed: bool


KINDS = (
    Kind("PasswordBasedMac, 500; P-256", "ec:P-256", signed=False),
    Kind("P-256", "ec:P-256", signed=True),
    Kind("RSA-2048", "rsa:2048", signed=True),
    Kind("Ed25519", "ed25519", signed=True),
    Kind("ML-DSA-44", "ml-dsa-44", signed=True),
    Kind("ML-DSA-65", "ml-dsa-65", signed=True),
    Kind("ML-DSA-87", "ml-dsa-87", signed=True),
)


def request_of(key: PrivateKey) -> CertReqMsg:
    """A request for a certificate of this key, possession proven by signature."""
    template = CertTemplate(
        subject=Name.from_text(SUBJECT).der, spki=public_octets(key.public_key())
    )
    request = CertRequest.build(0, template, ())
    algorithm = signature_algorithm_for(key.public_key())
    popo = POPOSigningKey(algorithm, sign(key, algorithm, request.der))
    return CertReqMsg(request, popo)


def prepare(desk: Desk, kind: Kind) -> By:
    """Make a CA of this kind of key, and somebody who asks it."""
    policies = desk.world.policies
    keys = (kind.spec.replace("rsa:2048", "rsa:2048-4096"),)
    profiles = {
        name: replace(profile, keys=(*profile.keys, *keys))
        for name, profile in policies.certificate_profiles.items()
    }
    desk.world.policies = replace(policies, certificate_profiles=profiles)
    subject = Name.from_text("CN=measured CA")
    new = NewAuthority(name="measured", subject=subject, key_spec=kind.spec)
    result_of(desk.world.engine.create_authority(new, CMP))
    result_of(desk.world.engine.prepare_message_identity("measured", CMP))
    desk.world.change_alias(authority="measured")
    secret = ByMAC()
    if not kind.signed:
        return secret
    key: Any = generate_private_key(kind.spec)
    body = cert_requests(request_of(key))
    opening = message(BodyType.CR, body, secret, general_info=(IMPLICIT,))
    answer = Answer.read(desk.reply(opening.octets).body)
    return BySignature(answer.certificate, key)


def pair(desk: Desk, kind: Kind, by: By) -> float:
    """CPU microseconds of one pair; what the client does is not counted."""
    if isinstance(by, ByMAC):
        by = replace(by, parameters=pbm())
    key = generate_private_key(kind.spec)
    body = cert_requests(request_of(key))
    exchange = desk.exchange(message(BodyType.CR, body, by).octets)
    spent, reply = timed(lambda: result_of(desk.responder.respond(exchange)))
    answer = Answer.read(reply.body)
    content = cert_conf(certificate_hash(answer.certificate))
    last = desk.exchange(follow(answer, BodyType.CERT_CONF, content, by).octets)
    more, reply = timed(lambda: result_of(desk.responder.respond(last)))
    assert Answer.read(reply.body).body_type is BodyType.PKICONF
    return spent + more


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU microseconds, and what came out."""
    begin = time.process_time_ns()
    result = work()
    return (time.process_time_ns() - begin) / 1000, result


def bare(kind: Kind, key: PrivateKey) -> float:
    """CPU microseconds of the computations in a pair.

    Signed: three verified (two messages, one proof of possession), three made (the
    certificate, two answers). Under a secret: one proof, one certificate, two keys.
    """
    algorithm = signature_algorithm_for(key.public_key())
    public = key.public_key()
    making, bits = timed(lambda: sign(key, algorithm, OCTETS))
    checking, _ = timed(lambda: verify_signature(public, algorithm, bits, OCTETS))
    if kind.signed:
        # An RSA signature of ours is verified before it leaves.
        again = 3 * checking if kind.spec.startswith("rsa") else 0.0
        return 3 * making + 3 * checking + again
    deriving, _ = timed(lambda: derive_mac_key(pbm(), b"a secret"))
    return making + checking + 2 * deriving


@contextmanager
def desk_of(kind: Kind) -> Iterator[tuple[Desk, By]]:
    """A responder on a new store."""
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        state = Path(folder) / "state"
        make_template(state)
        with desk_in(state) as desk:
            yield desk, prepare(desk, kind)


def measure(kind: Kind, count: int) -> tuple[float, float]:
    """Means: of the whole pair, and of the bare computations in it.

    Not medians: how long ML-DSA signs is a matter of luck.
    """
    pairs, bares = [], []
    with desk_of(kind) as (desk, by):
        key = generate_private_key(kind.spec)
        for number in range(count + 5):
            whole, part = pair(desk, kind, by), bare(kind, key)
            if number >= 5:
                pairs.append(whole)
                bares.append(part)
    return statistics.fmean(pairs), statistics.fmean(bares)


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=50, help="pairs of each kind")
    count = parser.parse_args().count
    lines = [
        "| protection | CPU µs a pair | of it bare crypto | whole to bare |",
        "| --- | ---: | ---: | ---: |",
    ]
    for kind in KINDS:
        whole, part = measure(kind, count)
        lines.append(
            f"| {kind.name} | {whole:.0f} | {part / whole:.0%} | {whole / part:.1f} |"
        )
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
