"""micromdm's scepclient (Debian package scep): single DES, behind the legacy switch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import scepclient as our
from tests.support.scepdaemon import Place

pytestmark = pytest.mark.interop


@pytest.fixture
def place(
    require_client: Callable[[str], str], scep_place: Place, tmp_path: Path
) -> Place:
    require_client("scepclient")
    return replace(scep_place, folder=tmp_path)


def enroll(
    place: Place, name: str, challenge: str = "", alias: str = "legacy"
) -> tuple[int, str]:
    # It encrypts to every certificate of the answer and panics when one is EC, unless
    # it is told which one to take.
    digest = hashlib.sha256(our.der_of(place.speaker)).hexdigest()
    done = place.run(
        *("scepclient", "-server-url", place.url(alias), "-ca-fingerprint", digest),
        *("-private-key", "key.pem", "-certificate", "cert.pem", "-cn", name),
        *(("-challenge", challenge) if challenge else ()),
        check=False,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.requirement("SCEP-18", "SCEP-20", "SCEP-28")
def test_it_enrols_with_single_des(place: Place) -> None:
    status, said = enroll(place, "go-1", place.challenge)
    assert status == 0, said
    found = place.judge("cert.pem")
    assert "CN=go-1" in found.subject.rfc4514_string()


@pytest.mark.requirement("SCEP-28", "SEC-26")
def test_it_is_refused_where_des_is_off(place: Place) -> None:
    _, said = enroll(place, "go-2", place.challenge, "default")
    assert "badAlg" in said
    assert not (place.folder / "cert.pem").exists()


@pytest.mark.requirement("SCEP-48", "SCEP-44")
def test_it_renews_with_the_key_and_request_that_it_has(place: Place) -> None:
    enroll(place, "go-3", place.challenge)
    first = place.judge("cert.pem")
    status, said = enroll(place, "go-3")
    assert status == 0, said
    second = place.judge("cert.pem")
    assert second.serial_number != first.serial_number
    assert second.public_key() == first.public_key()


@pytest.mark.requirement("SCEP-40")
def test_it_is_refused_with_a_wrong_challenge(place: Place) -> None:
    _, said = enroll(place, "go-4", "wrong")
    assert "badRequest" in said
    assert not (place.folder / "cert.pem").exists()
