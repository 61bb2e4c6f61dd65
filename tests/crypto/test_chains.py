from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.crypto import extensions as ext
from pkid.crypto.algorithms import PrivateKey, signature_algorithm_for
from pkid.crypto.certificates import Certificate
from pkid.crypto.chains import ChainLimits, validate_chain
from pkid.crypto.nameconstraints import NameConstraints
from pkid.crypto.publickeys import PublicKeyInfo
from pkid.crypto.signatures import encode_signed, sign
from pkid.errors import ErrorCode, PKIError
from tests.crypto.oracles import (
    DAY,
    NOW,
    SIGNING_FAMILIES,
    YEAR,
    ca,
    code_of,
    issue,
    key_id,
    openssl,
    private_key,
)

ROOT_KEY, SUB_KEY, LEAF_KEY, OTHER_KEY = (
    private_key("ec:P-256", number) for number in range(10, 14)
)
ROOT = ca("CN=Root,O=Vendor", ROOT_KEY)
SUB = ca("CN=Sub,O=Vendor", SUB_KEY, "CN=Root,O=Vendor", ROOT_KEY)


def leaf(
    *extensions: Extension,
    issuer: str = "CN=Sub,O=Vendor",
    key: PrivateKey = SUB_KEY,
    subject: str = "CN=unit-0042,O=Vendor",
    subject_key: PrivateKey = LEAF_KEY,
    **rest: Any,
) -> Certificate:
    more = (*extensions, ext.authority_key_identifier(key_id(key)))
    public = subject_key.public_key()
    return Certificate.decode(issue(issuer, key, subject, public, *more, **rest))


def refusal(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(PKIError) as caught:
        validate_chain(*arguments, NOW, **keywords)
    assert caught.value.code is ErrorCode.SIGNER_NOT_TRUSTED
    return caught.value.detail


# --- what is found ------------------------------------------------------------


def test_a_chain_is_leaf_first_and_anchor_last() -> None:
    unit = leaf()
    assert validate_chain(unit, [SUB], [ROOT], NOW) == (unit, SUB, ROOT)
    assert validate_chain(unit, [], [SUB], NOW) == (unit, SUB)
    assert validate_chain(SUB, [], [ROOT], NOW) == (SUB, ROOT)


def test_openssl_agrees_on_the_chain() -> None:
    unit = leaf()

    def pem(certificate: Certificate) -> bytes:
        other = x509.load_der_x509_certificate(certificate.der)
        return other.public_bytes(Encoding.PEM)

    text = openssl(
        *("verify", "-attime", str(int(NOW.timestamp())), "-CAfile", "@root"),
        *("-untrusted", "@sub", "@leaf"),
        root=pem(ROOT),
        sub=pem(SUB),
        leaf=pem(unit),
    )
    assert "OK" in text


def test_order_and_strangers_among_the_intermediates_do_not_matter() -> None:
    unit = leaf()
    stranger = ca("CN=Stranger", OTHER_KEY)
    for given in ([stranger, SUB], [SUB, stranger], [ROOT, SUB, unit, SUB]):
        assert validate_chain(unit, given, [ROOT], NOW) == (unit, SUB, ROOT)


def test_a_leaf_that_is_an_anchor_is_a_chain_of_one() -> None:
    unit = leaf()
    assert validate_chain(unit, [], [ROOT, unit], NOW) == (unit,)


@pytest.mark.parametrize("family", SIGNING_FAMILIES)
def test_chains_of_every_kind_of_key(family: str) -> None:
    key = private_key(family)
    if family == "ec:P-192":
        anchor = ca("CN=Root", key)
        unit = leaf(issuer="CN=Root", key=key)
        assert "too small" in refusal(unit, [], [anchor])
        return
    anchor = ca("CN=Root", key)
    unit = leaf(issuer="CN=Root", key=key)
    assert validate_chain(unit, [], [anchor], NOW) == (unit, anchor)


def test_names_chain_by_meaning_not_by_octets() -> None:
    anchor = ca("CN=ROOT,O=vendor", ROOT_KEY)
    unit = leaf(issuer="CN=Root,O=Vendor", key=ROOT_KEY)
    assert anchor.subject.der != unit.issuer.der
    assert validate_chain(unit, [], [anchor], NOW) == (unit, anchor)


def test_of_two_CAs_of_one_name_the_right_key_is_found() -> None:
    old = ca("CN=Sub,O=Vendor", OTHER_KEY, "CN=Root,O=Vendor", ROOT_KEY)
    unit = leaf()
    limits = ChainLimits(signatures=2)
    for given in ([old, SUB], [SUB, old]):
        found = validate_chain(unit, given, [ROOT], NOW, limits=limits)
        assert found == (unit, SUB, ROOT)


def test_a_wrong_key_identifier_only_comes_last() -> None:
    odd = Certificate.decode(
        issue(
            *("CN=Sub,O=Vendor", SUB_KEY, "CN=x", LEAF_KEY.public_key()),
            ext.authority_key_identifier(bytes(20)),
        )
    )
    assert validate_chain(odd, [SUB], [ROOT], NOW) == (odd, SUB, ROOT)


def test_a_renewed_root_is_reached_through_its_link_certificate() -> None:
    # The new root's key certified by the old one (NewWithOld).
    new_key = private_key("ec:P-256", 14)
    link = ca("CN=Root,O=Vendor", new_key, "CN=Root,O=Vendor", ROOT_KEY)
    new = ca("CN=Root,O=Vendor", new_key)
    unit = leaf(issuer="CN=Root,O=Vendor", key=new_key)
    assert validate_chain(unit, [link, new], [ROOT], NOW) == (unit, link, ROOT)
    assert validate_chain(unit, [link], [new], NOW) == (unit, new)


def test_cross_signed_CAs_do_not_loop() -> None:
    a_key, b_key = ROOT_KEY, SUB_KEY
    circle = [
        ca("CN=A", a_key, "CN=B", b_key),
        ca("CN=B", b_key, "CN=A", a_key),
        ca("CN=A", a_key),
        ca("CN=B", b_key),
    ]
    unit = leaf(issuer="CN=A", key=a_key)
    assert code_of(validate_chain, unit, circle, [ROOT], NOW) in (
        ErrorCode.MISSING_INFORMATION,
        ErrorCode.SIGNER_NOT_TRUSTED,
    )


# --- what is missing ----------------------------------------------------------


def test_without_an_issuer_it_is_addInfoNotAvailable() -> None:
    unit = leaf()
    for given, anchors in (([], [ROOT]), ([SUB], []), ([], [])):
        code = code_of(validate_chain, unit, given, anchors, NOW)
        assert code is ErrorCode.MISSING_INFORMATION


@pytest.mark.requirement("CMP-42")
def test_a_chain_that_ends_in_a_strange_root_is_complete_but_not_trusted() -> None:
    stranger = ca("CN=Stranger", OTHER_KEY)
    code = code_of(validate_chain, stranger, [stranger], [ROOT], NOW)
    assert code is ErrorCode.SIGNER_NOT_TRUSTED


def test_an_impostor_of_the_anchors_name_is_not_trusted() -> None:
    false_root = ca("CN=Root,O=Vendor", OTHER_KEY)
    unit = leaf(issuer="CN=Root,O=Vendor", key=OTHER_KEY)
    assert "signature" in refusal(unit, [false_root], [ROOT])


# --- signatures ---------------------------------------------------------------


def test_a_changed_certificate_is_refused() -> None:
    unit = leaf()
    octets = bytearray(unit.der)
    octets[octets.index(b"unit-0042")] ^= 1
    assert "signature" in refusal(Certificate.decode(bytes(octets)), [SUB], [ROOT])


def sha1_leaf() -> Certificate:
    unit = leaf()
    algorithm = signature_algorithm_for("ec:P-256", "sha1")
    inner = signature_algorithm_for("ec:P-256").encode()
    signed = der.single(unit.structure.signed, der.SEQUENCE)
    tbs = der.sequence(signed.replace(inner, algorithm.encode()))
    assert isinstance(SUB_KEY, ec.EllipticCurvePrivateKey)
    signature = SUB_KEY.sign(tbs, ec.ECDSA(hashes.SHA1()))
    return Certificate.decode(encode_signed(tbs, algorithm, signature))


def test_SHA1_is_accepted_by_a_switch_only() -> None:
    unit = sha1_leaf()
    assert "SHA-1" in refusal(unit, [SUB], [ROOT])
    found = validate_chain(unit, [SUB], [ROOT], NOW, allow_sha1=True)
    assert found == (unit, SUB, ROOT)


def test_small_RSA_keys_are_accepted_by_a_switch_only() -> None:
    key = private_key("rsa:1024")
    anchor = ca("CN=Root", key)
    unit = leaf(issuer="CN=Root", key=key)
    assert "1024" in refusal(unit, [], [anchor])
    assert validate_chain(unit, [], [anchor], NOW, min_rsa=1024) == (unit, anchor)
    small = leaf(subject_key=key)
    assert "1024" in refusal(small, [SUB], [ROOT])


def test_a_PSS_certificate_verifies() -> None:
    from pkid.crypto.algorithms import pss_algorithm

    key = private_key("rsa")
    anchor = ca("CN=Root", key)
    unit = leaf(issuer="CN=Root", key=key, algorithm=pss_algorithm("sha384"))
    assert validate_chain(unit, [], [anchor], NOW) == (unit, anchor)


# --- validity -----------------------------------------------------------------

SECOND = datetime.timedelta(seconds=1)


def test_both_ends_of_validity_are_included() -> None:
    unit = leaf(not_before=NOW - DAY, not_after=NOW + DAY)
    for moment in (NOW - DAY, NOW + DAY):
        assert validate_chain(unit, [SUB], [ROOT], moment)
    for moment in (NOW - DAY - SECOND, NOW + DAY + SECOND):
        code = code_of(validate_chain, unit, [SUB], [ROOT], moment)
        assert code is ErrorCode.SIGNER_NOT_TRUSTED


def test_an_expired_leaf_is_accepted_by_a_switch_only() -> None:
    unit = leaf(not_after=NOW - SECOND)
    assert "expired" in refusal(unit, [SUB], [ROOT])
    assert validate_chain(unit, [SUB], [ROOT], NOW, allow_expired_leaf=True)
    young = leaf(not_before=NOW + SECOND)
    assert "not valid yet" in refusal(young, [SUB], [ROOT], allow_expired_leaf=True)


@pytest.mark.parametrize(
    "life", [{"not_after": NOW - SECOND}, {"not_before": NOW + SECOND}]
)
def test_an_expired_or_unborn_CA_is_never_accepted(life: dict[str, Any]) -> None:
    old_sub = ca("CN=Sub,O=Vendor", SUB_KEY, "CN=Root,O=Vendor", ROOT_KEY, **life)
    old_root = ca("CN=Root,O=Vendor", ROOT_KEY, **life)
    assert refusal(leaf(), [old_sub], [ROOT], allow_expired_leaf=True)
    assert refusal(leaf(), [SUB], [old_root], allow_expired_leaf=True)


# --- who may sign -------------------------------------------------------------


def sub_with(*extensions: Extension) -> Certificate:
    public = SUB_KEY.public_key()
    name = "CN=Sub,O=Vendor"
    return Certificate.decode(
        issue("CN=Root,O=Vendor", ROOT_KEY, name, public, *extensions)
    )


CA = ext.basic_constraints(ca=True)


@pytest.mark.parametrize(
    ("extensions", "word"),
    [
        ((), "not a CA"),
        ((ext.basic_constraints(ca=False),), "not a CA"),
        ((CA, ext.key_usage(["digitalSignature"])), "may not sign certificates"),
        ((CA, ext.key_usage(["cRLSign"])), "may not sign certificates"),
        ((Extension(oids.ID_CE_BASIC_CONSTRAINTS, True, b"\x30\x01"),), ""),
    ],
)
def test_only_CAs_sign_certificates(
    extensions: tuple[Extension, ...], word: str
) -> None:
    assert word in refusal(leaf(), [sub_with(*extensions)], [ROOT])
    assert word in refusal(leaf(), [], [sub_with(*extensions)])


def test_a_CA_without_key_usage_may_sign() -> None:
    sub = sub_with(CA)
    assert validate_chain(leaf(), [sub], [ROOT], NOW)[1] == sub


def version_1(issuer: str, key: PrivateKey) -> Certificate:
    whole = Certificate.decode(issue(issuer, key, issuer, key.public_key()))
    parts = der.Cursor(der.single(whole.structure.signed, der.SEQUENCE)).raw_elements(9)
    tbs = der.sequence(*parts[1:])
    algorithm = whole.structure.algorithm
    return Certificate.decode(encode_signed(tbs, algorithm, sign(key, algorithm, tbs)))


def test_a_version_1_certificate_signs_as_anchor_only() -> None:
    old = version_1("CN=Old", SUB_KEY)
    unit = leaf(issuer="CN=Old")
    assert validate_chain(unit, [], [old], NOW) == (unit, old)
    code = code_of(validate_chain, unit, [old], [ROOT], NOW)
    assert code is ErrorCode.SIGNER_NOT_TRUSTED


def towers(count: int, **first: Any) -> tuple[Certificate, list[Certificate]]:
    """A root and so many CAs below it, the last of which is CN=Sub,O=Vendor."""
    names = [f"CN=CA{n},O=Vendor" for n in range(count)] + ["CN=Sub,O=Vendor"]
    keys = [private_key("ec:P-256", 20 + n) for n in range(count)] + [SUB_KEY]
    root = ca(names[0], keys[0], **first)
    below = [
        ca(name, key, names[n], keys[n])
        for n, (name, key) in enumerate(zip(names[1:], keys[1:], strict=True))
    ]
    return root, below


@pytest.mark.parametrize("count", [1, 2, 3])
def test_path_length_counts_the_CAs_between(count: int) -> None:
    root, below = towers(count, path_length=count)
    assert len(validate_chain(leaf(), below, [root], NOW)) == count + 2
    root, below = towers(count, path_length=count - 1)
    assert "longer than an issuer allows" in refusal(leaf(), below, [root])


def test_path_length_does_not_count_self_issued_CAs() -> None:
    new_key = private_key("ec:P-256", 14)
    root = ca("CN=Root,O=Vendor", ROOT_KEY, path_length=0)
    link = ca("CN=Root,O=Vendor", new_key, "CN=Root,O=Vendor", ROOT_KEY)
    unit = leaf(issuer="CN=Root,O=Vendor", key=new_key)
    assert validate_chain(unit, [link], [root], NOW) == (unit, link, root)


# --- limits -------------------------------------------------------------------


def test_a_chain_has_at_most_eight_certificates() -> None:
    root, below = towers(6)
    assert len(validate_chain(leaf(), below, [root], NOW)) == 8
    root, below = towers(7)
    assert "too long" in refusal(leaf(), below, [root])


@pytest.fixture
def signature_checks(monkeypatch: pytest.MonkeyPatch) -> list[PublicKeyInfo]:
    """The keys with which signatures were checked."""
    checks: list[PublicKeyInfo] = []
    verify = PublicKeyInfo.verify

    def count(info: PublicKeyInfo, *arguments: Any, **keywords: Any) -> None:
        checks.append(info)
        verify(info, *arguments, **keywords)

    monkeypatch.setattr(PublicKeyInfo, "verify", count)
    return checks


def test_the_search_makes_at_most_32_signature_checks(
    signature_checks: list[PublicKeyInfo],
) -> None:
    # Many CAs of the right name and key, none of which the root has signed.
    false = [
        ca("CN=Sub,O=Vendor", SUB_KEY, "CN=Root,O=Vendor", OTHER_KEY) for _ in range(63)
    ]
    assert refusal(leaf(), false, [ROOT])
    assert len(signature_checks) == 32


def test_a_maze_of_cross_certificates_ends_at_the_limit(
    signature_checks: list[PublicKeyInfo],
) -> None:
    keys = [private_key("ec:P-256", 30 + n) for n in range(8)]
    maze = [
        ca(f"CN=N{n}", keys[n], f"CN=N{m}", keys[m])
        for n in range(8)
        for m in range(8)
        if n != m
    ]
    unit = leaf(issuer="CN=N0", key=keys[0])
    assert refusal(unit, maze, [ROOT])
    assert len(signature_checks) == 32


def test_intermediates_beyond_the_limit_are_not_looked_at() -> None:
    strangers = [ca("CN=Stranger", OTHER_KEY)] * 64
    code = code_of(validate_chain, leaf(), [*strangers, SUB], [ROOT], NOW)
    assert code is ErrorCode.MISSING_INFORMATION


# --- critical extensions ------------------------------------------------------


def test_unknown_critical_extensions_are_refused_everywhere() -> None:
    odd = Extension("1.2.3.4", True, der.NULL)
    assert "1.2.3.4" in refusal(leaf(odd), [SUB], [ROOT])
    assert "1.2.3.4" in refusal(leaf(), [sub_with(CA, odd)], [ROOT])
    assert "1.2.3.4" in refusal(leaf(), [], [sub_with(CA, odd)])
    plain = Extension("1.2.3.4", False, der.NULL)
    assert validate_chain(leaf(plain), [sub_with(CA, plain)], [ROOT], NOW)


def test_known_critical_extensions_are_not() -> None:
    unit = leaf(
        ext.key_usage(["digitalSignature"]),
        ext.extended_key_usage([oids.ID_KP_CMC_RA], critical=True),
        ext.certificate_policies([ext.PolicyInformation("1.2.3")], critical=True),
        ext.subject_alternative_name([GeneralName.dns("a.example")], critical=True),
    )
    sub = sub_with(CA, ext.inhibit_any_policy(0))
    assert validate_chain(unit, [sub], [ROOT], NOW)


def test_a_chain_that_demands_an_explicit_policy_is_refused() -> None:
    demanding = sub_with(CA, ext.policy_constraints(require_explicit_policy=0))
    assert "explicit policy" in refusal(leaf(), [demanding], [ROOT])
    mapping = sub_with(CA, ext.policy_constraints(inhibit_policy_mapping=0))
    assert validate_chain(leaf(), [mapping], [ROOT], NOW)


# --- name constraints ---------------------------------------------------------

DNS, MAIL, URI, IP = (
    GeneralName.dns,
    GeneralName.email,
    GeneralName.uri,
    GeneralName.ip,
)


def network(address: str, prefix: int) -> GeneralName:
    octets = IP(address).value
    bits = 8 * len(octets)
    mask = ((1 << prefix) - 1) << (bits - prefix)
    return IP(octets + mask.to_bytes(len(octets), "big"))


def directory(text: str) -> GeneralName:
    return GeneralName.directory(Name.from_text(text))


@pytest.mark.parametrize(
    ("base", "name", "within"),
    [
        (DNS("example.com"), DNS("example.com"), True),
        (DNS("example.com"), DNS("EXAMPLE.com"), True),
        (DNS("example.com"), DNS("a.b.example.com"), True),
        (DNS("example.com"), DNS("badexample.com"), False),
        (DNS("example.com"), DNS("com"), False),
        (DNS("example.com"), DNS("example.com.evil"), False),
        (DNS("example.com"), DNS("example.com."), True),
        (DNS("example.com"), DNS("*.example.com"), True),
        (DNS(".example.com"), DNS("a.example.com"), True),
        (DNS(".example.com"), DNS("example.com"), False),
        (DNS(""), DNS("anything"), True),
        (MAIL("a@example.com"), MAIL("a@EXAMPLE.com"), True),
        (MAIL("a@example.com"), MAIL("A@example.com"), False),
        (MAIL("example.com"), MAIL("any@example.com"), True),
        (MAIL("example.com"), MAIL("any@sub.example.com"), False),
        (MAIL(".example.com"), MAIL("any@sub.example.com"), True),
        (MAIL(".example.com"), MAIL("any@example.com"), False),
        (MAIL("example.com"), MAIL("example.com"), False),
        (URI("example.com"), URI("https://example.com/path"), True),
        (URI("example.com"), URI("https://u@example.com:8443/"), True),
        (URI("example.com"), URI("https://sub.example.com/"), False),
        (URI(".example.com"), URI("https://sub.example.com/"), True),
        (URI(".example.com"), URI("https://example.com/"), False),
        (URI("example.com"), URI("https://evil.com/example.com"), False),
        (URI("example.com"), URI("urn:uuid:f81d4fae"), False),
        (URI("example.com"), URI("https://192.0.2.1/"), False),
        (URI("example.com"), URI("https://[2001:db8::1]/"), False),
        (URI("example.com"), URI("https://[broken/"), False),
        (network("192.0.2.0", 24), IP("192.0.2.77"), True),
        (network("192.0.2.0", 24), IP("192.0.3.77"), False),
        (network("192.0.2.0", 24), IP("2001:db8::1"), False),
        (network("2001:db8::", 32), IP("2001:db8:1::1"), True),
        (network("0.0.0.0", 0), IP("8.8.8.8"), True),
        (directory("O=Vendor"), directory("CN=a,OU=b,O=vendor"), True),
        (directory("OU=b,O=Vendor"), directory("OU=b,O=Vendor"), True),
        (directory("OU=b,O=Vendor"), directory("O=Vendor"), False),
        (directory("O=Vendor"), directory("O=Vendor2"), False),
        (directory("O=Vendor"), directory("O=Vendor,C=DE"), False),
    ],
)
def test_names_within_a_subtree(
    base: GeneralName, name: GeneralName, within: bool
) -> None:
    unit = leaf(ext.subject_alternative_name([name]), subject="")
    permitted = sub_with(CA, ext.name_constraints([base], []))
    if within:
        assert validate_chain(unit, [permitted], [ROOT], NOW)
    else:
        assert "name constraints" in refusal(unit, [permitted], [ROOT])


@pytest.mark.parametrize(
    ("base", "name", "touched"),
    [
        (DNS("example.com"), DNS("a.example.com"), True),
        (DNS("example.com"), DNS("example.org"), False),
        (DNS("a.example.com"), DNS("*.example.com"), True),
        (DNS(".a.example.com"), DNS("*.example.com"), True),
        (DNS("a.example.org"), DNS("*.example.com"), False),
        (MAIL("example.com"), MAIL("a@example.com"), True),
        (MAIL("example.com"), MAIL("no address"), True),
        (MAIL("example.com"), MAIL("a@example.org"), False),
        (URI("example.com"), URI("https://example.com/"), True),
        (URI("example.com"), URI("urn:x:y"), True),
        (URI("example.com"), URI("https://example.org/"), False),
        (network("10.0.0.0", 8), IP("10.1.2.3"), True),
        (network("10.0.0.0", 8), IP("11.1.2.3"), False),
        (directory("O=Vendor"), directory("CN=a,O=Vendor"), True),
        (directory("O=Vendor"), directory("CN=a,O=Other"), False),
    ],
)
def test_names_touched_by_an_excluded_subtree(
    base: GeneralName, name: GeneralName, touched: bool
) -> None:
    unit = leaf(ext.subject_alternative_name([name]), subject="")
    excluding = sub_with(CA, ext.name_constraints([], [base]))
    if touched:
        assert "name constraints" in refusal(unit, [excluding], [ROOT])
    else:
        assert validate_chain(unit, [excluding], [ROOT], NOW)


def test_exclusion_rules_over_permission() -> None:
    constraints = ext.name_constraints([DNS("example.com")], [DNS("a.example.com")])
    sub = sub_with(CA, constraints)
    assert validate_chain(san(DNS("b.example.com")), [sub], [ROOT], NOW)
    assert refusal(san(DNS("a.example.com")), [sub], [ROOT])


def san(*names: GeneralName, **rest: Any) -> Certificate:
    return leaf(ext.subject_alternative_name(names), **rest)


def test_every_name_must_be_within() -> None:
    sub = sub_with(CA, ext.name_constraints([DNS("example.com")], []))
    assert refusal(san(DNS("example.com"), DNS("evil.org")), [sub], [ROOT])


def test_names_of_other_kinds_are_free() -> None:
    sub = sub_with(CA, ext.name_constraints([DNS("example.com")], []))
    assert validate_chain(san(IP("10.0.0.1"), MAIL("a@b.c")), [sub], [ROOT], NOW)


def test_the_subject_is_a_directory_name() -> None:
    sub = sub_with(CA, ext.name_constraints([directory("O=Vendor")], []))
    assert validate_chain(leaf(), [sub], [ROOT], NOW)
    assert refusal(leaf(subject="CN=unit,O=Other"), [sub], [ROOT])


def test_addresses_in_the_subject_count_where_the_SAN_has_none() -> None:
    sub = sub_with(CA, ext.name_constraints([MAIL("example.com")], []))
    subject = "emailAddress=a@{},O=Vendor"
    assert validate_chain(
        leaf(subject=subject.format("example.com")), [sub], [ROOT], NOW
    )
    assert refusal(leaf(subject=subject.format("evil.org")), [sub], [ROOT])


def test_a_mailbox_in_UTF8_does_not_slip_past() -> None:
    sub = sub_with(CA, ext.name_constraints([MAIL("example.com")], []))
    other = GeneralName.other(
        oids.ID_ON_SMTP_UTF8_MAILBOX, der.utf8_string("ö@evil.org")
    )
    assert refusal(san(other), [sub], [ROOT])


def test_other_names_that_are_no_mailbox_are_free_of_its_constraints() -> None:
    sub = sub_with(CA, ext.name_constraints([MAIL("example.com")], []))
    upn = GeneralName.other(
        oids.MICROSOFT_USER_PRINCIPAL_NAME, der.utf8_string("a@evil.org")
    )
    assert validate_chain(san(upn), [sub], [ROOT], NOW)


def test_constraints_on_other_kinds_refuse_what_has_such_a_name() -> None:
    rid = GeneralName.rid("1.2.3")
    for lists in (([rid], []), ([], [rid])):
        sub = sub_with(CA, ext.name_constraints(*lists))
        assert refusal(san(rid), [sub], [ROOT])
        assert validate_chain(san(DNS("a.example")), [sub], [ROOT], NOW)


def test_constraints_hold_for_the_CAs_below_but_not_for_self_issued_ones() -> None:
    root = ca(
        "CN=Root,O=Vendor",
        ROOT_KEY,
        None,
        None,
        ext.name_constraints([directory("O=Tenant")], []),
    )
    assert refusal(leaf(), [SUB], [root])
    new_key = private_key("ec:P-256", 14)
    link = ca("CN=Root,O=Vendor", new_key, "CN=Root,O=Vendor", ROOT_KEY)
    unit = leaf(issuer="CN=Root,O=Vendor", key=new_key, subject="CN=x,O=Tenant")
    assert validate_chain(unit, [link], [root], NOW) == (unit, link, root)
    # The leaf is held to them even if it is self-issued.
    own = leaf(issuer="CN=Root,O=Vendor", key=ROOT_KEY, subject="CN=Root,O=Vendor")
    assert refusal(own, [], [root])


def subtree(*parts: bytes) -> bytes:
    return der.sequence(der.encode(0xA0, der.sequence(DNS("a").encode(), *parts)))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        der.NULL,
        der.sequence(b"\xa0\x00"),
        der.sequence(b"\xa2\x00"),
        der.sequence(der.encode(0xA0, der.NULL)),
        subtree(b"\x80\x01\x01"),
        subtree(b"\x81\x01\x05"),
    ],
)
def test_malformed_constraints_refuse_the_chain(value: bytes) -> None:
    assert code_of(NameConstraints.decode, value) is ErrorCode.MALFORMED
    broken = Extension(oids.ID_CE_NAME_CONSTRAINTS, True, value)
    assert refusal(leaf(), [sub_with(CA, broken)], [ROOT])


def test_very_many_names_and_constraints_are_refused() -> None:
    many = [DNS(f"h{n}.example.com") for n in range(200)]
    sub = sub_with(CA, ext.name_constraints(many, []))
    assert "too many" in refusal(san(*many), [sub], [ROOT])


def test_broken_key_identifiers_do_not_stop_the_search() -> None:
    broken = Extension(oids.ID_CE_AUTHORITY_KEY_IDENTIFIER, False, b"x")
    octets = issue("CN=Sub,O=Vendor", SUB_KEY, "CN=x", LEAF_KEY.public_key(), broken)
    unit = Certificate.decode(octets)
    own = Extension(oids.ID_CE_SUBJECT_KEY_IDENTIFIER, False, b"x")
    sub = sub_with(CA, own)
    assert validate_chain(unit, [sub], [ROOT], NOW) == (unit, sub, ROOT)


def test_life_beyond_the_year_2050_is_read() -> None:
    unit = leaf(not_after=NOW + 100 * YEAR)
    assert validate_chain(unit, [SUB], [ROOT], NOW)
