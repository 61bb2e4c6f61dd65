"""PKCS #10: round trips, request attributes, pyasn1's rfc2986 as the oracle."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc2986

from pkid.asn1 import der, oids
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension, encode_extensions
from pkid.errors import ErrorCode, PKIError
from pkid.messages.pkcs10 import Attribute, CertificationRequest, encode_request_info
from tests.messages import strategies as make

RECORDED = (Path(__file__).parents[1] / "vectors" / "cmp" / "ee.csr.der").read_bytes()
ALGORITHM = AlgorithmIdentifier("1.2.840.10045.4.3.2")
SPKI = der.sequence(ALGORITHM.encode(), der.bit_string(b"key"))
NAME = Name.from_text("CN=device").der
EXTENSIONS = (Extension("2.5.29.15", True, b"\x03\x02\x07\x80"),)


def request(*attributes: Attribute) -> CertificationRequest:
    info = encode_request_info(NAME, SPKI, attributes)
    return CertificationRequest.build(info, ALGORITHM, b"signature")


def assert_malformed(octets: bytes) -> None:
    with pytest.raises(PKIError) as caught:
        CertificationRequest.decode(octets)
    assert caught.value.code is ErrorCode.MALFORMED


@given(make.CERTIFICATION_REQUESTS)
@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
def test_oracle_reads_each_request_and_writes_the_same_octets(
    made: CertificationRequest,
) -> None:
    value, rest = decoder.decode(made.der, asn1Spec=rfc2986.CertificationRequest())
    assert rest == b""
    assert encoder.encode(value) == made.der
    assert encoder.encode(value["certificationRequestInfo"]) == made.request_info


@given(st.binary(max_size=100))
def test_any_octets_give_a_request_or_MALFORMED(octets: bytes) -> None:
    for candidate in (octets, RECORDED[:20] + octets + RECORDED[20 + len(octets) :]):
        try:
            found = CertificationRequest.decode(candidate)
            assert found.challenge_password is None or found.extension_request
        except PKIError as error:
            code = error.code
        else:
            code = ErrorCode.MALFORMED
        assert code is ErrorCode.MALFORMED


def test_recorded_request_is_taken_apart() -> None:
    found = CertificationRequest.decode(RECORDED)
    assert found.version == 0
    assert Name.decode(found.subject).text() == "CN=device,O=Test,C=DE"
    assert found.signature_algorithm.oid == oids.ECDSA_WITH_SHA256
    assert [extension.oid for extension in found.extension_request] == [
        oids.ID_CE_SUBJECT_ALT_NAME
    ]
    assert found.challenge_password is None
    assert found.request_info in RECORDED


@pytest.mark.parametrize(
    "oid", [oids.PKCS9_EXTENSION_REQUEST, oids.MICROSOFT_EXTENSION_REQUEST]
)
def test_extensions_are_found_by_both_names(oid: str) -> None:
    made = request(Attribute(oid, (encode_extensions(EXTENSIONS),)))
    assert made.extension_request == EXTENSIONS


@pytest.mark.parametrize(
    "tag",
    [
        der.UTF8_STRING,
        der.PRINTABLE_STRING,
        der.TELETEX_STRING,
        der.IA5_STRING,
        der.UNIVERSAL_STRING,
        der.BMP_STRING,
    ],
)
def test_challenge_password_is_read_in_any_string_type(tag: int) -> None:
    value = der.encode_text(tag, "let me in")
    made = request(Attribute(oids.PKCS9_CHALLENGE_PASSWORD, (value,)))
    assert made.challenge_password == "let me in"


def test_no_attribute_means_no_extension() -> None:
    assert request().extension_request == ()


def test_left_out_attributes_field_is_read_as_none() -> None:
    info = der.sequence(der.integer(0), NAME, SPKI)
    made = CertificationRequest.build(info, ALGORITHM, b"s")
    assert made.attributes == ()
    assert made.request_info == info


def test_unsorted_attributes_are_read_and_kept_in_order() -> None:
    first = Attribute("1.2.3.9", (der.integer(2), der.integer(1)))
    second = Attribute("1.2.3.1", (der.integer(1),))
    values = der.encode(der.SET, der.integer(2), der.integer(1))
    unsorted = der.encode(
        0xA0, der.sequence(der.oid("1.2.3.9"), values), second.encode()
    )
    info = der.sequence(der.integer(0), NAME, SPKI, unsorted)
    made = CertificationRequest.build(info, ALGORITHM, b"s")
    assert made.attributes == (first, second)
    assert made.request_info == info


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param((Attribute(oids.PKCS9_CHALLENGE_PASSWORD, ()),), id="no value"),
        pytest.param(
            (Attribute(oids.PKCS9_CHALLENGE_PASSWORD, (der.NULL, der.integer(1))),),
            id="two values",
        ),
        pytest.param(
            (Attribute(oids.PKCS9_CHALLENGE_PASSWORD, (der.utf8_string("a"),)),) * 2,
            id="twice",
        ),
        pytest.param(
            (Attribute(oids.PKCS9_CHALLENGE_PASSWORD, (der.integer(1),)),),
            id="no string",
        ),
    ],
)
def test_broken_challenge_password_is_malformed(
    attributes: tuple[Attribute, ...],
) -> None:
    made = request(*attributes)
    with pytest.raises(PKIError) as caught:
        _ = made.challenge_password
    assert caught.value.code is ErrorCode.MALFORMED


def test_too_many_attributes_or_values_are_malformed() -> None:
    attribute = Attribute("1.2.3", (der.NULL,))
    info = encode_request_info(NAME, SPKI, (attribute,) * 65)
    assert_malformed(der.sequence(info, ALGORITHM.encode(), der.bit_string(b"")))
    info = encode_request_info(NAME, SPKI, (Attribute("1.2.3", (der.NULL,) * 17),))
    assert_malformed(der.sequence(info, ALGORITHM.encode(), der.bit_string(b"")))


@pytest.mark.requirement("SEC-90")
@pytest.mark.parametrize(
    "octets", [RECORDED + b"\0", RECORDED[:-1], b"", b"\x30\x80" + RECORDED[4:]]
)
def test_what_is_not_DER_is_malformed(octets: bytes) -> None:
    assert_malformed(octets)
