"""The keys of ACME directories, and of looks at identifiers from outside.

Pure data, as `pkid.app.tables`, which brings the keys that every entrance has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.app.kinds import DURATION, TEXT, URL, Flag, ListOf, Text, Whole, choice
from pkid.app.schema import Key, Table
from pkid.engine.aliases import Alias
from pkid.responders.acme.aliases import (
    CHALLENGES,
    EXTERNAL_ACCOUNT,
    IDENTIFIERS,
    ACMEAlias,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSettings:
    """How control of identifiers is looked for.

    :ivar resolvers: "ADDRESS" or "ADDRESS:PORT" of resolvers; empty: the system's.
    :ivar allow, deny: networks ("10.0.0.0/8").
    """

    resolvers: tuple[str, ...] = ()
    http_port: int = 80
    tls_port: int = 443
    timeout: timedelta = timedelta(seconds=30)
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


def _url(text: str) -> object:
    return URL.convert(text) if text else text


_URL: Final = Text("URL without a final slash", _url)
_OWN = (
    Key(
        "url",
        _URL,
        "Base of all URLs of this directory, where clients come by another name than"
        " that of the listener: a proxy in between.",
    ),
    Key(
        "external_account",
        choice(*EXTERNAL_ACCOUNT),
        "Whether a new account needs an external account key (`pkid acme eab`).",
    ),
    Key("challenges", ListOf(choice(*CHALLENGES)), "Challenges that are offered."),
    Key(
        "identifiers",
        ListOf(choice(*IDENTIFIERS), least=1),
        "What may be asked for: names of hosts (`dns`), addresses (`ip`).",
    ),
    Key("single_labels", Flag(), 'Take names of one label, like "printer".'),
    Key("terms_of_service", TEXT, "URL of terms that a new account must agree to."),
    Key("website", TEXT, "URL that the directory shows."),
    Key("caa_identities", ListOf(TEXT), "Names that the directory shows for CAA."),
    Key("require_contact", Flag(), "Whether an account needs an address."),
    Key("order_lifetime", DURATION, "How long an order may take."),
    Key(
        "authorization_lifetime",
        DURATION,
        "How long proven control counts for further orders; `0s`: for one order only.",
    ),
    Key("maximum_identifiers", Whole(1, 100), "Most identifiers in one order."),
    Key("root", Flag(), "Send the root at the end of the chain."),
)
VALIDATION: Final = Table(
    path="validation",
    doc="How control of identifiers is looked for from outside (ACME challenges)."
    " Loopback, link-local and multicast addresses are not connected to unless"
    " `allow` names them.",
    records=(ValidationSettings,),
    keys=(
        Key(
            "resolvers",
            ListOf(TEXT),
            'Resolvers, "ADDRESS" or "ADDRESS:PORT"; empty: those of this system.',
            example='["127.0.0.1:8053"]',
        ),
        Key("http_port", Whole(1, 65535), "Port of http-01."),
        Key("tls_port", Whole(1, 65535), "Port of tls-alpn-01."),
        Key("timeout", DURATION, "For one look, all of it."),
        Key("allow", ListOf(TEXT), "Networks that are connected to in any case."),
        Key("deny", ListOf(TEXT), "Networks that are not connected to."),
    ),
)


def acme_alias_table(entrance: tuple[Key, ...]) -> Table:
    """The table of ACME directories.

    :param entrance: the keys that entrances of every protocol have.
    """
    entrance_fields = {key.field or key.name for key in entrance}
    return Table(
        path="acme.alias.*",
        doc="One ACME directory: the label in the URL. A file that has any"
        " `[acme.alias.*]` replaces all built-in ones. Who asks is an account;"
        " `authenticate` has no meaning here.",
        records=(Alias, ACMEAlias),
        given=(
            "alias",
            *(name for name in Alias.__slots__ if name not in entrance_fields),
        ),
        keys=(*entrance, *_OWN),
    )
