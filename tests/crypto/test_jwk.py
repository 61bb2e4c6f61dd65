"""JSON Web Keys, against josepy and jwcrypto."""

from __future__ import annotations

import json
from typing import Any

import josepy
import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwcrypto import jwk as jwcrypto_jwk
from jwcrypto import jws as jwcrypto_jws

from pkid.crypto.jwk import ALGORITHMS, PublicJWK, verify_mac
from pkid.errors import ErrorCode, PKIError

#: RFC 7638 section 3.1.
RFC_7638_KEY = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",  # noqa: E501
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}
KINDS = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "RS256": ("RSA", 2048),
    "RS384": ("RSA", 2048),
    "RS512": ("RSA", 2048),
    "PS256": ("RSA", 2048),
    "PS384": ("RSA", 2048),
    "PS512": ("RSA", 2048),
}
MADE: dict[tuple[str, Any], jwcrypto_jwk.JWK] = {}


def key_for(algorithm: str) -> jwcrypto_jwk.JWK:
    kind, size = KINDS[algorithm]
    if (kind, size) not in MADE:
        what = {"size": size} if kind == "RSA" else {"crv": size}
        MADE[kind, size] = jwcrypto_jwk.JWK.generate(kty=kind, **what)
    return MADE[kind, size]


def members(key: jwcrypto_jwk.JWK) -> dict[str, Any]:
    return dict(json.loads(key.export_public()))


def signed(algorithm: str) -> tuple[PublicJWK, bytes, bytes]:
    key = key_for(algorithm)
    made = jwcrypto_jws.JWS(b"payload")
    made.allowed_algs = list(ALGORITHMS)
    made.add_signature(key, None, json.dumps({"alg": algorithm}))
    protected, payload, signature = made.serialize(compact=True).split(".")
    octets = jwcrypto_jwk.base64url_decode(signature)
    return PublicJWK.decode(members(key)), f"{protected}.{payload}".encode(), octets


@pytest.mark.requirement("ACME-06")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signatures_of_jwcrypto_are_verified(algorithm: str) -> None:
    key, octets, signature = signed(algorithm)
    key.verify(algorithm, octets, signature)
    for changed in (octets + b"x", octets[:-1]):
        with pytest.raises(PKIError) as caught:
            key.verify(algorithm, changed, signature)
        assert caught.value.code is ErrorCode.BAD_MESSAGE_CHECK


@pytest.mark.requirement("ACME-07")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_of_another_length_is_wrong(algorithm: str) -> None:
    key, octets, signature = signed(algorithm)
    for changed in (signature[:-1], signature + b"\0", b"", b"\0" + signature):
        with pytest.raises(PKIError) as caught:
            key.verify(algorithm, octets, changed)
        assert caught.value.code is ErrorCode.BAD_MESSAGE_CHECK


@pytest.mark.requirement("ACME-06", "ACME-07")
@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256K", "", "es256"])
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    key, octets, signature = signed("ES256")
    with pytest.raises(PKIError) as caught:
        key.verify(algorithm, octets, signature)
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


@pytest.mark.requirement("ACME-07")
def test_an_algorithm_belongs_to_one_kind_of_key() -> None:
    for own in ALGORITHMS:
        key, octets, signature = signed(own)
        for other in ALGORITHMS:
            if KINDS[other] == KINDS[own]:
                continue
            with pytest.raises(PKIError) as caught:
                key.verify(other, octets, signature)
            assert caught.value.code is ErrorCode.BAD_ALGORITHM


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    found = PublicJWK.decode(RFC_7638_KEY)
    assert found.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert set(found.members) == {"kty", "n", "e"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_keys_are_those_of_other_libraries(algorithm: str) -> None:
    key = key_for(algorithm)
    found = PublicJWK.decode(members(key))
    assert found.thumbprint == key.thumbprint()
    assert found.spki == key.get_op_key("verify").public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    if KINDS[algorithm][0] != "OKP":
        theirs = josepy.JWK.from_json(members(key))
        assert theirs.thumbprint() == jwcrypto_jwk.base64url_decode(found.thumbprint)


def test_an_ed448_key_signs_too() -> None:
    key = ed448.Ed448PrivateKey.generate()
    octets = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    text = jwcrypto_jwk.base64url_encode(octets)
    found = PublicJWK.decode({"kty": "OKP", "crv": "Ed448", "x": text})
    found.verify("EdDSA", b"octets", key.sign(b"octets"))


def weak_keys() -> dict[str, dict[str, Any]]:
    good = members(key_for("ES256"))
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    small = {
        "kty": "RSA",
        "n": jwcrypto_jwk.base64url_encode(numbers.n.to_bytes(128, "big")),
        "e": "AQAB",
    }
    big = members(key_for("RS256"))
    private = ed25519.Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    edwards = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": jwcrypto_jwk.base64url_encode(raw),
    }
    return {
        "no kind": {},
        "unknown kind": good | {"kty": "oct"},
        "kind a list": good | {"kty": ["EC"]},
        "no coordinate": {name: good[name] for name in ("kty", "crv", "x")},
        "coordinate a number": good | {"x": 1},
        "coordinate padded": good | {"x": good["x"] + "="},
        "coordinate short": good | {"x": good["x"][:-4]},
        "coordinate long": good | {"x": "AAAA" + good["x"]},
        "off the curve": good | {"x": good["y"], "y": good["x"]},
        "other curve": good | {"crv": "secp256k1"},
        "private": good | {"d": "AQAB"},
        "small RSA": small,
        "even exponent": big | {"e": "AQAC"},
        "even modulus": big | {"n": big["n"][:-1] + "A"},
        "exponent one": big | {"e": "AQ"},
        "leading zero": big | {"e": "AAEAAQ"},
        "huge": big | {"n": "__" * 20_000},
        "Edwards short": edwards | {"x": edwards["x"][:-4]},
        "X25519": edwards | {"crv": "X25519"},
    }


@pytest.mark.requirement("ACME-07")
@pytest.mark.parametrize("name", sorted(weak_keys()))
def test_broken_and_weak_keys_are_refused(name: str) -> None:
    with pytest.raises(PKIError) as caught:
        PublicJWK.decode(weak_keys()[name])
    assert caught.value.code in (ErrorCode.BAD_TEMPLATE, ErrorCode.BAD_ALGORITHM)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_macs_of_jwcrypto_are_verified(algorithm: str) -> None:
    secret = b"0123456789abcdef" * 4
    key = jwcrypto_jwk.JWK(kty="oct", k=jwcrypto_jwk.base64url_encode(secret))
    made = jwcrypto_jws.JWS(b"payload")
    made.add_signature(key, algorithm, json.dumps({"alg": algorithm}))
    protected, payload, mac = made.serialize(compact=True).split(".")
    octets = f"{protected}.{payload}".encode()
    verify_mac(algorithm, secret, octets, jwcrypto_jwk.base64url_decode(mac))
    for wrong in (b"", b"x" * 32):
        with pytest.raises(PKIError) as caught:
            verify_mac(algorithm, secret, octets, wrong)
        assert caught.value.code is ErrorCode.BAD_MESSAGE_CHECK
    with pytest.raises(PKIError) as caught:
        verify_mac("ES256", secret, octets, b"")
    assert caught.value.code is ErrorCode.BAD_ALGORITHM
