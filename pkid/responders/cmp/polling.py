"""The reply that makes a TCP transport answer with a polling record (RFC 2510 5.2)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pkid.responders.base import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class PollingReply(Reply):
    """Nothing yet: the transport sends pollRep with this reference and time.

    :ivar reference: unguessable, single use, 0 to 2^32 - 1.
    :ivar check_at: absolute time to ask again; both framings carry it so.
    """

    reference: int
    check_at: datetime
