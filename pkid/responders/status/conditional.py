"""Conditional GET: entity tags and dates.

**Source:** RFC 9110 sections 8.8, 13.1 and 15.4.5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from pkid.responders.base import Exchange, Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """Something to be fetched.

    :ivar tag: entity tag without its quotes; another one for other octets.
    :ivar modified: aware; whole seconds count.
    :ivar max_age: how long a cache may give it out unasked, in seconds.
    """

    octets: bytes = field(repr=False)
    media_type: str
    tag: str
    modified: datetime
    max_age: int


def reply_to(exchange: Exchange, found: Representation) -> Reply:
    """The representation, or 304 when the client has it already."""
    headers = (
        ("ETag", f'"{found.tag}"'),
        ("Last-Modified", http_date(found.modified)),
        ("Cache-Control", f"public, max-age={found.max_age}"),
    )
    if _is_current(exchange, found):
        return Reply(status=304, content_type=found.media_type, headers=headers)
    return Reply(body=found.octets, content_type=found.media_type, headers=headers)


def http_date(moment: datetime) -> str:
    """A moment as HTTP writes it."""
    return format_datetime(moment.astimezone(UTC).replace(microsecond=0), usegmt=True)


def is_tag_current(exchange: Exchange, tag: str) -> bool:
    """Whether the client says that it has what has this entity tag."""
    given = exchange.headers.get("if-none-match")
    if given is None or not tag:
        return False
    tags = [one.strip().removeprefix("W/") for one in given.split(",")]
    return "*" in tags or f'"{tag}"' in tags


def _is_current(exchange: Exchange, found: Representation) -> bool:
    if "if-none-match" in exchange.headers:
        # The date is not looked at when there is a tag (RFC 9110 section 13.1.3).
        return is_tag_current(exchange, found.tag)
    since = _moment(exchange.headers.get("if-modified-since"))
    return since is not None and found.modified.replace(microsecond=0) <= since


def _moment(text: str | None) -> datetime | None:
    """A date of HTTP; what is none counts as absent."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
