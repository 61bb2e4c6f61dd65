"""From the house's error codes to EST's words: HTTP statuses, one total table.

**Source:** RFC 7030 sections 3.2.3, 4.2.3 and 4.4.2.
"""

from __future__ import annotations

from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmc import CMCFailInfo
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
#: The same in CMC's words (RFC 5272 section 6.1.4).
FAIL_INFO: Final[dict[ErrorCode, CMCFailInfo]] = {
    ErrorCode.MALFORMED: CMCFailInfo.BAD_REQUEST,
    ErrorCode.TOO_LARGE: CMCFailInfo.BAD_REQUEST,
    ErrorCode.UNSUPPORTED_VERSION: CMCFailInfo.BAD_REQUEST,
    ErrorCode.BAD_REQUEST: CMCFailInfo.BAD_REQUEST,
    ErrorCode.BAD_TIME: CMCFailInfo.BAD_TIME,
    ErrorCode.BAD_SENDER_NONCE: CMCFailInfo.BAD_REQUEST,
    ErrorCode.BAD_RECIPIENT_NONCE: CMCFailInfo.BAD_REQUEST,
    ErrorCode.TRANSACTION_IN_USE: CMCFailInfo.BAD_REQUEST,
    ErrorCode.BAD_MESSAGE_CHECK: CMCFailInfo.BAD_MESSAGE_CHECK,
    ErrorCode.WRONG_INTEGRITY: CMCFailInfo.BAD_MESSAGE_CHECK,
    ErrorCode.BAD_ALGORITHM: CMCFailInfo.BAD_ALG,
    ErrorCode.MISSING_INFORMATION: CMCFailInfo.BAD_REQUEST,
    ErrorCode.SIGNER_NOT_TRUSTED: CMCFailInfo.BAD_IDENTITY,
    ErrorCode.WRONG_AUTHORITY: CMCFailInfo.BAD_REQUEST,
    ErrorCode.NOT_AUTHORIZED: CMCFailInfo.BAD_IDENTITY,
    ErrorCode.BAD_POSSESSION: CMCFailInfo.POP_FAILED,
    ErrorCode.BAD_TEMPLATE: CMCFailInfo.BAD_REQUEST,
    ErrorCode.BAD_CERTIFICATE_ID: CMCFailInfo.BAD_CERT_ID,
    ErrorCode.CERTIFICATE_REVOKED: CMCFailInfo.BAD_IDENTITY,
    ErrorCode.CERTIFICATE_CONFIRMED: CMCFailInfo.BAD_REQUEST,
    ErrorCode.DUPLICATE_REQUEST: CMCFailInfo.NO_KEY_REUSE,
    ErrorCode.UNACCEPTED_POLICY: CMCFailInfo.BAD_REQUEST,
    ErrorCode.UNACCEPTED_EXTENSION: CMCFailInfo.UNSUPPORTED_EXT,
    ErrorCode.REJECTED: CMCFailInfo.BAD_REQUEST,
    ErrorCode.NOT_FOUND: CMCFailInfo.BAD_REQUEST,
    ErrorCode.CONFLICT: CMCFailInfo.TRY_LATER,
    ErrorCode.BUSY: CMCFailInfo.TRY_LATER,
    ErrorCode.UNAVAILABLE: CMCFailInfo.TRY_LATER,
    ErrorCode.INTERNAL: CMCFailInfo.INTERNAL_CA_ERROR,
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
