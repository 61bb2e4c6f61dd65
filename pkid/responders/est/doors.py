"""The doors of the engine that EST uses: what a test must stand in for."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from pkid.asn1.names import Name
from pkid.engine.aliases import Alias
from pkid.engine.authorities import MessageIdentity
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CredentialKind,
    EnrollmentRequest,
    Outcome,
    Requester,
    StateEncoder,
    TransactionKey,
    TransactionRecord,
)
from pkid.engine.ports import CertificateQuery
from pkid.engine.records import CRLRecord
from pkid.engine.revocation import RevocationRequest

__all__ = ["Engine", "MessageIdentity", "RevocationRequest"]


class KeyGenerators(Protocol):
    """Who signs keys that are made here."""

    def identity(self, authority: str) -> MessageIdentity: ...


class Rollover(Protocol):
    """Which certificates of CAs there are."""

    def published(self, name: str) -> tuple[bytes, ...]: ...


class Engine(Protocol):
    """What EST asks of `pkid.engine.authority.CertificateAuthority`."""

    @property
    def key_generators(self) -> KeyGenerators:
        """The identities that sign keys made for others."""
        ...

    @property
    def rollover(self) -> Rollover:
        """Changes of CA keys."""
        ...

    def enroll(
        self, request: EnrollmentRequest, encode_state: StateEncoder
    ) -> Awaitable[Outcome]: ...

    def find_transaction(
        self, key: TransactionKey
    ) -> Awaitable[TransactionRecord | None]: ...

    def collect(self, key: TransactionKey) -> Awaitable[Outcome]: ...

    def begin(self, record: TransactionRecord) -> Awaitable[None]: ...

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

    def find_certificate(
        self, reference: CertificateReference
    ) -> Awaitable[CertificateRecord | None]: ...

    def find_certificate_by_issuer(
        self, issuer: Name, serial: int
    ) -> Awaitable[CertificateRecord | None]: ...

    def certificate_der(self, reference: CertificateReference) -> Awaitable[bytes]: ...

    def search_certificates(
        self, query: CertificateQuery
    ) -> Awaitable[Sequence[CertificateRecord]]: ...

    def revoke(self, request: RevocationRequest) -> Awaitable[CertificateRecord]: ...

    def chain(self, authority: str) -> tuple[bytes, ...]: ...

    def message_identity(self, authority: str) -> MessageIdentity: ...

    def authority_subject(self, authority: str) -> Name: ...

    def latest_crl(self, authority: str) -> Awaitable[CRLRecord]: ...
