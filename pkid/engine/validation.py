"""What the engine needs from those who look outside: challenges, control of names.

Plain protocols over plain values, as `pkid.engine.ports`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred

from pkid.engine.orders import Identifier
from pkid.errors import ErrorCode, PKIError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengeQuestion:
    """A request whose challenge another service knows.

    :ivar transaction: the client's transactionID, as text.
    :ivar request: PKCS #10, DER; it holds the challenge too.
    :ivar alias: the entrance, and ``peer`` the address, through which it came.
    """

    transaction: str
    request: bytes = field(repr=False)
    challenge: str = field(repr=False)
    alias: str
    peer: str


class ChallengeValidator(Protocol):
    """A service that knows challenges, and is told what became of the requests."""

    @property
    def name(self) -> str:
        """As configured."""
        ...

    async def validate(self, question: ChallengeQuestion) -> None:
        """Ask whether the challenge is good for this request.

        :raises PKIError: ``NOT_AUTHORIZED`` when it says no; ``UNAVAILABLE`` when it
            does not say yes, for whatever reason.
        """
        ...

    async def issued(
        self, question: ChallengeQuestion, certificate: bytes, issuer: bytes
    ) -> None:
        """Tell that the certificate was issued.

        :param issuer: certificate of the CA, DER.
        :raises PKIError: ``UNAVAILABLE``.
        """
        ...

    async def failed(self, question: ChallengeQuestion, error: PKIError) -> None:
        """Tell that the request was refused after its challenge was found good.

        :raises PKIError: ``UNAVAILABLE``.
        """
        ...


class ControlError(PKIError):
    """Control of an identifier was not shown.

    :ivar kind: "dns", "connection", "tls", "unauthorized", "incorrectResponse", "caa".
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(ErrorCode.NOT_AUTHORIZED, detail)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlQuestion:
    """What a client says it has put where only who controls the identifier can.

    :ivar method: "http-01", "dns-01", "tls-alpn-01".
    :ivar key_authorization: token and thumbprint of the account's key.
    """

    method: str
    identifier: Identifier
    token: str
    key_authorization: str


class ControlProver(Protocol):
    """Looks from outside whether somebody controls an identifier."""

    def prove(self, question: ControlQuestion) -> Deferred[None]:
        """Fire when control is shown; bounded in time.

        :raises ControlError: when it is not.
        """

    def patience(self, work: Deferred[None]) -> Deferred[None]:
        """Fire when the work is done, or after the moment that a client waits."""

    def pause(self, seconds: float) -> Deferred[None]:
        """Fire after some seconds."""
