"""CRMF: round trips, each proof of possession, pyasn1's rfc4211 as the oracle."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyasn1.codec.der import decoder, encoder
from pyasn1_modules import rfc4211

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.errors import ErrorCode, PKIError
from pkid.messages import crmf
from tests.messages import strategies as make

PATIENT = settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
    deadline=None,
)
ALGORITHM = AlgorithmIdentifier("1.2.840.10045.4.3.2")
SPKI = der.sequence(ALGORITHM.encode(), der.bit_string(b"key"))
NAME = Name.from_text("CN=device").der
TEMPLATE = crmf.CertTemplate(subject=NAME, spki=SPKI)


def message(popo: bytes = b"") -> bytes:
    request = crmf.CertRequest.build(0, TEMPLATE)
    return der.sequence(der.sequence(request.der, popo))


def decoded(popo: bytes) -> crmf.ProofOfPossession | None:
    (found,) = crmf.decode_cert_req_messages(message(popo))
    return found.popo


def assert_malformed(octets: bytes) -> None:
    with pytest.raises(PKIError) as caught:
        crmf.decode_cert_req_messages(octets)
    assert caught.value.code is ErrorCode.MALFORMED


def agreed(octets: bytes, spec: Any) -> bool:
    value, rest = decoder.decode(octets, asn1Spec=spec)
    return rest == b"" and encoder.encode(value) == octets


@given(
    st.builds(
        crmf.CertReqMsg,
        st.builds(crmf.CertRequest.build, make.INTEGERS, make.TEMPLATES, make.CONTROLS),
        make.POPOS,
        make.CONTROLS,
    )
)
def test_request_round_trips(request: crmf.CertReqMsg) -> None:
    octets = crmf.encode_cert_req_messages((request,))
    assert crmf.decode_cert_req_messages(octets) == (request,)


@given(make.POPOS.filter(lambda popo: popo is not None))
@PATIENT
def test_oracle_agrees_on_proof_of_possession(popo: crmf.ProofOfPossession) -> None:
    # rfc4211 there tags a GeneralName implicitly inside POPOSigningKeyInput, which
    # works for names that are no directory name only.
    assert agreed(popo.encode(), rfc4211.ProofOfPossession())


@given(make.CERT_IDS)
@PATIENT
def test_oracle_agrees_on_certificate_ids(cert_id: crmf.CertId) -> None:
    assert agreed(cert_id.encode(), rfc4211.CertId())
    assert crmf.CertId.decode(cert_id.encode()) == cert_id


@given(make.templates(make.NAMES.filter(lambda name: not name.is_empty)))
@PATIENT
def test_oracle_agrees_on_templates(template: crmf.CertTemplate) -> None:
    assert agreed(template.encode(), rfc4211.CertTemplate())


def test_request_keeps_its_octets_for_possession() -> None:
    (found,) = crmf.decode_cert_req_messages(message())
    assert found.cert_req.der in message()
    assert found.cert_req.cert_template == TEMPLATE
    assert found.popo is None


def test_ra_verified_is_read() -> None:
    assert decoded(b"\x80\x00") == crmf.RAVerified()


def test_signed_input_is_what_a_signature_covers() -> None:
    signed = crmf.POPOSigningKeyInput.build(GeneralName.dns("device"), SPKI)
    found = decoded(crmf.POPOSigningKey(ALGORITHM, b"s", signed).encode())
    assert isinstance(found, crmf.POPOSigningKey)
    assert found.poposk_input is not None
    assert found.poposk_input.der == der.sequence(
        der.explicit(0, GeneralName.dns("device").encode()), SPKI
    )


def test_signed_input_with_a_mac_is_read() -> None:
    mac = crmf.PKMACValue(ALGORITHM, b"mac")
    signed = crmf.POPOSigningKeyInput.build(mac, SPKI)
    assert crmf.POPOSigningKeyInput.decode(signed.der) == signed
    assert signed.public_key_mac == mac
    assert signed.sender is None


@pytest.mark.parametrize("use", crmf.KeyUse)
@pytest.mark.parametrize("method", crmf.PrivKeyMethod)
def test_methods_of_keys_that_cannot_sign_are_kept(
    use: crmf.KeyUse, method: crmf.PrivKeyMethod
) -> None:
    popo = crmf.POPOPrivKey(use, method, b"\x01")
    assert decoded(popo.encode()) == popo
    subsequent = crmf.SubsequentMessage.CHALLENGE_RESP
    expected = subsequent if method is crmf.PrivKeyMethod.SUBSEQUENT_MESSAGE else None
    assert popo.subsequent_message is expected


def test_old_certificate_id_is_found_among_controls() -> None:
    old = crmf.CertId(GeneralName.directory(Name(NAME)), 7).encode()
    control = crmf.AttributeTypeAndValue(oids.ID_REG_CTRL_OLD_CERT_ID, old)
    request = crmf.CertRequest.build(0, TEMPLATE, (control,))
    assert request.control(oids.ID_REG_CTRL_OLD_CERT_ID) == old
    assert request.control(oids.ID_REG_CTRL_REG_TOKEN) is None


def test_validity_is_read_in_both_forms_of_time() -> None:
    validity = crmf.OptionalValidity(
        datetime.datetime(2049, 12, 31, tzinfo=datetime.UTC),
        datetime.datetime(2050, 1, 1, tzinfo=datetime.UTC),
    )
    octets = validity.encode_contents()
    assert (octets[2], octets[19]) == (der.UTC_TIME, der.GENERALIZED_TIME)
    assert crmf.OptionalValidity.decode(octets) == validity


def template_with(*parts: bytes) -> bytes:
    request = der.sequence(der.integer(0), der.sequence(*parts))
    return der.sequence(der.sequence(request))


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(template_with(b"\xa4\x00"), id="validity without a time"),
        pytest.param(template_with(b"\xa4\x02\xa0\x00"), id="empty time"),
        pytest.param(template_with(b"\xa9\x00"), id="no extension"),
        pytest.param(template_with(b"\xa5\x02\x31\x00"), id="subject is a SET"),
        pytest.param(template_with(b"\x8a\x00"), id="unknown field"),
        pytest.param(message(b"\x84\x00"), id="unknown proof"),
        pytest.param(message(b"\x80\x01\x00"), id="raVerified with contents"),
        pytest.param(message(b"\xa2\x00"), id="proof without a method"),
        pytest.param(message(b"\xa2\x02\x85\x00"), id="unknown method"),
        pytest.param(message(b"\xa2\x03\x81\x01\x02"), id="unknown later message"),
        pytest.param(message(b"\x30\x00"), id="no registration information"),
        pytest.param(der.sequence(*[der.sequence()] * 17), id="an empty request"),
        pytest.param(der.sequence(*[message()[2:]] * 17), id="17 requests"),
    ],
)
def test_broken_request_is_malformed(octets: bytes) -> None:
    assert_malformed(octets)


def test_too_many_controls_are_malformed() -> None:
    control = crmf.AttributeTypeAndValue("1.2.3", der.NULL)
    request = crmf.CertRequest.build(0, TEMPLATE, (control,) * 65)
    assert_malformed(der.sequence(der.sequence(request.der)))
