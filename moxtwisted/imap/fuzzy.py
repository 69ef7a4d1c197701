"""Fuzzy searching (RFC 6203), of backends that can: what ``ISelectedMailbox`` provides besides.

A program over its own mail that has no better idea takes ``moxtwisted.message.fuzzy``, as the store does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence

from zope.interface import Interface

from moxtwisted.imap.backend import MessageText

__all__ = ["IFuzzyMailbox"]


class IFuzzyMailbox(Interface):
    """A selected mailbox whose messages can be searched for what is nearly meant; a session that announces ``SEARCH=FUZZY``
    has only such."""

    def search_fuzzy(term: MessageText, uids: Sequence[int]) -> Awaitable[Mapping[int, int]]:
        """Those of these UIDs that match, with their relevancy: 1 to 100, the best."""
