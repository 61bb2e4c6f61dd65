"""``docs/ejbca-cmp.md``: every key of an EJBCA alias, and keys that pkid truly has."""

from __future__ import annotations

import re

import pytest

from pkid.app.config import decode_configuration
from pkid.app.tables import CMP_ALIAS
from tests.project.sources import ROOT

PAGE = (ROOT / "docs" / "ejbca-cmp.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([a-z.]+)` \|([^|]*)\|([^|]*)\|$", re.MULTILINE)
ROWS = {key: (ours, remarks) for key, ours, remarks in ROW.findall(PAGE)}
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KEYS = (
    "operationmode",
    "defaultca",
    "responseprotection",
    "authenticationmodule",
    "authenticationparameters",
    "extractusernamecomponent",
    "vendorcertificatemode",
    "vendorca",
    "allowraverifypopo",
    "ra.namegenerationscheme",
    "ra.namegenerationparameters",
    "ra.namegenerationprefix",
    "ra.namegenerationpostfix",
    "ra.passwordgenparams",
    "ra.endentityprofileid",
    "ra.certificateprofile",
    "ra.caname",
    "ra.allowcustomcertserno",
    "ra.endentitycertificate.omitverifications",
    "racertificatepath",
    "allowautomatickeyupdate",
    "allowupdatewithsamekey",
    "certreqhandler.class",
)


@pytest.mark.requirement("CMP-186")
@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_an_alias_is_translated_or_refused(key: str) -> None:
    ours, remarks = ROWS[key]
    assert ours.strip() or remarks.strip()
    if "refused, see below" in remarks and not ours.strip():
        assert f"**`{key}`**" in PAGE


def test_what_it_is_translated_to_exists() -> None:
    named = {name for ours, _ in ROWS.values() for name in re.findall(r"`(\w+)`", ours)}
    assert named
    assert [name for name in sorted(named) if CMP_ALIAS.key(name) is None] == []


@pytest.mark.requirement("CMP-189")
def test_the_recipes_are_without_fault() -> None:
    text = "\n".join(TOML.findall(PAGE))
    found = decode_configuration(f"[listener]\n{text}", source="page")
    assert {"clients", "tokens", "authority", "stations"} <= found.cmp_aliases.keys()
