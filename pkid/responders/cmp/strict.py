"""The strict level, ``conformance = "lcmpp"``: what RFC 9483 asks beyond RFC 9810.

One row, one rule: what has to hold, the requirement that says so, when it is looked at,
and what a message gets that breaks it. An alias of the tolerant level lets all of them
pass; ``pkid trace`` names those that a message broke, so that one can see beforehand
which clients the strict level would refuse.

**Source:** RFC 9483 sections 3.1, 3.3, 3.5, 4.1 to 4.4.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pkid.asn1 import oids
from pkid.asn1.names import DIRECTORY_NAME
from pkid.crypto.certificates import Certificate, subject_key_identifier
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertConfirmContent,
    CertReqMessages,
    GenMsgContent,
    PollReqContent,
)
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage
from pkid.messages.cmp.revocation import RevReqContent
from pkid.responders.cmp.aliases import CMPAlias

LCMPP: Final = "lcmpp"
ID_OCTETS: Final = 16
NONCE_OCTETS: Final = 16
TIME_WINDOW: Final = timedelta(minutes=5)

#: Bodies that go on with a transaction: they carry recipNonce.
FOLLOWING: Final = frozenset(
    (
        BodyType.CERT_CONF,
        BodyType.POLL_REQ,
        BodyType.POPDECR,
        BodyType.ERROR,
        BodyType.PKICONF,
    )
)
_SIGNED_ONLY: Final = frozenset(
    (BodyType.KUR, BodyType.RR, BodyType.CCR, BodyType.NESTED)
)


class Stage(enum.Enum):
    """When a rule is looked at, in the order of RFC 9483 section 3.5."""

    PRESENCE = "presence"  # before anything is computed
    SENDER = "sender"  # what protects is known, its bits are not verified yet
    TIME = "time"
    NONCES = "nonces"
    TRANSACTION = "transaction"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Examined:
    """What the rules look at.

    :ivar signer: the protection certificate; None under a shared secret.
    :ivar body: decoded; None before that.
    """

    message: PKIMessage
    signer: Certificate | None = None
    body: Body | None = None

    @property
    def header(self) -> PKIHeader:
        """The header."""
        return self.message.header


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    :ivar text: what has to hold, in words for the client.
    :ivar requirement: the line of the conformance page.
    :ivar code: what breaking it gets.
    """

    text: str
    requirement: str
    stage: Stage
    code: ErrorCode
    holds: Callable[[Examined], bool]


# --- what the rules ask -------------------------------------------------------------


def _names_its_reference(examined: Examined) -> bool:
    """Under a secret: the sender's common name is the reference value."""
    header = examined.header
    if examined.signer is not None or header.protection_alg is None:
        return True
    if header.sender.tag != DIRECTORY_NAME or header.sender_kid is None:
        return False
    name = header.sender.directory_name
    found = () if name is None else name.values(oids.ID_AT_COMMON_NAME)
    return [value.encode() for value in found] == [header.sender_kid]


def _names_its_key(examined: Examined) -> bool:
    """By a certificate: senderKID is its key identifier, if it has one."""
    if examined.signer is None:
        return True
    identifier = subject_key_identifier(examined.signer)
    return identifier is None or examined.header.sender_kid == identifier


def _has_sender_kid(examined: Examined) -> bool:
    if examined.header.sender_kid is not None or examined.message.protection is None:
        return True
    signer = examined.signer
    return signer is not None and subject_key_identifier(signer) is None


def _signer_comes_first(examined: Examined) -> bool:
    if examined.signer is None:
        return True
    return examined.message.extra_certs[:1] == (examined.signer.der,)


def _is_signed_where_it_must(examined: Examined) -> bool:
    message = examined.message
    if message.body_type not in _SIGNED_ONLY or message.protection is None:
        return True
    return examined.signer is not None


def _begins_without_recip_nonce(examined: Examined) -> bool:
    follows = examined.message.body_type in FOLLOWING
    return follows or examined.header.recip_nonce is None


def _asks_for_one_certificate(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, CertReqMessages) or len(body.messages) == 1


def _numbers_it_zero(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, CertReqMessages) or all(
        message.cert_req.cert_req_id == 0 for message in body.messages
    )


def _names_a_subject(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, CertReqMessages) or all(
        message.cert_req.cert_template.subject is not None for message in body.messages
    )


def _confirms_one(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, CertConfirmContent) or len(body.statuses) == 1


def _revokes_one(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, RevReqContent) or len(body.details) == 1


def _asks_one_question(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, GenMsgContent) or len(body.info_values) == 1


def _polls_for_one(examined: Examined) -> bool:
    body = examined.body
    return not isinstance(body, PollReqContent) or len(body.cert_req_ids) == 1


def _octets(octets: bytes | None, count: int) -> bool:
    return octets is not None and len(octets) == count


# --- the table ----------------------------------------------------------------------

RULES: Final = (
    Rule(
        "transactionID is required",
        "CMP-14",
        Stage.PRESENCE,
        ErrorCode.MALFORMED,
        lambda examined: examined.header.transaction_id is not None,
    ),
    Rule(
        "kur, rr, ccr and nested messages are signed",
        "CMP-36",
        Stage.SENDER,
        ErrorCode.WRONG_INTEGRITY,
        _is_signed_where_it_must,
    ),
    Rule(
        "senderKID is required in a protected message",
        "CMP-11",
        Stage.SENDER,
        ErrorCode.BAD_MESSAGE_CHECK,
        _has_sender_kid,
    ),
    Rule(
        "under a shared secret the sender's common name is senderKID",
        "CMP-07",
        Stage.SENDER,
        ErrorCode.BAD_MESSAGE_CHECK,
        _names_its_reference,
    ),
    Rule(
        "senderKID is the key identifier of the protection certificate",
        "CMP-11",
        Stage.SENDER,
        ErrorCode.BAD_MESSAGE_CHECK,
        _names_its_key,
    ),
    Rule(
        "the protection certificate is the first of extraCerts",
        "CMP-41",
        Stage.SENDER,
        ErrorCode.BAD_MESSAGE_CHECK,
        _signer_comes_first,
    ),
    Rule(
        "messageTime is required",
        "CMP-12",
        Stage.TIME,
        ErrorCode.BAD_TIME,
        lambda examined: examined.header.message_time is not None,
    ),
    Rule(
        f"senderNonce has {NONCE_OCTETS} octets",
        "CMP-17",
        Stage.NONCES,
        ErrorCode.BAD_SENDER_NONCE,
        lambda examined: _octets(examined.header.sender_nonce, NONCE_OCTETS),
    ),
    Rule(
        "recipNonce is absent in the first message of a transaction",
        "CMP-18",
        Stage.NONCES,
        ErrorCode.BAD_RECIPIENT_NONCE,
        _begins_without_recip_nonce,
    ),
    Rule(
        f"transactionID has {ID_OCTETS} octets",
        "CMP-14",
        Stage.TRANSACTION,
        ErrorCode.BAD_REQUEST,
        lambda examined: _octets(examined.header.transaction_id, ID_OCTETS),
    ),
    Rule(
        "a message asks for one certificate",
        "CMP-58",
        Stage.BODY,
        ErrorCode.BAD_REQUEST,
        _asks_for_one_certificate,
    ),
    Rule(
        "certReqId of the one request is 0",
        "CMP-59",
        Stage.BODY,
        ErrorCode.BAD_REQUEST,
        _numbers_it_zero,
    ),
    Rule(
        "the template names a subject",
        "CMP-61",
        Stage.BODY,
        ErrorCode.BAD_TEMPLATE,
        _names_a_subject,
    ),
    Rule(
        "certConf has one CertStatus",
        "CMP-94",
        Stage.BODY,
        ErrorCode.BAD_REQUEST,
        _confirms_one,
    ),
    Rule(
        "pollReq asks after one request",
        "CMP-102",
        Stage.BODY,
        ErrorCode.BAD_REQUEST,
        _polls_for_one,
    ),
    Rule(
        "rr names one certificate",
        "CMP-114",
        Stage.BODY,
        ErrorCode.BAD_REQUEST,
        _revokes_one,
    ),
    Rule(
        "genm asks one question",
        "CMP-122",
        Stage.BODY,
        ErrorCode.BAD_REQUEST,
        _asks_one_question,
    ),
)
_BY_STAGE: Final = {
    stage: tuple(rule for rule in RULES if rule.stage is stage) for stage in Stage
}


def broken(stage: Stage, examined: Examined) -> Iterator[Rule]:
    """The rules of a stage that a message breaks, in order."""
    return (rule for rule in _BY_STAGE[stage] if not rule.holds(examined))


def enforce(
    alias: CMPAlias,
    stage: Stage,
    message: PKIMessage,
    *,
    signer: Certificate | None = None,
    body: Body | None = None,
) -> None:
    """Refuse a message that breaks a rule of this stage; only where the alias says so.

    :raises PKIError: with the rule's code.
    """
    if alias.conformance != LCMPP:
        return
    for rule in broken(stage, Examined(message, signer, body)):
        raise PKIError(
            rule.code,
            f"{rule.text} here",
            hint=f'{rule.requirement}: conformance = "rfc" would let it pass',
        )


def deviations(examined: Examined) -> tuple[str, ...]:
    """Requirements that a message breaks, of all stages; for people."""
    return tuple(
        dict.fromkeys(rule.requirement for rule in RULES if not rule.holds(examined))
    )
