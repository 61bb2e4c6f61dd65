"""What belongs to one version of CMP, and versions that are not served."""

from __future__ import annotations

from typing import Any

import pytest

from pkid.asn1 import der, oids
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.algorithms import digest, hash_algorithm
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    KeyUse,
    POPOPrivKey,
    PrivKeyMethod,
)
from tests.responders.desk import Desk
from tests.responders.peers import (
    ByMAC,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)

TCP = {"method": "", "headers": {}}
ENVELOPED = der.encode(0xA0, der.explicit(0, der.sequence(der.integer(2))))
ARCHIVE = AttributeTypeAndValue(oids.ID_REG_CTRL_PKI_ARCHIVE_OPTIONS, ENVELOPED)


def privkey(method: PrivKeyMethod) -> POPOPrivKey:
    return POPOPrivKey(KeyUse.KEY_AGREEMENT, method, b"\x30\x00")


@pytest.mark.requirement("CMP-06")
@pytest.mark.parametrize(
    "request_",
    [
        {"popo": privkey(PrivKeyMethod.AGREE_MAC)},
        {"popo": privkey(PrivKeyMethod.ENCRYPTED_KEY)},
        {"controls": (ARCHIVE,)},
        {"spki": None},
    ],
    ids=["agreeMAC", "encryptedKey", "pkiArchiveOptions", "central-key-generation"],
)
def test_what_only_version_3_knows_gets_nothing_in_a_version_2_message(
    desk: Desk, request_: dict[str, Any]
) -> None:
    wanted = signed_request(new_key(), **request_)
    answer = desk.ask(message(BodyType.IR, cert_requests(wanted), ByMAC(), pvno=2))
    assert answer.status.status is PKIStatus.REJECTION
    assert answer.header.pvno == 2
    assert desk.count() == 0


@pytest.mark.requirement("CMP-06")
def test_hashAlg_in_a_certConf_of_version_2_is_badRequest(desk: Desk) -> None:
    opened = desk.enroll()
    algorithm: AlgorithmIdentifier = hash_algorithm("sha384")
    body = cert_conf(digest("sha384", opened.certificate), hash_alg=algorithm)
    second = follow(opened, BodyType.CERT_CONF, body, ByMAC(), pvno=2)
    assert desk.ask(second).fail_info is FailInfo.BAD_REQUEST
    third = follow(opened, BodyType.CERT_CONF, body, ByMAC(), pvno=3)
    assert desk.ask(third).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-168")
@pytest.mark.parametrize("transport", ["tcp-rfc2510", "tcp-draft", "tcp-der"])
def test_version_1_over_tcp_is_unsupportedVersion(desk: Desk, transport: str) -> None:
    body = cert_requests(signed_request(new_key()))
    sent = message(BodyType.IR, body, ByMAC(), pvno=1)
    answer = desk.ask(sent, transport=transport, **TCP)
    assert answer.fail_info is FailInfo.UNSUPPORTED_VERSION
    assert answer.header.pvno == 2
    assert desk.count() == 0
