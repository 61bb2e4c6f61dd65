"""SCEP entrances in the configuration, and what does not fit together."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from pkid.app.config import decode_configuration
from pkid.app.kinds import ConfigurationError
from pkid.app.validators import read_validators
from pkid.engine.aliases import Mode, NameScheme
from pkid.engine.exchange import ExchangeKind

EVERYTHING = """
[scep.alias.phones]
authority = "issuing"
mode = "client"
authenticate = ["mac", "certificate"]
certificate_profile = "tls-client"
profiles = ["device", "smime"]
approval = "operator"
name_rule = { scheme = "dn", parts = ["CN"], prefix = "scep-" }
renewal = true
renewal_same_key = false
identity = "pair"
identity_key = "rsa:3072"
capabilities = ["AES", "SHA-256"]
static_challenge = true
unknown_requesters = "pend"
update_requests = "renew"
validator = "mdm"
allow_sha1 = true
allow_md5 = true
allow_des3 = true
allow_des = true
ca_certificates = "without-root"
include_chain = "issuer"
include_signer = false
sort_certificates = true
empty_content = false
fail_info_text = false
signing_time_window = "1h"
signature_profile = "device"
encryption_profile = "smime"
ndes = true
ndes_validity = "10m"
ndes_outstanding = 7

[validator.mdm]
url = "https://mdm.example.com/scep"
secret = "file:mdm.key"
timeout = "5s"
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        decode_configuration(text, source="test")
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.requirement("SCEP-53", "SCEP-54")
def test_every_setting_of_other_servers_has_its_place() -> None:
    configuration = decode_configuration(EVERYTHING, source="test")
    alias = configuration.scep_aliases["phones"]
    assert set(configuration.scep_aliases) == {"phones"}
    assert alias.alias.mode is Mode.CLIENT
    assert alias.alias.name_rule.scheme is NameScheme.DN
    assert alias.alias.protocol == "scep"
    assert alias.identity is ExchangeKind.PAIR
    assert alias.capabilities == ("AES", "SHA-256")
    assert alias.ndes_validity == timedelta(minutes=10)
    assert alias.signing_time_window == timedelta(hours=1)
    assert (alias.include_chain, alias.include_signer) == ("issuer", False)
    assert configuration.validators["mdm"].timeout == timedelta(seconds=5)


@pytest.mark.requirement("SEC-26", "SEC-21")
def test_the_built_in_entrance_takes_nothing_old() -> None:
    alias = decode_configuration("", source="test").scep_aliases["default"]
    old = (alias.allow_sha1, alias.allow_md5, alias.allow_des3, alias.allow_des)
    assert not any(old)
    assert alias.unknown_requesters == "refuse"
    assert alias.update_requests == "refuse"
    fresh = decode_configuration(
        '[scep.alias.a]\nauthority = "issuing"\n', source="test"
    )
    assert not fresh.scep_aliases["a"].static_challenge


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("unknown_requesters", '"pend"', "approval"),
        ("identity_key", '"ec:P-256"', "RSA"),
        ("validator", '"nobody"', "validator"),
        ("signature_profile", '"tls-server"', "signature_profile"),
        ("certificate_profile", '"none"', "certificate_profile"),
        ("include_chain", '"all"', "include_chain"),
        ("allow_rc4", "true", "allow_rc4"),
    ],
)
def test_what_does_not_fit_is_a_fault_at_start(
    key: str, value: str, where: str
) -> None:
    text = f'[scep.alias.a]\nauthority = "issuing"\n{key} = {value}\n'
    assert any(where in fault for fault in faults(text))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('kind = "webhook"', "validator.a.url"),
        ('kind = "intune"\ntenant = "t"\nsecret = "env:S"', "validator.a.application"),
        ('kind = "carrier-pigeon"', "validator.a.kind"),
        ('url = "not a url"', "validator.a.url"),
    ],
)
def test_a_service_needs_what_it_needs(text: str, where: str) -> None:
    assert any(fault.startswith(where) for fault in faults(f"[validator.a]\n{text}\n"))


def test_entrances_of_other_names_than_the_listeners_are_no_fault() -> None:
    text = '[scep.alias.a]\nauthority = "issuing"\n'
    assert set(decode_configuration(text, source="test").scep_aliases) == {"a"}


def test_secrets_and_roots_of_services_are_read(tmp_path: Path) -> None:
    configuration = decode_configuration(EVERYTHING, source="test")
    key = tmp_path / "mdm.key"
    key.write_bytes(b"secret\n")
    key.chmod(0o600)
    found = read_validators(configuration, base=tmp_path, environment={})
    assert found["mdm"].secret == b"secret"
    assert "secret" not in repr(found["mdm"]).replace("secret='file", "")
    key.unlink()
    with pytest.raises(ConfigurationError, match=r"validator\.mdm\.secret"):
        read_validators(configuration, base=tmp_path, environment={})
