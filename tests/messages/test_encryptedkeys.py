"""Encrypted keys and the proofs of possession that hold them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.type import tag, univ
from pyasn1_alt_modules import rfc4211 as alt4211
from pyasn1_modules import rfc2511, rfc4211

from pkid.asn1 import der
from pkid.asn1.names import EMPTY, GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages import crmf
from pkid.messages.encryptedkeys import (
    EncKeyWithID,
    EncryptedKey,
    EncryptedValue,
    EnvelopedKey,
    decode_encrypted_key,
)
from pkid.messages.privkeyproofs import DHMAC, PrivKeyProof, decode_proof, make_popo
from tests.messages import strategies as make
from tests.messages.oracle import (
    PATIENT,
    assert_malformed,
    assert_object_or_malformed,
    read,
    write,
)

ALGORITHM = AlgorithmIdentifier("1.2.840.113549.1.1.1", der.NULL)
PROOFS = st.one_of(
    make.ENCRYPTED_VALUES,
    st.sampled_from(crmf.SubsequentMessage),
    make.OCTETS.map(DHMAC),
    make.MACS,
    make.ENVELOPED_DATA.map(EnvelopedKey),
)
# A PrivateKeyInfo as RFC 5208 has it; nobody could use this key.
PRIVATE_KEY_INFOS = st.builds(
    lambda algorithm, key: der.sequence(
        der.integer(0), algorithm.encode(), der.octet_string(key)
    ),
    make.ALGORITHMS,
    make.OCTETS,
)
KEYS_WITH_ID = st.builds(
    EncKeyWithID,
    PRIVATE_KEY_INFOS,
    st.none() | make.TEXTS | make.LOCATIONS,
)


@given(make.ENCRYPTED_KEYS)
def test_encrypted_key_round_trips(key: EncryptedKey) -> None:
    assert decode_encrypted_key(key.encode()) == key


@given(make.ENCRYPTED_KEYS)
@PATIENT
def test_oracle_of_rfc4211_agrees_on_encrypted_keys(key: EncryptedKey) -> None:
    theirs = read(key.encode(), rfc4211.EncryptedKey())
    read(key.encode(), alt4211.EncryptedKey())
    if isinstance(key, EncryptedValue):
        assert theirs.getName() == "encryptedValue"
        found = theirs.getComponent()
        assert found["encValue"].asOctets() == key.enc_value
        hint = found["valueHint"]
        assert (bytes(hint) if hint.isValue else None) == key.value_hint
    else:
        assert theirs.getName() == "envelopedData"


@given(st.builds(EncryptedValue, enc_value=make.OCTETS, symm_alg=make.ALGORITHMS))
@PATIENT
def test_oracle_of_rfc2511_reads_the_old_form_alike(value: EncryptedValue) -> None:
    theirs = read(value.encode(), rfc2511.EncryptedValue())
    assert theirs["encValue"].asOctets() == value.enc_value
    assert value.symm_alg is not None
    assert str(theirs["symmAlg"]["algorithm"]) == value.symm_alg.oid


@given(make.OCTETS, make.OCTETS, make.OCTETS)
@PATIENT
def test_we_read_an_encrypted_value_that_pyasn1_made(
    symmetric: bytes, hint: bytes, encrypted: bytes
) -> None:
    theirs = rfc4211.EncryptedValue()
    theirs["intendedAlg"]["algorithm"] = "1.2.840.113549.1.1.1"
    theirs["keyAlg"]["algorithm"] = "1.2.840.113549.1.1.7"
    theirs["encSymmKey"] = bits(symmetric, 2)
    theirs["valueHint"] = univ.OctetString(hint).subtype(
        implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, 4)
    )
    theirs["encValue"] = univ.BitString(univ.BitString.fromOctetString(encrypted))
    assert EncryptedValue.decode(write(theirs)) == EncryptedValue(
        enc_value=encrypted,
        intended_alg=AlgorithmIdentifier("1.2.840.113549.1.1.1"),
        enc_symm_key=symmetric,
        key_alg=AlgorithmIdentifier("1.2.840.113549.1.1.7"),
        value_hint=hint,
    )


def bits(octets: bytes, number: int) -> Any:
    return univ.BitString(univ.BitString.fromOctetString(octets)).subtype(
        implicitTag=tag.Tag(tag.tagClassContext, tag.tagFormatSimple, number)
    )


@given(KEYS_WITH_ID)
def test_key_with_its_owner_round_trips(key: EncKeyWithID) -> None:
    assert EncKeyWithID.decode(key.encode()) == key


@given(KEYS_WITH_ID)
@PATIENT
def test_oracle_agrees_on_keys_with_their_owner(key: EncKeyWithID) -> None:
    theirs = read(key.encode(), rfc4211.EncKeyWithID())
    identifier = theirs["identifier"]
    if key.identifier is None:
        assert not identifier.isValue
    elif isinstance(key.identifier, str):
        assert str(identifier["string"]) == key.identifier
    else:
        assert identifier.getName() == "generalName"


def test_empty_name_of_an_owner_is_kept() -> None:
    key = EncKeyWithID(der.sequence(), GeneralName.directory(EMPTY))
    assert EncKeyWithID.decode(key.encode()) == key


def test_private_key_is_not_shown() -> None:
    key = EncKeyWithID(b"the private key", GeneralName.dns("device"))
    assert "private" not in repr(key)


# --- proofs of possession --------------------------------------------------------


@given(make.KEY_USES, PROOFS)
def test_proof_round_trips_inside_a_request(
    use: crmf.KeyUse, proof: PrivKeyProof
) -> None:
    request = crmf.CertRequest.build(0, crmf.CertTemplate())
    message = crmf.CertReqMsg(request, make_popo(use, proof))
    octets = crmf.encode_cert_req_messages((message,))
    (found,) = crmf.decode_cert_req_messages(octets)
    assert isinstance(found.popo, crmf.POPOPrivKey)
    assert found.popo.key_use is use
    assert decode_proof(found.popo) == proof


@given(make.KEY_USES, PROOFS)
@PATIENT
def test_oracle_agrees_on_proofs(use: crmf.KeyUse, proof: PrivKeyProof) -> None:
    names = {2: "keyEncipherment", 3: "keyAgreement"}
    methods = {
        EncryptedValue: "thisMessage",
        crmf.SubsequentMessage: "subsequentMessage",
        DHMAC: "dhMAC",
        crmf.PKMACValue: "agreeMAC",
        EnvelopedKey: "encryptedKey",
    }
    octets = make_popo(use, proof).encode()
    theirs = read(octets, rfc4211.ProofOfPossession())
    assert theirs.getName() == names[use]
    inner = theirs.getComponent()
    assert inner.getName() == methods[type(proof)]
    if isinstance(proof, EncryptedValue):
        # The BIT STRING is the EncryptedValue's octets.
        wrapped = inner.getComponent().asOctets()
        assert EncryptedValue.decode(wrapped) == proof


def test_method_of_rfc4210_is_an_encrypted_value_inside_a_bit_string() -> None:
    value = EncryptedValue(enc_value=b"key", symm_alg=ALGORITHM)
    popo = make_popo(crmf.KeyUse.KEY_ENCIPHERMENT, value)
    wrapped = der.encode(0x80, b"\0", value.encode())
    assert popo.encode() == der.explicit(2, wrapped)


@pytest.mark.parametrize(
    "popo",
    [
        (crmf.PrivKeyMethod.THIS_MESSAGE, b"\0"),
        (
            crmf.PrivKeyMethod.THIS_MESSAGE,
            b"\1" + EncryptedValue(enc_value=b"").encode(),
        ),
        (crmf.PrivKeyMethod.DH_MAC, b""),
        (crmf.PrivKeyMethod.AGREE_MAC, b"\5\0"),
        (crmf.PrivKeyMethod.ENCRYPTED_KEY, b"\5\0"),
        (crmf.PrivKeyMethod.ENCRYPTED_KEY, b""),
    ],
)
def test_broken_proof_is_malformed(popo: tuple[crmf.PrivKeyMethod, bytes]) -> None:
    made = crmf.POPOPrivKey(crmf.KeyUse.KEY_AGREEMENT, *popo)
    assert_malformed(lambda _: decode_proof(made), b"")


# --- what is no DER --------------------------------------------------------------


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        der.NULL,
        b"\xa0\x00",
        b"\xa0\x02\x05\x00",
        der.sequence(),
        der.sequence(b"\x82\x00", der.bit_string(b"")),
        der.sequence(der.bit_string(b""), der.NULL),
        EncryptedValue(enc_value=b"").encode() + b"\0",
        # The order of the fields is that of their tags.
        der.sequence(b"\x84\x00", b"\xa0\x04" + der.oid("1.2.3"), der.bit_string(b"")),
    ],
    ids=lambda octets: octets.hex() or "nothing",
)
def test_broken_encrypted_key_is_malformed(octets: bytes) -> None:
    assert_malformed(decode_encrypted_key, octets)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        der.sequence(),
        der.sequence(der.sequence(), der.NULL),
        der.sequence(der.sequence(), der.utf8_string("a"), der.utf8_string("b")),
    ],
    ids=lambda octets: octets.hex() or "nothing",
)
def test_broken_key_with_its_owner_is_malformed(octets: bytes) -> None:
    assert_malformed(EncKeyWithID.decode, octets)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(der.sequence))
def test_any_octets_give_a_value_or_MALFORMED(octets: bytes) -> None:
    assert_object_or_malformed(decode_encrypted_key, octets)
    assert_object_or_malformed(EncKeyWithID.decode, octets)


@given(st.sampled_from(crmf.PrivKeyMethod), st.binary(max_size=40))
def test_any_octets_of_a_method_give_a_proof_or_MALFORMED(
    method: crmf.PrivKeyMethod, octets: bytes
) -> None:
    number = 0x80 | method | (0x20 if method >= crmf.PrivKeyMethod.AGREE_MAC else 0)
    element = der.encode(number, octets)

    def both(whole: bytes) -> object:
        return decode_proof(crmf.POPOPrivKey.decode(crmf.KeyUse.KEY_AGREEMENT, whole))

    assert_object_or_malformed(both, element)
