"""genm with a value, and answers made from profiles, rollovers and CRLs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.profiles import EndEntityProfile, NameField
from pkid.messages.cmp import infotypes
from pkid.messages.cmp.body import BodyType, GenMsgContent
from pkid.messages.cmp.crlstatus import (
    CRLIssuer,
    CRLSource,
    CRLStatus,
    FullName,
    NameRelativeToCRLIssuer,
)
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.status import FailInfo
from tests.engine.world import CMP, result_of
from tests.responders.desk import Desk
from tests.responders.peers import Answer, ByMAC, message

P256 = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(oids.SECP256R1))
P384 = AlgorithmIdentifier(oids.ID_EC_PUBLIC_KEY, der.oid(oids.SECP384R1))


def question(desk: Desk, *infos: InfoTypeAndValue, **header: Any) -> Answer:
    return desk.ask(message(BodyType.GENM, GenMsgContent(infos), ByMAC(), **header))


def told(desk: Desk, info: InfoTypeAndValue, **header: Any) -> InfoTypeAndValue:
    answer = question(desk, info, **header)
    assert answer.body_type is BodyType.GENP
    assert isinstance(answer.body, GenMsgContent)
    (found,) = answer.body.info_values
    return found


# --- keys and templates ------------------------------------------------------------


@pytest.mark.requirement("CMP-129")
@pytest.mark.parametrize(
    ("algorithm", "found"),
    [
        (oids.ID_EC_PUBLIC_KEY, P384),
        (oids.RSA_ENCRYPTION, AlgorithmIdentifier(oids.RSA_ENCRYPTION, der.NULL)),
        (oids.ID_ED25519, None),
        ("1.2.840.10040.4.1", None),
    ],
    ids=["ec", "rsa", "not-taken", "dsa"],
)
def test_parameters_of_keys_are_those_of_the_profile(
    desk: Desk, algorithm: str, found: AlgorithmIdentifier | None
) -> None:
    desk.world.change_profile("device", keys=("ec:P-384", "ec:P-256", "rsa:2048"))
    info = told(desk, infotypes.KEY_PAIR_PARAM_REQ.info(algorithm))
    assert info.oid == oids.ID_IT_KEY_PAIR_PARAM_REP
    assert infotypes.KEY_PAIR_PARAM_REP.read(info) == found


@pytest.mark.requirement("CMP-129")
def test_parameters_of_no_algorithm_are_badRequest(desk: Desk) -> None:
    answer = question(desk, infotypes.KEY_PAIR_PARAM_REQ.info())
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-133")
def test_a_template_says_which_keys_are_taken(desk: Desk) -> None:
    desk.world.change_profile(
        "device", keys=("ec:P-384", "rsa:2048-4096", "ed25519", "ec:P-256")
    )
    info = told(desk, infotypes.CERT_REQ_TEMPLATE.info())
    template = infotypes.CERT_REQ_TEMPLATE.read(info)
    assert template is not None
    assert template.algorithms == (P384, AlgorithmIdentifier(oids.ID_ED25519), P256)
    assert template.rsa_key_lens == (2048, 3072, 4096)
    inner = template.cert_template
    assert inner.spki is None
    assert inner.serial_number is None
    assert inner.signing_alg is None


@pytest.mark.requirement("CMP-133")
def test_a_template_holds_what_the_profiles_fix(desk: Desk) -> None:
    desk.world.change_profile(
        "device",
        key_usage=("digitalSignature",),
        extended_key_usage=(oids.ID_KP_CMC_RA,),
    )
    rules = EndEntityProfile(
        name="fixed",
        subject=(
            NameField(field="O", modifiable=False, default="pkid test"),
            NameField(field="CN", required=True),
        ),
    )
    world = desk.world
    world.policies = replace(
        world.policies,
        end_entity_profiles={**world.policies.end_entity_profiles, "fixed": rules},
    )
    world.change_alias(end_entity_profile="fixed")
    info = told(desk, infotypes.CERT_REQ_TEMPLATE.info())
    template = infotypes.CERT_REQ_TEMPLATE.read(info)
    assert template is not None
    assert template.cert_template.subject == Name.from_text("O=pkid test").der
    assert [one.oid for one in template.cert_template.extensions] == [
        oids.ID_CE_KEY_USAGE,
        oids.ID_CE_EXT_KEY_USAGE,
    ]


@pytest.mark.requirement("CMP-133", "CMP-22")
def test_a_template_is_that_of_the_profile_in_the_header(desk: Desk) -> None:
    world = desk.world
    other = replace(
        world.policies.certificate_profile("device"), name="other", keys=("ed25519",)
    )
    world.policies = replace(
        world.policies,
        certificate_profiles={**world.policies.certificate_profiles, "other": other},
    )
    world.change_alias(profiles=("other",))
    wish = (infotypes.CERT_PROFILE.info(("other",)),)
    info = told(desk, infotypes.CERT_REQ_TEMPLATE.info(), general_info=wish)
    template = infotypes.CERT_REQ_TEMPLATE.read(info)
    assert template is not None
    assert template.algorithms == (AlgorithmIdentifier(oids.ID_ED25519),)
    wish = (infotypes.CERT_PROFILE.info(("stranger",)),)
    answer = question(desk, infotypes.CERT_REQ_TEMPLATE.info(), general_info=wish)
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE


@pytest.mark.requirement("CMP-124")
def test_caProtEncCert_is_that_of_the_key_for_agreement(desk: Desk) -> None:
    identity = result_of(desk.world.engine.prepare_agreement_identity("issuing", CMP))
    info = told(desk, infotypes.CA_PROT_ENC_CERT.info())
    assert info.value == identity.certificate


# --- roots -------------------------------------------------------------------------


def root(desk: Desk) -> bytes:
    return desk.world.engine.chain("issuing")[-1]


@pytest.mark.requirement("CMP-127")
def test_without_a_newer_root_its_update_is_absent(desk: Desk) -> None:
    for asked in (None, root(desk), desk.world.engine.chain("issuing")[0]):
        info = told(desk, infotypes.ROOT_CA_CERT.info(asked))
        assert info == InfoTypeAndValue(oids.ID_IT_ROOT_CA_KEY_UPDATE)
    info = told(desk, infotypes.CA_KEY_UPDATE_INFO.info())
    assert info == InfoTypeAndValue(oids.ID_IT_CA_KEY_UPDATE_INFO)


@pytest.mark.requirement("CMP-127")
def test_a_newer_root_is_told_with_both_links(desk: Desk) -> None:
    old = root(desk)
    engine = desk.world.engine
    name = next(
        name for name in engine.authority_names() if engine.chain(name) == (old,)
    )
    result_of(engine.rollover.prepare(name, "", CMP))
    found = engine.rollover.root_update(old)
    assert found is not None
    for asked in (None, old):
        info = told(desk, infotypes.ROOT_CA_CERT.info(asked))
        update = infotypes.ROOT_CA_KEY_UPDATE.read(info)
        assert update is not None
        assert update.new_with_new == found.new_with_new
        assert update.new_with_old == found.new_with_old
        assert update.old_with_new == found.old_with_new
    info = told(desk, infotypes.CA_KEY_UPDATE_INFO.info())
    older = infotypes.CA_KEY_UPDATE_INFO.read(info)
    assert older is not None
    assert older.new_with_new == found.new_with_new


@pytest.mark.requirement("CMP-122")
def test_a_root_that_is_no_certificate_is_badDataFormat(desk: Desk) -> None:
    answer = question(desk, InfoTypeAndValue(oids.ID_IT_ROOT_CA_CERT, der.NULL))
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT


# --- CRLs --------------------------------------------------------------------------


def crls(desk: Desk, *statuses: CRLStatus) -> tuple[bytes, ...]:
    info = told(desk, infotypes.CRL_STATUS_LIST.info(statuses))
    assert info.oid == oids.ID_IT_CRLS
    return infotypes.CRLS.read(info) or ()


def by_issuer(desk: Desk) -> CRLSource:
    subject = desk.world.engine.authority_subject("issuing")
    return CRLIssuer((GeneralName.directory(subject),))


def by_point(_: Desk) -> CRLSource:
    return FullName((GeneralName.uri("http://127.0.0.1:8080/crls/issuing.crl"),))


def by_point_of_its_issuer(desk: Desk) -> CRLSource:
    subject = desk.world.engine.authority_subject("issuing")
    return FullName((GeneralName.directory(subject),))


@pytest.mark.requirement("CMP-134")
@pytest.mark.parametrize(
    "source",
    [by_issuer, by_point, by_point_of_its_issuer],
    ids=lambda made: made.__name__,
)
def test_only_a_newer_crl_is_given(desk: Desk, source: object) -> None:
    assert callable(source)
    made = source(desk)
    latest = result_of(desk.world.engine.latest_crl("issuing"))
    assert crls(desk, CRLStatus(made)) == (latest.der,)
    before = latest.this_update - timedelta(seconds=1)
    assert crls(desk, CRLStatus(made, before)) == (latest.der,)
    assert crls(desk, CRLStatus(made, latest.this_update)) == ()


@pytest.mark.requirement("CMP-134")
@pytest.mark.parametrize(
    "source",
    [
        FullName((GeneralName.uri("http://elsewhere.example/crls/issuing.crl"),)),
        CRLIssuer((GeneralName.directory(Name.from_text("CN=elsewhere")),)),
        NameRelativeToCRLIssuer(
            der.set_of(der.sequence(der.oid("2.5.4.3"), der.utf8_string("point")))
        ),
    ],
    ids=["url", "issuer", "relative"],
)
def test_crls_from_elsewhere_are_not_fetched(desk: Desk, source: CRLSource) -> None:
    assert crls(desk, CRLStatus(source)) == ()


@pytest.mark.requirement("CMP-134")
def test_crls_of_no_source_are_badRequest(desk: Desk) -> None:
    answer = question(desk, infotypes.CRL_STATUS_LIST.info())
    assert answer.fail_info is FailInfo.BAD_REQUEST


# --- what is no question -----------------------------------------------------------


@pytest.mark.requirement("CMP-128")
@pytest.mark.parametrize(
    "oid",
    [
        oids.ID_IT_IMPLICIT_CONFIRM,
        oids.ID_IT_CONFIRM_WAIT_TIME,
        oids.ID_IT_ORIG_PKI_MESSAGE,
        oids.ID_IT_CERT_PROFILE,
        oids.ID_IT_CRLS,
        oids.ID_IT_KEY_PAIR_PARAM_REP,
        oids.ID_IT_UNSUPPORTED_OIDS,
    ],
)
def test_what_belongs_elsewhere_is_no_question(desk: Desk, oid: str) -> None:
    info = told(desk, InfoTypeAndValue(oid))
    assert infotypes.UNSUPPORTED_OIDS.read(info) == (oid,)
