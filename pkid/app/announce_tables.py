"""The keys of what is announced by CMP, and to whom.

Pure data, as `pkid.app.tables`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pkid.app.kinds import SECONDS, TEXT, ListOf, Refused, Text, choice
from pkid.app.schema import Key, Table
from pkid.responders.cmp.announcing import ANNOUNCED
from pkid.transports.cmpclient import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementSettings:
    """What the file says of one group of recipients."""

    name: str
    urls: tuple[str, ...]
    authorities: tuple[str, ...]
    contents: tuple[str, ...] = ANNOUNCED
    timeout_seconds: float = 10.0
    rest_seconds: float = 5.0
    most_rest_seconds: float = 300.0


def _target(text: str) -> str:
    try:
        scheme = Target.decode(text).scheme
    except ValueError as error:
        raise Refused(str(error)) from None
    if scheme != "http":
        raise Refused("announcements go to http:// URLs: what they hold is public")
    return text


_TARGET: Final = Text("URL: http://HOST:PORT/PATH", _target, empty=False)

ANNOUNCEMENT: Final = Table(
    path="cmp.announce.*",
    doc="Where our CAs announce new CRLs and new root keys by CMP (RFC 9811).",
    records=(AnnouncementSettings,),
    given=("name",),
    keys=(
        Key(
            "urls",
            ListOf(_TARGET, least=1),
            "Recipients. Each gets every announcement, again and again until it says"
            " 201.",
            example='["http://directory.example.com/.well-known/cmp"]',
        ),
        Key(
            "authorities",
            ListOf(TEXT, least=1),
            "CAs whose news is announced; each signs with its CMP signer.",
            example='["issuing"]',
        ),
        Key(
            "contents",
            ListOf(choice(*ANNOUNCED), least=1),
            "What is announced: new CRLs (`crlann`), the successor of the root key"
            " (`ckuann`).",
        ),
        Key(
            "timeout",
            SECONDS,
            "For one announcement, from connecting to the last octet.",
            field="timeout_seconds",
        ),
        Key(
            "rest",
            SECONDS,
            "How long a recipient that failed is left alone; doubled each time.",
            field="rest_seconds",
        ),
        Key("most_rest", SECONDS, "The longest such rest.", field="most_rest_seconds"),
    ),
)
