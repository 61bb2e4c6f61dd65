"""SCEP messages, held against pyasn1's reading of the same octets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc5652

from pkid.asn1 import der, oids
from pkid.asn1.cms.content import encode_attributes
from pkid.asn1.cms.enveloped import AuthEnvelopedData, EnvelopedData
from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate
from pkid.crypto.signeddata import verify_signed_data
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import (
    Addressing,
    FailInfo,
    IssuerAndSubject,
    MessageType,
    PKIMessage,
    PKIStatus,
    decode_enveloped,
    response_attributes,
)
from tests.support import scepclient
from tests.support.scepclient import Envelope, Message

READABLE = (None, ErrorCode.MALFORMED, ErrorCode.BAD_REQUEST)


@cache
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def certificate() -> Any:
    return scepclient.self_signed(key())


@cache
def recipient() -> Any:
    return scepclient.self_signed(scepclient.new_key(), "CN=RA")


def message(content: bytes | None = b"content", **fields: Any) -> bytes:
    sent = Message(content=content, key=key(), certificate=certificate(), **fields)
    return sent.encode()


@cache
def known_message() -> bytes:
    return message(transaction_id="t", nonce=b"n" * 16)


def read_whole(octets: bytes) -> object:
    read = PKIMessage.decode(octets)
    assert isinstance(read.addressing, Addressing)
    return read.attributes


def refusal_of(read: Callable[[bytes], object], octets: bytes) -> ErrorCode | None:
    try:
        read(octets)
    except PKIError as error:
        return error.code
    return None


def indefinite(octets: bytes) -> bytes:
    """The same in BER: constructed elements of indefinite length, strings in pieces."""
    cursor = der.Cursor(octets)
    made = b""
    while cursor:
        element = cursor.raw()
        tag = element[0]
        contents = der.single(element, tag)
        if tag & 0x20:
            made += bytes((tag, 0x80)) + indefinite(contents) + b"\0\0"
        elif tag == der.OCTET_STRING and len(contents) > 1:
            half = len(contents) // 2
            pieces = der.octet_string(contents[:half]) + der.octet_string(
                contents[half:]
            )
            made += bytes((tag | 0x20, 0x80)) + pieces + b"\0\0"
        else:
            made += element
    return made


# --- reading ------------------------------------------------------------------------


@pytest.mark.requirement("SCEP-23", "SCEP-25")
def test_a_request_reads_as_pyasn1_reads_it() -> None:
    octets = message(transaction_id="an id", nonce=b"n" * 16, message_type="19")
    read = PKIMessage.decode(octets)
    info, _ = decoder.decode(octets, asn1Spec=rfc5652.ContentInfo())
    signed, _ = decoder.decode(bytes(info["content"]), asn1Spec=rfc5652.SignedData())
    (signer,) = signed["signerInfos"]
    found = {str(one["attrType"]): one["attrValues"] for one in signer["signedAttrs"]}
    assert len(found) == len(read.signer.signed_attributes) == 5
    value = bytes(found[scepclient.TRANSACTION_ID][0])
    assert read.addressing.transaction_id == value
    assert read.attributes.transaction_id == b"an id"
    assert read.attributes.sender_nonce == read.addressing.sender_nonce == b"n" * 16
    assert read.attributes.message_type == MessageType.PKCS_REQ
    assert bytes(signed["encapContentInfo"]["eContent"]) == b"content"
    assert read.signer.signature == bytes(signer["signature"])


@pytest.mark.requirement("SCEP-24", "SCEP-32")
def test_a_request_in_ber_verifies_over_what_was_signed() -> None:
    octets = message(content=b"content in pieces")
    ber = indefinite(octets)
    assert ber != octets
    read = PKIMessage.decode(ber)
    assert read == PKIMessage.decode(octets)
    signer = Certificate.decode(read.signed.x509_certificates[0])
    found = verify_signed_data(read.signed, read.signer, signer.public_key_info)
    assert found == b"content in pieces"


@pytest.mark.requirement("SCEP-27", "SCEP-28")
@pytest.mark.parametrize("cipher", ["aes-128-cbc", "aes-256-gcm"])
@pytest.mark.parametrize("pieces", [0, 3])
def test_an_envelope_is_read_in_der_and_ber(cipher: str, pieces: int) -> None:
    if cipher.endswith("gcm") and pieces:
        return
    octets = Envelope(recipient=recipient(), cipher=cipher, pieces=pieces).encode(
        b"inner"
    )
    read = decode_enveloped(octets)
    kind = AuthEnvelopedData if cipher.endswith("gcm") else EnvelopedData
    assert isinstance(read, kind)
    assert decode_enveloped(indefinite(octets)) == read


@pytest.mark.requirement("SCEP-42")
def test_issuer_and_subject_go_to_and_fro() -> None:
    names = IssuerAndSubject(Name.from_text("CN=CA"), Name.from_text("CN=a,O=b"))
    assert IssuerAndSubject.decode(names.encode()) == names
    issuer = scepclient.name("CN=CA")
    assert scepclient.issuer_and_subject(issuer, "CN=a") == (
        IssuerAndSubject(
            Name.decode(issuer.public_bytes()), Name.from_text("CN=a")
        ).encode()
    )


@pytest.mark.requirement("SCEP-57")
@given(st.binary(max_size=300))
def test_any_octets_give_a_message_or_a_refusal(octets: bytes) -> None:
    for read in (PKIMessage.decode, decode_enveloped, IssuerAndSubject.decode):
        assert refusal_of(read, octets) in READABLE


@pytest.mark.requirement("SCEP-57")
@given(st.data())
def test_a_message_with_changed_octets_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(known_message())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place] = data.draw(st.integers(0, 255))
    assert refusal_of(read_whole, bytes(octets)) in READABLE


@pytest.mark.requirement("SCEP-34", "SEC-24")
def test_the_address_of_an_answer_never_raises() -> None:
    attributes = [
        scepclient.attribute(scepclient.TRANSACTION_ID, der.octet_string(b"x")),
        scepclient.attribute(scepclient.SENDER_NONCE, scepclient.printable("x")),
    ]
    read = PKIMessage.decode(message(attributes=attributes))
    assert read.addressing == Addressing()


# --- the answer -----------------------------------------------------------------------


@pytest.mark.requirement("SCEP-34", "SCEP-40")
@given(
    st.sampled_from(PKIStatus),
    st.sampled_from([None, *FailInfo]),
    st.text(max_size=300).filter(lambda text: text.isprintable()),
)
def test_the_attributes_of_an_answer_read_as_they_were_meant(
    status: PKIStatus, fail_info: FailInfo | None, text: str
) -> None:
    element = der.utf8_string("an id")
    made = response_attributes(
        status,
        Addressing(element, b"r" * 16),
        b"s" * 16,
        fail_info=fail_info,
        text=text,
    )
    octets = der.encode(der.SET, encode_attributes(made))
    found, rest = decoder.decode(octets, asn1Spec=rfc5652.SignedAttributes())
    assert not rest
    values = {str(one["attrType"]): bytes(one["attrValues"][0]) for one in found}
    assert values[oids.ID_SCEP_TRANSACTION_ID] == element
    assert values[oids.ID_SCEP_RECIPIENT_NONCE] == der.octet_string(b"r" * 16)
    assert values[oids.ID_SCEP_PKI_STATUS] == scepclient.printable(str(int(status)))
    assert (oids.ID_SCEP_FAIL_INFO in values) == (fail_info is not None)
    expected = text[:200] if fail_info is not None else ""
    assert (oids.ID_SCEP_FAIL_INFO_TEXT in values) == bool(expected)
    assert encoder.encode(found) == octets
