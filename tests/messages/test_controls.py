"""Controls and registration information of CRMF."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.type import char, tag, univ
from pyasn1_alt_modules import rfc9810
from pyasn1_modules import rfc2511, rfc4211

from pkid.asn1 import der, oids
from pkid.asn1.names import EMPTY, GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages import controls, crmf, registration
from pkid.messages.controls import (
    ArchiveRemGenPrivKey,
    ControlType,
    KeyGenParameters,
    PKIPublicationInfo,
    PublicationAction,
    PublicationMethod,
    SinglePubInfo,
    decode_control,
)
from tests.messages import strategies as make
from tests.messages.oracle import (
    CHANGES,
    PATIENT,
    assert_malformed,
    assert_object_or_malformed,
    changed,
    read,
    write,
)

ARCHIVE_OPTIONS = (
    make.ENCRYPTED_KEYS
    | make.OCTETS.map(KeyGenParameters)
    | st.booleans().map(ArchiveRemGenPrivKey)
)
PAIR_TEXTS = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12
)
NAMES = PAIR_TEXTS.filter(lambda name: name and name[0] not in "0123456789")
PAIRS = st.lists(st.tuples(NAMES, PAIR_TEXTS), min_size=1, max_size=4).map(tuple)
CERT_REQUESTS = st.builds(
    crmf.CertRequest.build,
    make.INTEGERS,
    make.templates(make.NAMES.filter(lambda name: not name.is_empty)),
    make.CONTROLS,
)
ROWS: list[tuple[ControlType[Any], st.SearchStrategy[Any], Any]] = [
    (controls.REG_TOKEN, PAIR_TEXTS, rfc4211.RegToken()),
    (controls.AUTHENTICATOR, PAIR_TEXTS, rfc4211.Authenticator()),
    (
        controls.PKI_PUBLICATION_INFO,
        make.PUBLICATION_INFOS,
        rfc4211.PKIPublicationInfo(),
    ),
    (controls.PKI_ARCHIVE_OPTIONS, ARCHIVE_OPTIONS, rfc4211.PKIArchiveOptions()),
    (controls.OLD_CERT_ID, make.CERT_IDS, rfc4211.OldCertId()),
    (controls.PROTOCOL_ENCR_KEY, make.SPKIS, rfc4211.ProtocolEncrKey()),
    (
        controls.ALT_CERT_TEMPLATE,
        st.builds(crmf.AttributeTypeAndValue, make.OIDS, make.ELEMENTS),
        rfc4211.AttributeTypeAndValue(),
    ),
    (controls.ALG_ID, make.ALGORITHMS, rfc9810.AlgIdCtrl()),
    (controls.RSA_KEY_LEN, st.integers(1, 2**20), rfc9810.RsaKeyLenCtrl()),
    (registration.UTF8_PAIRS, PAIRS, rfc4211.UTF8Pairs()),
    (registration.CERT_REQ, CERT_REQUESTS, rfc4211.CertReq()),
]
EACH_ROW = pytest.mark.parametrize(
    ("row", "values", "spec"), ROWS, ids=[row.name for row, _, _ in ROWS]
)


def test_table_holds_every_control_of_the_RFCs() -> None:
    known = {row.oid for row, _, _ in ROWS}
    registered = {oids.ID_REG_INFO_UTF8_PAIRS, oids.ID_REG_INFO_CERT_REQ}
    named = {
        oid
        for name, oid in vars(oids).items()
        if name.startswith(("ID_REG_CTRL_", "ID_REG_INFO_"))
    }
    assert known == named
    assert set(controls.DECODERS) == named - registered


@EACH_ROW
@given(data=st.data())
@PATIENT
def test_value_round_trips_and_the_oracle_agrees(
    row: ControlType[Any],
    values: st.SearchStrategy[Any],
    spec: Any,
    data: st.DataObject,
) -> None:
    value = data.draw(values)
    attribute = row.attribute(value)
    assert attribute.oid == row.oid
    assert row.decode(attribute.value) == value
    read(attribute.value, spec)


@EACH_ROW
@given(data=st.data())
@PATIENT
def test_value_is_found_among_others(
    row: ControlType[Any],
    values: st.SearchStrategy[Any],
    spec: Any,
    data: st.DataObject,
) -> None:
    value = data.draw(values)
    other = crmf.AttributeTypeAndValue("1.2.3", der.NULL)
    assert row.find((other, row.attribute(value))) == value
    assert row.find((other,)) is None
    assert row.find_all((row.attribute(value), other, row.attribute(value))) == (
        value,
        value,
    )
    if row.oid in controls.DECODERS:
        assert decode_control(row.attribute(value)) == value


def test_control_that_stands_twice_is_malformed() -> None:
    token = controls.REG_TOKEN.attribute("once")
    assert_malformed(lambda _: controls.REG_TOKEN.find((token, token)), b"")


def test_unknown_control_stays_octets() -> None:
    assert decode_control(crmf.AttributeTypeAndValue("1.2.3", der.NULL)) is None


# --- what pyasn1 made ---------------------------------------------------------------


@given(st.sampled_from(list(PublicationMethod)[1:]), make.IA5)
@PATIENT
def test_we_read_publication_info_that_pyasn1_made(
    method: PublicationMethod, place: str
) -> None:
    theirs = rfc4211.PKIPublicationInfo()
    theirs["action"] = 1
    theirs["pubInfos"][0]["pubMethod"] = int(method)
    theirs["pubInfos"][0]["pubLocation"]["uniformResourceIdentifier"] = place
    assert PKIPublicationInfo.decode(write(theirs)) == PKIPublicationInfo(
        PublicationAction.PLEASE_PUBLISH,
        (SinglePubInfo(method, GeneralName.uri(place)),),
    )


@given(make.OCTETS, st.booleans())
@PATIENT
def test_we_read_archive_options_that_pyasn1_made(octets: bytes, wanted: bool) -> None:
    context = tag.tagClassContext
    theirs = rfc4211.PKIArchiveOptions()
    theirs["keyGenParameters"] = rfc4211.KeyGenParameters(octets).subtype(
        implicitTag=tag.Tag(context, tag.tagFormatSimple, 1)
    )
    assert controls.decode_archive_options(write(theirs)) == KeyGenParameters(octets)
    theirs = rfc4211.PKIArchiveOptions()
    theirs["archiveRemGenPrivKey"] = univ.Boolean(wanted).subtype(
        implicitTag=tag.Tag(context, tag.tagFormatSimple, 2)
    )
    assert controls.decode_archive_options(write(theirs)) == ArchiveRemGenPrivKey(
        wanted
    )


@given(make.PUBLICATION_INFOS)
@PATIENT
def test_oracle_of_rfc2511_reads_publication_info_alike(
    info: PKIPublicationInfo,
) -> None:
    if any(one.location is not None for one in info.pub_infos):
        return  # general names are OCTET STRINGs in that module
    theirs = read(info.encode(), rfc2511.PKIPublicationInfo())
    assert int(theirs["action"]) == info.action


def test_empty_name_of_a_place_is_kept() -> None:
    place = SinglePubInfo(PublicationMethod.X500, GeneralName.directory(EMPTY))
    info = PKIPublicationInfo(PublicationAction.PLEASE_PUBLISH, (place,))
    assert PKIPublicationInfo.decode(info.encode()) == info


def test_texts_are_UTF8_and_nothing_else() -> None:
    assert controls.REG_TOKEN.decode(write(char.UTF8String("tök"))) == "tök"
    assert_malformed(controls.REG_TOKEN.decode, write(char.PrintableString("token")))


# --- what is no value ---------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(der.sequence(der.integer(2)), id="unknown action"),
        pytest.param(
            der.sequence(
                der.integer(0),
                der.sequence(SinglePubInfo(PublicationMethod.WEB).encode()),
            ),
            id="a place beside dontPublish",
        ),
        pytest.param(
            der.sequence(
                der.integer(1),
                der.sequence(
                    der.sequence(der.integer(0), GeneralName.dns("a").encode())
                ),
            ),
            id="a place beside dontCare",
        ),
        pytest.param(
            der.sequence(der.integer(1), der.sequence(der.sequence(der.integer(4)))),
            id="unknown method",
        ),
        pytest.param(der.sequence(der.integer(1), der.sequence()), id="no place"),
        pytest.param(
            der.sequence(
                der.integer(1), der.sequence(*[der.sequence(der.integer(0))] * 65)
            ),
            id="65 places",
        ),
    ],
)
def test_inconsistent_publication_info_is_malformed(octets: bytes) -> None:
    assert_malformed(PKIPublicationInfo.decode, octets)


@pytest.mark.parametrize(
    ("row", "octets"),
    [
        (controls.RSA_KEY_LEN, der.integer(0)),
        (controls.RSA_KEY_LEN, der.integer(-2048)),
        (controls.PROTOCOL_ENCR_KEY, der.NULL),
        (controls.PKI_ARCHIVE_OPTIONS, b""),
        (controls.PKI_ARCHIVE_OPTIONS, b"\x83\x00"),
        (controls.PKI_ARCHIVE_OPTIONS, b"\x82\x01\x01"),
        (controls.PKI_ARCHIVE_OPTIONS, b"\xa0\x00"),
        (controls.ALG_ID, der.sequence()),
        (controls.OLD_CERT_ID, der.sequence()),
        (registration.CERT_REQ, der.sequence()),
    ],
)
def test_broken_value_is_malformed(row: ControlType[Any], octets: bytes) -> None:
    assert_malformed(row.decode, octets)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(der.sequence))
def test_any_octets_give_a_value_or_MALFORMED(octets: bytes) -> None:
    for row, _, _ in ROWS:
        assert_object_or_malformed(row.decode, octets)


@EACH_ROW
@given(data=st.data(), changes=CHANGES)
@PATIENT
def test_changed_value_is_a_value_or_MALFORMED(
    row: ControlType[Any],
    values: st.SearchStrategy[Any],
    spec: Any,
    data: st.DataObject,
    changes: list[tuple[float, int]],
) -> None:
    def again(octets: bytes) -> None:
        value = row.decode(octets)
        assert row.decode(row.encode(value)) == value

    assert_object_or_malformed(again, changed(row.encode(data.draw(values)), changes))


# --- pairs ----------------------------------------------------------------------------


def text(value: str) -> bytes:
    return der.utf8_string(value)


def test_example_of_RFC_4211_appendix_A_is_read() -> None:
    example = (
        "version?1%corp_company?Example, Inc.%org_unit?Engineering%"
        "mail_firstName?John%mail_lastName?Smith%jobTitle?Team Leader%"
        "mail_email?john@example.com%"
    )
    pairs = registration.decode_pairs(text(example))
    assert pairs[0] == ("version", "1")
    assert dict(pairs)["corp_company"] == "Example, Inc."
    assert dict(pairs)["mail_email"] == "john@example.com"
    assert len(pairs) == 7
    assert registration.encode_pairs(pairs) == text(example)


def test_reserved_characters_are_escaped_in_pairs() -> None:
    octets = registration.encode_pairs((("rate?", "50%"), ("next", "?")))
    assert octets == text("rate%3f?50%25%next?%3f%")
    assert registration.decode_pairs(octets) == (("rate?", "50%"), ("next", "?"))


def test_last_percent_sign_of_pairs_may_be_missing() -> None:
    assert registration.decode_pairs(text("a?1%b?2")) == (("a", "1"), ("b", "2"))
    assert registration.decode_pairs(text("a?")) == (("a", ""),)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "%",
        "name",
        "name%",
        "?value%",
        "1name?value%",
        "%31name?value%",
        "a?b?c%",
        "a?1%%b?2%",
        "a?%80%",
        "a?%2",
        "a?%2x%",
        "a?b%" * 65,
        "a?" + "b" * 16384,
    ],
    ids=lambda value: value[:20] or "nothing",
)
def test_broken_pairs_are_malformed(value: str) -> None:
    assert_malformed(registration.decode_pairs, text(value))


@pytest.mark.parametrize("name", ["", "1name"])
def test_name_of_a_pair_that_nobody_could_read_is_not_written(name: str) -> None:
    assert_malformed(lambda _: registration.encode_pairs(((name, "value"),)), b"")


@given(st.text(alphabet="ab?%013f", max_size=30))
def test_any_text_gives_pairs_that_round_trip_or_MALFORMED(value: str) -> None:
    def again(octets: bytes) -> None:
        pairs = registration.decode_pairs(octets)
        assert registration.decode_pairs(registration.encode_pairs(pairs)) == pairs

    assert_object_or_malformed(again, text(value))


def test_request_of_an_RA_keeps_its_octets() -> None:
    request = crmf.CertRequest.build(
        5, crmf.CertTemplate(signing_alg=AlgorithmIdentifier("1.2.3"))
    )
    found = registration.CERT_REQ.find((registration.CERT_REQ.attribute(request),))
    assert found is not None
    assert found.der == request.der
