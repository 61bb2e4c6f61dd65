"""A daemon announces its CRLs to a directory that is slow to take them."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pkid.messages.cmp.announcements import CRLAnnContent
from pkid.messages.cmp.body import BodyType
from tests.responders.peers import Answer
from tests.support.daemon import running

SECONDS = 30.0


class Directory(http.server.ThreadingHTTPServer):
    """Says what it is told to say, one status after the other, then 201."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + SECONDS
        while len(self.got) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(self.got) >= count


class Handler(http.server.BaseHTTPRequestHandler):
    server: Directory

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/pkixcmp"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 201
        self.send_response(status)
        self.end_headers()
        self.server.got.append(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def directory() -> Iterator[Directory]:
    server = Directory(503, 202)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)


@pytest.mark.requirement("CMP-148")
def test_a_crl_is_announced_until_the_directory_has_it(
    tmp_path: Path, directory: Directory
) -> None:
    url = f"http://127.0.0.1:{directory.server_port}/cmp"
    setting = (
        f'cmp.announce.directory = {{ urls = ["{url}"], authorities = ["issuing"], '
        'contents = ["crlann"], rest = "1s", most_rest = "1s" }'
    )
    with running(tmp_path, settings=(setting,)) as daemon:
        directory.wait_for(3)
        told = [Answer.read(octets) for octets in directory.got[:3]]
        assert {one.body_type for one in told} == {BodyType.CRLANN}
        bodies = [one.body for one in told]
        assert all(isinstance(body, CRLAnnContent) for body in bodies)
        assert bodies[0] == bodies[1] == bodies[2]
        for one in told:
            one.check_signature()
        client = daemon.client()
        request = client.enrol()
        with daemon.http_wire() as wire:
            issued = client.read(wire.exchange(request.octets), request)
            assert issued.certificate is not None
            revoking = client.revoke(issued.certificate)
            client.read(wire.exchange(revoking.octets), revoking)
        directory.wait_for(4)
        assert Answer.read(directory.got[3]).body != bodies[0]
