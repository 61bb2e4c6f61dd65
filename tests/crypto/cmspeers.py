"""Recipients and signers for CMS tests, and OpenSSL's cms command."""

from __future__ import annotations

import base64
import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, mlkem, rsa, x448, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pkid.crypto.certificates import Certificate
from pkid.crypto.extensions import key_usage, subject_key_identifier
from pkid.crypto.publickeys import decode_spki
from tests.crypto.oracles import issue, openssl, private_key, spki_of

_MAKE: dict[str, Any] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ec:P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "x25519": x25519.X25519PrivateKey.generate,
    "x448": x448.X448PrivateKey.generate,
    "ml-kem-768": mlkem.MLKEM768PrivateKey.generate,
    "ml-kem-1024": mlkem.MLKEM1024PrivateKey.generate,
}
FAMILIES = tuple(_MAKE)
TRANSPORT = ("rsa", "ml-kem-768", "ml-kem-1024")
_SERIALS = itertools.count(0x1000)
OPENSSL_FAMILIES = ("rsa", "ec:P-256", "ec:P-384", "ec:P-521")


@dataclass(frozen=True)
class Peer:
    """Somebody with a key and a certificate."""

    key: Any
    certificate: Certificate

    @property
    def key_pem(self) -> bytes:
        key: bytes = self.key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        return key

    @property
    def certificate_pem(self) -> bytes:
        return pem("CERTIFICATE", self.certificate.der)


def pem(label: str, octets: bytes) -> bytes:
    text = base64.encodebytes(octets)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (
        label.encode(),
        text,
        label.encode(),
    )


def unpem(text: str) -> bytes:
    lines = text[text.index("-----BEGIN") :].splitlines()
    return base64.b64decode(
        "".join(lines[1 : lines.index(lines[0].replace("BEGIN", "END"))])
    )


@cache
def peer(family: str, *usages: str, number: int = 0) -> Peer:
    """A recipient; without usages the certificate has those that its key needs."""
    key = _MAKE[family]()
    needed = usages or (("keyEncipherment" if family in TRANSPORT else "keyAgreement"),)
    return Peer(key, certify(key, f"CN={family} {number}", needed))


@cache
def signer(family: str) -> Peer:
    key = private_key(family)
    return Peer(key, certify(key, f"CN=signer {family}", ("digitalSignature",)))


def certify(key: Any, subject: str, usages: tuple[str, ...]) -> Certificate:
    public = key.public_key()
    return Certificate.decode(
        issue(
            "CN=issuer",
            private_key("ec:P-256"),
            subject,
            public,
            key_usage(list(usages)),
            subject_key_identifier(decode_spki(spki_of(public)).key_id),
            serial=next(_SERIALS),
        )
    )


def cms(*arguments: str, **files: bytes) -> str:
    """What ``openssl cms`` writes."""
    return openssl("cms", *arguments, **files)
