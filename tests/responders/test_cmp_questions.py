"""Questions of general messages that pkid has no answer to of its own."""

from __future__ import annotations

import pytest

from pkid.asn1 import der, oids
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.header import InfoTypeAndValue
from tests.responders.desk import Desk
from tests.responders.peers import ByMAC, message

PKIBOOT = "1.3.6.1.4.1.3029.3.1.2"
PRESENCE_CHECK = "1.3.6.1.4.1.3029.3.1.1"


def told_unsupported(desk: Desk, info: InfoTypeAndValue) -> None:
    """A genp that says so, and goes on to answer what was asked beside it."""
    body = GenMsgContent((info, InfoTypeAndValue(oids.ID_IT_CA_CERTS)))
    answer = desk.ask(message(BodyType.GENM, body, ByMAC()))
    assert answer.body_type is BodyType.GENP
    assert isinstance(answer.body, GenMsgContent)
    found = {one.oid: one.value for one in answer.body.info_values}
    assert set(found) == {oids.ID_IT_CA_CERTS, oids.ID_IT_UNSUPPORTED_OIDS}
    assert found[oids.ID_IT_CA_CERTS]
    assert found[oids.ID_IT_UNSUPPORTED_OIDS] == der.sequence(der.oid(info.oid))


@pytest.mark.requirement("CMP-136")
@pytest.mark.parametrize("oid", [PKIBOOT, PRESENCE_CHECK])
@pytest.mark.parametrize("value", [None, der.NULL])
def test_a_vendors_own_question_is_told_to_be_unknown(
    desk: Desk, oid: str, value: bytes | None
) -> None:
    told_unsupported(desk, InfoTypeAndValue(oid, value))
