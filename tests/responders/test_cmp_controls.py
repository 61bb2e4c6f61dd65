"""Several requests in one message, and the controls of a request."""

from __future__ import annotations

from dataclasses import replace

import pytest

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

PUBLICATION = der.sequence(der.integer(0))


@pytest.mark.requirement("CMP-70")
@pytest.mark.parametrize(
    ("oid", "name"),
    [
        (oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS, "pkiArchiveOptions"),
        (oids.ID_REG_CTRL_ALT_CERT_TEMPLATE, "altCertTemplate"),
    ],
)
def test_a_control_that_is_not_served_is_refused_by_its_name(
    desk: Desk, oid: str, name: str
) -> None:
    value = der.implicit(2, der.boolean(value=True))
    control = AttributeTypeAndValue(oid, value)
    answer = desk.enroll(controls=(control,))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert name in answer.status.strings[0]
    assert desk.count() == 0


@pytest.mark.requirement("CMP-70")
def test_a_certificate_that_shall_not_be_published_is_issued(desk: Desk) -> None:
    control = AttributeTypeAndValue(oids.ID_REG_CTRL_PKI_PUBLICATION_INFO, PUBLICATION)
    # No certificate of a device is ever published: dontPublish is what happens.
    assert desk.enroll(controls=(control,), implicit=True).certificate


@pytest.mark.requirement("CMP-71")
def test_a_template_in_regInfo_is_refused_and_not_passed_over(desk: Desk) -> None:
    info = AttributeTypeAndValue(oids.ID_REG_INFO_CERT_REQ, der.sequence())
    asked = replace(signed_request(new_key(), "CN=device"), reg_info=(info,))
    answer = desk.ask(message(BodyType.IR, cert_requests(asked), ByMAC()))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert desk.count() == 0
