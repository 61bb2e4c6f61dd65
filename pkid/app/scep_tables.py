"""The keys of SCEP entrances, and of the services that know challenges.

Pure data, as `pkid.app.tables`, which brings the keys that every entrance has.
"""

from __future__ import annotations

from typing import Final

from pkid.app.kinds import (
    DURATION,
    KEY_SPEC,
    REFERENCE,
    TEXT,
    URL_WITH_PATH,
    Flag,
    ListOf,
    Optional,
    Text,
    Whole,
    choice,
    member,
)
from pkid.app.schema import Key, Table
from pkid.app.settings import ValidatorSettings
from pkid.engine.aliases import Alias
from pkid.engine.exchange import ExchangeKind
from pkid.responders.scep.aliases import (
    CA_CERTIFICATES,
    INCLUDE_CHAIN,
    UNKNOWN_REQUESTERS,
    UPDATE_REQUESTS,
    SCEPAlias,
)

VALIDATOR_KINDS: Final = ("webhook", "intune")


def _url(text: str) -> object:
    return URL_WITH_PATH.convert(text) if text else text


_URL: Final = Text("URL", _url)

_OWN: Final = (
    Key(
        "identity",
        member(ExchangeKind),
        "How the CA speaks: through an RSA certificate of its own that signs and"
        " decrypts (`ra`), through a `pair` of them as NDES does, or itself (`ca`,"
        " when its key is RSA and its certificate has the key usages"
        " digitalSignature and keyEncipherment).",
    ),
    Key("identity_key", KEY_SPEC, "Kind of the RA's keys, RSA."),
    Key(
        "static_challenge",
        Flag(),
        "Accept challenges that may be used any number of times by whoever knows"
        " them. Insecure: one device that leaks it opens the entrance to all names"
        " that the profiles allow.",
    ),
    Key(
        "unknown_requesters",
        choice(*UNKNOWN_REQUESTERS),
        "A request without a challenge is refused, or waits for an approver (`pend`,"
        " with an approval rule).",
    ),
    Key(
        "update_requests",
        choice(*UPDATE_REQUESTS),
        "messageType 18 of old drafts: refuse it, or take it for a renewal (17), with"
        " all of its checks.",
    ),
    Key(
        "validator",
        TEXT,
        "Service that knows the challenges (`[validator.*]`); empty: they are minted"
        " here (`pkid scep challenge`).",
    ),
    Key("allow_sha1", Flag(), "Accept SHA-1 in messages, and answer in it."),
    Key("allow_md5", Flag(), "Accept MD5 in messages; the answer uses SHA-1."),
    Key("allow_des3", Flag(), "Accept triple DES, and answer in it."),
    Key("allow_des", Flag(), "Accept single DES, and answer in it."),
    Key(
        "capabilities",
        ListOf(TEXT),
        "Lines of GetCACaps instead of those that follow from the other keys.",
    ),
    Key(
        "ca_certificates",
        choice(*CA_CERTIFICATES),
        "What GetCACert gives: RA and the CA's whole `chain`, without its root, or"
        " the `ra` alone.",
    ),
    Key(
        "include_chain",
        choice(*INCLUDE_CHAIN),
        "What stands beside the issued certificate: nothing, its issuer, or the full"
        " chain. Cisco's VPN client needs the issuer, Juniper forbids it.",
    ),
    Key("include_signer", Flag(), "Send the RA certificate with each answer."),
    Key("sort_certificates", Flag(), "Put certificates in DER order, not ours first."),
    Key(
        "empty_content",
        Flag(),
        "PENDING and FAILURE carry an empty content. RFC 8894 leaves it out, but"
        " OpenSSL's clients (certmonger) cannot verify a signature over nothing.",
    ),
    Key("fail_info_text", Flag(), "Say in words why a request was refused."),
    Key(
        "signing_time_window",
        Optional(DURATION),
        "How far a message's signingTime may be off; left out: not looked at.",
        example='"1h"',
    ),
    Key(
        "signature_profile",
        TEXT,
        "Certificate profile of requests whose key usage is to sign only; one of"
        " `profiles`.",
    ),
    Key(
        "encryption_profile",
        TEXT,
        "Certificate profile of requests whose key usage is to encrypt only; one of"
        " `profiles`.",
    ),
    Key(
        "ndes",
        Flag(),
        "Serve the page of challenges at `/certsrv/mscep_admin/`, to who has a user"
        " and password of kind `ndes` (`pkid secret add`). Over HTTPS, or from this"
        " host.",
    ),
    Key("ndes_validity", DURATION, "How long a challenge of that page lives."),
    Key(
        "ndes_outstanding",
        Whole(1, 1_000_000),
        "How many challenges of that page may wait for their use.",
    ),
)
VALIDATOR: Final = Table(
    path="validator.*",
    doc="A service elsewhere that knows SCEP challenges. Whatever it does not answer"
    " with a plain yes refuses the request.",
    records=(ValidatorSettings,),
    given=("name",),
    keys=(
        Key(
            "kind",
            choice(*VALIDATOR_KINDS),
            "`webhook`: JSON by POST to `url`. `intune`: Microsoft Intune.",
        ),
        Key("url", _URL, "Of a webhook."),
        Key(
            "secret",
            REFERENCE,
            "Reference to the key that signs calls of a webhook (HMAC-SHA256 in"
            " `X-Pkid-Signature`), or to the client secret of the Intune application.",
        ),
        Key("timeout", DURATION, "For one call, from first to last."),
        Key("tenant", TEXT, "Intune: the tenant's id or domain."),
        Key("application", TEXT, "Intune: the application's (client) id."),
        Key(
            "login_url",
            URL_WITH_PATH,
            "Intune: where tokens come from; only other clouds differ.",
        ),
        Key("graph_url", URL_WITH_PATH, "Intune: where services are found; likewise."),
        Key(
            "authorities",
            TEXT,
            "PEM file of the roots that the service's TLS certificate is checked"
            " against; empty: those of this system.",
        ),
    ),
)


def scep_alias_table(entrance: tuple[Key, ...]) -> Table:
    """The table of SCEP entrances.

    :param entrance: the keys that entrances of every protocol have.
    """
    entrance_fields = {key.field or key.name for key in entrance}
    return Table(
        path="scep.alias.*",
        doc="One SCEP entrance: the label in the URL. A file that has any"
        " `[scep.alias.*]` replaces all built-in ones. In `authenticate`, `mac` is"
        " the challenge.",
        records=(Alias, SCEPAlias),
        given=(
            "alias",
            *(name for name in Alias.__slots__ if name not in entrance_fields),
        ),
        keys=(*entrance, *_OWN),
    )
