from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.app.config import (
    ConfigurationError,
    built_in_text,
    decode_configuration,
    load_configuration,
)
from pkid.app.settings import Configuration
from pkid.engine.aliases import Authentication
from pkid.transports.limits import Limits

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

ALIAS = '[cmp.alias.a]\nauthority = "issuing"\n'
LISTENER = '[listener.a]\nendpoint = "tcp:1:interface=127.0.0.1"\n'

#: Text and, for each fault it has, the place that has to be named.
BROKEN = [
    ("a = ", ["line 1"]),
    ("[log\n", ["line 1, column 5"]),
    ('public_url = "http://a"\npublic_url = "http://b"', ["line 2"]),
    ("\n\n= 3", ["line 3, column 1"]),
    ("publc_url = 1", ["publc_url"]),
    ("public_url = 1", ["public_url"]),
    ('public_url = "ftp://host"', ["public_url"]),
    ('public_url = "http://host/"', ["public_url"]),
    ('public_url = "host"', ["public_url"]),
    ("log = 3", ["log"]),
    ('[log]\nlevel = "loud"', ["log.level"]),
    ('[log]\nlevel = "info"\nfil = ""', ["log.fil"]),
    ("[limits]\nidle = 60", ["limits.idle"]),
    ('[limits]\nidle = "sixty"', ["limits.idle"]),
    ("[limits]\nconnections = 0", ["limits.connections"]),
    ("[limits]\nconnections = true", ["limits.connections"]),
    ('[limits]\nconnections = "9"', ["limits.connections"]),
    ("[limits]\nmessage_octets = 99999999999", ["limits.message_octets"]),
    ('[keys]\npassphrase = "swordfish"', ["keys.passphrase"]),
    ('[keys]\nauthority_key = "dsa:1024"', ["keys.authority_key"]),
    ('[keys]\nauthority_key = ""', ["keys.authority_key"]),
    ("[storage]\npublished = 3", ["storage.published"]),
    ('[storage]\ndirectory = "x"', ["storage.directory"]),
    ("[listener]\na = 3", ["listener.a"]),
    ("[listener.Big]\n", ["listener.Big"]),
    ('[listener."a/b"]\n', ["listener.a/b"]),
    ("[listener.a]\n", ["listener.a.endpoint", "listener.a.serves"]),
    ('[listener.a]\nendpoint = "tcp:x"\nserves = ["cmp"]', ["listener.a.endpoint"]),
    (LISTENER + "serves = []", ["listener.a.serves"]),
    (LISTENER + 'serves = "cmp"', ["listener.a.serves"]),
    (LISTENER + 'serves = ["cmp", "smtp"]', ["listener.a.serves[1]"]),
    (LISTENER + 'serves = ["cmp-tcp", "cmp"]', ["listener.a.serves"]),
    (LISTENER + 'serves = ["cmp"]\nalias = "nobody"', ["listener.a.alias"]),
    (LISTENER + 'serves = ["cmp"]\ntls = "yes"', ["listener.a.tls"]),
    (
        LISTENER
        + 'serves = ["status"]\n[listener.b]\n'
        + 'endpoint = "tcp:1:interface=127.0.0.1"\nserves = ["status"]',
        ["listener.b.endpoint"],
    ),
    (LISTENER + 'serves = ["cmp-tcp"]\nframings = ["rfc"]', ["listener.a.framings[0]"]),
    ("[cmp.alias.default]\n", ["cmp.alias.default.authority"]),
    ("[cmp.allias.a]\n", ["cmp.allias"]),
    ("[cmp]\nalias = 1", ["cmp.alias"]),
    (
        ALIAS.replace(".a]", ".default]")
        + 'mode = "rb"\nauthenticate = ["mac", "pin"]',
        ["cmp.alias.default.mode", "cmp.alias.default.authenticate[1]"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'certificate_profile = "devise"',
        ["cmp.alias.default.certificate_profile"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'end_entity_profile = "x"\napproval = "y"',
        ["cmp.alias.default.end_entity_profile", "cmp.alias.default.approval"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'authenticate = ["vendor"]',
        ["cmp.alias.default.vendors"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'authenticate = ["ra"]',
        ["cmp.alias.default.registration_authorities"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'vendors = ["acme"]',
        ["cmp.alias.default.vendors"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'quirks = ["anything-goes"]',
        ["cmp.alias.default.quirks[0]"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'confirm_wait = "0s"',
        ["cmp.alias.default"],
    ),
    (
        ALIAS.replace(".a]", ".default]") + 'name_rule = { scheme = "x", part = [] }',
        ["cmp.alias.default.name_rule.scheme", "cmp.alias.default.name_rule.part"],
    ),
    ('[certificate_profile.x]\nkeys = ["ec:P-257"]', ["certificate_profile.x.keys[0]"]),
    ("[certificate_profile.x]\nkeys = []", ["certificate_profile.x.keys"]),
    (
        '[certificate_profile.x]\nextended_key_usage = ["clientauth"]\n'
        'key_usage = ["sign"]\nvalidity = "2 years"\nsan = "maybe"',
        [
            "certificate_profile.x.extended_key_usage[0]",
            "certificate_profile.x.key_usage[0]",
            "certificate_profile.x.validity",
            "certificate_profile.x.san",
        ],
    ),
    (
        "[certificate_profile.x]\n"
        'static_extensions = [{ oid = "1.2.3", value = "zz" }]',
        [
            "certificate_profile.x.static_extensions[0].value",
            "certificate_profile.x.static_extensions[0].critical",
        ],
    ),
    (
        "[certificate_profile.x]\npath_length = -1",
        ["certificate_profile.x.path_length"],
    ),
    (
        '[end_entity_profile.x]\nsubject = [{ pattern = "(" }, 3]',
        [
            "end_entity_profile.x.subject[0].pattern",
            "end_entity_profile.x.subject[0].field",
            "end_entity_profile.x.subject[1]",
        ],
    ),
    (
        '[end_entity_profile.x]\nalternative_names = [{ field = "dnz" }]',
        ["end_entity_profile.x.alternative_names[0].field"],
    ),
    (
        '[end_entity_profile.x]\ncertificate_profiles = ["gone"]',
        ["end_entity_profile.x.certificate_profiles"],
    ),
    ('[approval.x]\nneeded = 2\napprovers = ["uid:1"]', ["approval.x.needed"]),
    ("[approval.x]\nneeded = 99", ["approval.x.needed"]),
    ("[vendor.x]\n", ["vendor.x.anchors"]),
    ("[vendor.x]\nanchors = []", ["vendor.x.anchors"]),
    ('[authority.x]\ncrl_period = "daily"', ["authority.x.crl_period"]),
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
    assert configuration.listeners["http"].serves == ("cmp", "status", "operations")
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
