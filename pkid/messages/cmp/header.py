"""The header of a CMP message.

Pure. All tags of the CMP module are EXPLICIT.

**Source:** RFC 9810 section 5.1.1, appendix F.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor
from pkid.asn1.names import GeneralName
from pkid.asn1.x509 import AlgorithmIdentifier
from pkid.messages.cmp.status import decode_free_text, encode_free_text

MAX_INFO_VALUES: Final = 64

CMP1999: Final = 1
CMP2000: Final = 2
CMP2021: Final = 3

_MESSAGE_TIME: Final = 0xA0
_PROTECTION_ALG: Final = 0xA1
_SENDER_KID: Final = 0xA2
_RECIP_KID: Final = 0xA3
_TRANSACTION_ID: Final = 0xA4
_SENDER_NONCE: Final = 0xA5
_RECIP_NONCE: Final = 0xA6
_FREE_TEXT: Final = 0xA7
_GENERAL_INFO: Final = 0xA8
_FIELDS: Final = {
    _MESSAGE_TIME: der.GENERALIZED_TIME,
    _PROTECTION_ALG: der.SEQUENCE,
    _SENDER_KID: der.OCTET_STRING,
    _RECIP_KID: der.OCTET_STRING,
    _TRANSACTION_ID: der.OCTET_STRING,
    _SENDER_NONCE: der.OCTET_STRING,
    _RECIP_NONCE: der.OCTET_STRING,
    _FREE_TEXT: der.SEQUENCE,
    _GENERAL_INFO: der.SEQUENCE,
}


#: The same for messages of old rail equipment, whose time is a UTCTime.
_FIELDS_WITH_UTC_TIME: Final = {**_FIELDS, _MESSAGE_TIME: der.UTC_TIME}


@dataclass(frozen=True, slots=True)
class InfoTypeAndValue:
    """A piece of information in a header or in a general message.

    :ivar oid: dotted text.
    :ivar value: the value, the whole element; None when absent.
    """

    oid: str
    value: bytes | None = None

    @classmethod
    def decode(cls, contents: bytes) -> InfoTypeAndValue:
        """Read the contents octets of one ``InfoTypeAndValue``."""
        oid, value = der.split_oid(contents)
        return cls(oid, der.one_element(value) if value else None)

    def encode(self) -> bytes:
        """The ``InfoTypeAndValue`` SEQUENCE."""
        return der.encode(der.SEQUENCE, der.oid(self.oid) + (self.value or b""))


@dataclass(frozen=True, slots=True)
class PKIHeader:
    """The header of a CMP message.

    :ivar pvno: any number; whether it is served is not decided here.
    :ivar sender: a directory name inside is parsed only when asked for.
    :ivar recipient: likewise.
    :ivar message_time: aware, UTC.
    """

    pvno: int
    sender: GeneralName
    recipient: GeneralName
    message_time: datetime.datetime | None = None
    protection_alg: AlgorithmIdentifier | None = None
    sender_kid: bytes | None = None
    recip_kid: bytes | None = None
    transaction_id: bytes | None = None
    sender_nonce: bytes | None = None
    recip_nonce: bytes | None = None
    free_text: tuple[str, ...] = ()
    general_info: tuple[InfoTypeAndValue, ...] = ()

    @classmethod
    def decode(cls, contents: bytes, *, utc_time: bool = False) -> PKIHeader:
        """Read the contents octets of ``PKIHeader``.

        :param utc_time: messageTime, if there is one, is a UTCTime, against RFC 9810.
        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(contents)
        pvno = cursor.integer()
        sender = GeneralName.read(cursor)
        recipient = GeneralName.read(cursor)
        kinds = _FIELDS_WITH_UTC_TIME if utc_time else _FIELDS
        decode_time = der.decode_utc_time if utc_time else der.decode_generalized_time
        fields = cursor.explicit_fields(kinds).get
        time = fields(_MESSAGE_TIME)
        algorithm = fields(_PROTECTION_ALG)
        free_text = fields(_FREE_TEXT)
        general_info = fields(_GENERAL_INFO)
        return _make_header(
            pvno,
            sender,
            recipient,
            None if time is None else decode_time(time),
            None if algorithm is None else AlgorithmIdentifier.decode(algorithm),
            fields(_SENDER_KID),
            fields(_RECIP_KID),
            fields(_TRANSACTION_ID),
            fields(_SENDER_NONCE),
            fields(_RECIP_NONCE),
            () if free_text is None else decode_free_text(free_text),
            () if general_info is None else _decode_general_info(general_info),
        )

    def encode(self) -> bytes:
        """The ``PKIHeader`` SEQUENCE."""
        parts = [der.integer(self.pvno), self.sender.encode(), self.recipient.encode()]
        if self.message_time is not None:
            parts.append(der.explicit(0, der.generalized_time(self.message_time)))
        if self.protection_alg is not None:
            parts.append(der.explicit(1, self.protection_alg.encode()))
        for number, octets in (
            (2, self.sender_kid),
            (3, self.recip_kid),
            (4, self.transaction_id),
            (5, self.sender_nonce),
            (6, self.recip_nonce),
        ):
            if octets is not None:
                parts.append(der.explicit_octets(number, octets))
        if self.free_text:
            parts.append(der.explicit(7, encode_free_text(self.free_text)))
        if self.general_info:
            parts.append(der.explicit(8, encode_info_values(self.general_info)))
        return der.sequence(*parts)

    def find_info(self, oid: str) -> InfoTypeAndValue | None:
        """The first general information of this type; None if there is none."""
        for info in self.general_info:
            if info.oid == oid:
                return info
        return None


_make_header = constructor(PKIHeader)


def decode_info_values(contents: bytes) -> tuple[InfoTypeAndValue, ...]:
    """Read the contents octets of a SEQUENCE OF ``InfoTypeAndValue``.

    :returns: 0 to `MAX_INFO_VALUES` of them.
    :raises PKIError: ``MALFORMED``.
    """
    return tuple(map(InfoTypeAndValue.decode, der.sequences(contents, MAX_INFO_VALUES)))


def encode_info_values(values: tuple[InfoTypeAndValue, ...]) -> bytes:
    """The SEQUENCE OF ``InfoTypeAndValue``."""
    return der.sequence(*[value.encode() for value in values])


def _decode_general_info(contents: bytes) -> tuple[InfoTypeAndValue, ...]:
    if not contents:
        der.malformed("generalInfo without an InfoTypeAndValue")
    return decode_info_values(contents)
