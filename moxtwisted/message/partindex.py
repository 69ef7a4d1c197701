"""Where each section of a message lies, as a small string of octets kept beside it.

FETCH BODY[…] then reads just the octets it needs::

    index = PartIndex.of(scanned)
    kept = index.encode()
    PartIndex.decode(kept).section("2.MIME")     # (offset, length), or None when there is no such part

Section names follow RFC 9051 section 6.4.5.1; HEADER.FIELDS is ``HEADER`` passed through
``moxtwisted.message.headers.select_fields``.
"""

from __future__ import annotations

import struct
from functools import cached_property

from attrs import define, frozen

from moxtwisted.message.mime import Part, ScannedMessage

__all__ = ["PartIndex", "Section"]

_MULTIPART, _MESSAGE, _ROOT = 1, 2, 4
# Content-Transfer-Encodings by number; what is not here is 255 and cannot be decoded.
_ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64")
_UNKNOWN = 255
_ENCODING_NUMBERS = {name: number for number, name in enumerate(_ENCODINGS)}
_NARROW = struct.Struct("<BBHIII")
_WIDE = struct.Struct("<BBHQQQ")
_MAX_NUMBER_DIGITS = 5

# flags, encoding, number of the parent, header start, body start, body end
Record = tuple[int, int, int, int, int, int]


@frozen
class Section:
    """A section that BODY[…] or BINARY[…] may name.

    :ivar offset: octets from the start of the message.
    :ivar length: octets.
    :ivar encoding: Content-Transfer-Encoding of a part's body in lower case; empty when it is unknown, ``"binary"`` for
        sections that have none (headers, text of a message).
    :ivar divided: whether the part is a multipart or message, whose body BINARY cannot decode as one.
    """

    offset: int
    length: int
    encoding: str = "binary"
    divided: bool = False


@define(slots=False)
class PartIndex:
    """The offsets of all parts, parents before children.

    :ivar records: one for each part; the first is the message, and is its own parent.
    """

    records: list[Record]

    @classmethod
    def of(cls, scanned: ScannedMessage) -> PartIndex:
        """Index a scanned message."""
        records: list[Record] = []
        waiting: list[tuple[Part, int]] = [(scanned.root, 0)]
        while waiting:
            part, parent = waiting.pop()
            flags = _ROOT if part.message_root else 0
            if part.is_multipart:
                flags |= _MULTIPART
            children = part.children
            if children:
                if children[0].message_root:
                    flags |= _MESSAGE
                number = len(records)
                waiting += [(child, number) for child in reversed(children)]
            encoding = _ENCODING_NUMBERS.get(part.encoding, _UNKNOWN)
            records.append((flags, encoding, parent, part.header_start, part.body_start, part.body_end))
        return cls(records)

    def encode(self) -> bytes:
        """The octets to keep: 16 for each part, 28 in messages of 4 GiB and more, and one before them."""
        wide = self.records[0][5] >= 1 << 32
        pack = _WIDE.pack if wide else _NARROW.pack
        return (b"\x02" if wide else b"\x01") + b"".join([pack(*record) for record in self.records])

    @classmethod
    def decode(cls, octets: bytes) -> PartIndex:
        """Read what ``encode`` gave.

        :raise ValueError: when it is something else.
        """
        layout = {b"\x01": _NARROW, b"\x02": _WIDE}.get(octets[:1])
        if layout is None or len(octets) == 1 or (len(octets) - 1) % layout.size:
            raise ValueError("not a part index")
        return cls(list(layout.iter_unpack(octets[1:])))

    @cached_property
    def _children(self) -> list[list[int]]:
        children: list[list[int]] = [[] for _ in self.records]
        for number, record in enumerate(self.records):
            if number:
                if record[2] >= number:
                    raise ValueError("not a part index")
                children[record[2]].append(number)
        if any(record[0] & _MESSAGE and not children[number] for number, record in enumerate(self.records)):
            raise ValueError("not a part index")
        return children

    def section(self, name: str) -> tuple[int, int] | None:
        """Offset and length of a section: empty, ``HEADER``, ``TEXT``, ``1.2``, ``1.2.MIME``, ``1.2.HEADER``, ``1.2.TEXT``.

        :return: None when the message has no such section.
        """
        if not name:
            return 0, self.records[0][5]
        found = self.lookup(name)
        return None if found is None else (found.offset, found.length)

    def lookup(self, name: str) -> Section | None:
        """As ``section``, with what BINARY must know besides."""
        numbers, word = _split(name)
        if numbers is None:
            return None
        part = self._resolve(numbers)
        if part is None:
            return None
        flags, encoding, _, header_start, body_start, body_end = self.records[part]
        if word == "MIME":
            # RFC 9051 section 6.4.5.1: MIME must have a part number before it.
            return Section(header_start, body_start - header_start) if numbers else None
        if word and numbers:
            # HEADER and TEXT of a part number are those of the message that the part contains.
            if not flags & _MESSAGE:
                return None
            _, _, _, header_start, body_start, body_end = self.records[self._children[part][0]]
        if word == "HEADER":
            return Section(header_start, body_start - header_start)
        if word == "TEXT":
            return Section(body_start, body_end - body_start)
        if not numbers:
            return Section(0, body_end, divided=True)
        name_of_encoding = _ENCODINGS[encoding] if encoding < len(_ENCODINGS) else ""
        return Section(
            body_start, body_end - body_start, name_of_encoding, bool(flags & (_MULTIPART | _MESSAGE))
        )

    def _resolve(self, numbers: list[int]) -> int | None:
        """The part with these numbers."""
        part, is_message = 0, True
        for number in numbers:
            if not is_message and self.records[part][0] & _MESSAGE:
                part, is_message = self._children[part][0], True
            if self.records[part][0] & _MULTIPART:
                children = self._children[part]
                if not 0 < number <= len(children):
                    return None
                part = children[number - 1]
            elif not is_message or number != 1:
                # RFC 9051 section 6.4.5.1: a message that is no multipart has one part, its body.
                return None
            is_message = False
        return part


def _split(name: str) -> tuple[list[int] | None, str]:
    """The part numbers of a section name and its last word; None for what is no section name."""
    numbers: list[int] = []
    elements = name.upper().split(".") if name else []
    word = elements.pop() if elements and elements[-1] in ("MIME", "HEADER", "TEXT") else ""
    for element in elements:
        if not (element.isascii() and element.isdigit()) or len(element) > _MAX_NUMBER_DIGITS:
            return None, ""
        numbers.append(int(element))
    return numbers, word
