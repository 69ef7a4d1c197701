"""Comparing text as people read it: the collation i;unicode-casemap (RFC 5051), for searching and for sorting.

::

    casemap("grüße") == casemap("GRU\\u0308ßE")         # case does not count, nor how a character is composed
    casemap("mü") in casemap("Müller")
    sorted(subjects, key=casemap)

Two texts are equal when their mapped forms are; a needle is in a text when its mapped form is in the other's; the order
is that of the code points of the mapped forms (which is the order of their UTF-8 octets).
"""

from __future__ import annotations

from unicodedata import normalize

__all__ = ["casemap"]


def casemap(text: str) -> str:
    """The text in the form that is compared.

    RFC 5051: each character gets its titlecase, and that is decomposed as far as it goes. We take the whole mappings of today's
    Unicode, where the RFC has those from one character to one of Unicode 5.0: "ß" is "SS" for us, and a
    ligature of f and i is found by "fi". What is equal by the RFC is equal here.
    """
    if text.isascii():
        return text.upper()
    # What compatibility decomposition brings to light may be in lower case.
    return normalize("NFKD", text.upper()).upper()
