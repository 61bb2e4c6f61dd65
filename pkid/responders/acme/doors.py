"""The doors of the engine that ACME uses, as a protocol: what a test stands in for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from pkid.asn1.names import Name
from pkid.engine.accounts import Accounts
from pkid.engine.credentials import AuthenticationFailure, SharedSecret
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CredentialKind,
    EnrollmentRequest,
    Issued,
    Outcome,
    StateEncoder,
    TransactionKey,
)
from pkid.engine.revocation import RevocationRequest
from pkid.engine.writes import Write


class Engine(Protocol):
    """What ACME asks of `pkid.engine.authority.CertificateAuthority`."""

    @property
    def accounts(self) -> Accounts: ...

    def enroll(
        self,
        request: EnrollmentRequest,
        encode_state: StateEncoder,
        extra: Callable[[Issued], tuple[Write, ...]] | None = None,
    ) -> Awaitable[Outcome]: ...

    def collect(self, key: TransactionKey) -> Awaitable[Outcome]: ...

    def find_secret(
        self, kind: CredentialKind, reference: str, alias: str
    ) -> Awaitable[SharedSecret | None]: ...

    def report_failure(self, failure: AuthenticationFailure) -> Awaitable[None]: ...

    def authority_names(self) -> tuple[str, ...]: ...

    def run(self, work: Coroutine[Any, Any, None]) -> Any: ...  # noqa: ANN401 - a Deferred

    def find_certificate(
        self, reference: CertificateReference
    ) -> Awaitable[CertificateRecord | None]: ...

    def find_certificate_by_issuer(
        self, issuer: Name, serial: int
    ) -> Awaitable[CertificateRecord | None]: ...

    def certificate_der(self, reference: CertificateReference) -> Awaitable[bytes]: ...

    def issuer_chain(self, reference: CertificateReference) -> tuple[bytes, ...]: ...

    def revoke(self, request: RevocationRequest) -> Awaitable[CertificateRecord]: ...
