"""CMP status: ``PKIStatusInfo``, ``PKIFailureInfo`` and ``PKIFreeText``.

Pure.

**Source:** RFC 9810 sections 5.1.1 and 5.2.3, appendix F.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der

MAX_FREE_TEXTS: Final = 64


class PKIStatus(enum.IntEnum):
    """What became of a request."""

    ACCEPTED = 0
    GRANTED_WITH_MODS = 1
    REJECTION = 2
    WAITING = 3
    REVOCATION_WARNING = 4
    REVOCATION_NOTIFICATION = 5
    KEY_UPDATE_WARNING = 6


class FailInfo(enum.IntEnum):
    """Why a request failed: bits of ``PKIFailureInfo``, first bit 0."""

    BAD_ALG = 0
    BAD_MESSAGE_CHECK = 1
    BAD_REQUEST = 2
    BAD_TIME = 3
    BAD_CERT_ID = 4
    BAD_DATA_FORMAT = 5
    WRONG_AUTHORITY = 6
    INCORRECT_DATA = 7
    MISSING_TIME_STAMP = 8
    BAD_POP = 9
    CERT_REVOKED = 10
    CERT_CONFIRMED = 11
    WRONG_INTEGRITY = 12
    BAD_RECIPIENT_NONCE = 13
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    BAD_SENDER_NONCE = 18
    BAD_CERT_TEMPLATE = 19
    SIGNER_NOT_TRUSTED = 20
    TRANSACTION_ID_IN_USE = 21
    UNSUPPORTED_VERSION = 22
    NOT_AUTHORIZED = 23
    SYSTEM_UNAVAIL = 24
    SYSTEM_FAILURE = 25
    DUPLICATE_CERT_REQ = 26


_FAIL_INFO_BY_BIT: Final = {int(member): member for member in FailInfo}
_STATUS_BY_NUMBER: Final = {int(member): member for member in PKIStatus}


@dataclass(frozen=True, slots=True)
class PKIStatusInfo:
    """Status, explanation and reasons.

    :ivar strings: ``statusString``: text for people, () when absent.
    :ivar fail_info: the bits set; bits that this module does not know are left out.
    """

    status: PKIStatus
    strings: tuple[str, ...] = ()
    fail_info: frozenset[FailInfo] = frozenset()

    @classmethod
    def decode(cls, contents: bytes) -> PKIStatusInfo:
        """Read the contents octets of ``PKIStatusInfo``.

        :raises PKIError: ``MALFORMED``, also for an unknown status.
        """
        if contents in _PLAIN:
            return _PLAIN[contents]
        cursor = der.Cursor(contents)
        status = decode_status(cursor.take(der.INTEGER))
        strings = optional_free_text(cursor)
        bits = cursor.optional(der.BIT_STRING)
        cursor.finish()
        if bits is None:
            return cls(status, strings)
        known = _FAIL_INFO_BY_BIT
        return cls(
            status,
            strings,
            frozenset(
                known[bit] for bit in der.decode_named_bits(bits) if bit in known
            ),
        )

    def encode(self) -> bytes:
        """The ``PKIStatusInfo`` SEQUENCE."""
        if not self.strings and not self.fail_info:
            return _PLAIN_SEQUENCES[self.status]
        return der.sequence(
            der.integer(self.status),
            encode_free_text(self.strings) if self.strings else b"",
            der.named_bits(frozenset(self.fail_info)) if self.fail_info else b"",
        )


# A status and nothing else, which is nearly every one: values are shared.
_PLAIN: Final = {der.integer(status): PKIStatusInfo(status) for status in PKIStatus}


_PLAIN_SEQUENCES: Final = {
    value.status: der.sequence(contents) for contents, value in _PLAIN.items()
}


def decode_status(contents: bytes) -> PKIStatus:
    """Value of ``PKIStatus`` contents.

    :raises PKIError: ``MALFORMED`` when it is none of the seven.
    """
    status = _STATUS_BY_NUMBER.get(der.decode_integer(contents))
    if status is None:
        der.malformed("unknown PKIStatus")
    return status


def decode_free_text(contents: bytes) -> tuple[str, ...]:
    """Texts of ``PKIFreeText`` contents: 1 to `MAX_FREE_TEXTS`.

    :raises PKIError: ``MALFORMED``.
    """
    cursor = der.Cursor(contents)
    texts: list[str] = []
    while cursor:
        if len(texts) == MAX_FREE_TEXTS:
            der.malformed(f"more than {MAX_FREE_TEXTS} texts in PKIFreeText")
        texts.append(der.decode_utf8(cursor.take(der.UTF8_STRING)))
    if not texts:
        der.malformed("PKIFreeText without a text")
    return tuple(texts)


def optional_free_text(cursor: der.Cursor) -> tuple[str, ...]:
    """The ``PKIFreeText`` that stands next, () when something else does."""
    contents = cursor.optional(der.SEQUENCE)
    return () if contents is None else decode_free_text(contents)


def encode_free_text(texts: tuple[str, ...]) -> bytes:
    """The ``PKIFreeText`` SEQUENCE."""
    return der.sequence(*(der.utf8_string(text) for text in texts))
