"""What a manufacturer has revoked is not believed, and by switch what it may have."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.app.config import decode_configuration
from pkid.app.kinds import ConfigurationError
from pkid.app.snapshot import make_policies
from pkid.engine.aliases import Authentication, VendorTrust
from pkid.engine.model import RequesterKind
from pkid.errors import ErrorCode, PKIError
from tests.engine.test_identification import Vendor, allow
from tests.engine.world import START, World, result_of

DAY = timedelta(days=1)


def crl(
    vendor: Vendor,
    *leaves: bytes,
    issued: datetime = START - DAY,
    until: datetime = START + DAY,
    key: ec.EllipticCurvePrivateKey | None = None,
    extension: x509.ExtensionType | None = None,
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(vendor.subject)
        .last_update(issued)
        .next_update(until)
    )
    for leaf in leaves:
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(x509.load_der_x509_certificate(leaf).serial_number)
            .revocation_date(issued)
        )
        builder = builder.add_revoked_certificate(entry.build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=True)
    return builder.sign(key or vendor.key, hashes.SHA256())


def der(listed: x509.CertificateRevocationList) -> bytes:
    return listed.public_bytes(Encoding.DER)


@pytest.fixture
def vendor(world: World) -> Vendor:
    vendor = Vendor()
    trust(world, vendor)
    world.change_alias(authenticate=frozenset(Authentication), vendors=("acme",))
    allow(world, "S-1")
    return vendor


def trust(world: World, vendor: Vendor, **fields: object) -> None:
    known = VendorTrust(
        name="acme",
        anchors=(vendor.root,),
        **fields,  # type: ignore[arg-type]
    )
    world.policies = replace(world.policies, vendors={"acme": known})


def refusal(world: World, leaf: bytes) -> ErrorCode | None:
    """How the unit is refused; None when it is known."""
    try:
        requester = result_of(world.engine.identify(world.alias, leaf, ()))
    except PKIError as error:
        return error.code
    assert requester.kind is RequesterKind.VENDOR
    return None


@pytest.mark.requirement("ENG-22")
@pytest.mark.parametrize("required", [True, False])
def test_a_revoked_unit_is_refused(
    world: World, vendor: Vendor, required: bool
) -> None:
    bad, good = vendor.unit("S-1"), vendor.unit("S-1")
    trust(world, vendor, crls=(der(crl(vendor, bad)),), crl_required=required)
    assert refusal(world, bad) is ErrorCode.CERTIFICATE_REVOKED
    assert refusal(world, good) is None


@pytest.mark.requirement("ENG-22")
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    "lists",
    ["none", "too old", "not yet valid", "of another key"],
)
def test_without_a_current_list_it_is_a_switch(
    world: World, vendor: Vendor, required: bool, lists: str
) -> None:
    found = {
        "none": (),
        "too old": (crl(vendor, issued=START - 2 * DAY, until=START - DAY),),
        "not yet valid": (crl(vendor, issued=START + DAY, until=START + 2 * DAY),),
        "of another key": (crl(vendor, key=ec.generate_private_key(ec.SECP256R1())),),
    }[lists]
    trust(world, vendor, crls=tuple(map(der, found)), crl_required=required)
    expected = ErrorCode.SIGNER_NOT_TRUSTED if required else None
    assert refusal(world, vendor.unit("S-1")) is expected


def test_who_stands_on_an_old_list_is_still_revoked(
    world: World, vendor: Vendor
) -> None:
    leaf = vendor.unit("S-1")
    old = crl(vendor, leaf, issued=START - 2 * DAY, until=START - DAY)
    trust(world, vendor, crls=(der(old),))
    assert refusal(world, leaf) is ErrorCode.CERTIFICATE_REVOKED


def test_a_list_that_somebody_else_signed_revokes_nobody(
    world: World, vendor: Vendor
) -> None:
    leaf = vendor.unit("S-1")
    forged = crl(vendor, leaf, key=ec.generate_private_key(ec.SECP256R1()))
    trust(world, vendor, crls=(der(forged),))
    assert refusal(world, leaf) is None


def test_a_new_list_counts_at_once(world: World, vendor: Vendor) -> None:
    """A chain that was found good a moment ago is looked at again."""
    leaf = vendor.unit("S-1")
    trust(world, vendor, crls=(der(crl(vendor)),))
    assert refusal(world, leaf) is None
    trust(world, vendor, crls=(der(crl(vendor, leaf)),))
    assert refusal(world, leaf) is ErrorCode.CERTIFICATE_REVOKED


# --- the configuration ------------------------------------------------------------


def configured(folder: Path) -> VendorTrust:
    text = '[vendor.acme]\nanchors = ["root.der"]\ncrls = ["list"]\n'
    configuration = decode_configuration(text, source="test")
    return make_policies(configuration, base=folder).vendors["acme"]


@pytest.mark.parametrize("form", [Encoding.DER, Encoding.PEM], ids=["DER", "PEM"])
def test_lists_are_read_from_files(tmp_path: Path, form: Encoding) -> None:
    vendor = Vendor()
    (tmp_path / "root.der").write_bytes(vendor.root)
    listed = crl(vendor)
    (tmp_path / "list").write_bytes(listed.public_bytes(form))
    assert configured(tmp_path).crls == (der(listed),)


@pytest.mark.parametrize("what", ["missing", "rubbish", "partial", "delta"])
def test_a_list_that_cannot_be_used_is_a_fault(tmp_path: Path, what: str) -> None:
    vendor = Vendor()
    (tmp_path / "root.der").write_bytes(vendor.root)
    partial = x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    octets = {
        "missing": None,
        "rubbish": b"rubbish",
        "partial": der(crl(vendor, extension=partial)),
        "delta": der(crl(vendor, extension=x509.DeltaCRLIndicator(1))),
    }[what]
    if octets is not None:
        (tmp_path / "list").write_bytes(octets)
    with pytest.raises(ConfigurationError) as caught:
        configured(tmp_path)
    (fault,) = caught.value.faults
    assert fault.where == "vendor.acme.crls"
