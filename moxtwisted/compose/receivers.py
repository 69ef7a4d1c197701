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

import resource
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import frozen
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from moxtwisted.compose.reception import SetUp
from moxtwisted.compose.senders import ListWatch
from moxtwisted.config.schema import Authentication, DomainsConfig
from moxtwisted.config.schema.scanners import Scanners
from moxtwisted.config.storekey import key_variables
from moxtwisted.server.certificates.store import CertificateStore
from moxtwisted.server.inbound.room import Room
from moxtwisted.server.intake import Trouble
from moxtwisted.server.logging import LevelControl
from moxtwisted.server.processes.events import republish
from moxtwisted.server.processes.process import Program
from moxtwisted.server.processes.supervision import Place, Supervision
from moxtwisted.server.receivers.near import Desk, Receiver
from moxtwisted.server.receivers.words import Word
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

#: What a receiver runs.
_MODULE: Final = "moxtwisted.tap.receiver"
#: How long it may take until a receiver hears that a list of senders changed.
_LISTS_SECONDS: Final = 2.0
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


class Receivers(Supervision[Receiver]):
    """All of a server."""

    def __init__(
        self, parts: Parts, certificates: Mapping[str, CertificateStore], levels: LevelControl | None
    ) -> None:
        # It needs no key, and is not told where one is.
        secret = key_variables(parts.static)
        super().__init__(
            parts.reactor,
            Program("receiver", _MODULE, without=secret),
            parts.static.receivers.processes,
            (Word.ASK, Word.SHUT_DOWN),
        )
        self._parts = parts
        self._certificates = dict(certificates)
        self._levels = levels if levels is not None else LevelControl()
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
            room=Room(parts.store, Trouble(self._reactor.seconds), outcome, parts.places),
            connections=parts.connections,
            republish=lambda event, number: republish(event, receiver=number),
            turn_away=parts.effects.turn_away_for(Mode.MX),
            took_in=self._took_in,
            most_connections=resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4,
        )
        self._doors: list[Door] = []
        self._lists = ListWatch(parts.loaded)
        self._lists_watch = LoopingCall(self._look_at_lists)
        self._lists_watch.clock = self._reactor

    @property
    def are_serving(self) -> bool:
        """Whether any has a connection."""
        return any(place.peer is not None and place.peer.connections for place in self.places)

    def start(self, doors: Sequence[Door]) -> None:
        """Start all, and let them have the connections of these ports."""
        self._doors = list(doors)
        self._levels.changed.append(self._tell_levels)
        if self._lists.paths:
            self._lists_watch.start(_LISTS_SECONDS, now=False)
        for name, certificates in self._certificates.items():
            certificates.adopted.append(partial(self._tell_certificates, name))
        for door in doors:
            divert(door.port, partial(self._give, door))
        self.begin()

    def _give(self, door: Door, taken: socket.socket) -> bool:
        if not self._were_ready:
            return False
        free = [place.peer for place in self.places if place.peer is not None and place.peer.free]
        if not free or self.stopping:
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

    def set_up(self, place: Place[Receiver], descriptor: int) -> None:
        """See ``Supervision``."""
        receiver = place.peer = Receiver(
            self._desk,
            place.number,
            partial(self.silent, place, place.process),
            partial(self.began, place),
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

    def is_ready(self, place: Place[Receiver]) -> None:
        """See ``Supervision``."""
        receiver, process = place.peer, place.process
        if receiver is None or process is None:
            return
        self._first_ready()
        _log.info("receiver {receiver} takes in mail", receiver=place.number, pid=process.pid)
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

    def meanwhile(self) -> str:
        """See ``Supervision``."""
        if any(place.peer is not None and place.peer.ready for place in self.places):
            return "others take in mail"
        return "senders are asked to come again" if self._were_ready else "the server takes in mail itself"

    def shutdown(self) -> Deferred[Any]:
        """See ``Supervision``."""
        if self._lists_watch.running:
            self._lists_watch.stop()
        return super().shutdown()

    # -- changes -------------------------------------------------------------------------------------------------

    def use(self, domains: DomainsConfig) -> None:
        """A new ``domains.conf`` is in force."""
        self._domains = domains
        self.tell(Word.USE, msgspec.msgpack.encode(domains))

    def _look_at_lists(self) -> None:
        """A receiver may not open them."""
        for path in self._lists.changed():
            for place in self.places:
                if place.peer is not None:
                    self._tell_list(place.peer, path)

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
        self.tell(Word.CERTIFICATES, name, self._certificates[name].handed())

    def _tell_levels(self) -> None:
        self.tell(Word.LEVELS, self._levels.list())

    def _took_in(self) -> None:
        splits = self._outcome().splits
        if splits is not self._splits:
            self._splits = splits
            self.tell(Word.SPLITTING, splits)
