"""curl and openssl against EST: all operations, both TLS versions, all kinds of key."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from tests.support.daemon import Daemon, running
from tests.support.estclient import Curl
from tests.support.lint import lint_certificate

pytestmark = pytest.mark.interop

KINDS = ("ec:P-256", "ec:P-384", "rsa:2048", "ed25519")
SETTINGS = (
    'est.alias.keys = { authority = "issuing", key_generation = true, '
    'authenticate = ["mac", "certificate"] }',
    'est.alias.bound = { authority = "issuing", binding = "require", '
    'csr_attributes = "legacy", authenticate = ["mac", "certificate"] }',
    'est.alias.waiting = { authority = "issuing", approval = "operator", '
    'retry_after = "1s", authenticate = ["mac", "certificate"] }',
    'est.alias.digest = { authority = "issuing", '
    'http_authentication = ["digest-sha256", "digest-md5"] }',
    'est.alias.strict = { authority = "issuing", strict_content_type = true, '
    'missing_names = "refuse", renewal_same_key = false }',
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("pkid"), settings=SETTINGS) as daemon:
        yield daemon
    assert "Traceback" not in daemon.log, daemon.log


@pytest.fixture(params=["1.2", "1.3"])
def curl(
    daemon: Daemon,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    require_client: Callable[[str], str],
) -> Curl:
    for name in ("curl", "openssl"):
        require_client(name)
    client = Curl(daemon, tmp_path)
    client.tls = request.param
    return client


def names(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()


def test_ca_certificates_come_to_anybody(curl: Curl) -> None:
    answer = curl.ask("cacerts")
    root = x509.load_pem_x509_certificate(
        (curl.daemon.first_run / "root.pem").read_bytes()
    )
    assert root in answer.certificates
    assert len(answer.certificates) == 2
    assert answer.headers["content-type"].startswith("application/pkcs7-mime")
    again = curl.ask("cacerts", "-H", f"If-None-Match: {answer.headers['etag']}")
    assert again.status == 304
    assert again.body == b""


@pytest.mark.parametrize("kind", KINDS)
def test_enrols_and_renews_with_every_kind_of_key(curl: Curl, kind: str) -> None:
    subject = f"/O=Devices/CN=curl-{curl.tls}-{kind.replace(':', '-')}"
    first = curl.enroll("one", subject, kind=kind)
    assert lint_certificate(first) == []
    curl.key("two", kind)
    body = curl.request("two", subject)
    second = curl.keep("two", curl.ask("simplereenroll", body=body, cert="one"))
    assert names(second) == names(first)
    assert second.serial_number != first.serial_number
    again = curl.ask("simplereenroll", body=body, cert="one")
    assert again.certificates == [second]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_is_made_for_the_client(curl: Curl, kind: str) -> None:
    curl.key("any", kind)
    subject = f"/CN=made-{curl.tls}-{kind.replace(':', '-')}"
    body = curl.request("any", subject)
    answer = curl.ask("serverkeygen", body=body, user="first-run", label="keys")
    (key_type, octets), (certificate_type, wrapped) = answer.parts
    assert key_type == "application/pkcs8"
    assert certificate_type.startswith("application/pkcs7-mime")
    made = load_der_private_key(octets, None).public_key()
    from cryptography.hazmat.primitives.serialization import pkcs7

    (certificate,) = pkcs7.load_der_pkcs7_certificates(wrapped)
    spki = PublicFormat.SubjectPublicKeyInfo
    mine = certificate.public_key().public_bytes(Encoding.DER, spki)
    assert mine == made.public_bytes(Encoding.DER, spki)
    assert f"CN=made-{curl.tls}" in names(certificate)


@pytest.mark.parametrize("form", ["base64", "pem", "der"])
def test_a_request_may_come_in_any_form(curl: Curl, form: str) -> None:
    curl.key("one")
    body = curl.request("one", f"/CN=form-{curl.tls}-{form}", form=form)
    answer = curl.ask("simpleenroll", body=body, user="first-run")
    assert len(answer.certificates) == 1


def test_a_chunked_request_of_another_media_type_is_read(curl: Curl) -> None:
    curl.key("one")
    body = curl.request("one", f"/CN=chunked-{curl.tls}")
    answer = curl.ask(
        *("simpleenroll", "-H", "Transfer-Encoding: chunked"),
        *("-H", "Content-Type: text/plain"),
        body=body,
        user="first-run",
    )
    assert len(answer.certificates) == 1


def test_digest_is_taken_where_it_is_offered(curl: Curl) -> None:
    curl.key("one")
    body = curl.request("one", f"/CN=digest-{curl.tls}")
    asked = {"body": body, "user": "first-run", "label": "digest"}
    answer = curl.ask("simpleenroll", "--digest", **asked)
    assert len(answer.certificates) == 1
    assert curl.ask("simpleenroll", "--basic", **asked).status == 401
    wrong = {**asked, "user": "first-run:guess"}
    assert curl.ask("simpleenroll", "--digest", **wrong).status == 401


def test_a_waiting_client_comes_back_on_a_new_connection(curl: Curl) -> None:
    curl.key("one")
    body = curl.request("one", f"/CN=waiting-{curl.tls}")
    asked = {"body": body, "user": "first-run", "label": "waiting"}
    for _ in range(2):
        answer = curl.ask("simpleenroll", **asked)
        assert answer.status == 202
        assert answer.headers["retry-after"] == "1"
    (waiting,) = [
        one["id"]
        for one in curl.daemon.ask_tool("request", "list")
        if one["subject"] == f"CN=waiting-{curl.tls}" and one["status"] == "waiting"
    ]
    curl.daemon.tool("request", "approve", waiting)
    first = curl.ask("simpleenroll", **asked).certificates
    assert curl.ask("simpleenroll", **asked).certificates == first


def test_a_request_that_must_be_bound_and_is_not_is_refused(curl: Curl) -> None:
    curl.key("one")
    body = curl.request("one", f"/CN=unbound-{curl.tls}")
    answer = curl.ask("simpleenroll", body=body, user="first-run", label="bound")
    assert answer.status == 400
    assert "linking" in answer.text
    wishes = curl.ask("csrattrs", label="bound")
    assert wishes.headers["content-type"] == "application/csrattrs"
    (curl.folder / "wishes").write_bytes(wishes.der)
    done = curl.run("openssl", "asn1parse", "-inform", "DER", "-in", "wishes")
    shown = done.stdout.decode()
    assert "challengePassword" in shown
    assert "prime256v1" in shown
    assert "ecdsa-with-SHA256" in shown


def test_crls_come_as_certs_only(curl: Curl) -> None:
    answer = curl.ask("crls")
    (curl.folder / "crls.p7").write_bytes(answer.der)
    done = curl.run("openssl", "pkcs7", "-inform", "DER", "-in", "crls.p7", "-print")
    assert b"issuer" in done.stdout
    assert b"crl:" in done.stdout


def test_methods_labels_and_operations_that_are_not_there(curl: Curl) -> None:
    wrong = curl.ask("simpleenroll")
    assert wrong.status == 405
    assert wrong.headers["allow"].startswith("POST")
    assert curl.ask("cacerts", label="nobody").status == 404
    assert curl.ask("pal").status == 404
    assert curl.ask("simpleenroll", label="cacerts").status == 404


def test_the_handshake_takes_no_old_version_and_no_h2(daemon: Daemon) -> None:
    def handshake(*options: str) -> str:
        done = subprocess.run(
            ["openssl", "s_client", "-connect", str(daemon.est), *options],
            check=False,
            input=b"",
            capture_output=True,
            timeout=30,
        )
        return (done.stdout + done.stderr).decode("utf-8", "replace")

    assert "Cipher is (NONE)" in handshake("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "ALPN protocol: http/1.1" in handshake("-alpn", "h2,http/1.1")
    only_h2 = handshake("-alpn", "h2")
    assert "ALPN protocol: h2" not in only_h2
    assert "alert" in only_h2
    old = handshake("-tls1_2")
    assert "Session-ID-ctx" in old
    assert "TLS session ticket:" not in old
    assert "Acceptable client certificate CA names" not in old
