"""Distinguished names: text, comparison, hostile ones."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc2459

from pkid.asn1 import der, oids
from pkid.asn1.names import EMPTY, AttributeValue, Name, fold
from pkid.errors import ErrorCode, PKIError

TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"),
    min_size=1,
    max_size=20,
)
PAIRS = st.one_of(
    st.tuples(
        st.sampled_from(
            (oids.ID_AT_COMMON_NAME, oids.ID_AT_ORGANIZATION_NAME, "1.2.3")
        ),
        TEXTS,
    ),
    st.tuples(st.just(oids.ID_AT_COUNTRY_NAME), st.sampled_from(("DE", "FR"))),
    st.tuples(st.just(oids.ID_DOMAIN_COMPONENT), st.just("example")),
)
NAMES = st.lists(st.lists(PAIRS, min_size=1, max_size=3), max_size=4).map(Name.build)


def cn(tag: int, contents: bytes) -> bytes:
    value = der.encode(tag, contents)
    return der.sequence(
        der.set_of(der.sequence(der.oid(oids.ID_AT_COMMON_NAME), value))
    )


def assert_malformed(call: object, argument: object) -> None:
    assert callable(call)
    with pytest.raises(PKIError) as caught:
        call(argument)
    assert caught.value.code is ErrorCode.MALFORMED


@given(NAMES)
def test_text_gives_the_name_back(name: Name) -> None:
    assert Name.from_text(name.text()) == name
    assert Name.decode(name.der).rdns == name.rdns


@given(NAMES)
def test_oracle_reads_each_name_and_writes_the_same_octets(name: Name) -> None:
    value, rest = decoder.decode(name.der, asn1Spec=rfc2459.Name())
    assert rest == b""
    assert encoder.encode(value) == name.der
    assert len(value[0]) == len(name.rdns)


def test_cryptography_writes_the_same_octets() -> None:
    for text in ("CN=device", "CN=device,O=Test", "CN=a,DC=example,C=DE"):
        theirs = x509.Name.from_rfc4514_string(text)
        assert theirs.public_bytes() == Name.from_text(text).der


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("CN=Steve Kille,O=Isode Limited,C=GB", ["Steve Kille", "Isode Limited", "GB"]),
        (r"CN=L. Eagle,O=Sue\, Grabbit and Runn,C=GB", ["L. Eagle", None, "GB"]),
        ("OU=Sales+CN=J.  Smith,DC=example,DC=net", None),
        (r"CN=Before\0dAfter,O=Test,C=GB", ["Before\rAfter", "Test", "GB"]),
        (r"CN=Lu\C4\8Di\C4\87", ["Lučić"]),
        ("1.3.6.1.4.1.1466.0=#04024869", ["#04024869"]),
    ],
)
def test_examples_of_RFC_4514_are_read(
    text: str, attributes: list[str | None] | None
) -> None:
    name = Name.from_text(text)
    assert Name.from_text(name.text()) == name
    if attributes is not None:
        values = [rdn[0].value for rdn in reversed(name.rdns)]
        expected = [
            actual if wanted is None else wanted
            for actual, wanted in zip(values, attributes, strict=True)
        ]
        assert values == expected


def test_first_text_is_the_last_part() -> None:
    name = Name.from_text("cn=device, O=Test; C=DE")
    assert name.rdns[0][0].oid == oids.ID_AT_COUNTRY_NAME
    assert name.text() == "CN=device,O=Test,C=DE"


def test_types_of_strings_are_those_of_RFC_5280() -> None:
    name = Name.from_text("C=DE,serialNumber=1,dnQualifier=q,DC=x,emailAddress=a@b,O=é")
    assert {a.oid: a.tag for rdn in name.rdns for a in rdn} == {
        oids.ID_AT_COUNTRY_NAME: der.PRINTABLE_STRING,
        oids.ID_AT_SERIAL_NUMBER: der.PRINTABLE_STRING,
        oids.ID_AT_DN_QUALIFIER: der.PRINTABLE_STRING,
        oids.ID_DOMAIN_COMPONENT: der.IA5_STRING,
        oids.ID_EMAIL_ADDRESS: der.IA5_STRING,
        oids.ID_AT_ORGANIZATION_NAME: der.UTF8_STRING,
    }


def test_empty_name_is_the_NULL_DN() -> None:
    assert EMPTY == Name.from_text("") == Name.build([])
    assert EMPTY.is_empty
    assert EMPTY.text() == ""
    assert not Name.from_text("CN=x").is_empty


def test_values_are_in_the_order_of_the_encoding() -> None:
    name = Name.from_text("CN=b,OU=x,CN=a")
    assert name.values(oids.ID_AT_COMMON_NAME) == ("a", "b")
    assert name.values("1.2.3") == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (cn(der.UTF8_STRING, b"Device"), cn(der.PRINTABLE_STRING, b"DEVICE")),
        (cn(der.UTF8_STRING, b" a   b "), cn(der.IA5_STRING, b"A B")),
        (cn(der.BMP_STRING, b"\0a"), cn(der.UNIVERSAL_STRING, b"\0\0\0A")),
        (cn(der.TELETEX_STRING, b"\xe9"), cn(der.UTF8_STRING, "É".encode())),
        (cn(der.UTF8_STRING, "ﬁ".encode()), cn(der.UTF8_STRING, b"FI")),
        (cn(der.UTF8_STRING, "a\u00adb".encode()), cn(der.UTF8_STRING, b"ab")),
        (cn(der.UTF8_STRING, b"a\tb\x01"), cn(der.UTF8_STRING, b"a b")),
        (
            Name.from_text("CN=a+OU=b").der,
            Name.from_text("OU=B+CN=A").der,
        ),
    ],
)
def test_names_match_by_RFC_5280(one: bytes, other: bytes) -> None:
    first, second = Name.decode(one), Name.decode(other)
    assert first.matches(second)
    assert first.canonical == second.canonical
    assert (first == second) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=a", "CN=b"),
        ("CN=a", "OU=a"),
        ("CN=a,O=b", "O=b,CN=a"),
        ("CN=a+OU=b", "CN=a,OU=b"),
        ("CN=a b", "CN=ab"),
        ("CN=#0401ff", "CN=#0402ffff"),
        ("CN=x", ""),
    ],
)
def test_different_names_do_not_match(one: str, other: str) -> None:
    assert not Name.from_text(one).matches(Name.from_text(other))


@given(TEXTS)
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@pytest.mark.requirement("SEC-93")
@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(cn(der.UTF8_STRING, b"bank.example\0.evil"), id="NUL"),
        pytest.param(cn(der.BMP_STRING, b"\0a\0\0\0b"), id="NUL in a BMPString"),
        pytest.param(cn(der.UNIVERSAL_STRING, b"\0\x11\0\0"), id="no code point"),
        pytest.param(cn(der.BMP_STRING, b"\xdc\0"), id="lone surrogate"),
        pytest.param(cn(der.UTF8_STRING, b"a" * 1025), id="1025 characters"),
        pytest.param(cn(der.UTF8_STRING, b"a" * 65536), id="64 kB"),
        pytest.param(cn(der.OCTET_STRING, b"a" * 1025), id="1025 octets"),
        pytest.param(Name.from_text("CN=x").der[:2] + b"\x31\0" * 6, id="empty part"),
        pytest.param(
            der.sequence(*[der.single(cn(12, b"a"), der.SEQUENCE)] * 65), id="65 parts"
        ),
        pytest.param(
            der.sequence(
                der.set_of(
                    *[der.sequence(der.oid("2.5.4.3"), der.utf8_string("a"))] * 17
                )
            ),
            id="17 attributes in a part",
        ),
        pytest.param(EMPTY.der + b"\0", id="trailing octet"),
        pytest.param(b"\x30\x80\0\0", id="indefinite length"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_hostile_name_is_malformed(octets: bytes) -> None:
    assert_malformed(Name.decode, octets)


@pytest.mark.requirement("SEC-93")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"CN=a\0ab"),
        ("\x1b[31m", r"CN=\1b[31m"),
        ("\u202eevil", r"CN=\e2\80\aeevil"),
        ("a\u2028b", r"CN=a\e2\80\a8b"),
        ("\x85", r"CN=\c2\85"),
        ("a\u00a0b", r"CN=a\c2\a0b"),
        ("\ue000", r"CN=\ee\80\80"),
        (' #a,+"\\<>;= ', 'CN=\\ #a\\,\\+\\"\\\\\\<\\>\\;\\=\\ '),
        ("#hex", r"CN=\#hex"),
        (" ", r"CN=\ "),
    ],
)
def test_control_and_format_characters_are_escaped(value: str, text: str) -> None:
    name = Name.build([[(oids.ID_AT_COMMON_NAME, value)]])
    assert name.text() == text
    assert name.text().isprintable()
    assert Name.from_text(text) == name


@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda b: cn(12, b)))
def test_any_octets_give_a_name_or_MALFORMED(octets: bytes) -> None:
    try:
        name = Name.decode(octets)
    except PKIError as error:
        assert error.code is ErrorCode.MALFORMED  # noqa: PT017
    else:
        assert name.text().isprintable()
        assert name.matches(name)


@given(st.text(max_size=40))
def test_any_text_gives_a_name_or_MALFORMED(text: str) -> None:
    for candidate in (text, "CN=" + text):
        try:
            name = Name.from_text(candidate)
        except PKIError as error:
            assert error.code is ErrorCode.MALFORMED  # noqa: PT017
        else:
            assert Name.from_text(name.text()) == name


@pytest.mark.parametrize(
    "text",
    [
        "CN",
        "CN=",
        "CN=a,",
        "unknown=a",
        "CN=a\\",
        "CN=\\x",
        "CN=\\ff",
        "CN=#0",
        "CN=#zz",
        "CN=#",
        "CN=#0501",
        "CN=\ud800",
        "C=é",
        "DC=é",
        "serialNumber=a_b",
        "1..2=a",
        "3.1=a",
        "CN=a\\00b",
        "CN=" + "a" * 16384,
    ],
)
def test_text_that_is_no_name_is_malformed(text: str) -> None:
    assert_malformed(Name.from_text, text)


def test_other_spellings_of_types_are_read() -> None:
    assert Name.from_text("commonName=x,oid.2.5.4.10=y,e=z") == Name.from_text(
        "CN=x,O=y,emailAddress=z"
    )


def test_value_that_is_no_string_is_kept() -> None:
    attribute = AttributeValue("2.5.4.45", der.BIT_STRING, "#03020001")
    name = Name.of([[attribute]])
    assert name.rdns == ((attribute,),)
    assert name.text() == "2.5.4.45=#03020001"
    assert Name.from_text(name.text()) == name


def test_oids_are_well_formed_and_unique() -> None:
    constants = {
        key: value for key, value in vars(oids).items() if isinstance(value, str)
    }
    dotted = {k: v for k, v in constants.items() if k.isupper() and k[0] != "_"}
    assert len(dotted) > 200
    assert all(oids.is_dotted(value) for value in dotted.values())
    assert all(der.decode_oid(der.oid(value)[2:]) == value for value in dotted.values())
    assert len({name.lower() for name in oids.NAME_BY_OID.values()}) == len(
        oids.NAME_BY_OID
    )
    assert not oids.is_dotted("1.40.1")
    assert not oids.is_dotted("01.2")
