"""Keys made once, and the openssl program as second opinion."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    rsa,
    x448,
    x25519,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.algorithms import PrivateKey, PublicKey, signature_algorithm_for
from pkid.crypto.certificates import Certificate
from pkid.crypto.extensions import (
    authority_key_identifier,
    basic_constraints,
    key_usage,
    subject_key_identifier,
)
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.signatures import sign
from pkid.crypto.tbs import CertificateTemplate, encode_certificate
from pkid.errors import PKIError

NOW = datetime.datetime(2026, 6, 1, 12, 0, 0, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
YEAR = 365 * DAY

_CURVES: dict[str, ec.EllipticCurve] = {
    "ec:P-192": ec.SECP192R1(),
    "ec:P-224": ec.SECP224R1(),
    "ec:P-256": ec.SECP256R1(),
    "ec:P-384": ec.SECP384R1(),
    "ec:P-521": ec.SECP521R1(),
    "ec:brainpoolP256r1": ec.BrainpoolP256R1(),
    "ec:brainpoolP384r1": ec.BrainpoolP384R1(),
    "ec:brainpoolP512r1": ec.BrainpoolP512R1(),
    "ec:secp256k1": ec.SECP256K1(),
}
_SIGNING = {
    "ed25519": ed25519.Ed25519PrivateKey,
    "ed448": ed448.Ed448PrivateKey,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey,
}
_OTHER = {
    "ml-kem-768": mlkem.MLKEM768PrivateKey,
    "ml-kem-1024": mlkem.MLKEM1024PrivateKey,
    "x25519": x25519.X25519PrivateKey,
    "x448": x448.X448PrivateKey,
}
SIGNING_FAMILIES = (*_CURVES, "rsa", *_SIGNING)


@cache
def private_key(family: str, number: int = 0) -> PrivateKey:
    """A signing key of a family; the same number gives the same key."""
    del number
    if family.startswith("rsa"):
        return rsa.generate_private_key(65537, int(family[4:] or 2048))
    if family in _CURVES:
        return ec.generate_private_key(_CURVES[family])
    return _SIGNING[family].generate()


@cache
def public_key(family: str) -> PublicKey:
    """A public key of any family, also of those that do not sign."""
    if family in _OTHER:
        return _OTHER[family].generate().public_key()
    return private_key(family).public_key()


def spki_of(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def code_of(function: Callable[..., object], *arguments: Any, **keywords: Any) -> Any:
    """The code with which a call is refused."""
    with pytest.raises(PKIError) as caught:
        function(*arguments, **keywords)
    return caught.value.code


def openssl(*arguments: str, **files: bytes) -> str:
    """What the openssl program says.

    :param files: contents of files, named in ``arguments`` as ``@name``.
    """
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in files.items():
            (Path(folder) / name).write_bytes(contents)
        done = subprocess.run(
            [
                program,
                *(
                    str(Path(folder) / argument[1:])
                    if argument.startswith("@")
                    else argument
                    for argument in arguments
                ),
            ],
            capture_output=True,
            timeout=20,
            check=False,
        )
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, text
    return text


def issue(
    issuer_name: str,
    issuer_key: PrivateKey,
    subject_name: str,
    subject_key: PublicKey,
    *extensions: Extension,
    serial: int = 0x1234,
    not_before: datetime.datetime = NOW - DAY,
    not_after: datetime.datetime = NOW + YEAR,
    algorithm: AlgorithmIdentifier | None = None,
) -> bytes:
    """A certificate made by what is under test."""
    used = algorithm or signature_algorithm_for(issuer_key.public_key())
    template = CertificateTemplate.compile(
        Name.from_text(issuer_name).der,
        used,
        [extension.encode() for extension in extensions],
    )
    tbs = template.assemble(
        serial,
        not_before,
        not_after,
        Name.from_text(subject_name).der if subject_name else b"\x30\x00",
        spki_of(subject_key),
    )
    return encode_certificate(tbs, used, sign(issuer_key, used, tbs))


def ca(
    name: str,
    key: PrivateKey,
    issuer_name: str | None = None,
    issuer_key: PrivateKey | None = None,
    *more: Extension,
    path_length: int | None = None,
    **rest: datetime.datetime,
) -> Certificate:
    """A CA certificate; self-signed unless an issuer is given."""
    signer = issuer_key or key
    extensions = (
        basic_constraints(ca=True, path_length=path_length),
        key_usage(["keyCertSign", "cRLSign"]),
        subject_key_identifier(key_id(key)),
        authority_key_identifier(key_id(signer)),
        *more,
    )
    return Certificate.decode(
        issue(issuer_name or name, signer, name, key.public_key(), *extensions, **rest)
    )


def key_id(key: PrivateKey) -> bytes:
    return decode_spki(spki_of(key.public_key())).key_id
