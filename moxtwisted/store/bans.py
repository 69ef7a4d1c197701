"""The file that banned networks are kept in: ``bans.db`` in the data directory, encrypted as the others.

::

    records = BanRecords(path, key, pool)
    records.all()                                    # at start
    await records.write([ban], ["192.0.2.7/32"])     # these are there now, those are gone

Who is banned, when and why is decided in ``moxtwisted.server.bans``, which asks nobody while clients connect.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, frozen
from twisted.internet.defer import Deferred, fail

from moxtwisted.errors import MailError
from moxtwisted.store.sidefile import SideFile

__all__ = ["Ban", "BanRecords"]


@frozen
class Ban:
    """A network that may not connect.

    :ivar network: ``192.0.2.0/26``; a single address ends in ``/32`` or ``/128``.
    :ivar cause: one word, see ``moxtwisted.server.bans``.
    :ivar why: a sentence for people.
    :ivar begun: seconds since 1970.
    :ivar ends: the same; None: it stays until somebody lifts it.
    :ivar times: how often this network was banned lately, with this time.
    """

    network: str
    cause: str
    why: str
    begun: int
    ends: int | None
    times: int = 1


@define(eq=False)
class BanRecords(SideFile):
    """The file; it is made when somebody is banned for the first time."""

    schema = "bans"

    def all(self) -> list[Ban]:
        """What was written, ended ones too.

        :raises KeyRefusedError: when it was written with another key.
        """
        if not self._path.exists():
            return []
        database, _ = self._attach()
        rows = database.reader.execute("SELECT network, cause, why, begun, ends, times FROM ban")
        return [Ban(*row) for row in rows]

    def write(self, bans: Sequence[Ban], gone: Iterable[str]) -> Deferred[None]:
        """Put these, and remove those networks; fires when it is on disk."""
        try:
            database, lane = self._attach()
        except MailError as e:
            return fail(e)
        execute = database.writer.execute
        removed = [(network,) for network in gone]

        def write() -> None:
            for network in removed:
                execute("DELETE FROM ban WHERE network = ?", network)
            for ban in bans:
                row = (ban.network, ban.cause, ban.why, ban.begun, ban.ends, ban.times)
                execute("INSERT OR REPLACE INTO ban VALUES (?, ?, ?, ?, ?, ?)", row)

        return lane.submit(write)
