"""The values of the engine: what is asked, who asks, what came of it, what is stored.

Protocol-neutral and frozen; suppliers and responders import them. Times are aware UTC
datetimes, octets are DER unless said otherwise, names are `Name`.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pkid.asn1.constructors import constructor
from pkid.asn1.names import Name
from pkid.asn1.x509 import AlgorithmIdentifier, Extension
from pkid.crypto.possession import SignedPossession
from pkid.errors import ErrorCode, PKIError

# --- what is asked -------------------------------------------------------------


class RequesterKind(enum.Enum):
    """How a requester proved who it is."""

    CREDENTIAL = "credential"  # a shared secret, enrolment code, challenge
    CERTIFICATE = "certificate"  # a certificate of this PKI
    VENDOR = "vendor"  # a certificate of a configured vendor root
    REGISTRATION_AUTHORITY = "registration-authority"
    AUTHORITY = "authority"  # a CA of another PKI that is trusted to cross-certify
    ACCOUNT = "account"  # an account that has proven control of all that it names
    OPERATOR = "operator"  # a person at the tool or at REST
    SYSTEM = "system"  # the daemon itself: its CAs and service certificates
    KEY = "key"  # nobody known: only a key, and an approver has to decide
    ANONYMOUS = "anonymous"  # nobody proved anything; only where an entrance says so


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialBinding:
    """What a shared secret is good for, beside its alias, entity and subject.

    :ivar alternative_names: globs on texts like "dns:host"; each name must match one;
        () for any.
    :ivar profile: name of the only certificate profile, "" for the entrance's.
    :ivar key_hash: SHA-256 of the only SubjectPublicKeyInfo, b"" for any.
    :ivar owner: identity in whose name it was made, which then owns the entities that
        come of it: its next secret may have certificates of the same names. "": they
        belong to this secret alone.
    """

    alternative_names: tuple[str, ...] = ()
    profile: str = ""
    key_hash: bytes = b""
    owner: str = ""

    def encode(self) -> str:
        """As text for the store; "" when it binds to nothing."""
        if self == UNBOUND:
            return ""
        values = {
            "alternative_names": self.alternative_names,
            "profile": self.profile,
            "key_hash": self.key_hash.hex(),
            "owner": self.owner,
        }
        return json.dumps(values, sort_keys=True)

    @staticmethod
    def decode(text: str) -> CredentialBinding:
        """The way back."""
        if not text:
            return UNBOUND
        values = json.loads(text)
        return CredentialBinding(
            alternative_names=tuple(values["alternative_names"]),
            profile=values["profile"],
            key_hash=bytes.fromhex(values["key_hash"]),
            owner=values["owner"],
        )


#: Of a secret that is bound to nothing of the kind.
UNBOUND: Final = CredentialBinding()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks, as verified; never what a header claims.

    :ivar identity: stable text, unique by kind ("secret:device-7",
        "certificate:issuing/3f2a", "vendor:<sha-256 of the certificate>").
    :ivar credential: row id of the shared secret, if one was used.
    :ivar entity: name of the end entity that the credential or certificate belongs to.
    :ivar certificate: reference of the signer's certificate in our store.
    :ivar certificate_der: the signer's certificate, also a foreign one.
    :ivar subject_pattern: glob that the secret's subjects must match, "" for any.
    """

    kind: RequesterKind
    identity: str
    credential: int | None = None
    entity: str | None = None
    certificate: CertificateReference | None = None
    certificate_der: bytes | None = None
    subject_pattern: str = ""
    binding: CredentialBinding = UNBOUND


@dataclass(frozen=True, slots=True)
class VouchedPossession:
    """A registration authority vouches that the requester holds the key."""

    registration_authority: str


@dataclass(frozen=True, slots=True)
class SystemPossession:
    """The key was made by this daemon for its own certificate."""


class PossessionMethod(enum.Enum):
    """How a requester may show that it holds the key; the texts are stored."""

    SIGNATURE = "signature"
    ENCRYPTED_CERTIFICATE = "encrypted-certificate"
    CHALLENGE = "challenge"
    AGREED_MAC = "agreed-mac"
    ENCRYPTED_KEY = "encrypted-key"


@dataclass(frozen=True, slots=True)
class ProvenPossession:
    """The door saw the proof: a challenge answered, a MAC agreed upon, the key itself.

    :ivar method: `CHALLENGE`, `AGREED_MAC` or `ENCRYPTED_KEY`.
    :ivar key: SHA-256 of the SubjectPublicKeyInfo that was proven.
    """

    method: PossessionMethod
    key: bytes


@dataclass(frozen=True, slots=True)
class DecryptionPossession:
    """The certificate leaves encrypted to its key: who confirms it has decrypted it.

    Counts only together with a confirmation, and the certificate is shown to nobody
    before that.
    """


@dataclass(frozen=True, slots=True)
class GeneratedPossession:
    """The engine shall make the key; the request has none.

    :ivar algorithm: of the key, as the requester would like it; None leaves it open.
    :ivar archive: whether the requester wants its private half archived.
    """

    algorithm: AlgorithmIdentifier | None = None
    archive: bool = False


ProofOfPossession = (
    SignedPossession
    | VouchedPossession
    | SystemPossession
    | ProvenPossession
    | DecryptionPossession
    | GeneratedPossession
)


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A key pair made for somebody else: it lives in memory for one exchange.

    :ivar public_key: SubjectPublicKeyInfo.
    :ivar private_key: PKCS #8 ``PrivateKeyInfo``, not encrypted; not shown.
    """

    public_key: bytes
    private_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedCertificate:
    """What the requester would like; profile and grant decide what it gets."""

    subject: Name | None = None
    public_key: bytes | None = None
    extensions: tuple[Extension, ...] = ()
    not_before: datetime | None = None
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class TransactionKey:
    """What makes a request the same request: unique in the store."""

    protocol: str
    alias: str
    requester: str
    transaction_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """Where a request came in: for audit, trace and explain.

    :ivar transport: "http", "tcp-rfc2510", "tcp-draft", "control", "internal".
    :ivar peer: address text of the peer, "" when there is none.
    """

    protocol: str
    transport: str = "internal"
    peer: str = ""
    beyond_loopback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentRequest:
    """One request for one certificate, through whatever door.

    :ivar alias: name of the configured entrance within ``context.protocol``.
    :ivar profile: certificate profile asked for by name; None takes the alias's.
    :ivar request_hash: SHA-256 of the request's octets: the same again is a repeat.
    :ivar renews: the certificate that this one takes over from (CMP kur, EST
        simplereenroll, SCEP RenewalReq).
    :ivar changes_names: whether ``requested`` holds other names for the renewed
        certificate, said to be so (RFC 6402 section 2.8).
    :ivar confirmation: how long the client has to confirm; None when it need not.
    :ivar archived: the requester's private key to be archived with its certificate,
        sealed by `pkid.engine.keyarchive`; b"" when none came.
    """

    alias: str
    context: RequestContext
    requester: Requester
    requested: RequestedCertificate
    possession: ProofOfPossession
    transaction: TransactionKey
    request_hash: bytes
    profile: str | None = None
    renews: CertificateReference | None = None
    changes_names: bool = False
    confirmation: timedelta | None = None
    archived: bytes = field(default=b"", repr=False)


# --- what came of it -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate that may leave: only the engine makes it, after the commit.

    :ivar chain: issuing CA first, the root last.
    :ivar modified: whether it differs from what was asked (grantedWithMods).
    :ivar confirm_by: until when the client must confirm, or None.
    :ivar algorithm: of its signature, when it was made just now; None says to look.
    :ivar generated: the key pair, when it was made just now for this certificate: only
        for the answer that is sealed before the commit.
    :ivar withheld: whether it may leave encrypted to its key only, because decrypting
        it is the proof of possession; until it is confirmed nobody else sees it.
    """

    certificate: CertificateRecord
    der: bytes
    chain: tuple[bytes, ...]
    modified: bool
    confirm_by: datetime | None
    algorithm: AlgorithmIdentifier | None = None
    generated: GeneratedKey | None = None
    withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Approval is awaited: ask again after ``retry_after``."""

    request_id: str
    retry_after: timedelta
    reason: str = "waiting for approval"


Outcome = Issued | Pending

#: Called with the outcome before it is committed, gives the protocol's own state blob
#: (answer included) that goes into the transaction row of the same commit.
StateEncoder = Callable[[Outcome], Awaitable[bytes]]


# --- what is stored ------------------------------------------------------------


class RevocationReason(enum.IntEnum):
    """CRLReason (RFC 5280 section 5.3.1)."""

    UNSPECIFIED = 0
    KEY_COMPROMISE = 1
    CA_COMPROMISE = 2
    AFFILIATION_CHANGED = 3
    SUPERSEDED = 4
    CESSATION_OF_OPERATION = 5
    CERTIFICATE_HOLD = 6
    REMOVE_FROM_CRL = 8
    PRIVILEGE_WITHDRAWN = 9
    AA_COMPROMISE = 10


class CertificateStatus(enum.IntEnum):
    """Life of a certificate; the numbers are stored."""

    AWAITING_CONFIRMATION = 1
    ACTIVE = 2
    HELD = 3
    REVOKED = 4


class UpdateState(enum.IntEnum):
    """Whether a key update has replaced a certificate; the numbers are stored."""

    CURRENT = 0
    IN_UPDATE = 1
    UPDATED = 2


@dataclass(frozen=True, slots=True)
class CertificateReference:
    """Names one certificate: authority and serial number."""

    authority: str
    serial: int

    def __str__(self) -> str:
        return f"{self.authority}/{self.serial:x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """Metadata of one certificate; the DER is kept beside it.

    :ivar subject: RFC 4514 text.
    :ivar fingerprint: SHA-256 of the DER.
    :ivar spki_hash: SHA-256 of the SubjectPublicKeyInfo.
    :ivar subject_key_id: contents of the SubjectKeyIdentifier extension.
    :ivar requester: identity that enrolled it (who may revoke it by secret).
    """

    reference: CertificateReference
    subject: str
    fingerprint: bytes
    spki_hash: bytes
    subject_key_id: bytes
    entity: str
    profile: str
    alias: str
    protocol: str
    requester: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    status: CertificateStatus = CertificateStatus.ACTIVE
    update_state: UpdateState = UpdateState.CURRENT
    reason: RevocationReason | None = None
    revoked_at: datetime | None = None
    invalidity_at: datetime | None = None
    replaces: CertificateReference | None = None
    credential: int | None = None
    crl_partition: int = 0


@dataclass(frozen=True, slots=True)
class CertificateState:
    """The part of a `CertificateRecord` that its status is made of."""

    status: CertificateStatus
    reason: RevocationReason | None
    revoked_at: datetime | None


class TransactionStatus(enum.IntEnum):
    """Where a transaction stands; the numbers are stored."""

    PENDING = 1  # waits for approval
    ISSUED = 2  # certificate made, confirmation may be awaited
    DONE = 3  # confirmed, or nothing more to come
    REJECTED = 4  # refused for good, by an approver or by the client
    EXPIRED = 5
    ELSEWHERE = 6  # another CA is asked, or its answer goes on; due says when to look


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRecord:
    """One transaction of one requester through one alias.

    :ivar state: opaque blob of the protocol's responder; changed by compare-and-swap.
    :ivar due: confirmation deadline while ``ISSUED``, expiry while ``PENDING``,
        end of the replay window afterwards.
    """

    key: TransactionKey
    request_hash: bytes
    status: TransactionStatus
    created: datetime
    due: datetime
    certificate: CertificateReference | None = None
    request_id: str | None = None
    state: bytes = b""
    version: int = 1


class EntityStatus(enum.Enum):
    """Status of an end entity, EJBCA's words."""

    NEW = "NEW"
    FAILED = "FAILED"
    INITIALIZED = "INITIALIZED"
    INPROCESS = "INPROCESS"
    GENERATED = "GENERATED"
    REVOKED = "REVOKED"
    HISTORICAL = "HISTORICAL"
    KEYRECOVERY = "KEYRECOVERY"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEntity:
    """A device or person that certificates are issued to.

    :ivar name: unique name (EJBCA's username).
    :ivar subject: RFC 4514 text; "" leaves it to the request (RA mode).
    :ivar alternative_names: "dns:host" texts.
    :ivar vendor: allow-list pattern of the vendor certificate, "" for none:
        "issuer DN|serialNumber" (see `pkid.engine.endentities`).
    :ivar made_by: identity of the requester that made it ("operator" if registered).
    """

    name: str
    status: EntityStatus
    created: datetime
    subject: str = ""
    alternative_names: tuple[str, ...] = ()
    authority: str = ""
    certificate_profile: str = ""
    end_entity_profile: str = ""
    vendor: str = ""
    made_by: str = "operator"
    enrollments_left: int | None = None
    version: int = 1


class CredentialKind(enum.Enum):
    """What a shared secret is for."""

    CMP_SECRET = "cmp"
    ENROLLMENT_CODE = "enrollment-code"
    SCEP_CHALLENGE = "scep"
    NDES = "ndes"  # user and password of who may have challenges by page
    ACME_EAB = "acme-eab"
    KEY_ENCRYPTION = "key-encryption"
    REVOCATION = "revocation"  # a passphrase that revokes, and does nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A shared secret as stored: sealed, never in the clear.

    :ivar reference: CMP reference value (senderKID), EST user, EAB kid ...
    :ivar sealed: AES-GCM box; opened by the `SecretBox` port with the row's identity
        as associated data.
    :ivar entity: bound end entity, "" for any.
    :ivar subject: pattern (glob on the RFC 4514 text) that subjects must match, "" any.
    """

    id: int
    kind: CredentialKind
    reference: str
    sealed: bytes = field(repr=False)
    created: datetime
    alias: str = ""
    entity: str = ""
    subject: str = ""
    uses_left: int | None = None
    expires: datetime | None = None
    failures: int = 0
    locked_until: datetime | None = None
    binding: CredentialBinding = UNBOUND


# --- the same values, made sooner -----------------------------------------------

# Every issuance makes these: by `constructor` they cost half. Elsewhere, where one more
# microsecond is nothing, the classes themselves are called.
make_requested_certificate: Final = constructor(RequestedCertificate)
make_request_context: Final = constructor(RequestContext)
make_enrollment_request: Final = constructor(EnrollmentRequest)
make_issued: Final = constructor(Issued)
make_certificate_record: Final = constructor(CertificateRecord)
make_certificate_state: Final = constructor(CertificateState)
make_transaction_record: Final = constructor(TransactionRecord)
make_end_entity: Final = constructor(EndEntity)
make_credential: Final = constructor(Credential)


# --- the token of the one path -------------------------------------------------

_SPENT: Final = b""


class PreparedCertificate:
    """Exactly what would be signed; made by `issuance.prepare` alone, spent once.

    A `CertificateSigner` accepts nothing else. It lives in memory and is never stored.
    """

    __slots__ = ("_tbs", "algorithm", "authority", "serial")

    def __init__(
        self,
        tbs: bytes,
        *,
        authority: str,
        algorithm: AlgorithmIdentifier,
        serial: int,
    ) -> None:
        self._tbs = tbs
        self.authority = authority
        self.algorithm = algorithm
        self.serial = serial

    @property
    def tbs(self) -> bytes:
        """The TBSCertificate octets, for lint and dry run; empty once spent."""
        return self._tbs

    def spend(self) -> bytes:
        """The TBSCertificate octets for the signer, once.

        :raises PKIError: ``INTERNAL`` when it was spent already.
        """
        tbs, self._tbs = self._tbs, _SPENT
        if not tbs:
            raise PKIError(ErrorCode.INTERNAL, "a prepared certificate was used twice")
        return tbs
