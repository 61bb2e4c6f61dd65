"""Every key of the configuration file but those of profiles.

Pure data. A new setting is a row here and a field of its record; the parser, the
reference in the documentation and the tests follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pkid.app.acme_tables import VALIDATION, acme_alias_table
from pkid.app.announce_tables import ANNOUNCEMENT
from pkid.app.cmp_tables import cmp_alias_table
from pkid.app.endpoints import Endpoint, decode_endpoint
from pkid.app.est_tables import est_alias_table
from pkid.app.kinds import (
    DURATION,
    IDENTIFIER_KIND,
    KEY_SPEC,
    OCTETS,
    PATH,
    REFERENCE,
    SECONDS,
    TEXT,
    URL,
    Flag,
    ListOf,
    Optional,
    Refused,
    Text,
    Whole,
    choice,
    member,
)
from pkid.app.profile_tables import CERTIFICATE_PROFILE, END_ENTITY_PROFILE
from pkid.app.publisher_tables import PUBLISHER
from pkid.app.scep_tables import VALIDATOR, scep_alias_table
from pkid.app.schema import Inline, Key, Shape, Table
from pkid.app.settings import (
    GeneralSettings,
    KeySettings,
    Listener,
    LogSettings,
    StorageSettings,
    VendorSettings,
)
from pkid.app.upstream_tables import UPSTREAM
from pkid.engine.aliases import (
    ApprovalRule,
    Authentication,
    AuthoritySettings,
    KeyRecovery,
    Mode,
    NameRule,
    NameScheme,
    OCSPMode,
    UnknownSerial,
)
from pkid.engine.identification import check_identity
from pkid.engine.model import PossessionMethod
from pkid.engine.namerules import check_alternative_name_rule, check_subject_rule
from pkid.errors import PKIError
from pkid.transports.cmptcp import FRAMINGS
from pkid.transports.limits import Limits

HTTP_SERVICES: Final = ("cmp", "est", "scep", "acme", "status", "operations")
EST_SERVICE: Final = "est"
ACME_SERVICE: Final = "acme"
SCEP_SERVICE: Final = "scep"
TCP_SERVICE: Final = "cmp-tcp"

ENDPOINT: Final = Text(
    'endpoint like "tcp:8829:interface=127.0.0.1"',
    decode_endpoint,
    lambda value: value.text if isinstance(value, Endpoint) else "",
    empty=False,
)
NAMES: Final = ListOf(IDENTIFIER_KIND)


def _checked(check: Callable[[str], None]) -> Callable[[str], str]:
    """A conversion that leaves a text as it is, once a check has passed it."""

    def convert(text: str) -> str:
        try:
            check(text)
        except PKIError as error:
            raise Refused(error.detail) from None
        return text

    return convert


SUBJECT_RULE: Final = Text("name (RFC 4514) with places", _checked(check_subject_rule))
NAME_RULES: Final = ListOf(
    Text("name with places", _checked(check_alternative_name_rule), empty=False)
)
TEXTS: Final = ListOf(TEXT)

GENERAL = Table(
    path="",
    doc="Keys at the top of the file.",
    records=(GeneralSettings,),
    keys=(
        Key(
            "public_url",
            URL,
            "Base of the URLs that go into certificates (CRL, CA certificate). While"
            " it names loopback, nothing is issued through a listener that other"
            " hosts can reach. `pkid init --hostname` sets it.",
        ),
    ),
)
LOG = Table(
    path="log",
    doc="The log: one JSON object a line, or text on a terminal.",
    records=(LogSettings,),
    keys=(
        Key(
            "file",
            PATH,
            "File to write to; empty is where twistd logs: standard output in the"
            " foreground. It is opened again when it was renamed or removed, so any log"
            " rotation works.",
            reloadable=False,
        ),
        Key(
            "format",
            choice("auto", "json", "text"),
            "`auto` is text on a terminal and JSON elsewhere.",
            reloadable=False,
            field="form",
        ),
        Key("level", choice("debug", "info", "warn", "error"), "Least level."),
    ),
)
LIMITS = Table(
    path="limits",
    doc="What one client may take: octets, connections, time. All deadlines are"
    " absolute: no octet that arrives starts one again.",
    records=(Limits,),
    keys=(
        Key(
            "handshake",
            SECONDS,
            "For the TLS handshake.",
            reloadable=False,
            field="handshake_seconds",
        ),
        Key(
            "headers",
            SECONDS,
            "From the first octet of a request to the end of its headers.",
            reloadable=False,
            field="headers_seconds",
        ),
        Key(
            "request",
            SECONDS,
            "From the first octet of a request to its last.",
            reloadable=False,
            field="request_seconds",
        ),
        Key(
            "write",
            SECONDS,
            "For a client to take an answer once it stopped taking it.",
            reloadable=False,
            field="write_seconds",
        ),
        Key(
            "idle",
            SECONDS,
            "Between two requests.",
            reloadable=False,
            field="idle_seconds",
        ),
        Key("message_octets", OCTETS, "Longest message over TCP.", reloadable=False),
        Key(
            "connections_per_address",
            Whole(1, 1_000_000),
            "Connections from one address, over all listeners.",
            reloadable=False,
        ),
        Key(
            "connections",
            Whole(1, 1_000_000),
            "Connections from everywhere, over all listeners.",
            reloadable=False,
        ),
    ),
)
KEYS = Table(
    path="keys",
    doc="Private keys of this daemon.",
    records=(KeySettings,),
    keys=(
        Key(
            "passphrase",
            REFERENCE,
            "Reference to the passphrase of the key files. Empty: the systemd"
            " credential `pkid-passphrase` if there is one, else a random one that"
            " the first start writes to `keys/passphrase`.",
            reloadable=False,
        ),
        Key(
            "authority_key",
            KEY_SPEC,
            "Kind of the keys that the first start makes.",
            reloadable=False,
        ),
        Key(
            "blocked",
            PATH,
            "File of SHA-256 digests (hexadecimal, one a line) of public keys that"
            " are never certified; empty for none.",
        ),
    ),
)
STORAGE = Table(
    path="storage",
    doc="Files beside the store.",
    records=(StorageSettings,),
    keys=(
        Key(
            "published",
            PATH,
            "Directory of CRLs and CA certificates as ordinary files, for any web"
            " server; empty is `published` in the state directory.",
            reloadable=False,
        ),
    ),
)
LISTENER = Table(
    path="listener.*",
    doc="One listening endpoint. A file that has any `[listener.*]` replaces all"
    " built-in ones.",
    records=(Listener,),
    given=("name",),
    keys=(
        Key(
            "endpoint",
            ENDPOINT,
            "Twisted endpoint: `tcp:PORT:interface=ADDRESS`, `tcp6:...`,"
            " `unix:PATH`, `systemd:domain=INET:name=NAME`. Port 0 takes a free one;"
            " the true addresses stand in `run/listeners.json`.",
            reloadable=False,
            example='"tcp:8829:interface=127.0.0.1"',
        ),
        Key(
            "serves",
            ListOf(choice(TCP_SERVICE, *HTTP_SERVICES), least=1),
            'What it serves: `"cmp-tcp"` alone, or any of the HTTP services'
            " `cmp`, `est` (which needs `tls`), `scep`, `status` (CRLs, CA"
            " certificates) and `operations` (health).",
            reloadable=False,
            example='["cmp-tcp"]',
        ),
        Key(
            "alias",
            IDENTIFIER_KIND,
            "Alias of a `cmp-tcp` listener, and of CMP, EST and SCEP paths that name"
            " none.",
            reloadable=False,
        ),
        Key(
            "tls",
            Flag(),
            "HTTPS: with the daemon's own TLS certificate. A client certificate is"
            " asked for and never demanded.",
            reloadable=False,
        ),
        Key(
            "certificate",
            PATH,
            "PEM file of a certificate of another PKI and what stands above it, for"
            " clients that trust that one; empty: the daemon's own. Read again at"
            " SIGHUP and once an hour.",
            reloadable=False,
        ),
        Key(
            "key",
            REFERENCE,
            "Reference to the private key of `certificate`, PEM, not encrypted.",
            reloadable=False,
        ),
        Key(
            "newest_tls",
            choice("1.3", "1.2"),
            "Highest version of TLS: `1.2` for clients of EST that bind requests by"
            " tls-unique alone.",
            reloadable=False,
        ),
        Key(
            "framings",
            ListOf(choice(*FRAMINGS), least=1),
            "TCP framings that a `cmp-tcp` listener takes.",
            reloadable=False,
        ),
    ),
)
NAME_RULE = Table(
    path="",
    doc="How RA mode names an entity.",
    records=(NameRule,),
    keys=(
        Key("scheme", member(NameScheme), "Where the name comes from."),
        Key("parts", TEXTS, "Attribute types; the first that the subject has counts."),
        Key("fixed", TEXT, "The name, for `fixed`."),
        Key("prefix", TEXT, "Put before it."),
        Key("suffix", TEXT, "Put behind it."),
    ),
)
ENTRANCE_KEYS: Final = (
    Key(
        "authority", IDENTIFIER_KIND, "Name of the CA that issues.", example='"issuing"'
    ),
    Key(
        "mode",
        member(Mode),
        "`ra`: the end entity is made from the request. `client`: it must be"
        " registered beforehand (`pkid entity add`).",
    ),
    Key(
        "authenticate",
        ListOf(member(Authentication), frozenset, least=1),
        "Accepted ways to authenticate: a shared secret (`mac`), an own"
        " `certificate`, a `vendor` certificate, a listed registration authority"
        " (`ra`).",
    ),
    Key(
        "certificate_profile",
        IDENTIFIER_KIND,
        "Used unless the request names one of `profiles`.",
    ),
    Key("profiles", NAMES, "Certificate profiles that a request may name."),
    Key("end_entity_profile", IDENTIFIER_KIND, "Which names may be asked for."),
    Key("approval", IDENTIFIER_KIND, "Approval rule; `automatic` signs at once."),
    Key("name_rule", Inline(NAME_RULE, NameRule), "How RA mode names the entity."),
    Key("vendors", NAMES, "Vendors (`[vendor.*]`) accepted for `vendor`."),
    Key(
        "unknown_vendor_unit",
        choice("refuse", "pend"),
        "A unit that is not on the allow-list is refused, or waits for an approver.",
    ),
    Key(
        "issued_subject",
        SUBJECT_RULE,
        "Subject issued to a vendor's unit that is registered without one:"
        " `CN={entity},O=Example`. `{entity}` is the registered name, `{unit}` and"
        " `{vendor}` name the unit, `{CN}`, `{serialNumber}` and the like come from"
        " the vendor's certificate. Empty: the request's subject, or else"
        " `CN={entity}`.",
    ),
    Key(
        "issued_names",
        NAME_RULES,
        "Alternative names issued with it, like `dns:{entity}.ran.example`.",
    ),
    Key("same_key", Flag(), "Whether a key may be certified again."),
    Key("renewal", Flag(), "Whether certificates may be renewed here."),
    Key("renewal_same_key", Flag(), "Whether a renewal may keep its key."),
    Key(
        "renew_expired",
        DURATION,
        "How long after its end a certificate may still be renewed with itself.",
    ),
    Key(
        "revoke_replaced",
        Flag(),
        "Revoke the old certificate (superseded) once the new one is confirmed.",
    ),
    Key(
        "possession",
        ListOf(member(PossessionMethod), frozenset, least=1),
        "Ways to prove possession of the private key that are taken: by `signature`,"
        " by decrypting the certificate (`encrypted-certificate`) or a `challenge`, by"
        " an `agreed-mac`, by handing the key over (`encrypted-key`).",
    ),
    Key(
        "key_generation",
        Flag(),
        "Make the key pair for requests that bring no key, of the first kind that the"
        " certificate profile lists, or of the kind that the request names.",
    ),
    Key(
        "key_archive",
        Flag(),
        "Archive private keys whose owners ask for it: those that are made here and"
        " those that are handed over. They rest encrypted to the CA's archive key.",
    ),
    Key(
        "key_recovery",
        member(KeyRecovery),
        "Whether end entities get their archived keys back: `off`, `approved` (once,"
        " after `pkid entity recover`), or `self`.",
    ),
    Key(
        "registration_authorities",
        TEXTS,
        "Registration authorities that are trusted here: SHA-256 fingerprints"
        " (hexadecimal) of their certificates, `authority/serial`, or subjects"
        " (RFC 4514). Their certificates need the extended key usage cmcRA too.",
    ),
)
CMP_ALIAS = cmp_alias_table(ENTRANCE_KEYS)
EST_ALIAS = est_alias_table(ENTRANCE_KEYS)
ACME_ALIAS = acme_alias_table(ENTRANCE_KEYS)
SCEP_ALIAS = scep_alias_table(ENTRANCE_KEYS)
APPROVAL = Table(
    path="approval.*",
    doc="Who must agree before a certificate is signed.",
    records=(ApprovalRule,),
    given=("name",),
    keys=(
        Key("needed", Whole(0, 16), "Number of approvers; 0 is automatic."),
        Key("approvers", TEXTS, 'Who may approve ("uid:1000"); empty: anybody.'),
        Key("expires", DURATION, "How long a request waits."),
        Key("retry_after", DURATION, "When a waiting client is told to ask again."),
    ),
)
VENDOR = Table(
    path="vendor.*",
    doc="A manufacturer whose certificates authenticate devices. The default is an"
    " allow-list: units are registered with `pkid vendor add` or `pkid entity import`.",
    records=(VendorSettings,),
    given=("name",),
    keys=(
        Key(
            "anchors",
            ListOf(PATH, least=1),
            "PEM or DER files of the roots.",
            example='["/etc/pkid/vendor-root.pem"]',
        ),
        Key("intermediates", ListOf(PATH), "PEM or DER files of CAs below them."),
        Key(
            "identity",
            Text("attribute type, subject, hardware-module", _checked(check_identity)),
            "What names the unit: an attribute of the certificate's subject, all of the"
            " `subject`, or its `hardware-module` name (IEEE 802.1AR), which is written"
            " as type and serial number: `1.3.6.1.4.1.99999.1:0a1b2c`.",
        ),
        Key("allow_expired", Flag(), "Accept expired device certificates."),
        Key("allow_sha1", Flag(), "Accept SHA-1 signatures in the chain."),
        Key("minimum_rsa_bits", Whole(1024, 16384), "Least RSA size in the chain."),
        Key(
            "crls",
            ListOf(PATH),
            "PEM or DER files of the vendor's CRLs, read at start and at SIGHUP: what"
            " is on one is not believed.",
        ),
        Key(
            "crl_required",
            Flag(),
            "Refuse also where the current CRL of a CA in the chain is missing.",
        ),
    ),
)
AUTHORITY = Table(
    path="authority.*",
    doc="Settings of one CA; the CA itself lives in the store.",
    records=(AuthoritySettings,),
    given=("name",),
    keys=(
        Key("public_url", URL, "As the one at the top, for this CA alone."),
        Key("crl_period", DURATION, "From one scheduled CRL to the next."),
        Key("crl_overlap", DURATION, "How much longer a CRL is valid than that."),
        Key(
            "crl_delay",
            DURATION,
            "Least time between two CRLs that revocations bring about: those of the"
            " meantime go together. They are looked for every five seconds anyway.",
        ),
        Key(
            "crl_partitions",
            Whole(0, 4096),
            "How many CRLs the certificates issued from now on are spread over; 0: one"
            " CRL for all.",
        ),
        Key(
            "delta_crl_period",
            Optional(DURATION),
            "From one delta CRL to the next; revocations then bring about delta CRLs"
            " instead of full ones. Left out: no delta CRLs.",
            example='"1h"',
        ),
        Key(
            "ocsp",
            member(OCSPMode),
            "Who signs OCSP answers: a `delegated` key whose certificate renews itself,"
            " the CA's own key (`direct`), or nobody (`off`).",
        ),
        Key(
            "ocsp_key",
            Optional(KEY_SPEC),
            "Kind of the delegated key; left out: what fits the CA's.",
            example='"ec:P-256"',
        ),
        Key("ocsp_validity", DURATION, "How long an OCSP answer holds."),
        Key("ocsp_max_age", DURATION, "How long HTTP caches may keep an answer."),
        Key(
            "ocsp_unknown",
            member(UnknownSerial),
            "What is said of a serial number that was never issued.",
        ),
        Key(
            "ocsp_archive_cutoff",
            Optional(DURATION),
            "How long after their end certificates are still answered for, as the"
            " answers then say; left out: they do not say.",
            example='"7y"',
        ),
        Key(
            "ocsp_signatures",
            Whole(1, 1_000_000),
            "Most OCSP answers signed in a second; above it nonces are left out, and"
            " what was not signed before is asked to try later.",
        ),
    ),
)

SHAPE: Final = Shape(
    (
        GENERAL,
        LOG,
        LIMITS,
        KEYS,
        STORAGE,
        LISTENER,
        CMP_ALIAS,
        UPSTREAM,
        ANNOUNCEMENT,
        EST_ALIAS,
        ACME_ALIAS,
        VALIDATION,
        SCEP_ALIAS,
        VALIDATOR,
        PUBLISHER,
        APPROVAL,
        VENDOR,
        AUTHORITY,
        CERTIFICATE_PROFILE,
        END_ENTITY_PROFILE,
    )
)
