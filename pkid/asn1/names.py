"""Distinguished names and general names: octets, text and comparison.

Pure; imports only `pkid.asn1` and `pkid.errors`. A `Name` is its DER; it is taken
apart only when asked, and what was taken apart is remembered for a while. Names are
compared by RFC 5280 section 7.1, never octet by octet.

**Source:** RFC 5280 sections 4.1.2.4, 4.2.1.6 and 7.1; RFC 4514 (text); RFC 4518
(preparation of strings).
"""

from __future__ import annotations

import ipaddress
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pkid.asn1 import der, oids
from pkid.asn1.constructors import constructor
from pkid.asn1.dntext import escape_value, parse_text

MAX_NAME_OCTETS: Final = 16384
MAX_RDNS: Final = 64
MAX_ATTRIBUTES_IN_RDN: Final = 16
MAX_VALUE_CHARACTERS: Final = 1024

_STRING_TAGS: Final = frozenset(
    (
        der.UTF8_STRING,
        der.PRINTABLE_STRING,
        der.TELETEX_STRING,
        der.IA5_STRING,
        der.VISIBLE_STRING,
        der.UNIVERSAL_STRING,
        der.BMP_STRING,
    )
)
_PRINTABLE_ONLY: Final = frozenset(
    (oids.ID_AT_COUNTRY_NAME, oids.ID_AT_SERIAL_NUMBER, oids.ID_AT_DN_QUALIFIER)
)
_IA5_ONLY: Final = frozenset((oids.ID_DOMAIN_COMPONENT, oids.ID_EMAIL_ADDRESS))
_PRINTABLE_ALPHABET: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?"
)
_MAPPED_TO_NOTHING: Final = frozenset("\u034f\u1806\ufffc") | {
    chr(point) for point in (*range(0x180B, 0x180E), *range(0xFE00, 0xFE10))
}


OTHER_NAME: Final = 0
RFC822_NAME: Final = 1
DNS_NAME: Final = 2
X400_ADDRESS: Final = 3
DIRECTORY_NAME: Final = 4
EDI_PARTY_NAME: Final = 5
URI: Final = 6
IP_ADDRESS: Final = 7
REGISTERED_ID: Final = 8

MAX_GENERAL_NAMES: Final = 256
MAX_IA5_CHARACTERS: Final = 4096

_DER_TAGS: Final = (0xA0, 0x81, 0x82, 0xA3, 0xA4, 0xA5, 0x86, 0x87, 0x88)
_DIRECTORY_TAG: Final = 0xA4
_REMEMBERED_OCTETS: Final = 256
_CHOICE_BY_TAG: Final = {tag: choice for choice, tag in enumerate(_DER_TAGS)}
_WORDS: Final = (
    "other",
    "email",
    "dns",
    "x400",
    "directory",
    "edi",
    "uri",
    "ip",
    "rid",
)
_IP_SIZES: Final = (4, 16)
_IP_RANGE_SIZES: Final = (8, 32)


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """One attribute of a relative distinguished name.

    :ivar oid: attribute type, dotted text.
    :ivar tag: DER tag of the value: which string type it is.
    :ivar value: the decoded text; for a value that is no string, ``#`` and the hex
        of its DER, as RFC 4514 section 2.4 writes it.
    """

    oid: str
    tag: int
    value: str

    @classmethod
    def decode(cls, contents: bytes) -> AttributeValue:
        """Read the contents octets of an ``AttributeTypeAndValue``."""
        oid, element = der.split_oid(contents)
        tag = element[0] if element else 0
        if tag not in _STRING_TAGS:
            der.one_element(element)
            if len(element) > MAX_VALUE_CHARACTERS:
                der.malformed("a value in a name is too long")
            return cls(oid, tag, "#" + element.hex())
        text = der.decode_text(tag, der.single(element, tag))
        if len(text) > MAX_VALUE_CHARACTERS or "\0" in text:
            _check_text(text)
        return _make_attribute(oid, tag, text)

    @classmethod
    def build(cls, oid: str, text: str) -> AttributeValue:
        """Make one from text, with the string type that its attribute wants.

        :raises PKIError: ``MALFORMED`` when the text does not fit the attribute.
        """
        _check_text(text)
        if not text:
            der.malformed("a value in a name is empty")
        if oid in _PRINTABLE_ONLY:
            if not _PRINTABLE_ALPHABET.issuperset(text):
                der.malformed(f"{short_name(oid)} takes PrintableString characters")
            return cls(oid, der.PRINTABLE_STRING, text)
        if oid in _IA5_ONLY:
            if not text.isascii():
                der.malformed(f"{short_name(oid)} takes ASCII characters only")
            return cls(oid, der.IA5_STRING, text)
        return cls(oid, der.UTF8_STRING, text)

    def encode(self) -> bytes:
        """The ``AttributeTypeAndValue`` SEQUENCE."""
        if self.tag in _STRING_TAGS:
            element = der.encode_text(self.tag, self.value)
        else:
            element = bytes.fromhex(self.value[1:])
        return der.sequence(der.oid(self.oid), element)

    def text(self) -> str:
        """RFC 4514 text, such as ``CN=device``."""
        if self.tag not in _STRING_TAGS:
            return f"{short_name(self.oid)}={self.value}"
        return f"{short_name(self.oid)}={escape_value(self.value)}"

    def canonical(self) -> bytes:
        """The attribute as `Name.canonical` compares it."""
        if self.tag not in _STRING_TAGS:
            return self.encode()
        return der.sequence(der.oid(self.oid), der.utf8_string(fold(self.value)))


_make_attribute = constructor(AttributeValue)


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name; equality is of octets, `matches` compares names.

    :ivar der: the ``Name`` SEQUENCE, whole.
    """

    der: bytes

    @classmethod
    def decode(cls, octets: bytes) -> Name:
        """Read and check a ``Name`` SEQUENCE, whole.

        :raises PKIError: ``MALFORMED``, also for NUL characters and above the limits
            of this module.
        """
        _rdns(octets)
        return cls(octets)

    @classmethod
    def build(cls, rdns: Sequence[Sequence[tuple[str, str]]]) -> Name:
        """Make a name from (OID, text) pairs, in the order of the encoding.

        :raises PKIError: ``MALFORMED`` when a text does not fit its attribute.
        """
        return cls.of(
            [[AttributeValue.build(oid, text) for oid, text in rdn] for rdn in rdns]
        )

    @classmethod
    def of(cls, rdns: Sequence[Sequence[AttributeValue]]) -> Name:
        """Make a name from attributes, their string types as they stand."""
        return cls.decode(
            der.sequence(
                *(
                    der.set_of(*(attribute.encode() for attribute in rdn))
                    for rdn in rdns
                )
            )
        )

    @classmethod
    def from_text(cls, text: str) -> Name:
        r"""Read RFC 4514 text: its leftmost part is the last RDN of the name.

        :param text: short names of `oids.NAME_BY_OID` or dotted OIDs; ``\\`` escapes
            and ``#`` hex values; spaces around separators are ignored.
        :raises PKIError: ``MALFORMED``.
        """
        return cls.of(
            [
                [_attribute_from_text(oid, value) for oid, value in rdn]
                for rdn in reversed(parse_text(text))
            ]
        )

    @property
    def rdns(self) -> tuple[tuple[AttributeValue, ...], ...]:
        """The relative distinguished names, in the order of the encoding."""
        return _rdns(self.der)

    @property
    def is_empty(self) -> bool:
        """Whether this is the NULL-DN."""
        return self.der == b"\x30\x00"

    @property
    def canonical(self) -> bytes:
        """Octets that are equal when names match by RFC 5280 section 7.1."""
        return _canonical(self.der)

    def text(self) -> str:
        """RFC 4514 text; control and format characters are escaped."""
        return _text(self.der)

    def values(self, oid: str) -> tuple[str, ...]:
        """Texts of all attributes of this type, in the order of the encoding."""
        return tuple(
            attribute.value
            for rdn in self.rdns
            for attribute in rdn
            if attribute.oid == oid
        )

    def matches(self, other: Name) -> bool:
        """Whether both are the same name by RFC 5280 section 7.1."""
        return self.der == other.der or self.canonical == other.canonical


EMPTY: Final = Name(b"\x30\x00")


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One ``GeneralName``.

    :ivar tag: number of the choice, 0 (otherName) to 8 (registeredID).
    :ivar value: contents octets; for directoryName the whole ``Name`` DER.
    """

    tag: int
    value: bytes

    @classmethod
    def decode(cls, element: bytes) -> GeneralName:
        """Read one ``GeneralName``, whole; a directory name is parsed when asked.

        :raises PKIError: ``MALFORMED``.
        """
        cursor = der.Cursor(element)
        found = cls.read(cursor)
        cursor.finish()
        return found

    @classmethod
    def read(cls, cursor: der.Cursor) -> GeneralName:
        """Read the ``GeneralName`` that stands next, as `decode` does.

        :raises PKIError: ``MALFORMED``.
        """
        tag = cursor.peek()
        if tag == _DIRECTORY_TAG:
            value = cursor.take(tag)
            if len(value) <= _REMEMBERED_OCTETS:
                return _short_directory_name(value)
            return _directory_name(value)
        choice = _CHOICE_BY_TAG.get(tag)
        if choice is None:
            der.malformed("not a GeneralName")
        value = cursor.take(tag)
        _check(choice, value)
        return cls(choice, value)

    @classmethod
    def directory(cls, name: Name) -> GeneralName:
        """A directoryName."""
        return cls(DIRECTORY_NAME, name.der)

    @classmethod
    def dns(cls, text: str) -> GeneralName:
        """A dNSName.

        :raises PKIError: ``MALFORMED`` when the text is not ASCII.
        """
        return cls(DNS_NAME, _ia5(text))

    @classmethod
    def email(cls, text: str) -> GeneralName:
        """An rfc822Name.

        :raises PKIError: ``MALFORMED`` when the text is not ASCII.
        """
        return cls(RFC822_NAME, _ia5(text))

    @classmethod
    def uri(cls, text: str) -> GeneralName:
        """A uniformResourceIdentifier.

        :raises PKIError: ``MALFORMED`` when the text is not ASCII.
        """
        return cls(URI, _ia5(text))

    @classmethod
    def ip(cls, address: str | bytes) -> GeneralName:
        """An iPAddress, from text or from 4 or 16 octets (8 or 32: with a mask).

        :raises PKIError: ``MALFORMED`` when it is no address.
        """
        if isinstance(address, str):
            try:
                address = ipaddress.ip_address(address).packed
            except ValueError:
                der.malformed("not an IP address")
        _check(IP_ADDRESS, address)
        return cls(IP_ADDRESS, address)

    @classmethod
    def rid(cls, oid: str) -> GeneralName:
        """A registeredID, from dotted text."""
        return cls(REGISTERED_ID, der.single(der.oid(oid), der.OID))

    @classmethod
    def other(cls, oid: str, value: bytes) -> GeneralName:
        """An otherName: its type and the DER of its value."""
        return cls(OTHER_NAME, der.oid(oid) + der.explicit(0, value))

    @property
    def directory_name(self) -> Name | None:
        """The parsed directory name, None for any other choice.

        :raises PKIError: ``MALFORMED`` when the name inside is broken.
        """
        return Name.decode(self.value) if self.tag == DIRECTORY_NAME else None

    @property
    def other_name(self) -> tuple[str, bytes] | None:
        """Type and DER value of an otherName, None for any other choice."""
        return _decode_other(self.value) if self.tag == OTHER_NAME else None

    def encode(self) -> bytes:
        """The ``GeneralName``, whole."""
        return der.encode(_DER_TAGS[self.tag], self.value)

    def text(self) -> str:
        """Readable form such as ``dns:host``; control characters are escaped."""
        return f"{_WORDS[self.tag]}:{self._value_text()}"

    def _value_text(self) -> str:
        if self.tag in {RFC822_NAME, DNS_NAME, URI}:
            text = self.value.decode("ascii")
            return text if text.isprintable() else escape_value(text)
        if self.tag == DIRECTORY_NAME:
            return Name.decode(self.value).text()
        if self.tag == IP_ADDRESS:
            return _ip_text(self.value)
        if self.tag == REGISTERED_ID:
            return der.decode_oid(self.value)
        if self.tag == OTHER_NAME:
            oid, value = _decode_other(self.value)
            return f"{oid}=#{value.hex()}"
        return f"#{self.value.hex()}"


def _directory_name(value: bytes) -> GeneralName:
    der.single(value, der.SEQUENCE)
    return GeneralName(DIRECTORY_NAME, value)


# The CA's name is in every message that it gets, a device's in each of its own.
_short_directory_name = lru_cache(maxsize=1024)(_directory_name)


def decode_general_names(contents: bytes) -> tuple[GeneralName, ...]:
    """Read the contents octets of ``GeneralNames``.

    :raises PKIError: ``MALFORMED``, also for none or more than `MAX_GENERAL_NAMES`.
    """
    elements = der.Cursor(contents).raw_elements(MAX_GENERAL_NAMES)
    if not elements:
        der.malformed("GeneralNames without a name")
    return tuple(GeneralName.decode(element) for element in elements)


def encode_general_names(names: tuple[GeneralName, ...]) -> bytes:
    """The ``GeneralNames`` SEQUENCE."""
    return der.sequence(*(name.encode() for name in names))


def short_name(oid: str) -> str:
    """Short name of an attribute type (``CN``), or the dotted OID itself."""
    return oids.NAME_BY_OID.get(oid, oid)


def fold(text: str) -> str:
    """Prepare a string for comparison: compatibility form, case and spaces folded.

    **Source:** RFC 4518 section 2 (map, normalise, insignificant spaces).
    """
    if not text.isascii():
        kept = "".join(character for character in text if not _vanishes(character))
        folded = unicodedata.normalize("NFKC", kept).casefold()
        text = unicodedata.normalize("NFKC", folded)
    elif text.isprintable():
        text = text.lower()
    else:
        text = "".join(c for c in text if c.isspace() or c.isprintable()).lower()
    return " ".join(text.split())


def _vanishes(character: str) -> bool:
    if character in _MAPPED_TO_NOTHING:
        return True
    category = unicodedata.category(character)
    return category == "Cf" or (category == "Cc" and not character.isspace())


def _check_text(text: str) -> None:
    if len(text) > MAX_VALUE_CHARACTERS:
        der.malformed("a value in a name is too long")
    if "\0" in text:
        der.malformed("a value in a name holds a NUL character")


def _attribute_from_text(oid: str, value: str | bytes) -> AttributeValue:
    if isinstance(value, str):
        return AttributeValue.build(oid, value)
    return AttributeValue.decode(der.oid(oid) + value)


@lru_cache(maxsize=1024)
def _rdns(octets: bytes) -> tuple[tuple[AttributeValue, ...], ...]:
    if len(octets) > MAX_NAME_OCTETS:
        der.malformed("a name is too long")
    cursor = der.Cursor(der.single(octets, der.SEQUENCE))
    found: list[tuple[AttributeValue, ...]] = []
    while cursor.position < cursor.stop:
        if len(found) == MAX_RDNS:
            der.malformed(f"a name has more than {MAX_RDNS} parts")
        found.append(_attributes(cursor.take(der.SET)))
    return tuple(found)


def _attributes(rdn: bytes) -> tuple[AttributeValue, ...]:
    if not rdn:
        der.malformed("a part of a name is empty")
    # SET OF is not checked for DER order: certificates in use break it, and the
    # octets are kept as they came.
    attributes = der.sequences(rdn, MAX_ATTRIBUTES_IN_RDN)
    return tuple(map(AttributeValue.decode, attributes))


@lru_cache(maxsize=1024)
def _text(octets: bytes) -> str:
    return ",".join(
        "+".join([attribute.text() for attribute in rdn])
        for rdn in reversed(_rdns(octets))
    )


@lru_cache(maxsize=1024)
def _canonical(octets: bytes) -> bytes:
    return der.sequence(
        *(
            der.set_of(*(attribute.canonical() for attribute in rdn))
            for rdn in _rdns(octets)
        )
    )


def _check(choice: int, value: bytes) -> None:
    if choice in {RFC822_NAME, DNS_NAME, URI}:
        if not value.isascii() or b"\0" in value or len(value) > MAX_IA5_CHARACTERS:
            der.malformed(f"{_WORDS[choice]} name is not ASCII text, or too long")
    elif choice == IP_ADDRESS:
        if len(value) not in _IP_SIZES + _IP_RANGE_SIZES:
            der.malformed("iPAddress has a wrong length")
    elif choice == REGISTERED_ID:
        der.decode_oid(value)
    elif choice == OTHER_NAME:
        _decode_other(value)


def _decode_other(value: bytes) -> tuple[str, bytes]:
    cursor = der.Cursor(value)
    oid = der.decode_oid(cursor.take(der.OID))
    wrapped = cursor.enter(0xA0)
    cursor.finish()
    element = wrapped.raw()
    wrapped.finish()
    return oid, element


def _ia5(text: str) -> bytes:
    if not text.isascii() or "\0" in text or len(text) > MAX_IA5_CHARACTERS:
        der.malformed("a general name is not ASCII text, or too long")
    return text.encode("ascii")


def _ip_text(value: bytes) -> str:
    if len(value) in _IP_SIZES:
        return str(ipaddress.ip_address(value))
    half = len(value) // 2
    address = ipaddress.ip_address(value[:half])
    return f"{address}/{ipaddress.ip_address(value[half:])}"
