"""Which CRLs a client has and wants: ``CRLStatus``.

Pure.

**Source:** RFC 9810 section 5.3.19.17, appendix F; RFC 5280 section 4.2.1.13 for
``DistributionPointName`` (IMPLICIT TAGS).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final, assert_never

from pkid.asn1 import der
from pkid.asn1.names import (
    GeneralName,
    decode_general_names,
    encode_general_names,
)

_DPN: Final = 0xA0
_ISSUER: Final = 0xA1
_FULL_NAME: Final = 0xA0
_RELATIVE_NAME: Final = 0xA1


@dataclass(frozen=True, slots=True)
class FullName:
    """A distribution point by its names."""

    names: tuple[GeneralName, ...]


@dataclass(frozen=True, slots=True)
class NameRelativeToCRLIssuer:
    """A distribution point by the end of its name.

    :ivar rdn: ``RelativeDistinguishedName``, whole, with the tag of a SET.
    """

    rdn: bytes


@dataclass(frozen=True, slots=True)
class CRLIssuer:
    """All CRLs of an issuer."""

    names: tuple[GeneralName, ...]


CRLSource = FullName | NameRelativeToCRLIssuer | CRLIssuer


@dataclass(frozen=True, slots=True)
class CRLStatus:
    """A source of CRLs and how far the client got.

    :ivar this_update: of the latest CRL that the client has; aware, UTC.
    """

    source: CRLSource
    this_update: datetime.datetime | None = None

    @classmethod
    def read(cls, cursor: der.Cursor) -> CRLStatus:
        """Read the ``CRLStatus`` that stands next.

        :raises PKIError: ``MALFORMED``.
        """
        inner = cursor.enter(der.SEQUENCE)
        source = _read_source(inner)
        this_update: datetime.datetime | None = None
        if inner:
            tag = inner.peek()
            this_update = der.decode_time(tag, inner.take(tag))
        inner.finish()
        return cls(source, this_update)

    def encode(self) -> bytes:
        """The ``CRLStatus`` SEQUENCE."""
        moment = self.this_update
        return der.sequence(
            _encode_source(self.source), b"" if moment is None else der.time(moment)
        )


def _read_source(cursor: der.Cursor) -> CRLSource:
    tag = cursor.peek()
    contents = cursor.take(tag)
    if tag == _DPN:
        return _decode_point(contents)
    if tag != _ISSUER:
        der.malformed("unknown choice in CRLSource")
    return CRLIssuer(decode_general_names(der.single(contents, der.SEQUENCE)))


def _decode_point(element: bytes) -> CRLSource:
    tag = element[0] if element else 0
    contents = der.single(element, tag)
    if tag == _FULL_NAME:
        return FullName(decode_general_names(contents))
    if tag != _RELATIVE_NAME:
        der.malformed("unknown choice in DistributionPointName")
    if not contents:
        der.malformed("a relative name without an attribute")
    return NameRelativeToCRLIssuer(der.encode(der.SET, contents))


def _encode_source(source: CRLSource) -> bytes:
    match source:
        case FullName():
            return der.explicit(0, der.implicit(0, encode_general_names(source.names)))
        case NameRelativeToCRLIssuer():
            return der.explicit(0, der.implicit(1, source.rdn))
        case CRLIssuer():
            return der.explicit(1, encode_general_names(source.names))
    assert_never(source)
