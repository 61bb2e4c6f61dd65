"""Recorded messages of OpenSSL's client over raw TCP, in both framings."""

from __future__ import annotations

import pytest

from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.framing import (
    Framing,
    RecordType,
    decode_error,
    encode_request,
)
from tests.support.cmpclient import decode_answer
from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL
from tests.support.wires import every_cut, single_octets

pytestmark = pytest.mark.interop

FRAMINGS = pytest.mark.parametrize(
    "framing", [Framing.RFC2510, Framing.TCP_DRAFT], ids=["rfc2510", "draft"]
)
ALL_FRAMINGS = pytest.mark.parametrize("framing", list(Framing))


def recorded(openssl: OpenSSL, *, implicit: bool = False) -> list[tuple[bytes, bytes]]:
    """An ir (and its certConf) of OpenSSL's client, with the answers it got."""
    names = [("req1.der", "rsp1.der"), ("req2.der", "rsp2.der")]
    openssl.enrol(
        *("unit", "-reqout", "req1.der req2.der", "-rspout", "rsp1.der rsp2.der"),
        *(("-implicit_confirm",) if implicit else ()),
    )
    pairs = [
        (openssl.folder / asked, openssl.folder / said)
        for asked, said in names[: 1 if implicit else 2]
    ]
    return [(asked.read_bytes(), said.read_bytes()) for asked, said in pairs]


def fresh(openssl: OpenSSL) -> bytes:
    """An ir of OpenSSL's client that no server has seen."""
    if not (openssl.folder / "fresh.key").exists():
        openssl.make_key("fresh")
    path = openssl.folder / "fresh.der"
    path.unlink(missing_ok=True)
    # It is made for a server that hangs up, and kept all the same.
    openssl.run(
        *("cmp", "-cmd", "ir", "-server", "127.0.0.1:1", "-path", "x"),
        *(*openssl.by_secret, "-newkey", "fresh.key", "-subject", "/CN=unit"),
        *("-certout", "none.pem", "-implicit_confirm", "-reqout", path),
    )
    return path.read_bytes()


@ALL_FRAMINGS
def test_a_recorded_request_enrols(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    with daemon.tcp_wire() as wire:
        answer = decode_answer(wire.exchange(fresh(openssl), framing))
    assert answer.body_type is BodyType.IP
    assert answer.granted


@pytest.mark.requirement("ENG-25", "CMP-162")
@ALL_FRAMINGS
def test_what_was_asked_over_http_gets_the_same_octets_over_tcp(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    for asked, said in recorded(openssl):
        with daemon.tcp_wire() as wire:
            assert wire.exchange(asked, framing) == said


@pytest.mark.requirement("ENG-25")
@FRAMINGS
def test_what_was_asked_over_tcp_gets_the_same_octets_over_http(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    asked = fresh(openssl)
    with daemon.tcp_wire() as wire:
        said = wire.exchange(asked, framing)
    with daemon.http_wire() as wire:
        assert wire.exchange(asked) == said


@FRAMINGS
def test_one_connection_carries_a_whole_exchange_and_more(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    pairs = recorded(openssl)
    with daemon.tcp_wire() as wire:
        for asked, said in [*pairs, *pairs]:
            assert wire.exchange(asked, framing) == said


@pytest.mark.requirement("CMP-162")
@FRAMINGS
def test_an_exchange_goes_on_over_another_connection(
    daemon: Daemon, framing: Framing
) -> None:
    client = daemon.client()
    request = client.enrol(implicit_confirm=False)
    with daemon.tcp_wire() as wire:
        answer = client.read(wire.exchange(request.octets, framing), request)
    assert answer.granted
    confirmation = client.confirm(answer)
    with daemon.tcp_wire() as wire:
        octets = wire.exchange(confirmation.octets, framing)
    assert client.read(octets, confirmation).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-163")
@FRAMINGS
def test_a_message_may_be_cut_anywhere(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    ((asked, said),) = recorded(openssl, implicit=True)
    record = encode_request(framing, asked)
    with daemon.tcp_wire() as wire:
        for pieces in every_cut(record):
            wire.send_pieces(pieces)
            answer = wire.receive()
            assert answer is not None
            assert answer.value == said


@pytest.mark.requirement("CMP-163")
@FRAMINGS
def test_a_message_may_come_octet_by_octet(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    asked = fresh(openssl)
    with daemon.tcp_wire() as wire:
        wire.send_pieces(single_octets(encode_request(framing, asked)))
        answer = wire.receive()
    assert answer is not None
    assert decode_answer(answer.value).granted


@pytest.mark.requirement("CMP-163")
def test_several_messages_in_one_segment_are_answered_in_order(
    openssl: OpenSSL, daemon: Daemon
) -> None:
    requests = [fresh(openssl) for _ in range(6)]
    framings = [Framing.RFC2510, Framing.TCP_DRAFT] * 3
    octets = b"".join(map(encode_request, framings, requests))
    with daemon.tcp_wire() as wire:
        wire.send(octets)
        answers = [wire.receive() for _ in requests]
    for request, framing, answer in zip(requests, framings, answers, strict=True):
        assert answer is not None
        assert answer.framing is framing
        assert answer.type is RecordType.PKI_REP
        said = decode_answer(answer.value)
        assert said.granted
        asked = decode_answer_header(request)
        assert said.message.header.transaction_id == asked


def decode_answer_header(octets: bytes) -> bytes | None:
    from pkid.messages.cmp.message import PKIMessage

    return PKIMessage.decode(octets).header.transaction_id


@pytest.mark.requirement("CMP-162")
def test_the_close_bit_is_answered_and_obeyed(openssl: OpenSSL, daemon: Daemon) -> None:
    with daemon.tcp_wire() as wire:
        wire.send(encode_request(Framing.TCP_DRAFT, fresh(openssl), close=True))
        answer = wire.receive()
        assert answer is not None
        assert answer.close
        assert wire.receive() is None


@FRAMINGS
def test_who_half_closes_gets_the_answer(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    with daemon.tcp_wire() as wire:
        wire.send(encode_request(framing, fresh(openssl)))
        wire.finish_sending()
        answer = wire.receive()
        assert answer is not None
        assert decode_answer(answer.value).granted
        assert wire.receive() is None


@pytest.mark.requirement("CMP-164")
@FRAMINGS
def test_a_message_that_is_refused_is_no_fault_of_the_transport(
    openssl: OpenSSL, daemon: Daemon, framing: Framing
) -> None:
    asked = bytearray(fresh(openssl))
    asked[-1] ^= 1
    with daemon.tcp_wire() as wire:
        answer = decode_answer(wire.exchange(bytes(asked), framing))
        assert answer.body_type is BodyType.ERROR
        assert {bit.name for bit in answer.fail_info} == {"BAD_MESSAGE_CHECK"}
        assert decode_answer(wire.exchange(fresh(openssl), framing)).granted


@pytest.mark.parametrize(
    "octets",
    [
        b"\x00\x00\x00\x05\x0b\x00\x00\x00\x00",
        b"\x00\x00\x00\x05\xff\x00\x00\x00\x00",
        b"\x01\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00",
    ],
    ids=["version 11", "version 255", "16 MiB", "length 0"],
)
def test_a_broken_stream_is_told_so_and_closed(daemon: Daemon, octets: bytes) -> None:
    with daemon.tcp_wire() as wire:
        wire.send(octets)
        answer = wire.receive()
        assert answer is not None
        assert answer.type is RecordType.ERROR_MSG_REP
        assert decode_error(answer.framing, answer.value).text
        assert wire.receive() is None


def test_http_is_served_on_the_same_port(openssl: OpenSSL, daemon: Daemon) -> None:
    openssl.enrol("unit", "-server", str(daemon.tcp))
