"""The owner's side of receivers: they are started, given connections and told of changes, and started again when they end.

::

    receivers = Receivers(parts, {"public": certificates}, log_levels)
    receivers.start([Door("public", port, factory)])       # once the ports serve
    receivers.use(domains)                    # a new domains.conf is in force
    await receivers.shutdown()                # what is under way is finished

The ports serve themselves until a receiver is ready for the first time. From then on the server reads nothing that a stranger says: when no
receiver is ready, clients are asked to come again. What made one end or hang would make the server end or hang.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import define, field, frozen
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.compose.reception import SetUp
from moxtwisted.compose.senders import ListWatch
from moxtwisted.config.schema import Authentication, DomainsConfig
from moxtwisted.config.schema.scanners import Scanners
from moxtwisted.server.certificates.store import CertificateStore
from moxtwisted.server.inbound.room import Room
from moxtwisted.server.intake import Trouble
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.receivers.events import republish
from moxtwisted.server.receivers.link import Word
from moxtwisted.server.receivers.near import Desk, HandedConnection, Receiver
from moxtwisted.server.receivers.process import ReceiverProcess
from moxtwisted.server.sockets import adopt_connection, adopt_link, divert
from moxtwisted.smtp.interfaces import ISMTPHandler, ISMTPHandlerFactory
from moxtwisted.smtp.peer import Peer
from moxtwisted.smtp.protocol import SMTPServerFactory
from moxtwisted.smtp.replies import Reply
from moxtwisted.smtp.settings import Mode

if TYPE_CHECKING:
    import socket

    from moxtwisted.compose.parts import Parts

__all__ = ["Door", "Receivers"]

_log = Logger()

#: How long a process may take to be ready.
_START_SECONDS: Final = 60.0
#: And how long to end when there is nothing more to be said.
_END_SECONDS: Final = 5.0
#: How long one may say nothing when it is asked.
_SILENT_SECONDS: Final = 20.0
#: How long it may take until a receiver hears that a list of senders changed.
_LISTS_SECONDS: Final = 2.0
#: Before one that ended is started again: so long at first, twice as long each time, at most; after a good while, as at first.
_AGAIN_SECONDS: Final = 1.0
_AGAIN_MOST_SECONDS: Final = 60.0
_GOOD_WHILE_SECONDS: Final = 300.0
# RFC 5321 section 4.2.3: 421 may be said at any time. RFC 3463 section 3.4: X.3.2, not accepting messages for now.
_NOT_NOW: Final = Reply(421, "4.3.2", "cannot take mail for the moment: please try again", close=True)


@frozen
class Door:
    """A port that receivers get the connections of.

    :ivar listener: its name.
    :ivar factory: what serves there until a receiver is ready.
    """

    listener: str
    port: Any
    factory: SMTPServerFactory


@implementer(ISMTPHandlerFactory)
@frozen
class _Refusing:
    """Takes nobody in."""

    _reply: Reply

    def connected(self, peer: Peer) -> ISMTPHandler | Reply:
        """See ``ISMTPHandlerFactory``."""
        return self._reply


@define(eq=False)
class _Place:
    """Where a receiver is, or will be again.

    :ivar again_seconds: to wait when it ends.
    :ivar gone: fires when the process ended; None: there is none.
    """

    number: int
    process: ReceiverProcess | None = None
    receiver: Receiver | None = None
    started: float = 0.0
    again_seconds: float = field(factory=lambda: _AGAIN_SECONDS)
    call: Any = None
    gone: Deferred[None] | None = None


class Receivers:
    """All of a server.

    :ivar places: one for each process.
    """

    def __init__(
        self, parts: Parts, certificates: Mapping[str, CertificateStore], levels: LevelControl | None
    ) -> None:
        self._parts = parts
        self._reactor: Any = parts.reactor
        self._certificates = dict(certificates)
        self._levels = levels if levels is not None else LevelControl()
        self._stopping = False
        self._were_ready = False
        self._put_off = 0
        self._splits = False
        self._domains = parts.loaded.domains
        outcome = parts.effects.outcome_for(Mode.MX)
        if outcome is None:
            raise ValueError("receivers without judges")
        self._outcome = outcome
        self._desk = Desk(
            outcome=outcome,
            directory=parts.directory,
            message_octets=parts.static.limits.smtp.message_octets,
            room=Room(parts.store, Trouble(self._reactor.seconds), outcome),
            connections=parts.connections,
            republish=lambda event, number: republish(event, receiver=number),
            turn_away=parts.effects.turn_away_for(Mode.MX),
            took_in=self._took_in,
            most_connections=resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4,
        )
        self._doors: list[Door] = []
        self._watch = LoopingCall(self._look_after)
        self._watch.clock = self._reactor
        self._lists = ListWatch(parts.loaded)
        self._lists_watch = LoopingCall(self._look_at_lists)
        self._lists_watch.clock = self._reactor
        self.places = [_Place(n + 1) for n in range(parts.static.receivers.processes)]

    @property
    def connections(self) -> Iterable[HandedConnection]:
        """Those that receivers have, for who ends them when a network is banned."""
        return [
            handed
            for place in self.places
            if place.receiver is not None
            for handed in place.receiver.connections.values()
        ]

    @property
    def are_serving(self) -> bool:
        """Whether any has a connection."""
        return any(place.receiver is not None and place.receiver.connections for place in self.places)

    def start(self, doors: Sequence[Door]) -> None:
        """Start all, and let them have the connections of these ports."""
        self._doors = list(doors)
        self._levels.changed.append(self._tell_levels)
        self._watch.start(_SILENT_SECONDS, now=False)
        if self._lists.paths:
            self._lists_watch.start(_LISTS_SECONDS, now=False)
        for name, certificates in self._certificates.items():
            certificates.adopted.append(partial(self._tell_certificates, name))
        for door in doors:
            divert(door.port, partial(self._give, door))
        for place in self.places:
            self._begin(place)

    def _give(self, door: Door, taken: socket.socket) -> bool:
        if not self._were_ready:
            return False
        free = [place.receiver for place in self.places if place.receiver is not None and place.receiver.free]
        if not free or self._stopping:
            self._put_off += 1
            self._refuse(door, taken, _NOT_NOW)
            return True
        try:
            admitted = self._desk.admission(taken)
        except OSError:
            taken.close()
            return True
        if isinstance(admitted, Reply):
            self._refuse(door, taken, admitted)
        else:
            min(free, key=lambda receiver: len(receiver.connections)).give(door.listener, taken, admitted)
        return True

    def _refuse(self, door: Door, taken: socket.socket, reply: Reply) -> None:
        """Tell a client that it may not come, of which nothing is read that could be a message."""
        with taken, suppress(OSError):
            if reply.close:
                taken.send(reply.wire())
                return
            # RFC 5321 section 3.1: after 554 every command but QUIT gets 503.
            refusing = SMTPServerFactory(door.factory.settings, _Refusing(reply), self._reactor)
            adopt_connection(self._reactor, taken.fileno(), refusing)

    # -- processes -----------------------------------------------------------------------------------------------

    def _begin(self, place: _Place) -> None:
        place.call = None
        place.started = self._reactor.seconds()
        # It needs no key, and is not told where one is.
        secret = (self._parts.static.store.key_environment, "CREDENTIALS_DIRECTORY")
        process = ReceiverProcess(place.number, partial(self._ended, place), secret)
        try:
            descriptor = process.start(self._reactor)
        except OSError as e:
            _log.error(
                "receiver {receiver} could not be started: {problem}", receiver=place.number, problem=str(e)
            )
            self._again(place)
            return
        place.process, place.gone = process, Deferred()
        place.call = self._reactor.callLater(_START_SECONDS, self._too_slow, place)
        try:
            self._set_up(place, process, descriptor)
        except Exception:  # noqa: BLE001 - a boundary: whatever is in the way now may be gone the next time
            _log.failure("receiver {receiver} could not be set up", receiver=place.number)
            process.kill()
        finally:
            os.close(descriptor)

    def _set_up(self, place: _Place, process: ReceiverProcess, descriptor: int) -> None:
        """Tell a process that was started what it has to know."""
        receiver = place.receiver = Receiver(
            self._desk, place.number, partial(self._silent, place, process), partial(self._is_ready, place)
        )
        adopt_link(self._reactor, descriptor, receiver.link)
        receiver.link.say(Word.SET_UP, msgspec.msgpack.encode(self._told_first()))
        for path in self._lists.paths:
            self._tell_list(receiver, path)

    def _told_first(self) -> SetUp:
        loaded = self._parts.loaded
        # What is about scanners and log-ins is nothing to it.
        static = replace(loaded.static, scanners=Scanners(), authentication=Authentication())
        return SetUp(
            static=static,
            domains=self._domains,
            static_path=str(loaded.static_path),
            domains_path=str(loaded.domains_path),
            certificates={name: store.handed() for name, store in self._certificates.items()},
            staging=str(self._parts.store.staging_directory),
            levels=self._levels.list(),
        )

    def _is_ready(self, place: _Place, receiver: Receiver) -> None:
        if place.receiver is receiver and place.process is not None:
            self._stop_waiting(place)
            self._first_ready()
            _log.info("receiver {receiver} takes in mail", receiver=place.number, pid=place.process.pid)
            put_off, self._put_off = self._put_off, 0
            if put_off:
                _log.info(
                    "{count} connections were asked to come again while no receiver was ready", count=put_off
                )
        if self._splits:
            receiver.link.say(Word.SPLITTING, True)

    def _first_ready(self) -> None:
        if self._were_ready:
            return
        self._were_ready = True
        for door in self._doors:
            # Who came earlier may finish a message, and come again for the next.
            door.factory.shutdown()

    def _silent(self, place: _Place, process: ReceiverProcess) -> None:
        """Its link is gone, and so will the process be soon, or it is ended."""
        if place.process is not process:
            # It ended before that was noticed: what waits now is its successor's start.
            return
        self._stop_waiting(place)
        place.call = self._reactor.callLater(_END_SECONDS, process.kill)

    def _too_slow(self, place: _Place) -> None:
        place.call = None
        _log.error("receiver {receiver} did not begin in time, and is ended", receiver=place.number)
        if place.process is not None:
            place.process.kill()

    def _look_after(self) -> None:
        """One that hangs holds connections that nobody answers."""
        for place in self.places:
            receiver = place.receiver
            if receiver is None or place.process is None or not receiver.ready:
                continue
            if not receiver.heard:
                _log.error("receiver {receiver} does not answer, and is ended", receiver=place.number)
                place.process.kill()
            receiver.heard = False
            receiver.link.say(Word.ASK)

    def _ended(self, place: _Place) -> None:
        self._stop_waiting(place)
        receiver, place.receiver, place.process = place.receiver, None, None
        if receiver is not None:
            receiver.link.abort()
        gone, place.gone = place.gone, None
        if not self._stopping:
            self._again(place)
        if gone is not None:
            gone.callback(None)

    def _again(self, place: _Place) -> None:
        if self._reactor.seconds() - place.started > _GOOD_WHILE_SECONDS:
            place.again_seconds = _AGAIN_SECONDS
        seconds = place.again_seconds
        place.again_seconds = min(2 * seconds, _AGAIN_MOST_SECONDS)
        _log.warn(
            "receiver {receiver} is started again in {seconds} s; meanwhile {meanwhile}",
            receiver=place.number,
            seconds=seconds,
            meanwhile="others take in mail"
            if any(other.receiver is not None and other.receiver.ready for other in self.places)
            else "senders are asked to come again"
            if self._were_ready
            else "the server takes in mail itself",
        )
        place.call = self._reactor.callLater(seconds, self._begin, place)

    @staticmethod
    def _stop_waiting(place: _Place) -> None:
        call, place.call = place.call, None
        if call is not None and call.active():
            call.cancel()

    def shutdown(self) -> Deferred[Any]:
        """Let them finish what is under way; fires when all have ended. See ``kill``."""
        self._stopping = True
        for watch in (self._watch, self._lists_watch):
            if watch.running:
                watch.stop()
        waiting = []
        for place in self.places:
            self._stop_waiting(place)
            if place.receiver is not None:
                place.receiver.link.say(Word.SHUT_DOWN)
            if place.gone is not None:
                waiting.append(place.gone)
        # Who waits for it may have enough of that, which is no error of those who have not ended.
        return gatherResults(waiting).addErrback(lambda failure: failure.trap(CancelledError))

    def kill(self) -> None:
        """End those that did not end in time."""
        for place in self.places:
            if place.process is not None:
                place.process.kill()

    # -- changes -------------------------------------------------------------------------------------------------

    def _tell(self, word: Word, *values: Any) -> None:
        for place in self.places:
            if place.receiver is not None:
                place.receiver.link.say(word, *values)

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self._tell(Word.USE, msgspec.msgpack.encode(domains))

    def _look_at_lists(self) -> None:
        """A receiver may not open them."""
        for path in self._lists.changed():
            for place in self.places:
                if place.receiver is not None:
                    self._tell_list(place.receiver, path)

    def _tell_list(self, receiver: Receiver, path: Path) -> None:
        try:
            descriptor = self._lists.open(path)
        except OSError:
            # Who reads it here says so in the log, and what was in it before stays.
            return
        if descriptor is None:
            receiver.link.say(Word.LIST, str(path), False)
        else:
            receiver.link.say_with(descriptor, Word.LIST, str(path), True)

    def _tell_certificates(self, name: str) -> None:
        self._tell(Word.CERTIFICATES, name, self._certificates[name].handed())

    def _tell_levels(self) -> None:
        self._tell(Word.LEVELS, self._levels.list())

    def _took_in(self) -> None:
        splits = self._outcome().splits
        if splits is not self._splits:
            self._splits = splits
            self._tell(Word.SPLITTING, splits)
