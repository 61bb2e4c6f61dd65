"""Clients that write down what they send before they send it, and what came back.

After a crash the journal is what the world knows: everything in it is sent again, and
the store has to agree with it.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from http.client import HTTPException
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.framing import Framing
from tests.support.cmpclient import (
    Answer,
    Client,
    Request,
    SignatureCredential,
    decode_answer,
)
from tests.support.daemon import Daemon
from tests.support.wires import HTTPWire, TCPWire

THREADS: Final = 8
# What a client sees of a kill; HTTPException when it falls within an answer.
CUT: Final = (OSError, EOFError, HTTPException, AssertionError)


class Kind(Enum):
    """What a journaled request wants."""

    ISSUE = "issue"
    CONFIRM = "confirm"
    REVOKE = "revoke"


@dataclass(slots=True)
class Entry:
    """One request and what became of it.

    :ivar answer: octets that were released for it; None while none came back.
    :ivar target: the certificate that is to be revoked.
    """

    kind: Kind
    request: Request
    client: Client
    answer: bytes | None = None
    target: bytes = b""

    def read(self) -> Answer:
        """The answer, its protection and nonces checked."""
        assert self.answer is not None
        return self.client.read(self.answer, self.request)


class Carriage:
    """Carries messages over whichever door is next; reconnects by itself."""

    def __init__(self, daemon: Daemon, choice: random.Random, timeout: float) -> None:
        self._daemon = daemon
        self._choice = choice
        self._timeout = timeout
        self._http: HTTPWire | None = None
        self._tcp: TCPWire | None = None

    def exchange(self, message: bytes) -> bytes:
        """Carry one message.

        :raises OSError: when the connection breaks.
        :raises AssertionError: when it ends instead of an answer.
        """
        way = self._choice.randrange(3)
        if way == 0:
            if self._http is None:
                self._http = self._daemon.http_wire(timeout=self._timeout)
            return self._http.exchange(message)
        if self._tcp is None:
            self._tcp = self._daemon.tcp_wire(timeout=self._timeout)
        framing = Framing.RFC2510 if way == 1 else Framing.TCP_DRAFT
        return self._tcp.exchange(message, framing)

    def close(self) -> None:
        for wire in (self._http, self._tcp):
            if wire is not None:
                wire.close()


@dataclass(slots=True)
class Journal:
    """Everything that was sent, in order."""

    entries: list[Entry] = field(default_factory=list)

    def released(self, kind: Kind) -> Iterator[Entry]:
        """Requests of a kind that were answered."""
        return (
            entry
            for entry in self.entries
            if entry.kind is kind and entry.answer is not None
        )


class Workload:
    """Clients of many kinds at once, until the daemon is gone or they are told.

    :param seed: decides what each client does, not when.
    """

    def __init__(self, daemon: Daemon, seed: int, *, threads: int = THREADS) -> None:
        self._daemon = daemon
        self._client = daemon.client(salt=bytes(range(16)))
        self._stop = threading.Event()
        self.journal = Journal()
        self.cut = 0
        self._threads = [
            threading.Thread(
                target=self._run, args=(random.Random(seed * 1000 + number),)
            )
            for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 60.0) -> None:
        """End the clients and wait for them."""
        self._stop.set()
        self.wait(timeout)

    def wait(self, timeout: float = 60.0) -> None:
        """Wait for the clients to end by themselves, as they do when they are cut."""
        for thread in self._threads:
            thread.join(timeout)
            assert not thread.is_alive(), "a client hangs"

    def _run(self, choice: random.Random) -> None:
        try:
            with contextlib.closing(Carriage(self._daemon, choice, 30.0)) as carriage:
                while not self._stop.is_set():
                    self._act(carriage, choice)
        except CUT:
            self.cut += 1

    def _act(self, carriage: Carriage, choice: random.Random) -> None:
        what = choice.random()
        confirm = what < 0.3
        request = self._client.enrol(implicit_confirm=not confirm)
        answer = self._send(carriage, Entry(Kind.ISSUE, request, self._client))
        assert answer.certificate is not None, answer.status
        if confirm:
            self._confirm(carriage, self._client, answer)
        elif what < 0.5:
            self._renew(carriage, answer.certificate)
        elif what < 0.7:
            self._revoke(carriage, answer.certificate, choice)

    def _send(self, carriage: Carriage, entry: Entry) -> Answer:
        self.journal.entries.append(entry)
        entry.answer = carriage.exchange(entry.request.octets)
        return entry.read()

    def _confirm(self, carriage: Carriage, client: Client, answer: Answer) -> None:
        request = client.confirm(answer)
        said = self._send(carriage, Entry(Kind.CONFIRM, request, client))
        assert said.body_type is BodyType.PKICONF

    def _renew(self, carriage: Carriage, certificate: bytes) -> None:
        from cryptography import x509

        old = x509.load_der_x509_certificate(certificate)
        owner = Client(SignatureCredential(old, self._client.key))
        key = ec.generate_private_key(ec.SECP256R1())
        request = owner.renew(certificate, key, implicit_confirm=False)
        answer = self._send(carriage, Entry(Kind.ISSUE, request, owner))
        assert answer.certificate is not None, answer.status
        self._confirm(carriage, owner, answer)

    def _revoke(
        self, carriage: Carriage, certificate: bytes, choice: random.Random
    ) -> None:
        request = self._client.revoke(certificate, choice.choice((None, 1, 4, 5)))
        entry = Entry(Kind.REVOKE, request, self._client, target=certificate)
        answer = self._send(carriage, entry)
        assert answer.granted, answer.status


def replay(daemon: Daemon, entries: list[Entry], choice: random.Random) -> int:
    """Send everything again; what was released once must come back the same.

    :returns: how many answers were lost in the crash and are known now.
    """
    found = 0
    with contextlib.closing(Carriage(daemon, choice, 30.0)) as carriage:
        for entry in entries:
            octets = carriage.exchange(entry.request.octets)
            if entry.answer is None:
                entry.answer = octets
                found += 1
                said = decode_answer(octets)
                entry.read()
                granted = said.granted or said.body_type is BodyType.PKICONF
                assert granted, (entry.kind, said.status)
            else:
                told = (entry.kind, decode_answer(octets).status)
                assert octets == entry.answer, told
    return found
