"""From the house's error codes to HTTP statuses and to those of OCSP: total tables.

**Source:** RFC 9110 section 15; RFC 6960 section 2.3, RFC 5019 section 2.2.3.
"""

from __future__ import annotations

from typing import Final

from pkid.errors import ErrorCode
from pkid.messages.ocsp import ResponseStatus

STATUSES: Final[dict[ErrorCode, int]] = {
    **dict.fromkeys(ErrorCode, 400),
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.CONFLICT: 503,
    ErrorCode.BUSY: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}
OCSP_STATUSES: Final[dict[ErrorCode, ResponseStatus]] = {
    **dict.fromkeys(ErrorCode, ResponseStatus.MALFORMED_REQUEST),
    ErrorCode.NOT_AUTHORIZED: ResponseStatus.UNAUTHORIZED,
    ErrorCode.NOT_FOUND: ResponseStatus.UNAUTHORIZED,
    ErrorCode.BUSY: ResponseStatus.TRY_LATER,
    ErrorCode.CONFLICT: ResponseStatus.TRY_LATER,
    ErrorCode.UNAVAILABLE: ResponseStatus.TRY_LATER,
    ErrorCode.INTERNAL: ResponseStatus.INTERNAL_ERROR,
}


def status_of(code: ErrorCode) -> int:
    """The HTTP status for a refusal."""
    return STATUSES[code]


def ocsp_status_of(code: ErrorCode) -> ResponseStatus:
    """The ``OCSPResponseStatus`` of a refusal."""
    return OCSP_STATUSES[code]
