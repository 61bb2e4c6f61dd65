"""What the engine needs from its suppliers: plain protocols over plain values.

Every read and every commit is a coroutine, so that a store in another process or on
another machine fits. Writes are values: one `Store.commit` takes all the writes of one
decision and makes them durable together or not at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred

from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.engine.model import (
    CertificateRecord,
    CertificateReference,
    CertificateState,
    CertificateStatus,
    Credential,
    CredentialKind,
    EndEntity,
    GeneratedKey,
    PreparedCertificate,
    TransactionKey,
    TransactionRecord,
    TransactionStatus,
)
from pkid.engine.orders import Account, Identifier, IdentifierAuthorization, Order
from pkid.engine.records import (
    ApprovalRequest,
    ApprovalStatus,
    ArchivedKey,
    AuditRecord,
    AuthorityRecord,
    CRLEntries,
    CRLHead,
    CRLRecord,
    KeyHandleRecord,
)
from pkid.engine.writes import InsertAuditCheckpoint, Write

P = ParamSpec("P")
R = TypeVar("R")

# --- writes --------------------------------------------------------------------


# --- store ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutboxTask:
    """A publication that is still to be done."""

    id: int
    kind: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateQuery:
    """Search, newest first; keyset: ``before`` continues after a page.

    :ivar subject_prefix: prefix of the RFC 4514 text.
    """

    authority: str | None = None
    entity: str | None = None
    status: CertificateStatus | None = None
    subject_prefix: str | None = None
    serial: int | None = None
    before: tuple[datetime, int] | None = None
    limit: int = 100


class Store(Protocol):
    """Everything durable. Reads see what was committed before they were called."""

    def commit(self, *writes: Write) -> Deferred[None]:
        """Make all writes durable together; fires once they are.

        :raises WriteConflict: nothing was stored.
        :raises PKIError: ``UNAVAILABLE`` when the store cannot write (disk full).
        """

    async def find_certificate(
        self, reference: CertificateReference
    ) -> CertificateRecord | None: ...

    async def find_state(
        self, reference: CertificateReference
    ) -> CertificateState | None:
        """The status alone, for where it is asked for in numbers."""
        ...

    async def find_certificate_by_fingerprint(
        self, fingerprint: bytes
    ) -> CertificateRecord | None: ...

    async def find_certificates_by_key(
        self, spki_hash: bytes
    ) -> Sequence[CertificateRecord]: ...

    async def find_certificates_by_key_id(
        self, subject_key_id: bytes
    ) -> Sequence[CertificateRecord]: ...

    async def get_certificate_der(self, reference: CertificateReference) -> bytes: ...

    async def search_certificates(
        self, query: CertificateQuery
    ) -> Sequence[CertificateRecord]: ...

    async def find_transaction(
        self, key: TransactionKey
    ) -> TransactionRecord | None: ...

    async def find_transactions_by_id(
        self, protocol: str, alias: str, transaction_id: bytes
    ) -> Sequence[TransactionRecord]: ...

    async def due_transactions(
        self, status: TransactionStatus, before: datetime, limit: int
    ) -> Sequence[TransactionRecord]: ...

    async def count_transactions(self, status: TransactionStatus, limit: int) -> int:
        """How many there are of one status, counted no further than ``limit``."""
        ...

    async def find_credential(
        self, kind: CredentialKind, reference: str
    ) -> Credential | None: ...

    async def list_credentials(self) -> Sequence[Credential]: ...

    async def find_entity(self, name: str) -> EndEntity | None: ...

    async def find_entity_by_vendor(self, pattern: str) -> EndEntity | None: ...

    async def list_entities(
        self, after: str = "", limit: int = 1000
    ) -> Sequence[EndEntity]: ...

    async def find_approval(self, request_id: str) -> ApprovalRequest | None: ...

    async def list_approvals(
        self, status: ApprovalStatus | None = None, limit: int = 1000
    ) -> Sequence[ApprovalRequest]: ...

    async def find_account(self, account: str) -> Account | None: ...

    async def find_account_by_key(
        self, alias: str, thumbprint: str
    ) -> Account | None: ...

    async def is_account_key(self, spki_hash: bytes) -> bool: ...

    async def list_accounts(
        self, after: str = "", limit: int = 1000
    ) -> Sequence[Account]: ...

    async def find_order(self, order: str) -> Order | None: ...

    async def list_orders(
        self, account: str, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Order]: ...

    async def processing_orders(self, limit: int) -> Sequence[Order]: ...

    async def find_identifier_authorization(
        self, authorization: str
    ) -> IdentifierAuthorization | None: ...

    async def authorizations_of(
        self, account: str, identifier: Identifier, after: datetime
    ) -> Sequence[IdentifierAuthorization]: ...

    async def find_authority(self, name: str) -> AuthorityRecord | None: ...

    async def list_authorities(self) -> Sequence[AuthorityRecord]: ...

    async def latest_crl(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> CRLRecord | None: ...

    async def crl_head(
        self, authority: str, partition: int = 0, *, delta: bool = False
    ) -> CRLHead | None:
        """The latest CRL without its octets."""
        ...

    async def crl_partitions(self, authority: str) -> int:
        """The highest partition that has a CRL or an entry."""
        ...

    async def crl_revision(self, authority: str, partition: int) -> int:
        """The last change of an entry of one CRL; 0 when there is none."""
        ...

    def read_crl_entries(
        self,
        authority: str,
        partition: int,
        *,
        not_expired_at: datetime,
        after: int | None = None,
    ) -> CRLEntries:
        """Entries of certificates not expired then, by serial; blocks: for a worker.

        :param after: for a delta CRL: what changed after this revision, released ones
            too; None for a full one.
        """
        ...

    async def find_key_handle(self, name: str) -> KeyHandleRecord | None: ...

    async def archived_keys(self, entity: str, limit: int) -> Sequence[ArchivedKey]:
        """Archived private keys of an end entity, newest first."""
        ...

    async def own_keys(self) -> Sequence[bytes]:
        """SubjectPublicKeyInfo of all our own keys."""
        ...

    async def outbox(self, limit: int, after: int = 0) -> Sequence[OutboxTask]:
        """Tasks in order, those behind one."""
        ...

    async def outbox_head(self) -> int:
        """The last id that a task got; 0 when there never was one."""
        ...

    async def publisher_position(self, name: str) -> int | None:
        """How far a publisher came; None for one never heard of."""
        ...

    async def audit_head(self) -> tuple[int, bytes]:
        """Sequence and digest of the last audit record; (0, 32 zero octets) if none."""
        ...

    def audit_records(self, after: int = 0) -> AsyncIterator[AuditRecord]:
        """All audit records in order, from ``after`` on, in bounded slices."""
        ...

    async def search_audit(self, text: str, limit: int) -> Sequence[AuditRecord]:
        """Newest records in which ``text`` stands as a whole field.

        Peer, transaction, certificate, entity, subject or actor; peer and subject also
        by prefix.
        """
        ...

    async def audit_checkpoints(self) -> Sequence[InsertAuditCheckpoint]: ...


# --- keys ----------------------------------------------------------------------


class CertificateSigner(Protocol):
    """A CA's key. It signs prepared certificates and nothing else."""

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        ...

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The signature algorithm it signs with."""
        ...

    def sign(self, prepared: PreparedCertificate) -> Deferred[bytes]:
        """The signature over a prepared certificate; software EC fires at once.

        :raises PKIError: ``UNAVAILABLE`` when the key is out of reach, ``INTERNAL``
            when the token was used already or belongs to another authority.
        """


class StatusSigner(Protocol):
    """Signs CRLs and OCSP responses, never a certificate."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def algorithm(self) -> AlgorithmIdentifier: ...

    def sign_status(self, tbs: bytes) -> Deferred[bytes]:
        """The signature over a TBSCertList or ResponseData.

        :raises PKIError: ``INTERNAL`` for octets that are a TBSCertificate.
        """


class MessageSigner(Protocol):
    """Signs protocol messages (CMP, later CMC, SCEP), never a certificate."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def algorithm(self) -> AlgorithmIdentifier: ...

    def sign_message(
        self, octets: bytes, algorithm: AlgorithmIdentifier | None = None
    ) -> Deferred[bytes]:
        """The signature over a protected part.

        :param algorithm: another one that fits the key, where the other side knows no
            better (SCEP answers in the request's digest); None takes ``algorithm``.
        :raises PKIError: ``INTERNAL`` for octets that are a TBSCertificate or a
            TBSCertList; ``BAD_ALGORITHM`` for one that does not fit.
        """


class Decrypter(Protocol):
    """An RSA key that opens what was encrypted to it; it signs nothing."""

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        ...

    def recover_key(
        self, algorithm: AlgorithmIdentifier, encrypted_key: bytes, size: int
    ) -> Deferred[bytes]:
        """The content's key; a random one whatever is wrong with the encrypted key.

        :param algorithm: of the key transport (PKCS #1 v1.5 or OAEP).
        :param size: octets that the content's key has.
        :raises PKIError: ``BAD_ALGORITHM`` for another algorithm, before the key is
            used; ``BUSY`` when too many wait.
        """
        ...


class KeyAgreement(Protocol):
    """An EC, X25519 or X448 key that agrees upon secrets; it signs nothing."""

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        ...

    def agree(self, public_key: bytes) -> Deferred[bytes]:
        """The secret (Z) shared with the owner of another key of the same kind.

        :param public_key: SubjectPublicKeyInfo of the other side.
        :raises PKIError: ``BAD_MESSAGE_CHECK`` when that key does not fit ours.
        """
        ...


class Decapsulation(Protocol):
    """A KEM key that opens what was encapsulated to it; it signs nothing."""

    @property
    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo."""
        ...

    @property
    def algorithm(self) -> AlgorithmIdentifier:
        """The KEM."""
        ...

    def decapsulate(
        self, algorithm: AlgorithmIdentifier, ciphertext: bytes
    ) -> Deferred[bytes]:
        """The shared secret; a forged ciphertext gives one too.

        :param algorithm: the KEM as the message names it.
        :raises PKIError: ``BAD_ALGORITHM`` when it is not ours, ``BAD_MESSAGE_CHECK``
            for a ciphertext of a wrong size.
        """
        ...


class KeyStore(Protocol):
    """Makes and opens keys by name; a name's purpose never changes."""

    async def generate(self, name: str, spec: str, purpose: str) -> bytes:
        """Make a key (idempotent: an existing one of the same purpose is kept).

        :param spec: "ec:P-256", "rsa:2048", "ed25519", "ml-dsa-65" ...; for
            "key-agreement" also "x25519" and "x448", for "decapsulation" "ml-kem-768"
            and "ml-kem-1024", for "decryption" and "message-exchange" RSA only.
        :returns: SubjectPublicKeyInfo.
        """
        ...

    async def certificate_signer(self, name: str) -> CertificateSigner: ...

    async def status_signer(self, name: str) -> StatusSigner:
        """A CA's CRL signer: may be opened on a "certificate-signing" key."""
        ...

    async def message_signer(
        self, name: str, *, of_authority: bool = False
    ) -> MessageSigner:
        """A signer of messages.

        :param of_authority: open a CA's own key, where the CA itself speaks SCEP.
        """
        ...

    async def decrypter(self, name: str) -> Decrypter:
        """A "decryption" or "message-exchange" key, or a CA's own RSA key."""
        ...

    async def key_agreement(self, name: str) -> KeyAgreement: ...

    async def decapsulation(self, name: str) -> Decapsulation: ...

    async def public_key_of(self, private_key: bytes) -> bytes:
        """SubjectPublicKeyInfo of a private key that somebody handed over.

        :param private_key: PKCS #8, not encrypted; nothing of it is kept.
        :raises PKIError: ``BAD_REQUEST`` when it is none.
        """
        ...

    async def generate_pair(self, spec: str) -> GeneratedKey:
        """Make a key pair for somebody else; nothing of it is kept.

        :param spec: one exact kind: those of `generate`, whatever their purpose.
        :raises PKIError: ``BAD_ALGORITHM`` for a kind that cannot be made here.
        """
        ...


class SecretBox(Protocol):
    """Seals secrets at rest (AES-GCM under a key from ``keys/``)."""

    def seal(self, secret: bytes, associated: bytes) -> bytes: ...

    def open(self, sealed: bytes, associated: bytes) -> bytes: ...

    def index(self, secret: bytes) -> bytes:
        """A keyed digest of a secret, 32 octets, by which a row of it is found."""
        ...


class Publisher(Protocol):
    """Puts public files where relying parties fetch them."""

    async def put(self, path: str, octets: bytes) -> None:
        """Replace one file atomically.

        :param path: relative, "crls/issuing.crl".
        """
        ...


# --- validators ------------------------------------------------------------------


# --- the rest ------------------------------------------------------------------


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Wall time, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only ever rise, from an arbitrary start."""
        ...


class Workers(Protocol):
    """Runs plain functions of frozen values off the reactor thread."""

    def run(
        self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Deferred[R]:
        """Run it there.

        :raises PKIError: ``BUSY`` when the bounded queue is full.
        """

    def pace(self, steps: Generator[None, None, R]) -> Deferred[R]:
        """Run it in the reactor's thread, a step a turn, one after another.

        For computation that would hold the interpreter's lock in any thread.

        :raises PKIError: ``BUSY`` when too many wait.
        """


# --- control of identifiers ------------------------------------------------------
