"""Re-protection: devices are verified here, another CA decides, each side is ours.

A transaction has two sides. The device's has its own protection and nonces, as with any
CA; toward the CA we sign with our certificate as registration authority, keep the
device's transactionID and senderNonce, and draw nonces of our own where we speak for
ourselves (pollReq)::

    device                    pkid                              CA
    ir              ->        verified, possession checked, policy, approval
                              ir (signed by us)        ->
                              ip                       <-
                    <-  ip                                      or, while it is away:
                    <-  ip waiting
    pollReq         ->        ir again, or pollReq     ->
                    <-  ip                             <-       ip
    certConf        ->        certConf                 ->
                    <-  pkiconf                        <-       pkiconf

Whatever is sent is stored before; what comes is stored before it is told. So a restart
at any point loses nothing, and the same message again gets the same answer.

**Source:** RFC 9810 sections 5.1.1, 5.2.8.1, 5.3.17, 5.3.18, 5.3.21 and 5.3.22; RFC
9483 sections 4.4 and 5.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeGuard

from pkid.asn1 import oids
from pkid.asn1.names import Name
from pkid.crypto.certificates import Certificate
from pkid.engine.elsewhere import Progress
from pkid.engine.handingon import HandedOn
from pkid.engine.model import (
    CertificateReference,
    EnrollmentRequest,
    Outcome,
    RequesterKind,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertReqMessages,
    PKIConfirmContent,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.revocation import RevReqContent
from pkid.messages.cmp.status import PKIStatus
from pkid.messages.crmf import CertId
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.answers import Answers, Draft, Sealed
from pkid.responders.cmp.certification import opening_state, refusal
from pkid.responders.cmp.challenges import Challenges, Proofs, asks_for_challenge
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.failures import OF_THE_EXCHANGE
from pkid.responders.cmp.headers import NO_WISHES, read_wishes
from pkid.responders.cmp.protection import read_certificate
from pkid.responders.cmp.requests import (
    Answered,
    MACProtection,
    RandomOctets,
    Request,
)
from pkid.responders.cmp.templates import (
    Wanted,
    wanted_by_crmf,
    wanted_by_pkcs10,
)
from pkid.responders.cmp.transactions import TransactionState
from pkid.responders.cmp.upstream import CERTIFICATE_ANSWERS, Upstream, upstream_of
from pkid.responders.cmp.upstreamanswers import (
    WHOLE_MESSAGE,
    answered,
    check_poll,
    check_same_mac,
    ended,
    issuer_asked,
    of_answer,
    refused,
    request_id,
    unknown,
    waiting,
)
from pkid.responders.cmp.upstreamrelay import check_room
from pkid.responders.cmp.upstreamseal import body_of, reprotect
from pkid.responders.cmp.upstreamstate import HandedState
from pkid.responders.cmp.upstreamturns import Turn, Turns

WAITING_TEXT: Final = "waiting for the certification authority"

_QUESTIONS: Final = frozenset((BodyType.RR, BodyType.GENM))
_PKICONF: Final = Draft(body_type=BodyType.PKICONF, body=PKIConfirmContent())


class RegistrationAuthority:
    """Answers devices in the name of a CA elsewhere.

    :param upstreams: the CAs elsewhere by name, as configured at this moment.
    """

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        upstreams: Callable[[], Mapping[str, Upstream]],
        clock: Clock,
        random: RandomOctets,
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._upstreams = upstreams
        self._clock = clock
        self._turns = Turns(engine, upstreams, clock, random)
        self._challenges = Challenges(engine, answers, clock, random)

    async def answer(self, request: Request) -> Answered:
        """Answer a verified request of a device.

        :raises PKIError: for refusals that are answered by an error message;
            `WriteConflict` when the transaction changed meanwhile.
        """
        record = await self._engine.find_transaction(request.key)
        body_type = request.message.body_type
        if record is None:
            if body_type in CERTIFICATE_ANSWERS:
                return await self._open(request, {})
            if body_type in _QUESTIONS:
                return await self._ask(request)
            if body_type is BodyType.POPDECR:
                return await self._challenges.answer(request, self._open)
            raise PKIError(ErrorCode.BAD_REQUEST, unknown(body_type))
        state = HandedState.decode(record.state)
        octets = state.device.repeated(request.request_hash)
        if octets is not None:
            return Answered(octets=octets, repeated=True)
        if body_type in CERTIFICATE_ANSWERS or body_type in _QUESTIONS:
            if record.request_hash != request.request_hash:
                raise PKIError(
                    ErrorCode.TRANSACTION_IN_USE,
                    "another request has used this transaction id",
                )
            # Its answer was never told: we were stopped between asking and telling.
            return await self._go_on(request, record, state)
        check_same_mac(request, state.device)
        state.device.check_nonces(request.sender_nonce, request.header.recip_nonce)
        return await self._follow(request, record, state)

    async def advance(self, alias: CMPAlias, record: TransactionRecord) -> None:
        """Ask the CA again in a transaction that is due.

        :raises PKIError: `WriteConflict` when its device came at the same moment.
        """
        turn = await self._turns.take(alias, record, HandedState.decode(record.state))
        progress = replace(turn.progress, state=turn.state.encode())
        await self._engine.elsewhere.proceed(turn.record, progress)

    # --- certificates ------------------------------------------------------------

    async def _open(self, request: Request, proofs: Proofs) -> Answered:
        """A request for a certificate: down the path, then to the CA.

        :param proofs: of possession, where a challenge of ours gave them.
        """
        wishes = read_wishes(request.header)
        body = decode_body(request.message)
        number = request_id(body)
        device = opening_state(request, number, wishes)
        try:
            if not proofs and _asks_for_challenge(body):
                return await self._challenges.open(request, body.messages)
            return await self._hand_on(request, body, device, proofs)
        except PKIError as error:
            if error.code in OF_THE_EXCHANGE:
                raise
            draft = refusal(device.body_type, (number,), error)
            sealed = await self._answers.answer(request, draft)
            return Answered.refused(sealed.octets, error)

    async def _hand_on(
        self, request: Request, body: Body, device: TransactionState, proofs: Proofs
    ) -> Answered:
        upstream = self._upstream(request.alias)
        await check_room(self._engine, upstream)
        wanted = self._wanted(request, body, proofs)
        renews = await self._renews(request, body)
        old = b"" if renews is None else await self._engine.certificate_der(renews)
        made: list[Answered] = []

        async def encode_state(outcome: Outcome) -> bytes:
            if not isinstance(outcome, HandedOn):
                raise PKIError(ErrorCode.INTERNAL, "nothing was handed on")
            state = HandedState(
                device=device,
                original=request.message.der,
                follows=device.body_type,
                subject=outcome.subject,
                names=outcome.alternative_names,
                entity=outcome.entity,
                profile=outcome.profile,
                renewed=old,
            )
            if not outcome.request_id:
                asked = await self._turns.sealed_opening(request.alias, upstream, state)
                return replace(state, asked=asked, original=b"").encode()
            reason, after = outcome.reason, outcome.retry_after
            draft = waiting(request.message.body_type, state, reason, after)
            sealed = await self._answers.answer(request, draft)
            made.append(Answered(octets=sealed.octets, status=PKIStatus.WAITING))
            return replace(state, device=answered(request, device, sealed)).encode()

        enrollment = EnrollmentRequest(
            alias=request.alias.name,
            context=request.context,
            requester=request.requester,
            requested=wanted.certificate,
            possession=wanted.possession,
            transaction=request.key,
            request_hash=request.request_hash,
            profile=read_wishes(request.header).profile,
            renews=renews,
        )
        await self._engine.elsewhere.hand_on(enrollment, encode_state)
        if made:
            return made[0]
        record = await self._engine.find_transaction(request.key)
        if record is None:
            raise PKIError(ErrorCode.INTERNAL, "a transaction without its row")
        return await self._go_on(request, record, HandedState.decode(record.state))

    def _wanted(self, request: Request, body: Body, proofs: Proofs) -> Wanted:
        if isinstance(body, CertificationRequest):
            return wanted_by_pkcs10(body)
        if not isinstance(body, CertReqMessages):
            raise PKIError(ErrorCode.INTERNAL, "a body that asks for no certificate")
        if len(body.messages) != 1:
            raise PKIError(
                ErrorCode.BAD_REQUEST,
                "one certificate is asked for per message: send each request by itself",
            )
        message = body.messages[0]
        if request.requester.kind is RequesterKind.VENDOR and (
            request.message.body_type is not BodyType.IR
        ):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED, "a certificate of another PKI asks by ir only"
            )
        # Which name the CA issues under is its own business, and it will say.
        proven = proofs.get(message.cert_req.cert_req_id)
        return wanted_by_crmf(message, request, issuer_asked(message), proven)

    async def _renews(
        self, request: Request, body: Body
    ) -> CertificateReference | None:
        """The certificate that a kur updates: the one that protects it.

        :raises PKIError: ``WRONG_INTEGRITY``, ``NOT_AUTHORIZED``,
            ``BAD_CERTIFICATE_ID``.
        """
        if request.message.body_type is not BodyType.KUR:
            return None
        if isinstance(request.proven.protection, MACProtection):
            raise PKIError(
                ErrorCode.WRONG_INTEGRITY,
                "a key update request is signed with the certificate to be updated",
            )
        requester = request.requester
        reference, octets = requester.certificate, requester.certificate_der
        if reference is None or octets is None:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED,
                "only certificates that were got here are updated here",
            )
        control = None
        if isinstance(body, CertReqMessages):
            control = body.messages[0].cert_req.control(oids.ID_REG_CTRL_OLD_CERT_ID)
        if control is not None:
            old, signer = CertId.decode(control), read_certificate(octets)
            issuer = old.issuer.directory_name
            same_issuer = issuer is not None and issuer.matches(signer.issuer)
            if not same_issuer or old.serial_number != signer.serial:
                raise PKIError(
                    ErrorCode.BAD_CERTIFICATE_ID,
                    "oldCertID is not the certificate that protects the request",
                )
        return reference

    # --- revocation and questions ------------------------------------------------

    async def _ask(self, request: Request) -> Answered:
        """Revocation or a question: one message, one answer, which the CA gives."""
        upstream = self._upstream(request.alias)
        await check_room(self._engine, upstream)
        content = decode_body(request.message)
        subject: CertificateReference | None = None
        if isinstance(content, RevReqContent):
            subject = await self._revocable(request, content)
        device = replace(
            opening_state(request, WHOLE_MESSAGE, NO_WISHES), ca_pubs=False
        )
        asked = await reprotect(
            self._engine.message_identity(request.alias.alias.authority),
            request.message,
            body_of(request.message),
            self._clock.now(),
            recip_nonce=None,
            original=upstream.original,
        )
        state = HandedState(device=device, asked=asked, follows=device.body_type)
        now = self._clock.now()
        record = TransactionRecord(
            key=request.key,
            request_hash=request.request_hash,
            status=TransactionStatus.ELSEWHERE,
            created=now,
            due=now,
            certificate=subject,
            state=state.encode(),
        )
        await self._engine.elsewhere.begin(record, request.context)
        return await self._go_on(request, record, state)

    async def _revocable(
        self, request: Request, content: RevReqContent
    ) -> CertificateReference:
        """The certificate to be revoked, which must be the requester's.

        To the CA it is we who ask, and we may for any: so it is checked here.

        :raises PKIError: ``BAD_REQUEST``, ``BAD_CERTIFICATE_ID``, ``NOT_AUTHORIZED``.
        """
        if len(content.details) != 1:
            raise PKIError(
                ErrorCode.BAD_REQUEST, "one certificate is revoked at a time"
            )
        template = content.details[0].cert_details
        if template.issuer is None or template.serial_number is None:
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "issuer and serialNumber are required"
            )
        authority = request.alias.alias.authority
        reference = CertificateReference(authority, template.serial_number)
        found = await self._engine.find_certificate(reference)
        if found is None:
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "no such certificate was got here"
            )
        octets = await self._engine.certificate_der(reference)
        if not Certificate.decode(octets).issuer.matches(Name.decode(template.issuer)):
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "no such certificate was got here"
            )
        requester = request.requester
        if (
            requester.kind is not RequesterKind.REGISTRATION_AUTHORITY
            and requester.certificate != reference
            and requester.identity != found.requester
        ):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED, "this certificate is another requester's"
            )
        return reference

    # --- what follows ------------------------------------------------------------

    async def _follow(
        self, request: Request, record: TransactionRecord, state: HandedState
    ) -> Answered:
        body_type = request.message.body_type
        if body_type is BodyType.ERROR:
            return await self._abandon(request, record, state)
        if state.waits or record.status is TransactionStatus.PENDING:
            if body_type is not BodyType.POLL_REQ:
                raise PKIError(
                    ErrorCode.BAD_REQUEST, "a request that waits is only polled for"
                )
            check_poll(request, state.device.cert_req_id)
            return await self._polled(request, record, state)
        if body_type is BodyType.CERT_CONF and state.certificate:
            if record.status is TransactionStatus.ELSEWHERE:
                return await self._confirm(request, record, state)
            if record.status is TransactionStatus.DONE:
                raise PKIError(
                    ErrorCode.CERTIFICATE_CONFIRMED,
                    "the certificate is confirmed already",
                )
            raise PKIError(ErrorCode.BAD_REQUEST, "the time to confirm is over")
        raise PKIError(ErrorCode.BAD_REQUEST, unknown(body_type))

    async def _polled(
        self, request: Request, record: TransactionRecord, state: HandedState
    ) -> Answered:
        waits = record.status is TransactionStatus.ELSEWHERE and not state.arrived
        if waits and record.due <= self._clock.now():
            return await self._go_on(request, record, state)
        unchanged = Progress(status=record.status, state=b"", due=record.due)
        turn = Turn(record=record, state=state, progress=unchanged)
        return await self._tell(request, turn)

    async def _confirm(
        self, request: Request, record: TransactionRecord, state: HandedState
    ) -> Answered:
        """certConf: the device's own word, under our protection."""
        upstream = self._upstream(request.alias)
        decode_body(request.message)
        asked = await reprotect(
            self._engine.message_identity(request.alias.alias.authority),
            request.message,
            body_of(request.message),
            self._clock.now(),
            recip_nonce=state.their_nonce,
            original=upstream.original,
        )
        state = replace(state, asked=asked, follows=BodyType.CERT_CONF)
        progress = Progress(
            status=record.status, state=state.encode(), due=self._clock.now()
        )
        # Stored before it is sent: after a restart the same octets are sent again.
        record = await self._engine.elsewhere.proceed(record, progress)
        return await self._go_on(request, record, state)

    async def _abandon(
        self, request: Request, record: TransactionRecord, state: HandedState
    ) -> Answered:
        """The device gives up; the CA is told if it can be."""
        upstream = self._upstream(request.alias)
        if state.certificate and record.status is TransactionStatus.ELSEWHERE:
            octets = await reprotect(
                self._engine.message_identity(request.alias.alias.authority),
                request.message,
                body_of(request.message),
                self._clock.now(),
                recip_nonce=state.their_nonce,
                original=False,
            )
            try:
                await upstream.wire.send(octets)
            except PKIError as error:
                if error.code is not ErrorCode.UNAVAILABLE:
                    raise
                # It revokes what is not confirmed by itself.
        sealed = await self._answers.answer(request, _PKICONF)
        device = answered(request, state.device, sealed)
        state = replace(state, device=device, asked=b"", arrived=b"", original=b"")
        progress = Progress(
            status=TransactionStatus.REJECTED,
            state=state.encode(),
            due=self._clock.now(),
            context=request.context,
            confirmed=False,
            action="abandon",
        )
        await self._engine.elsewhere.proceed(record, progress)
        return Answered(octets=sealed.octets)

    # --- asking and telling ------------------------------------------------------

    async def _go_on(
        self, request: Request, record: TransactionRecord, state: HandedState
    ) -> Answered:
        turn = await self._turns.take(request.alias, record, state, request.context)
        return await self._tell(request, turn)

    async def _tell(self, request: Request, turn: Turn) -> Answered:
        """Answer the device, and store answer and turn together."""
        if turn.open:
            return await self._tell_to_wait(request, turn)
        state, progress = turn.state, turn.progress
        if state.arrived:
            draft, status, cause = of_answer(PKIMessage.decode(state.arrived))
        else:
            error = ended(progress.status)
            draft = refused(state, error)
            status, cause = PKIStatus.REJECTION, error.detail
        sealed = await self._answers.answer(request, draft)
        octets = await self._store(request, turn, sealed, heard=True)
        return Answered(
            octets=octets, status=status, cause=cause, serial=_serial(state)
        )

    async def _tell_to_wait(self, request: Request, turn: Turn) -> Answered:
        upstream = self._upstream(request.alias)
        after = upstream.poll_after
        if turn.progress.status is TransactionStatus.ELSEWHERE:
            after = max(turn.progress.due - self._clock.now(), after)
        state = turn.state
        draft = waiting(request.message.body_type, state, WAITING_TEXT, after)
        sealed = await self._answers.answer(request, draft)
        octets = await self._store(request, turn, sealed, heard=False)
        return Answered(octets=octets, status=PKIStatus.WAITING, hint=turn.hint)

    async def _store(
        self, request: Request, turn: Turn, sealed: Sealed, *, heard: bool
    ) -> bytes:
        """Keep an answer before it leaves; gives its octets.

        :param heard: whether the device hears the end of what it asked.
        """
        state = turn.state
        device = answered(request, state.device, sealed)
        if heard:
            device = replace(device, delivered=True)
            state = replace(state, arrived=b"", original=b"", asked=b"")
        state = replace(state, device=device)
        progress = replace(turn.progress, state=state.encode())
        await self._engine.elsewhere.proceed(turn.record, progress)
        return sealed.octets

    def _upstream(self, alias: CMPAlias) -> Upstream:
        return upstream_of(self._upstreams(), alias.alias.upstream)


def _serial(state: HandedState) -> str:
    """Serial number of what was issued in hex, "" before."""
    return (
        f"{read_certificate(state.certificate).serial:x}" if state.certificate else ""
    )


def _asks_for_challenge(body: Body) -> TypeGuard[CertReqMessages]:
    """Whether the one request of a message would prove possession by a challenge."""
    return (
        isinstance(body, CertReqMessages)
        and len(body.messages) == 1
        and asks_for_challenge(body.messages[0])
    )
