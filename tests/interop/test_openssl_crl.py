"""`openssl verify` holds certificates against full, delta and partitioned CRLs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.interop.revocations import (
    SETTINGS,
    fetch,
    places_of,
    revoke,
    save,
    save_issuer,
    wait_for_entry,
)
from tests.support.daemon import Daemon, running
from tests.support.lint import lint_crl
from tests.support.opensslcmp import OpenSSL, Outcome

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("lists"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture
def party(
    require_client: Callable[[str], str], lists: Daemon, tmp_path: Path
) -> OpenSSL:
    return OpenSSL(require_client("openssl"), lists, tmp_path)


def verify(party: OpenSSL, daemon: Daemon, *lists: Path, deltas: bool) -> Outcome:
    more = [part for path in lists for part in ("-CRLfile", str(path))]
    return party.run(
        *("verify", "-x509_strict", "-crl_check_all", "-extended_crl"),
        *(("-use_deltas",) if deltas else ()),
        *("-CAfile", daemon.first_run / "root.pem", "-untrusted", "issuing.pem"),
        *(*more, "unit.pem"),
    )


def load(daemon: Daemon, path: str) -> x509.CertificateRevocationList:
    octets = fetch(daemon, path)
    assert lint_crl(octets) == []
    return x509.load_der_x509_crl(octets)


@pytest.mark.requirement("ENG-31", "SEC-80")
def test_a_revocation_is_found_by_the_delta_of_the_partition(
    party: OpenSSL, lists: Daemon
) -> None:
    save_issuer(party, lists)
    unit = party.enrol("unit")
    root = save(party.folder, "root.crl", load(lists, "/crls/root.crl"))
    place, delta_place = places_of(unit)
    assert place in {"/crls/issuing/1.crl", "/crls/issuing/2.crl"}
    full = save(party.folder, "full.crl", load(lists, place))
    outcome = verify(party, lists, root, full, deltas=False)
    assert outcome.ok, outcome.text
    revoke(lists, unit, "superseded")
    wait_for_entry(lists, delta_place, unit)
    change = save(party.folder, "delta.crl", load(lists, delta_place))
    # The full one does not have it yet: it is the delta that tells.
    assert verify(party, lists, root, full, deltas=False).ok
    outcome = verify(party, lists, root, full, change, deltas=True)
    assert not outcome.ok
    assert "certificate revoked" in outcome.text, outcome.text


@pytest.mark.requirement("ENG-31")
def test_the_list_of_another_partition_does_not_do(
    party: OpenSSL, lists: Daemon
) -> None:
    save_issuer(party, lists)
    unit = party.enrol("unit")
    place, _ = places_of(unit)
    (other,) = {"/crls/issuing/1.crl", "/crls/issuing/2.crl"} - {place}
    root = save(party.folder, "root.crl", load(lists, "/crls/root.crl"))
    for wrong in (other, "/crls/issuing.crl"):
        path = save(party.folder, "wrong.crl", load(lists, wrong))
        outcome = verify(party, lists, root, path, deltas=False)
        assert not outcome.ok
        assert "CRL" in outcome.text


@pytest.mark.requirement("ENG-31")
def test_lists_are_files_for_any_web_server(party: OpenSSL, lists: Daemon) -> None:
    published = lists.state / "published"
    for path in ("root.crl", "issuing.crl", "issuing/1.crl", "issuing/2.crl"):
        name = party.must("crl", "-in", published / "crls" / path, "-noout", "-issuer")
        assert "CN = pkid" in name
    text = party.must(
        *("pkcs7", "-inform", "DER", "-print_certs", "-noout"),
        *("-in", published / "certificates" / "issuing.p7c"),
    )
    assert text.count("subject=") == 2


@pytest.mark.requirement("ENG-31", "ENG-33")
@pytest.mark.parametrize(
    "path", ["/crls/issuing.crl", "/crls/root.crl", "/certificates/issuing.p7c"]
)
def test_curl_fetches_again_only_what_changed(
    require_client: Callable[[str], str], lists: Daemon, tmp_path: Path, path: str
) -> None:
    curl = require_client("curl")

    def fetch_with(*arguments: str) -> str:
        done = subprocess.run(
            [curl, "-s", "-o", "got", "-w", "%{http_code}", *arguments],
            check=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout

    url = f"http://{lists.http}{path}"
    assert fetch_with("--etag-save", "tag", url) == "200"
    assert (tmp_path / "got").read_bytes() == fetch(lists, path)
    assert fetch_with("--etag-compare", "tag", url) == "304"
    assert fetch_with("-z", "01 Jan 2037 00:00:00 GMT", url) == "304"
    (tmp_path / "tag").write_text('"another"\n')
    assert fetch_with("--etag-compare", "tag", url) == "200"
