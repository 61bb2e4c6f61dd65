"""One log line for each exchange; never a secret, never a message's octets.

Texts from outside are escaped, and cut where they are long.
"""

from __future__ import annotations

from twisted.logger import Logger, LogLevel

from pkid.asn1.names import GeneralName
from pkid.engine.ports import Clock
from pkid.errors import PKIError
from pkid.messages.cmp.body import BodyType
from pkid.messages.cmp.message import PKIMessage
from pkid.messages.cmp.status import PKIStatus
from pkid.responders.base import Exchange
from pkid.responders.cmp.aliases import CMPAlias
from pkid.responders.cmp.protection import printable
from pkid.responders.cmp.requests import Answered

# Asked of a member, its name takes longer than a look-up here.
_BODY_TEXTS = {body_type: body_type.name.lower() for body_type in BodyType}
_STATUS_TEXTS = {status: status.name.lower() for status in PKIStatus}
_LINE = "cmp {alias} {body} from {peer}: {status} {failure} {cause} {hint}"


class Journal:
    """Writes the log lines."""

    def __init__(self, log: Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def answered(
        self,
        alias: CMPAlias,
        exchange: Exchange,
        message: PKIMessage,
        answered: Answered,
    ) -> None:
        """An exchange whose message could be read."""
        header = message.header
        body_type = message.body_type
        self._write(
            alias,
            exchange,
            answered,
            body="unknown" if body_type is None else _BODY_TEXTS[body_type],
            transaction=(header.transaction_id or b"").hex(),
            sender=_name_text(header.sender),
            kid=_kid_text(header.sender_kid),
        )

    def unreadable(
        self, alias: CMPAlias, exchange: Exchange, answered: Answered
    ) -> None:
        """An exchange whose message could not be read."""
        self._write(
            alias, exchange, answered, body="none", transaction="", sender="", kid=""
        )

    def _write(
        self,
        alias: CMPAlias,
        exchange: Exchange,
        answered: Answered,
        *,
        body: str,
        transaction: str,
        sender: str,
        kid: str,
    ) -> None:
        log, failure = self._log, answered.fail_info
        # The event as `Logger.info` makes it. That sorts the names of all levels
        # first, to see whether "info" is one, for as long as all the rest here.
        event = {
            "log_logger": log,
            "log_level": LogLevel.info,
            "log_namespace": log.namespace,
            "log_source": log.source,
            "log_format": _LINE,
            "log_time": self._clock.now().timestamp(),
            "alias": alias.name,
            "transport": exchange.transport,
            "listener": exchange.peer.listener,
            "peer": exchange.peer.address,
            "body": body,
            "transaction": transaction,
            "sender": sender,
            "kid": kid,
            "status": _STATUS_TEXTS[answered.status],
            "failure": "" if failure is None else failure.name,
            "cause": answered.cause,
            "hint": answered.hint,
            "serial": answered.serial,
            "repeated": answered.repeated,
        }
        log.observer(event)


def _name_text(name: GeneralName) -> str:
    try:
        return printable(name.text())
    except PKIError:
        return "unreadable"


def _kid_text(kid: bytes | None) -> str:
    """A reference value as text, a key identifier as hex."""
    if kid is None:
        return ""
    text = kid.decode("ascii", "replace")
    return text if text.isprintable() and text.isascii() else kid.hex()
