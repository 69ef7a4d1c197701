r"""Tokens of a whole command (RFC 9051 section 9).

A ``Cursor`` walks over the text of one command. Literals were taken out of it: the text keeps their announcement and
CRLF, the octets are in a list beside it::

    text      a1 LOGIN {5}\r\n {6}\r\n        literals  [b"alice", b"secret"]

Each method reads one token at the cursor or raises ``CommandError``; regular expressions do the scanning, so a token
costs about a microsecond whatever its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone

from moxtwisted.imap.wire import mailboxname
from moxtwisted.imap.wire.sequence import MAX_NUMBER, SequenceError, SequenceSet

__all__ = ["MAX_NUMBER64", "MONTHS", "CommandError", "Cursor"]

MAX_NUMBER64 = 0x7FFFFFFFFFFFFFFF
"""The largest ``number64`` and mod-sequence (RFC 9051 section 9, RFC 7162 section 7)."""

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH = {name.lower(): number for number, name in enumerate(MONTHS, 1)}

_ATOM = re.compile(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]++')
_ASTRING = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]++')
_LIST_CHARS = re.compile(rb'[^\x00-\x20(){"\\\x7f-\xff]++')
_QUOTED = re.compile(rb'"((?>(?:[^"\\\r\n\x00]++|\\["\\])*))"')
_LITERAL = re.compile(rb"(~?)\{[0-9]+\+?\}\r\n")
_NUMBER = re.compile(rb"[0-9]{1,20}+")
_SEQUENCE = re.compile(rb"[0-9:*,]++|\$")
_FLAG = re.compile(rb'\\?[^\x00-\x20(){%*"\\\]\x7f-\xff]++')
_FLAG_LIST = re.compile(rb"\(((?>(?:%b(?>(?: %b)*))?))\)" % (_FLAG.pattern, _FLAG.pattern))
_DATE = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_DATE_TIME = re.compile(
    rb'"([ 0-3][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-2][0-9]):([0-5][0-9]):([0-6][0-9]) ([+-])([0-9]{2})([0-5][0-9])"'
)
_ESCAPED = re.compile(rb"\\(.)")

_SYSTEM_FLAGS = {
    name.lower(): name for name in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Recent")
}


class CommandError(Exception):
    """The command cannot be carried out as it is written.

    :ivar text: what is wrong, for the tagged response.
    :ivar code: response code without brackets, or empty.
    :ivar condition: ``"BAD"``, or ``"NO"`` where the standard wants it.
    :ivar saving: whether the command asked for its result to be saved, as far as it was read.
    """

    saving = False

    def __init__(self, text: str, code: str = "", condition: str = "BAD") -> None:
        self.text = text
        self.code = code
        self.condition = condition
        super().__init__(text)


class Cursor:
    """A place in the text of a command.

    :ivar text: the command without the octets of its literals.
    :ivar position: index of the next octet.
    :ivar utf8: whether the client enabled UTF-8 in quoted strings and mailbox names.
    """

    __slots__ = ("_literals", "position", "text", "utf8")

    _flag_list = _FLAG_LIST

    def __init__(
        self, text: bytes, position: int = 0, literals: Iterator[bytes] | None = None, *, utf8: bool = False
    ) -> None:
        self.text = text
        self.position = position
        self._literals = literals
        self.utf8 = utf8

    # -- punctuation ------------------------------------------------------------------------------------------------

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= len(self.text)

    def end(self) -> None:
        """Want the end of the command."""
        if self.position < len(self.text):
            raise CommandError("unexpected text at the end of the command")

    def looking_at(self, octets: bytes) -> bool:
        """Whether these octets come next."""
        return self.text.startswith(octets, self.position)

    def skip(self, octets: bytes) -> bool:
        """Step over these octets if they come next; whether they did."""
        if self.text.startswith(octets, self.position):
            self.position += len(octets)
            return True
        return False

    def expect(self, octets: bytes, what: str) -> None:
        """Step over these octets, which must come next."""
        if not self.skip(octets):
            raise CommandError(f"expected {what}")

    def space(self) -> None:
        """Step over the one space that must come next."""
        if self.text[self.position : self.position + 1] != b" ":
            raise CommandError("expected a space" if self.position < len(self.text) else "missing arguments")
        self.position += 1

    def scan(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        """What the pattern matches at the cursor; ``what`` is for the error when it does not."""
        match = pattern.match(self.text, self.position)
        if match is None:
            raise CommandError(f"expected {what}")
        self.position = match.end()
        return match.group()

    # -- strings ----------------------------------------------------------------------------------------------------

    def atom(self, what: str = "an atom") -> bytes:
        """An ``atom``, as it is."""
        return self.scan(_ATOM, what)

    def keyword(self, what: str = "a keyword") -> bytes:
        """An ``atom`` in upper case."""
        return self.scan(_ATOM, what).upper()

    def rest(self) -> bytes:
        """The rest of the command, as it is."""
        rest = self.text[self.position :]
        self.position = len(self.text)
        return rest

    def string(self, what: str = "a string") -> bytes:
        """A quoted string or a literal.

        :raise CommandError: also for NUL in a literal, or octets in a quoted string that are not UTF-8.
        """
        match = _QUOTED.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
            value = match.group(1)
            if not value.isascii():
                self._check_utf8(value)
            return _ESCAPED.sub(rb"\1", value) if b"\\" in value else value
        match = _LITERAL.match(self.text, self.position)
        if match is None or self._literals is None:
            raise CommandError(f"expected {what}")
        self.position = match.end()
        value = next(self._literals)
        # RFC 9051 section 9: NUL is in OCTET only, which only literal8 is made of; no argument read here may be one.
        if match.group(1):
            raise CommandError("a literal8 is not allowed here")
        if b"\0" in value:
            raise CommandError("NUL is not allowed")
        return value

    @staticmethod
    def _check_utf8(value: bytes) -> None:
        try:
            value.decode("utf-8")
        except UnicodeDecodeError:
            raise CommandError("quoted string is not valid UTF-8") from None

    def astring(self, what: str = "an atom or string") -> bytes:
        """An ``astring``'s octets."""
        match = _ASTRING.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
            return match.group()
        return self.string(what)

    def nstring(self, what: str = "a string or NIL") -> bytes | None:
        """A string's octets, or ``None`` for NIL."""
        if self.text[self.position : self.position + 3].upper() == b"NIL":
            self.position += 3
            return None
        return self.string(what)

    def nstring8(self, what: str = "a string or NIL") -> bytes | None:
        """A string's or a literal8's octets, which may have NUL, or ``None`` for NIL."""
        match = _LITERAL.match(self.text, self.position)
        if match is None or not match.group(1) or self._literals is None:
            return self.nstring(what)
        self.position = match.end()
        return next(self._literals)

    def text_astring(self, what: str) -> str:
        """An ``astring`` decoded from UTF-8."""
        try:
            return self.astring(what).decode("utf-8")
        except UnicodeDecodeError:
            raise CommandError(f"{what} is not valid UTF-8") from None

    # -- mailboxes --------------------------------------------------------------------------------------------------

    def mailbox(self) -> str:
        """A mailbox name, decoded and in its canonical form; with ``utf8`` a ``SuppliedName`` if it was written otherwise."""
        octets = self.astring("a mailbox name")
        name = self._name(octets)
        if self.utf8 and name.encode("utf-8") != octets:
            return mailboxname.SuppliedName.of(name, octets.decode("utf-8"))
        return name

    def list_mailbox(self) -> str:
        """A pattern of LIST, decoded; ``MATCHLESS`` when no name can be written so."""
        match = _LIST_CHARS.match(self.text, self.position)
        if match is not None:
            self.position = match.end()
            octets = match.group()
        else:
            octets = self.string("a mailbox pattern")
        try:
            return mailboxname.decode(octets, utf8=self.utf8)
        except mailboxname.MailboxNameError:
            # RFC 9051 section 6.3.9: a pattern that is not accepted for any reason is ignored, and the answer is OK.
            return mailboxname.MATCHLESS

    def _name(self, octets: bytes) -> str:
        try:
            return mailboxname.decode(octets, utf8=self.utf8)
        except mailboxname.MailboxNameError as error:
            raise CommandError(error.public_text) from None

    # -- numbers and sets -------------------------------------------------------------------------------------------

    def number(self, *, least: int = 0, most: int = MAX_NUMBER) -> int:
        """A decimal number within bounds."""
        match = _NUMBER.match(self.text, self.position)
        if match is None:
            raise CommandError("expected a number")
        value = int(match.group())
        if not least <= value <= most:
            raise CommandError("number is out of range")
        self.position = match.end()
        return value

    def number64(self, *, least: int = 0) -> int:
        """A decimal number of up to 63 bits."""
        return self.number(least=least, most=MAX_NUMBER64)

    def sequence_set(self) -> SequenceSet:
        """A ``sequence-set``, which may be ``$``."""
        match = _SEQUENCE.match(self.text, self.position)
        if match is None:
            raise CommandError("expected a sequence set")
        try:
            value = SequenceSet.parse(match.group())
        except SequenceError as error:
            raise CommandError(str(error)) from None
        self.position = match.end()
        return value

    def uid_set(self) -> SequenceSet:
        """A set without ``*`` and ``$``, as a client lists UIDs that it knows."""
        value = self.sequence_set()
        if value.saved or value.has_star():
            raise CommandError("a set of known numbers has neither * nor $")
        return value

    # -- flags ------------------------------------------------------------------------------------------------------

    def flag(self) -> str:
        """A flag or keyword; system flags get their usual case."""
        return _flag(self.scan(_FLAG, "a flag"))

    def flag_list(self) -> tuple[str, ...]:
        """Flags in parentheses, maybe none, each once."""
        match = self._flag_list.match(self.text, self.position)
        if match is None:
            raise CommandError("expected a list of flags")
        self.position = match.end()
        return tuple(dict.fromkeys(map(_flag, match.group(1).split())))

    # -- dates ------------------------------------------------------------------------------------------------------

    def date(self) -> date:
        """A ``date``, with or without quotes."""
        match = _DATE.match(self.text, self.position)
        if match is None:
            raise CommandError("expected a date")
        _, day, month, year = match.groups()
        try:
            value = date(int(year), _MONTH[month.lower()], int(day))
        except (KeyError, ValueError):
            raise CommandError("no such date") from None
        self.position = match.end()
        return value

    def date_time(self) -> datetime:
        """A quoted ``date-time``, aware of its zone."""
        match = _DATE_TIME.match(self.text, self.position)
        if match is None:
            raise CommandError("expected a date-time")
        day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = match.groups()
        minutes = int(zone_hours) * 60 + int(zone_minutes)
        try:
            zone = timezone(timedelta(minutes=minutes if sign == b"+" else -minutes)) if minutes else UTC
            # A leap second is taken as the second before it: datetime has none.
            value = datetime(
                int(year),
                _MONTH[month.lower()],
                int(day),
                int(hour),
                int(minute),
                min(int(second), 59),
                tzinfo=zone,
            )
        except (KeyError, ValueError):
            raise CommandError("no such date-time") from None
        self.position = match.end()
        return value


def _flag(octets: bytes) -> str:
    name = octets.decode("utf-8", "replace")
    if name[0] == "\\":
        return _SYSTEM_FLAGS.get(name.lower(), name)
    return name
