"""`openssl cmp` proves an encryption key by decrypting its certificate.

It speaks version 2, so that it knows EncryptedValue only.
"""

from __future__ import annotations

import pytest

from tests.support.opensslcmp import OpenSSL


@pytest.fixture
def openssl(openssl: OpenSSL) -> OpenSSL:
    """OpenSSL at the entrance that speaks version 2's way of encrypting."""
    openssl.alias = "keys"
    return openssl


@pytest.mark.requirement("CMP-86", "CMP-112")
@pytest.mark.parametrize("kind", ["rsa:2048", "rsa:3072"])
@pytest.mark.parametrize("command", ["ir", "cr"])
def test_the_client_decrypts_its_certificate_and_confirms_it(
    openssl: OpenSSL, kind: str, command: str
) -> None:
    openssl.make_key("unit", kind)
    outcome = openssl.cmp(
        *(command, *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-popo", "2", "-certout", "unit.pem"),
    )
    assert outcome.ok, outcome.text
    openssl.judge("unit")


@pytest.mark.requirement("CMP-86")
def test_implicit_confirmation_is_asked_for_in_vain(openssl: OpenSSL) -> None:
    openssl.make_key("unit", "rsa:2048")
    outcome = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=unit"),
        *("-popo", "2", "-implicit_confirm", "-certout", "unit.pem"),
    )
    assert outcome.ok, outcome.text
    assert "sending CERTCONF" in outcome.text


@pytest.mark.requirement("CMP-86")
def test_a_key_is_updated_by_decryption(openssl: OpenSSL) -> None:
    openssl.make_key("unit", "rsa:2048")
    first = openssl.cmp(
        *("ir", *openssl.by_secret, "-newkey", "unit.key", "-subject", "/CN=updated"),
        *("-certout", "unit.pem"),
    )
    assert first.ok, first.text
    openssl.make_key("next", "rsa:2048")
    outcome = openssl.cmp(
        *("kur", *openssl.by_certificate("unit"), "-newkey", "next.key"),
        *("-popo", "2", "-certout", "next.pem"),
    )
    assert outcome.ok, outcome.text
    openssl.judge("next")
