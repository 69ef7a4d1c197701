"""Short questions to an account's database, and which connection answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from moxtwisted.store.database import Database
from moxtwisted.store.lanes import Lane

__all__ = ["Asking"]

_T = TypeVar("_T")


class Asking:
    """A part of an account."""

    _lane: Lane
    _database: Database
    _open: Callable[[], Any]

    def ask(self, question: Callable[..., _T], *args: Any) -> _T:
        """A short question's answer: ``question(connection, *args)``, which reads and holds nothing open.

        The writer's connection is asked if nobody writes: its pages stay in its memory when it commits, where all of the reader's are
        void after each commit, and are to be read and deciphered again.
        """
        reader = self._open()
        if not self._lane.borrow():
            return question(reader, *args)
        try:
            return question(self._database.writer, *args)
        finally:
            self._lane.give_back()
