from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import signature_algorithm_for
from pkid.crypto.mac import encode_mac_parameters
from pkid.crypto.possession import (
    PublicKeyMAC,
    SignedPossession,
    check_signing_key_input,
    verify_possession,
    verify_public_key_mac,
)
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.signatures import sign
from pkid.errors import ErrorCode
from tests.crypto.oracles import (
    SIGNING_FAMILIES,
    code_of,
    openssl,
    private_key,
    public_key,
    spki_of,
)
from tests.crypto.test_mac import pbm, pbmac1

SECRET = b"a test value"


def possession(family: str, octets: bytes = b"CertRequest") -> SignedPossession:
    algorithm = signature_algorithm_for(family)
    signature = sign(private_key(family), algorithm, octets)
    return SignedPossession(octets, signature, algorithm)


def info_of(family: str):  # noqa: ANN201 - as decode_spki
    return decode_spki(spki_of(public_key(family)))


@pytest.mark.parametrize("family", SIGNING_FAMILIES)
def test_the_holder_of_the_key_proves_it(family: str) -> None:
    verify_possession(possession(family), info_of(family))


@pytest.mark.parametrize("family", ["ec:P-256", "rsa", "ed25519", "ml-dsa-44"])
def test_any_bit_of_the_signed_octets_counts(family: str) -> None:
    proof = possession(family, bytes(range(32)))
    for bit in range(256):
        octets = bytearray(proof.octets)
        octets[bit // 8] ^= 1 << bit % 8
        changed = SignedPossession(bytes(octets), proof.signature, proof.algorithm)
        assert code_of(verify_possession, changed, info_of(family)) is (
            ErrorCode.BAD_POSSESSION
        )


def test_another_key_is_badPOP() -> None:
    for family in ("ec:P-256", "ed25519"):
        other = decode_spki(spki_of(private_key(family, 2).public_key()))
        assert code_of(verify_possession, possession(family), other) is (
            ErrorCode.BAD_POSSESSION
        )


def test_an_algorithm_that_is_unknown_or_does_not_fit_is_badPOP() -> None:
    proof = possession("ec:P-256")
    for algorithm in (
        AlgorithmIdentifier("1.2.3"),
        AlgorithmIdentifier(oids.ECDSA_WITH_SHA256, der.NULL),
        AlgorithmIdentifier(oids.ID_RSASSA_PSS, b"garbage"),
        signature_algorithm_for("rsa"),
    ):
        changed = SignedPossession(proof.octets, proof.signature, algorithm)
        assert code_of(verify_possession, changed, info_of("ec:P-256")) is (
            ErrorCode.BAD_POSSESSION
        )
    null = AlgorithmIdentifier(oids.ECDSA_WITH_SHA256, der.NULL)
    verify_possession(
        SignedPossession(proof.octets, proof.signature, null),
        info_of("ec:P-256"),
        allow_null_parameters=True,
    )


@pytest.mark.parametrize("family", ["x25519", "x448", "ml-kem-768"])
def test_keys_that_do_not_sign_prove_nothing_by_signing(family: str) -> None:
    assert code_of(verify_possession, possession("ec:P-256"), info_of(family)) is (
        ErrorCode.BAD_POSSESSION
    )


def test_a_broken_key_is_badCertTemplate() -> None:
    octets = bytearray(spki_of(public_key("ec:P-256")))
    octets[-1] ^= 1
    code = code_of(
        verify_possession, possession("ec:P-256"), decode_spki(bytes(octets))
    )
    assert code is ErrorCode.BAD_TEMPLATE


# --- PKCS #10 -----------------------------------------------------------------


def request(family: str) -> bytes:
    hash_ = hashes.SHA256() if family in ("rsa", "ec:P-256") else None
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "device")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    csr = builder.sign(private_key(family), hash_)
    return csr.public_bytes(Encoding.DER)


@pytest.mark.parametrize("family", ["rsa", "ec:P-256", "ed25519", "ml-dsa-65"])
def test_the_self_signature_of_a_request_verifies(family: str) -> None:
    octets = request(family)
    proof = SignedPossession.from_request(octets)
    csr = x509.load_der_x509_csr(octets)
    assert proof.octets == csr.tbs_certrequest_bytes
    verify_possession(proof, info_of(family))


def test_requests_of_openssl_verify_also_with_SHA1_by_a_switch() -> None:
    for digest, allowed in (("sha256", False), ("sha1", True)):
        octets = der_of(
            openssl(
                *(
                    "req",
                    "-new",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ),
                *("-nodes", f"-{digest}"),
                *("-subj", "/CN=device", "-outform", "PEM", "-keyout", "/dev/null"),
            )
        )
        key = x509.load_der_x509_csr(octets).public_key()
        info = decode_spki(spki_of(key))  # type: ignore[arg-type]
        proof = SignedPossession.from_request(octets)
        verify_possession(proof, info, allow_sha1=allowed)
        if allowed:
            assert code_of(verify_possession, proof, info) is ErrorCode.BAD_POSSESSION


def der_of(pem: str) -> bytes:
    csr = x509.load_pem_x509_csr(pem.encode("ascii"))
    return csr.public_bytes(Encoding.DER)


def test_a_broken_request_is_malformed() -> None:
    for octets in (b"", b"\x30\x00", request("ec:P-256")[:-1]):
        assert code_of(SignedPossession.from_request, octets) is ErrorCode.MALFORMED


# --- poposkInput --------------------------------------------------------------


def test_poposkInput_must_be_about_the_key_of_the_template() -> None:
    mine, other = spki_of(public_key("ec:P-256")), spki_of(public_key("ed25519"))
    check_signing_key_input(mine, mine)
    check_signing_key_input(mine, None)
    code = code_of(check_signing_key_input, mine, other)
    assert code is ErrorCode.BAD_POSSESSION


@pytest.mark.parametrize("parameters", [pbm(), pbmac1()])
def test_publicKeyMAC_ties_the_key_to_the_secret(parameters) -> None:  # noqa: ANN001
    from pkid.crypto.mac import derive_mac_key

    octets = spki_of(public_key("ec:P-256"))
    value = derive_mac_key(parameters, SECRET).compute(octets)
    mac = PublicKeyMAC(encode_mac_parameters(parameters), value)
    verify_public_key_mac(mac, octets, SECRET)
    for arguments in (
        (mac, octets, SECRET + b"."),
        (mac, spki_of(public_key("ed25519")), SECRET),
        (PublicKeyMAC(mac.algorithm, value[:-1]), octets, SECRET),
        (PublicKeyMAC(mac.algorithm, b""), octets, SECRET),
    ):
        assert code_of(verify_public_key_mac, *arguments) is ErrorCode.BAD_POSSESSION


def test_publicKeyMAC_with_absurd_parameters_is_badAlg() -> None:
    octets = der.sequence(
        der.octet_string(bytes(16)),
        AlgorithmIdentifier(oids.ID_SHA256).encode(),
        der.integer(2**31),
        AlgorithmIdentifier(oids.HMAC_SHA1).encode(),
    )
    algorithm = AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC, octets)
    mac = PublicKeyMAC(algorithm, bytes(20))
    code = code_of(verify_public_key_mac, mac, b"spki", SECRET)
    assert code is ErrorCode.BAD_ALGORITHM
