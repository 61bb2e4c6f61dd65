"""Shared secrets: minting, opening, use counts, lock-out.

A secret rests sealed under the key store's key with its kind and reference as
associated data. Whether one may still be used never shows on the wire: used up, expired
and locked look like a wrong secret, and only the operator's hint tells them apart.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pkid.asn1.constructors import constructor
from pkid.engine.model import (
    UNBOUND,
    Credential,
    CredentialBinding,
    CredentialKind,
    RequestContext,
    Requester,
    RequesterKind,
)
from pkid.engine.ports import SecretBox
from pkid.engine.writes import RecordFailure
from pkid.errors import ErrorCode, PKIError

FAILURES_BEFORE_LOCK = 10
LOCK_PERIOD = timedelta(minutes=1)
SECRET_OCTETS = 20
MAX_REFERENCE_OCTETS = 128
CHALLENGE_REFERENCE_DIGITS = 32
#: Opened secrets kept in memory.
MAX_OPENED = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSecret:
    """An opened secret and what it stands for.

    :ivar usable: False when it is used up, expired or locked; it then guards only the
        follow-ups of transactions that it opened itself.
    :ivar hint: for the operator, why it is not usable.
    """

    credential: Credential
    secret: bytes = field(repr=False)
    requester: Requester
    usable: bool
    hint: str = ""


_make_shared_secret = constructor(SharedSecret)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSecret:
    """A secret to be made.

    :ivar reference: None draws one; that of a SCEP challenge follows from it.
    :ivar secret: None draws 160 bits.
    """

    kind: CredentialKind
    reference: str | None = None
    secret: bytes | None = field(default=None, repr=False)
    alias: str = ""
    entity: str = ""
    subject: str = ""
    uses: int | None = None
    expires: datetime | None = None
    binding: CredentialBinding = UNBOUND


@dataclass(frozen=True, slots=True)
class IssuedSecret:
    """A secret just made: the only time that it is shown."""

    credential: Credential
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationFailure:
    """A requester that could not prove who it is.

    :ivar credential: the secret that it named, when there is one of that reference.
    """

    error: PKIError
    context: RequestContext
    alias: str
    actor: str
    transaction_id: bytes = b""
    credential: Credential | None = None


def associated_data(kind: CredentialKind, reference: str) -> bytes:
    """What binds a sealed secret to its row."""
    return f"credential|{kind.value}|{reference}".encode()


def challenge_reference(box: SecretBox, challenge: bytes) -> str:
    """Where a SCEP challenge is found, which comes without a name.

    A keyed digest: whoever reads the store learns nothing of the challenge, and all
    look-ups, of good and bad ones, take the same time.
    """
    return box.index(challenge).hex()[:CHALLENGE_REFERENCE_DIGITS]


def mint(
    new: NewSecret, *, box: SecretBox, now: datetime, random: Callable[[int], bytes]
) -> IssuedSecret:
    """Seal a new secret; 160 random bits in base32 unless one was given.

    :raises PKIError: ``BAD_REQUEST`` for a secret or reference that is empty or long.
    """
    secret = new.secret
    if secret is None:
        secret = base64.b32encode(random(SECRET_OCTETS)).lower()
    if not secret:
        raise PKIError(ErrorCode.BAD_REQUEST, "the secret is empty")
    reference = new.reference
    if new.kind is CredentialKind.SCEP_CHALLENGE:
        reference = challenge_reference(box, secret)
    elif reference is None:
        reference = base64.b32encode(random(10)).decode("ascii").lower()
    if not 1 <= len(reference.encode()) <= MAX_REFERENCE_OCTETS:
        raise PKIError(ErrorCode.BAD_REQUEST, "reference must be 1 to 128 octets")
    if new.uses is not None and new.uses < 1:
        raise PKIError(ErrorCode.BAD_REQUEST, "a secret needs at least one use")
    credential = Credential(
        id=int.from_bytes(random(7), "big"),
        kind=new.kind,
        reference=reference,
        sealed=box.seal(secret, associated_data(new.kind, reference)),
        created=now,
        alias=new.alias,
        entity=new.entity,
        subject=new.subject,
        uses_left=new.uses,
        expires=new.expires,
        binding=new.binding,
    )
    return IssuedSecret(credential, secret)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What of a credential never changes, unlike its uses and failures."""

    secret: bytes = field(repr=False)
    requester: Requester


class OpenedSecrets:
    """Opens stored secrets and says whether they are still usable.

    What was opened is remembered, up to `MAX_OPENED`: a device that enrols thousands
    of times under one secret has it decrypted once. The sealed octets are part of the
    key, so that another secret under the same row is opened anew; uses, failures and
    expiry are read from the row each time.
    """

    __slots__ = ("_box", "_opened")

    def __init__(self, box: SecretBox) -> None:
        self._box = box
        self._opened: dict[tuple[int, bytes, str, str, CredentialBinding], _Opened] = {}

    def open(self, credential: Credential, now: datetime) -> SharedSecret:
        """Open a stored secret and say whether it is still usable."""
        reason = _why_unusable(credential, now)
        known = self._open(credential)
        return _make_shared_secret(
            credential=credential,
            secret=known.secret,
            requester=known.requester,
            usable=not reason,
            hint=reason
            and f"reference {credential.reference} {reason}: pkid secret add",
        )

    def _open(self, credential: Credential) -> _Opened:
        key = (
            credential.id,
            credential.sealed,
            credential.entity,
            credential.subject,
            credential.binding,
        )
        found = self._opened.get(key)
        if found is None:
            found = _opened(credential, self._box)
            if len(self._opened) >= MAX_OPENED:
                del self._opened[next(iter(self._opened))]
            self._opened[key] = found
        return found


def _opened(credential: Credential, box: SecretBox) -> _Opened:
    kind, reference = credential.kind, credential.reference
    return _Opened(
        box.open(credential.sealed, associated_data(kind, reference)),
        Requester(
            kind=RequesterKind.CREDENTIAL,
            identity=credential.binding.owner or f"secret:{kind.value}:{reference}",
            credential=credential.id,
            entity=credential.entity or None,
            subject_pattern=credential.subject,
            binding=credential.binding,
        ),
    )


def _why_unusable(credential: Credential, now: datetime) -> str:
    if credential.uses_left == 0:
        return "is used up"
    if credential.expires is not None and credential.expires <= now:
        return "has expired"
    if credential.locked_until is not None and credential.locked_until > now:
        return "is locked after too many failures"
    return ""


def after_failure(credential: Credential, now: datetime) -> RecordFailure | None:
    """What one more failure does to a credential; never a lock for ever (SEC-06).

    :returns: None while it is locked: guesses then cost no write.
    """
    locked = credential.locked_until
    if locked is not None and locked > now:
        return None
    failures = credential.failures + 1
    lock = failures >= FAILURES_BEFORE_LOCK
    return RecordFailure(
        id=credential.id,
        failures=0 if lock else failures,
        locked_until=now + LOCK_PERIOD if lock else None,
    )
