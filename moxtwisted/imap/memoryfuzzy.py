"""Fuzzy searching in mail that is in memory: all texts are looked through."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from zope.interface import implementer

from moxtwisted.imap.backend import MessageText
from moxtwisted.imap.fuzzy import IFuzzyMailbox
from moxtwisted.message.casemap import casemap
from moxtwisted.message.fuzzy import Needle
from moxtwisted.message.text import body_text, header_text

__all__ = ["MemoryFuzzy"]

_WORD: Final = re.compile(r"\w+")


def _words(text: str) -> list[str]:
    return _WORD.findall(casemap(text).lower())


@implementer(IFuzzyMailbox)
class MemoryFuzzy:
    """A base of mailboxes with ``view.messages``."""

    __slots__ = ()
    view: Any

    async def search_fuzzy(self, term: MessageText, uids: Sequence[int]) -> dict[int, int]:
        """See `IFuzzyMailbox <moxtwisted.imap.fuzzy.IFuzzyMailbox>`."""
        needle = Needle(_words(term.needle))
        found = {}
        for uid in uids:
            message = self.view.messages.get(uid)
            score = needle.rate(_words(_text(message, term.field))) if message is not None else 0
            if score:
                found[uid] = score
        return found


def _text(message: Any, place: str) -> str:
    pieces = []
    if place in {"text", "header"}:
        pieces.append(header_text(message.scanned.header))
    elif place != "body":
        return header_text(message.scanned.header, frozenset([place.encode("utf-8")]))
    if place in {"text", "body"}:
        octets = message.octets
        pieces += body_text(message.scanned, lambda offset, length: octets[offset : offset + length])
    return "\n".join(pieces)
