"""Key packages against cryptography, pyasn1-modules and themselves."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc5958

from pkid.asn1 import der
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.keypackage import (
    MAX_KEYS,
    OneAsymmetricKey,
    decode_key_package,
    encode_key_package,
)
from tests.messages.strategies import ALGORITHMS, OCTETS

KEYS = st.builds(
    OneAsymmetricKey,
    algorithm=ALGORITHMS,
    private_key=OCTETS,
    public_key=st.none() | OCTETS,
)


@given(st.lists(KEYS, min_size=1, max_size=3))
def test_key_packages_round_trip(keys: list[OneAsymmetricKey]) -> None:
    assert decode_key_package(encode_key_package(*keys)) == tuple(keys)


def test_pyasn1_reads_a_package_of_real_keys() -> None:
    pkcs8 = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )
    key = OneAsymmetricKey.decode(pkcs8)
    assert key.encode() == pkcs8
    package = encode_key_package(key)
    found, rest = decoder.decode(package, asn1Spec=rfc5958.AsymmetricKeyPackage())
    assert rest == b""
    assert bytes(found[0]["privateKey"]) == key.private_key
    load_der_private_key(encoder.encode(found[0]), None)


def test_private_keys_are_not_shown() -> None:
    key = OneAsymmetricKey.decode(
        der.sequence(
            der.integer(0), der.sequence(der.oid("1.2.3")), der.octet_string(b"SECRET")
        )
    )
    assert "SECRET" not in repr(key)


@pytest.mark.parametrize(
    "octets",
    [
        der.sequence(),
        der.sequence(*[b"\x30\x00"] * (MAX_KEYS + 1)),
        der.sequence(
            der.sequence(
                der.integer(2), der.sequence(der.oid("1.2.3")), der.octet_string(b"")
            )
        ),
        der.sequence(
            der.sequence(
                der.integer(0),
                der.sequence(der.oid("1.2.3")),
                der.octet_string(b""),
                b"\x81\x02\x00\x01",
            )
        ),
    ],
    ids=["empty", "too many", "version 3", "public key in version 1"],
)
def test_broken_packages_are_malformed(octets: bytes) -> None:
    with pytest.raises(PKIError) as caught:
        decode_key_package(octets)
    assert caught.value.code is ErrorCode.MALFORMED


@given(ALGORITHMS, OCTETS)
def test_kem_ciphertexts_round_trip(kem: object, ciphertext: bytes) -> None:
    info = KemCiphertextInfo(kem, ciphertext)  # type: ignore[arg-type]  # from ALGORITHMS
    assert KemCiphertextInfo.decode(info.encode()) == info


@given(st.binary(max_size=40) | KEYS.map(lambda key: encode_key_package(key)[:-1]))
def test_any_octets_are_keys_or_malformed(octets: bytes) -> None:
    for decode in (decode_key_package, KemCiphertextInfo.decode):
        code = ErrorCode.MALFORMED
        try:
            decode(octets)
        except PKIError as error:
            code = error.code
        assert code is ErrorCode.MALFORMED


def test_attributes_are_kept_and_a_public_key_in_pieces_is_joined() -> None:
    head = der.sequence(der.oid("1.2.3")) + der.octet_string(b"k")
    plain = der.sequence(der.integer(0), head, b"\xa0\x02\x31\x00")
    key = OneAsymmetricKey.decode(plain)
    assert key.attributes_octets == b"\x31\x00"
    assert key.encode() == plain
    pieces = b"\xa1\x08\x03\x02\x00\xab\x03\x02\x00\xcd"
    key = OneAsymmetricKey.decode(der.sequence(der.integer(1), head, pieces))
    assert key.public_key == b"\xab\xcd"
