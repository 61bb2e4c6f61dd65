"""/fullcmc: many requests and controls in one message, answered in one.

    client                                        pkid
    PKCS #10                                ->    as /simpleenroll
    SignedData(PKIData(controls, requests)) ->    each request down the one path,
                                                  each control carried out
                                            <-    SignedData(PKIResponse(a status for
                                                  each part)), certificates, CRLs

A control that is not known fails the whole message before anything is done.

**Source:** RFC 5272 sections 3 to 6; RFC 6402; RFC 7030 section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pkid.asn1 import ber, der, oids
from pkid.asn1.cms.content import ContentInfo
from pkid.asn1.cms.signed import SignedData, encode_certs_only
from pkid.crypto.certificates import Certificate
from pkid.crypto.identifiers import identifier_of
from pkid.crypto.signeddata import draft_signed_data
from pkid.engine.model import RequestContext
from pkid.engine.ports import Clock
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmc import (
    CMCStatus,
    Control,
    PKIData,
    StatusInfo,
    encode_pki_response,
)
from pkid.messages.est import CERTS_ONLY, CMC_RESPONSE
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.authentication import Identities
from pkid.responders.est.bodies import der_reply, request_octets
from pkid.responders.est.cmcidentity import BadIdentityError, Envelope, Senders
from pkid.responders.est.cmcparts import Parts, Results
from pkid.responders.est.doors import Engine
from pkid.responders.est.enrollment import Enrollment
from pkid.responders.est.failures import FAIL_INFO, STATUS
from pkid.responders.est.requests import Request, make_request

NONCE_OCTETS: Final = 16
WHOLE: Final = 0
#: Body part of a simple request (RFC 5272 section 6.1.1).
SIMPLE: Final = 1
_READ_ONLY: Final = frozenset((oids.ID_CMC_GET_CERT, oids.ID_CMC_GET_CRL))
_KNOWN: Final = _READ_ONLY | {
    oids.ID_CMC_IDENTIFICATION,
    oids.ID_CMC_IDENTITY_PROOF,
    oids.ID_CMC_IDENTITY_PROOF_V2,
    oids.ID_CMC_DATA_RETURN,
    oids.ID_CMC_TRANSACTION_ID,
    oids.ID_CMC_SENDER_NONCE,
    oids.ID_CMC_RECIPIENT_NONCE,
    oids.ID_CMC_REVOKE_REQUEST,
    oids.ID_CMC_REG_INFO,
    oids.ID_CMC_QUERY_PENDING,
    oids.ID_CMC_POP_LINK_RANDOM,
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One exchange on its way through.

    :ivar requesters: takes the identity of who asks, for the log.
    """

    alias: ESTAlias
    exchange: Exchange
    context: RequestContext
    requesters: list[str] = field(default_factory=list)


class FullCMC:
    """Answers /fullcmc.

    :param random: octets from the system's CSPRNG.
    """

    def __init__(
        self,
        engine: Engine,
        identities: Identities,
        enrollment: Enrollment,
        *,
        clock: Clock,
        random: Callable[[int], bytes],
    ) -> None:
        self._engine = engine
        self._identities = identities
        self._enrollment = enrollment
        self._senders = Senders(engine, identities)
        self._parts = Parts(engine, enrollment, clock)
        self._random = random

    async def answer(self, arrival: Arrival) -> tuple[Reply, PKIError | None]:
        """The answer, and the refusal that stands in it.

        :raises PKIError: where HTTP alone has the words: 401, 404, a broken body.
        """
        if not arrival.alias.full_cmc:
            raise PKIError(
                ErrorCode.NOT_FOUND,
                "this operation is not offered here",
                hint=f"full_cmc of alias {arrival.alias.name}",
            )
        octets = ber.to_der(request_octets(arrival.exchange))
        if _is_pkcs10(octets):
            return await self._simple(arrival, octets)
        return await self._full(arrival, octets)

    async def _simple(
        self, arrival: Arrival, octets: bytes
    ) -> tuple[Reply, PKIError | None]:
        """A simple PKI request.

        **Source:** RFC 5272 section 3.1.
        """
        proven = await self._identities.prove(
            arrival.alias, arrival.exchange, arrival.context
        )
        arrival.requesters.append(proven.requester.identity)
        request = make_request(
            alias=arrival.alias,
            exchange=arrival.exchange,
            context=arrival.context,
            proven=proven,
            octets=octets,
        )
        try:
            return await self._enrollment.answer(request), None
        except PKIError as error:
            return await self._refused(arrival, error, (SIMPLE,), ()), error

    async def _full(
        self, arrival: Arrival, octets: bytes
    ) -> tuple[Reply, PKIError | None]:
        try:
            envelope = _opened(octets)
        except PKIError as error:
            return await self._refused(arrival, error, (WHOLE,), ()), error
        echoed = self._echoed(envelope.data)
        try:
            _check_controls(envelope.data)
            sender = await self._senders.find(
                arrival.alias, arrival.exchange, arrival.context, envelope
            )
        except UnknownControlError as error:
            return await self._refused(arrival, error, error.parts, echoed), error
        except PKIError as error:
            if STATUS[error.code] == 401 and not envelope.signed.signer_infos:
                raise
            return await self._refused(arrival, error, (WHOLE,), echoed), error
        arrival.requesters.append(sender.proven.requester.identity)
        request = make_request(
            alias=arrival.alias,
            exchange=arrival.exchange,
            context=arrival.context,
            proven=sender.proven,
            octets=octets,
        )
        results = await self._parts.process(
            request, envelope.data, may_revoke=sender.covers_controls
        )
        return await self._answered(request, envelope.data, results, echoed)

    async def _answered(
        self,
        request: Request,
        data: PKIData,
        results: Results,
        echoed: tuple[Control, ...],
    ) -> tuple[Reply, PKIError | None]:
        only_reads = not data.requests and {one.oid for one in data.controls} <= (
            _READ_ONLY
        )
        error = results.errors[0] if results.errors else None
        if only_reads and error is None:
            octets = encode_certs_only(results.certificates, results.crls)
            return der_reply(request.alias, request.exchange, octets, CERTS_ONLY), None
        statuses = [one.encode() for one in results.statuses]
        octets = await self._signed(request.alias, statuses, echoed, results)
        refused = error is not None and not results.granted
        status = 200 if error is None or not refused else _http_status(error)
        reply = der_reply(
            request.alias, request.exchange, octets, CMC_RESPONSE, status=status
        )
        return reply, error

    async def _refused(
        self,
        arrival: Arrival,
        error: PKIError,
        parts: tuple[int, ...],
        echoed: tuple[Control, ...],
    ) -> Reply:
        """A full response that says no to these parts."""
        status = failed(error, parts)
        octets = await self._signed(arrival.alias, [status.encode()], echoed, Results())
        return der_reply(
            arrival.alias,
            arrival.exchange,
            octets,
            CMC_RESPONSE,
            status=_http_status(error),
        )

    async def _signed(
        self,
        alias: ESTAlias,
        statuses: list[bytes],
        echoed: tuple[Control, ...],
        results: Results,
    ) -> bytes:
        """The ``PKIResponse``, signed in the authority's name."""
        identity = self._engine.message_identity(alias.alias.authority)
        first = len(echoed) + 1
        controls = echoed + tuple(
            Control(first + number, oids.ID_CMC_STATUS_INFO_V2, (status,))
            for number, status in enumerate(statuses)
        )
        certificates = dict.fromkeys(
            (*results.certificates, identity.certificate, *identity.chain[:-1])
        )
        draft = draft_signed_data(
            encode_pki_response(controls),
            oids.ID_CCT_PKI_RESPONSE,
            identifier_of(Certificate.decode(identity.certificate)),
            identity.signer.algorithm,
            certificates=sorted(certificates),
            crls=results.crls,
        )
        signature = await identity.signer.sign_message(draft.to_be_signed)
        return draft.complete(signature).encode_content_info()

    def _echoed(self, data: PKIData) -> tuple[Control, ...]:
        """What goes back with every answer: transaction, nonces, the client's data.

        **Source:** RFC 5272 sections 6.4 and 6.6.
        """
        found: list[tuple[str, bytes]] = []
        for oid, answer in (
            (oids.ID_CMC_TRANSACTION_ID, oids.ID_CMC_TRANSACTION_ID),
            (oids.ID_CMC_SENDER_NONCE, oids.ID_CMC_RECIPIENT_NONCE),
            (oids.ID_CMC_DATA_RETURN, oids.ID_CMC_DATA_RETURN),
        ):
            values = [one.values for one in data.controls if one.oid == oid]
            if len(values) == 1 and len(values[0]) == 1:
                found.append((answer, values[0][0]))
        if found:
            nonce = der.octet_string(self._random(NONCE_OCTETS))
            found.append((oids.ID_CMC_SENDER_NONCE, nonce))
        return tuple(
            Control(number, oid, (value,))
            for number, (oid, value) in enumerate(found, 1)
        )


class UnknownControlError(PKIError):
    """Controls that nobody here knows.

    :ivar parts: their body part ids.
    """

    def __init__(self, parts: tuple[int, ...]) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, "a control is not supported here")
        self.parts = parts


def failed(error: PKIError, parts: tuple[int, ...]) -> StatusInfo:
    """The status of a refusal."""
    failure = FAIL_INFO[error.code]
    if isinstance(error, BadIdentityError):
        failure = FAIL_INFO[ErrorCode.SIGNER_NOT_TRUSTED]
    return StatusInfo(
        status=CMCStatus.FAILED, parts=parts, text=error.detail, failure=failure
    )


def _http_status(error: PKIError) -> int:
    # 401 would ask for a password, which is no answer to a wrong signature.
    status = STATUS[error.code]
    return 403 if status == 401 else status


def _is_pkcs10(octets: bytes) -> bool:
    """Whether it is a simple request: there a SEQUENCE stands first, not a type."""
    return der.Cursor(der.single(octets, der.SEQUENCE)).at(der.SEQUENCE)


def _opened(octets: bytes) -> Envelope:
    """Read a full request.

    :raises PKIError: ``MALFORMED``, ``BAD_REQUEST`` for another content.
    """
    if ContentInfo.decode(octets).content_type != oids.ID_SIGNED_DATA:
        raise PKIError(ErrorCode.BAD_REQUEST, "a full request is SignedData")
    signed = SignedData.decode_content_info(octets)
    inner = signed.encapsulated
    if inner.content_type != oids.ID_CCT_PKI_DATA or inner.content is None:
        raise PKIError(ErrorCode.BAD_REQUEST, "the signed content is not PKIData")
    return Envelope(signed, PKIData.decode(inner.content))


def _check_controls(data: PKIData) -> None:
    """Refuse controls that are not known.

    **Source:** RFC 5272 section 3.2.1.1.
    """
    unknown = tuple(one.body_part for one in data.controls if one.oid not in _KNOWN)
    if unknown:
        raise UnknownControlError(unknown)
