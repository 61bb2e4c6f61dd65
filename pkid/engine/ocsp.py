"""Certificate status on demand: who may answer for a CA, and what is answered.

An answer without a nonce is signed at its first demand and given out again until half
its time has passed, or until the certificate's state changes: the state is looked up
in the store each time, so that a revocation shows at once, whoever carried it out.

Only what the CA itself has delegated to answers in its name: a certificate with
OCSPSigning and nocheck, made through the one path and renewed like all service
certificates, or by setting the CA's own key.

**Source:** RFC 6960 sections 2.2, 4.2 and 4.4; RFC 5019; ENG-32, SEC-75 to 77, SEC-81.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from twisted.logger import Logger

from pkid.asn1 import der
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto import ocsp
from pkid.crypto.algorithms import hash_name_of
from pkid.crypto.certificates import Certificate
from pkid.engine.aliases import AuthoritySettings, OCSPMode, Policies, UnknownSerial
from pkid.engine.authorities import Authorities, Authority
from pkid.engine.creation import Creation, ServiceCertificate
from pkid.engine.model import (
    CertificateReference,
    CertificateState,
    CertificateStatus,
    RequestContext,
    RevocationReason,
)
from pkid.engine.ports import Clock, KeyStore, StatusSigner, Store
from pkid.engine.records import AuthorityPhase
from pkid.errors import ErrorCode, PKIError

PROFILE: Final = "ocsp"
#: Answers kept for the next who asks, each about a kilobyte.
MAX_ANSWERS: Final = 8192
_MOST_SERIAL: Final = 1 << 159
_NO_PARAMETERS: Final = (None, der.NULL)
_REVOKED: Final = (CertificateStatus.REVOKED, CertificateStatus.HELD)


@dataclass(frozen=True, slots=True)
class StatusQuestion:
    """One certificate that is asked about.

    :ivar octets: the ``CertID`` whole, which the answer repeats.
    """

    octets: bytes
    hash_algorithm: AlgorithmIdentifier
    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StatusAnswer:
    """A signed answer; equal only to itself, so that it can be a key.

    :ivar octets: ``BasicOCSPResponse``.
    :ivar tag: another one for other octets.
    :ivar max_age: how long caches may give it out unasked; zero: not at all.
    """

    octets: bytes
    tag: str
    produced_at: datetime
    next_update: datetime
    max_age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResponseSigner:
    """Who answers for one authority.

    :ivar certificate: delegated to it by the authority; b"" for the authority itself.
    :ivar certificates: ``certs`` of its answers, encoded.
    """

    signer: StatusSigner
    certificate: bytes
    responder_id: bytes
    certificates: bytes
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Kept:
    """An answer, and what it was made of."""

    answer: StatusAnswer
    signer: ResponseSigner
    settings: AuthoritySettings
    states: tuple[CertificateState | None, ...]
    until: datetime

    def serves(
        self,
        signer: ResponseSigner,
        settings: AuthoritySettings,
        states: tuple[CertificateState | None, ...],
        now: datetime,
    ) -> bool:
        return (
            self.states == states
            and self.signer is signer
            and now < self.until
            and self.answer.produced_at <= now
            and (self.settings is settings or self.settings == settings)
        )


class StatusAnswers:
    """Answers for all authorities of this daemon."""

    log = Logger()

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyStore,
        authorities: Authorities,
        creation: Creation,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._store = store
        self._keys = keys
        self._authorities = authorities
        self._creation = creation
        self._policies = policies
        self._clock = clock
        self._signers: dict[str, ResponseSigner] = {}
        self._issuers = _Issuers(authorities)
        self._kept: dict[tuple[bytes, ...], _Kept] = {}
        self._budgets: dict[str, _Budget] = {}
        self._prepared_for = -1
        self._told_by: Policies | None = None
        self._told: dict[str, AuthoritySettings] = {}

    # --- answering ---------------------------------------------------------------

    async def answer(
        self, questions: Sequence[StatusQuestion], nonce: bytes | None = None
    ) -> StatusAnswer:
        """The status of certificates of one authority, signed.

        :param questions: at least one; those of other issuers than the first of ours
            are unknown to it.
        :param nonce: value to repeat. Above the authority's rate of signatures it is
            left out, as RFC 5019 section 2.2.1 allows.
        :raises PKIError: ``NOT_AUTHORIZED`` when none is of an authority that answers
            here, ``UNAVAILABLE`` without a signer, ``BUSY`` above the rate.

        Cost: about 10 us when it is kept, a signature and 30 us more when not.
        """
        name = self._authority_of(questions)
        settings = self._settings(name)
        signer = self._signers.get(name)
        now = self._clock.now()
        if settings.ocsp is OCSPMode.OFF:
            raise _not_ours()
        if signer is None or signer.not_after <= now:
            raise _no_signer(name)
        states = tuple([await self._state(name, one) for one in questions])
        admitted = nonce is not None and self._admits(name, settings)
        key = tuple([one.octets for one in questions])
        if not admitted:
            kept = self._kept.get(key)
            if kept is not None and kept.serves(signer, settings, states, now):
                return kept.answer
            if nonce is not None or not self._admits(name, settings):
                raise PKIError(
                    ErrorCode.BUSY, "too many answers to sign", retry_after=1
                )
            nonce = None
        work = _Work(name, self._issuers, questions, states, settings, now)
        answer = await _sign(work, signer, nonce)
        if nonce is None:
            self._keep(key, answer, signer, settings, states)
        return answer

    def _authority_of(self, questions: Sequence[StatusQuestion]) -> str:
        for question in questions:
            name = self._issuers.find(question)
            if name is not None:
                return name
        raise _not_ours()

    def _settings(self, name: str) -> AuthoritySettings:
        """What the configuration says of an authority's line, kept while it stands."""
        policies = self._policies()
        if self._told_by is not policies or self._issuers.are_stale:
            self._told_by = policies
            self._told.clear()
        found = self._told.get(name)
        if found is None:
            found = policies.authority(self._authorities.line(name))
            self._told[name] = found
        return found

    async def _state(
        self, name: str, question: StatusQuestion
    ) -> CertificateState | None:
        if not 0 < question.serial < _MOST_SERIAL:
            return None
        if self._issuers.find(question) != name:
            return None
        reference = CertificateReference(name, question.serial)
        return await self._store.find_state(reference)

    def _admits(self, name: str, settings: AuthoritySettings) -> bool:
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = _Budget(self._clock)
        return budget.admits(settings.ocsp_signatures)

    def _keep(
        self,
        key: tuple[bytes, ...],
        answer: StatusAnswer,
        signer: ResponseSigner,
        settings: AuthoritySettings,
        states: tuple[CertificateState | None, ...],
    ) -> None:
        self._kept.pop(key, None)
        if len(self._kept) >= MAX_ANSWERS:
            # The one that was signed longest ago: of those in use it is due soonest.
            del self._kept[next(iter(self._kept))]
        half = (answer.next_update - answer.produced_at) / 2
        self._kept[key] = _Kept(
            answer=answer,
            signer=signer,
            settings=settings,
            states=states,
            until=answer.produced_at + half,
        )

    # --- who answers -------------------------------------------------------------

    async def prepare(self, context: RequestContext) -> int:
        """Give every authority at work its signer, or a fresh one in time.

        One authority that cannot have it does not keep the others from theirs: it goes
        on with the one it has, as long as that is valid.

        :returns: how many signers are new.
        """
        fresh = 0
        self._prepared_for = self._authorities.revision
        for name in self._authorities.names():
            try:
                fresh += await self._prepare(self._authorities.get(name), context)
            except PKIError as error:
                self.log.critical(
                    "{authority} has no new OCSP signer: {detail} {hint}",
                    authority=name,
                    detail=error.detail,
                    hint=error.hint or "",
                )
        return fresh

    async def refresh(self, context: RequestContext) -> int:
        """As `prepare`, when authorities came or changed since the last time."""
        if self._prepared_for == self._authorities.revision:
            return 0
        return await self.prepare(context)

    async def _prepare(self, authority: Authority, context: RequestContext) -> int:
        settings = self._settings(authority.name)
        before = self._signers.get(authority.name)
        if settings.ocsp is OCSPMode.OFF:
            self._signers.pop(authority.name, None)
            return 0
        if _answers_itself(authority, settings):
            after = _own_signer(authority)
        else:
            after = await self._delegate(authority, settings, context)
        if before is not None and _same(before, after):
            return 0
        self._signers[authority.name] = after
        return 1

    async def _delegate(
        self,
        authority: Authority,
        settings: AuthoritySettings,
        context: RequestContext,
    ) -> ResponseSigner:
        name = f"ocsp-{authority.name}"
        wanted = ServiceCertificate(
            name=name,
            authority=authority.name,
            profile=PROFILE,
            subject=_subject(authority),
            key_spec=settings.ocsp_key or _fitting_key(authority),
            purpose="status-signing",
        )
        made = await self._creation.issue_service_certificate(wanted, context)
        signer = await self._keys.status_signer(f"service-{name}")
        certificate = Certificate.decode(made.certificate)
        return ResponseSigner(
            signer=signer,
            certificate=made.certificate,
            responder_id=ocsp.responder_by_key(certificate.spki),
            certificates=ocsp.encode_certificates((made.certificate,)),
            not_after=certificate.not_after,
        )

    def signer_of(self, authority: str) -> ResponseSigner | None:
        """Who answers for an authority now."""
        return self._signers.get(authority)


def _answers_itself(authority: Authority, settings: AuthoritySettings) -> bool:
    """Whether the CA's own key signs: by setting, or since it issues nothing more."""
    return settings.ocsp is OCSPMode.DIRECT or authority.phase is AuthorityPhase.FORMER


def _not_ours() -> PKIError:
    return PKIError(
        ErrorCode.NOT_AUTHORIZED,
        "certificates of this issuer are not answered for here",
        hint="the issuer of the OCSP request is no authority here, or its ocsp is off",
    )


def _no_signer(name: str) -> PKIError:
    return PKIError(
        ErrorCode.UNAVAILABLE,
        "the certification authority has no OCSP signer",
        hint=f"authority {name}: its key is out of reach, or the profile {PROFILE} "
        "does not fit it",
        retry_after=60,
    )


def _same(before: ResponseSigner, after: ResponseSigner) -> bool:
    return (
        before.certificate == after.certificate
        and before.responder_id == after.responder_id
        and before.not_after == after.not_after
    )


def _own_signer(authority: Authority) -> ResponseSigner:
    certificate = Certificate.decode(authority.certificate)
    return ResponseSigner(
        signer=authority.status_signer,
        certificate=b"",
        responder_id=ocsp.responder_by_key(authority.key.spki),
        certificates=b"",
        not_after=certificate.not_after,
    )


def _subject(authority: Authority) -> Name:
    common_name = Name.build([[("2.5.4.3", f"{authority.name} OCSP responder")]])
    return Name.of([*authority.subject.rdns[:-1], *common_name.rdns])


def _fitting_key(authority: Authority) -> str:
    """A key that whoever verifies the authority's signatures verifies too."""
    family = authority.key.family
    if family == "rsa":
        return "rsa:2048"
    return family if family.startswith(("ml-dsa", "ed")) else "ec:P-256"


class _Issuers:
    """Authorities by the hashes that requests name them by."""

    def __init__(self, authorities: Authorities) -> None:
        self._authorities = authorities
        self._revision = -1
        self._tables: dict[str, dict[tuple[bytes, bytes], str]] = {}

    @property
    def are_stale(self) -> bool:
        """Whether authorities came since the tables were made."""
        return self._revision != self._authorities.revision

    def find(self, question: StatusQuestion) -> str | None:
        """Name of the authority; None for another or an unknown digest."""
        if self.are_stale:
            self._revision = self._authorities.revision
            self._tables.clear()
        if question.hash_algorithm.parameters not in _NO_PARAMETERS:
            return None
        table = self._tables.get(question.hash_algorithm.oid)
        if table is None:
            try:
                hash_name = hash_name_of(question.hash_algorithm)
            except PKIError:
                return None
            table = self._table(hash_name)
            self._tables[question.hash_algorithm.oid] = table
        return table.get((question.issuer_name_hash, question.issuer_key_hash))

    def _table(self, hash_name: str) -> dict[tuple[bytes, bytes], str]:
        found = map(self._authorities.get, self._authorities.names())
        return {
            (
                ocsp.issuer_name_hash(hash_name, authority.subject.der),
                ocsp.issuer_key_hash(hash_name, authority.key.spki),
            ): authority.name
            for authority in found
        }


class _Budget:
    """Signatures that may be made: a second's worth is saved up."""

    __slots__ = ("_at", "_clock", "_left")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self._left = float("inf")

    def admits(self, rate: int) -> bool:
        """Whether one more may be made now, at ``rate`` a second."""
        now = self._clock.monotonic()
        left = min(rate, self._left + (now - self._at) * rate)
        self._at = now
        self._left = left - 1 if left >= 1 else left
        return left >= 1


@dataclass(frozen=True, slots=True)
class _Work:
    """An answer to be signed."""

    authority: str
    issuers: _Issuers
    questions: Sequence[StatusQuestion]
    states: tuple[CertificateState | None, ...]
    settings: AuthoritySettings
    now: datetime

    @property
    def names_unknown(self) -> bool:
        """Whether it is asked for a certificate that was never issued."""
        return None in self.states

    def status(self, index: int) -> bytes:
        """``CertStatus`` of one certificate."""
        state = self.states[index]
        if state is None:
            said = self.settings.ocsp_unknown is UnknownSerial.REVOKED
            if said and self.issuers.find(self.questions[index]) == self.authority:
                # RFC 6960 section 2.2: so that nobody takes it for good.
                hold = RevocationReason.CERTIFICATE_HOLD
                return ocsp.revoked(ocsp.NEVER_ISSUED_AT, hold)
            return ocsp.UNKNOWN
        if state.status in _REVOKED and state.revoked_at is not None:
            return ocsp.revoked(state.revoked_at, int(state.reason or 0))
        return ocsp.GOOD

    def single_extensions(self) -> tuple[Extension, ...]:
        """Of every single response."""
        cutoff = self.settings.ocsp_archive_cutoff
        return () if cutoff is None else (ocsp.archive_cutoff(self.now - cutoff),)

    def extensions(self, nonce: bytes | None) -> tuple[Extension, ...]:
        """Of the whole answer."""
        found: tuple[Extension, ...] = ()
        if nonce is not None:
            found = (ocsp.nonce(nonce),)
        if self.names_unknown and self.settings.ocsp_unknown is UnknownSerial.REVOKED:
            found += (ocsp.extended_revoke(),)
        return found


async def _sign(
    work: _Work, signer: ResponseSigner, nonce: bytes | None
) -> StatusAnswer:
    now = work.now.replace(microsecond=0)
    next_update = min(now + work.settings.ocsp_validity, signer.not_after)
    extensions = work.single_extensions()
    data = ocsp.encode_response_data(
        signer.responder_id,
        now,
        [
            ocsp.encode_single_response(
                question.octets, work.status(index), now, next_update, extensions
            )
            for index, question in enumerate(work.questions)
        ],
        work.extensions(nonce),
    )
    algorithm = signer.signer.algorithm
    signature = await signer.signer.sign_status(data)
    octets = ocsp.encode_basic_response(data, algorithm, signature, signer.certificates)
    # One never issued may be issued the next moment.
    cached = nonce is None and not work.names_unknown
    half = (next_update - now) / 2
    age = min(work.settings.ocsp_max_age, half) if cached else timedelta(0)
    return StatusAnswer(
        octets=octets,
        tag=hashlib.sha256(octets).hexdigest()[:32] if nonce is None else "",
        produced_at=now,
        next_update=next_update,
        max_age=age,
    )
