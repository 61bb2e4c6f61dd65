"""nested: messages that a registration authority passes on under its own protection.

With one message inside, the outer one adds protection: what it holds is answered as if
it had come alone, and the answer goes back as it is. With several it is a batch: each
is answered by itself, in order, and the answers go back nested. Each inner message is
checked in full: the outer protection says who passed it on, never who sent it.

The dialogue::

    end entity     registration authority               pkid
    ir      ->     nested { ir }                   ->   both protections checked
            <-                                     <-   ip, protected for the end entity
    ir, kur ->     nested { ir, kur }              ->   three protections checked
            <-                                     <-   nested { ip, kup }

**Source:** RFC 9810 section 5.1.3.5; RFC 9483 section 5.2.2.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pkid.engine.model import RequesterKind
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.nested import NestedMessageContent
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers, Draft
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import NOT_PROTECTED
from pkid.responders.cmp.requests import Answered, MACProtection, Request
from pkid.responders.cmp.singles import find_repeat, finished_record

#: Answers one inner message in full.
AnswerInner = Callable[[PKIMessage], Awaitable[Answered]]

_BROKEN: Final = "a message inside is broken or not protected"


class Nested:
    """Answers nested messages."""

    def __init__(self, engine: Engine, answers: Answers, clock: Clock) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock

    async def answer(self, request: Request, answer_inner: AnswerInner) -> Answered:
        """Answer a nested message.

        :param answer_inner: answers what is inside as if it had come alone.
        :raises PKIError: ``WRONG_INTEGRITY`` for a MAC outside, ``NOT_AUTHORIZED``,
            ``BAD_REQUEST`` and ``BAD_SENDER_NONCE`` when the headers do not agree,
            ``TRANSACTION_IN_USE``, ``BAD_MESSAGE_CHECK`` for an inner message that is
            broken or not protected.
        """
        _check_authority(request)
        body = decode_body(request.message)
        if not isinstance(body, NestedMessageContent):
            raise PKIError(ErrorCode.INTERNAL, "not a nested message")
        inner = _read_all(body.messages, request.alias)
        if len(inner) == 1:
            _check_same_header(request, inner[0])
            return await answer_inner(inner[0])
        return await self._answer_batch(request, inner, answer_inner)

    async def _answer_batch(
        self, request: Request, inner: Sequence[PKIMessage], answer_inner: AnswerInner
    ) -> Answered:
        """Answer each, in order; every one has its own transaction."""
        repeat = await find_repeat(self._engine, request)
        if repeat is not None:
            return repeat
        _check_different(request, inner)
        answered = [await answer_inner(message) for message in inner]
        # An RFC 2510 client's pkiconf is answered by silence, here too.
        octets = tuple(one.octets for one in answered if one.octets)
        if not octets:
            return Answered(octets=b"")
        draft = Draft(body_type=BodyType.NESTED, body=NestedMessageContent(octets))
        sealed = await self._answers.answer(request, draft)
        row = finished_record(request, BodyType.NESTED, sealed, self._clock.now())
        await self._engine.begin(row)
        return Answered(
            octets=sealed.octets,
            serial=",".join(one.serial for one in answered if one.serial),
            cause="; ".join(one.cause for one in answered if one.cause),
        )


def _check_authority(request: Request) -> None:
    """Only a registration authority passes on, and it signs.

    **Source:** RFC 9483 section 5.2.2.1.
    """
    if isinstance(request.proven.protection, MACProtection) or request.proven.secret:
        raise PKIError(ErrorCode.WRONG_INTEGRITY, "a nested message is signed outside")
    if request.requester.kind is not RequesterKind.REGISTRATION_AUTHORITY:
        raise PKIError(
            ErrorCode.NOT_AUTHORIZED,
            "only a registration authority passes messages on",
            hint=f"registration_authorities of alias {request.alias.name}",
        )


def _read_all(messages: Sequence[bytes], alias: CMPAlias) -> list[PKIMessage]:
    """Read the frames of all before the first is answered.

    **Source:** RFC 9483 section 3.6.3.
    """
    try:
        inner = [PKIMessage.decode(octets) for octets in messages]
    except PKIError as error:
        raise PKIError(
            ErrorCode.BAD_MESSAGE_CHECK,
            NOT_PROTECTED,
            hint=f"{_BROKEN}: {error.detail}",
        ) from error
    if not alias.unprotected_requests and any(
        message.protection is None for message in inner
    ):
        raise PKIError(ErrorCode.BAD_MESSAGE_CHECK, NOT_PROTECTED, hint=_BROKEN)
    return inner


def _check_same_header(request: Request, inner: PKIMessage) -> None:
    """Added protection keeps the transaction and the nonce of what it protects.

    **Source:** RFC 9483 section 5.2.2.1.
    """
    if request.header.transaction_id != inner.header.transaction_id:
        raise PKIError(
            ErrorCode.BAD_REQUEST, "transactionID is not that of the message inside"
        )
    if request.header.sender_nonce != inner.header.sender_nonce:
        raise PKIError(
            ErrorCode.BAD_SENDER_NONCE,
            "senderNonce is not that of the message inside",
        )


def _check_different(request: Request, inner: Sequence[PKIMessage]) -> None:
    """In a batch every message, the outer one too, has its own id and nonce.

    **Source:** RFC 9483 section 5.2.2.2.
    """
    headers = (request.header, *(message.header for message in inner))
    ids = [one.transaction_id for one in headers if one.transaction_id is not None]
    if len(set(ids)) != len(ids):
        raise PKIError(
            ErrorCode.TRANSACTION_IN_USE, "two messages have the same transactionID"
        )
    nonces = [one.sender_nonce for one in headers if one.sender_nonce is not None]
    if len(set(nonces)) != len(nonces):
        raise PKIError(
            ErrorCode.BAD_SENDER_NONCE, "two messages have the same senderNonce"
        )
