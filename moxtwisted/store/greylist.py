"""The file of those who were asked to come again later: ``greylist.db`` in the data directory, encrypted as the others.

::

    records = GreylistRecords(path, key, pool)
    records.find(digest)                        # (first, last), or None
    await records.put([(digest, first, last)])  # on disk

A row whose first and last time are the same is of somebody who was asked and did not come again (yet). Most are of programs that never
will, so they go earlier than the others, by age and when there are too many. Who is asked, and what counts as coming again, is decided in
``moxtwisted.server.inbound.greylisting``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from attrs import define, field
from twisted.internet.defer import Deferred, fail

from moxtwisted.errors import MailError
from moxtwisted.store.sidefile import SideFile

__all__ = ["GreylistRecords"]

#: Rows; 100 octets each with their index.
MOST: Final = 500_000
#: Writes between two looks for what is to go.
_TIDY_EVERY: Final = 1000


@define(eq=False)
class GreylistRecords(SideFile):
    """The file; it is made at the first use.

    :ivar most: rows that are kept.
    """

    schema = "greylist"

    _most: int = MOST
    _writes: int = field(default=0, init=False)

    def find(self, key: bytes) -> tuple[int, int] | None:
        """When it was there first and last, seconds since 1970.

        :raises MailError: the file cannot be read.
        """
        if self._database is None and not self._path.exists():
            return None
        database, _ = self._attach()
        row = database.reader.execute("SELECT first, last FROM known WHERE key = ?", (key,)).fetchone()
        return cast("tuple[int, int] | None", row)

    def put(
        self, rows: Sequence[tuple[bytes, int, int]], forget_before: int = 0, forget_asked_before: int = 0
    ) -> Deferred[None]:
        """Write these; fires when they are on disk.

        :param rows: (key, first, last).
        :param forget_before: now and then, those whose last time is before this go,
        :param forget_asked_before: and, before this, those who did not come again.
        """
        try:
            database, lane = self._attach()
        except MailError as e:
            return fail(e)
        execute = database.writer.execute
        self._writes += 1
        tidy = self._writes % _TIDY_EVERY == 1

        def write() -> None:
            for row in rows:
                execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", row)
            if tidy:
                execute("DELETE FROM known WHERE last < ?", (forget_before,))
                execute("DELETE FROM known WHERE first = last AND last < ?", (forget_asked_before,))
                for which in ("WHERE first = last", ""):
                    ((count,),) = execute("SELECT count(*) FROM known").fetchall()
                    if count > self._most:
                        chosen = f"SELECT key FROM known {which} ORDER BY last LIMIT ?"
                        execute(f"DELETE FROM known WHERE key IN ({chosen})", (count - self._most,))

        return lane.submit(write, grows=True)
