"""The owner's side: a receiver gets connections, and hands over messages.

::

    desk = Desk(outcome=effects.outcome, directory=directory, room=room, connections=limiter, ...)
    receiver = Receiver(desk, 1, process.kill, began)
    adopt_link(reactor, descriptor, receiver.link)
    receiver.link.say(Word.SET_UP, ...)
    ip = desk.admission(taken)                # or the refusal
    receiver.give("public", taken, ip)

Who may connect is decided here, before a receiver gets the connection; what becomes of a message as well, when it is whole. The receiver
is not trusted: what it says is read by shapes, and the worst that it can say is a message that nobody sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from moxtwisted.address import Path
from moxtwisted.errors import MailError
from moxtwisted.server.directory import DirectoryHolder, Recipients
from moxtwisted.server.inbound.lease import Lease
from moxtwisted.server.inbound.presence import Presence
from moxtwisted.server.inbound.room import IRoom
from moxtwisted.server.intake import admission
from moxtwisted.server.processes.link import Link
from moxtwisted.server.ratelimit import Connections
from moxtwisted.server.receivers.shapes import read_asked, read_complete, write_answer
from moxtwisted.server.receivers.words import Word
from moxtwisted.smtp.peer import client_address
from moxtwisted.smtp.replies import Reply, reply_for_error
from moxtwisted.store.staging import Handed, HandedOctets

if TYPE_CHECKING:
    from moxtwisted.server.inbound.outcome import Answer, Outcome

__all__ = ["Desk", "HandedConnection", "Receiver"]

_log = Logger()

#: Connections that wait to be sent to a receiver: with more it hangs, and others take them.
_MOST_GIVEN: Final = 64
#: Octets of one receiver's messages, in memory, that wait for their answer.
_MOST_OCTETS: Final = 512 * 1024 * 1024
#: Messages of one receiver that wait for their answer; each is one connection's.
_MOST_TAKING: Final = 10_000
# RFC 3463 section 3.4: X.3.0, other mail system status.
_NO_ADDRESS: Final = Reply(421, "4.3.0", "your address is not known", close=True)
_TROUBLE: Final = Reply(451, "4.3.0", "error in processing")
_TOO_MANY: Final = Reply(452, "4.3.1", "too many messages at once: please try again")
_CHANGED: Final = Reply(451, "4.3.0", "a recipient was here a moment ago: please try again")


@frozen(kw_only=True)
class Desk:
    """What all receivers of a server are given.

    :ivar outcome: gives what decides about messages.
    :ivar directory: who is here.
    :ivar message_octets: what a message may have.
    :ivar room: who knows how full accounts are.
    :ivar connections: who may connect, and how often.
    :ivar turn_away: gives the refusal of a client by its address; None: it may come.
    :ivar republish: takes an event of a receiver's log, and its number.
    :ivar took_in: called after each message.
    :ivar most_connections: that one receiver can have: each takes up to three descriptors.
    """

    outcome: Callable[[], Outcome]
    directory: DirectoryHolder
    message_octets: int
    room: IRoom
    connections: Connections
    republish: Callable[[Any, int], None]
    turn_away: Callable[[IPv4Address | IPv6Address | None], Reply | None] | None = None
    took_in: Callable[[], None] = lambda: None
    most_connections: int = 10_000

    def found(
        self, said: Mapping[Path, Recipients], trapped: Iterable[Path]
    ) -> Mapping[Path, Recipients] | None:
        """Where recipients lead, whatever a receiver says; None: one of them leads nowhere, or is no trap, any more."""
        directory = self.directory.current
        found = {path: there for path in said if isinstance(there := directory.resolve(path), Recipients)}
        return found if len(found) == len(said) and all(map(directory.is_trap, trapped)) else None

    def admission(self, taken: socket.socket) -> str | Reply:
        """The address of a client that may come, which is counted; or why not.

        :raises OSError: when it is gone.
        """
        ip = client_address(taken.getpeername()[0])
        if ip is None:
            return _NO_ADDRESS
        refusal = self.turn_away(ip) if self.turn_away is not None else None
        return refusal or admission(self.connections, ip) or str(ip)


@define(eq=False)
class HandedConnection:
    """A connection that a receiver has.

    :ivar client_ip: the client's address.
    """

    client_ip: str
    _number: int
    _link: Link[Word]

    def shutdown(self) -> None:
        """End it: what was just said is answered first."""
        self._link.say(Word.END, self._number)


@define(eq=False)
class Receiver:
    """One receiver.

    :ivar number: for the log.
    :ivar link: to it.
    :ivar ready: whether it takes connections.
    :ivar heard: whether it said anything since somebody set this to False.
    :ivar connections: that it has.
    :ivar taking: messages that it waits for the answer of.
    """

    _desk: Desk
    number: int
    _lost: Callable[[], None]
    _began: Callable[[Receiver], None]
    link: Link[Word] = field(init=False)
    ready: bool = field(default=False, init=False)
    heard: bool = field(default=True, init=False)
    connections: dict[int, HandedConnection] = field(factory=dict, init=False)
    taking: dict[int, Presence] = field(factory=dict, init=False)
    _numbers: int = field(default=0, init=False)
    _held: int = field(default=0, init=False)
    _words: dict[Word, Callable[..., None]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.link = Link(Word, self._heard, self._gone)
        self._words = {
            Word.READY: self._is_ready,
            Word.TAKE: self._take,
            Word.GONE: self._client_left,
            Word.ROOM: self._ask_room,
            Word.CLOSED: self._closed,
            Word.EVENT: self._event,
            Word.HERE: lambda: None,
        }

    def give(self, listener: str, taken: socket.socket, ip: str) -> None:
        """Hand a connection over that was admitted; the socket is not ours any more.

        :param listener: its name in the configuration.
        """
        self._numbers += 1
        number = self._numbers
        self.connections[number] = HandedConnection(ip, number, self.link)
        self.link.say_with(taken.detach(), Word.CONNECTION, number, listener)

    @property
    def free(self) -> bool:
        """Whether it takes connections, has taken most of those that it was given, and has room for more."""
        return (
            self.ready
            and self.link.waiting < _MOST_GIVEN
            and len(self.connections) < self._desk.most_connections
        )

    # -- what it says --------------------------------------------------------------------------------------------

    def _heard(self, word: Word, values: list[Any]) -> None:
        self.heard = True
        self._words[word](*values)

    def _is_ready(self) -> None:
        self.ready = True
        self._began(self)

    def _event(self, event: Any) -> None:
        self._desk.republish(event, self.number)

    def _closed(self, number: int, errors: bool) -> None:
        handed = self.connections.pop(number)
        self._desk.connections.release(handed.client_ip, errors=errors is True)

    def _client_left(self, number: int) -> None:
        presence = self.taking.get(number)
        if presence is not None:
            presence.leave()

    def _ask_room(self, number: int, asked: Any) -> None:
        refusal = self._desk.room.refusal(read_asked(asked))
        if isinstance(refusal, Reply | None):
            self.link.say(Word.ANSWER, number, write_answer(refusal), {})
        else:
            ensureDeferred(self._answer_later(number, refusal))

    async def _answer_later(self, number: int, waiting: Awaitable[Reply | None]) -> None:
        refusal: Reply | None
        try:
            refusal = await waiting
        except Exception:  # noqa: BLE001 - a boundary: the client is to come again
            _log.failure("receiver {receiver} was not told of an account's room", receiver=self.number)
            refusal = _TROUBLE
        self.link.say(Word.ANSWER, number, write_answer(refusal), {})

    def _take(self, number: int, message: Any, size: int, handed: list[Any]) -> None:
        size, (chunks, places, secret) = _whole(size), handed
        descriptor = self.link.descriptor() if secret else -1
        octets = HandedOctets(_handed(chunks, places, descriptor, secret), size)
        if number in self.taking or len(self.taking) >= _MOST_TAKING or size > self._desk.message_octets:
            octets.close()
            raise ValueError(f"message {number} of {size} octets, and {len(self.taking)} others")
        held = 0 if secret else size
        if self._held + held > _MOST_OCTETS:
            octets.close()
            self.link.say(Word.ANSWER, number, write_answer(_TOO_MANY), {})
            return
        presence = Presence()
        try:
            complete = read_complete(message, octets, size, presence)
        except ValueError:
            octets.close()
            raise
        self.taking[number] = presence
        self._held += held
        done = Deferred.fromCoroutine(self._decide(number, complete))
        done.addBoth(self._let_go, held)
        done.addErrback(
            lambda failure: _log.failure("a message of receiver {receiver}", failure, receiver=self.number)
        )

    def _let_go(self, result: Any, held: int) -> Any:
        self._held -= held
        return result

    async def _decide(self, number: int, message: Any) -> None:
        lease: Lease = message.lease
        answer: Answer
        try:
            found = self._desk.found(message.found, message.trapped)
            answer = (
                _CHANGED
                if found is None
                else await self._desk.outcome().take_in(evolve(message, found=found))
            )
        except MailError as e:
            answer = reply_for_error(e)
        except Exception:  # noqa: BLE001 - a boundary: the client is to come again
            _log.failure(
                "a message that receiver {receiver} took in could not be decided on", receiver=self.number
            )
            answer = _TROUBLE
        finally:
            self.taking.pop(number, None)
            lease.release()
        self._desk.took_in()
        self.link.say(Word.ANSWER, number, write_answer(answer), message.remarks)

    def _gone(self) -> None:
        self.ready = False
        for presence in list(self.taking.values()):
            presence.leave()
        connections, self.connections = self.connections, {}
        for handed in connections.values():
            self._desk.connections.release(handed.client_ip)
        self._lost()


def _handed(chunks: Any, places: Any, descriptor: int, secret: Any) -> Handed:
    """What a receiver says of a message's octets, looked at."""
    try:
        return Handed(
            chunks=tuple([(_whole(codec), _octets(data)) for codec, data in chunks]),
            places=tuple([(_whole(a), _whole(b), _whole(c)) for a, b, c in places]),
            descriptor=descriptor,
            secret=_octets(secret),
        )
    except BaseException:
        if descriptor >= 0:
            os.close(descriptor)
        raise


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"no number: {type(value).__name__}")
    return value


def _octets(value: Any) -> bytes:
    if type(value) is not bytes:
        raise TypeError(f"no octets: {type(value).__name__}")
    return value
