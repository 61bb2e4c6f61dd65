from __future__ import annotations

import contextlib
import hashlib
import math
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import publickeys
from pkid.crypto.algorithms import (
    CURVE_OIDS,
    KeySpec,
    decode_key_specs,
    pss_algorithm,
    signature_algorithm_for,
)
from pkid.crypto.publickeys import check_key_quality, decode_spki
from pkid.crypto.signatures import sign
from pkid.crypto.weakkeys import has_close_primes, has_roca_fingerprint, is_square
from pkid.errors import ErrorCode, PKIError
from tests.crypto.oracles import (
    SIGNING_FAMILIES,
    code_of,
    private_key,
    public_key,
    spki_of,
)

FAMILIES = (*SIGNING_FAMILIES, "x25519", "x448", "ml-kem-768", "ml-kem-1024")
ANY = decode_key_specs(
    ["rsa:1024-16384", *(family for family in FAMILIES if family != "rsa")]
)


def spki(oid: str, key: bytes, parameters: bytes | None = None) -> bytes:
    return der.sequence(
        AlgorithmIdentifier(oid, parameters).encode(), der.bit_string(key)
    )


def ec_spki(point: bytes, curve: bytes) -> bytes:
    return spki(oids.ID_EC_PUBLIC_KEY, point, curve)


def rsa_spki(modulus: int, exponent: int = 65537) -> bytes:
    numbers = der.sequence(der.integer(modulus), der.integer(exponent))
    return spki(oids.RSA_ENCRYPTION, numbers, der.NULL)


def detail_of(octets: bytes, **keywords: Any) -> str:
    with pytest.raises(PKIError) as caught:
        check_key_quality(decode_spki(octets), ANY, **keywords)
    assert caught.value.code is ErrorCode.BAD_TEMPLATE
    return caught.value.detail


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_keeps_its_octets_and_tells_its_family(family: str) -> None:
    key = public_key(family)
    octets = spki_of(key)
    info = decode_spki(octets)
    assert (info.spki, info.family) == (octets, family)
    assert spki_of(info.load()) == octets
    assert info.fingerprint == hashlib.sha256(octets).digest()
    if family == "rsa" or family.startswith("ec:"):
        assert info.bits == key.key_size  # type: ignore[union-attr]
    check_key_quality(info, ANY)


@pytest.mark.parametrize("family", ["rsa", "ec:P-256", "ed25519"])
def test_the_key_identifier_is_that_of_cryptography(family: str) -> None:
    key = public_key(family)
    expected = x509.SubjectKeyIdentifier.from_public_key(key).digest  # type: ignore[arg-type]
    assert decode_spki(spki_of(key)).key_id == expected


# --- structure ----------------------------------------------------------------

POINT = public_key("ec:P-256").public_bytes(  # type: ignore[union-attr]
    Encoding.X962, PublicFormat.UncompressedPoint
)
P256 = der.oid(CURVE_OIDS["P-256"])
MODULUS = public_key("rsa").public_numbers().n  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x00", id="empty"),
        pytest.param(rsa_spki(MODULUS) + b"\x00", id="trailing"),
        pytest.param(b"\x30\x82\xff\xff" + bytes(5000), id="too long"),
        pytest.param(spki(oids.ID_EC_PUBLIC_KEY, POINT), id="no curve"),
        pytest.param(ec_spki(POINT, b"\x30\x00"), id="explicit curve"),
        pytest.param(ec_spki(POINT, der.NULL), id="implicit curve"),
        pytest.param(ec_spki(POINT[:-1], P256), id="short point"),
        pytest.param(ec_spki(POINT + b"\x00", P256), id="long point"),
        pytest.param(ec_spki(b"", P256), id="no point"),
        pytest.param(ec_spki(b"\x00", P256), id="infinity"),
        pytest.param(ec_spki(b"\x02" + POINT[1:33], P256), id="compressed"),
        pytest.param(ec_spki(b"\x06" + POINT[1:], P256), id="hybrid point"),
        pytest.param(spki(oids.ID_ED25519, bytes(31)), id="short Ed25519"),
        pytest.param(spki(oids.ID_ED25519, bytes(32), der.NULL), id="Ed25519 NULL"),
        pytest.param(spki(oids.ID_ML_DSA_44, bytes(1311)), id="short ML-DSA"),
        pytest.param(spki(oids.RSA_ENCRYPTION, b"\x30\x00", der.NULL), id="no numbers"),
        pytest.param(spki(oids.RSA_ENCRYPTION, b"abc", der.NULL), id="garbage"),
        pytest.param(rsa_spki(-MODULUS), id="negative modulus"),
        pytest.param(rsa_spki(0), id="zero modulus"),
        pytest.param(rsa_spki(MODULUS, -3), id="negative exponent"),
        pytest.param(
            spki(
                oids.RSA_ENCRYPTION,
                der.sequence(der.integer(MODULUS), der.integer(65537)),
            ),
            id="RSA without NULL",
        ),
        pytest.param(
            der.sequence(
                AlgorithmIdentifier(oids.ID_ED25519).encode(),
                b"\x03\x21\x01" + bytes(32),
            ),
            id="unused bits",
        ),
    ],
)
def test_malformed_keys_are_badCertTemplate(octets: bytes) -> None:
    assert code_of(decode_spki, octets) is ErrorCode.BAD_TEMPLATE


@pytest.mark.parametrize(
    "octets",
    [
        spki("1.2.840.10040.4.1", bytes(10), b"\x30\x00"),
        ec_spki(POINT, der.oid("1.3.132.0.1")),
        spki(oids.ID_ALG_ML_KEM_512, bytes(800)),
        spki("1.2.3.4", b"x"),
    ],
    ids=["DSA", "sect163k1", "ML-KEM-512", "nobody's"],
)
def test_unknown_kinds_and_curves_are_badAlg(octets: bytes) -> None:
    assert code_of(decode_spki, octets) is ErrorCode.BAD_ALGORITHM


@given(st.binary(max_size=200))
def test_any_octets_give_PKIError_alone(octets: bytes) -> None:
    with pytest.raises(PKIError):
        decode_spki(octets)


@given(st.integers(0, 90), st.integers(0, 255))
def test_a_changed_octet_gives_a_key_or_PKIError(position: int, octet: int) -> None:
    octets = bytearray(spki_of(public_key("ec:P-256")))
    octets[position] = octet
    # Any other exception fails the test by itself.
    with contextlib.suppress(PKIError):
        check_key_quality(decode_spki(bytes(octets)), ANY)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(b"\x04" + bytes(64), id="0,0"),
        pytest.param(b"\x04" + b"\xff" * 64, id="beyond the field"),
        pytest.param(POINT[:-1] + bytes((POINT[-1] ^ 1,)), id="beside the curve"),
    ],
)
def test_points_that_are_not_on_the_curve_are_badCertTemplate(point: bytes) -> None:
    info = decode_spki(ec_spki(point, P256))
    assert code_of(info.load) is ErrorCode.BAD_TEMPLATE
    assert code_of(check_key_quality, info, ANY) is ErrorCode.BAD_TEMPLATE


# --- quality ------------------------------------------------------------------


def test_what_a_profile_does_not_list_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_check_rsa", "_load"):
        monkeypatch.setattr(publickeys, name, None)
    large = decode_spki(rsa_spki(1 << 16000 | 1))
    specs = [KeySpec("rsa", 2048, 4096), KeySpec("ec:P-256")]
    assert code_of(check_key_quality, large, specs) is ErrorCode.BAD_TEMPLATE
    for family in ("ec:P-384", "ed25519", "ml-dsa-87"):
        info = decode_spki(spki_of(public_key(family)))
        assert code_of(check_key_quality, info, specs) is ErrorCode.BAD_ALGORITHM
    assert code_of(check_key_quality, large, []) is ErrorCode.BAD_ALGORITHM


def test_blocked_keys_are_refused() -> None:
    for family in ("rsa", "ec:P-256"):
        octets = spki_of(public_key(family))
        blocked = frozenset({hashlib.sha256(octets).digest()})
        assert "blocked" in detail_of(octets, blocked=blocked)


@pytest.mark.parametrize("exponent", [1, 2, 3, 17, 65536, 65535])
def test_small_or_even_exponents_are_refused(exponent: int) -> None:
    assert "exponent" in detail_of(rsa_spki(MODULUS, exponent))


def test_exponent_3_may_be_allowed_but_never_1() -> None:
    check_key_quality(decode_spki(rsa_spki(MODULUS, 3)), ANY, min_exponent=3)
    assert "exponent" in detail_of(rsa_spki(MODULUS, 1), min_exponent=1)


def test_huge_exponents_are_refused() -> None:
    assert "exponent" in detail_of(rsa_spki(MODULUS, 1 << 256 | 1))
    assert "exponent" in detail_of(rsa_spki(MODULUS, MODULUS + 2))


PRIMES = [p for p in range(3, 752) if all(p % d for d in range(2, math.isqrt(p) + 1))]


@pytest.mark.parametrize("prime", [*PRIMES[:5], *PRIMES[-5:]])
def test_a_modulus_with_a_small_factor_is_refused(prime: int) -> None:
    other = (1 << 2047) // prime | 1
    assert "factors" in detail_of(rsa_spki(prime * other))


def test_an_even_modulus_is_refused() -> None:
    assert "factors" in detail_of(rsa_spki(MODULUS - 1))


def primes() -> tuple[int, int]:
    numbers = private_key("rsa").private_numbers()  # type: ignore[union-attr]
    return numbers.p, numbers.q


def next_prime(number: int) -> int:
    number |= 1
    while any(number % p == 0 for p in PRIMES) or pow(2, number - 1, number) != 1:
        number += 2
    return number


def test_a_square_modulus_is_refused() -> None:
    p, _ = primes()
    assert "factors" in detail_of(rsa_spki(p * p))


@pytest.mark.parametrize("bits", [1, 100, 512])
def test_a_modulus_of_close_primes_is_refused(bits: int) -> None:
    p, _ = primes()
    q = next_prime(p + (1 << bits))
    assert "close" in detail_of(rsa_spki(p * q))


def test_Fermats_method_begins_with_equal_factors() -> None:
    p, _ = primes()
    assert has_close_primes(p * p, 1)
    assert not has_close_primes(p * p, 0)


def test_Fermats_method_stops_after_its_rounds() -> None:
    p, q = primes()
    assert not has_close_primes(p * q, 100)
    far = next_prime(p + (1 << 518))
    rounds = (p + far) // 2 - math.isqrt(p * far)
    assert 1 < rounds < 10_000
    assert not has_close_primes(p * far, rounds - 1)
    assert has_close_primes(p * far, rounds)


def roca_prime(bits: int, start: int) -> int:
    """A prime of the form of the broken library."""
    product = math.prod(p for p in (2, *PRIMES) if p <= 167)
    base = pow(65537, start, product)
    factor = (1 << bits) // product
    while pow(2, (number := factor * product + base) - 1, number) != 1:
        factor += 1
    return number


def test_ROCA_keys_are_refused() -> None:
    modulus = roca_prime(512, 1234567) * roca_prime(513, 7654321)
    assert has_roca_fingerprint(modulus)
    assert "ROCA" in detail_of(rsa_spki(modulus))
    assert not has_roca_fingerprint(MODULUS)


@given(st.integers(0, 1 << 200))
def test_squares_are_told_from_other_numbers(number: int) -> None:
    assert is_square(number * number)
    assert is_square(number) == (math.isqrt(number) ** 2 == number)
    if number > 0:
        assert not is_square(number * number + 1)


@pytest.mark.parametrize("bits", [1024, 2048, 3072])
def test_sound_RSA_keys_pass(bits: int) -> None:
    octets = spki_of(private_key(f"rsa:{bits}").public_key())
    check_key_quality(decode_spki(octets), [KeySpec("rsa", bits, bits)])


# --- keys for PSS alone -------------------------------------------------------


def pss_spki(parameters: bytes | None) -> bytes:
    numbers = der.sequence(der.integer(MODULUS), der.integer(65537))
    return spki(oids.ID_RSASSA_PSS, numbers, parameters)


@pytest.mark.parametrize("parameters", [None, pss_algorithm("sha256").parameters])
def test_a_key_for_PSS_verifies_nothing_else(parameters: bytes | None) -> None:
    info = decode_spki(pss_spki(parameters))
    key = private_key("rsa")
    for algorithm in (signature_algorithm_for("rsa"), pss_algorithm("sha256")):
        signature = sign(key, algorithm, b"data")
        if algorithm.oid == oids.ID_RSASSA_PSS:
            info.verify(algorithm, signature, b"data")
        else:
            assert code_of(info.verify, algorithm, signature, b"data") is (
                ErrorCode.BAD_ALGORITHM
            )


def test_a_key_for_PSS_with_parameters_binds_digest_and_salt() -> None:
    info = decode_spki(pss_spki(pss_algorithm("sha256", 32).parameters))
    key = private_key("rsa")
    longer = pss_algorithm("sha256", 40)
    info.verify(longer, sign(key, longer, b"data"), b"data")
    for other in (pss_algorithm("sha384", 48), pss_algorithm("sha256", 20)):
        signature = sign(key, other, b"data")
        assert code_of(info.verify, other, signature, b"data") is (
            ErrorCode.BAD_ALGORITHM
        )


def test_a_key_for_PSS_with_broken_parameters_is_refused() -> None:
    code = code_of(decode_spki, pss_spki(der.NULL))
    assert code is ErrorCode.BAD_ALGORITHM


def test_a_SHA1_switch_reaches_the_key() -> None:
    key: Any = private_key("ec:P-256")
    signature = key.sign(b"data", ec.ECDSA(hashes.SHA1()))
    algorithm = signature_algorithm_for("ec:P-256", "sha1")
    info = decode_spki(spki_of(key.public_key()))
    info.verify(algorithm, signature, b"data", allow_sha1=True)
    assert code_of(info.verify, algorithm, signature, b"data") is (
        ErrorCode.BAD_ALGORITHM
    )


def test_PSS_signatures_of_cryptography_verify() -> None:
    key = private_key("rsa")
    assert isinstance(key, rsa.RSAPrivateKey)
    scheme = padding.PSS(padding.MGF1(hashes.SHA512()), 64)
    signature = key.sign(b"data", scheme, hashes.SHA512())
    decode_spki(rsa_spki(MODULUS)).verify(pss_algorithm("sha512"), signature, b"data")
