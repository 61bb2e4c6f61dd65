from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import (
    CURVE_BITS,
    CURVE_OIDS,
    HASH_OIDS,
    KeyKind,
    KeySpec,
    Padding,
    decode_key_specs,
    digest,
    digest_for_certificate_hash,
    digest_size,
    hash_algorithm,
    hash_name_of,
    key_family,
    key_kind,
    pss_algorithm,
    signature_algorithm_for,
    signature_scheme,
)
from pkid.crypto.signatures import SignedStructure
from pkid.errors import ErrorCode, PKIError
from tests.crypto.oracles import NOW, SIGNING_FAMILIES, YEAR, private_key, public_key


def refused(
    function: Callable[..., object], *arguments: Any, **keywords: Any
) -> PKIError:
    with pytest.raises(PKIError) as caught:
        function(*arguments, **keywords)
    assert caught.value.code is ErrorCode.BAD_ALGORITHM
    return caught.value


def cryptographys_algorithm(
    key: Any,
    hash_: hashes.HashAlgorithm | None = None,
    rsa_padding: padding.PSS | None = None,
) -> AlgorithmIdentifier:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + YEAR)
    )
    certificate = builder.sign(key, hash_, rsa_padding=rsa_padding)
    return SignedStructure.decode(certificate.public_bytes(Encoding.DER)).algorithm


@pytest.mark.requirement("CMP-50")
@pytest.mark.parametrize(
    ("family", "hash_", "name"),
    [
        ("rsa", hashes.SHA256(), None),
        ("rsa", hashes.SHA384(), "sha384"),
        ("rsa", hashes.SHA3_256(), "sha3_256"),
        ("ec:P-256", hashes.SHA256(), None),
        ("ec:P-384", hashes.SHA384(), None),
        ("ec:P-521", hashes.SHA512(), None),
        ("ec:P-256", hashes.SHA3_512(), "sha3_512"),
        ("ed25519", None, None),
        ("ed448", None, None),
        ("ml-dsa-44", None, None),
        ("ml-dsa-65", None, None),
        ("ml-dsa-87", None, None),
    ],
)
def test_parameters_are_absent_or_NULL_as_another_implementation_writes_them(
    family: str, hash_: hashes.HashAlgorithm | None, name: str | None
) -> None:
    expected = cryptographys_algorithm(private_key(family), hash_)
    assert signature_algorithm_for(family, name) == expected
    assert signature_algorithm_for(public_key(family), name) == expected
    assert (expected.parameters == der.NULL) == (family == "rsa")


@pytest.mark.requirement("CMP-50")
@pytest.mark.parametrize("family", ["ec:P-256", "ed25519", "ml-dsa-65"])
def test_NULL_in_place_of_absent_is_read_by_a_switch_only(family: str) -> None:
    algorithm = AlgorithmIdentifier(signature_algorithm_for(family).oid, der.NULL)
    assert "parameters" in refused(signature_scheme, algorithm).detail
    scheme = signature_scheme(algorithm, allow_null_parameters=True)
    assert scheme == signature_scheme(signature_algorithm_for(family))


def test_RSA_PKCS1_may_leave_NULL_out() -> None:
    for parameters in (None, der.NULL):
        algorithm = AlgorithmIdentifier(oids.SHA256_WITH_RSA_ENCRYPTION, parameters)
        assert signature_scheme(algorithm).padding is Padding.PKCS1


@pytest.mark.parametrize("oid", ["1.2.840.113549.1.1.11", "1.2.840.10045.4.3.2"])
def test_other_parameters_are_refused_also_with_the_switch(oid: str) -> None:
    odd = AlgorithmIdentifier(oid, der.integer(1))
    refused(signature_scheme, odd)
    refused(signature_scheme, odd, allow_null_parameters=True)


@pytest.mark.parametrize(
    ("hash_", "name"), [(hashes.SHA256(), "sha256"), (hashes.SHA512(), "sha512")]
)
def test_PSS_parameters_are_those_of_another_implementation(
    hash_: hashes.HashAlgorithm, name: str
) -> None:
    pss = padding.PSS(padding.MGF1(hash_), hash_.digest_size)
    expected = cryptographys_algorithm(private_key("rsa"), hash_, pss)
    assert pss_algorithm(name) == expected
    assert signature_algorithm_for("rsa", name, padding=Padding.PSS) == expected


@given(
    name=st.sampled_from(sorted(set(HASH_OIDS) - {"shake128", "shake256"})),
    salt=st.integers(0, 512),
)
def test_PSS_parameters_read_back_what_was_written(name: str, salt: int) -> None:
    scheme = signature_scheme(pss_algorithm(name, salt))
    assert (scheme.hash_name, scheme.mgf_hash, scheme.salt_size) == (name, name, salt)


def test_PSS_defaults_are_SHA1_with_20_octets_and_legacy() -> None:
    scheme = signature_scheme(AlgorithmIdentifier(oids.ID_RSASSA_PSS, b"\x30\x00"))
    assert (scheme.hash_name, scheme.mgf_hash, scheme.salt_size) == ("sha1", "sha1", 20)
    assert scheme.legacy
    assert pss_algorithm("sha1").parameters == b"\x30\x00"


def test_SHA1_in_the_mask_alone_is_legacy() -> None:
    hashed = hash_algorithm("sha256", null=True).encode()
    parameters = der.sequence(der.explicit(0, hashed), der.explicit(2, der.integer(32)))
    scheme = signature_scheme(AlgorithmIdentifier(oids.ID_RSASSA_PSS, parameters))
    assert (scheme.hash_name, scheme.mgf_hash) == ("sha256", "sha1")
    assert scheme.legacy


@pytest.mark.parametrize(
    "parameters",
    [
        None,
        der.sequence(der.explicit(2, der.integer(513))),
        der.sequence(der.explicit(2, der.integer(-1))),
        der.sequence(der.explicit(3, der.integer(2))),
        der.sequence(der.explicit(1, hash_algorithm("sha256").encode())),
        der.sequence(der.explicit(1, AlgorithmIdentifier(oids.ID_MGF1).encode())),
        der.sequence(der.explicit(0, hash_algorithm("shake256").encode())),
        der.sequence(der.explicit(0, AlgorithmIdentifier("1.2.3").encode())),
    ],
)
def test_PSS_with_odd_parameters_is_badAlg(parameters: bytes | None) -> None:
    refused(signature_scheme, AlgorithmIdentifier(oids.ID_RSASSA_PSS, parameters))


@pytest.mark.parametrize("parameters", [der.NULL, b"\x30\x02\x05\x00", b"\x30\x01"])
def test_PSS_with_garbage_for_parameters_is_badAlg(parameters: bytes) -> None:
    refused(signature_scheme, AlgorithmIdentifier(oids.ID_RSASSA_PSS, parameters))


@pytest.mark.parametrize(
    ("oid", "word"),
    [
        ("1.2.840.113549.1.1.4", "MD5"),
        ("1.2.840.10040.4.3", "DSA"),
        ("1.2.3.4", "unknown"),
    ],
)
def test_retired_and_unknown_algorithms_are_badAlg(oid: str, word: str) -> None:
    assert word in refused(signature_scheme, AlgorithmIdentifier(oid)).detail


def test_every_algorithm_is_written_as_it_is_read() -> None:
    cases = [("rsa", n, p) for n in HASH_OIDS for p in Padding]
    cases += [("ec:P-256", n, Padding.PKCS1) for n in HASH_OIDS]
    for family, name, rsa_padding in cases:
        if (
            family == "rsa"
            and name.startswith("shake")
            and rsa_padding is Padding.PKCS1
        ):
            refused(signature_algorithm_for, family, name)
            continue
        scheme = signature_scheme(
            signature_algorithm_for(family, name, padding=rsa_padding)
        )
        assert scheme.hash_name == name
        assert scheme.padding == (rsa_padding if family == "rsa" else None)


@pytest.mark.parametrize("key", ["x25519", "ml-kem-768", "ec:unknown", "ec:", "dsa"])
def test_keys_that_do_not_sign_have_no_signature_algorithm(key: str) -> None:
    refused(signature_algorithm_for, key)


def test_EdDSA_takes_no_digest() -> None:
    refused(signature_algorithm_for, "ed25519", "sha512")


@pytest.mark.parametrize(
    ("family", "hash_name", "expected"),
    [
        ("rsa", "sha384", "sha384"),
        ("ec:P-256", None, "sha256"),
        ("ec:P-384", "sha3_384", "sha3_384"),
        ("ec:P-256", "sha1", "sha1"),
        ("ec:P-256", "shake128", "shake128"),
        ("ed25519", None, "sha512"),
        ("ed448", None, "shake256"),
        ("ml-dsa-65", None, "sha512"),
    ],
)
def test_certHash_uses_the_digest_of_the_signature(
    family: str, hash_name: str | None, expected: str
) -> None:
    algorithm = signature_algorithm_for(family, hash_name)
    assert digest_for_certificate_hash(algorithm) == expected


def test_certHash_of_PSS_is_in_its_parameters() -> None:
    assert digest_for_certificate_hash(pss_algorithm("sha384")) == "sha384"


def test_digests_are_hashlibs_and_SHAKE_has_its_CMS_length() -> None:
    for name in HASH_OIDS:
        if not name.startswith("shake"):
            assert digest(name, b"abc") == hashlib.new(name, b"abc").digest()
            assert digest_size(name) == hashlib.new(name).digest_size
    assert digest("shake128", b"abc") == hashlib.shake_128(b"abc").digest(32)
    assert digest("shake256", b"abc") == hashlib.shake_256(b"abc").digest(64)
    refused(digest, "md5", b"")


def test_digest_identifiers_read_back() -> None:
    for name in HASH_OIDS:
        for null in (False, True):
            assert hash_name_of(hash_algorithm(name, null=null)) == name
    refused(hash_algorithm, "md5")
    refused(hash_name_of, AlgorithmIdentifier("1.2.840.113549.2.5"))
    refused(hash_name_of, AlgorithmIdentifier(oids.ID_SHA256, der.integer(0)))


@pytest.mark.parametrize("family", SIGNING_FAMILIES)
def test_families_are_named_as_in_the_configuration(family: str) -> None:
    assert key_family(public_key(family)) == family
    assert KeySpec.decode(family if family != "rsa" else "rsa:2048").family == family


def test_a_foreign_kind_of_key_is_badAlg() -> None:
    refused(key_kind, object())


def test_curve_tables_agree() -> None:
    assert CURVE_OIDS.keys() == CURVE_BITS.keys()
    for curve, bits in CURVE_BITS.items():
        assert public_key(f"ec:{curve}").curve.key_size == bits


@pytest.mark.parametrize(
    "text",
    [
        "rsa:2048",
        "rsa:2048-4096",
        "rsa:1024-16384",
        *(kind.value for kind in KeyKind if kind not in (KeyKind.RSA, KeyKind.EC)),
        *(f"ec:{curve}" for curve in CURVE_OIDS),
    ],
)
def test_key_specs_read_back(text: str) -> None:
    assert KeySpec.decode(text).encode() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rsa",
        "rsa:",
        "rsa:512",
        "rsa:4096-2048",
        "rsa:2048-",
        "rsa:-2048",
        "rsa:2048-99999999999",
        "rsa:²",
        "ec",
        "ec:P-255",
        "ec:p-256",
        "ed25519:",
        "ed25519:x",
        "dsa:2048",
        "RSA:2048",
    ],
)
def test_wrong_key_specs_are_refused(text: str) -> None:
    refused(KeySpec.decode, text)


def test_key_specs_admit_by_family_and_size() -> None:
    ranged, curve = decode_key_specs(["rsa:2048-4096", "ec:P-256"])
    assert ranged.admits("rsa", 2048)
    assert ranged.admits("rsa", 4096)
    assert not ranged.admits("rsa", 2047)
    assert not ranged.admits("rsa", 4097)
    assert not ranged.admits("ec:P-256", 2048)
    assert curve.admits("ec:P-256", 256)
    assert not curve.admits("ec:P-384", 384)
