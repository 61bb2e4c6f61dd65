"""Presets of CMP entrances: defaults under what the file says, and what is fixed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pkid.app.config import decode_configuration
from pkid.app.kinds import ConfigurationError, Faults
from pkid.app.presets import PRESETS
from pkid.app.settings import Configuration
from pkid.app.tables import CMP_ALIAS
from pkid.engine.aliases import Authentication

VENDOR = """
[vendor.acme]
anchors = ["acme.pem"]
"""
STATIONS = f"""
[cmp.alias.ran]
preset = "3gpp"
authority = "issuing"
vendors = ["acme"]
{VENDOR}
"""


def read(text: str) -> Configuration:
    # The listeners of the built-in configuration name an alias that is not here.
    return decode_configuration(text + "[listener]\n", source="test")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(text)
    return [str(fault) for fault in caught.value.faults]


def changed(key: str) -> str:
    return STATIONS.replace('vendors = ["acme"]', f'vendors = ["acme"]\n{key}')


@pytest.mark.parametrize("name", PRESETS)
def test_every_key_of_a_preset_is_one_of_the_table(name: str) -> None:
    found = Faults()
    given = {"authority": "issuing", **PRESETS[name].defaults}
    CMP_ALIAS.read(given, "preset", found)
    assert found.found == []
    assert PRESETS[name].fixed <= given.keys()


def test_one_word_makes_an_entrance_for_base_stations() -> None:
    alias = read(STATIONS).cmp_aliases["ran"]
    entrance = alias.alias
    assert entrance.authenticate == {Authentication.VENDOR, Authentication.CERTIFICATE}
    assert entrance.certificate_profile == "3gpp-base-station"
    assert entrance.unknown_vendor_unit == "refuse"
    assert not alias.implicit_confirm
    assert not alias.allow_sha1
    assert alias.extra_certs_root
    assert alias.response_protection == "signature"


def test_keys_of_the_file_win_over_a_preset() -> None:
    text = changed('certificate_profile = "3gpp-seg"\nconfirm_wait = "1h"')
    alias = read(text).cmp_aliases["ran"]
    assert alias.alias.certificate_profile == "3gpp-seg"
    assert alias.confirm_wait == timedelta(hours=1)


@pytest.mark.parametrize(
    ("key", "where"),
    [
        ("allow_sha1 = true", "allow_sha1"),
        ("implicit_confirm = true", "implicit_confirm"),
        ("extra_certs_root = false", "extra_certs_root"),
        ('response_protection = "mirror"', "response_protection"),
        ('authenticate = ["vendor", "mac"]', "authenticate"),
    ],
)
def test_what_a_preset_fixes_cannot_be_said_otherwise(key: str, where: str) -> None:
    (fault,) = faults(changed(key))
    assert fault.startswith(f"cmp.alias.ran.{where}: ")
    assert "3gpp" in fault


def test_a_vendor_of_base_stations_may_not_sign_with_sha1() -> None:
    (fault,) = faults(STATIONS + "allow_sha1 = true\n")
    assert fault.startswith("vendor.acme.allow_sha1: must be false")


def test_an_unknown_preset_is_a_fault() -> None:
    found = faults(STATIONS.replace('"3gpp"', '"4gpp"'))
    assert any("cmp.alias.ran.preset" in fault for fault in found)


@pytest.mark.parametrize("identity", ["subject", "CN", "1.2.3.4", "hardware-module"])
def test_what_names_a_unit_may_be(identity: str) -> None:
    found = read(STATIONS + f'identity = "{identity}"\n')
    assert found.vendors["acme"].identity == identity


def test_what_no_certificate_can_name_is_a_fault() -> None:
    (fault,) = faults(STATIONS + 'identity = "serial"\n')
    assert fault.startswith("vendor.acme.identity")


@pytest.mark.parametrize(
    "key",
    [
        'issued_subject = "CN={nonsense}"',
        'issued_subject = "CN={entity"',
        'issued_subject = "no name"',
        'issued_names = ["fax:{entity}"]',
        'issued_names = ["dns:{entity}}"]',
    ],
)
def test_a_rule_that_cannot_be_filled_in_is_a_fault(key: str) -> None:
    (fault,) = faults(changed(key))
    assert fault.startswith(f"cmp.alias.ran.{key.split(' ', maxsplit=1)[0]}")
