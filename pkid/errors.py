"""The one taxonomy of errors. Imports nothing of ours.

Inside the house every refusal is a `PKIError` with an `ErrorCode`; each protocol
turns codes into its own words in one total table (``responders/*/failures.py``).
Anything that is not a `PKIError` becomes ``INTERNAL`` in one place.
"""

from __future__ import annotations

import enum


class ErrorCode(enum.Enum):
    """Why a request was refused, in words that belong to no protocol."""

    # The octets and the envelope.
    MALFORMED = "malformed"
    TOO_LARGE = "too-large"
    UNSUPPORTED_VERSION = "unsupported-version"
    BAD_REQUEST = "bad-request"
    BAD_TIME = "bad-time"
    BAD_SENDER_NONCE = "bad-sender-nonce"
    BAD_RECIPIENT_NONCE = "bad-recipient-nonce"
    TRANSACTION_IN_USE = "transaction-in-use"
    # Who asks.
    BAD_MESSAGE_CHECK = "bad-message-check"
    WRONG_INTEGRITY = "wrong-integrity"
    BAD_ALGORITHM = "bad-algorithm"
    MISSING_INFORMATION = "missing-information"
    SIGNER_NOT_TRUSTED = "signer-not-trusted"
    WRONG_AUTHORITY = "wrong-authority"
    NOT_AUTHORIZED = "not-authorized"
    # What is asked for.
    BAD_POSSESSION = "bad-possession"
    BAD_TEMPLATE = "bad-template"
    BAD_CERTIFICATE_ID = "bad-certificate-id"
    CERTIFICATE_REVOKED = "certificate-revoked"
    CERTIFICATE_CONFIRMED = "certificate-confirmed"
    DUPLICATE_REQUEST = "duplicate-request"
    UNACCEPTED_POLICY = "unaccepted-policy"
    UNACCEPTED_EXTENSION = "unaccepted-extension"
    REJECTED = "rejected"
    # What is looked for.
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    # Our own state.
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class PKIError(Exception):
    """A refusal with its reason.

    :param code: which of the closed set of reasons.
    :param detail: for the requester: the cause in plain English, the field or rule
        that refused; never a secret, a path or a stack.
    :param hint: for the operator, never on the wire: what to change.
    :param retry_after: seconds after which asking again makes sense, for ``BUSY``
        and ``UNAVAILABLE``.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str,
        *,
        hint: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.retry_after = retry_after

    def __repr__(self) -> str:
        return f"PKIError({self.code.name}, {self.detail!r})"
