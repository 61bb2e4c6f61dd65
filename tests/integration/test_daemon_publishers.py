"""A web service that gets CRLs as they are made, and is down now and then."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.daemon import running

SECONDS = 60.0
SECRET = "kept between us"


class Receiver(HTTPServer):
    """Takes files, once it has refused as often as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.files: dict[str, bytes] = {}
        self.refusals = 2
        self.forged = 0


class Taking(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        status = 503 if self.server.refusals else 204
        if self.server.refusals:
            self.server.refusals -= 1
        elif not self._is_signed(octets):
            self.server.forged += 1
        else:
            self.server.files[self.headers["X-Pkid-Path"]] = octets
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _is_signed(self, octets: bytes) -> bool:
        said = f"{self.headers['X-Pkid-Time']}.{self.headers['X-Pkid-Path']}."
        digest = hmac.new(SECRET.encode(), said.encode() + octets, "sha256")
        wanted = f"sha256={digest.hexdigest()}"
        return hmac.compare_digest(self.headers["X-Pkid-Signature"], wanted)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.requirement("ENG-34")
def test_a_web_service_gets_every_list_although_it_was_down(
    receiver: Receiver, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{receiver.server_port}/"
    hook = f'publisher.hook = {{ url = "{url}", secret = "env:HOOK_SECRET" }}'
    with running(
        tmp_path, settings=(hook,), environment={"HOOK_SECRET": SECRET}
    ) as daemon:
        deadline = time.monotonic() + SECONDS
        while set(receiver.files) < {"crls/issuing.crl", "certificates/root.p7c"}:
            assert time.monotonic() < deadline, (receiver.files, daemon.log)
            time.sleep(0.1)
        daemon.tool("ca", "crl", "issuing", "--issue")
        made = (daemon.state / "published" / "crls" / "issuing.crl").read_bytes()
        while receiver.files["crls/issuing.crl"] != made:
            assert time.monotonic() < deadline, daemon.log
            made = (daemon.state / "published" / "crls" / "issuing.crl").read_bytes()
            time.sleep(0.1)
        x509.load_der_x509_crl(made)
        assert daemon.log.count("publication elsewhere could not be done") == 1
        assert "Traceback" not in daemon.log
    assert receiver.forged == 0
    assert SECRET not in daemon.log
