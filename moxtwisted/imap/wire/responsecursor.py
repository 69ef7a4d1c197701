"""Tokens of responses: what only servers send, and how forgiving a client must be."""

from __future__ import annotations

import re

from moxtwisted.imap.wire import mailboxname
from moxtwisted.imap.wire.lexer import CommandError, Cursor
from moxtwisted.imap.wire.responsedata import Streamed, Value
from moxtwisted.imap.wire.sequence import MAX_NUMBER

__all__ = ["MAX_DEPTH", "ResponseCursor", "bounded", "strings"]

MAX_DEPTH = 200
"""The deepest nesting of parentheses that is read (BODYSTRUCTURE of deeply nested messages)."""

_LITERAL = re.compile(rb"~?\{[0-9]+\+?\}\r\n")
_SPACES = re.compile(rb" ++")
# Atoms as servers in use write them: names and keywords with any octets but those that end them.
_WORD = re.compile(rb'[^\x00-\x20(){"\x7f]+')
_FLAGS = re.compile(rb"\(([^\x00-\x1f()\x7f]*)\)")
# A backslash that escapes nothing stands for itself: names of files were seen so.
_QUOTED = re.compile(rb'"((?>(?:[^"\\\n]++|\\.)*))"')
_ESCAPED = re.compile(rb'\\(["\\])')


class ResponseCursor(Cursor):
    """A cursor with what only servers send: literal8, NIL anywhere, nested lists; and spaces where none, or one, should be."""

    __slots__ = ()

    # Keywords need not be atoms.
    _flag_list = _FLAGS

    def space(self) -> None:
        """Step over the space that must come next; several do no harm."""
        if not self.spaces():
            super().space()

    def spaces(self) -> bool:
        """Step over spaces; whether there were any."""
        match = _SPACES.match(self.text, self.position)
        if match is None:
            return False
        self.position = match.end()
        return True

    def string(self, what: str = "a string") -> bytes:
        """A string of any octets: servers in use send them in quoted strings, too; whoever decodes them sees to that."""
        match = _LITERAL.match(self.text, self.position)
        if match is not None and self._literals is not None:
            self.position = match.end()
            return next(self._literals)
        match = _QUOTED.match(self.text, self.position)
        if match is None:
            raise CommandError(f"expected {what}")
        self.position = match.end()
        value = match.group(1)
        return _ESCAPED.sub(rb"\1", value) if b"\\" in value else value

    def astring(self, what: str = "an atom or string") -> bytes:
        """A word or a string."""
        match = _WORD.match(self.text, self.position)
        if match is None:
            return self.string(what)
        self.position = match.end()
        return match.group()

    def word(self) -> bytes:
        """Anything up to a space or parenthesis."""
        return self.scan(_WORD, "a word")

    def name(self) -> str:
        """A mailbox name, decoded as well as it can be."""
        return self.decoded(self.astring())

    def decoded(self, octets: bytes) -> str:
        """A mailbox name or prefix from its octets."""
        try:
            return mailboxname.decode(octets, utf8=self.utf8 or not octets.isascii())
        except mailboxname.MailboxNameError:
            return octets.decode("utf-8", "replace")

    def value(self) -> Value:
        """A string, NIL, number, atom, or list of these nested up to ``MAX_DEPTH``."""
        stack: list[list[Value]] = []
        while True:
            if self.skip(b"("):
                if len(stack) >= MAX_DEPTH:
                    raise CommandError("nested too deep")
                stack.append([])
                self.spaces()
                if not self.looking_at(b")"):
                    continue
            else:
                item = self._scalar()
                if not stack:
                    return item
                stack[-1].append(item)
            spaced = self.spaces()
            while self.skip(b")"):
                done = tuple(stack.pop())
                if not stack:
                    return done
                stack[-1].append(done)
                spaced = self.spaces()
            # body-type-mpart: the bodies of a multipart stand without spaces between (RFC 9051 section 9).
            if not spaced and not self.looking_at(b"("):
                raise CommandError("expected a space")

    def _scalar(self) -> Value:
        following = self.text[self.position : self.position + 1]
        if following in {b'"', b"{"} or self.looking_at(b"~{"):
            return self.string()
        word = self.word()
        if word.isdigit() and len(word) < 20:
            return int(word)
        return None if word.upper() == b"NIL" else word


def bounded(value: Value, most: int = MAX_NUMBER, least: int = 0) -> Value:
    """The value, which is no number out of these bounds.

    :raise CommandError: it is one.
    """
    if isinstance(value, bytes) and value.isdigit():
        raise CommandError("number is out of range")  # of 20 digits or more
    if isinstance(value, int) and not least <= value <= most:
        raise CommandError("number is out of range")
    return value


def strings(value: Value) -> tuple[str, ...]:
    """A list of atoms or strings, decoded."""
    if not isinstance(value, tuple):
        raise CommandError("expected a list")
    found: list[str] = []
    for item in value:
        if isinstance(item, (tuple, Streamed)):
            raise CommandError("expected a list of words")
        found.append(str(item) if isinstance(item, int) else (item or b"").decode("utf-8", "replace"))
    return tuple(found)
