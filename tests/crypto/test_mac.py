from __future__ import annotations

import copy
import hashlib
import hmac
import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc4210

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto import mac
from pkid.crypto.algorithms import HASH_OIDS, hash_algorithm
from pkid.crypto.mac import (
    MAX_ITERATIONS,
    SLICE,
    MacKey,
    PBMAC1Parameters,
    PBMParameters,
    decode_mac_parameters,
    derive_mac_key,
    derive_mac_key_in_slices,
    encode_mac_parameters,
    expand_key,
    is_mac_algorithm,
    with_salt,
)
from pkid.errors import ErrorCode, PKIError
from tests.crypto.oracles import code_of

VECTORS = Path(__file__).parents[1] / "vectors" / "cmp"
# The secret of the recorded messages; see SOURCES beside them.
RECORDED = b"insecure-test-value"
SECRET = b"a test value"
SALT = bytes(range(16))
HMAC_SHA256 = AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256)
HMAC_SHA1 = AlgorithmIdentifier(oids.HMAC_SHA1)
HMACS = {
    oids.HMAC_SHA1: "sha1",
    oids.ID_HMAC_WITH_SHA1: "sha1",
    oids.ID_HMAC_WITH_SHA224: "sha224",
    oids.ID_HMAC_WITH_SHA256: "sha256",
    oids.ID_HMAC_WITH_SHA384: "sha384",
    oids.ID_HMAC_WITH_SHA512: "sha512",
}
OWFS = sorted(set(HASH_OIDS) - {"shake128", "shake256", "sha3_224"})


def pbm(**changes: Any) -> PBMParameters:
    fields: dict[str, Any] = {
        "salt": SALT,
        "owf": hash_algorithm("sha256"),
        "iterations": 500,
        "mac": HMAC_SHA1,
    }
    return PBMParameters(**(fields | changes))


def pbmac1(**changes: Any) -> PBMAC1Parameters:
    fields: dict[str, Any] = {
        "salt": SALT,
        "iterations": 500,
        "prf": HMAC_SHA256,
        "mac": HMAC_SHA256,
        "key_length": 32,
    }
    return PBMAC1Parameters(**(fields | changes))


# --- against others -----------------------------------------------------------


def recorded() -> list[Path]:
    return sorted(VECTORS.glob("*-pbm-re[qs]*.der")) + sorted(
        VECTORS.glob("*-pbm-rsp*.der")
    )


def test_there_are_recorded_messages() -> None:
    assert len(recorded()) >= 10


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.stem)
def test_the_MAC_of_messages_of_openssl_cmp_verifies(path: Path) -> None:
    message, rest = decoder.decode(path.read_bytes(), asn1Spec=rfc4210.PKIMessage())
    assert not rest
    header = message["header"]
    field = encoder.encode(header["protectionAlg"])
    algorithm = AlgorithmIdentifier.decode(
        der.single(der.single(field, der.constructed(1)), der.SEQUENCE)
    )
    part = der.sequence(encoder.encode(header), encoder.encode(message["body"]))
    parameters = decode_mac_parameters(algorithm)
    assert isinstance(parameters, PBMParameters)
    assert (parameters.owf_name, parameters.mac_name) == ("sha256", "sha1")
    assert parameters.iterations == 500
    protection = message["protection"].asOctets()
    derive_mac_key(parameters, RECORDED).verify(part, protection)
    assert encode_mac_parameters(parameters) == algorithm
    wrong = derive_mac_key(parameters, RECORDED + b".")
    assert code_of(wrong.verify, part, protection) is ErrorCode.BAD_MESSAGE_CHECK


@pytest.mark.parametrize("owf", OWFS)
@pytest.mark.parametrize("oid", HMACS)
def test_PBM_is_the_pseudo_code_of_RFC_4211(owf: str, oid: str) -> None:
    parameters = pbm(
        owf=hash_algorithm(owf), iterations=100, mac=AlgorithmIdentifier(oid, der.NULL)
    )
    value = SECRET + SALT
    for _ in range(100):
        value = hashlib.new(owf, value).digest()
    expected = hmac.new(value, b"data", HMACS[oid]).digest()
    assert derive_mac_key(parameters, SECRET).compute(b"data") == expected


@pytest.mark.parametrize("oid", HMACS)
@pytest.mark.parametrize("length", [None, 16, 20, 64, 128])
def test_PBMAC1_is_PBKDF2_and_HMAC_of_cryptography(
    oid: str, length: int | None
) -> None:
    algorithm = AlgorithmIdentifier(oid)
    parameters = pbmac1(prf=algorithm, mac=algorithm, key_length=length)
    name = HMACS[oid]
    size = length or hashlib.new(name).digest_size
    hash_ = getattr(hashes, name.upper())()
    key = PBKDF2HMAC(hash_, size, SALT, 500).derive(SECRET)
    expected = hmac.new(key, b"data", name).digest()
    assert derive_mac_key(parameters, SECRET).compute(b"data") == expected


def test_PBKDF2_is_that_of_RFC_7914() -> None:
    # Section 11: PBKDF2-HMAC-SHA-256, "Password", "NaCl", 80000 rounds, 64 octets.
    # Our floor for salts is above theirs, so the derivation is called as we call it.
    key = hashlib.pbkdf2_hmac("sha256", b"Password", b"NaCl", 80000, 64)
    assert key.hex().startswith("4ddcd8f60b98be21830cee5ef22701f9")


# --- keys ---------------------------------------------------------------------


@pytest.mark.requirement("CMP-32")
@pytest.mark.parametrize("owf", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("size", [1, 16, 20, 32, 33, 64, 65, 127, 128])
def test_a_MAC_key_longer_than_the_hash_is_expanded(owf: str, size: int) -> None:
    base = hashlib.new(owf, b"base").digest()
    more = [
        hashlib.new(owf, number + base).digest() for number in b"1 2 3 4 5 6 7".split()
    ]
    assert expand_key(base, owf, size) == b"".join((base, *more))[:size]


@pytest.mark.parametrize("size", [-1, 0, 129, 1 << 40])
def test_a_MAC_key_of_an_absurd_size_is_badAlg(size: int) -> None:
    assert code_of(expand_key, bytes(32), "sha256", size) is ErrorCode.BAD_ALGORITHM


def test_the_key_shows_nothing_and_does_not_leave() -> None:
    for parameters in (pbm(), pbmac1()):
        key = derive_mac_key(parameters, SECRET)
        shown = f"{key!r} {key!s} {[key]}"
        assert shown.count("MacKey(") == 3
        assert SALT.hex() not in shown
        assert "_key" not in shown
        for leave in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                leave(key)


def test_keys_are_compared_by_identity_only() -> None:
    assert derive_mac_key(pbm(), SECRET) != derive_mac_key(pbm(), SECRET)


@pytest.mark.parametrize("parameters", [pbm(), pbmac1()])
def test_the_answer_uses_the_key_of_the_request(
    parameters: mac.MacParameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = derive_mac_key(parameters, SECRET)
    for name in ("sha256", "pbkdf2_hmac"):
        monkeypatch.setattr(hashlib, name, None)
    answer = key.compute(b"answer")
    assert key.parameters is parameters
    monkeypatch.undo()
    # The other side knows only what stands in protectionAlg.
    theirs = decode_mac_parameters(encode_mac_parameters(key.parameters))
    derive_mac_key(theirs, SECRET).verify(b"answer", answer)


@given(data=st.binary(max_size=64), other=st.binary(max_size=64))
def test_a_MAC_fits_only_its_data(data: bytes, other: bytes) -> None:
    key = derive_mac_key(pbm(iterations=100), SECRET)
    key.verify(data, key.compute(data))
    if other != data:
        assert code_of(key.verify, other, key.compute(data)) is (
            ErrorCode.BAD_MESSAGE_CHECK
        )


@pytest.mark.parametrize("wrong", [b"", b"\x00", "short", "long"])
def test_a_MAC_of_another_length_is_badMessageCheck(wrong: Any) -> None:
    key = derive_mac_key(pbm(), SECRET)
    right = key.compute(b"data")
    value = {"short": right[:-1], "long": right + b"\x00"}.get(wrong, wrong)
    assert code_of(key.verify, b"data", value) is ErrorCode.BAD_MESSAGE_CHECK


def test_a_fresh_salt_keeps_all_else() -> None:
    for parameters in (pbm(), pbmac1()):
        fresh = with_salt(parameters, bytes(16))
        assert fresh.salt == bytes(16)
        assert with_salt(fresh, SALT) == parameters
        assert code_of(with_salt, parameters, bytes(7)) is ErrorCode.BAD_ALGORITHM


# --- parameters ---------------------------------------------------------------


@given(
    salt=st.binary(min_size=8, max_size=128),
    iterations=st.integers(100, MAX_ITERATIONS),
    owf=st.sampled_from(OWFS),
    mac_oid=st.sampled_from(sorted(HMACS)),
    null=st.booleans(),
)
def test_PBM_parameters_read_back_and_pyasn1_agrees(
    salt: bytes, iterations: int, owf: str, mac_oid: str, null: bool
) -> None:
    parameters = PBMParameters(
        salt,
        hash_algorithm(owf, null=null),
        iterations,
        AlgorithmIdentifier(mac_oid, der.NULL if null else None),
    )
    algorithm = encode_mac_parameters(parameters)
    assert decode_mac_parameters(algorithm) == parameters
    other, rest = decoder.decode(algorithm.parameters, asn1Spec=rfc4210.PBMParameter())
    assert not rest
    assert bytes(other["salt"]) == salt
    assert int(other["iterationCount"]) == iterations
    assert str(other["owf"]["algorithm"]) == HASH_OIDS[owf]
    assert str(other["mac"]["algorithm"]) == mac_oid
    assert encoder.encode(other) == algorithm.parameters


@given(
    salt=st.binary(min_size=8, max_size=128),
    iterations=st.integers(100, MAX_ITERATIONS),
    length=st.none() | st.integers(16, 128),
    prf=st.sampled_from(sorted(HMACS)),
    mac_oid=st.sampled_from(sorted(HMACS)),
)
def test_PBMAC1_parameters_read_back(
    salt: bytes, iterations: int, length: int | None, prf: str, mac_oid: str
) -> None:
    parameters = PBMAC1Parameters(
        salt,
        iterations,
        AlgorithmIdentifier(prf, der.NULL),
        AlgorithmIdentifier(mac_oid, der.NULL),
        length,
    )
    algorithm = encode_mac_parameters(parameters)
    assert decode_mac_parameters(algorithm) == parameters
    assert is_mac_algorithm(algorithm)


def raw_pbm(
    salt: bytes = SALT,
    owf: bytes | None = None,
    iterations: bytes | None = None,
    mac_algorithm: bytes | None = None,
    tail: bytes = b"",
) -> AlgorithmIdentifier:
    return AlgorithmIdentifier(
        oids.ID_PASSWORD_BASED_MAC,
        der.sequence(
            der.octet_string(salt),
            hash_algorithm("sha256").encode() if owf is None else owf,
            der.integer(500) if iterations is None else iterations,
            HMAC_SHA1.encode() if mac_algorithm is None else mac_algorithm,
            tail,
        ),
    )


def raw_pbmac1(
    salt: bytes | None = None,
    iterations: bytes | None = None,
    tail: bytes = b"",
    kdf: str = oids.ID_PBKDF2,
    mac_oid: str = oids.ID_HMAC_WITH_SHA256,
) -> AlgorithmIdentifier:
    derivation = der.sequence(
        der.octet_string(SALT) if salt is None else salt,
        der.integer(500) if iterations is None else iterations,
        tail,
    )
    return AlgorithmIdentifier(
        oids.ID_PBMAC1,
        der.sequence(
            AlgorithmIdentifier(kdf, derivation).encode(),
            AlgorithmIdentifier(mac_oid).encode(),
        ),
    )


COUNTS = [0, 1, 99, 100_001, 2**31, 2**32, 2**63, 2**64, 2**4096, -1, -500]
OUT_OF_BOUNDS = {
    **{
        f"pbm rounds {n:.3g}" if abs(n) < 2**65 else "pbm rounds huge": raw_pbm(
            iterations=der.integer(n)
        )
        for n in COUNTS
    },
    **{
        f"pbkdf2 rounds {n:.3g}"
        if abs(n) < 2**65
        else "pbkdf2 rounds huge": raw_pbmac1(iterations=der.integer(n))
        for n in COUNTS
    },
    "pbm no salt": raw_pbm(salt=b""),
    "pbm salt of 7": raw_pbm(salt=bytes(7)),
    "pbm salt of 129": raw_pbm(salt=bytes(129)),
    "pbkdf2 salt of 7": raw_pbmac1(salt=der.octet_string(bytes(7))),
    "pbkdf2 salt of 129": raw_pbmac1(salt=der.octet_string(bytes(129))),
    "pbkdf2 salt from elsewhere": raw_pbmac1(salt=HMAC_SHA1.encode()),
    "key of 15": raw_pbmac1(tail=der.integer(15)),
    "key of 129": raw_pbmac1(tail=der.integer(129)),
    "key of 2^31": raw_pbmac1(tail=der.integer(2**31)),
    "key of -1": raw_pbmac1(tail=der.integer(-1)),
    "owf MD5": raw_pbm(owf=AlgorithmIdentifier("1.2.840.113549.2.5").encode()),
    "owf SHAKE": raw_pbm(owf=hash_algorithm("shake256").encode()),
    "owf with parameters": raw_pbm(
        owf=AlgorithmIdentifier(oids.ID_SHA256, der.integer(1)).encode()
    ),
    "mac DES": raw_pbm(mac_algorithm=AlgorithmIdentifier("1.3.14.3.2.10").encode()),
    "mac with parameters": raw_pbm(
        mac_algorithm=AlgorithmIdentifier(oids.HMAC_SHA1, der.integer(1)).encode()
    ),
    "kdf scrypt": raw_pbmac1(kdf="1.3.6.1.4.1.11591.4.11"),
    "mac unknown": raw_pbmac1(mac_oid="1.2.3"),
    "prf unknown": raw_pbmac1(tail=AlgorithmIdentifier("1.2.3").encode()),
    "not a MAC": AlgorithmIdentifier(oids.ECDSA_WITH_SHA256),
}


@pytest.mark.requirement("CMP-31")
@pytest.mark.parametrize("name", list(OUT_OF_BOUNDS))
def test_parameters_out_of_bounds_are_badAlg_and_nothing_is_computed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("sha1", "sha256", "md5", "new", "pbkdf2_hmac", "scrypt"):
        monkeypatch.setattr(hashlib, function, None)
    code = code_of(decode_mac_parameters, OUT_OF_BOUNDS[name])
    assert code is ErrorCode.BAD_ALGORITHM


@pytest.mark.requirement("CMP-31")
def test_the_bounds_themselves_are_accepted() -> None:
    for count in (100, 500, MAX_ITERATIONS):
        decode_mac_parameters(raw_pbm(iterations=der.integer(count)))
        decode_mac_parameters(raw_pbmac1(iterations=der.integer(count)))
    for size in (8, 128):
        decode_mac_parameters(raw_pbm(salt=bytes(size)))
    for size in (16, 128):
        decode_mac_parameters(raw_pbmac1(tail=der.integer(size)))


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC),
        AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC, der.NULL),
        AlgorithmIdentifier(oids.ID_PBMAC1, b"\x30\x00"),
        raw_pbm(tail=der.NULL),
        raw_pbm(iterations=b""),
        raw_pbm(iterations=b"\x02\x00"),
        raw_pbm(iterations=b"\x02\x02\x01"),
        raw_pbmac1(tail=HMAC_SHA256.encode() + der.NULL),
    ],
)
def test_parameters_that_do_not_decode_are_malformed(
    algorithm: AlgorithmIdentifier,
) -> None:
    assert code_of(decode_mac_parameters, algorithm) is ErrorCode.MALFORMED


@given(st.binary(max_size=80))
def test_any_octets_for_parameters_give_PKIError_alone(octets: bytes) -> None:
    for oid in (oids.ID_PASSWORD_BASED_MAC, oids.ID_PBMAC1):
        with pytest.raises(PKIError):
            decode_mac_parameters(AlgorithmIdentifier(oid, octets))


def test_a_default_prf_is_left_out_and_read_as_HMAC_SHA1() -> None:
    parameters = decode_mac_parameters(raw_pbmac1())
    assert isinstance(parameters, PBMAC1Parameters)
    assert parameters.prf_name == "sha1"
    assert parameters.key_length is None
    assert encode_mac_parameters(parameters) == raw_pbmac1()


def test_a_signature_algorithm_is_no_MAC() -> None:
    assert is_mac_algorithm(raw_pbm())
    assert not is_mac_algorithm(AlgorithmIdentifier(oids.ECDSA_WITH_SHA256))


def test_a_key_cannot_be_made_without_derivation_by_accident() -> None:
    key = MacKey(pbm(), b"k" * 32)
    assert key.compute(b"x") == hmac.new(b"k" * 32, b"x", "sha1").digest()


@given(iterations=st.integers(min_value=100, max_value=3500))
def test_a_derivation_in_slices_is_the_derivation(iterations: int) -> None:
    parameters = PBMParameters(
        b"8 octets",
        hash_algorithm("sha256"),
        iterations,
        AlgorithmIdentifier(oids.ID_HMAC_WITH_SHA256),
    )
    steps = derive_mac_key_in_slices(parameters, b"secret")
    pauses = 0
    try:
        while True:
            next(steps)
            pauses += 1
    except StopIteration as stop:
        key = stop.value
    whole = derive_mac_key(parameters, b"secret")
    assert key.compute(b"data") == whole.compute(b"data")
    assert pauses == (iterations - 1) // SLICE
