"""The one-pass scanner: octets of a message in, its structure out.

Octets go in as they come from the network or a file, cut anywhere; what comes out does not depend on
the cuts. Lines may end in CRLF or in LF alone. The scanner holds back at most one header block and one
line, and never fails: what passes a limit is taken as opaque content::

    scanner = Scanner()
    for chunk in chunks:
        scanner.feed(chunk)
    message = scanner.finish()
    message.root.content_type.subtype        # 'mixed'
    message.root.children[0].body_start      # offset in octets

Time is linear in the size: bodies are searched with ``bytes.find``, never line by line.
"""

from __future__ import annotations

import re

from attrs import Factory, define, frozen

from moxtwisted.message.dates import parse_date
from moxtwisted.message.headers import (
    MESSAGE_RFC822,
    TEXT_PLAIN,
    ContentType,
    Disposition,
    Header,
    parse_content_type,
    parse_disposition,
    unfold,
)

__all__ = ["DEFAULT_LIMITS", "Limits", "Part", "ScannedMessage", "Scanner"]


@frozen
class Limits:
    """What the scanner keeps and follows; beyond, content is opaque.

    :ivar header_octets: of one header block kept (the rest of it is passed over).
    :ivar headers_octets: of all header blocks of a message together; parts after that are not looked for.
    :ivar depth: of nested multiparts and messages.
    :ivar parts: in one message.
    :ivar boundary_octets: a longer boundary is none (RFC 2046 section 5.1.1 allows 70).
    :ivar boundary_line_octets: a longer line is no boundary line, whatever white space it ends in.
    """

    header_octets: int = 512 * 1024
    headers_octets: int = 4 * 1024 * 1024
    depth: int = 100
    parts: int = 10_000
    boundary_octets: int = 500
    boundary_line_octets: int = 1000


DEFAULT_LIMITS = Limits()


@define(eq=False)
class Part:
    """A body part; the root is the message itself. Offsets count octets from the start of the message.

    :ivar depth: 0 for the root.
    :ivar header_start: where its MIME header begins.
    :ivar body_start: behind the blank line.
    :ivar body_end: before the line end that belongs to the next boundary (RFC 2046 section 5.1.1).
    :ivar lines: line feeds in the body.
    :ivar content_type: as given, or what RFC 2046 says for a missing or unreadable one.
    :ivar typed: whether a readable Content-Type was there.
    :ivar encoding: Content-Transfer-Encoding in lower case, ``"7bit"`` when missing.
    :ivar header: the header; kept for the root and for embedded messages, else None.
    :ivar message_root: whether it is a whole message: the root, or what a message/rfc822 part contains.
    :ivar is_multipart: whether its body was divided at boundaries.
    :ivar opaque: a multipart or message that was not looked into: no boundary, over a limit, encoded.
    :ivar over_limit: opaque because of a limit.
    """

    depth: int
    header_start: int
    message_root: bool = False
    body_start: int = 0
    body_end: int = 0
    lines: int = 0
    content_type: ContentType = TEXT_PLAIN
    typed: bool = False
    encoding: str = "7bit"
    disposition: Disposition | None = None
    languages: tuple[bytes, ...] = ()
    location: bytes | None = None
    md5: bytes | None = None
    content_id: bytes | None = None
    description: bytes | None = None
    header: Header | None = None
    is_multipart: bool = False
    opaque: bool = False
    over_limit: bool = False
    children: list[Part] = Factory(list)

    @property
    def is_message(self) -> bool:
        """Whether its body is a message, which is its only child."""
        return bool(self.children) and self.children[0].message_root

    @property
    def size(self) -> int:
        """Octets of the body, encoded as it stands."""
        return self.body_end - self.body_start

    @property
    def filename(self) -> str:
        """The file name from Content-Disposition or Content-Type, decoded; not safe as a path."""
        name = self.disposition.parameter("filename") if self.disposition is not None else ""
        return name or self.content_type.parameter("name")


@frozen(eq=False)
class ScannedMessage:
    """What a scan found.

    :ivar size: octets of the whole message.
    :ivar root: the tree of parts.
    :ivar header: the header of the message, up to the limit.
    :ivar header_size: octets of the header with its blank line.
    :ivar part_count: parts in the tree.
    :ivar has_8bit: an octet above 127 somewhere.
    :ivar has_nul: a NUL somewhere.
    :ivar has_utf8_header: an octet above 127 in the header.
    :ivar over_limits: some content was not looked into because of a limit.
    :ivar received_count: Received fields, for loop detection.
    """

    size: int
    root: Part
    header: Header
    part_count: int
    has_8bit: bool
    has_nul: bool
    over_limits: bool

    @property
    def header_size(self) -> int:
        """Octets of the header with its blank line."""
        return self.root.body_start

    @property
    def has_utf8_header(self) -> bool:
        """Whether the header has an octet above 127 (RFC 6532 then makes it an internationalised message)."""
        return not self.header.octets.isascii()

    @property
    def received_count(self) -> int:
        """Received fields in the header (RFC 5321 section 6.3)."""
        return len(self.header.values.get(b"received", ()))

    @property
    def date(self) -> int | None:
        """The Date field in seconds since the epoch; None when it is missing or unreadable."""
        value = self.header.get(b"date")
        return None if value is None else parse_date(value)


# The end of a header: an empty line; or, within a multipart, a boundary line that comes too early.
_BLANK_LINE = re.compile(rb"\n\r?\n")
_BLANK_LINE_OR_DASHES = re.compile(rb"\n(?:\r?\n|--)")

_IDENTITY = frozenset(("7bit", "8bit", "binary"))
_EMBEDDED = frozenset(("rfc822", "global"))
_PAD = b" \t\r"
# Lines with two hyphens that were no boundary line, after which a pattern is compiled to find those that are: it costs
# about as much as looking at so many lines.
_MISSES_BEFORE_PATTERN = 200
# Small pieces are collected before they are looked at, so that octet-wise feeding stays linear.
_GATHER_OCTETS = 32 * 1024


class Scanner:
    """Takes a message in pieces; ``finish`` gives what was found. Not to be used for a second message."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        # A line feed before the message: then every line, the first too, begins behind one.
        self._buffer = b"\n"
        self._base = -1  # offset in the message of the first octet of the buffer
        self._pending: list[bytes] = []
        self._pending_octets = 0
        self._needed = _GATHER_OCTETS
        self._root = Part(0, 0, True)
        self._open = [self._root]  # from the root to the innermost part
        # Boundary -> depth of the multipart, for those that still wait for their closing line; those of outer
        # multiparts with the same boundary are kept to be put back.
        self._boundaries: dict[bytes, Part] = {}
        self._misses = 0
        self._pattern: re.Pattern[bytes] | None = None
        self._shadowed: list[tuple[Part, bytes, Part | None]] = []
        self._in_header = True
        self._cut_header: bytes | None = None  # the kept beginning of a header that passed its limit
        self._parts = 1
        self._headers_octets = 0
        self._lines = 0  # line feeds before _counted
        self._counted = 0  # offset up to which line feeds were counted
        self._has_8bit = False
        self._has_nul = False
        self._over_limits = False

    @property
    def headers_octets(self) -> int:
        """Of the headers found so far, as much as is kept while they are read."""
        return self._headers_octets

    def feed(self, data: bytes) -> None:
        """Take the next octets."""
        self._pending.append(data)
        self._pending_octets += len(data)
        if self._pending_octets >= self._needed:
            self._scan(final=False)
            # At least as much again as was held back, so that re-reading it costs no more than reading did.
            self._needed = max(_GATHER_OCTETS, len(self._buffer))

    def finish(self) -> ScannedMessage:
        """The message is complete."""
        self._scan(final=True)
        size = self._base + len(self._buffer)
        while self._in_header:  # twice when a header without end says message/rfc822
            self._end_header(len(self._buffer))
        self._close(0, size)
        header = self._root.header
        if header is None:
            header = Header.parse(b"")
        return ScannedMessage(
            size, self._root, header, self._parts, self._has_8bit, self._has_nul, self._over_limits
        )

    # -- the buffer ---------------------------------------------------------------------------------------------

    def _scan(self, *, final: bool) -> None:
        data = b"".join(self._pending)
        self._pending = []
        self._pending_octets = 0
        if not self._has_8bit:
            self._has_8bit = not data.isascii()
        if not self._has_nul:
            self._has_nul = 0 in data
        self._buffer += data
        position = 0
        while True:
            scan = self._scan_header if self._in_header else self._scan_body
            following = scan(position, final)
            if following < 0:
                break
            position = following
        if not final:
            if not self._in_header:
                keep = self._held_back(position)
            elif self._cut_header is None and len(self._buffer) - position - 1 <= self._limits.header_octets:
                keep = position
            else:
                keep = self._cut_header_at(position)
            self._count_lines(self._base + keep)
            self._buffer = self._buffer[keep:]
            self._base += keep

    def _held_back(self, position: int) -> int:
        """From where a body's octets must be seen again: an unfinished line that may become a boundary line,
        with the line end before it."""
        buffer = self._buffer
        if not self._boundaries:
            return len(buffer)
        line = buffer.rfind(b"\n", position)
        if line < 0:
            # Only a CR may still matter, as the beginning of the line end.
            return len(buffer) - buffer.endswith(b"\r")
        start = buffer[line + 1 : line + 3]
        if not b"--".startswith(start) or len(buffer) - line - 1 > self._limits.boundary_line_octets:
            return len(buffer) - buffer.endswith(b"\r")
        return line - 1 if line > 0 and buffer[line - 1] == 0x0D else line

    def _count_lines(self, offset: int) -> int:
        """Line feeds before the offset, which is not before the last one asked for."""
        if offset > self._counted:
            base = self._base
            self._lines += self._buffer.count(b"\n", self._counted - base, offset - base)
            self._counted = offset
        return self._lines

    # -- headers ------------------------------------------------------------------------------------------------

    def _scan_header(self, position: int, final: bool) -> int:
        """Look for the end of the header that begins behind the line feed at ``position``.

        :return: where the scan goes on, or -1 when more octets are needed.
        """
        buffer = self._buffer
        pattern = _BLANK_LINE_OR_DASHES if self._boundaries else _BLANK_LINE
        at = position
        while True:
            found = pattern.search(buffer, at)
            if found is None:
                break
            end = found.start()
            if buffer[found.end() - 1] == 0x0A:
                return self._end_header(found.end())
            match = self._boundary_at(end, final)
            if match is None:
                return -1
            if match:
                self._end_header(end + 1)
                return end
            at = end + 1
        return -1

    def _cut_header_at(self, position: int) -> int:
        """Keep the permitted beginning of a header that passed its limit; return from where octets must be seen again
        to find its end."""
        buffer = self._buffer
        if self._cut_header is None:
            start = self._open[-1].header_start - self._base
            self._cut_header = buffer[start : start + self._limits.header_octets]
        line = buffer.rfind(b"\n", position)
        rest = buffer[line + 1 : line + 3]
        if line < 0 or len(buffer) - line - 1 > self._limits.boundary_line_octets:
            return len(buffer)
        return line if rest in (b"", b"\r", b"-", b"--") else len(buffer)

    def _end_header(self, body: int) -> int:
        """The innermost part's header ends and its body begins at ``body`` in the buffer.

        :return: where the scan goes on: the line feed before the body.
        """
        part = self._open[-1]
        limits = self._limits
        octets = self._cut_header
        if octets is None:
            octets = self._buffer[part.header_start - self._base : body]
            if len(octets) > limits.header_octets:
                octets = octets[: limits.header_octets]
                self._cut_header = octets
        if self._cut_header is not None:
            octets = octets[: octets.rfind(b"\n") + 1]
            self._cut_header = None
            self._over_limits = True
        self._headers_octets += len(octets)
        header = Header.parse_once(octets)
        part.body_start = self._base + body
        self._in_header = False
        self._describe(part, header)
        # Until the part is closed: those before its body.
        part.lines = self._count_lines(part.body_start)
        if part.message_root:
            part.header = header
        if part.content_type.type == "multipart":
            self._enter_multipart(part)
        elif part.content_type.type == "message" and part.content_type.subtype in _EMBEDDED:
            self._enter_message(part)
        return body - 1

    @staticmethod
    def _describe(part: Part, header: Header) -> None:
        """Read the MIME fields (RFC 2045, 2183, 3282, 2557, 1864)."""
        values = header.values
        if not values:
            return
        raw = values.get(b"content-type")
        if raw is not None:
            content_type = parse_content_type(raw[0])
            part.typed = content_type is not None
            # RFC 2045 section 5.2: what cannot be read is taken as plain text.
            part.content_type = content_type or TEXT_PLAIN
        raw = values.get(b"content-transfer-encoding")
        if raw is not None:
            # A comment or a stray parameter may follow.
            words = raw[0].split(None, 1)
            if words:
                part.encoding = words[0].split(b";")[0].strip(b"\"'").lower().decode("latin-1") or "7bit"
        raw = values.get(b"content-disposition")
        if raw is not None:
            part.disposition = parse_disposition(raw[0])
        raw = values.get(b"content-id")
        if raw is not None:
            part.content_id = unfold(raw[0])
        raw = values.get(b"content-description")
        if raw is not None:
            part.description = unfold(raw[0])
        raw = values.get(b"content-language")
        if raw is not None:
            tags = (tag.strip() for tag in unfold(raw[0]).split(b",", 100)[:100])
            part.languages = tuple(tag for tag in tags if tag)
        raw = values.get(b"content-location")
        if raw is not None:
            # RFC 2557 section 4.4.1: white space from folding is no part of the URI.
            part.location = b"".join(unfold(raw[0]).split())
        raw = values.get(b"content-md5")
        if raw is not None:
            part.md5 = unfold(raw[0])

    # -- structure ----------------------------------------------------------------------------------------------

    def _may_enter(self, part: Part) -> bool:
        limits = self._limits
        if (
            part.depth >= limits.depth
            or self._parts >= limits.parts
            or self._headers_octets >= limits.headers_octets
        ):
            self._over_limits = part.over_limit = True
            return False
        return True

    def _enter_multipart(self, part: Part) -> None:
        boundary = b""
        for name, value in part.content_type.parameters:
            if name == "boundary":
                boundary = value.rstrip(_PAD)
        if (
            not 0 < len(boundary) <= self._limits.boundary_octets
            or b"\n" in boundary
            or not self._may_enter(part)
        ):
            part.opaque = True
            return
        part.is_multipart = True
        self._shadowed.append((part, boundary, self._boundaries.get(boundary)))
        self._boundaries[boundary] = part
        self._misses, self._pattern = 0, None

    def _enter_message(self, part: Part) -> None:
        # RFC 2046 section 5.2.1: message/rfc822 has an identity encoding; RFC 6532 section 3.5 lets message/global
        # have another, and that we do not look into.
        if part.encoding not in _IDENTITY or not self._may_enter(part):
            part.opaque = True
            return
        self._add(part, part.body_start, True)

    def _add(self, parent: Part, header_start: int, message_root: bool) -> None:
        part = Part(parent.depth + 1, header_start, message_root)
        if parent.content_type.subtype == "digest" and not message_root:
            # RFC 2046 section 5.1.5: in a digest the type is message/rfc822 unless it is given.
            part.content_type = MESSAGE_RFC822
        parent.children.append(part)
        self._open.append(part)
        self._parts += 1
        self._in_header = True

    def _close(self, depth: int, offset: int) -> None:
        """Close the open parts from this depth on; their bodies end at the offset."""
        lines = self._count_lines(offset)
        opened = self._open
        while len(opened) > depth:
            part = opened.pop()
            part.body_end = max(offset, part.body_start)
            part.lines = max(0, lines - part.lines)
            if part.is_multipart:
                self._forget_boundary(part)

    def _forget_boundary(self, part: Part) -> None:
        """No more lines of this multipart are waited for."""
        if self._shadowed and self._shadowed[-1][0] is part:
            _, boundary, outer = self._shadowed.pop()
            self._misses, self._pattern = 0, None
            if outer is None:
                del self._boundaries[boundary]
            else:
                self._boundaries[boundary] = outer

    # -- bodies -------------------------------------------------------------------------------------------------

    def _scan_body(self, position: int, final: bool) -> int:
        """Look for the next boundary line behind the line feed at ``position`` or later.

        :return: where the scan goes on, or -1 when more octets are needed.
        """
        if not self._boundaries:
            return -1
        buffer = self._buffer
        at = position
        while True:
            # Encoded attachments have no hyphen at all, and a single octet is found ten times faster.
            dash = buffer.find(b"-", at)
            if dash < 0:
                return -1
            line = buffer.find(b"\n--", max(at, dash - 1))
            if line < 0:
                return -1
            match = self._boundary_at(line, final)
            if match is None:
                return -1
            if match:
                return self._take_boundary(line)
            at = line + 1
            self._misses += 1
            if self._misses >= _MISSES_BEFORE_PATTERN:
                return self._scan_body_by_pattern(at, final)

    def _scan_body_by_pattern(self, at: int, final: bool) -> int:
        """As ``_scan_body``, for mail full of lines that begin with two hyphens and are no boundary lines: at a
        hundred times the speed, once the pattern of these boundaries is compiled."""
        if self._pattern is None:
            names = sorted(self._boundaries, key=len, reverse=True)
            self._pattern = re.compile(
                rb"\n--(?=(?:%b)(?:--)?[ \t\r]*(?:\n|\Z))" % b"|".join([re.escape(name) for name in names])
            )
        while (found := self._pattern.search(self._buffer, at)) is not None:
            line = found.start()
            match = self._boundary_at(line, final)
            if match is None:
                return -1
            if match:
                return self._take_boundary(line)
            at = line + 1
        return -1

    def _boundary_at(self, line: int, final: bool) -> bool | None:
        """Whether the line behind the line feed at ``line``, which begins with two hyphens, is a boundary line;
        None when its end has not come yet."""
        limit = line + 2 + self._limits.boundary_line_octets
        end = self._buffer.find(b"\n", line + 3, limit)
        if end < 0:
            if len(self._buffer) >= limit:
                return False
            if not final:
                return None
            end = len(self._buffer)
        content = self._buffer[line + 3 : end].rstrip(_PAD)
        return content in self._boundaries or (content.endswith(b"--") and content[:-2] in self._boundaries)

    def _take_boundary(self, line: int) -> int:
        """Act on the boundary line behind the line feed at ``line``; return where the scan goes on."""
        buffer = self._buffer
        end = buffer.find(b"\n", line + 3)
        if end < 0:
            end = len(buffer)
        content = buffer[line + 3 : end].rstrip(_PAD)
        multipart = self._boundaries.get(content)
        closing = multipart is None
        if multipart is None:
            multipart = self._boundaries[content[:-2]]
        # The line end before the boundary belongs to it (RFC 2046 section 5.1.1).
        body_end = line - 1 if line > 0 and buffer[line - 1] == 0x0D else line
        self._close(multipart.depth + 1, self._base + body_end)
        if closing:
            self._forget_boundary(multipart)
        elif self._may_enter_more():
            # At the end of the message the boundary line may have no line end.
            self._add(multipart, self._base + min(end + 1, len(buffer)), False)
        else:
            # What follows counts as epilogue, to the end of the message.
            self._boundaries.clear()
            self._shadowed.clear()
            self._misses, self._pattern = 0, None
        return min(end, len(buffer))

    def _may_enter_more(self) -> bool:
        limits = self._limits
        if self._parts >= limits.parts or self._headers_octets >= limits.headers_octets:
            self._over_limits = True
            return False
        return True
