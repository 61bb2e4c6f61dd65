"""Breaks DER on purpose, knowing its structure; seeded, and fast.

A specimen is taken apart once. A mutation then either spoils octets where they stand,
or replaces an element and mends every length around it, so that the reader gets as
deep as the element before it notices. Nothing here is shared with the codec under
test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MAX_MUTANT_OCTETS: Final = 300_000
MAX_DEPTH: Final = 48

_CONSTRUCTED: Final = 0x20
_INTEGERS: Final = (
    b"",
    b"\x00",
    b"\xff",
    b"\x00\x00",
    b"\xff\xff",
    b"\x7f" + b"\xff" * 8,
    b"\x80" + b"\x00" * 7,
    b"\x01" + b"\x00" * 16,
    b"\x7f" * 2049,
    b"\x01" + b"\x00" * 5000,
)
_STRINGS: Final = (
    b"",
    b"\x00",
    b"a\x00b",
    b"\xff\xfe\xfd",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\r\n\x1b[2J",
    b"%s%n{0}",
    b"' OR 1=1 --",
    "\u202e\ufeff\u0000".encode(),
    b"x" * 65536,
)
_TIMES: Final = (
    b"",
    b"20260230000000Z",
    b"00000000000000Z",
    b"99991231235959Z",
    b"99999999999999Z",
    b"20260101000000",
    b"20260101000000.5Z",
    b"20260101000000+9999",
    b"20261301000060Z",
    b"-0260101000000Z",
    b"500101000000Z",
    b"\x00" * 15,
    "\uff12\uff10\uff12\uff160101000000Z".encode(),
)
_OIDS: Final = (
    b"",
    b"\x80",
    b"\x2a\x80",
    b"\x80\x01",
    b"\xff" * 20 + b"\x7f",
    b"\x2a" + b"\x01" * 5000,
    b"\x2a" + b"\xff" * 5000 + b"\x01",
)
_BITS: Final = (b"", b"\x00", b"\x08\x00", b"\x07\xff", b"\xff", b"\x01", b"\x00\x00")
_BOOLEANS: Final = (b"", b"\x01", b"\x00\x00", b"\xff\xff")
_BY_TAG: Final = {
    0x01: _BOOLEANS,
    0x02: _INTEGERS,
    0x03: _BITS,
    0x04: _STRINGS,
    0x05: (b"\x00", b"\x05\x00"),
    0x06: _OIDS,
    0x0A: _INTEGERS,
    0x0C: _STRINGS,
    0x13: _STRINGS,
    0x16: _STRINGS,
    0x17: _TIMES,
    0x18: _TIMES,
    0x1E: (b"a", b"\xd8\x00", b"\x00"),
}
_ANYTHING: Final = (b"", b"\x00", b"\xff", b"\x30\x80", b"\x05\x00\x00")
_TAGS: Final = (
    *(0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0A, 0x0C, 0x13, 0x16, 0x17, 0x18),
    *(0x1E, 0x1F, 0x24, 0x30, 0x31, 0x3F, 0x5F, 0x80, 0x9F, 0xBF, 0xDF, 0xFF),
    *range(0xA0, 0xBF),
)
_LENGTHS: Final = (
    b"\x80",
    b"\x81\x00",
    b"\x82\x00\x01",
    b"\x84\xff\xff\xff\xff",
    b"\x84\x7f\xff\xff\xff",
    b"\x83\xff\xff\xff",
    b"\x88" + b"\xff" * 8,
    b"\xfe" + b"\x01" * 126,
    b"\xff",
    b"\x00",
    b"\x7f",
)
_DEPTHS: Final = (2, 8, 33, 100, 1000, 20_000)
_COPIES: Final = (2, 3, 17, 65, 300)


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a specimen.

    :ivar start: where its tag stands.
    :ivar body: where its contents begin.
    :ivar end: behind its contents.
    :ivar parents: elements around it, outermost first.
    """

    tag: int
    start: int
    body: int
    end: int
    parents: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Specimen:
    """A well-formed message, taken apart.

    :ivar name: says in a report what the mutant was made of.
    """

    name: str
    octets: bytes
    elements: tuple[Element, ...]

    @classmethod
    def take_apart(cls, name: str, octets: bytes) -> Specimen:
        """Find all elements, also within primitive ones that hold DER."""
        found: list[Element] = []
        _find(octets, 0, len(octets), (), found)
        return cls(name, octets, tuple(found))


def _find(
    octets: bytes,
    start: int,
    end: int,
    parents: tuple[Element, ...],
    found: list[Element],
) -> bool:
    """Add the elements between two places; False when they are no DER."""
    mark = len(found)
    while start < end:
        head = _head(octets, start, end)
        if head is None:
            del found[mark:]
            return False
        body, stop = head
        element = Element(octets[start], start, body, stop, parents)
        found.append(element)
        if len(parents) >= MAX_DEPTH:
            pass  # deep nesting of our own making: one opaque element will do
        elif octets[start] & _CONSTRUCTED:
            if not _find(octets, body, stop, (*parents, element), found):
                del found[mark:]
                return False
        elif octets[start] in {0x03, 0x04} and stop - body > 4:
            skip = 1 if octets[start] == 0x03 else 0
            if octets[body + skip] & _CONSTRUCTED:
                _find(octets, body + skip, stop, (*parents, element), found)
        start = stop
    return True


def _head(octets: bytes, start: int, end: int) -> tuple[int, int] | None:
    if end - start < 2:
        return None
    first = octets[start + 1]
    body = start + 2
    length = first
    if first & 0x80:
        count = first & 0x7F
        if not 1 <= count <= 4:
            return None
        length = int.from_bytes(octets[body : body + count], "big")
        body += count
    stop = body + length
    return (body, stop) if stop <= end else None


def encode_length(length: int) -> bytes:
    """Minimal DER length."""
    if length < 0x80:
        return bytes((length,))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(octets),)) + octets


def encode(tag: int, contents: bytes) -> bytes:
    """An element."""
    return bytes((tag,)) + encode_length(len(contents)) + contents


def replace(specimen: Specimen, element: Element, new: bytes) -> bytes:
    """The specimen with one element replaced and all lengths around it mended."""
    octets = specimen.octets
    start, end = element.start, element.end
    for parent in reversed(element.parents):
        contents = octets[parent.body : start] + new + octets[end : parent.end]
        new = encode(parent.tag, contents)
        start, end = parent.start, parent.end
    return octets[:start] + new + octets[end:]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken message, and how to make it again.

    :ivar number: of the mutant under its seed.
    """

    number: int
    specimen: str
    mutation: str
    octets: bytes

    def __str__(self) -> str:
        return f"mutant {self.number} ({self.mutation} of {self.specimen})"


class Mutator:
    """Gives mutants of specimens; the same seed gives the same ones."""

    def __init__(self, specimens: Sequence[Specimen], seed: int) -> None:
        self._specimens = tuple(specimens)
        self._random = random.Random(seed)
        self._mutations: tuple[tuple[str, Callable[[Specimen], bytes]], ...] = (
            ("bit flip", self._flip_bits),
            ("octets", self._spoil_octets),
            ("truncation", self._truncate),
            ("trailing octets", self._append),
            ("tag", self._change_tag),
            ("length", self._claim_length),
            ("value", self._put_value),
            ("value of another kind", self._put_any_value),
            ("deletion", self._delete),
            ("duplication", self._duplicate),
            ("exchange", self._exchange),
            ("splice", self._splice),
            ("nesting", self._nest),
            ("long form", self._lengthen),
            ("indefinite length", self._make_indefinite),
        )

    def mutants(self, count: int) -> Iterator[Mutant]:
        """Give mutants; one in four is mutated again."""
        for number in range(count):
            specimen = self._random.choice(self._specimens)
            name, mutate = self._random.choice(self._mutations)
            octets = mutate(specimen)
            if self._random.random() < 0.25:
                again = Specimen.take_apart(specimen.name, octets)
                if again.elements and len(octets) < 20_000:
                    second, mutate = self._random.choice(self._mutations)
                    name, octets = f"{name}, {second}", mutate(again)
            if octets == specimen.octets:
                octets = self._flip_bits(specimen)
                name = "bit flip"
            yield Mutant(number, specimen.name, name, octets[:MAX_MUTANT_OCTETS])

    def _pick(self, specimen: Specimen) -> Element:
        return self._random.choice(specimen.elements)

    def _flip_bits(self, specimen: Specimen) -> bytes:
        octets = bytearray(specimen.octets)
        for _ in range(self._random.choice((1, 1, 1, 2, 8))):
            octets[self._random.randrange(len(octets))] ^= 1 << self._random.randrange(
                8
            )
        return bytes(octets)

    def _spoil_octets(self, specimen: Specimen) -> bytes:
        octets = bytearray(specimen.octets)
        start = self._random.randrange(len(octets))
        count = self._random.choice((1, 2, 4, 16))
        octets[start : start + count] = self._random.randbytes(count)
        return bytes(octets)

    def _truncate(self, specimen: Specimen) -> bytes:
        return specimen.octets[: self._random.randrange(len(specimen.octets))]

    def _append(self, specimen: Specimen) -> bytes:
        tail = self._random.choice((b"\x00", b"\x05\x00", specimen.octets, b"\x30"))
        return specimen.octets + tail

    def _change_tag(self, specimen: Specimen) -> bytes:
        octets = bytearray(specimen.octets)
        octets[self._pick(specimen).start] = self._random.choice(_TAGS)
        return bytes(octets)

    def _claim_length(self, specimen: Specimen) -> bytes:
        element = self._pick(specimen)
        octets = specimen.octets
        length = element.end - element.body
        claims = (
            encode_length(length + 1),
            encode_length(max(0, length - 1)),
            *_LENGTHS,
        )
        claim = self._random.choice(claims)
        return octets[: element.start + 1] + claim + octets[element.body :]

    def _put_value(self, specimen: Specimen) -> bytes:
        element = self._pick(specimen)
        value = self._random.choice(_BY_TAG.get(element.tag, _ANYTHING))
        return replace(specimen, element, encode(element.tag, value))

    def _put_any_value(self, specimen: Specimen) -> bytes:
        element = self._pick(specimen)
        tag = self._random.choice(tuple(_BY_TAG))
        value = self._random.choice(_BY_TAG[tag])
        return replace(specimen, element, encode(tag, value))

    def _delete(self, specimen: Specimen) -> bytes:
        return replace(specimen, self._pick(specimen), b"")

    def _duplicate(self, specimen: Specimen) -> bytes:
        element = self._pick(specimen)
        whole = specimen.octets[element.start : element.end]
        copies = self._random.choice(_COPIES)
        copies = max(2, min(copies, MAX_MUTANT_OCTETS // (2 * len(whole))))
        return replace(specimen, element, whole * copies)

    def _exchange(self, specimen: Specimen) -> bytes:
        one, other = sorted(
            (self._pick(specimen), self._pick(specimen)), key=lambda each: each.start
        )
        if one.end > other.start:
            return self._change_tag(specimen)
        octets = specimen.octets
        return b"".join(
            (
                octets[: one.start],
                octets[other.start : other.end],
                octets[one.end : other.start],
                octets[one.start : one.end],
                octets[other.end :],
            )
        )

    def _splice(self, specimen: Specimen) -> bytes:
        donor = self._random.choice(self._specimens)
        graft = self._pick(donor)
        piece = donor.octets[graft.start : graft.end]
        return replace(specimen, self._pick(specimen), piece)

    def _nest(self, specimen: Specimen) -> bytes:
        element = self._pick(specimen)
        whole = specimen.octets[element.start : element.end]
        depth = self._random.choice(_DEPTHS)
        # Put together from the inside: heads first, then joined once.
        heads: list[bytes] = []
        size = len(whole)
        tag = self._random.choice((0x30, 0x31, element.tag | _CONSTRUCTED))
        for _ in range(depth):
            head = bytes((tag,)) + encode_length(size)
            heads.append(head)
            size += len(head)
        heads.reverse()
        return replace(specimen, element, b"".join(heads) + whole)

    def _lengthen(self, specimen: Specimen) -> bytes:
        """A length in more octets than DER allows, everything else right."""
        element = self._pick(specimen)
        contents = specimen.octets[element.body : element.end]
        length = len(contents).to_bytes(4, "big")
        new = bytes((element.tag,)) + b"\x84" + length + contents
        return replace(specimen, element, new)

    def _make_indefinite(self, specimen: Specimen) -> bytes:
        element = self._pick(specimen)
        contents = specimen.octets[element.body : element.end]
        tag = element.tag | _CONSTRUCTED
        return replace(specimen, element, bytes((tag,)) + b"\x80" + contents + b"\0\0")
