"""Broken SCEP messages by the ten thousand: always an answer, never a certificate."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from twisted.logger import LogLevel, globalLogPublisher

from pkid.asn1 import der, oids
from pkid.messages.scep import PKIMessage
from tests.engine.world import World
from tests.responders.scepdesk import SCEPDesk, known_key
from tests.support import scepclient
from tests.support.mutator import Mutant, Mutator, Specimen

pytestmark = pytest.mark.robustness

SEED = 20261123
COUNT = 10_000
MEMORY = Path("/dev/shm")
#: Nothing may be issued, so no message knows the right challenge.
WRONG = "not the challenge"


@pytest.fixture(scope="module")
def scep() -> Iterator[SCEPDesk]:
    where = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        world = World(Path(name) / "state")
        try:
            world.first_start()
            desk = SCEPDesk(world)
            desk.settings.update(
                allow_sha1=True, allow_des3=True, allow_des=True, allow_md5=True
            )
            desk.challenge()
            yield desk
        finally:
            world.close()
            shutil.rmtree(name, ignore_errors=True)


class Surprises:
    """Counts what the log calls an error."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: Any) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            text = "" if failure is None else failure.getTraceback()
            self.found.append(f"{event.get('log_format')} {text}")


def verdict(status: int, body: bytes) -> str:
    """What an answer says: HTTP status, or pkiStatus and failInfo."""
    if status != 200:
        return str(status)
    attributes = {
        one.oid: one.values[0]
        for one in PKIMessage.decode(body).signer.signed_attributes
    }
    parts = [
        der.single(attributes[oid], attributes[oid][0]).decode()
        for oid in (oids.ID_SCEP_PKI_STATUS, oids.ID_SCEP_FAIL_INFO)
        if oid in attributes
    ]
    return ",".join(parts)


def run(scep: SCEPDesk, messages: Iterator[tuple[Mutant, bytes]]) -> Counter[str]:
    """Send them; no surprise, no certificate, no other answer than a refusal."""
    surprises, verdicts = Surprises(), Counter[str]()
    before = len(scep.issued())
    globalLogPublisher.addObserver(surprises)
    try:
        for mutant, octets in messages:
            reply = scep.post(octets)
            found = verdict(reply.status, reply.body)
            verdicts[found] += 1
            assert found[0] in "24", f"{mutant}: {found}"
            assert not surprises.found, f"{mutant}: {surprises.found[0]}"
    finally:
        globalLogPublisher.removeObserver(surprises)
    assert len(scep.issued()) == before
    assert sum(verdicts.values()) > 0
    print(f"\nseed {SEED}: {dict(verdicts)}")
    return verdicts


def held(scep: SCEPDesk) -> x509.Certificate:
    name = f"CN=held-{len(scep.issued())}"
    return scep.enroll(subject=name).certificate


def requests(scep: SCEPDesk) -> list[tuple[str, bytes]]:
    """Messages of every kind, as they are sent."""
    own = held(scep)
    issuer = scep.ca.subject
    poll = scepclient.issuer_and_subject(issuer, "CN=device-1")
    certificate = scepclient.issuer_and_serial(issuer, 1)
    csr = {"extensions": [scepclient.san("a.example")]}
    made = {
        "PKCSReq": scep.request(challenge=WRONG, csr=csr),
        "PKCSReq, SHA-1": scep.request(challenge=WRONG, digest="sha1"),
        "PKCSReq, pieces": scep.request(
            challenge=WRONG, envelope=scep.envelope(pieces=3)
        ),
        "PKCSReq, GCM": scep.request(
            challenge=WRONG, envelope=scep.envelope(cipher="aes-256-gcm")
        ),
        "RenewalReq": scep.renewal(own, known_key(), known_key(1), "CN=other"),
        "CertPoll": scep.message(poll, message_type="20"),
        "GetCert": scep.message(certificate, message_type="21"),
    }
    return [(name, sent.encode()) for name, sent in made.items()]


@pytest.mark.requirement("SEC-92", "SCEP-55", "SCEP-57")
def test_mutants_of_sent_messages_are_answered_and_get_nothing(
    scep: SCEPDesk, soak_factor: int
) -> None:
    found = [Specimen.take_apart(name, octets) for name, octets in requests(scep)]
    mutants = Mutator(found, SEED).mutants(COUNT * soak_factor * 4 // 10)
    run(scep, ((mutant, mutant.octets) for mutant in mutants))


@pytest.mark.requirement("SEC-92", "SCEP-56")
def test_mutants_inside_a_right_signature_are_answered_and_get_nothing(
    scep: SCEPDesk, soak_factor: int
) -> None:
    """The envelope is broken, and what is broken is signed rightly."""
    inner = scepclient.pkcs10(known_key(), challenge=WRONG)
    envelopes = [
        Specimen.take_apart(cipher, scep.envelope(cipher=cipher).encode(inner))
        for cipher in ("aes-128-cbc", "des-ede3-cbc", "aes-256-gcm")
    ]
    certificate = scepclient.self_signed(known_key())
    mutants = Mutator(envelopes, SEED).mutants(COUNT * soak_factor * 3 // 10)

    def signed() -> Iterator[tuple[Mutant, bytes]]:
        for mutant in mutants:
            sent = scepclient.Message(
                content=mutant.octets[:60_000], key=known_key(), certificate=certificate
            )
            yield mutant, sent.encode()

    verdicts = run(scep, signed())
    assert verdicts["2,1"] > 100, "hardly any mutant got to the key"


@pytest.mark.requirement("SEC-92", "SCEP-56", "SCEP-30")
def test_mutants_inside_a_right_envelope_are_answered_and_get_nothing(
    scep: SCEPDesk, soak_factor: int
) -> None:
    """The PKCS #10 is broken, and what is broken is encrypted and signed rightly."""
    csr = {"extensions": [scepclient.san("a.example")]}
    inner = [
        Specimen.take_apart(
            digest,
            scepclient.pkcs10(known_key(), "CN=a", WRONG, digest=digest, **csr),
        )
        for digest in ("sha256", "sha1")
    ]
    certificate = scepclient.self_signed(known_key())
    mutants = Mutator(inner, SEED).mutants(COUNT * soak_factor * 3 // 10)

    def enveloped() -> Iterator[tuple[Mutant, bytes]]:
        for mutant in mutants:
            content = scep.envelope().encode(mutant.octets[:40_000])
            sent = scepclient.Message(
                content=content, key=known_key(), certificate=certificate
            )
            yield mutant, sent.encode()

    verdicts = run(scep, enveloped())
    assert verdicts["2,1"] > 100
