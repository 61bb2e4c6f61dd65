"""OpenSSL's client at the strict level, and without any protection.

RFC 9483 wants the sender to name its reference value or its certificate: with a secret
OpenSSL takes the sender from ``-subject``.
"""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL

pytestmark = pytest.mark.interop

STRICT = "lcmpp"


@pytest.fixture
def reference(daemon: Daemon) -> str:
    """The reference value of the first-run secret."""
    found: str = daemon.credentials["cmp"]["reference"]
    return found


def enrolled(openssl: OpenSSL, reference: str, command: str = "ir") -> x509.Certificate:
    """A certificate for the key "unit", its subject named as the secret."""
    return openssl.enrol(
        "unit", "-subject", f"/CN={reference}", command=command, alias=STRICT
    )


@pytest.mark.requirement("CMP-07")
@pytest.mark.parametrize("confirm", [(), ("-implicit_confirm",)])
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_a_secret_enrols_under_its_own_name(
    openssl: OpenSSL, reference: str, command: str, confirm: tuple[str, ...]
) -> None:
    openssl.enrol(
        "unit", "-subject", f"/CN={reference}", *confirm, command=command, alias=STRICT
    )


def test_a_request_of_PKCS_10_passes(openssl: OpenSSL, reference: str) -> None:
    enrolled(openssl, reference)
    openssl.make_key("next")
    openssl.make_request("next", f"/CN={reference}")
    by = openssl.by_certificate("unit")
    outcome = openssl.cmp(
        *("p10cr", *by, "-csr", "next.csr", "-certout", "next.pem"), alias=STRICT
    )
    assert outcome.ok, outcome.text


@pytest.mark.requirement("CMP-07")
def test_a_secret_under_another_name_is_badMessageCheck(openssl: OpenSSL) -> None:
    openssl.make_key("unit")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-certout", "unit.pem"),
        alias=STRICT,
    )
    assert not outcome.ok
    assert "badMessageCheck" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-11", "CMP-41")
def test_a_certificate_renews_asks_and_revokes_itself(
    openssl: OpenSSL, reference: str
) -> None:
    enrolled(openssl, reference)
    by = openssl.by_certificate("unit")
    asked = openssl.cmp("genm", *by, "-infotype", "caCerts", alias=STRICT)
    assert asked.ok, asked.text
    openssl.make_key("next")
    openssl.enrol(
        *("next", "-subject", f"/CN={reference}"),
        command="kur",
        by=by,
        alias=STRICT,
    )
    revoked = openssl.cmp(
        *("rr", *openssl.by_certificate("next"), "-oldcert", "next.pem"),
        *("-revreason", "1"),
        alias=STRICT,
    )
    assert revoked.ok, revoked.text


@pytest.mark.requirement("CMP-36")
def test_a_secret_revokes_nothing(openssl: OpenSSL, reference: str) -> None:
    enrolled(openssl, reference)
    outcome = openssl.cmp(
        *("rr", *openssl.by_secret, "-oldcert", "unit.pem", "-revreason", "1"),
        alias=STRICT,
    )
    assert not outcome.ok
    assert "wrongIntegrity" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-28")
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_an_open_alias_takes_requests_that_nobody_protected(
    openssl: OpenSSL, daemon: Daemon, command: str
) -> None:
    openssl.enrol(
        f"open-{command}",
        "-unprotected_requests",
        command=command,
        by=(
            *("-trusted", str(daemon.first_run / "root.pem")),
            *("-untrusted", str(daemon.first_run / "chain.pem")),
        ),
        alias="open",
    )
    other = openssl.cmp(
        *(command, "-unprotected_requests", "-newkey", f"open-{command}.key"),
        *("-subject", f"/CN=open-{command}", "-certout", "again.pem"),
        *("-trusted", str(daemon.first_run / "root.pem")),
        *("-untrusted", str(daemon.first_run / "chain.pem")),
        alias="open",
    )
    assert not other.ok
    assert "notAuthorized" in other.text, other.text
