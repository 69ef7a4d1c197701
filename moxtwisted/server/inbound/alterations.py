"""Messages with other header fields than they came with, as scanners want them: one version for all who get the same.

::

    versions = Alterations(staged, header, stage, room.turn)
    altered = await versions.of(opinions)          # None where nobody changes anything
    versions.close()                               # after the commit

Everybody judges the message as it came; it is altered after the decisions, for the copies that are delivered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import chain

from attrs import define, field

from moxtwisted.message.headers import Header, replace_fields
from moxtwisted.server.judgement.interfaces import Opinion
from moxtwisted.store.interfaces import IStagedMessage, IStaging

__all__ = ["Alterations"]

_Changes = tuple[tuple[int, bytes], ...]


@define(eq=False)
class Alterations:
    """Of one message.

    :ivar stage: makes a place for so many octets.
    :ivar turn: lets others go on; asked for between the pieces of a large message.
    """

    _staged: IStagedMessage
    _header: Header
    _stage: Callable[[int], IStaging]
    _turn: Callable[[], Awaitable[None]]
    _made: dict[_Changes, IStagedMessage] = field(factory=dict, init=False)

    async def of(self, opinions: Iterable[Opinion]) -> IStagedMessage | None:
        """The message as these want it, None as it came; of two that change the same field the later one has its way.

        :raises StoreFullError:
        """
        changes: _Changes = tuple(
            sorted(dict(chain.from_iterable(o.changes.items() for o in opinions)).items())
        )
        if not changes:
            return None
        if changes not in self._made:
            self._made[changes] = await self._make(changes)
        return self._made[changes]

    def close(self) -> None:
        """They are not needed any more."""
        for staged in self._made.values():
            staged.close()
        self._made.clear()

    async def _make(self, changes: _Changes) -> IStagedMessage:
        header = replace_fields(self._header, dict(changes))
        skipped = len(self._header.octets)
        staging = self._stage(self._staged.size - skipped + len(header))
        try:
            staging.write(header)
            for number, chunk in enumerate(self._staged.chunks()):
                if number:
                    await self._turn()
                body = chunk[skipped:]
                skipped = max(0, skipped - len(chunk))
                if body:
                    staging.write(body)
            staged: IStagedMessage = staging.finish()
        except BaseException:
            staging.abort()
            raise
        return staged
