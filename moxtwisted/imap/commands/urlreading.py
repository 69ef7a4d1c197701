"""The octets that an IMAP URL stands for, as BODY.PEEK[…] would give them.

::

    part = await open_part(session, url)         # None when there is no such message or part
    part.size, part.read(0, 65536)
    part.close()
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from attrs import define

from moxtwisted.errors import MailError
from moxtwisted.identifiers import IdentifierError, parse_mailbox_name
from moxtwisted.imap import backend as b
from moxtwisted.imap.backend import ISession
from moxtwisted.imap.wire import fetchattributes as f
from moxtwisted.imap.wire.fetchgrammar import fetch_arguments
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.url import IMAPURL
from moxtwisted.message.partindex import PartIndex
from moxtwisted.message.structure import select_fields

__all__ = ["Part", "open_part"]

# As in FETCH: a header is chosen from in memory.
_MAX_HEADER_OCTETS: Final = 1024 * 1024


@define(eq=False)
class Part:
    """Octets of a message; close it.

    :ivar size: octets.
    """

    size: int
    _offset: int
    _source: Any
    _octets: bytes | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Octets; fewer at the end. At most a megabyte a call."""
        length = min(length, self.size - offset)
        if length <= 0:
            return b""
        if self._octets is not None:
            return self._octets[offset : offset + length]
        octets: bytes = self._source.read(self._offset + offset, length)
        return octets

    def close(self) -> None:
        """Let go."""
        self._source.close()


def _section(text: str) -> f.BodySection | None:
    """A section as FETCH reads it."""
    # A bracket would end the section, and something else could follow.
    if "]" in text or "\r" in text or "\n" in text or not text.isascii():
        return None
    try:
        command = fetch_arguments(b"url", Cursor(b" 1 BODY.PEEK[%b]" % text.encode("ascii")))
    except CommandError:
        return None
    (attribute,) = getattr(command, "attributes", (None,))
    return attribute if isinstance(attribute, f.BodySection) else None


async def open_part(session: ISession, url: IMAPURL) -> Part | None:
    """Open what a URL names.

    :param session: whose access counts.
    """
    section = _section(url.section)
    if section is None:
        return None
    try:
        name = parse_mailbox_name(url.mailbox)
        selected = session.select(name, read_only=True)
        if inspect.isawaitable(selected):
            selected = await selected
    except (MailError, IdentifierError):
        return None
    try:
        if url.uidvalidity is not None and url.uidvalidity != selected.view.uidvalidity:
            return None
        return _open(selected, url, section)
    finally:
        selected.close()


def _open(selected: b.ISelectedMailbox, url: IMAPURL, section: f.BodySection) -> Part | None:
    columns = b.HEADER_SIZE | b.PREFIX_SIZE | (b.PARTS if section.part or section.text is not None else 0)
    rows = selected.rows([url.uid], columns)
    source: Any = selected.open_body(url.uid) if rows else None
    if source is None:
        return None
    row = rows[0]
    header_size, prefix = row[-2:]
    located = _locate(section, row[1] if len(row) == 4 else b"", header_size, prefix, source.size)
    if located is None:
        source.close()
        return None
    offset, size = located
    octets: bytes | None = None
    if section.text in {f.SectionText.HEADER_FIELDS, f.SectionText.HEADER_FIELDS_NOT}:
        names = frozenset(name.lower().encode("utf-8") for name in section.fields)
        header = source.read(offset, min(size, _MAX_HEADER_OCTETS))
        exclude = section.text is f.SectionText.HEADER_FIELDS_NOT
        octets = select_fields(header, names, exclude=exclude)
        offset, size = 0, len(octets)
    if url.partial is not None:
        # RFC 5092 section 5: octets from the offset, so many or all that follow.
        start, length = min(url.partial[0], size), url.partial[1]
        size = size - start if length is None else min(length, size - start)
        offset += start
        if octets is not None:
            octets = octets[start : start + size]
    return Part(size, offset, source, octets)


def _locate(
    section: f.BodySection, parts: bytes, header_size: int, prefix: int, size: int
) -> tuple[int, int] | None:
    """Offset and length within the message."""
    header = prefix + header_size
    if not section.part:
        match section.text:
            case None:
                return 0, size
            case f.SectionText.TEXT:
                return header, max(0, size - header)
            case _:
                return 0, header
    words = [str(n) for n in section.part]
    if section.text is not None:
        fields = (f.SectionText.HEADER_FIELDS, f.SectionText.HEADER_FIELDS_NOT)
        words.append("HEADER" if section.text in fields else section.text.value)
    found = PartIndex.decode(parts).lookup(".".join(words))
    return None if found is None else (found.offset + prefix, found.length)
