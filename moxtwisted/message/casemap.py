"""Comparing text as people read it: the collation i;unicode-casemap (RFC 5051), for searching and for sorting.

::

    casemap("grüße") == casemap("GRU\\u0308ßE")         # case does not count, nor how a character is composed
    casemap("mü") in casemap("Müller")
    sorted(subjects, key=casemap)

Two texts are equal when their mapped forms are; a needle is in a text when its mapped form is in the other's; the order
is that of the code points of the mapped forms (which is the order of their UTF-8 octets).
"""

from __future__ import annotations

from typing import Final
from unicodedata import combining, normalize

__all__ = ["casemap"]

#: So many characters are decomposed at once. What it costs to put combining marks into their order grows with the square of how
#: many there are in a row, and everybody can send a message with half a million of them.
_PIECE: Final = 256
#: A piece does not end between a letter and its marks, unless there are more than these.
#: UAX #15 section 13 (Stream-Safe Text Format): 30 are more than any language has.
_MOST_MARKS: Final = 32


def casemap(text: str) -> str:
    """The text in the form that is compared.

    RFC 5051: each character gets its titlecase, and that is decomposed as far as it goes. We take the whole mappings of today's
    Unicode, where the RFC has those from one character to one of Unicode 5.0: "ß" is "SS" for us, and a
    ligature of f and i is found by "fi". What is equal by the RFC is equal here.
    """
    if text.isascii():
        return text.upper()
    # What compatibility decomposition brings to light may be in lower case.
    upper = text.upper()
    return (normalize("NFKD", upper) if len(upper) <= _PIECE else _decomposed(upper)).upper()


def _decomposed(text: str) -> str:
    """A long text in NFKD, a piece at a time."""
    pieces: list[str] = []
    at, count = 0, len(text)
    while at < count:
        end = min(at + _PIECE, count)
        last = min(end + _MOST_MARKS, count)
        while end < last and combining(normalize("NFKD", text[end])[0]):
            end += 1
        pieces.append(normalize("NFKD", text[at:end]))
        at = end
    return "".join(pieces)
