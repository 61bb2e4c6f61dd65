"""Broken OCSP requests by the ten thousand: always an answer, never a wrong "good"."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.support.daemon import Daemon, running
from tests.support.mutator import Mutator, Specimen
from tests.support.processes import resident

pytestmark = pytest.mark.robustness

SEED = 20261123
COUNT = 10_000
GROWTH_OCTETS = 64 << 20
GOOD = ocsp.OCSPCertStatus.GOOD
REQUEST_TYPE = "application/ocsp-request"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("ocsp")
    with running(folder, settings=('log.level="warn"',)) as daemon:
        yield daemon


def certificates(daemon: Daemon) -> tuple[x509.Certificate, x509.Certificate]:
    """The issuing CA's certificate and the root's, which issued it."""
    with daemon.http_wire() as wire:
        found = [
            x509.load_der_x509_certificate(wire.get(f"/certificates/{name}.cer").body)
            for name in ("issuing", "root")
        ]
    return found[0], found[1]


def specimens(daemon: Daemon) -> list[Specimen]:
    issuing, root = certificates(daemon)
    found = []
    for number, digest in enumerate((hashes.SHA1(), hashes.SHA256())):
        builder = ocsp.OCSPRequestBuilder().add_certificate(issuing, root, digest)
        nonce = x509.OCSPNonce(os.urandom(32))
        for name, one in (
            ("plain", builder),
            ("nonce", builder.add_extension(nonce, critical=False)),
        ):
            octets = one.build().public_bytes(Encoding.DER)
            found.append(Specimen.take_apart(f"{name} {number}", octets))
    return found


def check(octets: bytes, serial: int, mutant: object) -> bool:
    """Hold an answer against what may be said; whether it was one of success."""
    response = ocsp.load_der_ocsp_response(octets)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return False
    for one in response.responses:
        known = one.serial_number == serial
        assert one.certificate_status is not GOOD or known, mutant
    return True


@pytest.mark.requirement("SEC-75")
def test_mutants_of_requests_are_answered_and_nothing_unknown_is_good(
    daemon: Daemon, soak_factor: int
) -> None:
    serial = certificates(daemon)[0].serial_number
    mutants = Mutator(specimens(daemon), SEED).mutants(COUNT * soak_factor)
    before = resident(daemon.pid)
    successes = 0
    with daemon.http_wire(path="/ocsp") as wire:
        for mutant in mutants:
            answer = wire.post(mutant.octets[:16_000], REQUEST_TYPE)
            assert answer.status == 200, mutant
            assert answer.headers["content-type"] == "application/ocsp-response"
            successes += check(answer.body, serial, mutant)
    assert 0 < successes < COUNT * soak_factor
    assert resident(daemon.pid) - before < GROWTH_OCTETS
    assert "Traceback" not in daemon.log, daemon.log[-4000:]


def test_the_daemon_answers_as_before(daemon: Daemon) -> None:
    specimen = specimens(daemon)[0]
    with daemon.http_wire(path="/ocsp") as wire:
        response = ocsp.load_der_ocsp_response(
            wire.post(specimen.octets, REQUEST_TYPE).body
        )
    assert response.certificate_status is GOOD
