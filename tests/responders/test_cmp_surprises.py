"""An exception where none is expected: one answer, one line, and life goes on.

Every place is a door of the engine, a port, or a part of the responder; it raises once,
in the midst of a real exchange over a connection in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from pkid.asn1 import oids
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.framing import Framing, Record, RecordReader, encode_request
from pkid.messages.cmp.status import FailInfo
from pkid.responders.base import Responder
from pkid.responders.cmp.certification import certificate_hash
from pkid.responders.status.responder import StatusResponder
from pkid.transports.cmptcp import FRAMINGS, CMPTCPFactory
from pkid.transports.connections import Listener
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission, Limits
from pkid.transports.site import (
    OPERATIONS_ROUTES,
    STATUS_ROUTES,
    Site,
    cmp_routes,
)
from tests.engine.world import START
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    BySignature,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    other_mac,
    pbm,
    polling,
    revocation_of,
    signed_request,
)
from tests.transports.wires import connect, post, responses, send

INSIDE = "the inside of the house"
PATH = "/.well-known/cmp/p/default"
TYPE = "Content-Type: application/pkixcmp"
IN_WORDS_OF_CMP = "application/pkixcmp"

Prepare = Callable[[Desk], bytes]


# --- what is asked ------------------------------------------------------------


def ir_of(by: ByMAC | BySignature, body_type: BodyType = BodyType.IR) -> bytes:
    return message(body_type, cert_requests(signed_request(new_key())), by).octets


def by_mac(_: Desk) -> bytes:
    return ir_of(ByMAC())


def by_dear_mac(_: Desk) -> bytes:
    return ir_of(ByMAC(parameters=pbm(5000)))


def by_wrong_mac(_: Desk) -> bytes:
    return ir_of(other_mac(ByMAC(), secret=b"guess"))


def by_signature(desk: Desk) -> bytes:
    return ir_of(desk.holder(), BodyType.CR)


def by_stored_signer(desk: Desk) -> bytes:
    by = desk.holder()
    body = cert_requests(signed_request(new_key()))
    return message(BodyType.CR, body, by, extra_certs=()).octets


def renewal(desk: Desk) -> bytes:
    return ir_of(desk.holder(), BodyType.KUR)


def confirmation(desk: Desk) -> bytes:
    opened = desk.enroll()
    body = cert_conf(certificate_hash(opened.certificate))
    return follow(opened, BodyType.CERT_CONF, body, ByMAC()).octets


def poll(desk: Desk) -> bytes:
    desk.needs_approval()
    waiting = desk.enroll()
    return follow(waiting, BodyType.POLL_REQ, polling(), ByMAC()).octets


def stray(_: Desk) -> bytes:
    return message(BodyType.POLL_REQ, polling(), ByMAC()).octets


def poll_after_approval(desk: Desk) -> bytes:
    octets = poll(desk)
    desk.approve()
    return octets


def waiting(desk: Desk) -> bytes:
    desk.needs_approval()
    return by_mac(desk)


def repeated(desk: Desk) -> bytes:
    sent: Sent = message(BodyType.IR, cert_requests(signed_request(new_key())), ByMAC())
    desk.ask(sent)
    return sent.octets


def revocation(desk: Desk) -> bytes:
    certificate = desk.enroll(implicit=True).certificate
    return message(BodyType.RR, revocation_of(certificate), ByMAC()).octets


def question(_: Desk) -> bytes:
    infos = asking(oids.ID_IT_CA_CERTS, oids.ID_IT_CURRENT_CRL)
    return message(BodyType.GENM, infos, ByMAC()).octets


def question_about_roots(_: Desk) -> bytes:
    return message(BodyType.GENM, asking(oids.ID_IT_ROOT_CA_CERT), ByMAC()).octets


def nonsense(_: Desk) -> bytes:
    return b"\x30\x03\x02\x01\x07"


@dataclass(frozen=True)
class Place:
    """Where it goes wrong.

    :ivar owner: path to the object from the desk, or the dotted name of a module.
    """

    owner: str
    name: str
    asked: Prepare = by_mac

    def __str__(self) -> str:
        return f"{self.owner.removeprefix('pkid.')}.{self.name}:{self.asked.__name__}"

    def owner_of(self, desk: Desk) -> Any:
        if not self.owner.startswith("pkid."):
            return attrgetter(self.owner)(desk)
        return self.owner


ENGINE = "world.engine"
STORE = "world.store"
AUTHORITY = "world.engine._authorities"
RESPONDER = "responder"
CMP = "pkid.responders.cmp"

DOORS_OF_THE_ENGINE = [
    Place(ENGINE, "find_secret"),
    Place(ENGINE, "find_transaction", confirmation),
    Place(ENGINE, "find_transactions_by_id", stray),
    Place(ENGINE, "enroll"),
    Place(ENGINE, "enroll", by_signature),
    Place(ENGINE, "confirm", confirmation),
    Place(ENGINE, "collect", poll),
    Place(ENGINE, "collect", poll_after_approval),
    Place(ENGINE, "remember", poll),
    Place(ENGINE, "begin", question),
    Place(ENGINE, "chain", question_about_roots),
    Place(ENGINE, "latest_crl", question),
    Place(ENGINE, "revoke", revocation),
    Place(ENGINE, "identify", by_signature),
    Place(ENGINE, "report_failure", by_wrong_mac),
    Place(ENGINE, "search_certificates", by_stored_signer),
    Place(ENGINE, "authority_subject"),
    Place(ENGINE, "message_identity"),
    Place(ENGINE, "message_identity", nonsense),
]
PORTS = [
    Place(STORE, "commit"),
    Place(STORE, "commit", confirmation),
    Place(STORE, "commit", revocation),
    Place(STORE, "commit", by_wrong_mac),
    Place(STORE, "find_transaction"),
    Place(STORE, "find_credential"),
    Place(STORE, "find_entity"),
    Place(STORE, "find_approval", poll),
    Place(STORE, "find_certificate", renewal),
    Place(STORE, "find_certificate_by_fingerprint", by_signature),
    Place(STORE, "get_certificate_der", by_stored_signer),
    Place(STORE, "latest_crl", question),
    Place("world.clock", "now"),
    Place("world.clock", "now", nonsense),
    Place("workers", "pace", by_dear_mac),
    Place(AUTHORITY, "get"),
    Place(AUTHORITY, "identity", by_signature),
]
PATH_OF_ISSUANCE = [
    Place("pkid.engine.enrollment", "plan_certificate"),
    Place("pkid.engine.possession", "verify_possession"),
    Place("pkid.engine.enrollment", "decode_spki"),
    Place("pkid.engine.enrollment", "make_issued"),
    Place("pkid.engine.issuance", "serial_number"),
    Place("pkid.engine.issuance", "encode_certificate"),
    Place("pkid.engine.audit", "make_audit_event"),
]
PARTS_OF_THE_RESPONDER = [
    Place(f"{RESPONDER}._throttle", "check"),
    Place(f"{RESPONDER}._journal", "answered"),
    Place(f"{RESPONDER}._journal", "unreadable", nonsense),
    Place(f"{RESPONDER}._protection", "verify"),
    Place(f"{RESPONDER}._answers", "answer"),
    Place(f"{RESPONDER}._answers", "seal", question),
    Place(f"{CMP}.http", "carried"),
    Place(f"{CMP}.http", "check_operation"),
    Place(f"{CMP}.http", "message_reply"),
    Place(f"{CMP}.responder", "check_version"),
    Place(f"{CMP}.screening", "transaction_id_of"),
    Place(f"{CMP}.responder", "recover_ids", nonsense),
    Place(f"{CMP}.protection", "decode_mac_parameters"),
    Place(f"{CMP}.protection", "derive_mac_key"),
    Place(f"{CMP}.protection", "read_certificate", by_signature),
    Place(f"{CMP}.enrollment", "read_wishes"),
    Place(f"{CMP}.enrollment", "decode_body"),
    Place(f"{CMP}.enrollment", "wanted_by_crmf"),
    Place(f"{CMP}.enrollment", "certification", waiting),
    Place(f"{CMP}.followups", "decode_body", confirmation),
    Place(f"{CMP}.followups", "step_for", confirmation),
    Place(f"{CMP}.answers", "encode_message"),
    Place(f"{CMP}.general", "decode_body", question),
]
PLACES = {
    "doors-of-the-engine": DOORS_OF_THE_ENGINE,
    "ports": PORTS,
    "path-of-issuance": PATH_OF_ISSUANCE,
    "parts-of-the-responder": PARTS_OF_THE_RESPONDER,
}


class Fault:
    """Raises the first time, then gives way to what it stands for."""

    def __init__(self, original: Any) -> None:
        self.original = original
        self.raised = 0

    def __call__(self, *given: Any, **named: Any) -> Any:
        if not self.raised:
            self.raised += 1
            raise RuntimeError(INSIDE)
        return self.original(*given, **named)


@contextmanager
def planted(
    monkeypatch: pytest.MonkeyPatch, desk: Desk, place: Place
) -> Iterator[Fault]:
    owner = place.owner_of(desk)
    with monkeypatch.context() as patch:
        if isinstance(owner, str):
            module = __import__(owner, fromlist=["_"])
            fault = Fault(getattr(module, place.name))
            patch.setattr(module, place.name, fault)
        else:
            fault = Fault(getattr(owner, place.name))
            patch.setattr(_patched(owner, place.name), place.name, fault)
        yield fault


def _patched(owner: Any, name: str) -> Any:
    """The object itself, or its class where it has no room of its own."""
    return owner if hasattr(owner, "__dict__") else type(owner)


@contextmanager
def tracebacks() -> Iterator[list[str]]:
    """What was logged with a traceback."""
    found: list[str] = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            assert event["log_level"] is LogLevel.critical
            found.append(str(event["log_format"]))

    globalLogPublisher.addObserver(observe)
    try:
        yield found
    finally:
        globalLogPublisher.removeObserver(observe)


# --- the doors ------------------------------------------------------------------


def front(responder: Responder) -> HTTPFront:
    keys = ("cmp", "status", "operations")
    routes = (*cmp_routes(), *STATUS_ROUTES, *OPERATIONS_ROUTES)
    return HTTPFront(
        Site(dict.fromkeys(keys, responder), routes),
        now=lambda: START,
        admission=Admission(Clock(), Limits(), has_room=lambda _: True),
        listener=Listener(name="http"),
    )


def over_http(responder: Responder) -> Callable[[bytes], bytes | None]:
    """Ask on one kept connection; None for an answer in words of HTTP."""
    wire = connect(front(responder))

    def ask(octets: bytes) -> bytes | None:
        wire.clear()
        send(wire, post(octets, PATH, "1.1", TYPE))
        (response,) = responses(wire.value())
        assert response.status in {200, 400, 500, 503}
        assert INSIDE.encode() not in wire.value()
        assert not wire.closing
        if response.headers.get("Content-Type") != IN_WORDS_OF_CMP:
            return None
        return response.body

    return ask


def over_tcp(responder: Responder) -> Callable[[bytes], bytes | None]:
    """Ask on one connection, opened again as needed; None when it just closed."""
    clock = Clock()
    factory = CMPTCPFactory(
        responder,
        alias="default",
        admission=Admission(clock, Limits(), has_room=lambda _: True),
        framings=FRAMINGS,
        http=front(responder),
        listener=Listener(name="cmp-tcp"),
    )
    wires = [connect(factory)]

    def ask(octets: bytes) -> bytes | None:
        if wires[-1].closing:
            wires.append(connect(factory))
        wire = wires[-1]
        wire.clear()
        send(wire, encode_request(Framing.TCP_DRAFT, octets))
        assert INSIDE.encode() not in wire.value()
        events = RecordReader().feed(wire.value())
        records = [event for event in events if isinstance(event, Record)]
        assert len(records) == len(events) <= 1
        if not records:
            assert wire.closing, "neither answered nor closed"
            return None
        return records[0].value if records[0].carries_message else None

    return ask


DOORS = pytest.mark.parametrize("door", [over_http, over_tcp])


def surprise(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, place: Place, door: Any
) -> None:
    octets = place.asked(desk)
    ask = door(desk.responder)
    with planted(monkeypatch, desk, place) as fault, tracebacks() as lines:
        body = ask(octets)
    assert fault.raised == 1, f"{place} was not passed"
    assert len(lines) == 1, (place, lines)
    if body is not None and place.asked is not nonsense:
        answer = Answer.read(body)
        assert answer.body_type in {BodyType.ERROR, BodyType.IP}, place
        expected = {FailInfo.SYSTEM_FAILURE}
        if place.asked is by_wrong_mac:
            expected.add(FailInfo.BAD_MESSAGE_CHECK)
        assert answer.fail_info in expected, place
    desk.world.change_alias(approval="automatic")
    again = ask(by_mac(desk))
    assert again is not None, place
    assert Answer.read(again).certificate


def test_there_are_enough_places() -> None:
    found = {(one.owner, one.name) for places in PLACES.values() for one in places}
    assert len(found) >= 30


@pytest.mark.requirement("FLT-28")
@DOORS
@pytest.mark.parametrize("where", PLACES)
def test_a_surprise_ends_one_exchange_with_an_answer_and_one_traceback(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, where: str, door: Any
) -> None:
    for place in PLACES[where]:
        surprise(desk, monkeypatch, place, door)


@pytest.mark.requirement("FLT-28")
@DOORS
def test_a_part_that_stays_broken_is_answered_each_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, door: Any
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(INSIDE)

    ask = door(desk.responder)
    for place in (
        Place(STORE, "commit"),
        Place(STORE, "find_transaction"),
        Place(f"{RESPONDER}._answers", "seal"),
        Place("world.clock", "now"),
    ):
        owner = attrgetter(place.owner)(desk)
        with monkeypatch.context() as patch, tracebacks() as lines:
            patch.setattr(_patched(owner, place.name), place.name, broken)
            for count in range(1, 4):
                ask(by_mac(desk))
                assert len(lines) >= count, place
        again = ask(by_mac(desk))
        assert again is not None, place
        assert Answer.read(again).certificate


@pytest.mark.requirement("FLT-28")
@pytest.mark.parametrize("name", ["latest_crl", "authority_certificate"])
def test_a_surprise_behind_a_status_page_is_answered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pages = {
        "latest_crl": "/crls/issuing.crl",
        "authority_certificate": "/certificates/issuing.cer",
    }
    engine = desk.world.engine
    wire = connect(front(StatusResponder(engine, desk.world.clock)))
    get = f"GET {pages[name]} HTTP/1.1\r\nHost: ca.example\r\n\r\n".encode()
    fault = Fault(getattr(engine, name))
    monkeypatch.setattr(engine, name, fault)
    with tracebacks() as lines:
        send(wire, get)
    (response,) = responses(wire.value())
    assert fault.raised == 1
    assert response.status == 500
    assert INSIDE.encode() not in wire.value()
    assert len(lines) == 1
    assert not wire.closing
    wire.clear()
    send(wire, get)
    assert responses(wire.value())[0].status == 200
