"""The codecs against pyasn1-modules, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1.type import tag, univ, useful
from pyasn1_modules import rfc2459, rfc4210

from pkid.asn1 import der
from pkid.asn1.names import EMPTY, GeneralName
from pkid.messages import crmf
from pkid.messages.cmp import body
from pkid.messages.cmp.body import BodyType, encode_body
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage, decode_body, encode_message
from pkid.messages.controls import PKIPublicationInfo, PublicationAction
from pkid.messages.encryptedkeys import EncryptedValue
from tests.messages import strategies as make

VECTORS = Path(__file__).parents[2] / "vectors" / "cmp"
RECORDED = sorted(set(VECTORS.glob("*-r*.der")) - set(VECTORS.glob("rr-sig-rsp*")))
CERTIFICATES = st.sampled_from(
    [(VECTORS / name).read_bytes() for name in ("ca.cer", "ee.cer")]
)
# Where pyasn1-modules' rfc4210 and rfc2511 cannot follow: general names inside CRMF
# are OCTET STRINGs there, and an empty name in a template is lost.
# tests/messages/test_crmf.py holds the former against rfc4211; test_bodies.py holds the
# rare bodies and what version 3 brought against rfc9810.
CONTENTS = make.contents(
    CERTIFICATES,
    popos=st.sampled_from((None, crmf.RAVerified()))
    | st.builds(crmf.POPOSigningKey, make.ALGORITHMS, make.OCTETS),
    cert_ids=st.just(()),
    templates=make.templates(make.NAMES.filter(lambda name: not name.is_empty)),
    pairs=make.key_pairs(
        CERTIFICATES,
        st.builds(EncryptedValue, enc_value=make.OCTETS),
        st.just(PKIPublicationInfo(PublicationAction.PLEASE_PUBLISH)),
    ),
)
EMPTY_DN = GeneralName.directory(EMPTY)
# pyasn1 is slow; that is what it is here for, and not a reason to look at less.
PATIENT = settings(
    max_examples=8,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)


def oracle_decode(octets: bytes) -> Any:
    message, rest = decoder.decode(octets, asn1Spec=rfc4210.PKIMessage())
    assert rest == b""
    return message


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_message_means_the_same_to_both(path: Path) -> None:
    octets = path.read_bytes()
    theirs, ours = oracle_decode(octets), PKIMessage.decode(octets)
    assert ours.body_type is not None
    assert int(theirs["header"]["pvno"]) == ours.header.pvno
    assert bytes(theirs["header"]["transactionID"]) == ours.header.transaction_id
    assert bytes(theirs["header"]["senderNonce"]) == ours.header.sender_nonce
    assert str(theirs["header"]["messageTime"]).startswith(
        f"{ours.header.message_time:%Y%m%d%H%M%S}"
    )
    assert encoder.encode(theirs["header"]) == ours.header.encode()
    assert encoder.encode(theirs["body"]) == encode_body(
        ours.body_type, decode_body(ours)
    )
    theirs_protected = rfc4210.ProtectedPart()
    theirs_protected["header"] = theirs["header"]
    theirs_protected["infoValue"] = theirs["body"]
    assert encoder.encode(theirs_protected) == ours.protected_part


@pytest.mark.parametrize("kind", sorted(CONTENTS), ids=lambda kind: kind.name)
@given(data=st.data())
@PATIENT
def test_pyasn1_reads_each_body_and_writes_the_same_octets(
    kind: BodyType, data: st.DataObject
) -> None:
    content = data.draw(CONTENTS[kind])
    header = PKIHeader(pvno=2, sender=data.draw(make.GENERAL_NAMES), recipient=EMPTY_DN)
    octets = encode_message(header.encode(), encode_body(kind, content))
    assert encoder.encode(oracle_decode(octets)) == octets


@given(make.HEADERS, st.none() | make.OCTETS)
@PATIENT
def test_pyasn1_reads_each_header_and_writes_the_same_octets(
    header: PKIHeader, protection: bytes | None
) -> None:
    octets = encode_message(
        header.encode(), der.explicit(19, der.NULL), protection=protection
    )
    theirs = oracle_decode(octets)
    assert encoder.encode(theirs) == octets
    assert int(theirs["header"]["pvno"]) == header.pvno
    for name, value in (
        ("senderKID", header.sender_kid),
        ("recipKID", header.recip_kid),
        ("transactionID", header.transaction_id),
        ("senderNonce", header.sender_nonce),
        ("recipNonce", header.recip_nonce),
    ):
        field = theirs["header"][name]
        assert (bytes(field) if field.isValue else None) == value
    texts = theirs["header"]["freeText"]
    assert tuple(map(str, texts)) == header.free_text
    assert len(theirs["header"]["generalInfo"]) == len(header.general_info)


def general_name(text: str) -> Any:
    name = rfc2459.GeneralName()
    name["dNSName"] = text
    return name


def tagged(value: Any, number: int) -> Any:
    form = tag.tagFormatConstructed
    return value.subtype(explicitTag=tag.Tag(tag.tagClassContext, form, number))


def oracle_header(identifier: bytes, texts: list[str]) -> Any:
    header = rfc4210.PKIHeader()
    header["pvno"] = 2
    header["sender"] = general_name("sender.example")
    header["recipient"] = general_name("recipient.example")
    header["messageTime"] = tagged(useful.GeneralizedTime("20260102030405Z"), 0)
    header["transactionID"] = tagged(univ.OctetString(identifier), 4)
    if texts:
        free_text = tagged(rfc4210.PKIFreeText(), 7)
        free_text.extend(texts)
        header["freeText"] = free_text
    return header


@given(make.OCTETS, st.lists(make.TEXTS, max_size=2))
@PATIENT
def test_we_read_a_header_that_pyasn1_made(identifier: bytes, texts: list[str]) -> None:
    made = encoder.encode(oracle_header(identifier, texts))
    header = PKIHeader.decode(der.single(made, der.SEQUENCE))
    assert header.sender.text() == "dns:sender.example"
    assert header.recipient.text() == "dns:recipient.example"
    assert header.transaction_id == identifier
    assert header.free_text == tuple(texts)
    assert f"{header.message_time:%Y%m%d%H%M%S}" == "20260102030405"


def oracle_body(name: str) -> Any:
    return rfc4210.PKIBody()[name]


@given(st.lists(st.tuples(make.OCTETS, st.integers(-1, 100)), max_size=3))
@PATIENT
def test_we_read_a_certConf_that_pyasn1_made(
    entries: list[tuple[bytes, int]],
) -> None:
    content = rfc4210.CertConfirmContent()
    for index, (digest, number) in enumerate(entries):
        content[index]["certHash"] = digest
        content[index]["certReqId"] = number
    assume(content.isValue)
    assert body.CertConfirmContent.decode(
        encoder.encode(content)
    ) == body.CertConfirmContent(
        tuple(body.CertStatus(digest, number) for digest, number in entries)
    )


@given(st.lists(st.integers(-1, 2**40), min_size=1, max_size=3))
@PATIENT
def test_we_read_a_pollReq_and_a_pollRep_that_pyasn1_made(numbers: list[int]) -> None:
    request, reply = rfc4210.PollReqContent(), rfc4210.PollRepContent()
    for index, number in enumerate(numbers):
        request[index]["certReqId"] = number
        reply[index]["certReqId"] = number
        reply[index]["checkAfter"] = 60
    assert body.PollReqContent.decode(encoder.encode(request)) == body.PollReqContent(
        tuple(numbers)
    )
    assert body.PollRepContent.decode(encoder.encode(reply)) == body.PollRepContent(
        tuple(body.PollRepEntry(number, 60) for number in numbers)
    )


@given(st.integers(0, 6), st.frozensets(st.integers(0, 26), min_size=1), make.TEXTS)
@PATIENT
def test_we_read_an_error_that_pyasn1_made(
    status: int, bits: frozenset[int], text: str
) -> None:
    content = rfc4210.ErrorMsgContent()
    content["pKIStatusInfo"]["status"] = status
    content["pKIStatusInfo"]["statusString"].extend([text])
    flags = "".join("1" if bit in bits else "0" for bit in range(max(bits) + 1))
    content["pKIStatusInfo"]["failInfo"] = rfc4210.PKIFailureInfo(binValue=flags)
    content["errorCode"] = 7
    found = body.ErrorMsgContent.decode(encoder.encode(content))
    assert int(found.status_info.status) == status
    assert found.status_info.strings == (text,)
    assert {int(info) for info in found.status_info.fail_info} == bits
    assert found.error_code == 7
