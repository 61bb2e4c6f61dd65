"""Devices that were set up for EJBCA: its modes and modules, with EJBCA's meaning."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from pkid.asn1 import oids
from pkid.engine.aliases import Mode, NameRule, NameScheme
from pkid.engine.credentials import FAILURES_BEFORE_LOCK
from pkid.engine.model import EndEntity, EntityStatus
from pkid.messages.cmp.body import BodyType, CertRepMessage
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.controls import REG_TOKEN
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    CertReqMsg,
    CertRequest,
    KeyUse,
    POPOPrivKey,
    PrivKeyMethod,
)
from pkid.responders.base import Peer
from tests.engine.world import CMP, OPERATOR, World, result_of
from tests.responders.desk import Desk
from tests.responders.peers import (
    Answer,
    ByMAC,
    asking,
    cert_conf,
    cert_requests,
    follow,
    message,
    new_key,
    signed_request,
)

PASSWORD = b"insecure-enrolment-code"


def register(desk: Desk, name: str = "device-1", **fields: object) -> None:
    entity = EndEntity(
        name=name,
        status=EntityStatus.NEW,
        created=desk.world.clock.now(),
        **fields,  # type: ignore[arg-type]
    )
    result_of(desk.world.engine.administration.add_entity(entity, OPERATOR, CMP))


@pytest.fixture
def client_mode(desk: Desk) -> Desk:
    """Client mode with the modules RegTokenPwd and HMAC, one registered user."""
    desk.world.change_alias(mode=Mode.CLIENT, name_rule=NameRule(parts=("CN",)))
    desk.settings["registration_token"] = True
    desk.open()
    register(desk, subject="CN=device-1,O=Registered", enrollments_left=1)
    desk.secret("device-1", secret=PASSWORD, entity="device-1")
    return desk


def with_token(
    token: bytes | None = PASSWORD, subject: str | None = "CN=device-1,O=Asked"
) -> CertReqMsg:
    controls: tuple[AttributeTypeAndValue, ...] = ()
    if token is not None:
        value = REG_TOKEN.encode(token.decode())
        controls = (AttributeTypeAndValue(oids.ID_REG_CTRL_REG_TOKEN, value),)
    return signed_request(new_key(), subject, controls=controls)


def ask(desk: Desk, *requests: CertReqMsg, kind: BodyType = BodyType.IR) -> Answer:
    sent = message(kind, cert_requests(*requests), ByMAC(), protected=False)
    return desk.ask(sent)


def subject_of(desk: Desk, answer: Answer) -> str:
    return desk.record(answer.certificate).subject


# --- RegTokenPwd ------------------------------------------------------------------


@pytest.mark.requirement("CMP-187", "CMP-70")
def test_a_regToken_is_the_password_of_the_user_that_the_subject_names(
    client_mode: Desk,
) -> None:
    answer = ask(client_mode, with_token())
    assert answer.is_signed
    assert subject_of(client_mode, answer) == "CN=device-1,O=Registered"
    fingerprint = client_mode.record(answer.certificate).fingerprint
    sent = follow(
        answer,
        BodyType.CERT_CONF,
        cert_conf(fingerprint),
        ByMAC(),
        protected=False,
    )
    assert client_mode.ask(sent).body_type is BodyType.PKICONF


@pytest.mark.requirement("CMP-187")
@pytest.mark.parametrize(
    "request_",
    [
        with_token(b"wrong"),
        with_token(None),
        with_token(subject="CN=device-2"),
        with_token(subject=None),
        with_token(b""),
    ],
    ids=["wrong", "none", "another user", "no user", "empty"],
)
def test_without_the_right_regToken_nothing_is_issued(
    client_mode: Desk, request_: CertReqMsg
) -> None:
    answer = ask(client_mode, request_)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert client_mode.count() == 0


def test_guessing_regTokens_locks_the_secret(client_mode: Desk) -> None:
    for _ in range(FAILURES_BEFORE_LOCK):
        ask(client_mode, with_token(b"guess"))
    answer = ask(client_mode, with_token())
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-70")
def test_a_regToken_for_one_use_is_used_up(desk: Desk, client_mode: Desk) -> None:
    desk.world.change_alias(mode=Mode.RA)
    desk.secret("device-7", secret=PASSWORD, uses=1)
    first = ask(desk, with_token(subject="CN=device-7"))
    assert first.certificate
    again = ask(desk, with_token(subject="CN=device-7"))
    assert again.fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_one_message_is_one_guess(client_mode: Desk) -> None:
    several = [with_token(token) for token in (b"one", b"two", PASSWORD)]
    requests = [
        replace(one, cert_req=CertRequest.build(number, one.cert_req.cert_template, ()))
        for number, one in enumerate(several)
    ]
    answer = client_mode.ask(
        message(BodyType.IR, cert_requests(*requests), ByMAC(), protected=False)
    )
    assert isinstance(answer.body, CertRepMessage)
    for response in answer.body.responses:
        assert response.status.fail_info == frozenset((FailInfo.BAD_REQUEST,))
    assert client_mode.count() == 0


@pytest.mark.requirement("CMP-192")
def test_who_guesses_passwords_is_slowed_down(client_mode: Desk) -> None:
    afar = Peer(address="192.0.2.1", beyond_loopback=True)
    bits = []
    for number in range(11):
        body = cert_requests(with_token(b"guess", f"CN=device-{number}"))
        sent = message(BodyType.IR, body, ByMAC(), protected=False)
        bits.append(client_mode.ask(sent, peer=afar).fail_info)
    assert set(bits[:10]) == {FailInfo.BAD_MESSAGE_CHECK}
    assert bits[10] is FailInfo.SYSTEM_UNAVAIL


def test_the_challengePassword_of_a_p10cr_counts_likewise(client_mode: Desk) -> None:
    def asked(password: bytes) -> Answer:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device-1")])
        builder = x509.CertificateSigningRequestBuilder().subject_name(name)
        csr = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, password).sign(
            new_key(), hashes.SHA256()
        )
        octets = csr.public_bytes(Encoding.DER)
        sent = message(BodyType.P10CR, octets, ByMAC(), protected=False)
        return client_mode.ask(sent)

    assert asked(b"wrong").fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert subject_of(client_mode, asked(PASSWORD)) == "CN=device-1,O=Registered"


@pytest.mark.parametrize("kind", [BodyType.KUR, BodyType.GENM], ids=["kur", "genm"])
def test_nothing_else_is_taken_without_protection(
    client_mode: Desk, kind: BodyType
) -> None:
    body = cert_requests(with_token())
    content = asking(oids.ID_IT_CA_CERTS) if kind is BodyType.GENM else body
    answer = client_mode.ask(message(kind, content, ByMAC(), protected=False))
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_without_the_module_a_regToken_counts_for_nothing(client_mode: Desk) -> None:
    client_mode.settings["registration_token"] = False
    client_mode.open()
    assert ask(client_mode, with_token()).fail_info is FailInfo.BAD_MESSAGE_CHECK


# --- client mode, HMAC ------------------------------------------------------------


@pytest.mark.requirement("CMP-187", "ENG-21")
def test_client_mode_certifies_the_registered_names_and_the_requests_key(
    client_mode: Desk,
) -> None:
    by = ByMAC(b"device-1", PASSWORD)
    answer = client_mode.enroll(by, subject="CN=somebody else")
    assert subject_of(client_mode, answer) == "CN=device-1,O=Registered"


@pytest.mark.requirement("CMP-187", "ENG-20")
def test_a_user_enrols_once_until_it_is_set_to_new_again(client_mode: Desk) -> None:
    by = ByMAC(b"device-1", PASSWORD)
    assert client_mode.enroll(by).certificate
    assert client_mode.enroll(by).fail_info is FailInfo.NOT_AUTHORIZED
    result_of(
        client_mode.world.engine.administration.rearm_entity("device-1", OPERATOR, CMP)
    )
    assert client_mode.enroll(by).certificate


@pytest.mark.requirement("CMP-187")
def test_who_is_not_registered_gets_nothing(client_mode: Desk) -> None:
    answer = client_mode.enroll(ByMAC())
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


@pytest.fixture
def by_subject(client_mode: Desk) -> Desk:
    client_mode.settings["reference_by_subject"] = True
    client_mode.open()
    return client_mode


@pytest.mark.requirement("CMP-187")
@pytest.mark.parametrize("reference", [b"1234", b"", b"\xff"], ids=repr)
def test_the_subject_names_the_user_whatever_the_reference_says(
    by_subject: Desk, reference: bytes
) -> None:
    by = ByMAC(reference, PASSWORD)
    answer = by_subject.enroll(by, subject="CN=device-1,O=Asked")
    assert subject_of(by_subject, answer) == "CN=device-1,O=Registered"
    content = cert_conf(by_subject.record(answer.certificate).fingerprint)
    said = by_subject.ask(follow(answer, BodyType.CERT_CONF, content, by))
    assert said.body_type is BodyType.PKICONF
    assert not said.is_signed


@pytest.mark.requirement("CMP-187", "CMP-37")
@pytest.mark.parametrize(
    ("subject", "secret"),
    [("CN=device-1", b"wrong"), ("CN=device-2", PASSWORD), ("O=nobody", PASSWORD)],
    ids=["wrong secret", "another user", "no user"],
)
def test_a_subject_without_its_secret_gets_nothing(
    by_subject: Desk, subject: str, secret: bytes
) -> None:
    answer = by_subject.enroll(ByMAC(b"device-1", secret), subject=subject)
    assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK
    assert by_subject.count() == 0


def test_another_users_secret_confirms_nothing(by_subject: Desk) -> None:
    register(by_subject, "device-2", subject="CN=2")
    by_subject.secret("device-2", secret=b"insecure-second-code", entity="device-2")
    answer = by_subject.enroll(ByMAC(b"x", PASSWORD), subject="CN=device-1")
    content = cert_conf(by_subject.record(answer.certificate).fingerprint)
    other = ByMAC(b"device-2", b"insecure-second-code")
    said = by_subject.ask(follow(answer, BodyType.CERT_CONF, content, other))
    assert said.fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_who_takes_a_transactionID_later_stands_in_nobodys_way(
    by_subject: Desk,
) -> None:
    register(by_subject, "device-2", subject="CN=2")
    by_subject.secret("device-2", secret=b"insecure-second-code", entity="device-2")
    by = ByMAC(b"x", PASSWORD)
    answer = by_subject.enroll(by, subject="CN=device-1")
    other = ByMAC(b"x", b"insecure-second-code")
    body = cert_requests(signed_request(new_key(), "CN=device-2"))
    by_subject.world.clock.advance(timedelta(seconds=1))
    same = answer.header.transaction_id
    by_subject.ask(message(BodyType.IR, body, other, transaction_id=same))
    content = cert_conf(by_subject.record(answer.certificate).fingerprint)
    said = by_subject.ask(follow(answer, BodyType.CERT_CONF, content, by))
    assert said.body_type is BodyType.PKICONF


@pytest.mark.parametrize("token", [PASSWORD, b"wrong"], ids=["right", "wrong"])
def test_nobody_unknown_has_a_challenge_kept(client_mode: Desk, token: bytes) -> None:
    asked = with_token(token)
    # subsequentMessage challengeResp of keyEncipherment (RFC 4211 section 4.2).
    method = PrivKeyMethod.SUBSEQUENT_MESSAGE
    popo = POPOPrivKey(KeyUse.KEY_ENCIPHERMENT, method, b"\x01")
    answer = ask(client_mode, replace(asked, popo=popo))
    if token == PASSWORD:
        assert answer.body_type is not BodyType.ERROR
    else:
        assert answer.fail_info is FailInfo.BAD_MESSAGE_CHECK


def test_a_p10cr_names_the_user_by_its_subject(by_subject: Desk) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "device-1")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name)
    octets = csr.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)
    answer = by_subject.ask(message(BodyType.P10CR, octets, ByMAC(b"x", PASSWORD)))
    assert subject_of(by_subject, answer) == "CN=device-1,O=Registered"


# --- the register's profile and CA ------------------------------------------------


def other_profile(world: World) -> None:
    profiles = world.policies.certificate_profiles
    longer = replace(profiles["device"], name="other", extended_key_usage=())
    world.policies = replace(
        world.policies, certificate_profiles={**profiles, "other": longer}
    )


@pytest.mark.requirement("CMP-186", "ENG-20")
def test_the_registered_certificate_profile_stands(client_mode: Desk) -> None:
    """EJBCA's ProfileDefault."""
    other_profile(client_mode.world)
    register(client_mode, "device-2", subject="CN=2", certificate_profile="other")
    client_mode.secret("device-2", secret=PASSWORD, entity="device-2")
    answer = client_mode.enroll(ByMAC(b"device-2", PASSWORD))
    assert client_mode.record(answer.certificate).profile == "other"


@pytest.mark.requirement("ENG-20")
def test_a_user_of_another_CA_is_refused(client_mode: Desk) -> None:
    register(client_mode, "device-2", subject="CN=2", authority="elsewhere")
    client_mode.secret("device-2", secret=PASSWORD, entity="device-2")
    answer = client_mode.enroll(ByMAC(b"device-2", PASSWORD))
    assert answer.fail_info is FailInfo.NOT_AUTHORIZED


# --- RA mode ----------------------------------------------------------------------


@pytest.mark.requirement("CMP-188", "ENG-21")
@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (NameRule(parts=("CN",)), "box"),
        (NameRule(parts=("serialNumber", "CN")), "S1"),
        (NameRule(parts=("OU", "O")), "Org"),
        (NameRule(scheme=NameScheme.FIXED, fixed="all"), "all"),
        (NameRule(scheme=NameScheme.USERNAME, parts=("UID",)), "user7"),
        (NameRule(parts=("CN",), prefix="a-", suffix="-z"), "a-box-z"),
    ],
    ids=["DN", "DN;two", "DN;second", "FIXED", "USERNAME", "prefix and postfix"],
)
def test_ra_mode_makes_and_names_the_user(
    desk: Desk, rule: NameRule, name: str
) -> None:
    desk.world.change_alias(name_rule=rule)
    answer = desk.enroll(subject="CN=box,serialNumber=S1,UID=user7,O=Org")
    assert desk.record(answer.certificate).entity == name


@pytest.mark.requirement("CMP-188")
def test_random_names_differ_each_time(desk: Desk) -> None:
    rule = NameRule(scheme=NameScheme.RANDOM, prefix="r-")
    desk.world.change_alias(name_rule=rule)
    names = {desk.record(desk.enroll().certificate).entity for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("r-") for name in names)


@pytest.mark.requirement("CMP-188")
def test_the_KeyId_chooses_the_certificate_profile(desk: Desk) -> None:
    other_profile(desk.world)
    desk.world.change_alias(profiles=("other",))
    desk.settings["profile_by_reference"] = True
    desk.open()
    for reference in ("other", "device"):
        desk.secret(reference)
        answer = desk.enroll(ByMAC(reference.encode()), subject=f"CN={reference}")
        assert desk.record(answer.certificate).profile == reference


@pytest.mark.requirement("CMP-188")
def test_a_KeyId_that_is_no_profile_of_the_entrance_is_refused(desk: Desk) -> None:
    desk.settings["profile_by_reference"] = True
    desk.open()
    desk.secret("administrator")
    answer = desk.enroll(ByMAC(b"administrator"))
    assert answer.fail_info is FailInfo.BAD_CERT_TEMPLATE


@pytest.mark.requirement("CMP-186", "CMP-60")
def test_a_serial_number_asked_for_is_not_given(desk: Desk) -> None:
    """EJBCA's allowcustomcertserno: serial numbers are the authority's to draw."""
    answer = desk.enroll(serial_number=4711)
    serial = x509.load_der_x509_certificate(answer.certificate).serial_number
    assert serial != 4711
    assert serial.bit_length() > 80


@pytest.mark.requirement("CMP-186")
@pytest.mark.parametrize("allowed", [True, False])
def test_key_updates_are_by_switch(desk: Desk, allowed: bool) -> None:
    desk.world.change_alias(renewal=allowed)
    holder = desk.holder()
    answer = desk.enroll(holder, body_type=BodyType.KUR)
    assert (answer.status.status is not PKIStatus.REJECTION) is allowed


def test_the_name_of_a_user_is_no_place_for_a_foreign_subject(desk: Desk) -> None:
    """A second secret does not take over a user that RA mode made."""
    desk.secret("second")
    assert desk.enroll(subject="CN=box").certificate
    taken = desk.enroll(ByMAC(b"second"), subject="CN=box,O=Else")
    assert taken.fail_info is FailInfo.NOT_AUTHORIZED
