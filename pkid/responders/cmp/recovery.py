"""krr and krp: an end entity gets its archived keys back.

The keys come encrypted to the key that the request names, each with its certificate,
newest first. The answer is stored before it leaves, and every key is audited.

**Source:** RFC 9810 sections 5.3.7 and 5.3.8; RFC 4211 section 6.6.
"""

from __future__ import annotations

from typing import Final

from pkid.engine.conflicts import look_again
from pkid.engine.keyarchive import RecoveredKey, RecoveryRequest
from pkid.engine.model import TransactionRecord
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType, CertReqMessages
from pkid.messages.cmp.keypairs import CertifiedKeyPair
from pkid.messages.cmp.message import decode_body
from pkid.messages.cmp.recovery import KeyRecRepContent
from pkid.messages.cmp.status import PKIStatus, PKIStatusInfo
from pkid.messages.crmf import CertReqMsg
from pkid.responders.cmp.answers import Answers, Draft, Sealed
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.failures import OF_THE_EXCHANGE, rejection
from pkid.responders.cmp.keydelivery import KeyDelivery, recipient_of_control
from pkid.responders.cmp.requests import Answered, Request
from pkid.responders.cmp.singles import find_repeat, finished_record

_ACCEPTED: Final = PKIStatusInfo(PKIStatus.ACCEPTED)


class Recovery:
    """Answers krr."""

    def __init__(
        self, engine: Engine, answers: Answers, clock: Clock, delivery: KeyDelivery
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._clock = clock
        self._delivery = delivery

    async def answer(self, request: Request) -> Answered:
        """Answer krr with krp: the keys, or why there are none.

        :raises PKIError: for refusals that are answered by an error message.
        """
        return await look_again(lambda: self._answer(request))

    async def _answer(self, request: Request) -> Answered:
        repeat = await find_repeat(self._engine, request)
        if repeat is not None:
            return repeat
        try:
            return await self._recover(request, _only_message(request))
        except PKIError as error:
            if error.code in OF_THE_EXCHANGE:
                raise
            draft = Draft(
                body_type=BodyType.KRP, body=KeyRecRepContent(rejection(error))
            )
            sealed = await self._answers.answer(request, draft)
            return Answered.refused(sealed.octets, error)

    async def _recover(self, request: Request, message: CertReqMsg) -> Answered:
        made: list[Sealed] = []

        async def make_record(keys: tuple[RecoveredKey, ...]) -> TransactionRecord:
            made.append(await self._seal(request, message, keys))
            return finished_record(request, BodyType.KRR, made[-1], self._clock.now())

        # Before any key is opened: the recipient must be fit to get them.
        recipient_of_control(request, message)
        await self._engine.key_archive.recover(
            RecoveryRequest(
                alias=request.alias.alias,
                requester=request.requester,
                context=request.context,
            ),
            make_record,
        )
        return Answered(octets=made[-1].octets)

    async def _seal(
        self, request: Request, message: CertReqMsg, keys: tuple[RecoveredKey, ...]
    ) -> Sealed:
        recipient = recipient_of_control(request, message)
        history = [
            CertifiedKeyPair(
                certificate=key.certificate,
                private_key=await self._delivery.pack(
                    request, key.private_key, recipient
                ),
            )
            for key in keys
        ]
        chain = self._engine.chain(request.alias.alias.authority)
        content = KeyRecRepContent(
            _ACCEPTED, ca_certs=chain, key_pair_hist=tuple(history)
        )
        draft = Draft(body_type=BodyType.KRP, body=content)
        return await self._answers.answer(request, draft)


def _only_message(request: Request) -> CertReqMsg:
    """The one CertReqMsg of a krr, which asks for the history alone.

    :raises PKIError: ``BAD_REQUEST``.
    """
    body = decode_body(request.message)
    if not isinstance(body, CertReqMessages) or len(body.messages) != 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "a krr holds one CertReqMsg")
    (message,) = body.messages
    if message.cert_req.cert_template.spki is not None:
        raise PKIError(ErrorCode.BAD_REQUEST, "ask for a new certificate by ir or cr")
    return message
