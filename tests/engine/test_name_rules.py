"""What a vendor's unit is called: registered name, the entrance's rule, the request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pkid.asn1 import oids
from pkid.asn1.names import GeneralName, Name, encode_general_names
from pkid.asn1.x509 import Extension
from pkid.engine.aliases import Authentication, Mode, VendorTrust
from pkid.engine.model import EndEntity, EntityStatus, Issued, Pending
from pkid.engine.namerules import UnitFacts, alternative_name_by_rule, subject_by_rule
from pkid.errors import ErrorCode, PKIError
from tests.engine.test_identification import Vendor
from tests.engine.world import CMP, OPERATOR, START, World, result_of

FACTS = UnitFacts(
    entity="site-1",
    unit="S-1",
    vendor="acme",
    subject=Name.from_text("CN=unit S-1+serialNumber=S-1,O=Acme"),
)


@pytest.fixture
def vendor(world: World) -> Vendor:
    vendor = Vendor()
    trust = VendorTrust(name="acme", anchors=(vendor.root,))
    world.policies = replace(world.policies, vendors={"acme": trust})
    world.change_alias(authenticate=frozenset(Authentication), vendors=("acme",))
    return vendor


def register(world: World, unit: str = "S-1", **fields: object) -> None:
    entity = EndEntity(
        name="site-1",
        status=EntityStatus.NEW,
        created=START,
        vendor=f"acme|{unit}",
        **fields,  # type: ignore[arg-type]
    )
    result_of(world.engine.administration.add_entity(entity, OPERATOR, CMP))


def ask(world: World, vendor: Vendor, subject: str = "", **fields: Any) -> Issued:
    requester = result_of(world.engine.identify(world.alias, vendor.unit("S-1"), ()))
    request = world.request(requester, subject=subject or None, **fields)
    return world.issue(request)


def names_of(issued: Issued) -> tuple[str, list[str]]:
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(issued.der)
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return issued.certificate.subject, []
    return issued.certificate.subject, [str(name.value) for name in found.value]


@pytest.mark.requirement("CMP-181")
def test_without_a_subject_in_the_template_the_registered_name_stands(
    world: World, vendor: Vendor
) -> None:
    register(world)
    assert names_of(ask(world, vendor)) == ("CN=site-1", [])


def test_without_a_rule_a_unit_without_registered_subject_asks_for_its_own(
    world: World, vendor: Vendor
) -> None:
    register(world)
    issued = ask(world, vendor, "CN=its own")
    assert names_of(issued) == ("CN=its own", [])
    assert issued.certificate.entity == "site-1"


@pytest.mark.requirement("CMP-181", "ENG-22")
@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.value)
def test_the_entrances_rule_names_a_unit(
    world: World, vendor: Vendor, mode: Mode
) -> None:
    world.change_alias(
        mode=mode,
        issued_subject="CN={entity},OU={serialNumber},O=Operator",
        issued_names=("dns:{entity}.ran.example",),
    )
    register(world)
    for asked in ("", "CN=its own,O=Acme"):
        issued = ask(world, vendor, asked)
        assert names_of(issued) == (
            "CN=site-1,OU=S-1,O=Operator",
            ["site-1.ran.example"],
        )


def test_the_registered_subject_goes_before_the_rule(
    world: World, vendor: Vendor
) -> None:
    world.change_alias(
        issued_subject="CN={unit}", issued_names=("dns:{unit}.ran.example",)
    )
    register(world, subject="CN=registered")
    assert names_of(ask(world, vendor)) == ("CN=registered", ["S-1.ran.example"])


def test_registered_alternative_names_go_before_the_rule(
    world: World, vendor: Vendor
) -> None:
    world.change_alias(issued_names=("dns:{unit}.ran.example",))
    register(world, alternative_names=("dns:station.example",))
    assert names_of(ask(world, vendor)) == ("CN=site-1", ["station.example"])


def test_an_unlisted_unit_waits_under_the_name_of_the_rule(
    world: World, vendor: Vendor
) -> None:
    world.change_alias(unknown_vendor_unit="pend", issued_subject="CN={unit},O=New")
    requester = result_of(world.engine.identify(world.alias, vendor.unit("S-9"), ()))
    request = world.request(requester, subject=None)
    outcome = world.enroll(request)
    assert isinstance(outcome, Pending)
    (waiting,) = result_of(world.store.list_approvals())
    result_of(world.engine.administration.approve(waiting.id, "uid:1", "", CMP))
    issued = world.enroll(request)
    assert isinstance(issued, Issued)
    assert issued.certificate.subject == "CN=S-9,O=New"
    assert issued.certificate.entity == "S-9"


def test_a_rule_that_makes_no_dns_name_refuses(world: World, vendor: Vendor) -> None:
    world.change_alias(issued_names=("dns:{CN}.example",))
    register(world)
    with pytest.raises(PKIError) as caught:
        ask(world, vendor)
    assert caught.value.code is ErrorCode.BAD_TEMPLATE


def test_names_that_a_device_asks_for_do_not_join_those_of_the_rule(
    world: World, vendor: Vendor
) -> None:
    world.change_alias(issued_names=("dns:{entity}.ran.example",))
    register(world)
    wanted = Extension(
        oids.ID_CE_SUBJECT_ALT_NAME,
        critical=False,
        value=encode_general_names((GeneralName.dns("other.example"),)),
    )
    issued = ask(world, vendor, extensions=(wanted,))
    assert names_of(issued)[1] == ["site-1.ran.example"]
    assert issued.modified


# --- the rules themselves ---------------------------------------------------------


def test_a_value_cannot_add_to_a_name() -> None:
    cunning = replace(FACTS, unit="S-1,O=Operator+CN=admin", entity='x",CN=y')
    assert subject_by_rule("CN={unit}+L={entity},O=O", cunning).values(
        oids.ID_AT_COMMON_NAME
    ) == ("S-1,O=Operator+CN=admin",)


def test_places_are_filled_once() -> None:
    named = replace(FACTS, entity="{unit}")
    name = subject_by_rule("CN={entity}", named)
    assert name.values(oids.ID_AT_COMMON_NAME) == ("{unit}",)


def test_attributes_are_found_by_name_and_by_number() -> None:
    assert subject_by_rule("O={O},CN={2.5.4.3}", FACTS).text() == "O=Acme,CN=unit S-1"


@pytest.mark.parametrize("rule", ["CN={L}", "CN={OU}"])
def test_what_the_certificate_does_not_name_is_refused(rule: str) -> None:
    with pytest.raises(PKIError) as caught:
        subject_by_rule(rule, FACTS)
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("dns:{entity}.example", "dns:site-1.example"),
        ("ip:192.0.2.1", "ip:192.0.2.1"),
        ("uri:urn:unit:{unit}", "uri:urn:unit:S-1"),
        ("email:{entity}@example.net", "email:site-1@example.net"),
    ],
)
def test_alternative_names_of_each_kind(rule: str, text: str) -> None:
    assert alternative_name_by_rule(rule, FACTS).text() == text
