"""EST: keys made here leave once, in the form asked for, and leave no trace."""

from __future__ import annotations

import base64
import email
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    pkcs7,
)
from twisted.logger import globalLogPublisher

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.model import CredentialKind
from pkid.messages.pkcs10 import Attribute
from pkid.responders.base import Reply
from tests.engine.world import result_of
from tests.responders.estdesk import EST, ESTDesk, basic, csr, header, new_key

KEK = bytes(range(32))


@pytest.fixture
def keys(est: ESTDesk) -> ESTDesk:
    est.change_alias(key_generation=True)
    result_of(
        est.world.engine.run(est.world.engine.key_generators.prepare("issuing", EST))
    )
    return est


def parts(reply: Reply) -> list[tuple[str, bytes]]:
    assert reply.status == 200, (reply.status, reply.body)
    head = f"Content-Type: {reply.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + reply.body)
    assert message.is_multipart()
    return [
        (part["Content-Type"], part.get_payload(decode=True))  # type: ignore[misc]
        for part in message.get_payload()  # type: ignore[union-attr]
    ]


def certificate_of(octets: bytes) -> x509.Certificate:
    (found,) = pkcs7.load_der_pkcs7_certificates(octets)
    return found


def same(one: Any, other: Any) -> bool:
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    return bool(one.public_bytes(*spki) == other.public_bytes(*spki))


def identifier(oid: str, octets: bytes) -> Attribute:
    return Attribute(oid, (der.octet_string(octets),))


def capabilities(*wanted: str) -> Attribute:
    elements = (AlgorithmIdentifier(one).encode() for one in wanted)
    return Attribute(oids.PKCS9_SMIME_CAPABILITIES, (der.sequence(*elements),))


def ask(est: ESTDesk, key: Any = None, *attributes: Attribute, **fields: Any) -> Reply:
    body = csr(key or new_key(), "CN=made-here", attributes=attributes)
    fields.setdefault("user", None if "cert" in fields else basic())
    return est.ask("serverkeygen", body, **fields)


@pytest.mark.requirement("EST-34", "EST-11")
def test_key_and_certificate_come_in_two_parts_the_key_first(keys: ESTDesk) -> None:
    asked = new_key()
    reply = ask(keys, asked)
    (key_type, octets), (certificate_type, wrapped) = parts(reply)
    assert key_type == "application/pkcs8"
    assert certificate_type == "application/pkcs7-mime; smime-type=certs-only"
    made = load_der_private_key(octets, None)
    certificate = certificate_of(wrapped)
    assert same(made.public_key(), certificate.public_key())
    assert not same(made.public_key(), asked.public_key())
    assert header(reply, "Cache-Control") == "no-store"
    assert reply.body.startswith(b"--")
    assert b"\n" not in reply.body.replace(b"\r\n", b"")


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("P-384", ec.generate_private_key(ec.SECP384R1())),
        ("RSA", rsa.generate_private_key(65537, 2048)),
    ],
)
@pytest.mark.requirement("EST-36")
def test_the_kind_is_the_requests_within_the_profile(
    keys: ESTDesk, kind: str, key: Any
) -> None:
    (_, octets), _ = parts(ask(keys, key))
    assert isinstance(load_der_private_key(octets, None), type(key))
    keys.settings["server_key"] = "profile"
    (_, octets), _ = parts(ask(keys, key))
    assert isinstance(load_der_private_key(octets, None), ec.EllipticCurvePrivateKey)
    keys.settings["server_key"] = "request"
    keys.change_profile(keys=("ed25519",))
    assert ask(keys, key).status == 400


@pytest.mark.requirement("EST-36")
def test_it_is_off_by_default_and_needs_who_asks(est: ESTDesk) -> None:
    assert ask(est).status == 404
    est.change_alias(key_generation=True)
    assert ask(est, user={}).status == 401


def test_the_same_request_again_makes_another_key(keys: ESTDesk) -> None:
    key = new_key()
    first, second = parts(ask(keys, key)), parts(ask(keys, key))
    assert first[0][1] != second[0][1]


def test_a_spent_code_gets_no_key_again(keys: ESTDesk) -> None:
    keys.secret("once", uses=1)
    key = new_key()
    assert ask(keys, key, user=basic("once")).status == 200
    assert ask(keys, key, user=basic("once")).status == 401


@pytest.mark.requirement("SEC-35", "EST-36")
def test_no_octet_of_a_key_is_in_any_file_or_log_line(keys: ESTDesk) -> None:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    try:
        (_, octets), _ = parts(ask(keys))
    finally:
        globalLogPublisher.removeObserver(events.append)
    made = load_der_private_key(octets, None)
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    secret = made.private_numbers().private_value.to_bytes(32, "big")
    found = [
        path
        for path in keys.world.directory.rglob("*")
        if path.is_file()
        and any(
            text in path.read_bytes()
            for text in (secret, secret.hex().encode(), octets[-100:])
        )
    ]
    assert found == []
    assert events
    assert secret.hex() not in repr(events)
    assert repr(octets[-40:])[2:-1] not in repr(events)


# --- encrypted --------------------------------------------------------------------


def openssl(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(
        ["openssl", *arguments], cwd=folder, check=True, capture_output=True
    ).stdout


def opened(folder: Path, octets: bytes, *how: str) -> Any:
    """Decrypt by OpenSSL, verify who signed, take the key out of its package."""
    (folder / "enveloped").write_bytes(octets)
    signed = openssl(
        folder, "cms", "-decrypt", "-inform", "DER", "-in", "enveloped", *how
    )
    # The content of the envelope is bare SignedData.
    (folder / "signed").write_bytes(
        der.sequence(der.oid(oids.ID_SIGNED_DATA), der.explicit(0, signed))
    )
    package = openssl(
        folder,
        *("cms", "-verify", "-inform", "DER", "-in", "signed", "-noverify"),
        *("-signer", "signer.pem"),
    )
    purposes = x509.load_pem_x509_certificate((folder / "signer.pem").read_bytes())
    found = purposes.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert oids.ID_KP_CM_KGA in {one.dotted_string for one in found.value}
    (one,) = der.Cursor(der.single(package, der.SEQUENCE)).raw_elements(1)
    return load_der_private_key(one, None)


@pytest.mark.parametrize("cipher", [oids.ID_AES128_CBC, oids.ID_AES256_CBC])
@pytest.mark.requirement("EST-35")
def test_a_shared_key_encrypts_it(keys: ESTDesk, tmp_path: Path, cipher: str) -> None:
    keys.secret("kek-7", kind=CredentialKind.KEY_ENCRYPTION, secret=KEK.hex().encode())
    reply = ask(
        keys,
        None,
        identifier(oids.ID_AA_DECRYPT_KEY_ID, b"kek-7"),
        capabilities(oids.ID_AES256_WRAP, cipher),
    )
    (key_type, octets), (_, wrapped) = parts(reply)
    assert key_type == "application/pkcs7-mime; smime-type=server-generated-key"
    made = opened(
        tmp_path,
        octets,
        *("-secretkey", KEK.hex(), "-secretkeyid", b"kek-7".hex()),
    )
    assert same(made.public_key(), certificate_of(wrapped).public_key())


@pytest.mark.parametrize("kind", ["EC", "RSA"])
@pytest.mark.requirement("EST-35")
def test_the_certificate_of_the_connection_encrypts_it(
    keys: ESTDesk, tmp_path: Path, kind: str
) -> None:
    own: Any = new_key() if kind == "EC" else rsa.generate_private_key(65537, 2048)
    (certificate,) = pkcs7.load_der_pkcs7_certificates(
        base64.b64decode(keys.enroll(csr(own, "CN=made-here")).body)
    )
    key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    wish = identifier(oids.ID_AA_ASYMM_DECRYPT_KEY_ID, key_id.value.digest)
    reply = ask(keys, None, wish, cert=certificate)
    (key_type, octets), (_, wrapped) = parts(reply)
    assert key_type == "application/pkcs7-mime; smime-type=server-generated-key"
    pem = certificate.public_bytes(Encoding.PEM)
    (tmp_path / "own.pem").write_bytes(pem)
    (tmp_path / "own.key").write_bytes(
        own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    made = opened(tmp_path, octets, "-recip", "own.pem", "-inkey", "own.key")
    assert same(made.public_key(), certificate_of(wrapped).public_key())


@pytest.mark.parametrize(
    "attributes",
    [
        (identifier(oids.ID_AA_DECRYPT_KEY_ID, b"unknown"),),
        (identifier(oids.ID_AA_ASYMM_DECRYPT_KEY_ID, b"unknown"),),
        (identifier(oids.ID_AA_DECRYPT_KEY_ID, b""),),
        (identifier(oids.ID_AA_DECRYPT_KEY_ID, b"too-short"),),
        (
            identifier(oids.ID_AA_DECRYPT_KEY_ID, b"kek-7"),
            capabilities(oids.DES_EDE3_CBC),
        ),
        (
            identifier(oids.ID_AA_DECRYPT_KEY_ID, b"kek-7"),
            capabilities(oids.ID_AES128_WRAP),
        ),
    ],
)
@pytest.mark.requirement("EST-35")
def test_what_cannot_be_encrypted_as_asked_does_not_leave_at_all(
    keys: ESTDesk, attributes: tuple[Attribute, ...]
) -> None:
    kind = CredentialKind.KEY_ENCRYPTION
    keys.secret("kek-7", kind=kind, secret=KEK.hex().encode())
    keys.secret("too-short", kind=kind, secret=b"00ff")
    reply = ask(keys, None, *attributes)
    assert reply.status in {400, 403}
    assert b"PRIVATE" not in reply.body


def test_an_entrance_may_send_encrypted_keys_only(keys: ESTDesk) -> None:
    keys.settings["encrypted_keys"] = True
    reply = ask(keys)
    assert reply.status == 400
    assert b"encrypted only" in reply.body


@pytest.mark.requirement("EST-39")
def test_certificates_of_peers_are_handed_out(est: ESTDesk) -> None:
    assert est.ask("eecerts").status == 404
    _, certificate = est.holder("CN=peer-1")
    _, other = est.holder("CN=peer-2")
    est.settings["peers"] = ("peer-1", "peer-2")
    from tests.responders.estdesk import certificates

    assert set(certificates(est.ask("eecerts"))) == {certificate, other}
    est.revoke(other)
    assert certificates(est.ask("eecerts")) == [certificate]
