"""The table of failures, line by line, at both levels.

Each message differs from a good one in one point, and its answer has one bit. Where the
levels differ the tolerant one may take the message.

**Source:** RFC 9810 section 5.2.3; RFC 9483 section 3.6.4.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.mac import decode_mac_parameters
from pkid.engine.aliases import Authentication
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    BodyType,
    ErrorMsgContent,
    GenMsgContent,
)
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.revocation import RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.crmf import (
    AttributeTypeAndValue,
    CertId,
    OptionalValidity,
    POPOSigningKey,
    RAVerified,
)
from pkid.responders.cmp.certification import certificate_hash
from tests.responders.bending import (
    HOLDER,
    Bent,
    by_mac,
    followed,
    holder,
    refused,
    sent,
)
from tests.responders.desk import Desk
from tests.responders.peers import (
    IMPLICIT,
    Answer,
    BySignature,
    Sent,
    asking,
    cert_conf,
    cert_requests,
    foreign_certificate,
    new_key,
    polling,
    revocation_of,
    signed_request,
)

LEVELS = ("rfc", "lcmpp")
SECONDS = timedelta(seconds=1)


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, desk: Desk) -> str:
    """The level, set."""
    desk.settings["conformance"] = request.param
    found: str = request.param
    return found


def check(desk: Desk, level: str, bend: Bent, bits: tuple[Any, Any]) -> None:
    """One bit, nothing issued; None where this level takes the message."""
    wrong = bend(desk)
    before = desk.count()
    answer = refused(desk, wrong)
    expected = bits[LEVELS.index(level)]
    if expected is None:
        assert not isinstance(answer.body, ErrorMsgContent), answer.status
        return
    assert answer.fail_info is expected
    assert answer.message.protection is not None
    assert desk.count() == before


def table(*rows: tuple[Bent, Any, Any]) -> Any:
    """Rows: what bends the message, the bit of either level."""
    return pytest.mark.parametrize(
        ("bend", "bits"),
        [(bend, (rfc, lcmpp)) for bend, rfc, lcmpp in rows],
        ids=[bend.__name__ for bend, _, _ in rows],
    )


def ir(desk: Desk, _by: Any = None, _header: Any = None, **request: Any) -> Sent:
    """An ir whose CertReqMsg is bent; ``_header`` bends its header."""
    wanted = signed_request(new_key(), **({"subject": "CN=device-1"} | request))
    return sent(desk, body=cert_requests(wanted), by=_by, **(_header or {}))


def test_the_message_that_all_others_differ_from_is_good(
    desk: Desk, level: str
) -> None:
    assert level in LEVELS
    assert refused(desk, ir(desk)).certificate
    by = holder(desk)
    for body_type in (BodyType.IR, BodyType.CR, BodyType.KUR):
        assert refused(desk, sent(desk, body_type, by=by)).certificate


# --- not DER, wrong structure -------------------------------------------------------


@pytest.mark.requirement("CMP-02", "CMP-03", "CMP-149")
@pytest.mark.parametrize(
    "bend",
    [
        lambda octets: octets[:-1],
        lambda octets: octets + b"\0",
        lambda octets: b"\x31" + octets[1:],
        lambda octets: octets[:1] + b"\x80" + octets[2:],
    ],
    ids=["truncated", "an-octet-more", "wrong-tag", "indefinite-length"],
)
def test_what_is_not_DER_is_badDataFormat(
    desk: Desk, level: str, bend: Callable[[bytes], bytes]
) -> None:
    assert level
    reply = desk.reply(bend(ir(desk).octets))
    assert reply.status == 400
    answer = Answer.read(reply.body)
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT
    answer.check_signature()


def body_of_wrong_structure(desk: Desk) -> Sent:
    return sent(desk, body=der.sequence(der.NULL))


def body_without_request(desk: Desk) -> Sent:
    return sent(desk, body=der.sequence())


@pytest.mark.requirement("CMP-03", "CMP-149")
@table(
    (body_of_wrong_structure, FailInfo.BAD_DATA_FORMAT, FailInfo.BAD_DATA_FORMAT),
    (body_without_request, FailInfo.BAD_DATA_FORMAT, FailInfo.BAD_DATA_FORMAT),
)
def test_a_wrong_structure_is_badDataFormat(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check(desk, level, bend, bits)


# --- version, transactionID, nonces, time -------------------------------------------


@pytest.mark.requirement("CMP-04", "CMP-149")
@pytest.mark.parametrize("pvno", [0, 1, 4])
def test_the_version_is_unsupportedVersion(desk: Desk, level: str, pvno: int) -> None:
    assert level
    answer = refused(desk, sent(desk, pvno=pvno))
    assert answer.fail_info is FailInfo.UNSUPPORTED_VERSION
    assert answer.header.pvno == (2 if pvno < 2 else 3)


def id_missing(desk: Desk) -> Sent:
    return sent(desk, transaction_id=None)


def id_empty(desk: Desk) -> Sent:
    return sent(desk, transaction_id=b"")


def id_of_15(desk: Desk) -> Sent:
    return sent(desk, transaction_id=os.urandom(15))


def id_of_65(desk: Desk) -> Sent:
    return sent(desk, transaction_id=os.urandom(65))


def id_in_use(desk: Desk) -> Sent:
    first = refused(desk, sent(desk))
    return sent(desk, transaction_id=first.header.transaction_id)


def id_in_use_and_broken_body(desk: Desk) -> Sent:
    first = refused(desk, sent(desk))
    broken = der.sequence(der.NULL)
    return sent(desk, body=broken, transaction_id=first.header.transaction_id)


def id_unknown(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate))
    unknown = os.urandom(16)
    return followed(desk, answer, BodyType.CERT_CONF, body, transaction_id=unknown)


def id_missing_later(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate))
    return followed(desk, answer, BodyType.CERT_CONF, body, transaction_id=None)


@pytest.mark.requirement("CMP-14", "CMP-15", "CMP-16")
@table(
    (id_missing, None, FailInfo.BAD_DATA_FORMAT),
    (id_empty, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (id_of_15, None, FailInfo.BAD_REQUEST),
    (id_of_65, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (id_in_use, FailInfo.TRANSACTION_ID_IN_USE, FailInfo.TRANSACTION_ID_IN_USE),
    (
        id_in_use_and_broken_body,
        FailInfo.TRANSACTION_ID_IN_USE,
        FailInfo.TRANSACTION_ID_IN_USE,
    ),
    (id_unknown, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (id_missing_later, FailInfo.BAD_REQUEST, FailInfo.BAD_DATA_FORMAT),
)
def test_the_transactionID(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check(desk, level, bend, bits)


def nonce_missing(desk: Desk) -> Sent:
    return sent(desk, sender_nonce=None)


def nonce_of_15(desk: Desk) -> Sent:
    return sent(desk, sender_nonce=os.urandom(15))


def nonce_of_17(desk: Desk) -> Sent:
    return sent(desk, sender_nonce=os.urandom(17))


def nonce_of_65(desk: Desk) -> Sent:
    return sent(desk, sender_nonce=os.urandom(65))


def nonce_used_before(desk: Desk) -> Sent:
    first = sent(desk)
    answer = refused(desk, first)
    body = cert_conf(certificate_hash(answer.certificate))
    nonce = first.sender_nonce
    return followed(desk, answer, BodyType.CERT_CONF, body, sender_nonce=nonce)


@pytest.mark.requirement("CMP-17", "CMP-149")
@table(
    (nonce_missing, FailInfo.BAD_SENDER_NONCE, FailInfo.BAD_SENDER_NONCE),
    (nonce_of_15, FailInfo.BAD_SENDER_NONCE, FailInfo.BAD_SENDER_NONCE),
    (nonce_of_17, None, FailInfo.BAD_SENDER_NONCE),
    (nonce_of_65, FailInfo.BAD_SENDER_NONCE, FailInfo.BAD_SENDER_NONCE),
    (nonce_used_before, FailInfo.BAD_SENDER_NONCE, FailInfo.BAD_SENDER_NONCE),
)
def test_the_senderNonce(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check(desk, level, bend, bits)


def answer_nonce_first(desk: Desk) -> Sent:
    return sent(desk, recip_nonce=os.urandom(16))


def answer_nonce_missing(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate))
    return followed(desk, answer, BodyType.CERT_CONF, body, recip_nonce=None)


def answer_nonce_wrong(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate))
    wrong = os.urandom(16)
    return followed(desk, answer, BodyType.CERT_CONF, body, recip_nonce=wrong)


@pytest.mark.requirement("CMP-18", "CMP-149")
@table(
    (answer_nonce_first, None, FailInfo.BAD_RECIPIENT_NONCE),
    (
        answer_nonce_missing,
        FailInfo.BAD_RECIPIENT_NONCE,
        FailInfo.BAD_RECIPIENT_NONCE,
    ),
    (answer_nonce_wrong, FailInfo.BAD_RECIPIENT_NONCE, FailInfo.BAD_RECIPIENT_NONCE),
)
def test_the_recipNonce(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check(desk, level, bend, bits)


def time_missing(desk: Desk) -> Sent:
    return sent(desk, message_time=None)


def time_past(desk: Desk) -> Sent:
    return sent(desk, message_time=desk.world.clock.now() - 302 * SECONDS)


def time_future(desk: Desk) -> Sent:
    return sent(desk, message_time=desk.world.clock.now() + 302 * SECONDS)


@pytest.mark.requirement("CMP-12", "CMP-149")
@table(
    (time_missing, None, FailInfo.BAD_TIME),
    (time_past, None, FailInfo.BAD_TIME),
    (time_future, None, FailInfo.BAD_TIME),
)
def test_the_messageTime(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check(desk, level, bend, bits)


@pytest.mark.requirement("CMP-12")
@pytest.mark.parametrize("bend", [time_past, time_future])
def test_the_messageTime_counts_where_the_alias_says_so(
    desk: Desk, level: str, bend: Bent
) -> None:
    desk.settings["message_time_window"] = timedelta(minutes=5)
    check(desk, level, bend, (FailInfo.BAD_TIME, FailInfo.BAD_TIME))


@pytest.mark.requirement("CMP-13")
def test_confirmWaitTime_needs_a_messageTime(desk: Desk, level: str) -> None:
    due = der.generalized_time(desk.world.clock.now() + timedelta(minutes=1))
    wait = InfoTypeAndValue(oids.ID_IT_CONFIRM_WAIT_TIME, due)
    good = sent(desk, general_info=(wait,))
    assert refused(desk, good).certificate
    wrong = sent(desk, general_info=(wait,), message_time=None)
    answer = refused(desk, wrong)
    assert answer.fail_info is FailInfo.BAD_TIME, level


# --- protection ---------------------------------------------------------------------


def other_secret(desk: Desk) -> Sent:
    return sent(desk, by=by_mac(secret=b"a guess"))


def other_reference(desk: Desk) -> Sent:
    name = GeneralName.directory(Name.from_text("CN=nobody"))
    return sent(desk, by=by_mac(reference=b"nobody", sender=name))


def mac_bit_turned(desk: Desk) -> Sent:
    return sent(desk, wrong_bits=True)


def signature_bit_turned(desk: Desk) -> Sent:
    return sent(desk, BodyType.CR, by=holder(desk), wrong_bits=True)


def signed_by_another_key(desk: Desk) -> Sent:
    return sent(desk, BodyType.CR, by=replace(holder(desk), key=new_key()))


def sender_of_no_certificate(desk: Desk) -> Sent:
    name = GeneralName.directory(Name.from_text("CN=another"))
    return sent(desk, BodyType.CR, by=holder(desk), sender=name)


def nothing_protects(desk: Desk) -> Sent:
    return sent(desk, protected=False)


def bits_missing(desk: Desk) -> Sent:
    by = by_mac()
    return sent(desk, by=by, protected=False, protection_alg=by.algorithm)


def algorithm_missing(desk: Desk) -> Sent:
    return sent(desk, protection_alg=None)


@pytest.mark.requirement("CMP-27", "CMP-28", "CMP-38")
@table(
    *(
        (bend, FailInfo.BAD_MESSAGE_CHECK, FailInfo.BAD_MESSAGE_CHECK)
        for bend in (
            other_secret,
            other_reference,
            mac_bit_turned,
            signature_bit_turned,
            signed_by_another_key,
            sender_of_no_certificate,
            nothing_protects,
            bits_missing,
            algorithm_missing,
        )
    )
)
def test_wrong_protection_is_badMessageCheck(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check(desk, level, bend, bits)


def update_under_a_secret(desk: Desk) -> Sent:
    holder(desk)
    return sent(desk, BodyType.KUR)


def revocation_under_a_secret(desk: Desk) -> Sent:
    certificate = holder(desk).certificate
    return sent(desk, BodyType.RR, revocation_of(certificate))


def signature_where_secrets_are_wanted(desk: Desk) -> Sent:
    by = holder(desk)
    desk.world.change_alias(authenticate=frozenset((Authentication.MAC,)))
    return sent(desk, BodyType.CR, by=by)


def secret_where_signatures_are_wanted(desk: Desk) -> Sent:
    desk.world.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    return sent(desk)


def secret_then_signature(desk: Desk) -> Sent:
    by = holder(desk)
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate))
    return followed(desk, answer, BodyType.CERT_CONF, body, by)


@pytest.mark.requirement("CMP-35", "CMP-36", "CMP-79")
@table(
    (update_under_a_secret, FailInfo.WRONG_INTEGRITY, FailInfo.WRONG_INTEGRITY),
    (revocation_under_a_secret, None, FailInfo.WRONG_INTEGRITY),
    (
        signature_where_secrets_are_wanted,
        FailInfo.WRONG_INTEGRITY,
        FailInfo.WRONG_INTEGRITY,
    ),
    (
        secret_where_signatures_are_wanted,
        FailInfo.WRONG_INTEGRITY,
        FailInfo.WRONG_INTEGRITY,
    ),
    (secret_then_signature, FailInfo.WRONG_AUTHORITY, FailInfo.WRONG_INTEGRITY),
)
def test_the_wrong_kind_of_protection_is_wrongIntegrity(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check(desk, level, bend, bits)


def algorithm_unknown(desk: Desk) -> Sent:
    return sent(desk, protection_alg=AlgorithmIdentifier("1.2.3.4"))


def algorithm_weak(desk: Desk) -> Sent:
    weak = AlgorithmIdentifier(oids.ECDSA_WITH_SHA1)
    return sent(desk, BodyType.CR, by=holder(desk), protection_alg=weak)


def algorithm_of_another_key(desk: Desk) -> Sent:
    other = AlgorithmIdentifier(oids.SHA256_WITH_RSA_ENCRYPTION, der.NULL)
    return sent(desk, BodyType.CR, by=holder(desk), protection_alg=other)


def iterations_below_the_floor(desk: Desk) -> Sent:
    good = by_mac().algorithm
    bent = _with_iterations(good, 99)
    return sent(desk, protection_alg=bent)


def iterations_above_the_ceiling(desk: Desk) -> Sent:
    return sent(desk, protection_alg=_with_iterations(by_mac().algorithm, 100_001))


def _with_iterations(algorithm: AlgorithmIdentifier, count: int) -> AlgorithmIdentifier:
    parameters: Any = decode_mac_parameters(algorithm)
    octets = der.sequence(
        der.octet_string(parameters.salt),
        parameters.owf.encode(),
        der.integer(count),
        parameters.mac.encode(),
    )
    return AlgorithmIdentifier(algorithm.oid, octets)


@pytest.mark.requirement("CMP-31", "CMP-39", "CMP-149")
@table(
    *(
        (bend, FailInfo.BAD_ALG, FailInfo.BAD_ALG)
        for bend in (
            algorithm_unknown,
            algorithm_weak,
            algorithm_of_another_key,
            iterations_below_the_floor,
            iterations_above_the_ceiling,
        )
    )
)
def test_an_unknown_or_weak_algorithm_is_badAlg(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check(desk, level, bend, bits)


# --- certificates -------------------------------------------------------------------


def unknown_signer_left_out(desk: Desk) -> Sent:
    key = new_key()
    by = BySignature(foreign_certificate(key, at=desk.world.clock.now()), key)
    return sent(desk, BodyType.CR, by=by, extra_certs=())


def vendor(desk: Desk, *, chain: bool, allowed: bool = True) -> BySignature:
    """A vendor's unit below a CA between it and the root."""
    now = desk.world.clock.now()
    keys = [new_key() for _ in range(3)]
    root = foreign_certificate(keys[0], "root", ca=True, at=now)
    above = x509.load_der_x509_certificate(root)
    middle = foreign_certificate(
        keys[1], "between", issuer=(above, keys[0]), ca=True, at=now
    )
    below = x509.load_der_x509_certificate(middle)
    unit = foreign_certificate(keys[2], issuer=(below, keys[1]), at=now)
    desk.trust_vendor(root)
    if allowed:
        desk.allow_unit("0001")
    return BySignature(unit, keys[2], (middle,) if chain else ())


def chain_left_out(desk: Desk) -> Sent:
    return sent(desk, by=vendor(desk, chain=False))


def stranger(desk: Desk) -> Sent:
    key = new_key()
    unit = foreign_certificate(key, at=desk.world.clock.now())
    return sent(desk, by=BySignature(unit, key))


def unit_not_allowed(desk: Desk) -> Sent:
    return sent(desk, by=vendor(desk, chain=True, allowed=False))


def vouched_by_an_end_entity(desk: Desk) -> Sent:
    return ir(desk, popo=RAVerified())


def certificate_of_a_ca(desk: Desk) -> Sent:
    value = x509.BasicConstraints(ca=True, path_length=None).public_bytes()
    wanted = Extension(oids.ID_CE_BASIC_CONSTRAINTS, critical=True, value=value)
    return ir(desk, extensions=(wanted,))


def signer_revoked(desk: Desk) -> Sent:
    by = holder(desk)
    revoked = refused(desk, sent(desk, BodyType.RR, revocation_of(by.certificate), by))
    assert revoked.status.status is PKIStatus.ACCEPTED
    return sent(desk, BodyType.CR, by=by)


def signer_updated(desk: Desk) -> Sent:
    by = holder(desk)
    update = sent(desk, BodyType.KUR, by=by, general_info=(IMPLICIT,))
    assert refused(desk, update).certificate
    return sent(desk, BodyType.CR, by=by)


@pytest.mark.requirement("CMP-41", "CMP-42", "CMP-43")
@table(
    (
        unknown_signer_left_out,
        FailInfo.ADD_INFO_NOT_AVAILABLE,
        FailInfo.ADD_INFO_NOT_AVAILABLE,
    ),
    (chain_left_out, FailInfo.ADD_INFO_NOT_AVAILABLE, FailInfo.ADD_INFO_NOT_AVAILABLE),
    (stranger, FailInfo.SIGNER_NOT_TRUSTED, FailInfo.SIGNER_NOT_TRUSTED),
    (unit_not_allowed, FailInfo.NOT_AUTHORIZED, FailInfo.NOT_AUTHORIZED),
    (vouched_by_an_end_entity, FailInfo.NOT_AUTHORIZED, FailInfo.NOT_AUTHORIZED),
    (certificate_of_a_ca, FailInfo.NOT_AUTHORIZED, FailInfo.NOT_AUTHORIZED),
    (signer_revoked, FailInfo.CERT_REVOKED, FailInfo.CERT_REVOKED),
    (signer_updated, FailInfo.CERT_REVOKED, FailInfo.CERT_REVOKED),
)
def test_the_certificate_of_the_signer(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check(desk, level, bend, bits)


# --- possession and template --------------------------------------------------------


def possession_missing(desk: Desk) -> Sent:
    return ir(desk, popo=None)


def possession_of_another_key(desk: Desk) -> Sent:
    request = signed_request(new_key(), "CN=device-1")
    other = signed_request(new_key(), "CN=device-1")
    return sent(desk, body=cert_requests(replace(request, popo=other.popo)))


def possession_under_another_algorithm(desk: Desk) -> Sent:
    request = signed_request(new_key(), "CN=device-1")
    assert isinstance(request.popo, POPOSigningKey)
    other = AlgorithmIdentifier(oids.ECDSA_WITH_SHA384)
    popo = replace(request.popo, algorithm=other)
    return sent(desk, body=cert_requests(replace(request, popo=popo)))


@pytest.mark.requirement("CMP-82", "CMP-149")
@table(
    (possession_missing, FailInfo.BAD_POP, FailInfo.BAD_POP),
    (possession_of_another_key, FailInfo.BAD_POP, FailInfo.BAD_POP),
    (possession_under_another_algorithm, FailInfo.BAD_POP, FailInfo.BAD_POP),
)
def test_the_proof_of_possession(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check(desk, level, bend, bits)


def template_of_version_1(desk: Desk) -> Sent:
    return ir(desk, version=0)


def template_of_another_issuer(desk: Desk) -> Sent:
    return ir(desk, issuer=Name.from_text("CN=another CA").der)


def template_without_any_name(desk: Desk) -> Sent:
    return ir(desk, subject="")


def template_without_subject(desk: Desk) -> Sent:
    return ir(desk, subject=None)


def template_with_a_broken_key(desk: Desk) -> Sent:
    return ir(desk, spki=der.sequence(der.NULL))


def template_that_ends_before_it_begins(desk: Desk) -> Sent:
    now = desk.world.clock.now().replace(microsecond=0)
    validity = OptionalValidity(now + 60 * SECONDS, now + 30 * SECONDS)
    return ir(desk, validity=validity)


def extension_malformed(desk: Desk) -> Sent:
    broken = Extension(oids.ID_CE_KEY_USAGE, critical=True, value=b"\x04\x00")
    return ir(desk, extensions=(broken,))


def extension_critical_and_unknown(desk: Desk) -> Sent:
    unknown = Extension("1.2.3.4", critical=True, value=der.NULL)
    return ir(desk, extensions=(unknown,))


def policy_critical_and_not_ours(desk: Desk) -> Sent:
    value = der.sequence(der.sequence(der.oid("1.2.3.4")))
    policy = Extension(oids.ID_CE_CERTIFICATE_POLICIES, critical=True, value=value)
    return ir(desk, extensions=(policy,))


def same_key_again(desk: Desk) -> Sent:
    key = new_key()
    first = cert_requests(signed_request(key, "CN=device-1"))
    assert refused(desk, sent(desk, body=first)).certificate
    desk.world.change_alias(same_key=False)
    return sent(desk, body=cert_requests(signed_request(key, "CN=device-1")))


@pytest.mark.requirement("CMP-60", "CMP-64", "CMP-66")
@table(
    (template_of_version_1, FailInfo.BAD_CERT_TEMPLATE, FailInfo.BAD_CERT_TEMPLATE),
    (
        template_of_another_issuer,
        FailInfo.BAD_CERT_TEMPLATE,
        FailInfo.BAD_CERT_TEMPLATE,
    ),
    (
        template_without_any_name,
        FailInfo.BAD_CERT_TEMPLATE,
        FailInfo.BAD_CERT_TEMPLATE,
    ),
    (
        template_without_subject,
        FailInfo.BAD_CERT_TEMPLATE,
        FailInfo.BAD_CERT_TEMPLATE,
    ),
    (
        template_with_a_broken_key,
        FailInfo.BAD_CERT_TEMPLATE,
        FailInfo.BAD_CERT_TEMPLATE,
    ),
    (
        template_that_ends_before_it_begins,
        FailInfo.BAD_CERT_TEMPLATE,
        FailInfo.BAD_CERT_TEMPLATE,
    ),
    (extension_malformed, FailInfo.BAD_CERT_TEMPLATE, FailInfo.BAD_CERT_TEMPLATE),
    (
        extension_critical_and_unknown,
        FailInfo.UNACCEPTED_EXTENSION,
        FailInfo.UNACCEPTED_EXTENSION,
    ),
    (
        policy_critical_and_not_ours,
        FailInfo.UNACCEPTED_POLICY,
        FailInfo.UNACCEPTED_POLICY,
    ),
    (same_key_again, FailInfo.DUPLICATE_CERT_REQ, FailInfo.DUPLICATE_CERT_REQ),
)
def test_the_template(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check(desk, level, bend, bits)


# --- which certificate --------------------------------------------------------------


def old_certificate_unknown(desk: Desk) -> Sent:
    by = holder(desk)
    issuer = GeneralName.directory(desk.world.engine.authority_subject("issuing"))
    return _update(desk, by, CertId(issuer, 12345))


def old_certificate_of_another(desk: Desk) -> Sent:
    by, other = holder(desk), holder(desk, "CN=other")
    issuer = GeneralName.directory(desk.world.engine.authority_subject("issuing"))
    return _update(desk, by, CertId(issuer, other.parsed.serial_number))


def _update(desk: Desk, by: BySignature, old: CertId) -> Sent:
    control = AttributeTypeAndValue(oids.ID_REG_CTRL_OLD_CERT_ID, old.encode())
    request = signed_request(new_key(), HOLDER, controls=(control,))
    return sent(desk, BodyType.KUR, cert_requests(request), by)


def revocation_of_nothing(desk: Desk) -> Sent:
    by = holder(desk)
    wrong = revocation_of(by.certificate, serial_number=12345)
    return sent(desk, BodyType.RR, wrong, by)


def revocation_of_another_subject(desk: Desk) -> Sent:
    by = holder(desk)
    subject = Name.from_text("CN=another").der
    wrong = revocation_of(by.certificate, subject=subject)
    return sent(desk, BodyType.RR, wrong, by)


def revocation_without_serial(desk: Desk) -> Sent:
    by = holder(desk)
    wrong = revocation_of(by.certificate, serial_number=None)
    return sent(desk, BodyType.RR, wrong, by)


def revocation_without_issuer(desk: Desk) -> Sent:
    by = holder(desk)
    wrong = revocation_of(by.certificate, issuer=None)
    return sent(desk, BodyType.RR, wrong, by)


def confirmation_of_another_hash(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    return followed(desk, answer, BodyType.CERT_CONF, cert_conf(os.urandom(32)))


@pytest.mark.requirement("CMP-75", "CMP-94", "CMP-114")
@table(
    (old_certificate_unknown, FailInfo.BAD_CERT_ID, FailInfo.BAD_CERT_ID),
    (old_certificate_of_another, FailInfo.BAD_CERT_ID, FailInfo.BAD_CERT_ID),
    (revocation_of_nothing, FailInfo.BAD_CERT_ID, FailInfo.BAD_CERT_ID),
    (revocation_of_another_subject, FailInfo.BAD_CERT_ID, FailInfo.BAD_CERT_ID),
    (
        revocation_without_serial,
        FailInfo.ADD_INFO_NOT_AVAILABLE,
        FailInfo.ADD_INFO_NOT_AVAILABLE,
    ),
    (
        revocation_without_issuer,
        FailInfo.ADD_INFO_NOT_AVAILABLE,
        FailInfo.ADD_INFO_NOT_AVAILABLE,
    ),
    (confirmation_of_another_hash, FailInfo.BAD_CERT_ID, FailInfo.BAD_CERT_ID),
)
def test_which_certificate_is_meant(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check_answer(desk, level, bend, bits)


def check_answer(desk: Desk, level: str, bend: Bent, bits: tuple[Any, Any]) -> None:
    """As `check`, where a certificate was issued on the way."""
    answer = refused(desk, bend(desk))
    expected = bits[LEVELS.index(level)]
    if expected is None:
        assert not isinstance(answer.body, ErrorMsgContent), answer.status
    else:
        assert answer.fail_info is expected
        assert answer.message.protection is not None


# --- numbers, order, values ---------------------------------------------------------


def confirmation_of_another_request(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate), 1)
    return followed(desk, answer, BodyType.CERT_CONF, body)


def poll_for_another_request(desk: Desk) -> Sent:
    desk.needs_approval()
    waiting = refused(desk, sent(desk))
    return followed(desk, waiting, BodyType.POLL_REQ, polling(1))


def poll_after_the_answer(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    return followed(desk, answer, BodyType.POLL_REQ, polling())


def confirmation_while_waiting(desk: Desk) -> Sent:
    desk.needs_approval()
    waiting = refused(desk, sent(desk))
    return followed(desk, waiting, BodyType.CERT_CONF, cert_conf(os.urandom(32)))


def number_one(desk: Desk) -> Sent:
    return ir(desk, cert_req_id=1)


def question_with_a_value(desk: Desk) -> Sent:
    body = GenMsgContent((InfoTypeAndValue(oids.ID_IT_CA_CERTS, der.NULL),))
    return sent(desk, BodyType.GENM, body)


def two_questions(desk: Desk) -> Sent:
    body = asking(oids.ID_IT_CA_CERTS, oids.ID_IT_CURRENT_CRL)
    return sent(desk, BodyType.GENM, body)


def two_revocations(desk: Desk) -> Sent:
    by = holder(desk)
    one = revocation_of(by.certificate).details
    return sent(desk, BodyType.RR, RevReqContent(one + one), by)


def hash_algorithm_in_version_2(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(
        certificate_hash(answer.certificate),
        hash_alg=AlgorithmIdentifier(oids.ID_SHA256),
    )
    return followed(desk, answer, BodyType.CERT_CONF, body)


def answer_as_request(desk: Desk) -> Sent:
    return sent(desk, BodyType.IP, der.sequence())


def body_of_no_kind(desk: Desk) -> Sent:
    return sent(desk, 30, der.sequence())


@pytest.mark.requirement("CMP-55", "CMP-59", "CMP-101")
@table(
    (confirmation_of_another_request, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (poll_for_another_request, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (poll_after_the_answer, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (confirmation_while_waiting, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (number_one, None, FailInfo.BAD_REQUEST),
    (question_with_a_value, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (two_questions, None, FailInfo.BAD_REQUEST),
    (two_revocations, None, FailInfo.BAD_REQUEST),
    (hash_algorithm_in_version_2, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (answer_as_request, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
    (body_of_no_kind, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
)
def test_numbers_order_and_values_are_badRequest(
    desk: Desk, level: str, bend: Bent, bits: Any
) -> None:
    check_answer_or_taken(desk, level, bend, bits)


def check_answer_or_taken(
    desk: Desk, level: str, bend: Bent, bits: tuple[Any, Any]
) -> None:
    """As `check_answer`; what is taken may have several answers in it."""
    if bits[LEVELS.index(level)] is not None:
        check_answer(desk, level, bend, bits)
        return
    answer = refused(desk, bend(desk))
    assert not isinstance(answer.body, ErrorMsgContent)


@pytest.mark.requirement("CMP-06")
def test_syntax_of_version_3_in_a_message_of_version_2(desk: Desk, level: str) -> None:
    assert level
    answer = refused(desk, sent(desk))
    body = cert_conf(
        certificate_hash(answer.certificate),
        hash_alg=AlgorithmIdentifier(oids.ID_SHA256),
    )
    wrong = followed(desk, answer, BodyType.CERT_CONF, body)
    assert refused(desk, wrong).fail_info is FailInfo.BAD_REQUEST
    good = followed(desk, answer, BodyType.CERT_CONF, body, pvno=3)
    assert refused(desk, good).body_type is BodyType.PKICONF


# --- confirmation -------------------------------------------------------------------


def confirmed_already(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    body = cert_conf(certificate_hash(answer.certificate))
    done = refused(desk, followed(desk, answer, BodyType.CERT_CONF, body))
    assert done.body_type is BodyType.PKICONF
    return followed(desk, done, BodyType.CERT_CONF, body)


def confirmed_implicitly(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk, general_info=(IMPLICIT,)))
    body = cert_conf(certificate_hash(answer.certificate))
    return followed(desk, answer, BodyType.CERT_CONF, body)


def confirmed_by_another(desk: Desk) -> Sent:
    by, other = holder(desk), holder(desk, "CN=other")
    answer = refused(desk, sent(desk, BodyType.CR, by=by))
    body = cert_conf(certificate_hash(answer.certificate))
    return followed(desk, answer, BodyType.CERT_CONF, body, other)


def accepted_with_a_failure(desk: Desk) -> Sent:
    answer = refused(desk, sent(desk))
    status = PKIStatusInfo(PKIStatus.ACCEPTED, (), frozenset((FailInfo.BAD_ALG,)))
    body = cert_conf(certificate_hash(answer.certificate), status=status)
    return followed(desk, answer, BodyType.CERT_CONF, body)


@pytest.mark.requirement("CMP-95", "CMP-96", "CMP-97")
@table(
    (confirmed_already, FailInfo.CERT_CONFIRMED, FailInfo.CERT_CONFIRMED),
    (confirmed_implicitly, FailInfo.CERT_CONFIRMED, FailInfo.CERT_CONFIRMED),
    (confirmed_by_another, FailInfo.WRONG_AUTHORITY, FailInfo.WRONG_AUTHORITY),
    (accepted_with_a_failure, FailInfo.BAD_REQUEST, FailInfo.BAD_REQUEST),
)
def test_the_confirmation(desk: Desk, level: str, bend: Bent, bits: Any) -> None:
    check_answer(desk, level, bend, bits)


# --- our own faults -----------------------------------------------------------------


@pytest.mark.requirement("CMP-149")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (PKIError(ErrorCode.UNAVAILABLE, "the key is away"), FailInfo.SYSTEM_UNAVAIL),
        (PKIError(ErrorCode.BUSY, "the queue is full"), FailInfo.SYSTEM_UNAVAIL),
        (RuntimeError("the inside of the house"), FailInfo.SYSTEM_FAILURE),
    ],
    ids=["unavailable", "busy", "bug"],
)
def test_our_own_faults_are_ours(
    desk: Desk,
    level: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    expected: FailInfo,
) -> None:
    assert level
    good = sent(desk)

    async def away(*_: Any) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(desk.world.engine, "enroll", away)
        answer = refused(desk, good)
    assert answer.fail_info is expected
    assert "inside" not in "".join(answer.status.strings)
    assert refused(desk, good).certificate
