"""Turns with another CA: what is open is sent, what comes is understood.

A turn never fails because the CA is out of reach: then nothing came, and the next turn
is due a little later. Octets are stored before they are sent, so that the CA gets the
same ones again.

**Source:** RFC 9810 sections 5.3.2, 5.3.10, 5.3.16, 5.3.18, 5.3.21 and 5.3.22.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.names import EMPTY
from pkid.engine.elsewhere import INTERNAL, ForeignCertificate, Progress
from pkid.engine.model import (
    RequestContext,
    RevocationReason,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import (
    Body,
    BodyType,
    CertConfirmContent,
    CertRepMessage,
    CertReqMessages,
    ErrorMsgContent,
)
from pkid.messages.cmp.message import PKIMessage, decode_body
from pkid.messages.cmp.revocation import RevRepContent, RevReqContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo
from pkid.messages.crmf import POPOSigningKey
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.protection import printable
from pkid.responders.cmp.requests import RandomOctets
from pkid.responders.cmp.upstream import (
    CERTIFICATE_ANSWERS,
    Upstream,
    Wait,
    read_answer,
    upstream_of,
    verify_signature_of_authority,
    wait_of,
)
from pkid.responders.cmp.upstreamseal import (
    Decided,
    decided_body,
    poll_for,
    reprotect,
    sealed_again,
)
from pkid.responders.cmp.upstreamstate import HandedState

NONCE_OCTETS: Final = 16
#: A confirmation that comes late is for the CA to judge; and what is younger than this
#: is not too old, but our clock or the CA's is wrong.
LATE: Final = timedelta(minutes=1)

_GRANTED: Final = frozenset((PKIStatus.ACCEPTED, PKIStatus.GRANTED_WITH_MODS))
_NO_REVOCATION: Final = frozenset(
    (RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Where a transaction stands after a turn, not yet stored.

    :ivar record: the row as it is stored.
    :ivar progress: what to store; its ``state`` is put in last.
    :ivar hint: for the operator, why nothing came.
    """

    record: TransactionRecord
    state: HandedState
    progress: Progress
    hint: str = ""

    @property
    def open(self) -> bool:
        """Whether the CA, or somebody here, has still to decide."""
        return self.progress.status in _OPEN and not self.state.arrived


@dataclass(frozen=True, slots=True)
class Heard:
    """A final answer of the CA.

    :ivar content: of ``answer``, read.
    :ivar asked: our message that it answers.
    :ivar deadline: to confirm a certificate, unless the CA says one.
    """

    turn: Turn
    alias: CMPAlias
    answer: PKIMessage
    content: Body
    asked: PKIMessage
    deadline: datetime


_OPEN: Final = frozenset((TransactionStatus.ELSEWHERE, TransactionStatus.PENDING))


class Turns:
    """Takes turns with CAs elsewhere."""

    def __init__(
        self,
        engine: Engine,
        upstreams: Callable[[], Mapping[str, Upstream]],
        clock: Clock,
        random: RandomOctets,
    ) -> None:
        self._engine = engine
        self._upstreams = upstreams
        self._clock = clock
        self._random = random

    async def take(
        self,
        alias: CMPAlias,
        record: TransactionRecord,
        state: HandedState,
        context: RequestContext = INTERNAL,
    ) -> Turn:
        """One turn.

        :raises PKIError: `WriteConflict` when the row changed meanwhile.
        """
        upstream = upstream_of(self._upstreams(), alias.alias.upstream)
        if not state.asked and state.original:
            # Somebody agreed to it meanwhile.
            asked = await self.sealed_opening(alias, upstream, state)
            state = replace(state, asked=asked, original=b"")
            record = await self._engine.elsewhere.proceed(
                record,
                Progress(
                    status=TransactionStatus.ELSEWHERE,
                    state=state.encode(),
                    due=self._clock.now(),
                ),
            )
        if not state.asked:
            return _nothing_open(record, state)
        asked_message = PKIMessage.decode(state.asked)
        try:
            octets = await upstream.wire.send(state.asked)
            answer = read_answer(octets, asked_message)
            verify_signature_of_authority(answer, upstream, self._clock.now())
            wait = wait_of(answer)
            content = decode_body(answer)
        except PKIError as error:
            return self._failed(upstream, record, state, error)
        if wait is not None:
            return await self._again(alias, upstream, record, state, answer, wait)
        if _is_too_old(content, asked_message, self._clock.now()):
            return await self._renewed(alias, record, state, asked_message)
        state = replace(
            state,
            asked=b"",
            original=b"",
            arrived=octets,
            their_nonce=answer.header.sender_nonce or b"",
        )
        turn = Turn(record=record, state=state, progress=_plain(record, context))
        deadline = self._clock.now() + alias.confirm_wait
        return _CONCLUSIONS[_kind(state.follows)](
            Heard(turn, alias, answer, content, asked_message, deadline)
        )

    async def sealed_opening(
        self, alias: CMPAlias, upstream: Upstream, state: HandedState
    ) -> bytes:
        """Our own message for the request of a device."""
        message = PKIMessage.decode(state.original)
        content = decode_body(message)
        decided = Decided(
            subject=state.subject or EMPTY,
            names=state.names,
            spki=_spki_of(content),
            renews=state.renewed or None,
            vouched=upstream.vouched,
        )
        return await reprotect(
            self._engine.message_identity(alias.alias.authority),
            message,
            decided_body(message, content, decided),
            self._clock.now(),
            recip_nonce=None,
            original=upstream.original,
            implicit_confirm=alias.implicit_confirm,
        )

    def _failed(
        self,
        upstream: Upstream,
        record: TransactionRecord,
        state: HandedState,
        error: PKIError,
    ) -> Turn:
        """Nothing came that counts."""
        now = self._clock.now()
        if record.created + upstream.hold > now:
            return Turn(
                record=record,
                state=state,
                progress=Progress(
                    status=TransactionStatus.ELSEWHERE,
                    state=b"",
                    due=now + upstream.retry,
                ),
                hint=error.hint or error.detail,
            )
        return Turn(
            record=record,
            state=state,
            progress=Progress(
                status=TransactionStatus.EXPIRED,
                state=b"",
                due=now,
                action="give-up",
                outcome="refused",
                detail=error.hint or error.detail,
            ),
        )

    async def _renewed(
        self,
        alias: CMPAlias,
        record: TransactionRecord,
        state: HandedState,
        asked: PKIMessage,
    ) -> Turn:
        """What waited so long that the CA finds it too old is sealed again.

        It was refused before its transaction began, so this is no other request.
        """
        now = self._clock.now()
        identity = self._engine.message_identity(alias.alias.authority)
        return Turn(
            record=record,
            state=replace(state, asked=await sealed_again(identity, asked, now)),
            progress=Progress(status=TransactionStatus.ELSEWHERE, state=b"", due=now),
        )

    async def _again(
        self,
        alias: CMPAlias,
        upstream: Upstream,
        record: TransactionRecord,
        state: HandedState,
        answer: PKIMessage,
        wait: Wait,
    ) -> Turn:
        """The CA wants to be asked again, by pollReq."""
        now = self._clock.now()
        nonce = answer.header.sender_nonce or b""
        asked = await poll_for(
            self._engine.message_identity(alias.alias.authority),
            PKIMessage.decode(state.asked),
            wait.cert_req_id,
            (self._random(NONCE_OCTETS), nonce),
            now,
        )
        after = upstream.poll_after if wait.after is None else wait.after
        return Turn(
            record=record,
            state=replace(state, asked=asked, their_nonce=nonce),
            progress=Progress(
                status=TransactionStatus.ELSEWHERE, state=b"", due=now + after
            ),
        )


# --- what an answer means -------------------------------------------------------------


def _certified(heard: Heard) -> Turn:
    """ip, cp or kup, or an error instead."""
    turn, answer = heard.turn, heard.answer
    octets = _certificate_in(heard.content)
    if octets is None:
        reason = _reason(heard.content)
        return _over(turn, TransactionStatus.REJECTED, "issue", reason)
    implicit = answer.header.find_info(oids.ID_IT_IMPLICIT_CONFIRM) is not None
    issued = ForeignCertificate(
        authority=heard.alias.alias.authority,
        der=octets,
        entity=turn.state.entity,
        profile=turn.state.profile,
        confirmed=implicit,
    )
    progress = replace(
        turn.progress,
        status=TransactionStatus.DONE if implicit else TransactionStatus.ELSEWHERE,
        due=_confirm_by(answer, heard.deadline) + LATE,
        issued=issued,
        action="issue",
        outcome="issued",
    )
    return replace(
        turn, state=replace(turn.state, certificate=octets), progress=progress
    )


def _confirmed(heard: Heard) -> Turn:
    """pkiconf, or an error instead."""
    turn = heard.turn
    if heard.answer.body_type is not BodyType.PKICONF:
        reason = _reason(heard.content)
        return _over(turn, TransactionStatus.REJECTED, "confirm", reason)
    said = decode_body(heard.asked)
    taken = not isinstance(said, CertConfirmContent) or (
        bool(said.statuses)
        and all(
            one.status_info is None or one.status_info.status in _GRANTED
            for one in said.statuses
        )
    )
    over = _over(turn, TransactionStatus.DONE, "confirm", "")
    return replace(over, progress=replace(over.progress, confirmed=taken))


def _revoked(heard: Heard) -> Turn:
    """rp, or an error instead."""
    turn, content = heard.turn, heard.content
    granted = isinstance(content, RevRepContent) and all(
        one.status in _GRANTED for one in content.statuses
    )
    if not granted:
        return _over(turn, TransactionStatus.REJECTED, "revoke", _reason(content))
    over = _over(turn, TransactionStatus.DONE, "revoke", "")
    if _reason_asked(heard.asked) in _NO_REVOCATION:
        return over
    reference = turn.record.certificate
    return replace(over, progress=replace(over.progress, revoked=reference))


def _told(heard: Heard) -> Turn:
    """An answer that changes nothing here."""
    done = replace(heard.turn.progress, status=TransactionStatus.DONE)
    return replace(heard.turn, progress=done)


_CONCLUSIONS: Final[dict[str, Callable[[Heard], Turn]]] = {
    "certificate": _certified,
    "confirmation": _confirmed,
    "revocation": _revoked,
    "question": _told,
}


def _kind(follows: BodyType) -> str:
    if follows in CERTIFICATE_ANSWERS:
        return "certificate"
    if follows is BodyType.CERT_CONF:
        return "confirmation"
    return "revocation" if follows is BodyType.RR else "question"


def _over(turn: Turn, status: TransactionStatus, action: str, refused: str) -> Turn:
    """The end of a transaction; ``refused`` says why, "" when it was granted."""
    progress = replace(
        turn.progress,
        status=status,
        action=action,
        outcome="refused" if refused else "done",
        detail=refused,
    )
    return replace(turn, progress=progress)


def _plain(record: TransactionRecord, context: RequestContext) -> Progress:
    return Progress(status=record.status, state=b"", due=record.due, context=context)


def _is_too_old(content: Body, asked: PKIMessage, now: datetime) -> bool:
    """Whether the CA refused our message for its time, and it is old indeed."""
    if not isinstance(content, ErrorMsgContent):
        return False
    sealed = asked.header.message_time
    old = sealed is not None and now - sealed > LATE
    return old and FailInfo.BAD_TIME in content.status_info.fail_info


def _nothing_open(record: TransactionRecord, state: HandedState) -> Turn:
    """Nothing to ask: the time to confirm, or to come for an answer, is over."""
    progress = _plain(record, INTERNAL)
    if record.status is TransactionStatus.ELSEWHERE:
        progress = replace(
            progress,
            status=TransactionStatus.EXPIRED,
            action="" if not state.certificate else "unconfirmed",
        )
    return Turn(record=record, state=state, progress=progress)


def _certificate_in(content: Body) -> bytes | None:
    if not isinstance(content, CertRepMessage):
        return None
    for response in content.responses:
        pair = response.certified_key_pair
        if response.status.status in _GRANTED and pair is not None:
            return pair.certificate
    return None


def _reason(content: Body) -> str:
    """Why the CA refused, in its own words, fit for logs."""
    infos: tuple[PKIStatusInfo, ...] = ()
    if isinstance(content, ErrorMsgContent):
        infos = (content.status_info,)
    elif isinstance(content, CertRepMessage):
        infos = tuple(response.status for response in content.responses)
    elif isinstance(content, RevRepContent):
        infos = content.statuses
    bits = sorted({bit.name for info in infos for bit in info.fail_info})
    texts = [printable(text) for info in infos for text in info.strings[:1]]
    return " ".join((*bits, *texts)) or "refused without a reason"


def _confirm_by(answer: PKIMessage, default: datetime) -> datetime:
    found = answer.header.find_info(oids.ID_IT_CONFIRM_WAIT_TIME)
    if found is None or found.value is None:
        return default
    try:
        return der.decode_generalized_time(
            der.single(found.value, der.GENERALIZED_TIME)
        )
    except PKIError:
        return default


def _reason_asked(asked: PKIMessage) -> RevocationReason | None:
    """The CRLReason of an rr, None when it names none."""
    content = decode_body(asked)
    if not isinstance(content, RevReqContent):
        return None
    for extension in content.details[0].crl_entry_details:
        if extension.oid == oids.ID_CE_CRL_REASONS and len(extension.value) == 3:
            try:
                return RevocationReason(extension.value[2])
            except ValueError:
                return None
    return None


def _spki_of(content: Body) -> bytes:
    """The key that a request is about."""
    if isinstance(content, CertificationRequest):
        return content.spki
    if isinstance(content, CertReqMessages):
        message = content.messages[0]
        popo = message.popo
        if isinstance(popo, POPOSigningKey) and popo.poposk_input is not None:
            return popo.poposk_input.spki
        if message.cert_req.cert_template.spki is not None:
            return message.cert_req.cert_template.spki
    raise PKIError(ErrorCode.BAD_TEMPLATE, "the request has no public key")
