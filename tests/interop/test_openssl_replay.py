"""What OpenSSL's client sent once is sent again: the same octets come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL, Outcome

pytestmark = pytest.mark.interop

REQUESTS = "req1.der req2.der"
ANSWERS = "rsp1.der rsp2.der"


def record(openssl: OpenSSL, command: str, *arguments: str) -> list[tuple[Path, Path]]:
    """Record an exchange: requests and answers, in order."""
    outcome = openssl.cmp(command, *arguments, "-reqout", REQUESTS, "-rspout", ANSWERS)
    assert outcome.ok, outcome.text
    files = zip(REQUESTS.split(), ANSWERS.split(), strict=True)
    pairs = [(openssl.folder / asked, openssl.folder / said) for asked, said in files]
    return [pair for pair in pairs if pair[1].exists()]


def exchanges(openssl: OpenSSL) -> dict[str, tuple[str, ...]]:
    """Arguments of one exchange of each kind."""
    openssl.make_key("new")
    openssl.make_request("new", "/CN=new")
    out = ("-certout", "new.pem")
    enrol = ("-newkey", "new.key", "-subject", "/CN=unit", *out)
    by_secret, by_certificate = openssl.by_secret, openssl.by_certificate("unit")
    return {
        "ir": (*by_secret, *enrol),
        "ir-implicit": (*by_secret, *enrol, "-implicit_confirm"),
        "cr": (*by_certificate, *enrol),
        "p10cr": (*by_secret, "-csr", "new.csr", *out),
        "kur": (*by_certificate, "-newkey", "new.key", *out),
        "rr": (*by_certificate, "-oldcert", "unit.pem", "-revreason", "1"),
        "genm": (*by_secret, "-infotype", "signKeyPairTypes"),
    }


KINDS = ("ir", "ir-implicit", "cr", "p10cr", "kur", "rr", "genm")


@pytest.mark.requirement("ENG-25", "SEC-02")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "genm"])
def test_the_same_octets_get_the_same_octets(
    openssl: OpenSSL, daemon: Daemon, kind: str
) -> None:
    openssl.enrol("unit")
    pairs = record(openssl, kind.split("-", maxsplit=1)[0], *exchanges(openssl)[kind])
    assert pairs
    with daemon.http_wire() as wire:
        for _ in range(2):
            for asked, said in pairs:
                assert wire.exchange(asked.read_bytes()) == said.read_bytes()


# Of one message only: a recorded certConf is protected anew by OpenSSL's client.
def test_the_client_takes_the_repeated_answer(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    arguments = exchanges(openssl)["ir-implicit"]
    pairs = record(openssl, "ir", *arguments)
    first = (openssl.folder / "new.pem").read_bytes()
    (openssl.folder / "new.pem").unlink()
    again = replay(openssl, arguments, [asked for asked, _ in pairs])
    assert again.ok, again.text
    assert (openssl.folder / "new.pem").read_bytes() == first


def replay(
    openssl: OpenSSL, arguments: tuple[str, ...], files: list[Path], *more: str
) -> Outcome:
    return openssl.cmp("ir", *arguments, "-reqin", " ".join(map(str, files)), *more)


@pytest.mark.requirement("CMP-15")
def test_another_request_under_the_same_transaction_is_refused(
    openssl: OpenSSL, daemon: Daemon
) -> None:
    client = daemon.client()
    first = client.enrol("CN=first")
    other = client.enrol("CN=other", transaction_id=first.transaction_id)
    with daemon.http_wire() as wire:
        assert client.read(wire.exchange(first.octets), first).granted
        answer = client.read(wire.exchange(other.octets), other)
    assert not answer.granted
    assert {bit.name for bit in answer.fail_info} == {"TRANSACTION_ID_IN_USE"}


def test_a_recorded_request_under_a_fresh_transaction_is_a_new_one(
    openssl: OpenSSL,
) -> None:
    openssl.enrol("unit")
    arguments = exchanges(openssl)["ir-implicit"]
    pairs = record(openssl, "ir", *arguments)
    first = (openssl.folder / "new.pem").read_bytes()
    again = replay(openssl, arguments, [pairs[0][0]], "-reqin_new_tid")
    assert again.ok, again.text
    assert (openssl.folder / "new.pem").read_bytes() != first
