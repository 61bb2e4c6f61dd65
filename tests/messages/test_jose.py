"""Requests of ACME, against josepy's."""

from __future__ import annotations

import json
from typing import Any

import josepy
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pkid.errors import ErrorCode, PKIError
from pkid.messages.jose import (
    SignedRequest,
    decode_base64url,
    decode_json_object,
    encode_base64url,
    encode_json,
)

URL = "https://pkid.test/acme/default/new-order"


def part(value: object) -> str:
    return encode_base64url(encode_json(value))


def flattened(
    header: dict[str, Any] | None = None, payload: str = "", **outer: Any
) -> bytes:
    protected = {"alg": "ES256", "nonce": "bm9uY2U", "url": URL, "kid": "1"}
    return encode_json(
        {
            "protected": part(protected if header is None else header),
            "payload": payload,
            "signature": "c2ln",
            **outer,
        }
    )


def refused(octets: bytes) -> str:
    with pytest.raises(PKIError) as caught:
        SignedRequest.decode(octets)
    assert caught.value.code is ErrorCode.MALFORMED
    return caught.value.detail


def test_a_jws_of_another_library_is_taken_apart_as_far_as_it_goes() -> None:
    key = josepy.JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
    signed = josepy.JWS.sign(
        b'{"a":1}', key=key, alg=josepy.ES256, protect=frozenset(("alg", "jwk"))
    )
    full = json.loads(signed.json_dumps())
    # josepy has no place for nonce and url: they do not change what is taken apart.
    with pytest.raises(PKIError, match="url is missing"):
        SignedRequest.decode(json.dumps(full).encode())


def test_a_request_is_taken_apart() -> None:
    request = SignedRequest.decode(flattened(payload=part({"x": 1})))
    assert (request.algorithm, request.nonce, request.url) == ("ES256", "bm9uY2U", URL)
    assert (request.key_id, request.key) == ("1", None)
    assert decode_json_object(request.payload) == {"x": 1}
    assert request.signature == b"sig"
    protected, payload = request.signing_input.split(b".")
    assert decode_json_object(decode_base64url(protected.decode()))["url"] == URL
    assert payload.decode() == part({"x": 1})


def test_post_as_get_has_no_payload() -> None:
    assert SignedRequest.decode(flattened()).payload == b""


HEADER = {"alg": "ES256", "nonce": "bm9uY2U", "url": URL}
BROKEN = {
    "general serialization": json.dumps(
        {"payload": "", "signatures": [{"protected": part(HEADER), "signature": ""}]}
    ).encode(),
    "unprotected header": flattened(header=HEADER | {"kid": "1"})[:-1]
    + b',"header":{}}',
    "detached payload": flattened().replace(b'"payload":"",', b""),
    "b64 false": flattened({**HEADER, "kid": "1", "b64": False}),
    "crit": flattened({**HEADER, "kid": "1", "crit": ["b64"]}),
    "member twice": flattened()[:-1] + b',"payload":""}',
    "header member twice": encode_json(
        {
            "protected": encode_base64url(b'{"alg":"ES256","alg":"none","url":"u"}'),
            "payload": "",
            "signature": "",
        }
    ),
    "both keys": flattened({**HEADER, "kid": "1", "jwk": {}}),
    "no key": flattened(HEADER),
    "jwk a text": flattened({**HEADER, "jwk": "k"}),
    "no url": flattened({"alg": "ES256", "kid": "1"}),
    "alg a number": flattened({**HEADER, "alg": 1, "kid": "1"}),
    "nonce a number": flattened({**HEADER, "nonce": 1, "kid": "1"}),
    "padding": flattened(payload="YQ=="),
    "plain base64": flattened(payload="+/8"),
    "stray bits": flattened(payload="YR"),
    "one character": flattened(payload="Y"),
    "array": b"[]",
    "not UTF-8": b'{"a":"\xff"}',
    "NaN": b'{"a":NaN}',
    "deep": b'{"a":' + b"[" * 100_000,
    "empty": b"",
}


def judged(octets: bytes) -> ErrorCode | None:
    try:
        SignedRequest.decode(octets)
    except PKIError as error:
        return error.code
    return None


@pytest.mark.requirement("ACME-03", "ACME-04", "ACME-10")
@pytest.mark.parametrize("name", BROKEN)
def test_anything_else_is_malformed(name: str) -> None:
    assert refused(BROKEN[name])


@given(st.binary(max_size=200))
def test_base64url_has_one_form(octets: bytes) -> None:
    assert decode_base64url(encode_base64url(octets)) == octets


@given(st.binary(max_size=300))
def test_any_octets_are_a_request_or_malformed(octets: bytes) -> None:
    assert judged(octets) in (None, ErrorCode.MALFORMED)


@given(
    st.dictionaries(
        st.sampled_from(["protected", "payload", "signature", "header", "alg"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3),
        ),
    )
)
def test_any_json_is_a_request_or_malformed(value: dict[str, object]) -> None:
    assert judged(json.dumps(value).encode()) in (None, ErrorCode.MALFORMED)
