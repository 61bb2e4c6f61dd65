"""Which URL leads where, and which leads nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkid.transports.site import (
    CMP_OPERATIONS,
    OPERATIONS_ROUTES,
    STATUS_ROUTES,
    Route,
    Site,
    cmp_routes,
)
from tests.transports.wires import Recorder

ROUTES = (*cmp_routes(), *STATUS_ROUTES, *OPERATIONS_ROUTES)
KEYS = ("cmp", "status", "operations")
SITE = Site({key: Recorder() for key in KEYS}, ROUTES)


def found(path: str, site: Site = SITE) -> tuple[str, str, str] | None:
    target = site.find(path)
    if target is None:
        return None
    return target.route.responder, target.alias, target.operation


@pytest.mark.parametrize(
    ("path", "alias", "operation"),
    [
        ("/.well-known/cmp", "default", ""),
        ("/.well-known/cmp/initialization", "default", "initialization"),
        ("/.well-known/cmp/certConf", "default", "certConf"),
        ("/.well-known/cmp/p/plant-7", "plant-7", ""),
        ("/.well-known/cmp/p/plant-7/keyupdate", "plant-7", "keyupdate"),
        ("/.well-known/cmp/p/p/p10", "p", "p10"),
        ("/.well-known/cmp/p/ir/ir", "ir", "ir"),
        ("/cmp/gnb_2", "gnb_2", ""),
        ("/ejbca/publicweb/cmp/ran", "ran", ""),
        ("/pkix", "default", ""),
        ("/pkix/", "default", ""),
        ("/.well-known/cmp/p/%70lant", "plant", ""),
        ("/%63mp/x", "x", ""),
    ],
)
def test_cmp_path_names_alias_and_operation(
    path: str, alias: str, operation: str
) -> None:
    assert found(path) == ("cmp", alias, operation)


@pytest.mark.parametrize("operation", sorted(CMP_OPERATIONS))
def test_every_operation_label_is_found_with_and_without_alias(operation: str) -> None:
    assert found(f"/.well-known/cmp/{operation}") == ("cmp", "default", operation)
    assert found(f"/.well-known/cmp/p/a/{operation}") == ("cmp", "a", operation)


def test_root_is_cmp_only_when_configured() -> None:
    assert found("/") is None
    site = Site({"cmp": Recorder()}, cmp_routes(at_root=True, default_alias="lab"))
    assert found("/", site) == ("cmp", "lab", "")


def test_status_and_operations_paths() -> None:
    assert found("/crls/issuing.crl") == ("status", "issuing", "crl")
    assert found("/certificates/issuing.cer") == ("status", "issuing", "certificate")
    assert found("/livez") == ("operations", "", "livez")
    assert found("/readyz") == ("operations", "", "readyz")


def test_longest_end_of_a_pattern_wins_whatever_the_order_of_rows() -> None:
    delta = Route(
        pattern="/crls/<alias>-other.crl", responder="status", operation="other"
    )
    for rows in ((*STATUS_ROUTES, delta), (delta, *STATUS_ROUTES)):
        site = Site({"status": Recorder()}, rows)
        assert found("/crls/a-other.crl", site) == ("status", "a", "other")
        assert found("/crls/a.crl", site) == ("status", "a", "crl")


@pytest.mark.parametrize(
    ("path", "alias", "operation", "rest"),
    [
        ("/ocsp", "", "ocsp", ""),
        ("/ocsp/", "", "ocsp", ""),
        ("/ocsp/ME8wTT/A+==", "", "ocsp", "ME8wTT/A+=="),
        ("/ocsp/ME8wTT%2FA%2B%3d", "", "ocsp", "ME8wTT/A+="),
        ("/ocsp//a//b", "", "ocsp", "/a//b"),
        ("/ejbca/publicweb/status/ocsp/MA", "", "ocsp", "MA"),
        ("/crls/issuing-delta.crl", "issuing", "delta-crl", ""),
        ("/crls/issuing/3.crl", "issuing", "crl-partition", "3.crl"),
    ],
)
def test_the_rest_of_a_path_goes_with_its_row(
    path: str, alias: str, operation: str, rest: str
) -> None:
    target = SITE.find(path)
    assert target is not None
    assert (target.alias, target.operation, target.rest) == (alias, operation, rest)


def test_two_rows_for_the_same_rest_are_a_fault() -> None:
    row = Route(pattern="/x/<rest>", responder="status")
    with pytest.raises(ValueError, match="two routes"):
        Site({"status": Recorder()}, (row, row))


def test_rows_without_their_responder_do_not_exist() -> None:
    site = Site({"status": Recorder()}, ROUTES)
    assert found("/cmp/x", site) is None
    assert found("/crls/x.crl", site) == ("status", "x", "crl")


def test_two_rows_with_one_pattern_are_a_fault() -> None:
    with pytest.raises(ValueError, match="two routes"):
        Site({"cmp": Recorder()}, (*cmp_routes(), *cmp_routes()))


NAMES = [
    "..",
    ".",
    "...",
    "%2e%2e",
    "%2E%2E",
    "%252e%252e",
    "%2e",
    ".%2e",
    "..%2f..%2fetc%2fpasswd",
    "..%5c..%5cwin.ini",
    "..\\..\\x",
    "\\",
    "%5c",
    "%2f",
    "%2Fetc",
    "a%2fb",
    "a%5cb",
    "a%00",
    "%00",
    "a%00.crl",
    "a.crl%00",
    "a%0a",
    "a%0d%0aX",
    "a b",
    "a%20b",
    "a+b",
    "a;b",
    "a:b",
    "a,b",
    "a&b",
    "a=b",
    "a'b",
    'a"b',
    "a<b",
    "a|b",
    "$(id)",
    "`id`",
    "~root",
    "*",
    "?",
    "A",
    "Default",
    "a.b",
    "%C0%AE%C0%AE",
    "%c0%af",
    "%e0%80%af",
    "%uff0e",
    "%ef%bc%8f",
    "\uff0e\uff0e",
    "\u0131",
    "%",
    "%2",
    "%zz",
    "a" * 65,
    "",
]


@pytest.mark.requirement("SEC-67")
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_name_leads_nowhere(name: str) -> None:
    for path in (
        f"/cmp/{name}",
        f"/.well-known/cmp/p/{name}",
        f"/.well-known/cmp/p/{name}/ir",
        f"/.well-known/cmp/p/a/{name}",
        f"/.well-known/cmp/{name}",
        f"/ejbca/publicweb/cmp/{name}",
        f"/crls/{name}.crl",
        f"/certificates/{name}.cer",
        f"/{name}/cmp/x",
        f"/cmp/{name}/x",
        f"/cmp/../cmp/{name}",
    ):
        assert found(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "cmp/x",
        "//cmp/x",
        "/cmp//x",
        "/cmp/x/",
        "/cmp",
        "/cmp/",
        "/.well-known/cmp/",
        "/.well-known/cmp/p",
        "/.well-known/cmp/p/",
        "/.well-known/cmp/unknown",
        "/.well-known/cmp/p/a/unknown",
        "/.well-known/cmp/p/a/ir/x",
        "/.well-known/cmp/IR",
        "/.WELL-KNOWN/cmp",
        "/crls/.crl",
        "/crls/a",
        "/crls/a.crl.crl",
        "/livez/",
        "/livez;x",
    ],
)
def test_near_misses_lead_nowhere(path: str) -> None:
    assert found(path) is None


@given(st.text(max_size=80))
def test_any_path_gives_names_or_nothing(text: str) -> None:
    for path in (text, "/" + text, "/cmp/" + text, "/.well-known/cmp/p/" + text):
        target = SITE.find(path)
        if target is not None:
            assert set(target.alias) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
            assert target.operation in CMP_OPERATIONS | {
                "",
                "crl",
                "certificate",
                "livez",
                "readyz",
            }
