"""From the house's error codes to EST's words: HTTP statuses, one total table.

**Source:** RFC 7030 sections 3.2.3, 4.2.3 and 4.4.2.
"""

from __future__ import annotations

from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.responders.base import Reply

STATUS: Final[dict[ErrorCode, int]] = {
    ErrorCode.MALFORMED: 400,
    ErrorCode.TOO_LARGE: 413,
    ErrorCode.UNSUPPORTED_VERSION: 400,
    ErrorCode.BAD_REQUEST: 400,
    ErrorCode.BAD_TIME: 400,
    ErrorCode.BAD_SENDER_NONCE: 400,
    ErrorCode.BAD_RECIPIENT_NONCE: 400,
    ErrorCode.TRANSACTION_IN_USE: 400,
    # A wrong password; the challenge is added where one helps.
    ErrorCode.BAD_MESSAGE_CHECK: 401,
    ErrorCode.WRONG_INTEGRITY: 403,
    ErrorCode.BAD_ALGORITHM: 400,
    ErrorCode.MISSING_INFORMATION: 403,
    ErrorCode.SIGNER_NOT_TRUSTED: 403,
    ErrorCode.WRONG_AUTHORITY: 403,
    ErrorCode.NOT_AUTHORIZED: 403,
    ErrorCode.BAD_POSSESSION: 400,
    ErrorCode.BAD_TEMPLATE: 400,
    ErrorCode.BAD_CERTIFICATE_ID: 400,
    ErrorCode.CERTIFICATE_REVOKED: 403,
    ErrorCode.CERTIFICATE_CONFIRMED: 400,
    ErrorCode.DUPLICATE_REQUEST: 400,
    ErrorCode.UNACCEPTED_POLICY: 400,
    ErrorCode.UNACCEPTED_EXTENSION: 400,
    ErrorCode.REJECTED: 403,
    ErrorCode.NOT_FOUND: 404,
    # The state changed meanwhile: the same request again may well succeed.
    ErrorCode.CONFLICT: 503,
    ErrorCode.BUSY: 503,
    ErrorCode.UNAVAILABLE: 503,
    ErrorCode.INTERNAL: 500,
}
#: Seconds after which to ask again, where the refusal names none.
RETRY_SECONDS: Final = 5


def text_reply(status: int, text: str, *headers: tuple[str, str]) -> Reply:
    """A short answer for the eyes of people."""
    body = text.encode("ascii", "replace") + b"\n"
    return Reply(body=body, status=status, content_type="text/plain", headers=headers)


def refusal(error: PKIError) -> Reply:
    """The answer for a refusal; the operator's hint stays here."""
    status = STATUS[error.code]
    headers: tuple[tuple[str, str], ...] = ()
    if status == 503:
        headers = (("Retry-After", str(error.retry_after or RETRY_SECONDS)),)
    return text_reply(status, error.detail, *headers)
