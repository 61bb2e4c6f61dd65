"""Signed requests of ACME: a flattened JWS over JSON, read strictly.

Nothing here computes: `SignedRequest.signing_input` and ``signature`` go to
`pkid.crypto.jwk`, which knows keys.

**Source:** RFC 7515 section 7.2.2; RFC 8555 sections 6.1 to 6.5.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pkid.errors import ErrorCode, PKIError

MAX_DEPTH: Final = 16
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*").fullmatch
_OUTER: Final = frozenset(("protected", "payload", "signature"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """One request, taken apart; its signature is not verified yet.

    :ivar algorithm: ``alg`` of the protected header.
    :ivar nonce: None where there is none (inner requests).
    :ivar key_id: ``kid``; None when ``key`` is given: exactly one of the two is.
    :ivar key: ``jwk``, the members as they came.
    :ivar payload: octets; empty for POST-as-GET.
    :ivar signing_input: octets that ``signature`` is over.
    """

    algorithm: str
    url: str
    nonce: str | None
    key_id: str | None
    key: Mapping[str, Any] | None
    payload: bytes = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def decode(cls, octets: bytes) -> SignedRequest:
        """Read a request body.

        :raises PKIError: ``MALFORMED`` for anything but a flattened JWS whose
            protected header has ``alg``, ``url`` and either ``jwk`` or ``kid``.
        """
        return cls.of(decode_json_object(octets))

    @classmethod
    def of(cls, outer: Mapping[str, Any]) -> SignedRequest:
        """Read a JWS that stands within other JSON (``externalAccountBinding``).

        :raises PKIError: ``MALFORMED``.
        """
        if set(outer) != _OUTER:
            raise _malformed("the body is not a JWS in flattened JSON serialization")
        protected = _text(outer, "protected")
        payload = _text(outer, "payload")
        header = decode_json_object(decode_base64url(protected))
        for name in ("crit", "b64"):
            if name in header:
                raise _malformed(f"the protected header must not have {name}")
        if ("jwk" in header) == ("kid" in header):
            raise _malformed("the protected header needs exactly one of jwk and kid")
        key = header.get("jwk")
        if key is not None and not isinstance(key, dict):
            raise _malformed("jwk is not an object")
        return cls(
            algorithm=_text(header, "alg"),
            url=_text(header, "url"),
            nonce=_text(header, "nonce") if "nonce" in header else None,
            key_id=_text(header, "kid") if "kid" in header else None,
            key=key,
            payload=decode_base64url(payload),
            signing_input=f"{protected}.{payload}".encode("ascii"),
            signature=decode_base64url(_text(outer, "signature")),
        )


def decode_base64url(text: str) -> bytes:
    """Octets of unpadded base64url in its one form.

    :raises PKIError: ``MALFORMED`` for padding, other characters or stray bits.

    **Source:** RFC 7515 section 2; RFC 8555 section 6.1.
    """
    if _BASE64URL(text) is None or len(text) % 4 == 1:
        raise _malformed("a value is not base64url without padding")
    octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(octets) != text:
        raise _malformed("a value is not base64url without padding")
    return octets


def encode_base64url(octets: bytes) -> str:
    """Unpadded base64url."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def decode_json_object(octets: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, no name twice, not deeper than `MAX_DEPTH`.

    :raises PKIError: ``MALFORMED``.
    """
    if _is_deep(octets):
        raise _malformed("the JSON is nested too deeply")
    try:
        found = json.loads(
            octets.decode("utf-8"),
            object_pairs_hook=_members,
            parse_constant=_no_constant,
        )
    except ValueError:
        raise _malformed("the body is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise _malformed("the JSON is not an object")
    return found


def encode_json(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _is_deep(octets: bytes) -> bool:
    """Whether brackets stand deeper than is read; a bracket in a text counts too."""
    depth = 0
    for octet in octets:
        if octet in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif octet in b"]}":
            depth -= 1
    return False


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("a member of the JSON stands twice")
    return found


def _no_constant(_name: str) -> None:
    raise ValueError


def _text(members: Mapping[str, Any], name: str) -> str:
    found = members.get(name)
    if not isinstance(found, str):
        raise _malformed(f"{name} is missing or not a text")
    return found


def _malformed(detail: str) -> PKIError:
    return PKIError(ErrorCode.MALFORMED, detail)
