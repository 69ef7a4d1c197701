"""The IMAP twin: our IMAP server over the captured messages, whose answers go wrong as the user name asks.

::

    factory = ImapTwinFactory(surroundings, rooms, ServerTLS(contexts.ordinary()))
    # a1 LOGIN bob+fetch.drip60@example.org x: the messages to bob@example.org, each FETCH takes a minute

The server is that of ``moxtwisted.imap``; what it says is cut into answers, and spoilt on its way out. Any password is right but for a
user name with ``badauth``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from moxtwisted.badsmtp.faults import Ending, Plan, Step
from moxtwisted.badsmtp.grammar import Wish
from moxtwisted.badsmtp.imapfaults import (
    DESCRIPTIONS,
    IMAP_VERBS,
    REFUSALS,
    Framer,
    ImapReply,
    spoil_imap,
    verb_of,
)
from moxtwisted.badsmtp.machine import HOSTNAME
from moxtwisted.badsmtp.outlet import Outlet
from moxtwisted.badsmtp.surroundings import Surroundings
from moxtwisted.badsmtp.twinmail import Mailrooms
from moxtwisted.badsmtp.visitors import Doorkeeper, Visitor, parse_user
from moxtwisted.errors import MailError
from moxtwisted.imap.backend import IAuthenticator, IOwnMechanisms
from moxtwisted.imap.connection import Transport
from moxtwisted.imap.memory import MemoryAuthenticator
from moxtwisted.imap.protocol import IMAPServerFactory, IMAPServerProtocol, ServerTLS
from moxtwisted.imap.server import Close, Server, Work
from moxtwisted.imap.settings import Limits, ServerSettings, Timeouts
from moxtwisted.imap.states import State
from moxtwisted.imap.wire import parser
from moxtwisted.imap.wire.commands import AppendMessage, Command, Done, Login

__all__ = ["ImapTwinFactory"]

#: A test server does not tire of errors.
_MANY: Final = 1_000_000
_TIMEOUTS: Final = Timeouts(login=3600.0, idle=7200.0, login_failure_pause=0.0)
#: Faults that happen instead of the command.
_GOOD_BYE: Final = b"* BYE [UNAVAILABLE] somebody pulled the plug\r\n"
_INSTEAD: Final = frozenset({*REFUSALS, "bye", "lost"})


class _LoginRefusedError(MailError):
    """A log-in that succeeded is refused all the same; ``word`` is the fault."""

    def __init__(self, word: str) -> None:
        text = REFUSALS[word]
        _, bracket, rest = text.partition("[")
        code, _, words = rest.partition("] ")
        super().__init__(word, public_text=words if bracket else text.partition(" ")[2])
        self.imap_code = code


@implementer(IAuthenticator, IOwnMechanisms)
class _Authenticator:
    """Of one connection.

    :ivar visitor: who wants to come in, or did.
    """

    sasl_backend = None
    extensions = MemoryAuthenticator.extensions

    def __init__(self, keeper: Doorkeeper, rooms: Mailrooms) -> None:
        self.keeper = keeper
        self.mechanisms = keeper.mechanisms
        self.visitor = Visitor()
        self._rooms = rooms

    def begin_exchange(self, mechanism: str) -> Any:
        """By the rules of AUTH."""
        return self.keeper.exchange(mechanism)

    async def login(self, username: str, password: str, peer: Any) -> str | None:
        """LOGIN."""
        allowed = await self.keeper.decide("LOGIN", username, password.encode("utf-8", "replace"))
        return username if allowed else None

    def session(self, identity: str, peer: Any) -> Any:
        """The mail of somebody who was let in."""
        self.visitor = parse_visitor(identity)
        wish = self.visitor.wishes.get("login")
        if wish is not None and wish.fault in REFUSALS:
            self.keeper.triggered(wish)
            raise _LoginRefusedError(wish.fault)
        return self._rooms.mail_of(self.visitor.address).session(identity)


def parse_visitor(name: str) -> Visitor:
    """What a user name says to this twin."""
    return parse_user(name, IMAP_VERBS, DESCRIPTIONS)


class _Machine(Server):
    """Notes which tag belongs to which command, and does not carry out what shall not be.

    :ivar due: the verb of each command whose tagged answer was not yet sent, by tag.
    """

    def __init__(
        self,
        factory: ImapTwinFactory,
        authenticator: _Authenticator,
        transport: Transport,
        changed: Callable[[], None],
    ) -> None:
        super().__init__(factory.settings, authenticator, factory.surroundings, transport, changed)
        self.due: dict[bytes, str] = {}
        self._door = authenticator
        self.keeper = authenticator.keeper

    def wish_for(self, verb: str) -> Wish | None:
        """What goes wrong with a command; ``any`` is about those after log-in."""
        visitor = self._door.visitor
        wish = visitor.wishes.get(verb)
        return wish or (visitor.wish_for(verb) if self.connection.session is not None else None)

    def triggered(self, wish: Wish) -> None:
        """Write down that a wish comes true."""
        self.keeper.triggered(wish)

    def _event(self, event: parser.Event) -> Work | None:
        if isinstance(event, AppendMessage):
            self.due[event.tag] = "append"
        elif isinstance(event, parser.BadCommand) and event.tag:
            self.due.setdefault(event.tag, "")
        return super()._event(event)

    def _command(self, command: Command) -> Work | None:
        if isinstance(command, Done):
            return super()._command(command)
        verb = verb_of(command.name)
        self.due[command.tag] = verb
        if isinstance(command, Login) and self.connection.session is None:
            self._door.visitor = parse_visitor(command.username)
        wish = self.wish_for(verb)
        if wish is None or wish.fault not in _INSTEAD or command.name == "AUTHENTICATE":
            return super()._command(command)
        self.triggered(wish)
        if wish.fault == "bye":
            self.connection.out.append(_GOOD_BYE)
            self.connection.state = State.LOGOUT
            return Close()
        if wish.fault == "lost":
            self.connection.state = State.LOGOUT
            return Close()
        if self.connection.appending is not None:
            self.connection.appending.abort()
            self.connection.appending = None
        return self._answered(command, REFUSALS[wish.fault].encode("ascii"))


class _Protocol(IMAPServerProtocol):
    """Sends answers as they are wished for."""

    factory: ImapTwinFactory

    def __init__(self, factory: ImapTwinFactory) -> None:
        super().__init__(factory)
        self._framer = Framer()
        self._held: list[bytes] = []
        self._greeting = factory.greeting
        self._held_octets = 0
        self._full = False  # the client does not read
        self._outlet = Outlet(
            factory.clock, super()._write, self._ended_by_plan, factory.pace, self._take_time
        )

    def connectionMade(self) -> None:
        """Greet; hooks may speak out of turn."""
        super().connectionMade()
        if isinstance(self.server, _Machine):
            self.server.keeper.write = self._outlet.send

    def _take_time(self, wanted: bool) -> None:
        """Carry out no command while an answer takes its time; hear the client leave meanwhile."""
        if wanted:
            self._blocked = True
            self._deadline.suspend()
        else:
            self._go_on()

    @property
    def _held_up(self) -> bool:
        return self._full or self._outlet.busy

    def _go_on(self) -> None:
        """Say what was not said yet, and let the machine say more."""
        self._cut()
        if self._held_up:
            return
        if self._ended:
            self._let_go()
            self._outlet.when_dry(super()._end)
        else:
            super().resumeProducing()

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._full = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._full = False
        self._go_on()

    def _ended_by_plan(self, ending: Ending) -> None:
        if self.server is not None:
            self.server.lost()
        if ending is Ending.RESET:
            self._abort()
        else:
            super()._end()

    def _write(self, octets: bytes) -> None:
        """Octets of our server: cut into answers, and spoilt."""
        machine = self.server
        if not isinstance(machine, _Machine):
            super()._write(octets)
            return
        self._framer.feed(octets)
        self._cut()

    def _cut(self) -> None:
        """Send answers, until one takes its time or the client does not read."""
        machine = self.server
        if not isinstance(machine, _Machine):
            return
        while not self._held_up and (response := self._framer.next()) is not None:
            tag, _, status = response.partition(b" ")
            greeting, self._greeting = self._greeting, None
            if greeting is not None:
                machine.triggered(greeting)
                self._outlet.play(self._spoilt_greeting(greeting, status))
                continue
            verb = machine.due.pop(tag, None)
            if verb is not None:
                held, self._held, self._held_octets = tuple(self._held), [], 0
                self._answer(machine, verb, ImapReply(held, tag, status))
            elif response.startswith(b"+"):
                self._continue(machine, response)
            elif machine.state is State.IDLING:
                self._tell_idler(machine, response)
            else:
                self._held.append(response)
                self._held_octets += len(response)
                if self._held_octets > self.factory.held_octets or not self._spoils(machine):
                    self._let_go()
        if not (machine.due or self._held_up):
            self._let_go()

    def _spoils(self, machine: _Machine) -> bool:
        """Whether something goes wrong with the answer that is under way."""
        verb = next(iter(machine.due.values()), "")
        wish = machine.wish_for(verb)
        return wish is not None and wish.fault not in _INSTEAD

    def _spoilt_greeting(self, wish: Wish, status: bytes) -> Plan:
        """What becomes of the greeting."""
        if wish.fault == "bye":
            return Plan((Step(0, _GOOD_BYE),), Ending.CLOSE)
        if wish.fault in REFUSALS:
            # A greeting cannot say NO; this one does.
            return Plan((Step(0, b"* " + REFUSALS[wish.fault].encode("ascii") + b"\r\n"),), Ending.CLOSE)
        return spoil_imap(ImapReply((), b"*", status), wish, self.factory.fresh_number())

    def _let_go(self) -> None:
        """What nobody asked for goes out as it is."""
        held, self._held, self._held_octets = self._held, [], 0
        for response in held:
            self._outlet.send(response)

    def _answer(self, machine: _Machine, verb: str, reply: ImapReply) -> None:
        wish = machine.wish_for(verb)
        if wish is not None and verb == "login" and wish.fault in {"bye", "lost"}:
            # AUTHENTICATE: who it is was not known before.
            octets = _GOOD_BYE if wish.fault == "bye" else b""
            self._outlet.play(Plan((Step(0, octets),), Ending.CLOSE))
            return
        if wish is None or wish.fault in _INSTEAD:
            self._outlet.send(reply.wire())
            return
        machine.triggered(wish)
        self._outlet.play(spoil_imap(reply, wish, self.factory.fresh_number()))

    def _continue(self, machine: _Machine, response: bytes) -> None:
        wish = machine.wish_for("idle") if machine.state is State.IDLING else None
        fault = wish.fault if wish is not None else ""
        if wish is None or fault not in {"stall", "drop", "leave"}:
            self._let_go()
            self._outlet.send(response)
            return
        machine.triggered(wish)
        seconds = 1 if wish.number is None else wish.number
        if fault == "stall":
            self._outlet.play(
                Plan((Step(wish.number or 3600, b""),), Ending.GO_ON if wish.number else Ending.CLOSE)
            )
            if wish.number is not None:
                self._outlet.send(response)
            return
        last = b"* BYE [UNAVAILABLE] time for a break\r\n" if fault == "leave" else b""
        self._outlet.play(Plan((Step(0, response), Step(seconds, last)), Ending.CLOSE))

    def _tell_idler(self, machine: _Machine, response: bytes) -> None:
        wish = machine.wish_for("idle")
        if wish is None or wish.fault != "deaf":
            self._outlet.send(response)

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._go_on()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._outlet.stop()
        super().connectionLost(reason)


class ImapTwinFactory(IMAPServerFactory):
    """The connections of the IMAP port: ``ImapTwinFactory(surroundings, rooms, tls)``."""

    def __init__(
        self,
        surroundings: Surroundings,
        rooms: Mailrooms,
        tls: ServerTLS | None = None,
        greeting: Wish | None = None,
    ) -> None:
        """:param greeting: what goes wrong with it."""
        octets = surroundings.settings.message_octets
        settings = ServerSettings(
            hostname=HOSTNAME,
            software=("BadSMTP", ""),
            allow_plain_without_tls=True,
            limits=Limits(
                append_octets=octets,
                bad_commands=_MANY,
                commands_before_login=_MANY,
                login_failures=_MANY,
            ),
            timeouts=_TIMEOUTS,
        )
        self._badsmtp = surroundings
        self._rooms = rooms
        authenticator = self.authenticator_for(None)
        super().__init__(settings, authenticator, surroundings.clock, tls, entropy=surroundings.entropy)
        self.pace = surroundings.pace
        self.greeting = greeting
        # The first of a longer answer go out as they are.
        self.held_octets = 2 * octets
        self._fresh = int(surroundings.clock.seconds()) % 1_000_000_000

    def fresh_number(self) -> int:
        """A number that was not given before."""
        self._fresh += 1
        return self._fresh

    def authenticator_for(self, transport: Any) -> Any:
        """One for each connection."""
        peer = getattr(transport, "getPeer", lambda: None)()
        keeper = Doorkeeper(self._badsmtp, "IMAP", str(getattr(peer, "host", "")))
        return _Authenticator(keeper, self._rooms)

    def make_machine(self, authenticator: Any, transport: Transport, changed: Callable[[], None]) -> Server:
        """The machine of a new connection."""
        return _Machine(self, authenticator, transport, changed)

    def make_protocol(self) -> _Protocol:
        """The protocol of a new connection."""
        return _Protocol(self)

    def buildProtocol(self, addr: object) -> Any:
        """A protocol, or None after ``shutdown`` or when there are too many connections."""
        if len(self.connections) >= self._badsmtp.settings.connections:
            return None
        return super().buildProtocol(addr)
