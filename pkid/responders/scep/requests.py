"""The values of an exchange, from the first octets to the opened request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from pkid.crypto.certificates import Certificate
from pkid.crypto.contentciphers import ContentCipher
from pkid.engine.exchange import ExchangeIdentity
from pkid.engine.model import RequestContext, Requester
from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import (
    Addressing,
    FailInfo,
    MessageType,
    PKIMessage,
    PKIStatus,
    RequestAttributes,
)
from pkid.responders.base import Peer
from pkid.responders.scep.aliases import SCEPAlias

PROTOCOL: Final = "scep"

RandomOctets = Callable[[int], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message whose outer CMS could be read; nothing of it is verified.

    :ivar digest: name of the digest that the client used, if it may: the answer's too.
    """

    alias: SCEPAlias
    identity: ExchangeIdentity
    message: PKIMessage
    addressing: Addressing
    digest: str
    context: RequestContext
    peer: Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A message whose signature is verified.

    :ivar signer: the certificate of the key that signed it.
    :ivar requester: whose certificate that is; None when it is the client's own making,
        which proves nothing but the key.
    """

    received: Received
    attributes: RequestAttributes
    type: MessageType
    signer: Certificate
    requester: Requester | None

    @property
    def alias(self) -> SCEPAlias:
        """The entrance."""
        return self.received.alias

    @property
    def transaction(self) -> bytes:
        """What makes a request the same: transactionID and signer's key, digested.

        Clients choose the transactionID, and many choose the same: it is never a key
        by itself, nor a name of anything (SCEP-62).
        """
        identifier = self.attributes.transaction_id
        key = hashlib.sha256(self.signer.spki).digest()
        return hashlib.sha256(b"scep transaction\0" + key + identifier).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A message whose content is decrypted.

    :ivar cipher: with which it was encrypted, and the answer will be.
    """

    signed: Signed
    content: bytes = field(repr=False)
    cipher: ContentCipher


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer and what the log says of it.

    :ivar cause: why it was refused, for the log, also where the wire must not say.
    """

    octets: bytes = field(repr=False)
    status: PKIStatus
    fail_info: FailInfo | None = None
    cause: str = ""
    hint: str = ""
    serial: str = ""
    repeated: bool = False


class SilentError(PKIError):
    """A refusal whose words stay in the log: the wire says badMessageCheck, no more.

    Whatever goes wrong from the use of a private key until the request inside is known
    to be its signer's own looks the same from outside (SCEP-56, SEC-22).
    """

    def __init__(self, cause: str) -> None:
        super().__init__(ErrorCode.BAD_MESSAGE_CHECK, cause)
