"""The transaction machine as tables, and the state that a transaction keeps.

A transaction's place follows from its stored status and from whether its final answer
was given; what a follow-up does there is one row of `STEPS`. The state is a versioned
blob in the engine's transaction row: octets of DER, changed by compare-and-swap only,
so that another process, or this one after a restart, goes on with it.

The dialogue::

    ir, cr, kur, p10cr  ->  ip, cp, kup      certConf -> pkiconf
                            "waiting"        pollReq  -> pollRep, or ip, cp, kup
    rr -> rp    genm -> genp                 error    -> pkiconf

**Source:** RFC 9810 sections 5.1.1, 5.3.18, 5.3.21 and 5.3.22.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.model import TransactionRecord, TransactionStatus
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.lists import encode_elements
from pkid.messages.opentypes import decode_values

STATE_VERSION: Final = 1
#: The certReqId that polls for the message as a whole.
WHOLE_MESSAGE: Final = -1
MAX_KEPT_NONCES: Final = 8
MAX_KEPT_ANSWERS: Final = 3


# A blob is encoded for each message: what repeats is encoded here.
_VERSION: Final = der.integer(STATE_VERSION)
_HEADS: Final = {member: _VERSION + der.integer(member) for member in BodyType}
_WITHHELD: Final = der.encode(der.context(19), b"")
_BOOLEANS: Final = (der.boolean(value=False), der.boolean(value=True))


class Stage(enum.Enum):
    """Where a transaction stands, as CMP sees it."""

    WAITING = "waiting"  # an approver has to agree
    READY = "ready"  # decided; the client has not yet come for it
    DELIVERED = "delivered"  # the certificate was sent; certConf is awaited
    CONFIRMED = "confirmed"  # explicitly or implicitly
    REFUSED = "refused"  # for good, by us, by time or by the client
    CLOSED = "closed"  # one request, one answer, no certificate (rr, genm)


class Step(enum.Enum):
    """What a follow-up does."""

    POLL = "poll"
    CONFIRM = "confirm"
    CONFIRM_ALL = "confirm-all"  # pkiconf of RFC 2510 clients
    ABANDON = "abandon"
    ACKNOWLEDGE = "acknowledge"


FOLLOW_UPS: Final = frozenset(
    (BodyType.CERT_CONF, BodyType.POLL_REQ, BodyType.ERROR, BodyType.PKICONF)
)

_NOT_YET: Final = (ErrorCode.BAD_REQUEST, "nothing was issued yet to be confirmed")
_DELIVERED: Final = (ErrorCode.BAD_REQUEST, "the final answer was given already")
_CONFIRMED: Final = (
    ErrorCode.CERTIFICATE_CONFIRMED,
    "the certificate is confirmed already",
)
_OVER: Final = (ErrorCode.BAD_REQUEST, "the transaction is over")

STEPS: Final[dict[tuple[Stage, BodyType], Step | tuple[ErrorCode, str]]] = {
    (Stage.WAITING, BodyType.POLL_REQ): Step.POLL,
    (Stage.WAITING, BodyType.CERT_CONF): _NOT_YET,
    (Stage.WAITING, BodyType.PKICONF): _NOT_YET,
    (Stage.WAITING, BodyType.ERROR): Step.ABANDON,
    (Stage.READY, BodyType.POLL_REQ): Step.POLL,
    (Stage.READY, BodyType.CERT_CONF): _NOT_YET,
    (Stage.READY, BodyType.PKICONF): _NOT_YET,
    (Stage.READY, BodyType.ERROR): Step.ABANDON,
    (Stage.DELIVERED, BodyType.POLL_REQ): _DELIVERED,
    (Stage.DELIVERED, BodyType.CERT_CONF): Step.CONFIRM,
    (Stage.DELIVERED, BodyType.PKICONF): Step.CONFIRM_ALL,
    (Stage.DELIVERED, BodyType.ERROR): Step.ABANDON,
    (Stage.CONFIRMED, BodyType.POLL_REQ): _DELIVERED,
    (Stage.CONFIRMED, BodyType.CERT_CONF): _CONFIRMED,
    (Stage.CONFIRMED, BodyType.PKICONF): _CONFIRMED,
    (Stage.CONFIRMED, BodyType.ERROR): Step.ACKNOWLEDGE,
    (Stage.REFUSED, BodyType.POLL_REQ): _OVER,
    (Stage.REFUSED, BodyType.CERT_CONF): _OVER,
    (Stage.REFUSED, BodyType.PKICONF): _OVER,
    (Stage.REFUSED, BodyType.ERROR): Step.ACKNOWLEDGE,
    (Stage.CLOSED, BodyType.POLL_REQ): _OVER,
    (Stage.CLOSED, BodyType.CERT_CONF): _OVER,
    (Stage.CLOSED, BodyType.PKICONF): _OVER,
    (Stage.CLOSED, BodyType.ERROR): Step.ACKNOWLEDGE,
}

#: One request, one answer.
_SINGLE: Final = frozenset(
    (
        BodyType.RR,
        BodyType.GENM,
        BodyType.KRR,
        BodyType.NESTED,
        BodyType.CKUANN,
        BodyType.CANN,
        BodyType.RANN,
        BodyType.CRLANN,
    )
)

# Before the final answer was given a decision waits for the client's poll.
_UNDELIVERED: Final = {
    TransactionStatus.PENDING: Stage.WAITING,
    TransactionStatus.ELSEWHERE: Stage.WAITING,
    TransactionStatus.ISSUED: Stage.READY,
    TransactionStatus.DONE: Stage.READY,
    TransactionStatus.REJECTED: Stage.READY,
    TransactionStatus.EXPIRED: Stage.READY,
}
_DELIVERED_STAGE: Final = {
    TransactionStatus.PENDING: Stage.WAITING,
    TransactionStatus.ELSEWHERE: Stage.WAITING,
    TransactionStatus.ISSUED: Stage.DELIVERED,
    TransactionStatus.DONE: Stage.CONFIRMED,
    TransactionStatus.REJECTED: Stage.REFUSED,
    TransactionStatus.EXPIRED: Stage.REFUSED,
}


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that was given, for the same octets again."""

    request_hash: bytes
    octets: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The pair, as the blob has it."""
        return der.sequence(
            der.octet_string(self.request_hash), der.octet_string(self.octets)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """One of several requests of a message; the engine has a transaction of its own.

    :ivar delivered: whether its final answer was given.
    :ivar cert_hash: ``certHash`` that certConf must show; b"" before issuance.
    """

    cert_req_id: int
    delivered: bool = False
    cert_hash: bytes = b""

    def encode(self) -> bytes:
        """The part, as the blob has it."""
        return der.sequence(
            der.integer(self.cert_req_id),
            _BOOLEANS[self.delivered],
            der.octet_string(self.cert_hash),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionState:
    """What a transaction keeps from one message to the next.

    :ivar body_type: of the message that opened it.
    :ivar sender: the client, as it named itself.
    :ivar sender_kid: the reference value, for MAC protection without a request.
    :ivar mac_algorithm: ``protectionAlg`` of MAC protection; None when signed.
    :ivar client_nonces: senderNonces seen, oldest first, a few.
    :ivar our_nonce: senderNonce of our latest answer: the client must return it.
    :ivar implicit: whether the client asked for implicit confirmation.
    :ivar ca_pubs: whether the answer carries caPubs.
    :ivar delivered: whether the final answer was given.
    :ivar cert_hash: ``certHash`` that certConf must show; b"" before issuance.
    :ivar answers: the opening one first, then the latest.
    :ivar parts: of a message with several requests, in their order; () for one.
    :ivar withheld: whether a certificate left encrypted: its certHash is the proof of
        possession, so that only certConf confirms it.
    :ivar elsewhere: what a transaction before another CA keeps besides
        (`pkid.responders.cmp.upstreamstate`).
    :ivar shared: secret that an encapsulation gave, sealed.
    """

    body_type: BodyType
    pvno: int
    sender: GeneralName
    sender_kid: bytes | None = None
    mac_algorithm: AlgorithmIdentifier | None = None
    client_nonces: tuple[bytes, ...] = ()
    our_nonce: bytes = b""
    cert_req_id: int = 0
    implicit: bool = False
    ca_pubs: bool = False
    delivered: bool = False
    cert_hash: bytes = b""
    answers: tuple[KeptAnswer, ...] = ()
    parts: tuple[Part, ...] = ()
    withheld: bool = False
    elsewhere: bytes = field(default=b"", repr=False)
    shared: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The blob."""
        kid, mac = self.sender_kid, self.mac_algorithm
        parts, elsewhere, shared = self.parts, self.elsewhere, self.shared
        return der.sequence(
            _HEADS[self.body_type],
            der.integer(self.pvno),
            self.sender.encode(),
            b"" if kid is None else der.explicit_octets(16, kid),
            b"" if mac is None else der.explicit(17, mac.encode()),
            der.sequence(*map(der.octet_string, self.client_nonces)),
            der.octet_string(self.our_nonce),
            der.integer(self.cert_req_id),
            _BOOLEANS[self.implicit],
            _BOOLEANS[self.ca_pubs],
            _BOOLEANS[self.delivered],
            der.octet_string(self.cert_hash),
            der.sequence(*[kept.encode() for kept in self.answers]),
            b"" if not parts else encode_elements(18, tuple(map(Part.encode, parts))),
            _WITHHELD if self.withheld else b"",
            b"" if not elsewhere else der.explicit_octets(20, elsewhere),
            b"" if not shared else der.explicit_octets(24, shared),
        )

    @classmethod
    def decode(cls, blob: bytes) -> TransactionState:
        """Read a blob.

        :raises PKIError: ``INTERNAL`` when it is none of ours.
        """
        try:
            return _decode_state(blob)
        except (PKIError, ValueError) as error:
            raise PKIError(
                ErrorCode.INTERNAL, "the transaction's state cannot be read"
            ) from error

    def repeated(self, request_hash: bytes) -> bytes | None:
        """The answer given to these very octets before, None for other octets."""
        for kept in self.answers:
            if kept.request_hash == request_hash:
                return kept.octets
        return None

    def check_nonces(self, sender_nonce: bytes, recip_nonce: bytes | None) -> None:
        """Check that a follow-up is fresh and answers our latest message.

        :raises PKIError: ``BAD_SENDER_NONCE``, ``BAD_RECIPIENT_NONCE``.

        **Source:** RFC 9483 section 3.5.
        """
        if sender_nonce in self.client_nonces:
            raise PKIError(
                ErrorCode.BAD_SENDER_NONCE,
                "senderNonce was used before in this transaction",
            )
        if recip_nonce is None or recip_nonce != self.our_nonce:
            raise PKIError(
                ErrorCode.BAD_RECIPIENT_NONCE,
                "recipNonce is not the senderNonce of the latest answer",
            )

    def check_confirms_all(self) -> None:
        """Refuse a confirmation that shows no certHash where that is the proof.

        :raises PKIError: ``BAD_POSSESSION``.

        **Source:** RFC 9810 section 5.2.8.3.2.
        """
        if self.withheld:
            raise PKIError(
                ErrorCode.BAD_POSSESSION,
                "a certificate that was sent encrypted is confirmed by its certHash",
            )

    def after(
        self, request_hash: bytes, client_nonce: bytes, answer: bytes, our_nonce: bytes
    ) -> TransactionState:
        """The state once a follow-up was answered."""
        first, *later = self.answers
        kept = (first, *later, KeptAnswer(request_hash, answer))
        if len(kept) > MAX_KEPT_ANSWERS:
            kept = (first, *kept[1 - MAX_KEPT_ANSWERS :])
        nonces = (*self.client_nonces, client_nonce)[-MAX_KEPT_NONCES:]
        return replace(
            self,
            client_nonces=nonces,
            our_nonce=our_nonce or self.our_nonce,
            answers=kept,
        )


make_state: Final = constructor(TransactionState)


def stage_of(record: TransactionRecord, state: TransactionState) -> Stage:
    """Where a transaction stands."""
    if state.body_type in _SINGLE:
        return Stage.CLOSED
    return stage_of_part(record, delivered=state.delivered)


def stage_of_part(record: TransactionRecord, *, delivered: bool) -> Stage:
    """Where a request stands, alone or one of several.

    :param delivered: whether its final answer was given.
    """
    return (_DELIVERED_STAGE if delivered else _UNDELIVERED)[record.status]


def step_for(stage: Stage, body_type: BodyType) -> Step:
    """What this follow-up does at this stage.

    :raises PKIError: ``BAD_REQUEST`` or ``CERTIFICATE_CONFIRMED`` by the table.
    """
    found = STEPS[stage, body_type]
    if isinstance(found, Step):
        return found
    raise PKIError(*found)


def _decode_state(blob: bytes) -> TransactionState:
    cursor = der.Cursor(der.single(blob, der.SEQUENCE))
    if der.decode_integer(cursor.take(der.INTEGER)) != STATE_VERSION:
        der.malformed("state of another version")
    body_type = BodyType(der.decode_integer(cursor.take(der.INTEGER)))
    pvno = der.decode_integer(cursor.take(der.INTEGER))
    sender = GeneralName.read(cursor)
    kid = cursor.optional(der.constructed(16))
    mac = cursor.optional(der.constructed(17))
    nonces = cursor.enter(der.SEQUENCE)
    client_nonces: list[bytes] = []
    while nonces:
        client_nonces.append(nonces.take(der.OCTET_STRING))
    our_nonce = cursor.take(der.OCTET_STRING)
    cert_req_id = der.decode_integer(cursor.take(der.INTEGER))
    implicit = der.decode_boolean(cursor.take(der.BOOLEAN))
    ca_pubs = der.decode_boolean(cursor.take(der.BOOLEAN))
    delivered = der.decode_boolean(cursor.take(der.BOOLEAN))
    cert_hash = cursor.take(der.OCTET_STRING)
    answers = _decode_answers(cursor.enter(der.SEQUENCE))
    parts = cursor.optional(der.constructed(18))
    withheld = cursor.optional(der.context(19)) is not None
    elsewhere = cursor.optional(der.constructed(20))
    shared = cursor.optional(der.constructed(24))
    cursor.finish()
    return TransactionState(
        body_type=body_type,
        pvno=pvno,
        sender=sender,
        sender_kid=None if kid is None else der.single(kid, der.OCTET_STRING),
        mac_algorithm=None if mac is None else _algorithm(mac),
        client_nonces=tuple(client_nonces),
        our_nonce=our_nonce,
        cert_req_id=cert_req_id,
        implicit=implicit,
        ca_pubs=ca_pubs,
        delivered=delivered,
        cert_hash=cert_hash,
        answers=answers,
        parts=() if parts is None else decode_values(parts, _read_part),
        withheld=withheld,
        elsewhere=(
            b"" if elsewhere is None else der.single(elsewhere, der.OCTET_STRING)
        ),
        shared=b"" if shared is None else der.single(shared, der.OCTET_STRING),
    )


def _read_part(cursor: der.Cursor) -> Part:
    part = cursor.enter(der.SEQUENCE)
    number = der.decode_integer(part.take(der.INTEGER))
    delivered = der.decode_boolean(part.take(der.BOOLEAN))
    return Part(number, delivered, part.take(der.OCTET_STRING))


def _algorithm(element: bytes) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.decode(der.single(element, der.SEQUENCE))


def _decode_answers(cursor: der.Cursor) -> tuple[KeptAnswer, ...]:
    found: list[KeptAnswer] = []
    while cursor:
        pair = cursor.enter(der.SEQUENCE)
        request_hash = pair.take(der.OCTET_STRING)
        found.append(KeptAnswer(request_hash, pair.take(der.OCTET_STRING)))
    return tuple(found)
