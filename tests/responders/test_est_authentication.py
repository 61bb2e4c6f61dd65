"""EST: who asks, by certificate, by password, by both."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.asn1 import oids
from pkid.engine.aliases import Authentication, Mode, VendorTrust
from pkid.engine.credentials import NewSecret
from pkid.engine.model import CredentialKind, EndEntity, EntityStatus
from pkid.engine.profiles import CertificateProfile
from pkid.errors import PKIError
from pkid.responders.base import Peer, Reply
from pkid.responders.est.aliases import ESTAlias
from tests.engine.test_identification import Vendor
from tests.engine.world import OPERATOR, result_of
from tests.responders.estdesk import (
    EST,
    LOCAL,
    PASSWORD,
    USER,
    ESTDesk,
    basic,
    certificates,
    challenge,
    csr,
    header,
    new_key,
)

AFAR = Peer(address="192.0.2.1", beyond_loopback=True)
BOTH = frozenset((Authentication.MAC, Authentication.CERTIFICATE))


def entity(est: ESTDesk, name: str, **fields: Any) -> None:
    made = EndEntity(
        name=name, status=EntityStatus.NEW, created=est.world.clock.now(), **fields
    )
    result_of(est.world.engine.administration.add_entity(made, OPERATOR, EST))


def audited(est: ESTDesk, text: str) -> list[Any]:
    return [one.event for one in result_of(est.world.engine.explain(text))]


# --- passwords --------------------------------------------------------------------


@pytest.mark.requirement("EST-27", "EST-29")
def test_basic_is_asked_for_only_without_a_usable_certificate(est: ESTDesk) -> None:
    reply = est.ask("simpleenroll", csr(new_key()))
    # Bouncy Castle trips over any body here.
    assert (reply.status, reply.body) == (401, b"")
    assert header(reply, "WWW-Authenticate") == (
        'Basic realm="est default", charset="UTF-8"'
    )
    _, certificate = est.holder()
    assert est.ask("simpleenroll", csr(new_key()), cert=certificate).status == 200
    stranger = Vendor().unit("7")
    refused = est.ask("simpleenroll", csr(new_key()), cert=stranger)
    assert refused.status == 401
    assert b"not of this PKI" in refused.body


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic !!!",
        "Basic ZGV2aWNl",
        "Basic Og==",
        "Bearer abc",
        "Digest",
        'Digest username="x',
        "Basic /////w==",
    ],
)
@pytest.mark.requirement("EST-29")
def test_any_other_authorization_is_401(est: ESTDesk, value: str) -> None:
    reply = est.ask("simpleenroll", csr(new_key()), user={"authorization": value})
    assert reply.status == 401


@pytest.mark.requirement("EST-55")
def test_a_wrong_password_and_a_wrong_user_look_the_same(est: ESTDesk) -> None:
    replies = [
        est.ask("simpleenroll", csr(new_key()), user=user)
        for user in (basic(password="guess"), basic("nobody"), basic("nobody", ""))
    ]
    assert len({(reply.status, reply.body, reply.headers) for reply in replies}) == 1
    assert replies[0].status == 401


@pytest.mark.requirement("EST-28")
def test_a_code_for_one_use_is_spent_once(est: ESTDesk) -> None:
    est.secret("once", uses=1)
    body = csr(new_key())
    (first,) = certificates(est.enroll(body, user=basic("once")))
    assert certificates(est.enroll(body, user=basic("once"))) == [first]
    refused = est.enroll(user=basic("once"))
    assert refused.status == 401
    assert b"wrong user or password" in refused.body


@pytest.mark.requirement("EST-28")
def test_a_code_is_bound_to_entity_and_subject(est: ESTDesk) -> None:
    est.secret("bound", subject="CN=device-7*")
    assert est.enroll(user=basic("bound")).status == 403
    assert est.enroll(csr(new_key(), "CN=device-77"), user=basic("bound")).status == 200


@pytest.mark.requirement("SEC-34")
def test_guessing_is_slowed_down_by_address_and_by_code(est: ESTDesk) -> None:
    for _ in range(10):
        assert est.enroll(user=basic("nobody"), peer=AFAR).status == 401
    slowed = est.enroll(peer=AFAR)
    assert slowed.status == 503
    assert int(header(slowed, "Retry-After") or 0) > 0
    for _ in range(10):
        assert est.enroll(user=basic(password="guess")).status == 401
    assert est.enroll().status == 401
    est.advance(minutes=2)
    assert est.enroll().status == 200


@pytest.mark.requirement("EST-45")
def test_in_client_mode_the_code_belongs_to_a_registered_entity(est: ESTDesk) -> None:
    est.change_alias(mode=Mode.CLIENT)
    assert est.enroll().status == 403
    entity(est, "phone", subject="CN=phone,O=registered")
    est.secret("phone", entity="phone")
    (certificate,) = certificates(est.enroll(user=basic("phone")))
    assert certificate.subject.rfc4514_string() == "CN=phone,O=registered"


# --- Digest -----------------------------------------------------------------------


def digest(est: ESTDesk, algorithm: str, **changes: str) -> Reply:
    asked = est.ask("simpleenroll", csr(new_key()))
    (offer,) = [
        value
        for name, value in asked.headers
        if name == "WWW-Authenticate"
        and value.endswith("algorithm=SHA-256") == (algorithm == "SHA-256")
    ]
    found = re.findall(r'(realm|nonce)="([^"]*)"', offer)
    values = {
        "username": USER,
        "uri": "/.well-known/est/simpleenroll",
        "nc": "00000001",
        "cnonce": "0a4f113b",
        "qop": "auth",
        "algorithm": algorithm,
        **dict(found),
        **changes,
    }
    hashed = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}[algorithm]

    def h(*parts: str) -> str:
        return hashed(":".join(parts).encode()).hexdigest()

    first = h(values["username"], values["realm"], PASSWORD)
    second = h("POST", values["uri"])
    middle = [values[name] for name in ("nonce", "nc", "cnonce", "qop")]
    values.setdefault("response", h(first, *middle, second))
    text = ", ".join(f'{name}="{value}"' for name, value in values.items())
    est.advance(seconds=int(changes.get("wait", "0")))
    return est.ask(
        "simpleenroll", csr(new_key()), user={"authorization": f"Digest {text}"}
    )


@pytest.fixture
def digesting(est: ESTDesk) -> ESTDesk:
    est.settings["http_authentication"] = ("digest-sha256", "digest-md5")
    return est


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.requirement("EST-27")
def test_digest_is_taken_where_it_is_offered(
    digesting: ESTDesk, algorithm: str
) -> None:
    assert digest(digesting, algorithm).status == 200
    assert digesting.enroll().status == 401


@pytest.mark.parametrize(
    "changes",
    [
        {"response": "0" * 32},
        {"uri": "/.well-known/est/cacerts"},
        {"nonce": "1790000000-00000000000000000000000000000000"},
        {"nonce": "not-a-nonce"},
        {"realm": "est other"},
        {"qop": "auth-int"},
        {"username": "nobody"},
        {"username": "x" * 200},
        {"username": "a\x07b"},
        {"wait": "301"},
    ],
)
@pytest.mark.requirement("EST-27")
def test_a_digest_for_something_else_is_401(
    digesting: ESTDesk, changes: dict[str, str]
) -> None:
    assert digest(digesting, "MD5", **changes).status == 401


def test_an_algorithm_that_is_not_offered_is_401(est: ESTDesk) -> None:
    est.settings["http_authentication"] = ("digest-sha256",)
    assert digest(est, "SHA-256").status == 200
    with pytest.raises(ValueError, match="unpack"):
        digest(est, "MD5")


# --- a challenge of SCEP ----------------------------------------------------------


def with_challenge(text: str, subject: str = "CN=by-challenge") -> bytes:
    return csr(new_key(), subject, attributes=(challenge(text),) if text else ())


@pytest.mark.requirement("EST-24")
def test_a_scep_challenge_in_the_request_says_who_asks_where_that_is_set(
    est: ESTDesk,
) -> None:
    made = result_of(
        est.world.engine.administration.add_secret(
            NewSecret(kind=CredentialKind.SCEP_CHALLENGE, uses=1), OPERATOR, EST
        )
    )
    secret = made.secret.decode()
    assert est.ask("simpleenroll", with_challenge(secret)).status == 401
    est.settings["binding"] = "secret"
    for wrong in ("guess", ""):
        assert est.ask("simpleenroll", with_challenge(wrong)).status == 401
    body = with_challenge(secret)
    (first,) = certificates(est.ask("simpleenroll", body))
    assert certificates(est.ask("simpleenroll", body)) == [first]
    assert est.ask("simpleenroll", with_challenge(secret)).status == 401
    assert est.enroll(with_challenge("anything", "CN=other")).status == 200


# --- certificate and password together --------------------------------------------


@pytest.mark.requirement("EST-28", "EST-45")
def test_both_means_both(est: ESTDesk) -> None:
    _, certificate = est.holder()
    est.settings["both"] = True
    est.secret("mine", entity="device-1", uses=1)
    est.secret("other", entity="device-2")
    asked = {"cert": certificate}
    assert est.ask("simpleenroll", csr(new_key()), **asked).status == 401
    assert est.ask("simpleenroll", csr(new_key()), user=basic("mine")).status == 403
    wrong = est.ask("simpleenroll", csr(new_key()), user=basic("other"), **asked)
    assert wrong.status == 403
    right = est.ask("simpleenroll", csr(new_key()), user=basic("mine"), **asked)
    assert right.status == 200
    spent = est.ask("simpleenroll", csr(new_key()), user=basic("mine"), **asked)
    assert spent.status == 401


# --- vendors ----------------------------------------------------------------------


@pytest.fixture
def vendor(est: ESTDesk) -> Vendor:
    made = Vendor()
    trust = VendorTrust(name="acme", anchors=(made.root,))
    est.world.policies = replace(est.world.policies, vendors={"acme": trust})
    est.change_alias(
        vendors=("acme",), authenticate=frozenset((Authentication.VENDOR,))
    )
    return made


@pytest.mark.requirement("EST-43", "EST-16", "EST-45")
def test_a_unit_on_the_allow_list_gets_its_registered_name(
    est: ESTDesk, vendor: Vendor
) -> None:
    entity(est, "switch-7", subject="CN=switch-7", vendor="acme|SN-7")
    idevid = vendor.unit("SN-7", end=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    (certificate,) = certificates(est.enroll(cert=idevid, user=None))
    assert certificate.subject.rfc4514_string() == "CN=switch-7"
    assert est.enroll(cert=vendor.unit("SN-8"), user=None).status == 403


@pytest.mark.requirement("EST-47")
def test_a_foreign_certificate_gets_403_that_says_why(
    est: ESTDesk, vendor: Vendor
) -> None:
    stranger = est.enroll(cert=Vendor("other").unit("SN-7"), user=None)
    assert stranger.status == 403
    assert stranger.body
    garbage = est.enroll(cert=b"\x30\x03\x02\x01\x05", user=None)
    assert garbage.status == 400


def test_a_vendor_certificate_renews_nothing(est: ESTDesk, vendor: Vendor) -> None:
    entity(est, "switch-7", subject="CN=switch-7", vendor="acme|SN-7")
    reply = est.ask("simplereenroll", csr(new_key()), cert=vendor.unit("SN-7"))
    assert reply.status == 403


@pytest.mark.requirement("EST-50")
def test_trust_is_that_of_the_moment(est: ESTDesk, vendor: Vendor) -> None:
    entity(est, "switch-7", subject="CN=switch-7", vendor="acme|SN-7")
    unit = vendor.unit("SN-7")
    assert est.enroll(cert=unit, user=None).status == 200
    est.world.policies = replace(est.world.policies, vendors={})
    assert est.enroll(cert=unit, user=None).status == 403


def revocation_list(vendor: Vendor, certificate: bytes, now: datetime) -> bytes:
    serial = x509.load_der_x509_certificate(certificate).serial_number
    revoked = x509.RevokedCertificateBuilder(serial, now - timedelta(days=1)).build()
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(vendor.subject)
        .last_update(now - timedelta(days=1))
        .next_update(now + timedelta(days=30))
        .add_revoked_certificate(revoked)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    return builder.sign(vendor.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.requirement("EST-53")
def test_what_a_vendor_revoked_is_refused(est: ESTDesk, vendor: Vendor) -> None:
    for number in (7, 8):
        entity(est, f"switch-{number}", vendor=f"acme|SN-{number}")
    good, stolen = vendor.unit("SN-7"), vendor.unit("SN-8")
    crl = revocation_list(vendor, stolen, est.world.clock.now())
    trust = VendorTrust(name="acme", anchors=(vendor.root,), crls=(crl,))
    est.world.policies = replace(est.world.policies, vendors={"acme": trust})
    refused = est.enroll(csr(new_key(), "CN=a"), cert=stolen, user=None)
    assert refused.status == 403
    assert b"revoked" in refused.body
    assert est.enroll(csr(new_key(), "CN=b"), cert=good, user=None).status == 200


# --- registration authorities -----------------------------------------------------


@pytest.fixture
def authority(est: ESTDesk) -> x509.Certificate:
    profile = CertificateProfile(
        name="ra",
        validity=timedelta(days=30),
        extended_key_usage=(oids.ID_KP_CLIENT_AUTH, oids.ID_KP_CMC_RA),
    )
    profiles = {**est.world.policies.certificate_profiles, "ra": profile}
    est.world.policies = replace(est.world.policies, certificate_profiles=profiles)
    est.change_alias(certificate_profile="ra")
    _, certificate = est.holder("CN=ra-1")
    est.change_alias(certificate_profile="device")
    return certificate


@pytest.mark.requirement("EST-20")
def test_a_listed_authority_enrols_others_and_both_are_recorded(
    est: ESTDesk, authority: x509.Certificate
) -> None:
    body = csr(new_key(), "CN=behind-ra", attributes=(challenge("another session"),))
    assert est.enroll(body, cert=authority, user=None).status in {400, 403}
    est.change_alias(
        registration_authorities=("CN=ra-1",),
        authenticate=frozenset((Authentication.REGISTRATION_AUTHORITY,)),
    )
    (certificate,) = certificates(est.enroll(body, cert=authority, user=None))
    assert certificate.subject.rfc4514_string() == "CN=behind-ra"
    (event,) = [one for one in audited(est, "behind-ra") if one.action == "issue"]
    assert event.actor == f"certificate:issuing/{authority.serial_number:x}"
    assert event.subject == "CN=behind-ra"


def test_an_authority_that_has_expired_asks_for_nothing(
    est: ESTDesk, authority: x509.Certificate
) -> None:
    est.change_alias(
        registration_authorities=("CN=ra-1",), renew_expired=timedelta(days=30)
    )
    est.advance(days=40)
    reply = est.ask("simpleenroll", csr(new_key()), cert=authority)
    assert reply.status == 401


# --- headers that proxies set -----------------------------------------------------

SPOOFED = (
    "client-cert", "client-cert-chain", "x-client-cert", "x-ssl-client-cert",
    "ssl-client-cert", "x-forwarded-client-cert", "x-arr-clientcert",
    "ssl_client_cert", "x-ssl-cert", "x-tls-client-cert", "x-forwarded-for",
    "forwarded",
)  # fmt: skip


@pytest.mark.parametrize("name", SPOOFED)
@pytest.mark.requirement("EST-51", "EST-56", "SEC-30")
def test_a_certificate_in_a_header_is_not_believed(est: ESTDesk, name: str) -> None:
    _, certificate = est.holder()
    pem = certificate.public_bytes(Encoding.PEM).decode().replace("\n", "%0A")
    reply = est.ask("simpleenroll", csr(new_key()), headers={name: pem})
    assert reply.status == 401
    assert LOCAL.certificate is None


# --- the settings -----------------------------------------------------------------


def test_settings_that_clash_are_refused(est: ESTDesk) -> None:
    with pytest.raises(PKIError, match="name of an operation"):
        ESTAlias(alias=replace(est.alias, name="cacerts"))
    only = replace(est.alias, authenticate=frozenset((Authentication.MAC,)))
    with pytest.raises(PKIError, match="both needs"):
        ESTAlias(alias=only, both=True)
    with pytest.raises(PKIError, match="needs http_authentication"):
        ESTAlias(alias=est.alias, http_authentication=())


def test_without_passwords_nobody_is_asked_for_one(est: ESTDesk) -> None:
    est.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    reply = est.ask("simpleenroll", csr(new_key()), user=basic())
    assert reply.status == 403
    assert header(reply, "WWW-Authenticate") is None
