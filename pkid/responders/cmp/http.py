"""CMP over HTTP: method, media type, operation label, TCP records in bodies.

**Source:** RFC 9811 sections 3 and 4; RFC 9483 sections 6.1 and 6.4; RFC 2510 section
5.2 for records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.framing import (
    Framing,
    Record,
    RecordReader,
    RecordType,
    encode_nothing,
    encode_poll_rep,
    encode_response,
)
from pkid.responders.base import Exchange, Reply
from pkid.responders.cmp.requests import Answered

MEDIA_TYPE: Final = "application/pkixcmp"
POLL_MEDIA_TYPE: Final = "application/pkixcmp-poll"
TRANSPORT: Final = "http"
TCP_POLL: Final = "tcp-poll"

# No type at all is what QuickSec sends; the x- form comes from old toolkits.
_ACCEPTED_TYPES: Final = frozenset(
    ("", MEDIA_TYPE, "application/x-pkixcmp", POLL_MEDIA_TYPE)
)
_NO_CACHE: Final = (("Cache-Control", "no-cache"), ("Pragma", "no-cache"))
_FRAMED: Final = frozenset((Framing.RFC2510, Framing.TCP_DRAFT))

#: Which body the first message to an operation's path must have.
OPERATIONS: Final[dict[str, BodyType]] = {
    "initialization": BodyType.IR,
    "ir": BodyType.IR,
    "certification": BodyType.CR,
    "cr": BodyType.CR,
    "keyupdate": BodyType.KUR,
    "kur": BodyType.KUR,
    "pkcs10": BodyType.P10CR,
    "p10": BodyType.P10CR,
    "p10cr": BodyType.P10CR,
    "revocation": BodyType.RR,
    "rr": BodyType.RR,
    "ccr": BodyType.CCR,
    "genm": BodyType.GENM,
    "getcacerts": BodyType.GENM,
    "crts": BodyType.GENM,
    "getrootupdate": BodyType.GENM,
    "rcu": BodyType.GENM,
    "getcertreqtemplate": BodyType.GENM,
    "att": BodyType.GENM,
    "getcrls": BodyType.GENM,
    "crls": BodyType.GENM,
    "nested": BodyType.NESTED,
    "nest": BodyType.NESTED,
    "certconf": BodyType.CERT_CONF,
    "popdecr": BodyType.POPDECR,
}
# What goes on with a transaction may come to any path of its alias.
_ANYWHERE: Final = frozenset(
    (
        BodyType.CERT_CONF,
        BodyType.POLL_REQ,
        BodyType.POPDECR,
        BodyType.ERROR,
        BodyType.PKICONF,
    )
)


@dataclass(frozen=True, slots=True)
class Carried:
    """What an exchange carries, out of its HTTP or TCP dress.

    :ivar octets: the message, or a polling reference.
    :ivar polls: whether it is a polling reference.
    :ivar record: the TCP record found in an HTTP body; answered in kind.
    """

    octets: bytes
    polls: bool
    over_tcp: bool
    record: Record | None = None


def refuse_http(exchange: Exchange) -> Reply | None:
    """What HTTP itself has to say against an exchange, None when nothing."""
    if exchange.method != "POST":
        return plain(405, "CMP messages are sent by POST", ("Allow", "POST"))
    given = exchange.headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() not in _ACCEPTED_TYPES:
        return plain(415, f"the media type of CMP is {MEDIA_TYPE}")
    return None


def carried(exchange: Exchange) -> Carried:
    """Take an exchange out of its dress.

    A QuickSec client posts TCP records to http URLs: they are told by their first
    octet, which no message has.
    """
    if exchange.transport != TRANSPORT:
        return Carried(exchange.body, exchange.operation == TCP_POLL, over_tcp=True)
    record = _record(exchange.body)
    if record is None:
        return Carried(exchange.body, polls=False, over_tcp=False)
    polls = record.type is RecordType.POLL_REQ
    return Carried(record.value, polls, over_tcp=True, record=record)


def _record(body: bytes) -> Record | None:
    if body[:1] == b"\x30" or not body:
        return None
    reader = RecordReader(accepted=_FRAMED)
    events = reader.feed(body)
    if len(events) != 1 or reader.pending:
        return None
    event = events[0]
    if not isinstance(event, Record):
        return None
    asks = event.carries_message or event.type is RecordType.POLL_REQ
    return event if asks else None


def check_operation(operation: str, body_type: BodyType) -> None:
    """Check that a first message came to the path of its operation.

    :raises PKIError: ``BAD_REQUEST``.

    **Source:** RFC 9483 section 6.1.
    """
    if not operation or body_type in _ANYWHERE:
        return
    if OPERATIONS.get(operation.lower()) is not body_type:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "the message is not of the operation in the URL"
        )


def message_reply(octets: bytes, status: int = 200) -> Reply:
    """A message on its way back: the exact media type, never cached."""
    return Reply(body=octets, status=status, content_type=MEDIA_TYPE, headers=_NO_CACHE)


def record_reply(answered: Answered, record: Record) -> Reply:
    """The answer as a TCP record in an HTTP body, in the request's framing."""
    framing, close = record.framing, record.close
    ticket = answered.ticket
    if ticket is not None:
        check_at = int(ticket.check_at.timestamp())
        octets = encode_poll_rep(framing, ticket.reference, check_at, close=close)
    elif answered.octets:
        octets = encode_response(framing, answered.octets, close=close)
    else:
        octets = encode_nothing(framing, close=close)
    return Reply(body=octets, content_type=POLL_MEDIA_TYPE, headers=_NO_CACHE)


def plain(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    """A short answer in words of HTTP."""
    return Reply(
        body=text.encode("ascii") + b"\n",
        status=status,
        content_type="text/plain",
        headers=headers,
    )
