"""Who shares with whom, in a keeper: it has no account that shares anything, and tells the owner when one is about to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred

from moxtwisted.store.grants import Grants
from moxtwisted.store.writer import WriterPool

__all__ = ["KeptGrants"]


class KeptGrants(Grants):
    """See ``Grants``; what is written goes to the owner, who has those accounts come home that are concerned.

    :param tell: (account, identifiers): fires when it is on the owner's disk.
    """

    def __init__(self, pool: WriterPool, tell: Callable[[str, frozenset[str]], Deferred[None]]) -> None:
        super().__init__(Path(), None, pool)
        self._tell = tell

    def _attach(self) -> None:
        """There is no file here."""

    def _write(self, owner: str, identifiers: frozenset[str]) -> Deferred[None]:
        return self._tell(owner, identifiers)
