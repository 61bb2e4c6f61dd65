"""A server in a child process, for tests that measure or starve a process.

    python -m tests.robustness.transport_server '{"descriptors": 64, ...}'

writes one line of JSON, ``{"http": port, "tcp": port}``, and serves until its
standard input ends. Its log goes to standard error.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any

from twisted.internet import reactor, stdio
from twisted.internet.protocol import Protocol
from twisted.logger import globalLogBeginner, textFileLogObserver

from pkid.responders.base import Exchange, Reply
from pkid.transports.cmptcp import CMPTCPFactory
from pkid.transports.http import HTTPFront
from pkid.transports.limits import Admission, Limits
from pkid.transports.site import OPERATIONS_ROUTES, Site, cmp_routes


class Echo:
    """Answers with what came."""

    async def respond(self, exchange: Exchange) -> Reply:
        return Reply(body=exchange.body, content_type="application/pkixcmp")


class UntilEnd(Protocol):
    """Stops the reactor when our standard input ends."""

    def connectionLost(self, reason: Any = None) -> None:
        reactor.stop()  # type: ignore[attr-defined]


def main(options: dict[str, Any]) -> None:
    """Serve with these limits."""
    descriptors = options.pop("descriptors", None)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors or hard, hard))
    globalLogBeginner.beginLoggingTo(
        [textFileLogObserver(sys.stderr)], redirectStandardIO=False
    )
    clock: Any = reactor
    clock.seconds = time.monotonic
    admission = Admission(clock, Limits(**options))
    echo = Echo()
    site = Site({"cmp": echo, "operations": echo}, (*cmp_routes(), *OPERATIONS_ROUTES))
    http = HTTPFront(site, now=lambda: datetime.now(UTC), admission=admission)
    tcp = CMPTCPFactory(echo, alias="test", admission=admission, http=http)
    ports = {}
    for name, factory in (("http", http), ("tcp", tcp)):
        port = clock.listenTCP(0, factory, backlog=1024, interface="127.0.0.1")
        admission.guard(port)
        ports[name] = port.getHost().port
    stdio.StandardIO(UntilEnd())
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    clock.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
