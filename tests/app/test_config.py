from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.app.config import (
    built_in_text,
    decode_configuration,
    load_configuration,
)
from pkid.app.kinds import ConfigurationError
from pkid.app.settings import Configuration
from pkid.engine.aliases import Authentication
from pkid.transports.limits import Limits
from tests.app.broken import ALIAS, BROKEN, LISTENER

SHIPPED = [
    "tls-server",
    "tls-client",
    "device",
    "3gpp-base-station",
    "3gpp-seg",
    "3gpp-nf",
    "ldevid",
    "sub-ca",
    "ocsp",
    "smime",
    "code-signing",
]


def faults_of(text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        decode_configuration(text, source="test", overrides=overrides)
    return [fault.where for fault in error.value.faults]


def read(text: str, *overrides: str) -> Configuration:
    return decode_configuration(text, source="test", overrides=overrides)


def test_fifty_broken_files_are_here() -> None:
    assert len(BROKEN) >= 50


@pytest.mark.requirement("SEC-109")
@pytest.mark.parametrize(("text", "places"), BROKEN)
def test_every_fault_of_a_broken_file_is_named(text: str, places: list[str]) -> None:
    assert faults_of(text) == places


def test_faults_of_all_parts_are_told_at_once() -> None:
    text = 'nonsense = 1\n[log]\nlevel = "x"\n[keys]\nauthority_key = "y"\n'
    assert set(faults_of(text, "limits.idle=5")) == {
        "nonsense",
        "log.level",
        "keys.authority_key",
        "limits.idle",
    }


@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_a_configuration_error(text: str) -> None:
    with contextlib.suppress(ConfigurationError):
        read(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("publc_url = 1", "did you mean public_url?"),
        ("[listner.a]\n", "did you mean listener?"),
        ('[log]\nlevel = "warning"', "did you mean warn?"),
        (ALIAS + 'certificate_profile = "devise"', "did you mean device?"),
    ],
)
def test_a_near_miss_gets_a_hint(text: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint.replace("?", r"\?")):
        read(text)


@pytest.mark.requirement("SEC-102")
def test_a_secret_in_the_file_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as error:
        read('[keys]\npassphrase = "swordfish"')
    assert "swordfish" not in str(error.value)


@pytest.mark.requirement("ENG-12")
def test_the_useful_profiles_are_built_in() -> None:
    profiles = load_configuration(None).certificate_profiles
    assert set(SHIPPED) < set(profiles)
    assert profiles["3gpp-nf"].request_extensions == ("1.3.6.1.5.5.7.1.34",)
    assert profiles["ocsp"].ocsp_no_check


def test_the_built_in_configuration_listens_on_loopback_only() -> None:
    listeners = load_configuration(None).listeners.values()
    assert listeners
    assert not any(listener.beyond_loopback for listener in listeners)


def test_the_built_in_alias_needs_a_credential() -> None:
    aliases = load_configuration(None).cmp_aliases
    assert list(aliases) == ["default"]
    assert aliases["default"].alias.authenticate == {
        Authentication.MAC,
        Authentication.CERTIFICATE,
    }
    assert not aliases["default"].unprotected_requests


def test_the_shipped_file_is_the_built_in_configuration() -> None:
    shipped = Path(__file__).parents[2] / "etc" / "pkid.conf"
    assert shipped.read_text("utf-8") == built_in_text()
    assert read(built_in_text()) == read("")


def test_every_commented_key_of_the_shipped_file_is_its_default() -> None:
    """With all keys of the fixed tables uncommented nothing changes."""
    lines = []
    for line in built_in_text().splitlines():
        if line.startswith("#: [") and "NAME" not in line:
            lines.append(line.removeprefix("#: "))
        elif line.startswith("# --- where pkid listens"):
            break
        elif line.startswith("# ") and " = " in line:
            lines.append(line.removeprefix("# "))
    assert len(lines) > 15
    assert read("\n".join(lines)) == read("")


def test_own_profiles_stand_beside_the_built_in_ones() -> None:
    configuration = read('[certificate_profile.mine]\nvalidity = "1d"\n')
    assert configuration.certificate_profiles["mine"].validity == timedelta(days=1)
    assert "device" in configuration.certificate_profiles


def test_a_profile_of_the_same_name_replaces_the_built_in_one() -> None:
    configuration = read('[certificate_profile.device]\nvalidity = "1d"\n')
    profile = configuration.certificate_profiles["device"]
    assert (profile.validity, profile.extended_key_usage) == (timedelta(days=1), ())


def test_own_listeners_and_aliases_replace_the_built_in_ones() -> None:
    text = ALIAS + LISTENER + 'serves = ["cmp-tcp"]\nalias = "a"\n'
    configuration = read(text)
    assert list(configuration.listeners) == ["a"]
    assert list(configuration.cmp_aliases) == ["a"]


def test_set_wins_over_the_file() -> None:
    text = 'public_url = "http://a.example"\n'
    configuration = read(
        text,
        'public_url="http://b.example"',
        'listener.http.endpoint="tcp:0:interface=127.0.0.1"',
        "cmp.alias.default.implicit_confirm=false",
    )
    assert configuration.general.public_url == "http://b.example"
    assert configuration.listeners["http"].endpoint.port == 0
    wanted = ("cmp", "scep", "status", "operations")
    assert configuration.listeners["http"].serves == wanted
    assert not configuration.cmp_aliases["default"].implicit_confirm


def test_set_without_toml_says_how_to_write_a_text() -> None:
    with pytest.raises(ConfigurationError, match="needs quotes"):
        read("", "public_url=http://host")


def test_an_authority_inherits_the_public_url() -> None:
    text = 'public_url = "http://ca.example"\n[authority.issuing]\ncrl_period = "1h"\n'
    settings = read(text).authorities["issuing"]
    assert settings.public_url == "http://ca.example"
    assert settings.crl_period == timedelta(hours=1)


def test_limits_come_in_seconds() -> None:
    configuration = read('[limits]\nidle = "2m"\nconnections = 10\n')
    assert configuration.limits == Limits(idle_seconds=120.0, connections=10)


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load_configuration(tmp_path / "gone.conf")
    (tmp_path / "latin.conf").write_bytes(b"# \xe9\n")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_configuration(tmp_path / "latin.conf")
