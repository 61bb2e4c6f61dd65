"""The keys of a CA elsewhere, before which entrances of CMP may stand.

Pure data, as `pkid.app.tables`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pkid.app.kinds import (
    DURATION,
    KEY_SPEC,
    PATH,
    REFERENCE,
    SECONDS,
    TEXT,
    Flag,
    ListOf,
    Refused,
    Text,
    Whole,
    choice,
)
from pkid.app.schema import Key, Table
from pkid.transports.cmpclient import Target
from pkid.transports.cmptcp import FRAMINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """What the file says of one CA elsewhere; paths and references not yet read."""

    name: str
    urls: tuple[str, ...]
    enrolment_urls: tuple[str, ...] = ()
    framing: str = "draft"
    timeout_seconds: float = 10.0
    rest_seconds: float = 5.0
    most_rest_seconds: float = 300.0
    trust: tuple[str, ...] = ()
    key: str = "ec:P-256"
    subject: str = ""
    reference: str = ""
    secret: str = ""
    certificate: str = ""
    send_original: bool = False
    always_raverified: bool = False
    retry: timedelta = timedelta(seconds=10)
    poll_after: timedelta = timedelta(seconds=15)
    hold: timedelta = timedelta(days=2)
    most_held: int = 10_000


def _target(text: str) -> str:
    try:
        Target.decode(text)
    except ValueError as error:
        raise Refused(str(error)) from None
    return text


TARGET = Text("URL: http://, https://, tcp:// or tls://", _target, empty=False)

UPSTREAM = Table(
    path="cmp.upstream.*",
    doc="A CA elsewhere that CMP entrances stand before (`upstream` of the alias).",
    records=(UpstreamSettings,),
    given=("name",),
    keys=(
        Key(
            "urls",
            ListOf(TARGET, least=1),
            "Where it is reached, in order of preference: they lead to one and the same"
            " CA. `tcp` is CMP's raw TCP, `tls` the same inside TLS.",
            example='["http://ca.example.com/.well-known/cmp/p/ra"]',
        ),
        Key(
            "enrolment_urls",
            ListOf(TARGET),
            "Where our own certificate is asked for, when that is another entrance of"
            " the CA; empty: the same.",
        ),
        Key("framing", choice(*FRAMINGS), "Records over `tcp` and `tls`."),
        Key(
            "timeout",
            SECONDS,
            "For one exchange with one server, from connecting to the last octet.",
            field="timeout_seconds",
        ),
        Key(
            "rest",
            SECONDS,
            "How long a server that failed is not asked; doubled each time.",
            field="rest_seconds",
        ),
        Key("most_rest", SECONDS, "The longest such rest.", field="most_rest_seconds"),
        Key(
            "trust",
            ListOf(PATH),
            "PEM or DER files of the roots that its signatures, and the names of its"
            " TLS servers, may rest upon. Needed for `https`, `tls` and for the modes"
            " `protect` and `reprotect`.",
        ),
        Key(
            "key",
            KEY_SPEC,
            "Kind of our own key toward it, made here at first use.",
        ),
        Key(
            "subject",
            TEXT,
            "Name (RFC 4514) of our certificate of its PKI, which it must give the"
            " extended key usage cmcRA.",
        ),
        Key(
            "reference",
            TEXT,
            "Reference value under which our first certificate is asked for by CMP.",
        ),
        Key("secret", REFERENCE, "Reference to the secret that belongs to it."),
        Key(
            "certificate",
            PATH,
            "PEM file of our certificate and those above it, when it is brought"
            " instead: the request for it lies in `upstream/NAME.csr` of the state"
            " directory.",
        ),
        Key(
            "send_original",
            Flag(),
            "`reprotect`: send the device's own message along (origPKIMessage).",
        ),
        Key(
            "always_raverified",
            Flag(),
            "`reprotect`: say raVerified also where the device's proof of possession"
            " still stands.",
        ),
        Key("retry", DURATION, "How long after a failure what waits is sent again."),
        Key("poll_after", DURATION, "When a device that waits is told to ask again."),
        Key("hold", DURATION, "How long at most a request waits."),
        Key("most_held", Whole(1, 1_000_000), "How many requests may wait at a time."),
    ),
)
