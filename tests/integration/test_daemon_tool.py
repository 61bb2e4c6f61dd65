"""The operator's tool against a running daemon, and without one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from pkid.app.cli import COMMANDS
from pkid.app.config import built_in_text
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import PKIStatus
from tests.support.cmpclient import Answer, Client, MacCredential, decode_answer
from tests.support.daemon import Daemon, running

PENDING = """
[cmp.alias.default]
authority = "issuing"
[cmp.alias.slow]
authority = "issuing"
approval = "operator"
[cmp.alias.registered]
authority = "issuing"
mode = "client"
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    text = built_in_text()
    start = text.index("[cmp.alias.default]")
    end = text.index("#: [approval.NAME]")
    configuration = text[:start] + PENDING + text[end:]
    folder = tmp_path_factory.mktemp("tool")
    with running(folder, configuration=configuration) as found:
        yield found


def send(daemon: Daemon, client: Client, path: str = "/cmp/default") -> Answer:
    request = client.enrol(f"CN=tool-{time.monotonic_ns()}")
    with daemon.http_wire(path=path) as wire:
        return client.read(wire.exchange(request.octets), request)


def enrolled(daemon: Daemon, client: Client | None = None) -> str:
    """Serial number of a new certificate."""
    answer = send(daemon, client or daemon.client())
    assert answer.certificate is not None
    return f"{x509.load_der_x509_certificate(answer.certificate).serial_number:x}"


def test_every_command_explains_itself(daemon: Daemon) -> None:
    from pkid.app.cli import make_parser

    for command in COMMANDS:
        words = [command.noun, command.verb] if command.noun else [command.verb]
        with pytest.raises(SystemExit) as end:
            make_parser().parse_args([*words, "--help"])
        assert end.value.code == 0


def test_status_tells_of_authorities_audit_and_warnings(daemon: Daemon) -> None:
    found = daemon.ask_tool("status")
    assert found["daemon"] == "running"
    assert {one["name"] for one in found["authorities"]} == {"root", "issuing"}
    assert found["audit"]["sequence"] > 0


def test_a_secret_is_added_used_up_explained_and_removed(daemon: Daemon) -> None:
    made = daemon.ask_tool("secret", "add", "--reference", "once", "--uses", "1")
    client = Client(MacCredential(b"once", made["secret"].encode()))
    assert send(daemon, client).granted
    with daemon.http_wire() as wire:
        # Told as a wrong secret would be, so without its MAC.
        refused = decode_answer(wire.exchange(client.enrol("CN=late").octets))
    assert refused.body_type is BodyType.ERROR
    listed = {one["reference"]: one for one in daemon.ask_tool("secret", "list")}
    assert listed["once"]["uses_left"] == 0
    assert "secret" not in listed["once"]
    explained = daemon.tool("explain", "secret:cmp:once").stdout
    assert "pkid secret add" in explained or "used up" in explained
    daemon.tool("secret", "remove", "once")
    assert daemon.tool("secret", "remove", "once", check=False).returncode == 1


def test_a_secret_of_ones_own_comes_from_a_file(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("SiemensIT\n")
    daemon.tool("secret", "add", "--reference", "3078", "--secret-file", str(path))
    assert send(daemon, Client(MacCredential(b"3078", b"SiemensIT"))).granted
    taken = daemon.tool("secret", "add", "--reference", "3078", check=False)
    assert taken.returncode == 1
    assert "already" in taken.stderr


def test_a_certificate_is_found_shown_exported_and_revoked(
    daemon: Daemon, tmp_path: Path
) -> None:
    serial = enrolled(daemon)
    shown = daemon.ask_tool("certificate", "show", serial)
    assert shown["status"] == "active"
    prefix = shown["subject"][:12]
    found = daemon.ask_tool("certificate", "search", "--subject", prefix)
    assert shown["reference"] in {one["reference"] for one in found}
    out = tmp_path / "chain.pem"
    daemon.tool(
        "certificate", "export", shown["reference"], "--chain", "--out", str(out)
    )
    assert len(x509.load_pem_x509_certificates(out.read_bytes())) == 3
    revoke = ("certificate", "revoke", shown["fingerprint"], "--reason")
    assert daemon.ask_tool(*revoke, "certificate-hold")["status"] == "held"
    assert daemon.ask_tool(*revoke, "remove-from-crl")["status"] == "active"
    after = daemon.ask_tool(*revoke, "key-compromise", "--note", "lost")
    assert (after["status"], after["reason"]) == ("revoked", "key_compromise")
    crl = daemon.tool("ca", "crl", "issuing", "--issue").stdout
    entries = x509.load_pem_x509_crl(crl.encode())
    assert entries.get_revoked_certificate_by_serial_number(int(serial, 16))
    assert shown["reference"] in daemon.tool("explain", serial).stdout


def test_an_unknown_certificate_is_refused_with_a_hint(daemon: Daemon) -> None:
    refused = daemon.tool("certificate", "show", "issuing/1234", check=False)
    assert refused.returncode == 1
    assert "no such certificate" in refused.stderr
    assert "hint: pkid certificate search" in refused.stderr


@pytest.mark.requirement("ENG-23")
def test_a_waiting_request_is_approved_and_the_device_collects(daemon: Daemon) -> None:
    client = daemon.client()
    answer = send(daemon, client, "/cmp/slow")
    assert answer.status is not None
    assert answer.status.status is PKIStatus.WAITING
    (waiting,) = daemon.ask_tool("request", "list")
    assert daemon.ask_tool("request", "show", waiting["id"])["status"] == "waiting"
    done = daemon.ask_tool("request", "approve", waiting["id"], "--note", "known")
    assert done["status"] == "approved"
    assert done["approvers"] == [f"uid:{os.geteuid()}"]
    poll = client.poll(answer)
    with daemon.http_wire(path="/cmp/slow") as wire:
        collected = client.read(wire.exchange(poll.octets), poll)
    assert collected.certificate is not None
    assert daemon.ask_tool("request", "list") == []


def test_a_waiting_request_is_rejected_with_a_reason(daemon: Daemon) -> None:
    client = daemon.client()
    answer = send(daemon, client, "/cmp/slow")
    (waiting,) = daemon.ask_tool("request", "list")
    daemon.tool("request", "reject", waiting["id"], "--note", "nobody knows it")
    poll = client.poll(answer)
    with daemon.http_wire(path="/cmp/slow") as wire:
        told = client.read(wire.exchange(poll.octets), poll)
    assert not told.granted
    (found,) = [
        one
        for one in daemon.ask_tool("request", "list", "--all")
        if one["id"] == waiting["id"]
    ]
    assert (found["status"], found["note"]) == ("rejected", "nobody knows it")


def test_entities_are_registered_shown_and_rearmed(daemon: Daemon) -> None:
    daemon.tool(
        *("entity", "add", "ap-1", "--subject", "CN=ap-1", "--san", "dns:ap-1.example"),
        *("--enrollments", "1"),
    )
    made = daemon.ask_tool("secret", "add", "--entity", "ap-1", "--reference", "ap-1")
    client = Client(MacCredential(b"ap-1", made["secret"].encode()))
    assert send(daemon, client, "/cmp/registered").granted
    assert not send(daemon, client, "/cmp/registered").granted
    shown = daemon.ask_tool("entity", "show", "ap-1")
    assert [one["subject"] for one in shown["certificates"]] == ["CN=ap-1"]
    assert daemon.ask_tool("entity", "rearm", "ap-1")["status"] == "NEW"
    assert send(daemon, client, "/cmp/registered").granted


def test_a_bulk_file_is_loaded_all_or_nothing(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    rows = [f"bulk-{number},CN=bulk-{number},dns:b{number}.x" for number in range(50)]
    header = "name,subject,alternative_names"
    path.write_text("\n".join([header, *rows, "bulk-3,CN=again,"]))
    refused = daemon.tool("entity", "import", str(path), check=False)
    assert refused.returncode == 1
    assert "bulk-3 exists already" in refused.stdout
    assert daemon.tool("entity", "show", "bulk-1", check=False).returncode == 1
    path.write_text("\n".join([header, *rows]))
    dry = daemon.tool("entity", "import", str(path), "--dry-run")
    assert "50 would be added" in dry.stdout
    assert "50 added" in daemon.tool("entity", "import", str(path)).stdout
    shown = daemon.ask_tool("entity", "show", "bulk-7")
    assert shown["alternative_names"] == ["dns:b7.x"]


def test_an_alias_is_shown_whole_and_tried_without_issuing(
    daemon: Daemon, tmp_path: Path
) -> None:
    effective = daemon.ask_tool("alias", "show", "slow", "--effective")
    assert effective["cmp.alias.slow"]["approval"] == '"operator"'
    assert effective["approval.operator"]["needed"] == "1"
    path = tmp_path / "request.der"
    path.write_bytes(daemon.client().enrol("CN=rehearsed").octets)
    found = daemon.ask_tool("alias", "test", "slow", "--with", str(path))
    assert found["would_issue"]
    assert found["approvals_needed"] == 1
    assert found["subject"] == "CN=rehearsed"
    assert daemon.ask_tool("certificate", "search", "--subject", "CN=rehearsed") == []
    path.write_bytes(b"garbage")
    refused = daemon.tool("alias", "test", "slow", "--with", str(path), check=False)
    assert refused.returncode == 1


def test_a_recorded_message_is_shown(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "request.der"
    path.write_bytes(daemon.client().enrol("CN=recorded").octets)
    text = daemon.tool("trace", "decode", str(path)).stdout
    assert "CN=recorded" in text
    assert "iterations" in text


def test_the_audit_and_the_store_are_whole(daemon: Daemon) -> None:
    enrolled(daemon)
    assert "no fault found" in daemon.tool("fsck").stdout
    assert daemon.ask_tool("verify-audit")["faults"] == "none"


@pytest.mark.requirement("ENG-46")
def test_a_backup_starts_and_knows_everything(daemon: Daemon, tmp_path: Path) -> None:
    serial = enrolled(daemon)
    target = tmp_path / "restored" / "state"
    target.parent.mkdir()
    daemon.tool("backup", str(target))
    assert daemon.tool("backup", str(target), check=False).returncode == 1
    wide = [path for path in target.rglob("*") if path.stat().st_mode & 0o077]
    assert wide == []
    with running(target.parent) as restored:
        assert restored.ask_tool("certificate", "show", serial)["status"] == "active"
        restored.tool("fsck")
        assert not restored.first_run.exists()


def test_init_sets_name_and_addresses(tmp_path: Path) -> None:
    state = tmp_path / "state"
    tool = [sys.executable, "-m", "pkid.app.cli", "--state", str(state)]
    init = [*tool, "init", "--hostname", "ca.example.com", "--listen", "0.0.0.0"]
    subprocess.run(init, check=True, timeout=60)
    text = (state / "pkid.conf").read_text()
    assert 'public_url = "http://ca.example.com:8080"' in text
    assert 'endpoint = "tcp:8829:interface=0.0.0.0"' in text
    assert (state / "pkid.conf").stat().st_mode & 0o777 == 0o600
    subprocess.run([*tool, "check-config"], check=True, timeout=60)


def test_init_refuses_what_is_no_name(tmp_path: Path) -> None:
    tool = [sys.executable, "-m", "pkid.app.cli", "--state", str(tmp_path / "state")]
    done = subprocess.run(
        [*tool, "init", "--hostname", "not a name"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "host name" in done.stderr


def test_wrong_usage_is_status_2(daemon: Daemon) -> None:
    assert daemon.tool("certificate", "explode", check=False).returncode == 2
    assert daemon.tool(check=False).returncode == 2


def test_check_config_names_all_faults(tmp_path: Path, daemon: Daemon) -> None:
    path = tmp_path / "broken.conf"
    path.write_text('nonsense = 1\n[log]\nlevel = "x"\n')
    done = daemon.tool("check-config", str(path), check=False)
    assert done.returncode == 1
    assert "nonsense" in done.stderr
    assert "log.level" in done.stderr


def test_without_a_daemon_what_reads_still_answers(tmp_path: Path) -> None:
    found = Daemon(tmp_path)
    try:
        found.start()
        serial = enrolled(found)
        found.stop()
        assert found.ask_tool("status")["daemon"] == "not running"
        assert found.ask_tool("certificate", "show", serial)["status"] == "active"
        entrances = found.ask_tool("alias", "list")
        assert {"cmp", "est"} <= {one["protocol"] for one in entrances}
        assert {one["name"] for one in entrances} == {"default"}
        assert found.ask_tool("secret", "list")
        found.tool("verify-audit")
        found.tool("fsck")
        refused = found.tool("secret", "add", check=False)
        assert refused.returncode == 1
        assert "twistd -n pkid" in refused.stderr
        wide = [
            path
            for path in found.state.rglob("*")
            if "published" not in path.parts and path.stat().st_mode & 0o077
        ]
        assert wide == []
    finally:
        found.kill()


def test_a_daemon_that_is_stopping_or_starting_is_waited_for(tmp_path: Path) -> None:
    found = Daemon(tmp_path)
    try:
        found.launch()
        deadline = time.monotonic() + 60
        while not (found.state / "pkid.sqlite").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert found.ask_tool("status")["daemon"] == "running"
    finally:
        found.kill()


def test_no_store_is_said_plainly(tmp_path: Path) -> None:
    done = Daemon(tmp_path).tool("secret", "list", check=False)
    assert done.returncode == 1
    assert "no store" in done.stderr


def test_another_user_may_not_call(daemon: Daemon) -> None:
    """The kernel's word counts, also where file modes would let somebody in."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    path = daemon.state / "control.sock"
    folders = [path, daemon.state, *daemon.state.parents]
    modes = [(folder, folder.stat().st_mode) for folder in folders[:6]]
    script = (
        "import os,socket,sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(b'GET /api/v1/status HTTP/1.1\\r\\nHost: x\\r\\n"
        "Connection: close\\r\\n\\r\\n')\n"
        "print(s.recv(65536).decode())\n"
    )
    try:
        for folder in folders[:6]:
            folder.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        for folder, mode in modes:
            folder.chmod(mode & 0o7777)
    assert "403" in done.stdout, done.stderr
    assert "authorities" not in done.stdout


def test_a_killed_daemon_s_socket_does_not_stand_in_the_way(tmp_path: Path) -> None:
    found = Daemon(tmp_path)
    try:
        found.start()
        found.process.send_signal(signal.SIGKILL)
        found.process.wait(30)
        assert (found.state / "control.sock").exists()
        assert found.ask_tool("status")["daemon"] == "not running"
        found.start()
        assert found.ask_tool("status")["daemon"] == "running"
    finally:
        found.kill()


def test_the_control_socket_answers_json_to_anything(daemon: Daemon) -> None:
    def ask(request: bytes) -> tuple[int, object]:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(30)
            wire.connect(str(daemon.state / "control.sock"))
            wire.sendall(request)
            head, _, body = b"".join(iter(lambda: wire.recv(65536), b"")).partition(
                b"\r\n\r\n"
            )
        return int(head.split()[1]), json.loads(body) if body[:1] == b"{" else body

    def post(path: str, body: bytes) -> tuple[int, object]:
        head = (
            f"POST /api/v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return ask(head.encode() + body)

    assert post("secrets", b"[]")[0] == 422
    assert post("secrets", b"{")[0] == 422
    assert post("secrets", b'{"uses": "three"}')[0] == 422
    assert post("entities", b'{"nam": "x"}')[0] == 422
    assert post("certificates/revoke", b"{}")[0] == 422
    assert post("nothing", b"{}")[0] == 404
    assert post("certificates", b"{}")[0] == 405
