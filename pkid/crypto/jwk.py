"""Public keys as JSON Web Keys: read, named by thumbprint, verified with.

**Source:** RFC 7517; RFC 7518 sections 3 and 6; RFC 7638; RFC 8037.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pkid.crypto.algorithms import KeySpec, decode_key_specs
from pkid.crypto.publickeys import check_key_quality, decode_spki
from pkid.errors import ErrorCode, PKIError

JWKKey = (
    ec.EllipticCurvePublicKey
    | rsa.RSAPublicKey
    | ed25519.Ed25519PublicKey
    | ed448.Ed448PublicKey
)

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
#: Curve and hash that each ECDSA algorithm is bound to.
_ECDSA: Final[dict[str, tuple[str, hashes.HashAlgorithm]]] = {
    "ES256": ("P-256", hashes.SHA256()),
    "ES384": ("P-384", hashes.SHA384()),
    "ES512": ("P-521", hashes.SHA512()),
}
_RSA: Final[dict[str, hashes.HashAlgorithm]] = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
    "PS256": hashes.SHA256(),
    "PS384": hashes.SHA384(),
    "PS512": hashes.SHA512(),
}
_MACS: Final = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
#: Algorithms of signatures that are taken; what a client may choose from.
ALGORITHMS: Final = (*_ECDSA, "EdDSA", *_RSA)
MAC_ALGORITHMS: Final = tuple(_MACS)
#: Members that go into the thumbprint, in its order, by key type.
_REQUIRED: Final = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
_ALLOWED: Final[tuple[KeySpec, ...]] = tuple(
    decode_key_specs(
        ("ec:P-256", "ec:P-384", "ec:P-521", "rsa:2048-8192", "ed25519", "ed448")
    )
)


@dataclass(frozen=True, slots=True)
class PublicJWK:
    """A public key of a client.

    :ivar thumbprint: SHA-256 of its required members (RFC 7638), base64url.
    :ivar spki: SubjectPublicKeyInfo.
    :ivar members: the required members, nothing else: what is stored.
    """

    key: JWKKey
    thumbprint: str
    spki: bytes
    members: Mapping[str, str]

    @classmethod
    def decode(cls, members: Mapping[str, Any]) -> PublicJWK:
        """Read a key.

        :raises PKIError: ``BAD_TEMPLATE`` for one that is broken, weak or of a kind
            that is not taken; a private key too.
        """
        kind = members.get("kty")
        required = _REQUIRED.get(kind) if isinstance(kind, str) else None
        if required is None:
            raise _bad_key("the key is not of kind EC, OKP or RSA")
        if "d" in members or "k" in members:
            raise _bad_key("the key is not public")
        kept = {name: members.get(name) for name in required}
        texts = {name: value for name, value in kept.items() if isinstance(value, str)}
        if len(texts) != len(required):
            raise _bad_key("a member of the key is missing")
        key = _READERS[texts["kty"]](texts)
        spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        check_key_quality(decode_spki(spki), _ALLOWED)
        digest = hashlib.sha256(_canonical(texts)).digest()
        return cls(key, _encode(digest), spki, texts)

    def verify(self, algorithm: str, signed: bytes, signature: bytes) -> None:
        """Verify a signature of a JWS.

        :raises PKIError: ``BAD_ALGORITHM`` for one that is unknown or does not fit the
            key; ``BAD_MESSAGE_CHECK`` when the signature is wrong.
        """
        try:
            self._verify(algorithm, signed, signature)
        except InvalidSignature:
            raise PKIError(
                ErrorCode.BAD_MESSAGE_CHECK, "the signature of the request is wrong"
            ) from None

    def _verify(self, algorithm: str, signed: bytes, signature: bytes) -> None:
        key = self.key
        if isinstance(key, ec.EllipticCurvePublicKey) and algorithm in _ECDSA:
            _verify_ecdsa(key, self.members["crv"], algorithm, signed, signature)
        elif isinstance(key, rsa.RSAPublicKey) and algorithm in _RSA:
            digest = _RSA[algorithm]
            key.verify(signature, signed, _padding(algorithm, digest), digest)
        elif (
            isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey))
            and algorithm == "EdDSA"
        ):
            key.verify(signature, signed)
        else:
            raise PKIError(
                ErrorCode.BAD_ALGORITHM,
                f"the algorithm is unknown or does not fit the key: {algorithm:.32}",
            )


def verify_mac(algorithm: str, key: bytes, signed: bytes, mac: bytes) -> None:
    """Verify the MAC of a JWS.

    :raises PKIError: ``BAD_ALGORITHM``; ``BAD_MESSAGE_CHECK``.
    """
    name = _MACS.get(algorithm)
    if name is None:
        raise PKIError(
            ErrorCode.BAD_ALGORITHM, f"not one of {', '.join(_MACS)}: {algorithm:.32}"
        )
    if not hmac.compare_digest(hmac.digest(key, signed, name), mac):
        raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, "the MAC is wrong")


# --- reading ---------------------------------------------------------------------


def _read_ec(members: Mapping[str, str]) -> JWKKey:
    curve = _CURVES.get(members["crv"])
    if curve is None:
        raise _bad_key("the curve is not P-256, P-384 or P-521")
    size = (curve.key_size + 7) // 8
    x, y = (_octets(members, name) for name in ("x", "y"))
    if len(x) != size or len(y) != size:
        raise _bad_key("a coordinate does not have the length of the curve")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\x04" + x + y)
    except ValueError:
        raise _bad_key("the point is not on its curve") from None


def _read_okp(members: Mapping[str, str]) -> JWKKey:
    octets = _octets(members, "x")
    try:
        if members["crv"] == "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(octets)
        if members["crv"] == "Ed448":
            return ed448.Ed448PublicKey.from_public_bytes(octets)
    except ValueError:
        raise _bad_key("the key does not have the length of its curve") from None
    raise _bad_key("the curve is not Ed25519 or Ed448")


def _read_rsa(members: Mapping[str, str]) -> JWKKey:
    modulus, exponent = (_octets(members, name) for name in ("n", "e"))
    if modulus[:1] == b"\0" or exponent[:1] == b"\0":
        raise _bad_key("a number has leading zeros")
    if len(modulus) > 8192 // 8 or len(exponent) > 8:
        raise _bad_key("the RSA key is too large")
    numbers = rsa.RSAPublicNumbers(
        int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
    )
    try:
        return numbers.public_key()
    except ValueError:
        raise _bad_key("the RSA key is not valid") from None


_READERS: Final[dict[str, Callable[[Mapping[str, str]], JWKKey]]] = {
    "EC": _read_ec,
    "OKP": _read_okp,
    "RSA": _read_rsa,
}


def _octets(members: Mapping[str, str], name: str) -> bytes:
    text = members[name]
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        octets = b""
    if not octets or _encode(octets) != text:
        raise _bad_key(f"member {name} of the key is not base64url without padding")
    return octets


# --- verifying -------------------------------------------------------------------


def _verify_ecdsa(
    key: ec.EllipticCurvePublicKey,
    curve: str,
    algorithm: str,
    signed: bytes,
    signature: bytes,
) -> None:
    wanted, digest = _ECDSA[algorithm]
    if curve != wanted:
        raise PKIError(ErrorCode.BAD_ALGORITHM, f"{algorithm} needs a key on {wanted}")
    size = (key.key_size + 7) // 8
    if len(signature) != 2 * size:
        raise InvalidSignature
    r, s = (
        int.from_bytes(part, "big") for part in (signature[:size], signature[size:])
    )
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))


def _padding(algorithm: str, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if algorithm.startswith("PS"):
        return padding.PSS(padding.MGF1(digest), digest.digest_size)
    return padding.PKCS1v15()


def _canonical(members: Mapping[str, str]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode("ascii")


def _encode(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _bad_key(detail: str) -> PKIError:
    return PKIError(ErrorCode.BAD_TEMPLATE, detail)
