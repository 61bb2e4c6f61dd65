"""Several requests in one message, and the controls of a request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509

from pkid.asn1 import der, oids
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo
from pkid.messages.crmf import AttributeTypeAndValue
from tests.responders.desk import Desk
from tests.responders.peers import (
    ByMAC,
    cert_requests,
    message,
    new_key,
    signed_request,
)
from tests.responders.test_cmp_protection import registration_authority

PUBLICATION = der.sequence(der.integer(0))


@pytest.mark.requirement("CMP-70")
@pytest.mark.parametrize(
    ("oid", "value", "cause"),
    [
        (
            oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS,
            der.implicit(2, der.boolean(value=True)),
            "private keys are not archived",
        ),
        (
            oids.ID_REG_CTRL_ALT_CERT_TEMPLATE,
            der.sequence(der.oid("1.2.3"), der.NULL),
            "altCertTemplate",
        ),
    ],
    ids=["pkiArchiveOptions", "altCertTemplate"],
)
def test_a_control_that_is_not_served_is_refused(
    desk: Desk, oid: str, value: bytes, cause: str
) -> None:
    answer = desk.enroll(controls=(AttributeTypeAndValue(oid, value),))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert cause in answer.status.strings[0]
    assert desk.count() == 0


@pytest.mark.requirement("CMP-70")
def test_a_certificate_that_shall_not_be_published_is_issued(desk: Desk) -> None:
    control = AttributeTypeAndValue(oids.ID_REG_CTRL_PKI_PUBLICATION_INFO, PUBLICATION)
    # No certificate of a device is ever published: dontPublish is what happens.
    assert desk.enroll(controls=(control,), implicit=True).certificate


@pytest.mark.requirement("CMP-71")
def test_a_template_in_regInfo_replaces_the_subjects_own(desk: Desk) -> None:
    authority = registration_authority(desk)
    key = new_key()
    asked = signed_request(key, "CN=as-the-device-wanted")
    better = signed_request(key, "CN=as-the-authority-knows")
    info = AttributeTypeAndValue(oids.ID_REG_INFO_CERT_REQ, better.cert_req.der)
    body = cert_requests(replace(asked, reg_info=(info,)))
    answer = desk.ask(message(BodyType.IR, body, authority))
    issued = x509.load_der_x509_certificate(answer.certificate)
    assert issued.subject.rfc4514_string() == "CN=as-the-authority-knows"
    assert issued.public_key() == key.public_key()


@pytest.mark.requirement("CMP-71")
def test_a_template_of_another_key_or_two_of_them_are_refused(desk: Desk) -> None:
    authority = registration_authority(desk)
    asked = signed_request(new_key(), "CN=device")
    other = signed_request(new_key(), "CN=other").cert_req.der
    for values, bit in (
        ((other,), FailInfo.BAD_CERT_TEMPLATE),
        ((asked.cert_req.der, asked.cert_req.der), FailInfo.BAD_REQUEST),
        ((der.sequence(),), FailInfo.BAD_DATA_FORMAT),
    ):
        infos = tuple(
            AttributeTypeAndValue(oids.ID_REG_INFO_CERT_REQ, value) for value in values
        )
        body = cert_requests(replace(asked, reg_info=infos))
        answer = desk.ask(message(BodyType.IR, body, authority))
        assert answer.fail_info is bit
    assert desk.count() == 1


@pytest.mark.requirement("CMP-71", "CMP-43")
def test_only_a_registration_authority_replaces_a_template(desk: Desk) -> None:
    key = new_key()
    asked = signed_request(key, "CN=device")
    info = AttributeTypeAndValue(oids.ID_REG_INFO_CERT_REQ, asked.cert_req.der)
    body = cert_requests(replace(asked, reg_info=(info,)))
    answer = desk.ask(message(BodyType.IR, body, ByMAC()))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED
    assert desk.count() == 0


@pytest.mark.requirement("CMP-70")
@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (oids.ID_REG_CTRL_ALG_ID, der.sequence(der.oid(oids.ID_ED25519))),
        (oids.ID_REG_CTRL_RSA_KEY_LEN, der.integer(2048)),
    ],
    ids=["algId", "rsaKeyLen"],
)
def test_what_stands_in_templates_of_a_CA_stands_in_no_request(
    desk: Desk, oid: str, value: bytes
) -> None:
    answer = desk.enroll(controls=(AttributeTypeAndValue(oid, value),))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert "templates only" in answer.status.strings[0]
    assert desk.count() == 0


@pytest.mark.requirement("CMP-70")
@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (oids.ID_REG_CTRL_REG_TOKEN, der.NULL),
        (oids.ID_REG_CTRL_AUTHENTICATOR, der.octet_string(b"x")),
        (oids.ID_REG_CTRL_PKI_PUBLICATION_INFO, der.sequence(der.integer(7))),
        (
            oids.ID_REG_CTRL_PKI_PUBLICATION_INFO,
            der.sequence(der.integer(0), der.sequence(der.sequence(der.integer(1)))),
        ),
        (oids.ID_REG_CTRL_OLD_CERT_ID, der.sequence()),
        (oids.ID_REG_CTRL_PROTOCOL_ENCR_KEY, der.integer(1)),
    ],
    ids=["token", "authenticator", "action", "places", "oldCertID", "encrKey"],
)
def test_a_control_that_is_broken_is_badDataFormat(
    desk: Desk, oid: str, value: bytes
) -> None:
    answer = desk.enroll(controls=(AttributeTypeAndValue(oid, value),))
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT
    assert desk.count() == 0


@pytest.mark.requirement("CMP-70")
def test_a_control_that_stands_twice_is_badRequest(desk: Desk) -> None:
    control = AttributeTypeAndValue(oids.ID_REG_CTRL_PKI_PUBLICATION_INFO, PUBLICATION)
    answer = desk.enroll(controls=(control, control))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0


@pytest.mark.requirement("CMP-70")
@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (oids.ID_REG_CTRL_AUTHENTICATOR, der.utf8_string("mother's maiden name")),
        (oids.ID_REG_CTRL_PKI_PUBLICATION_INFO, der.sequence(der.integer(1))),
        ("1.2.3.4", der.NULL),
    ],
    ids=["authenticator", "pleasePublish", "unknown"],
)
def test_a_control_that_asks_for_nothing_we_refuse_passes(
    desk: Desk, oid: str, value: bytes
) -> None:
    control = AttributeTypeAndValue(oid, value)
    assert desk.enroll(controls=(control,), implicit=True).certificate
