"""A CMP responder on a whole engine, and short ways to ask it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred

from pkid.engine.aliases import Authentication, VendorTrust
from pkid.engine.credentials import NewSecret
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CredentialKind,
    EndEntity,
    EntityStatus,
)
from pkid.messages.cmp.body import BodyType
from pkid.responders.base import Exchange, Peer, Reply
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.responder import CMPResponder
from tests.engine.world import CMP, OPERATOR, InlineWorkers, World, result_of
from tests.responders.peers import (
    IMPLICIT,
    SECRET,
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    message,
    new_key,
    oracle_of,
    signed_request,
)

P = ParamSpec("P")
R = TypeVar("R")
MEDIA_TYPE = "application/pkixcmp"
LOCAL = Peer(address="127.0.0.1", listener="http")


class CountingWorkers(InlineWorkers):
    """Does at once what would wait for its turn, and counts it."""

    def __init__(self) -> None:
        self.runs = 0
        self.paced = 0

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        self.runs += 1
        return super().run(function, *args, **kwargs)

    def pace(self, steps: Generator[None, None, R]) -> Deferred[R]:
        self.paced += 1
        return super().pace(steps)


class Desk:
    """The responder under test."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.settings: dict[str, Any] = {}
        self.workers = CountingWorkers()
        self.open()

    def open(self) -> None:
        self.responder = CMPResponder(
            self.world.engine,
            lambda: {"default": CMPAlias(alias=self.world.alias, **self.settings)},
            policies=lambda: self.world.policies,
            clock=self.world.clock,
            workers=self.workers,
        )

    def restart(self) -> None:
        """Everything in memory is gone."""
        self.world.restart()
        self.open()

    def secret(self, reference: str = "ref", **fields: Any) -> None:
        new = NewSecret(
            kind=CredentialKind.CMP_SECRET,
            reference=reference,
            secret=fields.pop("secret", SECRET),
            **fields,
        )
        result_of(self.world.engine.administration.add_secret(new, OPERATOR, CMP))

    # --- asking ------------------------------------------------------------------

    def exchange(self, octets: bytes, **fields: Any) -> Exchange:
        values: dict[str, Any] = {
            "transport": "http",
            "alias": "default",
            "method": "POST",
            "headers": {"content-type": "application/pkixcmp"},
            "peer": LOCAL,
        }
        values.update(fields)
        return Exchange(body=octets, **values)

    def reply(self, octets: bytes, **fields: Any) -> Reply:
        reply = result_of(self.responder.respond(self.exchange(octets, **fields)))
        if reply.body and reply.content_type == MEDIA_TYPE:
            oracle_of(reply.body)
        return reply

    def ask(self, sent: Sent, **fields: Any) -> Answer:
        """The answer, its ids and its protection checked."""
        reply = self.reply(sent.octets, **fields)
        assert reply.status == 200
        assert reply.content_type == "application/pkixcmp"
        answer = Answer.read(reply.body)
        header = answer.header
        assert header.recip_nonce == sent.sender_nonce
        assert header.sender_nonce is not None
        assert len(header.sender_nonce) == 16
        assert header.message_time == self.world.clock.now().replace(microsecond=0)
        if sent.transaction_id is not None:
            assert header.transaction_id == sent.transaction_id
        if answer.is_signed:
            answer.check_signature()
        else:
            assert isinstance(sent.by, ByMAC)
            answer.check_mac(sent.by.secret)
            assert header.sender_kid == sent.by.reference
        return answer

    def enroll(
        self,
        by: By | None = None,
        *,
        body_type: BodyType = BodyType.IR,
        key: Any = None,
        subject: str = "CN=device-1,O=pkid test",
        implicit: bool = False,
        **request: Any,
    ) -> Answer:
        """Ask for a certificate."""
        wanted = signed_request(key or new_key(), subject, **request)
        header = {"general_info": (IMPLICIT,)} if implicit else {}
        return self.ask(
            message(body_type, cert_requests(wanted), by or ByMAC(), **header)
        )

    def holder(self, by: By | None = None, subject: str = "CN=device-1") -> BySignature:
        """Someone with a certificate of this PKI."""
        key = new_key()
        answer = self.enroll(by, key=key, subject=subject, implicit=True)
        return BySignature(answer.certificate, key)

    # --- what is known -----------------------------------------------------------

    def record(self, certificate: bytes) -> CertificateRecord:
        serial = BySignature(certificate, new_key()).parsed.serial_number
        reference = CertificateReference("issuing", serial)
        found = result_of(self.world.engine.find_certificate(reference))
        assert found is not None
        return found

    def count(self) -> int:
        """How many certificates of devices there are."""
        from pkid.engine.ports import CertificateQuery

        query = CertificateQuery(authority="issuing", limit=1000)
        found = result_of(self.world.engine.search_certificates(query))
        return sum(record.profile == "device" for record in found)

    # --- circumstances -----------------------------------------------------------

    def needs_approval(self, rule: str = "operator") -> None:
        self.world.change_alias(approval=rule)

    def approve(self, actor: str = "uid:1001") -> None:
        for waiting in result_of(self.world.store.list_approvals()):
            result_of(
                self.world.engine.administration.approve(waiting.id, actor, "", CMP)
            )

    def reject(self, note: str = "") -> None:
        for waiting in result_of(self.world.store.list_approvals()):
            result_of(
                self.world.engine.administration.reject(
                    waiting.id, "uid:1001", note, CMP
                )
            )

    def trust_vendor(self, anchor: bytes) -> None:
        vendor = VendorTrust(name="acme", anchors=(anchor,))
        self.world.policies = replace(self.world.policies, vendors={"acme": vendor})
        self.world.change_alias(
            vendors=("acme",),
            authenticate=frozenset(Authentication),
        )

    def allow_unit(self, unit: str, name: str = "station-1") -> None:
        entity = EndEntity(
            name=name,
            status=EntityStatus.NEW,
            created=self.world.clock.now(),
            subject=f"CN={name}",
            vendor=f"acme|{unit}",
        )
        result_of(self.world.engine.administration.add_entity(entity, OPERATOR, CMP))


def make_template(directory: Path) -> None:
    """The state of a first start with one shared secret, to be copied."""
    world = World(directory)
    try:
        world.first_start()
        Desk(world).secret()
    finally:
        world.close()


@contextmanager
def desk_in(directory: Path) -> Iterator[Desk]:
    """A responder on a copy of the template."""
    world = World(directory)
    desk = Desk(world)
    try:
        result_of(world.engine.prepare_message_identity("issuing", CMP))
        yield desk
    finally:
        desk.world.close()
