"""The words of a message: previews for lists, text for searching.

The scanner gave the places, ``read(offset, length)`` gives octets of the raw message::

    preview(scanned, read)               # 'Hello Anna, the figures for the quarter are …'
    for piece in search_text(scanned, read):
        needle in piece.casefold()

Transfer encodings and charsets are decoded, HTML loses its tags. Damaged input gives damaged text, never an error.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Callable, Iterator

from moxtwisted.message.charset import decode
from moxtwisted.message.headers import Header, decode_words
from moxtwisted.message.mime import Part, ScannedMessage

__all__ = [
    "MAX_PREVIEW_CHARACTERS",
    "MAX_SEARCH_OCTETS",
    "MAX_SEARCH_PART_OCTETS",
    "body_text",
    "decode_transfer",
    "has_attachments",
    "header_text",
    "html_to_text",
    "leaves",
    "part_text",
    "preview",
    "search_text",
]

MAX_PREVIEW_CHARACTERS = 200
"""RFC 8970 section 3.2: it should be 200 at most, and must not be more than 256."""
MAX_SEARCH_PART_OCTETS = 2 * 1024 * 1024
"""Encoded octets of one text part that are searched."""
MAX_SEARCH_OCTETS = 8 * 1024 * 1024
"""Encoded octets of all text parts of a message that are searched."""

# What is read of a text: usually enough without quotes; enough where others are quoted; of HTML with long style sheets in front.
_PREVIEW_PLAIN_OCTETS = 768
_PREVIEW_TEXT_OCTETS = 2048
_PREVIEW_MORE_OCTETS = 64 * 1024
_PREVIEW_PARTS = 3
_PREVIEW_SPLIT_CHARACTERS = 300
# One less, because a space at the end is cut off.
_PREVIEW_ENOUGH = MAX_PREVIEW_CHARACTERS - 1

Read = Callable[[int, int], bytes]

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_QUOTED_LINE = re.compile(r"^>.*$", re.MULTILINE)
_TAG = re.compile(
    r"<(?:!--.*?(?:--!?>|\Z)|[!?][^>]*(?:>|\Z)|(/?)([a-zA-Z][^\s/>]*)([^>]*)(?:>|\Z))", re.DOTALL
)
_SILENT = frozenset(("script", "style", "head", "title", "svg", "template", "noscript", "math", "object"))
_INLINE = frozenset(
    (
        "a",
        "abbr",
        "b",
        "big",
        "code",
        "em",
        "font",
        "i",
        "mark",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "u",
        "wbr",
    )
)
_ALT = re.compile(r"""\balt\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.IGNORECASE)
# Parts that are no text and yet nothing that a person would save.
_NOT_SHOWN = frozenset(
    (
        "application/pgp-signature",
        "application/pkcs7-signature",
        "application/x-pkcs7-signature",
        "application/pgp-encrypted",
        "message/delivery-status",
        "message/global-delivery-status",
        "message/disposition-notification",
    )
)
_SEARCHED_FIELDS = frozenset(
    (
        b"from",
        b"to",
        b"cc",
        b"bcc",
        b"reply-to",
        b"sender",
        b"subject",
        b"list-id",
        b"message-id",
        b"comments",
        b"keywords",
    )
)


def decode_transfer(octets: bytes, encoding: str) -> bytes:
    """Undo a Content-Transfer-Encoding, as far as it goes; unknown ones and identities change nothing."""
    if encoding == "base64":
        try:
            return binascii.a2b_base64(octets)
        except binascii.Error:
            clean = _NOT_BASE64.sub(b"", octets)
            clean = clean[: len(clean) // 4 * 4 + (len(clean) % 4 if len(clean) % 4 > 1 else 0)]
            return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(octets)
    if encoding in ("x-uuencode", "uuencode", "x-uue"):
        return _decode_uu(octets)
    return octets


def _decode_uu(octets: bytes) -> bytes:
    out: list[bytes] = []
    lines = iter(octets.splitlines())
    for line in lines:
        if line.startswith(b"begin "):
            break
    for line in lines:
        if line == b"end":
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Some encoders write lines longer than their count says.
            count = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                out.append(binascii.a2b_uu(line[:count]))
            except binascii.Error:
                continue
    return b"".join(out)


def part_text(part: Part, octets: bytes) -> str:
    """The text of a text part from its raw octets: transfer encoding, charset and (text/html) tags undone."""
    text = decode(decode_transfer(octets, part.encoding), part.content_type.parameter("charset"))
    return html_to_text(text) if part.content_type.subtype == "html" else text


def html_to_text(text: str) -> str:
    """HTML without its tags, comments, scripts and styles; ``alt`` texts stay. Linear in the length."""
    out: list[str] = []
    position = 0
    while True:
        tag = _TAG.search(text, position)
        if tag is None:
            break
        out.append(text[position : tag.start()])
        position = tag.end()
        name = (tag[2] or "").lower()
        if name in _SILENT and not tag[1] and not (tag[3] or "").endswith("/"):
            # One search for each opening tag; when there is no end all the rest is silent.
            closing = re.compile("</" + name + r"\b", re.IGNORECASE).search(text, position)
            position = closing.start() if closing is not None else len(text)
        elif name == "img" and (alt := _ALT.search(tag[3] or "")) is not None:
            out.append(f" {alt[1] or alt[2] or alt[3] or ''} ")
        elif name not in _INLINE:
            out.append("\n" if name else "")
    out.append(text[position:])
    return html.unescape("".join(out))


# -- which parts ------------------------------------------------------------------------------------------------


def leaves(part: Part) -> Iterator[Part]:
    """The parts without parts of their own, in order; those of embedded messages too."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if part.children:
            waiting.extend(reversed(part.children))
        elif not part.is_multipart:
            yield part


def _is_text(part: Part) -> bool:
    return part.content_type.type == "text" or (
        part.opaque and part.content_type.type == "multipart" and not part.over_limit
    )


def has_attachments(scanned: ScannedMessage) -> bool:
    """Whether a list should show a paper clip: an attachment, a named file, an embedded message, or a part that is
    neither text nor a signature nor a status report nor shown within the text."""
    waiting = [(scanned.root, False)]
    while waiting:
        part, related = waiting.pop()
        kind = part.disposition.kind if part.disposition is not None else ""
        if kind == "attachment":
            return True
        if part.is_multipart:
            below = part.content_type.subtype == "related"
            waiting.extend([(child, below) for child in part.children])
        elif not _is_text(part):
            media = f"{part.content_type.type}/{part.content_type.subtype}"
            shown = related and kind != "attachment" and part.content_id is not None
            if not shown and media not in _NOT_SHOWN:
                return True
        elif kind and kind != "inline" and part.filename:
            return True
    return False


# -- preview ----------------------------------------------------------------------------------------------------


def preview(scanned: ScannedMessage, read: Read) -> str:
    """The beginning of the first text part that has words: at most 200 characters, white space made single."""
    tried = 0
    for part in leaves(scanned.root):
        if not _is_text(part) or (part.disposition is not None and part.disposition.kind == "attachment"):
            continue
        if not part.size:
            continue
        shown = _preview_of_part(part, read)
        if shown:
            return shown
        tried += 1
        if tried == _PREVIEW_PARTS:
            break
    return ""


def _preview_of_part(part: Part, read: Read) -> str:
    size = part.size
    if size > _PREVIEW_PLAIN_OCTETS and part.content_type.subtype != "html":
        text = _text_of(part, read, _PREVIEW_PLAIN_OCTETS)
        if ">" not in text:
            shown = _beginning(text)
            if len(shown) >= _PREVIEW_ENOUGH:
                return shown
    shown = _own(_text_of(part, read, _PREVIEW_TEXT_OCTETS))
    if len(shown) < _PREVIEW_ENOUGH and size > _PREVIEW_TEXT_OCTETS:
        return _own(_text_of(part, read, _PREVIEW_MORE_OCTETS))
    return shown


def _text_of(part: Part, read: Read, octets: int) -> str:
    """The text of the first so many octets."""
    size = part.size
    if size <= octets:
        return part_text(part, read(part.body_start, size)).replace("\0", "")
    raw = read(part.body_start, octets)
    if part.encoding == "base64":
        raw = raw[: raw.rfind(b"\n") + 1] or raw[: len(raw) // 4 * 4]
    return part_text(part, raw).replace("\0", "").rstrip("\ufffd")  # a character cut in two


def _own(text: str) -> str:
    """What is shown of a text in which others may be quoted, which tells less; when all is quoted, it is shown."""
    return (">" in text and _beginning(_QUOTED_LINE.sub("", text))) or _beginning(text)


def _beginning(text: str) -> str:
    """What is shown of a text."""
    # To cut all of it into words takes ten times as long.
    characters = _PREVIEW_SPLIT_CHARACTERS
    while True:
        shown = " ".join(text[:characters].split())
        if len(shown) > MAX_PREVIEW_CHARACTERS or len(text) <= characters:
            return shown[:MAX_PREVIEW_CHARACTERS].rstrip()
        characters *= 4


# -- search -----------------------------------------------------------------------------------------------------


def header_text(header: Header, names: frozenset[bytes] | None = None) -> str:
    """The decoded values of a header's fields, a line each.

    :param names: lower-case names of the fields wanted; None for ``Name: value`` of all.
    """
    lines: list[str] = []
    for raw, name in header.fields:
        if names is None:
            lines.append(decode_words(raw))
        elif name in names:
            lines.append(decode_words(raw.partition(b":")[2]))
    return "\n".join(lines).replace("\0", "")


def body_text(scanned: ScannedMessage, read: Read) -> Iterator[str]:
    """The text of each text part, a string for each, with the headers of embedded messages and the names of attached
    files; of a part at most ``MAX_SEARCH_PART_OCTETS`` are read, of the message ``MAX_SEARCH_OCTETS``."""
    room = MAX_SEARCH_OCTETS
    waiting = [scanned.root]
    while waiting:
        part = waiting.pop()
        waiting.extend(reversed(part.children))
        if part.header is not None and part is not scanned.root:
            yield header_text(part.header, _SEARCHED_FIELDS)
        name = part.filename
        if name:
            yield name
        if part.children or not _is_text(part) or room <= 0:
            continue
        octets = min(part.size, MAX_SEARCH_PART_OCTETS, room)
        room -= octets
        if octets:
            yield part_text(part, read(part.body_start, octets)).replace("\0", "")


def search_text(scanned: ScannedMessage, read: Read) -> Iterator[str]:
    """What the search index holds of a message: the fields that people write, then ``body_text``."""
    yield header_text(scanned.header, _SEARCHED_FIELDS)
    yield from body_text(scanned, read)
