"""From the house's error codes to SCEP's words: one total table.

What is wrong with a request is a failInfo inside a signed CertRep, which clients take
for the last word. What is wrong with us is an HTTP status: the same request again may
well succeed.

**Source:** RFC 8894 sections 3.2.1.4 and 4.3; RFC 9110 section 15.
"""

from __future__ import annotations

from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.messages.scep import FailInfo
from pkid.responders.base import Reply

FAIL_INFO: Final[dict[ErrorCode, FailInfo]] = {
    **dict.fromkeys(ErrorCode, FailInfo.BAD_REQUEST),
    ErrorCode.BAD_ALGORITHM: FailInfo.BAD_ALG,
    ErrorCode.BAD_MESSAGE_CHECK: FailInfo.BAD_MESSAGE_CHECK,
    ErrorCode.BAD_POSSESSION: FailInfo.BAD_MESSAGE_CHECK,
    ErrorCode.BAD_TIME: FailInfo.BAD_TIME,
    ErrorCode.BAD_CERTIFICATE_ID: FailInfo.BAD_CERT_ID,
}
#: Refusals that are our own state's, by HTTP status.
STATUSES: Final[dict[ErrorCode, int]] = {
    ErrorCode.BUSY: 503,
    ErrorCode.CONFLICT: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}
#: Refusals of what is not SCEP at all.
_UNREADABLE: Final[dict[ErrorCode, int]] = {
    **dict.fromkeys(ErrorCode, 400),
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.TOO_LARGE: 413,
    **STATUSES,
}
_RETRY_AFTER: Final = 5


def http_refusal(error: PKIError) -> Reply:
    """The answer where none of SCEP can be given."""
    status = _UNREADABLE[error.code]
    text = error.detail if status != 500 else "internal error"
    headers: tuple[tuple[str, str], ...] = (("Cache-Control", "no-store"),)
    if status == 503:
        headers += (("Retry-After", str(error.retry_after or _RETRY_AFTER)),)
    return text_reply(status, text, *headers)


def text_reply(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    """A short answer in words of HTTP."""
    return Reply(
        body=text.encode("ascii", "replace") + b"\n",
        status=status,
        content_type="text/plain",
        headers=headers,
    )
