"""The values of general messages: each row of the table, pyasn1's rfc9810 as oracle."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.type import tag
from pyasn1_alt_modules import rfc5280, rfc9810

from pkid.asn1 import der, oids
from pkid.asn1.names import EMPTY, GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages import crmf
from pkid.messages.cmp import infotypes
from pkid.messages.cmp.certreqtemplate import CertReqTemplateContent
from pkid.messages.cmp.crlstatus import (
    CRLIssuer,
    CRLStatus,
    FullName,
    NameRelativeToCRLIssuer,
)
from pkid.messages.cmp.header import InfoTypeAndValue, PKIHeader
from pkid.messages.cmp.infotypes import InfoType, decode_info
from pkid.messages.cmp.kem import KemCiphertextInfo
from pkid.messages.cmp.message import encode_message
from tests.messages import strategies as make
from tests.messages.cmp import bodies as make_bodies
from tests.messages.oracle import (
    CHANGES,
    PATIENT,
    assert_malformed,
    assert_object_or_malformed,
    changed,
    read,
    write,
)

VECTORS = Path(__file__).parents[2] / "vectors" / "cmp"
CERTIFICATES = st.sampled_from(
    [(VECTORS / name).read_bytes() for name in ("ca.cer", "ee.cer")]
)
CRLS = st.builds(
    lambda algorithm, name, moment: der.sequence(
        der.sequence(algorithm.encode(), name.der, der.time(moment)),
        algorithm.encode(),
        der.bit_string(b""),
    ),
    make.ALGORITHMS,
    make.NAMES,
    make.MOMENTS,
)
NULL_DN = GeneralName.directory(EMPTY)
MESSAGE = encode_message(
    PKIHeader(pvno=2, sender=NULL_DN, recipient=NULL_DN).encode(),
    der.explicit(19, der.NULL),
)
ROWS = make_bodies.info_values(CERTIFICATES, CRLS, st.just(MESSAGE))
EACH_ROW = pytest.mark.parametrize(
    ("row", "values"), ROWS, ids=[row.name for row, _ in ROWS]
)


def spec_of(row: InfoType[Any]) -> Any:
    return rfc9810.cmpInfoTypeAndValueMap[oid_of(row)]


def oid_of(row: InfoType[Any]) -> Any:
    return rfc9810.id_it_caCerts.clone(row.oid)


def test_table_holds_every_id_it_of_the_RFC() -> None:
    rows = {row.oid: row.name for row, _ in ROWS}
    assert set(rows) == set(infotypes.DECODERS)
    assert set(rows) == {
        oid for name, oid in vars(oids).items() if name.startswith("ID_IT_")
    }
    for oid, name in rows.items():
        assert str(getattr(rfc9810, f"id_it_{name}")) == oid


@EACH_ROW
@given(data=st.data())
@PATIENT
def test_value_round_trips_and_the_oracle_agrees(
    row: InfoType[Any], values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = data.draw(values)
    info = row.info(value)
    assert row.read(info) == value
    assert decode_info(info) == value
    assert row.find((InfoTypeAndValue("1.2.3"), info)) == value
    read(info.encode(), rfc9810.InfoTypeAndValue())
    assert info.value is not None
    if row is not infotypes.ORIG_PKI_MESSAGE:
        read(info.value, spec_of(row))


def test_absent_value_is_absent() -> None:
    for row, _ in ROWS:
        info = row.info()
        assert info == InfoTypeAndValue(row.oid)
        assert row.read(info) is None
        assert row.find((info,)) is None
        assert decode_info(info) is None


def test_unknown_type_stays_octets() -> None:
    assert decode_info(InfoTypeAndValue("1.2.3", der.NULL)) is None
    assert infotypes.CA_CERTS.find((InfoTypeAndValue("1.2.3", der.NULL),)) is None


@given(st.binary(max_size=60) | st.binary(max_size=60).map(der.sequence))
def test_any_octets_give_a_value_or_MALFORMED(octets: bytes) -> None:
    for row, _ in ROWS:
        assert_object_or_malformed(row.decode, octets)


@given(data=st.data(), changes=CHANGES)
def test_changed_value_is_a_value_or_MALFORMED(
    data: st.DataObject, changes: list[tuple[float, int]]
) -> None:
    row, values = data.draw(st.sampled_from(ROWS))

    def again(octets: bytes) -> None:
        value = row.decode(octets)
        assert row.decode(row.encode(value)) == value

    assert_object_or_malformed(again, changed(row.encode(data.draw(values)), changes))


# --- what pyasn1 made -----------------------------------------------------------------


def test_we_read_sources_of_CRLs_that_pyasn1_made() -> None:
    theirs = rfc9810.CRLStatusListValue()
    theirs[0]["source"]["dpn"]["fullName"][0]["uniformResourceIdentifier"] = "http://a"
    theirs[1]["source"]["issuer"][0]["dNSName"] = "b"
    theirs[1]["thisUpdate"]["utcTime"] = "300102030405Z"
    moment = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert infotypes.CRL_STATUS_LIST.decode(write(theirs)) == (
        CRLStatus(FullName((GeneralName.uri("http://a"),))),
        CRLStatus(CRLIssuer((GeneralName.dns("b"),)), moment),
    )


def test_we_read_a_template_that_pyasn1_made() -> None:
    theirs = rfc9810.CertReqTemplateValue()
    theirs["certTemplate"]["version"] = rfc5280.Version(2).subtype(
        implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 0)
    )
    theirs["keySpec"][0]["type"] = rfc9810.id_regCtrl_rsaKeyLen
    theirs["keySpec"][0]["value"] = der.integer(3072)
    found = infotypes.CERT_REQ_TEMPLATE.decode(write(theirs))
    assert found.cert_template == crmf.CertTemplate(version=2)
    assert found.rsa_key_lens == (3072,)
    assert found.algorithms == ()


def test_we_read_lists_that_pyasn1_made() -> None:
    tags = rfc9810.SuppLangTagsValue()
    tags.extend(["de-CH", "en"])
    assert infotypes.SUPP_LANG_TAGS.decode(write(tags)) == ("de-CH", "en")
    profiles = rfc9810.CertProfileValue()
    profiles.extend(["", "tls"])
    assert infotypes.CERT_PROFILE.decode(write(profiles)) == ("", "tls")
    unknown = rfc9810.UnsupportedOIDsValue()
    unknown.extend(["1.2.3", "2.999.1"])
    assert infotypes.UNSUPPORTED_OIDS.decode(write(unknown)) == ("1.2.3", "2.999.1")
    kem = rfc9810.KemCiphertextInfo()
    kem["kem"]["algorithm"] = oids.ID_ALG_ML_KEM_768
    kem["ct"] = b"ciphertext"
    assert infotypes.KEM_CIPHERTEXT_INFO.decode(write(kem)) == KemCiphertextInfo(
        AlgorithmIdentifier(oids.ID_ALG_ML_KEM_768), b"ciphertext"
    )


def test_template_names_each_curve_and_each_length() -> None:
    curves = tuple(
        AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(curve))
        for curve in (oids.SECP256R1, oids.SECP384R1)
    )
    content = CertReqTemplateContent.build(
        crmf.CertTemplate(), algorithms=curves, rsa_key_lens=(2048, 3072)
    )
    found = CertReqTemplateContent.decode(content.encode())
    assert found.algorithms == curves
    assert found.rsa_key_lens == (2048, 3072)
    assert len(found.key_spec) == 4


# --- what is no value ------------------------------------------------------------

SPKI = der.sequence(AlgorithmIdentifier("1.2.3").encode(), der.bit_string(b""))
NO_BITS = b"\0"


@pytest.mark.parametrize(
    "template",
    [
        crmf.CertTemplate(spki=SPKI),
        crmf.CertTemplate(serial_number=1),
        crmf.CertTemplate(signing_alg=AlgorithmIdentifier("1.2.3")),
        crmf.CertTemplate(issuer_uid=NO_BITS),
        crmf.CertTemplate(subject_uid=NO_BITS),
    ],
)
def test_template_of_a_CA_holds_no_field_that_belongs_to_requests(
    template: crmf.CertTemplate,
) -> None:
    assert_malformed(CertReqTemplateContent.decode, der.sequence(template.encode()))
    content = CertReqTemplateContent(template)
    assert_malformed(lambda _: content.encode(), b"")


@pytest.mark.parametrize(
    ("row", "octets"),
    [
        (infotypes.SIGN_KEY_PAIR_TYPES, der.sequence()),
        (infotypes.UNSUPPORTED_OIDS, der.sequence()),
        (infotypes.CA_CERTS, der.sequence()),
        (infotypes.CA_CERTS, der.sequence(der.NULL)),
        (infotypes.CA_CERTS, der.sequence(*[der.sequence()] * 65)),
        (infotypes.CERT_PROFILE, der.sequence()),
        (infotypes.CERT_PROFILE, der.sequence(der.ia5_string("tls"))),
        (infotypes.CRLS, der.sequence()),
        (infotypes.CRL_STATUS_LIST, der.sequence()),
        (infotypes.CRL_STATUS_LIST, der.sequence(der.sequence(b"\xa2\x00"))),
        (infotypes.CRL_STATUS_LIST, der.sequence(der.sequence(b"\xa0\x02\xa2\x00"))),
        (infotypes.CRL_STATUS_LIST, der.sequence(der.sequence(b"\xa0\x02\xa1\x00"))),
        (infotypes.CRL_STATUS_LIST, der.sequence(der.sequence(b"\xa0\x02\xa0\x00"))),
        (infotypes.CRL_STATUS_LIST, der.sequence(der.sequence(b"\xa1\x02\x30\x00"))),
        (infotypes.IMPLICIT_CONFIRM, der.sequence()),
        (infotypes.IMPLICIT_CONFIRM, b"\x05\x01\x00"),
        (infotypes.CONFIRM_WAIT_TIME, der.encode(der.UTC_TIME, b"300102030405Z")),
        (infotypes.CERT_REQ_TEMPLATE, der.sequence(der.sequence(), der.sequence())),
        (infotypes.ORIG_PKI_MESSAGE, der.sequence()),
        (infotypes.KEM_CIPHERTEXT_INFO, der.sequence(der.oid("1.2.3"))),
    ],
)
def test_broken_value_is_malformed(row: InfoType[Any], octets: bytes) -> None:
    assert_malformed(row.decode, octets)
    assert_malformed(
        lambda whole: decode_info(InfoTypeAndValue(row.oid, whole)), octets
    )


def test_no_language_at_all_is_for_the_receiver_to_refuse() -> None:
    assert infotypes.SUPP_LANG_TAGS.decode(der.sequence()) == ()


def test_name_relative_to_the_issuer_keeps_its_attributes() -> None:
    rdn = der.set_of(der.sequence(der.oid("2.5.4.3"), der.utf8_string("crl1")))
    status = CRLStatus(NameRelativeToCRLIssuer(rdn))
    assert infotypes.CRL_STATUS_LIST.decode(der.sequence(status.encode())) == (status,)
