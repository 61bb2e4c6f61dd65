"""What is answered to what is wrong: one row, one bit, protected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from pkid.asn1 import der, oids
from pkid.asn1.names import GeneralName, Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.algorithms import hash_algorithm
from pkid.crypto.mac import encode_mac_parameters
from pkid.engine.aliases import Authentication
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.header import InfoTypeAndValue
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.messages.crmf import KeyUse, POPOPrivKey, PrivKeyMethod, RAVerified
from pkid.responders.cmp.failures import FAIL_INFO, error_content, rejection
from tests.responders.desk import Desk
from tests.responders.peers import (
    HMAC_SHA1,
    IMPLICIT,
    Answer,
    By,
    ByMAC,
    BySignature,
    Sent,
    cert_requests,
    foreign_certificate,
    message,
    new_key,
    pbm,
    signed_request,
)


def ir(
    by: By | None = None, request: dict[str, Any] | None = None, **header: Any
) -> Sent:
    wanted = signed_request(new_key(), **(request or {}))
    return message(BodyType.IR, cert_requests(wanted), by or ByMAC(), **header)


def own(desk: Desk) -> BySignature:
    return desk.holder()


def stranger(desk: Desk) -> BySignature:
    key = new_key()
    return BySignature(foreign_certificate(key, at=desk.world.clock.now()), key)


@dataclass(frozen=True)
class Row:
    """One violation and what is answered.

    :ivar signed: whether the answer is signed, because no secret was proven.
    """

    name: str
    sent: Callable[[Desk], Sent]
    bit: FailInfo
    signed: bool
    body_type: BodyType = BodyType.ERROR
    settings: dict[str, Any] = field(default_factory=dict)


def pbm_with(salt: bytes, iterations: int) -> AlgorithmIdentifier:
    """PBM parameters that our own values would refuse to hold."""
    octets = der.sequence(
        der.octet_string(salt),
        hash_algorithm("sha256").encode(),
        der.integer(iterations),
        HMAC_SHA1.encode(),
    )
    return AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC, octets)


def odd_mac(oid: str) -> AlgorithmIdentifier:
    octets = der.sequence(
        der.octet_string(bytes(16)),
        hash_algorithm("sha256").encode(),
        der.integer(500),
        AlgorithmIdentifier(oid).encode(),
    )
    return AlgorithmIdentifier(oids.ID_PASSWORD_BASED_MAC, octets)


CONFIRM_WAIT = oids.ID_IT_CONFIRM_WAIT_TIME
MINUTE = timedelta(minutes=1)

HEADER_ROWS = [
    Row("pvno-1", lambda _: ir(pvno=1), FailInfo.UNSUPPORTED_VERSION, True),
    Row("pvno-4", lambda _: ir(pvno=4), FailInfo.UNSUPPORTED_VERSION, True),
    Row(
        "transactionID-long",
        lambda _: ir(transaction_id=bytes(65)),
        FailInfo.BAD_REQUEST,
        False,
    ),
    Row(
        "transactionID-empty",
        lambda _: ir(transaction_id=b""),
        FailInfo.BAD_REQUEST,
        False,
    ),
    Row(
        "senderNonce-missing",
        lambda _: ir(sender_nonce=None),
        FailInfo.BAD_SENDER_NONCE,
        False,
    ),
    Row(
        "senderNonce-short",
        lambda _: ir(sender_nonce=bytes(15)),
        FailInfo.BAD_SENDER_NONCE,
        False,
    ),
    Row(
        "senderNonce-long",
        lambda _: ir(sender_nonce=bytes(65)),
        FailInfo.BAD_SENDER_NONCE,
        False,
    ),
    Row(
        "messageTime-missing",
        lambda _: ir(),
        FailInfo.BAD_TIME,
        False,
        settings={"message_time_window": 5 * MINUTE},
    ),
    Row(
        "messageTime-early",
        lambda desk: ir(message_time=desk.world.clock.now() - 6 * MINUTE),
        FailInfo.BAD_TIME,
        False,
        settings={"message_time_window": 5 * MINUTE},
    ),
    Row(
        "messageTime-late",
        lambda desk: ir(message_time=desk.world.clock.now() + 6 * MINUTE),
        FailInfo.BAD_TIME,
        False,
        settings={"message_time_window": 5 * MINUTE},
    ),
    Row(
        "implicitConfirm-not-null",
        lambda _: ir(
            general_info=(
                InfoTypeAndValue(oids.ID_IT_IMPLICIT_CONFIRM, der.integer(1)),
            )
        ),
        FailInfo.BAD_REQUEST,
        False,
    ),
    Row(
        "implicitConfirm-and-confirmWaitTime",
        lambda desk: ir(
            general_info=(
                IMPLICIT,
                InfoTypeAndValue(
                    CONFIRM_WAIT, der.generalized_time(desk.world.clock.now())
                ),
            )
        ),
        FailInfo.BAD_REQUEST,
        False,
    ),
    Row(
        "confirmWaitTime-as-utc-time",
        lambda desk: ir(
            general_info=(
                InfoTypeAndValue(CONFIRM_WAIT, der.time(desk.world.clock.now())),
            )
        ),
        FailInfo.BAD_DATA_FORMAT,
        False,
    ),
]
PROTECTION_ROWS = [
    Row("unprotected", lambda _: ir(protected=False), FailInfo.BAD_MESSAGE_CHECK, True),
    Row(
        "alg-without-bits",
        lambda _: ir(protected=False, protection_alg=encode_mac_parameters(pbm())),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "bits-without-alg",
        lambda _: ir(protection_alg=None),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row("wrong-mac", lambda _: ir(wrong_bits=True), FailInfo.BAD_MESSAGE_CHECK, True),
    Row(
        "wrong-secret",
        lambda _: ir(ByMAC(secret=b"guess")),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "unknown-reference",
        lambda _: ir(ByMAC(reference=b"nobody")),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "no-reference", lambda _: ir(sender_kid=None), FailInfo.BAD_MESSAGE_CHECK, True
    ),
    Row(
        "reference-not-text",
        lambda _: ir(ByMAC(reference=b"\xff\x00")),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "wrong-signature",
        lambda desk: ir(own(desk), wrong_bits=True),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "sender-is-not-the-subject",
        lambda desk: ir(
            own(desk), sender=GeneralName.directory(Name.from_text("CN=another"))
        ),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "sender-is-no-directory-name",
        lambda desk: ir(own(desk), sender=GeneralName.dns("device.example")),
        FailInfo.BAD_MESSAGE_CHECK,
        True,
    ),
    Row(
        "iterations-above-the-limit",
        lambda _: ir(protection_alg=pbm_with(bytes(16), 100_001)),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "iterations-above-the-alias's-limit",
        lambda _: ir(ByMAC(parameters=pbm(1001))),
        FailInfo.BAD_ALG,
        True,
        settings={"maximum_iterations": 1000},
    ),
    Row(
        "iterations-below-the-floor",
        lambda _: ir(protection_alg=pbm_with(bytes(16), 99)),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "salt-too-long",
        lambda _: ir(protection_alg=pbm_with(bytes(200), 500)),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "unknown-mac-in-pbm",
        lambda _: ir(protection_alg=odd_mac("1.2.3.4")),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "unknown-protection-alg",
        lambda _: ir(protection_alg=AlgorithmIdentifier("1.2.3.4")),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "dh-based-mac",
        lambda _: ir(
            protection_alg=AlgorithmIdentifier(oids.ID_DH_BASED_MAC, der.sequence())
        ),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "algorithm-does-not-fit-the-key",
        lambda desk: ir(
            own(desk),
            protection_alg=AlgorithmIdentifier(
                oids.SHA256_WITH_RSA_ENCRYPTION, der.NULL
            ),
        ),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "sha1-signature",
        lambda desk: ir(
            own(desk), protection_alg=AlgorithmIdentifier(oids.ECDSA_WITH_SHA1)
        ),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "null-parameters-in-ecdsa",
        lambda desk: ir(
            own(desk),
            protection_alg=AlgorithmIdentifier(oids.ECDSA_WITH_SHA256, der.NULL),
        ),
        FailInfo.BAD_ALG,
        True,
    ),
    Row(
        "no-extraCerts-no-kid",
        lambda desk: ir(own(desk), extra_certs=(), sender_kid=None),
        FailInfo.ADD_INFO_NOT_AVAILABLE,
        True,
    ),
    Row(
        "stranger",
        lambda desk: ir(stranger(desk)),
        FailInfo.SIGNER_NOT_TRUSTED,
        True,
    ),
]
BODY_ROWS = [
    Row(
        "popo-missing",
        lambda _: ir(request={"popo": None}),
        FailInfo.BAD_POP,
        False,
        BodyType.IP,
    ),
    Row(
        "popo-raVerified-of-an-end-entity",
        lambda _: ir(request={"popo": RAVerified()}),
        FailInfo.NOT_AUTHORIZED,
        False,
        BodyType.IP,
    ),
    Row(
        "popo-encrCert",
        lambda _: ir(
            request={
                "popo": POPOPrivKey(
                    KeyUse.KEY_ENCIPHERMENT, PrivKeyMethod.SUBSEQUENT_MESSAGE, b"\0"
                )
            }
        ),
        FailInfo.BAD_POP,
        False,
        BodyType.IP,
    ),
    Row(
        "no-subject",
        lambda _: ir(request={"subject": None}),
        FailInfo.BAD_CERT_TEMPLATE,
        False,
        BodyType.IP,
    ),
    Row(
        "version-1",
        lambda _: ir(request={"version": 0}),
        FailInfo.BAD_CERT_TEMPLATE,
        False,
        BodyType.IP,
    ),
    Row(
        "ca-certificate",
        lambda _: ir(
            request={
                "extensions": (
                    Extension(
                        oids.ID_CE_BASIC_CONSTRAINTS,
                        critical=True,
                        value=x509.BasicConstraints(
                            ca=True, path_length=None
                        ).public_bytes(),
                    ),
                )
            }
        ),
        FailInfo.NOT_AUTHORIZED,
        False,
        BodyType.IP,
    ),
    Row(
        "body-not-decodable",
        lambda _: message(BodyType.IR, der.sequence(der.NULL), ByMAC()),
        FailInfo.BAD_DATA_FORMAT,
        False,
    ),
]


def check(desk: Desk, row: Row) -> Answer:
    desk.settings.update(row.settings)
    reply = desk.reply(row.sent(desk).octets)
    assert reply.status == 200
    answer = Answer.read(reply.body)
    assert answer.body_type is row.body_type
    assert answer.fail_info is row.bit
    assert answer.is_signed is row.signed
    if row.signed:
        answer.check_signature()
    else:
        answer.check_mac()
    return answer


def named(rows: list[Row]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=[row.name for row in rows])


@pytest.mark.requirement("CMP-149", "CMP-150", "CMP-48")
@named(HEADER_ROWS)
def test_what_is_wrong_with_a_header(desk: Desk, row: Row) -> None:
    check(desk, row)
    assert desk.count() == 0


@pytest.mark.requirement("CMP-149", "CMP-38", "CMP-48")
@named(PROTECTION_ROWS)
def test_what_is_wrong_with_protection(desk: Desk, row: Row) -> None:
    sent = row.sent(desk)
    before = desk.count()
    check(desk, Row(**{**vars(row), "sent": lambda _: sent}))
    assert desk.count() == before


@pytest.mark.requirement("CMP-149", "CMP-74", "CMP-90")
@named(BODY_ROWS)
def test_what_is_wrong_with_a_body(desk: Desk, row: Row) -> None:
    check(desk, row)
    assert desk.count() == 0


@pytest.mark.requirement("CMP-04", "CMP-05")
@pytest.mark.parametrize(("pvno", "answered"), [(0, 2), (1, 2), (4, 3), (99, 3)])
def test_versions_that_are_not_served_are_answered_with_the_nearest(
    desk: Desk, pvno: int, answered: int
) -> None:
    answer = desk.ask(ir(pvno=pvno))
    assert answer.fail_info is FailInfo.UNSUPPORTED_VERSION
    assert answer.header.pvno == answered


@pytest.mark.requirement("CMP-04", "CMP-05")
@pytest.mark.parametrize("pvno", [2, 3])
def test_a_version_that_is_served_is_answered_in_kind(desk: Desk, pvno: int) -> None:
    answer = desk.ask(ir(pvno=pvno))
    assert answer.header.pvno == pvno
    assert answer.certificate


@pytest.mark.requirement("CMP-02", "CMP-03")
@pytest.mark.parametrize("octets", [b"", b"nonsense", b"\x30\x80\x00\x00", b"\x30\x00"])
def test_what_cannot_be_read_is_badDataFormat_with_status_400(
    desk: Desk, octets: bytes
) -> None:
    reply = desk.reply(octets)
    assert reply.status == 400
    answer = Answer.read(reply.body)
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT
    assert answer.header.transaction_id is None
    assert answer.header.sender_nonce is not None
    answer.check_signature()


@pytest.mark.requirement("CMP-02", "CMP-03")
def test_a_broken_message_is_answered_with_the_ids_that_it_still_shows(
    desk: Desk,
) -> None:
    sent = ir()
    reply = desk.reply(sent.octets + b"\x00")
    assert reply.status == 400
    answer = Answer.read(reply.body)
    assert answer.fail_info is FailInfo.BAD_DATA_FORMAT
    assert answer.header.transaction_id == sent.transaction_id
    assert answer.header.recip_nonce == sent.sender_nonce


@pytest.mark.requirement("CMP-55")
@pytest.mark.parametrize(
    "body_type",
    [
        BodyType.IP,
        BodyType.CP,
        BodyType.POPDECC,
        BodyType.KUP,
        BodyType.KRP,
        BodyType.RP,
        BodyType.CCP,
        BodyType.GENP,
        BodyType.POLL_REP,
    ],
)
def test_an_answer_sent_as_a_request_is_badRequest(
    desk: Desk, body_type: BodyType
) -> None:
    answer = desk.ask(message(body_type, der.sequence(), ByMAC()))
    assert answer.fail_info is FailInfo.BAD_REQUEST
    assert not answer.is_signed


@pytest.mark.requirement("CMP-55")
@pytest.mark.parametrize("number", [27, 30])
def test_an_unknown_body_is_badRequest(desk: Desk, number: int) -> None:
    answer = desk.ask(message(number, der.sequence(), ByMAC()))
    assert answer.fail_info is FailInfo.BAD_REQUEST


@pytest.mark.requirement("CMP-36", "CMP-43")
def test_a_kind_of_protection_that_the_alias_does_not_take_is_wrongIntegrity(
    desk: Desk,
) -> None:
    holder = desk.holder()
    desk.world.change_alias(authenticate=frozenset((Authentication.MAC,)))
    assert desk.ask(ir(holder)).fail_info is FailInfo.WRONG_INTEGRITY
    desk.world.change_alias(authenticate=frozenset((Authentication.CERTIFICATE,)))
    answer = desk.ask(ir())
    assert answer.fail_info is FailInfo.WRONG_INTEGRITY
    assert answer.is_signed


@pytest.mark.requirement("CMP-26")
def test_protection_is_checked_before_the_body_is_looked_at(desk: Desk) -> None:
    broken = message(BodyType.IR, der.sequence(der.NULL), ByMAC(secret=b"guess"))
    assert desk.ask(broken).fail_info is FailInfo.BAD_MESSAGE_CHECK
    response = message(BodyType.IP, der.sequence(), ByMAC(secret=b"guess"))
    assert desk.ask(response).fail_info is FailInfo.BAD_MESSAGE_CHECK


@pytest.mark.requirement("CMP-24")
def test_the_same_text_is_given_for_every_secret_that_does_not_fit(desk: Desk) -> None:
    desk.secret("once", uses=1)
    once = ByMAC(reference=b"once")
    assert desk.enroll(once, implicit=True).certificate
    texts = {
        desk.ask(ir(by)).status.strings
        for by in (
            ByMAC(secret=b"guess"),
            ByMAC(reference=b"nobody"),
            ByMAC(reference=b"\x00"),
            once,
        )
    }
    assert len(texts) == 1


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_has_exactly_one_bit(code: ErrorCode) -> None:
    info = rejection(PKIError(code, "cause", hint="operator only"))
    assert info.status is PKIStatus.REJECTION
    assert info.fail_info == {FAIL_INFO[code]}
    assert info.strings == ("cause",)
    encoded = error_content(PKIError(code, "cause", hint="operator only")).encode()
    assert b"operator only" not in encoded


@pytest.mark.requirement("CMP-149")
def test_the_table_of_failures_is_total() -> None:
    assert set(FAIL_INFO) == set(ErrorCode)


def test_a_busy_answer_says_when_to_try_again() -> None:
    info = rejection(PKIError(ErrorCode.BUSY, "full", retry_after=3))
    assert info.strings == ("full; try again in 3 seconds",)
