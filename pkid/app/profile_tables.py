"""The keys of certificate profiles and end entity profiles.

Pure data, as `pkid.app.tables`.
"""

from __future__ import annotations

from typing import Final

from pkid.app.kinds import (
    DURATION,
    HEXADECIMAL,
    IDENTIFIER_KIND,
    KEY_SPEC,
    OID,
    PATTERN,
    TEXT,
    URL_WITH_PATH,
    Flag,
    ListOf,
    Optional,
    Refused,
    Text,
    Whole,
    choice,
    member,
    suggestion,
)
from pkid.app.schema import Inline, Key, Table
from pkid.asn1 import oids
from pkid.asn1.x509 import Extension
from pkid.engine.endentities import attribute_oid
from pkid.engine.profiles import (
    CertificatePolicy,
    CertificateProfile,
    EndEntityProfile,
    NameField,
    ProfileKind,
)
from pkid.engine.requested import KEY_USAGE_BITS
from pkid.errors import PKIError

#: Extended key usages by the names that RFC 5280 and its relatives print.
PURPOSES: Final = {
    "serverAuth": oids.ID_KP_SERVER_AUTH,
    "clientAuth": oids.ID_KP_CLIENT_AUTH,
    "codeSigning": oids.ID_KP_CODE_SIGNING,
    "emailProtection": oids.ID_KP_EMAIL_PROTECTION,
    "timeStamping": oids.ID_KP_TIME_STAMPING,
    "OCSPSigning": oids.ID_KP_OCSP_SIGNING,
    "ipsecIKE": oids.ID_KP_IPSEC_IKE,
    "ipsecEndSystem": oids.ID_KP_IPSEC_END_SYSTEM,
    "ipsecTunnel": oids.ID_KP_IPSEC_TUNNEL,
    "ipsecUser": oids.ID_KP_IPSEC_USER,
    "cmcCA": oids.ID_KP_CMC_CA,
    "cmcRA": oids.ID_KP_CMC_RA,
    "cmKGA": oids.ID_KP_CM_KGA,
    "anyExtendedKeyUsage": oids.ID_KP_ANY_EXTENDED_KEY_USAGE,
}
_NAME_OF_PURPOSE: Final = {oid: name for name, oid in PURPOSES.items()}
ALTERNATIVE_NAMES: Final = ("dns", "ip", "email", "uri", "rid", "dn", "other")
HASHES: Final = ("", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")


def _purpose(text: str) -> str:
    found = PURPOSES.get(text)
    if found is None and not oids.is_dotted(text):
        message = (
            f"must be one of {', '.join(PURPOSES)}, or a dotted object identifier"
            f"{suggestion(text, PURPOSES)}"
        )
        raise Refused(message)
    return found or text


def _attribute(text: str) -> str:
    try:
        attribute_oid(text)
    except PKIError:
        known = oids.NAME_BY_OID.values()
        message = (
            "must be an attribute type like CN or serialNumber, or a dotted object"
            f" identifier{suggestion(text, known)}"
        )
        raise Refused(message) from None
    return text


PURPOSE: Final = Text(
    "key purpose by name or object identifier",
    _purpose,
    lambda value: _NAME_OF_PURPOSE.get(str(value), str(value)),
    empty=False,
)
ATTRIBUTE: Final = Text("attribute type by name or object identifier", _attribute)
USAGE: Final = choice(*KEY_USAGE_BITS)
NAME_KIND: Final = choice(*ALTERNATIVE_NAMES)
PATH_LENGTH: Final = Optional(Whole(0, 32))
COUNT: Final = Optional(Whole(0, 100))

POLICY = Table(
    path="",
    doc="One certificate policy.",
    records=(CertificatePolicy,),
    keys=(
        Key("oid", OID, "The policy."),
        Key("cps", TEXT, "URL of its statement."),
        Key("notice", TEXT, "Text for people."),
    ),
)
STATIC_EXTENSION = Table(
    path="",
    doc="An extension with a fixed value.",
    records=(Extension,),
    keys=(
        Key("oid", OID, "The extension."),
        Key("critical", Flag(), "Whether it is critical."),
        Key("value", HEXADECIMAL, "DER of the value."),
    ),
)


def _name_field(path: str, field: Text) -> Table:
    return Table(
        path=path,
        doc="Rule for one field of a name.",
        records=(NameField,),
        keys=(
            Key("field", field, "The field."),
            Key("required", Flag(), "Refuse a request without it."),
            Key("modifiable", Flag(), "Whether the request may give it."),
            Key("default", TEXT, "Value when the request gives none."),
            Key("pattern", PATTERN, "What the whole value must match."),
        ),
    )


CERTIFICATE_PROFILE = Table(
    path="certificate_profile.*",
    doc="What a certificate looks like. The built-in ones stand beside those of the"
    " file; one of the same name replaces it.",
    records=(CertificateProfile,),
    given=("name",),
    keys=(
        Key("kind", member(ProfileKind), "What the subject is."),
        Key("keys", ListOf(KEY_SPEC, least=1), "Accepted kinds of subject key."),
        Key(
            "signature_hash",
            choice(*HASHES),
            "Digest of the CA's signature; empty: what fits its key.",
        ),
        Key("validity", DURATION, "Period granted."),
        Key("forever", Flag(), "End at 99991231235959Z instead (IEEE 802.1AR)."),
        Key("backdate", DURATION, "How long before now a certificate begins."),
        Key("request_validity", Flag(), "Whether a request may ask for less."),
        Key(
            "exact_validity",
            Flag(),
            "Take a request's validity as it is, the past included: for the link"
            " certificates between an old and a new key of a CA.",
        ),
        Key("request_subject", Flag(), "Whether the request may give the subject."),
        Key("request_key_usage", Flag(), "Whether a request may narrow key usage."),
        Key(
            "request_extended_key_usage",
            ListOf(PURPOSE),
            "Purposes that a request may name beside the profile's own.",
        ),
        Key(
            "request_extensions",
            ListOf(OID),
            "Further extensions that are copied from a request.",
        ),
        Key("subject_order", ListOf(ATTRIBUTE), "Order of the subject's fields."),
        Key(
            "subject_subset",
            Optional(ListOf(ATTRIBUTE)),
            "Fields of the subject that are kept; left out: all.",
            example='["CN", "O"]',
        ),
        Key("unique_key", Flag(), "Refuse a key that another certificate has."),
        Key("unique_subject", Flag(), "Refuse another entity's subject."),
        Key(
            "path_length",
            PATH_LENGTH,
            "pathLenConstraint; left out: none.",
            example="0",
        ),
        Key("key_usage", ListOf(USAGE), "Key usage; empty: what fits the key."),
        Key("key_usage_critical", Flag(), "Whether key usage is critical."),
        Key("extended_key_usage", ListOf(PURPOSE), "Key purposes."),
        Key("extended_key_usage_critical", Flag(), "Whether they are critical."),
        Key(
            "san",
            choice("optional", "required", "none"),
            "Alternative names; critical anyway when the subject is empty.",
        ),
        Key("san_critical", Flag(), "Whether they are always critical."),
        Key(
            "issuer_alternative_names",
            ListOf(TEXT),
            'Alternative names of the issuer, like "email:ca@example.com".',
        ),
        Key("crl_distribution_point", Flag(), "Name our CRL in the certificate."),
        Key("freshest_crl", ListOf(URL_WITH_PATH), "URLs of delta CRLs."),
        Key("ca_issuers", Flag(), "Name our CA certificate in the certificate."),
        Key(
            "ocsp_responder",
            Flag(),
            "Name our OCSP responder in the certificate, if its CA has one.",
        ),
        Key("ocsp", ListOf(URL_WITH_PATH), "URLs of other OCSP responders instead."),
        Key(
            "policies",
            ListOf(Inline(POLICY, CertificatePolicy)),
            'Certificate policies: `{ oid = "...", cps = "...", notice = "..." }`.',
        ),
        Key("policies_critical", Flag(), "Whether they are critical."),
        Key("require_explicit_policy", COUNT, "Of policyConstraints.", example="0"),
        Key("inhibit_policy_mapping", COUNT, "Of policyConstraints.", example="0"),
        Key("inhibit_any_policy", COUNT, "inhibitAnyPolicy.", example="0"),
        Key(
            "permitted_names",
            ListOf(TEXT),
            'Name constraints of a CA: "dns:example.com", "dn:O=Example".',
        ),
        Key("excluded_names", ListOf(TEXT), "Likewise, what is excluded."),
        Key(
            "private_key_usage_period",
            Optional(DURATION),
            "privateKeyUsagePeriod from the begin of validity; left out: none.",
            example='"1y"',
        ),
        Key("tls_features", ListOf(Whole(0, 65535)), "TLS features (RFC 7633)."),
        Key("ocsp_no_check", Flag(), "id-pkix-ocsp-nocheck."),
        Key(
            "static_extensions",
            ListOf(Inline(STATIC_EXTENSION, Extension)),
            "Extensions with a fixed value:"
            ' `{ oid = "...", critical = false, value = "DER in hexadecimal" }`.',
        ),
    ),
)
END_ENTITY_PROFILE = Table(
    path="end_entity_profile.*",
    doc="Which names may be asked for. The built-in ones stand beside those of the"
    " file; one of the same name replaces it.",
    records=(EndEntityProfile,),
    given=("name",),
    keys=(
        Key(
            "subject",
            ListOf(Inline(_name_field("", ATTRIBUTE), NameField)),
            'Rules for fields of the subject: `{ field = "CN", required = true,'
            ' modifiable = true, default = "", pattern = "" }`.',
        ),
        Key(
            "alternative_names",
            ListOf(Inline(_name_field("", NAME_KIND), NameField)),
            f"Likewise for alternative names: {', '.join(ALTERNATIVE_NAMES)}.",
        ),
        Key("other_fields", Flag(), "Whether fields without a rule are allowed."),
        Key(
            "certificate_profiles",
            ListOf(IDENTIFIER_KIND),
            "Certificate profiles allowed; empty: any.",
        ),
        Key("authorities", ListOf(IDENTIFIER_KIND), "CAs allowed; empty: any."),
        Key(
            "minimum_validity",
            Optional(DURATION),
            "Shortest validity granted.",
            example='"1d"',
        ),
        Key(
            "maximum_validity",
            Optional(DURATION),
            "Longest validity granted.",
            example='"1y"',
        ),
        Key(
            "renewal_window",
            Optional(DURATION),
            "How long before its end a certificate may be renewed; left out: always.",
            example='"30d"',
        ),
        Key("wildcard_names", Flag(), "Whether `*.host` is allowed as a DNS name."),
        Key(
            "network_function_types",
            ListOf(TEXT),
            "Types that an NFTypes extension (RFC 9310) may name, where the certificate"
            " profile copies it; empty: any.",
        ),
    ),
)
