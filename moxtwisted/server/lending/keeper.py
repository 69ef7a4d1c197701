"""A keeper, as the owner sees it.

::

    keeper = Keeper(KeeperEvents(...), 1)
    adopt_link(reactor, descriptor, keeper.link)
    keeper.lend("alice")
    keeper.give("alice", departure, descriptor, ip)       # a client that logged in
    await keeper.ask("usage", ("alice",))
    keeper.recall("alice")                                # RETURNED follows
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from moxtwisted.errors import MailError, StoreUnavailableError
from moxtwisted.server.lending import crossing
from moxtwisted.server.lending.operations import understand
from moxtwisted.server.lending.words import Word
from moxtwisted.server.processes.link import Link

__all__ = ["Keeper", "KeeperEvents", "KeptConnection", "turn_away"]

# RFC 9051 section 7.1.5: BYE ends the connection; clients come again. RFC 5530 section 3: UNAVAILABLE, for the moment.
_BYE: Final = b"* BYE [UNAVAILABLE] please log in again\r\n"


def turn_away(descriptor: int) -> None:
    """Say BYE to a client that was handed over, and close its connection."""
    with socket.socket(fileno=descriptor) as client, suppress(OSError):
        client.send(_BYE)


@frozen(kw_only=True)
class KeeperEvents:
    """Who is told what a keeper says.

    :ivar began: it takes accounts.
    :ivar lost: its link is gone.
    :ivar closed: (keeper, connection, errors): a client is gone; errors: it made too many.
    :ivar returned: (keeper, account): it is closed there.
    :ivar shares: (account, identifiers): whom its lists name, or are about to; fires when that is on disk.
    :ivar republish: an event of its log.
    """

    began: Callable[[Keeper], None]
    lost: Callable[[], None]
    closed: Callable[[Keeper, KeptConnection, bool], None]
    returned: Callable[[Keeper, str], None]
    shares: Callable[[str, frozenset[str]], Deferred[None]]
    republish: Callable[[Any, int], None]


@define(eq=False)
class KeptConnection:
    """A client that a keeper has.

    :ivar client_ip: its address.
    :ivar account: whose it is.
    :ivar counted: among the clients of the account; not one that came when it was on its way back, nor one that stayed when it went: they
        read BYE.
    """

    client_ip: str
    account: str
    counted: bool
    _number: int
    _link: Link[Word]

    def shutdown(self) -> None:
        """Say BYE."""
        self._link.say(Word.END, self._number)


@define(eq=False)
class Keeper:
    """One keeper.

    :ivar number: for the log.
    :ivar most_connections: that it can have.
    :ivar ready: whether it takes accounts.
    :ivar heard: whether it said anything since somebody set this to False.
    :ivar connections: that it has.
    :ivar accounts: that it has; how many clients each.
    """

    _events: KeeperEvents
    number: int
    most_connections: int = 10_000
    link: Link[Word] = field(init=False)
    ready: bool = field(default=False, init=False)
    heard: bool = field(default=True, init=False)
    connections: dict[int, KeptConnection] = field(factory=dict, init=False)
    accounts: dict[str, int] = field(factory=dict, init=False)
    _asked: dict[int, Deferred[bytes]] = field(factory=dict, init=False)
    _numbers: int = field(default=0, init=False)
    _words: dict[Word, Callable[..., None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.link = Link(Word, self._heard, self._gone)
        self._words = {
            Word.READY: self._is_ready,
            Word.ANSWER: self._answered,
            Word.CLOSED: self._closed,
            Word.RETURNED: self._returned,
            Word.SHARES: self._shares,
            Word.EVENT: self._event,
            Word.HERE: lambda: None,
        }

    # -- what it is told ---------------------------------------------------------------------------------------------

    def lend(self, account: str) -> None:
        """Let it have an account, which is closed here."""
        self.accounts[account] = 0
        self.link.say(Word.LENT, account)

    def recall(self, account: str) -> None:
        """Want an account back."""
        self.link.say(Word.RECALL, account)

    def give(self, account: str, octets: bytes, descriptor: int, ip: str) -> None:
        """Hand a client over that logged in. If the account is on its way back, or there are too many clients, it reads BYE.

        :param octets: of the departure, and the settings of the listener.
        :param descriptor: is not ours any more.
        """
        self._numbers += 1
        number = self._numbers
        connection = KeptConnection(ip, account, account in self.accounts, number, self.link)
        if not self.link.up or len(self.connections) >= self.most_connections:
            turn_away(descriptor)
            self._events.closed(self, connection, False)
            return
        self.connections[number] = connection
        if connection.counted:
            self.accounts[account] += 1
        self.link.say_with(descriptor, Word.CONNECTION, number, octets)

    async def ask(self, operation: str, values: Sequence[Any]) -> Any:
        """Have something done.

        :param values: the account's name, and what else the operation wants.
        :raises MailError: see ``IPlaces``.
        """
        if not self.link.up:
            raise StoreUnavailableError(f"keeper {self.number} is gone")
        self._numbers += 1
        number = self._numbers
        waiting: Deferred[bytes] = Deferred(lambda _: self._forget(number))
        octets, descriptors = crossing.write((operation, *values))
        self._asked[number] = waiting
        self.link.say_with(descriptors, Word.DO, number, values[0], octets, len(descriptors))
        return understand(await waiting)

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)

    # -- what it says ------------------------------------------------------------------------------------------------

    def _heard(self, word: Word, values: list[Any]) -> None:
        self.heard = True
        self._words[word](*values)

    def _is_ready(self) -> None:
        self.ready = True
        self._events.began(self)

    def _answered(self, number: int, octets: bytes) -> None:
        waiting = self._asked.pop(number, None)
        if waiting is not None:
            waiting.callback(octets)

    def _closed(self, number: int, errors: bool) -> None:
        connection = self.connections.pop(number, None)
        if connection is None:
            return
        if connection.counted and connection.account in self.accounts:
            self.accounts[connection.account] -= 1
        self._events.closed(self, connection, errors)

    def _returned(self, account: str) -> None:
        self.accounts.pop(account, None)
        # Some have read BYE and did not close yet. When they do, others may be logged in to an account that is here again.
        for connection in self.connections.values():
            if connection.account == account:
                connection.counted = False
        self._events.returned(self, account)

    def _shares(self, number: int, account: str, identifiers: list[str]) -> None:
        done = self._events.shares(account, frozenset(identifiers))
        done.addCallbacks(
            lambda _: self.link.say(Word.DONE, number, None),
            lambda failure: self.link.say(Word.DONE, number, pickle.dumps(_mail_error(failure.value))),
        )

    def _event(self, event: Any) -> None:
        self._events.republish(event, self.number)

    def _gone(self) -> None:
        self.ready = False
        asked, self._asked = self._asked, {}
        for waiting in asked.values():
            waiting.errback(StoreUnavailableError(f"keeper {self.number} ended before it answered"))
        connections, self.connections = self.connections, {}
        for connection in connections.values():
            self._events.closed(self, connection, False)
        self._events.lost()


def _mail_error(error: BaseException) -> MailError:
    return error if isinstance(error, MailError) else StoreUnavailableError(str(error))
