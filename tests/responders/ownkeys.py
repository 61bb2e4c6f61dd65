"""Keys that cannot sign, and what their owners do with what is encrypted to them."""

from __future__ import annotations

import secrets
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, rsa, x448, x25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from pyasn1.codec.der.decoder import decode as pyasn1_decode
from pyasn1_alt_modules import rfc5652, rfc9810

from pkid.asn1.cms.enveloped import EnvelopedData
from pkid.crypto.decryption import decrypt
from pkid.messages.crmf import (
    CertReqMsg,
    KeyUse,
    SubsequentMessage,
)
from pkid.messages.privkeyproofs import PrivKeyProof, make_popo
from tests.responders.desk import Desk
from tests.responders.peers import Answer, signed_request

KEYS: dict[str, Any] = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "ec:P-256": ec.generate_private_key(ec.SECP256R1()),
    "ec:P-384": ec.generate_private_key(ec.SECP384R1()),
    "ec:P-521": ec.generate_private_key(ec.SECP521R1()),
    "x25519": x25519.X25519PrivateKey.generate(),
    "x448": x448.X448PrivateKey.generate(),
    "ml-kem-768": mlkem.MLKEM768PrivateKey.generate(),
    "ml-kem-1024": mlkem.MLKEM1024PrivateKey.generate(),
}
FAMILIES = tuple(KEYS)
ENCIPHERING = ("rsa", "ml-kem-768", "ml-kem-1024")
#: Those for which OpenSSL's cms command opens an envelope.
OPENSSL = ("rsa", "ec:P-256", "ec:P-384", "ec:P-521")
SPECS = tuple("rsa:2048-4096" if name == "rsa" else name for name in FAMILIES)

ENCR_CERT = SubsequentMessage.ENCR_CERT
CHALLENGE_RESP = SubsequentMessage.CHALLENGE_RESP


def take_every_key(desk: Desk) -> None:
    """Let the profile have keys of all these kinds."""
    desk.world.change_profile("device", keys=SPECS)


def request_for(family: str, proof: PrivKeyProof, **fields: Any) -> CertReqMsg:
    """A CertReqMsg for one of `KEYS`."""
    use = KeyUse.KEY_ENCIPHERMENT if family in ENCIPHERING else KeyUse.KEY_AGREEMENT
    return signed_request(KEYS[family], popo=make_popo(use, proof), **fields)


def oracle_pair(answer: Answer) -> rfc9810.CertifiedKeyPair:
    """The one certifiedKeyPair, as pyasn1 reads it."""
    name = answer.oracle["body"].getName()
    return answer.oracle["body"][name]["response"][0]["certifiedKeyPair"]


def encrypted_certificate(answer: Answer) -> bytes:
    """``EnvelopedData``, whole, from a version 3 answer."""
    body: Any = answer.body
    (response,) = body.responses
    pair = response.certified_key_pair
    assert pair.certificate is None
    enveloped: bytes = pair.encrypted_cert.enveloped
    assert oracle_pair(answer)["certOrEncCert"].getName() == "encryptedCert"
    read, rest = pyasn1_decode(enveloped, asn1Spec=rfc5652.EnvelopedData())
    assert not rest
    assert len(read["recipientInfos"]) == 1
    return enveloped


def opened(enveloped: bytes, family: str) -> bytes:
    """The content, by OpenSSL where it can."""
    key = KEYS[family]
    if family not in OPENSSL:
        return decrypt(EnvelopedData.decode(enveloped), key, secrets.token_bytes)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    content = EnvelopedData.decode(enveloped).encode_content_info()
    with tempfile.TemporaryDirectory() as folder:
        message, own, out = (Path(folder) / name for name in ("m", "k", "o"))
        message.write_bytes(content)
        own.write_bytes(key_pem)
        subprocess.run(
            [
                *("openssl", "cms", "-decrypt", "-binary", "-inform", "DER"),
                *("-in", message, "-inkey", own, "-out", out),
            ],
            check=True,
            timeout=20,
        )
        return out.read_bytes()


def opened_old_value(value: Any) -> bytes:
    """The content of an ``EncryptedValue`` that pyasn1 has read."""
    key = KEYS["rsa"].decrypt(value["encSymmKey"].asOctets(), PKCS1v15())
    vector, _ = pyasn1_decode(value["symmAlg"]["parameters"].asOctets())
    decryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(vector))).decryptor()
    padded = decryptor.update(value["encValue"].asOctets()) + decryptor.finalize()
    unpadder = PKCS7(128).unpadder()
    return unpadder.update(padded) + unpadder.finalize()


def is_certificate_of(octets: bytes, family: str) -> bool:
    """Whether these are a certificate of this key."""
    certificate = x509.load_der_x509_certificate(octets)
    public: Any = KEYS[family].public_key()
    return bool(certificate.public_key() == public)
