"""Possession of keys that cannot sign, before another CA.

A registration authority challenges the device itself and then vouches for it; what it
cannot do is hold back a certificate that another CA has made.

**Source:** RFC 9810 section 5.2.8.3.3.
"""

from __future__ import annotations

import pytest

from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from tests.responders.ownkeys import (
    CHALLENGE_RESP,
    ENCR_CERT,
    is_certificate_of,
    request_for,
    take_every_key,
)
from tests.responders.peers import (
    ByMAC,
    cert_requests,
    message,
    new_key,
    signed_request,
)
from tests.responders.radesk import CADesk, RADesk
from tests.responders.test_cmp_challenges import answering, number_in
from tests.responders.test_cmp_registration import (  # noqa: F401  fixtures
    ca,
    ra,
)


@pytest.fixture(autouse=True)
def any_key(ra: RADesk, ca: CADesk) -> None:  # noqa: F811  fixtures
    take_every_key(ra)
    take_every_key(ca)
    ra.world.change_alias(key_generation=True)


@pytest.mark.requirement("CMP-87", "CMP-141")
@pytest.mark.parametrize("family", ["rsa", "x25519", "ml-kem-768"])
def test_a_registration_authority_challenges_and_then_vouches(
    ra: RADesk,  # noqa: F811  fixture
    family: str,
) -> None:
    by = ByMAC()
    content = cert_requests(request_for(family, CHALLENGE_RESP))
    popdecc = ra.ask(message(BodyType.IR, content, by, pvno=3))
    answer = ra.ask(answering(popdecc, by, number_in(popdecc, family)))
    assert answer.status.status is PKIStatus.ACCEPTED
    assert is_certificate_of(answer.certificate, family)


@pytest.mark.requirement("CMP-90")
def test_a_certificate_of_another_CA_is_not_held_back(
    ra: RADesk,  # noqa: F811  fixture
) -> None:
    content = cert_requests(request_for("rsa", ENCR_CERT))
    answer = ra.ask(message(BodyType.IR, content, ByMAC(), pvno=3))
    assert answer.fail_info is FailInfo.BAD_POP


def test_no_key_is_made_for_a_certificate_of_another_CA(
    ra: RADesk,  # noqa: F811  fixture
) -> None:
    content = cert_requests(signed_request(new_key(), spki=None, popo=None))
    answer = ra.ask(message(BodyType.IR, content, ByMAC(), pvno=3))
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE
