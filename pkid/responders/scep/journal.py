"""One log line for each SCEP exchange; never a challenge, never a message's octets.

Texts from outside are escaped, and cut where they are long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twisted.logger import Logger

from pkid.messages.scep import PKIStatus
from pkid.responders.base import Exchange, Reply
from pkid.responders.scep.requests import Answered, Signed

MAX_TEXT: Final = 120
_LINE: Final = "scep {alias} {operation} from {peer}: {status} {failure} {cause} {hint}"


@dataclass(slots=True)
class Told:
    """What becomes known of an exchange while it is answered, for its line.

    :ivar operation: the operation, or the type of the message.
    """

    operation: str = ""
    signed: Signed | None = None
    answered: Answered | None = None
    cause: str = ""
    hint: str = ""


def printable(octets: bytes) -> str:
    """Octets from outside, fit for a log."""
    text = octets[:MAX_TEXT].decode("latin-1")
    return text.encode("unicode_escape").decode("ascii")


class Journal:
    """Writes the log lines."""

    def __init__(self, log: Logger) -> None:
        self._log = log

    def write(self, exchange: Exchange, reply: Reply, told: Told) -> None:
        """One exchange."""
        answered, signed = told.answered, told.signed
        fail_info = None if answered is None else answered.fail_info
        self._log.info(
            _LINE,
            alias=exchange.alias,
            operation=told.operation,
            transport=exchange.transport,
            listener=exchange.peer.listener,
            peer=exchange.peer.address,
            http_status=reply.status,
            status=_status(answered, reply),
            failure="" if fail_info is None else fail_info.name,
            cause=told.cause or ("" if answered is None else answered.cause),
            hint=told.hint or ("" if answered is None else answered.hint),
            serial="" if answered is None else answered.serial,
            repeated=answered is not None and answered.repeated,
            client=printable(exchange.headers.get("user-agent", "").encode()),
            **_of_signed(signed),
        )


def _of_signed(signed: Signed | None) -> dict[str, str]:
    if signed is None:
        return {"transaction": "", "signer": ""}
    return {
        "transaction": printable(signed.attributes.transaction_id),
        "signer": printable(signed.signer.subject.text().encode()),
    }


def _status(answered: Answered | None, reply: Reply) -> str:
    if answered is None:
        return str(reply.status)
    return PKIStatus(answered.status).name.lower()
