"""Accounts that another process has: another store, in another directory, to which everything goes as octets and descriptors.

::

    lent = Lent(store, taking, clock.seconds)
    judge = lent.give(judge, rejects)              # of the process that takes mail in
    lent.failing["judge"] = StoreUnavailableError("gone")
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import evolve
from twisted.internet.defer import Deferred
from zope.interface import implementer

from moxtwisted.server.delivery import LocalDelivery
from moxtwisted.server.inbound.rejects import Rejects
from moxtwisted.server.judgement.judge import Judge
from moxtwisted.server.lending import operations as module
from moxtwisted.server.lending.crossing import read, write
from moxtwisted.server.lending.interfaces import IPlaces
from moxtwisted.server.lending.operations import Operations, understand
from moxtwisted.store.staging import Staged
from moxtwisted.store.store import Store

__all__ = ["Lent"]


@implementer(IPlaces)
class Lent:
    """See ``IPlaces``: those that the store has are away.

    :ivar asked: (account, operation) of all questions.
    :ivar failing: what an operation raises instead of being done.
    :ivar lost: what an operation raises after it was done.
    :ivar came: the messages that crossed.
    """

    def __init__(self, store: Store, taking: Store, seconds: Callable[[], float], directory: Path) -> None:
        self._directory = str(directory.absolute())
        self.store = store
        self.taking = taking
        self.delivery = LocalDelivery(store, seconds)
        self.asked: list[tuple[str, str]] = []
        self.failing: dict[str, Exception] = {}
        self.lost: dict[str, Exception] = {}
        self.came: list[Staged] = []
        self._judge: Any = None
        self._rejects: Any = None

    @property
    def operations(self) -> Operations:
        """What the other process does."""
        return Operations(self.store, self.delivery, lambda: self._judge, lambda: self._rejects)

    def give(self, judge: Any, rejects: Rejects | None = None) -> Any:
        """Have these there; a judge for here."""
        self._judge, self._rejects = judge, rejects
        self.delivery.make_room = None if rejects is None else rejects.make_room
        if not isinstance(judge, Judge):
            return judge
        return evolve(judge, store=self.taking, parts=evolve(judge._parts, places=self))

    def is_away(self, account: str) -> bool:
        """See ``IPlaces``."""
        return account in self.store.accounts()

    async def ask(self, account: str, operation: str, *values: Any) -> Any:
        """See ``IPlaces``."""
        self.asked.append((account, operation))
        if operation in self.failing:
            raise self.failing[operation]
        octets, descriptors = write((operation, account, *values))
        with patch.object(module, "read", self._read):
            answering = Deferred.fromCoroutine(self.operations.answer(octets, descriptors))
        answer = await answering
        if operation in self.lost:
            raise self.lost[operation]
        return understand(answer)

    def held(self) -> list[str]:
        """What is left of messages that crossed: their octets in memory, and files, which have no name any more, on either side."""
        files = [_target(link) for link in Path("/proc/self/fd").iterdir()]
        left = [f"file {name}" for name in files if self._directory in name and name.endswith("(deleted)")]
        octets: list[Any] = [message._octets for message in self.came]
        return left + [f"message of {one._size} octets" for one in octets if one._octets]

    def _read(self, octets: bytes, descriptors: Any) -> Any:
        values, messages = read(octets, descriptors)
        self.came += messages
        return values, messages

    async def home(self, account: str) -> None:
        """See ``IPlaces``."""
        raise NotImplementedError


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""
