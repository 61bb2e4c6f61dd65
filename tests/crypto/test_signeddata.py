"""Signed data: both ways, against OpenSSL and cryptography, and tampered with."""

from __future__ import annotations

import base64
import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import mldsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import load_der_x509_certificate

from pkid.asn1 import ber, der, oids
from pkid.asn1.cms.content import Attribute, SubjectKeyIdentifier, encode_attributes
from pkid.asn1.cms.signed import SignedData
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import Padding, hash_algorithm, signature_algorithm_for
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.signatures import sign
from pkid.crypto.signeddata import (
    draft_signed_data,
    is_signer,
    sign_data,
    verify_signed_data,
)
from pkid.errors import ErrorCode
from tests.crypto.cmspeers import cms, pem, signer, unpem
from tests.crypto.oracles import SIGNING_FAMILIES, code_of, spki_of

VECTOR = Path(__file__).parents[1] / "vectors" / "cms" / "ml-dsa-44-signed.pem"
CONTENT = b"What is signed here stays signed here."
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
SIGNING_TIME = Attribute(oids.PKCS9_SIGNING_TIME, (der.time(NOW),))
# OpenSSL 3.0 signs and verifies no EdDSA with signed attributes.
OPENSSL_FAMILIES = ("rsa", "ec:P-256", "ec:P-384", "ec:P-521")


def signed_by(
    family: str,
    *,
    content: bytes | None = CONTENT,
    content_type: str = oids.ID_DATA,
    padding: Padding = Padding.PKCS1,
    hash_name: str | None = None,
) -> SignedData:
    own = signer(family)
    algorithm = signature_algorithm_for(
        own.key.public_key(), hash_name, padding=padding
    )
    return sign_data(
        content,
        content_type,
        own.certificate,
        algorithm,
        lambda octets: sign(own.key, algorithm, octets),
        attributes=(SIGNING_TIME,),
    )


def check(data: SignedData, family: str, **keywords: Any) -> bytes:
    (info,) = data.signer_infos
    assert is_signer(info, signer(family).certificate)
    public_key = signer(family).certificate.public_key_info
    return verify_signed_data(data, info, public_key, **keywords)


def code(data: SignedData, family: str, **keywords: Any) -> ErrorCode:
    found: ErrorCode = code_of(check, data, family, **keywords)
    return found


# --- both ways ----------------------------------------------------------------


@pytest.mark.parametrize("family", SIGNING_FAMILIES)
@pytest.mark.parametrize("content_type", [oids.ID_DATA, oids.ID_CT_KP_KEY_PACKAGE])
def test_every_kind_of_key_signs(family: str, content_type: str) -> None:
    octets = signed_by(family, content_type=content_type).encode_content_info()
    data = SignedData.decode_content_info(octets)
    assert check(data, family) == CONTENT
    assert data.version == (1 if content_type == oids.ID_DATA else 3)
    assert data.x509_certificates == (signer(family).certificate.der,)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512", "sha3_256"])
def test_pss_signs_with_every_digest(hash_name: str) -> None:
    data = signed_by("rsa", padding=Padding.PSS, hash_name=hash_name)
    assert check(SignedData.decode(data.encode()), "rsa") == CONTENT


def test_a_key_identifier_names_the_signer_too() -> None:
    own = signer("ec:P-256")
    algorithm = signature_algorithm_for(own.key.public_key())
    key_id = own.certificate.public_key_info.key_id
    draft = draft_signed_data(
        CONTENT, oids.ID_DATA, SubjectKeyIdentifier(key_id), algorithm
    )
    data = draft.complete(sign(own.key, algorithm, draft.to_be_signed))
    assert (data.version, data.signer_infos[0].version) == (3, 3)
    assert check(SignedData.decode(data.encode()), "ec:P-256") == CONTENT
    other = signer("ec:P-384").certificate
    assert not is_signer(data.signer_infos[0], other)


def test_ed448_names_its_digest_as_rfc_8419_wants() -> None:
    (info,) = signed_by("ed448").signer_infos
    assert info.digest_algorithm == AlgorithmIdentifier(
        oids.ID_SHAKE256_LEN, der.integer(512)
    )


def test_content_that_is_left_out_is_signed_as_nothing() -> None:
    data = SignedData.decode(signed_by("ec:P-256", content=None).encode())
    assert code(data, "ec:P-256") is ErrorCode.BAD_REQUEST
    assert check(data, "ec:P-256", detached=b"") == b""


def test_detached_content_is_covered() -> None:
    data = signed_by("rsa")
    apart = replace(data, encapsulated=replace(data.encapsulated, content=None))
    assert check(apart, "rsa", detached=CONTENT) == CONTENT
    assert code(apart, "rsa", detached=b"other") is ErrorCode.BAD_MESSAGE_CHECK


# --- tampered with ------------------------------------------------------------


def test_what_is_changed_is_a_bad_message_check() -> None:
    data = signed_by("ec:P-256")
    (info,) = data.signer_infos
    content = replace(data.encapsulated, content=CONTENT + b"!")
    kind = replace(data.encapsulated, content_type=oids.ID_SIGNED_DATA)
    attributes = encode_attributes((*info.signed_attributes, Attribute("1.2.3", ())))
    for broken in (
        replace(data, encapsulated=content),
        replace(data, encapsulated=kind),
        replace(data, signer_infos=(replace(info, signature=info.signature[:-1]),)),
        replace(
            data, signer_infos=(replace(info, signed_attributes_octets=attributes),)
        ),
    ):
        assert code(broken, "ec:P-256") is ErrorCode.BAD_MESSAGE_CHECK


def test_attributes_are_verified_in_the_order_in_which_they_came() -> None:
    own = signer("ec:P-256")
    data = signed_by("ec:P-256")
    (info,) = data.signer_infos
    parts = der.Cursor(info.signed_attributes_octets or b"").raw_elements(9)
    backwards = b"".join(reversed(parts))
    swapped = replace(info, signed_attributes_octets=backwards)
    unsorted = replace(data, signer_infos=(swapped,))
    assert code(unsorted, "ec:P-256") is ErrorCode.BAD_MESSAGE_CHECK
    signature = sign(own.key, info.signature_algorithm, der.encode(der.SET, backwards))
    resigned = replace(data, signer_infos=(replace(swapped, signature=signature),))
    assert check(resigned, "ec:P-256") == CONTENT


@pytest.mark.parametrize(
    "missing", [oids.PKCS9_CONTENT_TYPE, oids.PKCS9_MESSAGE_DIGEST]
)
def test_a_missing_attribute_is_a_bad_request(missing: str) -> None:
    data = signed_by("ec:P-256")
    (info,) = data.signer_infos
    kept = encode_attributes(
        tuple(one for one in info.signed_attributes if one.oid != missing)
    )
    broken = replace(info, signed_attributes_octets=kept)
    assert code(replace(data, signer_infos=(broken,)), "ec:P-256") is (
        ErrorCode.BAD_REQUEST
    )


def test_without_attributes_only_plain_data_is_signed() -> None:
    own = signer("rsa")
    data = signed_by("rsa")
    (info,) = data.signer_infos
    bare = replace(
        info,
        signed_attributes_octets=None,
        signature=sign(own.key, info.signature_algorithm, CONTENT),
    )
    assert check(replace(data, signer_infos=(bare,)), "rsa") == CONTENT
    kind = replace(data.encapsulated, content_type=oids.ID_CT_KP_KEY_PACKAGE)
    typed = replace(data, encapsulated=kind, signer_infos=(bare,))
    assert code(typed, "rsa") is ErrorCode.BAD_REQUEST


def test_attributes_cannot_be_passed_off_as_content() -> None:
    # The attributes of a signature without attributes: the attack on RFC 5652 that
    # swaps one for the other changes the content type, which must be id-data.
    data = signed_by("ec:P-256")
    (info,) = data.signer_infos
    octets = der.encode(der.SET, info.signed_attributes_octets or b"")
    kind = replace(
        data.encapsulated, content=octets, content_type=oids.ID_CT_KP_KEY_PACKAGE
    )
    bare = replace(info, signed_attributes_octets=None)
    swapped = replace(data, encapsulated=kind, signer_infos=(bare,))
    assert code(swapped, "ec:P-256") is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("family", "digest"),
    [
        ("rsa", "sha512"),
        ("ec:P-256", "sha512"),
        ("ed25519", "sha256"),
        ("ed448", "sha512"),
        ("ml-dsa-65", "sha256"),
        ("ml-dsa-87", "sha384"),
    ],
)
def test_a_digest_that_does_not_go_with_the_signature_is_refused(
    family: str, digest: str
) -> None:
    data = signed_by(family)
    (info,) = data.signer_infos
    other = replace(info, digest_algorithm=hash_algorithm(digest))
    assert code(replace(data, signer_infos=(other,)), family) is (
        ErrorCode.BAD_ALGORITHM
    )


@pytest.mark.parametrize(
    "algorithm",
    [
        AlgorithmIdentifier("1.2.3"),
        AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.integer(1)),
        AlgorithmIdentifier(oids.ECDSA_WITH_SHA256),
    ],
)
def test_a_signature_that_does_not_fit_the_key_is_a_bad_algorithm(
    algorithm: AlgorithmIdentifier,
) -> None:
    data = signed_by("rsa")
    (info,) = data.signer_infos
    other = replace(info, signature_algorithm=algorithm)
    assert code(replace(data, signer_infos=(other,)), "rsa") is ErrorCode.BAD_ALGORITHM


def test_rsa_encryption_with_a_digest_without_a_name_is_a_bad_algorithm() -> None:
    data = signed_by("rsa")
    (info,) = data.signer_infos
    other = replace(
        info,
        digest_algorithm=hash_algorithm("sha3_256"),
        signature_algorithm=AlgorithmIdentifier(oids.RSA_ENCRYPTION),
    )
    assert code(replace(data, signer_infos=(other,)), "rsa") is ErrorCode.BAD_ALGORITHM


# --- published, OpenSSL, cryptography -----------------------------------------


def test_the_published_ml_dsa_signature_verifies() -> None:
    text = VECTOR.read_text().splitlines()[1:-1]
    octets = base64.b64decode("".join(text))
    data = SignedData.decode_content_info(octets)
    assert data.encode_content_info() == octets
    key = mldsa.MLDSA44PrivateKey.from_seed_bytes(bytes(range(32))).public_key()
    public_key = decode_spki(spki_of(key))
    content = verify_signed_data(data, data.signer_infos[0], public_key)
    assert content == b"ML-DSA-44 signed-data example with signed attributes"


@pytest.mark.parametrize("family", OPENSSL_FAMILIES)
def test_openssl_verifies_ours(family: str) -> None:
    own = signer(family)
    told = cms(
        "-verify", "-inform", "PEM", "-in", "@m", "-noverify", "-certfile", "@c",
        m=pem("CMS", signed_by(family).encode_content_info()), c=own.certificate_pem,
    )  # fmt: skip
    assert CONTENT.decode() in told


def test_openssl_verifies_our_pss() -> None:
    data = signed_by("rsa", padding=Padding.PSS, hash_name="sha384")
    told = cms(
        "-verify", "-inform", "PEM", "-in", "@m", "-noverify",
        m=pem("CMS", data.encode_content_info()),
    )  # fmt: skip
    assert CONTENT.decode() in told


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("rsa", ()),
        ("rsa", ("-stream",)),
        ("rsa", ("-keyid",)),
        ("rsa", ("-noattr",)),
        ("rsa", ("-md", "sha512")),
        ("rsa", ("-keyopt", "rsa_padding_mode:pss")),
        ("ec:P-256", ()),
        ("ec:P-384", ("-md", "sha384", "-nocerts")),
    ],
)
def test_we_verify_openssls(family: str, options: tuple[str, ...]) -> None:
    own = signer(family)
    told = cms(
        "-sign", "-binary", "-nodetach", "-in", "@t", "-outform", "PEM",
        "-signer", "@c", "-inkey", "@k", *options,
        t=CONTENT, c=own.certificate_pem, k=own.key_pem,
    )  # fmt: skip
    data = SignedData.decode_content_info(ber.to_der(unpem(told)))
    assert check(data, family) == CONTENT


def test_sha_1_needs_to_be_asked_for() -> None:
    own = signer("rsa")
    told = cms(
        "-sign", "-binary", "-nodetach", "-in", "@t", "-outform", "PEM",
        "-signer", "@c", "-inkey", "@k", "-md", "sha1",
        t=CONTENT, c=own.certificate_pem, k=own.key_pem,
    )  # fmt: skip
    data = SignedData.decode_content_info(unpem(told))
    assert code(data, "rsa") is ErrorCode.BAD_ALGORITHM
    assert check(data, "rsa", allow_sha1=True) == CONTENT


@pytest.mark.parametrize("family", ["rsa", "ec:P-256"])
def test_we_verify_cryptographys(family: str) -> None:
    own = signer(family)
    octets = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(CONTENT)
        .add_signer(
            load_der_x509_certificate(own.certificate.der), own.key, hashes.SHA256()
        )
        .sign(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    )
    assert check(SignedData.decode_content_info(octets), family) == CONTENT


def test_identifiers_are_issuer_and_serial_number() -> None:
    own = signer("ec:P-256").certificate
    (info,) = signed_by("ec:P-256").signer_infos
    assert info.sid == identifier_of(own)
