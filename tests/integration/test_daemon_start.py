"""The daemon as a child process: first start, restart, kill, lock, umask, stop."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from pkid.app.auditing import verify_audit
from pkid.app.client import run_now
from pkid.app.leaving import STATUS_DISK
from pkid.storage.filestore import ReadOnlyStore
from pkid.storage.fsck import fsck
from tests.support.cmpclient import decode_answer
from tests.support.daemon import ROOT, Daemon, running
from tests.support.processes import end

CRASHING = Path(__file__).with_name("crashing.py")
FAILING = Path(__file__).with_name("failing.py")
FEW_STEPS = (9, 38, 74)
#: twistd stops in order, then ends with the signal that stopped it.
IN_ORDER = -signal.SIGTERM
PUBLISHED = "published"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("daemon")) as found:
        yield found


def read_all(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def private_paths(state: Path) -> list[Path]:
    return [
        path
        for path in (state, *state.rglob("*"))
        if PUBLISHED not in path.relative_to(state).parts
    ]


def test_the_first_start_makes_everything_a_first_client_needs(daemon: Daemon) -> None:
    found = daemon.credentials
    assert found["cmp"]["url"] == f"http://{daemon.http}/.well-known/cmp/p/default"
    assert found["cmp"]["tcp"] == str(daemon.tcp)
    assert found["cmp"]["reference"]
    assert len(found["cmp"]["secret"]) == 32  # 160 bits in base32
    assert found["est"]["url"].endswith("/.well-known/est")
    assert found["est"]["username"]
    assert found["est"]["password"]
    assert found["scep"]["challenge"]
    assert found["acme"]["directory"].endswith("/acme/default/directory")
    assert found["acme"]["eab_kid"]
    assert found["acme"]["eab_hmac_key"]
    assert found["rest"]["p12_password"]
    assert sorted(path.name for path in daemon.first_run.iterdir()) == [
        "README.txt",
        "acme.hmac",
        "acme.secret",
        "admin.key",
        "admin.p12",
        "admin.pem",
        "chain.pem",
        "cmp.secret",
        "credentials.toml",
        "est.netrc",
        "est.secret",
        "root.pem",
        "scep.challenge",
        "scep.options",
    ]


def test_the_chain_of_the_first_start_is_an_issuing_ca_under_a_root(
    daemon: Daemon,
) -> None:
    root = x509.load_pem_x509_certificates((daemon.first_run / "root.pem").read_bytes())
    chain = x509.load_pem_x509_certificates(
        (daemon.first_run / "chain.pem").read_bytes()
    )
    assert len(root) == len(chain) == 1
    root[0].verify_directly_issued_by(root[0])
    chain[0].verify_directly_issued_by(root[0])
    constraints = chain[0].extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.value.ca
    assert constraints.value.path_length == 0


def test_the_administrator_s_key_certificate_and_p12_belong_together(
    daemon: Daemon,
) -> None:
    key = load_pem_private_key((daemon.first_run / "admin.key").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(
        (daemon.first_run / "admin.pem").read_bytes()
    )
    password = daemon.credentials["rest"]["p12_password"].encode()
    bundle = pkcs12.load_key_and_certificates(
        (daemon.first_run / "admin.p12").read_bytes(), password
    )
    assert certificate.public_key() == key.public_key()
    assert bundle[1] == certificate
    assert bundle[0] is not None
    assert bundle[0].public_key() == key.public_key()


@pytest.mark.requirement("SEC-101")
def test_nothing_private_is_open_to_others_whatever_the_umask(tmp_path: Path) -> None:
    shell = ("sh", "-c", 'umask 000 && exec "$@"', "sh")
    with running(tmp_path, wrapper=shell) as found:
        found.tool("status")
        wide = [
            (str(path.relative_to(found.state)), oct(path.lstat().st_mode))
            for path in private_paths(found.state)
            if path.lstat().st_mode & 0o077
        ]
        assert wide == []
        assert stat.S_ISSOCK((found.state / "control.sock").stat().st_mode)


@pytest.mark.requirement("FLT-20")
def test_a_second_daemon_ends_at_once_and_says_why(daemon: Daemon) -> None:
    begin = time.monotonic()
    done = subprocess.run(
        daemon.command(),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=daemon.state.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "in use by another daemon" in done.stderr
    assert time.monotonic() - begin < 20
    assert daemon.tool("status").returncode == 0


def test_a_second_start_changes_nothing_but_addresses(tmp_path: Path) -> None:
    found = Daemon(tmp_path)
    try:
        found.start()
        before, keys = read_all(found.first_run), read_all(found.state / "keys")
        first = found.ask_tool("certificate", "search")
        assert found.stop() == IN_ORDER
        found.start()
        after = read_all(found.first_run)
        assert read_all(found.state / "keys") == keys
        assert found.ask_tool("certificate", "search") == first
        changed = {name for name in before if before[name] != after.get(name)}
        assert set(before) == set(after)
        assert changed <= {"credentials.toml", "README.txt"}
        assert found.credentials["cmp"]["tcp"] == str(found.tcp)
    finally:
        found.kill()


def test_a_first_run_that_was_moved_away_is_not_made_again(tmp_path: Path) -> None:
    found = Daemon(tmp_path)
    try:
        found.start()
        found.stop()
        found.first_run.rename(tmp_path / "safe")
        found.start()
        assert not found.first_run.exists()
    finally:
        found.kill()


def crash_at(found: Daemon, step: int) -> int:
    """Start, die at a step; the status, or 0 when it ended by itself."""
    command = found.command()
    twistd = next(
        index for index, part in enumerate(command) if part.endswith("twistd")
    )
    crashing = [sys.executable, str(CRASHING), str(step), *command[twistd + 1 :]]
    with found.log_path.open("ab") as log:
        process = subprocess.Popen(
            crashing,
            stdout=log,
            stderr=log,
            cwd=found.state.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    ready = found.first_run / "credentials.toml"
    deadline = time.monotonic() + 60
    while process.poll() is None and not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return end(process)


def check_whole(found: Daemon) -> None:
    """After any crash the next start is a whole first start."""
    found.start()
    assert found.stop() == IN_ORDER
    assert fsck(found.state) == []
    store = ReadOnlyStore.open(found.state)
    try:
        assert verify_audit(store).faults == []
        authorities = run_now(store.list_authorities())
        assert sorted(one.name for one in authorities) == ["issuing", "root"]
        credentials = run_now(store.list_credentials())
        kinds = [one.kind for one in credentials]
        assert len(kinds) == len(set(kinds)) == 4
    finally:
        store.close()
    assert found.credentials["cmp"]["secret"]
    root = (found.first_run / "root.pem").read_bytes()
    issuer = x509.load_pem_x509_certificate(root)
    chain = (found.first_run / "chain.pem").read_bytes()
    x509.load_pem_x509_certificate(chain).verify_directly_issued_by(issuer)


@pytest.mark.requirement("FLT-05")
@pytest.mark.parametrize("step", FEW_STEPS)
def test_a_first_start_killed_at_a_step_is_resumed(tmp_path: Path, step: int) -> None:
    found = Daemon(tmp_path)
    status = crash_at(found, step)
    assert status in {-9, 0}
    check_whole(found)


@pytest.mark.robustness
@pytest.mark.requirement("FLT-05")
def test_a_first_start_killed_at_any_step_is_resumed(
    tmp_path: Path, soak_factor: int
) -> None:
    step, stride = 1, 1 if soak_factor > 1 else 12
    for _ in range(400):
        folder = tmp_path / str(step)
        folder.mkdir()
        found = Daemon(folder)
        if crash_at(found, step) != -9:
            break
        check_whole(found)
        step += stride
    else:
        pytest.fail("a first start has more steps than expected")
    assert step > 24


def test_a_start_without_a_free_port_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = f'listener.http.endpoint="tcp:{port}:interface=127.0.0.1"'
        found = Daemon(tmp_path, settings=(text,))
        process = found.launch()
        assert process.wait(60) == 1
    assert "listener http cannot be opened" in found.log
    assert not found.state.exists()


def test_a_configuration_with_faults_starts_nothing(tmp_path: Path) -> None:
    found = Daemon(tmp_path, configuration='nonsense = 1\n[log]\nlevel = "x"\n')
    assert found.launch().wait(60) == 1
    assert "2 faults" in found.log
    assert "log.level" in found.log
    assert not found.state.exists()


def test_a_secret_reference_that_leads_nowhere_starts_nothing(tmp_path: Path) -> None:
    found = Daemon(tmp_path, settings=('keys.passphrase="env:PKID_NOT_SET"',))
    assert found.launch().wait(60) == 1
    assert "env:PKID_NOT_SET" in found.log
    assert not found.state.exists()


def test_a_given_passphrase_is_not_written_anywhere(tmp_path: Path) -> None:
    canary = "correct-horse-canary"
    with running(
        tmp_path,
        settings=('keys.passphrase="env:PKID_TEST_PASSPHRASE"',),
        environment={"PKID_TEST_PASSPHRASE": canary},
    ) as found:
        assert not (found.state / "keys" / "passphrase").exists()
        assert canary not in found.log
        for octets in read_all(found.state).values():
            assert canary.encode() not in octets


@pytest.mark.requirement("SEC-102")
def test_a_systemd_credential_opens_the_keys(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "pkid-passphrase").write_text("from systemd\n")
    (folder / "pkid-passphrase").chmod(0o400)
    environment = {"CREDENTIALS_DIRECTORY": str(folder)}
    found = Daemon(tmp_path, environment=environment)
    try:
        found.start()
        assert not (found.state / "keys" / "passphrase").exists()
        found.stop()
        (folder / "pkid-passphrase").unlink()
        (folder / "pkid-passphrase").write_text("another\n")
        assert found.launch().wait(60) == 1
        assert "passphrase" in found.log
    finally:
        found.kill()


def test_keys_open_to_others_are_refused(tmp_path: Path) -> None:
    found = Daemon(tmp_path)
    try:
        found.start()
        found.stop()
        (found.state / "keys" / "ca-root.key").chmod(0o644)
        assert found.launch().wait(60) == 1
        assert "open to others" in found.log or "chmod" in found.log
    finally:
        found.kill()


def test_the_true_addresses_stand_in_a_file(daemon: Daemon) -> None:
    found = json.loads((daemon.state / "run" / "listeners.json").read_text())
    assert set(found) == {"cmp-tcp", "http", "https", "est"}
    assert all(one["port"] for one in found.values())
    assert found["https"]["tls"]


@pytest.mark.requirement("SEC-106")
def test_no_secret_is_in_the_log_or_in_the_list_of_processes(daemon: Daemon) -> None:
    cmp = daemon.credentials["cmp"]
    canary = "0123456789-canary"
    path = daemon.state.parent / "canary"
    path.write_text(canary)
    daemon.tool("secret", "add", "--reference", "canary", "--secret-file", str(path))
    with daemon.http_wire() as wire:
        wire.get(f"/cmp/{canary}")
    hidden = [
        cmp["secret"],
        daemon.credentials["est"]["password"],
        daemon.credentials["scep"]["challenge"],
        daemon.credentials["acme"]["eab_hmac_key"],
        daemon.credentials["rest"]["p12_password"],
        (daemon.state / "keys" / "passphrase").read_text().strip(),
    ]
    line = Path(f"/proc/{daemon.pid}/cmdline").read_bytes().decode()
    for secret in hidden:
        assert secret not in daemon.log
        assert secret not in line
    stored = b"".join(read_all(daemon.state / "keys").values())
    assert canary.encode() not in stored
    assert canary.encode() not in (daemon.state / "pkid.sqlite").read_bytes()


def test_sigterm_ends_in_order(tmp_path: Path) -> None:
    with running(tmp_path) as found:
        assert found.stop() == IN_ORDER
        assert not (found.state / "control.sock").exists()
        assert '"Main loop terminated."' in found.log
        assert "Traceback" not in found.log


@pytest.mark.requirement("SEC-103", "SEC-104")
def test_privileges_drop_before_anything_is_made() -> None:
    """Ports are bound as root; files are made, and work is done, as somebody else."""
    if os.geteuid() != 0:
        pytest.skip("only root has privileges to drop")
    nobody = pwd.getpwnam("nobody")
    # Below pytest's own directory nobody but root may go.
    folder = Path(tempfile.mkdtemp(prefix="pkid-privileges-"))
    found = Daemon(folder)
    try:
        folder.chmod(0o755)
        found.state.mkdir(mode=0o700)
        os.chown(found.state, nobody.pw_uid, nobody.pw_gid)
        command = found.command()
        at = command.index("-n") + 1
        command[at:at] = ["--uid", str(nobody.pw_uid), "--gid", str(nobody.pw_gid)]
        found.command = lambda: command  # type: ignore[method-assign]
        found.start()
        status = Path(f"/proc/{found.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert set(fields["Uid"].split()) == {str(nobody.pw_uid)}
        assert set(fields["Gid"].split()) == {str(nobody.pw_gid)}
        assert set(fields["Groups"].split()) <= {str(nobody.pw_gid)}
        limits = Path(f"/proc/{found.pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
        # Not to be dumped or traced: the kernel gives its files to root then.
        assert Path(f"/proc/{found.pid}/environ").stat().st_uid == 0
        owners = {path.stat().st_uid for path in found.state.rglob("*")}
        assert owners == {nobody.pw_uid}
        assert "runs as root" not in found.log
    finally:
        found.kill()
        shutil.rmtree(folder)


@pytest.mark.requirement("FLT-10")
def test_a_failed_flush_ends_the_daemon_with_a_status(tmp_path: Path) -> None:
    flag = tmp_path / "fail"
    found = Daemon(tmp_path)
    command = found.command()
    twistd = next(
        index for index, part in enumerate(command) if part.endswith("twistd")
    )
    command[twistd : twistd + 1] = [sys.executable, str(FAILING), str(flag)]
    found.command = lambda: command  # type: ignore[method-assign]
    try:
        found.start()
        before = found.ask_tool("status")["audit"]["sequence"]
        flag.touch()
        request = found.client().enrol("CN=lost")
        with contextlib.suppress(OSError, http.client.HTTPException, AssertionError):
            with found.http_wire() as wire:
                answer = decode_answer(wire.exchange(request.octets))
            assert answer.certificate is None
        assert found.process is not None
        assert found.process.wait(30) == STATUS_DISK
        assert "the disk failed" in found.log
        flag.unlink()
        found.start()
        assert found.ask_tool("certificate", "search", "--subject", "CN=lost") == []
        assert found.ask_tool("status")["audit"]["sequence"] >= before
    finally:
        found.kill()
