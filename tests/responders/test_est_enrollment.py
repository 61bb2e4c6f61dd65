"""EST: certificates for PKCS #10 requests, first ones and renewals."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name, encode_general_names
from pkid.asn1.x509 import Extension
from pkid.engine.aliases import Authentication
from pkid.messages.pkcs10 import Attribute
from tests.engine.world import result_of
from tests.responders.estdesk import (
    BINDING,
    ESTDesk,
    basic,
    bound,
    certificates,
    challenge,
    csr,
    header,
    new_key,
    san,
)

KEYS = {
    "P-256": new_key(),
    "RSA": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def renew(est: ESTDesk, cert: x509.Certificate, body: bytes, **fields: Any) -> Any:
    return est.ask("simplereenroll", body, cert=cert, **fields)


@pytest.mark.parametrize("kind", sorted(KEYS))
@pytest.mark.requirement("EST-12", "EST-16", "EST-21")
def test_a_password_gets_exactly_one_certificate(est: ESTDesk, kind: str) -> None:
    est.change_profile(keys=("ec:P-256", "rsa:2048", "ed25519"))
    reply = est.enroll(csr(KEYS[kind], extensions=(san("a.example"),)))
    (certificate,) = certificates(reply)
    assert certificate.public_key() == KEYS[kind].public_key()
    assert certificate.subject.rfc4514_string() == "CN=device-1,O=pkid test"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["a.example"]
    assert header(reply, "Cache-Control") == "no-store"


@pytest.mark.requirement("EST-12")
def test_the_chain_comes_by_a_switch_and_behind_the_certificate(est: ESTDesk) -> None:
    est.settings["chain"] = True
    key = new_key()
    octets = base64.b64decode(est.enroll(csr(key)).body)
    from pkid.asn1.cms.signed import SignedData

    found = SignedData.decode_content_info(octets)
    assert len(found.certificates) == 3
    first = x509.load_der_x509_certificate(found.certificates[0])
    assert first.public_key() == key.public_key()
    assert (found.version, found.signer_infos, found.digest_algorithms) == (1, (), ())
    assert found.encapsulated.content is None


@pytest.mark.requirement("EST-21")
def test_a_request_that_another_key_signed_is_refused(est: ESTDesk) -> None:
    reply = est.enroll(csr(new_key(), signer=new_key()))
    assert reply.status == 400
    assert b"possession" in reply.body


@pytest.mark.requirement("EST-10")
def test_sha1_is_taken_in_a_request_by_policy_only(est: ESTDesk) -> None:
    body = csr(new_key(), hash_name="sha1")
    assert est.enroll(body).status == 400
    est.change_alias(sha1_possession=True)
    assert est.enroll(body).status == 200


@pytest.mark.requirement("EST-10")
def test_attributes_in_any_order_are_read(est: ESTDesk) -> None:
    late = Attribute("1.3.6.1.4.1.99999.1", (der.integer(1),))
    body = csr(new_key(), attributes=(late, bound()), extensions=(san("a.example"),))
    assert est.enroll(body).status == 200


# --- the channel binding ----------------------------------------------------------


@pytest.mark.requirement("EST-22", "EST-23", "SEC-32")
def test_a_request_bound_to_one_connection_is_refused_on_another(est: ESTDesk) -> None:
    body = csr(new_key(), attributes=(bound(),))
    assert est.enroll(body, bindings=(b"another-session",)).status == 400
    refused = est.enroll(body, bindings=())
    assert refused.status == 400
    assert b"channel binding" in refused.body
    assert est.enroll(body).status == 200


@pytest.mark.requirement("EST-22")
def test_a_binding_may_be_demanded(est: ESTDesk) -> None:
    est.settings["binding"] = "require"
    refused = est.enroll()
    assert refused.status == 400
    assert b"linking of identity and proof of possession is required" in refused.body
    assert est.enroll(csr(new_key(), attributes=(bound(),))).status == 200


def test_white_space_in_the_binding_does_no_harm(est: ESTDesk) -> None:
    text = base64.b64encode(BINDING).decode() + "\r\n"
    assert est.enroll(csr(new_key(), attributes=(challenge(text),))).status == 200


def test_a_challenge_may_mean_nothing(est: ESTDesk) -> None:
    body = csr(new_key(), attributes=(challenge("a secret of SCEP"),))
    assert est.enroll(body).status == 400
    est.settings["binding"] = "ignore"
    assert est.enroll(body).status == 200


# --- once more --------------------------------------------------------------------


@pytest.mark.requirement("EST-25")
def test_the_same_request_gets_the_same_certificate_on_any_connection(
    est: ESTDesk,
) -> None:
    key = new_key()
    first = certificates(est.enroll(csr(key, attributes=(bound(),))))
    other = (b"the next session",)
    again = est.enroll(csr(key, attributes=(bound(*other),)), bindings=other)
    assert certificates(again) == first


@pytest.mark.requirement("EST-25")
def test_a_waiting_request_is_202_until_it_is_approved(est: ESTDesk) -> None:
    est.change_alias(approval="operator")
    key = new_key()
    for number in range(3):
        other = (b"session %d" % number,)
        reply = est.enroll(csr(key, attributes=(bound(*other),)), bindings=other)
        assert reply.status == 202
        assert header(reply, "Retry-After") == "60"
    est.approve()
    assert len(certificates(est.enroll(csr(key)))) == 1


@pytest.mark.requirement("EST-25")
def test_retry_after_may_be_set(est: ESTDesk) -> None:
    est.change_alias(approval="operator")
    est.settings["retry_after"] = timedelta(minutes=5)
    assert header(est.enroll(), "Retry-After") == "300"


def test_a_rejected_request_is_403_with_the_reason(est: ESTDesk) -> None:
    est.change_alias(approval="operator")
    body = csr(new_key())
    assert est.enroll(body).status == 202
    for waiting in result_of(est.world.store.list_approvals()):
        from tests.responders.estdesk import EST

        administration = est.world.engine.administration
        result_of(administration.reject(waiting.id, "uid:1", "not ours", EST))
    reply = est.enroll(body)
    assert reply.status == 403
    assert b"not ours" in reply.body


def test_a_certificate_that_was_revoked_is_not_given_again(est: ESTDesk) -> None:
    body = csr(new_key())
    (certificate,) = certificates(est.enroll(body))
    est.revoke(certificate)
    reply = est.enroll(body)
    assert reply.status == 403
    assert b"revoked" in reply.body


# --- renewal ----------------------------------------------------------------------


@pytest.mark.requirement("EST-17", "EST-19")
def test_a_certificate_is_renewed_with_itself(est: ESTDesk) -> None:
    _, old = est.holder(extensions=(san("a.example", "b.example"),))
    body = csr(new_key(), extensions=(san("b.example", "a.example"),))
    (new,) = certificates(renew(est, old, body))
    assert new.subject == old.subject
    assert new.serial_number != old.serial_number
    assert certificates(renew(est, old, body)) == [new]
    later = renew(est, old, csr(new_key(), extensions=(san("a.example", "b.example"),)))
    assert later.status == 403


@pytest.mark.requirement("EST-25")
def test_a_lost_answer_is_given_again_though_the_old_certificate_is_revoked(
    est: ESTDesk,
) -> None:
    est.change_alias(revoke_replaced=True)
    _, old = est.holder()
    body = csr(new_key())
    first = certificates(renew(est, old, body))
    assert certificates(renew(est, old, body)) == first
    other = renew(est, old, csr(new_key()))
    assert other.status == 401
    assert b"revoked" in other.body
    est.revoke(first[0])
    assert renew(est, old, body).status == 403


@pytest.mark.requirement("EST-19")
def test_the_same_key_is_renewed_where_policy_allows_it(est: ESTDesk) -> None:
    key, old = est.holder()
    est.change_alias(renewal_same_key=False)
    refused = renew(est, old, csr(key))
    assert refused.status == 400
    est.change_alias(renewal_same_key=True)
    (new,) = certificates(renew(est, old, csr(key)))
    assert new.public_key() == old.public_key()


@pytest.mark.parametrize(
    ("subject", "names"),
    [
        ("CN=device-2,O=pkid test", ("a.example",)),
        ("CN=device-1", ("a.example",)),
        ("CN=device-1,O=pkid test", ("a.example", "c.example")),
        ("CN=device-1,O=pkid test", ("c.example",)),
    ],
)
@pytest.mark.requirement("EST-17", "SEC-31")
def test_a_renewal_under_another_name_is_refused(
    est: ESTDesk, subject: str, names: tuple[str, ...]
) -> None:
    _, old = est.holder(extensions=(san("a.example"),))
    reply = renew(est, old, csr(new_key(), subject, extensions=(san(*names),)))
    assert reply.status == 400
    assert b"the certificate to be renewed" in reply.body


@pytest.mark.requirement("EST-17")
def test_missing_names_are_copied_or_refused_by_a_switch(est: ESTDesk) -> None:
    _, old = est.holder(extensions=(san("a.example"),))
    est.settings["missing_names"] = "refuse"
    assert renew(est, old, csr(new_key())).status == 400
    est.settings["missing_names"] = "copy"
    (new,) = certificates(renew(est, old, csr(new_key())))
    names = new.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["a.example"]


@pytest.mark.requirement("EST-17")
def test_the_subject_is_compared_as_names_are(est: ESTDesk) -> None:
    _, old = est.holder()
    reply = renew(est, old, csr(new_key(), "CN=DEVICE-1,O=pkid  Test"))
    assert reply.status == 200


@pytest.mark.requirement("EST-17")
def test_without_the_certificate_nothing_is_renewed(est: ESTDesk) -> None:
    est.holder()
    reply = est.ask("simplereenroll", csr(new_key()), user=basic())
    assert reply.status == 403
    assert b"connect with the certificate" in reply.body


def change_names(subject: str | None, *names: str) -> Attribute:
    value = b"" if subject is None else Name.from_text(subject).der
    if names:
        value += encode_general_names(tuple(GeneralName.dns(one) for one in names))
    return Attribute(oids.ID_CMC_CHANGE_SUBJECT_NAME, (der.sequence(value),))


@pytest.mark.requirement("EST-18")
def test_names_change_by_policy_and_only_when_said(est: ESTDesk) -> None:
    _, old = est.holder(extensions=(san("a.example"),))
    wish = change_names("CN=device-9,O=pkid test", "z.example")
    body = csr(new_key(), extensions=(san("a.example"),), attributes=(wish,))
    assert renew(est, old, body).status == 403
    est.change_alias(change_names=True)
    (new,) = certificates(renew(est, old, body))
    assert new.subject.rfc4514_string() == "CN=device-9,O=pkid test"
    names = new.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["z.example"]


@pytest.mark.requirement("EST-18")
def test_a_change_keeps_the_old_names_in_the_request(est: ESTDesk) -> None:
    est.change_alias(change_names=True)
    _, old = est.holder()
    wish = change_names("CN=device-9")
    reply = renew(est, old, csr(new_key(), "CN=device-9", attributes=(wish,)))
    assert reply.status == 400


@pytest.mark.parametrize(
    "value", [b"", der.NULL, der.sequence(), der.sequence(der.sequence(), der.NULL)]
)
def test_a_broken_change_of_names_is_400(est: ESTDesk, value: bytes) -> None:
    est.change_alias(change_names=True)
    _, old = est.holder()
    values = (value,) if value else ()
    wish = Attribute(oids.ID_CMC_CHANGE_SUBJECT_NAME, values)
    assert renew(est, old, csr(new_key(), attributes=(wish,))).status == 400


# --- certificates that no longer hold ---------------------------------------------


@pytest.mark.requirement("EST-26", "SEC-33")
def test_a_revoked_certificate_is_refused_at_once(est: ESTDesk) -> None:
    _, old = est.holder()
    est.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    assert est.ask("simpleenroll", csr(new_key()), cert=old).status == 200
    est.revoke(old)
    for operation in ("simpleenroll", "simplereenroll"):
        reply = est.ask(operation, csr(new_key()), cert=old)
        assert reply.status == 403
        assert b"revoked" in reply.body


@pytest.mark.requirement("EST-26")
def test_an_expired_certificate_is_renewed_for_a_while_by_policy(est: ESTDesk) -> None:
    _, old = est.holder()
    _, other = est.holder("CN=device-2")
    est.advance(days=731)
    est.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    assert renew(est, old, csr(new_key())).status == 403
    est.change_alias(renew_expired=timedelta(days=10))
    assert est.ask("simpleenroll", csr(new_key()), cert=old).status == 403
    assert renew(est, old, csr(new_key())).status == 200
    est.advance(days=10)
    assert renew(est, other, csr(new_key(), "CN=device-2")).status == 403


# --- certificates of the CA itself ------------------------------------------------


@pytest.mark.requirement("EST-49", "SEC-33")
def test_a_certificate_for_servers_is_nobodys_ticket(est: ESTDesk) -> None:
    est.change_profile(extended_key_usage=(oids.ID_KP_SERVER_AUTH,))
    _, server = est.holder()
    est.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    reply = renew(est, server, csr(new_key()))
    assert reply.status == 403
    assert b"extended key usage" in reply.body


def test_a_certificate_asks_for_its_own_entity_only(est: ESTDesk) -> None:
    _, old = est.holder()
    assert est.ask("simpleenroll", csr(new_key(), "CN=other"), cert=old).status == 403
    assert est.ask("simpleenroll", csr(new_key()), cert=old).status == 200


def test_an_extension_that_is_not_granted_is_400(est: ESTDesk) -> None:
    critical = Extension("1.3.6.1.4.1.99999.7", True, der.NULL)
    reply = est.enroll(csr(new_key(), extensions=(critical,)))
    assert reply.status == 400
    assert b"1.3.6.1.4.1.99999.7" in reply.body


def test_the_certificate_is_known_to_the_engine(est: ESTDesk) -> None:
    _, certificate = est.holder()
    octets = certificate.public_bytes(Encoding.DER)
    requester = result_of(est.world.engine.identify(est.alias, octets, ()))
    assert requester.entity == "device-1"
