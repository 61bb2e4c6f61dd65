"""ir, cr, kur and p10cr: one certificate asked for, one answer.

What is wrong with the body is answered in ip, cp or kup with status rejection; what is
wrong with the exchange itself (the transaction, our own state) by an error message.
The answer is sealed before the engine commits and is stored with the certificate.

**Source:** RFC 9810 sections 5.3.1 to 5.3.6; RFC 9483 section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pkid.asn1 import oids
from pkid.crypto.envelope import Recipient
from pkid.engine.model import (
    CertificateReference,
    DecryptionPossession,
    EnrollmentRequest,
    Issued,
    Outcome,
    Pending,
    ProofOfPossession,
    Requester,
    RequesterKind,
    TransactionKey,
    make_enrollment_request,
)
from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import BodyType, CertReqMessages
from pkid.messages.cmp.message import decode_body
from pkid.messages.crmf import CertId, CertReqMsg
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.cmp.answers import Answers, Sealed
from pkid.responders.cmp.archiving import with_archive_wish
from pkid.responders.cmp.certification import (
    certification,
    concluded,
    opening_state,
    refusal,
)
from pkid.responders.cmp.challenges import Proofs, asks_for_challenge
from pkid.responders.cmp.doors import Engine
from pkid.responders.cmp.evidence import Evidence, is_plain_signature
from pkid.responders.cmp.failures import OF_THE_EXCHANGE
from pkid.responders.cmp.groups import Groups
from pkid.responders.cmp.headers import Wishes, read_wishes
from pkid.responders.cmp.keydelivery import KeyDelivery, recipient_for
from pkid.responders.cmp.passwords import Passwords, check_one_password
from pkid.responders.cmp.requests import Answered, MACProtection, Request, of_outcome
from pkid.responders.cmp.tcppolling import TCPPolling
from pkid.responders.cmp.templates import (
    P10CR_REQ_ID,
    Wanted,
    wanted_by_crmf,
    wanted_by_pkcs10,
    wish_for_key,
)
from pkid.responders.cmp.transactions import TransactionState


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, what its header wishes, and what was proven otherwise."""

    request: Request
    wishes: Wishes
    proofs: Proofs


class Enrollment:
    """Answers requests for certificates."""

    def __init__(
        self,
        engine: Engine,
        answers: Answers,
        tcp_polling: TCPPolling,
        groups: Groups,
        evidence: Evidence,
        delivery: KeyDelivery,
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._tcp_polling = tcp_polling
        self._groups = groups
        self._challenges = evidence.challenges
        self._key_proofs = evidence.key_proofs
        self._archiving = evidence.archiving
        self._originals = evidence.originals
        self._delivery = delivery
        self._passwords = Passwords(engine)

    async def answer(self, request: Request) -> Answered:
        """Answer ir, cr, kur or p10cr.

        :raises PKIError: for refusals that are answered by an error message.
        """
        return await self._answer(request, {})

    async def answer_challenged(self, request: Request) -> Answered:
        """Answer popdecr: what was asked before, once possession is proven.

        :raises PKIError: for refusals that are answered by an error message.
        """
        return await self._challenges.answer(request, self._answer)

    async def _answer(self, request: Request, proofs: Proofs) -> Answered:
        """Answer a request.

        :param proofs: of possession, where another exchange gave them.
        """
        _check_protection_kind(request)
        wishes = read_wishes(request.header)
        body = decode_body(request.message)
        if isinstance(body, CertificationRequest):
            ids: tuple[int, ...] = (P10CR_REQ_ID,)
        elif isinstance(body, CertReqMessages):
            ids = tuple(message.cert_req.cert_req_id for message in body.messages)
        else:
            raise PKIError(ErrorCode.INTERNAL, "a body that asks for no certificate")
        state = opening_state(request, ids[0], wishes)
        try:
            return await self._dispatch(Asked(request, wishes, proofs), body, state)
        except PKIError as error:
            if error.code in OF_THE_EXCHANGE:
                raise
            sealed = await self._answers.answer(
                request, refusal(state.body_type, ids, error)
            )
            return Answered.refused(sealed.octets, error)

    async def _dispatch(
        self,
        asked: Asked,
        body: CertReqMessages | CertificationRequest,
        state: TransactionState,
    ) -> Answered:
        """By a challenge first, each of several by itself, or as most are."""
        if isinstance(body, CertificationRequest):
            wanted = wanted_by_pkcs10(body)
            requester = await self._passwords.of_pkcs10(asked.request, body)
            enrollment = self._enrollment_of(asked, wanted, None, requester)
            return await self._enroll(asked.request, enrollment, state)
        messages = body.messages
        if not asked.proofs:
            challenged = [one for one in messages if asks_for_challenge(one)]
            if challenged:
                # Nobody who is unknown has us keep a challenge.
                await self._passwords.of_crmf(asked.request, messages[0])
                return await self._challenges.open(asked.request, challenged)
        if len(messages) > 1:
            _check_several(asked.request)
            check_one_password(asked.request)
            return await self._several(asked, messages)
        recipient = None
        if wish_for_key(messages[0]) is not None:
            recipient = recipient_for(asked.request, messages[0])
        enrollment = await self._crmf_enrollment(asked, messages[0])
        return await self._enroll(asked.request, enrollment, state, recipient)

    async def _several(
        self, asked: Asked, messages: tuple[CertReqMsg, ...]
    ) -> Answered:
        """Each request by itself, under the key of its part (`groups`)."""

        async def read(message: CertReqMsg, key: TransactionKey) -> EnrollmentRequest:
            if wish_for_key(message) is not None:
                # Its answer could not be stored together with its certificate.
                raise PKIError(
                    ErrorCode.BAD_REQUEST, "ask for a key in a message of its own"
                )
            enrollment = await self._crmf_enrollment(asked, message)
            return replace(enrollment, transaction=key)

        return await self._groups.answer(asked.request, asked.wishes, messages, read)

    async def _crmf_enrollment(
        self, asked: Asked, message: CertReqMsg
    ) -> EnrollmentRequest:
        """What the engine is asked of one CertReqMsg, alone or one of several."""
        requester = await self._passwords.of_crmf(asked.request, message)
        proven, shown = asked.proofs.get(message.cert_req.cert_req_id), None
        if proven is None and not is_plain_signature(message):
            shown = await self._key_proofs.check(asked.request, message)
            proven = None if shown is None else shown.proof
            await self._originals.check(asked.request, message)
        wanted = self._wanted(asked.request, message, proven)
        renews = await self._renews(asked.request, message)
        enrollment = self._enrollment_of(asked, wanted, renews, requester)
        if not asked.request.alias.alias.key_archive and not message.cert_req.controls:
            return enrollment
        return replace(
            enrollment,
            possession=with_archive_wish(enrollment.possession, message),
            archived=await self._archiving.sealed(asked.request, message, shown),
        )

    def _enrollment_of(
        self,
        asked: Asked,
        wanted: Wanted,
        renews: CertificateReference | None,
        requester: Requester,
    ) -> EnrollmentRequest:
        request, wishes = asked.request, asked.wishes
        alias = request.alias
        implicit = (
            wishes.implicit_confirm
            and alias.implicit_confirm
            # Here the confirmation is the proof of possession.
            and not isinstance(wanted.possession, DecryptionPossession)
        )
        return make_enrollment_request(
            alias=alias.name,
            context=request.context,
            requester=requester,
            requested=wanted.certificate,
            possession=wanted.possession,
            transaction=request.key,
            request_hash=request.request_hash,
            profile=wishes.profile or _profile_of_reference(request),
            renews=renews,
            confirmation=None if implicit else alias.confirm_wait,
        )

    def _wanted(
        self,
        request: Request,
        message: CertReqMsg,
        proven: ProofOfPossession | None,
    ) -> Wanted:
        if (
            request.message.body_type is not BodyType.IR
            and request.requester.kind is RequesterKind.VENDOR
        ):
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED, "a certificate of another PKI asks by ir only"
            )
        is_authority = request.requester.kind is RequesterKind.AUTHORITY
        if is_authority is not (request.message.body_type is BodyType.CCR):
            raise PKIError(ErrorCode.NOT_AUTHORIZED, "a CA of another PKI asks by ccr")
        issuer = self._engine.authority_subject(request.alias.alias.authority)
        return wanted_by_crmf(message, request, issuer, proven)

    # --- key update --------------------------------------------------------------

    async def _renews(
        self, request: Request, message: CertReqMsg
    ) -> CertificateReference | None:
        """The certificate that a kur updates: the one that protects it.

        A registration authority names it by oldCertID.

        :raises PKIError: ``BAD_CERTIFICATE_ID``, ``NOT_AUTHORIZED``.

        **Source:** RFC 9483 section 4.1.3; RFC 4211 section 6.5.
        """
        if request.message.body_type is not BodyType.KUR:
            return None
        named = await self._named_by_old_cert_id(message)
        requester = request.requester
        if requester.kind is RequesterKind.REGISTRATION_AUTHORITY:
            if named is None:
                raise PKIError(
                    ErrorCode.BAD_CERTIFICATE_ID,
                    "a registration authority names the certificate by oldCertID",
                )
            return named
        if requester.certificate is None:
            raise PKIError(
                ErrorCode.NOT_AUTHORIZED, "only certificates of this PKI are updated"
            )
        if named is not None and named != requester.certificate:
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID,
                "oldCertID is not the certificate that protects the request",
            )
        return requester.certificate

    async def _named_by_old_cert_id(
        self, message: CertReqMsg
    ) -> CertificateReference | None:
        control = message.cert_req.control(oids.ID_REG_CTRL_OLD_CERT_ID)
        if control is None:
            return None
        old = CertId.decode(control)
        issuer = old.issuer.directory_name
        record = None
        if issuer is not None:
            record = await self._engine.find_certificate_by_issuer(
                issuer, old.serial_number
            )
        if record is None:
            raise PKIError(
                ErrorCode.BAD_CERTIFICATE_ID, "oldCertID names no certificate of ours"
            )
        return record.reference

    # --- outcome -----------------------------------------------------------------

    async def _enroll(
        self,
        request: Request,
        enrollment: EnrollmentRequest,
        state: TransactionState,
        recipient: Recipient | None = None,
    ) -> Answered:
        """Have it decided upon, the answer sealed before it is stored.

        :param recipient: of a key that is made for the request.
        """
        made: list[tuple[Outcome, bytes]] = []

        async def encode_state(outcome: Outcome) -> bytes:
            sealed = await self._seal(request, state, outcome, recipient)
            made.append((outcome, sealed.octets))
            return concluded(state, outcome, request.request_hash, sealed).encode()

        try:
            outcome = await self._engine.enroll(enrollment, encode_state)
        except PKIError as error:
            return await self._ended(request, error)
        if made and _is_same(made[-1][0], outcome):
            octets, repeated = made[-1][1], False
        else:
            octets, repeated = await self._stored(request), True
        ticket = None
        if not octets:
            ticket = await self._tcp_polling.ticket(request.alias, request.key, outcome)
        return of_outcome(outcome, octets, repeated=repeated, ticket=ticket)

    async def _seal(
        self,
        request: Request,
        state: TransactionState,
        outcome: Outcome,
        recipient: Recipient | None,
    ) -> Sealed:
        waits = isinstance(outcome, Pending)
        if waits and request.over_tcp and request.alias.tcp_polling:
            # Nothing of CMP is said yet: a TCP record tells the client to wait.
            return Sealed(b"", b"")
        packed = None
        if isinstance(outcome, Issued) and outcome.generated is not None:
            if recipient is None:
                raise PKIError(ErrorCode.INTERNAL, "a key that nobody asked for")
            packed = await self._delivery.pack(
                request, outcome.generated.private_key, recipient
            )
        draft = certification(request.alias, state, outcome, packed)
        return await self._answers.answer(request, draft)

    async def _ended(self, request: Request, error: PKIError) -> Answered:
        """What these octets got before their transaction ended badly, or the error.

        The client may have rejected its certificate, or not confirmed it in time:
        asked again, the engine has nothing to give, but the answer was given.
        """
        if error.code is not ErrorCode.REJECTED:
            raise error
        octets = await self._find_stored(request)
        if not octets:
            raise error
        return Answered(octets=octets, repeated=True)

    async def _stored(self, request: Request) -> bytes:
        """The answer that was stored for these very octets."""
        octets = await self._find_stored(request)
        if octets is None:
            raise PKIError(ErrorCode.INTERNAL, "the stored answer is missing")
        return octets

    async def _find_stored(self, request: Request) -> bytes | None:
        record = await self._engine.find_transaction(request.key)
        if record is None:
            return None
        return TransactionState.decode(record.state).repeated(request.request_hash)


def _profile_of_reference(request: Request) -> str | None:
    """The certificate profile that the reference value of the secret names."""
    kid = request.header.sender_kid
    by_mac = isinstance(request.proven.protection, MACProtection)
    if not request.alias.profile_by_reference or not by_mac or not kid:
        return None
    return kid.decode("utf-8", "replace")


def _check_several(request: Request) -> None:
    """One CertReqMsg in a message, where the alias says so (CMP-177).

    :raises PKIError: ``BAD_REQUEST``.
    """
    if not request.alias.several_requests:
        raise PKIError(
            ErrorCode.BAD_REQUEST,
            "a message asks for one certificate here",
            hint=f"several_requests of alias {request.alias.name}",
        )


def _check_protection_kind(request: Request) -> None:
    """A key update proves itself by the certificate that is updated.

    **Source:** RFC 9483 section 4.1.3.
    """
    if request.message.body_type is BodyType.KUR and isinstance(
        request.proven.protection, MACProtection
    ):
        raise PKIError(
            ErrorCode.WRONG_INTEGRITY,
            "a key update request is signed with the certificate to be updated",
        )


def _is_same(sealed: Outcome, stored: Outcome) -> bool:
    """Whether what was sealed is what was stored, and not a repeat that won."""
    if isinstance(sealed, Issued) and isinstance(stored, Issued):
        return sealed.certificate.reference == stored.certificate.reference
    if isinstance(sealed, Pending) and isinstance(stored, Pending):
        return sealed.request_id == stored.request_id
    return False
