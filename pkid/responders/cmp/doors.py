"""The doors of the engine that CMP uses, as a protocol: what a test must stand in for.

Every coroutine-like door returns something to await; in the engine it is a Deferred.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Protocol

from pkid.asn1.names import Name
from pkid.engine.aliases import Alias
from pkid.engine.authorities import AgreementIdentity, KEMIdentity, MessageIdentity
from pkid.engine.confirmation import Confirmation
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.elsewhere import Elsewhere
from pkid.engine.keyarchive import KeyArchive
from pkid.engine.keygenerators import KeyGenerators
from pkid.engine.keyreceivers import KeyReceivers
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
from pkid.engine.passphrases import Passphrases
from pkid.engine.ports import CertificateQuery
from pkid.engine.records import CRLRecord
from pkid.engine.revocation import RevocationRequest
from pkid.engine.rollover import Rollover
from pkid.engine.sealing import StateSealing
from pkid.engine.writes import AppendAudit

__all__ = ["Confirmation", "Engine", "MessageIdentity", "RevocationRequest"]


class Engine(Protocol):
    """What CMP asks of `pkid.engine.authority.CertificateAuthority`."""

    @property
    def key_generators(self) -> KeyGenerators: ...

    @property
    def key_archive(self) -> KeyArchive: ...

    @property
    def key_receivers(self) -> KeyReceivers: ...

    @property
    def elsewhere(self) -> Elsewhere: ...

    def enroll(
        self, request: EnrollmentRequest, encode_state: StateEncoder
    ) -> Awaitable[Outcome]: ...

    def find_transaction(
        self, key: TransactionKey
    ) -> Awaitable[TransactionRecord | None]: ...

    def find_transactions_by_id(
        self, protocol: str, alias: str, transaction_id: bytes
    ) -> Awaitable[Sequence[TransactionRecord]]: ...

    def collect(self, key: TransactionKey) -> Awaitable[Outcome]: ...

    def remember(
        self, record: TransactionRecord, state: bytes, due: datetime | None = None
    ) -> Awaitable[TransactionRecord]: ...

    def begin(
        self, record: TransactionRecord, *events: AppendAudit
    ) -> Awaitable[None]: ...

    def confirm(self, confirmation: Confirmation) -> Awaitable[None]: ...

    def find_secret(
        self, kind: CredentialKind, reference: str, alias: str
    ) -> Awaitable[SharedSecret | None]: ...

    def report_failure(self, failure: AuthenticationFailure) -> Awaitable[None]: ...

    def identify(
        self,
        alias: Alias,
        leaf: bytes,
        others: Sequence[bytes],
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

    @property
    def rollover(self) -> Rollover: ...

    @property
    def passphrases(self) -> Passphrases: ...

    @property
    def sealing(self) -> StateSealing: ...

    def authority_names(self) -> tuple[str, ...]: ...

    def chain(self, authority: str) -> tuple[bytes, ...]: ...

    def message_identity(self, authority: str) -> MessageIdentity: ...

    def own_message_identity(self, authority: str) -> MessageIdentity: ...

    def find_agreement_identity(self, authority: str) -> AgreementIdentity | None: ...

    def find_kem_identity(self, authority: str) -> KEMIdentity | None: ...

    def authority_subject(self, authority: str) -> Name: ...

    def latest_crl(self, authority: str) -> Awaitable[CRLRecord]: ...
