from __future__ import annotations

import hashlib
import math

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import signatures
from pkid.crypto.algorithms import (
    HASH_OIDS,
    Padding,
    pss_algorithm,
    signature_algorithm_for,
)
from pkid.crypto.signatures import (
    SignedStructure,
    check_rsa_limits,
    encode_signed,
    sign,
    verify_signature,
)
from pkid.errors import ErrorCode
from tests.crypto.oracles import (
    SIGNING_FAMILIES,
    code_of,
    openssl,
    private_key,
    public_key,
    spki_of,
)

DATA = b"what was signed"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256 = signature_algorithm_for("ec:P-256")
RSA = signature_algorithm_for("rsa")
SHA2_AND_3 = sorted(set(HASH_OIDS) - {"sha1", "shake128", "shake256"})


def algorithms() -> list[tuple[str, AlgorithmIdentifier]]:
    cases = [(f, signature_algorithm_for(f)) for f in SIGNING_FAMILIES]
    cases += [("ec:P-256", signature_algorithm_for("ec:P-256", n)) for n in SHA2_AND_3]
    cases += [("rsa", signature_algorithm_for("rsa", n)) for n in SHA2_AND_3]
    cases += [("rsa", pss_algorithm(name)) for name in SHA2_AND_3]
    for name in ("shake128", "shake256"):
        cases.append(("ec:P-384", signature_algorithm_for("ec:P-384", name)))
    return cases


@pytest.mark.requirement("CMP-39")
@pytest.mark.parametrize(("family", "algorithm"), algorithms())
def test_every_kind_signs_and_verifies_and_sees_any_change(
    family: str, algorithm: AlgorithmIdentifier
) -> None:
    signature = sign(private_key(family), algorithm, DATA)
    verify_signature(public_key(family), algorithm, signature, DATA)
    for wrong_signature, wrong_data in (
        (signature, DATA + b"."),
        (signature[:-1] + bytes((signature[-1] ^ 1,)), DATA),
        (signature[:-1], DATA),
        (signature + b"\x00", DATA),
        (b"", DATA),
        (bytes(len(signature)), DATA),
    ):
        code = code_of(
            verify_signature, public_key(family), algorithm, wrong_signature, wrong_data
        )
        assert code is ErrorCode.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-39")
@pytest.mark.parametrize("family", [*SIGNING_FAMILIES, "x25519", "ml-kem-768"])
def test_an_algorithm_that_does_not_fit_the_key_is_badAlg(family: str) -> None:
    for other, algorithm in algorithms():
        if other.partition(":")[0] == family.partition(":")[0]:
            continue
        code = code_of(verify_signature, public_key(family), algorithm, b"x", DATA)
        assert code is ErrorCode.BAD_ALGORITHM
        if family in SIGNING_FAMILIES:
            code = code_of(sign, private_key(family), algorithm, DATA)
            assert code is ErrorCode.BAD_ALGORITHM


@pytest.mark.requirement("CMP-39")
def test_SHA1_is_verified_by_a_switch_only_and_never_signed() -> None:
    key = private_key("rsa")
    pss = padding.PSS(padding.MGF1(hashes.SHA1()), 20)
    ecdsa = private_key("ec:P-256").sign(DATA, ec.ECDSA(hashes.SHA1()))
    cases = [
        ("rsa", signature_algorithm_for("rsa", "sha1"), padding.PKCS1v15()),
        ("rsa", pss_algorithm("sha1"), pss),
    ]
    signed = [
        (family, algorithm, key.sign(DATA, scheme, hashes.SHA1()))
        for family, algorithm, scheme in cases
    ]
    signed.append(("ec:P-256", signature_algorithm_for("ec:P-256", "sha1"), ecdsa))
    for family, algorithm, signature in signed:
        public = public_key(family)
        code = code_of(verify_signature, public, algorithm, signature, DATA)
        assert code is ErrorCode.BAD_ALGORITHM
        verify_signature(public, algorithm, signature, DATA, allow_sha1=True)
        assert code_of(sign, private_key(family), algorithm, DATA) is (
            ErrorCode.BAD_ALGORITHM
        )


@pytest.mark.parametrize("name", ["sha256", "sha384", "sha512", "sha3_256"])
def test_openssl_verifies_what_we_sign(name: str) -> None:
    for family, algorithm, options in (
        ("rsa", signature_algorithm_for("rsa", name), []),
        (
            "rsa",
            pss_algorithm(name),
            ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"],
        ),
        ("ec:P-256", signature_algorithm_for("ec:P-256", name), []),
    ):
        text = openssl(
            *("dgst", f"-{name.replace('_', '-')}", *options),
            *(
                "-keyform",
                "DER",
                "-verify",
                "@key",
                "-signature",
                "@signature",
                "@data",
            ),
            key=spki_of(public_key(family)),
            signature=sign(private_key(family), algorithm, DATA),
            data=DATA,
        )
        assert "Verified OK" in text


# --- ECDSA --------------------------------------------------------------------


def ecdsa_numbers() -> tuple[int, int]:
    return decode_dss_signature(sign(private_key("ec:P-256"), P256, DATA))


def as_ecdsa(*numbers: int) -> bytes:
    return der.sequence(*map(der.integer, numbers))


def ecdsa_negatives() -> dict[str, bytes]:
    r, s = ecdsa_numbers()
    good = as_ecdsa(r, s)
    return {
        "r = 0": as_ecdsa(0, s),
        "s = 0": as_ecdsa(r, 0),
        "both 0": as_ecdsa(0, 0),
        "both 1": as_ecdsa(1, 1),
        "r + n": as_ecdsa(r + ORDER, s),
        "s + n": as_ecdsa(r, s + ORDER),
        "r - n": as_ecdsa(r - ORDER, s),
        "r = n": as_ecdsa(ORDER, s),
        "s = n": as_ecdsa(r, ORDER),
        "-r": as_ecdsa(-r, s),
        "-s": as_ecdsa(r, -s),
        "swapped": as_ecdsa(s, r),
        "one number": as_ecdsa(r),
        "three numbers": as_ecdsa(r, s, 1),
        "trailing inside": der.sequence(der.integer(r), der.integer(s), der.NULL),
        "trailing outside": good + b"\x00",
        "no sequence": der.integer(r) + der.integer(s),
        "set": b"\x31" + good[1:],
        "long length": b"\x30\x81" + good[1:],
        "indefinite length": b"\x30\x80" + good[2:] + b"\x00\x00",
        "leading zero": der.sequence(
            der.encode(der.INTEGER, bytes(2) + r.to_bytes(32, "big")), der.integer(s)
        ),
        "raw r and s": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        "empty sequence": b"\x30\x00",
        "huge": as_ecdsa(r + (ORDER << 4096), s),
    }


@pytest.mark.parametrize("name", list(ecdsa_negatives()))
def test_ECDSA_signatures_out_of_form_are_badMessageCheck(name: str) -> None:
    signature = ecdsa_negatives()[name]
    code = code_of(verify_signature, public_key("ec:P-256"), P256, signature, DATA)
    assert code is ErrorCode.BAD_MESSAGE_CHECK


def test_ECDSA_with_the_high_bit_set_needs_its_zero_octet() -> None:
    key = private_key("ec:P-256")
    for _ in range(100):
        r, s = decode_dss_signature(sign(key, P256, DATA))
        if r >> 255:
            break
    else:
        pytest.fail("no signature with a high bit in a hundred")
    verify_signature(key.public_key(), P256, encode_dss_signature(r, s), DATA)
    negative = der.sequence(
        der.encode(der.INTEGER, r.to_bytes(32, "big")), der.integer(s)
    )
    assert code_of(verify_signature, key.public_key(), P256, negative, DATA) is (
        ErrorCode.BAD_MESSAGE_CHECK
    )


def test_ECDSA_with_SHAKE_signs_the_output_of_RFC_8692() -> None:
    key = private_key("ec:P-521")
    algorithm = signature_algorithm_for("ec:P-521", "shake256")
    assert algorithm.oid == oids.ID_ECDSA_WITH_SHAKE256
    signature = sign(key, algorithm, DATA)
    assert plain_ecdsa(key.public_key(), hashlib.shake_256(DATA).digest(64), signature)


Point = tuple[int, int] | None


def plain_ecdsa(
    key: ec.EllipticCurvePublicKey, hashed: bytes, signature: bytes
) -> bool:
    """Textbook verification on P-521, to have a second opinion."""
    prime = 2**521 - 1
    order = int(
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa"
        "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
        16,
    )
    base = (
        int(
            "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dba"
            "a14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
            16,
        ),
        int(
            "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c"
            "97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
            16,
        ),
    )

    def add(p: Point, q: Point) -> Point:
        if p is None or q is None:
            return p or q
        if p[0] == q[0]:
            if (p[1] + q[1]) % prime == 0:
                return None
            slope = (3 * p[0] * p[0] - 3) * pow(2 * p[1], -1, prime)
        else:
            slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, prime)
        x = (slope * slope - p[0] - q[0]) % prime
        return x, (slope * (p[0] - x) - p[1]) % prime

    def multiply(number: int, point: Point) -> Point:
        result: Point = None
        for bit in bin(number)[2:]:
            result = add(result, result)
            if bit == "1":
                result = add(result, point)
        return result

    r, s = decode_dss_signature(signature)
    inverse = pow(s, -1, order)
    numbers = key.public_numbers()
    point = add(
        multiply(int.from_bytes(hashed, "big") * inverse % order, base),
        multiply(r * inverse % order, (numbers.x, numbers.y)),
    )
    return point is not None and point[0] % order == r


# --- RSA ----------------------------------------------------------------------


def raw_rsa(encoded: bytes) -> bytes:
    """The private operation on any block."""
    numbers = private_key("rsa").private_numbers()
    value = pow(int.from_bytes(encoded, "big"), numbers.d, numbers.public_numbers.n)
    return value.to_bytes(256, "big")


DIGEST_INFO = der.sequence(
    AlgorithmIdentifier(oids.ID_SHA256, der.NULL).encode(),
    der.octet_string(hashlib.sha256(DATA).digest()),
)


def pkcs1(info: bytes, filler: bytes = b"\xff", head: bytes = b"\x00\x01") -> bytes:
    return head + filler * (256 - 3 - len(info)) + b"\x00" + info


def test_the_RSA_block_that_the_negatives_vary_is_right() -> None:
    verify_signature(public_key("rsa"), RSA, raw_rsa(pkcs1(DIGEST_INFO)), DATA)


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(pkcs1(DIGEST_INFO, head=b"\x00\x02"), id="block type 2"),
        pytest.param(pkcs1(DIGEST_INFO, head=b"\x00\x00"), id="block type 0"),
        pytest.param(pkcs1(DIGEST_INFO, filler=b"\xfe"), id="other filler"),
        pytest.param(
            b"\x00\x01\xff\x00" + DIGEST_INFO + bytes(252 - len(DIGEST_INFO)),
            id="garbage behind (Bleichenbacher 2006)",
        ),
        pytest.param(pkcs1(DIGEST_INFO + b"\x00"), id="one octet behind"),
        pytest.param(pkcs1(DIGEST_INFO[2:]), id="no sequence"),
        pytest.param(pkcs1(hashlib.sha256(DATA).digest()), id="bare digest"),
        pytest.param(
            pkcs1(
                der.sequence(
                    AlgorithmIdentifier(oids.ID_SHA512, der.NULL).encode(),
                    der.octet_string(hashlib.sha512(DATA).digest()),
                )
            ),
            id="another digest",
        ),
        pytest.param(
            pkcs1(
                der.sequence(
                    AlgorithmIdentifier(
                        oids.ID_SHA256, der.octet_string(b"xx")
                    ).encode(),
                    der.octet_string(hashlib.sha256(DATA).digest()),
                )
            ),
            id="parameters with garbage",
        ),
        pytest.param(bytes(255) + b"\x01", id="one"),
    ],
)
def test_RSA_blocks_out_of_form_are_badMessageCheck(block: bytes) -> None:
    code = code_of(verify_signature, public_key("rsa"), RSA, raw_rsa(block), DATA)
    assert code is ErrorCode.BAD_MESSAGE_CHECK


@pytest.mark.parametrize("change", ["zeros before", "modulus added", "zero", "modulus"])
def test_RSA_signatures_of_wrong_length_or_value_are_badMessageCheck(
    change: str,
) -> None:
    signature = raw_rsa(pkcs1(DIGEST_INFO))
    modulus = public_key("rsa").public_numbers().n
    value = int.from_bytes(signature, "big") + modulus
    wrong = {
        "zeros before": b"\x00" + signature,
        "modulus added": value.to_bytes(257, "big"),
        "zero": bytes(256),
        "modulus": modulus.to_bytes(256, "big"),
    }[change]
    code = code_of(verify_signature, public_key("rsa"), RSA, wrong, DATA)
    assert code is ErrorCode.BAD_MESSAGE_CHECK


def test_PSS_with_another_salt_length_or_mask_is_badMessageCheck() -> None:
    key = private_key("rsa")
    signature = sign(key, pss_algorithm("sha256", 20), DATA)
    verify_signature(key.public_key(), pss_algorithm("sha256", 20), signature, DATA)
    for algorithm in (pss_algorithm("sha256"), pss_algorithm("sha384", 20)):
        code = code_of(verify_signature, key.public_key(), algorithm, signature, DATA)
        assert code is ErrorCode.BAD_MESSAGE_CHECK


def test_a_salt_longer_than_the_key_allows_is_refused() -> None:
    key = private_key("rsa")
    algorithm = pss_algorithm("sha256", 300)
    assert code_of(sign, key, algorithm, DATA) is ErrorCode.BAD_ALGORITHM
    code = code_of(verify_signature, key.public_key(), algorithm, bytes(256), DATA)
    assert code in (ErrorCode.BAD_MESSAGE_CHECK, ErrorCode.BAD_ALGORITHM)


@pytest.mark.parametrize("bits", [1041, 1042, 1048, 1536])
@pytest.mark.parametrize("name", ["shake128", "shake256"])
def test_PSS_with_SHAKE_verifies_what_RFC_8692_says(name: str, bits: int) -> None:
    key = rsa.generate_private_key(65537, bits)
    algorithm = signature_algorithm_for("rsa", name, padding=Padding.PSS)
    signature = shake_pss(key, name, DATA, salt=b"s" * (32 if "128" in name else 64))
    verify_signature(key.public_key(), algorithm, signature, DATA)
    wrong = bytes((signature[0] ^ 1,)) + signature[1:]
    for args in ((wrong, DATA), (signature, DATA + b"."), (signature[:-1], DATA)):
        code = code_of(verify_signature, key.public_key(), algorithm, *args)
        assert code is ErrorCode.BAD_MESSAGE_CHECK
    short = shake_pss(key, name, DATA, salt=b"s" * 20)
    code = code_of(verify_signature, key.public_key(), algorithm, short, DATA)
    assert code is ErrorCode.BAD_MESSAGE_CHECK
    assert code_of(sign, key, algorithm, DATA) is ErrorCode.BAD_ALGORITHM


def shake_pss(key: rsa.RSAPrivateKey, name: str, data: bytes, salt: bytes) -> bytes:
    """EMSA-PSS-ENCODE and the private operation (RFC 8017 section 9.1.1)."""
    shake, size = (
        (hashlib.shake_128, 32) if name == "shake128" else (hashlib.shake_256, 64)
    )
    bits = key.key_size - 1
    length = math.ceil(bits / 8)
    hashed = shake(bytes(8) + shake(data).digest(size) + salt).digest(size)
    mask_length = length - size - 1
    database = bytes(mask_length - len(salt) - 1) + b"\x01" + salt
    mask = shake(hashed).digest(mask_length)
    masked = bytearray(a ^ b for a, b in zip(database, mask, strict=True))
    masked[0] &= 0xFF >> (8 * length - bits)
    block = int.from_bytes(bytes(masked) + hashed + b"\xbc", "big")
    numbers = key.private_numbers()
    value = pow(block, numbers.d, numbers.public_numbers.n)
    return value.to_bytes((key.key_size + 7) // 8, "big")


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [
        ((1 << 1022) | 1, 65537),
        ((1 << 16384) | 1, 65537),
        ((1 << 2047) | 1, 1 << 256 | 1),
    ],
    ids=["too small", "too large", "exponent too large"],
)
def test_RSA_keys_out_of_limits_are_badAlg_before_arithmetic(
    modulus: int, exponent: int
) -> None:
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    assert code_of(verify_signature, key, RSA, bytes(256), DATA) is (
        ErrorCode.BAD_ALGORITHM
    )


class OddKey:
    """A key that cryptography would not make, to see that we would not use it."""

    key_size = 2048

    def __init__(self, exponent: int) -> None:
        self._exponent = exponent

    def public_numbers(self) -> rsa.RSAPublicNumbers:
        return rsa.RSAPublicNumbers(self._exponent, 1 << 2047 | 1)


@pytest.mark.parametrize("exponent", [1, 2, 4, 65536])
def test_RSA_exponents_even_or_one_are_badAlg(exponent: int) -> None:
    assert code_of(check_rsa_limits, OddKey(exponent)) is ErrorCode.BAD_ALGORITHM
    check_rsa_limits(OddKey(3))


class Missing(hashes.HashAlgorithm):
    """A digest that the library does not have."""

    name = "missing"
    digest_size = 32
    block_size = 64


def test_a_digest_that_the_library_lacks_is_badAlg(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(signatures._ECDSA, "sha256", ec.ECDSA(Missing()))
    signature = as_ecdsa(1, 1)
    code = code_of(verify_signature, public_key("ec:P-256"), P256, signature, DATA)
    assert code is ErrorCode.BAD_ALGORITHM


def test_an_endless_signature_is_refused_unread() -> None:
    for family in ("ec:P-256", "rsa", "ml-dsa-44"):
        algorithm = signature_algorithm_for(family)
        code = code_of(
            verify_signature, public_key(family), algorithm, bytes(8193), DATA
        )
        assert code is ErrorCode.BAD_MESSAGE_CHECK


@given(signature=st.binary(max_size=300), data=st.binary(max_size=50))
def test_any_octets_are_refused_by_PKIError_alone(
    signature: bytes, data: bytes
) -> None:
    for family in ("ec:P-256", "rsa", "ed25519", "ed448", "ml-dsa-44"):
        code = code_of(
            verify_signature,
            public_key(family),
            signature_algorithm_for(family),
            signature,
            data,
        )
        assert code is ErrorCode.BAD_MESSAGE_CHECK


# --- signed structures --------------------------------------------------------


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_signed_structures_read_back(contents: bytes, signature: bytes) -> None:
    signed = der.sequence(der.octet_string(contents))
    octets = encode_signed(signed, RSA, signature)
    assert SignedStructure.decode(octets) == SignedStructure(signed, RSA, signature)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x30\x00",
        encode_signed(der.NULL, RSA, b"x"),
        encode_signed(der.sequence(), RSA, b"x") + b"\x00",
        der.sequence(der.sequence(), RSA.encode(), b"\x03\x02\x01\x80"),
        der.sequence(der.sequence(), RSA.encode(), der.bit_string(b"x"), der.NULL),
    ],
)
def test_broken_signed_structures_are_malformed(octets: bytes) -> None:
    assert code_of(SignedStructure.decode, octets) is ErrorCode.MALFORMED


def test_a_signed_structure_verifies_itself() -> None:
    key = private_key("ed25519")
    algorithm = signature_algorithm_for("ed25519")
    signed = der.sequence(der.integer(1))
    octets = encode_signed(signed, algorithm, sign(key, algorithm, signed))
    SignedStructure.decode(octets).verify(key.public_key())
    other = private_key("ed25519", 2).public_key()
    assert code_of(SignedStructure.decode(octets).verify, other) is (
        ErrorCode.BAD_MESSAGE_CHECK
    )
