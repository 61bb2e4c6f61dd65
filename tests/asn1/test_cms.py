"""CMS structures against pyasn1-modules, hostile octets and themselves."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_alt_modules import rfc9629
from pyasn1_modules import rfc5083, rfc5652

from pkid.asn1 import ber, der, oids
from pkid.asn1.cms.content import (
    Attribute,
    ContentInfo,
    EncapsulatedContentInfo,
    IssuerAndSerialNumber,
    SubjectKeyIdentifier,
    decode_attributes,
    encode_attributes,
    single_value,
)
from pkid.asn1.cms.enveloped import (
    AuthEnvelopedData,
    EncryptedContentInfo,
    EnvelopedData,
)
from pkid.asn1.cms.recipients import (
    MAX_RECIPIENTS,
    KEKRecipientInfo,
    KEMRecipientInfo,
    KeyAgreeRecipientInfo,
    KeyTransRecipientInfo,
    OriginatorPublicKey,
    OtherRecipientInfo,
    PasswordRecipientInfo,
    RecipientEncryptedKey,
    RecipientKeyIdentifier,
    decode_recipient_infos,
)
from pkid.asn1.cms.signed import (
    SignedData,
    SignerInfo,
    encode_certs_only,
    signed_data_version,
)
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from tests.messages.strategies import ALGORITHMS, ELEMENTS, NAMES, OCTETS, OIDS

CERTIFICATE = (Path(__file__).parents[1] / "vectors" / "cmp" / "ca.cer").read_bytes()
KEM_VECTOR = Path(__file__).parents[1] / "vectors" / "cms" / "ml-kem-512.pem"
SMALL = st.integers(0, 5)
ISSUERS = st.builds(
    IssuerAndSerialNumber, NAMES.map(lambda name: name.der), st.integers(0, 2**150)
)
IDENTIFIERS = ISSUERS | st.builds(SubjectKeyIdentifier, OCTETS)
KEY_TRANSPORTS = st.builds(
    KeyTransRecipientInfo,
    version=SMALL,
    rid=IDENTIFIERS,
    key_encryption_algorithm=ALGORITHMS,
    encrypted_key=OCTETS,
)
AGREEMENTS = st.builds(
    KeyAgreeRecipientInfo,
    version=SMALL,
    originator=IDENTIFIERS | st.builds(OriginatorPublicKey, ALGORITHMS, OCTETS),
    ukm=st.none() | OCTETS,
    key_encryption_algorithm=ALGORITHMS,
    recipient_encrypted_keys=st.lists(
        st.builds(
            RecipientEncryptedKey,
            ISSUERS | st.builds(RecipientKeyIdentifier, OCTETS),
            OCTETS,
        ),
        max_size=3,
    ).map(tuple),
)
KEKS = st.builds(
    KEKRecipientInfo,
    version=SMALL,
    kekid=OCTETS.map(lambda octets: der.sequence(der.octet_string(octets))),
    key_encryption_algorithm=ALGORITHMS,
    encrypted_key=OCTETS,
)
PASSWORDS = st.builds(
    PasswordRecipientInfo,
    version=SMALL,
    key_derivation_algorithm=st.none() | ALGORITHMS,
    key_encryption_algorithm=ALGORITHMS,
    encrypted_key=OCTETS,
)
KEMS = st.builds(
    KEMRecipientInfo,
    version=SMALL,
    rid=IDENTIFIERS,
    kem=ALGORITHMS,
    kemct=OCTETS,
    kdf=ALGORITHMS,
    kek_length=st.integers(1, 65535),
    ukm=st.none() | OCTETS,
    wrap=ALGORITHMS,
    encrypted_key=OCTETS,
)
OTHERS = st.builds(OtherRecipientInfo, OIDS, ELEMENTS)
RECIPIENTS = st.one_of(KEY_TRANSPORTS, AGREEMENTS, KEKS, PASSWORDS, KEMS, OTHERS)
ENCRYPTED = st.builds(EncryptedContentInfo, OIDS, ALGORITHMS, st.none() | OCTETS)
ATTRIBUTES = st.lists(
    st.builds(Attribute, OIDS, st.lists(ELEMENTS, min_size=1, max_size=2).map(tuple)),
    min_size=1,
    max_size=3,
    unique_by=lambda attribute: attribute.oid,
).map(lambda attributes: encode_attributes(tuple(attributes)))
ENVELOPED = st.builds(
    EnvelopedData,
    version=SMALL,
    recipient_infos=st.lists(RECIPIENTS, min_size=1, max_size=3).map(tuple),
    encrypted_content_info=ENCRYPTED,
    unprotected_attributes_octets=st.none() | ATTRIBUTES,
)
AUTHENTICATED = st.builds(
    AuthEnvelopedData,
    version=SMALL,
    recipient_infos=st.lists(RECIPIENTS, min_size=1, max_size=3).map(tuple),
    encrypted_content_info=ENCRYPTED,
    authenticated_attributes_octets=st.none() | ATTRIBUTES,
    mac=OCTETS,
    unauthenticated_attributes_octets=st.none() | ATTRIBUTES,
)
SIGNERS = st.builds(
    SignerInfo,
    version=SMALL,
    sid=IDENTIFIERS,
    digest_algorithm=ALGORITHMS,
    signed_attributes_octets=st.none() | ATTRIBUTES,
    signature_algorithm=ALGORITHMS,
    signature=OCTETS,
    unsigned_attributes_octets=st.none() | ATTRIBUTES,
)
SIGNED = st.builds(
    SignedData,
    version=SMALL,
    digest_algorithms=st.lists(ALGORITHMS, max_size=2).map(tuple),
    encapsulated=st.builds(EncapsulatedContentInfo, OIDS, st.none() | OCTETS),
    certificates=st.just(()) | st.just((CERTIFICATE,)),
    signer_infos=st.lists(SIGNERS, max_size=2).map(tuple),
)
# pyasn1 is slow; that is what it is here for.
PATIENT = settings(
    max_examples=10,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    deadline=None,
)


def oracle(octets: bytes, type_: Any) -> Any:
    value, rest = decoder.decode(octets, asn1Spec=type_)
    assert rest == b""
    return value


@given(ENVELOPED)
def test_enveloped_data_round_trips(value: EnvelopedData) -> None:
    octets = value.encode_content_info()
    assert EnvelopedData.decode_content_info(octets) == value
    contents = der.single(value.encode(), der.SEQUENCE)
    assert EnvelopedData.decode_contents(contents) == value


@given(AUTHENTICATED)
def test_authenticated_enveloped_data_round_trips(value: AuthEnvelopedData) -> None:
    octets = value.encode_content_info()
    assert AuthEnvelopedData.decode_content_info(octets) == value


@given(SIGNED)
def test_signed_data_round_trips(value: SignedData) -> None:
    octets = value.encode_content_info()
    assert SignedData.decode_content_info(octets) == value


@given(KEY_TRANSPORTS | AGREEMENTS | KEKS | PASSWORDS)
@PATIENT
def test_pyasn1_reads_our_recipients_and_writes_them_alike(info: Any) -> None:
    octets = info.encode()
    assert encoder.encode(oracle(octets, rfc5652.RecipientInfo())) == octets


@given(KEMS)
@PATIENT
def test_pyasn1_reads_our_kem_recipients_and_writes_them_alike(
    info: KEMRecipientInfo,
) -> None:
    outer = oracle(info.encode(), rfc5652.RecipientInfo())["ori"]
    assert str(outer["oriType"]) == oids.ID_ORI_KEM
    octets = bytes(outer["oriValue"])
    inner = oracle(octets, rfc9629.KEMRecipientInfo())
    assert bytes(inner["kemct"]) == info.kemct
    assert encoder.encode(inner) == octets


@given(ENVELOPED.filter(lambda value: len(value.recipient_infos) == 1))
@PATIENT
def test_pyasn1_reads_our_enveloped_data(value: EnvelopedData) -> None:
    octets = value.encode()
    assert encoder.encode(oracle(octets, rfc5652.EnvelopedData())) == octets


@given(AUTHENTICATED.filter(lambda value: len(value.recipient_infos) == 1))
@PATIENT
def test_pyasn1_reads_our_authenticated_enveloped_data(
    value: AuthEnvelopedData,
) -> None:
    octets = value.encode()
    assert encoder.encode(oracle(octets, rfc5083.AuthEnvelopedData())) == octets


@given(SIGNED.filter(lambda value: len(value.signer_infos) == 1))
@PATIENT
def test_pyasn1_reads_our_signed_data(value: SignedData) -> None:
    found = oracle(value.encode(), rfc5652.SignedData())
    signer = value.signer_infos[0]
    assert encoder.encode(found["signerInfos"][0]) == signer.encode()
    assert encoder.encode(found["encapContentInfo"]) == value.encapsulated.encode()
    assert found["certificates"].isValue == bool(value.certificates)


DECODERS: tuple[Any, ...] = (
    ContentInfo.decode,
    SignedData.decode,
    SignedData.decode_content_info,
    EnvelopedData.decode,
    EnvelopedData.decode_content_info,
    AuthEnvelopedData.decode,
    decode_recipient_infos,
    decode_attributes,
)
SPOILT = st.one_of(ENVELOPED, SIGNED, AUTHENTICATED).map(lambda value: value.encode())


@given(st.binary(max_size=40) | SPOILT, st.integers(0, 400), st.integers(0, 255))
def test_any_octets_are_a_value_or_malformed(
    octets: bytes, position: int, octet: int
) -> None:
    spoilt = octets[:position] + bytes((octet,)) + octets[position + 1 :]
    for decode in DECODERS:
        code = ErrorCode.MALFORMED
        try:
            decode(spoilt)
        except PKIError as error:
            code = error.code
        assert code is ErrorCode.MALFORMED


def code_of(function: Any, *arguments: Any) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        function(*arguments)
    return caught.value.code


def test_content_of_another_type_is_malformed() -> None:
    content = ContentInfo(oids.ID_DATA, der.octet_string(b"x"))
    assert code_of(EnvelopedData.decode_content_info, content.encode()) is (
        ErrorCode.MALFORMED
    )
    empty = ContentInfo(oids.ID_SIGNED_DATA, None).encode()
    assert ContentInfo.decode(empty).content is None
    assert code_of(SignedData.decode_content_info, empty) is ErrorCode.MALFORMED


def test_encrypted_content_in_pieces_is_joined() -> None:
    # micromdm's scepclient writes so, and OpenSSL when it streams.
    algorithm = der.sequence(der.oid(oids.ID_AES128_CBC))
    pieces = der.encode(0xA0, der.octet_string(b"ab"), der.octet_string(b"c"))
    contents = der.oid(oids.ID_DATA) + algorithm + pieces
    assert EncryptedContentInfo.decode(contents).encrypted_content == b"abc"


def test_a_signed_attribute_twice_is_malformed() -> None:
    one = Attribute("1.2.3", (der.NULL,)).encode()
    assert code_of(decode_attributes, one + one) is ErrorCode.MALFORMED


def test_a_single_valued_attribute_with_two_values_is_malformed() -> None:
    attributes = (Attribute("1.2.3", (der.NULL, der.NULL)),)
    assert code_of(single_value, attributes, "1.2.3") is ErrorCode.MALFORMED
    assert single_value(attributes, "1.2.4") is None


def test_lists_are_bounded() -> None:
    info = KeyTransRecipientInfo(
        version=0,
        rid=SubjectKeyIdentifier(b"x"),
        key_encryption_algorithm=EncryptedContentInfo.decode(
            der.oid(oids.ID_DATA) + der.sequence(der.oid(oids.RSA_ENCRYPTION))
        ).algorithm,
        encrypted_key=b"",
    ).encode()
    assert len(decode_recipient_infos(info * MAX_RECIPIENTS)) == MAX_RECIPIENTS
    for contents in (b"", info * (MAX_RECIPIENTS + 1)):
        assert code_of(decode_recipient_infos, contents) is ErrorCode.MALFORMED
    many = encode_certs_only([CERTIFICATE] * 65)
    assert code_of(SignedData.decode_content_info, many) is ErrorCode.MALFORMED


def test_certs_only_keeps_the_order_and_carries_nothing_else() -> None:
    other = b"\x30\x03\x02\x01\x05"
    for certificates in ((CERTIFICATE, other), (other, CERTIFICATE)):
        found = SignedData.decode_content_info(encode_certs_only(certificates))
        assert found.x509_certificates == certificates
        assert found.encapsulated.content is None
        assert (found.version, found.signer_infos, found.crls) == (1, (), ())


@pytest.mark.parametrize(
    ("content_type", "certificates", "crls", "sids", "version"),
    [
        (oids.ID_DATA, [CERTIFICATE], [], [], 1),
        (oids.ID_CT_KP_KEY_PACKAGE, [], [], [], 3),
        (oids.ID_DATA, [], [], [SubjectKeyIdentifier(b"x")], 3),
        (oids.ID_DATA, [b"\xa1\0"], [], [], 3),
        (oids.ID_DATA, [b"\xa2\0"], [], [], 4),
        (oids.ID_DATA, [b"\xa3\0"], [], [], 5),
        (oids.ID_DATA, [], [b"\xa1\0"], [], 5),
    ],
)
def test_the_version_of_signed_data_follows_what_is_in_it(
    content_type: str, certificates: Any, crls: Any, sids: Any, version: int
) -> None:
    assert signed_data_version(content_type, certificates, crls, sids) == version


def test_the_published_kem_message_is_read_and_written_alike() -> None:
    text = KEM_VECTOR.read_text().splitlines()[1:-1]
    octets = base64.b64decode("".join(text))
    assert ber.to_der(octets) is octets
    value = AuthEnvelopedData.decode_content_info(octets)
    assert isinstance(value.recipient_infos[0], KEMRecipientInfo)
    assert value.encode_content_info() == octets


def test_an_unknown_kind_of_recipient_is_malformed() -> None:
    assert code_of(decode_recipient_infos, b"\xa5\x00") is ErrorCode.MALFORMED


def test_unsigned_attributes_are_kept() -> None:
    one = Attribute("1.2.3", (der.NULL,))
    base = der.sequence(der.oid("1.2.4"))
    octets = der.sequence(
        der.integer(3),
        SubjectKeyIdentifier(b"id").encode(),
        base,
        base,
        der.octet_string(b"signature"),
        der.encode(0xA1, one.encode()),
    )
    signer = SignerInfo.decode(der.single(octets, der.SEQUENCE))
    assert signer.unsigned_attributes == (one,)
    assert signer.signed_attributes == ()
    assert signer.encode() == octets


def test_a_kek_length_out_of_range_is_malformed() -> None:
    for length in (0, 65536):
        info = KEMRecipientInfo(
            version=0,
            rid=SubjectKeyIdentifier(b"id"),
            kem=AlgorithmIdentifier("1.2.3"),
            kemct=b"",
            kdf=AlgorithmIdentifier("1.2.3"),
            kek_length=length,
            ukm=None,
            wrap=AlgorithmIdentifier("1.2.3"),
            encrypted_key=b"",
        )
        assert code_of(decode_recipient_infos, info.encode()) is ErrorCode.MALFORMED
