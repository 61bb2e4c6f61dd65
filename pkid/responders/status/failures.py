"""From the house's error codes to HTTP statuses: one total table.

**Source:** RFC 9110 section 15.
"""

from __future__ import annotations

from typing import Final

from pkid.errors import ErrorCode

STATUSES: Final[dict[ErrorCode, int]] = {
    **dict.fromkeys(ErrorCode, 400),
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.CONFLICT: 503,
    ErrorCode.BUSY: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}


def status_of(code: ErrorCode) -> int:
    """The HTTP status for a refusal."""
    return STATUSES[code]
