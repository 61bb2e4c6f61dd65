"""From the house's error codes to CMP's words: one total table, one bit each.

**Source:** RFC 9810 section 5.2.3; RFC 9483 section 3.6.4.
"""

from __future__ import annotations

from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.messages.cmp.body import ErrorMsgContent
from pkid.messages.cmp.status import FailInfo, PKIStatus, PKIStatusInfo

FAIL_INFO: Final[dict[ErrorCode, FailInfo]] = {
    ErrorCode.MALFORMED: FailInfo.BAD_DATA_FORMAT,
    ErrorCode.TOO_LARGE: FailInfo.BAD_REQUEST,
    ErrorCode.UNSUPPORTED_VERSION: FailInfo.UNSUPPORTED_VERSION,
    ErrorCode.BAD_REQUEST: FailInfo.BAD_REQUEST,
    ErrorCode.BAD_TIME: FailInfo.BAD_TIME,
    ErrorCode.BAD_SENDER_NONCE: FailInfo.BAD_SENDER_NONCE,
    ErrorCode.BAD_RECIPIENT_NONCE: FailInfo.BAD_RECIPIENT_NONCE,
    ErrorCode.TRANSACTION_IN_USE: FailInfo.TRANSACTION_ID_IN_USE,
    ErrorCode.BAD_MESSAGE_CHECK: FailInfo.BAD_MESSAGE_CHECK,
    ErrorCode.WRONG_INTEGRITY: FailInfo.WRONG_INTEGRITY,
    ErrorCode.BAD_ALGORITHM: FailInfo.BAD_ALG,
    ErrorCode.MISSING_INFORMATION: FailInfo.ADD_INFO_NOT_AVAILABLE,
    ErrorCode.SIGNER_NOT_TRUSTED: FailInfo.SIGNER_NOT_TRUSTED,
    ErrorCode.WRONG_AUTHORITY: FailInfo.WRONG_AUTHORITY,
    ErrorCode.NOT_AUTHORIZED: FailInfo.NOT_AUTHORIZED,
    ErrorCode.BAD_POSSESSION: FailInfo.BAD_POP,
    ErrorCode.BAD_TEMPLATE: FailInfo.BAD_CERT_TEMPLATE,
    ErrorCode.BAD_CERTIFICATE_ID: FailInfo.BAD_CERT_ID,
    ErrorCode.CERTIFICATE_REVOKED: FailInfo.CERT_REVOKED,
    ErrorCode.CERTIFICATE_CONFIRMED: FailInfo.CERT_CONFIRMED,
    ErrorCode.DUPLICATE_REQUEST: FailInfo.DUPLICATE_CERT_REQ,
    ErrorCode.UNACCEPTED_POLICY: FailInfo.UNACCEPTED_POLICY,
    ErrorCode.UNACCEPTED_EXTENSION: FailInfo.UNACCEPTED_EXTENSION,
    # An approver said no: the requester is known and is not to have it.
    ErrorCode.REJECTED: FailInfo.NOT_AUTHORIZED,
    ErrorCode.NOT_FOUND: FailInfo.BAD_REQUEST,
    # The state changed meanwhile: the same request again may well succeed.
    ErrorCode.CONFLICT: FailInfo.SYSTEM_UNAVAIL,
    ErrorCode.BUSY: FailInfo.SYSTEM_UNAVAIL,
    ErrorCode.UNAVAILABLE: FailInfo.SYSTEM_UNAVAIL,
    ErrorCode.INTERNAL: FailInfo.SYSTEM_FAILURE,
}

# Refusals that are no fault of the body: they are answered by an error message.
OF_THE_EXCHANGE: Final = frozenset(
    (
        ErrorCode.MALFORMED,
        ErrorCode.BAD_MESSAGE_CHECK,
        ErrorCode.WRONG_INTEGRITY,
        ErrorCode.TRANSACTION_IN_USE,
        ErrorCode.BUSY,
        ErrorCode.CONFLICT,
        ErrorCode.UNAVAILABLE,
        ErrorCode.INTERNAL,
    )
)


def rejection(error: PKIError) -> PKIStatusInfo:
    """Status, cause and the one bit for a refusal; the operator's hint stays here."""
    text = error.detail
    if error.retry_after is not None:
        text = f"{text}; try again in {error.retry_after} seconds"
    return PKIStatusInfo(
        PKIStatus.REJECTION, (text,), frozenset((FAIL_INFO[error.code],))
    )


def error_content(error: PKIError) -> ErrorMsgContent:
    """The error body for a refusal."""
    return ErrorMsgContent(rejection(error))
