"""Address lists of header fields (RFC 5322 section 3.4), as senders really write them.

::

    parse_address_list(b'Anna <anna@a.example>, Team: b@b.example, "C, D" <c@d.example>;')
    # (HeaderAddress(b'Anna', b'anna', b'a.example'), GroupStart(b'Team'), HeaderAddress(None, b'b', …), …, GroupEnd())

Names keep their RFC 2047 encoding, because ENVELOPE wants them so; ``HeaderAddress.display_name`` decodes. Comments,
obsolete routes, quoted local parts, groups, missing commas, stray brackets and UTF-8 are taken; nothing raises.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import lru_cache

from attrs import frozen

from moxtwisted.message.headers import decode_words, unfold

__all__ = ["MAX_ADDRESSES", "GroupEnd", "GroupStart", "HeaderAddress", "mailboxes", "parse_address_list"]

MAX_ADDRESSES = 10_000
"""Entries that are read from one field."""
_MAX_TOKENS = 8 * MAX_ADDRESSES
_MAX_COMMENT_DEPTH = 20
_REMEMBERED_OCTETS = 256


@frozen
class HeaderAddress:
    """One address.

    :ivar name: the display name, unquoted, RFC 2047 words as they came; None when there is none.
    :ivar local: the local part, unquoted; may be empty in damaged mail.
    :ivar domain: what stands behind the @; empty when there was no @.
    """

    name: bytes | None
    local: bytes
    domain: bytes

    @property
    def display_name(self) -> str:
        """The name as text."""
        return decode_words(self.name) if self.name else ""

    @property
    def address(self) -> str:
        """``local@domain`` as text, the local part not quoted."""
        return b"@".join((self.local, self.domain)).decode("utf-8", "replace")


@frozen
class GroupStart:
    """The name of a group; its members follow."""

    name: bytes


@frozen
class GroupEnd:
    """The end of a group."""


Entry = HeaderAddress | GroupStart | GroupEnd
_GROUP_END = GroupEnd()

_ATOM = rb"[^\s()<>\[\]:;@\\,\"\x00-\x1f\x7f]"
# What nearly all mail has: an optional plain or quoted name, then one bracketed or bare address.
_USUAL = re.compile(
    rb"\s*(?:(?:\"([^\"\\\r\n]*)\"|(" + _ATOM + rb"+(?:[ \t]" + _ATOM + rb"+)*))?[ \t]*"
    rb"<(" + _ATOM + rb"+)@(" + _ATOM + rb"+)>|(" + _ATOM + rb"+)@(" + _ATOM + rb"+))\s*(?:,|\Z)"
)
# Strings and comments left open run to the end of the field.
_TOKEN = re.compile(
    rb'\s+|"([^"\\]*(?:\\.[^"\\]*)*)(?:"|\\?\Z)|\[([^\[\]\\]*)\]|(' + _ATOM + rb"+)|(.)", re.DOTALL
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT_PIECE = re.compile(rb"[^()\\]+|\\.|.", re.DOTALL)

_WORD, _QUOTED, _LITERAL, _SPECIAL = range(4)
Token = tuple[int, bytes, bool]  # kind, text, whether white space stood before it


def parse_address_list(value: bytes) -> tuple[Entry, ...]:
    """Read the value of an address field (folded or not), at most ``MAX_ADDRESSES`` entries of it."""
    return _parsed_before(value) if len(value) <= _REMEMBERED_OCTETS else _parsed(value)


def _parsed(value: bytes) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    position, end = 0, len(value)
    while len(entries) < MAX_ADDRESSES:
        usual = _USUAL.match(value, position)
        if usual is None:
            break
        quoted, atoms, local, domain, bare_local, bare_domain = usual.groups()
        if local is not None:
            entries.append(HeaderAddress(quoted if quoted is not None else atoms, local, domain))
        else:
            entries.append(HeaderAddress(None, bare_local, bare_domain))
        position = usual.end()
        if position >= end:
            return tuple(entries)
    rest = unfold(value[position:])
    if rest:
        entries.extend(_Parser(rest, MAX_ADDRESSES - len(entries)).entries())
    return tuple(entries)


# From of a message is read by those who verify it, judge it and render it, and the same few write to the same few.
_parsed_before = lru_cache(256)(_parsed)


def mailboxes(value: bytes) -> list[HeaderAddress]:
    """The addresses of a field without its groups."""
    return [entry for entry in parse_address_list(value) if isinstance(entry, HeaderAddress)]


class _Parser:
    """The slow, tolerant way: tokens up to a comma, semicolon or closing bracket make an entry."""

    def __init__(self, value: bytes, room: int) -> None:
        self._value = value
        self._room = room
        self._comment: bytes | None = None
        self._trailing = False  # whether a bracketed address was read since the last comma

    def entries(self) -> list[Entry]:
        entries: list[Entry] = []
        words: list[Token] = []  # outside angle brackets
        angle: list[Token] | None = None  # within
        in_group = False
        for kind, text, spaced in self._tokens():
            if len(entries) >= self._room:
                break
            if kind != _SPECIAL or text not in b"<>,:;":
                (words if angle is None else angle).append((kind, text, spaced))
            elif text == b"<":
                angle = []
            elif text == b">":
                if angle is not None:
                    self._add(entries, words, angle)
                    words, angle, self._trailing = [], None, True
            elif text == b":" and angle is not None:
                angle = []  # RFC 5322 section 4.4: an obsolete route ends here
            elif text == b"," and angle is not None and _is_route(angle):
                angle = []
            elif text == b":" and not in_group and not any(t[1] == b"@" for t in words):
                entries.append(GroupStart(_phrase(words)))
                words, in_group, self._comment = [], True, None
            else:  # a comma, a semicolon, or a colon that means nothing
                self._add(entries, words, angle)
                words, angle, self._trailing = [], None, False
                if text == b";" and in_group:
                    entries.append(_GROUP_END)
                    in_group = False
        self._add(entries, words, angle)
        if in_group:
            entries.append(_GROUP_END)
        return entries

    def _add(self, entries: list[Entry], words: list[Token], angle: list[Token] | None) -> None:
        comment, self._comment = self._comment, None
        if angle is not None:
            local, domain = _address(angle)
            if local or domain or words:
                entries.append(HeaderAddress(_phrase(words) or comment, local, domain))
        elif not self._trailing or any(text == b"@" for _, text, _ in words):
            # RFC 5322 section 3.4: before display names there were comments behind the address.
            entries.extend([HeaderAddress(comment, *_address(tokens)) for tokens in _split_bare(words)])

    def _tokens(self) -> Iterator[Token]:
        value, position, spaced = self._value, 0, False
        for _ in range(_MAX_TOKENS):
            token = _TOKEN.match(value, position)
            if token is None:
                return
            position = token.end()
            quoted, literal, word, other = token.groups()
            if word is not None:
                yield _WORD, word, spaced
            elif quoted is not None:
                yield _QUOTED, _QUOTED_PAIR.sub(rb"\1", quoted), spaced
            elif literal is not None:
                yield _LITERAL, b"[" + literal + b"]", spaced
            elif other is None:
                spaced = True
                continue
            elif other == b"(":
                position = self._skip_comment(position)
                spaced = True
                continue
            elif other not in b")\\[]" and other > b" " and other != b"\x7f":
                yield _SPECIAL, other, spaced
            spaced = False

    def _skip_comment(self, position: int) -> int:
        """Read a comment behind its opening parenthesis; comments nest."""
        depth, start, end = 1, position, len(self._value)
        pieces: list[bytes] = []
        for piece in _COMMENT_PIECE.finditer(self._value, position):
            text = piece[0]
            position = piece.end()
            if text == b"(":
                depth += 1
            elif text == b")":
                depth -= 1
                if depth == 0:
                    break
            pieces.append(text[1:] if text[:1] == b"\\" else text)
        else:
            position = end
        if self._comment is None and position > start:
            self._comment = b"".join(pieces).strip() or None
        return position


def _is_route(angle: list[Token]) -> bool:
    return bool(angle) and angle[0][1] == b"@"


def _split_bare(words: list[Token]) -> list[list[Token]]:
    """Bare addresses between which only white space stands, where a comma is missing."""
    ats = [i for i, (kind, text, _) in enumerate(words) if kind == _SPECIAL and text == b"@"]
    cuts = [0]
    for before, at in itertools.pairwise(ats):
        if at - 1 > before + 1 and words[at - 1][2]:
            cuts.append(at - 1)
    return [words[a:b] for a, b in itertools.pairwise([*cuts, len(words)]) if a < b]


def _phrase(words: list[Token]) -> bytes:
    """A display name from its tokens: single spaces where there was white space."""
    out: list[bytes] = []
    for _, text, spaced in words:
        if spaced and out:
            out.append(b" ")
        out.append(text)
    return b"".join(out).strip()


def _address(tokens: list[Token]) -> tuple[bytes, bytes]:
    """Local part and domain: cut at the last @."""
    at = -1
    for i, (kind, text, _) in enumerate(tokens):
        if kind == _SPECIAL and text == b"@":
            at = i
    if at < 0:
        return _phrase(tokens), b""
    return b"".join(t[1] for t in tokens[:at]), b"".join(t[1] for t in tokens[at + 1 :])
