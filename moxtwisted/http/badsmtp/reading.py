"""A captured message as people and programs want to see it.

::

    reader = Reader()
    reader.summary(message)           # for lists; kept, because each list wants it again
    reader.detail(message)            # for one message
    reader.part(message, "2.1")       # the octets of a part, decoded, and its name

Damaged messages give damaged text, never an error.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from attrs import frozen

from moxtwisted.badsmtp.interfaces import CapturedMessage
from moxtwisted.http.badsmtp.shapes import Detail, HeaderField, Line, PartShape, Summary
from moxtwisted.message.charset import decode
from moxtwisted.message.headers import decode_words
from moxtwisted.message.mime import Limits, Part, ScannedMessage, Scanner
from moxtwisted.message.text import decode_transfer, has_attachments, html_to_text, preview

__all__ = ["FoundPart", "Reader", "numbered", "scan"]

#: What is shown of a message; the rest is in its source.
TEXT_CHARACTERS = 256 * 1024
FIELDS = 500
FIELD_CHARACTERS = 20_000
PARTS = 500
#: Encoded octets of one text part that are read.
TEXT_OCTETS = 1024 * 1024
HTML_OCTETS = 2 * 1024 * 1024
#: In lists.
LINE_CHARACTERS = 500

_LIMITS = Limits(header_octets=256 * 1024, headers_octets=1024 * 1024, depth=50, parts=2000)


@frozen
class FoundPart:
    """A part of a message.

    :ivar octets: with its transfer encoding undone.
    :ivar filename: as the sender has it; empty without.
    """

    octets: bytes
    filename: str


def scan(content: bytes) -> ScannedMessage:
    """Find out what a message consists of."""
    scanner = Scanner(_LIMITS)
    scanner.feed(content)
    return scanner.finish()


def numbered(root: Part) -> Iterator[tuple[str, Part]]:
    """All parts that have a number (RFC 9051 section 6.4.5.1), in their order: a multipart message itself has none, a message that
    is no multipart is part 1 of itself."""
    waiting: list[tuple[str, Part]] = [("", root)]
    while waiting:
        path, part = waiting.pop()
        prefix = f"{path}." if path else ""
        if part.message_root and not part.is_multipart:
            path = f"{prefix}1"
            prefix = f"{path}."
        if path and not (part.message_root and part.is_multipart):
            yield path, part
        if part.is_multipart:
            below = [(f"{prefix}{number}", child) for number, child in enumerate(part.children, 1)]
            waiting.extend(reversed(below))
        elif part.children:
            waiting.append((path, part.children[0]))


def _clean(text: str) -> str:
    """Text that JSON and pages can have: no lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _one_line(text: str) -> str:
    return " ".join(_clean(text).split())[:LINE_CHARACTERS]


def _part_text(part: Part, content: bytes, octets: int) -> str:
    raw = content[part.body_start : min(part.body_end, part.body_start + octets)]
    return _clean(decode(decode_transfer(raw, part.encoding), part.content_type.parameter("charset")))


def _own_leaves(root: Part) -> Iterator[Part]:
    """The parts without parts of their own, but for those of messages that are embedded."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.is_multipart:
            waiting.extend(reversed(part.children))
        elif not part.children:
            yield part


def _shown(scanned: ScannedMessage, subtype: str) -> Part | None:
    """The first text of a kind that is not attached."""
    for part in _own_leaves(scanned.root):
        kind = part.disposition.kind if part.disposition is not None else ""
        if part.content_type.type == "text" and part.content_type.subtype == subtype and kind != "attachment":
            return part
    return None


class Reader:
    """Reads messages; remembers the summaries of the newest.

    :ivar kept_summaries: how many it remembers.
    """

    def __init__(self, kept_summaries: int = 2000) -> None:
        self.kept_summaries = kept_summaries
        self._summaries: OrderedDict[int, Summary] = OrderedDict()

    def summary(self, message: CapturedMessage) -> Summary:
        """What lists show."""
        known = self._summaries.get(message.number)
        if known is not None:
            return known
        found = _summary(message, scan(message.content))
        self._summaries[message.number] = found
        if len(self._summaries) > self.kept_summaries:
            self._summaries.popitem(last=False)
        return found

    def detail(self, message: CapturedMessage) -> Detail:
        """All but the source."""
        scanned = scan(message.content)
        text, cut = _text(scanned, message.content)
        fields = scanned.header.fields
        headers = []
        for raw, _ in fields[:FIELDS]:
            name, _, value = raw.partition(b":")
            shown = _clean(decode_words(value))
            cut = cut or len(shown) > FIELD_CHARACTERS
            headers.append(HeaderField(name.strip().decode("ascii", "replace"), shown[:FIELD_CHARACTERS]))
        parts: list[PartShape] = []
        for path, part in numbered(scanned.root):
            if len(parts) == PARTS:
                cut = True
                break
            parts.append(_part_shape(path, part))
        return Detail(
            summary=self.summary(message),
            hello_name=_clean(message.hello_name),
            directory=_clean(message.directory),
            headers=headers,
            parts=parts,
            text=text,
            cut=cut or len(fields) > FIELDS or scanned.over_limits,
            html=_shown(scanned, "html") is not None,
            transcript=[
                Line(round(line.at_seconds, 6), line.direction.value, _clean(line.text))
                for line in message.transcript
            ],
        )

    def part(self, message: CapturedMessage, path: str) -> FoundPart | None:
        """The part at a path, decoded; None when there is none."""
        for found, part in numbered(scan(message.content).root):
            if found == path:
                raw = message.content[part.body_start : part.body_end]
                octets = raw if part.is_multipart else decode_transfer(raw, part.encoding)
                return FoundPart(octets, _clean(part.filename))
        return None

    def html(self, message: CapturedMessage) -> tuple[str, dict[str, tuple[str, bytes]]] | None:
        """The HTML of a message as it came, with the pictures that it brought: media type and octets by Content-ID.

        :return: None when it has no HTML.
        """
        scanned = scan(message.content)
        part = _shown(scanned, "html")
        if part is None:
            return None
        pictures: dict[str, tuple[str, bytes]] = {}
        for leaf in _own_leaves(scanned.root):
            if leaf.content_type.type == "image" and leaf.content_id is not None:
                raw = message.content[leaf.body_start : leaf.body_end]
                name = leaf.content_id.strip(b"<> ").decode("utf-8", "replace")
                media_type = f"image/{leaf.content_type.subtype}"
                pictures.setdefault(name, (media_type, decode_transfer(raw, leaf.encoding)))
        return _part_text(part, message.content, HTML_OCTETS), pictures


def _summary(message: CapturedMessage, scanned: ScannedMessage) -> Summary:
    content, header = message.content, scanned.header

    def read(offset: int, length: int) -> bytes:
        return content[offset : offset + length]

    return Summary(
        number=message.number,
        received=message.received,
        mail_from=_clean(message.reverse_path),
        rcpt_to=[_clean(path) for path in message.forward_paths],
        from_=_one_line(header.text(b"from")),
        to=_one_line(header.text(b"to")),
        subject=_one_line(header.text(b"subject")),
        preview=_clean(preview(scanned, read)),
        size=len(content),
        attachments=has_attachments(scanned),
        protocol=message.protocol,
        client=message.client,
        port=message.port,
        username=_clean(message.username),
        session=message.session,
    )


def _text(scanned: ScannedMessage, content: bytes) -> tuple[str, bool]:
    """What a person reads, and whether it is not all."""
    part = _shown(scanned, "plain")
    html = None if part is not None and part.size else _shown(scanned, "html")
    if html is not None:
        text = html_to_text(_part_text(html, content, TEXT_OCTETS)).strip()
        part = html
    elif part is not None:
        text = _part_text(part, content, TEXT_OCTETS)
    else:
        return "", False
    return text[:TEXT_CHARACTERS], len(text) > TEXT_CHARACTERS or part.size > TEXT_OCTETS


def _part_shape(path: str, part: Part) -> PartShape:
    content_type, disposition = part.content_type, part.disposition
    return PartShape(
        path=path,
        media_type=_one_line(f"{content_type.type}/{content_type.subtype}"),
        charset=_one_line(content_type.parameter("charset")),
        encoding=_one_line(part.encoding),
        filename=_one_line(part.filename),
        disposition=_one_line(disposition.kind) if disposition is not None else "",
        content_id=_one_line((part.content_id or b"").decode("utf-8", "replace")),
        size=part.size,
        container=bool(part.children) or part.is_multipart,
    )
