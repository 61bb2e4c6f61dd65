"""A private key on its way: packed, signed, enveloped, and all the way back.

**Source:** RFC 9810 section 5.2.2, RFC 5958.
"""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import oids
from pkid.asn1.cms.enveloped import EnvelopedData
from pkid.asn1.cms.signed import SignedData
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.decryption import decrypt, decrypt_with_password
from pkid.crypto.envelope import PasswordRecipient, Recipient, encrypt, recipient_of
from pkid.crypto.signatures import sign
from pkid.crypto.signeddata import sign_data, verify_signed_data
from pkid.errors import ErrorCode, PKIError
from pkid.messages.keypackage import (
    OneAsymmetricKey,
    decode_key_package,
    encode_key_package,
)
from tests.crypto.cmspeers import FAMILIES, cms, peer, pem, signer

SECRET = b"shared between both"
RANDOM = secrets.token_bytes
KEY = ec.generate_private_key(ec.SECP256R1())
PKCS8 = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
# What a spoilt message may be refused with; everything else is a fault of ours.
REFUSALS = {
    ErrorCode.MALFORMED,
    ErrorCode.BAD_ALGORITHM,
    ErrorCode.BAD_REQUEST,
    ErrorCode.BAD_MESSAGE_CHECK,
}


def signed_package() -> SignedData:
    authority = signer("ec:P-384")
    algorithm = signature_algorithm_for(authority.key.public_key())
    return sign_data(
        encode_key_package(OneAsymmetricKey.decode(PKCS8)),
        oids.ID_CT_KP_KEY_PACKAGE,
        authority.certificate,
        algorithm,
        lambda octets: sign(authority.key, algorithm, octets),
    )


def delivery(recipient: Recipient) -> EnvelopedData:
    octets = encrypt(
        signed_package().encode(),
        (recipient,),
        RANDOM,
        content_type=oids.ID_SIGNED_DATA,
    ).encode()
    return EnvelopedData.decode(octets)


def unpack(octets: bytes) -> Any:
    data = SignedData.decode(octets)
    if len(data.signer_infos) != 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "not one signature")
    authority = signer("ec:P-384").certificate
    content = verify_signed_data(data, data.signer_infos[0], authority.public_key_info)
    (key,) = decode_key_package(content)
    return load_der_private_key(key.encode(), None)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_arrives_at_the_owner_of_a_certificate(family: str) -> None:
    own = peer(family)
    enveloped = delivery(recipient_of(own.certificate))
    assert enveloped.encrypted_content_info.content_type == oids.ID_SIGNED_DATA
    key = unpack(decrypt(enveloped, own.key, RANDOM, certificate=own.certificate))
    assert key.private_numbers() == KEY.private_numbers()


@pytest.mark.parametrize("pwri_kek", [False, True])
def test_a_key_arrives_at_who_shares_the_password(pwri_kek: bool) -> None:
    recipient = PasswordRecipient(password=SECRET, iterations=1_000, pwri_kek=pwri_kek)
    key = unpack(decrypt_with_password(delivery(recipient), SECRET))
    assert key.private_numbers() == KEY.private_numbers()


def test_openssl_unpacks_it_as_far_as_it_goes() -> None:
    own = peer("rsa")
    ours = encrypt(
        signed_package().encode_content_info(), (recipient_of(own.certificate),), RANDOM
    )
    signed = cms(
        "-decrypt", "-inform", "PEM", "-in", "@m", "-inkey", "@k", "-out", "-",
        m=pem("CMS", ours.encode_content_info()), k=own.key_pem,
    )  # fmt: skip
    assert signed
    told = cms(
        "-verify", "-inform", "PEM", "-in", "@m", "-noverify", "-out", "/dev/null",
        m=pem("CMS", signed_package().encode_content_info()),
    )  # fmt: skip
    assert "successful" in told


@cache
def message(family: str) -> bytes:
    return delivery(recipient_of(peer(family).certificate)).encode()


@pytest.mark.parametrize("family", ["rsa", "ec:P-256", "x448", "ml-kem-768"])
@given(st.integers(0, 1500), st.integers(0, 255), st.integers(0, 3))
def test_a_spoilt_delivery_is_refused_or_unreadable(
    family: str, position: int, octet: int, cut: int
) -> None:
    whole = message(family)
    position %= len(whole)
    spoilt = whole[:position] + bytes((octet,)) + whole[position + 1 + cut :]
    if spoilt == whole:
        return
    code = ErrorCode.MALFORMED
    try:
        unpack(decrypt(EnvelopedData.decode(spoilt), peer(family).key, RANDOM))
    except PKIError as error:
        code = error.code
    assert code in REFUSALS


@given(st.integers(0, 1500), st.integers(0, 255))
def test_a_spoilt_password_delivery_is_refused_or_unreadable(
    position: int, octet: int
) -> None:
    recipient = PasswordRecipient(password=SECRET, iterations=100)
    whole = delivery(recipient).encode()
    position %= len(whole)
    spoilt = whole[:position] + bytes((octet,)) + whole[position + 1 :]
    code = ErrorCode.MALFORMED
    try:
        unpack(decrypt_with_password(EnvelopedData.decode(spoilt), SECRET))
    except PKIError as error:
        code = error.code
    assert code in REFUSALS


@given(st.integers(0, 1500), st.integers(0, 255))
def test_a_spoilt_signature_is_refused(position: int, octet: int) -> None:
    whole = signed_package().encode()
    position %= len(whole)
    spoilt = whole[:position] + bytes((octet,)) + whole[position + 1 :]
    code = ErrorCode.MALFORMED
    try:
        unpack(spoilt)
    except PKIError as error:
        code = error.code
    assert code in REFUSALS
