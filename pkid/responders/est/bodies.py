"""Bodies as clients want them: base64 forms, transfer encoding, media types, caching.

**Source:** RFC 7030 sections 4.1.3, 4.2.3 and 4.5.2; RFC 8951 sections 3.1 and 3.2.
"""

from __future__ import annotations

import hashlib
from typing import Final

from pkid.errors import ErrorCode, PKIError
from pkid.messages.est import (
    PKCS7,
    PKCS10,
    TRANSFER_ENCODING,
    Base64Form,
    decode_body,
    encode_base64,
)
from pkid.responders.base import Exchange, Reply
from pkid.responders.est.aliases import ESTAlias
from pkid.responders.est.failures import text_reply

NO_STORE: Final = ("Cache-Control", "no-store")
#: /cacerts and the like change seldom and are asked for often.
CACHED: Final = ("Cache-Control", "public, max-age=300")
_FORMS: Final = {"wrapped": Base64Form.WRAPPED, "single": Base64Form.SINGLE}
_REQUEST_TYPES: Final = {
    "simpleenroll": PKCS10,
    "simplereenroll": PKCS10,
    "serverkeygen": PKCS10,
    "fullcmc": PKCS7,
}
_UNSUPPORTED_MEDIA_TYPE: Final = 415


def base64_form(alias: ESTAlias, exchange: Exchange) -> Base64Form:
    """Which lines this client reads.

    strongSwan before 5.9.11 reads a single line only and sends neither header; libest
    reads wrapped lines only and sends a User-Agent; others take both.
    """
    fixed = _FORMS.get(alias.base64)
    if fixed is not None:
        return fixed
    bare = "user-agent" not in exchange.headers and "accept" not in exchange.headers
    return Base64Form.SINGLE if bare else Base64Form.WRAPPED


def der_reply(
    alias: ESTAlias,
    exchange: Exchange,
    octets: bytes,
    content_type: str,
    *headers: tuple[str, str],
    status: int = 200,
) -> Reply:
    """An answer of DER in base64."""
    transfer = (TRANSFER_ENCODING,) if alias.transfer_encoding else ()
    return Reply(
        body=encode_base64(octets, base64_form(alias, exchange)),
        status=status,
        content_type=content_type,
        headers=(*transfer, *(headers or (NO_STORE,))),
    )


def cached_reply(
    alias: ESTAlias, exchange: Exchange, octets: bytes, content_type: str
) -> Reply:
    """An answer that stays the same for a while, or 304 for a client that has it.

    **Source:** RFC 9110 sections 8.8.3 and 13.1.2.
    """
    tag = f'"{hashlib.sha256(octets).hexdigest()[:32]}"'
    headers = (("ETag", tag), CACHED)
    known = exchange.headers.get("if-none-match", "")
    if known.strip() == "*" or tag in {
        one.strip().removeprefix("W/") for one in known.split(",")
    }:
        return Reply(status=304, headers=headers)
    return der_reply(alias, exchange, octets, content_type, *headers)


def media_type_fault(alias: ESTAlias, exchange: Exchange) -> Reply | None:
    """415 for a strict entrance and another media type; None when all is well."""
    wanted = _REQUEST_TYPES.get(exchange.operation)
    if wanted is None or not alias.strict_content_type:
        return None
    given = exchange.headers.get("content-type", "").partition(";")[0].strip()
    if given.lower() == wanted:
        return None
    return text_reply(_UNSUPPORTED_MEDIA_TYPE, f"the media type here is {wanted}")


def request_octets(exchange: Exchange) -> bytes:
    """The DER of a request.

    :raises PKIError: ``MALFORMED``.
    """
    if not exchange.body:
        raise PKIError(ErrorCode.MALFORMED, "the body is empty")
    return decode_body(exchange.body)
