"""A daemon that is told to stop finishes what it took; the next one goes on."""

from __future__ import annotations

import contextlib
import http.client
import signal
from pathlib import Path

import pytest

from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.framing import Framing, encode_request
from tests.support.daemon import Daemon

CLIENTS = 12


@pytest.mark.requirement("CMP-195")
def test_what_was_taken_is_answered_and_goes_on_with_the_next_daemon(
    tmp_path: Path,
) -> None:
    daemon = Daemon(tmp_path)
    with contextlib.ExitStack() as opened:
        opened.callback(daemon.kill)
        daemon.start()
        client = daemon.client(iterations=60_000)
        wires = [opened.enter_context(daemon.tcp_wire()) for _ in range(CLIENTS)]
        requests = [client.enrol(implicit_confirm=False) for _ in wires]
        first = wires[0]
        assert first.exchange(client.ask().octets)
        for wire, request in zip(wires, requests, strict=True):
            wire.send(encode_request(Framing.TCP_DRAFT, request.octets))
        # When one answer is there the others are read and in work.
        records = [first.receive()]
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        records += [wire.receive() for wire in wires[1:]]
        assert daemon.process.wait(20) == -signal.SIGTERM
        answers = [
            client.read(record.value, request)
            for record, request in zip(records, requests, strict=True)
            if record is not None
        ]
        assert len(answers) >= 1
        assert all(answer.certificate for answer in answers)
        issued = daemon.ask_tool("certificate", "search", "--subject", "CN=unit-")
        assert len(issued) == len(answers), "issued, and not answered"
        daemon.start()
        with daemon.http_wire() as again:
            for answer in answers:
                request = client.confirm(answer)
                said = client.read(again.exchange(request.octets), request)
                assert said.body_type is BodyType.PKICONF
        with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
            first.exchange(client.ask().octets)
