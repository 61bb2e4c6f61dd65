from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.crypto import crls
from pkid.crypto import extensions as ext
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.signatures import sign
from pkid.errors import ErrorCode
from tests.crypto.oracles import (
    DAY,
    NOW,
    YEAR,
    ca,
    code_of,
    key_id,
    openssl,
    private_key,
)

ISSUER = Name.from_text("CN=CA,O=Example")
URI = GeneralName.uri("http://ca.example.com/ca.crl")
X509_URI = [x509.UniformResourceIdentifier("http://ca.example.com/ca.crl")]
REASONS = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10)
WORDS = {
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    8: x509.ReasonFlags.remove_from_crl,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}


def make(
    *entries: bytes, extras: tuple[Extension, ...] = (), family: str = "ec:P-256"
) -> bytes:
    key = private_key(family)
    algorithm = signature_algorithm_for(family)
    extensions = (
        crls.crl_number(7),
        ext.authority_key_identifier(key_id(key)),
        *extras,
    )
    tbs = crls.assemble_crl(
        ISSUER.der, algorithm, NOW, NOW + 7 * DAY, entries, extensions
    )
    return crls.encode_certificate_list(tbs, algorithm, sign(key, algorithm, tbs))


@given(
    st.lists(
        st.tuples(
            st.integers(1, (1 << 159) - 1),
            st.integers(0, 10**9),
            st.sampled_from(REASONS),
            st.none() | st.integers(0, 10**9),
        ),
        max_size=5,
        unique_by=lambda entry: entry[0],
    )
)
def test_cryptography_reads_and_verifies_any_list(
    entries: list[tuple[int, int, int, int | None]],
) -> None:
    def moment(seconds: int | None) -> datetime.datetime | None:
        if seconds is None:
            return None
        return NOW - datetime.timedelta(seconds=seconds)

    octets = make(
        *(
            crls.encode_crl_entry(serial, moment(when), reason, moment(invalid))
            for serial, when, reason, invalid in entries
        )
    )
    crl = x509.load_der_x509_crl(octets)
    assert crl.is_signature_valid(private_key("ec:P-256").public_key())
    assert crl.last_update_utc == NOW
    assert crl.next_update_utc == NOW + 7 * DAY
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    assert len(crl) == len(entries)
    for found, (serial, when, reason, invalid) in zip(crl, entries, strict=True):
        assert found.serial_number == serial
        assert found.revocation_date_utc == moment(when)
        kinds = {type(extension.value): extension for extension in found.extensions}
        assert len(kinds) == (reason != 0) + (invalid is not None)
        if reason:
            assert kinds[x509.CRLReason].value.reason is WORDS[reason]
        if invalid is not None:
            date = kinds[x509.InvalidityDate]
            assert date.value.invalidity_date_utc == moment(invalid)


@pytest.mark.parametrize("family", ["ec:P-256", "rsa", "ed25519", "ml-dsa-65"])
def test_lists_are_signed_with_every_kind_of_key(family: str) -> None:
    crl = x509.load_der_x509_crl(make(family=family))
    assert crl.is_signature_valid(private_key(family).public_key())


@pytest.mark.parametrize("family", ["ec:P-256", "rsa"])
def test_openssl_verifies_a_list_and_finds_the_revoked(family: str) -> None:
    key = private_key(family)
    issuer = ca("CN=CA,O=Example", key, not_before=NOW - 10 * YEAR)
    octets = make(
        crls.encode_crl_entry(0x1234, NOW - DAY, 1, NOW - 2 * DAY), family=family
    )
    text = openssl(
        *("crl", "-inform", "DER", "-in", "@crl", "-CAfile", "@ca", "-text"),
        crl=octets,
        ca=openssl("x509", "-inform", "DER", "-in", "@c", c=issuer.der).encode("ascii"),
    )
    assert "verify OK" in text
    assert "Serial Number: 1234" in text
    assert "Key Compromise" in text
    assert "Invalidity Date" in text
    assert "X509v3 CRL Number: \n                7" in text


def test_an_empty_list_has_no_revokedCertificates() -> None:
    cursor = der.Cursor(der.single(make(), der.SEQUENCE))
    tags = [
        element[0] for element in der.Cursor(cursor.take(der.SEQUENCE)).raw_elements(9)
    ]
    assert tags == [0x02, 0x30, 0x30, 0x17, 0x17, 0xA0]


@pytest.mark.parametrize(
    ("extension", "expected"),
    [
        (crls.crl_number(1 << 158), x509.CRLNumber(1 << 158)),
        (crls.delta_crl_indicator(6), x509.DeltaCRLIndicator(6)),
        (
            crls.issuing_distribution_point([URI], only_user_certificates=True),
            x509.IssuingDistributionPoint(
                full_name=X509_URI,
                relative_name=None,
                only_contains_user_certs=True,
                only_contains_ca_certs=False,
                only_some_reasons=None,
                indirect_crl=False,
                only_contains_attribute_certs=False,
            ),
        ),
        (
            crls.issuing_distribution_point(
                [URI],
                only_ca_certificates=True,
                only_some_reasons=frozenset({1}),
                indirect=True,
            ),
            x509.IssuingDistributionPoint(
                full_name=X509_URI,
                relative_name=None,
                only_contains_user_certs=False,
                only_contains_ca_certs=True,
                only_some_reasons=frozenset({x509.ReasonFlags.key_compromise}),
                indirect_crl=True,
                only_contains_attribute_certs=False,
            ),
        ),
        (
            crls.issuing_distribution_point(only_ca_certificates=True),
            x509.IssuingDistributionPoint(
                full_name=None,
                relative_name=None,
                only_contains_user_certs=False,
                only_contains_ca_certs=True,
                only_some_reasons=None,
                indirect_crl=False,
                only_contains_attribute_certs=False,
            ),
        ),
        (crls.invalidity_date(NOW), x509.InvalidityDate(NOW.replace(tzinfo=None))),
        (crls.reason_code(6), x509.CRLReason(x509.ReasonFlags.certificate_hold)),
    ],
)
def test_extensions_of_lists_are_those_of_cryptography(
    extension: Extension, expected: x509.ExtensionType
) -> None:
    assert extension.oid == expected.oid.dotted_string
    assert extension.value.hex() == expected.public_bytes().hex()
    critical = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
    assert extension.critical is isinstance(expected, critical)


def test_a_delta_and_a_partition_are_read_by_others() -> None:
    extras = (
        crls.delta_crl_indicator(6),
        crls.issuing_distribution_point([URI], only_user_certificates=True),
    )
    octets = make(crls.encode_crl_entry(5, NOW, 8), extras=extras)
    crl = x509.load_der_x509_crl(octets)
    delta = crl.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert delta.value.crl_number == 6
    text = openssl("crl", "-inform", "DER", "-in", "@c", "-noout", "-text", c=octets)
    assert "Remove From CRL" in text
    assert "Only User Certificates" in text


@pytest.mark.parametrize("size", [1, 14, 15, 40, 70, 99, 100])
def test_entries_with_long_serial_numbers_have_long_lengths(size: int) -> None:
    serial = (1 << (8 * size - 1)) - 1
    entry = crls.encode_crl_entry(serial, NOW, 1, NOW)
    cursor = der.Cursor(der.single(entry, der.SEQUENCE))
    assert der.decode_integer(cursor.take(der.INTEGER)) == serial


@pytest.mark.parametrize("reason", [-1, 7, 11, 256])
def test_reasons_that_do_not_exist_are_refused(reason: int) -> None:
    assert code_of(crls.encode_crl_entry, 1, NOW, reason) is ErrorCode.INTERNAL


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: crls.reason_code(0),
        lambda: crls.encode_crl_entry(-1, NOW),
        lambda: crls.encode_crl_entry(1 << 800, NOW),
        lambda: crls.crl_number(-1),
        lambda: crls.crl_number(1 << 159),
        lambda: crls.delta_crl_indicator(-1),
        crls.issuing_distribution_point,
        lambda: crls.issuing_distribution_point(
            only_user_certificates=True, only_ca_certificates=True
        ),
        lambda: make(extras=(crls.crl_number(8),)),
        lambda: crls.assemble_crl(
            ISSUER.der, signature_algorithm_for("rsa"), NOW, NOW + DAY, (), ()
        ),
        lambda: crls.assemble_crl(
            ISSUER.der,
            signature_algorithm_for("rsa"),
            NOW,
            NOW,
            (),
            (crls.crl_number(1), ext.authority_key_identifier(b"x")),
        ),
    ],
)
def test_lists_that_break_the_rules_are_not_made(attempt) -> None:  # noqa: ANN001
    assert code_of(attempt) is ErrorCode.INTERNAL
