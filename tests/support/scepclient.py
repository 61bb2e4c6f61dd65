"""A SCEP client that can do everything rightly, and each thing wrongly.

Requests are put together of DER; answers are read with pyasn1 and checked with
``cryptography``, so that they are judged by other people's code.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import univ
from pyasn1_modules import rfc5652

from pkid.asn1 import der

DATA, SIGNED, ENVELOPED = (f"1.2.840.113549.1.7.{number}" for number in (1, 2, 3))
AUTH_ENVELOPED = "1.2.840.113549.1.9.16.1.23"
SCEP = "2.16.840.1.113733.1.9"
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO = (f"{SCEP}.{number}" for number in (2, 3, 4))
SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    f"{SCEP}.{number}" for number in (5, 6, 7)
)
FAIL_INFO_TEXT = "1.3.6.1.5.5.7.24.1"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"
CHALLENGE, EXTENSIONS = "1.2.840.113549.1.9.7", "1.2.840.113549.1.9.14"

SHA: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "md5": ("1.2.840.113549.2.5", hashes.MD5()),
    "sha1": ("1.3.14.3.2.26", hashes.SHA1()),
    "sha224": ("2.16.840.1.101.3.4.2.4", hashes.SHA224()),
    "sha256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256()),
    "sha384": ("2.16.840.1.101.3.4.2.2", hashes.SHA384()),
    "sha512": ("2.16.840.1.101.3.4.2.3", hashes.SHA512()),
}
RSA_WITH = {
    "md5": "1.2.840.113549.1.1.4",
    "sha1": "1.2.840.113549.1.1.5",
    "sha224": "1.2.840.113549.1.1.14",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
ECDSA_WITH = {
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
CIPHERS = {
    "aes-128-cbc": ("2.16.840.1.101.3.4.1.2", 16, 16),
    "aes-192-cbc": ("2.16.840.1.101.3.4.1.22", 24, 16),
    "aes-256-cbc": ("2.16.840.1.101.3.4.1.42", 32, 16),
    "aes-256-gcm": ("2.16.840.1.101.3.4.1.46", 32, 12),
    "des-ede3-cbc": ("1.2.840.113549.3.7", 24, 8),
    "des-cbc": ("1.3.14.3.2.7", 8, 8),
}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def new_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def spki_of(key: Key) -> bytes:
    return key.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


def name(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(text)


def self_signed(
    key: Key, subject: str = "CN=device-1", digest: hashes.HashAlgorithm | None = None
) -> x509.Certificate:
    """The certificate that a client makes for itself to sign its first request."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(subject))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .sign(key, digest or hashes.SHA256())
    )


def der_of(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def attribute(oid: str, *values: bytes) -> bytes:
    return der.sequence(der.oid(oid), der.encode(der.SET, *values))


def printable(text: str) -> bytes:
    return der.encode(der.PRINTABLE_STRING, text.encode())


def sign(key: Key, digest: str, octets: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, rsa_padding.PKCS1v15(), SHA[digest][1])
    return key.sign(octets, ec.ECDSA(SHA[digest][1]))


def signature_algorithm(key: Key, digest: str) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return der.sequence(der.oid(RSA_WITH[digest]), der.NULL)
    return der.sequence(der.oid(ECDSA_WITH[digest]))


def pkcs10(
    key: Key,
    subject: str = "CN=device-1",
    challenge: str | None = None,
    *,
    extensions: Sequence[bytes] = (),
    attributes: Sequence[bytes] = (),
    digest: str = "sha256",
    spki: bytes | None = None,
) -> bytes:
    """A request, its attributes in the order in which they come."""
    found = []
    if challenge is not None:
        found.append(attribute(CHALLENGE, printable(challenge)))
    if extensions:
        found.append(attribute(EXTENSIONS, der.sequence(*extensions)))
    found += attributes
    info = der.sequence(
        der.integer(0),
        name(subject).public_bytes(),
        spki or spki_of(key),
        der.encode(0xA0, *found),
    )
    signature = der.bit_string(sign(key, digest, info))
    return der.sequence(info, signature_algorithm(key, digest), signature)


def san(*names: str) -> bytes:
    """A SubjectAltName extension with DNS names."""
    value = der.sequence(*(der.encode(0x82, one.encode()) for one in names))
    return der.sequence(der.oid("2.5.29.17"), der.octet_string(value))


def key_usage(bits: bytes) -> bytes:
    """A KeyUsage extension; the contents of the BIT STRING."""
    value = der.octet_string(der.encode(der.BIT_STRING, bits))
    return der.sequence(der.oid("2.5.29.15"), der.boolean(value=True), value)


# --- the envelope ----------------------------------------------------------------


def primitive(cipher: str, key: bytes, vector: bytes) -> Cipher[Any]:
    if cipher.startswith("des"):
        return Cipher(TripleDES(key * 3 if len(key) == 8 else key), modes.CBC(vector))
    return Cipher(algorithms.AES(key), modes.CBC(vector))


@dataclass(kw_only=True)
class Envelope:
    """How a request is encrypted; each part may be given to be wrong."""

    recipient: x509.Certificate
    cipher: str = "aes-128-cbc"
    encrypted_key: bytes | None = None
    ciphertext: bytes | None = None
    pieces: int = 0
    key: bytes | None = None
    oaep: bool = False
    by_key_id: bool = False
    others: tuple[bytes, ...] = ()

    def encode(self, content: bytes) -> bytes:
        oid, size, block = CIPHERS[self.cipher]
        key = self.key or secrets.token_bytes(size)
        if self.cipher.endswith("gcm"):
            return self._authenticated(content, oid, key)
        vector = secrets.token_bytes(block)
        padder = padding.PKCS7(8 * block).padder()
        padded = padder.update(content) + padder.finalize()
        encryptor = primitive(self.cipher, key, vector).encryptor()
        encrypted = encryptor.update(padded) + encryptor.finalize()
        if self.ciphertext is not None:
            encrypted = self.ciphertext
        body = der.sequence(
            der.integer(0),
            der.encode(der.SET, *self.others, self.recipient_info(key)),
            der.sequence(
                der.oid(DATA),
                der.sequence(der.oid(oid), der.octet_string(vector)),
                self._encrypted(encrypted),
            ),
        )
        return der.sequence(der.oid(ENVELOPED), der.explicit(0, body))

    def _encrypted(self, octets: bytes) -> bytes:
        if not self.pieces:
            return der.encode(0x80, octets)
        # As Go's pkcs7 does: a constructed string within DER.
        step = -(-len(octets) // self.pieces)
        parts = (octets[at : at + step] for at in range(0, len(octets), step))
        return der.encode(0xA0, *(der.octet_string(part) for part in parts))

    def _authenticated(self, content: bytes, oid: str, key: bytes) -> bytes:
        nonce = secrets.token_bytes(12)
        sealed = AESGCM(key).encrypt(nonce, content, None)
        parameters = der.sequence(der.octet_string(nonce), der.integer(16))
        body = der.sequence(
            der.integer(0),
            der.encode(der.SET, self.recipient_info(key)),
            der.sequence(
                der.oid(DATA),
                der.sequence(der.oid(oid), parameters),
                der.encode(0x80, sealed[:-16]),
            ),
            der.octet_string(sealed[-16:]),
        )
        return der.sequence(der.oid(AUTH_ENVELOPED), der.explicit(0, body))

    def recipient_info(self, key: bytes) -> bytes:
        public = self.recipient.public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL)
        encrypted = public.encrypt(key, rsa_padding.PKCS1v15())
        if self.oaep:
            algorithm = der.sequence(der.oid("1.2.840.113549.1.1.7"), der.sequence())
            scheme = rsa_padding.OAEP(
                rsa_padding.MGF1(hashes.SHA1()), hashes.SHA1(), None
            )
            encrypted = public.encrypt(key, scheme)
        if self.encrypted_key is not None:
            encrypted = self.encrypted_key
        rid = der.sequence(
            self.recipient.issuer.public_bytes(),
            der.integer(self.recipient.serial_number),
        )
        if self.by_key_id:
            found = self.recipient.extensions.get_extension_for_class(
                x509.SubjectKeyIdentifier
            )
            rid = der.encode(0x80, found.value.digest)
        version = der.integer(2 if self.by_key_id else 0)
        return der.sequence(version, rid, algorithm, der.octet_string(encrypted))


# --- the request -----------------------------------------------------------------


@dataclass(kw_only=True)
class Message:
    """One request as it will stand; every part may be changed before `encode`.

    :ivar attributes: signed attributes beside contentType and messageDigest, encoded.
    """

    content: bytes | None
    key: Key
    certificate: x509.Certificate
    message_type: str = "19"
    transaction_id: str = field(default_factory=lambda: secrets.token_hex(20))
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    digest: str = "sha256"
    plain_rsa: bool = False
    attributes: list[bytes] | None = None
    further: Sequence[bytes] = ()
    certificates: list[bytes] | None = None
    signature: bytes | None = None
    signers: int = 1
    message_digest: bytes | None = None
    unsorted: bool = False

    def scep_attributes(self) -> list[bytes]:
        return [
            attribute(MESSAGE_TYPE, printable(self.message_type)),
            attribute(TRANSACTION_ID, printable(self.transaction_id)),
            attribute(SENDER_NONCE, der.octet_string(self.nonce)),
        ]

    def encode(self) -> bytes:
        oid, algorithm = SHA[self.digest]
        digest = hashes.Hash(algorithm)
        digest.update(self.content or b"")
        octets = self.message_digest or digest.finalize()
        own = self.scep_attributes() if self.attributes is None else self.attributes
        found = [
            attribute(CONTENT_TYPE, der.oid(DATA)),
            attribute(MESSAGE_DIGEST, der.octet_string(octets)),
            *own,
            *self.further,
        ]
        if not self.unsorted:
            found.sort()
        joined = b"".join(found)
        signature = self.signature or sign(
            self.key, self.digest, der.encode(der.SET, joined)
        )
        named = signature_algorithm(self.key, self.digest)
        if self.plain_rsa:
            named = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL)
        digest_algorithm = der.sequence(der.oid(oid), der.NULL)
        signer = der.sequence(
            der.integer(1),
            der.sequence(
                self.certificate.issuer.public_bytes(),
                der.integer(self.certificate.serial_number),
            ),
            digest_algorithm,
            der.encode(0xA0, joined),
            named,
            der.octet_string(signature),
        )
        certificates = self.certificates
        if certificates is None:
            certificates = [der_of(self.certificate)]
        content = b""
        if self.content is not None:
            content = der.explicit(0, der.octet_string(self.content))
        body = der.sequence(
            der.integer(1),
            der.encode(der.SET, digest_algorithm),
            der.sequence(der.oid(DATA), content),
            der.encode(0xA0, *certificates),
            der.encode(der.SET, *([signer] * self.signers)),
        )
        return der.sequence(der.oid(SIGNED), der.explicit(0, body))


def issuer_and_subject(issuer: x509.Name, subject: str) -> bytes:
    return der.sequence(issuer.public_bytes(), name(subject).public_bytes())


def issuer_and_serial(issuer: x509.Name, serial: int) -> bytes:
    return der.sequence(issuer.public_bytes(), der.integer(serial))


# --- the answer ------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A CertRep whose signature verifies.

    :ivar attributes: values of the signed attributes, by OID, contents octets.
    """

    attributes: dict[str, bytes]
    tags: dict[str, int]
    digest: str
    signature_oid: str
    cipher: str = ""
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    outer: tuple[bytes, ...] = ()
    has_content: bool = False

    @property
    def status(self) -> int:
        return int(self.attributes[PKI_STATUS])

    @property
    def fail_info(self) -> int | None:
        found = self.attributes.get(FAIL_INFO)
        return None if found is None else int(found)

    @property
    def text(self) -> str:
        return self.attributes.get(FAIL_INFO_TEXT, b"").decode()

    @property
    def certificate(self) -> x509.Certificate:
        assert self.status == 0, (self.status, self.fail_info, self.text)
        return self.certificates[0]


def _content(octets: bytes, oid: str) -> bytes:
    info, rest = decoder.decode(octets, asn1Spec=rfc5652.ContentInfo())
    assert not rest
    assert str(info["contentType"]) == oid
    return bytes(info["content"])


def read_answer(
    octets: bytes,
    signer: x509.Certificate,
    key: Key | None = None,
    password: bytes = b"",
) -> Answer:
    """Read a CertRep, and check its signature by ``signer``."""
    signed, rest = decoder.decode(
        _content(octets, SIGNED), asn1Spec=rfc5652.SignedData()
    )
    assert not rest
    assert len(signed["signerInfos"]) == 1
    info = signed["signerInfos"][0]
    names = {oid: known for known, (oid, _) in SHA.items()}
    digest = names[str(info["digestAlgorithm"]["algorithm"])]
    element = encoder.encode(info["signedAttrs"])
    covered = b"\x31" + element[1:]
    public = signer.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(
        bytes(info["signature"]), covered, rsa_padding.PKCS1v15(), SHA[digest][1]
    )
    values: dict[str, bytes] = {}
    tags: dict[str, int] = {}
    for one in info["signedAttrs"]:
        (value,) = one["attrValues"]
        raw = bytes(value)
        tags[str(one["attrType"])] = raw[0]
        values[str(one["attrType"])] = der.single(raw, raw[0])
    content = b""
    encapsulated = signed["encapContentInfo"]
    has_content = encapsulated["eContent"].isValue
    if has_content:
        content = bytes(encapsulated["eContent"])
    hashed = hashes.Hash(SHA[digest][1])
    hashed.update(content)
    assert values[MESSAGE_DIGEST] == hashed.finalize()
    cipher, certificates, crls = "", (), ()
    if content and key is not None:
        cipher, inner = _opened(content, key, password)
        certificates, crls = read_certs_only(inner)
    outer: tuple[bytes, ...] = ()
    if signed["certificates"].isValue:
        outer = tuple(encoder.encode(one) for one in signed["certificates"])
    return Answer(
        attributes=values,
        tags=tags,
        digest=digest,
        signature_oid=str(info["signatureAlgorithm"]["algorithm"]),
        cipher=cipher,
        certificates=certificates,
        crls=crls,
        outer=outer,
        has_content=has_content,
    )


def _opened(octets: bytes, key: Key, password: bytes) -> tuple[str, bytes]:
    info, _ = decoder.decode(octets, asn1Spec=rfc5652.ContentInfo())
    if str(info["contentType"]) == AUTH_ENVELOPED:
        return _opened_gcm(bytes(info["content"]), key)
    enveloped, rest = decoder.decode(
        _content(octets, ENVELOPED), asn1Spec=rfc5652.EnvelopedData()
    )
    assert not rest
    (recipient,) = enveloped["recipientInfos"]
    found = enveloped["encryptedContentInfo"]
    algorithm = found["contentEncryptionAlgorithm"]
    names = {oid: cipher for cipher, (oid, _, _) in CIPHERS.items()}
    cipher = names[str(algorithm["algorithm"])]
    vector, _ = decoder.decode(bytes(algorithm["parameters"]), univ.OctetString())
    if recipient.getName() == "pwri":
        content_key = _key_by_password(recipient["pwri"], password)
    else:
        assert isinstance(key, rsa.RSAPrivateKey)
        encrypted = bytes(recipient["ktri"]["encryptedKey"])
        content_key = key.decrypt(encrypted, rsa_padding.PKCS1v15())
    decryptor = primitive(cipher, content_key, bytes(vector)).decryptor()
    padded = decryptor.update(bytes(found["encryptedContent"])) + decryptor.finalize()
    unpadder = padding.PKCS7(8 * CIPHERS[cipher][2]).unpadder()
    return cipher, unpadder.update(padded) + unpadder.finalize()


def _opened_gcm(octets: bytes, key: Key) -> tuple[str, bytes]:
    cursor = der.Cursor(der.single(octets, der.SEQUENCE))
    cursor.take(der.INTEGER)
    ktri = der.Cursor(der.single(cursor.take(der.SET), der.SEQUENCE))
    for _ in range(3):
        ktri.raw()
    encrypted = ktri.take(der.OCTET_STRING)
    info = cursor.enter(der.SEQUENCE)
    info.take(der.OID)
    algorithm = info.enter(der.SEQUENCE)
    algorithm.take(der.OID)
    nonce = algorithm.enter(der.SEQUENCE).take(der.OCTET_STRING)
    sealed = info.take(0x80)
    tag = cursor.take(der.OCTET_STRING)
    assert isinstance(key, rsa.RSAPrivateKey)
    content_key = key.decrypt(encrypted, rsa_padding.PKCS1v15())
    return "aes-256-gcm", AESGCM(content_key).decrypt(nonce, sealed + tag, None)


def _key_by_password(info: Any, password: bytes) -> bytes:
    """PWRI-KEK of RFC 3211 under PBKDF2."""
    derivation = der.Cursor(
        der.single(bytes(info["keyDerivationAlgorithm"]["parameters"]), der.SEQUENCE)
    )
    salt = derivation.take(der.OCTET_STRING)
    rounds = derivation.integer()
    wrap = bytes(info["keyEncryptionAlgorithm"]["parameters"])
    inner = der.Cursor(der.single(wrap, der.SEQUENCE))
    cipher = {oid: one for one, (oid, _, _) in CIPHERS.items()}[
        der.decode_oid(inner.take(der.OID))
    ]
    vector = inner.take(der.OCTET_STRING)
    kek = PBKDF2HMAC(hashes.SHA256(), CIPHERS[cipher][1], salt, rounds).derive(password)
    wrapped = bytes(info["encryptedKey"])
    last = primitive(cipher, kek, wrapped[-32:-16]).decryptor().update(wrapped[-16:])
    first = primitive(cipher, kek, last).decryptor()
    once = first.update(wrapped[:-16]) + last
    plain = primitive(cipher, kek, vector).decryptor().update(once)
    size = plain[0]
    assert bytes(octet ^ 0xFF for octet in plain[1:4]) == plain[4:7]
    return plain[4 : 4 + size]


def read_certs_only(
    octets: bytes,
) -> tuple[tuple[x509.Certificate, ...], tuple[x509.CertificateRevocationList, ...]]:
    """Certificates in the order of the encoding, and CRLs."""
    signed, rest = decoder.decode(
        _content(octets, SIGNED), asn1Spec=rfc5652.SignedData()
    )
    assert not rest
    assert not signed["encapContentInfo"]["eContent"].isValue
    certificates: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    if signed["certificates"].isValue:
        certificates = tuple(
            x509.load_der_x509_certificate(encoder.encode(one))
            for one in signed["certificates"]
        )
    if signed["crls"].isValue:
        crls = tuple(
            x509.load_der_x509_crl(encoder.encode(one)) for one in signed["crls"]
        )
    return certificates, crls


def fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(der_of(certificate)).hexdigest()
