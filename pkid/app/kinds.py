"""Kinds of values in the configuration file: how one is read, named and shown.

Pure. A kind turns what ``tomllib`` gives into the value that the program wants, or
adds a fault; it never stops at the first one.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Final, Protocol
from urllib.parse import urlsplit

from pkid.app.durations import decode_duration, encode_duration
from pkid.asn1 import oids
from pkid.crypto.algorithms import KeySpec
from pkid.errors import PKIError

IDENTIFIER: Final = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
REFERENCE_SCHEMES: Final = ("file:", "env:", "credential:")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with a configuration.

    :ivar where: dotted key, or "line 12".
    :ivar what: what is wrong and what would be right.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Faults:
    """Collects the faults of one configuration."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, where: str, what: str) -> None:
        """Note one more."""
        self.found.append(Fault(where, what))


class ConfigurationError(Exception):
    """A configuration with faults.

    :ivar faults: all of them.
    """

    def __init__(self, source: str, faults: Iterable[Fault]) -> None:
        self.source = source
        self.faults = tuple(faults)
        count = len(self.faults)
        lines = [f"{source}: {count} fault{'s' if count != 1 else ''}"]
        lines += [f"  {fault}" for fault in self.faults]
        super().__init__("\n".join(lines))


class Refused(Exception):
    """A value does not fit its kind; the text says why."""


class Unnamed(Refused):
    """A refusal that does not repeat the value, which may be a secret."""


class Kind(Protocol):
    """One kind of value."""

    @property
    def name(self) -> str:
        """Its name in the documentation."""
        ...

    def read(self, value: object, where: str, faults: Faults) -> object:
        """The program's value; what is wrong goes to ``faults``."""
        ...

    def show(self, value: object) -> str:
        """TOML text that reads back as this value."""
        ...


def quote(text: str) -> str:
    """TOML basic string."""
    escaped = "".join(
        f"\\u{ord(character):04x}"
        if ord(character) < 32 or ord(character) == 127
        else character
        for character in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'


def suggestion(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` when something known is near, else nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    name: str = "true or false"

    def read(self, value: object, where: str, faults: Faults) -> object:
        """Take a TOML boolean."""
        if not isinstance(value, bool):
            faults.add(where, "must be true or false")
            return False
        return value

    def show(self, value: object) -> str:
        """``true`` or ``false``."""
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    least: int
    most: int

    @property
    def name(self) -> str:
        """Its bounds."""
        return f"whole number, {self.least} to {self.most}"

    def read(self, value: object, where: str, faults: Faults) -> object:
        """Take a TOML integer within the bounds."""
        if isinstance(value, bool) or not isinstance(value, int):
            faults.add(where, "must be a whole number")
        elif not self.least <= value <= self.most:
            faults.add(where, f"must be from {self.least} to {self.most}")
        else:
            return value
        return self.least

    def show(self, value: object) -> str:
        """Decimal digits."""
        return str(value)


@dataclass(frozen=True, slots=True)
class Text:
    """A text, checked and turned into a value by a function.

    :ivar convert: gives the value; raises `Refused` with what is wrong.
    :ivar empty: whether the empty text is allowed.
    :ivar encode: gives the text back from the value.
    """

    name: str
    convert: Callable[[str], object] = str
    encode: Callable[[object], str] = str
    empty: bool = True

    def read(self, value: object, where: str, faults: Faults) -> object:
        """Take a TOML string that the conversion accepts."""
        if not isinstance(value, str):
            faults.add(where, f"must be a text: {self.name}")
            return ""
        if not value and not self.empty:
            faults.add(where, "must not be empty")
            return ""
        try:
            return self.convert(value)
        except Unnamed as refusal:
            faults.add(where, str(refusal))
        except Refused as refusal:
            faults.add(where, f"{quote(value)} {refusal}")
        return ""

    def show(self, value: object) -> str:
        """A quoted TOML string."""
        return quote(self.encode(value))


@dataclass(frozen=True, slots=True)
class Optional:
    """A kind whose value may also be absent: the key is simply left out."""

    kind: Kind

    @property
    def name(self) -> str:
        """That of the kind."""
        return self.kind.name

    def read(self, value: object, where: str, faults: Faults) -> object:
        """As the kind."""
        return self.kind.read(value, where, faults)

    def show(self, value: object) -> str:
        """As the kind; nothing for None."""
        return "" if value is None else self.kind.show(value)


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind.

    :ivar into: makes the program's collection of it.
    """

    kind: Kind
    into: Callable[[Sequence[object]], object] = tuple
    least: int = 0

    @property
    def name(self) -> str:
        """What it is a list of."""
        return f"list of: {self.kind.name}"

    def read(self, value: object, where: str, faults: Faults) -> object:
        """Take a TOML array; each element is read by itself."""
        if not isinstance(value, list):
            faults.add(where, f"must be a {self.name}")
            return self.into(())
        if len(value) < self.least:
            faults.add(where, f"must have at least {self.least} element")
        return self.into(
            [
                self.kind.read(element, f"{where}[{index}]", faults)
                for index, element in enumerate(value)
            ]
        )

    def show(self, value: object) -> str:
        """A TOML array on one line; sets in order."""
        elements = list(value) if isinstance(value, Iterable) else []
        shown = [self.kind.show(element) for element in elements]
        if isinstance(value, (set, frozenset)):
            shown.sort()
        return f"[{', '.join(shown)}]"


# --- conversions ---------------------------------------------------------------


def _identifier(text: str) -> str:
    if not IDENTIFIER.fullmatch(text):
        message = "must be 1 to 64 characters of a-z, 0-9, _ and -"
        raise Refused(message)
    return text


def _duration(text: str) -> timedelta:
    try:
        return decode_duration(text)
    except ValueError as error:
        raise Refused(str(error)) from None


def _show_duration(value: object) -> str:
    return encode_duration(value) if isinstance(value, timedelta) else ""


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        message = "must be a URL like http://ca.example.com:8080"
        raise Refused(message)
    if parts.query or parts.fragment or text.endswith("/"):
        message = "must not end with a slash and have no query"
        raise Refused(message)
    return text


def _url_with_path(text: str) -> str:
    if urlsplit(text).scheme not in {"http", "https", "ldap"}:
        message = "must be a URL"
        raise Refused(message)
    return text


def _reference(text: str) -> str:
    if text and not text.startswith(REFERENCE_SCHEMES):
        message = (
            "must be a reference, never the secret itself: "
            "file:/path, env:NAME or credential:name"
        )
        raise Unnamed(message)
    return text


def _key_spec(text: str) -> str:
    try:
        KeySpec.decode(text)
    except PKIError as error:
        message = (
            f"is no kind of key ({error.detail}); write ec:P-256, rsa:2048-4096, "
            "ed25519, ml-dsa-65 ..."
        )
        raise Refused(message) from None
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        message = f"is no regular expression: {error}"
        raise Refused(message) from None
    return text


def _oid(text: str) -> str:
    if not oids.is_dotted(text):
        message = "must be a dotted object identifier like 1.2.3.4"
        raise Refused(message)
    return text


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        message = "must be hexadecimal digits"
        raise Refused(message) from None


def _show_hexadecimal(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else ""


def choice(*names: str) -> Text:
    """One of a closed set of texts."""

    def convert(text: str) -> str:
        if text not in names:
            message = f"must be one of {', '.join(names)}{suggestion(text, names)}"
            raise Refused(message)
        return text

    return Text(" or ".join(quote(name) for name in names), convert)


def member(kind: type[enum.Enum]) -> Text:
    """One member of an enumeration whose values are texts."""
    names = [str(one.value) for one in kind]

    def convert(text: str) -> enum.Enum:
        if text not in names:
            message = f"must be one of {', '.join(names)}{suggestion(text, names)}"
            raise Refused(message)
        return kind(text)

    return Text(
        " or ".join(quote(name) for name in names),
        convert,
        lambda value: str(value.value) if isinstance(value, enum.Enum) else "",
    )


TEXT: Final = Text("text")
IDENTIFIER_KIND: Final = Text("name (a-z, 0-9, _ and -)", _identifier, empty=False)
DURATION: Final = Text(
    'duration like "2y", "90d", "24h", "10m", "30s"',
    _duration,
    _show_duration,
    empty=False,
)
URL: Final = Text("URL without a final slash", _url, empty=False)
URL_WITH_PATH: Final = Text("URL", _url_with_path, empty=False)
REFERENCE: Final = Text(
    'reference to a secret: "file:/path", "env:NAME" or "credential:name"', _reference
)
KEY_SPEC: Final = Text('kind of key, like "ec:P-256"', _key_spec, empty=False)
PATTERN: Final = Text("regular expression for the whole value", _pattern)
OID: Final = Text("dotted object identifier", _oid, empty=False)
HEXADECIMAL: Final = Text(
    "hexadecimal digits", _hexadecimal, _show_hexadecimal, empty=False
)
PATH: Final = Text("path of a file or directory")
SECONDS: Final = Text(
    DURATION.name,
    lambda text: _duration(text).total_seconds(),
    lambda value: (
        encode_duration(timedelta(seconds=value))
        if isinstance(value, (int, float))
        else ""
    ),
    empty=False,
)
OCTETS: Final = Whole(1024, 16 * 1024 * 1024)
