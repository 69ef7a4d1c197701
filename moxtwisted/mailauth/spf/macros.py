"""Macros of SPF records (RFC 7208 section 7): parsed once, expanded for each client.

::

    where = parse_domain_spec("%{ir}.%{v}._spf.%{d2}")
    where.expand({"i": "192.0.2.1", "v": "in-addr", "d": "mail.example.org"}.__getitem__)
    # '1.2.0.192.in-addr._spf.example.org'

Expansion asks for the value of a letter only when the letter is there; ``letters`` says which ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from attrs import frozen

from moxtwisted.errors import MailError

__all__ = [
    "Macro",
    "MacroString",
    "SPFSyntaxError",
    "parse_domain_spec",
    "parse_explanation",
    "parse_macro_string",
]

# RFC 7208 section 7.1: macro-expand, where the letters are any case and "r" too.
_MACRO = re.compile(r"%(?:\{([slodiphcrtvSLODIPHCRTV])([0-9]*)([rR]?)([-.+,/_=]*)\}|([%_-]))")
_SPECIAL = {"%": "%", "_": " ", "-": "%20"}
# RFC 7208 section 7.1: macro-literal, and the space that an explanation may have besides.
_LITERAL = re.compile(r"[!-$&-~]+")
_EXPLAINING = re.compile(r"[ -$&-~]+")
# RFC 7208 section 7.1: toplabel, after the last dot of a domain-spec that does not end in a macro.
_TOP = re.compile(r"\.(?:[0-9A-Za-z]*[A-Za-z][0-9A-Za-z]*|[0-9A-Za-z]+-[0-9A-Za-z-]*[0-9A-Za-z])\.?\Z")
#: RFC 7208 section 7.2: only in the text that exp= points at.
_EXPLANATION_ONLY = frozenset("crt")
# RFC 7208 section 7.3: more parts than a domain name has labels are as many as there are.
_MAX_PARTS = 128


class SPFSyntaxError(MailError, ValueError):
    """A record is not written as RFC 7208 wants it.

    :ivar term: the term of the record that is wrong.
    :ivar position: where the term begins in the record, counted in characters from 0.
    """

    reply_code = 550
    enhanced_code = "5.7.24"
    public_text = "SPF record with a syntax error"

    def __init__(self, detail: str, term: str = "", position: int = 0) -> None:
        self.term, self.position = term, position
        super().__init__(detail)


@frozen
class Macro:
    """``%{d2r-}`` and the like.

    :ivar letter: in lower case.
    :ivar escape: whether the value is escaped as in URLs (it was written in upper case).
    :ivar parts: how many parts are kept, from the right; 0 means all.
    :ivar reverse: whether the parts change their order first.
    :ivar delimiters: the characters between the parts.
    """

    letter: str
    escape: bool = False
    parts: int = 0
    reverse: bool = False
    delimiters: str = "."

    def transform(self, value: str) -> str:
        """What becomes of a value (RFC 7208 section 7.3)."""
        if self.parts or self.reverse or self.delimiters != ".":
            pieces = re.split(f"[{re.escape(self.delimiters)}]", value)
            if self.reverse:
                pieces.reverse()
            if self.parts:
                pieces = pieces[-self.parts :]
            value = ".".join(pieces)
        # RFC 7208 section 7.3: quote() leaves the unreserved characters alone.
        return quote(value, safe="") if self.escape else value


@frozen
class MacroString:
    """Text with macros.

    :ivar text: as it stands in the record.
    :ivar parts: literal text and macros, in order.
    :ivar letters: the letters of its macros.
    """

    text: str
    parts: tuple[str | Macro, ...]
    letters: frozenset[str] = frozenset()

    def expand(self, value: Callable[[str], str]) -> str:
        """The text with the macros replaced.

        :param value: gives the value of a letter (``s l o d i p v h c r t``).
        """
        if not self.letters:
            return "".join(part for part in self.parts if isinstance(part, str))
        return "".join(
            part if isinstance(part, str) else part.transform(value(part.letter)) for part in self.parts
        )


def _macro(match: re.Match[str]) -> str | Macro:
    letter, digits, reverse, delimiters, special = match.groups()
    if special:
        return _SPECIAL[special]
    if digits and not digits.strip("0"):
        # RFC 7208 section 7.3: the number must not be zero.
        raise SPFSyntaxError(f"zero parts in {match[0]}")
    parts = min(int(digits[-9:]), _MAX_PARTS) if digits and len(digits) < 10 else _MAX_PARTS if digits else 0
    return Macro(letter.lower(), letter.isupper(), parts, bool(reverse), delimiters or ".")


def _parse(text: str, literal: re.Pattern[str]) -> tuple[MacroString, bool]:
    """The text, and whether a macro is its end."""
    parts: list[str | Macro] = []
    at, macro = 0, False
    while at < len(text):
        macro = text[at] == "%"
        if macro:
            match = _MACRO.match(text, at)
            if match is None:
                raise SPFSyntaxError(f"no macro: {text[at : at + 20]!r}")
            parts.append(_macro(match))
        else:
            match = literal.match(text, at)
            if match is None:
                raise SPFSyntaxError(f"a character that may not be here: {text[at]!r}")
            parts.append(match[0])
        at = match.end()
    letters = frozenset(part.letter for part in parts if isinstance(part, Macro))
    return MacroString(text, tuple(parts), letters), macro


def parse_macro_string(text: str) -> MacroString:
    """The value of a modifier that nobody knows.

    :raise SPFSyntaxError: when it is not a macro-string.
    """
    return _parse(text, _LITERAL)[0]


def parse_explanation(text: str) -> MacroString:
    """The text that exp= points at (RFC 7208 section 6.2).

    :raise SPFSyntaxError: when it is not an explain-string.
    """
    return _parse(text, _EXPLAINING)[0]


def parse_domain_spec(text: str) -> MacroString:
    """Where a mechanism or a modifier points at.

    :raise SPFSyntaxError: when it is not a domain-spec.
    """
    if not text:
        raise SPFSyntaxError("a domain is missing")
    found, ends_in_macro = _parse(text, _LITERAL)
    if wrong := found.letters & _EXPLANATION_ONLY:
        raise SPFSyntaxError(f"%{{{min(wrong)}}} may stand in explanations only")
    # RFC 7208 section 7.1: domain-end.
    if not ends_in_macro:
        tail = found.parts[-1]
        if not isinstance(tail, str) or _TOP.search(tail) is None:
            raise SPFSyntaxError(f"no domain name: {text[:80]!r}")
    return found
