"""PKCSReq and RenewalReq: one certificate asked for, one answer.

What makes a renewal is who signed, not the messageType: clients of old drafts renew
with 19, signed by the certificate that they have (SCEP-48, SCEP-49).

**Source:** RFC 8894 sections 2.3, 2.5, 3.3.1, 3.3.2 and 4.3.
"""

from __future__ import annotations

import hashlib

from twisted.logger import Logger

from pkid.asn1 import der, oids
from pkid.asn1.names import Name, decode_general_names
from pkid.crypto.algorithms import signature_scheme
from pkid.crypto.certificates import Certificate, subject_alternative_names
from pkid.crypto.possession import SignedPossession, verify_possession
from pkid.crypto.publickeys import decode_spki
from pkid.engine.model import (
    CertificateReference,
    EnrollmentRequest,
    Issued,
    Outcome,
    PossessionMethod,
    ProofOfPossession,
    ProvenPossession,
    RequestedCertificate,
    RequesterKind,
    TransactionKey,
    TransactionRecord,
)
from pkid.errors import ErrorCode, PKIError
from pkid.messages.pkcs10 import CertificationRequest
from pkid.responders.scep.aliases import SCEPAlias
from pkid.responders.scep.answers import Answers, check_can_answer
from pkid.responders.scep.challenges import Challenges, Claim, not_accepted
from pkid.responders.scep.digests import verify_md5_signature
from pkid.responders.scep.doors import Engine
from pkid.responders.scep.profiles import profile_of
from pkid.responders.scep.queries import Queries
from pkid.responders.scep.requests import (
    PROTOCOL,
    Answered,
    Opened,
    Signed,
    SilentError,
)

STATE_VERSION = 1


class Enrollment:
    """Answers requests for certificates."""

    log = Logger()

    def __init__(
        self, engine: Engine, answers: Answers, queries: Queries, challenges: Challenges
    ) -> None:
        self._engine = engine
        self._answers = answers
        self._queries = queries
        self._challenges = challenges

    async def answer(self, opened: Opened) -> Answered:
        """Answer PKCSReq or RenewalReq.

        :raises PKIError: the refusal; `SilentError` until the request is known to be
            its signer's own.
        """
        request = _read_request(opened)
        possession = _check_possession(request, opened.signed.alias)
        row = await self._find_same(opened.signed, request)
        if row is not None:
            outcome = await self._engine.collect(row.key)
            password = (request.challenge_password or "").encode()
            return await self._queries.answer_outcome(
                opened, outcome, repeated=True, password=password
            )
        claim = await self._challenges.claim(opened, request)
        check_can_answer(opened.signed.signer, claim.password)
        return await self._enroll(opened, request, possession, claim)

    async def _find_same(
        self, signed: Signed, request: CertificationRequest
    ) -> TransactionRecord | None:
        """The transaction of the very same request, which lost its answer (SCEP-44)."""
        key = _transaction_key(signed, request)
        for row in await self._engine.find_transactions_by_id(
            PROTOCOL, signed.alias.name, key.transaction_id
        ):
            if row.key == key:
                return row
        return None

    async def _enroll(
        self,
        opened: Opened,
        request: CertificationRequest,
        possession: ProofOfPossession,
        claim: Claim,
    ) -> Answered:
        enrollment = _enrollment(opened.signed, request, possession, claim)

        async def encode_state(_: Outcome) -> bytes:
            # The answer repeats nonces of the question: it is made anew each time.
            return _encode_state(opened.signed)

        try:
            outcome = await self._engine.enroll(enrollment, encode_state)
        except PKIError as error:
            refusal = _refusal_of(error, claim)
            await self._tell_failed(claim, refusal)
            raise refusal from None
        if isinstance(outcome, Issued):
            await self._tell_issued(claim, outcome)
        return await self._queries.answer_outcome(
            opened, outcome, repeated=False, password=claim.password
        )

    # --- services that know challenges --------------------------------------------

    async def _tell_issued(self, claim: Claim, issued: Issued) -> None:
        if claim.validator is None or claim.question is None:
            return
        try:
            await claim.validator.issued(claim.question, issued.der, issued.chain[0])
        except PKIError:
            # The certificate stands; that nobody was told is for the log.
            self.log.failure("scep: {name} was not told", name=claim.validator.name)

    async def _tell_failed(self, claim: Claim, error: PKIError) -> None:
        if claim.validator is None or claim.question is None:
            return
        try:
            await claim.validator.failed(claim.question, error)
        except PKIError:
            self.log.failure("scep: {name} was not told", name=claim.validator.name)


# --- reading ---------------------------------------------------------------------


def _read_request(opened: Opened) -> CertificationRequest:
    """The PKCS #10 inside, if it is the signer's own.

    :raises SilentError: when it cannot be read, or a self-made certificate signed the
        message with another key than the request's (SEC-25).
    """
    try:
        request = CertificationRequest.decode(opened.content)
        Name.decode(request.subject)
        decode_spki(request.spki)
        _ = request.challenge_password, request.extension_request
    except PKIError as error:
        raise SilentError(error.detail) from None
    signed = opened.signed
    if signed.requester is None and signed.signer.spki != request.spki:
        raise SilentError("the message is signed with another key than the request's")
    return request


def _check_possession(
    request: CertificationRequest, alias: SCEPAlias
) -> ProofOfPossession:
    """The request's own signature, in what this entrance takes.

    :raises PKIError: ``BAD_ALGORITHM`` for one that it does not take; `SilentError`
        for a wrong signature.
    """
    proof = SignedPossession(
        request.request_info, request.signature, request.signature_algorithm
    )
    key = decode_spki(request.spki)
    seen = ProvenPossession(PossessionMethod.SIGNATURE, key.fingerprint)
    try:
        if proof.algorithm.oid == oids.MD5_WITH_RSA_ENCRYPTION:
            if not alias.allow_md5:
                raise _digest_not_taken("MD5", "allow_md5", alias)
            verify_md5_signature(key, proof.signature, proof.octets)
            return seen
        scheme = signature_scheme(proof.algorithm, allow_null_parameters=True)
        if scheme.legacy and not alias.allow_sha1:
            raise _digest_not_taken("SHA-1", "allow_sha1", alias)
        verify_possession(
            proof, key, allow_sha1=alias.allow_sha1, allow_null_parameters=True
        )
    except PKIError as error:
        if error.code in (ErrorCode.BAD_ALGORITHM, ErrorCode.BAD_TEMPLATE):
            raise
        raise SilentError(error.detail) from None
    # What the engine would not take by itself was verified here; and what was signed
    # holds the challenge, which must not lie with a request that waits (SCEP-60).
    null = proof.algorithm.parameters == der.NULL and key.family != "rsa"
    keep = not (scheme.legacy or null or request.challenge_password)
    return proof if keep else seen


def _digest_not_taken(name: str, switch: str, alias: SCEPAlias) -> PKIError:
    return PKIError(
        ErrorCode.BAD_ALGORITHM,
        f"requests signed with {name} are not taken here",
        hint=f"{switch} of [scep.alias.{alias.name}]",
    )


# --- what is asked ---------------------------------------------------------------


def _enrollment(
    signed: Signed,
    request: CertificationRequest,
    possession: ProofOfPossession,
    claim: Claim,
) -> EnrollmentRequest:
    renews = _renewed(signed, request)
    requester = claim.requester
    return EnrollmentRequest(
        alias=signed.alias.name,
        context=signed.received.context,
        requester=requester,
        requested=RequestedCertificate(
            subject=Name.decode(request.subject),
            public_key=request.spki,
            extensions=request.extension_request,
        ),
        possession=possession,
        transaction=_transaction_key(signed, request),
        request_hash=hashlib.sha256(request.der).digest(),
        profile=(
            requester.binding.profile
            or (None if renews else profile_of(request, signed.alias))
        ),
        renews=renews,
    )


def _transaction_key(signed: Signed, request: CertificationRequest) -> TransactionKey:
    """What makes a request the same: transactionID, key, request, and what it renews.

    The same transactionID with another request is another transaction; so is the same
    request again, signed by the certificate that came of it: a client that keeps its
    key renews with the request that it has.
    """
    digest = hashlib.sha256(request.der).hexdigest()
    renewed = signed.requester and signed.requester.certificate
    beside = f":{renewed}" if renewed else ""
    return TransactionKey(
        PROTOCOL, signed.alias.name, f"request:{digest}{beside}", signed.transaction
    )


def _renewed(
    signed: Signed, request: CertificationRequest
) -> CertificateReference | None:
    """The certificate that is renewed: the one that signed, if it is of this PKI.

    :raises PKIError: ``BAD_TEMPLATE`` when the request asks for other names.
    """
    requester = signed.requester
    if requester is None or requester.kind is not RequesterKind.CERTIFICATE:
        return None
    _check_same_names(signed.signer, request)
    return requester.certificate


def _check_same_names(signer: Certificate, request: CertificationRequest) -> None:
    """A renewal keeps its names; alternative names may be left out, not changed.

    **Source:** RFC 8894 section 2.3; security requirement SEC-23.
    """
    subject = Name.decode(request.subject)
    if not subject.matches(signer.subject):
        raise _other_names("subject")
    for extension in request.extension_request:
        if extension.oid == oids.ID_CE_SUBJECT_ALT_NAME:
            asked = decode_general_names(der.single(extension.value, der.SEQUENCE))
            if set(asked) != set(subject_alternative_names(signer)):
                raise _other_names("alternative names")


def _other_names(what: str) -> PKIError:
    return PKIError(
        ErrorCode.BAD_TEMPLATE,
        f"a renewal has the {what} of the certificate that it renews",
    )


def _refusal_of(error: PKIError, claim: Claim) -> PKIError:
    """The engine's refusal; who lost a race for a challenge hears the usual words."""
    if (
        error.code is ErrorCode.BAD_MESSAGE_CHECK
        and claim.requester.credential is not None
    ):
        return not_accepted(error.hint or "it was used up meanwhile")
    return error


def _encode_state(signed: Signed) -> bytes:
    """What is kept with a transaction: for people who look for a transactionID."""
    return der.sequence(
        der.integer(STATE_VERSION), der.octet_string(signed.attributes.transaction_id)
    )
