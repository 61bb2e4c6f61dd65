"""Announcements on their way out: a POST that is done when the recipient says 201.

**Source:** RFC 9811 section 3.5.
"""

from __future__ import annotations

from pkid.transports.cmpclient import CMPClient, HTTPExchange, OutgoingExchange, Target


class AnnouncementExchange(HTTPExchange):
    """A POST whose whole answer is its status.

    202 says that it is not stored yet: it is told again.
    """

    def _head_fault(self, first: bytes, headers: dict[bytes, bytes]) -> str:  # noqa: ARG002
        words = first.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
            return "the answer is not HTTP"
        if words[1] != b"201":
            return f"HTTP status {words[1][:3].decode('ascii', 'replace')}"
        self._length = 0
        return ""


class AnnouncementClient(CMPClient):
    """Announces to one recipient, which rests after each failure."""

    def _exchange(self, target: Target, message: bytes) -> OutgoingExchange:
        return AnnouncementExchange(target, message, self._limit)
