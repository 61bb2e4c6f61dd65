"""Profiles of mobile networks: base stations, security gateways, network functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pkid.app.config import decode_configuration
from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, encode_general_names
from pkid.asn1.x509 import Extension
from pkid.crypto.algorithms import decode_key_specs
from pkid.crypto.extensions import network_function_types
from pkid.crypto.publickeys import check_key_quality, decode_spki
from pkid.engine.model import Issued
from pkid.errors import ErrorCode, PKIError
from tests.engine.world import World

NUMBERS = itertools.count()
BUILT_IN = decode_configuration("", source="test")
OPERATOR = "5gc.mnc400.mcc311.3gppnetwork.org"
HOST = f"amf1.cluster1.net2.amf.{OPERATOR}"
INSTANCE = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"


def names(*general_names: GeneralName) -> Extension:
    value = encode_general_names(general_names)
    return Extension(oids.ID_CE_SUBJECT_ALT_NAME, critical=False, value=value)


MAKERS: dict[str, Callable[[], Any]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()).public_key(),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()).public_key(),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()).public_key(),
    "RSA 2048": lambda: rsa.generate_private_key(65537, 2048).public_key(),
    "RSA 1024": lambda: rsa.generate_private_key(65537, 1024).public_key(),
    "Ed25519": lambda: ed25519.Ed25519PrivateKey.generate().public_key(),
}
NAMES = names(GeneralName.dns(HOST), GeneralName.uri(INSTANCE))


def nf_types(*types: str, critical: bool = False) -> Extension:
    value = der.sequence(*map(der.ia5_string, types))
    return Extension(oids.ID_PE_NFTYPE, critical=critical, value=value)


@pytest.fixture
def world(world: World) -> World:
    world.policies = replace(
        world.policies,
        certificate_profiles=BUILT_IN.certificate_profiles,
        end_entity_profiles=BUILT_IN.end_entity_profiles,
    )
    world.change_alias(certificate_profile="3gpp-nf", end_entity_profile="3gpp-nf")
    return world


def ask(
    world: World,
    *extensions: Extension,
    subject: str = f"O={OPERATOR},C=US",
) -> x509.Certificate:
    requester = world.secret(f"nf-{next(NUMBERS)}")
    request = world.request(requester, subject=subject, extensions=extensions)
    issued = world.issue(request)
    assert isinstance(issued, Issued)
    return x509.load_der_x509_certificate(issued.der)


def refused(world: World, *extensions: Extension, **fields: str) -> PKIError:
    with pytest.raises(PKIError) as caught:
        ask(world, *extensions, **fields)
    return caught.value


@pytest.mark.requirement("CMP-183")
def test_a_network_function_gets_what_rfc_9310_shows(world: World) -> None:
    found = ask(world, NAMES, nf_types("AMF"))
    assert [(one.oid, one.value) for one in found.subject] == [
        (NameOID.COUNTRY_NAME, "US"),
        (NameOID.ORGANIZATION_NAME, OPERATOR),
    ]
    alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert alternative.critical
    assert alternative.value.get_values_for_type(x509.DNSName) == [HOST]
    uris = alternative.value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [INSTANCE]
    types = found.extensions.get_extension_for_oid(
        x509.ObjectIdentifier(oids.ID_PE_NFTYPE)
    )
    assert not types.critical
    assert types.value.public_bytes() == bytes.fromhex("30051603414d46")
    usage = found.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_encipherment
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.CLIENT_AUTH in purposes


@pytest.mark.requirement("CMP-183")
def test_a_common_name_is_left_out(world: World) -> None:
    found = ask(world, NAMES, subject=f"CN=amf1,O={OPERATOR},C=US")
    assert not found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)


def test_the_extension_is_there_only_when_asked_for(world: World) -> None:
    found = ask(world, NAMES)
    with pytest.raises(x509.ExtensionNotFound):
        found.extensions.get_extension_for_oid(x509.ObjectIdentifier(oids.ID_PE_NFTYPE))


@pytest.mark.requirement("CMP-183")
@pytest.mark.parametrize(
    ("types", "allowed"),
    [
        (("AMF",), True),
        (("AMF", "SMF"), True),
        (("UPF",), False),
        (("AMF", "UPF"), False),
    ],
    ids=["AMF", "both", "UPF", "AMF and UPF"],
)
def test_only_types_that_the_profile_allows_are_certified(
    world: World, types: tuple[str, ...], allowed: bool
) -> None:
    core = replace(
        BUILT_IN.end_entity_profiles["3gpp-nf"], network_function_types=("AMF", "SMF")
    )
    world.policies = replace(world.policies, end_entity_profiles={"3gpp-nf": core})
    if allowed:
        ask(world, NAMES, network_function_types(types))
    else:
        error = refused(world, NAMES, network_function_types(types))
        assert error.code is ErrorCode.BAD_TEMPLATE
        assert "UPF" in error.detail


@pytest.mark.parametrize(
    "extension",
    [
        nf_types(),
        nf_types("SMF", "AMF"),
        nf_types("AMF", "AMF"),
        nf_types(""),
        nf_types("A MF"),
        nf_types("A" * 33),
        nf_types("AMF", critical=True),
        Extension(oids.ID_PE_NFTYPE, critical=False, value=b"\x16\x03AMF"),
        Extension(oids.ID_PE_NFTYPE, critical=False, value=b"\x30\x05\x0c\x03AMF"),
        Extension(oids.ID_PE_NFTYPE, critical=False, value=b""),
    ],
    ids=[
        "none",
        "unsorted",
        "twice",
        "empty",
        "space",
        "long",
        "critical",
        "no list",
        "no IA5String",
        "nothing",
    ],
)
def test_types_in_another_form_than_the_rfcs_are_refused(
    world: World, extension: Extension
) -> None:
    assert refused(world, NAMES, extension).code is ErrorCode.BAD_TEMPLATE


@pytest.mark.parametrize(
    ("subject", "alternative"),
    [
        ("O=Example,C=US", NAMES),
        (f"O={OPERATOR},C=usa", NAMES),
        (f"O={OPERATOR},C=US", names(GeneralName.dns("amf.example.net"))),
        (f"O={OPERATOR},C=US", names(GeneralName.uri(INSTANCE))),
        (
            f"O={OPERATOR},C=US",
            names(GeneralName.dns(HOST), GeneralName.uri("https://example.net/")),
        ),
        (
            f"O={OPERATOR},C=US",
            names(GeneralName.dns(HOST), GeneralName.email("a@example.net")),
        ),
    ],
    ids=["organization", "country", "host", "no host", "instance", "mail"],
)
def test_names_outside_the_operators_network_are_refused(
    world: World, subject: str, alternative: Extension
) -> None:
    error = refused(world, alternative, subject=subject)
    assert error.code is ErrorCode.BAD_TEMPLATE


def test_a_security_gateway_is_for_ike_and_has_a_name(world: World) -> None:
    world.change_alias(certificate_profile="3gpp-seg", end_entity_profile="any")
    gateway = names(GeneralName.dns("seg1.example.net"))
    found = ask(world, gateway, subject="CN=seg1")
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert [one.dotted_string for one in purposes.value] == [oids.ID_KP_IPSEC_IKE]
    assert refused(world, subject="CN=seg2").code is ErrorCode.BAD_TEMPLATE


@pytest.mark.requirement("CMP-177", "ENG-12")
@pytest.mark.parametrize("profile", ["3gpp-base-station", "3gpp-seg", "3gpp-nf"])
@pytest.mark.parametrize("kind", MAKERS)
def test_keys_are_those_of_the_standard(profile: str, kind: str) -> None:
    spki = MAKERS[kind]().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    specs = decode_key_specs(BUILT_IN.certificate_profiles[profile].keys)
    if kind in {"P-256", "P-384", "RSA 2048"}:
        check_key_quality(decode_spki(spki), specs)
        return
    with pytest.raises(PKIError) as caught:
        check_key_quality(decode_spki(spki), specs)
    assert caught.value.code in {ErrorCode.BAD_TEMPLATE, ErrorCode.BAD_ALGORITHM}
