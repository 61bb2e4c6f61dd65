from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc5280

from pkid.asn1 import der
from pkid.asn1.names import GeneralName, Name
from pkid.crypto import extensions
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.certificates import Certificate
from pkid.crypto.signatures import sign
from pkid.crypto.tbs import (
    NO_EXPIRY,
    CertificateTemplate,
    encode_certificate,
    encode_time,
    not_after,
    serial_number,
)
from pkid.errors import ErrorCode
from tests.crypto.oracles import (
    DAY,
    NOW,
    SIGNING_FAMILIES,
    YEAR,
    code_of,
    issue,
    openssl,
    private_key,
    public_key,
    spki_of,
)

ISSUER = Name.from_text("CN=Issuing CA,O=Example,C=DE")
SUBJECT = Name.from_text("CN=station,serialNumber=0042,O=Example")
# pyasn1 takes the two-digit years from 50 to 68 for the coming ones.
RECENT = st.datetimes(
    datetime.datetime(1970, 1, 1),  # noqa: DTZ001
    datetime.datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)
MOMENTS = st.datetimes(
    datetime.datetime(1951, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    datetime.datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)
SERIALS = st.integers(1, (1 << 159) - 1)


def template(*fixed: bytes, family: str = "ec:P-256") -> CertificateTemplate:
    return CertificateTemplate.compile(
        ISSUER.der, signature_algorithm_for(family), fixed
    )


@given(
    serial=SERIALS,
    moments=st.tuples(RECENT, RECENT).map(sorted),
    dns=st.lists(st.from_regex(r"[a-z]{1,20}\.example", fullmatch=True), max_size=3),
    fixed=st.booleans(),
)
def test_pyasn1_reads_what_was_assembled_and_writes_it_the_same(
    serial: int, moments: list[datetime.datetime], dns: list[str], fixed: bool
) -> None:
    start, end = (moment.replace(microsecond=0) for moment in moments)
    constant = (extensions.basic_constraints(ca=False).encode(),) if fixed else ()
    names = [GeneralName.dns(name) for name in dns]
    variable = extensions.subject_alternative_name(names).encode() if names else b""
    octets = template(*constant).assemble(
        serial, start, end, SUBJECT.der, spki_of(public_key("ec:P-256")), variable
    )
    tbs, rest = decoder.decode(octets, asn1Spec=rfc5280.TBSCertificate())
    assert not rest
    assert int(tbs["version"]) == 2
    assert int(tbs["serialNumber"]) == serial
    for name, expected in (("notBefore", start), ("notAfter", end)):
        chosen = tbs["validity"][name].getName()
        assert chosen == ("utcTime" if expected.year < 2050 else "generalTime")
        assert tbs["validity"][name].getComponent().asDateTime == expected
    assert encoder.encode(tbs["issuer"]) == ISSUER.der
    assert encoder.encode(tbs["subject"]) == SUBJECT.der
    assert len(tbs["extensions"] if tbs["extensions"].isValue else ()) == (
        fixed + bool(names)
    )
    assert encoder.encode(tbs) == octets


@pytest.mark.parametrize("family", SIGNING_FAMILIES)
def test_cryptography_reads_and_verifies_certificates_of_every_kind(
    family: str,
) -> None:
    octets = issue("CN=CA", private_key(family), "CN=CA", public_key(family))
    certificate = x509.load_der_x509_certificate(octets)
    certificate.verify_directly_issued_by(certificate)
    assert certificate.serial_number == 0x1234
    assert certificate.not_valid_before_utc == NOW - DAY
    assert certificate.not_valid_after_utc == NOW + YEAR
    assert certificate.subject.rfc4514_string() == "CN=CA"


@pytest.mark.parametrize("family", ["rsa", "ec:P-256", "ec:P-521", "ed25519", "ed448"])
def test_openssl_verifies_certificates(family: str) -> None:
    octets = issue(
        "CN=CA,O=Example",
        private_key(family),
        "CN=CA,O=Example",
        public_key(family),
        extensions.basic_constraints(ca=True),
        extensions.key_usage(["keyCertSign", "cRLSign"]),
        not_before=NOW - 30 * YEAR,
        not_after=NO_EXPIRY,
    )
    pem = openssl("x509", "-inform", "DER", "-in", "@c", c=octets)
    text = openssl(
        "verify", "-check_ss_sig", "-CAfile", "@c", "@c", c=pem.encode("ascii")
    )
    assert text.strip().endswith("OK")
    shown = openssl("x509", "-inform", "DER", "-in", "@c", "-noout", "-text", c=octets)
    assert "Not After : Dec 31 23:59:59 9999 GMT" in shown
    assert "Issuer: O = Example, CN = CA" in shown


@pytest.mark.parametrize("size", [1, 127, 128, 255, 256, 5000, 70_000])
def test_lengths_of_all_sizes_are_minimal(size: int) -> None:
    octets = template().assemble(
        1, NOW, NOW + DAY, der.octet_string(bytes(size)), b"\x30\x00"
    )
    contents = der.Cursor(der.single(octets, der.SEQUENCE))
    assert len(contents.raw_elements(20)) == 7


@given(SERIALS)
def test_serial_numbers_are_minimal_and_positive(serial: int) -> None:
    octets = template().assemble(serial, NOW, NOW, b"\x30\x00", b"\x30\x00")
    cursor = der.Cursor(der.single(octets, der.SEQUENCE))
    cursor.raw()
    assert cursor.raw() == der.integer(serial)


@pytest.mark.parametrize("serial", [0, -1, 1 << 159, 1 << 2000])
def test_other_serial_numbers_are_refused(serial: int) -> None:
    assert (
        code_of(template().assemble, serial, NOW, NOW, b"\x30\x00", b"\x30\x00")
        is ErrorCode.INTERNAL
    )


def test_validity_must_not_end_before_it_begins() -> None:
    second = datetime.timedelta(seconds=1)
    code = code_of(template().assemble, 1, NOW, NOW - second, b"\x30\x00", b"\x30\x00")
    assert code is ErrorCode.INTERNAL


def test_a_template_takes_each_extension_once_and_whole() -> None:
    usage = extensions.key_usage(["digitalSignature"]).encode()
    for fixed in ((usage, usage), (usage + usage,), (b"garbage",), (b"",)):
        code = code_of(
            CertificateTemplate.compile,
            ISSUER.der,
            signature_algorithm_for("rsa"),
            fixed,
        )
        assert code is ErrorCode.INTERNAL


def test_the_certificate_names_its_algorithm_twice_alike() -> None:
    for family in ("rsa", "ec:P-384", "ed25519"):
        compiled = template(family=family)
        tbs = compiled.assemble(
            1, NOW, NOW, SUBJECT.der, spki_of(public_key("ec:P-256"))
        )
        signature = sign(private_key(family), compiled.algorithm, tbs)
        octets = encode_certificate(tbs, compiled.algorithm, signature)
        assert Certificate.decode(octets).structure.algorithm == compiled.algorithm


# --- times --------------------------------------------------------------------


@given(MOMENTS)
def test_times_are_those_of_the_asn1_room(moment: datetime.datetime) -> None:
    assert encode_time(moment) == der.time(moment)


def test_the_change_of_the_form_of_times_is_at_2050() -> None:
    second = datetime.timedelta(seconds=1)
    first = datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC)
    assert encode_time(first - second) == b"\x17\x0d491231235959Z"
    assert encode_time(first) == b"\x18\x0f20500101000000Z"
    assert encode_time(NO_EXPIRY) == b"\x18\x0f99991231235959Z"


def test_a_moment_elsewhere_is_written_in_UTC_and_a_naive_one_not_at_all() -> None:
    east = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    assert encode_time((NOW + DAY / 7).astimezone(east)) == der.time(NOW + DAY / 7)
    assert code_of(encode_time, NOW.replace(tzinfo=None)) is ErrorCode.INTERNAL


def test_the_end_of_validity_is_inclusive() -> None:
    second = datetime.timedelta(seconds=1)
    assert not_after(NOW, YEAR) == NOW + YEAR - second
    assert not_after(NOW, second) == NOW
    assert not_after(NOW, 10_000 * YEAR) == NO_EXPIRY
    assert not_after(NOW, NO_EXPIRY - NOW + second) == NO_EXPIRY
    for period in (datetime.timedelta(0), -second):
        assert code_of(not_after, NOW, period) is ErrorCode.INTERNAL


# --- serial numbers -----------------------------------------------------------

SECONDS = st.integers(1, (1 << 47) - 1)
RANDOM = st.binary(min_size=13, max_size=13)


@given(SECONDS, RANDOM)
def test_serial_numbers_are_positive_and_short(seconds: int, octets: bytes) -> None:
    serial = serial_number(seconds, octets)
    assert serial > 0
    assert len(der.single(der.integer(serial), der.INTEGER)) <= 20
    assert serial.to_bytes(19, "big")[6:] == octets


@given(SECONDS, RANDOM, SECONDS, RANDOM)
def test_serial_numbers_rise_with_time(
    first: int, one: bytes, second: int, other: bytes
) -> None:
    if first != second:
        rises = serial_number(first, one) < serial_number(second, other)
        assert rises == (first < second)


@pytest.mark.parametrize(
    ("seconds", "octets"),
    [(0, bytes(13)), (-1, bytes(13)), (1 << 47, bytes(13)), (1, bytes(12)), (1, b"")],
)
def test_serial_numbers_need_a_time_and_13_random_octets(
    seconds: int, octets: bytes
) -> None:
    assert code_of(serial_number, seconds, octets) is ErrorCode.INTERNAL
