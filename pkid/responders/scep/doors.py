"""The doors of the engine that SCEP uses, as a protocol."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from pkid.asn1.names import Name
from pkid.engine.aliases import Alias
from pkid.engine.challenges import PageChallenge
from pkid.engine.credentials import AuthenticationFailure, IssuedSecret, SharedSecret
from pkid.engine.exchange import ExchangeIdentity, ExchangeKind
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CredentialKind,
    EnrollmentRequest,
    Outcome,
    RequestContext,
    Requester,
    StateEncoder,
    TransactionKey,
    TransactionRecord,
)
from pkid.engine.records import CRLRecord


class Exchanges(Protocol):
    """Who opens requests."""

    def get(self, authority: str, kind: ExchangeKind) -> ExchangeIdentity: ...


class Minting(Protocol):
    """Who makes challenges for a page."""

    async def mint(
        self, wanted: PageChallenge, context: RequestContext
    ) -> IssuedSecret: ...


class Engine(Protocol):
    """What SCEP asks of `pkid.engine.authority.CertificateAuthority`."""

    @property
    def exchange(self) -> Exchanges: ...

    @property
    def challenges(self) -> Minting: ...

    def enroll(
        self, request: EnrollmentRequest, encode_state: StateEncoder
    ) -> Awaitable[Outcome]: ...

    def find_transactions_by_id(
        self, protocol: str, alias: str, transaction_id: bytes
    ) -> Awaitable[Sequence[TransactionRecord]]: ...

    def collect(self, key: TransactionKey) -> Awaitable[Outcome]: ...

    def find_secret(
        self, kind: CredentialKind, reference: str, alias: str
    ) -> Awaitable[SharedSecret | None]: ...

    def find_challenge(
        self, challenge: bytes, alias: str
    ) -> Awaitable[SharedSecret | None]: ...

    def report_failure(self, failure: AuthenticationFailure) -> Awaitable[None]: ...

    def identify(
        self, alias: Alias, leaf: bytes, others: Sequence[bytes]
    ) -> Awaitable[Requester]: ...

    def find_certificate_by_issuer(
        self, issuer: Name, serial: int
    ) -> Awaitable[CertificateRecord | None]: ...

    def certificate_der(self, reference: CertificateReference) -> Awaitable[bytes]: ...

    def chain(self, authority: str) -> tuple[bytes, ...]: ...

    def next_chain(self, authority: str) -> tuple[bytes, ...]: ...

    def authority_subject(self, authority: str) -> Name: ...

    def latest_crl(self, authority: str) -> Awaitable[CRLRecord]: ...
