"""What learns from messages that are junk or not: the junk filter's side of ``moxtwisted.store.judgements``.

::

    class Words:                                    # a Learner
        version = 1

        def learn(self, connection, body, octets, junk, sign):
            for word in words(octets.read(0, 65536)):
                connection.execute("INSERT INTO word … ON CONFLICT DO UPDATE SET …", …)

        def forget(self, connection):
            connection.execute("DELETE FROM word")

    account.use_learner(Words())
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from moxtwisted.store.interfaces import IBodyReader

__all__ = ["Decided", "Learner"]


class Learner(Protocol):
    """Learns from messages. All is called in the writer's thread, inside a transaction, which may be rolled back: what it has learned lies
    in the account's database, and nothing that is changed here may be kept elsewhere. One object may serve many accounts, in several
    threads."""

    #: Another number when a message would be taken apart in another way: then all is learned anew. At least 1.
    version: int

    def learn(self, connection: Any, body: int, octets: IBodyReader, junk: bool, sign: int) -> None:
        """A message is junk or not, or (with the sign -1) what was learned from it as that is to be unlearned, exactly.

        It should take no more than a few milliseconds. When it raises something, but for an error of SQLite, its changes are undone and
        the message counts as not learned.

        :param connection: the writer's, in a transaction.
        :param octets: of the message as it came, without the fields that were put above it at delivery.
        """

    def forget(self, connection: Any) -> None:
        """All that was ever learned is to be forgotten."""


class Decided(Protocol):
    """Is told, in the reactor's thread, what people decided: for programs outside that learn, too."""

    def __call__(self, account: str, messages: Sequence[tuple[int, bool]], /) -> None:
        """These messages (the ids of their bodies) are junk or not, and somebody said so after they had come. It may be told again after a
        crash."""
