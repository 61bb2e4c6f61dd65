"""Messages made and read by OpenSSL's own hand: req, cms, asn1parse."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from pkid.asn1 import der
from tests.support import scepclient
from tests.support.scepdaemon import Place

pytestmark = pytest.mark.interop


@pytest.fixture
def place(
    require_client: Callable[[str], str], scep_place: Place, tmp_path: Path
) -> Place:
    require_client("openssl")
    found = replace(scep_place, folder=tmp_path)
    pem = found.speaker.public_bytes(Encoding.PEM)
    (tmp_path / "speaker.pem").write_bytes(pem)
    return found


def make_request(place: Place, name: str) -> None:
    """Key, PKCS #10 with a challenge, and the certificate to sign the message with."""
    (place.folder / "req.cnf").write_text(
        "[req]\nprompt=no\ndistinguished_name=dn\nattributes=at\n"
        f"[dn]\nCN={name}\n[at]\nchallengePassword={place.challenge}\n"
    )
    place.run(
        *("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes"),
        *("-config", "req.cnf", "-keyout", "key.pem"),
        *("-outform", "DER", "-out", "request.der"),
    )
    place.run(
        *("openssl", "req", "-x509", "-key", "key.pem", "-days", "7"),
        *("-subj", f"/CN={name}", "-out", "signer.pem"),
    )


def envelope(place: Place, *options: str) -> bytes:
    place.run(
        *("openssl", "cms", "-encrypt", "-binary", "-in", "request.der"),
        *("-outform", "DER", "-out", "envelope.der", *options, "speaker.pem"),
    )
    return (place.folder / "envelope.der").read_bytes()


def ask(place: Place, content: bytes) -> bytes:
    """Sign as SCEP does, which OpenSSL's tool cannot, and post."""
    key = load_pem_private_key((place.folder / "key.pem").read_bytes(), None)
    signer = (place.folder / "signer.pem").read_bytes()
    sent = scepclient.Message(
        content=content,
        key=key,  # type: ignore[arg-type]  # RSA, as it was made
        certificate=x509.load_pem_x509_certificate(signer),
    )
    request = urllib.request.Request(
        f"{place.url()}?operation=PKIOperation", data=sent.encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        assert reply.headers["Content-Type"] == "application/x-pki-message"
        octets: bytes = reply.read()
    return octets


@pytest.mark.requirement("SCEP-27", "SCEP-34", "SCEP-36")
@pytest.mark.parametrize(
    "options",
    [
        ("-aes128",),
        ("-aes256",),
        ("-aes-256-gcm",),
        ("-aes128", "-keyopt", "rsa_padding_mode:oaep"),
        ("-aes128", "-stream"),
        ("-aes128", "-keyid"),
    ],
    ids=["aes128", "aes256", "gcm", "oaep", "stream", "keyid"],
)
def test_what_openssl_encrypts_is_read_and_what_we_answer_it_reads(
    place: Place, options: tuple[str, ...]
) -> None:
    name = f"ossl{''.join(options)}"[:40].replace(":", "-")
    make_request(place, name)
    if "-keyopt" in options:
        # -keyopt follows the recipient it is about.
        cipher, *keyopt = options
        place.run(
            *("openssl", "cms", "-encrypt", "-binary", "-in", "request.der", cipher),
            *("-outform", "DER", "-out", "envelope.der"),
            *("-recip", "speaker.pem", *keyopt),
        )
        content = (place.folder / "envelope.der").read_bytes()
    else:
        content = envelope(place, *options)
    (place.folder / "answer.der").write_bytes(ask(place, content))
    place.run(
        *("openssl", "cms", "-verify", "-binary", "-inform", "DER"),
        *("-in", "answer.der", "-noverify", "-certfile", "speaker.pem"),
        *("-out", "content.der"),
    )
    if "-aes-256-gcm" in options:
        return  # OpenSSL 3.0 says so itself; the unit tests decrypt it.
    place.run(
        *("openssl", "cms", "-decrypt", "-binary", "-inform", "DER"),
        *("-in", "content.der", "-recip", "signer.pem", "-inkey", "key.pem"),
        *("-out", "certs.der"),
    )
    place.run(
        *("openssl", "pkcs7", "-inform", "DER", "-in", "certs.der"),
        *("-print_certs", "-out", "certs.pem"),
    )
    found = place.judge("certs.pem")
    assert found.subject.rfc4514_string() == f"CN={name}"


@pytest.mark.requirement("SCEP-34", "SCEP-35")
def test_openssl_finds_every_attribute_of_a_failure(place: Place) -> None:
    make_request(place, "ossl-wrong")
    request = (place.folder / "request.der").read_bytes()
    wrong = request.replace(place.challenge.encode(), b"x" * len(place.challenge))
    (place.folder / "request.der").write_bytes(wrong)
    (place.folder / "answer.der").write_bytes(ask(place, envelope(place, "-aes128")))
    done = place.run("openssl", "asn1parse", "-inform", "DER", "-in", "answer.der")
    text = done.stdout.decode()
    for oid in ("9.2", "9.3", "9.4", "9.5", "9.6", "9.7"):
        assert f"2.16.840.1.113733.1.{oid}" in text
    place.run(
        *("openssl", "cms", "-verify", "-binary", "-inform", "DER"),
        *("-in", "answer.der", "-noverify", "-certfile", "speaker.pem"),
    )


@pytest.mark.requirement("SCEP-16")
def test_openssl_reads_the_ca_certificates(place: Place) -> None:
    (place.folder / "ca.der").write_bytes(place.fetch("GetCACert"))
    done = place.run(
        *("openssl", "pkcs7", "-inform", "DER", "-in", "ca.der", "-print_certs"),
    )
    count = done.stdout.count(b"BEGIN CERTIFICATE")
    assert count == (3 if place.kind == "ec" else 2)


def test_the_tool_of_another_language_sees_plain_der(place: Place) -> None:
    octets = place.fetch("GetCACert")
    done = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER"],
        input=octets,
        capture_output=True,
        check=True,
    )
    assert b"pkcs7-signedData" in done.stdout
    assert der.one_element(octets) == octets
