"""The POP3 twin: our POP3 server over the captured messages, whose replies go wrong as the user name asks.

::

    factory = PopTwinFactory(surroundings, ServerTLS(contexts.ordinary()))
    # USER bob+retr.cut@example.org: the messages to bob@example.org, the first half of each

The server is that of ``moxtwisted.pop3``; what it says is cut into replies, and spoilt on its way out. Any password is right but for a
user name with ``badauth``. A message that is deleted is gone from the captured ones after QUIT, and only then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any, Final

from zope.interface import implementer

from moxtwisted.badsmtp.faults import Ending, Plan, Step
from moxtwisted.badsmtp.grammar import Wish
from moxtwisted.badsmtp.machine import HOSTNAME
from moxtwisted.badsmtp.outlet import Outlet
from moxtwisted.badsmtp.pop3faults import DESCRIPTIONS, POP3_VERBS, REFUSALS, PopReply, spoil_pop3
from moxtwisted.badsmtp.surroundings import Surroundings
from moxtwisted.badsmtp.visitors import Doorkeeper, Visitor, parse_user
from moxtwisted.pop3.backend import IAuthenticator, IMaildrop
from moxtwisted.pop3.commands import Command, UserName
from moxtwisted.pop3.memory import BytesBody
from moxtwisted.pop3.protocol import POP3ServerFactory, POP3ServerProtocol, ServerTLS
from moxtwisted.pop3.replies import negative
from moxtwisted.pop3.server import Server, Transport
from moxtwisted.pop3.settings import Limits, ServerSettings, Timeouts
from moxtwisted.pop3.states import State
from moxtwisted.pop3.work import Close, Work

__all__ = ["PopTwinFactory"]

#: A test server does not tire of errors.
_LIMITS: Final = Limits(bad_commands=1_000_000, login_failures=1_000_000, commands_before_login=1_000_000)
_TIMEOUTS: Final = Timeouts(login=3600.0, idle=7200.0, login_failure_pause=0.0)
_OF_SEVERAL_LINES: Final = frozenset({"capa", "retr", "top"})


@implementer(IMaildrop)
class _Maildrop:
    """The captured messages of one visitor, as they are at log-in."""

    def __init__(self, keeper: Doorkeeper, address: str) -> None:
        self._captured = keeper.surroundings.captured
        found = keeper.messages(address)
        self._numbers = tuple(message.number for message in found)
        self.sizes: Sequence[int] = tuple(len(message.content) for message in found)
        self.identifiers: Sequence[str] = tuple(f"badsmtp-{number}" for number in self._numbers)

    def body(self, number: int) -> BytesBody | None:
        message = self._captured.message(self._numbers[number - 1])
        return None if message is None else BytesBody(message.content)

    async def update(self, deleted: Collection[int]) -> None:
        for number in deleted:
            self._captured.remove(self._numbers[number - 1])

    def release(self) -> None:
        """Anybody may have it at the same time."""


@implementer(IAuthenticator)
class _Authenticator:
    """Of one connection."""

    sasl_backend = None

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self.mechanisms = keeper.mechanisms

    async def login(self, username: str, password: str, peer: Any) -> str | None:
        allowed = await self._keeper.decide("USER", username, password.encode("utf-8", "replace"))
        return username if allowed else None

    def maildrop(self, identity: str, peer: Any) -> _Maildrop:
        return _Maildrop(self._keeper, _visitor(identity).address)


def _visitor(name: str) -> Visitor:
    return parse_user(name, POP3_VERBS, DESCRIPTIONS)


class _Machine(Server):
    """Notes which reply belongs to which command, and refuses what shall be refused.

    :ivar due: the commands whose replies were not yet sent: the verb, and whether it has several lines when it is positive.
    """

    def __init__(self, factory: PopTwinFactory, transport: Transport, keeper: Doorkeeper) -> None:
        super().__init__(factory.settings, _Authenticator(keeper), factory.surroundings, transport)
        self.keeper = keeper
        self.visitor = Visitor()
        self.due: deque[tuple[str, bool]] = deque()

    def start(self) -> None:
        """Greet."""
        self.due.append(("greeting", False))
        super().start()

    def wish_for(self, verb: str) -> Wish | None:
        """What goes wrong with a command; ``any`` is about those after log-in."""
        wish = self.visitor.wishes.get(verb)
        return wish or (self.visitor.wish_for(verb) if self.maildrop is not None else None)

    def mechanisms(self) -> Sequence[str]:
        """All of them, whether or not there is TLS."""
        return self.keeper.mechanisms

    def begin_exchange(self, mechanism: str) -> Any:
        """By the rules of AUTH."""
        return self.keeper.exchange(mechanism)

    async def welcome(self, identity: str) -> Work | None:
        """Somebody was authenticated."""
        self.visitor = _visitor(identity)
        wish = self.visitor.wishes.get("auth")
        if wish is not None and wish.fault in REFUSALS and self.due and self.due[0][0] == "auth":
            self.keeper.triggered(wish)
            self.say(negative(*REFUSALS[wish.fault]))
            return None
        return await super().welcome(identity)

    def _carry_out(self, line: bytes) -> Work | None:
        if self.state is not State.EXCHANGE:
            verb, _, argument = line.partition(b" ")
            word = verb.decode("ascii", "replace").lower()
            several = word in _OF_SEVERAL_LINES or (word in {"list", "uidl"} and not argument.strip())
            self.due.append((word, several))
        return super()._carry_out(line)

    def command(self, command: Command) -> Work | None:
        """Carry out a command, or do not."""
        verb = command.verb.lower()
        if isinstance(command, UserName):
            self.visitor = _visitor(command.name)
        wish = self.wish_for(verb)
        if wish is not None and wish.fault in REFUSALS and verb != "auth":
            self.keeper.triggered(wish)
            self.say(negative(*REFUSALS[wish.fault]))
            return None
        if wish is not None and wish.fault == "lost":
            self.keeper.triggered(wish)
            self.due.clear()
            self.state = State.CLOSED
            return Close()
        return super().command(command)


class _Protocol(POP3ServerProtocol):
    """Sends replies as they are wished for."""

    factory: PopTwinFactory

    def __init__(self, factory: PopTwinFactory) -> None:
        super().__init__(factory)
        self._full = False  # the client does not read
        self._outlet = Outlet(factory.clock, self._out, self._ended_by_plan, factory.pace, self._take_time)
        self._rest_of_output = bytearray()
        self._at = 0

    def _out(self, octets: bytes) -> None:
        self._transport.write(octets)

    def connectionMade(self) -> None:
        """Greet; hooks may speak out of turn."""
        super().connectionMade()
        if isinstance(self.machine, _Machine):
            self.machine.keeper.write = self._outlet.send

    def _take_time(self, wanted: bool) -> None:
        """Carry out no command while a reply takes its time; hear the client leave meanwhile."""
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
        if ending is Ending.RESET:
            self._transport.abortConnection()
        else:
            super()._end()

    def send(self, octets: bytes) -> None:
        """Octets of our server: cut into replies, and spoilt."""
        machine = self.machine
        if not isinstance(machine, _Machine):
            return
        self._rest_of_output += octets
        self._cut()

    def _cut(self) -> None:
        """Send replies, until one takes its time or the client does not read."""
        machine = self.machine
        if not isinstance(machine, _Machine):
            return
        while machine.due and self._rest_of_output and not self._held_up:
            verb, several = machine.due[0]
            reply = self._next_reply(several=several)
            if reply is None:
                return
            if verb == "auth" and reply.status.startswith(b"+ "):
                self._outlet.send(reply.wire())
                continue
            machine.due.popleft()
            self._reply(machine, verb, reply)
        if not machine.due and self._rest_of_output and not self._held_up:
            # Nobody asked: the last words.
            self._outlet.send(bytes(self._rest_of_output))
            self._rest_of_output.clear()

    def _next_reply(self, *, several: bool) -> PopReply | None:
        buffer = self._rest_of_output
        end = buffer.find(b"\r\n")
        if end < 0:
            return None
        status = bytes(buffer[:end])
        if not several or not status.startswith(b"+OK"):
            del buffer[: end + 2]
            return PopReply(status)
        last = buffer.find(b"\r\n.\r\n", max(end, self._at - 4))
        if last < 0:
            self._at = len(buffer)
            return None
        body = bytes(buffer[end + 2 : last + 2])
        del buffer[: last + 5]
        self._at = 0
        return PopReply(status, body)

    def _reply(self, machine: _Machine, verb: str, reply: PopReply) -> None:
        wish = self.factory.greeting if verb == "greeting" else machine.wish_for(verb)
        if wish is not None and verb == "greeting" and wish.fault in REFUSALS:
            machine.keeper.triggered(wish)
            self._outlet.play(Plan((Step(0, negative(*REFUSALS[wish.fault])),), Ending.CLOSE))
            return
        if wish is None or wish.fault in REFUSALS or wish.fault == "lost":
            self._outlet.send(reply.wire())
            return
        machine.keeper.triggered(wish)
        self._outlet.play(spoil_pop3(reply, wish, machine.keeper.session[5:13]))

    def _end(self) -> None:
        self._ended = True
        self._go_on()

    def connectionLost(self, reason: Any = None) -> None:
        """The connection is gone."""
        self._outlet.stop()
        super().connectionLost(reason)


class PopTwinFactory(POP3ServerFactory):
    """The connections of the POP3 port: ``PopTwinFactory(surroundings, tls)``."""

    def __init__(
        self, surroundings: Surroundings, tls: ServerTLS | None = None, greeting: Wish | None = None
    ) -> None:
        """:param greeting: what goes wrong with it."""
        settings = ServerSettings(
            hostname=HOSTNAME,
            software="BadSMTP",
            allow_plain_without_tls=True,
            limits=_LIMITS,
            timeouts=_TIMEOUTS,
        )
        keeper = Doorkeeper(surroundings, "POP3")
        super().__init__(
            settings, _Authenticator(keeper), surroundings.clock, tls, entropy=surroundings.entropy
        )
        self.pace = surroundings.pace
        self.greeting = greeting
        self._badsmtp = surroundings

    def make_machine(self, transport: Transport) -> Server:
        """The machine of a new connection."""
        keeper = Doorkeeper(self._badsmtp, "POP3", str(getattr(transport.peer, "host", "")))
        return _Machine(self, transport, keeper)

    def make_protocol(self) -> _Protocol:
        """The protocol of a new connection."""
        return _Protocol(self)

    def buildProtocol(self, addr: object) -> Any:
        """A protocol, or None after ``shutdown`` or when there are too many connections."""
        if len(self.connections) >= self._badsmtp.settings.connections:
            return None
        return super().buildProtocol(addr)
