"""One CMP request, verified: what every body is answered from.

Values only; made by the responder once protection was checked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pkid.asn1.constructors import constructor
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.crypto.agreedmac import DHBMParameters, KemBMParameters
from pkid.crypto.keyedmac import SymmetricKey
from pkid.crypto.mac import MacKey
from pkid.engine.model import (
    Outcome,
    Pending,
    RequestContext,
    Requester,
    TransactionKey,
)
from pkid.errors import PKIError
from pkid.messages.cmp.header import PKIHeader
from pkid.messages.cmp.message import PKIMessage
from pkid.messages.cmp.status import FailInfo, PKIStatus
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.failures import FAIL_INFO

PROTOCOL: Final = "cmp"

#: Gives that many octets from the system's CSPRNG.
RandomOctets = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class MACProtection:
    """Answer under the shared secret that the request proved.

    :ivar algorithm: ``protectionAlg`` of the answer; with ``key`` ready for it.
    :ivar sender_kid: the request's reference value, as it came.
    """

    key: MacKey | SymmetricKey
    algorithm: AlgorithmIdentifier
    sender_kid: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedProtection:
    """Answer under a key that two key pairs agreed upon, or an encapsulation gave.

    :ivar parameters: of ``protectionAlg``.
    :ivar certificate: of our key pair: names the sender, goes into extraCerts.
    :ivar chain: above it.
    """

    key: SymmetricKey
    parameters: DHBMParameters | KemBMParameters
    certificate: bytes
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SignatureProtection:
    """Answer signed by the CMP signer of the alias's authority."""


@dataclass(frozen=True, slots=True)
class NoProtection:
    """Answer that nothing protects; only what RFC 9810 appendix E has so.

    :ivar certificates: for extraCerts.
    """

    certificates: tuple[bytes, ...]


Protection = MACProtection | SignatureProtection | AgreedProtection | NoProtection
SIGNED = SignatureProtection()


class RefusedUnderError(PKIError):
    """A refusal whose answer is protected otherwise than by signature.

    :ivar protection: how.
    """

    def __init__(self, error: PKIError, protection: Protection) -> None:
        super().__init__(error.code, error.detail, hint=error.hint)
        self.protection = protection


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """What the header of an answer takes from the request.

    :ivar recipient: the request's sender.
    :ivar recip_nonce: the request's senderNonce.
    """

    pvno: int
    recipient: GeneralName
    transaction_id: bytes | None
    recip_nonce: bytes | None


make_addressing: Final = constructor(Addressing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Who sent a request, and how the answer is to be protected.

    :ivar secret: of a MAC, for ``publicKeyMAC``; never logged.
    :ivar usable: False for a secret that is used up: it guards only follow-ups.
    :ivar hint: for the operator, why not.
    """

    requester: Requester
    protection: Protection
    secret: bytes | None = field(default=None, repr=False)
    usable: bool = True
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A verified request.

    :ivar request_hash: SHA-256 of the whole message.
    :ivar sender_nonce: checked for length.
    :ivar over_tcp: whether it came in a TCP record (TCP-level polling may answer).
    """

    alias: CMPAlias
    message: PKIMessage
    request_hash: bytes
    context: RequestContext
    proven: Proven
    transaction_id: bytes
    sender_nonce: bytes
    over_tcp: bool = False

    @property
    def header(self) -> PKIHeader:
        """The request's header."""
        return self.message.header

    @property
    def requester(self) -> Requester:
        """Who asks."""
        return self.proven.requester

    @property
    def key(self) -> TransactionKey:
        """What makes this transaction the same transaction."""
        return TransactionKey(
            PROTOCOL,
            self.alias.alias.name,
            self.proven.requester.identity,
            self.transaction_id,
        )

    @property
    def addressing(self) -> Addressing:
        """Where the answer goes."""
        header = self.message.header
        return make_addressing(
            pvno=header.pvno,
            recipient=header.sender,
            transaction_id=self.transaction_id,
            recip_nonce=self.sender_nonce,
        )


make_request: Final = constructor(Request)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Reference and time of a TCP-level poll."""

    reference: int
    check_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer ready to leave, with what the log says of it.

    :ivar octets: the message; b"" when there is nothing to say.
    :ivar serial: of the certificate concerned, in hex.
    :ivar cause: text of a refusal.
    :ivar hint: for the operator, what to change; never in ``octets``.
    :ivar repeated: whether it was given before, to the same octets.
    :ivar ticket: ask again by TCP polling; there is nothing else to say yet.
    """

    octets: bytes = field(repr=False)
    status: PKIStatus = PKIStatus.ACCEPTED
    fail_info: FailInfo | None = None
    serial: str = ""
    cause: str = ""
    hint: str = ""
    repeated: bool = False
    ticket: Ticket | None = None

    @classmethod
    def refused(cls, octets: bytes, error: PKIError) -> Answered:
        """A refusal."""
        return cls(
            octets=octets,
            status=PKIStatus.REJECTION,
            fail_info=FAIL_INFO[error.code],
            cause=error.detail,
            hint=error.hint or "",
        )


_make_answered: Final = constructor(Answered)


def of_outcome(
    outcome: Outcome,
    octets: bytes,
    *,
    repeated: bool = False,
    ticket: Ticket | None = None,
) -> Answered:
    """The answer that carries an outcome of the engine."""
    if isinstance(outcome, Pending):
        return Answered(
            octets=octets, status=PKIStatus.WAITING, repeated=repeated, ticket=ticket
        )
    modified = PKIStatus.GRANTED_WITH_MODS if outcome.modified else PKIStatus.ACCEPTED
    serial = f"{outcome.certificate.reference.serial:x}"
    return _make_answered(
        octets=octets,
        status=modified,
        serial=serial,
        repeated=repeated,
        ticket=ticket,
    )
