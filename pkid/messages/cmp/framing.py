"""CMP over raw TCP: the records of both framings, and what else turns up there.

Pure: octets in, records out. The dialogue on port 829::

    RFC 2510   length:4 type:1 value        length counts type and value
    tcp-draft  length:4 10 flags:1 type:1 value     length counts from the 10 on

    client  pkiReq (00)          server  pkiRep (05), or pollRep (01), or
    client  pollReq (02)                 finRep / negPollRep (03), or errorMsgRep (06)

Octet 4 tells the framings apart: 0 to 6 is a type of RFC 2510, 10 is the version of
the draft. Three other beginnings are told by their first octets, because as a length
they would be absurd: bare DER (30), an HTTP method and a TLS ClientHello (16 03).

**Source:** RFC 2510 section 5.2; draft-ietf-pkix-cmp-tcp-00 section 3.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

from pkid.asn1 import der
from pkid.asn1.constructors import constructor

MAX_MESSAGE_OCTETS: Final = 262144
DRAFT_VERSION: Final = 10

_LENGTH_OCTETS: Final = 4
_DRAFT_PREFIX_OCTETS: Final = 3
_CLOSE_FLAG: Final = 0x01
_HTTP_METHODS: Final = frozenset(
    b"GET |POST|PUT |HEAD|OPTI|DELE|PATC|TRAC|CONN|PRI ".split(b"|")
)
_NOTHING: Final = b"\x00"


class Framing(enum.Enum):
    """How a message is carried on the stream."""

    RFC2510 = 1
    TCP_DRAFT = 2
    BARE = 0


class RecordType(enum.IntEnum):
    """What a record carries; the same numbers serve both framings.

    ``PARTIAL_MSG_REP`` exists in RFC 2510 only. A message in answer is always
    ``PKI_REP`` (``finalMsgRep`` there): QuickSec's client fails on the other.
    """

    PKI_REQ = 0
    POLL_REP = 1
    POLL_REQ = 2
    FIN_REP = 3
    PARTIAL_MSG_REP = 4
    PKI_REP = 5
    ERROR_MSG_REP = 6


@dataclass(frozen=True, slots=True)
class _Form:
    """What the head of a record looks like in one framing.

    :ivar head_octets: length field and prefix.
    :ivar prefix_octets: those of the head that the length counts.
    :ivar types: by their numbers.
    """

    framing: Framing
    head_octets: int
    prefix_octets: int
    types: dict[int, RecordType]


_RFC2510_TYPES: Final[dict[int, RecordType]] = {
    int(member): member for member in RecordType
}
_DRAFT_TYPES: Final[dict[int, RecordType]] = {
    int(member): member
    for member in RecordType
    if member is not RecordType.PARTIAL_MSG_REP
}
_RFC2510_FORM: Final = _Form(Framing.RFC2510, 5, 1, _RFC2510_TYPES)
_DRAFT_FORM: Final = _Form(Framing.TCP_DRAFT, 7, _DRAFT_PREFIX_OCTETS, _DRAFT_TYPES)
_FORM_BY_OCTET_4: Final = dict.fromkeys(_RFC2510_TYPES, _RFC2510_FORM) | {
    DRAFT_VERSION: _DRAFT_FORM
}
_MESSAGE_TYPES: Final = frozenset((RecordType.PKI_REQ, RecordType.PKI_REP))
_rfc2510_head: Final = struct.Struct(">IB").pack
_draft_head: Final = struct.Struct(">IBBB").pack


class ErrorMessageCode(enum.IntEnum):
    """Codes of ``errorMsgRep`` in the draft's framing."""

    VERSION_NOT_SUPPORTED = 0x0101
    GENERAL_CLIENT_ERROR = 0x0200
    INVALID_MESSAGE_TYPE = 0x0201
    INVALID_POLL_ID = 0x0202
    GENERAL_SERVER_ERROR = 0x0300


class ForeignProtocol(enum.Enum):
    """What else clients speak to this port."""

    HTTP = "http"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the stream.

    :ivar close: the sender closes, or wants closed, the connection after it.
    :ivar value: the value octets; for bare DER the whole message.
    """

    framing: Framing
    type: RecordType
    close: bool
    value: bytes

    @property
    def carries_message(self) -> bool:
        """Whether the value is a ``PKIMessage``; some clients ask with type 05."""
        return self.type in _MESSAGE_TYPES


_make_record = constructor(Record)


@dataclass(frozen=True, slots=True)
class Foreign:
    """The stream speaks another protocol; the reader is done with it.

    :ivar octets: all that was not consumed, to be handed on.
    """

    protocol: ForeignProtocol
    octets: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """The stream is broken; answer with `encode_fault` and close.

    :ivar framing: the framing to answer in.
    """

    framing: Framing
    code: ErrorMessageCode
    text: str


Event = Record | Foreign | Fault


class _BrokenStreamError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.text)
        self.fault = fault


class RecordReader:
    """Cuts a stream into records, whatever pieces it arrives in.

    After a `Foreign` or a `Fault` nothing more comes out.

    :param max_message_octets: refuse longer values before they are buffered; below
        2^24, so that no beginning of another protocol passes for a length.
    :param accepted: framings that are served; a record in another one is a `Fault` in
        an accepted one, which is what makes QuickSec's client fall back.
    """

    __slots__ = ("_accepted", "_buffer", "_done", "_forms", "_limit")

    def __init__(
        self,
        max_message_octets: int = MAX_MESSAGE_OCTETS,
        accepted: frozenset[Framing] = frozenset(Framing),
    ) -> None:
        if not 0 < max_message_octets < 1 << 24:
            raise ValueError("max_message_octets must be between 1 and 2^24 - 1")
        self._limit = max_message_octets
        self._accepted = accepted
        self._forms = {
            octet: form
            for octet, form in _FORM_BY_OCTET_4.items()
            if form.framing in accepted
        }
        self._buffer = bytearray()
        self._done = False

    @property
    def pending(self) -> int:
        """Octets of an incomplete record that are held."""
        return len(self._buffer)

    def feed(self, octets: bytes) -> list[Event]:
        """Take what arrived and give what is complete, in order."""
        events: list[Event] = []
        if self._done:
            return events
        # Most records arrive alone and whole: those never pass through the buffer.
        data: bytes | bytearray = octets
        if self._buffer:
            self._buffer += octets
            data = self._buffer
        start = 0
        while not self._done:
            try:
                step = self._next(data, start)
            except _BrokenStreamError as broken:
                step = broken.fault, start
            if step is None:
                break
            event, start = step
            self._done = not isinstance(event, Record)
            events.append(event)
        if self._done:
            self._buffer.clear()
        elif data is octets:
            self._buffer += octets[start:]
        else:
            del self._buffer[:start]
        return events

    def _next(self, data: bytes | bytearray, start: int) -> tuple[Event, int] | None:
        head = bytes(data[start : start + 7])
        if len(head) < _LENGTH_OCTETS:
            return None
        if head[0]:  # as a length it would be absurd
            foreign = _foreign(head)
            if foreign is not None:
                return Foreign(foreign, bytes(data[start:])), start
            if head[0] == der.SEQUENCE:
                return self._next_bare(data, head, start)
        length = int.from_bytes(head[:_LENGTH_OCTETS], "big")
        if not length:
            raise _broken("a record of length 0")
        if len(head) == _LENGTH_OCTETS:
            return None
        return self._next_framed(data, start, head, length)

    def _next_framed(
        self, data: bytes | bytearray, start: int, head: bytes, length: int
    ) -> tuple[Event, int] | None:
        form = self._forms.get(head[4])
        if form is None:
            raise self._unsupported()
        size = length - form.prefix_octets
        if size < 0:
            raise _broken("a record shorter than its own head", form.framing)
        if size > self._limit:
            raise _broken("a record above the limit", form.framing)
        head_octets = form.head_octets
        if len(head) < head_octets:
            return None
        kind = form.types.get(head[head_octets - 1])
        if kind is None:
            raise _broken(
                "unknown type of record",
                form.framing,
                ErrorMessageCode.INVALID_MESSAGE_TYPE,
            )
        start += head_octets
        end = start + size
        if len(data) < end:
            return None
        close = form is _DRAFT_FORM and head[5] & _CLOSE_FLAG != 0
        return _make_record(form.framing, kind, close, bytes(data[start:end])), end

    def _next_bare(
        self, data: bytes | bytearray, head: bytes, start: int
    ) -> tuple[Event, int] | None:
        count = head[1] & 0x7F if head[1] & 0x80 else 0
        if count > 3 or head[1] == 0x80 or Framing.BARE not in self._accepted:
            raise self._unsupported()
        if len(head) < 2 + count:
            return None
        length = int.from_bytes(head[2 : 2 + count], "big") if count else head[1]
        if length > self._limit:
            raise _broken("a message above the limit", Framing.BARE)
        end = start + 2 + count + length
        if len(data) < end:
            return None
        value = bytes(data[start:end])
        record = _make_record(
            Framing.BARE, RecordType.PKI_REQ, close=False, value=value
        )
        return record, end

    def _unsupported(self) -> _BrokenStreamError:
        framing = Framing.TCP_DRAFT
        if framing not in self._accepted and Framing.RFC2510 in self._accepted:
            framing = Framing.RFC2510
        return _broken(
            "framing not supported", framing, ErrorMessageCode.VERSION_NOT_SUPPORTED
        )


def encode_record(record: Record) -> bytes:
    """The octets of a record.

    :raises ValueError: when the framing has no such record.
    """
    if record.framing is Framing.BARE:
        if not record.carries_message:
            raise ValueError("bare DER carries messages only")
        return record.value
    if record.framing is Framing.RFC2510:
        return _rfc2510_head(len(record.value) + 1, record.type) + record.value
    if record.type is RecordType.PARTIAL_MSG_REP:
        raise ValueError("the draft has no partialMsgRep")
    length = len(record.value) + _DRAFT_PREFIX_OCTETS
    flags = _CLOSE_FLAG * record.close
    return _draft_head(length, DRAFT_VERSION, flags, record.type) + record.value


def encode_request(framing: Framing, message: bytes, *, close: bool = False) -> bytes:
    """A ``PKIMessage`` on its way to the server."""
    return encode_record(Record(framing, RecordType.PKI_REQ, close, message))


def encode_response(framing: Framing, message: bytes, *, close: bool = False) -> bytes:
    """A ``PKIMessage`` in answer: type 05 in both framings."""
    return encode_record(_make_record(framing, RecordType.PKI_REP, close, message))


def encode_partial_response(reference: int, check_at: int, message: bytes) -> bytes:
    """A partial answer; RFC 2510's framing only.

    :param reference: 32-bit polling reference for what follows.
    :param check_at: seconds since 1970.
    """
    value = _pair(reference, check_at) + message
    return encode_record(
        Record(Framing.RFC2510, RecordType.PARTIAL_MSG_REP, close=False, value=value)
    )


def encode_poll_rep(
    framing: Framing, reference: int, check_at: int, *, close: bool = False
) -> bytes:
    """Ask again later, with this reference; never in bare DER.

    :param reference: 32 bits.
    :param check_at: seconds since 1970, in both framings.
    """
    value = _pair(reference, check_at)
    return encode_record(Record(framing, RecordType.POLL_REP, close, value))


def encode_poll_req(framing: Framing, reference: int, *, close: bool = False) -> bytes:
    """Ask again, with the reference of a pollRep; never in bare DER."""
    value = reference.to_bytes(4, "big")
    return encode_record(Record(framing, RecordType.POLL_REQ, close, value))


def encode_nothing(framing: Framing, *, close: bool = False) -> bytes:
    """Nothing more to say: negPollRep, finRep; no octets at all in bare DER."""
    if framing is Framing.BARE:
        return b""
    return encode_record(Record(framing, RecordType.FIN_REP, close, _NOTHING))


def encode_error(
    framing: Framing,
    code: ErrorMessageCode,
    text: str,
    *,
    data: bytes = b"",
    close: bool = True,
) -> bytes:
    """A fault of the transport; no octets at all in bare DER.

    :param text: English; the only thing that RFC 2510's framing carries.
    :param data: for `ErrorMessageCode.VERSION_NOT_SUPPORTED` the highest version.
    """
    if framing is Framing.BARE:
        return b""
    value = text.encode("utf-8")
    if framing is Framing.TCP_DRAFT:
        head = code.to_bytes(2, "big") + len(data).to_bytes(2, "big")
        value = head + data + value
    return encode_record(Record(framing, RecordType.ERROR_MSG_REP, close, value))


def encode_fault(fault: Fault) -> bytes:
    """What to send before closing a broken stream."""
    data = b""
    if fault.code is ErrorMessageCode.VERSION_NOT_SUPPORTED:
        data = bytes((DRAFT_VERSION,))
    return encode_error(fault.framing, fault.code, fault.text, data=data)


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """The value of an errorMsgRep; ``code`` is None in RFC 2510's framing."""

    code: int | None
    data: bytes
    text: str


def decode_poll_rep(value: bytes) -> tuple[int, int]:
    """Reference and time (seconds since 1970) of a pollRep's value.

    :raises PKIError: ``MALFORMED``.
    """
    if len(value) != 8:
        der.malformed("pollRep does not hold a reference and a time")
    return int.from_bytes(value[:4], "big"), int.from_bytes(value[4:], "big")


def decode_poll_req(value: bytes) -> int:
    """Reference of a pollReq's value.

    :raises PKIError: ``MALFORMED``.
    """
    if len(value) != 4:
        der.malformed("pollReq does not hold a reference")
    return int.from_bytes(value, "big")


def decode_partial_response(value: bytes) -> tuple[int, int, bytes]:
    """Reference, time and message of a partialMsgRep's value.

    :raises PKIError: ``MALFORMED``.
    """
    if len(value) < 8:
        der.malformed("partialMsgRep does not hold a reference and a time")
    return *decode_poll_rep(value[:8]), value[8:]


def decode_error(framing: Framing, value: bytes) -> ErrorMessage:
    """The value of an errorMsgRep.

    :raises PKIError: ``MALFORMED``.
    """
    if framing is not Framing.TCP_DRAFT:
        return ErrorMessage(None, b"", _text(value))
    end = 4 + int.from_bytes(value[2:4], "big")
    if len(value) < max(4, end):
        der.malformed("errorMsgRep is truncated")
    code = int.from_bytes(value[:2], "big")
    return ErrorMessage(code, value[4:end], _text(value[end:]))


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "replace")


def _pair(reference: int, check_at: int) -> bytes:
    return reference.to_bytes(4, "big") + check_at.to_bytes(4, "big")


def _foreign(head: bytes) -> ForeignProtocol | None:
    if head[:2] == b"\x16\x03":
        return ForeignProtocol.TLS
    return ForeignProtocol.HTTP if head[:4] in _HTTP_METHODS else None


def _broken(
    text: str,
    framing: Framing = Framing.TCP_DRAFT,
    code: ErrorMessageCode = ErrorMessageCode.GENERAL_CLIENT_ERROR,
) -> _BrokenStreamError:
    return _BrokenStreamError(Fault(framing, code, text))
