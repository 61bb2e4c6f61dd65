"""CMP over HTTP, as far as it is not the transport's."""

from __future__ import annotations

import pytest

from pkid.asn1 import oids
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.framing import (
    Framing,
    Record,
    RecordReader,
    RecordType,
    encode_request,
)
from pkid.messages.cmp.status import FailInfo
from pkid.responders.base import Reply
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.cmp.http import OPERATIONS
from pkid.transports.site import CMP_OPERATIONS
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    asking,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)


def ir() -> bytes:
    body = cert_requests(signed_request(new_key()))
    return message(BodyType.IR, body, ByMAC()).octets


@pytest.mark.requirement("CMP-151")
@pytest.mark.parametrize(
    "given",
    [
        "application/pkixcmp",
        "Application/PKIXCMP",
        "application/pkixcmp; charset=binary",
        "application/x-pkixcmp",
        "application/pkixcmp-poll",
        "",
        None,
    ],
)
def test_media_types_that_are_taken(desk: Desk, given: str | None) -> None:
    headers = {} if given is None else {"content-type": given}
    reply = desk.reply(ir(), headers=headers)
    assert reply.status == 200
    assert Answer.read(reply.body).certificate


@pytest.mark.requirement("CMP-151")
@pytest.mark.parametrize(
    "given", ["text/plain", "application/json", "application/pkixcmp2", "x"]
)
def test_other_media_types_are_415(desk: Desk, given: str) -> None:
    reply = desk.reply(ir(), headers={"content-type": given})
    assert reply.status == 415
    assert desk.count() == 0


@pytest.mark.requirement("CMP-156")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_405(desk: Desk, method: str) -> None:
    reply = desk.reply(ir(), method=method)
    assert reply.status == 405
    assert ("Allow", "POST") in reply.headers


@pytest.mark.requirement("CMP-152")
@pytest.mark.parametrize("good", [True, False])
def test_a_message_is_answered_with_200_and_the_exact_media_type(
    desk: Desk, good: bool
) -> None:
    by = ByMAC() if good else ByMAC(secret=b"guess")
    body = cert_requests(signed_request(new_key()))
    reply: Reply = desk.reply(message(BodyType.IR, body, by).octets)
    assert reply.status == 200
    assert reply.content_type == "application/pkixcmp"
    assert ("Cache-Control", "no-cache") in reply.headers
    assert ("Pragma", "no-cache") in reply.headers


def test_an_unknown_alias_is_404_over_http_and_silence_over_tcp(desk: Desk) -> None:
    assert desk.reply(ir(), alias="nowhere").status == 404
    over_tcp = desk.reply(ir(), alias="nowhere", transport="tcp-draft", method="")
    assert over_tcp.body == b""


@pytest.mark.requirement("CMP-57", "CMP-154")
@pytest.mark.parametrize(
    ("operation", "fits"),
    [
        ("", True),
        ("initialization", True),
        ("ir", True),
        ("certification", False),
        ("cr", False),
        ("keyupdate", False),
        ("getcacerts", False),
        ("elsewhere", False),
    ],
)
def test_a_first_message_belongs_to_the_operation_of_its_path(
    desk: Desk, operation: str, fits: bool
) -> None:
    answer = Answer.read(desk.reply(ir(), operation=operation).body)
    if fits:
        assert answer.certificate
    else:
        assert answer.fail_info is FailInfo.BAD_REQUEST
        answer.check_mac()


@pytest.mark.requirement("CMP-154")
def test_later_messages_may_come_to_any_path(desk: Desk) -> None:
    opened = desk.enroll()
    body = cert_conf(certificate_hash(opened.certificate))
    sent = follow(opened, BodyType.CERT_CONF, body, ByMAC())
    answer = desk.ask(sent, operation="keyupdate")
    assert answer.body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-154")
def test_every_operation_of_the_route_table_has_a_body() -> None:
    assert {name.lower() for name in CMP_OPERATIONS} <= set(OPERATIONS)


def test_genm_paths_take_a_genm(desk: Desk) -> None:
    sent = message(BodyType.GENM, asking(oids.ID_IT_CA_CERTS), ByMAC())
    assert desk.ask(sent, operation="crts").body_type is BodyType.GENP


@pytest.mark.requirement("CMP-157")
@pytest.mark.parametrize("framing", [Framing.RFC2510, Framing.TCP_DRAFT])
@pytest.mark.parametrize("close", [False, True])
def test_a_framed_body_is_answered_in_the_same_framing(
    desk: Desk, framing: Framing, close: bool
) -> None:
    close = close and framing is Framing.TCP_DRAFT
    reply = desk.reply(encode_request(framing, ir(), close=close), headers={})
    assert reply.content_type == "application/pkixcmp-poll"
    (record,) = RecordReader().feed(reply.body)
    assert isinstance(record, Record)
    assert (record.framing, record.close) == (framing, close)
    assert record.type is RecordType.PKI_REP
    assert Answer.read(record.value).certificate


@pytest.mark.requirement("CMP-157")
def test_two_records_or_a_cut_one_in_a_body_are_no_message(desk: Desk) -> None:
    octets = encode_request(Framing.TCP_DRAFT, ir())
    for body in (octets + octets, octets[:-1], octets + b"\x00"):
        reply = desk.reply(body)
        assert reply.status == 400
        assert Answer.read(reply.body).fail_info is FailInfo.BAD_DATA_FORMAT


@pytest.mark.requirement("CMP-164")
@pytest.mark.parametrize("transport", ["tcp-rfc2510", "tcp-draft"])
def test_over_tcp_refusals_are_messages_too(desk: Desk, transport: str) -> None:
    body = cert_requests(signed_request(new_key()))
    sent = message(BodyType.IR, body, ByMAC(secret=b"guess"))
    answer = desk.ask(sent, transport=transport, method="", headers={})
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
