"""Answers: JSON with the links and headers that ACME wants on them.

**Source:** RFC 8555 sections 6.7, 7.1 and 8.2.
"""

from __future__ import annotations

from typing import Any, Final

from pkid.errors import PKIError
from pkid.messages.jose import encode_json
from pkid.responders.acme.failures import PROBLEM, ProblemError, problem_of
from pkid.responders.base import Reply

JSON: Final = "application/json"
NO_STORE: Final = ("Cache-Control", "no-store")


def json_reply(
    value: object, *headers: tuple[str, str], status: int = 200, media_type: str = JSON
) -> Reply:
    """An answer of JSON."""
    return Reply(
        body=encode_json(value),
        status=status,
        content_type=media_type,
        headers=headers,
    )


def problem_reply(error: PKIError) -> Reply:
    """A refusal."""
    status, document = problem_of(error)
    headers: list[tuple[str, str]] = [("Content-Language", "en")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    if isinstance(error, ProblemError):
        headers += error.headers
    return json_reply(document, *headers, status=status, media_type=PROBLEM)


def link(url: str, relation: str) -> tuple[str, str]:
    """A Link header."""
    return ("Link", f'<{url}>;rel="{relation}"')


def location(url: str) -> tuple[str, str]:
    """A Location header."""
    return ("Location", url)


def without_none(**members: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Members that there are."""
    return {name: value for name, value in members.items() if value is not None}
