"""A message's octets and structure in a process that did not take it in.

::

    tree = write_tree(staged.scanned)                           # octets; for large messages
    scanned = read_tree(tree, size, header)
    scanned = FarScanned(size, header, header_size, octets)     # for others: scanned when somebody asks for more than the header
"""

from __future__ import annotations

from typing import Annotated, Final, Protocol

from msgspec import Meta
from msgspec.msgpack import Decoder

from moxtwisted.message.headers import ContentType, Disposition, Header
from moxtwisted.message.mime import DEFAULT_LIMITS, Part, ScannedMessage, Scanner
from moxtwisted.server.receivers.packing import Shape, ShapeError, pack
from moxtwisted.store.bodies import iterate

__all__ = ["FarScanned", "Readable", "read_tree", "write_tree"]

_Parameters = list[tuple[str, bytes]]


class Readable(Protocol):
    """Octets somewhere."""

    def read(self, offset: int, length: int) -> bytes:
        """Octets from the middle; fewer at the end."""
        ...


class FarScanned(ScannedMessage):
    """What a scan finds, of which the header is known already: the octets are scanned when something else is asked for."""

    __slots__ = ("_header_size", "_octets", "_whole")

    _header_size: int
    _octets: Readable
    _whole: ScannedMessage | None

    def __init__(self, size: int, header: Header, header_size: int, octets: Readable) -> None:
        put = object.__setattr__  # as attrs does it for what is frozen
        put(self, "size", size)
        put(self, "header", header)
        put(self, "_header_size", header_size)
        put(self, "_octets", octets)
        put(self, "_whole", None)

    @property
    def whole(self) -> ScannedMessage:
        """All of it; scanned once."""
        whole = self._whole
        if whole is None:
            scanner = Scanner()
            for chunk in iterate(self._octets.read, self.size):
                scanner.feed(chunk)
            whole = scanner.finish()
            object.__setattr__(self, "_whole", whole)
        return whole

    @property
    def header_size(self) -> int:
        """See ``ScannedMessage``."""
        return self._header_size

    @property
    def root(self) -> Part:
        """See ``ScannedMessage``."""
        return self.whole.root

    @property
    def part_count(self) -> int:
        """See ``ScannedMessage``."""
        return self.whole.part_count

    @property
    def has_8bit(self) -> bool:
        """See ``ScannedMessage``."""
        return self.whole.has_8bit

    @property
    def has_nul(self) -> bool:
        """See ``ScannedMessage``."""
        return self.whole.has_nul

    @property
    def over_limits(self) -> bool:
        """See ``ScannedMessage``."""
        return self.whole.over_limits


class _Part(Shape):
    depth: Annotated[int, Meta(ge=0, le=DEFAULT_LIMITS.depth)]
    header_start: int
    message_root: bool
    body_start: int
    body_end: int
    lines: Annotated[int, Meta(ge=0)]
    content_type: tuple[str, str, _Parameters]
    typed: bool
    encoding: str
    disposition: tuple[str, _Parameters] | None
    languages: list[bytes]
    location: bytes | None
    md5: bytes | None
    content_id: bytes | None
    description: bytes | None
    header: bytes | None
    is_multipart: bool
    opaque: bool
    over_limit: bool


class _Tree(Shape):
    has_8bit: bool
    has_nul: bool
    over_limits: bool
    parts: Annotated[list[_Part], Meta(min_length=1, max_length=DEFAULT_LIMITS.parts)]


_read: Final = Decoder(_Tree).decode


def write_tree(scanned: ScannedMessage) -> bytes:
    """The parts in the order in which they stand in the message, without the message's own header."""
    parts = []
    waiting = [scanned.root]
    while waiting:
        part = waiting.pop()
        waiting += reversed(part.children)
        header = part.header
        found = part.disposition
        parts.append(
            (
                part.depth, part.header_start, part.message_root, part.body_start, part.body_end, part.lines,
                (part.content_type.type, part.content_type.subtype, part.content_type.parameters), part.typed, part.encoding,
                None if found is None else (found.kind, found.parameters),
                part.languages, part.location, part.md5, part.content_id, part.description,
                header.octets if header is not None and part.depth else None,
                part.is_multipart, part.opaque, part.over_limit,
            )
        )  # fmt: skip
    return pack((scanned.has_8bit, scanned.has_nul, scanned.over_limits, parts))


def read_tree(octets: bytes, size: int, header: Header) -> ScannedMessage:
    """The structure of a message of so many octets.

    :raises ShapeError: when it is no tree, or its leaves overlap: whoever reads all of them reads each octet once.
    :raises msgspec.MsgspecError: when it is something else.
    """
    tree = _read(octets)
    opened: list[Part] = []
    free = 0  # behind the last leaf
    for found in tree.parts:
        part = _build(found)
        depth = part.depth
        if depth > len(opened) or (depth == 0 and opened):
            raise ShapeError("a part is nowhere in the tree")
        if depth < len(opened):
            # The one before had no children.
            free = opened[-1].body_end
        if not free <= part.header_start <= part.body_start <= part.body_end <= size:
            raise ShapeError("a part lies where it cannot")
        if depth:
            opened[depth - 1].children.append(part)
            del opened[depth:]
        opened.append(part)
    root = opened[0]
    root.header = header
    if not root.message_root:
        raise ShapeError("no message")
    return ScannedMessage(size, root, header, len(tree.parts), tree.has_8bit, tree.has_nul, tree.over_limits)


def _build(s: _Part) -> Part:
    kind, subtype, parameters = s.content_type
    return Part(
        depth=s.depth,
        header_start=s.header_start,
        message_root=s.message_root,
        body_start=s.body_start,
        body_end=s.body_end,
        lines=s.lines,
        content_type=ContentType(kind, subtype, tuple(parameters)),
        typed=s.typed,
        encoding=s.encoding,
        disposition=None if s.disposition is None else Disposition(s.disposition[0], tuple(s.disposition[1])),
        languages=tuple(s.languages),
        location=s.location,
        md5=s.md5,
        content_id=s.content_id,
        description=s.description,
        header=None if s.header is None else Header.parse_once(s.header),
        is_multipart=s.is_multipart,
        opaque=s.opaque,
        over_limit=s.over_limit,
    )
