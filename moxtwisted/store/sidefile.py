"""A small database of the server, beside those of the accounts, that is made and opened when it is first needed.

::

    @define(eq=False)
    class BanRecords(SideFile):
        schema = "bans"

        def write(self, …):
            database, lane = self._attach()
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from moxtwisted.store.database import Database, create_database
from moxtwisted.store.lanes import Lane, SingleConnection
from moxtwisted.store.writer import WriterPool

__all__ = ["SideFile"]


@define(eq=False)
class SideFile:
    """The file.

    :cvar schema: of what kind it is, see ``moxtwisted.store.database``.
    """

    schema: ClassVar[str]

    _path: Path
    _key: bytes | None
    _pool: WriterPool
    _database: Database | None = field(default=None, init=False)
    _lane: Lane | None = field(default=None, init=False)

    def _attach(self) -> tuple[Database, Lane]:
        """Open it, or make it. :raises MailError:"""
        if self._database is None or self._lane is None:
            if not self._path.exists():
                create_database(self._path, self._key, self.schema, room=self._pool.room)
            database = Database.open(self._path, self._key, self.schema, self._pool.room)
            lane = self._pool.lane(SingleConnection(database.writer), database.tidy, database.make_room)
            self._database, self._lane = database, lane
        return self._database, self._lane

    def close(self) -> Deferred[None]:
        """After what was handed in."""
        if self._database is None or self._lane is None:
            return succeed(None)
        closed = self._lane.close(self._database.close)
        self._pool.release(self._lane)
        return closed
