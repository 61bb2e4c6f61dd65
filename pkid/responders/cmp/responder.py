"""CMP's semantics: a message in, a message out.

The order of checks is that of RFC 9483 section 3.5: frame, version, protection (and
with it who sends), time, nonces, transaction, and only then the body. Every refusal is
a CMP message, protected as soon as it is known how; HTTP statuses are for HTTP faults.

The dialogue, each side's next message bound to the last by its nonce::

    client                      pkid
    ir, cr, kur, p10cr   ->     authenticated, possession proven, issued, stored
                         <-     ip, cp, kup
    certConf             ->     certificate confirmed, or revoked
                         <-     pkiconf
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from twisted.logger import Logger

from pkid.asn1.constructors import constructor
from pkid.asn1.names import EMPTY, GeneralName
from pkid.engine.aliases import Policies
from pkid.engine.conflicts import look_again
from pkid.engine.model import (
    RequestContext,
    TransactionKey,
    make_request_context,
)
from pkid.engine.ports import Clock, Workers
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.header import CMP2000
from pkid.messages.cmp.message import PKIMessage, recover_ids
from pkid.responders.base import Exchange, Reply
from pkid.responders.cmp import http
from pkid.responders.cmp.aliases import UTC_MESSAGE_TIME, CMPAlias
from pkid.responders.cmp.announcements import (
    ANNOUNCEMENTS,
    Announcements,
    http_status,
)
from pkid.responders.cmp.answers import Answers
from pkid.responders.cmp.challenges import Challenges
from pkid.responders.cmp.crosscertification import CrossCertification
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.enrollment import Enrollment
from pkid.responders.cmp.evidence import Evidence, evidence
from pkid.responders.cmp.followups import FollowUps
from pkid.responders.cmp.general import GeneralMessages
from pkid.responders.cmp.groups import Groups
from pkid.responders.cmp.headers import (
    MAX_NONCE_OCTETS,
    MAX_TRANSACTION_ID_OCTETS,
    answer_version,
    check_sender,
    check_version,
    transaction_id_of,
)
from pkid.responders.cmp.journal import Journal
from pkid.responders.cmp.kembootstrap import KEMBootstrap, asks_for_ciphertext
from pkid.responders.cmp.kemsecrets import KEMSecrets
from pkid.responders.cmp.keydelivery import KeyDelivery
from pkid.responders.cmp.nested import Nested
from pkid.responders.cmp.passphrases import RevocationPassphrases
from pkid.responders.cmp.polling import PollingReply
from pkid.responders.cmp.protection import (
    ANYBODY,
    NOT_PROTECTED,
    ProtectionCheck,
    printable,
    unprotected,
)
from pkid.responders.cmp.recovery import Recovery
from pkid.responders.cmp.requests import (
    PROTOCOL,
    SIGNED,
    Addressing,
    Answered,
    Protection,
    Proven,
    RandomOctets,
    RefusedUnderError,
    Request,
    make_request,
)
from pkid.responders.cmp.revocation import Revocation
from pkid.responders.cmp.screening import Screening, check_header
from pkid.responders.cmp.strict import Stage, enforce
from pkid.responders.cmp.tcppolling import TCPPolling
from pkid.responders.cmp.transactions import TransactionState
from pkid.responders.cmp.upstream import Upstream
from pkid.responders.cmp.upstreamdesk import UpstreamDesk
from pkid.responders.cmp.upstreamrelay import Passing
from pkid.responders.throttle import FailureThrottle

T = TypeVar("T")
RESPONSES: Final = frozenset(
    (
        BodyType.IP,
        BodyType.CP,
        BodyType.POPDECC,
        BodyType.KUP,
        BodyType.KRP,
        BodyType.RP,
        BodyType.CCP,
        BodyType.GENP,
        BodyType.POLL_REP,
    )
)
#: Bodies that are refused for what they are, whatever they hold.
_UNSEEN: Final = RESPONSES
_NOBODY: Final = GeneralName.directory(EMPTY)
_GUESSES: Final = frozenset((ErrorCode.BAD_MESSAGE_CHECK, ErrorCode.SIGNER_NOT_TRUSTED))


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that could be read, not yet verified."""

    alias: CMPAlias
    exchange: Exchange
    message: PKIMessage
    context: RequestContext
    request_hash: bytes
    over_tcp: bool
    #: Whether a registration authority passed it on, inside a message of its own.
    nested: bool = False

    @property
    def addressing(self) -> Addressing:
        """Where the answer goes; what is out of bounds is not echoed."""
        header = self.message.header
        return Addressing(
            pvno=answer_version(header.pvno),
            recipient=_well_formed(header.sender),
            transaction_id=_bounded(header.transaction_id, MAX_TRANSACTION_ID_OCTETS),
            recip_nonce=_bounded(header.sender_nonce, MAX_NONCE_OCTETS),
        )

    @property
    def transaction_id(self) -> bytes | None:
        """The transaction's id, also one made for it; None when out of bounds."""
        if self.message.header.transaction_id is not None:
            return self.addressing.transaction_id
        return transaction_id_of(self.message.header, self.request_hash)


_make_incoming = constructor(Incoming)


class CMPResponder:
    """Answers CMP exchanges of every configured alias.

    :param engine: the certification authority's doors.
    :param aliases: the aliases by name, as configured at this moment.
    :param policies: the engine's policies, as configured at this moment.
    :param workers: takes work that is too dear for the reactor thread.
    :param random: octets from the system's CSPRNG.
    :param upstreams: the CAs elsewhere by name, as configured at this moment.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        aliases: Callable[[], Mapping[str, CMPAlias]],
        *,
        policies: Callable[[], Policies],
        clock: Clock,
        workers: Workers,
        random: RandomOctets = secrets.token_bytes,
        upstreams: Callable[[], Mapping[str, Upstream]] = dict,
    ) -> None:
        self._engine = engine
        self._aliases = aliases
        self._clock = clock
        self._throttle = FailureThrottle(clock)
        self._journal = Journal(self.log, clock)
        self._answers = Answers(engine, clock, random)
        self._kem = KEMSecrets(engine, clock)
        self._bootstrap = KEMBootstrap(engine, self._answers, self._kem)
        self._screening = Screening(engine, self._answers)
        self._protection = ProtectionCheck(engine, workers, random, self._kem)
        self._tcp_polling = TCPPolling(
            engine, self._answers, self._protection, clock, random
        )
        self._elsewhere = UpstreamDesk(engine, self._answers, upstreams, clock, random)
        challenges = Challenges(engine, self._answers, clock, random)
        proofs = evidence(engine, workers, challenges)
        delivery = KeyDelivery(engine, workers, random)
        self._passphrases = RevocationPassphrases(engine, proofs.key_proofs)
        self._nested = Nested(engine, self._answers, clock)
        self._bodies = self._table(proofs, delivery, policies)

    def _table(
        self,
        proofs: Evidence,
        delivery: KeyDelivery,
        policies: Callable[[], Policies],
    ) -> dict[BodyType, Callable[[Request], Awaitable[Answered]]]:
        """Who answers which body."""
        engine, answers, clock = self._engine, self._answers, self._clock
        groups = Groups(engine, answers, clock)
        enrollment = Enrollment(
            engine, answers, self._tcp_polling, groups, proofs, delivery
        )
        follow_ups = FollowUps(engine, answers, clock)
        general = GeneralMessages(engine, answers, clock, policies, self._passphrases)
        return {
            BodyType.IR: enrollment.answer,
            BodyType.CR: enrollment.answer,
            BodyType.P10CR: enrollment.answer,
            BodyType.KUR: enrollment.answer,
            BodyType.POPDECR: enrollment.answer_challenged,
            BodyType.CCR: CrossCertification(answers, enrollment.answer).answer,
            BodyType.RR: Revocation(engine, answers, clock).answer,
            BodyType.GENM: general.answer,
            BodyType.CERT_CONF: follow_ups.answer,
            BodyType.POLL_REQ: follow_ups.answer,
            BodyType.ERROR: follow_ups.answer,
            BodyType.PKICONF: follow_ups.answer,
            # Opened by `_answering`, which says how each message inside is answered.
            BodyType.NESTED: _not_supported,
            **dict.fromkeys(ANNOUNCEMENTS, Announcements(engine, clock).answer),
            **dict.fromkeys(RESPONSES, _never_a_request),
            BodyType.KRR: Recovery(engine, answers, clock, delivery).answer,
        }

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one exchange; never raises for anything a client can send."""
        alias = self._aliases().get(exchange.alias)
        if alias is None:
            # On TCP a body would pass for a message: nothing is said there.
            spoken = http.plain(404, "there is no such CMP alias")
            return spoken if exchange.transport == http.TRANSPORT else Reply()
        if exchange.transport == http.TRANSPORT:
            refused = http.refuse_http(exchange)
            if refused is not None:
                return refused
        carried = http.carried(exchange)
        result = await self._caught(self._answered(alias, exchange, carried), alias)
        if isinstance(result, PKIError):
            # No answer could be made or signed: words of CMP are out of reach.
            return Reply(status=503, content_type="text/plain")
        answered, status = result
        if carried.record is not None:
            return http.record_reply(answered, carried.record)
        if answered.ticket is not None:
            ticket = answered.ticket
            return PollingReply(reference=ticket.reference, check_at=ticket.check_at)
        return http.message_reply(answered.octets, status)

    async def advance_elsewhere(self) -> int:
        """Ask CAs elsewhere again for what waits for them; how much was looked at."""
        return await self._elsewhere.advance(self._aliases())

    async def _caught(self, work: Awaitable[T], alias: CMPAlias) -> T | PKIError:
        """What the work gives, or why it does not: here surprises end."""
        try:
            return await work
        except PKIError as error:
            if error.code is ErrorCode.INTERNAL:
                self.log.failure("cmp {alias}: internal error", alias=alias.name)
            return error
        except Exception:  # noqa: BLE001  the one place; logged with its traceback
            self.log.failure("cmp {alias}: internal error", alias=alias.name)
            return PKIError(ErrorCode.INTERNAL, "internal error")

    async def _answered(
        self, alias: CMPAlias, exchange: Exchange, carried: http.Carried
    ) -> tuple[Answered, int]:
        """The answer to whatever is carried, and its HTTP status."""
        if carried.polls:
            return await self._tcp_polling.answer(alias, carried.octets), 200
        return await self._answer_message(alias, exchange, carried)

    async def _answer_message(
        self, alias: CMPAlias, exchange: Exchange, carried: http.Carried
    ) -> tuple[Answered, int]:
        """The answer to a message, and its HTTP status."""
        try:
            message = _decode(carried.octets, alias)
        except PKIError as error:
            answered = await self._unreadable(alias, carried.octets, error)
            self._journal.unreadable(alias, exchange, answered)
            return answered, 400
        incoming = _make_incoming(
            alias,
            exchange,
            message,
            _context(exchange),
            hashlib.sha256(carried.octets).digest(),
            carried.over_tcp,
        )
        answered = await (
            self._answer_incoming(incoming)
            if alias.verifies
            else self._relayed(incoming)
        )
        self._journal.answered(alias, exchange, message, answered)
        if message.body_type in ANNOUNCEMENTS:
            return replace(answered, octets=b""), http_status(answered)
        return answered, 200

    async def _unreadable(
        self, alias: CMPAlias, octets: bytes, error: PKIError
    ) -> Answered:
        """badDataFormat, naming the transaction where it can still be made out."""
        transaction_id, nonce = recover_ids(octets)
        addressing = Addressing(
            pvno=CMP2000,
            recipient=_NOBODY,
            transaction_id=_bounded(transaction_id, MAX_TRANSACTION_ID_OCTETS),
            recip_nonce=_bounded(nonce, MAX_NONCE_OCTETS),
        )
        return await self._answers.refuse(alias, addressing, SIGNED, error)

    async def _answer_incoming(self, incoming: Incoming) -> Answered:
        """The answer to a readable message: what it asks for, or a refusal."""
        alias = incoming.alias
        proven = await self._caught(self._prove(incoming), alias)
        if isinstance(proven, Answered):
            return proven
        if isinstance(proven, PKIError):
            protection: Protection = SIGNED
            if isinstance(proven, RefusedUnderError):
                protection = proven.protection
            return await self._answers.refuse(
                alias, incoming.addressing, protection, proven
            )
        answered = await self._caught(self._answer_proven(incoming, proven), alias)
        if isinstance(answered, PKIError):
            if proven.requester is ANYBODY and answered.code in _GUESSES:
                # The password of a request that nothing protects is a guess too.
                self._throttle.count(incoming.exchange.peer)
            addressing = replace(
                incoming.addressing, transaction_id=incoming.transaction_id
            )
            return await self._answers.refuse(
                alias, addressing, proven.protection, answered
            )
        return answered

    async def _answer_proven(self, incoming: Incoming, proven: Proven) -> Answered:
        request = self._request(incoming, proven)
        body_type = request.message.body_type
        if body_type is None:
            raise PKIError(ErrorCode.BAD_REQUEST, "unknown body type")
        http.check_operation(incoming.exchange.operation, body_type)
        await self._passphrases.keep_header(request)
        if body_type not in _UNSEEN:
            unfit = await self._screening.screen(request)
            if unfit is not None:
                return unfit
        answer = self._answering(incoming, body_type)
        if asks_for_ciphertext(request):
            answer = self._bootstrap.answer
        elif proven.requester is ANYBODY and not (
            request.alias.takes_unprotected(body_type)
        ):
            raise unprotected()
        try:
            return await look_again(lambda: answer(request))
        except PKIError as error:
            if error.code is not ErrorCode.WRONG_AUTHORITY:
                raise
            raise await self._screening.change_of_kind(request, error) from error

    def _answering(
        self, incoming: Incoming, body_type: BodyType
    ) -> Callable[[Request], Awaitable[Answered]]:
        """What answers a body here, or asks a CA elsewhere."""
        if body_type is BodyType.NESTED:
            inner = partial(self._answer_inner, incoming)
            return partial(self._nested.answer, answer_inner=inner)
        if incoming.alias.alias.upstream:
            return self._elsewhere.answer
        return self._bodies[body_type]

    async def _relayed(self, incoming: Incoming) -> Answered:
        """The answer to a message that passes on to a CA elsewhere."""
        alias = incoming.alias
        answered = await self._caught(self._pass_on(incoming), alias)
        if isinstance(answered, PKIError):
            return await self._answers.refuse(
                alias, incoming.addressing, SIGNED, answered
            )
        return answered

    async def _pass_on(self, incoming: Incoming) -> Answered:
        return await self._elsewhere.pass_on(_passing(incoming))

    async def _answer_inner(self, outer: Incoming, message: PKIMessage) -> Answered:
        """The answer to a message inside another: as if it had come alone."""
        inner = _make_incoming(
            outer.alias,
            # The path was that of the outer message.
            replace(outer.exchange, operation=""),
            message,
            outer.context,
            hashlib.sha256(message.der).digest(),
            over_tcp=False,
            nested=True,
        )
        answered = await self._answer_incoming(inner)
        self._journal.answered(outer.alias, outer.exchange, message, answered)
        return answered

    # --- who asks ----------------------------------------------------------------

    async def _prove(self, incoming: Incoming) -> Proven | Answered:
        """Who sent the message; or the answer that these very octets got before.

        :raises PKIError: when nobody did that we know, or may.
        """
        peer = incoming.exchange.peer
        header = incoming.message.header
        check_version(header.pvno)
        check_sender(header.sender)
        enforce(incoming.alias, Stage.PRESENCE, incoming.message)
        if not incoming.nested:
            # One device with a wrong secret must not silence all behind its RA.
            self._throttle.check(peer)
        try:
            proven = await self._protection.verify(
                incoming.alias, incoming.message, incoming.context
            )
            if not proven.usable:
                await self._check_own_transaction(incoming, proven)
            if incoming.alias.kem:
                proven = await self._kem.answering(
                    incoming.alias, incoming.message, proven, incoming.request_hash
                )
        except PKIError as error:
            if error.code in _GUESSES and not incoming.nested:
                self._throttle.count(peer)
            if error.code is ErrorCode.CERTIFICATE_REVOKED:
                # The request itself may have ended the certificate's life.
                repeat = await self._find_repeat(incoming)
                if repeat is not None:
                    return repeat
            raise
        return proven

    async def _check_own_transaction(self, incoming: Incoming, proven: Proven) -> None:
        """A secret that is used up still guards what it opened, and nothing else.

        :raises PKIError: ``BAD_MESSAGE_CHECK``, as for a wrong secret.
        """
        header = incoming.message.header
        key = TransactionKey(
            PROTOCOL,
            incoming.alias.name,
            proven.requester.identity,
            transaction_id_of(header, incoming.request_hash),
        )
        if await self._engine.find_transaction(key) is not None:
            return
        error = PKIError(
            ErrorCode.BAD_MESSAGE_CHECK, NOT_PROTECTED, hint=proven.hint or None
        )
        await self._protection.report(
            incoming.alias,
            incoming.context,
            header,
            error,
            printable(proven.requester.identity),
        )
        raise error

    async def _find_repeat(self, incoming: Incoming) -> Answered | None:
        """The answer given to these very octets, when they were last accepted."""
        transaction_id = incoming.message.header.transaction_id
        if transaction_id is None:
            return None
        for record in await self._engine.find_transactions_by_id(
            PROTOCOL, incoming.alias.name, transaction_id
        ):
            octets = TransactionState.decode(record.state).repeated(
                incoming.request_hash
            )
            if octets is not None:
                return Answered(octets=octets, repeated=True)
        return None

    def _request(self, incoming: Incoming, proven: Proven) -> Request:
        """The verified request, its time and nonce checked.

        :raises PKIError: as `check_header`.
        """
        alias, message = incoming.alias, incoming.message
        sender_nonce, transaction_id = check_header(
            alias, message, incoming.request_hash, self._clock.now()
        )
        return make_request(
            alias=alias,
            message=message,
            request_hash=incoming.request_hash,
            context=incoming.context,
            proven=proven,
            sender_nonce=sender_nonce,
            transaction_id=transaction_id,
            over_tcp=incoming.over_tcp,
        )


def _passing(incoming: Incoming) -> Passing:
    header = incoming.message.header
    return Passing(
        alias=incoming.alias,
        message=incoming.message,
        request_hash=incoming.request_hash,
        transaction_id=transaction_id_of(header, incoming.request_hash),
        addressing=incoming.addressing,
        context=incoming.context,
    )


async def _never_a_request(request: Request) -> Answered:
    raise PKIError(
        ErrorCode.BAD_REQUEST, f"{_body_name(request)} is an answer, not a request"
    )


async def _not_supported(request: Request) -> Answered:
    raise PKIError(
        ErrorCode.BAD_REQUEST, f"{_body_name(request)} is not supported here yet"
    )


def _body_name(request: Request) -> str:
    body_type = request.message.body_type
    return "the body" if body_type is None else body_type.name.lower()


def _decode(octets: bytes, alias: CMPAlias) -> PKIMessage:
    """A message, or the same with a deviation that the alias lets pass.

    :raises PKIError: ``MALFORMED``.
    """
    try:
        return PKIMessage.decode(octets)
    except PKIError:
        if UTC_MESSAGE_TIME not in alias.quirks:
            raise
    return PKIMessage.decode(octets, utc_time=True)


def _context(exchange: Exchange) -> RequestContext:
    peer = exchange.peer
    return make_request_context(
        protocol=PROTOCOL,
        transport=exchange.transport,
        peer=peer.address,
        beyond_loopback=peer.beyond_loopback,
    )


def _well_formed(sender: GeneralName) -> GeneralName:
    """The sender, fit to be our recipient; nobody when it is a broken name."""
    try:
        check_sender(sender)
    except PKIError:
        return _NOBODY
    return sender


def _bounded(octets: bytes | None, limit: int) -> bytes | None:
    return octets if octets is not None and len(octets) <= limit else None
