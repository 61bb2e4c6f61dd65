"""Whose certificate it is: our own, a vendor's unit, a registration authority."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pkid.asn1 import der
from pkid.engine.aliases import Authentication, VendorTrust
from pkid.engine.model import (
    EndEntity,
    EntityStatus,
    Issued,
    Pending,
    RequesterKind,
    VouchedPossession,
)
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import CMP, OPERATOR, START, DeviceKey, World, result_of

ALL = frozenset(Authentication)


@dataclass
class Vendor:
    """A manufacturer with a root of its own."""

    name: str = "acme"

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"{self.name} root")]
        )
        self.root = self._sign(self.subject, self.key, ca=True)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
        end: datetime = START + timedelta(days=3650),
        hardware: bytes | None = None,
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(START - timedelta(days=365))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
        )
        if hardware is not None:
            module = der.sequence(
                der.oid("1.3.6.1.4.1.99999.1"), der.octet_string(hardware)
            )
            kind = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
            names = x509.SubjectAlternativeName([x509.OtherName(kind, module)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def unit(self, serial_number: str, **fields: Any) -> bytes:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, f"unit {serial_number}"),
                x509.NameAttribute(NameOID.SERIAL_NUMBER, serial_number),
            ]
        )
        return self._sign(
            subject, ec.generate_private_key(ec.SECP256R1()), ca=False, **fields
        )


@pytest.fixture
def vendor(world: World) -> Vendor:
    vendor = Vendor()
    trust = VendorTrust(name="acme", anchors=(vendor.root,))
    world.policies = replace(world.policies, vendors={"acme": trust})
    world.change_alias(authenticate=ALL, vendors=("acme",))
    return vendor


def allow(world: World, unit: str, name: str = "station-7", **fields: object) -> None:
    entity = EndEntity(
        name=name,
        status=EntityStatus.NEW,
        created=START,
        subject=f"CN={name}",
        vendor=f"acme|{unit}",
        enrollments_left=1,
        **fields,  # type: ignore[arg-type]
    )
    result_of(world.engine.administration.add_entity(entity, OPERATOR, CMP))


def refusal(world: World, leaf: bytes, *others: bytes) -> PKIError:
    with pytest.raises(PKIError) as caught:
        result_of(world.engine.identify(world.alias, leaf, others))
    return caught.value


@pytest.mark.requirement("ENG-22", "CMP-181")
def test_a_unit_on_the_allow_list_enrols_under_its_registered_name(
    world: World, vendor: Vendor
) -> None:
    allow(world, "S-1")
    requester = result_of(world.engine.identify(world.alias, vendor.unit("S-1"), ()))
    assert requester.kind is RequesterKind.VENDOR
    issued = world.issue(world.request(requester, subject="CN=vendor name"))
    assert issued.certificate.subject == "CN=station-7"
    assert issued.certificate.entity == "station-7"


@pytest.mark.requirement("ENG-22")
def test_a_unit_that_is_not_on_the_list_is_told_no_and_the_operator_why(
    world: World, vendor: Vendor
) -> None:
    allow(world, "S-1")
    error = refusal(world, vendor.unit("S-2"))
    assert error.code is ErrorCode.NOT_AUTHORIZED
    assert error.hint == "pkid vendor add acme S-2 --name NAME"


@pytest.mark.requirement("ENG-22")
def test_an_unknown_unit_may_wait_for_an_operator_instead(
    world: World, vendor: Vendor
) -> None:
    world.change_alias(unknown_vendor_unit="pend")
    requester = result_of(world.engine.identify(world.alias, vendor.unit("S-9"), ()))
    request = world.request(requester, subject="CN=new unit")
    assert isinstance(world.enroll(request), Pending)
    row = result_of(world.engine.find_transaction(request.transaction))
    assert row is not None
    assert row.request_id is not None
    approve = world.engine.administration.approve
    result_of(approve(row.request_id, OPERATOR, "", CMP))
    assert isinstance(result_of(world.engine.collect(request.transaction)), Issued)


@pytest.mark.requirement("ENG-29")
def test_a_unit_enrols_once_until_it_is_rearmed(world: World, vendor: Vendor) -> None:
    allow(world, "S-1")
    unit = vendor.unit("S-1")
    requester = result_of(world.engine.identify(world.alias, unit, ()))
    world.issue(world.request(requester))
    with pytest.raises(PKIError) as caught:
        world.enroll(world.request(requester))
    assert caught.value.code is ErrorCode.NOT_AUTHORIZED
    administration = world.engine.administration
    result_of(administration.rearm_entity("station-7", OPERATOR, CMP))
    world.issue(world.request(requester))


def test_a_unit_of_an_unknown_vendor_is_not_trusted(
    world: World, vendor: Vendor
) -> None:
    stranger = Vendor("stranger")
    error = refusal(world, stranger.unit("S-1"))
    assert error.code in (ErrorCode.SIGNER_NOT_TRUSTED, ErrorCode.MISSING_INFORMATION)


def test_a_unit_is_not_trusted_where_the_alias_lists_no_vendor(
    world: World, vendor: Vendor
) -> None:
    allow(world, "S-1")
    unit = vendor.unit("S-1")
    result_of(world.engine.identify(world.alias, unit, ()))
    world.change_alias(vendors=())
    assert refusal(world, unit).code is ErrorCode.SIGNER_NOT_TRUSTED


def test_expired_vendor_certificates_follow_the_vendors_switch(
    world: World, vendor: Vendor
) -> None:
    allow(world, "S-1")
    unit = vendor.unit("S-1", end=START - timedelta(days=1))
    assert refusal(world, unit).code is ErrorCode.SIGNER_NOT_TRUSTED
    trust = replace(world.policies.vendors["acme"], allow_expired=True)
    world.policies = replace(world.policies, vendors={"acme": trust})
    result_of(world.engine.identify(world.alias, unit, ()))


def test_a_vendor_that_is_distrusted_meanwhile_is_distrusted_at_once(
    world: World, vendor: Vendor
) -> None:
    allow(world, "S-1")
    unit = vendor.unit("S-1")
    result_of(world.engine.identify(world.alias, unit, ()))
    other = VendorTrust(name="acme", anchors=(Vendor("other").root,))
    world.policies = replace(world.policies, vendors={"acme": other})
    assert refusal(world, unit).code is not ErrorCode.NOT_AUTHORIZED


def test_our_own_certificate_is_known_with_its_entity(world: World) -> None:
    issued = world.issue(world.request(world.secret()))
    requester = world.holder(issued)
    assert requester.kind is RequesterKind.CERTIFICATE
    assert requester.entity == "device-1"
    assert requester.certificate == issued.certificate.reference


@pytest.mark.requirement("CMP-78")
def test_a_certificate_of_another_authority_may_not_ask(world: World) -> None:
    root = world.engine.chain("root")[0]
    assert refusal(world, root).code is ErrorCode.NOT_AUTHORIZED


@pytest.mark.requirement("SEC-07", "CMP-84")
def test_a_registration_authority_is_one_by_purpose_and_by_list(world: World) -> None:
    world.change_profile("device", request_extended_key_usage=("1.3.6.1.5.5.7.3.28",))
    from pkid.crypto import extensions

    purpose = extensions.extended_key_usage(("1.3.6.1.5.5.7.3.28",))
    authority = world.issue(
        world.request(world.secret("ra"), subject="CN=ra", extensions=(purpose,))
    )
    plain = world.issue(world.request(world.secret("ee"), subject="CN=ee"))
    assert world.holder(authority).kind is RequesterKind.CERTIFICATE
    record = authority.certificate
    for listed in ("CN=ra", str(record.reference), record.fingerprint.hex()):
        world.change_alias(registration_authorities=(listed, "CN=ee"))
        assert world.holder(plain).kind is RequesterKind.CERTIFICATE
        requester = world.holder(authority)
        assert requester.kind is RequesterKind.REGISTRATION_AUTHORITY
    vouched = world.request(
        requester,
        DeviceKey(),
        subject="CN=behind the ra",
        possession=VouchedPossession("CN=ra"),
    )
    assert world.issue(vouched).certificate.entity == "behind the ra"


def test_nonsense_is_malformed(world: World) -> None:
    assert refusal(world, b"\x30\x03\x02\x01\x01").code in (
        ErrorCode.MALFORMED,
        ErrorCode.SIGNER_NOT_TRUSTED,
    )


@pytest.mark.requirement("ENG-22")
def test_a_unit_is_known_by_its_hardware_module(world: World) -> None:
    """An IDevID of IEEE 802.1AR may have no serialNumber in its subject."""
    maker = Vendor()
    trust = VendorTrust(name="acme", anchors=(maker.root,), identity="hardware-module")
    world.policies = replace(world.policies, vendors={"acme": trust})
    world.change_alias(authenticate=ALL, vendors=("acme",))
    allow(world, "1.3.6.1.4.1.99999.1:0a1b2c")
    leaf = maker.unit("S-1", hardware=bytes.fromhex("0a1b2c"))
    requester = result_of(world.engine.identify(world.alias, leaf, ()))
    assert requester.entity == "station-7"
    other = maker.unit("S-1", hardware=bytes.fromhex("0a1b2d"))
    assert refusal(world, other).code is ErrorCode.NOT_AUTHORIZED
    assert refusal(world, maker.unit("S-1")).code is ErrorCode.NOT_AUTHORIZED


@pytest.mark.requirement("ENG-29")
def test_a_board_that_is_swapped_takes_the_place_of_the_old_one(
    world: World, vendor: Vendor
) -> None:
    allow(world, "S-1")
    administration = world.engine.administration
    result_of(administration.rearm_entity("station-7", OPERATOR, CMP, "S-2"))
    assert refusal(world, vendor.unit("S-1")).code is ErrorCode.NOT_AUTHORIZED
    requester = result_of(world.engine.identify(world.alias, vendor.unit("S-2"), ()))
    issued = world.issue(world.request(requester))
    assert issued.certificate.entity == "station-7"


@pytest.mark.requirement("ENG-22")
def test_a_unit_is_registered_once(world: World, vendor: Vendor) -> None:
    allow(world, "S-1")
    allow(world, "S-2", "station-8")
    with pytest.raises(PKIError) as caught:
        allow(world, "S-1", "station-9")
    assert caught.value.code is ErrorCode.CONFLICT
    assert "station-7" in caught.value.detail
    swapped = world.engine.administration.rearm_entity(
        "station-8", OPERATOR, CMP, "S-1"
    )
    with pytest.raises(PKIError) as caught:
        result_of(swapped)
    assert caught.value.code is ErrorCode.CONFLICT


def test_a_fleet_file_may_not_name_a_unit_twice(world: World, vendor: Vendor) -> None:
    allow(world, "S-1")
    rows = [
        EndEntity(name=name, status=EntityStatus.NEW, created=START, vendor=unit)
        for name, unit in (("a", "acme|S-1"), ("b", "acme|S-3"), ("c", "acme|S-3"))
    ]
    result = result_of(
        world.engine.administration.import_entities(
            rows, dry_run=False, actor=OPERATOR, context=CMP
        )
    )
    assert result.added == 0
    assert [fault.partition(":")[0] for fault in result.faults] == ["row 1", "row 3"]
