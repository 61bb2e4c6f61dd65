"""What a transaction before another CA keeps from one message to the next.

Versioned blobs of DER in the engine's transaction row, changed by compare-and-swap
only, so that another process, or this one after a restart, goes on with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from pkid.asn1 import der
from pkid.asn1.names import GeneralName, Name
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.responders.cmp.transactions import KeptAnswer, TransactionState

RELAY_VERSION: Final = 101
HANDED_VERSION: Final = 102
MAX_KEPT_ANSWERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """A transaction of which only whole messages are seen.

    :ivar answers: what was answered to which octets, oldest first.
    :ivar held: the message that waits for the CA; b"" when none does.
    :ivar arrived: the CA's answer to it, until its device asks; b"" when none did.
    :ivar cert_req_id: of what is held.
    :ivar our_nonce: senderNonce of the last answer that we made ourselves.
    """

    answers: tuple[KeptAnswer, ...] = ()
    held: bytes = field(default=b"", repr=False)
    arrived: bytes = field(default=b"", repr=False)
    cert_req_id: int = 0
    our_nonce: bytes = b""

    def encode(self) -> bytes:
        """The blob."""
        return der.sequence(
            der.integer(RELAY_VERSION),
            der.sequence(*[kept.encode() for kept in self.answers]),
            der.octet_string(self.held),
            der.octet_string(self.arrived),
            der.integer(self.cert_req_id),
            der.octet_string(self.our_nonce),
        )

    @classmethod
    def decode(cls, blob: bytes) -> RelayState:
        """Read a blob.

        :raises PKIError: ``INTERNAL`` when it is none of ours.
        """
        try:
            cursor = _opened(blob, RELAY_VERSION)
            return cls(
                answers=_answers(cursor.enter(der.SEQUENCE)),
                held=cursor.take(der.OCTET_STRING),
                arrived=cursor.take(der.OCTET_STRING),
                cert_req_id=der.decode_integer(cursor.take(der.INTEGER)),
                our_nonce=cursor.take(der.OCTET_STRING),
            )
        except PKIError as error:
            raise _unreadable() from error

    def repeated(self, request_hash: bytes) -> bytes | None:
        """The answer given to these very octets before, None for other octets."""
        return _found(self.answers, request_hash)

    def answered(self, request_hash: bytes, octets: bytes) -> RelayState:
        """The state with one more answer."""
        return replace(self, answers=_kept(self.answers, request_hash, octets))


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedState:
    """A transaction with two sides, each with protection and nonces of its own.

    :ivar device: the device's side.
    :ivar original: the message that opened it, as the device sent it; b"" once it is
        not needed any more.
    :ivar asked: our message that waits for the CA's answer; b"" when none does.
    :ivar arrived: the CA's last word, until its device asks for it; b"" when it did.
    :ivar their_nonce: senderNonce of the CA's latest answer.
    :ivar follows: body type of the device's message that ``asked`` stands for.
    :ivar subject: what the certificate is to say, by policy here.
    :ivar names: its alternative names.
    :ivar entity, profile: names, for the record of the certificate.
    :ivar certificate: DER of what was issued; b"" before.
    :ivar renewed: DER of the certificate that a kur is about.
    """

    device: TransactionState
    original: bytes = field(default=b"", repr=False)
    asked: bytes = field(default=b"", repr=False)
    arrived: bytes = field(default=b"", repr=False)
    their_nonce: bytes = b""
    follows: BodyType
    subject: Name | None = None
    names: tuple[GeneralName, ...] = ()
    entity: str = ""
    profile: str = ""
    certificate: bytes = field(default=b"", repr=False)
    renewed: bytes = field(default=b"", repr=False)

    @property
    def waits(self) -> bool:
        """Whether the device has still to hear what became of its last message."""
        return bool(self.asked or self.arrived or self.original)

    def encode(self) -> bytes:
        """The blob: that of any transaction, with more in it."""
        more = der.sequence(
            der.integer(HANDED_VERSION),
            der.octet_string(self.original),
            der.octet_string(self.asked),
            der.octet_string(self.arrived),
            der.octet_string(self.their_nonce),
            der.integer(self.follows),
            der.sequence(b"" if self.subject is None else self.subject.der),
            der.sequence(*[name.encode() for name in self.names]),
            der.utf8_string(self.entity),
            der.utf8_string(self.profile),
            der.octet_string(self.certificate),
            der.octet_string(self.renewed),
        )
        return replace(self.device, elsewhere=more).encode()

    @classmethod
    def decode(cls, blob: bytes) -> HandedState:
        """Read a blob.

        :raises PKIError: ``INTERNAL`` when it is none of ours.
        """
        try:
            return _decode_handed(blob)
        except (PKIError, ValueError) as error:
            raise _unreadable() from error


def _decode_handed(blob: bytes) -> HandedState:
    device = TransactionState.decode(blob)
    cursor = _opened(device.elsewhere, HANDED_VERSION)
    original = cursor.take(der.OCTET_STRING)
    asked = cursor.take(der.OCTET_STRING)
    arrived = cursor.take(der.OCTET_STRING)
    their_nonce = cursor.take(der.OCTET_STRING)
    follows = BodyType(der.decode_integer(cursor.take(der.INTEGER)))
    subject = cursor.take(der.SEQUENCE)
    listed = cursor.enter(der.SEQUENCE)
    names: list[GeneralName] = []
    while listed:
        names.append(GeneralName.read(listed))
    return HandedState(
        device=device,
        original=original,
        asked=asked,
        arrived=arrived,
        their_nonce=their_nonce,
        follows=follows,
        subject=Name.decode(subject) if subject else None,
        names=tuple(names),
        entity=der.decode_utf8(cursor.take(der.UTF8_STRING)),
        profile=der.decode_utf8(cursor.take(der.UTF8_STRING)),
        certificate=cursor.take(der.OCTET_STRING),
        renewed=cursor.take(der.OCTET_STRING),
    )


def _opened(blob: bytes, version: int) -> der.Cursor:
    cursor = der.Cursor(der.single(blob, der.SEQUENCE))
    if der.decode_integer(cursor.take(der.INTEGER)) != version:
        der.malformed("state of another version")
    return cursor


def _answers(cursor: der.Cursor) -> tuple[KeptAnswer, ...]:
    found: list[KeptAnswer] = []
    while cursor:
        pair = cursor.enter(der.SEQUENCE)
        request_hash = pair.take(der.OCTET_STRING)
        found.append(KeptAnswer(request_hash, pair.take(der.OCTET_STRING)))
    return tuple(found)


def _found(answers: tuple[KeptAnswer, ...], request_hash: bytes) -> bytes | None:
    for kept in answers:
        if kept.request_hash == request_hash:
            return kept.octets
    return None


def _kept(
    answers: tuple[KeptAnswer, ...], request_hash: bytes, octets: bytes
) -> tuple[KeptAnswer, ...]:
    """The opening answer and the latest few."""
    kept = (*answers, KeptAnswer(request_hash, octets))
    return kept if len(kept) <= MAX_KEPT_ANSWERS else (kept[0], *kept[2:])


def _unreadable() -> PKIError:
    return PKIError(ErrorCode.INTERNAL, "the transaction's state cannot be read")
