"""strongSwan's pki against both kinds of CA: as it comes, without options of mercy."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.processes import end
from tests.support.scepdaemon import Place

pytestmark = pytest.mark.interop


class StrongSwan:
    """One client in a directory of its own."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.place = replace(place, folder=folder)
        self.folder = folder

    def fetch(self, alias: str = "default") -> None:
        """RA and CA certificates, as the client sorts them."""
        self.place.run(
            *("pki", "--scepca", "--url", self.place.url(alias), "--force"),
            *("--caout", "ca.pem", "--raout", "ra.pem", "--outform", "pem"),
        )

    def key(self, name: str) -> None:
        done = self.place.run("pki", "--gen", "--type", "rsa", "--outform", "pem")
        (self.folder / name).write_bytes(done.stdout)

    def command(self, key: str, name: str, *more: str, alias: str) -> list[str]:
        return [
            *("pki", "--scep", "--url", self.place.url(alias), "--in", key),
            *("--dn", f"CN={name}", *self.trust(), "--outform", "pem", *more),
        ]

    def trust(self) -> list[str]:
        speaker = "ra.pem" if (self.folder / "ra.pem").exists() else "ca-1.pem"
        found = ["--cacert-enc", speaker, "--cacert-sig", speaker]
        for path in sorted(self.folder.glob("ca*.pem")):
            found += ["--cacert", path.name]
        return found

    def enroll(
        self, key: str, name: str, *more: str, alias: str = "default"
    ) -> subprocess.CompletedProcess[bytes]:
        done = self.place.run(*self.command(key, name, *more, alias=alias), check=False)
        (self.folder / "made.pem").write_bytes(done.stdout)
        return done

    @property
    def secret(self) -> tuple[str, str]:
        return "--password", self.place.challenge


@pytest.fixture
def swan(
    require_client: Callable[[str], str], scep_place: Place, tmp_path: Path
) -> StrongSwan:
    require_client("pki")
    found = StrongSwan(scep_place, tmp_path)
    found.fetch()
    found.key("key.pem")
    return found


def made(
    swan: StrongSwan, done: subprocess.CompletedProcess[bytes]
) -> x509.Certificate:
    assert done.returncode == 0, done.stderr.decode()
    return swan.place.judge("made.pem")


@pytest.mark.requirement("SCEP-20", "SCEP-18", "SCEP-13")
def test_it_sorts_the_certificates_and_enrols(swan: StrongSwan) -> None:
    assert (swan.folder / "ra.pem").exists() == (swan.place.kind == "ec")
    found = made(swan, swan.enroll("key.pem", "swan-1", *swan.secret))
    assert found.subject.rfc4514_string() == "CN=swan-1"


@pytest.mark.requirement("SCEP-28", "SCEP-39")
@pytest.mark.parametrize("cipher", ["aes", "des3"])
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_it_enrols_in_all_its_algorithms(
    swan: StrongSwan, cipher: str, digest: str
) -> None:
    more = ("--cipher", cipher, "--digest", digest)
    name = f"swan-{cipher}-{digest}"
    made(swan, swan.enroll("key.pem", name, *swan.secret, *more, alias="legacy"))


@pytest.mark.requirement("SCEP-24")
def test_it_signs_with_pss(swan: StrongSwan) -> None:
    more = (*swan.secret, "--rsa-padding", "pss")
    made(swan, swan.enroll("key.pem", "swan-pss", *more))


@pytest.mark.requirement("SCEP-32")
def test_it_asks_for_alternative_names_and_a_profile(swan: StrongSwan) -> None:
    more = ("--san", "swan.example", "--profile", "tls-server")
    found = made(swan, swan.enroll("key.pem", "swan-tls", *swan.secret, *more))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["swan.example"]
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert x509.ExtendedKeyUsageOID.SERVER_AUTH in purposes.value


@pytest.mark.requirement("SCEP-48")
def test_it_renews_with_a_new_key(swan: StrongSwan) -> None:
    first = made(swan, swan.enroll("key.pem", "swan-renew", *swan.secret))
    (swan.folder / "made.pem").rename(swan.folder / "old.pem")
    swan.key("new.pem")
    more = ("--cert", "old.pem", "--key", "key.pem")
    second = made(swan, swan.enroll("new.pem", "swan-renew", *more))
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()


@pytest.mark.requirement("SCEP-09", "SCEP-40")
def test_it_is_refused_in_words_it_understands(swan: StrongSwan) -> None:
    done = swan.enroll("key.pem", "swan-wrong", "--password", "wrong")
    assert done.returncode != 0
    assert b"badRequest" in done.stderr or b"failInfo" in done.stderr, done.stderr


@pytest.mark.requirement("SCEP-28")
def test_it_is_refused_with_what_is_switched_off(swan: StrongSwan) -> None:
    done = swan.enroll("key.pem", "swan-des3", *swan.secret, "--cipher", "des3")
    # It looks at the capabilities first, and does not even ask.
    assert done.returncode != 0


@pytest.mark.requirement("SCEP-42", "SCEP-35")
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_it_waits_and_polls(swan: StrongSwan, decision: str) -> None:
    name = f"swan-{decision}"
    command = swan.command(
        "key.pem", name, "--interval", "1", "--maxpolltime", "40", alias="waiting"
    )
    with (swan.folder / "made.pem").open("wb") as out:
        client = subprocess.Popen(
            command, cwd=swan.folder, stdout=out, stderr=subprocess.PIPE
        )
    try:
        getattr(swan.place, decision)(name)
        _, said = client.communicate(timeout=30)
    finally:
        if client.poll() is None:
            end(client)
    if decision == "approve":
        assert client.returncode == 0, said
        swan.place.judge("made.pem")
    else:
        assert client.returncode != 0
