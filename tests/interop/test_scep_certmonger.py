"""certmonger on a session bus of its own: GET only, renews with messageType 19."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.daemon import BIN, ROOT
from tests.support.scepdaemon import Place

pytestmark = pytest.mark.interop

# The bus starts the service; both end with the shell.
PREPARE = """
set -e
getcert add-scep-ca -s -c pkid -u "$URL" >/dev/null 2>&1
for _ in $(seq 1 100); do
    getcert list-cas -s -c pkid | grep -q "CA 'pkid'" && break
    sleep 0.1
done
"""
REQUEST = """
for _ in $(seq 1 20); do
    getcert request -s -c pkid -I dev -k "$PWD/key.pem" -f "$PWD/cert.pem" \\
        -N "CN=$NAME" ${CHALLENGE:+-L "$CHALLENGE"} -w >/dev/null 2>&1 || true
    getcert list -s | grep -q CA_UNCONFIGURED || break
    # The CA's certificates are still being fetched.
    getcert stop-tracking -s -i dev >/dev/null 2>&1
    sleep 0.3
done
getcert list -s
"""
RENEW = """
cp cert.pem old.pem
getcert resubmit -s -i dev -w >/dev/null 2>&1
getcert list -s
"""
APPROVE = """
"$PKID" --state "$STATE" request list --json > requests.json
ID=$("$PYTHON" -c 'import json, sys
print([one["id"] for one in json.load(open("requests.json"))
       if one["status"] == "waiting" and sys.argv[1] in one["subject"]][0])' "$NAME")
"$PKID" --state "$STATE" request approve "$ID"
getcert refresh -s -i dev
for _ in $(seq 1 100); do test -s cert.pem && break; sleep 0.1; done
getcert list -s
"""


@pytest.fixture
def place(
    require_client: Callable[[str], str], scep_place: Place, tmp_path: Path
) -> Place:
    require_client("getcert")
    require_client("dbus-run-session")
    return replace(scep_place, folder=tmp_path)


def session(place: Place, script: str, **values: str) -> str:
    """What the client says; everything of it stays in the test's directory."""
    environment = dict(os.environ, PKID=str(BIN / "pkid"), PYTHON=str(BIN / "python"))
    environment.update(STATE=str(place.daemon.state), PYTHONPATH=str(ROOT), **values)
    for part in ("REQUESTS", "CAS", "LOCAL_CA", "CONFIG"):
        directory = place.folder / part.lower()
        directory.mkdir()
        environment[f"CERTMONGER_{part}_DIR"] = str(directory)
    environment["CERTMONGER_TMPDIR"] = str(place.folder)
    done = subprocess.run(
        ["dbus-run-session", "--", "bash", "-c", PREPARE + script],
        cwd=place.folder,
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.requirement("SCEP-05", "SCEP-20", "SCEP-49")
def test_it_enrols_and_renews(place: Place) -> None:
    said = session(
        place,
        REQUEST + RENEW,
        URL=place.url(),
        NAME="monger-1",
        CHALLENGE=place.challenge,
    )
    assert (place.folder / "old.pem").exists(), said
    first, second = place.judge("old.pem"), place.judge("cert.pem")
    assert first.subject.rfc4514_string() == "CN=monger-1"
    assert second.serial_number != first.serial_number, said


@pytest.mark.requirement("SCEP-48", "SCEP-49")
def test_it_renews_with_a_challenge_that_is_used_up(place: Place) -> None:
    made = place.daemon.ask_tool("scep", "challenge", "--alias", "once")
    said = session(
        place,
        REQUEST + RENEW,
        URL=place.url("once"),
        NAME="monger-2",
        CHALLENGE=str(made["challenge"]),
    )
    assert (place.folder / "old.pem").exists(), said
    first, second = place.judge("old.pem"), place.judge("cert.pem")
    assert second.serial_number != first.serial_number, said


@pytest.mark.requirement("SCEP-35", "SCEP-44")
def test_it_waits_for_an_operator(place: Place) -> None:
    said = session(place, REQUEST + APPROVE, URL=place.url("waiting"), NAME="monger-3")
    assert "CA_WORKING" in said
    place.judge("cert.pem")


@pytest.mark.requirement("SCEP-40")
def test_it_is_refused_with_a_wrong_challenge(place: Place) -> None:
    said = session(place, REQUEST, URL=place.url(), NAME="monger-4", CHALLENGE="wrong")
    assert "CA_REJECTED" in said, said
    assert not (place.folder / "cert.pem").exists()
