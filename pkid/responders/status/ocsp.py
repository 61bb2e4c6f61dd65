"""OCSP over HTTP.

    POST /ocsp            application/ocsp-request, the octets of an OCSPRequest
    GET  /ocsp/<base64>   the same in the path, so that caches can keep the answer
    200                   application/ocsp-response, whatever the response's status

An answer without a nonce carries RFC 5019's headers; it is the same octets for all who
ask until it is renewed or the certificate's state changes.

**Source:** RFC 6960 appendix A.1; RFC 5019 sections 2.2.3, 5 and 6.2.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from typing import Final, Protocol

from twisted.logger import Logger

from pkid.engine.ocsp import MAX_ANSWERS, StatusAnswer, StatusQuestion
from pkid.errors import ErrorCode, PKIError
from pkid.messages.ocsp import (
    MAX_REQUEST_OCTETS,
    OCSPRequest,
    ResponseStatus,
    encode_failure,
    encode_success,
)
from pkid.responders.base import Exchange, Reply
from pkid.responders.status.conditional import http_date, is_tag_current
from pkid.responders.status.failures import ocsp_status_of

RESPONSE_TYPE: Final = "application/ocsp-response"
_NOT_KEPT: Final = (("Cache-Control", "no-store"),)
_NEVER_OLD: Final = "no-cache, no-transform"


class Status(Protocol):
    """The door of the engine that is used here."""

    def answer(
        self, questions: Sequence[StatusQuestion], nonce: bytes | None = None
    ) -> Awaitable[StatusAnswer]:
        """The status of certificates, signed."""
        ...


class OCSPResponder:
    """Answers for all authorities of the daemon."""

    log = Logger()

    def __init__(self, status: Status) -> None:
        self._status = status
        self._read: dict[bytes, tuple[StatusQuestion, ...]] = {}

    async def respond(self, exchange: Exchange) -> Reply:
        """Answer one request; never raises for anything a client can send."""
        try:
            questions, nonce = self._decode(_octets(exchange))
            answer = await self._status.answer(questions, nonce)
        except PKIError as error:
            return self._refused(error)
        except Exception:  # noqa: BLE001  the one place where surprises end
            self.log.failure("OCSP: internal error")
            return _failure(ResponseStatus.INTERNAL_ERROR)
        if not answer.tag:
            return _once(answer)
        reply = _reply_to(answer)
        if exchange.method == "GET" and is_tag_current(exchange, answer.tag):
            return Reply(status=304, content_type=RESPONSE_TYPE, headers=reply.headers)
        return reply

    def _decode(self, octets: bytes) -> tuple[tuple[StatusQuestion, ...], bytes | None]:
        """What is asked; requests without a nonce come again, and are read once.

        :raises PKIError: ``MALFORMED``.
        """
        known = self._read.get(octets)
        if known is not None:
            return known, None
        request = OCSPRequest.decode(octets)
        questions = tuple(
            StatusQuestion(
                one.octets,
                one.hash_algorithm,
                one.issuer_name_hash,
                one.issuer_key_hash,
                one.serial,
            )
            for one in request.certificates
        )
        if request.nonce is None:
            if len(self._read) >= MAX_ANSWERS:
                del self._read[next(iter(self._read))]
            self._read[octets] = questions
        return questions, request.nonce

    def _refused(self, error: PKIError) -> Reply:
        status = ocsp_status_of(error.code)
        if status is ResponseStatus.INTERNAL_ERROR:
            self.log.error(
                "OCSP: {detail} {hint}", detail=error.detail, hint=error.hint or ""
            )
        return _failure(status)


def _octets(exchange: Exchange) -> bytes:
    """The request of a POST or, in base64, of a GET.

    :raises PKIError: ``MALFORMED``.
    """
    if exchange.method != "GET":
        return exchange.body
    # Proxies were seen to turn a plus into a blank, and clients to forget the padding
    # or to begin with a second slash.
    text = exchange.rest.replace(" ", "+").lstrip("/").rstrip("=")
    if len(text) > MAX_REQUEST_OCTETS:
        raise PKIError(ErrorCode.MALFORMED, "the OCSP request is too long")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise PKIError(
            ErrorCode.MALFORMED, "the OCSP request in the path is not base64"
        ) from None


@lru_cache(maxsize=MAX_ANSWERS)
def _reply_to(answer: StatusAnswer) -> Reply:
    """The reply; an answer is equal only to itself, and is kept while it is in use."""
    age = int(answer.max_age.total_seconds())
    control = f"max-age={age}, public, no-transform, must-revalidate"
    headers = (
        ("Last-Modified", http_date(answer.produced_at)),
        ("ETag", f'"{answer.tag}"'),
        ("Expires", http_date(answer.next_update)),
        ("Cache-Control", control if age else _NEVER_OLD),
    )
    return Reply(
        body=encode_success(answer.octets), content_type=RESPONSE_TYPE, headers=headers
    )


def _once(answer: StatusAnswer) -> Reply:
    """The reply of an answer with a nonce, which is for one client alone."""
    return Reply(
        body=encode_success(answer.octets),
        content_type=RESPONSE_TYPE,
        headers=_NOT_KEPT,
    )


def _failure(status: ResponseStatus) -> Reply:
    return Reply(
        body=encode_failure(status), content_type=RESPONSE_TYPE, headers=_NOT_KEPT
    )
