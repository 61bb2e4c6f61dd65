"""Messages that are good at both levels, and differ in one point when told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pkid.asn1.names import GeneralName, Name
from pkid.messages.cmp.body import Body, BodyType
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)

NAMED = GeneralName.directory(Name.from_text("CN=ref"))
HOLDER = "CN=holder"

#: Makes a message that differs from a good one in one point.
Bent = Callable[[Desk], Sent]


def by_mac(**changes: Any) -> ByMAC:
    """A secret whose reference is the sender's common name."""
    return ByMAC(**({"sender": NAMED} | changes))


def holder(desk: Desk, subject: str = HOLDER) -> BySignature:
    """Someone with a certificate of this PKI, enrolled at the tolerant level."""
    level = desk.settings.pop("conformance", "rfc")
    found = desk.holder(by_mac(), subject=subject)
    desk.settings["conformance"] = level
    return found


def sent(
    desk: Desk,
    body_type: BodyType | int = BodyType.IR,
    body: Body | bytes | None = None,
    by: By | None = None,
    **header: Any,
) -> Sent:
    """A good message; ``header`` bends it."""
    fields: dict[str, Any] = {"message_time": desk.world.clock.now()}
    fields.update(header)
    subject = "CN=device-1" if not isinstance(by, BySignature) else HOLDER
    wanted = body or cert_requests(signed_request(new_key(), subject))
    return message(body_type, wanted, by or by_mac(), **fields)


def followed(
    desk: Desk,
    answer: Answer,
    body_type: BodyType,
    body: Body,
    by: By | None = None,
    **header: Any,
) -> Sent:
    """A good next message of a transaction."""
    fields: dict[str, Any] = {"message_time": desk.world.clock.now()}
    fields.update(header)
    return follow(answer, body_type, body, by or by_mac(), **fields)


def refused(desk: Desk, wrong: Sent) -> Answer:
    """The answer to a message; it may be signed where the secret counts no more."""
    return Answer.read(desk.reply(wrong.octets).body)
