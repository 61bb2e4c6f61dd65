"""One log line for each ACME exchange; never a secret, never a body's octets."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel

from pkid.engine.ports import Clock
from pkid.responders.base import Exchange, Reply

_LINE = "acme {alias} {operation} from {peer}: {status} {cause} {hint}"
MAX_USER_AGENT = 80


class Journal:
    """Writes the log lines."""

    def __init__(self, log: Logger, clock: Clock) -> None:
        self._log = log
        self._clock = clock

    def answered(
        self,
        exchange: Exchange,
        reply: Reply,
        *,
        requester: str,
        cause: str = "",
        hint: str = "",
    ) -> None:
        """One exchange.

        :param requester: identity of who asked, "" when it is not known.
        """
        log = self._log
        agent = exchange.headers.get("user-agent", "")[:MAX_USER_AGENT]
        # The event as `Logger.info` makes it, without its sort of all levels' names.
        event = {
            "log_logger": log,
            "log_level": LogLevel.info,
            "log_namespace": log.namespace,
            "log_source": log.source,
            "log_format": _LINE,
            "log_time": self._clock.now().timestamp(),
            "alias": exchange.alias,
            "operation": exchange.operation,
            "transport": exchange.transport,
            "listener": exchange.peer.listener,
            "peer": exchange.peer.address,
            "requester": requester,
            "client": agent.encode("unicode_escape").decode("ascii"),
            "status": reply.status,
            "cause": cause,
            "hint": hint,
        }
        log.observer(event)
