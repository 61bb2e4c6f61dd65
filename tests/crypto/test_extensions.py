from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.crypto import extensions as ext
from pkid.errors import ErrorCode
from tests.crypto.oracles import NOW, YEAR, code_of, issue, openssl, private_key

URL = "http://ca.example.com/x"
NAME = Name.from_text("CN=CA,O=Example")
X509_NAME = x509.Name(
    [
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example"),
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "CA"),
    ]
)
NAMES = (
    GeneralName.dns("host.example"),
    GeneralName.email("a@example.com"),
    GeneralName.uri(URL),
    GeneralName.ip("192.0.2.1"),
    GeneralName.ip("2001:db8::1"),
    GeneralName.directory(NAME),
    GeneralName.rid("1.2.3.4"),
    GeneralName.other("1.3.6.1.5.5.7.8.9", der.utf8_string("ö@example.com")),
)
X509_NAMES = [
    x509.DNSName("host.example"),
    x509.RFC822Name("a@example.com"),
    x509.UniformResourceIdentifier(URL),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.DirectoryName(X509_NAME),
    x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
    x509.OtherName(
        x509.ObjectIdentifier("1.3.6.1.5.5.7.8.9"), der.utf8_string("ö@example.com")
    ),
]
X509_URI = [x509.UniformResourceIdentifier(URL)]
USAGES = {
    "digitalSignature": "digital_signature",
    "nonRepudiation": "content_commitment",
    "keyEncipherment": "key_encipherment",
    "dataEncipherment": "data_encipherment",
    "keyAgreement": "key_agreement",
    "keyCertSign": "key_cert_sign",
    "cRLSign": "crl_sign",
    "encipherOnly": "encipher_only",
    "decipherOnly": "decipher_only",
}
REASONS = frozenset({1, 4})
LATER = NOW + YEAR


def x509_usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{other: name in names for name, other in USAGES.items()})


def point(**changes: object) -> ext.DistributionPoint:
    return ext.DistributionPoint(**({"names": (GeneralName.uri(URL),)} | changes))


def x509_point(**changes: object) -> x509.DistributionPoint:
    fields = {
        "full_name": X509_URI,
        "relative_name": None,
        "reasons": None,
        "crl_issuer": None,
    }
    return x509.DistributionPoint(**(fields | changes))


CASES: dict[str, tuple[Extension, x509.ExtensionType, bool]] = {
    "end entity": (
        ext.basic_constraints(ca=False),
        x509.BasicConstraints(ca=False, path_length=None),
        True,
    ),
    "CA": (
        ext.basic_constraints(ca=True),
        x509.BasicConstraints(ca=True, path_length=None),
        True,
    ),
    "CA with path length": (
        ext.basic_constraints(ca=True, path_length=0),
        x509.BasicConstraints(ca=True, path_length=0),
        True,
    ),
    "key usage": (
        ext.key_usage(["digitalSignature", "keyEncipherment"]),
        x509_usage("digitalSignature", "keyEncipherment"),
        True,
    ),
    "key usage of nine bits": (
        ext.key_usage(["keyAgreement", "decipherOnly"], critical=False),
        x509_usage("keyAgreement", "decipherOnly"),
        False,
    ),
    "extended key usage": (
        ext.extended_key_usage([oids.ID_KP_SERVER_AUTH, oids.ID_KP_CLIENT_AUTH]),
        x509.ExtendedKeyUsage(
            [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        ),
        False,
    ),
    "private key usage period": (
        ext.private_key_usage_period(NOW, LATER),
        x509.PrivateKeyUsagePeriod(
            NOW.replace(tzinfo=None), LATER.replace(tzinfo=None)
        ),
        False,
    ),
    "private key usage, end only": (
        ext.private_key_usage_period(None, LATER),
        x509.PrivateKeyUsagePeriod(None, LATER.replace(tzinfo=None)),
        False,
    ),
    "subject alternative names": (
        ext.subject_alternative_name(NAMES),
        x509.SubjectAlternativeName(X509_NAMES),
        False,
    ),
    "subject alternative names, critical": (
        ext.subject_alternative_name(NAMES[:1], critical=True),
        x509.SubjectAlternativeName(X509_NAMES[:1]),
        True,
    ),
    "issuer alternative names": (
        ext.issuer_alternative_name(NAMES),
        x509.IssuerAlternativeName(X509_NAMES),
        False,
    ),
    "subject key identifier": (
        ext.subject_key_identifier(bytes(20)),
        x509.SubjectKeyIdentifier(bytes(20)),
        False,
    ),
    "authority key identifier": (
        ext.authority_key_identifier(bytes(20)),
        x509.AuthorityKeyIdentifier(bytes(20), None, None),
        False,
    ),
    "authority key identifier, whole": (
        ext.authority_key_identifier(bytes(20), NAME, 1 << 150),
        x509.AuthorityKeyIdentifier(
            bytes(20), [x509.DirectoryName(X509_NAME)], 1 << 150
        ),
        False,
    ),
    "name constraints": (
        ext.name_constraints(
            [GeneralName.dns("example.com"), GeneralName.directory(NAME)],
            [GeneralName.ip(ipaddress.ip_address("10.0.0.0").packed + b"\xff\0\0\0")],
        ),
        x509.NameConstraints(
            [x509.DNSName("example.com"), x509.DirectoryName(X509_NAME)],
            [x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))],
        ),
        True,
    ),
    "name constraints, excluded only": (
        ext.name_constraints([], [GeneralName.email("example.com")]),
        x509.NameConstraints(None, [x509.RFC822Name("example.com")]),
        True,
    ),
    "CRL distribution points": (
        ext.crl_distribution_points([point()]),
        x509.CRLDistributionPoints([x509_point()]),
        False,
    ),
    "CRL distribution points, whole": (
        ext.crl_distribution_points(
            [point(reasons=REASONS, crl_issuer=NAME), point(names=(), crl_issuer=NAME)]
        ),
        x509.CRLDistributionPoints(
            [
                x509_point(
                    reasons=frozenset(
                        {x509.ReasonFlags.key_compromise, x509.ReasonFlags.superseded}
                    ),
                    crl_issuer=[x509.DirectoryName(X509_NAME)],
                ),
                x509_point(full_name=None, crl_issuer=[x509.DirectoryName(X509_NAME)]),
            ]
        ),
        False,
    ),
    "freshest CRL": (
        ext.freshest_crl([point()]),
        x509.FreshestCRL([x509_point()]),
        False,
    ),
    "authority information access": (
        ext.authority_information_access([URL], [URL, URL + "2"]),
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    x509.ObjectIdentifier(method), x509.UniformResourceIdentifier(url)
                )
                for method, url in (
                    (oids.ID_AD_OCSP, URL),
                    (oids.ID_AD_OCSP, URL + "2"),
                    (oids.ID_AD_CA_ISSUERS, URL),
                )
            ]
        ),
        False,
    ),
    "OCSP no check": (ext.ocsp_no_check(), x509.OCSPNoCheck(), False),
    "policies": (
        ext.certificate_policies(
            [
                ext.PolicyInformation("1.2.3"),
                ext.PolicyInformation("1.2.4", (URL, URL + "2"), "Grüße"),
            ],
            critical=True,
        ),
        x509.CertificatePolicies(
            [
                x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None),
                x509.PolicyInformation(
                    x509.ObjectIdentifier("1.2.4"),
                    [URL, URL + "2", x509.UserNotice(None, "Grüße")],
                ),
            ]
        ),
        True,
    ),
    "policy constraints": (
        ext.policy_constraints(require_explicit_policy=0, inhibit_policy_mapping=300),
        x509.PolicyConstraints(0, 300),
        True,
    ),
    "policy constraints, one": (
        ext.policy_constraints(inhibit_policy_mapping=1),
        x509.PolicyConstraints(None, 1),
        True,
    ),
    "inhibit any policy": (
        ext.inhibit_any_policy(128),
        x509.InhibitAnyPolicy(128),
        True,
    ),
    "TLS feature": (
        ext.tls_feature([ext.TLS_STATUS_REQUEST, 17]),
        x509.TLSFeature(
            [x509.TLSFeatureType.status_request, x509.TLSFeatureType.status_request_v2]
        ),
        False,
    ),
    "Microsoft template": (
        ext.microsoft_template("1.3.6.1.4.1.311.21.8.1", 100, 3),
        x509.MSCertificateTemplate(
            x509.ObjectIdentifier("1.3.6.1.4.1.311.21.8.1"), 100, 3
        ),
        False,
    ),
    "Microsoft template without minor": (
        ext.microsoft_template("1.3.6.1.4.1.311.21.8.1", 100),
        x509.MSCertificateTemplate(
            x509.ObjectIdentifier("1.3.6.1.4.1.311.21.8.1"), 100, None
        ),
        False,
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_extensions_are_those_of_cryptography(name: str) -> None:
    extension, expected, critical = CASES[name]
    assert extension.oid == expected.oid.dotted_string
    assert extension.value.hex() == expected.public_bytes().hex()
    assert extension.critical is critical


@pytest.mark.parametrize("name", list(CASES))
def test_cryptography_and_openssl_read_each_extension(name: str) -> None:
    extension, expected, critical = CASES[name]
    key = private_key("ec:P-256")
    octets = issue("CN=CA", key, "CN=x", key.public_key(), extension)
    read = x509.load_der_x509_certificate(octets).extensions
    found = read.get_extension_for_oid(expected.oid)
    assert found.critical is critical
    assert found.value == expected
    openssl("x509", "-inform", "DER", "-in", "@c", "-noout", "-text", c=octets)


def shown(extension: Extension) -> str:
    key = private_key("ec:P-256")
    octets = issue("CN=CA", key, "CN=x", key.public_key(), extension)
    return openssl("x509", "-inform", "DER", "-in", "@c", "-noout", "-text", c=octets)


def test_openssl_prints_what_was_meant() -> None:
    for name, words in (
        ("key usage", "X509v3 Key Usage: critical\n"),
        ("key usage of nine bits", "Key Agreement, Decipher Only"),
        ("CA with path length", "CA:TRUE, pathlen:0"),
        ("name constraints", "IP:10.0.0.0/255.0.0.0"),
        ("policies", "Explicit Text: Gr"),
        ("TLS feature", "status_request, status_request_v2"),
        ("private key usage period", "Not Before: Jun  1 12:00:00 2026 GMT"),
        ("freshest CRL", "X509v3 Freshest CRL"),
        ("policy constraints", "Require Explicit Policy:0"),
    ):
        assert words in shown(CASES[name][0]), name


def test_noRevAvail_is_NULL_and_not_critical() -> None:
    extension = ext.no_revocation_available()
    assert extension.encode() == bytes.fromhex("30090603551d3804020500")


# --- those that cryptography does not know ------------------------------------


def test_NFTypes_are_sorted_and_each_once() -> None:
    extension = ext.network_function_types(["SMF", "AMF", "SMF"])
    assert not extension.critical
    # The value of the example certificate of RFC 9310, appendix B, has AMF alone.
    assert ext.network_function_types(["AMF"]).value == bytes.fromhex("30051603414d46")
    assert extension.value == der.sequence(der.ia5_string("AMF"), der.ia5_string("SMF"))


@pytest.mark.parametrize(
    "types", [[], [""], ["A B"], ["A" * 33], ["A\x7f"], ["Ä"], ["AMF", "\t"]]
)
def test_wrong_NFTypes_are_refused(types: list[str]) -> None:
    assert code_of(ext.network_function_types, types) is ErrorCode.BAD_TEMPLATE


def test_the_template_name_of_Microsoft_is_a_BMPString() -> None:
    extension = ext.microsoft_template_name("Machine")
    assert extension.value == b"\x1e\x0e" + "Machine".encode("utf-16-be")


def test_the_security_identifier_of_Microsoft_is_an_other_name() -> None:
    sid = "S-1-5-21-1004336348-1177238915-682003330-512"
    extension = ext.microsoft_security_identifier(sid)
    names = x509.SubjectAlternativeName(
        [
            x509.OtherName(
                x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2.1"),
                der.octet_string(sid.encode("ascii")),
            )
        ]
    )
    assert extension.value == names.public_bytes()
    assert code_of(ext.microsoft_security_identifier, "x") is ErrorCode.BAD_TEMPLATE


# --- octets at once -----------------------------------------------------------


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("count", [1, 4, 20])
def test_the_quick_forms_are_the_plain_ones(critical: bool, count: int) -> None:
    names = NAMES * count
    plain = ext.subject_alternative_name(names, critical=critical).encode()
    assert ext.encode_subject_alternative_name(names, critical=critical) == plain
    for size in (8, 20, 32):
        plain = ext.subject_key_identifier(bytes(size)).encode()
        assert ext.encode_subject_key_identifier(bytes(size)) == plain


# --- what cannot be said ------------------------------------------------------


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: ext.basic_constraints(ca=False, path_length=0),
        lambda: ext.basic_constraints(ca=True, path_length=-1),
        lambda: ext.key_usage([]),
        lambda: ext.key_usage(["digitalsignature"]),
        lambda: ext.extended_key_usage([]),
        lambda: ext.extended_key_usage(["clientAuth"]),
        lambda: ext.extended_key_usage(["3.1.2"]),
        lambda: ext.private_key_usage_period(None, None),
        lambda: ext.subject_alternative_name([]),
        lambda: ext.encode_subject_alternative_name([]),
        lambda: ext.issuer_alternative_name([]),
        lambda: ext.authority_key_identifier(b"x", NAME),
        lambda: ext.authority_key_identifier(b"x", None, 1),
        lambda: ext.name_constraints([], []),
        lambda: ext.crl_distribution_points([]),
        lambda: ext.freshest_crl([]),
        lambda: ext.crl_distribution_points([point(names=())]),
        ext.authority_information_access,
        lambda: ext.certificate_policies([]),
        lambda: ext.certificate_policies([ext.PolicyInformation("1.2.3")] * 2),
        lambda: ext.certificate_policies([ext.PolicyInformation("x")]),
        lambda: ext.certificate_policies([ext.PolicyInformation("1.2", ("ö",))]),
        lambda: ext.certificate_policies([ext.PolicyInformation("1.2", ("",))]),
        lambda: ext.certificate_policies([ext.PolicyInformation("1.2", (), "x" * 201)]),
        ext.policy_constraints,
        lambda: ext.policy_constraints(require_explicit_policy=-1),
        lambda: ext.inhibit_any_policy(-1),
        lambda: ext.tls_feature([]),
        lambda: ext.tls_feature([65536]),
        lambda: ext.tls_feature([-1]),
        lambda: ext.microsoft_template("x", 1),
        lambda: ext.microsoft_template("1.2", -1),
        lambda: ext.microsoft_template("1.2", 1, -1),
    ],
)
def test_what_an_extension_cannot_say_is_refused(attempt) -> None:  # noqa: ANN001
    assert code_of(attempt) is ErrorCode.BAD_TEMPLATE


@given(st.sets(st.sampled_from(sorted(USAGES)), min_size=1))
def test_any_key_usage_is_that_of_cryptography(names: set[str]) -> None:
    # That refuses these two bits without keyAgreement; the encoding is the same.
    if names & {"encipherOnly", "decipherOnly"}:
        names.add("keyAgreement")
    assert ext.key_usage(names).value == x509_usage(*names).public_bytes()


def test_times_of_private_keys_are_in_UTC() -> None:
    east = datetime.timezone(datetime.timedelta(hours=2))
    shifted = ext.private_key_usage_period(NOW.astimezone(east), None)
    assert shifted == ext.private_key_usage_period(NOW, None)
