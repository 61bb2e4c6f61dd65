"""The keys of EST entrances.

Pure data, as `pkid.app.tables`, which brings the keys that every entrance has.
"""

from __future__ import annotations

from pkid.app.kinds import DURATION, TEXT, Flag, ListOf, Optional, choice
from pkid.app.schema import Key, Table
from pkid.engine.aliases import Alias
from pkid.responders.est.aliases import (
    BASE64,
    BINDINGS,
    CSR_ATTRIBUTES,
    HTTP_SCHEMES,
    ESTAlias,
)

_OWN = (
    Key(
        "http_authentication",
        ListOf(choice(*HTTP_SCHEMES)),
        "How a client without a usable certificate gives user and password (`pkid"
        " secret add --kind enrollment-code`), in the order in which it is offered."
        " Needs `mac` in `authenticate`. MD5 is for libest alone.",
    ),
    Key(
        "both",
        Flag(),
        "Certificate and password together; neither is enough alone.",
    ),
    Key(
        "binding",
        choice(*BINDINGS),
        "challengePassword of a request: `verify` holds it to the TLS connection"
        " (tls-unique, tls-exporter) when it is there, `require` demands it, `secret`"
        " takes it for a SCEP challenge where neither certificate nor password says"
        " who asks, `ignore` lets anything stand there.",
    ),
    Key(
        "base64",
        choice(*BASE64),
        "Lines of answers. `auto` sends one line to clients that name no User-Agent"
        " and no Accept (strongSwan before 5.9.11), and wrapped lines to others.",
    ),
    Key(
        "transfer_encoding",
        Flag(),
        "Send Content-Transfer-Encoding, which RFC 8951 has no use for and Bouncy"
        " Castle cannot do without.",
    ),
    Key(
        "strict_content_type",
        Flag(),
        "Refuse requests of another media type (415). curl sends one of its own unless"
        " told otherwise.",
    ),
    Key(
        "missing_names",
        choice("copy", "refuse"),
        "A renewal that leaves out the alternative names of its certificate: `copy`"
        " them, or `refuse` it. strongSwan leaves them out.",
    ),
    Key(
        "change_names",
        Flag(),
        "Whether a renewal may ask for other names (ChangeSubjectName, RFC 6402).",
    ),
    Key(
        "sha1_possession",
        Flag(),
        "Take SHA-1 in the self-signature of a request, for old devices.",
    ),
    Key("chain", Flag(), "Send the CA certificates behind the new certificate too."),
    Key(
        "csr_attributes",
        choice(*CSR_ATTRIBUTES),
        "What /csrattrs says: `off` nothing, `legacy` a list of names (RFC 7030),"
        " `extensions` values too (RFC 9908 section 3.2), `template` all that and the"
        " template of RFC 9908.",
    ),
    Key(
        "server_key",
        choice("request", "profile"),
        "With `key_generation`, /serverkeygen makes a key of the kind that the"
        " `request` has, or the first that the `profile` lists.",
    ),
    Key(
        "encrypted_keys",
        Flag(),
        "Refuse to send private keys in TLS alone: the request must name a key to"
        " encrypt to.",
    ),
    Key(
        "full_cmc",
        Flag(),
        "Answer /fullcmc: many requests in one message, CRMF, revocation.",
    ),
    Key(
        "peers",
        ListOf(TEXT),
        "End entities whose certificates /eecerts hands out to anybody: those that the"
        " clients of this entrance talk to (RFC 8295).",
    ),
    Key(
        "retry_after",
        Optional(DURATION),
        "When a waiting client is told to ask again; left out: as the approval rule"
        " says.",
        example='"1m"',
    ),
)


def est_alias_table(entrance: tuple[Key, ...]) -> Table:
    """The table of EST entrances.

    :param entrance: the keys that entrances of every protocol have.
    """
    entrance_fields = {key.field or key.name for key in entrance}
    return Table(
        path="est.alias.*",
        doc="One EST entrance: the label in the URL. A file that has any"
        " `[est.alias.*]` replaces all built-in ones.",
        records=(Alias, ESTAlias),
        # What the engine knows of other protocols' entrances alone is not set here.
        given=(
            "alias",
            *(name for name in Alias.__slots__ if name not in entrance_fields),
        ),
        keys=(*entrance, *_OWN),
    )
