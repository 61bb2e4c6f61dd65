"""The small X.509 values that codecs, crypto and engine share.

Pure. `AlgorithmIdentifier` and `Extension` keep their octets: what is compared or
signed is what arrived.

**Source:** RFC 5280 section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor

MAX_EXTENSIONS: Final = 64

_CRITICAL: Final = {der.boolean(value=value): value for value in (False, True)}
_CACHED_ALGORITHM_OCTETS: Final = 32


@dataclass(frozen=True, slots=True)
class AlgorithmIdentifier:
    """An algorithm and its parameters.

    :ivar oid: dotted text.
    :ivar parameters: the parameters element whole (for NULL, ``05 00``), or None
        when absent: the difference matters to signatures.
    """

    oid: str
    parameters: bytes | None = None

    @classmethod
    def decode(cls, contents: bytes) -> AlgorithmIdentifier:
        """Read the contents octets of an ``AlgorithmIdentifier`` SEQUENCE."""
        # Few short ones go round the world; those with a salt are all different.
        if len(contents) <= _CACHED_ALGORITHM_OCTETS:
            return _decode_short_algorithm(contents)
        return _decode_algorithm(contents)

    def encode(self) -> bytes:
        """The ``AlgorithmIdentifier`` SEQUENCE."""
        return der.encode(der.SEQUENCE, der.oid(self.oid) + (self.parameters or b""))


def _decode_algorithm(contents: bytes) -> AlgorithmIdentifier:
    oid, parameters = der.split_oid(contents)
    return _make_algorithm(oid, der.one_element(parameters) if parameters else None)


_make_algorithm = constructor(AlgorithmIdentifier)


_decode_short_algorithm = lru_cache(maxsize=256)(_decode_algorithm)


@dataclass(frozen=True, slots=True)
class Extension:
    """One certificate, CRL or request extension.

    :ivar oid: dotted text.
    :ivar critical: as RFC 5280 section 4.2.
    :ivar value: contents of ``extnValue``: the DER of the extension's own type.
    """

    oid: str
    critical: bool
    value: bytes

    @classmethod
    def decode(cls, contents: bytes) -> Extension:
        """Read the contents octets of one ``Extension`` SEQUENCE."""
        oid, rest = der.split_oid(contents)
        critical = _CRITICAL.get(rest[:3])
        if critical is not None:
            rest = rest[3:]
        value = der.single(rest, der.OCTET_STRING)
        return _make_extension(oid, critical is True, value)

    def encode(self) -> bytes:
        """The ``Extension`` SEQUENCE (``critical`` left out when FALSE)."""
        head = _extension_head(self.oid, self.critical)
        return der.encode(der.SEQUENCE, head + der.encode(der.OCTET_STRING, self.value))


_make_extension = constructor(Extension)


@lru_cache(maxsize=256)
def _extension_head(oid: str, critical: bool) -> bytes:  # noqa: FBT001
    return der.oid(oid) + (der.boolean(value=True) if critical else b"")


def decode_extensions(contents: bytes) -> tuple[Extension, ...]:
    """Read the contents octets of ``Extensions``; an extension twice is refused.

    :raises PKIError: ``MALFORMED``, also for more than `MAX_EXTENSIONS`.
    """
    found = tuple(map(Extension.decode, der.sequences(contents, MAX_EXTENSIONS)))
    if len(found) > 1 and len({extension.oid for extension in found}) < len(found):
        der.malformed("an extension stands twice")
    return found


def encode_extensions(extensions: tuple[Extension, ...]) -> bytes:
    """The ``Extensions`` SEQUENCE."""
    return der.sequence(*[extension.encode() for extension in extensions])
