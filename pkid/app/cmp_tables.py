"""The keys of CMP entrances.

Pure data, as `pkid.app.tables`, which brings the keys that every entrance has.
"""

from __future__ import annotations

from typing import Final

from pkid.app.kinds import (
    DURATION,
    IDENTIFIER_KIND,
    TEXT,
    Flag,
    ListOf,
    Optional,
    Whole,
    choice,
)
from pkid.app.presets import KEY as PRESET_KEY
from pkid.app.presets import PRESETS
from pkid.app.schema import Key, Table
from pkid.engine.aliases import Alias
from pkid.responders.cmp.aliases import (
    CONFORMANCE,
    QUIRKS,
    RESPONSE_PROTECTION,
    SIGNERS,
    UPSTREAM_MODES,
    CMPAlias,
)

NAMES: Final = ListOf(IDENTIFIER_KIND)


PRESET: Final = Key(
    PRESET_KEY,
    choice("", *PRESETS),
    "Defaults for a kind of equipment, listed below; keys of the file win.",
)
CMP_KEYS: Final = (
    Key(
        "conformance",
        choice(*CONFORMANCE),
        "`rfc`: RFC 9810, tolerant, as old clients need it. `lcmpp`: every rule"
        " of the lightweight profile (RFC 9483) too.",
    ),
    Key("implicit_confirm", Flag(), "Grant implicit confirmation when asked."),
    Key(
        "confirm_wait",
        DURATION,
        "How long a client may take to confirm; then the certificate is revoked.",
    ),
    Key(
        "message_time_window",
        Optional(DURATION),
        "How far a message's time may be off; left out: not checked.",
        example='"5m"',
    ),
    Key("allow_sha1", Flag(), "Accept SHA-1 in signatures of messages."),
    Key(
        "response_protection",
        choice(*RESPONSE_PROTECTION),
        "Protect answers as the request was, always by signature, or always by a"
        " MAC from the CA's KEM key.",
    ),
    Key(
        "signer",
        choice(*SIGNERS),
        "Whose key signs answers: `own`, one made for messages, or the"
        " `authority`'s, whose certificate should then allow digitalSignature.",
    ),
    Key(
        "unprotected_requests",
        Flag(),
        "Accept requests without any protection, from anybody who reaches the"
        " listener: only with an approval rule, or where the network itself"
        " tells who asks.",
    ),
    Key(
        "kem",
        Flag(),
        "Accept MACs from KEM keys: of clients with KEM certificates of this PKI,"
        " and of the CA itself, which then gets a KEM certificate.",
    ),
    Key(
        "agreement",
        Flag(),
        "Accept MACs from Diffie-Hellman keys (P-256): the CA then gets a key"
        " agreement certificate.",
    ),
    Key("fresh_salt", Flag(), "A fresh salt in each MAC-protected answer."),
    Key(
        "maximum_iterations",
        Whole(100, 100_000),
        "Most iterations that a MAC may ask for.",
    ),
    Key("tcp_polling", Flag(), "Offer polling at the level of TCP records."),
    Key("ca_pubs", Flag(), "Send the root as caPubs in an initial answer."),
    Key("extra_certs_root", Flag(), "Send the root among extraCerts."),
    Key(
        "several_requests",
        Flag(),
        "Take messages that ask for more than one certificate.",
    ),
    Key(
        "poll_after",
        Optional(DURATION),
        "When a waiting client is told to ask again; left out: as the approval"
        " rule says.",
        example='"30s"',
    ),
    Key(
        "encrypted_value",
        Flag(),
        "Answer clients of version 2 with `EncryptedValue`, deprecated, where a"
        " certificate or a key must be encrypted; else they need version 3.",
    ),
    Key(
        "key_transport",
        choice("oaep", "pkcs1"),
        "How content keys are encrypted to RSA keys.",
    ),
    Key(
        "registration_token",
        Flag(),
        "Take an unprotected ir, cr or p10cr whose body has the secret: regToken,"
        " or challengePassword of a PKCS #10. `name_rule` makes the secret's"
        " reference of the subject. The secret travels as it is: use TLS, and"
        " secrets for one use.",
    ),
    Key(
        "profile_by_reference",
        Flag(),
        "The reference value of a shared secret names the certificate profile"
        " (which must be among `profiles`), as EJBCA's KeyId does.",
    ),
    Key(
        "cross_certify",
        NAMES,
        "CAs of other PKIs that are certified here by ccr, as `[vendor.*]` with"
        " the CA's certificate as its anchor. Nobody else asks here then, and the"
        " certificate profile is one of a CA.",
    ),
    Key(
        "reference_by_subject",
        Flag(),
        "`name_rule` makes the reference of the shared secret of the subject asked for,"
        " whatever senderKID says, as in EJBCA's client mode.",
    ),
    Key("raverified", Flag(), "Accept raVerified from listed authorities."),
    Key("quirks", ListOf(choice(*QUIRKS), frozenset), "Leniencies, by name."),
    Key(
        "upstream",
        TEXT,
        "Name of the CA elsewhere (`[cmp.upstream.*]`) that this entrance stands"
        " before; empty: certificates are issued here. `authority` may then be left"
        " out: certificates are recorded under the name of that CA.",
    ),
    Key(
        "upstream_mode",
        choice(*UPSTREAM_MODES),
        "`forward`: messages pass as they are. `protect`: each goes on inside a"
        " message signed by us. `reprotect`: each is verified here, and what it"
        " asks goes on under our own signature.",
    ),
    Key(
        "upstream_verify",
        Flag(),
        "`forward` and `protect`: verify here too who sent a message, by `authenticate`"
        " of this entrance, before it goes on. What devices use must be known here.",
    ),
)


def cmp_alias_table(entrance: tuple[Key, ...]) -> Table:
    """The table of CMP entrances.

    :param entrance: the keys that every entrance has.
    """
    return Table(
        path="cmp.alias.*",
        doc="One CMP entrance: the label in the URL, or the alias of a TCP listener. A"
        " file that has any `[cmp.alias.*]` replaces all built-in ones.",
        records=(Alias, CMPAlias),
        given=("name", "protocol", "alias", "sha1_possession", "change_names"),
        keys=(PRESET, *entrance, *CMP_KEYS),
    )
