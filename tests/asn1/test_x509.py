"""Algorithm identifiers and extensions."""

from __future__ import annotations

import pytest

from pkid.asn1 import der
from pkid.asn1.x509 import (
    AlgorithmIdentifier,
    Extension,
    decode_extensions,
    encode_extensions,
)
from pkid.errors import ErrorCode, PKIError


def extensions_contents(*extensions: Extension) -> bytes:
    return der.single(encode_extensions(extensions), der.SEQUENCE)


@pytest.mark.parametrize("parameters", [None, der.NULL, der.octet_string(b"s" * 40)])
def test_algorithm_keeps_absent_and_null_parameters_apart(
    parameters: bytes | None,
) -> None:
    algorithm = AlgorithmIdentifier("1.2.840.113549.1.1.11", parameters)
    contents = der.single(algorithm.encode(), der.SEQUENCE)
    assert AlgorithmIdentifier.decode(contents) == algorithm


@pytest.mark.parametrize(
    "contents", [b"", der.NULL, der.oid("1.2.3") + der.NULL + der.NULL]
)
def test_broken_algorithm_is_malformed(contents: bytes) -> None:
    with pytest.raises(PKIError) as caught:
        AlgorithmIdentifier.decode(contents)
    assert caught.value.code is ErrorCode.MALFORMED


def test_extensions_round_trip() -> None:
    extensions = (Extension("1.2.3", True, b"a"), Extension("1.2.4", False, b""))
    assert decode_extensions(extensions_contents(*extensions)) == extensions


def test_extension_twice_or_too_many_are_malformed() -> None:
    twice = extensions_contents(
        Extension("1.2.3", False, b""), Extension("1.2.3", True, b"")
    )
    many = extensions_contents(
        *(Extension(f"1.2.{number}", False, b"") for number in range(65))
    )
    for contents in (twice, many):
        with pytest.raises(PKIError) as caught:
            decode_extensions(contents)
        assert caught.value.code is ErrorCode.MALFORMED
