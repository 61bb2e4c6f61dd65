"""EST under fire: broken bodies by the ten thousand, slow and idle TLS connections."""

from __future__ import annotations

import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from pkid.asn1 import der, oids
from pkid.messages.pkcs10 import Attribute
from tests.responders.cmcpeer import crm, octets_control, pki_data, signed_request, tcr
from tests.responders.estdesk import challenge, csr, new_key, san
from tests.support.daemon import Daemon, running
from tests.support.estwire import ESTWire
from tests.support.mutator import Mutator, Specimen
from tests.support.processes import resident

pytestmark = pytest.mark.robustness

SEED = 20261123
COUNT = 10_000
MIB = 1 << 20
SETTINGS = (
    'est.alias.waiting = { authority = "issuing", approval = "operator", '
    "full_cmc = true }",
    "certificate_profile.large = { keys = ['rsa:4096'] }",
    'est.alias.keys = { authority = "issuing", key_generation = true, '
    'certificate_profile = "large", server_key = "profile" }',
    "limits.connections_per_address=4000",
    "limits.connections=8000",
    'limits.handshake="60s"',
    'limits.headers="60s"',
    'log.level="warn"',
)
NEVER = {500, 401}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("est"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log[-4000:]


def user(daemon: Daemon) -> str:
    est = daemon.credentials["est"]
    return f"{est['username']}:{est['password']}"


def issued(daemon: Daemon) -> int:
    uri = f"file:{daemon.state / 'pkid.sqlite'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        (count,) = database.execute("SELECT count(*) FROM certificates").fetchone()
    return int(count)


def enrols(daemon: Daemon, name: str) -> bool:
    with ESTWire(daemon.est.address, user=user(daemon)) as wire:
        return wire.ask("simpleenroll", csr(new_key(), f"CN={name}")).status == 200


def requests() -> list[tuple[str, bytes]]:
    plain = csr(new_key(), "CN=mutant")
    wish = Attribute(oids.ID_CMC_CHANGE_SUBJECT_NAME, (der.sequence(der.sequence()),))
    rich = csr(
        new_key(),
        "CN=mutant,O=Rich",
        extensions=(san("a.example", "b.example"),),
        attributes=(challenge("x"), wish),
    )
    return [("plain", plain), ("rich", rich)]


def full_requests() -> list[tuple[str, bytes]]:
    key = new_key()
    controls = (octets_control(1, oids.ID_CMC_SENDER_NONCE, b"nonce"),)
    both = (tcr(2, csr(key, "CN=mutant")), crm(3, new_key(), "CN=mutant"))
    content = pki_data(controls, both)
    return [
        ("unsigned", signed_request(content)),
        ("signed", signed_request(content, key, by_key_id=True)),
    ]


def fire(
    daemon: Daemon, operation: str, label: str, mutants: Iterator[bytes]
) -> Counter[int]:
    """What mutants got, on connections that last while the server keeps them."""
    statuses: Counter[int] = Counter()
    with ExitStack() as stack:
        wire = stack.enter_context(ESTWire(daemon.est.address, user=user(daemon)))
        for octets in mutants:
            answer = wire.ask(operation, octets, label)
            statuses[answer.status] += 1
            assert answer.status not in NEVER, (operation, octets.hex(), answer.body)
            if answer.headers.get("connection") == "close":
                stack.close()
                wire = stack.enter_context(
                    ESTWire(daemon.est.address, user=user(daemon))
                )
    return statuses


@pytest.mark.requirement("EST-54")
def test_ten_thousand_broken_bodies_get_answers_and_no_certificate(
    daemon: Daemon, soak_factor: int
) -> None:
    count = COUNT * soak_factor // 2
    assert enrols(daemon, "before")
    before, memory = issued(daemon), resident(daemon.pid)

    def mutants(messages: list[tuple[str, bytes]], seed: int) -> Iterator[bytes]:
        taken = [Specimen.take_apart(name, octets) for name, octets in messages]
        for mutant in Mutator(taken, seed).mutants(count):
            yield mutant.octets[:40_000]

    simple = fire(daemon, "simpleenroll", "", mutants(requests(), SEED))
    full = fire(daemon, "fullcmc", "waiting", mutants(full_requests(), SEED + 1))
    assert simple[200] == 0
    assert simple.total() == full.total() == count
    assert set(simple) <= {400, 403}
    assert set(full) <= {200, 400, 403}
    assert issued(daemon) == before
    assert enrols(daemon, "after")
    assert resident(daemon.pid) - memory < 64 * MIB


@pytest.mark.requirement("EST-07")
def test_bodies_that_are_no_base64_are_400(daemon: Daemon) -> None:
    chance = random.Random(SEED)
    before = issued(daemon)
    with ESTWire(daemon.est.address, user=user(daemon)) as wire:
        for _ in range(300):
            octets = chance.randbytes(chance.randrange(1, 400))
            answer = wire.ask("simpleenroll", octets)
            assert answer.status == 400, octets
            assert 5 < len(answer.body) < 300
    assert issued(daemon) == before


@pytest.mark.requirement("EST-05")
def test_a_thousand_slow_connections_stop_nobody(daemon: Daemon) -> None:
    with ExitStack() as stack:
        stalled = [
            stack.enter_context(socket.create_connection(daemon.est.address))
            for _ in range(700)
        ]
        for one in stalled:
            one.sendall(b"\x16\x03\x01")
        slow = [stack.enter_context(ESTWire(daemon.est.address)) for _ in range(300)]
        request = b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n"
        for place, octet in enumerate(request):
            for wire in slow[place % 10 :: 10]:
                wire.tls.send(bytes((octet,)))
            if place % 10 == 0:
                assert enrols(daemon, f"beside-{place}")


@pytest.mark.requirement("EST-05")
def test_a_thousand_idle_tls_connections_take_less_than_80_mib(
    daemon: Daemon,
) -> None:
    assert enrols(daemon, "warm")
    before = resident(daemon.pid)
    with ExitStack() as stack:
        wires = [stack.enter_context(ESTWire(daemon.est.address)) for _ in range(1000)]
        grown = resident(daemon.pid) - before
        assert grown < 80 * MIB, f"{grown / MIB:.1f} MiB"
        assert enrols(daemon, "among-idlers")
        assert wires[500].ask("cacerts").status == 200


@pytest.mark.requirement("EST-52")
def test_keys_are_made_off_the_reactor_thread(daemon: Daemon) -> None:
    """Others are answered while RSA keys of 4096 bits are made, which takes seconds."""
    finished: list[float] = []

    def make_keys() -> None:
        with ESTWire(daemon.est.address, user=user(daemon)) as wire:
            for number in range(3):
                begin = time.monotonic()
                body = csr(new_key(), f"CN=made-{number}")
                assert wire.ask("serverkeygen", body, "keys").status == 200
                finished.append(time.monotonic() - begin)

    worker = threading.Thread(target=make_keys)
    waits: list[float] = []
    with ESTWire(daemon.est.address) as wire:
        worker.start()
        while worker.is_alive():
            begin = time.monotonic()
            assert wire.ask("cacerts").status == 200
            waits.append(time.monotonic() - begin)
            worker.join(0.005)
    assert len(finished) == 3
    assert sorted(waits)[len(waits) // 2] < 0.05
    assert max(waits) < max(0.5, max(finished) / 2), (max(waits), finished)


def test_a_foreign_certificate_is_told_what_is_wrong_and_the_log_says_who(
    tmp_path: Path,
) -> None:
    from tests.transports.tlsclient import make

    only = 'est.alias.default = { authority = "issuing", authenticate = '
    only += '["certificate"] }'
    with running(tmp_path, settings=(only,)) as daemon:
        stranger = make("stranger")
        identity = (stranger.key, [stranger.certificate])
        with ESTWire(daemon.est.address, identity=identity) as wire:
            answer = wire.ask("simpleenroll", csr(new_key()))
        assert answer.status == 403
        assert b"not of this PKI" in answer.body
        (line,) = [one for one in daemon.log.splitlines() if "simpleenroll" in one]
        assert "127.0.0.1" in line
        assert "not of this PKI" in line
