"""`openssl ocsp` asks for the status of certificates that `openssl cmp` enrolled."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp

from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL

pytestmark = pytest.mark.interop
PATHS = ("/ocsp", "/ejbca/publicweb/status/ocsp")
VERIFIED = "Response verify OK"
REQUEST_TYPE = "application/ocsp-request"


@pytest.fixture
def unit(openssl: OpenSSL, daemon: Daemon) -> x509.Certificate:
    """A certificate in ``unit.pem``, its issuer's in ``issuing.pem``."""
    with daemon.http_wire() as wire:
        issuing = x509.load_der_x509_certificate(
            wire.get("/certificates/issuing.cer").body
        )
    pem = issuing.public_bytes(serialization.Encoding.PEM)
    (openssl.folder / "issuing.pem").write_bytes(pem)
    return openssl.enrol("unit")


def ask(openssl: OpenSSL, daemon: Daemon, *arguments: str, path: str = "/ocsp") -> str:
    """What `openssl ocsp` says; it verifies signature, delegation and times."""
    return openssl.must(
        *("ocsp", "-url", f"http://{daemon.http}{path}", "-issuer", "issuing.pem"),
        *("-CAfile", daemon.first_run / "root.pem", "-verify_other", "issuing.pem"),
        *arguments,
    )


def revoke(daemon: Daemon, certificate: x509.Certificate, *arguments: str) -> None:
    serial = f"issuing/{certificate.serial_number:x}"
    daemon.tool("certificate", "revoke", serial, *arguments)


@pytest.mark.requirement("ENG-32")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_a_certificate_is_good_by_every_digest(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate, path: str, digest: str
) -> None:
    text = ask(openssl, daemon, f"-{digest}", "-cert", "unit.pem", path=path)
    assert VERIFIED in text
    assert "unit.pem: good" in text
    assert "WARNING: no nonce" not in text


@pytest.mark.requirement("ENG-32", "SEC-80")
def test_a_revocation_shows_at_once(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate
) -> None:
    assert "unit.pem: good" in ask(openssl, daemon, "-no_nonce", "-cert", "unit.pem")
    revoke(daemon, unit, "--reason", "key-compromise")
    begin = time.monotonic()
    text = ask(openssl, daemon, "-no_nonce", "-cert", "unit.pem")
    assert time.monotonic() - begin < 1
    assert VERIFIED in text
    assert "unit.pem: revoked" in text
    assert "Reason: keyCompromise" in text


@pytest.mark.requirement("SEC-75")
def test_a_serial_number_never_issued_is_not_good(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate
) -> None:
    text = ask(openssl, daemon, "-serial", "0x1234567890")
    assert VERIFIED in text
    assert "0x1234567890: unknown" in text


@pytest.mark.requirement("SEC-75")
def test_a_foreign_issuer_is_unauthorized(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate
) -> None:
    openssl.make_key("other")
    openssl.must(
        *("req", "-x509", "-key", "other.key", "-subj", "/CN=Other", "-days", "1"),
        *("-out", "other.pem"),
    )
    text = openssl.run(
        *("ocsp", "-url", f"http://{daemon.http}/ocsp", "-issuer", "other.pem"),
        *("-serial", "0x1"),
    ).text
    assert "unauthorized (6)" in text


@pytest.mark.requirement("ENG-32")
def test_several_certificates_are_asked_for_at_once(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate
) -> None:
    other = openssl.enrol("other")
    revoke(daemon, other)
    text = ask(openssl, daemon, "-cert", "unit.pem", "-cert", "other.pem")
    assert VERIFIED in text
    assert "unit.pem: good" in text
    assert "other.pem: revoked" in text


@pytest.mark.requirement("ENG-32")
def test_the_root_answers_for_the_issuing_authority(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate
) -> None:
    root = daemon.first_run / "root.pem"
    text = openssl.must(
        *("ocsp", "-url", f"http://{daemon.http}/ocsp", "-issuer", root),
        *("-CAfile", root, "-cert", "issuing.pem"),
    )
    assert VERIFIED in text
    assert "issuing.pem: good" in text


@pytest.mark.requirement("ENG-32", "ENG-33")
def test_a_certificate_names_the_responder_that_answers_for_it(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate
) -> None:
    access = unit.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    (url,) = [
        place.access_location.value
        for place in access.value
        if place.access_method == x509.AuthorityInformationAccessOID.OCSP
    ]
    assert url.endswith("/ocsp")


@pytest.mark.requirement("ENG-32")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("safe", ["", "/"])
def test_get_is_answered_so_that_caches_keep_it(
    openssl: OpenSSL, daemon: Daemon, unit: x509.Certificate, path: str, safe: str
) -> None:
    issuing = x509.load_pem_x509_certificate(
        (openssl.folder / "issuing.pem").read_bytes()
    )
    builder = ocsp.OCSPRequestBuilder().add_certificate(unit, issuing, hashes.SHA1())
    request = builder.build().public_bytes(serialization.Encoding.DER)
    place = f"{path}/{quote(base64.b64encode(request), safe=safe)}"
    with daemon.http_wire() as wire:
        first = wire.get(place)
        assert first.status == 200
        assert first.headers["content-type"] == "application/ocsp-response"
        response = ocsp.load_der_ocsp_response(first.body)
        assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert "max-age=300, public" in first.headers["cache-control"]
        second = wire.get(place)
        assert second.body == first.body
        assert second.headers["etag"] == first.headers["etag"]
    with daemon.http_wire(path=path) as wire:
        assert wire.post(request, REQUEST_TYPE).body == first.body


def test_rubbish_is_malformed(daemon: Daemon) -> None:
    with daemon.http_wire(path="/ocsp") as wire:
        for reply in (
            wire.post(b"rubbish", REQUEST_TYPE),
            wire.get("/ocsp/rubbish"),
            wire.get("/ocsp/"),
        ):
            assert reply.status == 200
            response = ocsp.load_der_ocsp_response(reply.body)
            malformed = ocsp.OCSPResponseStatus.MALFORMED_REQUEST
            assert response.response_status is malformed
