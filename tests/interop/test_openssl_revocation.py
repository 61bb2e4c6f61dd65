"""OpenSSL's CMP client revokes, holds, releases, and asks general questions."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.support.daemon import Daemon
from tests.support.opensslcmp import OpenSSL

pytestmark = pytest.mark.interop

# As `openssl cmp -revreason` numbers them (RFC 5280 section 5.3.1).
REASONS = {
    "-1": "unspecified",
    "0": "unspecified",
    "1": "key_compromise",
    "2": "ca_compromise",
    "3": "affiliation_changed",
    "4": "superseded",
    "5": "cessation_of_operation",
    "6": "certificate_hold",
    "9": "privilege_withdrawn",
    "10": "aa_compromise",
}
INFO_TYPES = (
    *("caCerts", "signKeyPairTypes", "encKeyPairTypes", "preferredSymmAlg"),
    *("currentCRL", "caProtEncCert", "caKeyUpdateInfo", "certReqTemplate"),
)
# Known to the client, which sends them without the value that they need.
EMPTY_INFO_TYPES = ("suppLangTags", "revPassphrase", "keyPairParamReq")


def status_of(daemon: Daemon, certificate: x509.Certificate) -> tuple[str, str | None]:
    serial = f"issuing/{certificate.serial_number:x}"
    view = daemon.ask_tool("certificate", "show", serial)
    return view["status"], view["reason"]


def revoke(openssl: OpenSSL, by: tuple[str, ...], reason: str) -> None:
    outcome = openssl.cmp("rr", *by, "-oldcert", "unit.pem", "-revreason", reason)
    assert outcome.ok, outcome.text
    assert "revocation accepted" in outcome.text, outcome.text


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_certificate_revokes_itself(
    openssl: OpenSSL, daemon: Daemon, reason: str
) -> None:
    certificate = openssl.enrol("unit")
    revoke(openssl, openssl.by_certificate("unit"), reason)
    status = "held" if reason == "6" else "revoked"
    assert status_of(daemon, certificate) in {
        (status, REASONS[reason]),
        ("revoked", REASONS[reason]),
    }


@pytest.mark.parametrize("reason", ["-1", "1", "4"])
def test_the_secret_that_enrolled_it_revokes(
    openssl: OpenSSL, daemon: Daemon, reason: str
) -> None:
    certificate = openssl.enrol("unit")
    revoke(openssl, openssl.by_secret, reason)
    assert status_of(daemon, certificate)[0] == "revoked"


def test_another_secret_does_not_revoke(openssl: OpenSSL, daemon: Daemon) -> None:
    certificate = openssl.enrol("unit")
    added = daemon.ask_tool("secret", "add", "--reference", f"x{id(openssl):x}")
    outcome = openssl.cmp(
        *("rr", "-ref", added["reference"], "-secret", f"pass:{added['secret']}"),
        *("-oldcert", "unit.pem", "-revreason", "1"),
    )
    assert not outcome.ok
    assert "notAuthorized" in outcome.text, outcome.text
    assert status_of(daemon, certificate)[0] == "active"


def test_another_certificate_does_not_revoke(openssl: OpenSSL, daemon: Daemon) -> None:
    certificate = openssl.enrol("unit")
    openssl.enrol("other")
    outcome = openssl.cmp(
        *("rr", *openssl.by_certificate("other"), "-oldcert", "unit.pem"),
        *("-revreason", "1"),
    )
    assert not outcome.ok
    assert "notAuthorized" in outcome.text, outcome.text
    assert status_of(daemon, certificate)[0] == "active"


@pytest.mark.requirement("CMP-116")
def test_what_is_held_is_released(openssl: OpenSSL, daemon: Daemon) -> None:
    certificate = openssl.enrol("unit")
    revoke(openssl, openssl.by_secret, "6")
    assert status_of(daemon, certificate)[1] == "certificate_hold"
    revoke(openssl, openssl.by_secret, "8")
    assert status_of(daemon, certificate) == ("active", None)


def test_what_is_held_does_not_release_itself(openssl: OpenSSL, daemon: Daemon) -> None:
    certificate = openssl.enrol("unit")
    revoke(openssl, openssl.by_certificate("unit"), "6")
    outcome = openssl.cmp(
        *("rr", *openssl.by_certificate("unit"), "-oldcert", "unit.pem"),
        *("-revreason", "8"),
    )
    assert not outcome.ok
    assert "certRevoked" in outcome.text, outcome.text
    assert status_of(daemon, certificate)[1] == "certificate_hold"


@pytest.mark.requirement("CMP-116")
def test_what_is_not_held_is_not_released(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    outcome = openssl.cmp(
        "rr", *openssl.by_secret, "-oldcert", "unit.pem", "-revreason", "8"
    )
    assert not outcome.ok
    assert "badCertId" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-117")
def test_what_is_revoked_is_not_revoked_again(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    revoke(openssl, openssl.by_secret, "1")
    outcome = openssl.cmp(
        "rr", *openssl.by_secret, "-oldcert", "unit.pem", "-revreason", "1"
    )
    assert not outcome.ok
    assert "certRevoked" in outcome.text, outcome.text


def test_a_revoked_certificate_protects_nothing(openssl: OpenSSL) -> None:
    openssl.enrol("unit")
    openssl.make_key("next")
    revoke(openssl, openssl.by_certificate("unit"), "1")
    outcome = openssl.cmp(
        *("kur", *openssl.by_certificate("unit"), "-newkey", "next.key"),
        *("-certout", "next.pem"),
    )
    assert not outcome.ok
    assert "certRevoked" in outcome.text, outcome.text


@pytest.mark.requirement("CMP-123")
@pytest.mark.parametrize("by", ["secret", "certificate"])
@pytest.mark.parametrize("name", INFO_TYPES)
def test_general_questions_are_answered(openssl: OpenSSL, name: str, by: str) -> None:
    proof = openssl.by_secret
    if by == "certificate":
        openssl.enrol("unit")
        proof = openssl.by_certificate("unit")
    outcome = openssl.cmp("genm", *proof, "-infotype", name)
    assert outcome.ok, outcome.text
    assert "received GENP" in outcome.text


@pytest.mark.parametrize("name", EMPTY_INFO_TYPES)
def test_questions_without_their_value_are_answered_or_refused(
    openssl: OpenSSL, name: str
) -> None:
    outcome = openssl.cmp("genm", *openssl.by_secret, "-infotype", name)
    if outcome.ok:
        assert "received GENP" in outcome.text
    else:
        assert "received ERROR" in outcome.text, outcome.text
        assert "badRequest" in outcome.text, outcome.text
