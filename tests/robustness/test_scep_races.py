"""Fifty clients at once with one one-time challenge: exactly one gets a certificate."""

from __future__ import annotations

import base64
import http.client
import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support import scepclient
from tests.support.daemon import Daemon, running
from tests.support.scepclient import Envelope, Message
from tests.support.scepdaemon import Place

pytestmark = pytest.mark.robustness

CLIENTS = 50
ROUNDS = 200
#: After so many rounds the daemon is killed in the middle of one.
KILL_EVERY = 50


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings = (
        'scep.alias.once = { authority = "issuing", ndes = true,'
        " ndes_outstanding = 100000 }",
        'log.level = "warn"',
    )
    with running(tmp_path_factory.mktemp("races"), settings=settings) as daemon:
        yield daemon


class Crowd:
    """Clients, each with a key and a connection of its own."""

    def __init__(self, daemon: Daemon, password: str) -> None:
        self.daemon = daemon
        token = base64.b64encode(f"mdm:{password}".encode()).decode()
        self.authorization = {"Authorization": f"Basic {token}"}
        self.keys = [scepclient.new_key() for _ in range(CLIENTS)]
        self.signers = [
            scepclient.self_signed(key, f"CN=client-{number}")
            for number, key in enumerate(self.keys)
        ]
        self.ra = Place(daemon, "ec", Path()).speaker
        self.local = threading.local()
        self.connections: list[http.client.HTTPConnection] = []

    def challenge(self) -> str:
        connection = http.client.HTTPConnection(*self.daemon.http.address, timeout=20)
        with closing(connection):
            connection.request(
                "GET", "/scep/once/mscep_admin/?format=json", headers=self.authorization
            )
            return str(json.loads(connection.getresponse().read())["challenge"])

    def message(self, number: int, mark: str, challenge: str) -> bytes:
        key: rsa.RSAPrivateKey = self.keys[number]
        inner = scepclient.pkcs10(key, f"CN={mark}-{number}", challenge)
        sent = Message(
            content=Envelope(recipient=self.ra).encode(inner),
            key=key,
            certificate=self.signers[number],
        )
        return sent.encode()

    def close(self) -> None:
        for connection in self.connections:
            connection.close()

    def post(self, octets: bytes) -> int:
        """HTTP status; 0 when the daemon was not there."""
        connection = getattr(self.local, "connection", None)
        if connection is None or connection.port != self.daemon.http.port:
            connection = http.client.HTTPConnection(
                *self.daemon.http.address, timeout=30
            )
            self.local.connection = connection
            self.connections.append(connection)
        try:
            connection.request("POST", "/scep/once?operation=PKIOperation", octets)
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self.local.connection = None
            return 0
        return int(reply.status)


def subjects(daemon: Daemon, mark: str) -> list[str]:
    uri = f"file:{daemon.state / 'pkid.sqlite'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        rows = database.execute(
            "SELECT subject FROM certificates WHERE subject LIKE ?", (f"CN={mark}-%",)
        ).fetchall()
    return [str(subject) for (subject,) in rows]


@pytest.mark.requirement("SCEP-45", "SEC-21")
def test_one_challenge_gives_one_certificate_however_many_ask(daemon: Daemon) -> None:
    made = daemon.ask_tool("secret", "add", "--kind", "ndes", "--reference", "mdm")
    crowd = Crowd(daemon, str(made["secret"]))
    with closing(crowd), ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(1, ROUNDS + 1):
            mark = f"race{number}"
            challenge = crowd.challenge()
            messages = [
                crowd.message(client, mark, challenge) for client in range(CLIENTS)
            ]
            if number % KILL_EVERY == 0:
                _kill_amid(crowd, pool, messages)
            statuses = list(pool.map(crowd.post, messages))
            assert set(statuses) == {200}, (number, statuses)
            assert len(subjects(daemon, mark)) == 1, number
    assert "Traceback" not in daemon.log, daemon.log[-4000:]


def _kill_amid(crowd: Crowd, pool: ThreadPoolExecutor, messages: list[bytes]) -> None:
    """Some ask, the daemon dies under them, and is there again."""
    work = [pool.submit(crowd.post, octets) for octets in messages]
    work[0].result(30)
    crowd.daemon.kill()
    for one in work:
        one.result(60)
    crowd.daemon.start()
