"""From the house's error codes to ACME's problem documents: one total table.

**Source:** RFC 8555 section 6.7; RFC 9457 (problem details).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pkid.errors import ErrorCode, PKIError

URN: Final = "urn:ietf:params:acme:error:"
PROBLEM: Final = "application/problem+json"

#: Type and status of each refusal that no `ProblemError` says more exactly.
PROBLEMS: Final[dict[ErrorCode, tuple[str, int]]] = {
    ErrorCode.MALFORMED: ("malformed", 400),
    ErrorCode.TOO_LARGE: ("malformed", 413),
    ErrorCode.UNSUPPORTED_VERSION: ("malformed", 400),
    ErrorCode.BAD_REQUEST: ("malformed", 400),
    ErrorCode.BAD_TIME: ("malformed", 400),
    ErrorCode.BAD_SENDER_NONCE: ("badNonce", 400),
    ErrorCode.BAD_RECIPIENT_NONCE: ("badNonce", 400),
    ErrorCode.TRANSACTION_IN_USE: ("orderNotReady", 403),
    ErrorCode.BAD_MESSAGE_CHECK: ("malformed", 400),
    ErrorCode.WRONG_INTEGRITY: ("unauthorized", 403),
    ErrorCode.BAD_ALGORITHM: ("badSignatureAlgorithm", 400),
    ErrorCode.MISSING_INFORMATION: ("malformed", 400),
    ErrorCode.SIGNER_NOT_TRUSTED: ("unauthorized", 403),
    ErrorCode.WRONG_AUTHORITY: ("unauthorized", 403),
    ErrorCode.NOT_AUTHORIZED: ("unauthorized", 403),
    ErrorCode.BAD_POSSESSION: ("badCSR", 400),
    ErrorCode.BAD_TEMPLATE: ("badCSR", 400),
    ErrorCode.BAD_CERTIFICATE_ID: ("malformed", 404),
    ErrorCode.CERTIFICATE_REVOKED: ("alreadyRevoked", 400),
    ErrorCode.CERTIFICATE_CONFIRMED: ("malformed", 400),
    ErrorCode.DUPLICATE_REQUEST: ("badCSR", 400),
    ErrorCode.UNACCEPTED_POLICY: ("rejectedIdentifier", 403),
    ErrorCode.UNACCEPTED_EXTENSION: ("badCSR", 400),
    ErrorCode.REJECTED: ("unauthorized", 403),
    ErrorCode.NOT_FOUND: ("malformed", 404),
    # The state changed meanwhile: the same request again may well succeed.
    ErrorCode.CONFLICT: ("serverInternal", 503),
    ErrorCode.BUSY: ("rateLimited", 429),
    ErrorCode.UNAVAILABLE: ("serverInternal", 503),
    ErrorCode.INTERNAL: ("serverInternal", 500),
}


class ProblemError(PKIError):
    """A refusal in ACME's own words.

    :ivar kind: type without its URN: "badCSR", "orderNotReady" ...
    :ivar status: HTTP status.
    :ivar members: further members of the problem document.
    """

    def __init__(
        self,
        kind: str,
        status: int,
        detail: str,
        *,
        hint: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        **members: Any,  # noqa: ANN401 - JSON
    ) -> None:
        super().__init__(ErrorCode.BAD_REQUEST, detail, hint=hint)
        self.kind = kind
        self.status = status
        self.headers = headers
        self.members: Mapping[str, Any] = members


def problem_of(error: PKIError) -> tuple[int, dict[str, Any]]:
    """Status and problem document of a refusal."""
    if isinstance(error, ProblemError):
        return error.status, {
            **problem(error.kind, error.detail),
            "status": error.status,
            **error.members,
        }
    kind, status = PROBLEMS[error.code]
    return status, {**problem(kind, error.detail), "status": status}


def problem(kind: str, detail: str) -> dict[str, Any]:
    """The heart of a problem document; within other objects it is all of it."""
    return {"type": URN + kind, "detail": detail}


def malformed(detail: str) -> ProblemError:
    """A request that is not well-formed."""
    return ProblemError("malformed", 400, detail)


def not_found() -> ProblemError:
    """No such thing, or another's: the same answer for both (ACME-12)."""
    return ProblemError("malformed", 404, "there is no such resource for this account")
