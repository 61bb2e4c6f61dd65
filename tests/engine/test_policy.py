"""What would be signed: profiles, names, extensions, validity. All of it pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.asn1 import oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import Extension
from pkid.crypto import extensions
from pkid.crypto.publickeys import decode_spki
from pkid.crypto.tbs import NO_EXPIRY
from pkid.engine import lint
from pkid.engine.aliases import Alias, ApprovalRule
from pkid.engine.authorization import Grant
from pkid.engine.model import EndEntity, EntityStatus, RequestedCertificate
from pkid.engine.naming import check_alternative_name
from pkid.engine.policy import CertificatePlan, IssuerBounds, plan_certificate
from pkid.engine.profiles import (
    CertificateProfile,
    EndEntityProfile,
    NameField,
    ProfileKind,
)
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import START, DeviceKey

KEY = DeviceKey()
BOUNDS = IssuerBounds(
    not_before=START - timedelta(days=1),
    not_after=START + timedelta(days=3650),
    path_length=0,
)
SUBJECT = "CN=device,OU=field,O=Operator,C=SE"


def plan(
    *asked: Extension,
    subject: str = SUBJECT,
    rules: EndEntityProfile | None = None,
    bounds: IssuerBounds | None = BOUNDS,
    requested: RequestedCertificate | None = None,
    **profile: object,
) -> CertificatePlan:
    form = CertificateProfile(name="test", **profile)  # type: ignore[arg-type]
    grant = Grant(
        alias=Alias(name="default", protocol="cmp", authority="issuing"),
        profile=form,
        end_entity_profile=rules or EndEntityProfile(name="test"),
        approval=ApprovalRule(),
        entity=EndEntity(name="device", status=EntityStatus.NEW, created=START),
        new_entity=True,
    )
    wanted = requested or RequestedCertificate(
        subject=Name.from_text(subject), public_key=KEY.spki, extensions=asked
    )
    made = plan_certificate(grant, wanted, decode_spki(KEY.spki), bounds, START)
    lint.check(made)
    return made


def refused(*asked: Extension, **fields: object) -> ErrorCode:
    with pytest.raises(PKIError) as caught:
        plan(*asked, **fields)  # type: ignore[arg-type]
    return caught.value.code


def alternative(*names: GeneralName) -> Extension:
    return extensions.subject_alternative_name(names)


# --- extensions --------------------------------------------------------------------


@pytest.mark.requirement("SEC-94", "CMP-66")
@pytest.mark.parametrize("number", range(30))
def test_no_extension_is_copied_that_the_profile_does_not_list(number: int) -> None:
    smuggled = Extension(f"1.3.6.1.4.1.99999.{number}", False, b"\x05\x00")
    made = plan(smuggled)
    assert made.copied == ()
    assert made.modified
    critical = replace(smuggled, critical=True)
    assert refused(critical) is ErrorCode.UNACCEPTED_EXTENSION
    assert plan(critical, request_extensions=(smuggled.oid,)).copied == (critical,)


@pytest.mark.requirement("SEC-94")
@pytest.mark.parametrize(
    "oid",
    [
        oids.ID_CE_AUTHORITY_KEY_IDENTIFIER,
        oids.ID_CE_SUBJECT_KEY_IDENTIFIER,
        oids.ID_CE_CRL_DISTRIBUTION_POINTS,
        oids.ID_PE_AUTHORITY_INFO_ACCESS,
    ],
)
def test_what_only_the_issuer_says_is_never_copied(oid: str) -> None:
    asked = Extension(oid, False, b"\x30\x00")
    assert plan(asked, request_extensions=(oid,)).copied == ()


@pytest.mark.requirement("CMP-67")
def test_a_request_does_not_make_a_ca() -> None:
    asked = extensions.basic_constraints(ca=True)
    assert refused(asked) is ErrorCode.NOT_AUTHORIZED
    usage = extensions.key_usage(("keyCertSign",))
    assert refused(usage) is ErrorCode.BAD_TEMPLATE
    odd = Extension(oids.ID_CE_BASIC_CONSTRAINTS, True, b"\x30\x03\x02\x01\x00")
    assert refused(odd) is ErrorCode.BAD_TEMPLATE
    assert plan(extensions.basic_constraints(ca=False)).profile.kind


def test_an_issuer_of_path_length_zero_certifies_no_ca() -> None:
    assert refused(kind=ProfileKind.SUB_CA) is ErrorCode.NOT_AUTHORIZED
    wide = replace(BOUNDS, path_length=1)
    usage = ("keyCertSign", "cRLSign")
    made = plan(kind=ProfileKind.SUB_CA, key_usage=usage, bounds=wide)
    assert made.key_usage == frozenset(usage)


@pytest.mark.requirement("CMP-68")
@pytest.mark.parametrize(
    "purpose", [oids.ID_KP_CMC_CA, oids.ID_KP_CMC_RA, oids.ID_KP_CM_KGA]
)
def test_authority_purposes_come_from_the_profile_only(purpose: str) -> None:
    asked = extensions.extended_key_usage((purpose,))
    assert refused(asked) is ErrorCode.NOT_AUTHORIZED
    made = plan(asked, request_extended_key_usage=(purpose,))
    assert made.extended_key_usage == (purpose,)


def test_extended_key_usage_is_narrowed_to_what_is_allowed() -> None:
    both = (oids.ID_KP_CLIENT_AUTH, oids.ID_KP_SERVER_AUTH)
    asked = extensions.extended_key_usage(both)
    made = plan(asked, extended_key_usage=(oids.ID_KP_CLIENT_AUTH,))
    assert made.extended_key_usage == (oids.ID_KP_CLIENT_AUTH,)
    assert made.modified


@pytest.mark.requirement("CMP-69")
def test_key_usage_must_fit_the_key() -> None:
    asked = extensions.key_usage(("digitalSignature", "keyEncipherment"))
    assert refused(asked) is ErrorCode.BAD_TEMPLATE
    made = plan(extensions.key_usage(("digitalSignature",)))
    assert made.key_usage == {"digitalSignature"}
    assert not made.modified
    assert plan().key_usage == {"digitalSignature", "keyAgreement"}


def test_a_broken_extension_is_badCertTemplate() -> None:
    broken = Extension(oids.ID_CE_KEY_USAGE, True, b"\x04\x00")
    assert refused(broken) is ErrorCode.BAD_TEMPLATE


# --- keys --------------------------------------------------------------------------


@pytest.mark.requirement("CMP-62", "ENG-02")
def test_a_key_that_the_profile_does_not_list_is_refused() -> None:
    assert refused(keys=("rsa:2048-4096",)) is ErrorCode.BAD_ALGORITHM
    assert refused(keys=("ec:P-384",)) is ErrorCode.BAD_ALGORITHM
    assert plan(keys=("ec:P-256",)).key.family == "ec:P-256"


# --- validity ----------------------------------------------------------------------


@pytest.mark.requirement("CMP-65")
def test_validity_is_clipped_to_profile_and_issuer() -> None:
    def ask(days: int) -> CertificatePlan:
        wanted = RequestedCertificate(
            subject=Name.from_text(SUBJECT),
            public_key=KEY.spki,
            not_after=START + timedelta(days=days),
        )
        return plan(requested=wanted, validity=timedelta(days=90))

    assert ask(30).not_after == START + timedelta(days=30)
    assert not ask(30).modified
    long = ask(400)
    assert long.not_after == START + timedelta(days=90) - timedelta(seconds=1)
    assert long.modified


def test_a_certificate_may_have_no_end_but_its_issuers() -> None:
    assert plan(forever=True).not_after == BOUNDS.not_after
    assert plan(forever=True, bounds=None).not_after == NO_EXPIRY


def test_a_validity_in_the_past_is_refused() -> None:
    wanted = RequestedCertificate(
        subject=Name.from_text(SUBJECT),
        public_key=KEY.spki,
        not_after=START - timedelta(days=1),
    )
    assert refused(requested=wanted) is ErrorCode.BAD_TEMPLATE


# --- names -------------------------------------------------------------------------


@pytest.mark.requirement("ENG-11")
def test_subject_fields_follow_their_rules() -> None:
    rules = EndEntityProfile(
        name="test",
        subject=(
            NameField(field="CN", required=True, pattern="device-[0-9]+"),
            NameField(field="O", modifiable=False, default="Operator"),
        ),
        other_fields=False,
    )
    made = plan(subject="CN=device-7,O=Somebody", rules=rules)
    assert made.subject.text() == "O=Operator,CN=device-7"
    assert made.modified
    assert refused(subject="CN=router", rules=rules) is ErrorCode.BAD_TEMPLATE
    assert refused(subject="O=Operator", rules=rules) is ErrorCode.BAD_TEMPLATE
    assert refused(subject="CN=device-7,C=SE", rules=rules) is ErrorCode.BAD_TEMPLATE


@pytest.mark.requirement("ENG-10")
def test_subject_fields_are_picked_and_put_in_order() -> None:
    made = plan(subject_subset=("CN", "O"), subject_order=("O", "CN"))
    assert made.subject.text() == "CN=device,O=Operator"
    assert made.modified


@pytest.mark.requirement("ENG-11")
def test_alternative_names_follow_their_rules() -> None:
    rules = EndEntityProfile(
        name="test",
        subject=tuple(NameField(field=field) for field in ("CN", "OU", "O", "C")),
        alternative_names=(
            NameField(field="dns", required=True, pattern=r"[a-z]+\.example"),
        ),
        other_fields=False,
    )
    good = alternative(GeneralName.dns("a.example"))
    assert len(plan(good, rules=rules).alternative_names) == 1
    assert refused(rules=rules) is ErrorCode.BAD_TEMPLATE
    wrong = alternative(GeneralName.dns("a.other"))
    assert refused(wrong, rules=rules) is ErrorCode.BAD_TEMPLATE
    address = alternative(GeneralName.ip("192.0.2.1"))
    assert refused(address, rules=rules) is ErrorCode.BAD_TEMPLATE


@pytest.mark.requirement("CMP-61")
def test_a_certificate_names_something() -> None:
    assert refused(subject="") is ErrorCode.BAD_TEMPLATE
    assert plan(alternative(GeneralName.dns("a.example")), subject="")


@pytest.mark.requirement("ENG-13")
@pytest.mark.parametrize(
    "name",
    [
        "-a.example",
        "a..example",
        "a.example.",
        "a b.example",
        "x" * 64 + ".example",
        "xn--a.example",
        "xn--\x00.example",
        "*.example",
        "a.*.example",
        ".".join(["abcdefgh"] * 29),
    ],
)
def test_what_is_no_dns_name_is_refused(name: str) -> None:
    with pytest.raises(PKIError) as caught:
        check_alternative_name(GeneralName(2, name.encode("latin-1")), wildcards=True)
    assert caught.value.code is ErrorCode.BAD_TEMPLATE


@pytest.mark.requirement("ENG-13")
def test_wildcards_need_their_switch_and_internationalised_names_their_form() -> None:
    wildcard = GeneralName.dns("*.a.example")
    check_alternative_name(wildcard, wildcards=True)
    with pytest.raises(PKIError):
        check_alternative_name(wildcard, wildcards=False)
    check_alternative_name(GeneralName.dns("xn--bcher-kva.example"), wildcards=False)


@given(octets=st.binary(max_size=80), tag=st.integers(min_value=0, max_value=8))
def test_any_alternative_name_is_taken_or_refused(octets: bytes, tag: int) -> None:
    try:
        check_alternative_name(GeneralName(tag, octets), wildcards=True)
    except PKIError as error:
        assert error.code is ErrorCode.BAD_TEMPLATE  # noqa: PT017


# --- lint --------------------------------------------------------------------------


def test_every_lint_rule_holds_for_a_good_plan() -> None:
    assert lint.findings(plan()) == ()


def test_a_long_common_name_is_found() -> None:
    assert refused(subject="CN=" + "x" * 65) is ErrorCode.BAD_TEMPLATE


def test_a_profile_with_constraints_on_an_end_entity_issues_nothing() -> None:
    assert refused(permitted_names=("dns:example",)) is ErrorCode.BAD_TEMPLATE


def test_the_digest_is_over_names_key_and_profile() -> None:
    one = plan()
    assert one.digest == plan().digest
    assert one.digest != plan(subject="CN=other").digest
    assert one.digest != replace(one, profile=replace(one.profile, name="x")).digest
