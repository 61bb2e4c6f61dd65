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

MAX_EXTENSIONS: Final = 64

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
        return der.sequence(der.oid(self.oid), self.parameters or b"")


def _decode_algorithm(contents: bytes) -> AlgorithmIdentifier:
    cursor = der.Cursor(contents)
    oid = der.decode_oid(cursor.take(der.OID))
    parameters = cursor.raw() if cursor else None
    cursor.finish()
    return AlgorithmIdentifier(oid, parameters)


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
        cursor = der.Cursor(contents)
        oid = der.decode_oid(cursor.take(der.OID))
        flag = cursor.optional(der.BOOLEAN)
        critical = flag is not None and der.decode_boolean(flag)
        value = cursor.take(der.OCTET_STRING)
        cursor.finish()
        return cls(oid, critical, value)

    def encode(self) -> bytes:
        """The ``Extension`` SEQUENCE (``critical`` left out when FALSE)."""
        head = _extension_head(self.oid, self.critical)
        return der.encode(der.SEQUENCE, head + der.encode(der.OCTET_STRING, self.value))


@lru_cache(maxsize=256)
def _extension_head(oid: str, critical: bool) -> bytes:  # noqa: FBT001
    return der.oid(oid) + (der.boolean(value=True) if critical else b"")


def decode_extensions(contents: bytes) -> tuple[Extension, ...]:
    """Read the contents octets of ``Extensions``; an extension twice is refused.

    :raises PKIError: ``MALFORMED``, also for more than `MAX_EXTENSIONS`.
    """
    cursor = der.Cursor(contents)
    found: dict[str, Extension] = {}
    while cursor:
        extension = Extension.decode(cursor.take(der.SEQUENCE))
        if extension.oid in found or len(found) == MAX_EXTENSIONS:
            der.malformed("an extension stands twice, or there are too many")
        found[extension.oid] = extension
    return tuple(found.values())


def encode_extensions(extensions: tuple[Extension, ...]) -> bytes:
    """The ``Extensions`` SEQUENCE."""
    return der.sequence(*(extension.encode() for extension in extensions))
