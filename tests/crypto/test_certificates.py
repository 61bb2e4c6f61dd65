from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import Extension
from pkid.crypto import certificates
from pkid.crypto import extensions as ext
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.certificates import BasicConstraints, Certificate
from pkid.crypto.signatures import SignedStructure, encode_signed
from pkid.errors import ErrorCode, PKIError
from tests.crypto.oracles import (
    DAY,
    NOW,
    YEAR,
    ca,
    code_of,
    issue,
    key_id,
    private_key,
    spki_of,
)

KEY = private_key("ec:P-256")


def certificate(*extensions: Extension) -> Certificate:
    return Certificate.decode(
        issue("CN=CA", KEY, "CN=device", KEY.public_key(), *extensions)
    )


def broken(oid: str, value: bytes = b"\x30\x03\x02\x01") -> Certificate:
    return certificate(Extension(oid, critical=False, value=value))


def test_a_certificate_is_read_as_cryptography_reads_it() -> None:
    found = certificate(
        ext.basic_constraints(ca=False),
        ext.subject_alternative_name([GeneralName.dns("device.example")]),
    )
    other = x509.load_der_x509_certificate(found.der)
    assert found.structure.signed == other.tbs_certificate_bytes
    assert found.structure.signature == other.signature
    assert found.structure.algorithm.oid == other.signature_algorithm_oid.dotted_string
    assert (found.version, found.serial) == (3, other.serial_number)
    assert found.issuer.der == other.issuer.public_bytes()
    assert found.subject.der == other.subject.public_bytes()
    assert (found.not_before, found.not_after) == (NOW - DAY, NOW + YEAR)
    assert found.spki == spki_of(KEY.public_key())
    assert found.public_key_info.load() == KEY.public_key()
    assert [e.oid for e in found.extensions] == [
        e.oid.dotted_string for e in other.extensions
    ]
    assert not found.is_self_issued


def test_equality_is_of_octets() -> None:
    one = certificate()
    assert one == Certificate.decode(one.der)
    assert hash(one) == hash(Certificate.decode(one.der))
    assert one != certificate(ext.basic_constraints(ca=False))
    assert one != one.der


def retold(change: dict[int, bytes]) -> bytes:
    """A certificate with some elements of its TBSCertificate replaced."""
    structure = certificate(ext.basic_constraints(ca=False)).structure
    parts = der.Cursor(der.single(structure.signed, der.SEQUENCE)).raw_elements(20)
    for index, octets in change.items():
        parts[index] = octets
    return encode_signed(der.sequence(*parts), structure.algorithm, structure.signature)


ED25519 = signature_algorithm_for("ed25519")
TIME = b"\x17\x0d260101000000Z"


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x00", id="empty"),
        pytest.param(retold({}) + b"\x00", id="trailing"),
        pytest.param(b"\x30\x83\x01\x00\x00" + bytes(65536), id="too long"),
        pytest.param(retold({0: b"\xa0\x03\x02\x01\x03"}), id="version 4"),
        pytest.param(retold({0: b"\xa0\x03\x02\x01\x01"}), id="extensions in v2"),
        pytest.param(retold({0: b""}), id="extensions in version 1"),
        pytest.param(
            retold({2: signature_algorithm_for("ed25519").encode()}),
            id="two algorithms",
        ),
        pytest.param(retold({3: b"\x30\x03\x02\x01\x00"}), id="issuer no name"),
        pytest.param(retold({4: der.sequence(TIME)}), id="no end"),
        pytest.param(retold({4: der.sequence(TIME, TIME, TIME)}), id="three times"),
        pytest.param(retold({4: der.sequence(TIME, der.integer(1))}), id="no time"),
        pytest.param(retold({6: b""}), id="no key"),
        pytest.param(retold({7: b"\xa3\x00"}), id="extensions empty"),
        pytest.param(retold({7: b"\xa4\x02\x30\x00"}), id="unknown field"),
    ],
)
def test_broken_certificates_are_malformed(octets: bytes) -> None:
    assert code_of(Certificate.decode, octets) is ErrorCode.MALFORMED


def test_old_forms_are_read() -> None:
    unique_id = b"\x81\x02\x00\x01"
    two = Certificate.decode(retold({0: b"\xa0\x03\x02\x01\x01", 7: unique_id}))
    one = Certificate.decode(retold({0: b"", 7: b""}))
    assert (two.version, one.version) == (2, 1)
    assert two.extensions == one.extensions == ()
    negative = Certificate.decode(retold({1: der.integer(-5)}))
    assert negative.serial == -5


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_changed_octet_gives_a_certificate_or_PKIError(
    position: int, octet: int
) -> None:
    octets = bytearray(retold({}))
    octets[position % len(octets)] = octet
    try:
        found = Certificate.decode(bytes(octets))
    except PKIError:
        return
    assert SignedStructure.decode(found.der) == found.structure


def test_unknown_keys_are_no_hindrance_until_asked_for() -> None:
    dsa = der.sequence(der.sequence(der.oid(oids.ID_DSA)), der.bit_string(b"x"))
    found = Certificate.decode(retold({6: dsa}))
    with pytest.raises(PKIError) as caught:
        _ = found.public_key_info
    assert caught.value.code is ErrorCode.BAD_ALGORITHM


# --- extensions ---------------------------------------------------------------


def test_basic_constraints_read_back() -> None:
    assert certificates.basic_constraints(certificate()) is None
    for is_ca, length in ((False, None), (True, None), (True, 0), (True, 5)):
        found = certificate(ext.basic_constraints(ca=is_ca, path_length=length))
        expected = BasicConstraints(is_ca, length)
        assert certificates.basic_constraints(found) == expected
    negative = der.sequence(der.boolean(value=True), der.integer(-1))
    for value in (negative, b"\x30\x03\x02\x01"):
        found = broken(oids.ID_CE_BASIC_CONSTRAINTS, value)
        code = code_of(certificates.basic_constraints, found)
        assert code is ErrorCode.MALFORMED


@pytest.mark.parametrize(
    ("names", "signs", "certifies"),
    [
        (None, True, True),
        (["digitalSignature"], True, False),
        (["keyCertSign"], False, True),
        (["nonRepudiation"], False, False),
        (["digitalSignature", "keyCertSign"], True, True),
    ],
)
def test_key_usage_says_who_may_sign(
    names: list[str] | None, signs: bool, certifies: bool
) -> None:
    found = certificate(*([ext.key_usage(names)] if names else []))
    assert certificates.allows_digital_signature(found) is signs
    assert certificates.allows_certificate_signing(found) is certifies


def test_extended_key_usage_counts_by_its_own_name_only() -> None:
    purposes = [oids.ID_KP_CMC_RA, oids.ID_KP_CLIENT_AUTH]
    found = certificate(ext.extended_key_usage(purposes))
    assert certificates.extended_key_usages(found) == tuple(purposes)
    assert certificates.has_extended_key_usage(found, oids.ID_KP_CMC_RA)
    assert not certificates.has_extended_key_usage(found, oids.ID_KP_CMC_CA)
    everything = certificate(
        ext.extended_key_usage([oids.ID_KP_ANY_EXTENDED_KEY_USAGE])
    )
    assert not certificates.has_extended_key_usage(everything, oids.ID_KP_CMC_RA)
    assert not certificates.has_extended_key_usage(certificate(), oids.ID_KP_CMC_RA)
    many = broken(oids.ID_CE_EXT_KEY_USAGE, der.sequence(*[der.oid("1.2")] * 65))
    assert code_of(certificates.extended_key_usages, many) is ErrorCode.MALFORMED


def test_key_identifiers_read_back() -> None:
    found = ca("CN=CA", KEY)
    assert certificates.subject_key_identifier(found) == key_id(KEY)
    assert certificates.authority_key_identifier(found) == key_id(KEY)
    assert certificates.subject_key_identifier(certificate()) is None
    assert certificates.authority_key_identifier(certificate()) is None
    empty = broken(oids.ID_CE_AUTHORITY_KEY_IDENTIFIER, b"\x30\x00")
    assert certificates.authority_key_identifier(empty) is None


def test_alternative_names_read_back() -> None:
    names = (GeneralName.dns("a.example"), GeneralName.ip("192.0.2.1"))
    found = certificate(ext.subject_alternative_name(names))
    assert certificates.subject_alternative_names(found) == names
    assert certificates.subject_alternative_names(certificate()) == ()


@pytest.mark.parametrize(
    ("function", "oid"),
    [
        (certificates.allows_digital_signature, oids.ID_CE_KEY_USAGE),
        (certificates.extended_key_usages, oids.ID_CE_EXT_KEY_USAGE),
        (certificates.subject_key_identifier, oids.ID_CE_SUBJECT_KEY_IDENTIFIER),
        (certificates.authority_key_identifier, oids.ID_CE_AUTHORITY_KEY_IDENTIFIER),
        (certificates.subject_alternative_names, oids.ID_CE_SUBJECT_ALT_NAME),
    ],
)
def test_broken_extensions_are_malformed_when_asked_for(function, oid) -> None:  # noqa: ANN001
    assert code_of(function, broken(oid)) is ErrorCode.MALFORMED
