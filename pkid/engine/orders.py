"""Accounts, orders and authorizations of identifiers: what is kept of them.

Any door may use them; today ACME does. What an order has come to is worked out when it
is looked at: an order is ready when all its authorizations are valid, so that nothing
has to be written twice when one of them becomes so.

**Source:** RFC 8555 sections 7.1.2 to 7.1.6.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from pkid.engine.model import CertificateReference


class AccountStatus(enum.Enum):
    """Status of an account; only we make one revoked."""

    VALID = "valid"
    DEACTIVATED = "deactivated"
    REVOKED = "revoked"


class OrderStatus(enum.Enum):
    """Status of an order. ``READY`` is worked out, never stored."""

    PENDING = "pending"
    READY = "ready"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


class AuthorizationStatus(enum.Enum):
    """Status of an authorization. ``EXPIRED`` is worked out, never stored."""

    PENDING = "pending"
    VALID = "valid"
    INVALID = "invalid"
    DEACTIVATED = "deactivated"
    EXPIRED = "expired"
    REVOKED = "revoked"


class ChallengeStatus(enum.Enum):
    """Status of a challenge."""

    PENDING = "pending"
    PROCESSING = "processing"
    VALID = "valid"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """What a certificate is asked for: kind "dns" or "ip", value in its one form.

    A wildcard is "*." before a name.
    """

    kind: str
    value: str

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all names one below."""
        return self.kind == "dns" and self.value.startswith("*.")

    @property
    def base(self) -> Identifier:
        """What control is proven of: a wildcard without its star."""
        return Identifier(self.kind, self.value.removeprefix("*."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody with a key.

    :ivar thumbprint: of the key, base64url (RFC 7638); one account has it.
    :ivar key: the public JWK, JSON.
    :ivar spki_hash: SHA-256 of its SubjectPublicKeyInfo: no certificate has it.
    :ivar binding: reference of the external account key that vouched for it, "" none.
    :ivar binding_proof: the ``externalAccountBinding`` as it came, JSON.
    """

    id: str
    alias: str
    thumbprint: str
    key: str
    spki_hash: bytes
    created: datetime
    status: AccountStatus = AccountStatus.VALID
    contacts: tuple[str, ...] = ()
    terms_agreed: bool = False
    binding: str = ""
    binding_proof: str = ""
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One way to prove control of an identifier.

    :ivar kind: "http-01", "dns-01", "tls-alpn-01".
    :ivar fault: kind of the last failure ("dns", "connection" ...), "" for none.
    :ivar thumbprint: of the account's key when the client answered.
    """

    kind: str
    token: str
    status: ChallengeStatus = ChallengeStatus.PENDING
    validated: datetime | None = None
    fault: str = ""
    detail: str = ""
    thumbprint: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifierAuthorization:
    """Whether an account has shown control of an identifier.

    :ivar identifier: without the star of a wildcard.
    :ivar how: what made it valid: a challenge's kind, "external-account".
    """

    id: str
    account: str
    identifier: Identifier
    wildcard: bool
    expires: datetime
    status: AuthorizationStatus = AuthorizationStatus.PENDING
    challenges: tuple[Challenge, ...] = ()
    how: str = ""
    version: int = 1

    def status_at(self, now: datetime) -> AuthorizationStatus:
        """Its status at a moment."""
        open_ = (AuthorizationStatus.PENDING, AuthorizationStatus.VALID)
        if self.status in open_ and self.expires <= now:
            return AuthorizationStatus.EXPIRED
        return self.status

    def with_challenge(self, changed: Challenge) -> IdentifierAuthorization:
        """The same with one challenge replaced by what became of it."""
        challenges = tuple(
            changed if one.kind == changed.kind else one for one in self.challenges
        )
        return replace(self, challenges=challenges)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One certificate, asked for.

    :ivar identifiers: as asked, each once.
    :ivar authorizations: ids, one for each identifier.
    :ivar request_hash: SHA-256 of the CSR that finalized it, b"" before.
    :ivar certificate: once it is issued.
    :ivar fault, detail: why it is invalid.
    :ivar replaces: certificate that this one replaces (RFC 9773).
    """

    id: str
    account: str
    alias: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    created: datetime
    expires: datetime
    status: OrderStatus = OrderStatus.PENDING
    profile: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None
    replaces: CertificateReference | None = None
    request_hash: bytes = b""
    certificate: CertificateReference | None = None
    fault: str = ""
    detail: str = ""
    version: int = 1

    def status_at(
        self, authorizations: Iterable[IdentifierAuthorization], now: datetime
    ) -> OrderStatus:
        """Its status at a moment, given its authorizations.

        **Source:** RFC 8555 section 7.1.6.
        """
        if self.status is not OrderStatus.PENDING:
            return self.status
        if self.expires <= now:
            return OrderStatus.INVALID
        found = [one.status_at(now) for one in authorizations]
        if all(status is AuthorizationStatus.VALID for status in found):
            return OrderStatus.READY
        if any(
            status not in (AuthorizationStatus.PENDING, AuthorizationStatus.VALID)
            for status in found
        ):
            return OrderStatus.INVALID
        return OrderStatus.PENDING
